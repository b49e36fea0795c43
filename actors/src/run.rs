//! The work of a run thread on a batch: merge → run → split → answer.
//!
//! If a run fails, the [`Search`] finds the requests that caused it, and only they get the error.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

use tfweb_engine::{batch, Code, Error, Session, Tensor};
use tfweb_limits::{Deadline, Stage};

use crate::batcher::Waiting;
use crate::caller::Run;
use crate::observer::{ObservedRun, TraceLink};
use crate::record::{Proof, SignatureRuns};
use crate::request::Request;
use crate::search::Search;

/// How many requests of a batch may fail alone while it is not known that the session works at all. Then the session counts as
/// broken.
const UNPROVEN_FAILURES_MAX: usize = 4;

/// Runs a batch of requests that stack, and answers each of them.
pub(crate) fn run_batch(session: &dyn Session, signature: usize, requests: Vec<Request>, runs: &SignatureRuns) {
    let mut runner = Runner { session, signature, runs, search: Search::new(requests), works: None, unproven_failures: 0 };
    while !runner.search.is_empty() {
        let group = runner.search.next_group(runs.group_max());
        runner.run(group);
    }
}

struct Runner<'a> {
    session: &'a dyn Session,
    /// The signature's index in the session.
    signature: usize,
    runs: &'a SignatureRuns,
    search: Search<Request>,
    /// Whether the session runs inputs that are known to be good. `None` until a run of this batch has ended well or the session was
    /// put to the proof.
    works: Option<bool>,
    unproven_failures: usize,
}

