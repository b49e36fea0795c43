//! The settings of the server, checked, with types and units.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::fetcher::FetchPolicy;
use tfweb_engine::tensorflow::InterOp;

use super::flags::Flags;
use super::operations::Drain;
use super::values::{at_least_one, host, list, Usage};
use crate::models::config_file::ModelConfigFile;
use crate::models::ModelSpec;
use crate::observe::log::LogFormat;
use crate::serving::stuck_after;
use crate::transport::grpc as grpc_listener;
use crate::transport::http::Cors;
use crate::transport::tls::Tls;
use crate::transport::tokens::Access;
use crate::{observe, protocols};

/// The maximum size of the inputs that wait or run in one model: a thousand photographs. More of them would only wait longer.
const QUEUE_BYTES_MAX: usize = 1 << 30;

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
    /// The maximum number of rows in one session run of some signatures, by `model/signature`.
    pub chosen_rows: Arc<BTreeMap<String, usize>>,
    /// The settings of the protocols.
    pub protocols: protocols::Settings,
    /// The pages of other origins that may call the server.
    pub cors: Cors,
    /// The maximum size of one body in bytes, after decompression.
    pub body_bytes_max: usize,
    /// How long an idle HTTP connection stays open.
    pub keep_alive: Duration,
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
    /// The number of threads within operations, at least 1; none for the number of cores.
    pub intra_op_threads: Option<usize>,
    /// The gRPC server; none where it is switched off.
    pub grpc: Option<grpc_listener::Settings>,
    /// The duration after which a run thread is taken to be stuck.
    pub stuck_after: Duration,
    /// How the server stops.
    pub drain: Drain,
    /// The format of the log.
    pub log_format: LogFormat,
    /// The access log and traces.
    pub telemetry: observe::Settings,
}

impl Config {
    /// Checks flags.
    ///
    /// # Errors
    /// [`Usage`] that names the flag, the expected value and the value found.
    pub fn new(mut flags: Flags) -> Result<Self, Usage> {
        let shared = std::mem::take(&mut flags.shared);
        Self::checked(flags).map_err(|usage| usage.naming(&shared))
    }

    fn checked(flags: Flags) -> Result<Self, Usage> {
        let Flags { models, http, run, grpc, urls, access, operations, telemetry, shared: _ } = flags;
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
            tags: list("--tags", &models.tags)?,
            batch_rows_max: run.batch_size.of_all,
            chosen_rows: Arc::new(run.batch_size.of_signatures.clone()),
            protocols: protocols::Settings {
                batch_transpose: http.batch_transpose,
                static_path: http.static_path()?,
                grpc_tensor_content: grpc.grpc_tensor_content,
                has_admin_port: operations.admin_port.is_some(),
            },
            cors: http.cors()?,
            body_bytes_max: at_least_one("request_size", http.request_size)?,
            keep_alive: http.keep_alive()?,
            host: host("host", &http.host)?,
            port: http.port,
            queue_requests_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
            fetch: urls.policy(queue_requests_max)?,
            request_timeout,
            run_threads: run.run_threads()?,
            inter_op: run.inter_op(),
            intra_op_threads: run.intra_op_threads()?,
            tensorflow_lib: run.tensorflow_lib,
            grpc: grpc.settings()?,
            stuck_after: stuck_after(request_timeout),
            drain: operations.drain(request_timeout)?,
            log_format: telemetry.format()?,
            telemetry: telemetry.settings()?,
        })
    }
}
