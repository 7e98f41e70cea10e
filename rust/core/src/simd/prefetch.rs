//! What will be read soon, asked for from the memory beyond the caches.

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Ask for the lines of `values`; nothing happens where the processor is not known.
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    let first = values.as_ptr().cast::<i8>();
    for at in (0..size_of_val(values)).step_by(LINE) {
        // SAFETY: every x86-64 processor has the instruction, which reads nothing that a program sees.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (first, at);
    }
}
