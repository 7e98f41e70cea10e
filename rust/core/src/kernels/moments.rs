//! Features that are linear, y = z, for all examples: O(m^2) each instead of O(T m).
//!
//! With S0 = T, S1 = sum_t h_t and S2 = sum_t h_t h_t^T,
//!
//! ```text
//! sum_t z_tj = w_j . S1 + S0 b_j      sum_t z_tj h_t = S2 w_j + b_j S1
//! sum_j I_j z_tj w_j = (sum_j I_j w_j w_j^T) h_t + sum_j I_j b_j w_j
//! ```

use crate::memory;
use crate::model::params::{Params, SMALL, at, by_m};
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};

/// Examples whose S1 and S2 run in T's precision.
const BLOCK: usize = 64;

/// S1 and S2 of a set of examples, and what linear features add to each C_t.
pub struct Moments<T> {
    m: usize,
    length: usize,
    count: f64,
    s1: Vec<f64>,
    /// Rows of `length`.
    s2: Vec<f64>,
    /// sum_j I_j w_j w_j^T, lower triangle, and sum_j I_j b_j w_j.
    matrix: Vec<f64>,
    vector: Vec<f64>,
    /// The same in T, full, rows of `length`; the vector is the last row.
    rounded: Vec<T>,
    any: bool,
}

impl<T: Real> Moments<T> {
    /// Buffers for m hidden dimensions and rows of `length`.
    pub fn new(m: usize, length: usize) -> Self {
        Moments {
            m,
            length,
            count: 0.0,
            s1: memory::zeros(length),
            s2: memory::zeros(m * length),
            matrix: memory::zeros(m * m),
            vector: memory::zeros(m),
            rounded: memory::zeros((m + 1) * length),
            any: false,
        }
    }

