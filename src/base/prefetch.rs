//! Asking the processor for memory that will be read soon.

/// Asks for the line at `address`. Any address is allowed; nothing is read.
#[inline]
pub fn prefetch<T>(_address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch has no effect but on caches; any address is allowed.
    unsafe {
        std::arch::x86_64::_mm_prefetch(_address.cast(), std::arch::x86_64::_MM_HINT_T0)
    }
}

/// Asks for the first `count` lines from `address` on.
#[inline]
pub fn prefetch_lines<T>(address: *const T, count: usize) {
    for line in 0..count {
        prefetch(address.cast::<u8>().wrapping_add(64 * line));
    }
}
