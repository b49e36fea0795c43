//! Fetches the URLs of a request, then runs a signature on its inputs. Every protocol calls this one function. A protocol decodes
//! the request before the call and encodes the answer after it, on the listener's own thread.

use std::time::Instant;

use tfweb_actors::Outputs;
use tfweb_codec::json::PendingUrl;
use tfweb_engine::{Code, Error, Tensor};
use tfweb_limits::Deadline;

use super::fetch::fill;
use super::state::State;
use crate::models::Servable;
use crate::observe::{Measurement, Stage};

/// The inputs of a run and its deadline.
pub struct Call {
    /// The tensors, in the signature's order.
    pub inputs: Vec<Tensor>,
    /// The elements of `inputs` that have URLs, sorted by input and element.
    pub urls: Vec<PendingUrl>,
    /// The end of the request's time.
    pub deadline: Deadline,
    /// The id of the request, for the log of URLs that are refused; empty if there are no URLs.
    pub request_id: String,
}

/// Runs a signature. Notes in the measurement the signature, the rows, and the times of fetch, queue and run.
///
/// # Errors
/// `Unimplemented` for a signature with an input that is not served; those of
/// [`FetcherHandle::fetch`](tfweb_actors::fetcher::FetcherHandle::fetch); `Unavailable` where the queue is full;
/// `DeadlineExceeded`; those of the session.
///
/// # Cancel safety
/// Dropping it ends its fetches, unless other requests wait for them. The request is left out of every batch that is not formed
/// yet.
pub async fn predict(state: &State, servable: &Servable, mut call: Call, measurement: &mut Measurement) -> Result<Outputs, Error> {
    measurement.calls(&servable.meter);
    let handle = &servable.handle;
    measurement.rows = handle.rows(&call.inputs);
    // Each protocol has checked the outputs that it needs, before it decoded the request.
    handle.signature().check_served(Some(&|_| false))?;
    if !call.urls.is_empty() {
        let start = Instant::now();
        let fetched = fetch(state, &mut call).await;
        measurement.took(Stage::Fetch, start);
        fetched?;
    }
    let start = Instant::now();
    let prediction = handle.predict(call.inputs, call.deadline, measurement.trace).await.inspect_err(|error| {
        // A request that was refused, or was late, has spent its time in the queue.
        let queued = matches!(error.code, Code::Unavailable | Code::DeadlineExceeded);
        measurement.took(if queued { Stage::Queue } else { Stage::Run }, start);
    })?;
    measurement.note(Stage::Queue, start, prediction.queue_time);
    measurement.note(Stage::Run, start + prediction.queue_time, prediction.run_time);
    measurement.ran(prediction.runs);
    Ok(prediction.outputs)
}

async fn fetch(state: &State, call: &mut Call) -> Result<(), Error> {
    let off = || Error::new(Code::FailedPrecondition, "this server takes no urls (--no_url)");
    let fetcher = state.fetcher.as_ref().ok_or_else(off)?;
    let texts: Vec<&str> = call.urls.iter().map(|pending| pending.url.as_str()).collect();
    let bodies = fetcher.fetch(&texts, call.deadline, &call.request_id).await?;
    fill(&mut call.inputs, &call.urls, bodies);
    Ok(())
}
