//! Non-zeros of many features, and of many examples, side by side.

use std::ops::Range;

use crate::memory;
use crate::model::sparse::Sparse;
use crate::simd::vector::{Real, Vector};

/// Slots that slices may have for one non-zero: with more, features are walked through one by one.
pub const SLOTS: usize = 4;
/// The same of examples.
pub const SPARE: usize = 2;

/// Features, or examples, side by side, as many as a vector has lanes: in each step one non-zero of each of
/// them. (A sliced ELLPACK format, as for products of sparse matrices: Monakov et al. 2010.)
#[derive(Debug, Default)]
pub struct Slices<T> {
    /// The first step of each slice, and the end of the last; those that do not pay have none.
    starts: Vec<usize>,
    /// Of each step, bit i is set where feature (example) i of the slice has a non-zero.
    pub masks: Vec<u16>,
    /// Of each lane of each step: the example, counted from the first one of the columns (the feature).
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
                let members: Vec<u32> = lanes.clone().map(|j| j as u32).collect();
                slices.push(features, &members, steps, first);
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

    /// Steps of the groups `members`, whose indices count from `first`.
    fn push(&mut self, groups: &Sparse<T>, members: &[u32], steps: usize, first: usize) {
        memory::reserve(&mut self.masks, steps);
        memory::reserve(&mut self.indices, steps * Self::LANES);
        memory::reserve(&mut self.values, steps * Self::LANES);
        for step in 0..steps {
            let mut mask = 0;
            for i in 0..Self::LANES {
                let group = members.get(i).map_or(0..0, |&j| groups.group(j as usize));
                let (mut index, mut value) = (0, T::default());
                if step < group.len() {
                    index = groups.indices[group.start + step] - first as u32;
                    value = groups.values[group.start + step];
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

    /// A step: its mask, indices and values.
    ///
    /// # Safety
    /// The instruction set of `V` is available, which has as many lanes as slices have.
    #[inline(always)]
    pub unsafe fn step<V: Vector<Scalar = T>>(&self, step: usize) -> (u32, *const u32, V) {
        let lanes = step * V::LANES..(step + 1) * V::LANES;
        // SAFETY: the caller's promise; the slices are as long as that.
        let values = unsafe { V::load(self.values[lanes.clone()].as_ptr()) };
        let mask = u32::from(self.masks[step]);
        (mask, self.indices[lanes].as_ptr(), values)
    }
}

/// Examples among which those with about as many non-zeros are put side by side.
pub const WINDOW: usize = 64;
/// Steps of a slice of examples at most: what is read for these is kept on the stack.
pub const LONGEST: usize = 128;

/// Examples side by side.
#[derive(Debug, Default)]
pub struct Windows<T> {
    /// The examples of the slices: those of slice i follow on `LANES * i`. In each [`WINDOW`] those with few
    /// non-zeros come first.
    pub members: Vec<u32>,
    /// Their non-zeros; slices that do not pay have no steps.
    pub slices: Slices<T>,
}

impl<T: Real> Windows<T> {
    /// Of the groups of `rows`.
    pub fn new(rows: &Sparse<T>) -> Self {
        let count = rows.starts.len() - 1;
        let mut members: Vec<u32> = memory::collect(count, 0..count as u32);
        for window in members.chunks_mut(WINDOW) {
            window.sort_by_key(|&t| rows.group(t as usize).len());
        }
        let mut slices = Slices {
            starts: memory::with_capacity(count.div_ceil(Slices::<T>::LANES) + 1),
            ..Slices::default()
        };
        slices.starts.push(0);
        for members in members.chunks(Slices::<T>::LANES) {
            let lengths = members.iter().map(|&t| rows.group(t as usize).len());
            let (steps, all) = (lengths.clone().max().unwrap_or(0), lengths.sum::<usize>());
            if steps <= LONGEST && steps * Slices::<T>::LANES <= SPARE * all {
                slices.push(rows, members, steps, 0);
            }
            slices.starts.push(slices.masks.len());
        }
        Windows { members, slices }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, SPARE, Slices, WINDOW, Windows};
    use crate::model::sparse::Sparse;

    #[test]
    fn windows_hold_every_nonzero_of_examples_that_go_well_together_once() {
        let lanes = Slices::<f32>::LANES;
        let mut rows = Sparse::<f32> {
            starts: vec![0],
            ..Sparse::default()
        };
        for t in 0..1000 {
            // One that is longer than all beside it, and a slice of long ones.
            let length = match t {
                500 => 300,
                640..656 => LONGEST + 1,
                _ => (t * 7) % 13,
            };
            for i in 0..length {
                rows.indices.push((3 * t + 2 * i) as u32);
                rows.values.push((t + i) as f32);
            }
            rows.starts.push(rows.indices.len());
        }
        let windows = Windows::new(&rows);
        let slices = &windows.slices;
        let length = |t: u32| rows.group(t as usize).len();
        let (mut sliced, mut alone) = (0, 0);
        for (i, members) in windows.members.chunks(lanes).enumerate() {
            let window = i * lanes / WINDOW;
            assert!(members.iter().all(|&t| t as usize / WINDOW == window));
            assert!(members.is_sorted_by_key(|&t| length(t)));
            let steps = slices.steps(i);
            let all: usize = members.iter().map(|&t| length(t)).sum();
            assert!(steps.len() <= LONGEST && steps.len() * lanes <= SPARE * all);
            if steps.is_empty() {
                alone += all;
                continue;
            }
            sliced += all;
            for (lane, &t) in members.iter().enumerate() {
                let held = steps
                    .clone()
                    .filter(|&step| slices.masks[step] >> lane & 1 == 1);
                let found: Vec<_> = held
                    .map(|step| step * lanes + lane)
                    .map(|at| (slices.indices[at], slices.values[at]))
                    .collect();
                let group = rows.group(t as usize);
                let values = rows.values[group.clone()].iter().copied();
                let want: Vec<_> = rows.indices[group].iter().copied().zip(values).collect();
                assert_eq!(found, want, "example {t}");
            }
        }
        let mut members = windows.members.clone();
        members.sort_unstable();
        assert!(members.into_iter().eq(0..1000));
        assert_eq!(sliced + alone, rows.indices.len());
        assert!(alone >= 300 + lanes * (LONGEST + 1) && sliced > alone);
    }
}
