//! The work of a run thread on a batch: merge → run → split → answer.
//!
//! A batch that fails is halved and run again, until only the request that caused the failure gets the error.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Instant;

use tfweb_engine::{batch, Code, Error, Session, Tensor};

use crate::batcher::Waiting;
use crate::caller::Run;
use crate::observer::{ObservedRun, RunObserver, TraceLink};
use crate::request::Request;

/// How many runs in a row may fail beyond the number that it takes to find one bad request. After that the session counts as
/// broken, and the rest of the batch gets the error without another run. Failures that TensorFlow blames on the values do not
/// count: the search for their request always goes on to the end.
const SPARE_FAILURES_MAX: usize = 2;

/// Runs a batch of requests that stack, and answers each of them.
pub(crate) fn run_batch(session: &dyn Session, signature: usize, requests: Vec<Request>, observer: &dyn RunObserver) {
    let halvings = requests.len().checked_ilog2().unwrap_or(0) as usize;
    // One bad request fails the whole batch, and then one half at each halving.
    let failures_max = 1 + halvings + SPARE_FAILURES_MAX;
    Runner { session, signature, observer, failures: 0, failures_max }.run(requests);
}

struct Runner<'a> {
    session: &'a dyn Session,
    /// The signature's index in the session.
    signature: usize,
    observer: &'a dyn RunObserver,
    /// Failures in a row that TensorFlow does not blame on the values.
    failures: usize,
    failures_max: usize,
}

impl Runner<'_> {
    fn run(&mut self, mut requests: Vec<Request>) {
        let begun = Instant::now();
        for request in &mut requests {
            request.mark_started(begun);
        }
        let rows = requests.iter().map(Waiting::rows).sum();
        self.observer.begins(rows, requests.len());
        let inputs: Vec<&[Tensor]> = requests.iter().map(|request| request.inputs.as_slice()).collect();
        let result = self.try_run(&inputs);
        let link = self.observe(&requests, rows, begun, result.as_ref().err());
        match result {
            Ok(outputs) => {
                self.failures = 0;
                if let [request] = &requests[..] {
                    learn_part(request, begun, &outputs);
                }
                self.answer(requests, outputs, Run { begun, link });
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

    /// Runs again those requests whose callers still wait.
    fn rerun(&mut self, mut requests: Vec<Request>) {
        let now = Instant::now();
        requests.retain(|request| !request.is_abandoned());
        let requests: Vec<Request> = requests.into_iter().filter_map(|request| request.unless_late(now)).collect();
        if !requests.is_empty() {
            self.run(requests);
        }
    }

    fn try_run(&self, inputs: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        // A panic leaves nothing of tfweb's half changed: the run owns no state, and the session is used through its interface
        // only.
        catch_unwind(AssertUnwindSafe(|| self.session.run(self.signature, inputs)))
            .unwrap_or_else(|_| Err(Error::internal("the run panicked; this is a bug, see the server's log")))
    }

    /// Tells the observer of a run that has ended. Gives the run's span if the observer records one.
    fn observe(&self, requests: &[Request], rows: usize, begun: Instant, error: Option<&Error>) -> Option<TraceLink> {
        let links: Vec<TraceLink> = requests.iter().filter_map(|request| request.trace).collect();
        self.observer.ran(&ObservedRun {
            begun,
            ended: Instant::now(),
            rows,
            requests: requests.len(),
            links: &links,
            error: error.map(|error| error.code.name()),
        })
    }

    fn answer(&mut self, mut requests: Vec<Request>, outputs: Vec<Tensor>, run: Run) {
        if requests.len() > 1 {
            return self.answer_each(requests, &outputs, run);
        }
        // A request that ran alone gets what TensorFlow gave, whatever the shape of the outputs.
        if let Some(only) = requests.pop() {
            only.succeed(outputs, run);
        }
    }

    fn answer_each(&mut self, requests: Vec<Request>, outputs: &[Tensor], run: Run) {
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
}

/// Notes the time and the bytes of a run that held nothing but a part, or a request larger than a batch. They decide the size of
/// the next parts.
fn learn_part(request: &Request, begun: Instant, outputs: &[Tensor]) {
    if request.is_part() || request.rows() > request.turn_rows() {
        let bytes = request.inputs.iter().chain(outputs).map(Tensor::byte_count).sum();
        request.gauges().learn_part(request.rows(), begun.elapsed(), bytes);
    }
}
