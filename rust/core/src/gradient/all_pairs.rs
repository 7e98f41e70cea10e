//! All pairs of a share of the examples.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::gradient::shares::Share;
use crate::kernels::moments::Moments;
use crate::kernels::whole::Whole;
use crate::memory;
use crate::simd::dispatch::multiversion;

/// What the shares have in common.
pub struct AllPairs<'a, T> {
    pub whole: &'a Whole<T>,
    pub moments: &'a Moments<T>,
    /// Length of a row of h and C.
    pub length: usize,
    pub cancel: &'a AtomicBool,
}

multiversion! {
    /// A and B to the sums of the share, and C to `c`: blocks of examples with rows of h and C.
    fn dense<V, T>(pairs: &AllPairs<'_, T>, share: &mut Share<T>, h: &[T], c: &mut [T]) {
        let AllPairs { whole, moments, length, cancel } = *pairs;
        let Share { dense, c: c64, sums, used, .. } = share;
        let m = whole.m;
        let size = dense.examples * length;
        for (h, c) in h.chunks(size).zip(c.chunks_mut(size)) {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            c64.clear();
            memory::reserve(c64, h.len() / length * m);
            c64.resize(h.len() / length * m, 0.0);
            // SAFETY: the instruction set of `V` is available here.
            unsafe {
                moments.apply::<V>(h, c);
                dense.run::<V>(&whole.packed(), h, !*used, sums, c64);
            }
            *used = true;
            for (c, c64) in c.chunks_exact_mut(length).zip(c64.chunks_exact(m)) {
                for k in 0..m {
                    c[k] = T::from_f64(c[k].to_f64() + c64[k]);
                }
            }
        }
    }
}
