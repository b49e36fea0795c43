//! What a run thread does with a batch: merge → run → split → reply. A failure is narrowed down until it has hurt nobody but
//! the request that caused it.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Instant;

use tfweb_engine::{batch, Code, Error, Session, Tensor};

use crate::batcher::Waiting;
use crate::observer::{RunTracer, TraceLink, TracedRun};
use crate::request::{Request, Run};

/// Failed runs in a row, beyond those it takes to find one culprit, after which the session itself is taken to be broken and the
/// rest of the batch is answered without trying. Failures that TensorFlow blames on the values do not count: those are always
/// narrowed down to the last request.
const SPARE_FAILURES_MAX: usize = 2;

/// Runs a batch of requests that stack and answers each of them.
pub(crate) fn run_batch(session: &dyn Session, signature: usize, requests: Vec<Request>, tracer: Option<&dyn RunTracer>) {
    let halvings = requests.len().checked_ilog2().unwrap_or(0) as usize;
    // The whole batch fails, and then the half with the culprit in it each time.
    let failures_max = 1 + halvings + SPARE_FAILURES_MAX;
    Runner { session, signature, tracer, failures: 0, failures_max }.run(requests);
}

struct Runner<'a> {
    session: &'a dyn Session,
    signature: usize,
    tracer: Option<&'a dyn RunTracer>,
    /// Failures in a row that the values are not blamed for.
    failures: usize,
    failures_max: usize,
}

/// Notes the time and the bytes of a part, or of a request larger than a batch, for the size of the next parts.
fn learn(request: &Request, begun: Instant, outputs: &[Tensor]) {
    if request.is_part() || request.rows() > request.turn_rows() {
        let bytes = request.inputs.iter().chain(outputs).map(Tensor::byte_count).sum();
        request.observation().learn_part(request.rows(), begun.elapsed(), bytes);
    }
}

impl Runner<'_> {
    fn run(&mut self, mut requests: Vec<Request>) {
        let begun = Instant::now();
        for request in &mut requests {
            request.mark_started(begun);
        }
        let rows = requests.iter().map(Waiting::rows).sum();
        requests[0].observation().count_run(rows, requests.len());
        let inputs: Vec<&[Tensor]> = requests.iter().map(|request| request.inputs.as_slice()).collect();
        let result = self.try_run(&inputs);
        let link = self.trace(&requests, rows, begun, result.as_ref().err());
        match result {
            Ok(outputs) => {
                self.failures = 0;
                if let [request] = &requests[..] {
                    learn(request, begun, &outputs);
                }
                self.reply(requests, outputs, Run { begun, link });
            }
            Err(error) => {
                self.failures += usize::from(error.code != Code::InvalidArgument);
                if requests.len() == 1 || self.failures >= self.failures_max {
                    for request in requests {
                        request.fail(&error);
                    }
                    return;
                }
                tracing::debug!("a batch of {} requests failed and is halved: {error}", requests.len());
                let second = requests.split_off(requests.len() / 2);
                self.rerun(requests);
                self.rerun(second);
            }
        }
    }

    /// Runs again those of the requests that somebody still waits for.
    fn rerun(&mut self, mut requests: Vec<Request>) {
        let now = Instant::now();
        requests.retain(|request| !request.is_abandoned());
        let requests: Vec<Request> = requests.into_iter().filter_map(|request| request.unless_late(now)).collect();
        if !requests.is_empty() {
            self.run(requests);
        }
    }

    /// Tells the tracer of a run, if one of its requests is traced.
    fn trace(&self, requests: &[Request], rows: usize, begun: Instant, error: Option<&Error>) -> Option<TraceLink> {
        let tracer = self.tracer?;
        let links: Vec<TraceLink> = requests.iter().filter_map(|request| request.trace).collect();
        if links.is_empty() {
            return None;
        }
        Some(tracer.record(&TracedRun {
            signature: &self.session.signatures()[self.signature].name,
            begun,
            ended: Instant::now(),
            rows,
            requests: requests.len(),
            links: &links,
            error: error.map(|error| error.code.name()),
        }))
    }

    fn reply(&mut self, requests: Vec<Request>, outputs: Vec<Tensor>, run: Run) {
        if let Ok([only]) = <[Request; 1]>::try_from(requests).map_err(|requests| self.reply_split(requests, &outputs, run)) {
            // Whatever its shape: a request alone gets what TensorFlow gave.
            only.succeed(outputs, run);
        }
    }

    fn reply_split(&mut self, requests: Vec<Request>, outputs: &[Tensor], run: Run) {
        let rows: Vec<usize> = requests.iter().map(Waiting::rows).collect();
        if let Some(split) = batch::split(outputs, &rows) {
            for (request, outputs) in requests.into_iter().zip(split) {
                request.succeed(outputs, run);
            }
        } else {
            for request in requests {
                self.rerun(vec![request]);
            }
        }
    }

    fn try_run(&self, inputs: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        // The session is not touched after a panic but through its own interface, which holds nothing of ours half changed.
        catch_unwind(AssertUnwindSafe(|| self.session.run(self.signature, inputs)))
            .unwrap_or_else(|_| Err(Error::internal("the run panicked; this is a bug, see the server's log")))
    }
}
