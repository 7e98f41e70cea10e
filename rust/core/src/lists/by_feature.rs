//! The lists of a run by feature: tiles of examples, and the references of the features.
//!
//! See [`crate::lists::skin`] for the bounds.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::lists::budgets::Budgets;
use crate::lists::clusters::clusters;
use crate::lists::listed::{Listed, Lists, Orders};
use crate::lists::pace::{Counts, Lifetime, Pace};
use crate::lists::references::{Features, look};
use crate::lists::rows::{LONGEST, Room};
use crate::lists::tile::{Tile, refresh, run};
use crate::lists::work::Work;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::isa::Isa;
use crate::simd::vector::{Real, Vector};

/// Tiles: their number, as long as one does not get too long, the bytes of the hidden vectors of one, and
/// examples that it has at least: every tile goes through W and the sums, which are large where hidden
/// vectors are.
const TILES: usize = 64;
const TILE_BYTES: usize = 1 << 18;
const LEAST: usize = 1024;

/// Lists by feature.
pub struct ByFeature<T> {
    /// References of the features.
    features: Features<T>,
    /// The examples in tiles.
    tiles: Vec<Tile<T>>,
    m: usize,
    length: usize,
    vectors: usize,
}

impl<T: Real> ByFeature<T> {
    /// For `count` examples with rows of `length`.
    pub fn new(p: &Params<T>, count: usize, length: usize) -> Self {
        let (n, m) = (p.n, p.m);
        let lanes = T::Portable::LANES;
        let tile = tile_size(count, length * size_of::<T>());
        let tiles = (0..count)
            .step_by(tile)
            .map(|t| Tile::new(n, m, length, t, tile.min(count - t)))
            .collect();
        ByFeature {
            features: Features::new(p),
            tiles,
            m,
            length,
            vectors: count.div_ceil(lanes),
        }
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
}

impl<T: Real> Lists<T> for ByFeature<T> {
    fn budgets(&self, life: f64) -> Budgets {
        let Features {
            factor_w, factor_b, ..
        } = &self.features;
        let features = factor_w.iter().zip(factor_b).map(|(&w, &b)| [w, b]);
        let vectors = self.tiles.iter().map(|tile| tile.factors().len()).sum();
        let examples = self.tiles.iter().flat_map(Tile::factors).copied();
        Budgets {
            features: memory::collect(factor_w.len(), features),
            examples: memory::collect(vectors, examples),
            life,
            sorted: None,
            excess: 0.0,
        }
    }

    fn resume(&mut self, budgets: &Budgets) {
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
    }

    fn counts(&self) -> Counts {
        self.tiles.iter().map(Tile::counts).sum()
    }

    fn size(&self) -> usize {
        self.tiles.iter().map(Tile::size).sum()
    }

    fn built(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.built).sum()
    }

    fn review(&mut self, life: &mut Lifetime) -> f64 {
        self.tiles.iter_mut().for_each(Tile::sort);
        let counts = self.counts();
        let (entry, list, vector) = self.prices();
        life.review(counts, entry, vector);
        let m = self.m as f64;
        let pairs = (self.vectors * self.features.born.len()) as f64;
        counts.entries as f64 * entry
            + counts.rows as f64 * list
            + counts.minus as f64 * (8.0 + 1.5 * m * m)
            + pairs * vector / life.steps
    }

    fn look(&mut self, isa: Isa, p: &Params<T>, pace: Pace) {
        look(isa, &mut self.features, p, pace);
    }

    /// Similar examples into one vector: a list then has several entries in it, or none. Where a feature
    /// lies does not matter.
    fn sort(&mut self, p: &Params<T>, h: &[T], _x: &Examples<T>, cancel: &AtomicBool) -> Orders {
        let lanes = T::Portable::LANES;
        let examples = clusters(h, self.length, lanes, cancel);
        let factors = self.tiles.iter().flat_map(Tile::factors);
        let old = memory::collect(self.vectors, factors.copied());
        let new = self.tiles.iter_mut().flat_map(Tile::factors_mut);
        for (factor, these) in new.zip(examples.chunks(lanes)) {
            let sum: f32 = these.iter().map(|&t| old[t as usize / lanes]).sum();
            *factor = sum / these.len() as f32;
        }
        (memory::collect(p.n, 0..p.n as u32), examples)
    }

    fn tiles(&mut self) -> Vec<Box<dyn Listed<T> + '_>> {
        let (features, tiles) = (&self.features, &mut self.tiles);
        let one = |tile| Box::new((features, tile)) as Box<dyn Listed<T> + '_>;
        memory::collect(tiles.len(), tiles.iter_mut().map(one))
    }
}

impl<T: Real> Listed<T> for (&Features<T>, &mut Tile<T>) {
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

/// Examples of a tile: a multiple of a vector, small enough for the caches, few enough in number, and
/// never more than rows can hold.
pub fn tile_size(count: usize, row: usize) -> usize {
    let fit = (TILE_BYTES / row).clamp(LEAST, 8192).next_multiple_of(64);
    let few = count.div_ceil(TILES).next_multiple_of(64);
    fit.max(few).min(LONGEST / 64 * 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::params::row_length;
    use crate::stream::Csr;

    #[test]
    fn similar_examples_come_into_one_vector_with_what_they_may_move() {
        // Two directions, in turn; and as many examples of each as fill three vectors.
        let (m, lanes) = (7, 16);
        let length = row_length::<f32>(m);
        let p = Params::<f32>::from_values(2, m, (0..2 * m).map(|_| 0.0), &[0.0; 2], None);
        let count = 6 * lanes;
        let mut h = vec![0.0; count * length];
        for t in 0..count {
            h[t * length] = if t % 2 == 0 { 1.0 } else { -1.0 } * (1.0 + 0.001 * t as f32);
        }
        let mut lists = ByFeature::new(&p, count, length);
        let budgets = Budgets {
            examples: (1..=6).map(|v| v as f32).collect(),
            ..lists.budgets(16.0)
        };
        lists.resume(&budgets);
        let x = Csr {
            indptr: vec![0; count + 1],
            indices: Vec::new(),
            values: Vec::new(),
        };
        let x = Examples::new(&x, 2, None);
        let (features, examples) = lists.sort(&p, &h, &x, &AtomicBool::new(false));
        assert_eq!(features, [0, 1]);
        let mut all = examples.clone();
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..count as u32));
        let new = lists.budgets(16.0).examples;
        for (these, factor) in examples.chunks(lanes).zip(new) {
            assert!(these.iter().all(|t| t % 2 == these[0] % 2));
            let sum: u32 = these.iter().map(|t| t / lanes as u32 + 1).sum();
            assert!((factor - sum as f32 / lanes as f32).abs() < 1e-6);
        }
    }

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
        // Many bytes, and few passes through W.
        assert!(
            [512, 1024, 2048]
                .iter()
                .all(|&row| tile_size(1000, row) == 1024)
        );
    }
}
