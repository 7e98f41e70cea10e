//! The parameters and how they lie in memory.

use crate::memory;
use crate::simd::aligned::Aligned;
use crate::simd::vector::{Real, Vector};

/// The two parts of the parameters are padded with zeros to a multiple of this, so that elementwise
/// passes need no remainder: a padded parameter has gradient 0 and stays 0. Where numbers are not finite
/// it would not by itself, as 0 times them is not 0: there [`clear_padding`] sees to it.
const PAD: usize = 64;
/// Up to this m the kernels are compiled for each m, and hidden vectors are not padded.
pub const SMALL: usize = 6;

/// The first expression, with `$M` a constant of the value of `$m`, if that is [`SMALL`] at most; else the
/// second.
macro_rules! by_m {
    ($m:expr, $M:ident => $small:expr, $large:expr $(,)?) => {
        match $m {
            1 => $crate::model::params::by_m!(@ 1, $M => $small),
            2 => $crate::model::params::by_m!(@ 2, $M => $small),
            3 => $crate::model::params::by_m!(@ 3, $M => $small),
            4 => $crate::model::params::by_m!(@ 4, $M => $small),
            5 => $crate::model::params::by_m!(@ 5, $M => $small),
            6 => $crate::model::params::by_m!(@ 6, $M => $small),
            _ => $large,
        }
    };
    (@ $value:literal, $M:ident => $small:expr) => {{
        const $M: usize = $value;
        $small
    }};
}
pub(crate) use by_m;

/// Features of a strip, if m is small.
pub const STRIP: usize = 16;

/// Features that a cache holds while rows of W become columns.
const BLOCK: usize = 64;

/// Where W_kj lies: if m is small in strips of features, [strip][k][feature], so that a vector of
/// features is loaded as it is; else feature by feature, [feature][k].
#[inline(always)]
pub fn at(m: usize, j: usize, k: usize) -> usize {
    if m <= SMALL {
        j / STRIP * STRIP * m + k * STRIP + j % STRIP
    } else {
        j * m + k
    }
}

/// W as [`at`] says, then `b`.
///
/// A vector that starts inside a row may be loaded whole: behind the last row lie the padding and b.
/// What it holds beyond the row is multiplied by the zeros that pad hidden vectors.
pub struct Params<T> {
    /// Number of features.
    pub(crate) n: usize,
    /// Number of hidden dimensions.
    pub(crate) m: usize,
    /// Where b begins.
    pub(crate) bias: usize,
    /// The parameters: kernels rely on their number, which cannot be changed from outside.
    pub(crate) data: Aligned<T>,
}

impl<T: Real> Params<T> {
    /// All zeros.
    pub(crate) fn zeros(n: usize, m: usize) -> Self {
        let rows = if m <= SMALL {
            n.next_multiple_of(STRIP)
        } else {
            n
        };
        let size = rows.checked_mul(m).and_then(|size| size.checked_add(n));
        assert!(
            size.is_some_and(|size| size <= isize::MAX as usize),
            "n = {n} and m = {m} are too large"
        );
        let bias = (rows * m).next_multiple_of(PAD);
        Params {
            n,
            m,
            bias,
            data: Aligned::zeros(bias + n.next_multiple_of(PAD)),
        }
    }

    /// The same.
    pub(crate) fn copy(&self) -> Self {
        let mut data = Aligned::zeros(self.data.len());
        data.copy_from_slice(&self.data);
        Params { data, ..*self }
    }

