//! Versions that lack files. Most of them are being copied, so this says once that tfweb waits for the rest, and warns once when no
//! file has come for a while. Pure: it has no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tfweb_store::Fingerprint;

/// How long a copy may stand still before somebody should look at it.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A version that lacks files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incomplete {
    /// Its number.
    pub(super) number: u64,
    /// That of the files that are there.
    pub(super) fingerprint: Fingerprint,
    /// The text that names a missing file.
    pub(super) lacks: String,
}

/// News of an incomplete version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was not incomplete before.
    Waits,
    /// Its files have not changed for a while.
    StandsStill,
}

/// The incomplete versions of a model, as they were seen last.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<u64, Copy>);

struct Copy {
    fingerprint: Fingerprint,
    /// When its files were seen first as they are.
    since: Instant,
    has_stood_still: bool,
}

impl Copies {
    /// Takes all versions that are incomplete `now`. Gives those that have news.
    pub(super) fn look(&mut self, incomplete: Vec<Incomplete>, now: Instant) -> Vec<(Incomplete, News)> {
        self.0.retain(|number, _| incomplete.iter().any(|version| version.number == *number));
        let news = |version: Incomplete| self.news(&version, now).map(|news| (version, news));
        incomplete.into_iter().filter_map(news).collect()
    }

    fn news(&mut self, version: &Incomplete, now: Instant) -> Option<News> {
        let fingerprint = version.fingerprint;
        let Some(known) = self.0.get_mut(&version.number) else {
            self.0.insert(version.number, Copy { fingerprint, since: now, has_stood_still: false });
            return Some(News::Waits);
        };
        if known.fingerprint != fingerprint {
            (known.fingerprint, known.since) = (fingerprint, now);
        }
        let stands_still = now.saturating_duration_since(known.since) >= STANDSTILL;
        let is_new = stands_still && !known.has_stood_still;
        known.has_stood_still |= stands_still;
        is_new.then_some(News::StandsStill)
    }
}

#[cfg(test)]
mod tests {
    use tfweb_store::{File, Listing};

    use super::*;

    /// A version that has one file of this size.
    fn version(number: u64, size: u64) -> Incomplete {
        let file = File { path: format!("{number}/saved_model.pb"), size, stamp: String::new() };
        let listing = Listing::new("m", None, vec![file]).unwrap();
        Incomplete { number, fingerprint: listing.versions[0].fingerprint(), lacks: String::new() }
    }

    #[test]
    fn a_copy_is_told_once_and_warned_of_when_it_stands_still() {
        let begun = Instant::now();
        let mut copies = Copies::default();
        let mut look = |seconds: u64, versions: &[(u64, u64)]| {
            let versions = versions.iter().map(|&(number, size)| version(number, size)).collect();
            let news = copies.look(versions, begun + Duration::from_secs(seconds));
            news.into_iter().map(|(version, news)| (version.number, news)).collect::<Vec<_>>()
        };
        assert_eq!(look(0, &[(2, 1)]), [(2, News::Waits)]);
        // It grows, however slowly.
        assert_eq!(
            [look(50, &[(2, 2)]), look(100, &[(2, 3)]), look(159, &[(2, 3), (3, 1)])],
            [vec![], vec![], vec![(3, News::Waits)]]
        );
        assert_eq!(look(160, &[(2, 3), (3, 1)]), [(2, News::StandsStill)]);
        assert_eq!(look(1000, &[(2, 3), (3, 2)]), [], "the one is known, the other grows");
        // A version that was complete in between is new.
        assert_eq!(look(1001, &[(2, 3)]), []);
        assert_eq!(look(1002, &[(2, 3), (3, 2)]), [(3, News::Waits)]);
    }
}
