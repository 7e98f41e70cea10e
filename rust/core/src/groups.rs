//! Lists of examples for groups of LANES similar features.
//!
//! The bounds are those of [`crate::lists`]. With few examples and many features, groups of features
//! are tighter than clusters of examples, and only C needs sums over lanes. Features
//! are alike if the direction of (R w, b) is, R being the length of a hidden vector: that is what
//! decides the signs of z. Groups that would list most examples list the exceptions from being linear
//! instead, and are packed with the sign turned, so that kernels need not know.

use crate::aligned::Aligned;
use crate::lists::{BALANCE, LOOK, clusters, entries_limit};
use crate::model::{Params, SMALL};
use crate::moments::Moments;
use crate::rows::Rows;
use crate::simd::{Real, Vector};
use crate::tile::{Counts, Pace};

/// Rows of a group's bounds: of |h'|, of d, fixed; and what of it rounding needs.
const BOUNDS: usize = 5;
/// Entries whose A and B are summed in T's precision.
const ENTRIES: usize = 1024;
/// More than any product that underflows.
const TINY: f64 = 1e-30;
/// Pairs for which the bits that tell who is listed stay small: 32 MB.
const PAIRS: usize = 1 << 31;

/// W and b of a group's reference, and its bounds.
struct Group<V, const M: usize> {
    w: [V; M],
    b: V,
    bounds: [V; BOUNDS],
}

/// The lists of a run with few examples.
pub struct Groups<T> {
    n: usize,
    m: usize,
    count: usize,
    groups: usize,
    /// Whether the order is to be made anew.
    pub fresh: bool,
    /// Features in groups of LANES.
    order: Vec<u32>,
    /// Where the w of each begins in the parameters.
    places: Vec<u32>,
    is_minus: Vec<bool>,
    /// Number of groups that list exceptions from being linear.
    minus: usize,
    weighted: bool,
    /// W and b now and at the reference, [group][0..=m][lane].
    now: Aligned<T>,
    reference: Aligned<T>,
    /// C, [example][k][lane].
    c: Aligned<T>,
    /// Importance, with the sign, [group][lane].
    weights: Aligned<T>,
    bounds: Aligned<T>,
    /// Squares of how far w and b may go, [group][2][lane], and the factors of these budgets, by
    /// feature.
    limits: Aligned<T>,
    factors: Vec<[f32; 2]>,
    born: Vec<u64>,
    /// Of the examples: h', |h'|, d, factor of d, step.
    h: Vec<T>,
    size: Vec<T>,
    reach: Vec<T>,
    factor: Vec<f32>,
    h_born: Vec<u64>,
    stale_groups: Vec<u32>,
    stale: Vec<u32>,
    rows: Rows,
    scratch: Vec<u16>,
    /// Which examples each group lists, a bit each in `words` words.
    listed: Vec<u64>,
    words: usize,
    moments: Moments<T>,
    built: u64,
    life: f64,
    last: Counts,
    limit: usize,
}

impl<T: Real> Groups<T> {
    /// Whether a problem of this shape can be listed so.
    pub fn possible(n: usize, count: usize) -> bool {
        n < i32::MAX as usize / SMALL && count < usize::from(u16::MAX) && n * count <= PAIRS
    }

