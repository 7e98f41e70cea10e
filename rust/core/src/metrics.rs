//! What the history records about the weights.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::Params;

/// The largest dimensionality D_i = |w_i|^2 / sum_j (w_i . w_j / |w_i|)^2 of a feature: with the
/// moment matrix G = W W^T the sum is w_i^T G w_i / |w_i|^2.
///
/// `None` if `cancel` was set meanwhile.
pub fn max_feature_dimensionality(params: &Params<f64>, cancel: &AtomicBool) -> Option<f64> {
    let m = params.m;
    let largest = (0..m)
        .flat_map(|k| params.row(k))
        .fold(0.0, |a: f64, x| a.max(x.abs()));
    if largest == 0.0 {
        return Some(0.0);
    }
    let rows: Vec<Vec<f64>> = (0..m)
        .map(|k| params.row(k).iter().map(|x| x / largest).collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut gram = Vec::with_capacity(m * m);
    for e in 0..m * m {
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        gram.push(dot(&rows[e / m], &rows[e % m]));
    }
    let mut w = vec![0.0; m];
    let mut best: f64 = 0.0;
    for i in 0..params.n {
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        w.iter_mut().zip(&rows).for_each(|(w, row)| *w = row[i]);
        let square = dot(&w, &w);
        let form: f64 = (0..m).map(|k| w[k] * dot(&gram[k * m..][..m], &w)).sum();
        if form > 0.0 {
            best = best.max(square * square / form);
        }
    }
    Some(best.min(1.0))
}
