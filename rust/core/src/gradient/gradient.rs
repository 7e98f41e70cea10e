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
//! need not be visited at all ([`crate::kernels::whole`], [`crate::lists::by_feature`]). What x
//! adds is in [`crate::kernels::nonzeros`].
//!
//! Examples are cut into shares and features into ranges, both by the shape of the problem alone;
//! each share has sums of its own, added in order. So bits do not depend on who did which.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result, check};
use crate::gradient::kept::{Kept, WORK};
use crate::kernels::dense::Dense;
use crate::kernels::linear::{self, Activation};
use crate::kernels::moments::Moments;
use crate::kernels::nonzeros;
use crate::kernels::whole::Whole;
use crate::lists::budgets::Budgets;
use crate::lists::by_feature::{Features, LOOK, Lists, Work};
use crate::lists::by_group::{GroupTile, Grouped, Groups};
use crate::lists::rows::Room;
#[cfg(feature = "doors")]
use crate::lists::tile::Counts;
use crate::lists::tile::{Pace, Tile};
use crate::memory;
use crate::model::examples::{Columns, Examples, FEATURES};
use crate::model::params::{Params, SMALL, clear_padding, row_length};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// At most this many shares of the examples.
const SHARES: usize = 8;
/// Examples that are worth a share.
const SHARE: usize = 4096;
/// Pairs from which on a step is worth the cost of threads.
const PARALLEL: usize = 20_000_000;
/// The step at which lists are tried first.
const FIRST: u64 = 32;
/// Steps before the lists are tried again.
const RETRY: u64 = 64;
/// Steps from references to lists in a trial.
pub const SEED: u64 = 8;
/// Steps after which similar features and similar examples are brought together anew at the latest.
const SORT: u64 = 2048;

/// How the pairs are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// What costs less, judged from counts.
    Auto,
    /// All pairs, but for features that are dead or linear for all examples.
    Dense,
    /// The pairs of lists.
    Lists,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Kernel; 3] = [Kernel::Auto, Kernel::Dense, Kernel::Lists];

    /// The name that `TOYSUP_KERNEL` uses.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Auto => "auto",
            Kernel::Dense => "dense",
            Kernel::Lists => "lists",
        }
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(name: &str) -> Result<Kernel> {
        let found = Kernel::ALL.into_iter().find(|k| k.name() == name);
        found.ok_or_else(|| {
            Error::Invalid(format!(
                "TOYSUP_KERNEL must be auto, dense or lists, got '{name}'"
            ))
        })
    }

    /// What the environment variable `TOYSUP_KERNEL` names, or [`Kernel::Auto`].
    ///
    /// # Errors
    /// If the variable holds an unknown name.
    pub fn current() -> Result<Kernel> {
        match std::env::var("TOYSUP_KERNEL") {
            Ok(name) if !name.is_empty() => Kernel::parse(&name),
            _ => Ok(Kernel::Auto),
        }
    }
}

/// Buffers of a share of the examples.
pub(crate) struct Share<T> {
    dense: Dense<T>,
    /// C of a block of examples, (examples, m).
    c: Vec<f64>,
    /// Sums, packed like the features, or in the layout of the parameters.
    sums: Aligned<f64>,
    /// C of a tile, by lanes; zeros between tiles.
    lanes: Aligned<T>,
    /// Whether the sums are not all 0.
    used: bool,
}

/// The lists of a run: by feature, or by groups of features.
enum Plan<T> {
    ByFeature(Box<Lists<T>>),
    ByGroup(Box<Grouped<T>>),
}

impl<T: Real> Plan<T> {
    fn new(p: &Params<T>, x: &Examples<T>, length: usize) -> Self {
        let nonzeros = x.rows.indices.len();
        if p.m <= SMALL {
            Plan::ByGroup(Box::new(Grouped::new(p, x.count, nonzeros)))
        } else {
            Plan::ByFeature(Box::new(Lists::new(p, x.count, nonzeros, length)))
        }
    }

    fn pace(&self, step: u64, size: f64) -> Pace {
        match self {
            Plan::ByFeature(lists) => lists.life.pace(step, size),
            Plan::ByGroup(lists) => lists.life.pace(step, size),
        }
    }

    fn budgets(&self) -> Budgets {
        match self {
            Plan::ByFeature(lists) => lists.budgets(),
            Plan::ByGroup(lists) => lists.budgets(),
        }
    }

    fn resume(&mut self, budgets: &Budgets) {
        match self {
            Plan::ByFeature(lists) => lists.resume(budgets),
            Plan::ByGroup(lists) => lists.resume(budgets),
        }
    }

    fn fresh(&mut self) -> &mut bool {
        match self {
            Plan::ByFeature(lists) => &mut lists.fresh,
            Plan::ByGroup(lists) => &mut lists.fresh,
        }
    }