    /// For `count` examples with `nonzeros` non-zeros.
    pub fn new(p: &Params<T>, count: usize, nonzeros: usize) -> Self {
        let (n, m) = (p.n, p.m);
        let lanes = T::Portable::LANES;
        let groups = n.div_ceil(lanes);
        let size = groups * (m + 1) * lanes;
        Groups {
            n,
            m,
            count,
            groups,
            fresh: true,
            order: Vec::new(),
            places: Vec::new(),
            is_minus: vec![false; groups],
            minus: 0,
            weighted: false,
            now: Aligned::zeros(size),
            reference: Aligned::zeros(size),
            c: Aligned::zeros((count * m).next_multiple_of(lanes) * lanes),
            weights: Aligned::zeros(groups * lanes),
            bounds: Aligned::zeros(groups * BOUNDS * lanes),
            limits: Aligned::zeros(groups * 2 * lanes),
            factors: vec![[0.5; 2]; n],
            born: vec![0; groups],
            h: vec![T::default(); count * m],
            size: vec![T::default(); count],
            reach: vec![T::default(); count],
            factor: vec![0.5; count],
            h_born: vec![0; count],
            stale_groups: Vec::new(),
            stale: Vec::new(),
            rows: Rows::new(groups),
            scratch: vec![0; count + 1],
            listed: vec![0; groups * count.div_ceil(64)],
            words: count.div_ceil(64),
            moments: Moments::new(m, m),
            built: 0,
            life: Pace::LIFE,
            last: Counts::default(),
            limit: entries_limit(p, count, nonzeros),
        }
    }

    /// The pace at a step, for references that are too old.
    pub fn pace(&self, step: u64, size: f64) -> Pace {
        Pace {
            step,
            size,
            life: self.life,
            all: false,
            adapt: true,
        }
    }

    /// Counts.
    pub fn counts(&self) -> Counts {
        let (entries, bare, rows) = self.rows.totals();
        Counts {
            entries,
            bare,
            rows,
            minus: self.minus as u64,
            built: self.built,
        }
    }

    /// Whether the lists take more memory than the rest of a run may.
    pub fn too_large(&self) -> bool {
        self.rows.size() > self.limit
    }

    /// How long lists shall last.
    pub fn life(&self) -> f64 {
        self.life
    }

    /// Every [`LOOK`] steps: set the life of lists; the cycles of a step, roughly.
    pub fn review(&mut self) -> f64 {
        self.rows.sort();
        let counts = self.counts();
        let m = self.m as f64;
        // C of an entry is loaded and stored: from the first cache, the second, or barely that.
        let traffic = match self.c.len() * size_of::<T>() {
            0..=0x8000 => 2.0,
            0x8001..=0x8_0000 => 3.0,
            _ => 4.0,
        };
        let (entry, vector) = (traffic * m + 2.0, 0.6 * m + 4.0);
        let built = (counts.built - self.last.built) as f64 * vector;
        let extra = (counts.entries - counts.bare) as f64 * entry * LOOK as f64;
        if self.last.built > 0 {
            self.life = Pace::next_life(self.life, built, extra);
        }
        self.last = counts;
        let pairs = (self.groups * self.count) as f64;
        counts.entries as f64 * entry
            + counts.rows as f64 * (20.0 + 9.0 * m)
            + counts.minus as f64 * (20.0 + 1.5 * m * m)
            + self.n as f64 * 2.0 * (m + 1.0)
            + 2.0 * pairs * vector / self.life
    }

    /// Put similar features together.
    pub fn arrange(&mut self, p: &Params<T>, h: &[T], importance: &[f64]) {
        let (n, m, lanes) = (self.n, self.m, T::Portable::LANES);
        let square = |h: &[T]| h.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let radius = h.chunks_exact(m).map(square).fold(0.0, f64::max).sqrt();
        let mut points = Vec::with_capacity(n * (m + 1));
        for j in 0..n {
            let w = p.w(j).iter().map(|x| x.to_f64() * radius);
            let at = points.len();
            points.extend(w.chain([p.b()[j].to_f64()]));
            let norm = points[at..].iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 0.0 && norm.is_finite() {
                points[at..].iter_mut().for_each(|x| *x /= norm);
            } else {
                points[at..].fill(0.0);
            }
        }
        self.order = clusters(&points, m + 1, lanes);
        self.places = self.order.iter().map(|&j| j * m as u32).collect();
        // The last group may have lanes without a feature.
        self.order.resize(self.groups * lanes, n as u32);
        for (to, &j) in self.weights.iter_mut().zip(&self.order) {
            let weight = importance.get(j as usize).copied().unwrap_or(1.0);
            *to = T::from_f64(if j as usize == n { 0.0 } else { weight });
        }
        self.weighted = !importance.is_empty();
        self.is_minus.fill(false);
        self.minus = 0;
        self.fresh = true;
    }

