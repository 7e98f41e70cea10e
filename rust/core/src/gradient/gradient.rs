//! The gradient of the squared error: sparse in, fused out, never a T x n array.
//!
//! With y = relu(z), z_tj = w_j . h_t + b_j, and r_tj = I_j (y_tj - x_tj) [z_tj > 0], half the
//! gradient of sum_tj I_j (x_tj - y_tj)^2 is
//!
//! ```text
//! db_j = sum_t r_tj      dw_j = sum_t r_tj h_t  +  sum_t x_tj C_t      C_t = sum_j r_tj w_j
//! ```
//!
//! y carries its own mask, so pairs only have to give A_j = sum_t y_tj, B_j = sum_t y_tj h_t and
//! C_t = sum_j I_j y_tj w_j: 3 m multiply-adds a pair ([`crate::kernels::dense`]), and most pairs
//! need not be visited at all ([`crate::kernels::whole`], [`crate::lists::skin`]). What x
//! adds is in [`crate::kernels::nonzeros`].
//!
//! Examples are cut into shares and features into ranges, both by the shape of the problem alone;
//! each share has sums of its own, added in order. So bits do not depend on who did which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Result, check};
use crate::gradient::all_pairs::{AllPairs, dense};
use crate::gradient::kept::{Kept, WORK};
use crate::gradient::kernel::Kernel;
use crate::gradient::shares::{SHARE, SHARES, Share, Step, add, each, share_size};
use crate::gradient::tiles::{Part, TileStep};
use crate::kernels::dense::Dense;
use crate::kernels::linear::{self, Activation};
use crate::kernels::moments::{self, Moments};
use crate::kernels::nonzeros::{Collect, Encode, collect, encode};
use crate::kernels::whole::{Whole, classify, pack};
use crate::lists::listed::Listed;
#[cfg(feature = "doors")]
use crate::lists::pace::Counts;
use crate::lists::pace::Pace;
use crate::lists::plan::Plan;
use crate::lists::rows::Room;
use crate::memory;
use crate::model::examples::{Examples, FEATURES};
use crate::model::params::{Params, SMALL, clear_padding, row_length};
use crate::simd::aligned::Aligned;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;

/// The step at which lists are tried first.
const FIRST: u64 = 32;
/// Steps before the lists are tried again.
pub const RETRY: u64 = 64;
/// Steps from references to lists in a trial.
pub const SEED: u64 = 8;

/// Where lists on trial began: what their references are taken from.
pub(crate) struct Begun<T> {
    pub step: u64,
    pub pace: f64,
    pub params: Params<T>,
}

/// What of the gradient a run goes on from: what is kept, and where lists on trial began, if some are.
#[derive(Clone)]
pub(crate) struct Restart<T> {
    pub kept: Kept,
    pub begun: Option<Arc<Begun<T>>>,
}

/// The gradient of one run, step after step.
pub struct Gradient<T> {
    /// Half the gradient, in the layout of [`Params`]. Whoever reads it sets it to 0.
    pub sums: Aligned<f64>,
    pub(super) isa: Isa,
    pub(super) kernel: Kernel,
    pub(super) activation: Activation,
    pub(super) importance: Vec<T>,
    pub(super) importance64: Vec<f64>,
    /// Length of a row of h and C.
    pub(super) length: usize,
    pub(super) h: Aligned<T>,
    pub(super) c: Aligned<T>,
    /// Room for [`Encode`].
    by_feature: Vec<T>,
    pub(super) whole: Whole<T>,
    pub(super) moments: Moments<T>,
    pub(super) shares: Vec<Share<T>>,
    pub(super) lists: Option<Plan<T>>,
    /// Lists that are not in use yet, and where they began.
    pub(super) trial: Option<(Plan<T>, Arc<Begun<T>>)>,
    pub(super) step: u64,
    pub(super) retry: u64,
    /// The step of the next sort at the latest.
    pub(super) sort: u64,
    /// Features that needed their pairs when last counted.
    pub(crate) active: usize,
    /// Cycles of the pairs of a step through the lists, roughly, and of all such steps since lists were
    /// last made anew for a state.
    pub(super) cost: f64,
    pub(super) worked: f64,
}

