//! The lists of a tile of examples by groups of LANES similar features.
//!
//! Vectors run over features.

use std::ops::Range;

use crate::lists::group_references::{Groups, Reference, p_group};
use crate::lists::group_sums::Sums;
use crate::lists::pace::{Counts, Pace};
use crate::lists::rows::{LONGEST, Room, Rows};
use crate::lists::skin::{Balance, clearly_fewer};
use crate::lists::sorted_tile::{Prices, SortedTile};
use crate::lists::work::Work;
use crate::memory;
use crate::model::params::{Params, by_m};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// Bytes of C of a tile: what the first cache holds beside the rest.
const C_BYTES: usize = 1 << 15;

/// A tile of examples.
pub struct GroupTile<T> {
    /// First example and number of examples.
    first: usize,
    count: usize,
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
    /// Vectors of pairs looked at in building lists, since the beginning.
    built: u64,
}

impl<T: Real> SortedTile<T> for GroupTile<T> {
    fn examples(m: usize) -> usize {
        let row = m * T::Portable::LANES * size_of::<T>();
        (C_BYTES / row).next_multiple_of(64)
    }

    fn bytes(n: usize, _m: usize, count: usize) -> usize {
        n.div_ceil(T::Portable::LANES) * count.div_ceil(8)
    }

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

    fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    fn factors(&self) -> &[f32] {
        &self.factor
    }

    fn factors_mut(&mut self) -> &mut [f32] {
        &mut self.factor
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

    fn size(&self) -> usize {
        self.rows.size()
    }

    fn built(&self) -> u64 {
        self.built
    }

    /// Between what the instructions say and what was measured beside all pairs (see `dense_cost`).
    fn prices(m: usize) -> Prices {
        let m = m as f64;
        Prices {
            entry: 3.5 * m - 1.0,
            row: 30.0 + 9.0 * m,
            minus: 15.0 + 7.0 * m + 1.5 * m * m,
            group: 3.0,
            vector: m + 6.0,
        }
    }

    fn refresh(&mut self, isa: Isa, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>) {
        refresh(isa, self, groups, h, pace, room);
    }

    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        run(isa, self, work);
    }
}

impl<T: Real> GroupTile<T> {
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
            if !near {
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
            let mut h = [V::zero(); M];
            for k in 0..M {
                h[k] = V::splat(*self.h.get_unchecked(t * M + k));
            }
            let size = V::splat(*self.size.get_unchecked(t));
            group.pairs(h, size, V::splat(*self.reach.get_unchecked(t)))
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
            let minus = self.is_minus[g] != clearly_fewer(other, len);
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
    /// their rounding: see [`Balance`].
    #[inline(always)]
    unsafe fn balanced<V: Vector<Scalar = T>, const M: usize>(
        &self,
        groups: &Groups<T>,
        g: usize,
    ) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let group = groups.group::<V, M>(g, V::splat(T::from_f64(1.0)));
            let mut balance = Balance::new();
            for t in 0..self.count {
                let (z, _, _) = self.pair(&group, t);
                balance.add(z, V::splat(self.size[t]));
            }
            balance.holds_in_lanes()
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
        let sums = Sums::new(p, importance64, sums);
        // SAFETY: the caller's promise.
        unsafe {
            if self.minus > 0 {
                let lanes = |g: usize| if self.is_minus[g] { u32::MAX } else { 0 };
                sums.linear::<V, M>(p, importance, groups, lanes, h, c);
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

multiversion! {
    /// References anew, of all examples or of those that have gone too far from `h`, and with a `room` the
    /// lists that go with them and with the references of the groups; see [`crate::lists::tile::refresh`].
    fn refresh<V, T>(
        tile: &mut GroupTile<T>, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>,
    ) {
        assert!(h.len() == tile.h.len());
        let m = h.len() / tile.count;
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            by_m!(
                m, M => tile.refresh_m::<V, M>(groups, h, pace, room),
                unreachable!("m = {m} is too large for groups")
            );
        }
    }
}

multiversion! {
    /// Add what all pairs add.
    fn run<V, T>(tile: &mut GroupTile<T>, work: Work<'_, T>) {
        let p = work.p;
        work.assert_fits(tile.count, tile.is_minus.len(), V::LANES);
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            by_m!(
                p.m, M => tile.run_m::<V, M>(work),
                unreachable!("m = {} is too large for groups", p.m)
            );
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
