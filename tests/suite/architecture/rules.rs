//! The rules, each a function from files to the lines that tell who breaks it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tree::{Crate, Files, Use};

/// The entries of src from the top down. Those of one row do not know each other.
const LINE: [&[&str]; 7] =
    [&["server"], &["config"], &["protocols"], &["serving", "transport"], &["models"], &["observe"], &["status", "watched_files"]];
/// Stand above the line: they may use all of it, and nothing of it uses them.
const TOP: [&str; 3] = ["lib", "main", "healthcheck"];
/// Pairs that the order of the line would allow, and the rules do not: the first does not know the second.
const STRANGERS: [(&str, &str); 1] = [("transport", "models")];
const ENTRIES_MAX: usize = 12;
const FILE_LINES_MAX: usize = 400;
/// The folder of a protocol with several doors, which may use what is beside them but not each other.
const DOORS: [&str; 2] = ["rest", "grpc"];
/// The file of protocols that is no protocol: what each of them is made of.
const SHARED: &str = "parts";

/// The crates from the top down. Those of one row do not know each other.
const CRATES: [&[&str]; 4] = [
    &["tfweb-fuzz"],
    &["tfweb"],
    &["tfweb-actors", "tfweb-codec", "tfweb-store"],
    &["tfweb-engine", "tfweb-proto", "tfweb-limits"],
];

/// Lists who breaks which rule.
pub(super) fn offenders(files: &Files) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in files.keys().filter_map(|file| file.strip_suffix("Cargo.toml")) {
        let sources = Crate::new(files, &format!("{folder}src"));
        found.extend(circles(&sources));
        found.extend(sources.uses().filter_map(|named| above(&named)));
        if folder.is_empty() {
            found.extend(sources.uses().filter_map(|named| up(&named)));
            found.extend(sources.uses().filter_map(|named| between_protocols(&named)));
        }
        if folder == "limits/" {
            found.extend(engine_in_limits(&sources));
        }
    }
    found.extend(entries(files));
    found.extend(
        files
            .iter()
            .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
            .map(|(file, _)| format!("size: {file} has more than {FILE_LINES_MAX} lines")),
    );
    found.extend(between_crates(files));
    found
}

/// Imports of src lead down the line.
fn up(named: &Use<'_>) -> Option<String> {
    fn room(module: &[String]) -> &str {
        module.first().map_or("lib", String::as_str)
    }
    let (by, to) = (room(named.by), room(named.to));
    let rank = |room: &str| LINE.iter().position(|row| row.contains(&room));
    let is_down = match (rank(by), rank(to)) {
        (Some(from), Some(into)) => from < into && !STRANGERS.contains(&(by, to)),
        (None, Some(_)) => TOP.contains(&by),
        (_, None) => TOP.contains(&by) && TOP.contains(&to),
    };
    (by != to && !is_down).then(|| format!("up: {} uses {to}", named.from.file))
}

/// Each entry of src is in the line, and there are few.
fn entries(files: &Files) -> BTreeSet<String> {
    let below = files.keys().filter_map(|file| file.strip_prefix("src/"));
    let entries: BTreeSet<&str> = below.filter_map(|below| below.split('/').next()).collect();
    let is_known = |entry: &&&str| {
        let name = entry.trim_end_matches(".rs");
        TOP.contains(&name) || LINE.iter().any(|row| row.contains(&name))
    };
    let unknown = entries.iter().filter(|entry| !is_known(entry));
    let mut found: BTreeSet<_> = unknown.map(|entry| format!("entry: src/{entry} is not in the line")).collect();
    if entries.len() > ENTRIES_MAX {
        found.insert(format!("size: src has more than {ENTRIES_MAX} entries"));
    }
    found
}

