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
/// Examples whose sums are in registers at one time, where there are enough of them.
const AT_ONCE: usize = 4;

/// Losses of examples, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    /// Their number.
    count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    squares: f64,
}

impl Losses {
    /// Add the loss of an example.
    pub fn add(&mut self, loss: f64) {
        self.count += 1;
        self.sum += loss;
        self.squares += loss * loss;
    }

    /// Add the losses of a part that is not empty; its sum is that many times its mean.
    pub fn append(&mut self, part: Losses) {
        self.count += part.count;
        self.sum += part.mean() * part.count as f64;
        self.squares += part.squares;
    }

    /// The mean; NaN if there are none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return f64::NAN;
        }
        self.sum / self.count as f64
    }

    /// The standard error of the mean; NaN for fewer than two, or if the mean is not finite.
    pub fn standard_error(&self) -> f64 {
        let (mean, examples) = (self.mean(), self.count as f64);
        if self.count < 2 || !mean.is_finite() {
            return f64::NAN;
        }
        let variance = (self.squares - self.sum * mean).max(0.0) / (examples - 1.0);
        (variance / examples).sqrt()
    }
}

multiversion! {
    /// The losses `sum_j I_j (x_tj - y_tj)^2`; `None` if `cancel` was set meanwhile.
    fn squared_error<V, T>(
        params: &Params<T>, x: &Csr, importance: &[f64], cancel: &AtomicBool,
    ) -> Option<Losses> {
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
        let mut given = Aligned::<T>::zeros(AT_ONCE * FEATURES);
        let sorted = (0..x.rows()).all(|t| x.indices[x.indptr[t]..x.indptr[t + 1]].is_sorted());
        let mut losses = Losses::default();
        for first in (0..x.rows()).step_by(EXAMPLES) {
            if cancel.load(Ordering::Relaxed) {
                return None;
            }
            let rows = first..x.rows().min(first + EXAMPLES);
            let count = rows.len();
            encode(&mut h, params, x, rows.clone());
            let size: f64 = h[..count * params.m].iter().map(|h| h.to_f64().abs()).sum();
            if !(size * largest).is_finite() && any_nan(params, &h[..count * params.m]) {
                losses.add(f64::NAN); // the kernel would take it for 0
                return Some(losses);
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
                while t < count {
                    let several = V::REGISTERS >= 32 && t + AT_ONCE <= count;
                    let few = first + t..first + t + if several { AT_ONCE } else { 1 };
                    nonzeros(x, few.clone(), &block.features, sorted, |at, value| {
                        given[at] = T::from_f64(given[at].to_f64() + value);
                    });
                    // SAFETY: `t` and the examples after it are below `count`.
                    unsafe {
                        if several {
                            block.squares::<V, AT_ONCE>(t, given.as_ptr());
                        } else {
                            block.squares::<V, 1>(t, given.as_ptr());
                        }
                    }
                    t += few.len();
                    nonzeros(x, few, &block.features, sorted, |at, _| given[at] = T::default());
                }
            }
            for local in 0..count {
                // SAFETY: one vector of lanes an example.
                let loss = unsafe { V::load(lanes.as_ptr().add(local * V::LANES)).sum() };
                losses.add(loss.to_f64());
            }
        }
        Some(losses)
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

/// Take the non-zeros of examples at a block of features, each with its place in the block: rows of
/// [`FEATURES`], one for each example.
#[inline(always)]
fn nonzeros(
    x: &Csr,
    rows: std::ops::Range<usize>,
    features: &std::ops::Range<usize>,
    sorted: bool,
    mut take: impl FnMut(usize, f64),
) {
    for (local, t) in rows.enumerate() {
        let row = x.indptr[t]..x.indptr[t + 1];
        let indices = &x.indices[row.clone()];
        let low = if sorted {
            indices.partition_point(|&i| (i as usize) < features.start)
        } else {
            0
        };
        for (&i, &value) in indices[low..].iter().zip(&x.values[row][low..]) {
            let i = i as usize;
            if features.contains(&i) {
                take(local * FEATURES + i - features.start, value);
            } else if sorted {
                break;
            }
        }
    }
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
    /// Add I_j (x_tj - y_tj)^2 to the lanes of P examples, two vectors of features at a time. `x` has
    /// a row of [`FEATURES`] for each.
    #[inline(always)]
    unsafe fn squares<V: Vector<Scalar = T>, const P: usize>(&self, t: usize, x: *const T) {
        let (m, stride, data) = (self.m, self.stride, self.data);
        // SAFETY: `features` is inside the padded rows, no more than FEATURES and a multiple of
        // two vectors; P examples from t on and P rows of x exist.
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
                        let at = p * FEATURES + j - self.features.start + q * V::LANES;
                        let error = z[p][q].relu().sub(V::load(x.add(at)));
                        let weighted = match self.importance {
                            Some(i) => error.mul(V::load(i.add(j + q * V::LANES))),
                            None => error,
                        };
                        sum[p] = weighted.fma(error, sum[p]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::isa::Isa;
    use crate::stream::{Init, Stream, initial_weights, role};

    /// The losses, square by square.
    fn wanted(p: &Params<f64>, x: &Csr, importance: &[f64]) -> Losses {
        let mut losses = Losses::default();
        for t in 0..x.rows() {
            let (mut h, mut given) = (vec![0.0; p.m], vec![0.0; p.n]);
            for e in x.indptr[t]..x.indptr[t + 1] {
                let j = x.indices[e] as usize;
                given[j] += x.values[e];
                h.iter_mut()
                    .zip(p.w(j))
                    .for_each(|(h, w)| *h += w * x.values[e]);
            }
            let mut loss = 0.0;
            for j in 0..p.n {
                let z = p.w(j).zip(&h).map(|(w, h)| w * h).sum::<f64>() + p.b()[j];
                let weight = importance.get(j).copied().unwrap_or(1.0);
                loss += weight * (z.max(0.0) - given[j]).powi(2);
            }
            losses.add(loss);
        }
        losses
    }

    #[test]
    fn means_and_their_errors_need_losses() {
        let mut losses = Losses::default();
        assert!(losses.mean().is_nan() && losses.standard_error().is_nan());
        losses.add(1.0);
        assert!(losses.mean() == 1.0 && losses.standard_error().is_nan());
        let mut part = Losses::default();
        part.add(2.0);
        part.add(6.0);
        losses.append(part);
        assert_eq!(losses.mean(), 3.0);
        assert!((losses.standard_error() - (7.0f64 / 3.0).sqrt()).abs() < 1e-15);
        losses.add(f64::INFINITY);
        assert!(losses.mean() == f64::INFINITY && losses.standard_error().is_nan());
    }

    fn near(a: Losses, b: Losses) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12 * b.max(1.0);
        near(a.sum, b.sum) && near(a.squares, b.squares)
    }

    /// Parameters and examples of that shape.
    fn case(n: usize, m: usize, examples: u64) -> (Params<f64>, Csr) {
        let w = initial_weights(n, m, Init::XavierNormal, 3);
        let b: Vec<f64> = (0..n).map(|j| 0.1 - 0.3 * (j % 2) as f64).collect();
        let stream = Stream::new(n, 0.8, 4, role::TEST, true);
        let x = stream.sample(0, examples, &AtomicBool::new(false)).unwrap();
        (Params::from_values(n, m, w, &b, None), x)
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn the_loss_is_the_sum_of_squares_on_every_instruction_set() {
        let never = AtomicBool::new(false);
        // Shapes around a vector, a block of features and a block of examples.
        for (n, m, examples) in [
            (1, 1, 1),
            (17, 2, 5),
            (513, 7, 130),
            (512, 3, 128),
            (40, 9, 3),
        ] {
            let (p, x) = case(n, m, examples);
            let weights: Vec<f64> = (0..n).map(|j| 0.99f64.powi(j as i32)).collect();
            for importance in [&[][..], &weights] {
                let want = wanted(&p, &x, importance);
                let portable = squared_error(Isa::Portable, &p, &x, importance, &never).unwrap();
                assert!(near(portable, want), "n = {n}, m = {m}");
                for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
                    let found = squared_error(isa, &p, &x, importance, &never).unwrap();
                    assert_eq!(found, portable, "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn entries_in_any_order_and_repeated_ones_count() {
        let never = AtomicBool::new(false);
        let (p, _) = case(700, 2, 1);
        let x = Csr {
            indptr: vec![0, 4, 4],
            indices: vec![699, 3, 600, 3],
            values: vec![0.5, 0.25, 1.0, 0.25],
        };
        let found = squared_error(Isa::Portable, &p, &x, &[], &never).unwrap();
        assert!(near(found, wanted(&p, &x, &[])));
    }

    #[test]
    fn what_is_not_a_number_is_no_loss_and_a_stop_gives_none() {
        let (mut p, x) = case(20, 2, 6);
        let stop = AtomicBool::new(true);
        assert_eq!(squared_error(Isa::Portable, &p, &x, &[], &stop), None);
        p.data[p.bias + 3] = f64::NAN;
        p.data[0] = f64::INFINITY;
        let never = AtomicBool::new(false);
        let found = squared_error(Isa::Portable, &p, &x, &[], &never).unwrap();
        assert!(!found.sum.is_finite() && !found.squares.is_finite());
    }
}
