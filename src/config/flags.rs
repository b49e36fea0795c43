//! The command line and the environment as typed.

use std::env;

use structopt::clap::{ArgMatches, ErrorKind};
use structopt::StructOpt;

use super::access::AccessFlags;
use super::grpc::GrpcFlags;
use super::help;
use super::http::HttpFlags;
use super::models::ModelFlags;
use super::operations::OperationFlags;
use super::running::RunFlags;
use super::telemetry::TelemetryFlags;
use super::urls::UrlFlags;
use super::values::{number, switched_on, Usage};

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
}

impl Flags {
    /// Reads a command line, program name first, and the environment.
    ///
    /// # Errors
    /// [`Usage`] for help, version, and everything that does not parse.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Usage> {
        let matches = Self::clap().get_matches_from_safe(args.into_iter().map(underscored)).map_err(|error| {
            let asked_for = |text| Usage { text, asked_for: true };
            // `if` and not `match`: the kinds of errors are clap's, and it has many.
            if error.kind == ErrorKind::HelpDisplayed {
                return asked_for(help::help());
            }
            if error.kind == ErrorKind::VersionDisplayed {
                return asked_for(error.message);
            }
            Usage::wrong(first_line(&error.message))
        })?;
        let mut flags = Self::from_clap(&matches);
        repeated(&matches, "model", &mut flags.models.model);
        repeated(&matches, "url_allow", &mut flags.urls.url_allow);
        repeated(&matches, "api_token", &mut flags.access.api_token);
        flags.fall_back(matches.occurrences_of("port") > 0)?;
        for (variable, is_on) in flags.switches() {
            *is_on |= switched_on(variable)?;
        }
        Ok(flags)
    }

    /// The flags without a value, each with its variable.
    pub(super) fn switches(&mut self) -> [(&'static str, &mut bool); 6] {
        [
            ("TFWEB_BATCH_TRANSPOSE", &mut self.http.batch_transpose),
            ("TFWEB_NO_CORS", &mut self.http.no_cors),
            ("TFWEB_STRICT_READINESS", &mut self.models.strict_readiness),
            ("TFWEB_GRPC_TYPED_VALUES", &mut self.grpc.grpc_typed_values),
            ("TFWEB_ACCESS_LOG", &mut self.telemetry.access_log),
            ("TFWEB_NO_URL", &mut self.urls.no_url),
        ]
    }

    /// Reads the variables PORT, MODEL and MODEL_NAME, which platforms and images of other servers set. A flag or its own
    /// variable goes before them.
    fn fall_back(&mut self, is_port_typed: bool) -> Result<(), Usage> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        if let (false, None, Some(port)) = (is_port_typed, variable("TFWEB_PORT"), variable("PORT")) {
            self.http.port = number(&port).map_err(|error| Usage::wrong(format!("PORT: {error}")))?;
        }
        let has_models = !self.models.model.is_empty() || self.models.model_config_file.is_some() || self.access.has_admin();
        if let (false, Some(model)) = (has_models, variable("MODEL")) {
            self.models.model = vec![model];
            self.models.model_name = self.models.model_name.take().or_else(|| variable("MODEL_NAME"));
        }
        Ok(())
    }
}

/// Removes the variables that Kubernetes sets for a Service called tfweb, such as `TFWEB_PORT=tcp://10.0.0.1:8080`. They have
/// the names of tfweb's own variables and another meaning. Call it before other threads start.
pub fn drop_service_links() {
    for name in ["TFWEB_PORT", "TFWEB_GRPC_PORT", "TFWEB_ADMIN_PORT"] {
        if env::var(name).is_ok_and(|value| value.starts_with("tcp://") || value.starts_with("udp://")) {
            env::remove_var(name);
        }
    }
}

/// Turns `--batch-size=4` into `--batch_size=4`.
fn underscored(arg: String) -> String {
    let Some(flag) = arg.strip_prefix("--") else {
        return arg;
    };
    let (name, value) = flag.split_at(flag.find('=').unwrap_or(flag.len()));
    format!("--{}{value}", name.replace('-', "_"))
}

/// Sets the values of a flag that may repeat: those of the command line, or those of its variable, which commas separate.
fn repeated(matches: &ArgMatches<'_>, flag: &str, values: &mut Vec<String>) {
    match usize::try_from(matches.occurrences_of(flag)) {
        // The command line has none, so these come from the variable.
        Ok(0) | Err(_) => {
            let listed = values.iter().flat_map(|listed| listed.split(','));
            *values = listed.filter(|value| !value.is_empty()).map(str::to_owned).collect();
        }
        // clap appends the variable's values to those of the command line. The command line goes before the variable.
        Ok(typed) => values.truncate(typed),
    }
}

fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
