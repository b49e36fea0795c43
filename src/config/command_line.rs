//! Gives each flag of a command line its value, before clap reads it. clap 2 takes the default of a flag whose value is missing,
//! ignores the value of `--no_url=false`, and drops a `=` with which a value begins.

use std::ffi::OsString;
use std::iter::Peekable;

use super::values::Usage;

/// The flags that are on or off. Without a value they are on.
pub(super) const SWITCHES: [&str; 7] =
    ["access_log", "batch_transpose", "grpc_tensor_content", "healthcheck", "no_cors", "no_url", "strict_readiness"];
/// The flags of clap itself. They have no value.
const QUESTIONS: [&str; 2] = ["help", "version"];

/// A command line in which each flag has its value.
pub(super) struct CommandLine {
    /// The arguments for clap, the program's name first.
    pub(super) args: Vec<String>,
    /// The names of the flags.
    names: Vec<String>,
    /// The first flag that needs a value and has none.
    incomplete: Option<String>,
}

impl CommandLine {
    /// Reads arguments.
    ///
    /// # Errors
    /// [`Usage`] for an argument that is not UTF-8.
    pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, Usage> {
        // The error does not show the argument, which may hold a token.
        let not_utf8 = |number: usize| Usage::wrong(format!("argument {number}: expected UTF-8, got other bytes"));
        let args = args.into_iter().enumerate().map(|(number, arg)| arg.into_string().map_err(|_| not_utf8(number)));
        let mut args = args.collect::<Result<Vec<_>, _>>()?.into_iter().peekable();
        let mut line = Self { args: Vec::new(), names: Vec::new(), incomplete: None };
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--").filter(|flag| !flag.is_empty() && !QUESTIONS.contains(flag)) {
                Some(flag) => line.add(flag, &mut args),
                None => line.args.push(arg),
            }
        }
        Ok(line)
    }

    /// Whether the command line has this flag.
    pub(super) fn has(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    /// How often the command line has this flag.
    pub(super) fn count(&self, name: &str) -> usize {
        self.names.iter().filter(|typed| *typed == name).count()
    }

    /// Checks that each flag has a value.
    ///
    /// # Errors
    /// [`Usage`] that names the first flag without one.
    pub(super) fn check(&self) -> Result<(), Usage> {
        match &self.incomplete {
            Some(name) => Err(Usage::wrong(format!("--{name}: expected a value, got nothing"))),
            None => Ok(()),
        }
    }

    /// Adds a flag. Its value follows a `=`, or is the next argument.
    fn add(&mut self, flag: &str, args: &mut Peekable<impl Iterator<Item = String>>) {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, args.next_if(|next| !is_flag(next))),
        };
        let name = name.replace('-', "_");
        let value = value.or_else(|| SWITCHES.contains(&name.as_str()).then(|| "true".to_owned())).unwrap_or_default();
        let value = value.trim();
        if value.is_empty() {
            self.incomplete.get_or_insert_with(|| name.clone());
        }
        if value.starts_with('=') {
            self.args.extend([format!("--{name}"), value.to_owned()]);
        } else {
            self.args.push(format!("--{name}={value}"));
        }
        self.names.push(name);
    }
}

/// Whether an argument is a flag, and not the value of the flag before it: `-1` is a value.
fn is_flag(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|first: char| first.is_ascii_digit()))
}
