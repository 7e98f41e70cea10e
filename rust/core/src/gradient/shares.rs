//! Shares of the examples.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use crate::kernels::dense::Dense;
use crate::memory;
use crate::model::examples::Examples;
use crate::model::params::Params;
use crate::simd::aligned::Aligned;
use crate::simd::vector::Real;

/// At most this many shares of the examples.
pub const SHARES: usize = 8;
/// Examples that are worth a share.
pub const SHARE: usize = 4096;
/// Pairs from which on a step is worth the cost of threads.
const PARALLEL: usize = 20_000_000;

/// Buffers of a share of the examples.
pub struct Share<T> {
    pub dense: Dense<T>,
    /// C of a block of examples, (examples, m).
    pub c: Vec<f64>,
    /// Sums, packed like the features, or in the layout of the parameters.
    pub sums: Aligned<f64>,
    /// C of a tile, by lanes; zeros between tiles.
    pub lanes: Aligned<T>,
    /// Whether the sums are not all 0.
    pub used: bool,
}

pub fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
}

/// Examples of a share: whole blocks of the dense kernel.
pub fn share_size(count: usize, shares: usize, block: usize) -> usize {
    count.div_ceil(shares).next_multiple_of(block)
}

/// Threads that a step for that many features and examples can use at one time.
pub fn useful_threads(n: usize, count: usize) -> usize {
    if n.saturating_mul(count) >= PARALLEL {
        SHARES
    } else {
        1
    }
}

/// What a step is made from.
#[derive(Clone, Copy)]
pub struct Step<'a, T> {
    pub p: &'a Params<T>,
    pub x: &'a Examples<T>,
    pub cancel: &'a AtomicBool,
    /// Whether it is worth the cost of threads.
    pub threads: bool,
}

impl<'a, T: Real> Step<'a, T> {
    /// Outside of a pool there are no threads to share the work.
    pub fn new(p: &'a Params<T>, x: &'a Examples<T>, cancel: &'a AtomicBool) -> Self {
        let threads = useful_threads(p.n, x.count) > 1 && rayon::current_thread_index().is_some();
        Step {
            p,
            x,
            cancel,
            threads,
        }
    }
}

/// Do `work` for each of `items`: at the same time if there are `threads`, else one after the other.
pub fn each<I: Send>(
    threads: bool,
    items: impl ExactSizeIterator<Item = I>,
    work: impl Fn(I) + Send + Sync,
) {
    if threads {
        let items = memory::collect(items.len(), items);
        items.into_par_iter().for_each(work);
    } else {
        items.for_each(work);
    }
}
