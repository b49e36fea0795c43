//! The command line and the environment as typed.

use std::env;
use std::ffi::OsString;

use structopt::clap::{Error, ErrorKind};
use structopt::StructOpt;

use super::access::AccessFlags;
use super::command_line::CommandLine;
use super::grpc::GrpcFlags;
use super::help;
use super::http::HttpFlags;
use super::models::ModelFlags;
use super::operations::OperationFlags;
use super::running::RunFlags;
use super::telemetry::TelemetryFlags;
use super::urls::UrlFlags;
use super::values::{list, number, Usage};
use super::variables;

/// The command line as typed: one field for each topic of `--help`.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "tfweb")]
pub struct Flags {
    /// Models.
    #[structopt(flatten)]
    pub models: ModelFlags,
    /// HTTP.
    #[structopt(flatten)]
    pub http: HttpFlags,
    /// Running and batching.
    #[structopt(flatten)]
    pub run: RunFlags,
    /// gRPC.
    #[structopt(flatten)]
    pub grpc: GrpcFlags,
    /// URL inputs.
    #[structopt(flatten)]
    pub urls: UrlFlags,
    /// Tokens and TLS.
    #[structopt(flatten)]
    pub access: AccessFlags,
    /// Health and stopping.
    #[structopt(flatten)]
    pub operations: OperationFlags,
    /// Logs and traces.
    #[structopt(flatten)]
    pub telemetry: TelemetryFlags,
    /// The flags whose values come from variables with other names, each with its variable.
    #[structopt(skip)]
    pub(super) shared: Vec<(&'static str, &'static str)>,
}

impl Flags {
    /// Reads a command line, program name first, and the environment.
    ///
    /// # Errors
    /// [`Usage`] for help, version, and everything that does not parse.
    pub fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, Usage> {
        let line = CommandLine::read(args.into_iter().map(Into::into))?;
        let matches = Self::clap().get_matches_from_safe(&line.args);
        // Help and unknown flags come first: nobody can know whether an unknown flag needs a value.
        if let Some(usage) = matches.as_ref().err().and_then(asked_or_unknown) {
            return Err(usage);
        }
        line.check()?;
        variables::check()?;
        let matches = matches.map_err(|error| Usage::wrong(reason(&error.message, &line)))?;
        let mut flags = Self::from_clap(&matches);
        let lists = [&mut flags.models.model, &mut flags.urls.url_allow, &mut flags.access.api_token, &mut flags.http.cors_origin];
        for (name, values) in ["model", "url_allow", "api_token", "cors_origin"].into_iter().zip(lists) {
            repeated(line.count(name), name, values)?;
        }
        flags.fall_back(&line)?;
        Ok(flags)
    }

    /// Reads the variables PORT, MODEL and MODEL_NAME, which platforms and images of other servers set. A flag or its own
    /// variable goes before them.
    fn fall_back(&mut self, line: &CommandLine) -> Result<(), Usage> {
        if !line.has("port") && env::var_os(variables::of_flag("port")).is_none() {
            if let Some(port) = variables::shared("PORT")? {
                self.http.port = number(&port).map_err(|error| Usage::wrong(format!("PORT: {error}")))?;
            }
        }
        let has_models = !self.models.model.is_empty() || self.models.model_config_file.is_some() || self.access.has_admin();
        if has_models {
            return Ok(());
        }
        if let Some(model) = variables::shared("MODEL")? {
            self.models.model = vec![model];
            self.shared.push(("model", "MODEL"));
            if self.models.model_name.is_none() {
                self.models.model_name = variables::shared("MODEL_NAME")?;
                self.shared.push(("model_name", "MODEL_NAME"));
            }
        }
        Ok(())
    }
}

/// The help, the version, or the error for an argument that tfweb does not have.
fn asked_or_unknown(error: &Error) -> Option<Usage> {
    let asked_for = |text| Some(Usage { text, asked_for: true });
    // `if` and not `match`: the kinds of errors are clap's, and it has many.
    if error.kind == ErrorKind::HelpDisplayed {
        return asked_for(help::help());
    }
    if error.kind == ErrorKind::VersionDisplayed {
        return asked_for(error.message.clone());
    }
    (error.kind == ErrorKind::UnknownArgument).then(|| Usage::wrong(first_line(&error.message)))
}

/// Sets the values of a flag that may repeat: those that are `typed`, or those of its variable. Commas separate values, except in a
/// typed model, whose path may have some.
fn repeated(typed: usize, flag: &str, values: &mut Vec<String>) -> Result<(), Usage> {
    let place = if typed > 0 { format!("--{flag}") } else { variables::of_flag(flag) };
    if typed > 0 {
        // clap appends the variable's values to those of the command line. The command line goes before the variable.
        values.truncate(typed);
        if flag == "model" {
            return Ok(());
        }
    }
    let listed = values.iter().map(|text| list(&place, text)).collect::<Result<Vec<_>, _>>()?;
    *values = listed.into_iter().flatten().collect();
    Ok(())
}

/// The reason of a refusal, after the flag or the variable that has the wrong value. clap names the flag for both.
fn reason(message: &str, line: &CommandLine) -> String {
    let message = first_line(message);
    let Some((flag, error)) = message.strip_prefix("Invalid value for '--").and_then(|rest| rest.split_once("': ")) else {
        return message.to_owned();
    };
    let name = flag.split(' ').next().unwrap_or_default();
    let place = if line.has(name) { format!("--{name}") } else { variables::of_flag(name) };
    format!("{place}: {error}")
}

fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}
