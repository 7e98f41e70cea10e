//! A walk through lists of a given shape, timed: what benchmarks read.

use std::time::Instant;

use crate::lists::by_feature::tile_size;
use crate::lists::tile::{Tile, run};
use crate::lists::work::Work;
use crate::model::params::{Params, SMALL, row_length};
use crate::simd::aligned::Aligned;
use crate::simd::isa::Isa;
use crate::simd::vector::Real;
use crate::stream::philox;

/// The shape of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// Features.
    pub n: usize,
    /// Hidden dimensions, at least 7.
    pub m: usize,
    /// Entries of each list: different examples, in order.
    pub entries: usize,
}

/// Shortest time of `rounds` walks through lists of random examples of one tile, in seconds.
///
/// # Panics
/// If the lists are longer than there are examples, or m is so small that lists are by group.
pub fn walk<T: Real>(isa: Isa, shape: Walk, rounds: usize) -> f64 {
    let Walk { n, m, entries } = shape;
    let length = row_length::<T>(m);
    let count = tile_size(1, length * size_of::<T>());
    assert!(entries <= count && m > SMALL);
    let word = |i: usize, kind: u64| philox([kind, 0], [i as u64, 0, 0, 0])[0];
    let drawn = |i: usize, kind: u64| (word(i, kind) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let w = (0..n * m).map(|i| T::from_f64(drawn(i, 1)));
    let p = Params::from_values(n, m, w, &vec![T::default(); n], None);
    let mut h = Aligned::zeros(count * length);
    for (t, row) in h.chunks_exact_mut(length).enumerate() {
        (0..m).for_each(|k| row[k] = T::from_f64(drawn(t * m + k, 2)));
    }
    let mut tile = Tile::new(n, m, length, 0, count);
    let mut picked = Vec::new();
    for j in 0..n {
        // One of each stretch of count / entries examples.
        picked.clear();
        picked.extend((0..entries).map(|i| {
            let (from, to) = (i * count / entries, (i + 1) * count / entries);
            (from + word(j * entries + i, 3) as usize % (to - from)) as u16
        }));
        tile.list(j, &picked);
    }
    tile.sort();
    let (mut c, mut sums) = (Aligned::zeros(h.len()), vec![0.0; p.data.len()]);
    let mut lanes = Aligned::zeros(0);
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let now = Instant::now();
        let work = Work {
            p: &p,
            importance: &[],
            importance64: &[],
            h: &h,
            c: &mut c,
            lanes: &mut lanes,
            sums: &mut sums,
        };
        run(isa, &mut tile, work);
        best = best.min(now.elapsed().as_secs_f64());
    }
    std::hint::black_box((&c, &sums));
    best
}
