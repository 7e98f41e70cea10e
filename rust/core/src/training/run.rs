//! One run, from its specification to its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::{Error, Result, check};
use crate::gradient::gradient::{Begun, Gradient, Restart};
use crate::gradient::kept::Kept;
use crate::gradient::kernel::Kernel;
use crate::kernels::evaluate::squared_error;
use crate::kernels::linear::{self, Activation};
use crate::kernels::metrics::max_feature_dimensionality;
use crate::kernels::optimizer::{Optimizer, Settings};
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;
use crate::stream::{
    Csr, Init, MOST_EXAMPLES, MOST_FEATURES, Sparsity, Stream, draws, epoch_order, initial_weights,
    role,
};
use crate::training::state::{State, Trial};

/// Test examples that are held, and sampled, at one time.
const TEST_PART: u64 = 4096;

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
    /// How W is initialised.
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
    fn distinct(&self) -> u64 {
        self.examples - self.copies.len() as u64
    }

    /// Whether every update takes a part of a finite training set.
    fn in_batches(&self) -> bool {
        !self.infinite && self.batch < self.examples
    }

    /// Whether every update has other examples.
    pub fn is_varied(&self) -> bool {
        self.infinite || self.in_batches()
    }

    /// The first example of an update.
    fn start(&self, step: u64) -> u64 {
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

/// The examples of an update: as the stream gives them, and as the kernels read them.
struct Batch<T> {
    csr: Arc<Csr>,
    examples: Examples<T>,
}

/// A finite training set of which every update takes a part: all of it once in each epoch.
struct Epochs {
    set: Arc<Csr>,
    /// The number of an epoch, and its order.
    order: (u64, Vec<u32>),
}

impl Epochs {
    /// The examples of update `step`.
    fn batch(&mut self, spec: &Spec, step: u64, cancel: &AtomicBool) -> Result<Arc<Csr>> {
        let batches = spec.examples.div_ceil(spec.batch);
        let epoch = step / batches;
        let count = spec.examples as usize;
        if self.order.1.is_empty() || self.order.0 != epoch {
            self.order = (epoch, epoch_order(spec.seed, epoch, count, cancel)?);
        }
        let first = ((step % batches) * spec.batch) as usize;
        let last = count.min(first + spec.batch as usize);
        Ok(Arc::new(self.set.take(&self.order.1[first..last])))
    }
}

/// What else changes from step to step.
struct Course<T> {
    batch: Batch<T>,
    gradient: Gradient<T>,
    optimizer: Optimizer<T>,
    /// Number of updates when this began, and so far.
    first: u64,
    step: u64,
    /// What a state takes of the gradient, if there can be one at this step.
    restart: Option<Restart<T>>,
}

/// A run under way.
struct Run<'a, T> {
    spec: &'a Spec,
    choice: Choice,
    cancel: &'a AtomicBool,
    train: Stream,
    test: Stream,
    params: Params<T>,
    /// Where each feature is in `params`: the more of the first examples have it, the earlier, so that
    /// loops over examples are predictable, and what can be skipped lies together.
    rank: Vec<u32>,
    /// Of the features in their own order; empty when all are 1.
    importance: Vec<f64>,
    /// If updates take parts of a finite training set.
    epochs: Option<Epochs>,
    history_test: Csr,
    history: Vec<Point>,
    snapshots: Vec<Arc<Snapshot<T>>>,
    began: Instant,
    /// Wall time before `began`.
    earlier: f64,
}

/// Who keeps the states of a run.
pub struct Keep<'a, T> {
    /// Set to ask for one: at the next step it is unset, and a state given if one can be had there.
    pub wanted: &'a AtomicBool,
    /// What is given the states: those that are asked for, those of steps at which lists begin or are made
    /// anew, and that of the step in which the run is cancelled, if it can be had.
    pub give: &'a mut (dyn FnMut(State<T>) + Send),
}

/// Train to the end, from `state` or from the beginning. `steps_done` follows the number of updates,
/// and `keep` is given the states from which the run may be resumed.
///
/// # Errors
/// [`Error::Invalid`] for a bad specification or state, [`Error::Cancelled`] when `cancel` was set.
pub fn train<T: Real>(
    spec: &Spec,
    choice: Choice,
    state: Option<&State<T>>,
    cancel: &AtomicBool,
    steps_done: &AtomicU64,
    keep: Keep<'_, T>,
) -> Result<Outcome<T>> {
    steps_done.store(state.map_or(0, |state| state.step), Ordering::Relaxed);
    let mut watch = |_: &Gradient<T>, _: &Params<T>, _: &Examples<T>| {
        steps_done.fetch_add(1, Ordering::Relaxed);
    };
    watched(spec, choice, state, cancel, &mut watch, keep)
}

