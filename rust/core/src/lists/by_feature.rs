//! Lists of the pairs (example, feature) that may matter, which stay valid while the model moves.
//!
//! As in molecular dynamics (Verlet 1967; for clusters of particles, Páll and Hess 2013), pairs are
//! sorted with a skin, and the lists are good until something has moved through the skin. A pair has
//! z = w_j . h_t + b_j. With references w', b' of the feature and h' of the example,
//!
//! ```text
//! |z - (w'.h' + b')| = |(w - w').h' + w.(h - h') + (b - b')|
//!                   <= |w - w'| |h'| + |w| |h - h'| + |b - b'|
//!                   <= r_j |h'_t| + (|w'_j| + r_j) d_t + e_j  =: skin_tj
//! ```
//!
//! as long as |w - w'| <= r_j and |b - b'| <= e_j (looked at for each feature) and |h - h'| <= d_t
//! (for each example, [`crate::lists::tile`]) hold. So a pair with w'.h' + b' < -skin is *dead*:
//! y = 0, and one with w'.h' + b' > skin is *linear*: y = z. A feature lists the pairs that may not
//! be dead; or, where that is shorter, those that may not be linear, which take part with relu(-z),
//! since y = z + relu(-z), and z comes from moments for many examples at once. What has moved too
//! far gets a new reference, and only its lists are made anew. Both references enter alike, so it
//! does not matter which of the two was taken first.
//!
//! Rounding: each of the two z is off by at most (m + 2) u (|b| + |w| |h|), and the comparison by
//! 3 u (skin + |z|). All sizes are those of the references plus what they may move, so a share
//! rho = 8 (m + 4) eps of them on top of the skin covers both; what may underflow is less than TINY.
//! A pair that is left out is therefore dead, or linear, for the z that the kernels compute, too.
//! Anything that is not a number stays listed.
//!
//! Budgets r, e and d are multiples of the learning rate, one factor each, set from how much of the
//! last budget was used; the number of steps they shall last is set from counts: of pairs looked at in
//! making lists, against pairs that are listed for the skin alone. No clock is read, so the same run
//! makes the same lists.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::lists::budgets::Budgets;
use crate::lists::rows::LONGEST;
use crate::lists::tile::{Counts, Lifetime, Pace, Tile};
use crate::memory;
use crate::model::params::Params;
use crate::simd::aligned::Aligned;
use crate::simd::vector::{Real, Vector};

/// More than any product that underflows.
const TINY: f64 = 1e-30;
/// Features are looked at for age in this many parts, one a step.
const PARTS: u64 = 64;
/// Steps between looks at the counts.
pub const LOOK: u64 = 64;
/// Tiles: their number, as long as one does not get too long, and the bytes of the hidden vectors of one.
const TILES: usize = 64;
const TILE_BYTES: usize = 1 << 18;

/// A feature lists exceptions from being linear only if the sum of their -z is at most this many times
/// the sum of the others' z, and the same with |h| as a factor: one is subtracted from the other.
/// Nothing that is not a number fulfils that.
pub const BALANCE: [f64; 2] = [4.0, 16.0];

/// What the pairs of a tile read and what they add to.
pub struct Work<'a, T> {
    pub p: &'a Params<T>,
    /// Empty when all are 1.
    pub importance: &'a [T],
    pub importance64: &'a [f64],
    /// Rows of the tile.
    pub h: &'a [T],
    pub c: &'a mut [T],
    /// Zeros, to be left as such.
    pub lanes: &'a mut Aligned<T>,
    /// Half the gradient, in the layout of the parameters.
    pub sums: &'a mut [f64],
}

/// What a feature adds to the skin: of |h'|, of d, and by itself; and what of it rounding needs.
#[derive(Clone, Copy, Default)]
pub struct Bound<T> {
    pub size: T,
    pub reach: T,
    pub fixed: T,
    pub thin_size: T,
    pub thin_fixed: T,
}

/// The references of the features.
pub struct Features<T> {
    /// w', as in [`Params`], and b'.
    pub w: Vec<T>,
    pub b: Vec<T>,
    /// What they add to skins.
    pub bounds: Vec<Bound<T>>,
    /// Squares of how far w may go.
    limit_w: Vec<T>,
    /// Squares of how far b may go.
    limit_b: Vec<T>,
    factor_w: Vec<f32>,
    factor_b: Vec<f32>,
    born: Vec<u64>,
    /// Features with a new reference in this step.
    pub rebuilt: Vec<u32>,
}

