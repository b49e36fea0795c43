//! The crates of the workspace and their files: which module a file is, and which file defines what a path names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::paths::{named, By, ItemPath, Named};

/// Every file that has rules: its path from the repository's root, and its text.
pub(super) type Files = BTreeMap<String, String>;

/// Folders of the root whose files are read whether they are crates or not.
const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// Reads the crates of the workspace, its tests and its benches.
pub(super) fn read(root: &Path) -> Files {
    let mut files = Files::new();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members in one line");
    for member in members.split('"').skip(1).step_by(2).filter(|member| *member != ".") {
        let path = format!("{member}/Cargo.toml");
        files.insert(path.clone(), std::fs::read_to_string(root.join(path)).expect("a member's Cargo.toml"));
        walk(root, &format!("{member}/src"), &mut files);
    }
    for folder in FOLDERS {
        walk(root, folder, &mut files);
    }
    files.insert("Cargo.toml".to_owned(), manifest);
    files
}

fn walk(root: &Path, folder: &str, files: &mut Files) {
    for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(root, &path, files);
        } else if is_source(&path) {
            files.insert(path, std::fs::read_to_string(entry.path()).expect("text"));
        }
    }
}

/// Whether people wrote it: what prost generates has no rules.
fn is_source(path: &str) -> bool {
    (path.ends_with(".rs") || path.ends_with(".py")) && !path.contains("/generated/")
}

/// The modules of a crate, and what each names.
pub(super) struct Crate {
    modules: BTreeMap<ItemPath, Module>,
}

pub(super) struct Module {
    pub(super) file: String,
    pub(super) is_test: bool,
    pub(super) named: Vec<Named>,
}

/// A path of this crate that a file names.
pub(super) struct Use<'a> {
    pub(super) from: &'a Module,
    /// The module that names it.
    pub(super) by: &'a [String],
    /// The module that the path leads to, such as `store` of `crate::store::Env`.
    pub(super) to: &'a [String],
    /// The file that defines it: another than that of `to` where `to` re-exports it.
    pub(super) defined_in: &'a str,
    pub(super) in_test: bool,
    pub(super) by_macro: bool,
}

impl Crate {
    /// Reads the crate whose sources are in `folder`, such as `actors/src`.
    pub(super) fn new(files: &Files, folder: &str) -> Self {
        let sources: Vec<_> = files.iter().filter_map(|(file, text)| Some((file, file.strip_prefix(folder)?, text))).collect();
        let sources = sources.into_iter().filter(|(_, below, _)| below.starts_with('/') && below.ends_with(".rs"));
        let sources: Vec<_> = sources.map(|(file, below, text)| (file, module_of(files, file, &below[1..]), text)).collect();
        let known: BTreeSet<ItemPath> = sources.iter().map(|(_, module, _)| module.clone()).collect();
        let modules = sources.into_iter().map(|(file, module, text)| {
            let named = named(text, &module, &|path: &[String]| known.contains(path));
            let is_test = file.ends_with("/tests.rs") || file.ends_with("_tests.rs") || file.contains("/tests/");
            (module, Module { file: file.clone(), is_test, named })
        });
        Self { modules: modules.collect() }
    }

    /// Lists what its files name of it.
    pub(super) fn uses(&self) -> impl Iterator<Item = Use<'_>> {
        self.modules.iter().flat_map(move |(by, from)| {
            from.named.iter().filter_map(move |named| {
                let path = named.path.strip_prefix(&["crate".to_owned()])?;
                let (to, _) = self.module(path);
                let in_test = named.in_test || from.is_test;
                let defined_in = &self.definition(path, FOLLOW_MAX).file;
                Some(Use { from, by, to, defined_in, in_test, by_macro: named.by == By::Macro })
            })
        })
    }

    /// Lists what its files name of other crates.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (&Module, &Named)> {
        let all = self.modules.values().flat_map(|module| module.named.iter().map(move |named| (module, named)));
        all.filter(|(_, named)| named.path.first().is_some_and(|first| first != "crate"))
    }

    /// The module that a path leads to, and what it has.
    fn module(&self, path: &[String]) -> (&[String], &Module) {
        let lengths = (0..=path.len()).rev();
        let found = lengths.into_iter().find_map(|length| self.modules.get_key_value(&path[..length]));
        found.map(|(path, module)| (path.as_slice(), module)).expect("a crate has a lib.rs")
    }

    /// The module that defines what a path names, behind all re-exports.
    fn definition(&self, path: &[String], follow: usize) -> &Module {
        let (to, module) = self.module(path);
        let Some((name, below)) = path[to.len()..].split_first() else { return module };
        let exported =
            module.named.iter().find(|named| !named.in_test && matches!(&named.by, By::Import(import) if import == name));
        match exported.and_then(|named| named.path.strip_prefix(&["crate".to_owned()])) {
            Some(exported) if follow > 0 => self.definition(&[exported, below].concat(), follow - 1),
            Some(_) | None => module,
        }
    }
}

/// Re-exports of re-exports that are followed: more would be a circle.
const FOLLOW_MAX: usize = 8;

/// The path of the module that a file is. `x_tests.rs` is the module `tests` of `x.rs` where that names it.
fn module_of(files: &Files, file: &str, below: &str) -> ItemPath {
    let mut module: ItemPath = below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let name = module.pop().expect("a name");
    let tested = file.strip_suffix("_tests.rs").and_then(|tested| files.get(&format!("{tested}.rs")));
    if tested.is_some_and(|text| text.contains(&format!("#[path = \"{name}.rs\"]"))) {
        module.extend([name.trim_end_matches("_tests").to_owned(), "tests".to_owned()]);
    } else if name == "main" && module.is_empty() {
        // A crate of its own, which names the library as others do.
        module.push(name);
    } else if name != "mod" && !(name == "lib" && module.is_empty()) {
        module.push(name);
    }
    module
}
