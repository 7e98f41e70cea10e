//! Features that need no pairs: z_tj has the same sign for every example t.
//!
//! With R = max_t |h_t|, |w_j . h_t| <= |w_j| R. So if |w_j| R < |b_j|, the sign of z_tj is that of
//! b_j for all t. If it is negative the feature is *dead*: every output is 0, and so is its part of
//! the gradient. If it is positive the feature is *linear*: y_tj = z_tj, and with the moments
//! S1 = sum_t h_t and S2 = sum_t h_t h_t^T
//!
//! ```text
//! A_j = w_j . S1 + T b_j     B_j = S2 w_j + b_j S1     C_t += (sum_j I_j w_j w_j^T) h_t + sum_j I_j b_j w_j
//! ```
//!
//! in O(m^2) instead of O(T m). Late in training most features are one or the other: those that no
//! example has die early, and a model that generalises gives most features w = 0 and b > 0.
//!
//! The bound holds for the rounded z of the dense kernels too: a chain of m multiply-adds is off by at
//! most (m + 1) u (|b_j| + |w_j| R) <= 2 (m + 1) u |b_j| with u <= 6e-8, and the margin below leaves
//! z_tj further than 5e-7 (m + 1) |b_j| from 0.

use crate::aligned::Aligned;
use crate::dense::Features;
use crate::simd::Real;

/// Fewer examples than this are not worth the look at every feature.
const EXAMPLES_MIN: usize = 16;
/// Features of a block; a divisor of the padding.
const BLOCK: usize = 64;

/// Which features need their pairs, and what the others add.
pub struct Whole<T> {
    m: usize,
    /// Features that need their pairs.
    active: Vec<u32>,
    /// Number of linear features.
    linear: usize,
    /// 1 for linear features, else 0; padded.
    is_linear: Vec<f64>,
    /// The active features packed, as [`Features`]; `stride` is the length of a packed row.
    params: Aligned<T>,
    importance: Vec<T>,
    importance64: Vec<f64>,
    stride: usize,
    /// Sums of the packed features.
    sums: Aligned<f64>,
    /// sum_j I_j w_j w_j^T over linear features, then sum_j I_j b_j w_j.
    matrix: Vec<f64>,
    vector: Vec<f64>,
}

impl<T: Real> Whole<T> {
    /// Buffers for parameters of this shape.
    pub fn new(m: usize, stride: usize) -> Self {
        Whole {
            m,
            active: Vec::with_capacity(stride),
            linear: 0,
            is_linear: vec![0.0; stride],
            params: Aligned::zeros((m + 1) * stride),
            importance: Vec::new(),
            importance64: Vec::new(),
            stride: 0,
            sums: Aligned::zeros((m + 1) * stride),
            matrix: vec![0.0; m * m],
            vector: vec![0.0; m],
        }
    }

    /// Sort the features for examples with hidden vectors `h`; false if too few would be skipped to
    /// be worth it, and all are to be treated as active.
    #[inline(always)]
    pub fn classify(&mut self, f: &Features<T>, n: usize, h: &[T]) -> bool {
        let m = self.m;
        if h.len() < EXAMPLES_MIN * m {
            return false;
        }
        let reach = h
            .chunks_exact(m)
            .map(|h| h.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>())
            .fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
        // Squares of bounds are compared, so the margin on z is half of this.
        let margin = 1.0 - 1e-6 * (m + 1) as f64;
        self.active.clear();
        self.linear = 0;
        let mut square = [0.0f64; BLOCK];
        let mut bias = [0.0f64; BLOCK];
        for j0 in (0..f.stride).step_by(BLOCK) {
            // A square may underflow; the smallest normal number makes up for it.
            square.fill(f64::MIN_POSITIVE);
            for k in 0..m {
                let row = &f.params[k * f.stride + j0..][..BLOCK];
                square
                    .iter_mut()
                    .zip(row)
                    .for_each(|(s, w)| *s += w.to_f64() * w.to_f64());
            }
            let row = &f.params[m * f.stride + j0..][..BLOCK];
            bias.iter_mut().zip(row).for_each(|(b, x)| *b = x.to_f64());
            let linear = &mut self.is_linear[j0..][..BLOCK];
            for i in 0..BLOCK.min(n - j0) {
                // False for anything that is not finite: such a feature is active.
                let decided = square[i] * reach < bias[i] * bias[i] * margin;
                let positive = decided && bias[i] > 0.0;
                linear[i] = f64::from(u8::from(positive));
                self.linear += usize::from(positive);
                if !decided {
                    self.active.push((j0 + i) as u32);
                }
            }
        }
        let worth = self.active.len() * 8 <= n * 7;
        if worth {
            self.pack(f);
        }
        worth
    }

    /// Copy the active features to contiguous rows.
    #[inline(always)]
    fn pack(&mut self, f: &Features<T>) {
        let count = self.active.len();
        self.stride = count.next_multiple_of(BLOCK);
        for k in 0..=self.m {
            let row = &f.params[k * f.stride..][..f.stride];
            let packed = &mut self.params[k * self.stride..][..self.stride];
            packed
                .iter_mut()
                .zip(&self.active)
                .for_each(|(p, &j)| *p = row[j as usize]);
            packed[count..].fill(T::default());
        }
        if !f.importance.is_empty() {
            self.importance.clear();
            self.importance64.clear();
            self.importance
                .extend(self.active.iter().map(|&j| f.importance[j as usize]));
            self.importance64
                .extend(self.active.iter().map(|&j| f.importance64[j as usize]));
            self.importance.resize(self.stride, T::default());
            self.importance64.resize(self.stride, 0.0);
        }
    }

