//! Requests that one thread has decoded in one turn travel to their actor together.
//!
//! A door's thread wakes up to several sockets at once and decodes one request after another. Were each sent by itself, the
//! first would wake the actor's thread, which on a busy machine takes the core from the door in the middle of its turn: one
//! hand-over a request, and batches of one. So a thread of an actix arbiter puts its requests here, and a task that it spawns
//! behind the sockets that are ready now sends them all. With one socket ready, that is at once.

use std::cell::RefCell;
use std::mem;

use actix::{Addr, Arbiter};

use crate::model_handle::{ModelActor, Predict};
use crate::request::Request;

thread_local! {
    static OUTBOX: RefCell<Vec<(Addr<ModelActor>, Vec<Request>)>> = const { RefCell::new(Vec::new()) };
}

/// Sends a request, with the others of this turn where the thread belongs to an arbiter.
pub(crate) fn send(actor: &Addr<ModelActor>, request: Request) {
    if Arbiter::try_current().is_none() {
        actor.do_send(Predict(vec![request]));
        return;
    }
    let is_first = OUTBOX.with_borrow_mut(|outbox| {
        let is_first = outbox.is_empty();
        match outbox.iter_mut().find(|(other, _)| other == actor) {
            Some((_, requests)) => requests.push(request),
            None => outbox.push((actor.clone(), vec![request])),
        }
        is_first
    });
    if is_first {
        actix::spawn(async { flush() });
    }
}

/// Sends what waits here now.
pub(crate) fn flush() {
    for (actor, requests) in OUTBOX.with_borrow_mut(mem::take) {
        actor.do_send(Predict(requests));
    }
}
