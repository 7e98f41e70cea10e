//! What is asked of a run, and what comes of it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gradient::kernel::Kernel;
use crate::kernels::linear::Activation;
use crate::kernels::optimizer::Settings;
use crate::simd::isa::Isa;
use crate::stream::{Csr, Init, MOST_EXAMPLES, MOST_FEATURES, Sparsity};

/// Given examples.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The training set without its copies or, when it is infinite, what each example is drawn from.
    pub train: Arc<Csr>,
    /// The test examples.
    pub test: Csr,
}

impl Rows {
    /// Refuse what does not fit the run.
    fn check(&self, spec: &Spec) -> Result<()> {
        self.train.check(spec.n)?;
        self.test.check(spec.n)?;
        let (train, test) = (self.train.rows() as u64, self.test.rows() as u64);
        let fits = if spec.infinite {
            train > 0
        } else {
            train == spec.distinct()
        };
        if fits && test == spec.test_size {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the run needs other numbers of examples than {train} for training and {test} for testing"
        )))
    }
}

/// Everything that decides the result of a run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Number of features.
    pub n: usize,
    /// Number of hidden dimensions.
    pub m: usize,
    /// What follows W^T W x + b.
    pub activation: Activation,
    /// Examples of an update; the last one of an epoch has what is left.
    pub batch: u64,
    /// Examples of the training set, or of an update when `infinite`.
    pub examples: u64,
    /// Further copies of the first examples, which end the training set: the number of each.
    pub copies: Vec<u64>,
    /// Whether every update takes the next `batch` examples of the stream.
    pub infinite: bool,
    /// The examples in place of drawn ones.
    pub rows: Option<Rows>,
    /// Probability that a feature of an example is zero.
    pub sparsity: Sparsity,
    /// Whether examples are scaled to unit norm.
    pub normalize: bool,
    /// Importance of each feature.
    pub importance: Vec<f64>,
    /// Dataset seed.
    pub seed: u64,
    /// Seed of the initial W.
    pub init_seed: u64,
    /// How W is initialized.
    pub init: Init,
    /// W, row-major, and b to begin with in place of those of `init`.
    pub given: Option<(Vec<f64>, Vec<f64>)>,
    /// b to begin with, unless `given` has it.
    pub biases: Vec<f64>,
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
    /// Examples of the training set that are taken from the stream.
    pub(crate) fn distinct(&self) -> u64 {
        self.examples - self.copies.len() as u64
    }

    /// Whether every update takes a part of a finite training set.
    pub(crate) fn in_batches(&self) -> bool {
        !self.infinite && self.batch < self.examples
    }

    /// Whether every update has other examples.
    pub fn is_varied(&self) -> bool {
        self.infinite || self.in_batches()
    }

    /// The first example of an update.
    pub(crate) fn start(&self, step: u64) -> u64 {
        if self.infinite { step * self.batch } else { 0 }
    }

    /// Refuse what would make no sense below.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the name and the value.
    pub fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Invalid(text));
        if self.n == 0 || self.n > MOST_FEATURES {
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
        if self.batch > self.examples || self.infinite && self.batch < self.examples {
            return refuse(format!(
                "an update cannot take {} of {} examples",
                self.batch, self.examples
            ));
        }
        self.sparsity.check(self.n)?;
        let distinct = self.examples.saturating_sub(self.copies.len() as u64);
        if let Some(t) = self
            .copies
            .iter()
            .find(|&&t| t >= distinct || self.infinite)
        {
            return refuse(format!("there is no example {t} to repeat"));
        }
        if let Some((w, b)) = &self.given
            && (w.len() != self.n * self.m || b.len() != self.n)
        {
            return refuse(format!(
                "the weights to begin with must have m n = {} and n = {} values, got {} and {}",
                self.n * self.m,
                self.n,
                w.len(),
                b.len()
            ));
        }
        for (name, values) in [("importance", &self.importance), ("biases", &self.biases)] {
            if values.len() != self.n {
                let (n, count) = (self.n, values.len());
                return refuse(format!("{name} must have n = {n} values, got {count}"));
            }
        }
        if self.examples > MOST_EXAMPLES as u64 {
            return refuse(format!("at most 2^32 - 1 examples, got {}", self.examples));
        }
        if let Some(rows) = &self.rows {
            rows.check(self)?;
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
    /// Loss on the training set, or on the examples of the next update if it is infinite.
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
    /// Whether a number that is measured stopped being finite; the run ends there.
    pub diverged: bool,
    /// The final state.
    pub last: Snapshot<T>,
    /// Loss on all test examples; NaN if there are none.
    pub test_loss: f64,
    /// The standard error of that; NaN for fewer than two examples.
    pub test_loss_error: f64,
    /// The history; its last point is the final state.
    pub history: Vec<Point>,
    /// The snapshots.
    pub snapshots: Vec<Arc<Snapshot<T>>>,
    /// Wall time.
    pub seconds: f64,
}

/// How to compute: never what, beyond the rounding of sums.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The instruction set.
    pub isa: Isa,
    /// The kernel.
    pub kernel: Kernel,
}

impl Choice {
    /// What the environment says, or else what is best here.
    ///
    /// # Errors
    /// If a variable holds what is not known, or not to be had here.
    pub fn current() -> Result<Choice> {
        Ok(Choice {
            isa: Isa::current()?,
            kernel: Kernel::current()?,
        })
    }
}
