//! The state of a run between two steps, from which it goes on as if it had never stopped.
//!
//! While all pairs are gone through, any step has one. Lists are not part of a state: they are many, and
//! follow from the parameters and the budgets. So while they are in use, a run makes them anew at the
//! steps where it may be resumed, whether it is interrupted there or not, and these steps follow from
//! what it trains: every [`STEPS`], and as soon as about [`WORK`](crate::gradient::kept::WORK) has been done since. That is why the
//! bits of a result do not depend on where, or how often, a run was resumed.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gradient::gradient::SEED;
use crate::gradient::kept::Kept;
use crate::kernels::linear::Activation;
use crate::kernels::optimizer::{Kind, Memory};
use crate::memory;
use crate::model::params::SMALL;
use crate::simd::vector::{Real, Vector};
use crate::training::spec::{Point, Snapshot, Spec};

/// Steps from one state to the next, at most.
const STEPS: u64 = 2048;
/// Where lists began that are on trial: what their references were taken from.
#[derive(Debug, Clone)]
pub struct Trial<T> {
    /// Number of updates then.
    pub step: u64,
    /// The learning rate then.
    pub pace: f64,
    /// W, row-major, and b.
    pub parameters: (Vec<T>, Vec<T>),
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct State<T> {
    /// Number of updates so far.
    pub step: u64,
    /// Wall time so far.
    pub seconds: f64,
    /// W, row-major, and b.
    pub parameters: (Vec<T>, Vec<T>),
    /// The optimizer's.
    pub memory: Memory<T>,
    /// Where each feature lies.
    pub rank: Vec<u32>,
    /// Which example lies where; empty if they are in their own order.
    pub order: Vec<u32>,
    /// The kernel's.
    pub kept: Kept,
    /// See there; only while no lists are in use.
    pub trial: Option<Trial<T>>,
    /// The history before this step.
    pub history: Vec<Point>,
    /// The snapshots before this step.
    pub snapshots: Vec<Arc<Snapshot<T>>>,
}

impl Spec {
    /// Whether a run may be resumed at a step in any case.
    pub fn is_checkpoint(&self, step: u64) -> bool {
        step > 0 && step.is_multiple_of(STEPS)
    }

    /// Whether lists can be in use.
    fn has_lists(&self) -> bool {
        !self.is_varied() && self.activation == Activation::Relu
    }
}

impl<T: Real> State<T> {
    /// Refuse what cannot be a state of that run.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        let Spec { n, m, .. } = *spec;
        let pair = |(w, b): &(Vec<T>, Vec<T>)| w.len() == n * m && b.len() == n;
        let second = match &self.memory.second {
            Some(moments) => spec.optimizer.kind != Kind::Sgd && pair(moments),
            None => spec.optimizer.kind == Kind::Sgd,
        };
        let histories = spec.record_steps.iter().take_while(|&&s| s < self.step);
        let shots = spec.snapshot_steps.iter().take_while(|&&s| s < self.step);
        let steps = self.history.iter().map(|point| &point.step);
        let good = [
            ((1..=spec.optimizer.steps).contains(&self.step), "step"),
            (is_size(self.seconds), "seconds"),
            (pair(&self.parameters), "parameters"),
            (pair(&self.memory.first) && second, "moments"),
            (
                is_order(&self.rank, n as u64) && !self.rank.is_empty(),
                "rank",
            ),
            (
                is_order(&self.order, spec.batch) && (self.order.is_empty() || spec.has_lists()),
                "order",
            ),
            (self.kept.fits(spec, T::Portable::LANES), "budgets"),
            (
                self.trial.as_ref().is_none_or(|trial| {
                    let age = self.step.checked_sub(trial.step);
                    spec.has_lists()
                        && self.kept.budgets.is_none()
                        && age.is_some_and(|age| age <= SEED)
                        && is_size(trial.pace)
                        && pair(&trial.parameters)
                }),
                "trial",
            ),
            (histories.eq(steps), "history"),
            (
                shots.eq(self.snapshots.iter().map(|shot| &shot.step))
                    && self
                        .snapshots
                        .iter()
                        .all(|s| s.w.len() == n * m && s.b.len() == n),
                "snapshots",
            ),
        ];
        match good.iter().find(|(good, _)| !good) {
            None => Ok(()),
            Some((_, what)) => Err(Error::Invalid(format!(
                "the state does not fit the run: {what}"
            ))),
        }
    }
}

