//! Reads the command line and the environment into [`Flags`], and checks them into a [`Config`], whose values have types and units.

mod access;
mod grpc;
mod help;
mod http;
mod models;
mod operations;
mod running;
mod telemetry;
#[cfg(test)]
mod tests;
mod urls;

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use structopt::clap::{ArgMatches, ErrorKind};
use structopt::StructOpt;
use tfweb_actors::fetcher::FetchPolicy;
use tfweb_engine::tensorflow::InterOp;

use crate::access::Access;
use crate::keeping::ModelSpec;
use crate::liveness;
use crate::tls::Tls;

pub use access::AccessFlags;
pub use grpc::{GrpcConfig, GrpcFlags};
pub use http::HttpFlags;
pub use models::{ModelConfigFile, ModelFlags};
pub use operations::{Drain, OperationFlags, Probe};
pub use running::RunFlags;
pub use telemetry::{LogFormat, TelemetryConfig, TelemetryFlags};
pub use urls::UrlFlags;

/// The maximum size of the inputs that wait or run in one model: a thousand photographs. More of them would only wait longer.
const QUEUE_BYTES_MAX: usize = 1 << 30;

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

/// A text to print in place of serving.
#[derive(Debug)]
pub struct Usage {
    /// The help, the version, or one line that names the wrong flag.
    pub text: String,
    /// Whether the user asked for the text (`--help`, `--version`); else it is an error.
    pub asked_for: bool,
}

impl Usage {
    fn wrong(text: impl std::fmt::Display) -> Self {
        Self { text: format!("tfweb: {text}; see tfweb --help"), asked_for: false }
    }
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
    fn switches(&mut self) -> [(&'static str, &mut bool); 6] {
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

/// Reads a whole number; the error shows the text that is none.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("expected a whole number, got `{text}` ({error})"))
}

/// Reads the variable of a flag without a value. clap reads variables only for flags with one.
fn switched_on(variable: &str) -> Result<bool, Usage> {
    match env::var(variable).unwrap_or_default().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        other => Err(Usage::wrong(format!("{variable}: expected true or false, got `{other}`"))),
    }
}

fn at_least_one(flag: &str, value: usize) -> Result<usize, Usage> {
    within(flag, value, usize::MAX)
}

fn within(flag: &str, value: usize, limit: usize) -> Result<usize, Usage> {
    match value {
        0 => Err(Usage::wrong(format!("--{flag}: expected at least 1, got 0"))),
        value if value > limit => Err(Usage::wrong(format!("--{flag}: expected at most {limit}, got {value}"))),
        value => Ok(value),
    }
}

/// The checked settings of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The models that flags name, with unique names. The first also answers at `/`.
    pub models: Vec<ModelSpec>,
    /// A file that lists more models.
    pub model_config: Option<ModelConfigFile>,
    /// The directory for downloaded models; none for the default.
    pub cache_dir: Option<PathBuf>,
    /// Whether the server is ready only while every model can be called.
    pub strict_readiness: bool,
    /// The tokens that callers and administrators need.
    pub access: Arc<Access>,
    /// The certificates of the HTTP and the gRPC port; none for plain connections.
    pub tls: Option<Arc<Tls>>,
    /// Where the admin port listens.
    pub admin_address: Option<(String, u16)>,
    /// The tag set to load.
    pub tags: Vec<String>,
    /// The maximum number of rows in one session run, at least 1.
    pub batch_rows_max: usize,
    /// The directory of static files, which exists.
    pub static_path: Option<PathBuf>,
    /// Whether one JSON object is one example.
    pub batch_transpose: bool,
    /// Whether answers let pages of other origins read them.
    pub cors: bool,
    /// The maximum size of one body in bytes, after decompression.
    pub body_bytes_max: usize,
    /// The address to listen on.
    pub host: String,
    /// The port for HTTP; 0 for any free port.
    pub port: u16,
    /// The maximum number of requests inside one model.
    pub queue_requests_max: usize,
    /// The maximum size of the inputs inside one model, in bytes.
    pub queue_bytes_max: usize,
    /// The rules and limits of fetches; none where the server takes no URLs.
    pub fetch: Option<FetchPolicy>,
    /// The maximum time for one request.
    pub request_timeout: Duration,
    /// Where libtensorflow is; none to search for it.
    pub tensorflow_lib: Option<PathBuf>,
    /// The number of session runs side by side for each model, at least 1.
    pub run_threads: usize,
    /// Where operations execute.
    pub inter_op: InterOp,
    /// The gRPC server; none where it is switched off.
    pub grpc: Option<GrpcConfig>,
    /// The duration after which a run thread is taken to be stuck.
    pub stuck_after: Duration,
    /// How the server stops.
    pub drain: Drain,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Checks flags.
    ///
    /// # Errors
    /// [`Usage`] that names the flag, the expected value and the value found.
    pub fn new(flags: Flags) -> Result<Self, Usage> {
        let Flags { models, http, run, grpc, urls, access, operations, telemetry } = flags;
        let request_timeout = run.request_timeout()?;
        let queue_requests_max = at_least_one("queue_size", run.queue_size)?;
        Ok(Self {
            models: models.specs(access.has_admin())?,
            model_config: models.config_file()?,
            access: access.access()?,
            tls: access.tls()?,
            admin_address: operations.admin_address(&http.host)?,
            cache_dir: models.cache_dir,
            strict_readiness: models.strict_readiness,
            tags: models.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            batch_rows_max: at_least_one("batch_size", run.batch_size)?,
            static_path: http.static_path()?,
            batch_transpose: http.batch_transpose,
            cors: !http.no_cors,
            body_bytes_max: at_least_one("request_size", http.request_size)?,
            host: http.host,
            port: http.port,
            queue_requests_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
            fetch: urls.policy(queue_requests_max)?,
            request_timeout,
            run_threads: run.run_threads()?,
            inter_op: run.inter_op(),
            tensorflow_lib: run.tensorflow_lib,
            grpc: grpc.config()?,
            stuck_after: liveness::stuck_after(request_timeout),
            drain: operations.drain(request_timeout)?,
            telemetry: telemetry.config()?,
        })
    }
}
