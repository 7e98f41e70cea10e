//! The lists of a tile of examples: for each feature, the examples whose pair may matter.
//!
//! See [`crate::lists::skin`] for the bounds. Everything here is a function of the tile's
//! examples and the features' references alone, so tiles can be worked on at the same time.

use crate::kernels::moments::Moments;
use crate::lists::pace::{Counts, Pace};
use crate::lists::pairs::Pairs;
use crate::lists::references::Features;
use crate::lists::rows::{LONGEST, Room, Rows};
use crate::lists::skin::{BALANCE, Bound, clearly_fewer, square_moved};
use crate::lists::work::Work;
use crate::memory;
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};

/// Vectors of pairs that are looked at together: what they share is loaded once.
const TOGETHER: usize = 4;

/// A tile. A *vector* is LANES examples, an entry names one example.
pub struct Tile<T> {
    m: usize,
    length: usize,
    /// First example and number of examples.
    pub first: usize,
    pub count: usize,
    vectors: usize,
    /// h as [vector][k][lane]: now, and when the vector's reference was taken.
    now: Aligned<T>,
    reference: Aligned<T>,
    /// Of the reference, by example: |h|, and how far h may go from it.
    size: Aligned<T>,
    reach: Aligned<T>,
    /// By vector: relative reach, step of the reference.
    factor: Vec<f32>,
    born: Vec<u64>,
    stale: Vec<u32>,
    /// By feature: examples.
    rows: Rows,
    /// Whether a feature lists the exceptions from being linear, instead of from being dead.
    is_minus: Vec<bool>,
    minus: Vec<u32>,
    minus_changed: bool,
    moments: Moments<T>,
    scratch: Vec<u16>,
    /// Vectors of pairs looked at in building lists, since the beginning.
    pub built: u64,
}

impl<T: Real> Tile<T> {
    /// For `count` examples from `first` on; all lists are empty, and none is valid.
    pub fn new(n: usize, m: usize, length: usize, first: usize, count: usize) -> Self {
        assert!(count <= LONGEST, "entries are u16");
        let lanes = T::Portable::LANES;
        let vectors = count.div_ceil(lanes);
        let blocks = vectors * m * lanes;
        Tile {
            m,
            length,
            first,
            count,
            vectors,
            now: Aligned::zeros(blocks),
            reference: Aligned::zeros(blocks),
            size: Aligned::zeros(vectors * lanes),
            reach: Aligned::zeros(vectors * lanes),
            factor: memory::filled(vectors, 0.5),
            born: memory::zeros(vectors),
            stale: memory::with_capacity(vectors),
            rows: Rows::new(n),
            is_minus: memory::zeros(n),
            minus: Vec::new(),
            minus_changed: false,
            moments: Moments::new(m, length),
            scratch: memory::zeros(vectors * lanes + 32),
            built: 0,
        }
    }

    /// Factors of the budgets of the examples, a vector each.
    pub fn factors(&self) -> &[f32] {
        &self.factor
    }

    /// The same, to be set.
    pub fn factors_mut(&mut self) -> &mut [f32] {
        &mut self.factor
    }

    /// Counts of this tile.
    pub fn counts(&self) -> Counts {
        let (entries, bare, rows) = self.rows.totals();
        Counts {
            entries,
            bare,
            rows,
            minus: self.minus.len() as u64,
            built: self.built,
        }
    }

    /// Entries that there is room for.
    pub fn size(&self) -> usize {
        self.rows.size()
    }

    /// The list of feature j becomes these examples.
    #[cfg(feature = "doors")]
    pub fn list(&mut self, j: usize, examples: &[u16]) {
        self.rows.set(j, examples, 0);
    }

    /// Bring the rows in an order that is fast to walk.
    pub fn sort(&mut self) {
        self.rows.sort();
    }

