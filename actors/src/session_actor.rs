//! The SessionActor owns a model's TensorFlow session and its run threads, and decides whose batch runs next.
//!
//! A run thread that has nothing to do is a *credit*. ModelActors ask for one when they have work; first come, first served,
//! so no signature starves another, and a batch is formed only when a thread is there to run it.

use std::collections::VecDeque;
use std::io;
use std::sync::{mpsc, Arc};
use std::thread;

use actix::prelude::*;
use tfweb_engine::Session;

use crate::observer::RunTracer;
use crate::request::Request;
use crate::run::run_batch;
use crate::watchdog::{Progress, Watched};

/// Asks for a credit; `RunCredit` comes when one is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RequestCredit(pub(crate) Recipient<RunCredit>);

/// Leave to form one batch and send it; sent back as it is if nothing is left to run.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RunCredit {
    thread: usize,
}

/// A batch for the thread whose credit it uses up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RunBatch {
    pub(crate) credit: RunCredit,
    pub(crate) signature: usize,
    pub(crate) requests: Vec<Request>,
}

/// A run thread has answered its batch; its credit comes back.
#[derive(Message)]
#[rtype(result = "()")]
struct RunReport {
    credit: RunCredit,
}

/// Owns the session's run threads. See the [module](self).
pub(crate) struct SessionActor {
    threads: Vec<mpsc::Sender<RunBatch>>,
    /// The thread that ran last is on top: its caches are warm.
    idle: Vec<usize>,
    asking: VecDeque<Recipient<RunCredit>>,
    progress: Arc<Progress>,
}

impl SessionActor {
    /// Starts the run threads, and the actor in the given arbiter.
    ///
    /// # Errors
    /// If the system has no more threads to give.
    pub(crate) fn start_in(
        arbiter: &ArbiterHandle,
        session: &Arc<dyn Session>,
        progress: &Arc<Progress>,
        run_threads: usize,
        tracer: Option<&Arc<dyn RunTracer>>,
    ) -> io::Result<Addr<Self>> {
        let mut receivers = Vec::with_capacity(run_threads);
        let mut threads = Vec::with_capacity(run_threads);
        for _ in 0..run_threads {
            // Unbounded by type, bounded by credits: one batch at most is in each.
            let (sender, receiver) = mpsc::channel();
            threads.push(sender);
            receivers.push(receiver);
        }
        let idle = (0..run_threads).rev().collect();
        let shared = Arc::clone(progress);
        let addr = Self::start_in_arbiter(arbiter, move |_| Self { threads, idle, asking: VecDeque::new(), progress: shared });
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (session, progress, actor) = (Arc::clone(session), Arc::clone(progress), addr.downgrade());
            let tracer = tracer.cloned();
            thread::Builder::new().name(format!("tfweb-run-{number}")).spawn(move || {
                let watched = Watched { session: &*session, progress: &progress, thread: number };
                run_thread(&receiver, &watched, &actor, tracer.as_deref());
            })?;
        }
        Ok(addr)
    }

    fn grant(&mut self) {
        while !self.idle.is_empty() {
            let Some(asking) = self.asking.pop_front() else {
                break;
            };
            // A model that is gone meanwhile leaves the credit for the next.
            if asking.connected() {
                let thread = self.idle.pop().expect("checked above; this is a bug");
                asking.do_send(RunCredit { thread });
            }
        }
        self.progress.set_asked(!self.asking.is_empty());
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

/// Runs batches until the actor, and with it the sender, is gone.
fn run_thread(
    batches: &mpsc::Receiver<RunBatch>,
    session: &dyn Session,
    actor: &actix::WeakAddr<SessionActor>,
    tracer: Option<&dyn RunTracer>,
) {
    while let Ok(RunBatch { credit, signature, requests }) = batches.recv() {
        run_batch(session, signature, requests, tracer);
        if let Some(actor) = actor.upgrade() {
            actor.do_send(RunReport { credit });
        }
    }
}
