//! Lists of examples for groups of LANES similar features, tile by tile of similar examples.
//!
//! The bounds are those of [`crate::lists::skin`]; here vectors run over features, and m is
//! small. Features are alike if the direction of (R w, b) is, R being the length of a hidden
//! vector: that is what decides the signs of z. Features that are alike lie together in the
//! parameters, so that groups are loaded as they are, and so do examples that are alike, so that
//! for most tiles a group is dead or linear altogether. Groups that would list most examples of a
//! tile list the exceptions from being linear instead, with the sign of w and b turned, so that
//! kernels need not know.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::lists::budgets::Budgets;
use crate::lists::clusters::clusters;
use crate::lists::group_references::{Groups, look};
use crate::lists::group_tile::{GroupTile, refresh, run};
use crate::lists::listed::{Listed, Lists, Orders};
use crate::lists::pace::{Counts, Lifetime, Pace, REVIEW};
use crate::lists::rows::Room;
use crate::lists::work::Work;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// Bytes of C of a tile: what the first cache holds beside the rest.
const C_BYTES: usize = 1 << 15;
/// Bytes that the bits that tell who is listed may take in any case.
const BITS: usize = 1 << 26;

/// Lists by groups of features.
pub struct ByGroup<T> {
    n: usize,
    m: usize,
    /// References of the features.
    groups: Groups<T>,
    /// The examples in tiles.
    tiles: Vec<GroupTile<T>>,
    /// Entries without a skin when last sorted; cycles that more of them have cost since; and what it
    /// would cost to sort anew.
    sorted: Option<u64>,
    excess: f64,
    sort_cost: f64,
}

impl<T: Real> ByGroup<T> {
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
        ByGroup {
            n: p.n,
            m: p.m,
            tiles: (0..count).step_by(size).map(tile).collect(),
            groups,
            sorted: None,
            excess: 0.0,
            sort_cost: sort_cost(p, count, nonzeros),
        }
    }

    /// Factors of the examples, by where these lie.
    fn example_factors(&self) -> Vec<f32> {
        let count = self.tiles.iter().map(|tile| tile.count).sum();
        let factors = self.tiles.iter().flat_map(|tile| &tile.factor);
        memory::collect(count, factors.copied())
    }

    /// Orders in which similar features, and similar examples, lie together. In a tile, those with few
    /// non-zeros come first, so that loops over them are predictable.
    fn orders(&self, p: &Params<T>, h: &[T], x: &Examples<T>, cancel: &AtomicBool) -> Orders {
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

    /// Features and examples now lie in these orders: their budgets go with them.
    fn reorder(&mut self, (features, examples): &Orders) {
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
        (self.sorted, self.excess) = (None, 0.0);
    }
}

impl<T: Real> Lists<T> for ByGroup<T> {
    fn budgets(&self, life: f64) -> Budgets {
        Budgets {
            features: memory::copy(&self.groups.factors),
            examples: self.example_factors(),
            life,
            sorted: self.sorted,
            excess: self.excess,
        }
    }

    fn resume(&mut self, budgets: &Budgets) {
        self.groups.factors.clone_from(&budgets.features);
        for tile in &mut self.tiles {
            let these = tile.first..tile.first + tile.count;
            tile.factor.copy_from_slice(&budgets.examples[these]);
        }
        (self.sorted, self.excess) = (budgets.sorted, budgets.excess);
    }

    fn counts(&self) -> Counts {
        self.tiles.iter().map(GroupTile::counts).sum()
    }

    fn size(&self) -> usize {
        self.tiles.iter().map(GroupTile::size).sum()
    }

    fn built(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.built).sum()
    }

    fn review(&mut self, life: &mut Lifetime) -> f64 {
        let counts = self.counts();
        let m = self.m as f64;
        // Between what the instructions say and what was measured beside all pairs (see `dense_cost`).
        let (entry, vector) = (3.5 * m - 1.0, m + 6.0);
        life.review(counts, entry, vector);
        let sorted = *self.sorted.get_or_insert(counts.bare);
        self.excess += counts.bare.saturating_sub(sorted) as f64 * entry * REVIEW as f64;
        let examples: usize = self.tiles.iter().map(|tile| tile.count).sum();
        let pairs = (self.groups.count * examples) as f64;
        counts.entries as f64 * entry
            + counts.rows as f64 * (30.0 + 9.0 * m)
            + counts.minus as f64 * (15.0 + 7.0 * m + 1.5 * m * m)
            + (self.groups.count * self.tiles.len()) as f64 * 3.0
            + self.n as f64 * (m + 1.0)
            + pairs * vector / life.steps
    }

    fn look(&mut self, isa: Isa, p: &Params<T>, pace: Pace) {
        look(isa, &mut self.groups, p, pace);
    }

    fn tiles(&mut self) -> Vec<Box<dyn Listed<T> + '_>> {
        let (groups, tiles) = (&self.groups, &mut self.tiles);
        let one = |tile| Box::new((groups, tile)) as Box<dyn Listed<T> + '_>;
        memory::collect(tiles.len(), tiles.iter_mut().map(one))
    }

    fn is_unsorted(&self) -> bool {
        self.excess > self.sort_cost
    }

    fn sort(
        &mut self,
        p: &Params<T>,
        h: &[T],
        x: &Examples<T>,
        cancel: &AtomicBool,
    ) -> Option<Orders> {
        let orders = self.orders(p, h, x, cancel);
        self.reorder(&orders);
        Some(orders)
    }
}

impl<T: Real> Listed<T> for (&Groups<T>, &mut GroupTile<T>) {
    fn span(&self) -> Range<usize> {
        self.1.first..self.1.first + self.1.count
    }

    fn refresh(&mut self, isa: Isa, h: &[T], pace: Pace, room: Option<&Room>) {
        refresh(isa, self.1, self.0, h, pace, room);
    }

    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        run(isa, self.1, work);
    }
}

/// Cycles of sorting n features and `count` examples, and of making all lists anew, roughly.
fn sort_cost<T: Real>(p: &Params<T>, count: usize, nonzeros: usize) -> f64 {
    let (n, m) = (p.n as f64, p.m as f64);
    let points = n * (m + 1.0) * 20.0 * n.log2() + count as f64 * m * 20.0;
    points + 30.0 * nonzeros as f64 + n / T::Portable::LANES as f64 * count as f64 * (m + 5.0)
}
