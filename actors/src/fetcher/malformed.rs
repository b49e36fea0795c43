//! The error of an origin whose bytes are no HTTP answer. Pure.

use std::fmt;
use std::io::{self, ErrorKind};

use tfweb_engine::quoted;

/// The reason why an origin's bytes are no HTTP answer, or why the end of the answer is in doubt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(String);

impl Malformed {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorKind::InvalidData, malformed)
    }
}

/// Quotes an origin's bytes for an error.
pub(super) fn shown(bytes: &[u8]) -> String {
    quoted(&String::from_utf8_lossy(bytes))
}
