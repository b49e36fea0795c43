//! Sends the requests that one thread has decoded in one turn to their actor in one message.
//!
//! A thread of the HTTP port wakes up to several sockets at once and decodes one request after another. A message for each request
//! would wake the actor's thread at the first of them. On a busy machine that takes the core from the HTTP thread in the middle of
//! its turn: one hand-over a request, and batches of one. So a thread of an actix arbiter puts its requests here, and a task that
//! it spawns runs behind all sockets that are ready now and sends the requests together. With one socket ready, that is at once.
//!
//! A thread without an arbiter, such as those of the gRPC port, sends each request by itself.

use std::cell::RefCell;
use std::mem;

use actix::{Addr, Arbiter};

use crate::model_actor::{ModelActor, Predict};
use crate::request::Request;

thread_local! {
    // An `Addr` and not a `Recipient`: a clone of the latter allocates.
    static OUTBOX: RefCell<Vec<(Addr<ModelActor>, Vec<Request>)>> = const { RefCell::new(Vec::new()) };
}

/// Sends a request, on a thread of an arbiter together with the others of this turn.
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

/// Sends the requests of this thread that wait here now.
pub(crate) fn flush() {
    for (actor, requests) in OUTBOX.with_borrow_mut(mem::take) {
        actor.do_send(Predict(requests));
    }
}
