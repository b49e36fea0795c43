//! Gives memory back that TensorFlow has freed.

/// Gives the system all memory that the C library's allocator holds without use. Loading a model leaves megabytes of it, and
/// large runs leave hundreds. tfweb itself has another allocator. Other C libraries have no such function.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3): it takes any padding, and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