impl Kept {
    fn fits(&self, spec: &Spec, lanes: usize) -> bool {
        let Some(budgets) = &self.budgets else {
            return is_size(self.cost);
        };
        let examples = if spec.m <= SMALL {
            spec.batch
        } else {
            spec.batch.div_ceil(lanes as u64)
        };
        let features = budgets.features.iter().flatten();
        spec.has_lists()
            && is_size(self.cost)
            && budgets.features.len() == spec.n
            && budgets.examples.len() as u64 == examples
            && features
                .chain(&budgets.examples)
                .all(|f| f.is_finite() && *f > 0.0)
            && (1.0..=1e6).contains(&budgets.life)
            && budgets.excess.is_finite()
    }
}

fn is_size(x: f64) -> bool {
    x >= 0.0 && x.is_finite()
}

/// Whether each number below `count` is there once; or none at all.
fn is_order(order: &[u32], count: u64) -> bool {
    if order.is_empty() {
        return true;
    }
    if order.len() as u64 != count {
        return false;
    }
    let mut known = memory::zeros(order.len());
    order.iter().all(|&i| {
        let slot = known.get_mut(i as usize);
        slot.is_some_and(|known| !std::mem::replace(known, true))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::gradient::kernel::Kernel;
    use crate::kernels::optimizer::{Schedule, Settings};
    use crate::lists::budgets::Budgets;
    use crate::simd::isa::Isa;
    use crate::stream::{Csr, Init, Stream, initial_weights, role};
    use crate::training::run::{Keep, watched};
    use crate::training::spec::{Choice, Outcome, Rows};

    /// Lists are tried in steps 24 to 32, and come into use where biases are low.
    fn spec(m: usize, kind: Kind, learning_rate: f64, bias: f64) -> Spec {
        let (n, steps) = (400, 150);
        let w = initial_weights(n, m, Init::XavierUniform, 6);
        Spec {
            n,
            m,
            activation: Activation::Relu,
            batch: 300,
            examples: 300,
            copies: Vec::new(),
            infinite: false,
            rows: None,
            sparsity: 0.98.into(),
            normalize: true,
            importance: (0..n).map(|j| 1.0 - 0.001 * j as f64).collect(),
            seed: 5,
            init_seed: 6,
            init: Init::XavierUniform,
            given: Some((w.collect(), vec![bias; n])),
            biases: vec![0.0; n],
            mean: true,
            optimizer: Settings {
                kind,
                learning_rate,
                final_rate: 0.0,
                warmup_steps: 15,
                steps,
                schedule: Schedule::Cosine,
                betas: (0.9, 0.999),
                momentum: 0.9,
                eps: 1e-8,
                weight_decay: 0.01,
                decay_bias: true,
                learn_bias: true,
            },
            test_size: 20,
            history_test: 10,
            record_steps: vec![0, 3, 40, 77, steps],
            snapshot_steps: vec![33, 41, 120],
        }
    }

    /// The outcome, or none if the run is cancelled after the gradient at step `stop`; and the states.
    fn run(
        spec: &Spec,
        state: Option<&State<f32>>,
        ask: bool,
        stop: u64,
    ) -> (Option<Outcome<f32>>, Vec<State<f32>>) {
        let choice = Choice {
            isa: Isa::current().unwrap(),
            kernel: Kernel::Auto,
        };
        let (cancel, wanted) = (AtomicBool::new(false), AtomicBool::new(ask));
        let (mut states, mut step) = (Vec::new(), state.map_or(0, |state| state.step));
        let mut watch = |_: &_, _: &_, _: &_| {
            wanted.store(ask, Ordering::Relaxed);
            cancel.store(step == stop, Ordering::Relaxed);
            step += 1;
        };
        let keep = Keep {
            wanted: &wanted,
            give: &mut |state| states.push(state),
        };
        let outcome = watched(spec, choice, state, &cancel, &mut watch, keep);
        assert!(matches!(outcome, Ok(_) | Err(Error::Cancelled)));
        (outcome.ok(), states)
    }

    fn numbers(outcome: &Outcome<f32>) -> Vec<u64> {
        let Snapshot { w, b, .. } = &outcome.last;
        let single = w.iter().chain(b).map(|x| u64::from(x.to_bits()));
        let shots = outcome.snapshots.iter().flat_map(|shot| &shot.w);
        let points = outcome.history.iter().map(|p| p.train_loss.to_bits());
        single
            .chain(shots.map(|x| u64::from(x.to_bits())))
            .chain(points)
            .chain([outcome.test_loss.to_bits()])
            .collect()
    }

    /// The states that a run gives, each of which has led to the bits of the run that nobody asks or stops.
    fn states(spec: &Spec) -> Vec<State<f32>> {
        let whole = numbers(&run(spec, None, false, u64::MAX).0.unwrap());
        let (asked, mut states) = run(spec, None, true, u64::MAX);
        assert_eq!(numbers(&asked.unwrap()), whole);
        states.retain(|s| s.trial.is_some() || s.kept.budgets.is_some() || s.step % 16 == 0);
        let drawn = (1..9).map(|i| 37 * i % spec.optimizer.steps);
        for stop in drawn.chain([0, 22, 23, 30, 31, 86, 87, 94, 95, 96, 149]) {
            let (none, given) = run(spec, None, false, stop);
            let last = given.last().unwrap();
            assert!(none.is_none() && (stop.saturating_sub(30)..=stop + 1).contains(&last.step));
            states.push(last.clone());
        }
        for (i, state) in states.iter().enumerate() {
            state.check(spec).unwrap();
            let (outcome, _) = run(spec, Some(state), i % 2 == 0, u64::MAX);
            let same = numbers(&outcome.unwrap()) == whole;
            assert!(same, "m = {}, from step {}", spec.m, state.step);
        }
        states
    }

    #[test]
    fn a_run_goes_on_from_any_state_to_the_same_bits() {
        for spec in [
            spec(2, Kind::AdamW, 0.0005, -0.02),
            spec(5, Kind::Sgd, 0.01, -0.02),
            spec(9, Kind::Adam, 0.0005, -0.05),
        ] {
            let states = states(&spec);
            let lists = states.iter().filter(|s| s.kept.budgets.is_some());
            let trial = states.iter().filter(|s| s.trial.is_some());
            assert!(lists.count() > 2 && trial.count() > 2);
        }
        let mut spec = spec(3, Kind::AdamW, 0.001, 0.0);
        (spec.infinite, spec.batch, spec.examples) = (true, 30, 30);
        states(&spec);
        spec.rows = Some(rows(&spec, 100));
        states(&spec);
        // Eleven batches an epoch, the last of which has fewer examples.
        (spec.infinite, spec.batch, spec.examples) = (false, 30, 310);
        spec.rows = None;
        states(&spec);
        spec.rows = Some(rows(&spec, 310));
        states(&spec);
    }

    /// That many training examples of the stream, and the test examples, as given ones.
    fn rows(spec: &Spec, count: u64) -> Rows {
        let sample = |role, count| {
            let sparsity = spec.sparsity.clone();
            let stream = Stream::new(spec.n, sparsity, spec.seed, role, spec.normalize);
            stream.sample(0, count, &AtomicBool::new(false)).unwrap()
        };
        Rows {
            train: Arc::new(sample(role::TRAIN, count)),
            test: sample(role::TEST, spec.test_size),
        }
    }

    #[test]
    fn given_rows_train_to_the_bits_of_the_same_drawn_ones() {
        let mut spec = spec(2, Kind::AdamW, 0.0005, -0.02);
        for copies in [vec![], vec![0, 0, 7]] {
            spec.rows = None;
            spec.batch = 300 + copies.len() as u64;
            (spec.examples, spec.copies) = (spec.batch, copies);
            let drawn = numbers(&run(&spec, None, false, u64::MAX).0.unwrap());
            spec.rows = Some(rows(&spec, 300));
            assert_eq!(
                numbers(&run(&spec, None, false, u64::MAX).0.unwrap()),
                drawn
            );
        }
    }

    #[test]
    fn given_rows_that_do_not_fit_are_refused() {
        let mut spec = spec(2, Kind::AdamW, 0.0005, -0.02);
        let refused = |spec: &Spec, count, change: &dyn Fn(&mut Rows)| {
            let mut given = rows(spec, count);
            change(&mut given);
            let spec = Spec {
                rows: Some(given),
                ..spec.clone()
            };
            spec.check().is_err()
        };
        assert!(!refused(&spec, 300, &|_| {}));
        assert!(refused(&spec, 299, &|_| {}) && refused(&spec, 301, &|_| {}));
        assert!(refused(&spec, 300, &|rows| rows.test = Csr::default()));
        assert!(refused(&spec, 300, &|rows| rows.test.indices[0] = 400));
        let far = |rows: &mut Rows| Arc::make_mut(&mut rows.train).indices[3] = 400;
        assert!(refused(&spec, 300, &far));
        spec.infinite = true;
        assert!(!refused(&spec, 299, &|_| {}) && refused(&spec, 0, &|_| {}));
    }

    /// Budgets of that many features and examples.
    fn budgets(features: usize, examples: usize) -> Budgets {
        Budgets {
            features: vec![[0.5; 2]; features],
            examples: vec![0.5; examples],
            life: 16.0,
            sorted: Some(u64::MAX),
            excess: 0.0,
        }
    }

    #[test]
    fn budgets_that_do_not_fit_are_refused() {
        let spec = spec(5, Kind::Sgd, 0.01, -0.02);
        let (_, states) = run(&spec, None, true, u64::MAX);
        let refused = |budgets: Budgets| {
            let mut state = states[0].clone();
            (state.trial, state.kept.budgets) = (None, Some(budgets));
            state.check(&spec).is_err()
        };
        assert!(!refused(budgets(400, 300)));
        assert!(refused(budgets(399, 300)) && refused(budgets(400, 299)));
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let mut one = budgets(400, 300);
            one.features[7][1] = wrong;
            assert!(refused(one));
            let mut one = budgets(400, 300);
            one.examples[299] = wrong;
            assert!(refused(one));
            let life = f64::from(wrong);
            assert!(refused(Budgets {
                life,
                ..budgets(400, 300)
            }));
        }
    }

    #[test]
    fn what_cannot_be_a_state_of_the_run_is_refused() {
        let spec = spec(5, Kind::Sgd, 0.01, -0.02);
        let (_, states) = run(&spec, None, true, u64::MAX);
        let good = states.into_iter().find(|s| s.trial.is_some()).unwrap();
        good.check(&spec).unwrap();
        let refused = |change: &dyn Fn(&mut State<f32>, &mut Trial<f32>)| {
            let mut state = good.clone();
            let mut trial = state.trial.take().unwrap();
            change(&mut state, &mut trial);
            state.trial = Some(trial);
            state.check(&spec).is_err()
        };
        assert!(!refused(&|_, _| {}));
        assert!(refused(&|state, _| state.step = 0));
        assert!(refused(&|state, _| state.step = u64::MAX));
        assert!(refused(&|state, _| state.seconds = f64::NAN));
        assert!(refused(&|state, _| state.parameters.0.clear()));
        assert!(refused(&|state, _| state.memory.first.1.push(0.0)));
        assert!(refused(
            &|state, _| state.memory.second = Some(state.memory.first.clone())
        ));
        assert!(refused(&|state, _| state.rank.clear()));
        assert!(refused(&|state, _| state.rank[0] = state.rank[1]));
        assert!(refused(&|state, _| state.rank[0] = u32::MAX));
        assert!(refused(&|state, _| state.order = vec![0; 300]));
        assert!(refused(&|state, _| state.order = vec![u32::MAX]));
        assert!(refused(&|state, _| state.history.clear()));
        assert!(refused(
            &|state, _| state.kept.budgets = Some(budgets(400, 300))
        ));
        assert!(refused(&|state, _| state.kept.cost = f64::NAN));
        assert!(refused(&|state, _| state.kept.cost = -1.0));
        assert!(refused(&|_, trial| trial.step += 100));
        assert!(refused(&|_, trial| trial.step -= 20));
        assert!(refused(&|_, trial| trial.pace = f64::INFINITY));
        assert!(refused(&|_, trial| trial.parameters.0.push(0.0)));
        assert!(refused(&|_, trial| trial.parameters.1.push(0.0)));
    }
}
