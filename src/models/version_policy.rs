//! Chooses which versions of a model to serve, and in which order to load them. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The most versions that `latest:N` keeps loaded side by side.
const LATEST_MAX: usize = 1000;

/// The highest number of a version, as `tfweb_store` reads directories.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The given number of versions with the highest numbers.
    Latest(usize),
    /// All versions.
    All,
    /// The versions with these numbers, where they exist.
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

impl FromStr for VersionPolicy {
    type Err = String;

    /// Reads `latest`, `latest:3`, `all`, or numbers with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected latest, latest:N, all, or numbers such as 1,5,7, got `{text}`");
        match text {
            "latest" => Ok(Self::Latest(1)),
            "all" => Ok(Self::All),
            _ => match text.strip_prefix("latest:") {
                Some(count) => {
                    let count = count.parse().ok().filter(|count| (1..=LATEST_MAX).contains(count));
                    count.map(Self::Latest).ok_or_else(|| format!("expected latest:N with N from 1 to {LATEST_MAX}, got `{text}`"))
                }
                None => {
                    let numbers: Option<Vec<u64>> = text.split(',').map(|text| number(text.trim())).collect();
                    numbers.map(Self::Specific).ok_or_else(wrong)
                }
            },
        }
    }
}

impl VersionPolicy {
    /// Chooses among the versions that can be served. The result is in the order of loading, highest first.
    #[must_use]
    pub fn wanted(&self, candidates: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut numbers: Vec<u64> = candidates.into_iter().collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        match self {
            Self::Latest(count) => numbers.truncate(*count),
            Self::All => {}
            Self::Specific(only) => numbers.retain(|number| only.contains(number)),
        }
        numbers
    }
}

/// Reads labels such as `stable=123,canary=124`.
///
/// # Errors
/// A text with what was expected and what was found.
pub fn labels(text: &str) -> Result<BTreeMap<String, u64>, String> {
    let label = |part: &str| {
        let (label, version) = part.split_once('=')?;
        let is_name = !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        Some((label.to_owned(), number(version).filter(|_| is_name)?))
    };
    let mut labels = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let (name, number) = label(part).ok_or_else(|| format!("expected LABEL=VERSION, got `{part}`"))?;
        if labels.insert(name, number).is_some() {
            return Err(format!("expected each label once, got `{part}` after another version"));
        }
    }
    Ok(labels)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_choose() {
        for (policy, expect) in [
            ("latest", &[9][..]),
            ("latest:1", &[9]),
            ("latest:2", &[9, 7]),
            ("latest:10", &[9, 7, 5, 1]),
            ("all", &[9, 7, 5, 1]),
            ("1,5,6", &[5, 1]),
            ("6", &[]),
        ] {
            assert_eq!(policy.parse::<VersionPolicy>().unwrap().wanted([5, 9, 1, 7]), expect, "{policy}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "newest", "latest:", "latest:0", "latest:1001", "latest:x", "1,,2", "1,x", "-1", "9223372036854775808"] {
            assert!(text.parse::<VersionPolicy>().is_err(), "{text}");
        }
        for text in ["stable", "stable=", "=1", "stable=x", "a b=1", "a=1,b", ",", "a=1,", "a=1,a=2", "a=9223372036854775808"] {
            assert!(labels(text).is_err(), "{text}");
        }
        assert_eq!(labels("stable=123, canary=124").unwrap(), BTreeMap::from([("stable".into(), 123), ("canary".into(), 124)]));
        assert!(labels("").unwrap().is_empty());
    }
}
