//! One run, from its specification to its outcome.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::evaluate::squared_error;
use crate::gradient::{Gradient, gradient};
use crate::isa::Isa;
use crate::metrics::max_feature_dimensionality;
use crate::model::{Params, padded_importance};
use crate::optimizer::{Optimizer, Settings};
use crate::simd::Real;
use crate::stream::{Csr, Init, Stream, initial_weights, role};

/// Test examples that are held, and sampled, at one time.
const TEST_PART: u64 = 4096;

/// Everything that decides the result of a run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Number of features.
    pub n: usize,
    /// Number of hidden dimensions.
    pub m: usize,
    /// Examples of an update: the whole training set, or fresh ones when `infinite`.
    pub batch: u64,
    /// Whether every update takes the next `batch` examples of the stream.
    pub infinite: bool,
    /// Probability that a feature of an example is zero.
    pub sparsity: f64,
    /// Whether examples are scaled to unit norm.
    pub normalize: bool,
    /// Importance of each feature.
    pub importance: Vec<f64>,
    /// Dataset seed.
    pub seed: u64,
    /// Seed of the initial W.
    pub init_seed: u64,
    /// How W is initialised.
    pub init: Init,
    /// Whether the minimised loss is a mean over features (else a sum).
    pub mean: bool,
    /// Optimizer, schedule and number of steps.
    pub optimizer: Settings,
    /// Number of test examples.
    pub test_size: u64,
    /// The first this many of them are used for the history.
    pub history_test: u64,
    /// Steps at which the history has a point, ascending; the last is the final one.
    pub record_steps: Vec<u64>,
    /// Steps of the snapshots, ascending.
    pub snapshot_steps: Vec<u64>,
}

impl Spec {
    /// Refuse what would make no sense below.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the name and the value.
    pub fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Invalid(text));
        if self.n == 0 || self.n > i32::MAX as usize {
            return refuse(format!("n must be between 1 and 2^31 - 1, got {}", self.n));
        }
        if self.m == 0 || self.m > self.n {
            return refuse(format!(
                "m must be between 1 and n = {}, got {}",
                self.n, self.m
            ));
        }
        if self.batch == 0 {
            return refuse("the number of examples must be positive, got 0".into());
        }
        if !(0.0..1.0).contains(&self.sparsity) {
            return refuse(format!("sparsity must be in [0, 1), got {}", self.sparsity));
        }
        if self.importance.len() != self.n {
            return refuse(format!(
                "importance must have n = {} values, got {}",
                self.n,
                self.importance.len()
            ));
        }
        if self.record_steps.last() != Some(&self.optimizer.steps) {
            return refuse(format!(
                "record_steps must end with the last step, {}",
                self.optimizer.steps
            ));
        }
        Ok(())
    }
}

/// One point of the history.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Number of updates so far.
    pub step: u64,
    /// Loss on the examples of the next update.
    pub train_loss: f64,
    /// Loss on the first test examples; NaN if there are none.
    pub test_loss: f64,
    /// Frobenius norm of W.
    pub w_norm: f64,
    /// Euclidean norm of b.
    pub b_norm: f64,
    /// Largest dimensionality of a feature.
    pub max_feature_dimensionality: f64,
}

/// W (row-major) and b at a step.
#[derive(Debug, Clone)]
pub struct Snapshot<T> {
    /// Number of updates so far.
    pub step: u64,
    /// m x n, row-major.
    pub w: Vec<T>,
    /// n.
    pub b: Vec<T>,
}

/// What a run gives back.
#[derive(Debug, Clone)]
pub struct Outcome<T> {
    /// Whether a loss or a norm stopped being finite; the run ends there.
    pub diverged: bool,
    /// The final state.
    pub last: Snapshot<T>,
    /// Loss on all test examples; NaN if there are none.
    pub test_loss: f64,
    /// The history; its last point is the final state.
    pub history: Vec<Point>,
    /// The snapshots.
    pub snapshots: Vec<Snapshot<T>>,
    /// Wall time.
    pub seconds: f64,
}

/// A run under way.
struct Run<'a, T> {
    spec: &'a Spec,
    isa: Isa,
    cancel: &'a AtomicBool,
    train: Stream,
    test: Stream,
    params: Params<T>,
    importance: Option<Vec<f64>>,
    history_test: Csr,
    history: Vec<Point>,
    snapshots: Vec<Snapshot<T>>,
}

/// Train to the end. `steps_done` follows the number of updates.
///
/// # Errors
/// [`Error::Invalid`] for a bad specification, [`Error::Cancelled`] when `cancel` was set.
pub fn train<T: Real>(
    spec: &Spec,
    isa: Isa,
    cancel: &AtomicBool,
    steps_done: &AtomicU64,
) -> Result<Outcome<T>> {
    let began = Instant::now();
    spec.check()?;
    let mut run = Run::<T>::new(spec, isa, cancel)?;
    let diverged = run.updates(steps_done)?;
    let test_loss = if diverged { f64::NAN } else { run.test_loss()? };
    Ok(Outcome {
        diverged,
        last: run.snapshot(run.history.last().map_or(0, |p| p.step)),
        test_loss,
        history: run.history,
        snapshots: run.snapshots,
        seconds: began.elapsed().as_secs_f64(),
    })
}