/// What is called after every gradient and before its update.
pub(crate) type Watch<'a, T> = &'a mut (dyn FnMut(&Gradient<T>, &Params<T>, &Examples<T>) + Send);

/// [`train`], watched.
pub(crate) fn watched<T: Real>(
    spec: &Spec,
    choice: Choice,
    state: Option<&State<T>>,
    cancel: &AtomicBool,
    watch: Watch<'_, T>,
    keep: Keep<'_, T>,
) -> Result<Outcome<T>> {
    spec.check()?;
    if let Some(state) = state {
        state.check(spec)?;
    }
    let (mut run, batch) = Run::<T>::new(spec, choice, state, cancel)?;
    let (mut diverged, test_loss) = run.train(batch, state, watch, keep)?;
    diverged |= spec.test_size > 0 && !test_loss.is_finite();
    Ok(Outcome {
        diverged,
        last: run.snapshot(run.history.last().map_or(0, |p| p.step)),
        test_loss,
        seconds: run.seconds(),
        history: run.history,
        snapshots: run.snapshots,
    })
}

impl<'a, T: Real> Run<'a, T> {
    /// At the step of `state`, or at step 0, with the examples of the next update.
    fn new(
        spec: &'a Spec,
        choice: Choice,
        state: Option<&State<T>>,
        cancel: &'a AtomicBool,
    ) -> Result<(Self, Batch<T>)> {
        let began = Instant::now();
        let sparsity = || spec.sparsity.clone();
        let stream = |role| Stream::new(spec.n, sparsity(), spec.seed, role, spec.normalize);
        let (train, test) = (stream(role::TRAIN), stream(role::TEST));
        let step = state.map_or(0, |state| state.step);
        let mut csr = examples(&train, spec, step, cancel)?;
        let rank = match state {
            Some(state) => memory::copy(&state.rank),
            None => often_first(&csr, spec.n),
        };
        let mut epochs = None;
        if spec.in_batches() {
            let order = (0, Vec::new());
            let kept = epochs.insert(Epochs { set: csr, order });
            csr = kept.batch(spec, step, cancel)?;
        }
        let run = Run {
            epochs,
            history_test: tests(
                &test,
                spec,
                0,
                spec.history_test.min(spec.test_size),
                cancel,
            )?,
            params: parameters(spec, state, &rank, cancel),
            importance: unless_all_one(&spec.importance),
            history: state.map_or_else(Vec::new, |state| state.history.clone()),
            snapshots: state.map_or_else(Vec::new, |state| state.snapshots.clone()),
            began,
            earlier: state.map_or(0.0, |state| state.seconds),
            spec,
            choice: Choice {
                // Lists are for the same examples in every step.
                kernel: if spec.is_varied() {
                    Kernel::Dense
                } else {
                    choice.kernel
                },
                ..choice
            },
            cancel,
            train,
            test,
            rank,
        };
        check(cancel)?;
        let mut examples = Examples::new(&csr, spec.n, Some(&run.rank));
        if let Some(state) = state.filter(|state| !state.order.is_empty()) {
            let stay: Vec<u32> = memory::collect(spec.n, 0..spec.n as u32);
            examples.reorder(&state.order, &stay);
        }
        Ok((run, Batch { csr, examples }))
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }

    /// The state where `course` is, with what the kernel keeps.
    fn state(&self, course: &Course<T>, restart: &Restart<T>) -> State<T> {
        let Restart { kept, begun } = restart;
        let step = course.step;
        // What is measured at this step may be there already: it is measured again.
        let points = self.history.iter().take_while(|point| point.step < step);
        let shots = self.snapshots.iter().take_while(|shot| shot.step < step);
        State {
            step,
            seconds: self.seconds(),
            parameters: self.params.values(Some(&self.rank)),
            memory: course.optimizer.memory(&self.params, &self.rank),
            rank: memory::copy(&self.rank),
            order: memory::copy(&course.batch.examples.order),
            kept: kept.clone(),
            trial: begun.as_ref().map(|begun| Trial {
                step: begun.step,
                pace: begun.pace,
                parameters: begun.params.values(Some(&self.rank)),
            }),
            history: points.copied().collect(),
            snapshots: shots.cloned().collect(),
        }
    }

