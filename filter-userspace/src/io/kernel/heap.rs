//! Memory that is free in this process, but not returned to the kernel.

/// Returns free memory to the kernel: memory used by an attack would else stay with the process,
/// and count against the limit of its control group (malloc_trim(3)).
#[allow(unsafe_code, reason = "the C library's allocator has no other door")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time, by any thread; it touches free memory
    // only.
    unsafe {
        libc::malloc_trim(0);
    }
}
