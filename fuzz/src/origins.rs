//! URLs of clients, and what their origins answer.

use tfweb_actors::fetcher::fuzzing;
use tfweb_actors::fetcher::rules::{Rules, Target};
use tfweb_limits::{Encoding, Inflater};
use url::Url;

/// An answer in pieces gives what it gives as a whole. The first byte of an input is the size of the pieces.
pub(crate) fn answer(input: &[u8]) {
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = fuzzing::answer([bytes]);
    let pieces = fuzzing::answer(bytes.chunks(usize::from(size).max(1)));
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} {pieces:?}");
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces);
    }
}

/// A URL, and behind a line's end the Location that its origin answers.
pub(crate) fn url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (text, location) = text.split_once('\n').unwrap_or((text, ""));
    let rules = Rules { redirects_max: 1, ..Rules::default() };
    if let Ok(Target::Web(url)) = rules.target(text) {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        assert!(is_web(&url), "{url}");
        if let Ok(to) = rules.redirect(&url, location, 0) {
            assert!(is_web(&to) && !(url.scheme() == "https" && to.scheme() == "http"), "{url} {to}");
        }
    }
}

pub(crate) fn inflate(input: &[u8]) {
    // While a vector grows, it takes three times its bytes. The decoder takes 75 KB beside them.
    const BYTES_MAX: usize = 48 << 10;
    let Some((&choice, bytes)) = input.split_first() else { return };
    let encoding = if choice % 2 == 0 { Encoding::Gzip } else { Encoding::Deflate };
    let mut inflater = Inflater::new(encoding, BYTES_MAX, 0);
    if bytes.chunks(usize::from(choice).max(1)).try_for_each(|piece| inflater.push(piece)).is_ok() {
        if let Ok(inflated) = inflater.finish() {
            assert!(inflated.len() <= BYTES_MAX);
        }
    }
}
