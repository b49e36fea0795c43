//! The order of the sources: which folder, file and crate may use which. Reads the sources of every crate.
//!
//! 1. Imports in src lead down a line: server, config, protocols, serving and transport, models, observe, status. The crates have
//!    an order too.
//! 2. A file does not import from the `mod.rs` or `lib.rs` above it. It names the file that defines the item.
//! 3. No two files use each other, neither directly nor by way of other files. The code of tests may.
//! 4. Protocols do not use each other.

mod made_up;
mod page;
mod paths;
mod rules;
mod tree;

use std::path::Path;

#[test]
fn sources_keep_their_order() {
    let found = rules::offenders(&tree::read(Path::new(env!("CARGO_MANIFEST_DIR"))));
    assert!(found.is_empty(), "tests/suite/architecture.rs has the rules; these break them: {found:#?}");
}

#[test]
fn each_line_of_the_page_names_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the page");
    let files = tree::read(root);
    let found = page::offenders(&page, &files);
    assert!(found.is_empty(), "ARCHITECTURE.md: {found:#?}");
    let wrong = "nobody.rs\n## What holds\n\n- One thing. `a_test_that_nobody_wrote`\n- Another.\n\n## Why";
    assert_eq!(page::offenders(wrong, &files).len(), 3);
}
