//! The examples of an update as the kernels read them: by example and by feature.

use std::ops::Range;

use crate::simd::Real;
use crate::stream::Csr;

/// Features of a part: what one thread collects at a time.
pub const FEATURES: usize = 512;

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

    /// The same non-zeros grouped the other way; `count` is the number of new groups. Inside a group
    /// the order is that of the old groups.
    fn transposed(&self, count: usize) -> Self {
        let mut starts = vec![0; count + 1];
        for &i in &self.indices {
            starts[i as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut indices = vec![0; self.indices.len()];
        let mut values = vec![T::default(); self.values.len()];
        for group in 0..self.starts.len() - 1 {
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

/// A set of examples.
#[derive(Debug)]
pub struct Examples<T> {
    /// Number of examples.
    pub count: usize,
    /// By example: features.
    pub rows: Sparse<T>,
    /// By feature: examples.
    pub columns: Sparse<T>,
    /// Features that have examples; of each [`FEATURES`] those with few first, so that loops over their
    /// examples are predictable.
    walk: Vec<u32>,
    /// Where the walk through each [`FEATURES`] begins, and the end of the last.
    walks: Vec<usize>,
}

impl<T: Real> Examples<T> {
    /// Those of `x`, whose features are below `n` and become `rank[feature]` if there is a `rank`.
    pub fn new(x: &Csr, n: usize, rank: Option<&[u32]>) -> Self {
        assert!(x.indices.len() == x.values.len() && x.indptr.last() == Some(&x.indices.len()));
        let rows = Sparse {
            starts: x.indptr.clone(),
            indices: match rank {
                Some(rank) => x.indices.iter().map(|&i| rank[i as usize]).collect(),
                None => x.indices.clone(),
            },
            values: x.values.iter().map(|&v| T::from_f64(v)).collect(),
        };
        assert!(rows.indices.iter().all(|&i| (i as usize) < n));
        Examples::of(rows, n)
    }

    /// Those of `rows`.
    pub fn of(rows: Sparse<T>, n: usize) -> Self {
        let columns = rows.transposed(n);
        let (mut walk, mut walks) = (Vec::new(), vec![0]);
        for first in (0..n).step_by(FEATURES) {
            let from = walk.len();
            let features = first..n.min(first + FEATURES);
            walk.extend(
                features
                    .filter(|&j| !columns.group(j).is_empty())
                    .map(|j| j as u32),
            );
            walk[from..].sort_by_key(|&j| columns.group(j as usize).len());
            walks.push(walk.len());
        }
        Examples {
            count: rows.starts.len() - 1,
            rows,
            columns,
            walk,
            walks,
        }
    }

    /// The features of part `i` of [`FEATURES`] features that have examples.
    #[inline(always)]
    pub fn walk(&self, i: usize) -> &[u32] {
        &self.walk[self.walks[i]..self.walks[i + 1]]
    }

    /// Example `order[t]` becomes example t, and feature j becomes `places[j]`.
    pub fn reorder(&mut self, order: &[u32], places: &[u32]) {
        let n = self.columns.starts.len() - 1;
        let mut rows = Sparse {
            starts: Vec::with_capacity(self.count + 1),
            indices: Vec::with_capacity(self.rows.indices.len()),
            values: Vec::with_capacity(self.rows.values.len()),
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
        *self = Examples::of(rows, n);
    }
}
