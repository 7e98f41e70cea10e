//! Features that need no pairs: z_tj has the same sign for every example t.
//!
//! With R = max_t |h_t|, |w_j . h_t| <= |w_j| R. So if |w_j| R < |b_j|, the sign of z_tj is that of
//! b_j for all t. If it is negative the feature is *dead*: every output is 0, and so is its part of
//! the gradient. If it is positive the feature is *linear*, and [`crate::kernels::moments`] has its
//! part. What is left is packed for the dense kernels.
//!
//! The bound holds for the rounded z of the dense kernels too: a chain of m multiply-adds is off by at
//! most (m + 1) u (|b_j| + |w_j| R) <= 2 (m + 1) u |b_j| with u <= 6e-8, and the margin below leaves
//! z_tj further than 5e-7 (m + 1) |b_j| from 0.

use crate::kernels::dense::Packed;
use crate::memory;
use crate::model::params::{Params, at};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::vector::Real;

/// Fewer examples than this are not worth the look at every feature.
const EXAMPLES_MIN: usize = 16;
/// The number of packed features is padded to a multiple of this.
const PAD: usize = 64;

/// Which features need their pairs, packed for the dense kernels.
pub struct Whole<T> {
    /// Number of hidden dimensions.
    pub m: usize,
    /// Features of a packed block.
    block: usize,
    /// Features that need their pairs.
    pub active: Vec<u32>,
    /// Features that are linear for all examples.
    pub linear: Vec<u32>,
    params: Aligned<T>,
    importance: Vec<T>,
    importance64: Vec<f64>,
}

impl<T: Real> Whole<T> {
    /// Buffers for n features of m hidden dimensions, packed in blocks of `block`.
    pub fn new(n: usize, m: usize, block: usize) -> Self {
        let size = (m + 1) * n.next_multiple_of(PAD);
        Whole {
            m,
            block,
            active: memory::with_capacity(n),
            linear: memory::with_capacity(n),
            params: Aligned::zeros(size),
            importance: Vec::new(),
            importance64: Vec::new(),
        }
    }

    /// The packed features.
    #[inline(always)]
    pub fn packed(&self) -> Packed<'_, T> {
        Packed {
            count: self.active.len().next_multiple_of(PAD),
            params: &self.params[..self.packed_len()],
            importance: &self.importance,
            importance64: &self.importance64,
        }
    }

    /// Length of the packed features, and of their sums.
    pub fn packed_len(&self) -> usize {
        (self.m + 1) * self.active.len().next_multiple_of(PAD)
    }

    /// Write the sums of the packed features in their places.
    pub fn unpack(&self, bias: usize, packed: &[f64], sums: &mut [f64]) {
        let m = self.m;
        let count = self.active.len();
        let padded = count.next_multiple_of(PAD);
        for j0 in (0..padded).step_by(self.block) {
            let width = self.block.min(padded - j0);
            let block = &packed[j0 * (m + 1)..][..width * (m + 1)];
            let features = &self.active[j0.min(count)..count.min(j0 + width)];
            for (i, &j) in features.iter().enumerate() {
                for k in 0..m {
                    sums[at(m, j as usize, k)] = block[k * width + i];
                }
                sums[bias + j as usize] = block[m * width + i];
            }
        }
    }
}

multiversion! {
    /// Sort the features for examples with hidden vectors `h`, (count, `length`).
    fn classify<V, T>(whole: &mut Whole<T>, p: &Params<T>, h: &[T], length: usize) {
        let m = whole.m;
        whole.active.clear();
        whole.linear.clear();
        if h.len() < EXAMPLES_MIN * length {
            whole.active.extend(0..p.n as u32);
            return;
        }
        let reach = h
            .chunks_exact(length)
            .map(|h| square(h.iter().copied()))
            .fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
        // Squares of bounds are compared, so the margin on z is half of this.
        let margin = 1.0 - 1e-6 * (m + 1) as f64;
        for (j, b) in p.b().iter().enumerate() {
            // A square may underflow; the smallest normal number makes up for it.
            let size = square(p.w(j)) + f64::MIN_POSITIVE;
            let b = b.to_f64();
            // False for anything that is not finite: such a feature is active.
            if size * reach < b * b * margin {
                if b > 0.0 {
                    whole.linear.push(j as u32);
                }
            } else {
                whole.active.push(j as u32);
            }
        }
    }
}

multiversion! {
    /// Copy the active features to blocks; importances are empty when all are 1.
    fn pack<V, T>(whole: &mut Whole<T>, p: &Params<T>, importance: &[T], importance64: &[f64]) {
        let m = whole.m;
        let count = whole.active.len();
        let padded = count.next_multiple_of(PAD);
        for j0 in (0..padded).step_by(whole.block) {
            let width = whole.block.min(padded - j0);
            let block = &mut whole.params[j0 * (m + 1)..][..width * (m + 1)];
            let features = &whole.active[j0.min(count)..count.min(j0 + width)];
            for (i, &j) in features.iter().enumerate() {
                for (k, x) in p.w(j as usize).enumerate() {
                    block[k * width + i] = x;
                }
                block[m * width + i] = p.b()[j as usize];
            }
            for k in 0..=m {
                block[k * width + features.len()..(k + 1) * width].fill(T::default());
            }
        }
        if !importance.is_empty() {
            whole.importance.clear();
            whole.importance64.clear();
            memory::reserve(&mut whole.importance, padded);
            memory::reserve(&mut whole.importance64, padded);
            for &j in &whole.active {
                whole.importance.push(importance[j as usize]);
                whole.importance64.push(importance64[j as usize]);
            }
            whole.importance.resize(padded, T::default());
            whole.importance64.resize(padded, 0.0);
        }
    }
}

#[inline(always)]
fn square<T: Real>(v: impl Iterator<Item = T>) -> f64 {
    let mut sum = 0.0;
    for x in v {
        sum += x.to_f64() * x.to_f64();
    }
    sum
}
