//! The caller of a request: the place where the answer goes.
//!
//! A request holds its [`Caller`] until it is answered. Of a request that runs in parts, [`Part`](crate::parts::Part) holds it.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use tfweb_engine::{Error, Tensor};
use tfweb_limits::{Permit, Share};

use crate::observer::TraceLink;

/// The outputs of a request, in the signature's order. They show the memory of the run.
#[derive(Debug)]
pub struct Outputs {
    tensors: Vec<Tensor>,
    /// The outputs of a large request were joined from those of its parts, and count since the first part gave some.
    share: Option<Share>,
}

/// The answer to one request.
#[derive(Debug)]
pub struct Prediction {
    /// The outputs.
    pub outputs: Outputs,
    /// How long the request waited before its first run began.
    pub queue_time: Duration,
    /// How long its run took, with merging and splitting. For several runs: from the start of the first to the end of the last.
    pub run_time: Duration,
    /// The spans of the runs that served it. Empty if the request is not traced.
    pub runs: Vec<TraceLink>,
}

/// The answer on its way to the caller.
pub(crate) type Answer = Result<Prediction, Error>;

/// A run that serves a request.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) begun: Instant,
    /// The run's span, if it is traced.
    pub(crate) link: Option<TraceLink>,
}

/// The caller of one request, who waits for the answer. Its permit counts the request as inside the model.
pub(crate) struct Caller {
    sender: oneshot::Sender<Answer>,
    /// Set when the first run begins, so that a caller that gives up knows whether the request was queued or ran.
    started: Arc<AtomicBool>,
    permit: Permit,
}

impl Outputs {
    pub(crate) const fn counted(tensors: Vec<Tensor>, share: Share) -> Self {
        Self { tensors, share: Some(share) }
    }

    /// Gives the share apart. Keep it as long as the tensors.
    pub const fn take_share(&mut self) -> Option<Share> {
        self.share.take()
    }
}

impl From<Vec<Tensor>> for Outputs {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self { tensors, share: None }
    }
}

impl Deref for Outputs {
    type Target = [Tensor];

    fn deref(&self) -> &[Tensor] {
        &self.tensors
    }
}

impl Prediction {
    /// Makes the answer to a request that was queued at `queued` and whose first run began at `begun`.
    pub(crate) fn new(outputs: Outputs, queued: Instant, begun: Instant, runs: Vec<TraceLink>) -> Self {
        Self { outputs, queue_time: begun.saturating_duration_since(queued), run_time: begun.elapsed(), runs }
    }
}

impl Caller {
    pub(crate) fn new(sender: oneshot::Sender<Answer>, started: Arc<AtomicBool>, permit: Permit) -> Self {
        Self { sender, started, permit }
    }

    /// Notes that a run of the request begins.
    pub(crate) fn mark_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Whether the caller has gone away.
    pub(crate) fn is_gone(&self) -> bool {
        self.sender.is_canceled()
    }

    /// Sends the answer.
    pub(crate) fn send(self, answer: Answer) {
        // The permit goes first: a caller that sees the answer may send its next request at once.
        drop(self.permit);
        // The send fails if the caller went away in the meantime. It needs no answer then.
        let _ = self.sender.send(answer);
    }
}
