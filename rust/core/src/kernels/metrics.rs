//! What the history records about the weights.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory;
use crate::model::params::Params;

/// A share of all squared lengths below which a form cannot be read off the moment matrix, where it
/// is a difference of larger numbers.
const HARDLY_ANY: f64 = 1e-4;

/// The largest dimensionality D_i = |w_i|^2 / sum_j (w_i . w_j / |w_i|)^2 of a feature: with the
/// moment matrix G = W W^T the sum is w_i^T G w_i / |w_i|^2.
///
/// `None` if `cancel` was set meanwhile.
pub fn max_feature_dimensionality(params: &Params<f64>, cancel: &AtomicBool) -> Option<f64> {
    let (m, weights) = (params.m, params.weights());
    let largest = weights.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
    if largest == 0.0 {
        return Some(0.0);
    }
    let mut gram = memory::zeros(m * m);
    let mut w = memory::zeros(m);
    for j in 0..params.n {
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        w.iter_mut()
            .zip(params.w(j))
            .for_each(|(w, x)| *w = x / largest);
        for k in 0..m {
            let out = &mut gram[k * m..][..m];
            out.iter_mut().zip(&w).for_each(|(g, x)| *g += w[k] * x);
        }
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let trace: f64 = (0..m).map(|k| gram[k * m + k]).sum();
    let mut best: f64 = 0.0;
    for j in 0..params.n {
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        w.iter_mut()
            .zip(params.w(j))
            .for_each(|(w, x)| *w = x / largest);
        let square = dot(&w, &w);
        let form: f64 = (0..m).map(|k| w[k] * dot(&gram[k * m..][..m], &w)).sum();
        if form > HARDLY_ANY * trace * square {
            best = best.max(square * square / form);
        } else {
            best = best.max(orthogonal_to_long_ones(params, j, best));
        }
    }
    Some(best.min(1.0))
}

/// The dimensionality of feature `i` from the sum over all features, or 0 if it is not above `best`.
fn orthogonal_to_long_ones(params: &Params<f64>, i: usize, best: f64) -> f64 {
    let largest = params.w(i).fold(0.0, |a: f64, x| a.max(x.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let mut unit: Vec<f64> = memory::collect(params.m, params.w(i).map(|x| x / largest));
    let norm = unit.iter().map(|x| x * x).sum::<f64>().sqrt();
    unit.iter_mut().for_each(|x| *x /= norm);
    let mut sum = 0.0;
    for j in 0..params.n {
        // Of feature i itself this is 1.
        let product: f64 = params.w(j).zip(&unit).map(|(x, u)| x / largest * u).sum();
        sum += (product / norm).powi(2);
        if sum * best >= 1.0 {
            return 0.0;
        }
    }
    1.0 / sum
}