impl<T: Real> Gradient<T> {
    /// For parameters of this shape; `importance` is empty when all are 1.
    pub fn new(
        isa: Isa,
        kernel: Kernel,
        activation: Activation,
        params: &Params<T>,
        importance: &[f64],
    ) -> Self {
        let Params { n, m, .. } = *params;
        let length = row_length::<T>(m);
        // Whole vectors of features are weighed.
        let weighed = if importance.is_empty() {
            0
        } else {
            n.next_multiple_of(64)
        };
        let importance64: Vec<f64> = memory::collect(
            weighed,
            importance.iter().copied().chain(std::iter::repeat(0.0)),
        );
        Gradient {
            sums: Aligned::zeros(params.data.len()),
            isa,
            kernel,
            activation,
            importance: memory::collect(weighed, importance64.iter().map(|&i| T::from_f64(i))),
            importance64,
            length,
            h: Aligned::zeros(0),
            c: Aligned::zeros(0),
            by_feature: Vec::new(),
            whole: Whole::new(n, m, Dense::<T>::new(m).block),
            moments: Moments::new(m, length),
            shares: Vec::new(),
            lists: None,
            trial: None,
            step: 0,
            retry: FIRST,
            sort: 0,
            active: 0,
            cost: 0.0,
            worked: 0.0,
        }
    }

    /// What is to be kept between steps, lists aside.
    pub fn kept(&self) -> Kept {
        Kept {
            budgets: self.lists.as_ref().map(Plan::budgets),
            retry: self.retry,
            sort: self.sort,
            active: self.active as u64,
            cost: self.cost,
        }
    }

    /// What a run goes on from at this step; none while lists are in use, which would have to be made
    /// anew.
    pub fn restart(&self) -> Option<Restart<T>> {
        self.lists.is_none().then(|| Restart {
            kept: self.kept(),
            begun: self.trial.as_ref().map(|(_, begun)| begun.clone()),
        })
    }

    /// Whether lists are to be made anew, for the sake of a state.
    pub fn is_due(&self) -> bool {
        self.lists.is_some() && self.worked >= WORK
    }

    /// Go on from what was kept before a step; lists are made anew.
    pub fn resume(&mut self, p: &Params<T>, x: &Examples<T>, from: &Restart<T>, step: u64) {
        let Restart { kept, begun } = from;
        if self.activation == Activation::Relu {
            self.fit(p, x);
        }
        let begun = begun.clone();
        self.trial = begun.map(|begun| (Plan::new(p, x, self.length), begun));
        self.lists = kept.budgets.as_ref().map(|budgets| {
            let mut plan = Plan::new(p, x, self.length);
            plan.resume(budgets);
            plan
        });
        self.step = step;
        (self.retry, self.sort) = (kept.retry, kept.sort);
        self.active = kept.active as usize;
        (self.cost, self.worked) = (kept.cost, 0.0);
    }

