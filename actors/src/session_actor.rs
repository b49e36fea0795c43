//! The SessionActor owns a model's TensorFlow session and its run threads, and decides which signature runs next.
//!
//! A run thread that has nothing to do is a *credit*. ModelActors ask for a credit when they have work. The first that asks is the
//! first served, so no signature starves another. A batch is formed only when a thread is free to run it.
//!
//! A run that goes on although the time of all its requests is over keeps its thread, but not its credit: nobody can end such a run
//! where TensorFlow does not. A spare thread takes over the credit. There are as many spare threads as there are credits.

use std::collections::VecDeque;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{mpsc, Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tfweb_engine::Session;
use tfweb_limits::Deadline;

use crate::record::SignatureRuns;
use crate::request::Request;
use crate::run::run_batch;
use crate::watchdog::{RunWatch, WatchedSession};

/// How often the actor looks for runs that nobody waits for any more, while requests wait and no thread is free.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a run thread has no batch until its session rests. Giving memory back makes others wait for milliseconds, and the next
/// large run has to ask the system for it again.
const REST_AFTER: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });

/// Asks for a credit. The sender gets a [`RunCredit`] when a thread is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RequestCredit(pub(crate) Recipient<RunCredit>);

/// Allows a ModelActor to form one batch and send it. An actor with nothing left to run sends it back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RunCredit {
    /// The number of the free thread.
    thread: usize,
}

/// Runs a batch on the thread whose credit it uses up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RunBatch {
    pub(crate) credit: RunCredit,
    /// The signature's index in the session.
    pub(crate) signature: usize,
    pub(crate) requests: Vec<Request>,
}

/// Reports that a run thread has answered its batch, and gives its credit back.
#[derive(Message)]
#[rtype(result = "()")]
struct RunReport {
    credit: RunCredit,
}

/// The work of a run thread.
#[derive(Clone, Copy)]
enum Work {
    /// It waits for a batch.
    None,
    /// It runs a batch of this signature. The time of the batch's last request ends then.
    Batch(usize, Deadline),
    /// It runs a batch that nobody waits for, and has lost its credit to a spare thread.
    Overdue,
}

/// Owns the session's run threads. See the [module](self).
pub(crate) struct SessionActor {
    threads: Vec<mpsc::Sender<RunBatch>>,
    /// The threads own it, so that its end, which may take long, comes on one of them.
    session: Weak<dyn Session>,
    /// The work of each thread.
    work: Vec<Work>,
    /// The free threads. The last to become free is on top, for its caches are warm.
    idle: Vec<usize>,
    /// The threads that wait until another loses its credit.
    spare: Vec<usize>,
    /// Whether the actor will look for runs that nobody waits for.
    looks: bool,
    /// The ModelActors that wait for a credit.
    asking: VecDeque<Recipient<RunCredit>>,
    watch: Arc<RunWatch>,
}

impl SessionActor {
    /// Starts the actor in `arbiter`, and a run thread for each thread of `watch`. `signatures` has what they share of each
    /// signature.
    ///
    /// # Errors
    /// The system's error if it does not start another thread.
    pub(crate) fn start_in(
        arbiter: &ArbiterHandle,
        session: &Arc<dyn Session>,
        watch: &Arc<RunWatch>,
        signatures: &Arc<[SignatureRuns]>,
    ) -> io::Result<Addr<Self>> {
        // The type of channel is unbounded; credits bound it to one batch for each thread.
        let (threads, receivers): (Vec<_>, Vec<_>) = watch.threads().map(|_| mpsc::channel()).unzip();
        let (idle, spare) = (watch.run_threads().rev().collect(), watch.spare_threads().collect());
        let (work, shared, own) = (vec![Work::None; threads.len()], Arc::clone(watch), Arc::downgrade(session));
        let addr = Self::start_in_arbiter(arbiter, move |_| Self {
            threads,
            session: own,
            work,
            idle,
            spare,
            looks: false,
            asking: VecDeque::new(),
            watch: shared,
        });
        for (thread, batches) in receivers.into_iter().enumerate() {
            let (session, watch, signatures) = (Arc::clone(session), Arc::clone(watch), Arc::clone(signatures));
            let actor = addr.downgrade();
            thread::Builder::new().name(format!("tfweb-run-{thread}")).spawn(move || {
                let session = WatchedSession { session: &*session, watch: &watch, thread };
                run_batches(&batches, &session, &actor, &signatures);
            })?;
        }
        Ok(addr)
    }