impl<T: Real> Features<T> {
    pub fn new(p: &Params<T>) -> Self {
        let n = p.n;
        let padded = n.next_multiple_of(64);
        Features {
            w: memory::zeros(p.bias),
            b: memory::zeros(padded),
            bounds: memory::filled(n, Bound::default()),
            limit_w: memory::zeros(padded),
            limit_b: memory::zeros(padded),
            factor_w: memory::filled(n, 0.5),
            factor_b: memory::filled(n, 0.5),
            born: memory::zeros(n),
            rebuilt: memory::with_capacity(2 * n + n.div_ceil(PARTS as usize)),
        }
    }

    /// Note the features that have moved too far, or all.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn look<V: Vector<Scalar = T>>(&mut self, p: &Params<T>, pace: Pace) {
        self.rebuilt.clear();
        if pace.all {
            self.rebuilt.extend(0..p.n as u32);
        } else {
            // SAFETY: the caller's promise.
            unsafe {
                self.look_at_rows::<V>(p);
                self.look_at_biases::<V>(&p.data[p.bias..], p.n);
            }
            let part = (pace.step % PARTS) as usize;
            for j in (part..p.n).step_by(PARTS as usize) {
                if pace.aged(self.born[j]) {
                    self.rebuilt.push(j as u32);
                }
            }
            self.rebuilt.sort_unstable();
            self.rebuilt.dedup();
        }
        for i in 0..self.rebuilt.len() {
            self.take_reference(p, self.rebuilt[i] as usize, pace);
        }
    }

    /// |w - w'|^2 for LANES features at a time.
    #[inline(always)]
    unsafe fn look_at_rows<V: Vector<Scalar = T>>(&mut self, p: &Params<T>) {
        let m = p.m;
        let mut parts = [V::Scalar::default(); 16];
        for j0 in (0..p.n).step_by(V::LANES) {
            let count = V::LANES.min(p.n - j0);
            // SAFETY: whole vectors inside rows; the rest one by one. At most 16 lanes.
            unsafe {
                let mut sums = [const { std::mem::MaybeUninit::<V>::uninit() }; 16];
                let sums = sums.as_mut_ptr().cast::<V>();
                for i in 0..V::LANES {
                    let mut sum = V::zero();
                    if i < count {
                        let (new, old) = (p.row(j0 + i), &self.w[(j0 + i) * m..][..m]);
                        let whole = m / V::LANES * V::LANES;
                        for k in (0..whole).step_by(V::LANES) {
                            let d = V::load(new.as_ptr().add(k)).sub(V::load(old.as_ptr().add(k)));
                            sum = d.fma(d, sum);
                        }
                        if whole < m {
                            parts.fill(T::default());
                            for k in whole..m {
                                parts[k - whole] = new[k] - old[k];
                            }
                            let d = V::load(parts.as_ptr());
                            sum = d.fma(d, sum);
                        }
                    }
                    sums.add(i).write(sum);
                }
                let limit = V::load(self.limit_w.as_ptr().add(j0));
                let mut mask = V::sums(sums).sub(limit).positive() & low_bits(count);
                while mask != 0 {
                    self.rebuilt.push(j0 as u32 + mask.trailing_zeros());
                    mask &= mask - 1;
                }
            }
        }
    }

    /// |b - b'|^2.
    #[inline(always)]
    unsafe fn look_at_biases<V: Vector<Scalar = T>>(&mut self, b: &[T], n: usize) {
        assert!(b.len() == self.b.len() && b.len() == self.limit_b.len());
        assert!(b.len().is_multiple_of(V::LANES));
        for j0 in (0..n).step_by(V::LANES) {
            // SAFETY: whole vectors.
            let mut mask = unsafe {
                let d = V::load(b.as_ptr().add(j0)).sub(V::load(self.b.as_ptr().add(j0)));
                let limit = V::load(self.limit_b.as_ptr().add(j0));
                d.mul(d).sub(limit).positive() & low_bits(V::LANES.min(n - j0))
            };
            while mask != 0 {
                self.rebuilt.push(j0 as u32 + mask.trailing_zeros());
                mask &= mask - 1;
            }
        }
    }

    /// Feature j's reference is where it is now.
    fn take_reference(&mut self, p: &Params<T>, j: usize, pace: Pace) {
        let m = p.m;
        let (mut size, mut far): (f64, f64) = (0.0, 0.0);
        let old = &mut self.w[j * m..][..m];
        for (x, old) in p.row(j).iter().zip(old.iter_mut()) {
            let d = x.to_f64() - old.to_f64();
            size += x.to_f64() * x.to_f64();
            far += d * d;
            *old = *x;
        }
        let b = p.b()[j].to_f64();
        if pace.adapt {
            let used_w = (far / self.limit_w[j].to_f64()).sqrt();
            let used_b = (b - self.b[j].to_f64()).abs() / self.limit_b[j].to_f64().sqrt();
            self.factor_w[j] = pace.next_factor(self.factor_w[j], used_w, self.born[j]);
            self.factor_b[j] = pace.next_factor(self.factor_b[j], used_b, self.born[j]);
        }
        self.born[j] = pace.step;
        self.b[j] = p.b()[j];
        // The squares that are compared with these limits are off by (m + 2) u.
        let shrink = 1.0 - 1e-3;
        let radius = pace.budget(self.factor_w[j]) * (m as f64).sqrt();
        let fixed = pace.budget(self.factor_b[j]);
        self.limit_w[j] = T::from_f64(radius * radius * shrink);
        self.limit_b[j] = T::from_f64(fixed * fixed * shrink);
        let rho = 8.0 * (m + 4) as f64 * T::EPSILON;
        let reach = size.sqrt() * (1.0 + 1e-6) + radius;
        let up = |x: f64| T::from_f64(x * (1.0 + 1e-5));
        self.bounds[j] = Bound {
            size: up(radius + rho * reach),
            reach: up(reach * (1.0 + rho)),
            fixed: up(fixed + rho * (b.abs() + fixed) + TINY),
            thin_size: up(rho * reach),
            thin_fixed: up(rho * b.abs() + TINY),
        };
    }
}