    /// Add what the linear features `features` add to dw and db (in the layout of the parameters),
    /// for the examples with hidden vectors `h`, and keep what they add to C.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn features<V: Vector<Scalar = T>>(
        &mut self,
        p: &Params<T>,
        importance: &[f64],
        features: &[u32],
        h: &[T],
        sums: &mut [f64],
    ) {
        self.any = !features.is_empty();
        if !self.any {
            return;
        }
        self.matrix.fill(0.0);
        self.vector.fill(0.0);
        // SAFETY: the caller's promise.
        unsafe {
            by_m!(
                self.m,
                M => {
                    self.examples::<M>(h);
                    self.each::<M>(p, importance, features, sums);
                },
                {
                    if self.length < V::LANES {
                        self.examples_wide::<V::Half>(h);
                    } else {
                        self.examples_wide::<V>(h);
                    }
                    self.each::<0>(p, importance, features, sums);
                }
            );
        }
        self.finish();
    }

    /// Round what C needs.
    #[inline(always)]
    fn finish(&mut self) {
        for k in 0..self.m {
            for l in 0..self.m {
                let x = self.matrix[k.max(l) * self.m + k.min(l)];
                self.rounded[l * self.length + k] = T::from_f64(x);
            }
            self.rounded[self.m * self.length + k] = T::from_f64(self.vector[k]);
        }
    }

    /// S1 and S2 of hidden vectors that are not padded.
    #[inline(always)]
    fn examples<const M: usize>(&mut self, h: &[T]) {
        self.s1.fill(0.0);
        self.s2.fill(0.0);
        self.count = (h.len() / M) as f64;
        for h in h.chunks_exact(M) {
            for k in 0..M {
                let x = h[k].to_f64();
                self.s1[k] += x;
                for l in 0..M {
                    self.s2[k * M + l] += x * h[l].to_f64();
                }
            }
        }
    }

    /// S1 and S2 of padded hidden vectors.
    #[inline(always)]
    unsafe fn examples_wide<V: Vector<Scalar = T>>(&mut self, h: &[T]) {
        self.s1.fill(0.0);
        self.s2.fill(0.0);
        self.count = (h.len() / self.length) as f64;
        for block in h.chunks(BLOCK * self.length) {
            let count = block.len() / self.length;
            for q in (0..self.length).step_by(V::LANES) {
                // SAFETY: offsets are inside the block; rows are whole vectors.
                unsafe {
                    let column = block.as_ptr().add(q);
                    let mut total = V::zero();
                    for t in 0..count {
                        total = total.add(V::load(column.add(t * self.length)));
                    }
                    total.add_to(&mut self.s1[q..q + V::LANES]);
                    for l in 0..self.m {
                        let mut sum = V::zero();
                        for t in 0..count {
                            let x = V::splat(*block.as_ptr().add(t * self.length + l));
                            sum = V::load(column.add(t * self.length)).fma(x, sum);
                        }
                        sum.add_to(&mut self.s2[l * self.length + q..][..V::LANES]);
                    }
                }
            }
        }
    }

    /// What each feature adds; M is m, or 0 if m is not small.
    #[inline(always)]
    fn each<const M: usize>(
        &mut self,
        p: &Params<T>,
        importance: &[f64],
        features: &[u32],
        sums: &mut [f64],
    ) {
        let m = if M == 0 { self.m } else { M };
        let length = if M == 0 { self.length } else { M };
        let mut w = memory::zeros(m);
        for &j in features {
            let j = j as usize;
            let weight = importance.get(j).copied().unwrap_or(1.0);
            let b = p.b()[j].to_f64();
            w.iter_mut().zip(p.w(j)).for_each(|(w, x)| *w = x.to_f64());
            let mut total = self.count * b;
            for k in 0..m {
                let row = &self.s2[k * length..][..m];
                let mut sum = b * self.s1[k];
                for l in 0..m {
                    sum += row[l] * w[l];
                }
                sums[at(m, j, k)] += weight * sum;
                total += w[k] * self.s1[k];
                let left = weight * w[k];
                self.vector[k] += left * b;
                for l in 0..=k {
                    self.matrix[k * m + l] += left * w[l];
                }
            }
            sums[p.bias + j] += weight * total;
        }
    }

    /// Add to the C of the examples with hidden vectors `h`.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn apply<V: Vector<Scalar = T>>(&self, h: &[T], c: &mut [T]) {
        if !self.any {
            return;
        }
        let (m, length) = (self.m, self.length);
        assert!(h.len() == c.len() && h.len().is_multiple_of(length));
        if m <= SMALL {
            for (h, c) in h.chunks_exact(m).zip(c.chunks_exact_mut(m)) {
                for k in 0..m {
                    let mut sum = self.rounded[m * m + k];
                    for l in 0..m {
                        sum = h[l].fma(self.rounded[l * m + k], sum);
                    }
                    c[k] = c[k] + sum;
                }
            }
            return;
        }
        // SAFETY: the caller's promise; rows of `length`, a multiple of whole vectors.
        unsafe {
            if length < V::LANES {
                self.apply_wide::<V::Half>(h, c);
            } else {
                self.apply_wide::<V>(h, c);
            }
        }
    }

    /// The same for padded hidden vectors.
    #[inline(always)]
    unsafe fn apply_wide<V: Vector<Scalar = T>>(&self, h: &[T], c: &mut [T]) {
        let (m, length) = (self.m, self.length);
        for (h, c) in h.chunks_exact(length).zip(c.chunks_exact_mut(length)) {
            for q in (0..length).step_by(V::LANES) {
                // SAFETY: rows of `length`, a multiple of whole vectors.
                unsafe {
                    let rows = self.rounded.as_ptr().add(q);
                    let mut sum = V::load(rows.add(m * length));
                    for l in 0..m {
                        sum = V::splat(h[l]).fma(V::load(rows.add(l * length)), sum);
                    }
                    let c = c.as_mut_ptr().add(q);
                    V::load(c).add(sum).store(c);
                }
            }
        }
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

/// S1 and S2 of the unpadded hidden vectors `h`.
#[inline(always)]
pub fn first_moments<T: Real, const M: usize>(h: &[T]) -> ([T; M], [[T; M]; M]) {
    let (mut s1, mut s2) = ([0.0; M], [[0.0; M]; M]);
    for h in h.chunks_exact(M) {
        for k in 0..M {
            let x = h[k].to_f64();
            s1[k] += x;
            for l in 0..=k {
                s2[k][l] += x * h[l].to_f64();
            }
        }
    }
    let s2 = std::array::from_fn(|k| std::array::from_fn(|l| T::from_f64(s2[k.max(l)][k.min(l)])));
    (s1.map(T::from_f64), s2)
}

/// Add `matrix` h + `vector` to every C; the matrix is symmetric, rows are not padded.
#[inline(always)]
pub fn add_linear<T: Real, const M: usize>(
    matrix: &[[T; M]; M],
    vector: &[T; M],
    h: &[T],
    c: &mut [T],
) {
    for (h, c) in h.chunks_exact(M).zip(c.chunks_exact_mut(M)) {
        for k in 0..M {
            let mut sum = vector[k];
            for l in 0..M {
                sum = h[l].fma(matrix[k][l], sum);
            }
            c[k] = c[k] + sum;
        }
    }
}
