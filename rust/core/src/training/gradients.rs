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

/// The loss and its gradient for given parameters.
///
/// `features` divides both: 1 for the sum over features, n for the mean. The gradient comes as W's
/// part in row-major order, then b's.
///
/// # Errors
/// [`Error::Invalid`] if the examples do not fit, [`Error::Cancelled`] when `cancel` was set.
pub fn loss_and_grad<T: Real>(
    params: &Params<T>,
    activation: Activation,
    x: &Csr,
    importance: &[f64],
    features: f64,
    isa: Isa,
    cancel: &AtomicBool,
) -> Result<(f64, Vec<T>, Vec<T>)> {
    let kernel = Kernel::Dense;
    let one = std::slice::from_ref(params);
    let mut all = gradients(
        one,
        activation,
        x,
        importance,
        features,
        Choice { isa, kernel },
        0.0,
        cancel,
    )?;
    let (dw, db) = all.remove(0);
    let importance = unless_all_one(importance);
    let params = params.to::<f64>(None);
    let loss = total_loss(activation, isa, &params, x, &importance, cancel)?.sum;
    let scale = 1.0 / (x.rows() as f64 * features);
    Ok((loss * scale, dw, db))
}

/// The gradients for parameters that follow one another as in a training, about `pace` a step: W's
/// part in row-major order and b's, each divided by `features`.
///
/// # Errors
/// As [`loss_and_grad`].
#[allow(clippy::type_complexity, clippy::too_many_arguments)]
pub fn gradients<T: Real>(
    sequence: &[Params<T>],
    activation: Activation,
    x: &Csr,
    importance: &[f64],
    features: f64,
    choice: Choice,
    pace: f64,
    cancel: &AtomicBool,
) -> Result<Vec<(Vec<T>, Vec<T>)>> {
    let Some(first) = sequence.first() else {
        return Ok(Vec::new());
    };
    x.check(first.n)?;
    let mut examples = Examples::new(x, first.n, None);
    let importance = unless_all_one(importance);
    let mut gradient = Gradient::new(choice.isa, choice.kernel, activation, first, &importance);
    let scale = 2.0 / (x.rows() as f64 * features);
    let mut all = Vec::with_capacity(sequence.len());
    let mut rank: Vec<u32> = memory::collect(first.n, 0..first.n as u32);
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