impl<'a, T: Real> Run<'a, T> {
    fn new(spec: &'a Spec, isa: Isa, cancel: &'a AtomicBool) -> Result<Self> {
        let stream = |role| Stream::new(spec.n, spec.sparsity, spec.seed, role, spec.normalize);
        let (train, test) = (stream(role::TRAIN), stream(role::TEST));
        let weights = initial_weights(spec.n, spec.m, spec.init, spec.init_seed);
        let b = vec![T::default(); spec.n];
        Ok(Run {
            history_test: test.sample(0, spec.history_test.min(spec.test_size), cancel)?,
            params: Params::from_values(spec.n, spec.m, weights.map(T::from_f64), &b),
            importance: padded_importance(&spec.importance),
            history: Vec::with_capacity(spec.record_steps.len()),
            snapshots: Vec::with_capacity(spec.snapshot_steps.len()),
            spec,
            isa,
            cancel,
            train,
            test,
        })
    }

    /// All updates with what is measured between them; true if the run diverged.
    fn updates(&mut self, steps_done: &AtomicU64) -> Result<bool> {
        let spec = self.spec;
        let features = if spec.mean { spec.n as f64 } else { 1.0 };
        let scale = 2.0 / (spec.batch as f64 * features);
        let mut gradients = Gradient::new(&self.params, self.importance.as_deref());
        let mut optimizer = Optimizer::new(spec.optimizer.clone(), &self.params);
        let mut records = spec.record_steps.iter().peekable();
        let mut shots = spec.snapshot_steps.iter().peekable();
        let mut batch = self.sample_train(0)?;
        for step in 0..=spec.optimizer.steps {
            if spec.infinite && step > 0 {
                batch = self.sample_train(step)?;
            }
            if records.next_if_eq(&&step).is_some() && !self.measure(step, &batch)? {
                return Ok(true);
            }
            if shots.next_if_eq(&&step).is_some() {
                let shot = self.snapshot(step);
                self.snapshots.push(shot);
            }
            if step < spec.optimizer.steps {
                if !gradient(self.isa, &mut gradients, &self.params, &batch, self.cancel) {
                    return Err(Error::Cancelled);
                }
                optimizer.update(self.isa, &mut self.params, &gradients.sums, scale);
                steps_done.store(step + 1, Ordering::Relaxed);
            }
        }
        Ok(false)
    }

    /// The examples of an update.
    fn sample_train(&self, step: u64) -> Result<Csr> {
        let start = if self.spec.infinite {
            step * self.spec.batch
        } else {
            0
        };
        self.train
            .sample(start, start + self.spec.batch, self.cancel)
    }

    /// Append a point of the history; false if something is not finite.
    fn measure(&mut self, step: u64, batch: &Csr) -> Result<bool> {
        let params = self.params.to_f64();
        let mut point = Point {
            step,
            train_loss: f64::NAN,
            test_loss: f64::NAN,
            w_norm: params.norm(0..params.m),
            b_norm: params.norm(params.m..params.m + 1),
            max_feature_dimensionality: f64::NAN,
        };
        if point.w_norm.is_finite() && point.b_norm.is_finite() {
            point.train_loss = self.loss(&params, batch)?;
            if self.history_test.rows() > 0 {
                point.test_loss = self.loss(&params, &self.history_test)?;
            }
            point.max_feature_dimensionality =
                max_feature_dimensionality(&params, self.cancel).ok_or(Error::Cancelled)?;
        }
        self.history.push(point);
        Ok(point.train_loss.is_finite())
    }

    fn loss(&self, params: &Params<f64>, x: &Csr) -> Result<f64> {
        squared_error(self.isa, params, x, self.importance.as_deref(), self.cancel)
            .map(|total| total / x.rows() as f64)
            .ok_or(Error::Cancelled)
    }

    /// The loss on the whole test set, which passes through in parts.
    fn test_loss(&self) -> Result<f64> {
        let params = self.params.to_f64();
        let size = self.spec.test_size;
        let mut total = 0.0;
        for low in (0..size).step_by(TEST_PART as usize) {
            let x = self
                .test
                .sample(low, size.min(low + TEST_PART), self.cancel)?;
            total += self.loss(&params, &x)? * x.rows() as f64;
        }
        Ok(if size == 0 {
            f64::NAN
        } else {
            total / size as f64
        })
    }

    fn snapshot(&self, step: u64) -> Snapshot<T> {
        Snapshot {
            step,
            w: self.params.w(),
            b: self.params.b(),
        }
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
    x: &Csr,
    importance: &[f64],
    features: f64,
    isa: Isa,
    cancel: &AtomicBool,
) -> Result<(f64, Vec<T>, Vec<T>)> {
    x.check(params.n)?;
    let padded = padded_importance(importance);
    let mut g = Gradient::new(params, padded.as_deref());
    if !gradient(isa, &mut g, params, x, cancel) {
        return Err(Error::Cancelled);
    }
    let loss = squared_error(isa, &params.to_f64(), x, padded.as_deref(), cancel);
    let scale = 1.0 / (x.rows() as f64 * features);
    let mut out = Params::<T>::zeros(params.n, params.m);
    out.data
        .iter_mut()
        .zip(g.sums.iter())
        .for_each(|(o, s)| *o = T::from_f64(2.0 * scale * s));
    Ok((loss.ok_or(Error::Cancelled)? * scale, out.w(), out.b()))
}
