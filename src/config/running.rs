//! The flags of running models: batches, threads, and how long requests may wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use structopt::StructOpt;
use tfweb_engine::tensorflow::InterOp;

use super::values::{number, within, Usage};

/// Run threads, unless the flag is given: past four, TensorFlow's own threads already fill most machines.
const RUN_THREADS_MAX: usize = 4;
/// The maximum number of rows in a batch, unless the flag gives another one.
const BATCH_ROWS_MAX: usize = 32;
/// The largest number of threads that a flag takes: far past any use, and still a number that a system can start.
const THREADS_LIMIT: usize = 256;
/// The longest time that a request can be given: a day.
const REQUEST_TIMEOUT_MS_LIMIT: usize = 86_400_000;

/// The flags of running models as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "Running and batching")]
pub struct RunFlags {
    /// Maximum number of rows in a batch that several requests share. With 1 each request runs alone and whole. 32,model/signature=1 gives one signature its own number, whether its rows are independent or not
    #[structopt(long = "batch_size", env = "TFWEB_BATCH_SIZE", value_name = "ROWS", default_value = "32", parse(try_from_str = batch_rows))]
    pub batch_size: BatchRows,
    /// Maximum number of requests that wait or run in one model. Further requests are answered with 503 and Retry-After
    #[structopt(long = "queue_size", env = "TFWEB_QUEUE_SIZE", value_name = "REQUESTS", default_value = "1024", parse(try_from_str = number))]
    pub queue_size: usize,
    /// Maximum time for a request in milliseconds, including the time it waits. A request that takes longer is answered with 504
    #[structopt(long = "request_timeout_ms", env = "TFWEB_REQUEST_TIMEOUT_MS", value_name = "MS", default_value = "30000", parse(try_from_str = number))]
    pub request_timeout_ms: usize,
    /// Number of session runs that one model executes at the same time. Default: the number of cores, but at most 4
    #[structopt(long = "run_threads", env = "TFWEB_RUN_THREADS", value_name = "THREADS", parse(try_from_str = number))]
    pub run_threads: Option<usize>,
    /// Where TensorFlow executes the operations of a run. caller: in the thread of the run. pool: in TensorFlow's thread pool. auto: tfweb tries both at load and takes the faster
    #[structopt(long = "inter_op", env = "TFWEB_INTER_OP", value_name = "WHERE", default_value = "auto", possible_values = &["auto", "caller", "pool"])]
    pub inter_op: String,
    /// Number of threads that share the work within one operation of TensorFlow, such as a large multiplication. All models have them together. Default: the number of cores
    #[structopt(long = "intra_op_threads", env = "TFWEB_INTRA_OP_THREADS", value_name = "THREADS", parse(try_from_str = number))]
    pub intra_op_threads: Option<usize>,
    /// libtensorflow, or the directory that contains it. Default: tfweb searches Python's environments and /usr/local/lib
    #[structopt(long = "tensorflow_lib", env = "TFWEB_TENSORFLOW_LIB", value_name = "PATH", parse(from_os_str))]
    pub tensorflow_lib: Option<PathBuf>,
}

impl RunFlags {
    /// The maximum time for a request.
    pub(super) fn request_timeout(&self) -> Result<Duration, Usage> {
        let timeout_ms = within("request_timeout_ms", self.request_timeout_ms, REQUEST_TIMEOUT_MS_LIMIT)?;
        Ok(Duration::from_millis(timeout_ms as u64))
    }

    /// The number of session runs side by side for each model, at least 1.
    pub(super) fn run_threads(&self) -> Result<usize, Usage> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        within("run_threads", self.run_threads.unwrap_or(cores.min(RUN_THREADS_MAX)), THREADS_LIMIT)
    }

    /// The number of threads within operations, if the user has chosen it.
    pub(super) fn intra_op_threads(&self) -> Result<Option<usize>, Usage> {
        self.intra_op_threads.map(|threads| within("intra_op_threads", threads, THREADS_LIMIT)).transpose()
    }

    /// Where operations execute.
    pub(super) fn inter_op(&self) -> InterOp {
        match self.inter_op.as_str() {
            "caller" => InterOp::Caller,
            "pool" => InterOp::Pool,
            _ => InterOp::Auto,
        }
    }
}

/// The maximum number of rows in a batch.
#[derive(Clone, Debug)]
pub struct BatchRows {
    /// That of all signatures that have none of their own, at least 1.
    pub of_all: usize,
    /// That of some signatures, by `model/signature`, at least 1.
    pub of_signatures: BTreeMap<String, usize>,
}

/// Reads `ROWS`, or `MODEL/SIGNATURE=ROWS`, or several that commas separate.
fn batch_rows(text: &str) -> Result<BatchRows, String> {
    let (mut of_all, mut of_signatures) = (None, BTreeMap::new());
    for text in text.split(',') {
        let (name, rows) = text.rsplit_once('=').map_or((None, text), |(name, rows)| (Some(name.trim()), rows));
        let rows = number(rows.trim())
            .and_then(|rows: usize| if rows > 0 { Ok(rows) } else { Err("expected at least 1, got 0".into()) })?;
        let is_named =
            |name: &str| name.split_once('/').is_some_and(|(model, signature)| !model.is_empty() && !signature.is_empty());
        let before = match name {
            None => of_all.replace(rows),
            Some(name) if is_named(name) => of_signatures.insert(name.to_owned(), rows),
            Some(name) => return Err(format!("expected ROWS or MODEL/SIGNATURE=ROWS, got `{name}={rows}`")),
        };
        if before.is_some() {
            return Err(format!("expected one number for {}, got another", name.unwrap_or("all signatures")));
        }
    }
    Ok(BatchRows { of_all: of_all.unwrap_or(BATCH_ROWS_MAX), of_signatures })
}
