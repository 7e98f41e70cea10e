//! Non-zeros of many features side by side.

use std::ops::Range;

use crate::memory;
use crate::model::sparse::Sparse;
use crate::simd::vector::{Real, Vector};

/// Slots that slices may have for one non-zero: with more, features are walked through one by one.
pub const SLOTS: usize = 4;

/// Features side by side, as many as a vector has lanes: in each step one non-zero of each of them. (A
/// sliced ELLPACK format, as for products of sparse matrices: Monakov et al. 2010.)
#[derive(Debug, Default)]
pub struct Slices<T> {
    /// The first step of each slice, and the end of the last; those that do not pay have none.
    starts: Vec<usize>,
    /// Of each step, bit i is set where feature i of the slice has a non-zero.
    pub masks: Vec<u16>,
    /// Of each lane of each step: the example, counted from the first one of the columns.
    pub indices: Vec<u32>,
    /// Its value.
    pub values: Vec<T>,
}

impl<T: Real> Slices<T> {
    const LANES: usize = T::Portable::LANES;

    /// Of the groups of `features` whose examples begin with `first`; they are taken out of there.
    pub fn take(features: &mut Sparse<T>, first: usize) -> Self {
        let n = features.starts.len() - 1;
        let mut slices = Slices {
            starts: vec![0],
            ..Slices::default()
        };
        let mut rest = Sparse {
            starts: memory::with_capacity(n + 1),
            ..Sparse::default()
        };
        rest.starts.push(0);
        for j in (0..n).step_by(Self::LANES) {
            let lanes = j..n.min(j + Self::LANES);
            let all = features.starts[lanes.start]..features.starts[lanes.end];
            let lengths = lanes.clone().map(|j| features.group(j).len());
            let steps = lengths.max().unwrap_or(0);
            if steps * Self::LANES <= SLOTS * all.len() {
                slices.push(features, lanes.clone(), steps, first);
                rest.starts.extend(lanes.map(|_| rest.indices.len()));
            } else {
                let moved = all.start - rest.indices.len();
                memory::reserve(&mut rest.indices, all.len());
                memory::reserve(&mut rest.values, all.len());
                rest.indices
                    .extend_from_slice(&features.indices[all.clone()]);
                rest.values.extend_from_slice(&features.values[all]);
                let ends = lanes.map(|j| features.starts[j + 1] - moved);
                rest.starts.extend(ends);
            }
            slices.starts.push(slices.masks.len());
        }
        *features = rest;
        slices
    }

    fn push(&mut self, features: &Sparse<T>, lanes: Range<usize>, steps: usize, first: usize) {
        memory::reserve(&mut self.masks, steps);
        memory::reserve(&mut self.indices, steps * Self::LANES);
        memory::reserve(&mut self.values, steps * Self::LANES);
        for step in 0..steps {
            let mut mask = 0;
            for i in 0..Self::LANES {
                let j = lanes.start + i;
                let group = if j < lanes.end {
                    features.group(j)
                } else {
                    0..0
                };
                let (mut index, mut value) = (0, T::default());
                if step < group.len() {
                    index = features.indices[group.start + step] - first as u32;
                    value = features.values[group.start + step];
                    mask |= 1 << i;
                }
                self.indices.push(index);
                self.values.push(value);
            }
            self.masks.push(mask);
        }
    }

    /// Steps of slice `i`; none if there are no slices.
    #[inline(always)]
    pub fn steps(&self, i: usize) -> Range<usize> {
        match self.starts.get(i..i + 2) {
            Some(ends) => ends[0]..ends[1],
            None => 0..0,
        }
    }
}
