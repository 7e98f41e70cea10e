//! The parameters and how they lie in memory.

use crate::aligned::Aligned;
use crate::simd::Real;

/// The two parts of the parameters are padded with zeros to a multiple of this, so that elementwise
/// passes need no remainder: a padded parameter has gradient 0 and stays 0.
const PAD: usize = 64;
/// Up to this m the kernels are compiled for each m, and hidden vectors are not padded.
pub const SMALL: usize = 6;

/// `W` feature by feature (n x m: row j is w_j), then `b`.
///
/// A vector that starts inside a row may be loaded whole: behind the last row lie the padding and b.
/// What it holds beyond the row is multiplied by the zeros that pad hidden vectors.
pub struct Params<T> {
    /// Number of features.
    pub n: usize,
    /// Number of hidden dimensions.
    pub m: usize,
    /// Where b begins.
    pub bias: usize,
    /// The parameters.
    pub data: Aligned<T>,
}

impl<T: Real> Params<T> {
    /// All zeros.
    pub fn zeros(n: usize, m: usize) -> Self {
        let bias = (n * m).next_multiple_of(PAD);
        Params {
            n,
            m,
            bias,
            data: Aligned::zeros(bias + n.next_multiple_of(PAD)),
        }
    }

    /// w_j.
    #[inline(always)]
    pub fn w(&self, j: usize) -> &[T] {
        &self.data[j * self.m..][..self.m]
    }

    /// All w, row after row.
    pub fn weights(&self) -> &[T] {
        &self.data[..self.n * self.m]
    }

    /// b.
    #[inline(always)]
    pub fn b(&self) -> &[T] {
        &self.data[self.bias..][..self.n]
    }

    /// From `W` in row-major order (m x n) and `b`; feature j becomes `rank[j]`, if there is a `rank`.
    pub fn from_values(
        n: usize,
        m: usize,
        w: impl IntoIterator<Item = T>,
        b: &[T],
        rank: Option<&[u32]>,
    ) -> Self {
        let mut params = Params::zeros(n, m);
        let mut w = w.into_iter();
        for k in 0..m {
            for (j, x) in w.by_ref().take(n).enumerate() {
                params.data[place(rank, j) * m + k] = x;
            }
        }
        for (j, &x) in b.iter().enumerate() {
            let at = params.bias + place(rank, j);
            params.data[at] = x;
        }
        params
    }

    /// `W` in row-major order (m x n) and `b`; feature j is `rank[j]` here, if there is a `rank`.
    pub fn values(&self, rank: Option<&[u32]>) -> (Vec<T>, Vec<T>) {
        let mut w = Vec::with_capacity(self.n * self.m);
        for k in 0..self.m {
            w.extend((0..self.n).map(|j| self.data[place(rank, j) * self.m + k]));
        }
        let b = (0..self.n).map(|j| self.b()[place(rank, j)]).collect();
        (w, b)
    }

    /// The same in double precision; feature j is `rank[j]` here, if there is a `rank`.
    pub fn to_f64(&self, rank: Option<&[u32]>) -> Params<f64> {
        let mut params = Params::zeros(self.n, self.m);
        for j in 0..self.n {
            let from = place(rank, j);
            for (out, x) in params.data[j * self.m..].iter_mut().zip(self.w(from)) {
                *out = x.to_f64();
            }
            let at = params.bias + j;
            params.data[at] = self.b()[from].to_f64();
        }
        params
    }

    /// Frobenius norm of W.
    pub fn w_norm(&self) -> f64 {
        norm(self.weights())
    }

    /// Euclidean norm of b.
    pub fn b_norm(&self) -> f64 {
        norm(self.b())
    }
}

#[inline(always)]
fn place(rank: Option<&[u32]>, j: usize) -> usize {
    rank.map_or(j, |rank| rank[j] as usize)
}

fn norm<T: Real>(values: &[T]) -> f64 {
    let squares = values.iter().map(|x| x.to_f64() * x.to_f64());
    squares.sum::<f64>().sqrt()
}

/// Length of a hidden vector in memory: whole vectors of zeros behind it, unless m is small.
pub fn row_length<T: Real>(m: usize) -> usize {
    use crate::simd::Vector;
    if m <= SMALL {
        m
    } else {
        m.next_multiple_of(T::Portable::LANES)
    }
}
