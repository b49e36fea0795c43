//! The error of all of tfweb. Its codes are those that TensorFlow and gRPC share.

use std::fmt;

/// The most characters of a caller's text that an error repeats.
const QUOTED_CHARS_MAX: usize = 80;

/// Quotes a caller's text for an error, and cuts it to a length that fits a line of a log.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// The kind of an [`Error`]. Each protocol maps it to a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is malformed or does not fit the signature.
    InvalidArgument,
    /// A body or tensor is larger than its limit.
    OutOfRange,
    /// The request needs a state that does not exist: a URL cannot be fetched, or a variable was never restored.
    FailedPrecondition,
    /// The model, version, signature or file does not exist.
    NotFound,
    /// A server that the request names did not do its part. The same request may succeed later.
    Aborted,
    /// The server is overloaded, loads a model or shuts down. The same request may succeed later or at another replica.
    Unavailable,
    /// A quota of the caller is used up.
    ResourceExhausted,
    /// The request's deadline passed.
    DeadlineExceeded,
    /// The caller gave no valid credentials.
    Unauthenticated,
    /// The caller gave valid credentials, which do not include this right.
    PermissionDenied,
    /// tfweb does not serve the dtype or the method.
    Unimplemented,
    /// The caller went away.
    Cancelled,
    /// TensorFlow found the bytes of an input damaged, such as those that it should inflate.
    DataLoss,
    /// The session failed, or tfweb has a bug. Never the caller's fault.
    Internal,
}

impl Code {
    /// Every code, for tables and tests of tables.
    pub const ALL: [Self; 14] = [
        Self::InvalidArgument,
        Self::OutOfRange,
        Self::FailedPrecondition,
        Self::NotFound,
        Self::Aborted,
        Self::Unavailable,
        Self::ResourceExhausted,
        Self::DeadlineExceeded,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::Unimplemented,
        Self::Cancelled,
        Self::DataLoss,
        Self::Internal,
    ];

    /// The code's name as TensorFlow and gRPC write it, such as `INVALID_ARGUMENT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::NotFound => "NOT_FOUND",
            Self::Aborted => "ABORTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Cancelled => "CANCELLED",
            Self::DataLoss => "DATA_LOSS",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A failure: its code, and a message for the person who sent the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub code: Code,
    /// Says what happened, what was expected, and how to fix it.
    pub message: String,
}

impl Error {
    /// Makes an error of `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Makes an error of code [`Code::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Makes an error of code [`Code::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_text_is_escaped_and_cut() {
        assert_eq!(quoted("a\n\""), r#""a\n\"""#);
        let longest = "é".repeat(QUOTED_CHARS_MAX);
        assert_eq!(quoted(&longest), format!("\"{longest}\""));
        assert_eq!(quoted(&format!("{longest}é")), format!("\"{longest}…\""));
    }

    #[test]
    fn an_error_shows_its_message_and_its_code_a_name() {
        let error = Error::new(Code::NotFound, "no such model");
        assert_eq!((error.to_string().as_str(), error.code.name()), ("no such model", "NOT_FOUND"));
        // The names are those of the variants, with `_` between the words.
        for code in Code::ALL {
            assert_eq!(code.name().replace('_', ""), format!("{code:?}").to_uppercase());
        }
    }
}
