//! Counts the memory that a function takes.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Gives what a function gives, and the most memory that the process has taken meanwhile. A call within a call hides the peak so far
/// from the outer one.
pub(crate) fn measure<T>(function: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = function();
    (result, MEMORY.peak_usage().saturating_sub(before))
}
