//! Shares of the examples.

use crate::kernels::dense::Dense;
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

/// Whether a step is worth the cost of threads; outside of a pool there is nobody to share with.
pub fn shared<T: Real>(p: &Params<T>, x: &Examples<T>) -> bool {
    useful_threads(p.n, x.count) > 1 && rayon::current_thread_index().is_some()
}