impl Runner<'_> {
    /// Runs those requests whose callers still wait.
    fn run(&mut self, mut requests: Vec<Request>) {
        let begun = Instant::now();
        requests.retain(|request| !request.is_abandoned());
        let mut requests: Vec<Request> = requests.into_iter().filter_map(|request| request.unless_late(begun)).collect();
        // TensorFlow may run for as long as one of the requests waits.
        let Some(deadline) = requests.iter().map(Request::deadline).max() else {
            return;
        };
        for request in &mut requests {
            request.mark_started(begun);
        }
        let rows = requests.iter().map(Waiting::rows).sum();
        self.runs.observer.begins(rows, requests.len());
        let inputs: Vec<&[Tensor]> = requests.iter().map(|request| request.inputs.as_slice()).collect();
        let result = self.try_run(&inputs, deadline.left());
        let link = self.observe(&requests, rows, begun, result.as_ref().err());
        match result {
            Ok(outputs) => {
                self.works = Some(true);
                self.runs.ran_well(requests.len(), || requests[0].one_row());
                self.answer(requests, outputs, Run { begun, link });
            }
            Err(error) if error.code == Code::DeadlineExceeded && deadline.has_passed(Instant::now()) => {
                requests.into_iter().for_each(|request| request.fail(&Deadline::passed(Stage::Run)));
            }
            Err(error) if requests.len() > 1 => {
                tracing::debug!("a run of {} requests failed and is divided: {error}", requests.len());
                self.search.failed(requests);
            }
            Err(error) => requests.into_iter().for_each(|request| self.fail_alone(request, &error)),
        }
    }

    fn try_run(&self, inputs: &[&[Tensor]], time: Duration) -> Result<Vec<Tensor>, Error> {
        // A panic leaves nothing of tfweb's half changed: the run owns no state, and the session is used through its interface
        // only.
        catch_unwind(AssertUnwindSafe(|| self.session.run_within(self.signature, inputs, time)))
            .unwrap_or_else(|_| Err(Error::internal("the run panicked; this is a bug, see the server's log")))
    }

    /// Tells the observer of a run that has ended. Gives the run's span if the observer records one.
    fn observe(&self, requests: &[Request], rows: usize, begun: Instant, error: Option<&Error>) -> Option<TraceLink> {
        let links: Vec<TraceLink> = requests.iter().filter_map(|request| request.trace).collect();
        self.runs.observer.ran(&ObservedRun {
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
            learn_part(&only, run.begun, &outputs);
            if let Some(whole) = only.succeed(outputs, run, &self.runs.ledger) {
                self.run(vec![whole]);
            }
        }
    }

    fn answer_each(&mut self, requests: Vec<Request>, outputs: &[Tensor], run: Run) {
        let rows: Vec<usize> = requests.iter().map(Waiting::rows).collect();
        let Some(split) = batch::split(outputs, &rows) else {
            return requests.into_iter().for_each(|request| self.run(vec![request]));
        };
        for (request, outputs) in requests.into_iter().zip(split) {
            if let Some(whole) = request.succeed(outputs, run, &self.runs.ledger) {
                self.run(vec![whole]);
            }
        }
    }

    /// Answers a request that failed alone, and with it the rest of the batch if the session fails for every input.
    fn fail_alone(&mut self, request: Request, error: &Error) {
        self.search.failed(Vec::new());
        // TensorFlow itself blames the values, so nothing has to be proved.
        if error.code == Code::InvalidArgument || !self.is_broken(error, request.deadline()) {
            self.runs.failed_alone();
            request.fail(&self.blamed(error));
            return;
        }
        // The inputs are not at fault, so their bytes are not lost, and name nothing that is missing.
        let code = if may_blame_values(error.code) { Code::Internal } else { error.code };
        let error = Error::new(code, error.message.as_str());
        request.fail(&error);
        self.search.take_rest().for_each(|request| request.fail(&error));
    }

    /// The error of a request whose values are at fault. A model may also lack a file or an operation, which TensorFlow tells by the
    /// same code as a missing thing that a value names. So values are blamed for it only where others have run well.
    fn blamed(&self, error: &Error) -> Error {
        let code = match (error.code, self.runs.proof()) {
            (Code::NotFound, Proof::NoneYet) => Code::Internal,
            (Code::NotFound, Proof::Input(_) | Proof::TooLarge) => Code::InvalidArgument,
            (code, _) => code,
        };
        Error::new(code, error.message.as_str())
    }

    /// Whether the session fails for every input, and not for the one that gave `error`.
    ///
    /// A session that has run another request of the batch works. Otherwise it has to run an input that is known to be good, which
    /// no observer is told of. A signature that may change the model gets no such run, and so runs each request of the batch.
    fn is_broken(&mut self, error: &Error, deadline: Deadline) -> bool {
        if let Some(works) = self.works {
            return !works;
        }
        let decides_nothing = self.search.is_empty() && !may_blame_values(error.code);
        match self.runs.proof() {
            _ if decides_nothing || !self.session.may_be_tried(self.signature) => false,
            Proof::Input(inputs) => {
                let proof = self.try_run(&[inputs], deadline.left());
                // A proof that had no time left proves nothing.
                let works = proof.err().is_none_or(|error| error.code == Code::DeadlineExceeded);
                self.works = Some(works);
                !works
            }
            Proof::TooLarge => false,
            Proof::NoneYet => {
                self.unproven_failures += usize::from(!may_blame_values(error.code));
                self.unproven_failures >= UNPROVEN_FAILURES_MAX
            }
        }
    }
}

/// Whether an error may be the fault of the values as well as of the model.
const fn may_blame_values(code: Code) -> bool {
    matches!(code, Code::DataLoss | Code::NotFound)
}

/// Notes the time and the bytes of a run that held nothing but a part, or a request larger than a batch. They decide the size of
/// the next parts.
fn learn_part(request: &Request, begun: Instant, outputs: &[Tensor]) {
    if request.is_part() || request.rows() > request.turn_rows() {
        let bytes = |tensors: &[Tensor]| tensors.iter().map(Tensor::byte_count).sum();
        request.gauges().learn_part(request.rows(), begun.elapsed(), [bytes(&request.inputs), bytes(outputs)]);
    }
}
