//! The model without its ReLU, x' = W^T W x + b: a control. Every pair of an example and a feature is
//! linear, so sums over pairs are products of moments, and nothing grows like T n.
//!
//! With r_tj = I_j (z_tj - x_tj), half the gradient of sum_tj I_j (x_tj - z_tj)^2 is
//!
//! ```text
//! db_j = sum_t r_tj      dw_j = sum_t r_tj h_t  +  sum_t x_tj C_t      C_t = sum_j r_tj w_j
//! ```
//!
//! in which z enters by G = sum_t h_t h_t^T and s = sum_t h_t, and by M = sum_j I_j w_j w_j^T and
//! c = sum_j I_j b_j w_j; what x adds is sparse. All in double precision.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Result, check};
use crate::kernels::evaluate::Losses;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::{Params, at};
use crate::simd::aligned::Aligned;
use crate::simd::vector::Real;
use crate::stream::Csr;

/// What comes after W x: nothing, or the ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x' = max(0, W^T W x + b).
    Relu,
    /// x' = W^T W x + b.
    Linear,
}

/// Examples after which `cancel` is looked at.
const CHECK: usize = 1024;

/// A loss that is less than this share of what it is the difference of is summed square by square.
const CANCELLED: f64 = 1e-4;

/// W by feature, b and importances in double precision, with sums over the features.
struct Model {
    n: usize,
    m: usize,
    w: Vec<f64>,
    b: Vec<f64>,
    /// Empty when all are 1.
    importance: Vec<f64>,
    /// M.
    squares: Vec<f64>,
    /// c.
    bias: Vec<f64>,
}

impl Model {
    fn new<T: Real>(p: &Params<T>, importance: &[f64]) -> Self {
        let Params { n, m, .. } = *p;
        let mut model = Model {
            n,
            m,
            w: memory::collect(n * m, (0..n).flat_map(|j| p.w(j).map(Real::to_f64))),
            b: memory::collect(n, p.b().iter().map(|b| b.to_f64())),
            importance: memory::copy(importance),
            squares: memory::zeros(m * m),
            bias: memory::zeros(m),
        };
        for j in 0..n {
            let weight = model.weight(j);
            let w = &model.w[j * m..][..m];
            outer(&mut model.squares, w, w, weight);
            add(&mut model.bias, w, weight * model.b[j]);
        }
        model
    }

    fn weight(&self, j: usize) -> f64 {
        self.importance.get(j).copied().unwrap_or(1.0)
    }

    fn row(&self, j: usize) -> &[f64] {
        &self.w[j * self.m..][..self.m]
    }

    /// The squared error of the example `x`, square by square.
    fn squares(&self, h: &[f64], x: &[f64]) -> f64 {
        let error = |j: usize| dot(self.row(j), h) + self.b[j] - x[j];
        (0..self.n).map(|j| self.weight(j) * error(j).powi(2)).sum()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], v: &[f64], factor: f64) {
    sum.iter_mut().zip(v).for_each(|(s, v)| *s += factor * v);
}

/// Add `factor a b^T` to a matrix in row-major order.
fn outer(sum: &mut [f64], a: &[f64], b: &[f64], factor: f64) {
    for (row, a) in sum.chunks_exact_mut(b.len()).zip(a) {
        add(row, b, factor * a);
    }
}

/// Half the gradient of `sum_tj I_j (x_tj - z_tj)^2`, in the layout of the parameters.
///
/// # Errors
/// [`Error::Cancelled`] when `cancel` was set meanwhile.
pub fn gradient<T: Real>(
    sums: &mut Aligned<f64>,
    p: &Params<T>,
    x: &Examples<T>,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Result<()> {
    let model = Model::new(p, importance);
    let Model { n, m, .. } = model;
    let mut dw = memory::zeros(n * m);
    let mut db = memory::zeros(n);
    let mut moments = memory::zeros(m * m);
    let mut total = memory::zeros(m);
    let (mut h, mut c) = (memory::zeros(m), memory::zeros(m));
    for t in 0..x.count {
        if t % CHECK == 0 {
            check(cancel)?;
        }
        let entries = || {
            let group = x.rows.group(t);
            let indices = x.rows.indices[group.clone()].iter().map(|&j| j as usize);
            indices.zip(x.rows.values[group].iter().map(|v| v.to_f64()))
        };
        h.fill(0.0);
        entries().for_each(|(j, v)| add(&mut h, model.row(j), v));
        outer(&mut moments, &h, &h, 1.0);
        add(&mut total, &h, 1.0);
        c.copy_from_slice(&model.bias);
        for (k, row) in model.squares.chunks_exact(m).enumerate() {
            c[k] += dot(row, &h);
        }
        entries().for_each(|(j, v)| add(&mut c, model.row(j), -v * model.weight(j)));
        for (j, v) in entries() {
            let dw = &mut dw[j * m..][..m];
            add(dw, &c, v);
            add(dw, &h, -v * model.weight(j));
            db[j] -= v * model.weight(j);
        }
    }
    for j in 0..n {
        let (weight, w) = (model.weight(j), model.row(j));
        let dw = &mut dw[j * m..][..m];
        for (dw, row) in dw.iter_mut().zip(moments.chunks_exact(m)) {
            *dw += weight * dot(row, w);
        }
        add(dw, &total, weight * model.b[j]);
        db[j] += weight * (dot(&total, w) + x.count as f64 * model.b[j]);
        for (k, dw) in dw.iter().enumerate() {
            sums[at(m, j, k)] = *dw;
        }
        sums[p.bias + j] = db[j];
    }
    Ok(())
}

/// The losses `sum_j I_j (x_tj - z_tj)^2`; `None` if `cancel` was set meanwhile.
pub fn squared_error(
    p: &Params<f64>,
    x: &Csr,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Option<Losses> {
    let model = Model::new(p, importance);
    let constant: f64 = (0..model.n)
        .map(|j| model.weight(j) * model.b[j] * model.b[j])
        .sum();
    let mut h = memory::zeros(model.m);
    let mut given = memory::zeros(model.n);
    let mut losses = Losses::default();
    for t in 0..x.rows() {
        if t % CHECK == 0 && cancel.load(Ordering::Relaxed) {
            return None;
        }
        let entries =
            || (x.indptr[t]..x.indptr[t + 1]).map(|e| (x.indices[e] as usize, x.values[e]));
        h.fill(0.0);
        entries().for_each(|(j, v)| add(&mut h, model.row(j), v));
        let both = 2.0 * dot(&model.bias, &h);
        let (mut loss, mut size) = (constant + both, constant + both.abs());
        for (row, h_k) in model.squares.chunks_exact(model.m).zip(&h) {
            let term = h_k * dot(row, &h);
            loss += term;
            size += term.abs();
        }
        for (j, v) in entries() {
            let z = dot(model.row(j), &h) + model.b[j];
            loss += model.weight(j) * v * (v - 2.0 * z);
        }
        if loss < CANCELLED * size {
            entries().for_each(|(j, v)| given[j] += v);
            loss = model.squares(&h, &given);
            entries().for_each(|(j, _)| given[j] = 0.0);
        }
        losses.add(loss);
    }
    Some(losses)
}
