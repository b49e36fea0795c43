//! What the user typed ([`Flags`]) and what it means ([`Config`]): checked, typed, with units.

mod access;
mod grpc;
mod models;
mod operations;
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
pub use models::{ModelConfigFile, ModelFlags};
pub use operations::{Drain, OperationFlags, Probe};
pub use telemetry::{LogFormat, TelemetryConfig, TelemetryFlags};
pub use urls::UrlFlags;

/// The most bytes of inputs that wait or run in one model. A thousand photographs; more would only wait longer.
const QUEUE_BYTES_MAX: usize = 1 << 30;
/// Run threads, unless said otherwise: past four, TensorFlow's own threads already fill most machines.
const RUN_THREADS_MAX: usize = 4;
/// The most run threads that can be asked for: far past any use, and still a number of threads that a system can give.
const RUN_THREADS_LIMIT: usize = 256;
/// The longest time a request can be given: a day.
const REQUEST_TIMEOUT_MS_LIMIT: usize = 86_400_000;

/// Serves TensorFlow SavedModels over HTTP.
///
/// Each flag can also be given as an environment variable: --batch_size as TFWEB_BATCH_SIZE. Hyphens are accepted for
/// underscores.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "tfweb")]
pub struct Flags {
    /// Those of models.
    #[structopt(flatten)]
    pub models: ModelFlags,
    /// Most rows of requests that share a session run; 1: each request runs alone and whole
    #[structopt(long = "batch_size", env = "TFWEB_BATCH_SIZE", value_name = "ROWS", default_value = "32", parse(try_from_str = number))]
    pub batch_size: usize,
    /// Directory of static files, served under /web/ and where no other GET route matches
    #[structopt(long = "static_path", env = "TFWEB_STATIC_PATH", value_name = "DIR", parse(from_os_str))]
    pub static_path: Option<PathBuf>,
    /// One object in is one example out: values come and go without their outer dimension
    #[structopt(long = "batch_transpose")]
    pub batch_transpose: bool,
    /// Send no CORS headers: browsers then refuse pages of other origins
    #[structopt(long = "no_cors")]
    pub no_cors: bool,
    /// Most bytes of one request body, after decompression
    #[structopt(long = "request_size", env = "TFWEB_REQUEST_SIZE", value_name = "BYTES", default_value = "10485760", parse(try_from_str = number))]
    pub request_size: usize,
    /// Port for HTTP; 0 picks a free one and prints it; PORT of the environment, where neither this nor TFWEB_PORT is given
    #[structopt(long = "port", env = "TFWEB_PORT", default_value = "8080", parse(try_from_str = number))]
    pub port: u16,
    /// Address to listen on
    #[structopt(long = "host", env = "TFWEB_HOST", default_value = "0.0.0.0")]
    pub host: String,
    /// Most requests waiting or running per model; over it 503 with Retry-After
    #[structopt(long = "queue_size", env = "TFWEB_QUEUE_SIZE", value_name = "REQUESTS", default_value = "1024", parse(try_from_str = number))]
    pub queue_size: usize,
    /// Most time for a request, waiting included
    #[structopt(long = "request_timeout_ms", env = "TFWEB_REQUEST_TIMEOUT_MS", value_name = "MS", default_value = "30000", parse(try_from_str = number))]
    pub request_timeout_ms: usize,
    /// Directory or file of libtensorflow; found by itself in the usual places
    #[structopt(long = "tensorflow_lib", env = "TFWEB_TENSORFLOW_LIB", value_name = "PATH", parse(from_os_str))]
    pub tensorflow_lib: Option<PathBuf>,
    /// Session runs side by side per model; as many as cores, at most 4, if not given
    #[structopt(long = "run_threads", env = "TFWEB_RUN_THREADS", value_name = "THREADS", parse(try_from_str = number))]
    pub run_threads: Option<usize>,
    /// Where operations of a run execute: the run's own thread, TensorFlow's pool, or what a trial at load finds faster
    #[structopt(long = "inter_op", env = "TFWEB_INTER_OP", default_value = "auto", possible_values = &["auto", "caller", "pool"])]
    pub inter_op: String,
    /// Those of gRPC.
    #[structopt(flatten)]
    pub grpc: GrpcFlags,
    /// Those of URL inputs.
    #[structopt(flatten)]
    pub urls: UrlFlags,
    /// Those of access.
    #[structopt(flatten)]
    pub access: AccessFlags,
    /// Those of operation.
    #[structopt(flatten)]
    pub operations: OperationFlags,
    /// Those of logs and traces.
    #[structopt(flatten)]
    pub telemetry: TelemetryFlags,
}