    /// Get ready for [`Gradient::compute`], which follows. If the features shall lie in another order:
    /// their new places, where those of `x` and the importances already are; the parameters and what
    /// goes with them are to follow. Examples may be put in another order. `pace` is about what a
    /// parameter moves in a step.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `cancel` was set meanwhile.
    pub fn prepare(
        &mut self,
        p: &Params<T>,
        x: &mut Examples<T>,
        pace: f64,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<u32>>> {
        if self.activation == Activation::Linear {
            return Ok(None);
        }
        self.fit(p, x);
        self.choose(p, x, pace, cancel)
    }

    /// Compute `sums` for the examples `x`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `cancel` was set meanwhile.
    pub fn compute(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        pace: f64,
        cancel: &AtomicBool,
    ) -> Result<()> {
        if self.activation == Activation::Linear {
            return linear::gradient(&mut self.sums, p, x, &self.importance64, cancel);
        }
        self.fit(p, x);
        let step = Step::new(p, x, cancel);
        self.start_trial(x, cancel)?;
        if self.lists.is_some() {
            self.pairs_of_lists(step, pace)?;
        } else {
            self.encode(step)?;
            self.all_pairs(step)?;
        }
        self.collect(step)?;
        self.step += 1;
        Ok(())
    }

    /// Make the buffers fit.
    fn fit(&mut self, p: &Params<T>, x: &Examples<T>) {
        assert!(self.sums.len() == p.data.len() && x.count > 0);
        if self.h.len() == x.count * self.length {
            return;
        }
        self.h = Aligned::zeros(x.count * self.length);
        self.c = Aligned::zeros(x.count * self.length);
        (self.lists, self.trial) = (None, None);
        let shares = x.count.div_ceil(SHARE).min(SHARES);
        let share = || Share {
            dense: Dense::new(p.m),
            c: Vec::new(),
            sums: Aligned::zeros(p.data.len() + 64 * (p.m + 1)),
            lanes: Aligned::zeros(0),
            used: false,
        };
        self.shares.resize_with(shares, share);
    }

    /// If lists are in use: what the last step had to do, and the steps that they shall last.
    #[cfg(feature = "doors")]
    pub(crate) fn counts(&self) -> Option<(Counts, f64)> {
        self.lists.as_ref().map(Plan::counts)
    }

    /// h, and C as the non-zeros make it.
    pub(super) fn encode(&mut self, step: Step<'_, T>) -> Result<()> {
        let (isa, length) = (self.isa, self.length);
        let from = Encode::new(step.p, step.x, &self.importance, &mut self.by_feature);
        let h = self.h.chunks_mut(SHARE * length);
        let shares = h.zip(self.c.chunks_mut(SHARE * length)).enumerate();
        each(step.threads, shares, |(i, (h, c))| {
            if !step.cancel.load(Ordering::Relaxed) {
                encode(isa, &from, i * SHARE..i * SHARE + h.len() / length, h, c);
            }
        });
        check(step.cancel)
    }

    /// A, B and C of all pairs.
    fn all_pairs(&mut self, step: Step<'_, T>) -> Result<()> {
        let Step { p, cancel, .. } = step;
        let (isa, length, whole) = (self.isa, self.length, &mut self.whole);
        classify(isa, whole, p, &self.h, length);
        self.active = whole.active.len();
        pack(isa, whole, p, &self.importance, &self.importance64);
        let (linear, weights) = (&whole.linear, &self.importance64);
        let sums = &mut self.sums;
        moments::linear(isa, &mut self.moments, p, weights, linear, &self.h, sums);
        let pairs = AllPairs {
            whole,
            moments: &self.moments,
            length,
            cancel,
        };
        self.shares.iter_mut().for_each(|share| share.used = false);
        let block = self.shares[0].dense.examples;
        let size = share_size(step.x.count, self.shares.len(), block) * length;
        let (h, c) = (self.h.chunks(size), self.c.chunks_mut(size));
        let shares = self.shares.iter_mut().zip(h).zip(c);
        each(step.threads, shares, |((share, h), c)| {
            dense(isa, &pairs, share, h, c);
        });
        check(cancel)?;
        let packed = self.whole.packed_len();
        let (first, rest) = self.shares.split_first_mut().expect("at least one share");
        for share in rest.iter().filter(|share| share.used) {
            add(&mut first.sums[..packed], &share.sums[..packed]);
        }
        self.whole.unpack(p.bias, &first.sums, &mut self.sums);
        first.sums.fill(0.0);
        rest.iter_mut().for_each(|share| share.sums.fill(0.0));
        Ok(())
    }

    /// A, B and C of the pairs of lists.
    fn pairs_of_lists(&mut self, step: Step<'_, T>, pace: f64) -> Result<()> {
        let Step { p, x, cancel, .. } = step;
        let mut plan = self.lists.take().expect("there are lists");
        let pace = plan.pace(self.step, pace);
        // Between two reviews, lists may grow by a quarter of the limit.
        let room = Room::new(plan.limit.saturating_add(plan.limit / 4), plan.lists.size());
        plan.lists.look(self.isa, p, pace);
        self.tiles(step, &mut plan.lists.tiles(), pace, &room);
        check(cancel)?;
        if room.is_over() {
            // Some lists lack entries: what they gave is dropped with them.
            drop(plan);
            self.retry = self.step + RETRY;
            self.sums.fill(0.0);
            self.encode(step)?;
            return self.all_pairs(step);
        }
        let nonzeros = x.rows.indices.len() as f64 * (20.0 + 4.0 * p.m as f64);
        self.worked += self.cost + nonzeros + 10.0 * p.data.len() as f64;
        if p.m <= SMALL {
            // Lanes of groups without a feature get 0 times what may not be finite.
            clear_padding(p.n, p.m, p.bias, &mut self.sums);
        }
        self.lists = Some(plan);
        Ok(())
    }

    /// The same tile by tile.
    fn tiles(
        &mut self,
        given: Step<'_, T>,
        tiles: &mut [Box<dyn Listed<T> + '_>],
        pace: Pace,
        room: &Room,
    ) {
        let Step { p, x, cancel, .. } = given;
        let size = tiles.len().div_ceil(self.shares.len());
        let length = self.length;
        let step = TileStep {
            isa: self.isa,
            from: Encode::new(p, x, &self.importance, &mut self.by_feature),
            importance64: &self.importance64,
            pace,
            room,
            cancel,
        };
        let mut parts = Vec::new();
        let (mut h, mut c) = (&mut self.h[..], &mut self.c[..]);
        for tiles in tiles.chunks_mut(size) {
            let count: usize = tiles.iter().map(|tile| tile.span().len()).sum();
            let (h_part, h_rest) = h.split_at_mut(count * length);
            let (c_part, c_rest) = c.split_at_mut(count * length);
            (h, c) = (h_rest, c_rest);
            parts.push(Part {
                tiles,
                h: h_part,
                c: c_part,
            });
        }
        if parts.len() == 1 {
            let lanes = &mut self.shares[0].lanes;
            step.tiles(parts.remove(0), lanes, &mut self.sums);
            return;
        }
        let len = p.data.len();
        let shares = self.shares.iter_mut().zip(parts);
        each(given.threads, shares, |(share, part)| {
            step.tiles(part, &mut share.lanes, &mut share.sums[..len]);
        });
        for share in &mut self.shares {
            add(&mut self.sums, &share.sums[..len]);
            share.sums.fill(0.0);
        }
    }

    /// All references anew for the present h, and with a `room` the lists too, as far as it goes.
    pub(super) fn renew(
        &mut self,
        step: Step<'_, T>,
        plan: &mut Plan<T>,
        pace: Pace,
        room: Option<&Room>,
    ) -> Result<()> {
        let (isa, length, h) = (self.isa, self.length, &self.h);
        plan.lists.look(isa, step.p, pace);
        each(step.threads, plan.lists.tiles().into_iter(), |mut tile| {
            let span = tile.span();
            if !room.is_some_and(Room::is_over) && !step.cancel.load(Ordering::Relaxed) {
                tile.refresh(isa, &h[span.start * length..span.end * length], pace, room);
            }
        });
        check(step.cancel)
    }

    /// What the non-zeros add, feature by feature.
    fn collect(&mut self, step: Step<'_, T>) -> Result<()> {
        let Step { p, x, cancel, .. } = step;
        assert!(self.h.len() == x.count * self.length && self.c.len() == self.h.len());
        let (dw, db) = self.sums.split_at_mut(p.bias);
        let db = &mut db[..p.n];
        for columns in &x.columns {
            let from = Collect {
                p,
                x: columns,
                importance: &self.importance,
                length: self.length,
                h: &self.h,
                c: &self.c,
            };
            let dw = dw.chunks_mut(FEATURES * p.m);
            let parts = dw.zip(db.chunks_mut(FEATURES)).enumerate();
            each(step.threads, parts, |(i, (dw, db))| {
                if !cancel.load(Ordering::Relaxed) {
                    collect(self.isa, &from, i, dw, db);
                }
            });
        }
        check(cancel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Init, Stream, initial_weights, role};

    /// Lists that outgrow their limit between two reviews, as when all weights change at once.
    fn outgrown(m: usize, n: usize, count: u64) {
        let never = AtomicBool::new(false);
        let csr = Stream::new(n, 0.9, 3, role::TRAIN, true).sample(0, count, &never);
        let mut x = Examples::<f64>::new(&csr.unwrap(), n, None);
        let drawn = |b: f64| {
            let w = initial_weights(n, m, Init::XavierNormal, 0);
            Params::<f64>::from_values(n, m, w, &vec![b; n], None)
        };
        let new = |kernel, p: &Params<f64>| {
            Gradient::new(Isa::Portable, kernel, Activation::Relu, p, &[])
        };
        let mut lists = new(Kernel::Lists, &drawn(0.0));
        for limit in [0, 10, 20] {
            let mut p = drawn(-9.0);
            if let Some(places) = lists.prepare(&p, &mut x, 1e-9, &never).unwrap() {
                p.reorder(&places);
            }
            lists.compute(&p, &x, 1e-9, &never).unwrap();
            lists.lists.as_mut().unwrap().limit = limit;
            p = drawn(0.0);
            lists.sums.fill(0.0);
            lists.compute(&p, &x, 1e-9, &never).unwrap();
            assert!(lists.lists.is_none());
            let mut dense = new(Kernel::Dense, &p);
            dense.compute(&p, &x, 0.0, &never).unwrap();
            assert_eq!(*lists.sums, *dense.sums);
            lists.sums.fill(0.0);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn lists_without_room_give_way_to_all_pairs() {
        outgrown(3, 900, 150); // few enough for groups of features
        outgrown(8, 90, 700);
    }
}
