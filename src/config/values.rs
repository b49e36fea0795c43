//! Reads the values of flags and variables, and says what is wrong with them.

use std::net::IpAddr;

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

    /// Names the variable in place of the flag, if the value of the wrong flag comes from one of these variables.
    pub(super) fn naming(mut self, shared: &[(&str, &str)]) -> Self {
        for (flag, variable) in shared {
            if let Some(problem) = self.text.strip_prefix(&format!("tfweb: --{flag}: ")) {
                self.text = format!("tfweb: {variable}: {problem}");
            }
        }
        self
    }
}

/// Reads a whole number; the error shows the text that is none.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("expected a whole number, got `{text}` ({error})"))
}

/// Reads whether a flag is on.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("expected true or false, got `{text}`")),
    }
}

/// Reads values that commas separate. `place` is the flag or the variable. The error does not show the text, which may hold tokens.
pub(super) fn list(place: &str, text: &str) -> Result<Vec<String>, Usage> {
    let values: Vec<String> = text.split(',').map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(Usage::wrong(format!("{place}: expected values separated by commas, got an empty one")));
    }
    Ok(values)
}

/// Checks the name or the address of a host. An IPv6 address may stand in brackets, as in URLs, and may name its network card.
pub(super) fn host(flag: &str, text: &str) -> Result<String, Usage> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|bare| bare.contains(':')).unwrap_or(text);
    let is_address = bare.split('%').next().is_some_and(|address| address.parse::<IpAddr>().is_ok());
    if is_address || bare.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter)) {
        return Ok(bare.to_owned());
    }
    Err(Usage::wrong(format!("--{flag}: expected the name or the address of a host, without a port, got `{text}`")))
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
