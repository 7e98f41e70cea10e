//! Non-zeros in groups.

use std::ops::Range;

use crate::memory;
use crate::simd::vector::Real;
use crate::stream::Csr;

/// Non-zeros grouped by example or by feature.
#[derive(Debug, Default)]
pub struct Sparse<T> {
    /// Where each group begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The feature, or the example, of each non-zero.
    pub indices: Vec<u32>,
    /// Its value.
    pub values: Vec<T>,
}

impl<T: Real> Sparse<T> {
    /// Where group `i` lies.
    #[inline(always)]
    pub fn group(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }

    /// The rows of `x`, whose features are below `n` and become `rank[feature]` if there is a `rank`.
    pub fn from_csr(x: &Csr, n: usize, rank: Option<&[u32]>) -> Self {
        assert!(x.indices.len() == x.values.len() && x.indptr.last() == Some(&x.indices.len()));
        let nonzeros = x.indices.len();
        let rows = Sparse {
            starts: memory::copy(&x.indptr),
            indices: match rank {
                Some(rank) => {
                    memory::collect(nonzeros, x.indices.iter().map(|&i| rank[i as usize]))
                }
                None => memory::copy(&x.indices),
            },
            values: memory::collect(nonzeros, x.values.iter().map(|&v| T::from_f64(v))),
        };
        assert!(rows.indices.iter().all(|&i| (i as usize) < n));
        rows
    }

    /// The non-zeros of the groups `range` grouped the other way; `count` is the number of new groups.
    /// Inside a group the order is that of the old groups.
    pub fn transposed(&self, range: Range<usize>, count: usize) -> Self {
        let first = self.starts[range.start];
        let nonzeros = &self.indices[first..self.starts[range.end]];
        let mut starts = memory::zeros(count + 1);
        for &i in nonzeros {
            starts[i as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = memory::copy::<usize>(&starts);
        let mut indices = memory::zeros(nonzeros.len());
        let mut values = memory::zeros(nonzeros.len());
        for group in range {
            for e in self.group(group) {
                let at = &mut next[self.indices[e] as usize];
                indices[*at] = group as u32;
                values[*at] = self.values[e];
                *at += 1;
            }
        }
        Sparse {
            starts,
            indices,
            values,
        }
    }
}