/// Why the command line was not taken, or that it asked for help; `Display` gives what to print.
#[derive(Debug)]
pub struct Usage {
    /// What to print: help, the version, or one line saying what is wrong.
    pub text: String,
    /// Whether that was asked for, so that it is no error.
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
            if matches!(error.kind, ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed) {
                return Usage { text: error.message, asked_for: true };
            }
            Usage::wrong(first_line(&error.message))
        })?;
        let mut flags = Self::from_clap(&matches);
        repeated(&matches, "model", &mut flags.models.model);
        repeated(&matches, "url_allow", &mut flags.urls.url_allow);
        repeated(&matches, "api_token", &mut flags.access.api_token);
        flags.fall_back(matches.occurrences_of("port") > 0)?;
        flags.batch_transpose |= switched_on("TFWEB_BATCH_TRANSPOSE")?;
        flags.no_cors |= switched_on("TFWEB_NO_CORS")?;
        flags.models.strict_readiness |= switched_on("TFWEB_STRICT_READINESS")?;
        flags.grpc.grpc_typed_values |= switched_on("TFWEB_GRPC_TYPED_VALUES")?;
        flags.telemetry.access_log |= switched_on("TFWEB_ACCESS_LOG")?;
        flags.urls.no_url |= switched_on("TFWEB_NO_URL")?;
        Ok(flags)
    }

    /// Takes what variables without our prefix say, where nothing with it says anything: those that platforms set and that
    /// images of other servers are started with.
    fn fall_back(&mut self, is_port_typed: bool) -> Result<(), Usage> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        if let (false, None, Some(port)) = (is_port_typed, variable("TFWEB_PORT"), variable("PORT")) {
            self.port = number(&port).map_err(|error| Usage::wrong(format!("PORT: {error}")))?;
        }
        let is_said = !self.models.model.is_empty() || self.models.model_config_file.is_some() || self.access.has_admin();
        if let (false, Some(model)) = (is_said, variable("MODEL")) {
            self.models.model = vec![model];
            self.models.model_name = self.models.model_name.take().or_else(|| variable("MODEL_NAME"));
        }
        Ok(())
    }
}

/// Takes away the variables that Kubernetes sets for a Service called tfweb, such as TFWEB_PORT=tcp://10.0.0.1:8080: they are
/// called like ours and mean something else. To be called before there are other threads.
pub fn drop_service_links() {
    for name in ["TFWEB_PORT", "TFWEB_GRPC_PORT", "TFWEB_ADMIN_PORT"] {
        if env::var(name).is_ok_and(|value| value.starts_with("tcp://") || value.starts_with("udp://")) {
            env::remove_var(name);
        }
    }
}

/// `--batch-size=4` as `--batch_size=4`.
fn underscored(arg: String) -> String {
    let Some(flag) = arg.strip_prefix("--") else {
        return arg;
    };
    let (name, value) = flag.split_at(flag.find('=').unwrap_or(flag.len()));
    format!("--{}{value}", name.replace('-', "_"))
}

/// Settles the values of a flag that may repeat: those typed, or those of its variable between commas.
fn repeated(matches: &ArgMatches<'_>, flag: &str, values: &mut Vec<String>) {
    match usize::try_from(matches.occurrences_of(flag)) {
        // From the variable, where there is one.
        Ok(0) | Err(_) => {
            let listed = values.iter().flat_map(|listed| listed.split(','));
            *values = listed.filter(|value| !value.is_empty()).map(str::to_owned).collect();
        }
        // clap puts the variable's behind those of the command line, which are meant instead.
        Ok(typed) => values.truncate(typed),
    }
}

fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A number, or words that name what came instead.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("expected a whole number, got `{text}` ({error})"))
}

