//! The state of a run between two steps, from which it goes on as if it had never stopped.
//!
//! Lists are not part of it: they are many, and follow from the parameters and the budgets. So at the
//! steps where a run may be resumed it makes its lists anew, whether it is interrupted there or not,
//! and these steps are fixed by the specification. That is why the bits of a result do not depend on
//! where, or how often, a run was resumed.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::model::SMALL;
use crate::optimizer::{Kind, Memory};
use crate::simd::{Real, Vector};
use crate::train::{Point, Snapshot, Spec};

/// Steps from one state to the next.
const STEPS: u64 = 2048;
/// The same where steps are long, and the multiply-adds from which on they are.
const LONG_STEPS: u64 = 512;
const LONG: f64 = 4e9;

/// How far lists may let things move, by where these lie; see [`crate::lists`].
#[derive(Debug, Clone)]
pub struct Budgets {
    /// Factors of w and b of each feature.
    pub features: Vec<[f32; 2]>,
    /// Factors of the examples, or of vectors of examples.
    pub examples: Vec<f32>,
    /// Steps that lists shall last.
    pub life: f64,
    /// Entries when last sorted, if known, and what more of them have cost since.
    pub sorted: Option<u64>,
    /// See `sorted`.
    pub excess: f64,
}

/// What the kernel keeps between steps.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Those of the lists, if they are in use.
    pub budgets: Option<Budgets>,
    /// Step at which lists are tried again.
    pub retry: u64,
    /// Step at which features and examples are sorted at the latest.
    pub sort: u64,
    /// Features that needed their pairs when last counted.
    pub active: u64,
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
    /// The history before this step.
    pub history: Vec<Point>,
    /// The snapshots before this step.
    pub snapshots: Vec<Arc<Snapshot<T>>>,
}

impl Spec {
    /// Whether a run may be resumed at a step.
    pub fn is_checkpoint(&self, step: u64) -> bool {
        let pairs = self.batch as f64 * self.n as f64;
        let cost = pairs * (3 * self.m + 2) as f64;
        let every = if cost < LONG { STEPS } else { LONG_STEPS };
        step > 0 && step.is_multiple_of(every)
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
            (
                spec.is_checkpoint(self.step) && self.step < spec.optimizer.steps,
                "step",
            ),
            (self.seconds >= 0.0 && self.seconds.is_finite(), "seconds"),
            (pair(&self.parameters), "parameters"),
            (pair(&self.memory.first) && second, "moments"),
            (
                is_order(&self.rank, n as u64) && !self.rank.is_empty(),
                "rank",
            ),
            (is_order(&self.order, spec.batch), "order"),
            (self.kept.fits(spec, T::Portable::LANES), "budgets"),
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
            return true;
        };
        let examples = if spec.m <= SMALL {
            spec.batch
        } else {
            spec.batch.div_ceil(lanes as u64)
        };
        let features = budgets.features.iter().flatten();
        !spec.infinite
            && budgets.features.len() == spec.n
            && budgets.examples.len() as u64 == examples
            && features
                .chain(&budgets.examples)
                .all(|f| f.is_finite() && *f > 0.0)
            && (1.0..=1e6).contains(&budgets.life)
            && budgets.excess.is_finite()
    }
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