fn low_bits(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}

/// The lists of a run.
pub struct Lists<T> {
    /// References of the features.
    pub features: Features<T>,
    /// The examples in tiles.
    pub tiles: Vec<Tile<T>>,
    /// Whether the next step takes all references anew.
    pub fresh: bool,
    m: usize,
    length: usize,
    vectors: usize,
    /// How long the lists shall last.
    pub life: Lifetime,
    /// Entries that there may be.
    pub limit: usize,
}

impl<T: Real> Lists<T> {
    /// For `count` examples with `nonzeros` non-zeros and rows of `length`.
    pub fn new(p: &Params<T>, count: usize, nonzeros: usize, length: usize) -> Self {
        let (n, m) = (p.n, p.m);
        let lanes = T::Portable::LANES;
        let tile = tile_size(count, length * size_of::<T>());
        let tiles = (0..count)
            .step_by(tile)
            .map(|t| Tile::new(n, m, length, t, tile.min(count - t)))
            .collect();
        Lists {
            features: Features::new(p),
            tiles,
            fresh: true,
            m,
            length,
            vectors: count.div_ceil(lanes),
            life: Lifetime::new(),
            limit: entries_limit(p, count, nonzeros),
        }
    }

    /// What is kept when the lists are made anew.
    pub fn budgets(&self) -> Budgets {
        let Features {
            factor_w, factor_b, ..
        } = &self.features;
        let features = factor_w.iter().zip(factor_b).map(|(&w, &b)| [w, b]);
        let vectors = self.tiles.iter().map(|tile| tile.factors().len()).sum();
        let examples = self.tiles.iter().flat_map(Tile::factors).copied();
        Budgets {
            features: memory::collect(factor_w.len(), features),
            examples: memory::collect(vectors, examples),
            life: self.life.steps,
            sorted: None,
            excess: 0.0,
        }
    }

    /// The inverse, for lists without entries.
    pub fn resume(&mut self, budgets: &Budgets) {
        let Features {
            factor_w, factor_b, ..
        } = &mut self.features;
        let factors = factor_w.iter_mut().zip(factor_b);
        factors
            .zip(&budgets.features)
            .for_each(|((w, b), &[new_w, new_b])| (*w, *b) = (new_w, new_b));
        let mut from = &budgets.examples[..];
        for tile in &mut self.tiles {
            let factors = tile.factors_mut();
            let (these, rest) = from.split_at(factors.len());
            factors.copy_from_slice(these);
            from = rest;
        }
        self.life = Lifetime::resumed(budgets.life);
    }

