//! A training looked at from inside: what tests of exactness and benchmarks read.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::error::Result;
use crate::gradient::gradient::Gradient;
use crate::gradient::kernel::Kernel;
use crate::kernels::linear::Activation;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::model::sparse::Sparse;
use crate::simd::aligned::Aligned;
use crate::simd::vector::Real;
use crate::training::run::{Keep, watched};
use crate::training::spec::{Choice, Spec};

/// What is read off one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Number of updates so far.
    pub step: u64,
    /// Wall time since the first gradient, that of other readings left out.
    pub seconds: f64,
    /// Whether lists are in use.
    pub lists: bool,
    /// Entries of the lists, those that no skin would be needed for, and lists that are not empty.
    pub entries: u64,
    /// See `entries`.
    pub bare: u64,
    /// See `entries`.
    pub rows: u64,
    /// Lists of exceptions from being linear.
    pub minus: u64,
    /// Vectors of pairs looked at so far in making lists.
    pub built: u64,
    /// Steps that lists shall last.
    pub life: f64,
    /// Features that are not dead or linear for all examples.
    pub active: u64,
    /// Distance of the gradient from the dense one in double precision, as a share of its norm.
    pub error: f64,
    /// The same for the dense gradient in the run's own precision.
    pub dense_error: f64,
}

/// Train, and read off every `every`-th step; with `check`, compare gradients there.
///
/// # Errors
/// As [`crate::train()`].
pub fn trace<T: Real>(
    spec: &Spec,
    choice: Choice,
    every: u64,
    check: bool,
    cancel: &AtomicBool,
) -> Result<Vec<Reading>> {
    let (mut readings, mut step) = (Vec::new(), 0);
    let (mut began, mut failed) = (None, None);
    let importance = &spec.importance;
    let mut watch = |gradient: &Gradient<T>, params: &Params<T>, examples: &Examples<T>| {
        let now = Instant::now();
        let began = began.get_or_insert(now);
        if step % every == 0 && failed.is_none() {
            let mut reading = Reading {
                step,
                seconds: now.duration_since(*began).as_secs_f64(),
                active: gradient.active as u64,
                ..Reading::default()
            };
            if let Some((counts, life)) = gradient.counts() {
                reading = Reading {
                    lists: true,
                    entries: counts.entries,
                    bare: counts.bare,
                    rows: counts.rows,
                    minus: counts.minus,
                    built: counts.built,
                    life,
                    ..reading
                };
            }
            if check {
                match errors(choice, gradient, params, examples, importance, cancel) {
                    Ok(errors) => (reading.error, reading.dense_error) = errors,
                    Err(error) => failed = Some(error),
                }
            }
            readings.push(reading);
            *began += now.elapsed();
        }
        step += 1;
    };
    let keep = Keep {
        wanted: &AtomicBool::new(false),
        give: &mut |_| {},
    };
    watched::<T>(spec, choice, None, cancel, &mut watch, keep)?;
    failed.map_or(Ok(readings), Err)
}

/// Distances of the gradient, and of the dense one, from the dense one in double precision.
fn errors<T: Real>(
    choice: Choice,
    gradient: &Gradient<T>,
    params: &Params<T>,
    x: &Examples<T>,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Result<(f64, f64)> {
    let exact = dense::<T, f64>(choice, params, x, importance, cancel)?;
    let dense = dense::<T, T>(choice, params, x, importance, cancel)?;
    let size: f64 = exact.iter().map(|e| e * e).sum();
    let distance = |sums: &[f64]| {
        let squares = sums
            .iter()
            .zip(exact.iter())
            .map(|(s, e)| (s - e) * (s - e));
        // None from a gradient that is 0 altogether, as where all features are dead.
        match squares.sum::<f64>() {
            0.0 => 0.0,
            square => (square / size).sqrt(),
        }
    };
    Ok((distance(&gradient.sums), distance(&dense)))
}

/// The dense gradient in precision U. Importances other than 1 are not looked at: they take no part
/// in what is listed.
fn dense<T: Real, U: Real>(
    choice: Choice,
    p: &Params<T>,
    x: &Examples<T>,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Result<Aligned<f64>> {
    assert!(importance.iter().all(|&i| i == 1.0), "importance must be 1");
    let params = p.to::<U>(None);
    let copy = |s: &Sparse<T>| Sparse {
        starts: memory::copy(&s.starts),
        indices: memory::copy(&s.indices),
        values: memory::collect(
            s.values.len(),
            s.values.iter().map(|v| U::from_f64(v.to_f64())),
        ),
    };
    let examples = Examples::of(copy(&x.rows), p.n, false);
    let mut gradient = Gradient::new(choice.isa, Kernel::Dense, Activation::Relu, &params, &[]);
    gradient.compute(&params, &examples, 0.0, cancel)?;
    Ok(gradient.sums)
}
