//! Lists of examples for groups of LANES similar features, tile by tile of similar examples.
//!
//! The bounds are those of [`crate::lists::by_feature`]; here vectors run over features, and m is
//! small. Features are alike if the direction of (R w, b) is, R being the length of a hidden
//! vector: that is what decides the signs of z. Features that are alike lie together in the
//! parameters, so that groups are loaded as they are, and so do examples that are alike, so that
//! for most tiles a group is dead or linear altogether. Groups that would list most examples of a
//! tile list the exceptions from being linear instead, with the sign of w and b turned, so that
//! kernels need not know.

use std::sync::atomic::AtomicBool;

use crate::kernels::moments::{add_linear, first_moments};
use crate::lists::budgets::Budgets;
use crate::lists::by_feature::{BALANCE, LOOK, Work, clusters, entries_limit};
use crate::lists::rows::{LONGEST, Room, Rows};
use crate::lists::tile::{Counts, Lifetime, Pace};
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::{Params, at};
use crate::simd::aligned::Aligned;
use crate::simd::vector::{Real, Vector};

/// Numbers of the bounds of a feature, as in [`crate::lists::by_feature::Bound`].
const BOUNDS: usize = 5;
/// More than any product that underflows.
const TINY: f64 = 1e-30;
/// Bytes of C of a tile: what the first cache holds beside the rest.
const C_BYTES: usize = 1 << 15;
/// Bytes that the bits that tell who is listed may take in any case.
const BITS: usize = 1 << 26;

/// The references of the groups.
pub struct Groups<T> {
    n: usize,
    count: usize,
    /// w' and b', [group][0..=m][lane].
    reference: Aligned<T>,
    /// What they add to skins, [group][bound][lane].
    bounds: Aligned<T>,
    /// Squares of how far w and b may go, [group][2][lane], and the factors of these budgets, by
    /// feature.
    limits: Aligned<T>,
    factors: Vec<[f32; 2]>,
    born: Vec<u64>,
    /// Groups with new references in this step.
    stale: Vec<u32>,
}

impl<T: Real> Groups<T> {
    fn new(n: usize, m: usize) -> Self {
        let lanes = T::Portable::LANES;
        let count = n.div_ceil(lanes);
        Groups {
            n,
            count,
            reference: Aligned::zeros(count * (m + 1) * lanes),
            bounds: Aligned::zeros(count * BOUNDS * lanes),
            limits: Aligned::zeros(count * 2 * lanes),
            factors: memory::filled(n, [0.5; 2]),
            born: memory::zeros(count),
            stale: memory::with_capacity(count),
        }
    }