    /// w_j.
    #[inline(always)]
    pub(crate) fn w(&self, j: usize) -> impl Iterator<Item = T> + '_ {
        let (first, step) = if self.m <= SMALL {
            (at(self.m, j, 0), STRIP)
        } else {
            (j * self.m, 1)
        };
        let row = self.data[first..].iter().step_by(step);
        row.take(self.m).copied()
    }

    /// w_j, if m is not small.
    #[inline(always)]
    pub(crate) fn row(&self, j: usize) -> &[T] {
        debug_assert!(self.m > SMALL);
        &self.data[j * self.m..][..self.m]
    }

    /// All of W, with its padding.
    pub(crate) fn weights(&self) -> &[T] {
        &self.data[..self.bias]
    }

    /// b.
    #[inline(always)]
    pub(crate) fn b(&self) -> &[T] {
        &self.data[self.bias..][..self.n]
    }

    /// From `W` in row-major order (m x n) and `b`; feature j becomes `rank[j]`, if there is a `rank`. What
    /// `W` lacks is 0.
    ///
    /// # Panics
    /// If `b` does not have n values, or if n and m are too large for the address space.
    pub fn from_values(
        n: usize,
        m: usize,
        w: impl IntoIterator<Item = T>,
        b: &[T],
        rank: Option<&[u32]>,
    ) -> Self {
        assert!(b.len() == n, "b must have n = {n} values, got {}", b.len());
        let mut params = Params::zeros(n, m);
        let mut w = w.into_iter();
        for k in 0..m {
            for (j, x) in w.by_ref().take(n).enumerate() {
                params.data[at(m, place(rank, j), k)] = x;
            }
        }
        for (j, &x) in b.iter().enumerate() {
            let to = params.bias + place(rank, j);
            params.data[to] = x;
        }
        params
    }

    /// `W` in row-major order (m x n) and `b`; feature j is `rank[j]` here, if there is a `rank`.
    pub(crate) fn values(&self, rank: Option<&[u32]>) -> (Vec<T>, Vec<T>) {
        self.values_of(&self.data, rank)
    }

    /// The same of `data`, which is laid out like the parameters.
    pub(crate) fn values_of(&self, data: &[T], rank: Option<&[u32]>) -> (Vec<T>, Vec<T>) {
        let mut w = memory::zeros(self.n * self.m);
        for first in (0..self.n).step_by(BLOCK) {
            for (k, row) in w.chunks_exact_mut(self.n).enumerate() {
                for j in first..self.n.min(first + BLOCK) {
                    row[j] = data[at(self.m, place(rank, j), k)];
                }
            }
        }
        let b = (0..self.n).map(|j| data[self.bias + place(rank, j)]);
        (w, memory::collect(self.n, b))
    }

    /// The same in another precision; feature j is `rank[j]` here, if there is a `rank`.
    pub(crate) fn to<U: Real>(&self, rank: Option<&[u32]>) -> Params<U> {
        let mut params = Params::zeros(self.n, self.m);
        for j in 0..self.n {
            let from = place(rank, j);
            for (k, x) in self.w(from).enumerate() {
                params.data[at(self.m, j, k)] = U::from_f64(x.to_f64());
            }
            let to = params.bias + j;
            params.data[to] = U::from_f64(self.b()[from].to_f64());
        }
        params
    }

    /// `data`, which is laid out like the parameters, with what belongs to feature j at `places[j]`.
    pub(crate) fn reordered(&self, data: &Aligned<T>, places: &[u32]) -> Aligned<T> {
        let mut new = Aligned::zeros(data.len());
        for (j, &to) in places.iter().enumerate() {
            for k in 0..self.m {
                new[at(self.m, to as usize, k)] = data[at(self.m, j, k)];
            }
            new[self.bias + to as usize] = data[self.bias + j];
        }
        new
    }

    /// Feature j becomes feature `places[j]`.
    pub(crate) fn reorder(&mut self, places: &[u32]) {
        self.data = self.reordered(&self.data, places);
    }

    /// Frobenius norm of W.
    pub(crate) fn w_norm(&self) -> f64 {
        norm(self.weights())
    }

    /// Euclidean norm of b.
    pub(crate) fn b_norm(&self) -> f64 {
        norm(self.b())
    }
}

/// Set what pads `data`, laid out like the parameters of n features and m hidden dimensions with b from
/// `bias` on, to 0.
pub fn clear_padding<T: Real>(n: usize, m: usize, bias: usize, data: &mut [T]) {
    let mut end = n * m;
    if m <= SMALL {
        end = n.next_multiple_of(STRIP) * m;
        if !n.is_multiple_of(STRIP) {
            let last = &mut data[n / STRIP * STRIP * m..end];
            let rows = last.chunks_exact_mut(STRIP);
            rows.for_each(|row| row[n % STRIP..].fill(T::default()));
        }
    }
    data[end..bias].fill(T::default());
    data[bias + n..].fill(T::default());
}

