//! One run, from its specification to its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::{Error, Result, check};
use crate::gradient::gradient::{Begun, Gradient, Restart};
use crate::gradient::kept::Kept;
use crate::gradient::kernel::Kernel;
use crate::kernels::evaluate::Losses;
use crate::kernels::metrics::max_feature_dimensionality;
use crate::kernels::optimizer::Optimizer;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::order::follow;
use crate::model::params::Params;
use crate::simd::vector::Real;
use crate::stream::{Csr, Stream, draws, epoch_order, initial_weights, role};
use crate::training::gradients::{total_loss, unless_all_one};
use crate::training::spec::{Choice, Outcome, Point, Rows, Snapshot, Spec};
use crate::training::state::{State, Trial};

/// Test examples that are held, and sampled, at one time.
const TEST_PART: u64 = 4096;

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
    let (mut diverged, tested) = run.train(batch, state, watch, keep)?;
    diverged |= spec.test_size > 0 && !tested.mean().is_finite();
    Ok(Outcome {
        diverged,
        last: run.snapshot(run.history.last().map_or(0, |p| p.step)),
        test_loss: tested.mean(),
        test_loss_error: tested.standard_error(),
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
        let rank = Some(&run.rank[..]);
        let mut examples = if spec.is_varied() {
            Examples::new(&csr, spec.n, rank)
        } else {
            Examples::kept(&csr, spec.n, spec.m, rank)
        };
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

    /// Whether the run diverged, and the losses of the test set: none if it did. A last state is kept when it
    /// is cancelled.
    fn train(
        &mut self,
        batch: Batch<T>,
        state: Option<&State<T>>,
        watch: Watch<'_, T>,
        mut keep: Keep<'_, T>,
    ) -> Result<(bool, Losses)> {
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
            Ok(true) => Ok((true, Losses::default())),
            Ok(false) => self.tested().map(|tested| (false, tested)),
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
        Ok(self.losses(params, x)?.mean())
    }

    fn losses(&self, params: &Params<f64>, x: &Csr) -> Result<Losses> {
        let Run {
            importance, cancel, ..
        } = self;
        let (activation, isa) = (self.spec.activation, self.choice.isa);
        total_loss(activation, isa, params, x, importance, cancel)
    }

    /// The losses of the whole test set, which passes through in parts.
    fn tested(&self) -> Result<Losses> {
        let params = self.params.to::<f64>(Some(&self.rank));
        let size = self.spec.test_size;
        let mut all = Losses::default();
        for low in (0..size).step_by(TEST_PART as usize) {
            let high = size.min(low + TEST_PART);
            let x = tests(&self.test, self.spec, low, high, self.cancel)?;
            all.append(self.losses(&params, &x)?);
        }
        Ok(all)
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