    /// W and b of all groups, with the sign. Lanes without a feature are 0 and stay 0.
    #[inline(always)]
    unsafe fn pack<V: Vector<Scalar = T>, const M: usize>(&mut self, p: &Params<T>) {
        let (data, bias) = (p.data.as_ptr(), p.bias);
        for g in 0..self.groups {
            let sign = T::from_f64(if self.is_minus[g] { -1.0 } else { 1.0 });
            let block = &mut self.now[g * (M + 1) * V::LANES..][..(M + 1) * V::LANES];
            let features = &self.order[g * V::LANES..][..V::LANES];
            if (g + 1) * V::LANES > self.n {
                let known = self.n - g * V::LANES;
                for (lane, &j) in features[..known].iter().enumerate() {
                    for (k, &x) in p.w(j as usize).iter().enumerate() {
                        block[k * V::LANES + lane] = sign * x;
                    }
                    block[M * V::LANES + lane] = sign * p.b()[j as usize];
                }
                continue;
            }
            // SAFETY: every lane has a feature, which `places` and `order` name.
            unsafe {
                let sign = V::splat(sign);
                let block = block.as_mut_ptr();
                let places = self.places.as_ptr().add(g * V::LANES);
                for k in 0..M {
                    let w = V::gather(data.add(k), places);
                    w.mul(sign).store(block.add(k * V::LANES));
                }
                let b = V::gather(data.add(bias), features.as_ptr());
                b.mul(sign).store(block.add(M * V::LANES));
            }
        }
    }

