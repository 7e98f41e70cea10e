//! The examples of an update as the kernels read them: by example and by feature.

use crate::memory;
use crate::model::params::{SMALL, STRIP};
use crate::model::slices::{Slices, Windows};
use crate::model::sparse::Sparse;
use crate::simd::vector::Real;
use crate::stream::Csr;

/// Features of a part: what one thread collects at a time.
pub const FEATURES: usize = 512;
/// Examples whose h and C the second cache holds, if m is small.
const EXAMPLES: usize = 1 << 16;
/// Features whose parameters are less than 2^31 if m is small: indices of lanes have signs.
const MOST_BESIDE: usize = (1 << 31) / (SMALL + 1) - STRIP;

/// The non-zeros of some examples by feature.
#[derive(Debug)]
pub struct Columns<T> {
    /// The first example.
    pub first: usize,
    /// Those of features that go well together.
    pub slices: Slices<T>,
    /// By feature: examples of the others.
    pub features: Sparse<T>,
    /// Features that have examples there; of each [`FEATURES`] those with few first, so that loops over
    /// their examples are predictable.
    walk: Vec<u32>,
    /// Where the walk through each [`FEATURES`] begins, and the end of the last.
    walks: Vec<usize>,
}

impl<T: Real> Columns<T> {
    fn new(mut features: Sparse<T>, first: usize, sliced: bool) -> Self {
        let n = features.starts.len() - 1;
        let slices = if sliced {
            Slices::take(&mut features, first)
        } else {
            Slices::default()
        };
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
            first,
            slices,
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

/// Whether it pays to have examples with so many non-zeros side by side: W is laid out for them in each step.
fn beside_pays(n: usize, nonzeros: usize) -> bool {
    n <= nonzeros && n <= MOST_BESIDE
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
    /// The rows once more, examples side by side; nothing if that does not pay.
    pub windows: Windows<T>,
    /// Whether features are side by side in the columns, and examples.
    sliced: bool,
}

impl<T: Real> Examples<T> {
    /// Those of `x`, whose features are below `n` and become `rank[feature]` if there is a `rank`.
    pub fn new(x: &Csr, n: usize, rank: Option<&[u32]>) -> Self {
        Examples::of(Sparse::from_csr(x, n, rank), n, false)
    }

    /// The same, made for many steps with this m: that takes longer, and less in each step.
    pub fn kept(x: &Csr, n: usize, m: usize, rank: Option<&[u32]>) -> Self {
        Examples::of(Sparse::from_csr(x, n, rank), n, m <= SMALL)
    }

    /// Those of `rows`.
    pub fn of(rows: Sparse<T>, n: usize, sliced: bool) -> Self {
        let count = rows.starts.len() - 1;
        let columns = (0..count).step_by(EXAMPLES).map(|first| {
            let range = first..count.min(first + EXAMPLES);
            Columns::new(rows.transposed(range, n), first, sliced)
        });
        Examples {
            count,
            order: Vec::new(),
            columns: columns.collect(),
            windows: if sliced && beside_pays(n, rows.indices.len()) {
                Windows::new(&rows)
            } else {
                Windows::default()
            },
            rows,
            sliced,
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
        // What there was is given back before the same is made anew.
        (self.columns, self.windows) = (Vec::new(), Windows::default());
        *self = Examples {
            order,
            ..Examples::of(rows, places.len(), self.sliced)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, FEATURES, Sparse};
    use crate::model::slices::SLOTS;
    use crate::simd::vector::{Real, Vector};
    use crate::stream::philox;

    /// Features with so many examples each, the examples drawn in rising order from `first` on.
    fn columns<T: Real>(lengths: &[usize], first: usize) -> Sparse<T> {
        let mut all = Sparse {
            starts: vec![0],
            ..Sparse::default()
        };
        for (j, &length) in lengths.iter().enumerate() {
            let mut t = first as u32;
            for i in 0..length {
                let word = philox([j as u64, i as u64], [1, 0, 0, 0])[0];
                t += (word % 5) as u32 + u32::from(i > 0);
                all.indices.push(t);
                all.values.push(T::from_f64((word % 97) as f64));
            }
            all.starts.push(all.indices.len());
        }
        all
    }

    /// Every non-zero is in one place, those of a feature in their order, and there are few empty slots.
    fn check<T: Real>(lengths: &[usize], first: usize) -> usize {
        let lanes = T::Portable::LANES;
        let of = Columns::new(columns::<T>(lengths, first), first, true);
        let all = columns::<T>(lengths, first);
        let walked: Vec<u32> = (0..lengths.len().div_ceil(FEATURES))
            .flat_map(|i| of.walk(i).to_vec())
            .collect();
        let mut sliced = 0;
        for j in 0..lengths.len() {
            let group = of.features.group(j);
            let mut found: Vec<(u32, f64)> = of.features.indices[group.clone()]
                .iter()
                .zip(&of.features.values[group])
                .map(|(&t, v)| (t, v.to_f64()))
                .collect();
            assert_eq!(
                found.len(),
                walked.iter().filter(|&&w| w == j as u32).count() * found.len()
            );
            assert_eq!(found.is_empty(), !walked.contains(&(j as u32)));
            for step in of.slices.steps(j / lanes) {
                let at = step * lanes + j % lanes;
                if of.slices.masks[step] >> (j % lanes) & 1 == 1 {
                    let t = of.slices.indices[at] + first as u32;
                    found.push((t, of.slices.values[at].to_f64()));
                    sliced += 1;
                }
            }
            let group = all.group(j);
            let values = all.values[group.clone()].iter().map(|v| v.to_f64());
            let want: Vec<_> = all.indices[group].iter().copied().zip(values).collect();
            assert_eq!(found, want, "feature {j}");
        }
        assert!(of.slices.indices.len() <= SLOTS * sliced);
        assert_eq!(of.slices.masks.len() * lanes, of.slices.indices.len());
        sliced
    }

    #[test]
    fn slices_and_the_rest_hold_every_nonzero_once() {
        let even: Vec<usize> = (0..1037).map(|j| 3 + j % 4).collect();
        // One feature in sixteen has nearly all of them, as frequent words have.
        let uneven: Vec<usize> = (0..600)
            .map(|j| if j % 16 == 3 { 150 } else { j % 2 })
            .collect();
        let few: Vec<usize> = (0..70).map(|j| usize::from(j % 11 == 0)).collect();
        for first in [0, 65_536] {
            assert_eq!(check::<f32>(&even, first), even.iter().sum::<usize>());
            assert_eq!(check::<f64>(&even, first), even.iter().sum::<usize>());
            assert!(check::<f32>(&uneven, first) * 20 < uneven.iter().sum());
            check::<f64>(&uneven, first);
            check::<f32>(&few, first);
            check::<f64>(&[2, 1, 0], first);
        }
    }
}
