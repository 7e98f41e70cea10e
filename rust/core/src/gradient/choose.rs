//! Which pairs a step goes through: lists are tried from time to time, and kept while they cost less.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::error::{Result, check};
use crate::gradient::gradient::{Begun, Gradient, RETRY, SEED};
use crate::gradient::kernel::Kernel;
use crate::gradient::shares::Step;
use crate::kernels::whole::classify;
use crate::lists::pace::REVIEW;
use crate::lists::plan::Plan;
use crate::lists::rows::Room;
use crate::lists::sorted;
use crate::model::examples::Examples;
use crate::model::order::{inverse, reorder};
use crate::model::params::{Params, SMALL};
use crate::simd::vector::{Real, Vector};

/// Steps after which similar features and similar examples are brought together anew at the latest.
const SORT: u64 = 2048;

impl<T: Real> Gradient<T> {
    /// Make lists, sort what they are made of anew, or go back to all pairs.
    pub(super) fn choose(
        &mut self,
        p: &Params<T>,
        x: &mut Examples<T>,
        pace: f64,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<u32>>> {
        if self.kernel == Kernel::Dense {
            return Ok(None);
        }
        let forced = self.kernel == Kernel::Lists;
        if let Some(lists) = &mut self.lists {
            if self.step.is_multiple_of(REVIEW) && !lists.fresh {
                self.cost = lists.review();
                let cost = self.cost;
                let too_large = lists.too_large();
                if !forced && (too_large || cost > self.dense_cost(p.n, x.count)) {
                    self.lists = None;
                    self.retry = self.step + RETRY;
                    return Ok(None);
                }
            }
            let unsorted = self
                .lists
                .as_ref()
                .is_some_and(|plan| plan.lists.is_unsorted());
            if unsorted || self.step >= self.sort {
                return self.arrange(p, x, cancel).map(Some);
            }
            return Ok(None);
        }
        if forced {
            return self.arrange(p, x, cancel).map(Some);
        }
        if p.m <= SMALL && !sorted::fits(p, x.count, x.rows.indices.len()) {
            return Ok(None);
        }
        // Lists are made to see what they would cost; some steps before, references are taken, so
        // that there is a speed to set the budgets from.
        if self.trial.is_none() && self.step + SEED >= self.retry {
            self.retry = self.step + SEED;
            let places = self.arrange(p, x, cancel)?;
            let mut params = p.copy();
            params.reorder(&places);
            let step = self.step;
            let begun = Arc::new(Begun { step, pace, params });
            self.trial = self.lists.take().map(|plan| (plan, begun));
            return Ok(Some(places));
        }
        if self.step >= self.retry {
            self.finish_trial(p, x, pace, cancel)?;
        }
        Ok(None)
    }

    /// Take the references of new lists on trial, from where these began.
    pub(super) fn start_trial(&mut self, x: &Examples<T>, cancel: &AtomicBool) -> Result<()> {
        let fresh = |(plan, _): &mut (Plan<T>, _)| std::mem::take(&mut plan.fresh);
        if !self.trial.as_mut().is_some_and(fresh) {
            return Ok(());
        }
        let (mut plan, begun) = self.trial.take().expect("there is one");
        let p = &begun.params;
        let pace = plan.first_pace(begun.step, begun.pace);
        let step = Step::new(p, x, cancel);
        self.encode(step)?;
        self.renew(step, &mut plan, pace, None)?;
        self.trial = Some((plan, begun));
        Ok(())
    }

    /// Make the lists on trial, and keep them if they are worth it.
    fn finish_trial(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        pace: f64,
        cancel: &AtomicBool,
    ) -> Result<()> {
        self.retry = self.step + RETRY;
        self.start_trial(x, cancel)?; // if the run has just been resumed
        let Some((mut lists, _)) = self.trial.take() else {
            return Ok(());
        };
        let pace = lists.trial_pace(self.step, pace);
        let step = Step::new(p, x, cancel);
        self.encode(step)?;
        let room = Room::new(lists.limit, lists.lists.size());
        self.renew(step, &mut lists, pace, Some(&room))?;
        if room.is_over() {
            return Ok(());
        }
        classify(self.isa, &mut self.whole, p, &self.h, self.length);
        self.active = self.whole.active.len();
        let cost = lists.review();
        if cost < 0.75 * self.dense_cost(p.n, x.count) {
            self.lists = Some(lists);
            (self.cost, self.worked) = (cost, 0.0);
        }
        Ok(())
    }

    /// Cycles of a step through all pairs, roughly: as many features were active as in the last one.
    fn dense_cost(&self, n: usize, count: usize) -> f64 {
        let pairs = (count * self.active.min(n)) as f64 / T::Portable::LANES as f64;
        let m = self.whole.m as f64;
        let vector = if self.whole.m <= 3 {
            1.8 * m + 1.2
        } else {
            2.5 * m + 4.0
        };
        // Every feature is looked at, packed and unpacked, however few examples there are.
        pairs * vector + n as f64 * 6.0 * (m + 1.0)
    }

    /// New lists, of what is sorted first.
    fn arrange(
        &mut self,
        p: &Params<T>,
        x: &mut Examples<T>,
        cancel: &AtomicBool,
    ) -> Result<Vec<u32>> {
        let known = self.lists.take();
        if known.is_none() {
            // As much as all pairs, until they are counted.
            let pairs = p.n as f64 * x.count as f64;
            self.cost = pairs / T::Portable::LANES as f64 * (2.5 * p.m as f64 + 4.0);
            self.worked = 0.0;
        }
        let mut plan = known.unwrap_or_else(|| Plan::new(p, x, self.length));
        self.encode(Step::new(p, x, cancel))?;
        let (features, examples) = plan.lists.sort(p, &self.h, x, cancel);
        check(cancel)?;
        let places = inverse(&features);
        x.reorder(&examples, &places);
        reorder(&mut self.importance, &features);
        reorder(&mut self.importance64, &features);
        self.sort = self.step + SORT;
        plan.fresh = true;
        self.lists = Some(plan);
        Ok(places)
    }
}
