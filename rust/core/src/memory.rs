//! Memory that grows with the shape of a run: where it cannot be had, the run ends, not the process.
//!
//! What the standard library allocates by itself ends the process then. So whatever is as long as the
//! features, the examples, the non-zeros, the hidden dimensions or the lists are many is made here: the
//! thread unwinds, silently, with [`OutOfMemory`], up to where panics of runs are caught.

use std::alloc::{Layout, alloc_zeroed};
use std::panic::resume_unwind;

/// What a thread unwinds with: so many bytes could not be had.
#[derive(Debug, Clone, Copy)]
pub struct OutOfMemory {
    pub bytes: usize,
}

/// Types of which all bits zero are a value.
///
/// # Safety
/// They are.
pub unsafe trait Zero: Copy {}
macro_rules! zero {
    ($($t:ty),*) => { $(
        // SAFETY: of these they are.
        unsafe impl Zero for $t {}
    )* };
}
zero!(bool, u8, u16, u32, u64, usize, f32, f64);

fn fail(bytes: usize) -> ! {
    resume_unwind(Box::new(OutOfMemory { bytes }))
}

/// `len` zeros.
pub fn zeros<T: Zero>(len: usize) -> Vec<T> {
    let Ok(layout) = Layout::array::<T>(len) else {
        fail(usize::MAX)
    };
    if layout.size() == 0 {
        return Vec::new();
    }
    // SAFETY: the layout is that of `len` elements, and zeros are values.
    unsafe {
        let data = alloc_zeroed(layout).cast::<T>();
        if data.is_null() {
            fail(layout.size());
        }
        Vec::from_raw_parts(data, len, len)
    }
}

/// `len` times `value`.
pub fn filled<T: Clone>(len: usize, value: T) -> Vec<T> {
    let mut vec = with_capacity(len);
    vec.resize(len, value);
    vec
}

/// Nothing, with room for `len`.
pub fn with_capacity<T>(len: usize) -> Vec<T> {
    let mut vec = Vec::new();
    if vec.try_reserve_exact(len).is_err() {
        fail(len.saturating_mul(size_of::<T>()));
    }
    vec
}

/// Room for `more`, and for more than that if it grows little by little.
#[inline(always)]
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more && vec.try_reserve(more).is_err() {
        fail((vec.len() + more).saturating_mul(size_of::<T>()));
    }
}

/// The first `len` of `items`.
pub fn collect<T>(len: usize, items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut vec = with_capacity(len);
    vec.extend(items.into_iter().take(len));
    vec
}

/// A copy.
pub fn copy<T: Clone>(from: &[T]) -> Vec<T> {
    let mut vec = with_capacity(from.len());
    vec.extend_from_slice(from);
    vec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(work: impl FnOnce() + std::panic::UnwindSafe) -> usize {
        let panic = std::panic::catch_unwind(work).unwrap_err();
        panic.downcast_ref::<OutOfMemory>().unwrap().bytes
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri ends where there is no memory")]
    fn what_cannot_be_had_unwinds_with_its_size() {
        let much = 1usize << 60;
        assert_eq!(failure(|| drop(zeros::<u64>(much / 8))), much);
        assert_eq!(failure(|| drop(filled(much, 1u8))), much);
        assert_eq!(failure(|| drop(collect(much / 4, 0u32..))), much);
        assert_eq!(failure(|| reserve(&mut vec![0u16; 3], much / 2)), much + 6);
        for len in [much, usize::MAX] {
            assert_eq!(failure(move || drop(zeros::<u64>(len))), usize::MAX);
        }
    }

    #[test]
    fn what_can_be_had_is_as_asked() {
        assert_eq!(zeros::<f32>(3), [0.0; 3]);
        assert!(zeros::<u64>(0).is_empty());
        assert_eq!(filled(2, [0.5f32; 2]), [[0.5; 2]; 2]);
        assert_eq!(collect(3, 5..), [5, 6, 7]);
        assert_eq!(copy(&[1, 2]), [1, 2]);
    }
}