/// clap reads variables only for flags with a value; this is for those without.
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

/// Everything the server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that flags name; the first also answers at `/`. Names are unique.
    pub models: Vec<ModelSpec>,
    /// A file that lists more.
    pub model_config: Option<ModelConfigFile>,
    /// Where models from elsewhere are kept, if said.
    pub cache_dir: Option<PathBuf>,
    /// Whether the server is ready only with every model.
    pub strict_readiness: bool,
    /// Who may call, and who may change what is served.
    pub access: Arc<Access>,
    /// Certificates of both doors; plain if none.
    pub tls: Option<Arc<Tls>>,
    /// Where else to say how the server is.
    pub admin_address: Option<(String, u16)>,
    /// The tag set to load.
    pub tags: Vec<String>,
    /// Most rows in one session run, at least 1.
    pub batch_rows_max: usize,
    /// A directory that exists.
    pub static_path: Option<PathBuf>,
    /// Whether one object is one example.
    pub batch_transpose: bool,
    /// Whether pages of other origins may call.
    pub cors: bool,
    /// Most bytes of one body, inflated.
    pub body_bytes_max: usize,
    /// Where to listen.
    pub host: String,
    /// 0 for any free one.
    pub port: u16,
    /// Most requests inside one model.
    pub queue_requests_max: usize,
    /// Most bytes of inputs inside one model.
    pub queue_bytes_max: usize,
    /// What urls may name, and how they are fetched; none where they are switched off.
    pub fetch: Option<FetchPolicy>,
    /// Most time for one request.
    pub request_timeout: Duration,
    /// Where libtensorflow is, if said.
    pub tensorflow_lib: Option<PathBuf>,
    /// Runs side by side per model, at least 1.
    pub run_threads: usize,
    /// Where operations execute.
    pub inter_op: InterOp,
    /// The gRPC door; none where it is switched off.
    pub grpc: Option<GrpcConfig>,
    /// How long a run may take before its thread is taken to be stuck.
    pub stuck_after: Duration,
    /// How it stops.
    pub drain: Drain,
    /// What is logged and traced.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Checks flags.
    ///
    /// # Errors
    /// [`Usage`] naming the flag, what was expected and what came.
    pub fn new(flags: Flags) -> Result<Self, Usage> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(path) = flags.static_path.as_ref().filter(|path| !path.is_dir()) {
            return Err(Usage::wrong(format!("--static_path: `{}` is not a directory", path.display())));
        }
        let timeout_ms = within("request_timeout_ms", flags.request_timeout_ms, REQUEST_TIMEOUT_MS_LIMIT)?;
        let request_timeout = Duration::from_millis(timeout_ms as u64);
        let queue_requests_max = at_least_one("queue_size", flags.queue_size)?;
        Ok(Self {
            models: flags.models.specs(flags.access.has_admin())?,
            model_config: flags.models.config_file()?,
            access: flags.access.access()?,
            tls: flags.access.tls()?,
            admin_address: flags.operations.admin_address(&flags.host)?,
            cache_dir: flags.models.cache_dir,
            strict_readiness: flags.models.strict_readiness,
            tags: flags.models.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            batch_rows_max: at_least_one("batch_size", flags.batch_size)?,
            static_path: flags.static_path,
            batch_transpose: flags.batch_transpose,
            cors: !flags.no_cors,
            body_bytes_max: at_least_one("request_size", flags.request_size)?,
            host: flags.host,
            port: flags.port,
            queue_requests_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
            fetch: flags.urls.policy(queue_requests_max)?,
            request_timeout,
            tensorflow_lib: flags.tensorflow_lib,
            run_threads: within("run_threads", flags.run_threads.unwrap_or(cores.min(RUN_THREADS_MAX)), RUN_THREADS_LIMIT)?,
            inter_op: match flags.inter_op.as_str() {
                "caller" => InterOp::Caller,
                "pool" => InterOp::Pool,
                _ => InterOp::Auto,
            },
            grpc: flags.grpc.config()?,
            stuck_after: liveness::stuck_after(request_timeout),
            drain: flags.operations.drain(request_timeout)?,
            telemetry: flags.telemetry.config()?,
        })
    }
}
