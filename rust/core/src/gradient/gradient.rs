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

use rayon::prelude::*;

use crate::error::{Result, check};
use crate::gradient::kept::{Kept, WORK};
use crate::gradient::kernel::Kernel;
use crate::gradient::shares::{SHARE, SHARES, Share, add, share_size, shared};
use crate::gradient::tiles::{Part, TileStep};
use crate::gradient::versions::{
    classify, collect, dense, encode, linear as linear_features, pack,
};
use crate::kernels::dense::Dense;
use crate::kernels::linear::{self, Activation};
use crate::kernels::moments::Moments;
use crate::kernels::whole::Whole;
#[cfg(feature = "doors")]
use crate::lists::pace::Counts;
use crate::lists::pace::Pace;
use crate::lists::plan::{Listed, Plan};
use crate::lists::rows::Room;
use crate::lists::versions::{look, look_at_groups};
use crate::memory;
use crate::model::examples::{Examples, FEATURES};
use crate::model::params::{Params, clear_padding, row_length};
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
        let threads = shared(p, x);
        self.start_trial(x, cancel)?;
        if self.lists.is_some() {
            self.pairs_of_lists(p, x, pace, cancel, threads)?;
        } else {
            self.encode(p, x, cancel, threads)?;
            self.all_pairs(p, x, cancel, threads)?;
        }
        self.collect(p, x, cancel, threads)?;
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
    pub(super) fn encode(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        cancel: &AtomicBool,
        threads: bool,
    ) -> Result<()> {
        let (isa, importance, length) = (self.isa, &self.importance, self.length);
        let size = SHARE * length;
        let one = |(i, (h, c)): (usize, (&mut [T], &mut [T]))| {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            let range = i * SHARE..(i * SHARE + h.len() / length);
            encode(isa, p, x, importance, range, length, h, c);
        };
        let (h, c) = (&mut self.h, &mut self.c);
        if threads {
            h.par_chunks_mut(size)
                .zip(c.par_chunks_mut(size))
                .enumerate()
                .for_each(one);
        } else {
            h.chunks_mut(size)
                .zip(c.chunks_mut(size))
                .enumerate()
                .for_each(one);
        }
        check(cancel)
    }

    /// A, B and C of all pairs.
    fn all_pairs(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        cancel: &AtomicBool,
        threads: bool,
    ) -> Result<()> {
        let (isa, length) = (self.isa, self.length);
        classify(isa, &mut self.whole, p, &self.h, length);
        self.active = self.whole.active.len();
        pack(
            isa,
            &mut self.whole,
            p,
            &self.importance,
            &self.importance64,
        );
        let (whole, moments) = (&self.whole, &mut self.moments);
        linear_features(
            isa,
            moments,
            p,
            &self.importance64,
            &whole.linear,
            &self.h,
            &mut self.sums,
        );
        let moments = &*moments;
        let size = share_size(x.count, self.shares.len(), self.shares[0].dense.examples) * length;
        let one = |((share, h), c): ((&mut Share<T>, &[T]), &mut [T])| {
            dense(isa, share, whole, moments, length, h, c, cancel);
        };
        let (h, c) = (&self.h, &mut self.c);
        self.shares.iter_mut().for_each(|share| share.used = false);
        if threads {
            self.shares
                .par_iter_mut()
                .zip(h.par_chunks(size))
                .zip(c.par_chunks_mut(size))
                .for_each(one);
        } else {
            self.shares
                .iter_mut()
                .zip(h.chunks(size))
                .zip(c.chunks_mut(size))
                .for_each(one);
        }
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
    fn pairs_of_lists(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        pace: f64,
        cancel: &AtomicBool,
        threads: bool,
    ) -> Result<()> {
        let mut plan = self.lists.take().expect("there are lists");
        let mut pace = plan.pace(self.step, pace);
        if std::mem::take(plan.fresh()) {
            (pace.all, pace.adapt) = (true, false);
        }
        // Between two looks at their size, lists may grow to twice the limit.
        let room = Room::new(2 * plan.limit(), plan.size());
        match &mut plan {
            Plan::ByFeature(lists) => {
                look(self.isa, &mut lists.features, p, pace);
                let tiles = &mut lists.tiles;
                self.tiles(p, x, &lists.features, tiles, pace, &room, cancel, threads);
            }
            Plan::ByGroup(lists) => {
                look_at_groups(self.isa, &mut lists.groups, p, pace);
                let tiles = &mut lists.tiles;
                self.tiles(p, x, &lists.groups, tiles, pace, &room, cancel, threads);
            }
        }
        check(cancel)?;
        if room.is_over() {
            // Some lists lack entries: what they gave is dropped with them.
            drop(plan);
            self.retry = self.step + RETRY;
            self.sums.fill(0.0);
            self.encode(p, x, cancel, threads)?;
            return self.all_pairs(p, x, cancel, threads);
        }
        let nonzeros = x.rows.indices.len() as f64 * (20.0 + 4.0 * p.m as f64);
        self.worked += self.cost + nonzeros + 10.0 * p.data.len() as f64;
        if let Plan::ByGroup(_) = plan {
            // Lanes without a feature get 0 times what may not be finite.
            clear_padding(p.n, p.m, p.bias, &mut self.sums);
        }
        self.lists = Some(plan);
        Ok(())
    }

    /// The same tile by tile, for the references `features`.
    #[allow(clippy::too_many_arguments)]
    fn tiles<L: Listed<T>>(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        features: &L::Features,
        tiles: &mut [L],
        pace: Pace,
        room: &Room,
        cancel: &AtomicBool,
        threads: bool,
    ) {
        let size = tiles.len().div_ceil(self.shares.len());
        let (isa, importance64, length) = (self.isa, &self.importance64, self.length);
        let step = TileStep::<T, L> {
            isa,
            p,
            x,
            importance: &self.importance,
            importance64,
            features,
            length,
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
        let one = |(share, part): (&mut Share<T>, Part<T, L>)| {
            let len = p.data.len();
            step.tiles(part, &mut share.lanes, &mut share.sums[..len]);
        };
        if threads {
            self.shares.par_iter_mut().zip(parts).for_each(one);
        } else {
            self.shares.iter_mut().zip(parts).for_each(one);
        }
        for share in &mut self.shares {
            add(&mut self.sums, &share.sums[..p.data.len()]);
            share.sums.fill(0.0);
        }
    }

    /// All references anew for the present h, and with a `room` the lists too, as far as it goes.
    pub(super) fn renew(
        &mut self,
        plan: &mut Plan<T>,
        p: &Params<T>,
        pace: Pace,
        room: Option<&Room>,
        cancel: &AtomicBool,
        threads: bool,
    ) -> Result<()> {
        match plan {
            Plan::ByFeature(lists) => {
                look(self.isa, &mut lists.features, p, pace);
                let tiles = &mut lists.tiles;
                self.renew_tiles(&lists.features, tiles, pace, room, cancel, threads);
            }
            Plan::ByGroup(lists) => {
                look_at_groups(self.isa, &mut lists.groups, p, pace);
                let tiles = &mut lists.tiles;
                self.renew_tiles(&lists.groups, tiles, pace, room, cancel, threads);
            }
        }
        check(cancel)
    }

    /// See [`Gradient::renew`].
    fn renew_tiles<L: Listed<T>>(
        &self,
        features: &L::Features,
        tiles: &mut [L],
        pace: Pace,
        room: Option<&Room>,
        cancel: &AtomicBool,
        threads: bool,
    ) {
        let one = |tile: &mut L| {
            let span = tile.span();
            let h = &self.h[span.start * self.length..span.end * self.length];
            if !room.is_some_and(Room::is_over) && !cancel.load(Ordering::Relaxed) {
                tile.refresh(self.isa, features, h, pace, room);
            }
        };
        if threads {
            tiles.par_iter_mut().for_each(one);
        } else {
            tiles.iter_mut().for_each(one);
        }
    }

    /// What the non-zeros add, feature by feature.
    fn collect(
        &mut self,
        p: &Params<T>,
        x: &Examples<T>,
        cancel: &AtomicBool,
        threads: bool,
    ) -> Result<()> {
        let (isa, importance, length) = (self.isa, &self.importance, self.length);
        let (h, c) = (&self.h, &self.c);
        let (dw, db) = self.sums.split_at_mut(p.bias);
        let db = &mut db[..p.n];
        for columns in &x.columns {
            let one = |(i, (dw, db)): (usize, (&mut [f64], &mut [f64]))| {
                if !cancel.load(Ordering::Relaxed) {
                    collect(isa, p, columns, importance, i, length, h, c, dw, db);
                }
            };
            if threads {
                dw.par_chunks_mut(FEATURES * p.m)
                    .zip(db.par_chunks_mut(FEATURES))
                    .enumerate()
                    .for_each(one);
            } else {
                dw.chunks_mut(FEATURES * p.m)
                    .zip(db.chunks_mut(FEATURES))
                    .enumerate()
                    .for_each(one);
            }
        }
        check(cancel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Init, Stream, initial_weights, role};

    /// Lists that outgrow their limit between two looks, as when all weights change at once.
    fn outgrown(m: usize) {
        let (n, never) = (90, AtomicBool::new(false));
        let csr = Stream::new(n, 0.9, 3, role::TRAIN, true).sample(0, 700, &never);
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
            match lists.lists.as_mut().unwrap() {
                Plan::ByFeature(lists) => lists.limit = limit,
                Plan::ByGroup(lists) => lists.limit = limit,
            }
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
        outgrown(3);
        outgrown(8);
    }
}