    fn review(&mut self) -> f64 {
        match self {
            Plan::ByFeature(lists) => lists.review(),
            Plan::ByGroup(lists) => lists.review(),
        }
    }

    fn is_unsorted(&self) -> bool {
        match self {
            Plan::ByFeature(_) => false,
            Plan::ByGroup(lists) => lists.is_unsorted(),
        }
    }

    /// Entries that there may be.
    fn limit(&self) -> usize {
        match self {
            Plan::ByFeature(lists) => lists.limit,
            Plan::ByGroup(lists) => lists.limit,
        }
    }

    /// Entries that there is room for.
    fn size(&self) -> usize {
        match self {
            Plan::ByFeature(lists) => lists.tiles.iter().map(Tile::size).sum(),
            Plan::ByGroup(lists) => lists.tiles.iter().map(GroupTile::size).sum(),
        }
    }

    fn too_large(&self) -> bool {
        self.size() > self.limit()
    }

    /// What there is to do, and the steps that lists shall last.
    #[cfg(feature = "doors")]
    fn counts(&self) -> (Counts, f64) {
        match self {
            Plan::ByFeature(lists) => (lists.counts(), lists.life.steps),
            Plan::ByGroup(lists) => (lists.counts(), lists.life.steps),
        }
    }
}

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
    isa: Isa,
    kernel: Kernel,
    activation: Activation,
    importance: Vec<T>,
    importance64: Vec<f64>,
    /// Length of a row of h and C.
    length: usize,
    h: Aligned<T>,
    c: Aligned<T>,
    whole: Whole<T>,
    moments: Moments<T>,
    shares: Vec<Share<T>>,
    lists: Option<Plan<T>>,
    /// Lists that are not in use yet, and where they began.
    trial: Option<(Plan<T>, Arc<Begun<T>>)>,
    step: u64,
    retry: u64,
    /// The step of the next sort at the latest.
    sort: u64,
    /// Features that needed their pairs when last counted.
    pub(crate) active: usize,
    /// Cycles of the pairs of a step through the lists, roughly, and of all such steps since lists were
    /// last made anew for a state.
    cost: f64,
    worked: f64,
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

    /// Make lists, sort what they are made of anew, or go back to all pairs.
    fn choose(
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
            if self.step.is_multiple_of(LOOK) && !*lists.fresh() {
                self.cost = lists.review();
                let cost = self.cost;
                if !forced && (cost > self.dense_cost(p.n, x.count) || self.too_large()) {
                    self.lists = None;
                    self.retry = self.step + RETRY;
                    return Ok(None);
                }
            }
            let unsorted = self.lists.as_ref().is_some_and(Plan::is_unsorted);
            if unsorted || p.m <= SMALL && self.step >= self.sort {
                return self.arrange(p, x, cancel);
            }
            return Ok(None);
        }
        if forced {
            return self.arrange(p, x, cancel);
        }
        if p.m <= SMALL && !Grouped::fits(p, x.count, x.rows.indices.len()) {
            return Ok(None);
        }
        // Lists are made to see what they would cost; some steps before, references are taken, so
        // that there is a speed to set the budgets from.
        if self.trial.is_none() && self.step + SEED >= self.retry {
            self.retry = self.step + SEED;
            let places = self.arrange(p, x, cancel)?;
            let mut params = p.copy();
            if let Some(places) = &places {
                params.reorder(places);
            }
            let step = self.step;
            let begun = Arc::new(Begun { step, pace, params });
            self.trial = self.lists.take().map(|plan| (plan, begun));
            return Ok(places);
        }
        if self.step >= self.retry {
            self.finish_trial(p, x, pace, cancel)?;
        }
        Ok(None)
    }

    /// Take the references of new lists on trial, from where these began.
    fn start_trial(&mut self, x: &Examples<T>, cancel: &AtomicBool) -> Result<()> {
        let fresh = |(plan, _): &mut (Plan<T>, _)| std::mem::take(plan.fresh());
        if !self.trial.as_mut().is_some_and(fresh) {
            return Ok(());
        }
        let (mut plan, begun) = self.trial.take().expect("there is one");
        let p = &begun.params;
        let mut pace = plan.pace(begun.step, begun.pace);
        (pace.all, pace.adapt) = (true, false);
        self.encode(p, x, cancel, shared(p, x))?;
        self.renew(&mut plan, p, pace, None, cancel, shared(p, x))?;
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
        let mut pace = lists.pace(self.step, pace);
        pace.all = true;
        self.encode(p, x, cancel, shared(p, x))?;
        let room = Room::new(lists.limit(), lists.size());
        self.renew(&mut lists, p, pace, Some(&room), cancel, shared(p, x))?;
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

    fn too_large(&self) -> bool {
        self.lists.as_ref().is_some_and(Plan::too_large)
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

    /// New lists; for small m what goes together is sorted first.
    fn arrange(
        &mut self,
        p: &Params<T>,
        x: &mut Examples<T>,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<u32>>> {
        let known = self.lists.take();
        if known.is_none() {
            // As much as all pairs, until they are counted.
            let pairs = p.n as f64 * x.count as f64;
            self.cost = pairs / T::Portable::LANES as f64 * (2.5 * p.m as f64 + 4.0);
            self.worked = 0.0;
        }
        let mut plan = known.unwrap_or_else(|| Plan::new(p, x, self.length));
        let mut places = None;
        if let Plan::ByGroup(lists) = &mut plan {
            self.encode(p, x, cancel, shared(p, x))?;
            let (features, examples) = lists.orders(p, &self.h, x, cancel);
            check(cancel)?;
            lists.reorder(&features, &examples);
            let to = places.insert(inverse(&features));
            x.reorder(&examples, to);
            reorder(&mut self.importance, &features);
            reorder(&mut self.importance64, &features);
            self.sort = self.step + SORT;
        }
        *plan.fresh() = true;
        self.lists = Some(plan);
        Ok(places)
    }

    /// h, and C as the non-zeros make it.
    fn encode(
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
        linear(
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
    fn renew(
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

/// A tile of examples with its lists.
trait Listed<T>: Send {
    /// The references of the features.
    type Features: Sync;
    /// Its examples.
    fn span(&self) -> Range<usize>;
    /// Take references anew where it is time, and with a `room` make the lists that go with them.
    fn refresh(
        &mut self,
        isa: Isa,
        features: &Self::Features,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    );
    /// Add what the pairs add.
    fn run(&mut self, isa: Isa, work: Work<'_, T>);
}

impl<T: Real> Listed<T> for Tile<T> {
    type Features = Features<T>;
    fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
    fn refresh(
        &mut self,
        isa: Isa,
        features: &Features<T>,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    ) {
        refresh(isa, self, features, h, pace, room);
    }
    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        tile(isa, self, work);
    }
}

impl<T: Real> Listed<T> for GroupTile<T> {
    type Features = Groups<T>;
    fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
    fn refresh(&mut self, isa: Isa, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>) {
        refresh_groups(isa, self, groups, h, pace, room);
    }
    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        group_tile(isa, self, work);
    }
}

/// Tiles that follow one another, with their rows of h and C.
struct Part<'a, T, L> {
    tiles: &'a mut [L],
    h: &'a mut [T],
    c: &'a mut [T],
}

/// A step through lists.
struct TileStep<'a, T, L: Listed<T>> {
    isa: Isa,
    p: &'a Params<T>,
    x: &'a Examples<T>,
    importance: &'a [T],
    importance64: &'a [f64],
    features: &'a L::Features,
    length: usize,
    pace: Pace,
    room: &'a Room,
    cancel: &'a AtomicBool,
}

impl<T: Real, L: Listed<T>> TileStep<'_, T, L> {
    fn tiles(&self, part: Part<T, L>, lanes: &mut Aligned<T>, sums: &mut [f64]) {
        let Part { tiles, h, c } = part;
        let (isa, p, importance, length) = (self.isa, self.p, self.importance, self.length);
        let mut at = 0;
        for tile in tiles {
            if self.cancel.load(Ordering::Relaxed) || self.room.is_over() {
                return;
            }
            let span = tile.span();
            let rows = at..at + span.len() * length;
            at = rows.end;
            let (h, c) = (&mut h[rows.clone()], &mut c[rows]);
            encode(isa, p, self.x, importance, span, length, h, c);
            tile.refresh(isa, self.features, h, self.pace, Some(self.room));
            if self.room.is_over() {
                return;
            }
            let work = Work {
                p,
                importance,
                importance64: self.importance64,
                h,
                c,
                lanes: &mut *lanes,
                sums: &mut *sums,
            };
            tile.run(isa, work);
        }
    }
}

/// Threads that a step for that many features and examples can use at one time.
pub fn useful_threads(n: usize, count: usize) -> usize {
    if n.saturating_mul(count) >= PARALLEL {
        SHARES
    } else {
        1
    }
}

/// Whether a step is worth the cost of threads; outside of a pool there is nobody to share with.
fn shared<T: Real>(p: &Params<T>, x: &Examples<T>) -> bool {
    useful_threads(p.n, x.count) > 1 && rayon::current_thread_index().is_some()
}

/// Where each is in `order`.
fn inverse(order: &[u32]) -> Vec<u32> {
    let mut places = memory::zeros(order.len());
    for (i, &j) in order.iter().enumerate() {
        places[j as usize] = i as u32;
    }
    places
}

/// Put what is at `order[i]` at i; what lies behind the order, and nothing, stays.
fn reorder<T: Copy>(values: &mut [T], order: &[u32]) {
    let old = memory::copy(values);
    values
        .iter_mut()
        .zip(order)
        .for_each(|(to, &j)| *to = old[j as usize]);
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
}

/// Examples of a share: whole blocks of the dense kernel.
fn share_size(count: usize, shares: usize, block: usize) -> usize {
    count.div_ceil(shares).next_multiple_of(block)
}

multiversion! {
    /// See [`nonzeros::encode`].
    #[allow(clippy::too_many_arguments)]
    fn encode<V, T>(
        p: &Params<T>, x: &Examples<T>, importance: &[T], range: Range<usize>,
        length: usize, h: &mut [T], c: &mut [T],
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { nonzeros::encode::<V>(p, x, importance, range, length, h, c) }
    }
}

multiversion! {
    /// See [`nonzeros::collect`].
    #[allow(clippy::too_many_arguments)]
    fn collect<V, T>(
        p: &Params<T>, x: &Columns<T>, importance: &[T], part: usize,
        length: usize, h: &[T], c: &[T], dw: &mut [f64], db: &mut [f64],
    ) {
        // SAFETY: the instruction set of `V` is available here; h and c have a row for every example.
        unsafe { nonzeros::collect::<V>(p, x, importance, part, length, h, c, dw, db) }
    }
}

multiversion! {
    /// See [`Whole::classify`].
    fn classify<V, T>(whole: &mut Whole<T>, p: &Params<T>, h: &[T], length: usize) {
        whole.classify(p, h, length);
    }
}

multiversion! {
    /// See [`Whole::pack`].
    fn pack<V, T>(whole: &mut Whole<T>, p: &Params<T>, importance: &[T], importance64: &[f64]) {
        whole.pack(p, importance, importance64);
    }
}

multiversion! {
    /// See [`Moments::features`].
    fn linear<V, T>(
        moments: &mut Moments<T>, p: &Params<T>, importance: &[f64], features: &[u32], h: &[T],
        sums: &mut [f64],
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { moments.features::<V>(p, importance, features, h, sums) }
    }
}

multiversion! {
    /// All pairs of a share: blocks of examples with rows of h and C.
    #[allow(clippy::too_many_arguments)]
    fn dense<V, T>(
        share: &mut Share<T>, whole: &Whole<T>, moments: &Moments<T>, length: usize, h: &[T],
        c: &mut [T], cancel: &AtomicBool,
    ) {
        let Share { dense, c: c64, sums, used, .. } = share;
        let m = whole.m;
        let size = dense.examples * length;
        for (h, c) in h.chunks(size).zip(c.chunks_mut(size)) {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            c64.clear();
            memory::reserve(c64, h.len() / length * m);
            c64.resize(h.len() / length * m, 0.0);
            // SAFETY: the instruction set of `V` is available here.
            unsafe {
                moments.apply::<V>(h, c);
                dense.run::<V>(&whole.packed(), h, !*used, sums, c64);
            }
            *used = true;
            for (c, c64) in c.chunks_exact_mut(length).zip(c64.chunks_exact(m)) {
                for k in 0..m {
                    c[k] = T::from_f64(c[k].to_f64() + c64[k]);
                }
            }
        }
    }
}

multiversion! {
    /// See [`Features::look`].
    fn look<V, T>(features: &mut Features<T>, p: &Params<T>, pace: Pace) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { features.look::<V>(p, pace) }
    }
}

multiversion! {
    /// See [`Tile::take`] and [`Tile::build`].
    fn refresh<V, T>(
        tile: &mut Tile<T>, features: &Features<T>, h: &[T], pace: Pace, room: Option<&Room>,
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            tile.take::<V>(h, pace);
            if let Some(room) = room {
                tile.build::<V>(features, &features.rebuilt, room);
            }
        }
    }
}

multiversion! {
    /// See [`Groups::look`].
    fn look_at_groups<V, T>(groups: &mut Groups<T>, p: &Params<T>, pace: Pace) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { groups.look::<V>(p, pace) }
    }
}

multiversion! {
    /// See [`GroupTile::refresh`].
    fn refresh_groups<V, T>(
        tile: &mut GroupTile<T>, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>,
    ) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.refresh::<V>(groups, h, pace, room) }
    }
}

multiversion! {
    /// See [`GroupTile::run`].
    fn group_tile<V, T>(tile: &mut GroupTile<T>, work: Work<'_, T>) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.run::<V>(work) }
    }
}

multiversion! {
    /// See [`Tile::run`].
    fn tile<V, T>(tile: &mut Tile<T>, work: Work<'_, T>) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe { tile.run::<V>(work.p, work.importance64, work.h, work.c, work.sums) }
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