    /// Whether the run diverged, and its test loss. A last state is kept when it is cancelled.
    fn train(
        &mut self,
        batch: Batch<T>,
        state: Option<&State<T>>,
        watch: Watch<'_, T>,
        mut keep: Keep<'_, T>,
    ) -> Result<(bool, f64)> {
        let gradient = self.gradient();
        check(self.cancel)?;
        let optimizer = Optimizer::new(self.spec.optimizer.clone(), &self.params);
        check(self.cancel)?;
        let first = state.map_or(0, |state| state.step);
        let mut course = Course {
            batch,
            gradient,
            optimizer,
            first,
            step: first,
            restart: None,
        };
        if let Some(state) = state {
            self.resume(&mut course, state);
        }
        let ended = match self.updates(&mut course, watch, &mut keep) {
            Ok(true) => Ok((true, f64::NAN)),
            Ok(false) => self.test_loss().map(|loss| (false, loss)),
            Err(error) => Err(error),
        };
        if matches!(ended, Err(Error::Cancelled)) {
            self.give(&course, course.restart.as_ref(), &mut keep);
        }
        ended
    }

    /// Go on from a state.
    fn resume(&self, course: &mut Course<T>, state: &State<T>) {
        let Spec { n, m, .. } = *self.spec;
        let Course {
            gradient,
            optimizer,
            batch,
            step,
            ..
        } = course;
        optimizer.recall(&state.memory, &self.params, &self.rank, *step);
        let begun = state.trial.as_ref().map(|trial| {
            let (w, b) = &trial.parameters;
            Arc::new(Begun {
                step: trial.step,
                pace: trial.pace,
                params: Params::from_values(n, m, w.iter().copied(), b, Some(&self.rank)),
            })
        });
        let kept = state.kept.clone();
        let restart = Restart { kept, begun };
        gradient.resume(&self.params, &batch.examples, &restart, *step);
    }

    /// Give a state of this step away, if one can be had that is not the one the run began from.
    fn give(&self, course: &Course<T>, restart: Option<&Restart<T>>, keep: &mut Keep<'_, T>) {
        if course.first < course.step
            && let Some(restart) = restart
        {
            (keep.give)(self.state(course, restart));
        }
    }

    /// All updates with what is measured between them; true if the run diverged.
    fn updates(
        &mut self,
        course: &mut Course<T>,
        watch: Watch<'_, T>,
        keep: &mut Keep<'_, T>,
    ) -> Result<bool> {
        let spec = self.spec;
        let mut records = spec.record_steps[self.history.len()..].iter().peekable();
        let mut shots = spec.snapshot_steps[self.snapshots.len()..]
            .iter()
            .peekable();
        for step in course.step..=spec.optimizer.steps {
            self.offer(course, keep);
            if records.next_if_eq(&&step).is_some() && !self.measure(step, &course.batch)? {
                return Ok(true);
            }
            if shots.next_if_eq(&&step).is_some() {
                let shot = self.snapshot(step);
                self.snapshots.push(Arc::new(shot));
            }
            if step < spec.optimizer.steps {
                self.prepare(course, keep)?;
                self.update(course, watch)?;
            }
        }
        Ok(false)
    }

    /// Give the state of this step away if one is asked for, or if lists are to be made anew.
    fn offer(&self, course: &mut Course<T>, keep: &mut Keep<'_, T>) {
        let (spec, step) = (self.spec, course.step);
        let asked = keep.wanted.swap(false, Ordering::Relaxed);
        if step == spec.optimizer.steps {
            // Lists are not needed any more.
            let (kept, begun) = (Kept::default(), None);
            course.restart = Some(Restart { kept, begun });
            return;
        }
        course.restart = course.gradient.restart();
        let due = spec.is_checkpoint(step) || course.gradient.is_due();
        if due && course.first < step {
            let (kept, begun) = (course.gradient.kept(), None);
            let restart = Restart { kept, begun };
            let x = &course.batch.examples;
            course.gradient.resume(&self.params, x, &restart, step);
            self.give(course, Some(&restart), keep);
            course.restart = course.gradient.restart();
        } else if asked {
            self.give(course, course.restart.as_ref(), keep);
        }
    }

