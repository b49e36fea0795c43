//! Delays an abort of the process, so that its last words are not lost.
//!
//! TensorFlow's checks, the C library and Rust write their last words to stderr and abort at once. If stderr is a pipe that this
//! process reads itself, the words would die with it.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long an abort waits, in milliseconds.
static WAIT_MS: AtomicU32 = AtomicU32::new(0);

/// Makes every later abort of the process wait for `wait`, while other threads go on.
pub fn delay_abort(wait: Duration) {
    WAIT_MS.store(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    // SAFETY: all zero is a valid `sigaction` (sigaction(2): plain data; no flags, an empty mask).
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = wait_then_die as extern "C" fn(libc::c_int) as usize;
    // The handler serves once. The signal that it raises then ends the process as an abort does without a handler.
    action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
    // SAFETY: `action` outlives the call, and its handler calls nothing but what signal-safety(7) lists as async-signal-safe.
    unsafe { libc::sigaction(libc::SIGABRT, &action, ptr::null_mut()) };
}

extern "C" fn wait_then_die(signal: libc::c_int) {
    let wait_ms = WAIT_MS.load(Ordering::Relaxed);
    let wait = libc::timespec { tv_sec: (wait_ms / 1000).into(), tv_nsec: (wait_ms % 1000 * 1_000_000).into() };
    // SAFETY: both are async-signal-safe (signal-safety(7)); `wait` outlives the call, which is told to write nothing.
    unsafe {
        libc::nanosleep(&wait, ptr::null_mut());
        libc::raise(signal);
    }
}
