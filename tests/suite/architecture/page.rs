//! ARCHITECTURE.md: the files that it names are there. Each line of "What holds" names tests, and they are there too.

use super::tree::Files;

/// Lists the lines that name no test, and the tests and files that are not there.
pub(super) fn offenders(page: &str, files: &Files) -> Vec<String> {
    let holds = page.split("\n## What holds\n").nth(1).expect("a section that says what holds");
    let holds = holds.split("\n## ").next().unwrap_or_default();
    let words = page.split(|char: char| !char.is_ascii_alphanumeric() && !"_.".contains(char));
    let is_file = |name: &&str| files.keys().any(|file| file.rsplit('/').next() == Some(name));
    let named = words.filter(|word| word.ends_with(".rs")).filter(|name| !is_file(name));
    let mut found: Vec<String> = named.map(|name| format!("no such file: {name}")).collect();
    for item in holds.split("\n- ").skip(1) {
        let item = item.split("\n\n").next().unwrap_or_default();
        let mut names = item.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)).peekable();
        if names.peek().is_none() {
            found.push(format!("names no test: {item}"));
        }
        let is_missing = |name: &&str| !files.values().any(|text| text.contains(&format!("fn {name}()")));
        found.extend(names.filter(is_missing).map(|name| format!("no such test: {name}")));
    }
    found
}

/// Names of tests are sentences.
fn is_test_name(text: &str) -> bool {
    text.matches('_').count() > 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
