//! Reads the values of flags and variables, and says what is wrong with them.

use std::env;

/// A text to print in place of serving.
#[derive(Debug)]
pub struct Usage {
    /// The help, the version, or one line that names the wrong flag.
    pub text: String,
    /// Whether the user asked for the text (`--help`, `--version`); else it is an error.
    pub asked_for: bool,
}

impl Usage {
    pub(super) fn wrong(text: impl std::fmt::Display) -> Self {
        Self { text: format!("tfweb: {text}; see tfweb --help"), asked_for: false }
    }
}

/// Reads a whole number; the error shows the text that is none.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("expected a whole number, got `{text}` ({error})"))
}

/// Reads the variable of a flag without a value. clap reads variables only for flags with one.
pub(super) fn switched_on(variable: &str) -> Result<bool, Usage> {
    match env::var(variable).unwrap_or_default().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        other => Err(Usage::wrong(format!("{variable}: expected true or false, got `{other}`"))),
    }
}

/// Checks that a value is at least 1.
pub(super) fn at_least_one(flag: &str, value: usize) -> Result<usize, Usage> {
    within(flag, value, usize::MAX)
}

/// Checks that a value is at least 1 and at most the limit.
pub(super) fn within(flag: &str, value: usize, limit: usize) -> Result<usize, Usage> {
    match value {
        0 => Err(Usage::wrong(format!("--{flag}: expected at least 1, got 0"))),
        value if value > limit => Err(Usage::wrong(format!("--{flag}: expected at most {limit}, got {value}"))),
        value => Ok(value),
    }
}
