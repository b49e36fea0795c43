//! The use case: fetch what URLs name, then run a signature on one request's inputs. Every wire protocol calls this one
//! function; what differs between them, decoding and encoding, happens before and after it on the door's own thread.

use std::time::{Duration, Instant};

use tfweb_actors::fetcher::FetcherHandle;
use tfweb_engine::{Code, Error, Signature, Tensor};

use crate::catalog::Servable;
use crate::metrics::Stage;
use crate::record::Record;
use crate::urls;
use tfweb_codec::json::PendingUrl;

/// What a request asks to be run.
pub struct Call {
    /// In the signature's order.
    pub inputs: Vec<Tensor>,
    /// Elements of `inputs` still to be fetched, sorted by input and element.
    pub urls: Vec<PendingUrl>,
    /// When the request's time is over.
    pub deadline: Instant,
}

/// How long each stage of a request took.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// Body into tensors.
    pub decode: Duration,
    /// What URLs name.
    pub fetch: Duration,
    /// Waiting for a run.
    pub queue: Duration,
    /// The run.
    pub run: Duration,
    /// Tensors into the answer's body.
    pub encode: Duration,
}

impl Timings {
    /// How long a stage took; the request as a whole is not timed here.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Request => Duration::ZERO,
            Stage::Decode => self.decode,
            Stage::Fetch => self.fetch,
            Stage::Queue => self.queue,
            Stage::Run => self.run,
            Stage::Encode => self.encode,
        }
    }

    /// Notes how long a stage took.
    pub fn set(&mut self, stage: Stage, time: Duration) {
        match stage {
            Stage::Request => {}
            Stage::Decode => self.decode = time,
            Stage::Fetch => self.fetch = time,
            Stage::Queue => self.queue = time,
            Stage::Run => self.run = time,
            Stage::Encode => self.encode = time,
        }
    }

    /// Takes in those of what went on meanwhile: what took longest counts.
    pub fn cover(&mut self, other: &Self) {
        let Self { decode, fetch, queue, run, encode } = other;
        for (mine, theirs) in [
            (&mut self.decode, decode),
            (&mut self.fetch, fetch),
            (&mut self.queue, queue),
            (&mut self.run, run),
            (&mut self.encode, encode),
        ] {
            *mine = (*mine).max(*theirs);
        }
    }
}

/// Runs a signature, and notes in the request's record which, how many rows, and how long fetch, queue and run took. `fetcher` is none where the server takes no URLs.
///
/// # Errors
/// `Unimplemented` for dtypes that are not served; those of [`FetcherHandle::fetch`]; `Unavailable` where the queue is full;
/// `DeadlineExceeded`; the session's own.
///
/// # Cancel safety
/// Dropped, its fetches end unless others wait for them, and the request is left out of every batch not yet formed.
pub async fn predict(
    servable: &Servable,
    fetcher: Option<&FetcherHandle>,
    mut call: Call,
    record: &mut Record,
) -> Result<Vec<Tensor>, Error> {
    let handle = &record.calls(servable).handle;
    record.rows = handle.rows(&call.inputs);
    check_served(handle.signature())?;
    if !call.urls.is_empty() {
        let start = Instant::now();
        let fetched = fetch(fetcher, &mut call).await;
        record.took(Stage::Fetch, start);
        fetched?;
    }
    let start = Instant::now();
    let prediction = handle.predict(call.inputs, call.deadline, record.trace).await.inspect_err(|error| {
        // What was refused or late spent its time in the queue.
        let queued = matches!(error.code, Code::Unavailable | Code::DeadlineExceeded);
        record.took(if queued { Stage::Queue } else { Stage::Run }, start);
    })?;
    record.note(Stage::Queue, start, prediction.queue_time);
    record.note(Stage::Run, start + prediction.queue_time, prediction.run_time);
    record.ran(prediction.runs);
    Ok(prediction.outputs)
}

async fn fetch(fetcher: Option<&FetcherHandle>, call: &mut Call) -> Result<(), Error> {
    let off = || Error::new(Code::FailedPrecondition, "this server takes no urls (--no_url)");
    let fetcher = fetcher.ok_or_else(off)?;
    let texts: Vec<&str> = call.urls.iter().map(|pending| pending.url.as_str()).collect();
    let bodies = fetcher.fetch(&texts, call.deadline).await?;
    urls::fill(&mut call.inputs, &call.urls, bodies);
    Ok(())
}

fn check_served(signature: &Signature) -> Result<(), Error> {
    match signature.unserved() {
        None => Ok(()),
        Some(spec) => Err(Error::new(
            Code::Unimplemented,
            format!(
                "signature {:?} is not served: {:?} is of dtype {}, which is not supported",
                signature.name, spec.name, spec.dtype
            ),
        )),
    }
}
