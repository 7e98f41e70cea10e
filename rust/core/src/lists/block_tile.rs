//! The lists of a tile of examples by feature: of blocks of LANES similar examples.
//!
//! Here vectors run over examples. With more examples than features, a block of them is more compact than
//! a group of features, so that it is dead or linear as a whole for more of them.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::lists::clusters::clusters;
use crate::lists::group_references::{Groups, Reference, p_group};
use crate::lists::group_sums::Sums;
use crate::lists::pace::{Counts, Pace};
use crate::lists::rows::Room;
use crate::lists::skin::{Balance, clearly_fewer, square_moved};
use crate::lists::sorted_tile::{Prices, SortedTile};
use crate::lists::work::Work;
use crate::memory;
use crate::model::params::{Params, by_m};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// Blocks of a tile: a bit each.
const BLOCKS: usize = 64;
/// Bytes of h and C of a tile: what the first cache holds beside the rest.
const BYTES: usize = 1 << 15;

/// A tile of examples.
pub struct BlockTile<T> {
    first: usize,
    count: usize,
    blocks: usize,
    /// The example in each lane of each block; the last one again in lanes that would have none.
    order: Vec<u32>,
    /// h as [block][k][lane]: now, and when the block's reference was taken.
    now: Aligned<T>,
    reference: Aligned<T>,
    /// Of the reference, by lane: |h|, and how far h may go from it.
    size: Aligned<T>,
    reach: Aligned<T>,
    /// By example.
    factor: Vec<f32>,
    /// By block.
    born: Vec<u64>,
    stale: Vec<u32>,
    /// By feature: a bit for each block that is listed, and how many there would be without any skin.
    rows: Vec<u64>,
    bare: Vec<u8>,
    /// By group: a bit for each feature that lists the exceptions from being linear.
    minus: Vec<u32>,
    built: u64,
}

/// Blocks with pairs that may not be dead, and that may not be linear; and the same without a skin.
#[derive(Default)]
struct Found {
    up: u64,
    down: u64,
    bare_up: u64,
    bare_down: u64,
}

impl<T: Real> SortedTile<T> for BlockTile<T> {
    fn examples(m: usize) -> usize {
        let row = 2 * m * size_of::<T>();
        (BYTES / row).min(BLOCKS * T::Portable::LANES) / 64 * 64
    }

    fn bytes(n: usize, m: usize, count: usize) -> usize {
        n * count.div_ceil(Self::examples(m)) * (size_of::<u64>() + 1)
    }

    fn new(groups: usize, m: usize, first: usize, count: usize) -> Self {
        let lanes = T::Portable::LANES;
        let blocks = count.div_ceil(lanes);
        assert!(blocks <= BLOCKS, "there is a bit for each block");
        BlockTile {
            first,
            count,
            blocks,
            order: memory::zeros(blocks * lanes),
            now: Aligned::zeros(blocks * m * lanes),
            reference: Aligned::zeros(blocks * m * lanes),
            size: Aligned::zeros(blocks * lanes),
            reach: Aligned::zeros(blocks * lanes),
            factor: memory::filled(count, 0.5),
            born: memory::zeros(blocks),
            stale: memory::with_capacity(blocks),
            rows: memory::zeros(groups * lanes),
            bare: memory::zeros(groups * lanes),
            minus: memory::zeros(groups),
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
        let mut counts = Counts {
            built: self.built,
            ..Counts::default()
        };
        for (&row, &bare) in self.rows.iter().zip(&self.bare) {
            let entries = u64::from(row.count_ones());
            counts.entries += entries;
            counts.bare += entries.min(u64::from(bare));
            counts.rows += u64::from(row != 0);
        }
        let minus = self.minus.iter().map(|bits| u64::from(bits.count_ones()));
        counts.minus = minus.sum();
        counts
    }

    fn size(&self) -> usize {
        0
    }

    fn built(&self) -> u64 {
        self.built
    }

    fn prices(m: usize) -> Prices {
        let m = m as f64;
        Prices {
            entry: 3.0 * m + 2.0,
            row: 20.0 + 6.0 * m,
            minus: 3.0 + m,
            group: 10.0 + 20.0 * m,
            vector: m + 12.0,
        }
    }

    fn refresh(&mut self, isa: Isa, groups: &Groups<T>, h: &[T], pace: Pace, room: Option<&Room>) {
        refresh(isa, self, groups, h, pace, room.is_some());
    }

    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        run(isa, self, work);
    }
}

