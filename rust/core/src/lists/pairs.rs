//! Pairs that are taken one by one: what the entries of lists by feature add.

use crate::lists::rows::SLACK;
use crate::memory;
use crate::model::params::Params;
use crate::simd::vector::{Real, Vector};

/// Pairs that are taken together.
pub const BATCH: usize = 512;

/// Pairs (feature, example) of some rows, and their y.
pub struct PairBuffer<T> {
    pub len: usize,
    pub features: Vec<u32>,
    pub examples: Vec<u32>,
    pub signs: Vec<T>,
    pub y: Vec<T>,
}

impl<T: Real> PairBuffer<T> {
    /// For rows of at most `longest` entries.
    pub fn new(longest: usize) -> Self {
        let size = BATCH.max(longest) + 2 * SLACK;
        PairBuffer {
            len: 0,
            features: memory::zeros(size),
            examples: memory::zeros(size),
            signs: memory::zeros(size),
            y: memory::zeros(size),
        }
    }

    /// Append row j.
    ///
    /// # Safety
    /// SLACK entries may be read behind `row`, and there is room for it.
    #[inline(always)]
    pub unsafe fn push(&mut self, j: u32, row: &[u16], sign: T) {
        debug_assert!(self.len + row.len() + SLACK <= self.features.len());
        let mut i = 0;
        while i < row.len() {
            // SAFETY: the caller's promise. Blocks of a fixed size become vectors.
            unsafe {
                let at = self.len + i;
                let from = &*row.as_ptr().add(i).cast::<[u16; 8]>();
                let features = &mut *self.features.as_mut_ptr().add(at).cast::<[u32; 8]>();
                let examples = &mut *self.examples.as_mut_ptr().add(at).cast::<[u32; 8]>();
                let signs = &mut *self.signs.as_mut_ptr().add(at).cast::<[T; 8]>();
                *features = [j; 8];
                *examples = from.map(u32::from);
                *signs = [sign; 8];
            }
            i += 8;
        }
        self.len += row.len();
    }
}

/// What pairs that are taken one by one work on.
pub struct Pairs<'a, T> {
    pub m: usize,
    pub length: usize,
    pub p: &'a Params<T>,
    pub importance: &'a [f64],
    pub any_minus: bool,
    pub h: *const T,
    pub c: *mut T,
}

impl<T: Real> Pairs<'_, T> {
    /// relu(z), or relu(-z), of the pairs of the buffer: LANES dot products at a time.
    #[inline(always)]
    pub unsafe fn outputs<V: Vector<Scalar = T>, const Q: usize>(
        &self,
        buffer: &mut PairBuffer<T>,
    ) {
        let length = if Q == 0 { self.length } else { Q * V::LANES };
        let (data, m) = (self.p.data.as_ptr(), self.m);
        let mut parts = [const { std::mem::MaybeUninit::<V>::uninit() }; 16];
        let parts = parts.as_mut_ptr().cast::<V>();
        // The last vector is filled up with a pair that exists.
        let full = buffer.len.next_multiple_of(V::LANES);
        buffer.features[buffer.len..full].fill(0);
        buffer.examples[buffer.len..full].fill(0);
        for first in (0..full).step_by(V::LANES) {
            // SAFETY: rows are whole vectors.
            unsafe {
                let features = buffer.features.as_ptr().add(first);
                let examples = buffer.examples.as_ptr().add(first);
                for i in 0..V::LANES {
                    let w = data.add(*features.add(i) as usize * m);
                    let h = self.h.add(*examples.add(i) as usize * length);
                    let mut part = V::load(w).mul(V::load(h));
                    for k in (V::LANES..length).step_by(V::LANES) {
                        part = V::load(w.add(k)).fma(V::load(h.add(k)), part);
                    }
                    parts.add(i).write(part);
                }
                let mut z = V::sums(parts).add(V::gather(data.add(self.p.bias), features));
                if self.any_minus {
                    z = z.mul(V::load(buffer.signs.as_ptr().add(first)));
                }
                z.relu().store(buffer.y.as_mut_ptr().add(first));
            }
        }
    }

    /// Add A and B of feature j to `sums` and its share to the C of its examples.
    #[inline(always)]
    pub unsafe fn spread<V: Vector<Scalar = T>, const Q: usize>(
        &self,
        j: usize,
        examples: &[u16],
        y: &[T],
        sums: &mut [f64],
    ) {
        let length = if Q == 0 { self.length } else { Q * V::LANES };
        let weight = self.importance.get(j).copied().unwrap_or(1.0);
        let rounded = T::from_f64(weight);
        let w = self.p.row(j).as_ptr();
        let mut a = T::default();
        for &y in y {
            a = a + y;
        }
        sums[self.p.bias + j] += weight * a.to_f64();
        // SAFETY: rows of `length`, whole vectors. What is behind m in C nobody reads.
        unsafe {
            for k in (0..length).step_by(V::LANES) {
                let wi = V::load(w.add(k)).mul(V::splat(rounded));
                let mut sum = V::zero();
                for (&t, &y) in examples.iter().zip(y) {
                    let y = V::splat(y);
                    let at = usize::from(t) * length + k;
                    sum = y.fma(V::load(self.h.add(at)), sum);
                    let c = self.c.add(at);
                    y.fma(wi, V::load(c)).store(c);
                }
                let width = V::LANES.min(self.m - k);
                let out = &mut sums[j * self.m + k..][..width];
                if weight == 1.0 {
                    if width == V::LANES {
                        sum.add_lanes(out.as_mut_ptr());
                    } else {
                        sum.add_to(out);
                    }
                } else {
                    let mut lanes = [T::default(); 16];
                    sum.store(lanes.as_mut_ptr());
                    out.iter_mut()
                        .zip(&lanes)
                        .for_each(|(o, x)| *o += weight * x.to_f64());
                }
            }
        }
    }
}