    /// Take the hidden vectors `h` (rows); all references anew, or note the vectors that
    /// have gone too far.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    unsafe fn take<V: Vector<Scalar = T>>(&mut self, h: &[T], pace: Pace) {
        let (m, length, lanes) = (self.m, self.length, V::LANES);
        assert!(h.len() == self.count * length);
        for (t, row) in h.chunks_exact(length).enumerate() {
            let block = &mut self.now[t / lanes * m * lanes..][..m * lanes];
            for k in 0..m {
                block[k * lanes + t % lanes] = row[k];
            }
        }
        self.stale.clear();
        if pace.all {
            self.stale.extend(0..self.vectors as u32);
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.find_stale::<V>() };
        }
        for i in 0..self.stale.len() {
            self.take_reference(self.stale[i] as usize, pace);
        }
    }

    /// |h - reference|^2 against the reach, with room for the rounding of the sum.
    #[inline(always)]
    unsafe fn find_stale<V: Vector<Scalar = T>>(&mut self) {
        let keep = V::Scalar::from_f64(1.0 - 1e-3);
        for v in 0..self.vectors {
            // SAFETY: blocks of m whole vectors.
            unsafe {
                let at = v * self.m * V::LANES;
                let (now, old) = (self.now.as_ptr().add(at), self.reference.as_ptr().add(at));
                let far = square_moved::<V>(now, old, self.m);
                let reach = V::load(self.reach.as_ptr().add(v * V::LANES));
                let limit = reach.mul(reach).mul(V::splat(keep));
                if u64::from(far.sub(limit).positive()) & self.valid::<V, 1>(v) != 0 {
                    self.stale.push(v as u32);
                }
            }
        }
    }

    /// Bits of the lanes of C vectors from v on that hold an example.
    #[inline(always)]
    fn valid<V: Vector<Scalar = T>, const C: usize>(&self, v: usize) -> u64 {
        let left = self.count - v * V::LANES;
        u64::MAX >> (64 - left.min(C * V::LANES))
    }

    /// The reference of a vector is where it is now; how far it went in its last life says how far it
    /// may go in the next.
    fn take_reference(&mut self, v: usize, pace: Pace) {
        let (m, lanes) = (self.m, T::Portable::LANES);
        let (now, old) = (&self.now[v * m * lanes..], &self.reference[v * m * lanes..]);
        let mut used: f64 = 0.0;
        for lane in 0..lanes {
            let (mut square, mut far) = (0.0, 0.0);
            for k in 0..m {
                let x = now[k * lanes + lane].to_f64();
                let d = x - old[k * lanes + lane].to_f64();
                square += x * x;
                far += d * d;
            }
            used = used.max(far.sqrt() / self.reach[v * lanes + lane].to_f64());
            self.size[v * lanes + lane] = T::from_f64(square.sqrt() * (1.0 + 1e-6));
        }
        if pace.adapt {
            self.factor[v] = pace.next_factor(self.factor[v], used, self.born[v]);
        }
        self.born[v] = pace.step;
        let reach = T::from_f64(pace.budget(self.factor[v]) * (m as f64).sqrt());
        self.reach[v * lanes..(v + 1) * lanes].fill(reach);
        let block = v * m * lanes..(v + 1) * m * lanes;
        self.reference[block.clone()].copy_from_slice(&self.now[block]);
    }

    /// Build the lists of the features `rebuilt` anew, then add to all lists what the new references
    /// of vectors call for (unless every list has just been built). Lists are left as they are, and must
    /// not be used any more, once there is no `room`.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    unsafe fn build<V: Vector<Scalar = T>>(
        &mut self,
        f: &Features<T>,
        rebuilt: &[u32],
        room: &Room,
    ) {
        let mut size = self.rows.size();
        // SAFETY: the caller's promise.
        unsafe {
            for &j in rebuilt {
                self.build_row::<V>(f, j as usize);
                if room.is_over_after(&self.rows, &mut size) {
                    return;
                }
            }
            self.built += (rebuilt.len() * self.vectors) as u64;
            if rebuilt.len() < self.rows.count() {
                if !self.add_vectors::<V>(f, room, &mut size) {
                    return;
                }
                self.built += (self.stale.len() * self.rows.count()) as u64;
            }
        }
        if std::mem::take(&mut self.minus_changed) {
            self.minus.clear();
            for (j, &minus) in self.is_minus.iter().enumerate() {
                if minus {
                    memory::reserve(&mut self.minus, 1);
                    self.minus.push(j as u32);
                }
            }
        }
        self.rows.compact();
    }

    /// The list of feature j: of the exceptions from dead, or from linear if they are clearly fewer.
    #[inline(always)]
    unsafe fn build_row<V: Vector<Scalar = T>>(&mut self, f: &Features<T>, j: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let old = self.is_minus[j];
            let (mut len, mut bare, other) = self.scan::<V>(f, j, old);
            let minus = old != clearly_fewer(other, len) && self.balanced::<V>(f, j);
            if minus != old {
                (len, bare, _) = self.scan::<V>(f, j, minus);
            }
            self.minus_changed |= minus != old;
            self.is_minus[j] = minus;
            self.rows.set(j, &self.scratch[..len], bare);
        }
    }

    /// Whether exceptions from being linear are small enough, all together, not to drown the rest in
    /// their rounding: see [`BALANCE`].
    #[inline(always)]
    unsafe fn balanced<V: Vector<Scalar = T>>(&self, f: &Features<T>, j: usize) -> bool {
        let m = self.m;
        let (mut up, mut down) = ([0.0; 2], [0.0; 2]);
        for v in 0..self.vectors {
            // SAFETY: the caller's promise; sizes of a whole vector. Lanes without an example have
            // z = b and size 0: they change little.
            unsafe {
                let (z, _) = self.pair::<V>(f, j, v);
                let size = V::load(self.size.as_ptr().add(v * V::LANES));
                let (y, exception) = (z.relu(), V::zero().sub(z).relu());
                up[0] += y.sum().to_f64();
                up[1] += y.mul(size).sum().to_f64();
                down[0] += exception.sum().to_f64();
                down[1] += exception.mul(size).sum().to_f64();
            }
        }
        let finite =
            f.b[j].to_f64().is_finite() && f.w[j * m..][..m].iter().all(|w| w.to_f64().is_finite());
        finite && (0..2).all(|i| down[i] <= BALANCE[i] * up[i])
    }

    /// Write the list of feature j to the scratch: its length, its length without a skin, and the
    /// length of the other kind of list.
    #[inline(always)]
    unsafe fn scan<V: Vector<Scalar = T>>(
        &mut self,
        f: &Features<T>,
        j: usize,
        minus: bool,
    ) -> (usize, usize, usize) {
        let mut lengths = (0, 0, 0);
        let whole = self.vectors / TOGETHER * TOGETHER;
        // SAFETY: the caller's promise.
        unsafe {
            for v in (0..whole).step_by(TOGETHER) {
                self.scan_vectors::<V, TOGETHER>(f, j, minus, v, &mut lengths);
            }
            for v in whole..self.vectors {
                self.scan_vectors::<V, 1>(f, j, minus, v, &mut lengths);
            }
        }
        lengths
    }

    /// The same of C vectors from v on.
    #[inline(always)]
    unsafe fn scan_vectors<V: Vector<Scalar = T>, const C: usize>(
        &mut self,
        f: &Features<T>,
        j: usize,
        minus: bool,
        v: usize,
        lengths: &mut (usize, usize, usize),
    ) {
        let (len, bare, other) = lengths;
        let out = self.scratch.as_mut_ptr();
        // SAFETY: whole vectors; the scratch has room for every example and a vector more.
        unsafe {
            let z = self.vectors_z::<V, C>(f, j, v);
            // A bit for each pair, of all vectors: counted at once.
            let (mut mask, mut thins, mut others) = (0u64, 0u64, 0u64);
            for i in 0..C {
                let (skin, thin) = self.skins::<V>(&f.bounds[j], v + i);
                let z = if minus { V::zero().sub(z[i]) } else { z[i] };
                let at = i * V::LANES;
                mask |= u64::from(skin.add(z).positive()) << at;
                others |= u64::from(skin.sub(z).positive()) << at;
                thins |= u64::from(thin.add(z).positive()) << at;
            }
            let valid = self.valid::<V, C>(v);
            *bare += (thins & valid).count_ones() as usize;
            *other += (others & valid).count_ones() as usize;
            mask &= valid;
            while mask != 0 {
                *out.add(*len) = (v * V::LANES) as u16 + mask.trailing_zeros() as u16;
                *len += 1;
                mask &= mask - 1;
            }
        }
    }

    /// z of the references for a vector of examples, and the skin around 0.
    #[inline(always)]
    unsafe fn pair<V: Vector<Scalar = T>>(&self, f: &Features<T>, j: usize, v: usize) -> (V, V) {
        // SAFETY: the caller's promise.
        unsafe {
            let [z] = self.vectors_z::<V, 1>(f, j, v);
            (z, self.skins::<V>(&f.bounds[j], v).0)
        }
    }

    /// z of the references of feature j, for C vectors of examples from v on: a w once for all.
    #[inline(always)]
    unsafe fn vectors_z<V: Vector<Scalar = T>, const C: usize>(
        &self,
        f: &Features<T>,
        j: usize,
        v: usize,
    ) -> [V; C] {
        let m = self.m;
        let w = &f.w[j * m..][..m];
        debug_assert!(v + C <= self.vectors);
        // SAFETY: blocks of m whole vectors.
        unsafe {
            let h = self.reference.as_ptr().add(v * m * V::LANES);
            let mut z = [V::splat(f.b[j]); C];
            for k in 0..m {
                let w = V::splat(*w.get_unchecked(k));
                for i in 0..C {
                    z[i] = w.fma(V::load(h.add((i * m + k) * V::LANES)), z[i]);
                }
            }
            z
        }
    }

    /// The same for the vector v, of C features from j on: an h once for all.
    #[inline(always)]
    unsafe fn features_z<V: Vector<Scalar = T>, const C: usize>(
        &self,
        f: &Features<T>,
        j: usize,
        v: usize,
    ) -> [V; C] {
        let m = self.m;
        let w = &f.w[j * m..][..C * m];
        // SAFETY: a block of m whole vectors.
        unsafe {
            let h = self.reference.as_ptr().add(v * m * V::LANES);
            let mut z = [V::zero(); C];
            for i in 0..C {
                z[i] = V::splat(f.b[j + i]);
            }
            for k in 0..m {
                let h = V::load(h.add(k * V::LANES));
                for i in 0..C {
                    z[i] = V::splat(*w.get_unchecked(i * m + k)).fma(h, z[i]);
                }
            }
            z
        }
    }

    /// The skin around 0 for a vector of examples, and what rounding alone needs.
    #[inline(always)]
    unsafe fn skins<V: Vector<Scalar = T>>(&self, bound: &Bound<T>, v: usize) -> (V, V) {
        // SAFETY: sizes and reaches of whole vectors.
        unsafe {
            let size = V::load(self.size.as_ptr().add(v * V::LANES));
            let reach = V::load(self.reach.as_ptr().add(v * V::LANES));
            let skin = V::splat(bound.size).fma(size, V::splat(bound.fixed));
            let skin = V::splat(bound.reach).fma(reach, skin);
            let thin = V::splat(bound.thin_size).fma(size, V::splat(bound.thin_fixed));
            (skin, thin)
        }
    }

    /// Add the examples of the vectors with new references to every list that they now belong to; false if
    /// there is no `room` for lists that have grown from `size`.
    #[inline(always)]
    unsafe fn add_vectors<V: Vector<Scalar = T>>(
        &mut self,
        f: &Features<T>,
        room: &Room,
        size: &mut usize,
    ) -> bool {
        let n = self.rows.count();
        let whole = n / TOGETHER * TOGETHER;
        // SAFETY: the caller's promise. No closures: they would not have the instruction set.
        unsafe {
            for j in (0..whole).step_by(TOGETHER) {
                if !self.add_to::<V, TOGETHER>(f, j, room, size) {
                    return false;
                }
            }
            for j in whole..n {
                if !self.add_to::<V, 1>(f, j, room, size) {
                    return false;
                }
            }
        }
        true
    }

    /// The same for the lists of C features from `first` on.
    #[inline(always)]
    unsafe fn add_to<V: Vector<Scalar = T>, const C: usize>(
        &mut self,
        f: &Features<T>,
        first: usize,
        room: &Room,
        size: &mut usize,
    ) -> bool {
        for s in 0..self.stale.len() {
            let v = self.stale[s] as usize;
            let valid = self.valid::<V, 1>(v);
            // SAFETY: the caller's promise.
            unsafe {
                let z = self.features_z::<V, C>(f, first, v);
                for i in 0..C {
                    let (skin, _) = self.skins::<V>(&f.bounds[first + i], v);
                    let key = if self.is_minus[first + i] {
                        skin.sub(z[i])
                    } else {
                        skin.add(z[i])
                    };
                    let bits = key.positive() & valid as u32;
                    if bits != 0 {
                        self.rows.add(first + i, (v * V::LANES) as u16, bits);
                    }
                }
            }
        }
        !room.is_over_after(&self.rows, size)
    }
}