#[inline(always)]
fn place(rank: Option<&[u32]>, j: usize) -> usize {
    rank.map_or(j, |rank| rank[j] as usize)
}

fn norm<T: Real>(values: &[T]) -> f64 {
    let squares = values.iter().map(|x| x.to_f64() * x.to_f64());
    squares.sum::<f64>().sqrt()
}

/// Length of a hidden vector in memory: whole vectors, or one of half the length, of zeros behind it,
/// unless m is small.
pub fn row_length<T: Real>(m: usize) -> usize {
    let half = <T::Portable as Vector>::Half::LANES;
    if m <= SMALL {
        m
    } else if m <= half {
        half
    } else {
        m.next_multiple_of(T::Portable::LANES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// W, row-major, and b: every number another one.
    fn drawn(n: usize, m: usize) -> (Vec<f64>, Vec<f64>) {
        let w = (0..n * m).map(|i| 1.0 + i as f64).collect();
        (w, (0..n).map(|j| -1.0 - j as f64).collect())
    }

    const SHAPES: [(usize, usize); 8] = [
        (1, 1),
        (15, 2),
        (16, 3),
        (65, 6),
        (7, 7),
        (64, 8),
        (33, 17),
        (130, 5),
    ];

    #[test]
    fn every_weight_has_a_place_of_its_own_in_front_of_b() {
        for (n, m) in SHAPES {
            let params = Params::<f32>::zeros(n, m);
            let places: HashSet<usize> = (0..n * m).map(|i| at(m, i / m, i % m)).collect();
            assert!(places.len() == n * m && places.iter().all(|&at| at < params.bias));
            let lengths = [params.bias, params.data.len()];
            assert!(lengths.iter().all(|length| length.is_multiple_of(PAD)));
            assert!(params.data.len() >= params.bias + n);
        }
    }

    #[test]
    fn what_goes_in_comes_out_in_any_order() {
        for (n, m) in SHAPES {
            let (w, b) = drawn(n, m);
            let rank: Vec<u32> = (0..n as u32).rev().collect();
            for rank in [None, Some(&rank[..])] {
                let params = Params::from_values(n, m, w.iter().copied(), &b, rank);
                assert_eq!(params.values(rank), (w.clone(), b.clone()));
                let other = params.to::<f64>(rank);
                assert_eq!(other.values(None), (w.clone(), b.clone()));
                for j in 0..n {
                    let row: Vec<f64> = (0..m).map(|k| w[k * n + j]).collect();
                    assert!(other.w(j).eq(row) && other.b()[j] == b[j]);
                }
            }
            let mut params = Params::from_values(n, m, w.iter().copied(), &b, None);
            params.reorder(&rank);
            assert_eq!(params.values(Some(&rank)), (w.clone(), b.clone()));
            let square: f64 = w.iter().map(|w| w * w).sum();
            assert!((params.w_norm() / square.sqrt() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn padding_is_cleared_and_nothing_else() {
        for (n, m) in SHAPES {
            let (w, b) = drawn(n, m);
            let mut params = Params::from_values(n, m, w.iter().copied(), &b, None);
            let clean = params.copy();
            for x in params.data.iter_mut().filter(|x| **x == 0.0) {
                *x = f64::NAN;
            }
            clear_padding(n, m, params.bias, &mut params.data);
            assert_eq!(*params.data, *clean.data);
        }
    }

    #[test]
    fn sizes_beyond_all_memory_are_refused() {
        for (n, m) in [(usize::MAX, 1), (1 << 40, 1 << 40), (1 << 30, 1 << 34)] {
            assert!(std::panic::catch_unwind(|| Params::<f32>::zeros(n, m)).is_err());
        }
        let b = [0.0f32; 3];
        for n in [2, 4] {
            let w = [0.0f32; 8];
            let made = || drop(Params::from_values(n, 2, w, &b, None));
            assert!(std::panic::catch_unwind(made).is_err());
        }
    }
}
