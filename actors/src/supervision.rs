//! Ends the process when an actor panics.
//!
//! A server that has lost one of its actors would fail every later request. A process that ends can be started anew.

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Once;

use actix::Arbiter;
use futures::FutureExt;

use crate::idle_memory::give_back_each_second;

/// The process's exit code after an actor's panic: EX_SOFTWARE of sysexits.h.
const EXIT_CODE: u8 = 70;

static HOOK: Once = Once::new();

thread_local! {
    static A_PANIC_ENDS_THE_PROCESS: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread for actors. A panic on it ends the process by `end_process`, after the usual message. `end_process` gets the exit
/// code. The first call in a process decides which function that is. A lint keeps other code from starting arbiters without that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that starts arbiters")]
pub fn start_arbiter(end_process: fn(u8) -> !) -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(|| A_PANIC_ENDS_THE_PROCESS.set(true));
    arbiter.spawn(give_back_each_second());
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ends = A_PANIC_ENDS_THE_PROCESS.get();
            if ends {
                tracing::error!("an actor panics; the process ends so that it can be started anew");
            }
            before(info);
            if ends {
                end_process(EXIT_CODE);
            }
        }));
    });
    arbiter
}

/// Runs a future whose panic does not end the process. Gives `None` if it panics.
pub(crate) async fn contain<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(AssertUnwindSafe(future).catch_unwind());
    poll_fn(|context| {
        let before = A_PANIC_ENDS_THE_PROCESS.replace(false);
        let polled = future.as_mut().poll(context);
        A_PANIC_ENDS_THE_PROCESS.set(before);
        polled
    })
    .await
    .ok()
}
