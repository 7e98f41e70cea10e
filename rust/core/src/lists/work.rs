//! What the pairs of a tile work on.

use crate::model::params::Params;
use crate::simd::aligned::Aligned;
use crate::simd::vector::Real;

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

impl<T: Real> Work<'_, T> {
    /// That all of this is as long as `count` examples and `groups` groups of so many lanes need, for m that
    /// is small.
    pub fn assert_fits(&self, count: usize, groups: usize, lanes: usize) {
        let p = self.p;
        assert!(self.h.len() == count * p.m && self.c.len() == self.h.len());
        assert!(self.sums.len() == p.data.len() && groups == p.n.div_ceil(lanes));
        for len in [self.importance.len(), self.importance64.len()] {
            assert!(len == 0 || len >= groups * lanes);
        }
    }
}

/// Entries that lists may have: some for each number that a run keeps anyway, and 128 MB in any case. With
/// m = 8 and many more examples than features that is room for a twentieth of all pairs.
pub fn entries_limit<T>(p: &Params<T>, count: usize, nonzeros: usize) -> usize {
    let kept = (p.n + count).saturating_mul(p.m + 1);
    kept.saturating_add(nonzeros)
        .saturating_mul(24)
        .max(1 << 26)
}
