//! The lists of a run by feature: tiles of examples, and how long lists last.
//!
//! See [`crate::lists::skin`] for the bounds.

use crate::lists::budgets::Budgets;
use crate::lists::pace::{Counts, Lifetime};
use crate::lists::references::Features;
use crate::lists::rows::LONGEST;
use crate::lists::tile::Tile;
use crate::lists::work::entries_limit;
use crate::memory;
use crate::model::params::Params;
use crate::simd::vector::{Real, Vector};

/// Tiles: their number, as long as one does not get too long, and the bytes of the hidden vectors of one.
const TILES: usize = 64;
const TILE_BYTES: usize = 1 << 18;

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

/// Examples of a tile: a multiple of a vector, small enough for the caches, few enough in number, and
/// never more than rows can hold.
pub fn tile_size(count: usize, row: usize) -> usize {
    let fit = (TILE_BYTES / row).clamp(256, 8192).next_multiple_of(64);
    let few = count.div_ceil(TILES).next_multiple_of(64);
    fit.max(few).min(LONGEST / 64 * 64)
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
