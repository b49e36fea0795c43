//! One list of error codes for the whole house, in the words TensorFlow and gRPC share.

use std::fmt;

/// The most characters of a caller's own text that an error repeats.
const QUOTED_CHARS_MAX: usize = 80;

/// Quotes a caller's own text for an error, cut to a length that fits a log line.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// What kind of failure an [`Error`] is; each wire protocol maps it to its own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is malformed or does not fit the signature.
    InvalidArgument,
    /// A body or tensor is larger than its limit.
    OutOfRange,
    /// The state needed for the request is not there: a URL that cannot be fetched, a variable that was never restored.
    FailedPrecondition,
    /// No such model, version, signature or file.
    NotFound,
    /// Overloaded, loading or draining; the same request may succeed elsewhere or later.
    Unavailable,
    /// A quota of this caller is used up.
    ResourceExhausted,
    /// The request's deadline passed.
    DeadlineExceeded,
    /// No valid credentials.
    Unauthenticated,
    /// Valid credentials without this right.
    PermissionDenied,
    /// A dtype or method that is not served.
    Unimplemented,
    /// The caller went away.
    Cancelled,
    /// A failure of the session or a bug; never the caller's fault.
    Internal,
}

impl Code {
    /// Every code, for tables and their tests.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::OutOfRange,
        Self::FailedPrecondition,
        Self::NotFound,
        Self::Unavailable,
        Self::ResourceExhausted,
        Self::DeadlineExceeded,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::Unimplemented,
        Self::Cancelled,
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
            Self::Unavailable => "UNAVAILABLE",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A failure with its code and a message for the person who sent the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub code: Code,
    /// What happened, what was expected, how to mend it.
    pub message: String,
}

impl Error {
    /// Makes an error of `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Makes an [`Code::InvalidArgument`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Makes an [`Code::Internal`] error.
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