    /// Sums over tiles.
    pub fn counts(&self) -> Counts {
        self.tiles.iter().map(Tile::counts).sum()
    }

    /// Cycles of an entry, of a list that is not empty, and of a vector of pairs looked at in making lists,
    /// as measured (`cargo bench -- pairs`).
    fn prices(&self) -> (f64, f64, f64) {
        let vectors = self.length.div_ceil(T::Portable::LANES) as f64;
        (
            7.0 * vectors,
            30.0 + 20.0 * vectors,
            0.6 * self.m as f64 + 4.0,
        )
    }

    /// Every [`LOOK`] steps: set the life of lists; the cycles of a step, roughly.
    pub fn review(&mut self) -> f64 {
        self.tiles.iter_mut().for_each(Tile::sort);
        let counts = self.counts();
        let (entry, list, vector) = self.prices();
        self.life.review(counts, entry, vector);
        let m = self.m as f64;
        let pairs = (self.vectors * self.features.born.len()) as f64;
        counts.entries as f64 * entry
            + counts.rows as f64 * list
            + counts.minus as f64 * (8.0 + 1.5 * m * m)
            + 2.0 * pairs * vector / self.life.steps
    }
}

/// Entries that lists may have: some for each number that a run keeps anyway, and 128 MB in any case.
pub fn entries_limit<T>(p: &Params<T>, count: usize, nonzeros: usize) -> usize {
    let kept = (p.n + count).saturating_mul(p.m + 1);
    kept.saturating_add(nonzeros).saturating_mul(8).max(1 << 26)
}

/// Examples of a tile: a multiple of a vector, small enough for the caches, few enough in number, and
/// never more than rows can hold.
fn tile_size(count: usize, row: usize) -> usize {
    let fit = (TILE_BYTES / row).clamp(256, 8192).next_multiple_of(64);
    let few = count.div_ceil(TILES).next_multiple_of(64);
    fit.max(few).min(LONGEST / 64 * 64)
}

/// An order of the points `h`, (count, m), in which each `lanes` of them are a compact cluster: the
/// median along the widest side splits, down to that many. Less good if `cancel` was set meanwhile.
pub fn clusters<T: Real>(h: &[T], m: usize, lanes: usize, cancel: &AtomicBool) -> Vec<u32> {
    let count = h.len() / m;
    let mut order: Vec<u32> = memory::collect(count, 0..count as u32);
    let mut parts = Vec::from([std::ops::Range {
        start: 0,
        end: order.len(),
    }]);
    while let Some(part) = parts.pop() {
        if part.len() <= lanes || cancel.load(Ordering::Relaxed) {
            continue;
        }
        let k = widest(h, m, &order[part.clone()]);
        let key = |t: &u32| h[*t as usize * m + k].to_f64();
        let half = (part.len() / 2).next_multiple_of(lanes);
        order[part.clone()]
            .select_nth_unstable_by(half, |a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
        parts.push(part.start..part.start + half);
        parts.push(part.start + half..part.end);
    }
    order
}

/// The coordinate with the largest range.
fn widest<T: Real>(h: &[T], m: usize, order: &[u32]) -> usize {
    let mut best = (0, -1.0);
    for k in 0..m {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &t in order {
            let x = h[t as usize * m + k].to_f64();
            low = low.min(x);
            high = high.max(x);
        }
        if high - low > best.1 {
            best = (k, high - low);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::tile_size;
    use crate::lists::rows::LONGEST;

    #[test]
    fn no_tile_has_more_examples_than_rows_can_hold() {
        for row in [64, 128, 1 << 12, 1 << 20] {
            let powers = (0..=32).map(|e| 1usize << e);
            for count in powers
                .flat_map(|p| [p - 1, p, p + 1, p / 2 * 3])
                .chain([4_193_000])
            {
                let tile = tile_size(count, row);
                assert!(tile.is_multiple_of(64) && (64..=LONGEST).contains(&tile));
            }
        }
        // As ever, where it does not matter.
        for (count, tile) in [
            (1, 4096),
            (262_145, 4160),
            (500_000, 7872),
            (4_190_208, 65_472),
        ] {
            assert_eq!(tile_size(count, 64), tile);
        }
    }
}