    /// Gives each free thread to the ModelActor that has waited longest.
    fn grant(&mut self, context: &mut Context<Self>) {
        while !self.idle.is_empty() {
            let Some(asking) = self.asking.pop_front() else {
                break;
            };
            // A ModelActor that has ended in the meantime leaves the credit to the next.
            if asking.connected() {
                let thread = self.idle.pop().expect("a thread is free, as checked above; this is a bug");
                asking.do_send(RunCredit { thread });
            }
        }
        self.watch.set_waiting(!self.asking.is_empty());
        if !self.asking.is_empty() && !self.looks {
            self.looks = true;
            context.run_later(LOOK_EVERY, |actor, context| {
                actor.looks = false;
                actor.replace_overdue(Instant::now());
                actor.grant(context);
            });
        }
    }

    /// Gives the credit of each thread whose run nobody waits for at `now` to a spare thread, as long as there are any.
    fn replace_overdue(&mut self, now: Instant) {
        for work in &mut self.work {
            let Work::Batch(signature, deadline) = *work else { continue };
            if deadline.has_passed(now) {
                if let Some(session) = self.session.upgrade() {
                    session.note_overdue(signature);
                }
                let Some(thread) = self.spare.pop() else {
                    return;
                };
                tracing::warn!("a run goes on after the time of its requests; another thread takes over from it");
                *work = Work::Overdue;
                self.watch.set_spare(thread, false);
                self.idle.push(thread);
            }
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;
}

impl Handler<RequestCredit> for SessionActor {
    type Result = ();

    fn handle(&mut self, RequestCredit(asking): RequestCredit, context: &mut Self::Context) {
        self.asking.push_back(asking);
        self.grant(context);
    }
}

impl Handler<RunCredit> for SessionActor {
    type Result = ();

    fn handle(&mut self, RunCredit { thread }: RunCredit, context: &mut Self::Context) {
        self.idle.push(thread);
        self.grant(context);
    }
}

impl Handler<RunBatch> for SessionActor {
    type Result = ();

    fn handle(&mut self, batch: RunBatch, _: &mut Self::Context) {
        let last = batch.requests.iter().map(Request::deadline).max();
        self.work[batch.credit.thread] = last.map_or(Work::None, |deadline| Work::Batch(batch.signature, deadline));
        self.threads[batch.credit.thread].send(batch).expect("a run thread lives as long as its sender; this is a bug");
    }
}

impl Handler<RunReport> for SessionActor {
    type Result = ();

    fn handle(&mut self, RunReport { credit }: RunReport, context: &mut Self::Context) {
        match std::mem::replace(&mut self.work[credit.thread], Work::None) {
            Work::None | Work::Batch(..) => self.handle(credit, context),
            Work::Overdue => {
                self.watch.set_spare(credit.thread, true);
                self.spare.push(credit.thread);
            }
        }
    }
}

/// Runs batches on one run thread until the actor ends, and its sender with it.
fn run_batches(
    batches: &mpsc::Receiver<RunBatch>,
    session: &dyn Session,
    actor: &actix::WeakAddr<SessionActor>,
    signatures: &[SignatureRuns],
) {
    while let Some(RunBatch { credit, signature, requests }) = next_batch(batches, session) {
        // A panic drops the requests that have no answer yet, and with each the place of its answer, which its caller is told of.
        // The state that run threads share stays valid, for no panic comes in the middle of a change.
        let work = AssertUnwindSafe(|| run_batch(session, signature, requests, &signatures[signature]));
        if catch_unwind(work).is_err() {
            tracing::error!("a run thread panicked and goes on; its requests failed; this is a bug");
        }
        if let Some(actor) = actor.upgrade() {
            actor.do_send(RunReport { credit });
        }
    }
}

/// Waits for the next batch; `None` after the last. The session rests meanwhile, once.
fn next_batch(batches: &mpsc::Receiver<RunBatch>, session: &dyn Session) -> Option<RunBatch> {
    match batches.recv_timeout(REST_AFTER) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            session.rest();
            batches.recv().ok()
        }
        next => next.ok(),
    }
}

#[cfg(test)]
mod tests {
    use tfweb_engine::{Error, Signature, Tensor};

    use super::*;

    /// A session that tells when it rests.
    struct Resting(mpsc::Sender<()>);

    impl Session for Resting {
        fn signatures(&self) -> &[Signature] {
            &[]
        }

        fn run(&self, _: usize, _: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
            Err(Error::internal("it runs nothing"))
        }

        fn rest(&self) {
            self.0.send(()).unwrap();
        }
    }

    #[test]
    fn a_session_rests_once_while_no_batch_comes() {
        let (tell, told) = mpsc::channel();
        let (sender, batches) = mpsc::channel();
        let waiting = thread::spawn(move || next_batch(&batches, &Resting(tell)).is_none());
        told.recv().expect("it rests");
        drop(sender);
        assert!(waiting.join().unwrap());
        assert_eq!(told.try_iter().count(), 0);
    }
}