/// No file uses a file that, itself or around, uses it. Of circles that share a file, the shortest is told.
fn circles(sources: &Crate) -> BTreeSet<String> {
    let mut edges: Edges<'_> = BTreeMap::new();
    for named in sources.uses().filter(|named| !named.in_test && named.from.file != named.defined_in) {
        edges.entry(&named.from.file).or_default().insert(named.defined_in);
    }
    let mut found: Vec<Vec<&str>> = edges.keys().filter_map(|file| way_back(&edges, file)).collect();
    found.sort_by_key(Vec::len);
    let (mut told, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for circle in found {
        if circle.iter().all(|file| !seen.contains(file)) {
            told.insert(format!("circle: {}", circle.join(" uses ")));
        }
        seen.extend(circle);
    }
    told
}

type Edges<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The shortest way from a file back to itself.
fn way_back<'a>(edges: &Edges<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let (mut from, mut open): (BTreeMap<&str, &str>, VecDeque<&str>) = (BTreeMap::new(), VecDeque::from([start]));
    while let Some(file) = open.pop_front() {
        for &next in edges.get(file).into_iter().flatten() {
            if next == start {
                let mut way = vec![start, file];
                while let Some(before) = from.get(way[way.len() - 1]) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if let Entry::Vacant(entry) = from.entry(next) {
                entry.insert(file);
                open.push_back(next);
            }
        }
    }
    None
}

/// No file uses what the top of a folder that it is in defines or re-exports.
fn above(named: &Use<'_>) -> Option<String> {
    let is_above = named.by.len() > named.to.len() && named.by.starts_with(named.to);
    let to = if named.to.is_empty() { "crate".to_owned() } else { named.to.join("::") };
    (is_above && !named.by_macro && !named.in_test)
        .then(|| format!("above: {} uses what {to} has of {}", named.from.file, named.defined_in))
}

/// Protocols do not use each other, nor do the doors of one.
fn between_protocols(named: &Use<'_>) -> Option<String> {
    let below =
        |module: &'_ [String]| module.split_first().filter(|(room, _)| *room == "protocols").map(|(_, below)| below.to_vec());
    let (by, to) = (below(named.by)?, below(named.to)?);
    let (Some((by, by_door)), Some((to, to_door))) = (by.split_first(), to.split_first()) else { return None };
    let door = |path: &[String]| path.first().filter(|name| DOORS.contains(&name.as_str())).cloned();
    let doors_differ = door(by_door).zip(door(to_door)).is_some_and(|(by, to)| by != to);
    (to != SHARED && (by != to || doors_differ)).then(|| format!("protocol: {} uses {}", named.from.file, named.to.join("::")))
}

/// Crates depend on those of lower rows; limits also on engine, for its errors.
fn between_crates(files: &Files) -> BTreeSet<String> {
    let rank = |name: &str| CRATES.iter().position(|row| row.contains(&name));
    let mut found = BTreeSet::new();
    for (file, text) in files.iter().filter(|(file, _)| file.ends_with("Cargo.toml")) {
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"tfweb")).map_or("", |rest| rest.trim_end_matches('"'));
        let name = format!("tfweb{name}");
        let section = text.split("\n[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
        let uses = section.lines().filter_map(|line| line.split([' ', '.', '=']).next()).filter(|used| used.starts_with("tfweb"));
        for used in uses {
            let is_down = matches!((rank(&name), rank(used)), (Some(from), Some(into)) if from < into);
            if !is_down && (name.as_str(), used) != ("tfweb-limits", "tfweb-engine") {
                found.insert(format!("crates: {file} depends on {used}"));
            }
        }
    }
    found
}

/// The items of the engine that the crate limits may name.
const ENGINE_IN_LIMITS: [&str; 2] = ["Error", "Code"];

fn engine_in_limits(sources: &Crate) -> BTreeSet<String> {
    let foreign = sources.foreign().filter(|(_, named)| named.path[0] == "tfweb_engine");
    let others = foreign.filter(|(_, named)| !named.path.get(1).is_some_and(|name| ENGINE_IN_LIMITS.contains(&name.as_str())));
    others.map(|(module, named)| format!("crates: {} uses {}", module.file, named.path.join("::"))).collect()
}
