//! The examples of an update as the kernels read them: by example and by feature.

use std::ops::Range;

use crate::memory;
use crate::simd::vector::Real;
use crate::stream::Csr;

/// Features of a part: what one thread collects at a time.
pub const FEATURES: usize = 512;
/// Examples whose h and C the second cache holds, if m is small.
const EXAMPLES: usize = 1 << 16;

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

    /// The non-zeros of the groups `range` grouped the other way; `count` is the number of new groups.
    /// Inside a group the order is that of the old groups.
    fn transposed(&self, range: Range<usize>, count: usize) -> Self {
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

/// The non-zeros of some examples by feature.
#[derive(Debug)]
pub struct Columns<T> {
    /// By feature: examples.
    pub features: Sparse<T>,
    /// Features that have examples; of each [`FEATURES`] those with few first, so that loops over their
    /// examples are predictable.
    walk: Vec<u32>,
    /// Where the walk through each [`FEATURES`] begins, and the end of the last.
    walks: Vec<usize>,
}

impl<T: Real> Columns<T> {
    fn new(features: Sparse<T>) -> Self {
        let n = features.starts.len() - 1;
        let (mut walk, mut walks) = (memory::with_capacity(n), vec![0]);
        for first in (0..n).step_by(FEATURES) {
            let from = walk.len();
            let known = first..n.min(first + FEATURES);
            let known = known.filter(|&j| !features.group(j).is_empty());
            walk.extend(known.map(|j| j as u32));
            walk[from..].sort_by_key(|&j| features.group(j as usize).len());
            walks.push(walk.len());
        }
        Columns {
            features,
            walk,
            walks,
        }
    }

    /// The features of part `i` of [`FEATURES`] features that have examples.
    #[inline(always)]
    pub fn walk(&self, i: usize) -> &[u32] {
        &self.walk[self.walks[i]..self.walks[i + 1]]
    }
}

/// A set of examples.
#[derive(Debug)]
pub struct Examples<T> {
    /// Number of examples.
    pub count: usize,
    /// Which example of the data set each is; empty while they are in their own order.
    pub order: Vec<u32>,
    /// By example: features.
    pub rows: Sparse<T>,
    /// The same by feature, for [`EXAMPLES`] examples after [`EXAMPLES`] examples.
    pub columns: Vec<Columns<T>>,
}

impl<T: Real> Examples<T> {
    /// Those of `x`, whose features are below `n` and become `rank[feature]` if there is a `rank`.
    pub fn new(x: &Csr, n: usize, rank: Option<&[u32]>) -> Self {
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
        Examples::of(rows, n)
    }

    /// Those of `rows`.
    pub fn of(rows: Sparse<T>, n: usize) -> Self {
        let count = rows.starts.len() - 1;
        let columns = (0..count).step_by(EXAMPLES).map(|first| {
            let range = first..count.min(first + EXAMPLES);
            Columns::new(rows.transposed(range, n))
        });
        Examples {
            count,
            order: Vec::new(),
            columns: columns.collect(),
            rows,
        }
    }

    /// Example `order[t]` becomes example t, and feature j becomes `places[j]`.
    pub fn reorder(&mut self, order: &[u32], places: &[u32]) {
        let mut rows = Sparse {
            starts: memory::with_capacity(self.count + 1),
            indices: memory::with_capacity(self.rows.indices.len()),
            values: memory::with_capacity(self.rows.values.len()),
        };
        rows.starts.push(0);
        for &t in order {
            let group = self.rows.group(t as usize);
            let features = &self.rows.indices[group.clone()];
            rows.indices
                .extend(features.iter().map(|&i| places[i as usize]));
            rows.values.extend_from_slice(&self.rows.values[group]);
            rows.starts.push(rows.indices.len());
        }
        let known = &self.order;
        let own = |&t: &u32| known.get(t as usize).copied().unwrap_or(t);
        let order = memory::collect(order.len(), order.iter().map(own));
        *self = Examples {
            order,
            ..Examples::of(rows, places.len())
        };
    }
}
