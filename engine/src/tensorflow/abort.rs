//! The moment before the process dies of an abort. TensorFlow's checks, the C library and Rust's own last words all write to
//! stderr and abort at once; where stderr is a pipe that this process reads itself, that would be lost.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long an abort waits, in milliseconds.
static WAIT_MS: AtomicU32 = AtomicU32::new(0);

/// Makes every later abort of the process wait, while its other threads go on.
pub fn delay_abort(wait: Duration) {
    WAIT_MS.store(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    // SAFETY: all zero is a valid `sigaction` (sigaction(2): plain data; no flags, an empty mask).
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = wait_then_die as extern "C" fn(libc::c_int) as usize;
    // Once: the handler's own signal then does what an abort does without it.
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
