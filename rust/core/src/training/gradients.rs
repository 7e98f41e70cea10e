//! The loss and its gradient for given parameters.

use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::gradient::gradient::Gradient;
use crate::gradient::kernel::Kernel;
use crate::kernels::evaluate::{Losses, squared_error};
use crate::kernels::linear::{self, Activation};
use crate::memory;
use crate::model::examples::Examples;
use crate::model::order::follow;
use crate::model::params::Params;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;
use crate::stream::Csr;
use crate::training::spec::Choice;

/// The losses of all examples.
pub(crate) fn total_loss(
    activation: Activation,
    isa: Isa,
    params: &Params<f64>,
    x: &Csr,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Result<Losses> {
    match activation {
        Activation::Relu => squared_error(isa, params, x, importance, cancel),
        Activation::Linear => linear::squared_error(params, x, importance, cancel),
    }
    .ok_or(Error::Cancelled)
}

/// Importances, or nothing when all are 1.
pub(crate) fn unless_all_one(importance: &[f64]) -> Vec<f64> {
    if importance.iter().all(|&i| i == 1.0) {
        Vec::new()
    } else {
        memory::copy(importance)
    }
}

/// What is minimised: the squared error of a model on given examples.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// What follows W^T W x + b.
    pub activation: Activation,
    /// The examples.
    pub x: &'a Csr,
    /// Importance of each feature.
    pub importance: &'a [f64],
    /// What loss and gradient are divided by: 1 for the sum over features, n for the mean.
    pub features: f64,
}

impl Objective<'_> {
    /// Refuse examples and importances that do not fit parameters of this shape.
    fn check(&self, n: usize, m: usize) -> Result<()> {
        let refuse = |text: String| Err(Error::Invalid(text));
        if n == 0 || m == 0 {
            return refuse(format!("W must not be empty, got the shape ({m}, {n})"));
        }
        self.x.check(n)?;
        if self.x.rows() == 0 {
            return refuse("X must have at least one example, got 0".into());
        }
        if self.importance.len() != n {
            let count = self.importance.len();
            return refuse(format!("importance must have n = {n} values, got {count}"));
        }
        Ok(())
    }
}

/// W in row-major order, and b; or their gradients.
type Pair<T> = (Vec<T>, Vec<T>);

/// The loss and its gradient for given parameters: W's part in row-major order, then b's.
///
/// # Errors
/// [`Error::Invalid`] if the objective does not fit, [`Error::Cancelled`] when `cancel` was set.
pub fn loss_and_grad<T: Real>(
    params: &Params<T>,
    objective: &Objective<'_>,
    isa: Isa,
    cancel: &AtomicBool,
) -> Result<(f64, Vec<T>, Vec<T>)> {
    let choice = Choice {
        isa,
        kernel: Kernel::Dense,
    };
    let one = std::slice::from_ref(params);
    let (dw, db) = gradients(one, objective, choice, 0.0, cancel)?.remove(0);
    let Objective {
        activation,
        x,
        importance,
        features,
    } = *objective;
    let importance = unless_all_one(importance);
    let params = params.to::<f64>(None);
    let loss = total_loss(activation, isa, &params, x, &importance, cancel)?.sum;
    let scale = 1.0 / (x.rows() as f64 * features);
    Ok((loss * scale, dw, db))
}

/// The gradients for parameters that follow one another as in a training, about `pace` a step.
///
/// # Errors
/// As [`loss_and_grad`]; and if the parameters are not all of one shape.
pub fn gradients<T: Real>(
    sequence: &[Params<T>],
    objective: &Objective<'_>,
    choice: Choice,
    pace: f64,
    cancel: &AtomicBool,
) -> Result<Vec<Pair<T>>> {
    let Some(first) = sequence.first() else {
        return Ok(Vec::new());
    };
    let Params { n, m, .. } = *first;
    objective.check(n, m)?;
    if let Some(other) = sequence.iter().find(|p| (p.n, p.m) != (n, m)) {
        return Err(Error::Invalid(format!(
            "W must have the shape ({m}, {n}) in every step, got ({}, {})",
            other.m, other.n
        )));
    }
    let x = objective.x;
    let mut examples = Examples::kept(x, n, m, None);
    let importance = unless_all_one(objective.importance);
    let Choice { isa, kernel } = choice;
    let mut gradient = Gradient::new(isa, kernel, objective.activation, first, &importance);
    let scale = 2.0 / (x.rows() as f64 * objective.features);
    let mut all = Vec::with_capacity(sequence.len());
    let mut rank: Vec<u32> = memory::collect(n, 0..n as u32);
    for params in sequence {
        let mut params = params.to::<T>(None);
        params.reorder(&rank);
        if let Some(places) = gradient.prepare(&params, &mut examples, pace, cancel)? {
            params.reorder(&places);
            follow(&mut rank, &places);
        }
        gradient.compute(&params, &examples, pace, cancel)?;
        let mut out = Params::<T>::zeros(params.n, params.m);
        for (out, sum) in out.data.iter_mut().zip(gradient.sums.iter_mut()) {
            *out = T::from_f64(scale * std::mem::take(sum));
        }
        all.push(out.values(Some(&rank)));
    }
    Ok(all)
}
