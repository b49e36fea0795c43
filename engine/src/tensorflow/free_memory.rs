//! Gives the system memory back that was freed. TensorFlow and tfweb have an allocator each.

/// Gives back all memory that the C library's allocator, which is TensorFlow's, holds without use. Loading a model leaves megabytes of
/// it, and large runs leave hundreds. Other C libraries have no such function.
pub(super) fn give_back_tensorflows() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3): it takes any padding, and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back what mimalloc, which is tfweb's allocator, holds without use for longer than its delay of a second: what the calling
/// thread has allocated and any thread has freed. mimalloc does so when the thread allocates, so a thread that waits holds it.
pub fn give_back_memory() {
    // SAFETY: mimalloc.h, mi_collect: it may be called from any thread at any time. It collects the calling thread's heap, which is
    // there also where another allocator is the process' own.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