impl<T: Real> BlockTile<T> {
    #[inline(always)]
    unsafe fn refresh_m<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        h: &[T],
        pace: Pace,
        build: bool,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            self.take_now::<V, M>(h);
            self.find_stale::<V, M>(pace);
            for i in 0..self.stale.len() {
                self.adapt::<V, M>(self.stale[i] as usize, pace);
            }
            if pace.all {
                self.arrange::<V, M>(h);
            }
            for i in 0..self.stale.len() {
                self.take::<V, M>(self.stale[i] as usize, pace);
            }
            if !build {
                return;
            }
            for &g in &groups.stale {
                for lane in 0..groups.features(g as usize) {
                    self.build_row::<V, M>(groups, g as usize, lane);
                }
            }
            self.built += (groups.stale.len() * V::LANES * self.blocks) as u64;
            if !pace.all && !self.stale.is_empty() {
                for g in 0..groups.count {
                    self.add_blocks::<V, M>(groups, g);
                }
                self.built += (self.stale.len() * groups.count * V::LANES) as u64;
            }
        }
    }

    /// h as it is now, in blocks.
    #[inline(always)]
    unsafe fn take_now<V: Vector<Scalar = T>, const M: usize>(&mut self, h: &[T]) {
        // SAFETY: the order holds examples; blocks of M whole vectors.
        unsafe {
            for v in 0..self.blocks {
                let order = self.order.as_ptr().add(v * V::LANES);
                let to = self.now.as_mut_ptr().add(v * M * V::LANES);
                for k in 0..M {
                    V::gather::<M>(h.as_ptr().add(k), order).store(to.add(k * V::LANES));
                }
            }
        }
    }

    /// Put what is alike now into one block.
    #[inline(always)]
    unsafe fn arrange<V: Vector<Scalar = T>, const M: usize>(&mut self, h: &[T]) {
        let order = clusters(h, M, V::LANES, &AtomicBool::new(false));
        self.order[..self.count].copy_from_slice(&order);
        self.order[self.count..].fill(order[self.count - 1]);
        // SAFETY: the caller's promise.
        unsafe { self.take_now::<V, M>(h) };
    }

    /// Note the blocks of which an example has gone too far, or all.
    #[inline(always)]
    unsafe fn find_stale<V: Vector<Scalar = T>, const M: usize>(&mut self, pace: Pace) {
        self.stale.clear();
        if pace.all {
            self.stale.extend(0..self.blocks as u32);
            return;
        }
        // SAFETY: blocks of whole vectors.
        unsafe {
            let keep = V::splat(T::from_f64(1.0 - 1e-3));
            for v in 0..self.blocks {
                let far = self.far::<V, M>(v);
                let reach = V::load(self.reach.as_ptr().add(v * V::LANES));
                if far.sub(reach.mul(reach).mul(keep)).positive() != 0 {
                    self.stale.push(v as u32);
                }
            }
        }
    }

    /// |h - h'|^2 of a block.
    #[inline(always)]
    unsafe fn far<V: Vector<Scalar = T>, const M: usize>(&self, v: usize) -> V {
        // SAFETY: blocks of whole vectors.
        unsafe {
            let at = v * M * V::LANES;
            let (now, old) = (self.now.as_ptr().add(at), self.reference.as_ptr().add(at));
            square_moved(now, old, M)
        }
    }

    /// How far the examples of a block went in its last life says how far they may go in the next.
    #[inline(always)]
    unsafe fn adapt<V: Vector<Scalar = T>, const M: usize>(&mut self, v: usize, pace: Pace) {
        if pace.adapt {
            let mut far = [T::default(); 16];
            // SAFETY: at most 16 lanes.
            unsafe { self.far::<V, M>(v).store(far.as_mut_ptr()) };
            for lane in 0..V::LANES.min(self.count - v * V::LANES) {
                let slot = v * V::LANES + lane;
                let used = far[lane].to_f64().sqrt() / self.reach[slot].to_f64();
                let factor = &mut self.factor[self.order[slot] as usize];
                *factor = pace.next_factor(*factor, used, self.born[v]);
            }
        }
        self.born[v] = pace.step;
    }

    /// The reference of a block is where it is now.
    #[inline(always)]
    unsafe fn take<V: Vector<Scalar = T>, const M: usize>(&mut self, v: usize, pace: Pace) {
        let block = v * M * V::LANES..(v + 1) * M * V::LANES;
        for lane in 0..V::LANES {
            let slot = v * V::LANES + lane;
            let mut square = 0.0;
            for k in 0..M {
                let x = self.now[block.start + k * V::LANES + lane].to_f64();
                square += x * x;
            }
            self.size[slot] = T::from_f64(square.sqrt() * (1.0 + 1e-6));
            let factor = self.factor[self.order[slot] as usize];
            self.reach[slot] = T::from_f64(pace.budget(factor) * (M as f64).sqrt());
        }
        self.reference[block.clone()].copy_from_slice(&self.now[block]);
    }

    /// z of the references of a feature and a block, the skin and what rounding alone needs.
    #[inline(always)]
    unsafe fn pairs<V: Vector<Scalar = T>, const M: usize>(
        &self,
        feature: &Reference<V, M>,
        v: usize,
    ) -> (V, V, V) {
        // SAFETY: blocks of whole vectors.
        unsafe {
            let from = self.reference.as_ptr().add(v * M * V::LANES);
            let mut h = [V::zero(); M];
            for k in 0..M {
                h[k] = V::load(from.add(k * V::LANES));
            }
            let size = V::load(self.size.as_ptr().add(v * V::LANES));
            feature.pairs(h, size, V::load(self.reach.as_ptr().add(v * V::LANES)))
        }
    }

    /// The list of a feature: of the blocks where it may not be dead, or of those where it may not be
    /// linear if they are clearly fewer.
    #[inline(always)]
    unsafe fn build_row<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        g: usize,
        lane: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let feature = groups.feature::<V, M>(g, lane);
            let mut found = Found::default();
            for v in 0..self.blocks {
                let (z, skin, thin) = self.pairs(&feature, v);
                let bit = |listed: u32| u64::from(listed != 0) << v;
                found.up |= bit(skin.add(z).positive());
                found.down |= bit(skin.sub(z).positive());
                found.bare_up |= bit(thin.add(z).positive());
                found.bare_down |= bit(thin.sub(z).positive());
            }
            let (up, down) = (
                found.up.count_ones() as usize,
                found.down.count_ones() as usize,
            );
            let old = self.minus[g] >> lane & 1 == 1;
            let (here, there) = if old { (down, up) } else { (up, down) };
            let minus = old != clearly_fewer(there, here);
            let minus = minus && (down == 0 || self.balanced::<V, M>(&feature));
            let (row, bare) = if minus {
                (found.down, found.bare_down)
            } else {
                (found.up, found.bare_up)
            };
            self.minus[g] = self.minus[g] & !(1 << lane) | u32::from(minus) << lane;
            self.rows[g * V::LANES + lane] = row;
            self.bare[g * V::LANES + lane] = bare.count_ones() as u8;
        }
    }

    /// Whether exceptions from being linear are small enough, all together, not to drown the rest in
    /// their rounding: see [`Balance`].
    #[inline(always)]
    unsafe fn balanced<V: Vector<Scalar = T>, const M: usize>(
        &self,
        feature: &Reference<V, M>,
    ) -> bool {
        // SAFETY: the caller's promise; sizes of whole vectors.
        unsafe {
            let mut balance = Balance::new();
            for v in 0..self.blocks {
                let (z, _, _) = self.pairs(feature, v);
                balance.add(z, V::load(self.size.as_ptr().add(v * V::LANES)));
            }
            balance.holds()
        }
    }

    /// Add the blocks with new references to the lists of group g, where they now belong to them.
    #[inline(always)]
    unsafe fn add_blocks<V: Vector<Scalar = T>, const M: usize>(
        &mut self,
        groups: &Groups<T>,
        g: usize,
    ) {
        // SAFETY: the caller's promise; `stale` holds blocks.
        unsafe {
            for lane in 0..groups.features(g) {
                let feature = groups.feature::<V, M>(g, lane);
                let minus = self.minus[g] >> lane & 1 == 1;
                let mut row = self.rows[g * V::LANES + lane];
                for i in 0..self.stale.len() {
                    let v = *self.stale.get_unchecked(i) as usize;
                    let (z, skin, _) = self.pairs(&feature, v);
                    let may = if minus { skin.sub(z) } else { skin.add(z) };
                    row |= u64::from(may.positive() != 0) << v;
                }
                self.rows[g * V::LANES + lane] = row;
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
        let size = self.blocks * M * V::LANES;
        if lanes.len() < size {
            *lanes = Aligned::zeros(size);
        }
        let sums = Sums::new(p, importance64, sums);
        // SAFETY: the caller's promise.
        unsafe {
            if self.minus.iter().any(|&bits| bits != 0) {
                let minus = |g: usize| self.minus[g];
                sums.linear::<V, M>(p, importance, self.minus.len(), minus, h, c);
            }
            for g in 0..self.minus.len() {
                let rows = &self.rows[g * V::LANES..][..V::LANES];
                if rows.iter().all(|&row| row == 0) {
                    continue;
                }
                let ab = self.group::<V, M>(p, importance, g, lanes);
                sums.add::<V, M>(g, &ab);
            }
            self.empty::<M>(lanes, c);
        }
    }

    /// The pairs of the features of a group: their B and A.
    #[inline(always)]
    unsafe fn group<V: Vector<Scalar = T>, const M: usize>(
        &self,
        p: &Params<T>,
        importance: &[T],
        g: usize,
        lanes: &mut Aligned<T>,
    ) -> ([V; M], V) {
        // SAFETY: blocks of whole vectors; at most 16 lanes.
        unsafe {
            let (w, b) = p_group::<V, M>(p, g);
            let one = V::splat(T::from_f64(1.0));
            let sign = V::zero().sub(one).select(self.minus[g], one);
            let zeros = [T::default(); 16];
            let (mut ws, mut lefts, mut bs) = ([zeros; M], [zeros; M], zeros);
            for k in 0..M {
                let left = if importance.is_empty() {
                    w[k]
                } else {
                    w[k].mul(V::load(importance.as_ptr().add(g * V::LANES)))
                };
                w[k].mul(sign).store(ws[k].as_mut_ptr());
                left.store(lefts[k].as_mut_ptr());
            }
            b.mul(sign).store(bs.as_mut_ptr());
            let (mut big_bs, mut aa) = ([[V::zero(); 16]; M], [V::zero(); 16]);
            for lane in 0..V::LANES {
                let row = self.rows[g * V::LANES + lane];
                if row == 0 {
                    continue;
                }
                let (mut w, mut left) = ([T::default(); M], [T::default(); M]);
                for k in 0..M {
                    (w[k], left[k]) = (ws[k][lane], lefts[k][lane]);
                }
                let (big_b, a) = self.row::<V, M>(row, &w, bs[lane], &left, lanes);
                for k in 0..M {
                    big_bs[k][lane] = big_b[k];
                }
                aa[lane] = a;
            }
            let mut big_b = [V::zero(); M];
            for k in 0..M {
                big_b[k] = V::sums(big_bs[k].as_ptr());
            }
            (big_b, V::sums(aa.as_ptr()))
        }
    }

    /// The pairs of one feature: its B and A, by lanes. From m = 3 on, where a vector is two in the registers,
    /// all blocks of one half come before those of the other: there are registers for one.
    #[inline(always)]
    unsafe fn row<V: Vector<Scalar = T>, const M: usize>(
        &self,
        row: u64,
        w: &[T; M],
        b: T,
        left: &[T; M],
        lanes: &mut Aligned<T>,
    ) -> ([V; M], V) {
        // SAFETY: parts of whole vectors, which have at most 16 lanes.
        unsafe {
            if M < 3 || !V::SPLIT {
                return self.part::<V, M>(row, w, b, left, 0, lanes);
            }
            let zeros = [T::default(); 16];
            let (mut big_bs, mut aa) = ([zeros; M], zeros);
            for part in (0..V::LANES).step_by(V::Half::LANES) {
                let (big_b, a) = self.part::<V::Half, M>(row, w, b, left, part, lanes);
                for k in 0..M {
                    big_b[k].store(big_bs[k].as_mut_ptr().add(part));
                }
                a.store(aa.as_mut_ptr().add(part));
            }
            let mut big_b = [V::zero(); M];
            for k in 0..M {
                big_b[k] = V::load(big_bs[k].as_ptr());
            }
            (big_b, V::load(aa.as_ptr()))
        }
    }

    /// The same for the examples of each block in the lanes of V that begin at `part`.
    #[inline(always)]
    unsafe fn part<V: Vector<Scalar = T>, const M: usize>(
        &self,
        mut row: u64,
        w: &[T; M],
        b: T,
        left: &[T; M],
        part: usize,
        lanes: &mut Aligned<T>,
    ) -> ([V; M], V) {
        let whole = T::Portable::LANES;
        // Lanes without an example are in the last block.
        let (last, filled) = (self.count / whole, self.count % whole);
        // SAFETY: bits are blocks; blocks of whole vectors.
        unsafe {
            let (hs, cs) = (self.now.as_ptr().add(part), lanes.as_mut_ptr().add(part));
            let (mut ws, mut lefts) = ([V::zero(); M], [V::zero(); M]);
            for k in 0..M {
                (ws[k], lefts[k]) = (V::splat(w[k]), V::splat(left[k]));
            }
            let b = V::splat(b);
            let (mut big_b, mut a) = ([V::zero(); M], V::zero());
            while row != 0 {
                let v = row.trailing_zeros() as usize;
                row &= row - 1;
                let at = v * M * whole;
                let (mut z, mut h) = (b, [V::zero(); M]);
                for k in 0..M {
                    h[k] = V::load(hs.add(at + k * whole));
                    z = ws[k].fma(h[k], z);
                }
                let mut y = z.relu();
                if v == last {
                    y = y.first(filled.saturating_sub(part).min(V::LANES));
                }
                a = a.add(y);
                for k in 0..M {
                    big_b[k] = y.fma(h[k], big_b[k]);
                    let c = cs.add(at + k * whole);
                    y.fma(lefts[k], V::load(c)).store(c);
                }
            }
            (big_b, a)
        }
    }

    /// Add C by blocks to C, and set it to 0.
    #[inline(always)]
    fn empty<const M: usize>(&self, lanes: &mut Aligned<T>, c: &mut [T]) {
        let count = T::Portable::LANES;
        for (slot, &t) in self.order[..self.count].iter().enumerate() {
            let from = slot / count * count * M + slot % count;
            let c = &mut c[t as usize * M..][..M];
            for k in 0..M {
                c[k] = c[k] + lanes[from + k * count];
            }
        }
        lanes[..self.blocks * M * count].fill(T::default());
    }
}

multiversion! {
    /// References anew, of all blocks or of those of which an example has gone too far from `h`, and if they
    /// are to be built the lists that go with them and with the references of the groups.
    fn refresh<V, T>(
        tile: &mut BlockTile<T>, groups: &Groups<T>, h: &[T], pace: Pace, build: bool,
    ) {
        let m = h.len() / tile.count;
        assert!(h.len() == tile.count * m && tile.now.len() == tile.blocks * m * V::LANES);
        assert!(tile.minus.len() == groups.count);
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            by_m!(
                m, M => tile.refresh_m::<V, M>(groups, h, pace, build),
                unreachable!("m = {m} is too large for blocks")
            );
        }
    }
}

multiversion! {
    /// Add what all pairs add.
    fn run<V, T>(tile: &mut BlockTile<T>, work: Work<'_, T>) {
        let p = work.p;
        work.assert_fits(tile.count, tile.minus.len(), V::LANES);
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            by_m!(
                p.m, M => tile.run_m::<V, M>(work),
                unreachable!("m = {} is too large for blocks", p.m)
            );
        }
    }
}
