//! The gradient of the squared error: sparse in, fused out, never a T x n array.
//!
//! With y = relu(z), z_tj = w_j . h_t + b_j, and r_tj = I_j (y_tj - x_tj) [z_tj > 0], half the
//! gradient of sum_tj I_j (x_tj - y_tj)^2 is
//!
//! ```text
//! db_j = sum_t r_tj      dw_j = sum_t r_tj h_t  +  sum_t x_tj C_t      C_t = sum_j r_tj w_j
//! ```
//!
//! y carries its own mask, so the dense part needs only A_j = sum_t y_tj, B_j = sum_t y_tj h_t and
//! C_t = sum_j I_j y_tj w_j: 3 m multiply-adds a pair. What x adds is put right for the non-zeros,
//! and features whose z has one sign for all examples need no pairs at all ([`crate::whole`]).
//!
//! Sums run in T's precision inside a block of examples (A, B) or features (C) and in double across
//! blocks.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::aligned::Aligned;
use crate::dense::{Dense, Features};
use crate::dispatch::multiversion;
use crate::model::{Params, encode, preactivation};
use crate::simd::{Real, Vector};
use crate::stream::Csr;
use crate::whole::Whole;

/// Buffers for gradients of problems of one shape.
pub struct Gradient<T> {
    /// Half the gradient, in the layout of [`Params`].
    pub sums: Aligned<f64>,
    /// Importances as T, padded; empty when all are 1.
    importance: Vec<T>,
    /// The same in double.
    importance64: Vec<f64>,
    /// Hidden vectors, (T, m).
    h: Vec<T>,
    /// C of a block of examples, (examples, m).
    c: Vec<f64>,
    /// I_j x_tj of an example's non-zeros where z_tj > 0, else 0.
    active: Vec<f64>,
    dense: Dense<T>,
    whole: Whole<T>,
}

impl<T: Real> Gradient<T> {
    /// Buffers for the shape of `params`; `importance` is padded, `None` when all are 1.
    pub fn new(params: &Params<T>, importance: Option<&[f64]>) -> Self {
        let Params { m, stride, .. } = *params;
        let importance64 = importance.unwrap_or_default().to_vec();
        let dense = Dense::new(m);
        Gradient {
            sums: Aligned::zeros((m + 1) * stride),
            importance: importance64.iter().map(|&i| T::from_f64(i)).collect(),
            importance64,
            h: Vec::new(),
            c: vec![0.0; dense.examples * m],
            active: Vec::new(),
            dense,
            whole: Whole::new(m, stride),
        }
    }
}

multiversion! {
    /// Compute `g.sums` for the examples `x`, whose features are below n; false if `cancel` was set
    /// meanwhile.
    fn gradient = pass(g: &mut Gradient<T>, params: &Params<T>, x: &Csr, cancel: &AtomicBool) -> bool
}

/// # Safety
/// The instruction set of `V` is available.
#[inline(always)]
unsafe fn pass<V: Vector>(
    g: &mut Gradient<V::Scalar>,
    params: &Params<V::Scalar>,
    x: &Csr,
    cancel: &AtomicBool,
) -> bool {
    let Params { m, n, stride, .. } = *params;
    assert_eq!(g.sums.len(), params.data.len());
    assert!(x.indices.len() == x.values.len() && x.indptr.last() == Some(&x.indices.len()));
    g.h.resize(x.rows() * m, V::Scalar::default());
    match m {
        1 => encode::<_, 1>(&mut g.h, params, x, 0..x.rows()),
        2 => encode::<_, 2>(&mut g.h, params, x, 0..x.rows()),
        3 => encode::<_, 3>(&mut g.h, params, x, 0..x.rows()),
        _ => encode::<_, 0>(&mut g.h, params, x, 0..x.rows()),
    }
    let all = Features {
        m,
        stride,
        params: &params.data,
        importance: &g.importance,
        importance64: &g.importance64,
    };
    let packed = g.whole.classify(&all, n, &g.h);
    if packed {
        g.whole.linear_sums(&all, &g.h, &mut g.sums);
    }
    let examples = g.dense.examples;
    for first in (0..x.rows()).step_by(examples) {
        if cancel.load(Ordering::Relaxed) {
            return false;
        }
        let rows = first..x.rows().min(first + examples);
        let h = &g.h[rows.start * m..rows.end * m];
        let c = &mut g.c[..h.len()];
        // SAFETY: the caller's promise.
        unsafe {
            if packed {
                g.whole.linear_c(h, c);
                let (features, sums) = g.whole.packed();
                g.dense.run::<V>(&features, h, first == 0, sums, c);
            } else {
                c.fill(0.0);
                g.dense.run::<V>(&all, h, first == 0, &mut g.sums, c);
            }
        }
        let (sums, active) = (&mut g.sums, &mut g.active);
        match m {
            1 => correct::<_, 1>(&all, x, rows, h, c, active, sums),
            2 => correct::<_, 2>(&all, x, rows, h, c, active, sums),
            3 => correct::<_, 3>(&all, x, rows, h, c, active, sums),
            _ => correct::<_, 0>(&all, x, rows, h, c, active, sums),
        }
    }
    if packed {
        g.whole.add_packed(stride, &mut g.sums);
    }
    true
}

/// What the non-zeros of x change in A, B and C, and the encoder's part of the gradient. M as in
/// [`encode`].
#[inline(always)]
fn correct<T: Real, const M: usize>(
    f: &Features<T>,
    x: &Csr,
    rows: std::ops::Range<usize>,
    h: &[T],
    c: &mut [f64],
    active: &mut Vec<f64>,
    sums: &mut [f64],
) {
    let m = if M == 0 { f.m } else { M };
    for ((h, c), t) in h.chunks_exact(m).zip(c.chunks_exact_mut(m)).zip(rows) {
        let entries = x.indptr[t]..x.indptr[t + 1];
        let (indices, values) = (&x.indices[entries.clone()], &x.values[entries]);
        active.clear();
        for (&i, &v) in indices.iter().zip(values) {
            let i = i as usize;
            let z = preactivation(f.params, f.stride, h, i);
            let weighted = v * if f.importance64.is_empty() {
                1.0
            } else {
                f.importance64[i]
            };
            let r = if z > T::default() { weighted } else { 0.0 };
            for (k, c) in c.iter_mut().enumerate() {
                *c -= r * f.params[k * f.stride + i].to_f64();
            }
            active.push(r);
        }
        for ((&i, &v), &r) in indices.iter().zip(values).zip(active.iter()) {
            let i = i as usize;
            sums[m * f.stride + i] -= r;
            for (k, (c, h)) in c.iter().zip(h).enumerate() {
                sums[k * f.stride + i] += v * c - r * h.to_f64();
            }
        }
    }
}
