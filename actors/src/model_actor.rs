//! The ModelActor of one signature: owns the requests that wait for it, and forms batches of them.
//!
//! It asks the SessionActor for a run credit while requests wait. It forms a batch when the credit comes, never before. Its
//! handlers copy no tensor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;

use crate::batcher::Batcher;
use crate::gauges::RowGauges;
use crate::pace::Pace;
use crate::request::Request;
use crate::session_actor::{RequestCredit, RunBatch, RunCredit, SessionActor};

/// Queues requests. Each holds the place of its answer, so `do_send` is enough. Permits bound how many such messages exist.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Predict(pub(crate) Vec<Request>);

/// Drops the requests whose callers have gone away, so that they hold no memory and no permit.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Purge;

/// Owns the requests that wait for one signature. See the [module](self).
pub(crate) struct ModelActor {
    session: Addr<SessionActor>,
    /// The signature's index in the session.
    signature: usize,
    batcher: Batcher<Request>,
    /// Whether the actor has asked for a credit that has not come.
    asking: bool,
    purging: Arc<AtomicBool>,
    pace: Pace,
    gauges: Arc<RowGauges>,
}

impl ModelActor {
    /// Starts the actor of the session's signature number `signature` in `arbiter`. The sender of a [`Purge`] sets `purging`, and
    /// the actor resets it.
    pub(crate) fn start_in(
        arbiter: &ArbiterHandle,
        session: Addr<SessionActor>,
        signature: usize,
        batch_rows_max: usize,
        purging: Arc<AtomicBool>,
        gauges: Arc<RowGauges>,
    ) -> Addr<Self> {
        let (batcher, pace) = (Batcher::new(batch_rows_max), Pace::default());
        let actor = Self { session, signature, batcher, asking: false, purging, pace, gauges };
        Self::start_in_arbiter(arbiter, move |_| actor)
    }

    fn ask(&mut self, context: &Context<Self>) {
        if !self.asking && !self.batcher.is_empty() {
            self.asking = true;
            self.session.do_send(RequestCredit(context.address().recipient()));
        }
    }

    /// Takes the next batch that has a request left after those that are late at `now` are answered. Gives also how many rows left
    /// the queue, in turns.
    fn next_batch(&mut self, now: Instant) -> (Vec<Request>, usize) {
        let batch_rows_max = self.batcher.batch_rows_max();
        let mut rows = 0;
        loop {
            let batch = self.batcher.next_batch(|request| request.part_rows(batch_rows_max));
            let is_last = batch.is_empty();
            rows += batch.iter().map(Request::turn_rows).sum::<usize>();
            let batch: Vec<Request> = batch.into_iter().filter_map(|request| request.unless_late(now)).collect();
            if is_last || !batch.is_empty() {
                return (batch, rows);
            }
        }
    }
}

impl Actor for ModelActor {
    type Context = Context<Self>;
}

impl Handler<Predict> for ModelActor {
    type Result = ();

    fn handle(&mut self, Predict(requests): Predict, context: &mut Self::Context) {
        for request in requests {
            self.batcher.push(request);
        }
        self.ask(context);
    }
}

impl Handler<RunCredit> for ModelActor {
    type Result = ();

    fn handle(&mut self, credit: RunCredit, context: &mut Self::Context) {
        self.asking = false;
        let now = Instant::now();
        let (requests, rows) = self.next_batch(now);
        self.pace.advance(now, rows, !self.batcher.is_empty());
        self.gauges.set_pace(self.pace.per_row());
        if requests.is_empty() {
            self.session.do_send(credit);
        } else {
            self.session.do_send(RunBatch { credit, signature: self.signature, requests });
        }
        self.ask(context);
    }
}

impl Handler<Purge> for ModelActor {
    type Result = ();

    fn handle(&mut self, _: Purge, _: &mut Self::Context) {
        // The reset comes first: a caller that goes away from here on sends a new message.
        self.purging.store(false, Ordering::Release);
        self.batcher.purge();
    }
}