    /// See [`Gradient::prepare`].
    fn prepare(&mut self, course: &mut Course<T>, keep: &mut Keep<'_, T>) -> Result<()> {
        let (params, x) = (&mut self.params, &mut course.batch.examples);
        let pace = course.optimizer.rate();
        let places = course.gradient.prepare(params, x, pace, self.cancel)?;
        let restart = course.gradient.restart();
        if let Some(places) = places {
            course.optimizer.reorder(params, &places);
            params.reorder(&places);
            follow(&mut self.rank, &places);
        } else if restart.is_none() {
            // From here on lists are in use: the last state for a while, if one can be had.
            self.give(course, course.restart.as_ref(), keep);
        }
        course.restart = restart;
        Ok(())
    }

    /// One update, and the examples of the next one.
    fn update(&mut self, course: &mut Course<T>, watch: Watch<'_, T>) -> Result<()> {
        let spec = self.spec;
        let features = if spec.mean { spec.n as f64 } else { 1.0 };
        let (isa, cancel, params) = (self.choice.isa, self.cancel, &mut self.params);
        let Course {
            batch,
            gradient,
            optimizer,
            step,
            restart,
            ..
        } = course;
        let (x, to) = (&batch.examples, *step + 1);
        let scale = 2.0 / (x.count as f64 * features);
        let mut update = || {
            gradient.compute(params, x, optimizer.rate(), cancel)?;
            watch(gradient, params, x);
            optimizer.update(isa, params, &mut gradient.sums, scale);
            // What a state holds is that of the next step from here on.
            *step += 1;
            *restart = gradient.restart();
            Ok(())
        };
        if !spec.is_varied() {
            return update();
        }
        let (train, epochs, rank) = (&self.train, &mut self.epochs, &self.rank);
        let next = || {
            let csr = match epochs {
                Some(epochs) => epochs.batch(spec, to, cancel)?,
                None => examples(train, spec, to, cancel)?,
            };
            let examples = Examples::new(&csr, spec.n, Some(rank));
            Ok(Batch { csr, examples })
        };
        let (done, next) = rayon::join(update, next);
        done?;
        *batch = next?;
        Ok(())
    }

    /// The gradient, with the importances in the order of the parameters.
    fn gradient(&self) -> Gradient<T> {
        let mut importance = memory::copy(&self.importance);
        for (&x, &at) in self.importance.iter().zip(&self.rank) {
            importance[at as usize] = x;
        }
        Gradient::new(
            self.choice.isa,
            self.choice.kernel,
            self.spec.activation,
            &self.params,
            &importance,
        )
    }

    /// Append a point of the history; false if something is not finite.
    fn measure(&mut self, step: u64, batch: &Batch<T>) -> Result<bool> {
        let params = self.params.to::<f64>(Some(&self.rank));
        check(self.cancel)?;
        let mut point = Point {
            step,
            train_loss: f64::NAN,
            test_loss: f64::NAN,
            w_norm: params.w_norm(),
            b_norm: params.b_norm(),
            max_feature_dimensionality: f64::NAN,
        };
        if point.w_norm.is_finite() && point.b_norm.is_finite() {
            let known = self
                .epochs
                .as_ref()
                .map_or(&batch.csr, |epochs| &epochs.set);
            point.train_loss = self.loss(&params, known)?;
            if self.history_test.rows() > 0 {
                point.test_loss = self.loss(&params, &self.history_test)?;
            }
            point.max_feature_dimensionality =
                max_feature_dimensionality(&params, self.cancel).ok_or(Error::Cancelled)?;
        }
        self.history.push(point);
        let tested = self.history_test.rows() == 0 || point.test_loss.is_finite();
        let numbers = [
            point.train_loss,
            point.w_norm,
            point.b_norm,
            point.max_feature_dimensionality,
        ];
        Ok(tested && numbers.iter().all(|x| x.is_finite()))
    }

    fn loss(&self, params: &Params<f64>, x: &Csr) -> Result<f64> {
        let Run {
            importance, cancel, ..
        } = self;
        let (activation, isa) = (self.spec.activation, self.choice.isa);
        total_loss(activation, isa, params, x, importance, cancel)
            .map(|total| total / x.rows() as f64)
    }

