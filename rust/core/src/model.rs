//! The parameters and how they lie in memory.

use crate::aligned::Aligned;
use crate::simd::Real;
use crate::stream::Csr;

/// Columns are padded with zeros to a multiple of this, so that kernels need no remainder: a padded
/// feature has w = 0 and b = 0, so its output and its gradient are 0.
const PAD: usize = 64;

/// `W` (m x n) with `b` as one more row, each row padded.
pub struct Params<T> {
    /// Number of features.
    pub n: usize,
    /// Number of hidden dimensions.
    pub m: usize,
    /// Length of a row.
    pub stride: usize,
    /// `(m + 1) * stride` scalars.
    pub data: Aligned<T>,
}

impl<T: Real> Params<T> {
    /// All zeros.
    pub fn zeros(n: usize, m: usize) -> Self {
        let stride = n.next_multiple_of(PAD);
        Params {
            n,
            m,
            stride,
            data: Aligned::zeros((m + 1) * stride),
        }
    }

    /// Row `k` of `W`, or `b` for `k = m`, without the padding.
    pub fn row(&self, k: usize) -> &[T] {
        &self.data[k * self.stride..][..self.n]
    }

    /// Row `k` to write to.
    pub fn row_mut(&mut self, k: usize) -> &mut [T] {
        &mut self.data[k * self.stride..][..self.n]
    }

    /// From `W` in row-major order and `b`.
    pub fn from_values(n: usize, m: usize, w: impl IntoIterator<Item = T>, b: &[T]) -> Self {
        let mut params = Params::zeros(n, m);
        let mut w = w.into_iter();
        for k in 0..m {
            params
                .row_mut(k)
                .iter_mut()
                .zip(&mut w)
                .for_each(|(p, x)| *p = x);
        }
        params.row_mut(m).copy_from_slice(b);
        params
    }

    /// `W` in row-major order.
    pub fn w(&self) -> Vec<T> {
        (0..self.m).flat_map(|k| self.row(k)).copied().collect()
    }

    /// `b`.
    pub fn b(&self) -> Vec<T> {
        self.row(self.m).to_vec()
    }

    /// The same in double precision.
    pub fn to_f64(&self) -> Params<f64> {
        let mut params = Params::zeros(self.n, self.m);
        params
            .data
            .iter_mut()
            .zip(self.data.iter())
            .for_each(|(p, x)| *p = x.to_f64());
        params
    }

    /// Square root of the sum of squares over rows `rows`.
    pub fn norm(&self, rows: std::ops::Range<usize>) -> f64 {
        let square = |k| {
            self.row(k)
                .iter()
                .map(|x| x.to_f64() * x.to_f64())
                .sum::<f64>()
        };
        rows.map(square).sum::<f64>().sqrt()
    }
}

/// Hidden vectors h_t = W x_t of the examples `rows`, (rows, m). M is m if it is known when compiling,
/// else 0.
#[inline(always)]
pub fn encode<T: Real, const M: usize>(
    h: &mut [T],
    p: &Params<T>,
    x: &Csr,
    rows: std::ops::Range<usize>,
) {
    let m = if M == 0 { p.m } else { M };
    for (h, t) in h.chunks_exact_mut(m).zip(rows) {
        h.fill(T::default());
        for e in x.indptr[t]..x.indptr[t + 1] {
            let (i, v) = (x.indices[e] as usize, T::from_f64(x.values[e]));
            for (k, h) in h.iter_mut().enumerate() {
                *h = v.fma(p.data[k * p.stride + i], *h);
            }
        }
    }
}

/// z_i = w_i . h + b_i by the operations of the dense kernels, so that its sign is the same there.
#[inline(always)]
pub fn preactivation<T: Real>(params: &[T], stride: usize, h: &[T], i: usize) -> T {
    let mut z = params[h.len() * stride + i];
    for (k, &h) in h.iter().enumerate() {
        z = params[k * stride + i].fma(h, z);
    }
    z
}

/// Importances, padded like a row; `None` when all are 1.
pub fn padded_importance(importance: &[f64]) -> Option<Vec<f64>> {
    if importance.iter().all(|&i| i == 1.0) {
        return None;
    }
    let mut padded = importance.to_vec();
    padded.resize(importance.len().next_multiple_of(PAD), 0.0);
    Some(padded)
}
