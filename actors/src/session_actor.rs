//! The SessionActor owns a model's TensorFlow session and its run threads, and decides which signature runs next.
//!
//! A run thread that has nothing to do is a *credit*. ModelActors ask for a credit when they have work. The first that asks is the
//! first served, so no signature starves another. A batch is formed only when a thread is free to run it.

use std::collections::VecDeque;
use std::io;
use std::sync::{mpsc, Arc};
use std::thread;

use actix::prelude::*;
use tfweb_engine::Session;

use crate::observer::RunObserver;
use crate::request::Request;
use crate::run::run_batch;
use crate::watchdog::{RunWatch, WatchedSession};

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

/// Owns the session's run threads. See the [module](self).
pub(crate) struct SessionActor {
    threads: Vec<mpsc::Sender<RunBatch>>,
    /// The free threads. The last to become free is on top, for its caches are warm.
    idle: Vec<usize>,
    /// The ModelActors that wait for a credit.
    asking: VecDeque<Recipient<RunCredit>>,
    watch: Arc<RunWatch>,
}

impl SessionActor {
    /// Starts the actor in `arbiter`, and a run thread for each thread of `watch`. `observers` has one observer for each signature.
    ///
    /// # Errors
    /// The system's error if it does not start another thread.
    pub(crate) fn start_in(
        arbiter: &ArbiterHandle,
        session: &Arc<dyn Session>,
        watch: &Arc<RunWatch>,
        observers: &Arc<[Arc<dyn RunObserver>]>,
    ) -> io::Result<Addr<Self>> {
        // The type of channel is unbounded; credits bound it to one batch for each thread.
        let (threads, receivers): (Vec<_>, Vec<_>) = (0..watch.run_threads()).map(|_| mpsc::channel()).unzip();
        let idle = (0..threads.len()).rev().collect();
        let shared = Arc::clone(watch);
        let addr = Self::start_in_arbiter(arbiter, move |_| Self { threads, idle, asking: VecDeque::new(), watch: shared });
        for (thread, batches) in receivers.into_iter().enumerate() {
            let (session, watch, observers) = (Arc::clone(session), Arc::clone(watch), Arc::clone(observers));
            let actor = addr.downgrade();
            thread::Builder::new().name(format!("tfweb-run-{thread}")).spawn(move || {
                let session = WatchedSession { session: &*session, watch: &watch, thread };
                run_batches(&batches, &session, &actor, &observers);
            })?;
        }
        Ok(addr)
    }

    /// Gives each free thread to the ModelActor that has waited longest.
    fn grant(&mut self) {
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
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;
}

impl Handler<RequestCredit> for SessionActor {
    type Result = ();

    fn handle(&mut self, RequestCredit(asking): RequestCredit, _: &mut Self::Context) {
        self.asking.push_back(asking);
        self.grant();
    }
}

impl Handler<RunCredit> for SessionActor {
    type Result = ();

    fn handle(&mut self, credit: RunCredit, _: &mut Self::Context) {
        self.idle.push(credit.thread);
        self.grant();
    }
}

impl Handler<RunBatch> for SessionActor {
    type Result = ();

    fn handle(&mut self, batch: RunBatch, _: &mut Self::Context) {
        self.threads[batch.credit.thread].send(batch).expect("a run thread lives as long as its sender; this is a bug");
    }
}

impl Handler<RunReport> for SessionActor {
    type Result = ();

    fn handle(&mut self, report: RunReport, context: &mut Self::Context) {
        self.handle(report.credit, context);
    }
}

/// Runs batches on one run thread until the actor ends, and its sender with it.
fn run_batches(
    batches: &mpsc::Receiver<RunBatch>,
    session: &dyn Session,
    actor: &actix::WeakAddr<SessionActor>,
    observers: &[Arc<dyn RunObserver>],
) {
    while let Ok(RunBatch { credit, signature, requests }) = batches.recv() {
        run_batch(session, signature, requests, &*observers[signature]);
        if let Some(actor) = actor.upgrade() {
            actor.do_send(RunReport { credit });
        }
    }
}