    /// The loss on the whole test set, which passes through in parts.
    fn test_loss(&self) -> Result<f64> {
        let params = self.params.to::<f64>(Some(&self.rank));
        let size = self.spec.test_size;
        let mut total = 0.0;
        for low in (0..size).step_by(TEST_PART as usize) {
            let high = size.min(low + TEST_PART);
            let x = tests(&self.test, self.spec, low, high, self.cancel)?;
            total += self.loss(&params, &x)? * x.rows() as f64;
        }
        Ok(if size == 0 {
            f64::NAN
        } else {
            total / size as f64
        })
    }

    fn snapshot(&self, step: u64) -> Snapshot<T> {
        let (w, b) = self.params.values(Some(&self.rank));
        Snapshot { step, w, b }
    }
}

/// The initial parameters, or those of `state`; cut short if `cancel` was set.
fn parameters<T: Real>(
    spec: &Spec,
    state: Option<&State<T>>,
    rank: &[u32],
    cancel: &AtomicBool,
) -> Params<T> {
    let Spec { n, m, .. } = *spec;
    if let Some(State {
        parameters: (w, b), ..
    }) = state
    {
        return Params::from_values(n, m, w.iter().copied(), b, Some(rank));
    }
    let narrow = |b: &[f64]| memory::collect(n, b.iter().map(|&b| T::from_f64(b)));
    if let Some((w, b)) = &spec.given {
        let w = w.iter().map(|&w| T::from_f64(w));
        return Params::from_values(n, m, w, &narrow(b), Some(rank));
    }
    let w = initial_weights(n, m, spec.init, spec.init_seed).map(T::from_f64);
    let w = w.take_while(|_| check(cancel).is_ok());
    Params::from_values(n, m, w, &narrow(&spec.biases), Some(rank))
}

/// The whole training set, or the examples of update `step` if it is infinite.
fn examples(stream: &Stream, spec: &Spec, step: u64, cancel: &AtomicBool) -> Result<Arc<Csr>> {
    let start = spec.start(step);
    let stop = start + spec.distinct();
    let mut csr = match &spec.rows {
        None => Arc::new(stream.sample(start, stop, cancel)?),
        Some(Rows { train, .. }) if spec.infinite => {
            let drawn = draws(spec.seed, train.rows() as u64, start, stop);
            let count = (stop - start) as usize;
            Arc::new(train.take(&memory::collect(count, drawn.map(|t| t as u32))))
        }
        Some(Rows { train, .. }) => Arc::clone(train),
    };
    if !spec.copies.is_empty() {
        Arc::make_mut(&mut csr).repeat(&spec.copies);
    }
    Ok(csr)
}

/// Test examples `low .. high`.
fn tests(stream: &Stream, spec: &Spec, low: u64, high: u64, cancel: &AtomicBool) -> Result<Csr> {
    match &spec.rows {
        None => stream.sample(low, high, cancel),
        Some(Rows { test, .. }) => {
            let count = (high - low) as usize;
            Ok(test.take(&memory::collect(count, low as u32..high as u32)))
        }
    }
}

/// New places of the features: the more examples have it, the earlier.
fn often_first(x: &Csr, n: usize) -> Vec<u32> {
    let mut count = memory::zeros::<u32>(n);
    x.indices.iter().for_each(|&i| count[i as usize] += 1);
    let mut order: Vec<u32> = memory::collect(n, 0..n as u32);
    order.sort_unstable_by_key(|&j| (std::cmp::Reverse(count[j as usize]), j));
    let mut rank = memory::zeros(n);
    for (at, j) in order.into_iter().enumerate() {
        rank[j as usize] = at as u32;
    }
    rank
}

/// Who was to be at i is to be at `places[i]`.
fn follow(rank: &mut [u32], places: &[u32]) {
    rank.iter_mut().for_each(|i| *i = places[*i as usize]);
}

/// The squared error of all examples.
fn total_loss(
    activation: Activation,
    isa: Isa,
    params: &Params<f64>,
    x: &Csr,
    importance: &[f64],
    cancel: &AtomicBool,
) -> Result<f64> {
    match activation {
        Activation::Relu => squared_error(isa, params, x, importance, cancel),
        Activation::Linear => linear::squared_error(params, x, importance, cancel),
    }
    .ok_or(Error::Cancelled)
}

/// Importances, or nothing when all are 1.
fn unless_all_one(importance: &[f64]) -> Vec<f64> {
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
    let loss = total_loss(activation, isa, &params, x, &importance, cancel)?;
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
