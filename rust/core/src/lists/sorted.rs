//! Lists for small m, made of what is alike: features and examples are sorted.
//!
//! The bounds are those of [`crate::lists::skin`]. With few examples, groups of LANES similar features list
//! examples ([`crate::lists::group_tile`]); with many, features list blocks of LANES similar examples
//! ([`crate::lists::block_tile`]). The more compact of the two is dead or linear altogether more often.
//!
//! Features are alike if the direction of (R w, b) is, R being the length of a hidden vector: that is
//! what decides the signs of z. Features that are alike lie together in the parameters, so that groups
//! are loaded as they are, and so do examples that are alike, tile by tile. Who would list most of a
//! tile lists the exceptions from being linear instead, with the sign of w and b turned, so that kernels
//! need not know.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::lists::block_tile::BlockTile;
use crate::lists::budgets::Budgets;
use crate::lists::clusters::clusters;
use crate::lists::group_references::{Groups, look};
use crate::lists::group_tile::GroupTile;
use crate::lists::listed::{Listed, Lists, Orders};
use crate::lists::pace::{Counts, Lifetime, Pace, REVIEW};
use crate::lists::rows::Room;
use crate::lists::sorted_tile::SortedTile;
use crate::lists::work::Work;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// Bytes of bits that tell who is listed which are small in any case.
const BITS: usize = 1 << 26;

/// Lists of sorted features and examples.
pub struct Sorted<T, K> {
    n: usize,
    m: usize,
    /// References of the features.
    groups: Groups<T>,
    /// The examples in tiles.
    tiles: Vec<K>,
    /// Entries without a skin when last sorted; cycles that more of them have cost since; and what it
    /// would cost to sort anew.
    sorted: Option<u64>,
    excess: f64,
    sort_cost: f64,
}

/// Such lists for `count` examples with `nonzeros` non-zeros.
pub fn lists<T: Real>(p: &Params<T>, count: usize, nonzeros: usize) -> Box<dyn Lists<T>> {
    if blocks_pay(p.n, count) {
        Box::new(Sorted::<T, BlockTile<T>>::new(p, count, nonzeros))
    } else {
        Box::new(Sorted::<T, GroupTile<T>>::new(p, count, nonzeros))
    }
}

/// Whether the bits that tell who is listed are small beside what a run keeps anyway.
pub fn fits<T: Real>(p: &Params<T>, count: usize, nonzeros: usize) -> bool {
    let bytes = if blocks_pay(p.n, count) {
        BlockTile::<T>::bytes(p.n, p.m, count)
    } else {
        GroupTile::<T>::bytes(p.n, p.m, count)
    };
    bytes <= BITS.max(8 * (nonzeros + (p.n + count) * (p.m + 1)))
}

/// Whether blocks of examples are the faster ones, as measured from m = 1 to 6: at n = 10,000 groups of features are
/// at T = 1,000, and from T = 2,000 on blocks.
fn blocks_pay(n: usize, count: usize) -> bool {
    5 * count >= n
}

impl<T: Real, K: SortedTile<T>> Sorted<T, K> {
    fn new(p: &Params<T>, count: usize, nonzeros: usize) -> Self {
        let groups = Groups::new(p.n, p.m);
        let size = K::examples(p.m);
        let tile = |t| K::new(groups.count, p.m, t, size.min(count - t));
        Sorted {
            n: p.n,
            m: p.m,
            tiles: (0..count).step_by(size).map(tile).collect(),
            groups,
            sorted: None,
            excess: 0.0,
            sort_cost: sort_cost(p, count, nonzeros),
        }
    }

    /// Number of examples.
    fn count(&self) -> usize {
        self.tiles.last().map_or(0, |tile| tile.span().end)
    }

    /// Factors of the examples, by where these lie.
    fn example_factors(&self) -> Vec<f32> {
        let factors = self.tiles.iter().flat_map(K::factors);
        memory::collect(self.count(), factors.copied())
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
        let mut examples = clusters(h, m, K::examples(m), cancel);
        for tile in &self.tiles {
            let examples = &mut examples[tile.span()];
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
            let span = tile.span();
            let factors = tile.factors_mut().iter_mut();
            factors
                .zip(&examples[span])
                .for_each(|(factor, &t)| *factor = old[t as usize]);
        }
        (self.sorted, self.excess) = (None, 0.0);
    }
}

impl<T: Real, K: SortedTile<T>> Lists<T> for Sorted<T, K> {
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
            let these = tile.span();
            tile.factors_mut().copy_from_slice(&budgets.examples[these]);
        }
        (self.sorted, self.excess) = (budgets.sorted, budgets.excess);
    }

    fn counts(&self) -> Counts {
        self.tiles.iter().map(K::counts).sum()
    }

    fn size(&self) -> usize {
        self.tiles.iter().map(K::size).sum()
    }

    fn built(&self) -> u64 {
        self.tiles.iter().map(K::built).sum()
    }

    fn review(&mut self, life: &mut Lifetime) -> f64 {
        let counts = self.counts();
        let prices = K::prices(self.m);
        life.review(counts, prices.entry, prices.vector);
        let sorted = *self.sorted.get_or_insert(counts.bare);
        let more = counts.bare.saturating_sub(sorted) as f64;
        self.excess += more * prices.entry * REVIEW as f64;
        let pairs = (self.groups.count * self.count()) as f64;
        counts.entries as f64 * prices.entry
            + counts.rows as f64 * prices.row
            + counts.minus as f64 * prices.minus
            + (self.groups.count * self.tiles.len()) as f64 * prices.group
            + self.n as f64 * (self.m as f64 + 1.0)
            + pairs * prices.vector / life.steps
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

    fn sort(&mut self, p: &Params<T>, h: &[T], x: &Examples<T>, cancel: &AtomicBool) -> Orders {
        let orders = self.orders(p, h, x, cancel);
        self.reorder(&orders);
        orders
    }
}

impl<T: Real, K: SortedTile<T>> Listed<T> for (&Groups<T>, &mut K) {
    fn span(&self) -> Range<usize> {
        self.1.span()
    }

    fn refresh(&mut self, isa: Isa, h: &[T], pace: Pace, room: Option<&Room>) {
        self.1.refresh(isa, self.0, h, pace, room);
    }

    fn run(&mut self, isa: Isa, work: Work<'_, T>) {
        self.1.run(isa, work);
    }
}

/// Cycles of sorting n features and `count` examples, and of making all lists anew, roughly.
fn sort_cost<T: Real>(p: &Params<T>, count: usize, nonzeros: usize) -> f64 {
    let (n, m) = (p.n as f64, p.m as f64);
    let points = n * (m + 1.0) * 20.0 * n.log2() + count as f64 * m * 20.0;
    points + 30.0 * nonzeros as f64 + n / T::Portable::LANES as f64 * count as f64 * (m + 5.0)
}
