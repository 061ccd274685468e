//! What the allocator does with memory between the steps of a training.

/// Asks the allocator to keep freed memory for the next step; for programs that train, called once at the start.
///
/// A step takes and frees hundreds of megabytes, most of it in blocks that glibc gives back to the system at once; that
/// the system hands them out again, page by page, took about half of the time of a step. Elsewhere nothing happens.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call of the C library that sets two numbers")]
    // SAFETY: mallopt takes two integers and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
