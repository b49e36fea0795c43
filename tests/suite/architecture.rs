//! The order of the sources: which folder, file and crate may use which. Reads the sources of every crate.
//!
//! 1. Imports in src lead down a line: server, config, protocols, serving and transport, models, observe, status. The crates have
//!    an order too.
//! 2. A file does not import from the `mod.rs` or `lib.rs` above it. It names the file that defines the item.
//! 3. No two files use each other, neither directly nor by way of other files. The code of tests may.
//! 4. Protocols do not use each other.
//!
//! `architecture/offenders.txt` lists the uses that broke a rule when the rule was made. The list only gets shorter. After a move
//! of files `UPDATE_OFFENDERS=1 cargo test --test suite architecture` writes it anew: read the difference before you commit it.

mod made_up;
mod page;
mod paths;
mod rules;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn sources_keep_their_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("tests/suite/architecture/offenders.txt");
    let found = rules::offenders(&tree::read(root));
    if std::env::var_os("UPDATE_OFFENDERS").is_some() {
        let lines: String = found.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&list, lines).expect("a list that can be written");
    }
    let text = std::fs::read_to_string(&list).expect("the list of offenders");
    let listed: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let complaint = differences(&found, &listed);
    assert!(complaint.is_empty(), "tests/suite/architecture.rs has the rules, {} who breaks them:{complaint}", list.display());
}

#[test]
fn each_line_of_the_page_names_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the page");
    let files = tree::read(root);
    let found = page::offenders(&page, &files);
    assert!(found.is_empty(), "ARCHITECTURE.md: {found:#?}");
    let wrong = "\n## What holds\n\n- One thing. `a_test_that_nobody_wrote`\n- Another.\n\n## Why";
    assert_eq!(page::offenders(wrong, &files).len(), 2);
}

/// Tells which offenders are not in the list, and which of the list are none; nothing where both are the same.
fn differences(found: &BTreeSet<String>, listed: &BTreeSet<String>) -> String {
    let new = found.difference(listed).map(|line| format!("\n  not allowed: {line}"));
    let gone = listed.difference(found).map(|line| format!("\n  no longer so, take it from the list: {line}"));
    new.chain(gone).collect()
}