multiversion! {
    /// Take the hidden vectors `h` of a tile, and with a `room` make the lists that go with them and with
    /// the references of the features. Without room lists are left as they are, and must not be used.
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
    /// Add what the pairs of a tile add to A and B, and to C.
    fn run<V, T>(tile: &mut Tile<T>, work: Work<'_, T>) {
        let Work { p, importance64, h, c, sums, .. } = work;
        assert!(h.len() == tile.count * tile.length && c.len() == h.len());
        assert!(sums.len() == p.data.len());
        // SAFETY: the instruction set of `V` is available here; entries are examples of the tile.
        unsafe {
            tile.moments.features::<V>(p, importance64, &tile.minus, h, sums);
            tile.moments.apply::<V>(h, c);
            let pairs = Pairs {
                p,
                importance: importance64,
                rows: &tile.rows,
                is_minus: &tile.is_minus,
                length: tile.length,
                h: h.as_ptr(),
                c: c.as_mut_ptr(),
            };
            pairs.run::<V>(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::references::look;
    use crate::model::params::Params;
    use crate::simd::isa::Isa;

    /// What all pairs add, of a tile whose lists hold every one of them, against sums one by one.
    fn check(count: usize) {
        let (n, m, length) = (3, 7, 8);
        let drawn = |i: usize| {
            let word = crate::stream::philox([7, 0], [i as u64, 0, 0, 0])[0];
            (word >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let w = (0..n * m).map(drawn);
        let p = Params::from_values(n, m, w, &[0.1, -0.2, 0.0], None);
        let mut h = vec![0.0; count * length];
        for (t, h) in h.chunks_exact_mut(length).enumerate() {
            (0..m).for_each(|k| h[k] = drawn(1000 + t * m + k));
        }
        let pace = Pace {
            step: 0,
            size: 1e6,
            life: 1.0,
            all: true,
            adapt: false,
            least: 0.25,
        };
        let mut features = Features::new(&p);
        let mut tile = Tile::new(n, m, length, 0, count);
        let mut c = vec![0.0; h.len()];
        let mut sums = vec![0.0; p.data.len()];
        look(Isa::Portable, &mut features, &p, pace);
        let room = Room::new(usize::MAX, 0);
        refresh(Isa::Portable, &mut tile, &features, &h, pace, Some(&room));
        let work = Work {
            p: &p,
            importance: &[],
            importance64: &[],
            h: &h,
            c: &mut c,
            lanes: &mut Aligned::zeros(0),
            sums: &mut sums,
        };
        run(Isa::Portable, &mut tile, work);
        assert_eq!(tile.counts().entries, (n * count) as u64);
        let mut want = vec![0.0; sums.len()];
        for (h, c) in h.chunks_exact(length).zip(c.chunks_exact(length)) {
            let mut want_c = [0.0; 7];
            for j in 0..n {
                let z: f64 = (0..m).map(|k| p.row(j)[k] * h[k]).sum::<f64>() + p.b()[j];
                let y = z.max(0.0);
                want[p.bias + j] += y;
                for k in 0..m {
                    want[j * m + k] += y * h[k];
                    want_c[k] += y * p.row(j)[k];
                }
            }
            assert!((0..m).all(|k| (c[k] - want_c[k]).abs() < 1e-13));
        }
        let far = sums.iter().zip(&want).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f64::max) < 1e-9);
    }

    #[test]
    fn a_tile_of_any_size_holds_all_its_pairs() {
        for count in [1, 63, 256, 32_768, LONGEST / 64 * 64] {
            if count <= 256 || !cfg!(miri) {
                check(count);
            }
        }
    }

    #[test]
    #[should_panic(expected = "entries are u16")]
    fn a_tile_that_is_too_large_is_none() {
        Tile::<f32>::new(1, 1, 16, 0, LONGEST + 1);
    }
}
