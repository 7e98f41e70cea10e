//! One version of each body for each instruction set.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::gradient::shares::Share;
use crate::kernels::moments::Moments;
use crate::kernels::nonzeros;
use crate::kernels::whole::Whole;
use crate::memory;
use crate::model::examples::{Columns, Examples};
use crate::model::params::Params;
use crate::simd::dispatch::multiversion;

multiversion! {
    /// See [`nonzeros::encode`].
    #[allow(clippy::too_many_arguments)]
    fn encode<V, T>(
        p: &Params<T>, x: &Examples<T>, importance: &[T], range: Range<usize>,
        length: usize, h: &mut [T], c: &mut [T],
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { nonzeros::encode::<V>(p, x, importance, range, length, h, c) }
    }
}

multiversion! {
    /// See [`nonzeros::collect`].
    #[allow(clippy::too_many_arguments)]
    fn collect<V, T>(
        p: &Params<T>, x: &Columns<T>, importance: &[T], part: usize,
        length: usize, h: &[T], c: &[T], dw: &mut [f64], db: &mut [f64],
    ) {
        // SAFETY: the instruction set of `V` is available here; h and c have a row for every example.
        unsafe { nonzeros::collect::<V>(p, x, importance, part, length, h, c, dw, db) }
    }
}

multiversion! {
    /// See [`Whole::classify`].
    fn classify<V, T>(whole: &mut Whole<T>, p: &Params<T>, h: &[T], length: usize) {
        whole.classify(p, h, length);
    }
}

multiversion! {
    /// See [`Whole::pack`].
    fn pack<V, T>(whole: &mut Whole<T>, p: &Params<T>, importance: &[T], importance64: &[f64]) {
        whole.pack(p, importance, importance64);
    }
}

multiversion! {
    /// See [`Moments::features`].
    fn linear<V, T>(
        moments: &mut Moments<T>, p: &Params<T>, importance: &[f64], features: &[u32], h: &[T],
        sums: &mut [f64],
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { moments.features::<V>(p, importance, features, h, sums) }
    }
}

multiversion! {
    /// All pairs of a share: blocks of examples with rows of h and C.
    #[allow(clippy::too_many_arguments)]
    fn dense<V, T>(
        share: &mut Share<T>, whole: &Whole<T>, moments: &Moments<T>, length: usize, h: &[T],
        c: &mut [T], cancel: &AtomicBool,
    ) {
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
