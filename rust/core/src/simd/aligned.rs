//! Buffers that start at a cache line.

use std::ops::{Deref, DerefMut};

use crate::memory;
use crate::simd::vector::Real;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);
// SAFETY: bytes.
unsafe impl memory::Zero for Line {}

/// A zero-initialized buffer of scalars, aligned to 64 bytes.
pub struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    scalar: std::marker::PhantomData<T>,
}

impl<T: Real> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let lines = memory::zeros(len.div_ceil(64 / size_of::<T>()));
        Aligned {
            lines,
            len,
            scalar: std::marker::PhantomData,
        }
    }
}

impl<T: Real> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` initialized scalars; any bits are a valid float.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Real> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
