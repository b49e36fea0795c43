//! Reads variables of the environment before clap does, and those that other programs share.

use std::env;
use std::ffi::OsString;

use super::values::Usage;

/// How the names of tfweb's variables begin.
const PREFIX: &str = "TFWEB_";

/// Prepares the variables of this process. Call it before other threads start.
///
/// It removes the variables that Kubernetes sets for a Service called tfweb, such as `TFWEB_PORT=tcp://10.0.0.1:8080`. They have
/// the names of tfweb's own variables and another meaning. It removes white space around values, because files of secrets often
/// end with a newline.
pub fn tidy_variables() {
    for name in ["TFWEB_PORT", "TFWEB_GRPC_PORT", "TFWEB_ADMIN_PORT"] {
        if env::var(name).is_ok_and(|value| value.starts_with("tcp://") || value.starts_with("udp://")) {
            env::remove_var(name);
        }
    }
    for (name, value) in ours() {
        if let Some(trimmed) = value.to_str().map(str::trim).filter(|trimmed| *trimmed != value) {
            env::set_var(name, trimmed);
        }
    }
}

/// Checks that each of tfweb's variables says something. A variable that a compose file takes from an unset one is set and empty.
///
/// # Errors
/// [`Usage`] that names a variable that is empty or not UTF-8.
pub(super) fn check() -> Result<(), Usage> {
    ours().try_for_each(|(name, value)| text(&name, value).map(drop))
}

/// Reads a variable that other programs also read.
///
/// # Errors
/// [`Usage`] if the variable is empty or not UTF-8.
pub(super) fn shared(name: &str) -> Result<Option<String>, Usage> {
    env::var_os(name).map(|value| text(name, value)).transpose()
}

/// The variable of a flag.
pub(super) fn of_flag(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

fn ours() -> impl Iterator<Item = (String, OsString)> {
    let named = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.filter(|(name, _)| name.starts_with(PREFIX))
}

/// Reads a value. The error does not show it, since it may be a token.
fn text(name: &str, value: OsString) -> Result<String, Usage> {
    let value = value.into_string().map_err(|_| Usage::wrong(format!("{name}: expected UTF-8, got other bytes")))?;
    match value.trim() {
        "" => Err(Usage::wrong(format!("{name}: expected a value, got nothing; set the variable or remove it"))),
        value => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_variable_says_something_in_utf8() {
        assert_eq!(text("PORT", " 80\n".into()).ok().as_deref(), Some("80"));
        for (value, expect) in
            [(&b""[..], "PORT: expected a value"), (b" \n", "PORT: expected a value"), (b"80\xff", "PORT: expected UTF-8")]
        {
            let usage = text("PORT", OsString::from_vec(value.to_vec())).unwrap_err();
            assert!(usage.text.contains(expect) && !usage.text.contains("80"), "{}", usage.text);
        }
    }
}
