//! The loss, always in double precision.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory;
use crate::model::params::Params;
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};
use crate::stream::Csr;

/// Examples and features of a block.
const EXAMPLES: usize = 128;
const FEATURES: usize = 512;

multiversion! {
    /// `sum_t sum_j I_j (x_tj - y_tj)^2`; `None` if `cancel` was set meanwhile.
    fn squared_error<V, T>(
        params: &Params<T>, x: &Csr, importance: &[f64], cancel: &AtomicBool,
    ) -> Option<f64> {
        let (stride, packed) = pack(params);
        // No |z| is larger than this times the sum of all |h|, or than what b adds.
        let largest = packed
            .iter()
            .map(|w| 2.0 * w.to_f64().abs())
            .fold(1.0, f64::max);
        let room = if importance.is_empty() { 0 } else { stride };
        let weights = importance.iter().map(|&i| T::from_f64(i));
        let padding = std::iter::repeat(T::default());
        let importance = memory::collect(room, weights.chain(padding));
        let mut h = memory::zeros(EXAMPLES * params.m);
        let mut lanes = Aligned::<T>::zeros(EXAMPLES * V::LANES);
        let mut total = 0.0;
        for first in (0..x.rows()).step_by(EXAMPLES) {
            if cancel.load(Ordering::Relaxed) {
                return None;
            }
            let rows = first..x.rows().min(first + EXAMPLES);
            let count = rows.len();
            encode(&mut h, params, x, rows.clone());
            let size: f64 = h[..count * params.m].iter().map(|h| h.to_f64().abs()).sum();
            if !(size * largest).is_finite() && any_nan(params, &h[..count * params.m]) {
                return Some(f64::NAN); // the kernel would take it for 0
            }
            lanes.fill(T::default());
            for j0 in (0..stride).step_by(FEATURES) {
                let block = Block {
                    m: params.m,
                    stride,
                    data: &packed,
                    importance: (!importance.is_empty()).then_some(importance.as_ptr()),
                    features: j0..stride.min(j0 + FEATURES),
                    h: h.as_ptr(),
                    lanes: lanes.as_mut_ptr(),
                };
                let mut t = 0;
                // SAFETY: `t` and the examples after it are below `count`.
                unsafe {
                    while V::REGISTERS >= 32 && t + 4 <= count {
                        block.squares::<V, 4>(t);
                        t += 4;
                    }
                    while t < count {
                        block.squares::<V, 1>(t);
                        t += 1;
                    }
                }
            }
            for (local, t) in rows.enumerate() {
                // SAFETY: one vector of lanes an example.
                let dense = unsafe { V::load(lanes.as_ptr().add(local * V::LANES)).sum() }.to_f64();
                let loss = dense + at_nonzeros(params, &importance, &h[local * params.m..], x, t);
                // A sum of squares; rounding may leave it below 0. NaN stays.
                total += if loss < 0.0 { 0.0 } else { loss };
            }
        }
        Some(total)
    }
}

/// Rows of W and b, each padded with zeros to the length that comes first.
fn pack<T: Real>(params: &Params<T>) -> (usize, Aligned<T>) {
    let Params { n, m, .. } = *params;
    let stride = n.next_multiple_of(2 * T::Portable::LANES);
    let mut packed = Aligned::zeros((m + 1) * stride);
    for j in 0..n {
        for (k, x) in params.w(j).enumerate() {
            packed[k * stride + j] = x;
        }
        packed[m * stride + j] = params.b()[j];
    }
    (stride, packed)
}

/// Hidden vectors h_t = W x_t of the examples `rows`, (rows, m).
#[inline(always)]
fn encode<T: Real>(h: &mut [T], p: &Params<T>, x: &Csr, rows: std::ops::Range<usize>) {
    for (h, t) in h.chunks_exact_mut(p.m).zip(rows) {
        h.fill(T::default());
        for e in x.indptr[t]..x.indptr[t + 1] {
            let v = T::from_f64(x.values[e]);
            for (h, w) in h.iter_mut().zip(p.w(x.indices[e] as usize)) {
                *h = v.fma(w, *h);
            }
        }
    }
}

/// z_i = w_i . h + b_i by the operations of the dense kernel.
#[inline(always)]
fn preactivation<T: Real>(p: &Params<T>, h: &[T], i: usize) -> T {
    let mut z = p.b()[i];
    for (w, &h) in p.w(i).zip(h) {
        z = w.fma(h, z);
    }
    z
}

/// Whether any z of the examples with hidden vectors `h` is not a number.
fn any_nan<T: Real>(p: &Params<T>, h: &[T]) -> bool {
    let mut rows = h.chunks_exact(p.m);
    rows.any(|h| (0..p.n).any(|i| preactivation(p, h, i).to_f64().is_nan()))
}

/// What the non-zeros of example `t` add to `sum_j I_j y_tj^2`: `I (x - y)^2 - I y^2`.
#[inline(always)]
fn at_nonzeros<T: Real>(params: &Params<T>, importance: &[T], h: &[T], x: &Csr, t: usize) -> f64 {
    let mut total = 0.0;
    for e in x.indptr[t]..x.indptr[t + 1] {
        let i = x.indices[e] as usize;
        let z = preactivation(params, &h[..params.m], i);
        let y = if z > T::default() { z.to_f64() } else { 0.0 };
        let weight = importance.get(i).map_or(1.0, |w| w.to_f64());
        total += weight * x.values[e] * (x.values[e] - 2.0 * y);
    }
    total
}

/// A block of features for the examples of a block.
struct Block<'a, T> {
    m: usize,
    stride: usize,
    data: &'a [T],
    importance: Option<*const T>,
    features: std::ops::Range<usize>,
    h: *const T,
    lanes: *mut T,
}

impl<T: Real> Block<'_, T> {
    /// Add I_j y_tj^2 to the lanes of P examples, two vectors of features at a time.
    #[inline(always)]
    unsafe fn squares<V: Vector<Scalar = T>, const P: usize>(&self, t: usize) {
        let (m, stride, data) = (self.m, self.stride, self.data);
        // SAFETY: `features` is inside the padded rows and a multiple of two vectors; P examples
        // from t on exist.
        unsafe {
            let mut sum = [V::zero(); P];
            for (p, s) in sum.iter_mut().enumerate() {
                *s = V::load(self.lanes.add((t + p) * V::LANES));
            }
            let mut j = self.features.start;
            while j < self.features.end {
                let b0 = V::load(data.as_ptr().add(m * stride + j));
                let b1 = V::load(data.as_ptr().add(m * stride + j + V::LANES));
                let mut z = [[b0, b1]; P];
                for k in 0..m {
                    let w0 = V::load(data.as_ptr().add(k * stride + j));
                    let w1 = V::load(data.as_ptr().add(k * stride + j + V::LANES));
                    for (p, z) in z.iter_mut().enumerate() {
                        let h = V::splat(*self.h.add((t + p) * m + k));
                        z[0] = w0.fma(h, z[0]);
                        z[1] = w1.fma(h, z[1]);
                    }
                }
                for q in 0..2 {
                    for p in 0..P {
                        let y = z[p][q].relu();
                        let weighted = match self.importance {
                            Some(i) => y.mul(V::load(i.add(j + q * V::LANES))),
                            None => y,
                        };
                        sum[p] = weighted.fma(y, sum[p]);
                    }
                }
                j += 2 * V::LANES;
            }
            for (p, s) in sum.iter().enumerate() {
                s.store(self.lanes.add((t + p) * V::LANES));
            }
        }
    }
}