    /// The packed features and their sums.
    #[inline(always)]
    pub fn packed(&mut self) -> (Features<'_, T>, &mut [f64]) {
        let features = Features {
            m: self.m,
            stride: self.stride,
            params: &self.params[..(self.m + 1) * self.stride],
            importance: &self.importance,
            importance64: &self.importance64,
        };
        (features, &mut self.sums)
    }

    /// Write the sums of the linear features, and zeros for all others.
    #[inline(always)]
    pub fn linear_sums(&mut self, f: &Features<T>, h: &[T], sums: &mut [f64]) {
        self.matrix.fill(0.0);
        self.vector.fill(0.0);
        if self.linear == 0 {
            sums.fill(0.0);
            return;
        }
        let m = self.m;
        let (s1, s2) = moments(h, m);
        let count = (h.len() / m) as f64;
        // w and b of the block's linear features, zeros for the others; (m + 1, BLOCK).
        let mut wb = vec![0.0; (m + 1) * BLOCK];
        for j0 in (0..f.stride).step_by(BLOCK) {
            let linear = &self.is_linear[j0..][..BLOCK];
            if linear.iter().all(|&l| l == 0.0) {
                (0..=m).for_each(|k| sums[k * f.stride + j0..][..BLOCK].fill(0.0));
                continue;
            }
            for k in 0..=m {
                let row = &f.params[k * f.stride + j0..][..BLOCK];
                let out = &mut wb[k * BLOCK..][..BLOCK];
                for ((o, x), l) in out.iter_mut().zip(row).zip(linear) {
                    *o = if *l == 0.0 { 0.0 } else { x.to_f64() };
                }
            }
            for k in 0..=m {
                let out = &mut sums[k * f.stride + j0..][..BLOCK];
                let (to_w, to_b) = if k < m {
                    (&s2[k * m..][..m], s1[k])
                } else {
                    (&s1[..], count)
                };
                out.iter_mut()
                    .zip(&wb[m * BLOCK..])
                    .for_each(|(o, b)| *o = to_b * b);
                for (l, &c) in to_w.iter().enumerate() {
                    out.iter_mut()
                        .zip(&wb[l * BLOCK..][..BLOCK])
                        .for_each(|(o, w)| *o += c * w);
                }
            }
            let weights = (!f.importance64.is_empty()).then(|| &f.importance64[j0..][..BLOCK]);
            if let Some(weights) = weights {
                for k in 0..=m {
                    let out = &mut sums[k * f.stride + j0..][..BLOCK];
                    out.iter_mut().zip(weights).for_each(|(o, i)| *o *= i);
                }
            }
            self.quadratic(&wb, weights);
        }
    }

    /// Add a block's part of sum_j I_j w_j w_j^T and sum_j I_j b_j w_j.
    #[inline(always)]
    fn quadratic(&mut self, wb: &[f64], weights: Option<&[f64]>) {
        let m = self.m;
        let mut left = [0.0; BLOCK];
        for k in 0..m {
            left.copy_from_slice(&wb[k * BLOCK..][..BLOCK]);
            if let Some(weights) = weights {
                left.iter_mut().zip(weights).for_each(|(l, i)| *l *= i);
            }
            for l in 0..=k {
                self.matrix[k * m + l] += dot(&left, &wb[l * BLOCK..][..BLOCK]);
            }
            self.vector[k] += dot(&left, &wb[m * BLOCK..][..BLOCK]);
        }
    }

    /// Write C of the linear features for the examples with hidden vectors `h`.
    #[inline(always)]
    pub fn linear_c(&self, h: &[T], c: &mut [f64]) {
        if self.linear == 0 {
            c.fill(0.0);
            return;
        }
        let m = self.m;
        for (h, c) in h.chunks_exact(m).zip(c.chunks_exact_mut(m)) {
            for k in 0..m {
                let mut total = self.vector[k];
                for l in 0..m {
                    // Only the lower triangle is kept.
                    total += self.matrix[k.max(l) * m + k.min(l)] * h[l].to_f64();
                }
                c[k] = total;
            }
        }
    }

    /// Add the sums of the packed features in their places.
    #[inline(always)]
    pub fn add_packed(&self, stride: usize, sums: &mut [f64]) {
        for k in 0..=self.m {
            let row = &mut sums[k * stride..][..stride];
            let packed = &self.sums[k * self.stride..][..self.active.len()];
            packed
                .iter()
                .zip(&self.active)
                .for_each(|(s, &j)| row[j as usize] += *s);
        }
    }
}

/// S1 and S2 (full, row-major) of the hidden vectors.
#[inline(always)]
fn moments<T: Real>(h: &[T], m: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut s1, mut s2) = (vec![0.0; m], vec![0.0; m * m]);
    let mut wide = vec![0.0; m];
    for h in h.chunks_exact(m) {
        wide.iter_mut().zip(h).for_each(|(w, h)| *w = h.to_f64());
        for k in 0..m {
            s1[k] += wide[k];
            let row = &mut s2[k * m..][..m];
            row.iter_mut()
                .zip(&wide)
                .for_each(|(s, w)| *s += wide[k] * w);
        }
    }
    (s1, s2)
}

/// A dot product over the lanes of a fixed tree, the same on every instruction set.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