    /// New references, of all groups or of those that have gone too far.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn look<V: Vector<Scalar = T>>(&mut self, p: &Params<T>, pace: Pace) {
        // SAFETY: the caller's promise.
        unsafe {
            match p.m {
                1 => self.look_m::<V, 1>(p, pace),
                2 => self.look_m::<V, 2>(p, pace),
                3 => self.look_m::<V, 3>(p, pace),
                4 => self.look_m::<V, 4>(p, pace),
                5 => self.look_m::<V, 5>(p, pace),
                6 => self.look_m::<V, 6>(p, pace),
                m => unreachable!("m = {m} is too large for groups"),
            }
        }
    }

    #[inline(always)]
    unsafe fn look_m<V: Vector<Scalar = T>, const M: usize>(&mut self, p: &Params<T>, pace: Pace) {
        self.stale.clear();
        for g in 0..self.count {
            // SAFETY: the caller's promise.
            if pace.all || pace.aged(self.born[g]) || unsafe { self.is_far::<V, M>(p, g) } {
                self.stale.push(g as u32);
            }
        }
        for i in 0..self.stale.len() {
            self.take::<M>(p, self.stale[i] as usize, pace);
        }
    }

    #[inline(always)]
    unsafe fn is_far<V: Vector<Scalar = T>, const M: usize>(
        &self,
        p: &Params<T>,
        g: usize,
    ) -> bool {
        // SAFETY: blocks of whole vectors. Lanes without a feature are 0 and stay 0.
        unsafe {
            let (now, b) = p_group::<V, M>(p, g);
            let old = self.reference.as_ptr().add(g * (M + 1) * V::LANES);
            let mut far = V::zero();
            for k in 0..M {
                let d = now[k].sub(V::load(old.add(k * V::LANES)));
                far = d.fma(d, far);
            }
            let d = b.sub(V::load(old.add(M * V::LANES)));
            let limits = self.limits.as_ptr().add(g * 2 * V::LANES);
            let (w, b) = (V::load(limits), V::load(limits.add(V::LANES)));
            far.sub(w).positive() | d.mul(d).sub(b).positive() != 0
        }
    }

    /// The reference of a group is where it is now.
    #[inline(always)]
    fn take<const M: usize>(&mut self, p: &Params<T>, g: usize, pace: Pace) {
        let lanes = T::Portable::LANES;
        let old = &mut self.reference[g * (M + 1) * lanes..][..(M + 1) * lanes];
        let limits = &mut self.limits[g * 2 * lanes..][..2 * lanes];
        let bounds = &mut self.bounds[g * BOUNDS * lanes..][..BOUNDS * lanes];
        let rho = 8.0 * (M + 4) as f64 * T::EPSILON;
        let shrink = 1.0 - 1e-3;
        // Lanes without a feature keep bounds of 0: they are never listed.
        for lane in 0..lanes.min(self.n - g * lanes) {
            let j = g * lanes + lane;
            let (mut size, mut far) = (0.0, 0.0);
            for k in 0..M {
                let x = p.data[at(M, j, k)];
                let d = x.to_f64() - std::mem::replace(&mut old[k * lanes + lane], x).to_f64();
                size += x.to_f64() * x.to_f64();
                far += d * d;
            }
            let b = p.b()[j].to_f64();
            let fall = (b - std::mem::replace(&mut old[M * lanes + lane], p.b()[j]).to_f64()).abs();
            let [factor_w, factor_b] = &mut self.factors[j];
            if pace.adapt {
                let used = (far / limits[lane].to_f64()).sqrt();
                *factor_w = pace.next_factor(*factor_w, used, self.born[g]);
                let used = fall / limits[lanes + lane].to_f64().sqrt();
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
    }

    /// The reference of a group, with that sign.
    #[inline(always)]
    unsafe fn group<V: Vector<Scalar = T>, const M: usize>(
        &self,
        g: usize,
        sign: V,
    ) -> Reference<V, M> {
        // SAFETY: blocks of whole vectors.
        unsafe {
            let from = self.reference.as_ptr().add(g * (M + 1) * V::LANES);
            let mut w = [V::zero(); M];
            for k in 0..M {
                w[k] = V::load(from.add(k * V::LANES)).mul(sign);
            }
            let b = V::load(from.add(M * V::LANES)).mul(sign);
            let mut bounds = [V::zero(); BOUNDS];
            for i in 0..BOUNDS {
                bounds[i] = V::load(self.bounds.as_ptr().add((g * BOUNDS + i) * V::LANES));
            }
            Reference { w, b, bounds }
        }
    }
}

/// W and b of group g, as they are.
#[inline(always)]
unsafe fn p_group<V: Vector, const M: usize>(p: &Params<V::Scalar>, g: usize) -> ([V; M], V) {
    // SAFETY: g is a group; both parts of the parameters are padded to whole vectors.
    unsafe {
        let data = p.data.as_ptr();
        let mut w = [V::zero(); M];
        for k in 0..M {
            w[k] = V::load(data.add(at(M, g * V::LANES, k)));
        }
        (w, V::load(data.add(p.bias + g * V::LANES)))
    }
}

/// W and b of a group's reference, and its bounds.
struct Reference<V, const M: usize> {
    w: [V; M],
    b: V,
    bounds: [V; BOUNDS],
}

/// A tile of examples.
pub struct GroupTile<T> {
    /// First example and number of examples.
    pub first: usize,
    pub count: usize,
    /// Of the examples: h', |h'|, d, factor of d, step.
    h: Vec<T>,
    size: Vec<T>,
    reach: Vec<T>,
    factor: Vec<f32>,
    born: Vec<u64>,
    stale: Vec<u32>,
    /// By group: examples.
    rows: Rows,
    /// Which examples each group lists, a bit each in `words` words.
    listed: Vec<u64>,
    words: usize,
    is_minus: Vec<bool>,
    minus: usize,
    scratch: Vec<u16>,
    built: u64,
}

impl<T: Real> GroupTile<T> {
    fn new(groups: usize, m: usize, first: usize, count: usize) -> Self {
        assert!(count <= LONGEST, "entries are u16");
        let words = count.div_ceil(64);
        GroupTile {
            first,
            count,
            h: memory::zeros(count * m),
            size: memory::zeros(count),
            reach: memory::zeros(count),
            factor: memory::filled(count, 0.5),
            born: memory::zeros(count),
            stale: memory::with_capacity(count),
            rows: Rows::new(groups),
            listed: memory::zeros(groups * words),
            words,
            is_minus: memory::zeros(groups),
            minus: 0,
            scratch: memory::zeros(count + 1),
            built: 0,
        }
    }

    /// References anew, of all examples or of those that have gone too far from `h`, and with a `room` the
    /// lists that go with them and with the references of the groups; see
    /// [`crate::lists::tile::Tile::build`].
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn refresh<V: Vector<Scalar = T>>(
        &mut self,
        groups: &Groups<T>,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    ) {
        assert!(h.len() == self.h.len());
        let m = h.len() / self.count;
        // SAFETY: the caller's promise.
        unsafe {
            match m {
                1 => self.refresh_m::<V, 1>(groups, h, pace, room),
                2 => self.refresh_m::<V, 2>(groups, h, pace, room),
                3 => self.refresh_m::<V, 3>(groups, h, pace, room),
                4 => self.refresh_m::<V, 4>(groups, h, pace, room),
                5 => self.refresh_m::<V, 5>(groups, h, pace, room),
                6 => self.refresh_m::<V, 6>(groups, h, pace, room),
                m => unreachable!("m = {m} is too large for groups"),
            }
        }
    }

    /// Add what all pairs add.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn run<V: Vector<Scalar = T>>(&mut self, work: Work<'_, T>) {
        let (p, groups) = (work.p, self.is_minus.len());
        assert!(work.h.len() == self.count * p.m && work.c.len() == work.h.len());
        assert!(work.sums.len() == p.data.len() && groups == p.n.div_ceil(V::LANES));
        for len in [work.importance.len(), work.importance64.len()] {
            assert!(len == 0 || len >= groups * V::LANES);
        }
        // SAFETY: the caller's promise.
        unsafe {
            match p.m {
                1 => self.run_m::<V, 1>(work),
                2 => self.run_m::<V, 2>(work),
                3 => self.run_m::<V, 3>(work),
                4 => self.run_m::<V, 4>(work),
                5 => self.run_m::<V, 5>(work),
                6 => self.run_m::<V, 6>(work),
                m => unreachable!("m = {m} is too large for groups"),
            }
        }
    }

    /// Entries that there is room for.
    pub fn size(&self) -> usize {
        self.rows.size()
    }

    fn counts(&self) -> Counts {
        let (entries, bare, rows) = self.rows.totals();
        Counts {
            entries,
            bare,
            rows,
            minus: self.minus as u64,
            built: self.built,
        }
    }

    #[inline(always)]
    unsafe fn refresh_m<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        h: &[T],
        pace: Pace,
        room: Option<&Room>,
    ) {
        self.find_stale::<M>(h, pace);
        for i in 0..self.stale.len() {
            self.take::<M>(self.stale[i] as usize, h, pace);
        }
        let Some(room) = room else {
            return;
        };
        let mut size = self.rows.size();
        // SAFETY: the caller's promise.
        unsafe {
            for &g in &groups.stale {
                self.build_row::<V, M>(groups, g as usize);
                if room.is_over_after(&self.rows, &mut size) {
                    return;
                }
            }
            self.built += (groups.stale.len() * self.count) as u64;
            if !pace.all && !self.stale.is_empty() {
                for g in 0..groups.count {
                    self.add_examples::<V, M>(groups, g);
                    if room.is_over_after(&self.rows, &mut size) {
                        return;
                    }
                }
                self.built += (self.stale.len() * groups.count) as u64;
            }
        }
        self.rows.compact();
    }

    /// Note the examples that have gone too far, or all.
    #[inline(always)]
    fn find_stale<const M: usize>(&mut self, h: &[T], pace: Pace) {
        self.stale.clear();
        if pace.all {
            self.stale.extend(0..self.count as u32);
            return;
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
            if !near || pace.aged(self.born[t]) {
                self.stale.push(t as u32);
            }
        }
    }

    /// The reference of an example is where it is now.
    #[inline(always)]
    fn take<const M: usize>(&mut self, t: usize, h: &[T], pace: Pace) {
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
            self.factor[t] = pace.next_factor(self.factor[t], used, self.born[t]);
        }
        self.born[t] = pace.step;
        self.size[t] = T::from_f64(size.sqrt() * (1.0 + 1e-6));
        self.reach[t] = T::from_f64(pace.budget(self.factor[t]) * (M as f64).sqrt());
    }

    /// z of the references of a group and an example, the skin and what rounding alone needs.
    #[inline(always)]
    unsafe fn pair<V: Vector<Scalar = T>, const M: usize>(
        &self,
        group: &Reference<V, M>,
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

    /// 1, or -1 for a group that lists exceptions.
    #[inline(always)]
    fn sign(&self, g: usize) -> T {
        T::from_f64(if self.is_minus[g] { -1.0 } else { 1.0 })
    }

    /// The list of a group: of the examples where it may not be dead, or of those where it may not be
    /// linear if they are clearly fewer.
    #[inline(always)]
    unsafe fn build_row<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        g: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut len, mut bare, other) = self.scan::<V, M>(groups, g);
            let exceptions = if self.is_minus[g] { len } else { other };
            let minus = self.is_minus[g] != (other * 10 < len * 7);
            let minus = minus && (exceptions == 0 || self.balanced::<V, M>(groups, g));
            if minus != self.is_minus[g] {
                self.is_minus[g] = minus;
                self.minus = if minus {
                    self.minus + 1
                } else {
                    self.minus - 1
                };
                (len, bare, _) = self.scan::<V, M>(groups, g);
            }
            self.rows.set(g, &self.scratch[..len], bare);
        }
    }

    /// Whether exceptions from being linear are small enough, all together, not to drown the rest in
    /// their rounding: see [`BALANCE`].
    #[inline(always)]
    unsafe fn balanced<V: Vector<Scalar = T>, const M: usize>(
        &self,
        groups: &Groups<T>,
        g: usize,
    ) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let group = groups.group::<V, M>(g, V::splat(T::from_f64(1.0)));
            let (mut up, mut down) = ([V::zero(); 2], [V::zero(); 2]);
            for t in 0..self.count {
                let (z, _, _) = self.pair(&group, t);
                let size = V::splat(self.size[t]);
                let (y, exception) = (z.relu(), V::zero().sub(z).relu());
                up = [up[0].add(y), y.fma(size, up[1])];
                down = [down[0].add(exception), exception.fma(size, down[1])];
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
        groups: &Groups<T>,
        g: usize,
    ) -> (usize, usize, usize) {
        let (mut len, mut bare, mut other) = (0, 0, 0);
        // SAFETY: the caller's promise; the scratch has room for every example.
        unsafe {
            let group = groups.group::<V, M>(g, V::splat(self.sign(g)));
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
    unsafe fn add_examples<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        g: usize,
    ) {
        // SAFETY: the caller's promise; `stale` holds examples.
        unsafe {
            let group = groups.group::<V, M>(g, V::splat(self.sign(g)));
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

    #[inline(always)]
    unsafe fn run_m<V: Vector<Scalar = T>, const M: usize>(&mut self, work: Work<'_, T>) {
        let Work {
            p,
            importance,
            importance64,
            h,
            c,
            lanes,
            sums,
        } = work;
        let groups = self.is_minus.len();
        let size = self.count.next_multiple_of(V::LANES) * M * V::LANES;
        if lanes.len() < size {
            *lanes = Aligned::zeros(size);
        }
        let sums = Sums {
            importance: importance64,
            bias: p.bias,
            data: sums.as_mut_ptr(),
        };
        // SAFETY: the caller's promise.
        unsafe {
            if self.minus > 0 {
                self.linear::<V, M>(p, importance, h, c, &sums);
            }
            for g in 0..groups {
                if self.rows.row(g).is_empty() {
                    continue;
                }
                let ab = if importance.is_empty() {
                    self.row::<V, M, false>(p, importance, g, h, lanes)
                } else {
                    self.row::<V, M, true>(p, importance, g, h, lanes)
                };
                sums.add::<V, M>(g, &ab);
            }
            empty::<V>(lanes, c);
        }
    }

    /// What z of the groups that list exceptions adds: their A and B, and C.
    #[inline(always)]
    unsafe fn linear<V: Vector<Scalar = T>, const M: usize>(
        &self,
        p: &Params<T>,
        importance: &[T],
        h: &[T],
        c: &mut [T],
        sums: &Sums<'_>,
    ) {
        let (s1, s2) = first_moments::<T, M>(h);
        let s0 = T::from_f64(self.count as f64);
        // SAFETY: blocks of whole vectors; the importances are padded to them.
        unsafe {
            let (mut matrix, mut vector) = ([[V::zero(); M]; M], [V::zero(); M]);
            for g in 0..self.is_minus.len() {
                if !self.is_minus[g] {
                    continue;
                }
                let (w, b) = p_group::<V, M>(p, g);
                let mut big_b = [V::zero(); M];
                let mut a = b.mul(V::splat(s0));
                for k in 0..M {
                    big_b[k] = b.mul(V::splat(s1[k]));
                    a = w[k].fma(V::splat(s1[k]), a);
                    for l in 0..M {
                        big_b[k] = w[l].fma(V::splat(s2[k][l]), big_b[k]);
                    }
                    let left = if importance.is_empty() {
                        w[k]
                    } else {
                        w[k].mul(V::load(importance.as_ptr().add(g * V::LANES)))
                    };
                    vector[k] = left.fma(b, vector[k]);
                    for l in 0..=k {
                        matrix[k][l] = left.fma(w[l], matrix[k][l]);
                    }
                }
                sums.add::<V, M>(g, &(big_b, a));
            }
            let (mut full, mut sum) = ([[T::default(); M]; M], [T::default(); M]);
            for k in 0..M {
                sum[k] = vector[k].sum();
                for l in 0..=k {
                    full[k][l] = matrix[k][l].sum();
                    full[l][k] = full[k][l];
                }
            }
            add_linear(&full, &sum, h, c);
        }
    }

    /// The pairs of one list: its B and A.
    #[inline(always)]
    unsafe fn row<V: Vector<Scalar = T>, const M: usize, const WEIGHTED: bool>(
        &self,
        p: &Params<T>,
        importance: &[T],
        g: usize,
        h: &[T],
        lanes: &mut Aligned<T>,
    ) -> ([V; M], V) {
        // SAFETY: entries are examples; blocks of whole vectors.
        unsafe {
            let sign = V::splat(self.sign(g));
            let (mut w, b) = p_group::<V, M>(p, g);
            let b = b.mul(sign);
            let mut weighted = w;
            for k in 0..M {
                if WEIGHTED {
                    weighted[k] = w[k].mul(V::load(importance.as_ptr().add(g * V::LANES)));
                }
                w[k] = w[k].mul(sign);
            }
            let (mut big_b, mut a) = ([V::zero(); M], V::zero());
            let cs = lanes.as_mut_ptr();
            for &t in self.rows.row(g) {
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
}

/// Add C by lanes to C, and set it to 0.
#[inline(always)]
unsafe fn empty<V: Vector>(lanes: &mut Aligned<V::Scalar>, c: &mut [V::Scalar]) {
    let blocks = lanes.chunks_exact_mut(V::LANES * V::LANES);
    for (c, lanes) in c.chunks_mut(V::LANES).zip(blocks) {
        let mut vectors = [const { std::mem::MaybeUninit::<V>::uninit() }; 16];
        let vectors = vectors.as_mut_ptr().cast::<V>();
        let mut totals = [V::Scalar::default(); 16];
        // SAFETY: LANES vectors of LANES lanes; LANES is at most 16.
        unsafe {
            for i in 0..V::LANES {
                vectors
                    .add(i)
                    .write(V::load(lanes.as_ptr().add(i * V::LANES)));
            }
            V::sums(vectors).store(totals.as_mut_ptr());
        }
        lanes.fill(V::Scalar::default());
        c.iter_mut().zip(&totals).for_each(|(c, x)| *c = *c + *x);
    }
}

/// Where A and B go: half the gradient, in the layout of the parameters.
struct Sums<'a> {
    importance: &'a [f64],
    bias: usize,
    data: *mut f64,
}

impl Sums<'_> {
    /// Add B and A of group g.
    #[inline(always)]
    unsafe fn add<V: Vector, const M: usize>(&self, g: usize, (big_b, a): &([V; M], V)) {
        let first = g * V::LANES;
        // SAFETY: the sums and the importances are padded to whole vectors.
        unsafe {
            for k in 0..M {
                self.add_lanes(big_b[k], first, at(M, first, k));
            }
            self.add_lanes(*a, first, self.bias + first);
        }
    }

    #[inline(always)]
    unsafe fn add_lanes<V: Vector>(&self, x: V, first: usize, to: usize) {
        // SAFETY: as above; at most 16 lanes.
        unsafe {
            let to = self.data.add(to);
            if self.importance.is_empty() {
                return x.add_lanes(to);
            }
            let mut lanes = [V::Scalar::default(); 16];
            x.store(lanes.as_mut_ptr());
            for i in 0..V::LANES {
                *to.add(i) += *self.importance.get_unchecked(first + i) * lanes[i].to_f64();
            }
        }
    }
}

/// The lists of a run with groups of features.
pub struct Grouped<T> {
    n: usize,
    m: usize,
    /// References of the features.
    pub groups: Groups<T>,
    /// The examples in tiles.
    pub tiles: Vec<GroupTile<T>>,
    /// Whether the next step takes all references anew.
    pub fresh: bool,
    /// How long the lists shall last.
    pub life: Lifetime,
    /// Entries that there may be.
    pub limit: usize,
    /// Entries without a skin when last sorted; cycles that more of them have cost since; and what it
    /// would cost to sort anew.
    sorted: Option<u64>,
    excess: f64,
    sort_cost: f64,
}

impl<T: Real> Grouped<T> {
    /// Whether the bits that tell who is listed are small beside what a run keeps anyway.
    pub fn fits(p: &Params<T>, count: usize, nonzeros: usize) -> bool {
        let bytes = p.n.div_ceil(T::Portable::LANES) * count.div_ceil(8);
        bytes <= BITS.max(8 * (nonzeros + (p.n + count) * (p.m + 1)))
    }

    /// For `count` examples with `nonzeros` non-zeros.
    pub fn new(p: &Params<T>, count: usize, nonzeros: usize) -> Self {
        let groups = Groups::new(p.n, p.m);
        let row = p.m * T::Portable::LANES * size_of::<T>();
        let size = (C_BYTES / row).next_multiple_of(64);
        let tile = |t| GroupTile::new(groups.count, p.m, t, size.min(count - t));
        Grouped {
            n: p.n,
            m: p.m,
            tiles: (0..count).step_by(size).map(tile).collect(),
            groups,
            fresh: true,
            life: Lifetime::new(),
            limit: entries_limit(p, count, nonzeros),
            sorted: None,
            excess: 0.0,
            sort_cost: sort_cost(p, count, nonzeros),
        }
    }

    /// What is kept when the lists are made anew.
    pub fn budgets(&self) -> Budgets {
        Budgets {
            features: memory::copy(&self.groups.factors),
            examples: self.example_factors(),
            life: self.life.steps,
            sorted: self.sorted,
            excess: self.excess,
        }
    }

    /// Factors of the examples, by where these lie.
    fn example_factors(&self) -> Vec<f32> {
        let count = self.tiles.iter().map(|tile| tile.count).sum();
        let factors = self.tiles.iter().flat_map(|tile| &tile.factor);
        memory::collect(count, factors.copied())
    }

    /// The inverse, for lists without entries.
    pub fn resume(&mut self, budgets: &Budgets) {
        self.groups.factors.clone_from(&budgets.features);
        for tile in &mut self.tiles {
            let these = tile.first..tile.first + tile.count;
            tile.factor.copy_from_slice(&budgets.examples[these]);
        }
        self.life = Lifetime::resumed(budgets.life);
        (self.sorted, self.excess) = (budgets.sorted, budgets.excess);
    }

    /// Whether it is worth while to sort features and examples anew.
    pub fn is_unsorted(&self) -> bool {
        self.excess > self.sort_cost
    }

    /// Sums over tiles.
    pub fn counts(&self) -> Counts {
        self.tiles.iter().map(GroupTile::counts).sum()
    }

    /// Every [`LOOK`] steps: set the life of lists; the cycles of a step, roughly.
    pub fn review(&mut self) -> f64 {
        let counts = self.counts();
        let m = self.m as f64;
        let (entry, vector) = (2.0 * m + 2.0, 0.6 * m + 4.0);
        self.life.review(counts, entry, vector);
        let sorted = *self.sorted.get_or_insert(counts.bare);
        self.excess += counts.bare.saturating_sub(sorted) as f64 * entry * LOOK as f64;
        let examples: usize = self.tiles.iter().map(|tile| tile.count).sum();
        let pairs = (self.groups.count * examples) as f64;
        counts.entries as f64 * entry
            + counts.rows as f64 * (30.0 + 9.0 * m)
            + counts.minus as f64 * (15.0 + 7.0 * m + 1.5 * m * m)
            + (self.groups.count * self.tiles.len()) as f64 * 3.0
            + self.n as f64 * (m + 1.0)
            + 2.0 * pairs * vector / self.life.steps
    }

    /// Orders in which similar features, and similar examples, lie together. In a tile, those with few
    /// non-zeros come first, so that loops over them are predictable.
    pub fn orders(
        &self,
        p: &Params<T>,
        h: &[T],
        x: &Examples<T>,
        cancel: &AtomicBool,
    ) -> (Vec<u32>, Vec<u32>) {
        let (n, m, lanes) = (self.n, self.m, T::Portable::LANES);
        let square = |h: &[T]| h.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let radius = h.chunks_exact(m).map(square).fold(0.0, f64::max).sqrt();
        let mut points = memory::with_capacity(n * (m + 1));
        for j in 0..n {
            let at = points.len();
            points.extend(p.w(j).map(|x| x.to_f64() * radius));
            points.push(p.b()[j].to_f64());
            let norm = points[at..].iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 0.0 && norm.is_finite() {
                points[at..].iter_mut().for_each(|x| *x /= norm);
            } else {
                points[at..].fill(0.0);
            }
        }
        let mut examples = clusters(h, m, self.tiles[0].count.next_multiple_of(64), cancel);
        for tile in &self.tiles {
            let examples = &mut examples[tile.first..][..tile.count];
            examples.sort_unstable_by_key(|&t| (x.rows.group(t as usize).len(), t));
        }
        (clusters(&points, m + 1, lanes, cancel), examples)
    }

    /// Features and examples now lie in these orders: their budgets go with them, and the next step
    /// takes all references anew.
    pub fn reorder(&mut self, features: &[u32], examples: &[u32]) {
        let old = std::mem::take(&mut self.groups.factors);
        let moved = features.iter().map(|&j| old[j as usize]);
        self.groups.factors = memory::collect(features.len(), moved);
        let old = self.example_factors();
        for tile in &mut self.tiles {
            let examples = &examples[tile.first..][..tile.count];
            let moved = examples.iter().map(|&t| old[t as usize]);
            tile.factor.clear();
            tile.factor.extend(moved);
        }
        self.fresh = true;
        (self.sorted, self.excess) = (None, 0.0);
    }
}

/// Cycles of sorting n features and `count` examples, and of making all lists anew, roughly.
fn sort_cost<T: Real>(p: &Params<T>, count: usize, nonzeros: usize) -> f64 {
    let (n, m) = (p.n as f64, p.m as f64);
    let points = n * (m + 1.0) * 20.0 * n.log2() + count as f64 * m * 20.0;
    points + 30.0 * nonzeros as f64 + n / T::Portable::LANES as f64 * count as f64 * (m + 5.0)
}