    /// Take W, b and h: references anew, all of them or those that are too old, and with `build` the
    /// lists that go with them.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn refresh<V: Vector<Scalar = T>>(
        &mut self,
        p: &Params<T>,
        h: &[T],
        pace: Pace,
        build: bool,
    ) {
        assert!(h.len() == self.count * self.m && p.m == self.m && p.n == self.n);
        // SAFETY: the caller's promise.
        unsafe {
            match self.m {
                1 => self.refresh_m::<V, 1>(p, h, pace, build),
                2 => self.refresh_m::<V, 2>(p, h, pace, build),
                3 => self.refresh_m::<V, 3>(p, h, pace, build),
                4 => self.refresh_m::<V, 4>(p, h, pace, build),
                5 => self.refresh_m::<V, 5>(p, h, pace, build),
                6 => self.refresh_m::<V, 6>(p, h, pace, build),
                m => unreachable!("m = {m} is too large for groups"),
            }
        }
        self.rows.compact();
    }

    #[inline(always)]
    unsafe fn refresh_m<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        p: &Params<T>,
        h: &[T],
        pace: Pace,
        build: bool,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            self.pack::<V, M>(p);
            self.find_stale::<V, M>(h, pace);
            for i in 0..self.stale_groups.len() {
                self.take_group::<V, M>(self.stale_groups[i] as usize, pace);
            }
            for i in 0..self.stale.len() {
                self.take_example::<M>(self.stale[i] as usize, h, pace);
            }
            if !build {
                return;
            }
            for i in 0..self.stale_groups.len() {
                self.build_row::<V, M>(self.stale_groups[i] as usize);
            }
            self.built += (self.stale_groups.len() * self.count) as u64;
            if !pace.all && !self.stale.is_empty() {
                for g in 0..self.groups {
                    self.add_examples::<V, M>(g);
                }
                self.built += (self.stale.len() * self.groups) as u64;
            }
        }
    }

    /// Note the groups and the examples that have gone too far, or all.
    #[inline(always)]
    unsafe fn find_stale<V: Vector<Scalar = T>, const M: usize>(&mut self, h: &[T], pace: Pace) {
        self.stale_groups.clear();
        self.stale.clear();
        if pace.all {
            self.stale_groups.extend(0..self.groups as u32);
            self.stale.extend(0..self.count as u32);
            return;
        }
        for g in 0..self.groups {
            // SAFETY: blocks of M + 1 whole vectors. Lanes without a feature are 0 and stay 0.
            unsafe {
                let at = g * (M + 1) * V::LANES;
                let (now, old) = (self.now.as_ptr().add(at), self.reference.as_ptr().add(at));
                let mut far = V::zero();
                for k in 0..M {
                    let d = V::load(now.add(k * V::LANES)).sub(V::load(old.add(k * V::LANES)));
                    far = d.fma(d, far);
                }
                let d = V::load(now.add(M * V::LANES)).sub(V::load(old.add(M * V::LANES)));
                let limits = self.limits.as_ptr().add(g * 2 * V::LANES);
                let (w, b) = (V::load(limits), V::load(limits.add(V::LANES)));
                let gone = far.sub(w).positive() | d.mul(d).sub(b).positive();
                if gone != 0 || pace.aged(self.born[g]) {
                    self.stale_groups.push(g as u32);
                }
            }
        }
        let keep = T::from_f64(1.0 - 1e-3);
        for (t, (now, old)) in h.chunks_exact(M).zip(self.h.chunks_exact(M)).enumerate() {
            let mut far = T::default();
            for k in 0..M {
                let d = now[k] - old[k];
                far = d.fma(d, far);
            }
            let reach = self.reach[t];
            // Not `far > ...`: NaN counts.
            let near = far <= reach * reach * keep;
            if !near || pace.aged(self.h_born[t]) {
                self.stale.push(t as u32);
            }
        }
    }

    /// The reference of a group is where it is now.
    #[inline(always)]
    fn take_group<V: Vector<Scalar = T>, const M: usize>(&mut self, g: usize, pace: Pace) {
        let lanes = V::LANES;
        let range = g * (M + 1) * lanes..(g + 1) * (M + 1) * lanes;
        let (now, old) = (&self.now[range.clone()], &mut self.reference[range]);
        let limits = &mut self.limits[g * 2 * lanes..][..2 * lanes];
        let bounds = &mut self.bounds[g * BOUNDS * lanes..][..BOUNDS * lanes];
        let rho = 8.0 * (M + 4) as f64 * T::EPSILON;
        let shrink = 1.0 - 1e-3;
        for lane in 0..lanes {
            let j = self.order[g * lanes + lane];
            if j as usize == self.n {
                // Bounds of 0: it is never listed.
                continue;
            }
            let (mut size, mut far) = (0.0, 0.0);
            for k in 0..M {
                let x = now[k * lanes + lane].to_f64();
                let d = x - old[k * lanes + lane].to_f64();
                size += x * x;
                far += d * d;
            }
            let b = now[M * lanes + lane].to_f64();
            let [factor_w, factor_b] = &mut self.factors[j as usize];
            if pace.adapt {
                let used = (far / limits[lane].to_f64()).sqrt();
                *factor_w = pace.next_factor(*factor_w, used, self.born[g]);
                let far = (b - old[M * lanes + lane].to_f64()).abs();
                let used = far / limits[lanes + lane].to_f64().sqrt();
                *factor_b = pace.next_factor(*factor_b, used, self.born[g]);
            }
            let radius = pace.budget(*factor_w) * (M as f64).sqrt();
            let fixed = pace.budget(*factor_b);
            limits[lane] = T::from_f64(radius * radius * shrink);
            limits[lanes + lane] = T::from_f64(fixed * fixed * shrink);
            let reach = size.sqrt() * (1.0 + 1e-6) + radius;
            let values = [
                radius + rho * reach,
                reach * (1.0 + rho),
                fixed + rho * (b.abs() + fixed) + TINY,
                rho * reach,
                rho * b.abs() + TINY,
            ];
            for (i, x) in values.into_iter().enumerate() {
                bounds[i * lanes + lane] = T::from_f64(x * (1.0 + 1e-5));
            }
        }
        self.born[g] = pace.step;
        old.copy_from_slice(now);
    }

    /// The reference of an example is where it is now.
    #[inline(always)]
    fn take_example<const M: usize>(&mut self, t: usize, h: &[T], pace: Pace) {
        let (now, old) = (&h[t * M..][..M], &mut self.h[t * M..][..M]);
        let (mut size, mut far) = (0.0f64, 0.0f64);
        for k in 0..M {
            let x = now[k].to_f64();
            let d = x - old[k].to_f64();
            size += x * x;
            far += d * d;
        }
        old.copy_from_slice(now);
        if pace.adapt {
            let used = far.sqrt() / self.reach[t].to_f64();
            self.factor[t] = pace.next_factor(self.factor[t], used, self.h_born[t]);
        }
        self.h_born[t] = pace.step;
        self.size[t] = T::from_f64(size.sqrt() * (1.0 + 1e-6));
        self.reach[t] = T::from_f64(pace.budget(self.factor[t]) * (M as f64).sqrt());
    }

    /// The reference of a group.
    #[inline(always)]
    unsafe fn group<V: Vector<Scalar = T>, const M: usize>(&self, g: usize) -> Group<V, M> {
        // SAFETY: blocks of whole vectors.
        unsafe {
            let from = self.reference.as_ptr().add(g * (M + 1) * V::LANES);
            let mut w = [V::zero(); M];
            for k in 0..M {
                w[k] = V::load(from.add(k * V::LANES));
            }
            let b = V::load(from.add(M * V::LANES));
            let mut bounds = [V::zero(); BOUNDS];
            for i in 0..BOUNDS {
                bounds[i] = V::load(self.bounds.as_ptr().add((g * BOUNDS + i) * V::LANES));
            }
            Group { w, b, bounds }
        }
    }

    /// z of the references of a group and an example, the skin and what rounding alone needs.
    #[inline(always)]
    unsafe fn pair<V: Vector<Scalar = T>, const M: usize>(
        &self,
        group: &Group<V, M>,
        t: usize,
    ) -> (V, V, V) {
        // SAFETY: t is an example.
        unsafe {
            let mut z = group.b;
            for k in 0..M {
                z = group.w[k].fma(V::splat(*self.h.get_unchecked(t * M + k)), z);
            }
            let size = V::splat(*self.size.get_unchecked(t));
            let reach = V::splat(*self.reach.get_unchecked(t));
            let [of_size, of_reach, fixed, thin_size, thin_fixed] = group.bounds;
            let skin = of_reach.fma(reach, of_size.fma(size, fixed));
            (z, skin, thin_size.fma(size, thin_fixed))
        }
    }

    /// Turn the sign of a group.
    fn turn<V: Vector<Scalar = T>, const M: usize>(&mut self, g: usize) {
        self.is_minus[g] = !self.is_minus[g];
        if self.is_minus[g] {
            self.minus += 1;
        } else {
            self.minus -= 1;
        }
        let lanes = g * (M + 1) * V::LANES..(g + 1) * (M + 1) * V::LANES;
        self.now[lanes.clone()].iter_mut().for_each(|x| *x = -*x);
        self.reference[lanes].iter_mut().for_each(|x| *x = -*x);
        let lanes = g * V::LANES..(g + 1) * V::LANES;
        self.weights[lanes].iter_mut().for_each(|x| *x = -*x);
    }

    #[inline(always)]
    fn any_minus(&self) -> bool {
        self.minus > 0
    }

    /// The list of a group: of the examples where it may not be dead, or of those where it may not be
    /// linear if they are clearly fewer.
    #[inline(always)]
    unsafe fn build_row<V: Vector<Scalar = T>, const M: usize>(&mut self, g: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut len, mut bare, other) = self.scan::<V, M>(g);
            let minus = self.is_minus[g] != (other * 10 < len * 7);
            if (minus && self.balanced::<V, M>(g)) != self.is_minus[g] {
                self.turn::<V, M>(g);
                (len, bare, _) = self.scan::<V, M>(g);
            }
            self.rows.set(g, &self.scratch[..len], bare);
        }
    }

    /// Whether exceptions from being linear are small enough, all together, not to drown the rest in
    /// their rounding: see [`BALANCE`].
    #[inline(always)]
    unsafe fn balanced<V: Vector<Scalar = T>, const M: usize>(&self, g: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let group = self.group::<V, M>(g);
            let (mut up, mut down) = ([V::zero(); 2], [V::zero(); 2]);
            for t in 0..self.count {
                let (z, _, _) = self.pair(&group, t);
                let size = V::splat(self.size[t]);
                let (y, exception) = (z.relu(), V::zero().sub(z).relu());
                up = [up[0].add(y), y.fma(size, up[1])];
                down = [down[0].add(exception), exception.fma(size, down[1])];
            }
            if self.is_minus[g] {
                std::mem::swap(&mut up, &mut down);
            }
            let mut drowned = 0;
            for i in 0..2 {
                let room = up[i].mul(V::splat(T::from_f64(BALANCE[i])));
                drowned |= down[i].sub(room).positive();
            }
            drowned == 0
        }
    }

    /// Write the list of group g to the scratch and to the bits: its length, its length without a skin,
    /// and the length of the other kind of list.
    #[inline(always)]
    unsafe fn scan<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        g: usize,
    ) -> (usize, usize, usize) {
        let (mut len, mut bare, mut other) = (0, 0, 0);
        // SAFETY: the caller's promise; the scratch has room for every example.
        unsafe {
            let group = self.group::<V, M>(g);
            let out = self.scratch.as_mut_ptr();
            for word in 0..self.words {
                let first = word * 64;
                let mut bits = 0;
                for t in first..self.count.min(first + 64) {
                    let (z, skin, thin) = self.pair(&group, t);
                    let may = skin.add(z).positive() != 0;
                    *out.add(len) = t as u16;
                    len += usize::from(may);
                    bits |= u64::from(may) << (t - first);
                    bare += usize::from(thin.add(z).positive() != 0);
                    other += usize::from(skin.sub(z).positive() != 0);
                }
                self.listed[g * self.words + word] = bits;
            }
        }
        (len, bare, other)
    }

    /// Add the examples with new references to the list of group g, where they now belong to it.
    #[inline(always)]
    unsafe fn add_examples<V: Vector<Scalar = T>, const M: usize>(&mut self, g: usize) {
        // SAFETY: the caller's promise; `stale` holds examples.
        unsafe {
            let group = self.group::<V, M>(g);
            for i in 0..self.stale.len() {
                let t = *self.stale.get_unchecked(i) as usize;
                let (z, skin, _) = self.pair(&group, t);
                let known = self.listed.get_unchecked_mut(g * self.words + t / 64);
                let bit = 1 << (t % 64);
                if skin.add(z).positive() != 0 && *known & bit == 0 {
                    *known |= bit;
                    self.rows.push(g, t as u16);
                }
            }
        }
    }

    /// Add what all pairs add to `sums`, in the layout of the parameters, and to C.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn run<V: Vector<Scalar = T>>(
        &mut self,
        p: &Params<T>,
        importance: &[f64],
        h: &[T],
        c: &mut [T],
        sums: &mut [f64],
    ) {
        assert!(h.len() == self.count * self.m && c.len() == h.len() && sums.len() == p.data.len());
        // SAFETY: the caller's promise.
        unsafe {
            match self.m {
                1 => self.run_m::<V, 1>(p, importance, h, c, sums),
                2 => self.run_m::<V, 2>(p, importance, h, c, sums),
                3 => self.run_m::<V, 3>(p, importance, h, c, sums),
                4 => self.run_m::<V, 4>(p, importance, h, c, sums),
                5 => self.run_m::<V, 5>(p, importance, h, c, sums),
                6 => self.run_m::<V, 6>(p, importance, h, c, sums),
                m => unreachable!("m = {m} is too large for groups"),
            }
        }
    }

    #[inline(always)]
    unsafe fn run_m<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        p: &Params<T>,
        importance: &[f64],
        h: &[T],
        c: &mut [T],
        sums: &mut [f64],
    ) {
        let weighted = self.weighted || self.any_minus();
        // SAFETY: the caller's promise.
        unsafe {
            let linear = if self.any_minus() {
                Some(self.linear::<V, M>(h, c))
            } else {
                None
            };
            for g in 0..self.groups {
                if let (true, Some(linear)) = (self.is_minus[g], &linear) {
                    let ab = self.linear_group::<V, M>(g, linear);
                    self.unpack::<V, M>(g, p.bias, importance, &ab, sums);
                }
                for first in (0..self.rows.row(g).len()).step_by(ENTRIES) {
                    let ab = if weighted {
                        self.run_row::<V, M, true>(g, first, h)
                    } else {
                        self.run_row::<V, M, false>(g, first, h)
                    };
                    self.unpack::<V, M>(g, p.bias, importance, &ab, sums);
                }
            }
        }
        // SAFETY: as above; the lanes are padded to whole vectors of sums.
        unsafe {
            for (c, lanes) in c
                .chunks_mut(V::LANES)
                .zip(self.c.chunks_exact_mut(V::LANES * V::LANES))
            {
                let mut vectors = [V::zero(); 16];
                for (i, vector) in vectors.iter_mut().enumerate().take(V::LANES) {
                    *vector = V::load(lanes.as_ptr().add(i * V::LANES));
                }
                lanes.fill(T::default());
                let mut totals = [T::default(); 16];
                V::sums(vectors.as_ptr()).store(totals.as_mut_ptr());
                c.iter_mut().zip(&totals).for_each(|(c, x)| *c = *c + *x);
            }
        }
    }

    /// What z of the groups that list exceptions adds to C; S0, S1 and S2 (see [`crate::moments`]).
    #[inline(always)]
    unsafe fn linear<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        h: &[T],
        c: &mut [T],
    ) -> (T, [T; M], [[T; M]; M]) {
        // SAFETY: blocks of M + 1 whole vectors, weights of one.
        unsafe {
            let (mut matrix, mut vector) = ([[V::zero(); M]; M], [V::zero(); M]);
            for g in 0..self.groups {
                if !self.is_minus[g] {
                    continue;
                }
                let from = self.now.as_ptr().add(g * (M + 1) * V::LANES);
                // The weights are -I here, and w and b have the sign too.
                let weight = V::zero().sub(V::load(self.weights.as_ptr().add(g * V::LANES)));
                let b = V::load(from.add(M * V::LANES));
                for k in 0..M {
                    let left = weight.mul(V::load(from.add(k * V::LANES)));
                    vector[k] = left.fma(b, vector[k]);
                    for l in 0..=k {
                        matrix[k][l] = left.fma(V::load(from.add(l * V::LANES)), matrix[k][l]);
                    }
                }
            }
            let (mut sums, mut sum) = ([[0.0; M]; M], [0.0; M]);
            for k in 0..M {
                sum[k] = vector[k].sum().to_f64();
                for l in 0..=k {
                    sums[k][l] = matrix[k][l].sum().to_f64();
                }
            }
            self.moments.set::<M>(&sums, &sum);
            self.moments.apply::<V>(h, c);
        }
        self.moments.of_examples::<M>(h)
    }

    /// B and A of a group of which every y is z.
    #[inline(always)]
    unsafe fn linear_group<V: Vector<Scalar = T>, const M: usize>(
        &self,
        g: usize,
        (s0, s1, s2): &(T, [T; M], [[T; M]; M]),
    ) -> ([V; M], V) {
        // SAFETY: blocks of M + 1 whole vectors.
        unsafe {
            let from = self.now.as_ptr().add(g * (M + 1) * V::LANES);
            let b = V::zero().sub(V::load(from.add(M * V::LANES)));
            let mut big_b = [V::zero(); M];
            for l in 0..M {
                big_b[l] = b.mul(V::splat(s1[l]));
            }
            let mut a = b.mul(V::splat(*s0));
            for k in 0..M {
                let w = V::zero().sub(V::load(from.add(k * V::LANES)));
                a = w.fma(V::splat(s1[k]), a);
                for l in 0..M {
                    big_b[l] = w.fma(V::splat(s2[l][k]), big_b[l]);
                }
            }
            (big_b, a)
        }
    }

    /// The pairs of one group from entry `first` on: its B and A.
    #[inline(always)]
    unsafe fn run_row<V: Vector<Scalar = T>, const M: usize, const WEIGHTED: bool>(
        &mut self,
        g: usize,
        first: usize,
        h: &[T],
    ) -> ([V; M], V) {
        // SAFETY: entries are examples; blocks of M + 1 whole vectors.
        unsafe {
            let from = self.now.as_ptr().add(g * (M + 1) * V::LANES);
            let (mut w, mut weighted) = ([V::zero(); M], [V::zero(); M]);
            for k in 0..M {
                w[k] = V::load(from.add(k * V::LANES));
                weighted[k] = if WEIGHTED {
                    w[k].mul(V::load(self.weights.as_ptr().add(g * V::LANES)))
                } else {
                    w[k]
                };
            }
            let b = V::load(from.add(M * V::LANES));
            let (mut big_b, mut a) = ([V::zero(); M], V::zero());
            let cs = self.c.as_mut_ptr();
            let row = self.rows.row(g).get_unchecked(first..);
            for &t in row.get_unchecked(..row.len().min(ENTRIES)) {
                let at = usize::from(t) * M;
                let (mut z, mut hs) = (b, [V::zero(); M]);
                for k in 0..M {
                    hs[k] = V::splat(*h.get_unchecked(at + k));
                    z = w[k].fma(hs[k], z);
                }
                let y = z.relu();
                a = a.add(y);
                for k in 0..M {
                    big_b[k] = y.fma(hs[k], big_b[k]);
                    let c = cs.add((at + k) * V::LANES);
                    y.fma(weighted[k], V::load(c)).store(c);
                }
            }
            (big_b, a)
        }
    }

    /// Add B and A of a group to the sums in their places.
    #[inline(always)]
    unsafe fn unpack<V: Vector<Scalar = T>, const M: usize>(
        &self,
        g: usize,
        bias: usize,
        importance: &[f64],
        (big_b, a): &([V; M], V),
        sums: &mut [f64],
    ) {
        let mut lanes = [[T::default(); 16]; M];
        let mut last = [T::default(); 16];
        // SAFETY: at most 16 lanes.
        unsafe {
            for k in 0..M {
                big_b[k].store(lanes[k].as_mut_ptr());
            }
            a.store(last.as_mut_ptr());
        }
        // Where A and B are 0, no y was positive. So it is for lanes without a feature.
        // SAFETY: the caller's promise.
        let mut used = unsafe {
            let mut used = a.positive() | V::zero().sub(*a).positive();
            for k in 0..M {
                used |= big_b[k].positive() | V::zero().sub(big_b[k]).positive();
            }
            used
        };
        let features = &self.order[g * V::LANES..][..V::LANES];
        while used != 0 {
            let lane = used.trailing_zeros() as usize % V::LANES;
            used &= used - 1;
            let j = features[lane] as usize;
            let weight = importance.get(j).copied().unwrap_or(1.0);
            // SAFETY: `order` names features where a lane has one, and `run` checked the length.
            unsafe {
                for k in 0..M {
                    *sums.get_unchecked_mut(j * M + k) += weight * lanes[k][lane].to_f64();
                }
                *sums.get_unchecked_mut(bias + j) += weight * last[lane].to_f64();
            }
        }
    }
}
