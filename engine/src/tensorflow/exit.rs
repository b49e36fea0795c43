//! Ends the process without its exit handlers.
//!
//! libtensorflow has static objects, which the exit handlers destroy. Its threads may still run operations then: those of a request
//! that timed out, of a model that loads, or of requests that a stop cuts off. Such an operation reads destroyed objects, and the
//! process ends by SIGSEGV in place of its exit code.

/// Ends the process at once with this exit code. Nothing is flushed: who calls this has written what is to be read.
pub fn exit_at_once(code: u8) -> ! {
    // SAFETY: `_exit` takes any status, and does not return (_exit(2)).
    unsafe { libc::_exit(code.into()) }
}
