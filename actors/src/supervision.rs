//! Ends the process when an actor panics.
//!
//! A server that has lost one of its actors would fail every later request. A process that ends can be started anew.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

use actix::ArbiterHandle;

/// The process's exit code after an actor's panic: EX_SOFTWARE of sysexits.h.
const EXIT_CODE: u8 = 70;

static HOOK: Once = Once::new();

thread_local! {
    static RUNS_ACTORS: Cell<bool> = const { Cell::new(false) };
}

/// Makes a panic on `arbiter`'s thread end the process by `end_process`, after the usual message. `end_process` gets the exit code.
/// The first call in a process decides which function that is.
pub fn exit_on_actor_panic(arbiter: &ArbiterHandle, end_process: fn(u8) -> !) {
    arbiter.spawn_fn(|| RUNS_ACTORS.set(true));
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let runs_actors = RUNS_ACTORS.get();
            if runs_actors {
                tracing::error!("an actor panics; the process ends so that it can be started anew");
            }
            before(info);
            if runs_actors {
                end_process(EXIT_CODE);
            }
        }));
    });
}
