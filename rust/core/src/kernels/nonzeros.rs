//! What the non-zeros of x add: the hidden vectors, and the part of the gradient that has an x in it.
//!
//! With r_tj = I_j x_tj [z_tj > 0] at the non-zeros, and C_t the sum that
//! [`crate::gradient::gradient`] names,
//!
//! ```text
//! C_t -= sum_j r_tj w_j      db_j -= sum_t r_tj      dw_j += sum_t (x_tj C_t - r_tj h_t)
//! ```
//!
//! The first is a walk by example, done with h_t at hand; the others are a walk by feature, so that
//! nothing is scattered and features can be shared out among threads.

use std::hint::select_unpredictable;
use std::mem::MaybeUninit;
use std::ops::Range;

use crate::memory;
use crate::model::examples::{Columns, Examples, FEATURES};
use crate::model::params::{Params, SMALL, STRIP, at, by_m, row_length};
use crate::model::slices::{LONGEST, WINDOW};
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};

/// Non-zeros of a feature whose sums run in T's precision.
const BLOCK: usize = 64;

/// z = w . h + b. M is m if it is known when compiling, else 0.
///
/// # Safety
/// The instruction set of `V` is available; `h` holds m scalars, and `w` too, a strip apart; or both hold
/// whole vectors (`length` scalars, h with zeros behind m) if M is 0.
#[inline(always)]
unsafe fn preactivation<V: Vector, const M: usize>(
    w: *const V::Scalar,
    b: V::Scalar,
    h: *const V::Scalar,
    length: usize,
) -> V::Scalar {
    // SAFETY: the caller's promise.
    unsafe {
        if M > 0 {
            let mut z = b;
            for k in 0..M {
                z = (*w.add(k * STRIP)).fma(*h.add(k), z);
            }
            return z;
        }
        let mut sum = V::zero();
        for k in (0..length).step_by(V::LANES) {
            sum = V::load(w.add(k)).fma(V::load(h.add(k)), sum);
        }
        sum.sum() + b
    }
}

/// The M scalars that lie one after the other at M times each index, side by side.
///
/// # Safety
/// As for [`Vector::gather`], for every row.
#[inline(always)]
unsafe fn gather_rows<V: Vector, const M: usize>(
    p: *const V::Scalar,
    indices: *const u32,
) -> [V; M] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [V::zero(); M];
        for k in (0..M).step_by(2) {
            if k + 1 < M {
                (row[k], row[k + 1]) = V::gather_pair::<M>(p.add(k), indices);
            } else {
                row[k] = V::gather::<M>(p.add(k), indices);
            }
        }
        row
    }
}

/// What hidden vectors are made from.
pub struct Encode<'a, T> {
    pub p: &'a Params<T>,
    x: &'a Examples<T>,
    /// Empty when all are 1.
    pub importance: &'a [T],
    /// Length of a row of h and C.
    pub length: usize,
    /// W as [feature][k], if examples are side by side; else nothing.
    by_feature: &'a [T],
}

/// Where rows of h and C are written, from that of example `first` on.
struct Hidden<T> {
    first: usize,
    h: *mut T,
    c: *mut T,
}

impl<T: Real> Hidden<T> {
    /// Those of example t.
    ///
    /// # Safety
    /// There are rows of M for it.
    #[inline(always)]
    unsafe fn put<const M: usize>(&self, t: usize, h: [T; M], c: [T; M]) {
        let row = (t - self.first) * M;
        for k in 0..M {
            // SAFETY: the caller's promise.
            unsafe {
                *self.h.add(row + k) = h[k];
                *self.c.add(row + k) = c[k];
            }
        }
    }

    /// Those of the examples `members`, one in each lane.
    ///
    /// # Safety
    /// There are rows of M for them, and no more of them than lanes.
    #[inline(always)]
    unsafe fn put_lanes<V: Vector<Scalar = T>, const M: usize>(
        &self,
        members: &[u32],
        h: [V; M],
        c: [V; M],
    ) {
        let mut lanes = [[[T::default(); 16]; M]; 2];
        // SAFETY: at most 16 lanes; the caller's promise.
        unsafe {
            for k in 0..M {
                h[k].store(lanes[0][k].as_mut_ptr());
                c[k].store(lanes[1][k].as_mut_ptr());
            }
            for (lane, &t) in members.iter().enumerate() {
                let row = |of: usize| std::array::from_fn(|k| lanes[of][k][lane]);
                self.put::<M>(t as usize, row(0), row(1));
            }
        }
    }
}

/// W as [feature][k], from strips.
fn lay_out<T: Real>(p: &Params<T>, out: &mut Vec<T>) {
    let w = p.weights();
    memory::reserve(out, w.len().saturating_sub(out.len()));
    out.resize(w.len(), T::default());
    by_m!(
        p.m, M => for (out, strip) in out.chunks_exact_mut(STRIP * M).zip(w.chunks_exact(STRIP * M)) {
            for (i, row) in out.chunks_exact_mut(M).enumerate() {
                for k in 0..M {
                    row[k] = strip[k * STRIP + i];
                }
            }
        },
        unreachable!("examples are side by side for small m only")
    );
}

multiversion! {
    /// Write h_t, and C_t as the non-zeros make it, for the examples `range`; `h` and `c` have a row for
    /// each of them.
    fn encode<V, T>(from: &Encode<'_, T>, range: Range<usize>, h: &mut [T], c: &mut [T]) {
        let size = range.len() * from.length;
        assert!(h.len() >= size && c.len() >= size);
        assert!(from.length == row_length::<T>(from.p.m));
        let (h, c) = (h.as_mut_ptr(), c.as_mut_ptr());
        // SAFETY: the assertions above; features of x are below n; the instruction set of `V` is
        // available here.
        unsafe {
            by_m!(
                from.p.m, M => from.small::<V, M>(range, h, c),
                if from.length < V::LANES {
                    from.large::<V::Half>(range, h, c);
                } else {
                    from.large::<V>(range, h, c);
                }
            );
        }
    }
}

impl<'a, T: Real> Encode<'a, T> {
    /// For the examples x; `by_feature` is room for W.
    pub fn new(
        p: &'a Params<T>,
        x: &'a Examples<T>,
        importance: &'a [T],
        by_feature: &'a mut Vec<T>,
    ) -> Self {
        if x.windows.members.is_empty() {
            by_feature.clear();
        } else {
            lay_out(p, by_feature);
        }
        Encode {
            p,
            x,
            importance,
            length: row_length::<T>(p.m),
            by_feature,
        }
    }

    /// I_i v, or v.
    #[inline(always)]
    fn weigh(&self, i: usize, v: T) -> T {
        self.importance.get(i).map_or(v, |&weight| v * weight)
    }

    /// `range` are whole windows.
    #[inline(always)]
    unsafe fn small<V: Vector<Scalar = T>, const M: usize>(
        &self,
        range: Range<usize>,
        h: *mut T,
        c: *mut T,
    ) {
        let to = Hidden {
            first: range.start,
            h,
            c,
        };
        let windows = &self.x.windows;
        if windows.members.is_empty() {
            // SAFETY: as `encode` says.
            range.for_each(|t| unsafe { self.one::<M>(t, &to) });
            return;
        }
        let whole = range.end == self.x.count || range.end.is_multiple_of(WINDOW);
        assert!(whole && range.start.is_multiple_of(WINDOW));
        assert!(self.by_feature.len() == self.p.weights().len());
        for i in range.start / V::LANES..range.end.div_ceil(V::LANES) {
            let members = &windows.members[i * V::LANES..range.end.min((i + 1) * V::LANES)];
            let steps = windows.slices.steps(i);
            // SAFETY: as `encode` says; members are in the range, as windows are.
            unsafe {
                if steps.is_empty() {
                    members.iter().for_each(|&t| self.one::<M>(t as usize, &to));
                } else {
                    self.beside::<V, M>(steps, members, &to);
                }
            }
        }
    }

    /// Example t.
    #[inline(always)]
    unsafe fn one<const M: usize>(&self, t: usize, to: &Hidden<T>) {
        let (w, b) = (self.p.data.as_ptr(), self.p.b());
        let rows = &self.x.rows;
        let group = rows.group(t);
        let (indices, values) = (&rows.indices[group.clone()], &rows.values[group]);
        let mut h = [T::default(); M];
        for (&i, &v) in indices.iter().zip(values) {
            for k in 0..M {
                // SAFETY: features are below n.
                h[k] = v.fma(unsafe { *w.add(at(M, i as usize, k)) }, h[k]);
            }
        }
        let mut c = [T::default(); M];
        for (&i, &v) in indices.iter().zip(values) {
            let mut z = b[i as usize];
            for k in 0..M {
                // SAFETY: as above.
                z = unsafe { *w.add(at(M, i as usize, k)) }.fma(h[k], z);
            }
            let r = -self.weigh(i as usize, v);
            let r = select_unpredictable(z > T::default(), r, T::default());
            for k in 0..M {
                // SAFETY: as above.
                c[k] = r.fma(unsafe { *w.add(at(M, i as usize, k)) }, c[k]);
            }
        }
        // SAFETY: `encode` checked the lengths.
        unsafe { to.put(t, h, c) };
    }

    /// Examples side by side, in some steps of their slice: in each lane what [`Encode::one`] does, in the
    /// same order.
    #[inline(always)]
    unsafe fn beside<V: Vector<Scalar = T>, const M: usize>(
        &self,
        steps: Range<usize>,
        members: &[u32],
        to: &Hidden<T>,
    ) {
        let slices = &self.x.windows.slices;
        let mut kept = [MaybeUninit::<[V; M]>::uninit(); LONGEST];
        // SAFETY: as `encode` says; slices have V::LANES lanes, at most LONGEST steps, and features below n.
        unsafe {
            let mut h = [V::zero(); M];
            for (step, kept) in steps.clone().zip(&mut kept) {
                let (mask, i, v) = slices.step::<V>(step);
                let w = gather_rows::<V, M>(self.by_feature.as_ptr(), i);
                for k in 0..M {
                    h[k] = v.fma(w[k], h[k]).select(mask, h[k]);
                }
                kept.write(w);
            }
            let mut c = [V::zero(); M];
            for (step, kept) in steps.zip(&kept) {
                let (mask, i, v) = slices.step::<V>(step);
                let w = kept.assume_init_ref();
                let mut z = V::gather::<1>(self.p.b().as_ptr(), i);
                for k in 0..M {
                    z = w[k].fma(h[k], z);
                }
                let weight = if self.importance.is_empty() {
                    V::splat(T::from_f64(1.0))
                } else {
                    V::gather::<1>(self.importance.as_ptr(), i)
                };
                let r = v.mul(V::zero().sub(weight));
                let r = r.select(z.relu().positive(), V::zero());
                for k in 0..M {
                    c[k] = r.fma(w[k], c[k]).select(mask, c[k]);
                }
            }
            to.put_lanes(members, h, c);
        }
    }

    #[inline(always)]
    unsafe fn large<V: Vector<Scalar = T>>(
        &self,
        range: Range<usize>,
        h_rows: *mut T,
        c_rows: *mut T,
    ) {
        let (w, b, m) = (self.p.data.as_ptr(), self.p.b(), self.p.m);
        let rows = &self.x.rows;
        let mut active = Vec::new();
        for (local, t) in range.enumerate() {
            let group = rows.group(t);
            let (indices, values) = (&rows.indices[group.clone()], &rows.values[group]);
            // SAFETY: rows of `length` in h and c, whole vectors behind every w.
            unsafe {
                let (h, c) = (
                    h_rows.add(local * self.length),
                    c_rows.add(local * self.length),
                );
                let null = T::default();
                for k in (0..self.length).step_by(V::LANES) {
                    let mut sum = V::zero();
                    for (&i, &v) in indices.iter().zip(values) {
                        sum = V::splat(v).fma(V::load(w.add(i as usize * m + k)), sum);
                    }
                    sum.store(h.add(k));
                }
                for k in m..self.length {
                    *h.add(k) = null;
                }
                active.clear();
                for (&i, &v) in indices.iter().zip(values) {
                    let i = i as usize;
                    let z = preactivation::<V, 0>(w.add(i * m), b[i], h, self.length);
                    active.push(select_unpredictable(z > null, -self.weigh(i, v), null));
                }
                for k in (0..self.length).step_by(V::LANES) {
                    let mut sum = V::zero();
                    for (&i, &r) in indices.iter().zip(&active) {
                        sum = V::splat(r).fma(V::load(w.add(i as usize * m + k)), sum);
                    }
                    sum.store(c.add(k));
                }
            }
        }
    }
}

/// What is summed over the non-zeros of features.
pub struct Collect<'a, T> {
    pub p: &'a Params<T>,
    pub x: &'a Columns<T>,
    /// Empty when all are 1.
    pub importance: &'a [T],
    /// Length of a row of h and C, which have one for every example of x.
    pub length: usize,
    pub h: &'a [T],
    pub c: &'a [T],
}

multiversion! {
    /// Add what the non-zeros of the part `part` of [`FEATURES`] features add to half the gradient, of which
    /// `dw` and `db` hold the entries of these features.
    fn collect<V, T>(from: &Collect<'_, T>, part: usize, dw: &mut [f64], db: &mut [f64]) {
        assert!(from.h.len() == from.c.len());
        assert!(from.length == row_length::<T>(from.p.m));
        assert!(from.p.m <= SMALL || from.x.slices.masks.is_empty());
        // SAFETY: the assertions above; h and c have a row for every example; the instruction set of `V`
        // is available here.
        unsafe {
            by_m!(
                from.p.m, M => {
                    from.slices::<V, M>(part, dw, db);
                    from.features::<V, M>(part, dw, db);
                },
                if from.length < V::LANES {
                    from.features::<V::Half, 0>(part, dw, db);
                } else {
                    from.features::<V, 0>(part, dw, db);
                }
            );
        }
    }
}

/// One feature.
struct Feature<T> {
    w: *const T,
    b: T,
    /// 1 where there are no importances, not an Option: a multiplication by what is in a None, done
    /// ahead, is slow if that is subnormal.
    weight: T,
}

impl<T: Real> Feature<T> {
    /// I v where z > 0, else 0; negated.
    #[inline(always)]
    fn active(&self, z: T, v: T) -> T {
        select_unpredictable(z > T::default(), -(v * self.weight), T::default())
    }
}

impl<T: Real> Collect<'_, T> {
    /// Those of the part; M is m, or 0 if m is not small.
    #[inline(always)]
    unsafe fn features<V: Vector<Scalar = T>, const M: usize>(
        &self,
        part: usize,
        dw: &mut [f64],
        db: &mut [f64],
    ) {
        let (p, columns) = (self.p, &self.x.features);
        let first = part * FEATURES;
        for &j in self.x.walk(part) {
            let j = j as usize;
            let feature = Feature {
                w: p.data[at(p.m, j, 0)..].as_ptr(),
                b: p.b()[j],
                weight: self.importance.get(j).copied().unwrap_or(T::from_f64(1.0)),
            };
            let dw = &mut dw[at(p.m, j - first, 0)..];
            let db = &mut db[j - first];
            let group = columns.group(j);
            let (mut examples, mut values) =
                (&columns.indices[group.clone()], &columns.values[group]);
            while !examples.is_empty() {
                let (block, rest) = examples.split_at(examples.len().min(BLOCK));
                let (v, others) = values.split_at(block.len());
                (examples, values) = (rest, others);
                // SAFETY: as `collect` says.
                unsafe {
                    if M > 0 {
                        self.small::<V, M>(&feature, block, v, dw, db);
                    } else {
                        self.large::<V>(&feature, block, v, dw, db);
                    }
                }
            }
        }
    }

    /// Features side by side: in each lane what [`Collect::small`] does, in the same order.
    #[inline(always)]
    unsafe fn slices<V: Vector<Scalar = T>, const M: usize>(
        &self,
        part: usize,
        dw: &mut [f64],
        db: &mut [f64],
    ) {
        let slices = &self.x.slices;
        let first = part * FEATURES;
        for j in (first..self.p.n.min(first + FEATURES)).step_by(V::LANES) {
            let mut steps = slices.steps(j / V::LANES);
            while !steps.is_empty() {
                let block = steps.start..steps.end.min(steps.start + BLOCK);
                steps.start = block.end;
                // SAFETY: as `collect` says.
                let (sum, total) = unsafe { self.slice::<V, M>(j, block) };
                for k in 0..M {
                    let dw = &mut dw[at(M, j - first, k)..][..V::LANES];
                    // SAFETY: as many doubles as lanes.
                    unsafe { sum[k].add_lanes(dw.as_mut_ptr()) };
                }
                let lanes = V::LANES.min(db.len() - (j - first));
                // SAFETY: at most as many doubles as lanes.
                unsafe { total.add_to(&mut db[j - first..][..lanes]) };
            }
        }
    }

    /// The sums of the features from j on, over some steps of their slice.
    #[inline(always)]
    unsafe fn slice<V: Vector<Scalar = T>, const M: usize>(
        &self,
        j: usize,
        steps: Range<usize>,
    ) -> ([V; M], V) {
        let slices = &self.x.slices;
        // SAFETY: as `collect` says; slices have V::LANES lanes, and examples of the columns; parameters
        // and importances of whole vectors of features.
        unsafe {
            let w = self.p.data[at(M, j, 0)..].as_ptr();
            let b = V::load(self.p.data[self.p.bias + j..].as_ptr());
            let weight = match self.importance.get(j..) {
                Some(weights) if !weights.is_empty() => V::load(weights.as_ptr()),
                _ => V::splat(T::from_f64(1.0)),
            };
            let minus = V::zero().sub(weight);
            let row = self.x.first * M;
            let (h, c) = (self.h.as_ptr().add(row), self.c.as_ptr().add(row));
            let (mut sum, mut total) = ([V::zero(); M], V::zero());
            for step in steps {
                let (mask, t, v) = slices.step::<V>(step);
                let (mut z, hidden, c) = (b, gather_rows::<V, M>(h, t), gather_rows::<V, M>(c, t));
                for k in 0..M {
                    z = V::load(w.add(k * STRIP)).fma(hidden[k], z);
                }
                let r = v.mul(minus).select(z.relu().positive(), V::zero());
                total = total.add(r).select(mask, total);
                for k in 0..M {
                    sum[k] = r.fma(hidden[k], v.fma(c[k], sum[k])).select(mask, sum[k]);
                }
            }
            (sum, total)
        }
    }

    #[inline(always)]
    unsafe fn small<V: Vector<Scalar = T>, const M: usize>(
        &self,
        feature: &Feature<T>,
        examples: &[u32],
        values: &[T],
        dw: &mut [f64],
        db: &mut f64,
    ) {
        let mut sum = [T::default(); M];
        let mut total = T::default();
        for (&t, &v) in examples.iter().zip(values) {
            // SAFETY: as `collect` says.
            unsafe {
                let at = t as usize * M;
                let (h, c) = (self.h.as_ptr().add(at), self.c.as_ptr().add(at));
                let z = preactivation::<V, M>(feature.w, feature.b, h, M);
                let r = feature.active(z, v);
                total = total + r;
                for k in 0..M {
                    sum[k] = r.fma(*h.add(k), v.fma(*c.add(k), sum[k]));
                }
            }
        }
        for k in 0..M {
            dw[k * STRIP] += sum[k].to_f64();
        }
        *db += total.to_f64();
    }

    #[inline(always)]
    unsafe fn large<V: Vector<Scalar = T>>(
        &self,
        feature: &Feature<T>,
        examples: &[u32],
        values: &[T],
        dw: &mut [f64],
        db: &mut f64,
    ) {
        let mut active = [T::default(); BLOCK];
        let mut total = T::default();
        // SAFETY: as `collect` says.
        unsafe {
            for ((&t, &v), r) in examples.iter().zip(values).zip(&mut active) {
                let h = self.h.as_ptr().add(t as usize * self.length);
                let z = preactivation::<V, 0>(feature.w, feature.b, h, self.length);
                *r = feature.active(z, v);
                total = total + *r;
            }
            for k in (0..self.length).step_by(V::LANES) {
                let mut sum = V::zero();
                for ((&t, &v), &r) in examples.iter().zip(values).zip(&active) {
                    let at = t as usize * self.length + k;
                    let from_c = V::splat(v).fma(V::load(self.c.as_ptr().add(at)), sum);
                    sum = V::splat(r).fma(V::load(self.h.as_ptr().add(at)), from_c);
                }
                let dw = &mut dw[k..self.p.m.min(k + V::LANES)];
                if dw.len() == V::LANES {
                    sum.add_lanes(dw.as_mut_ptr());
                } else {
                    sum.add_to(dw);
                }
            }
        }
        *db += total.to_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::aligned::Aligned;
    use crate::simd::isa::Isa;
    use crate::stream::{Csr, Init, initial_weights, philox};

    const N: usize = 300;

    fn word(i: u64, j: u64) -> u64 {
        philox([i, j], [7, 0, 0, 0])[0]
    }

    /// Examples with so many non-zeros each, some of them once more.
    fn examples(lengths: &[usize]) -> Csr {
        let mut x = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        for (t, &length) in lengths.iter().enumerate() {
            let first = word(t as u64, 1) as usize % (N - length + 1);
            x.indices.extend((first..first + length).map(|i| i as u32));
            let value = |i: usize| (1 + word(t as u64, i as u64) % 99) as f64 / 300.0;
            x.values.extend((0..length).map(value));
            x.indptr.push(x.indices.len());
        }
        x
    }

    /// h, C and the sums, examples and features side by side or not.
    fn all<T: Real>(isa: Isa, p: &Params<T>, x: &Examples<T>, importance: &[T]) -> [Vec<f64>; 3] {
        let length = row_length::<T>(p.m);
        let mut h = vec![T::from_f64(9.0); x.count * length];
        let mut c = h.clone();
        let mut room = Vec::new();
        let from = Encode::new(p, x, importance, &mut room);
        // In two parts, as threads and tiles do.
        let half = WINDOW.min(x.count);
        encode(isa, &from, 0..half, &mut h, &mut c);
        let (rest_h, rest_c) = (&mut h[half * length..], &mut c[half * length..]);
        encode(isa, &from, half..x.count, rest_h, rest_c);
        let mut sums = Aligned::<f64>::zeros(p.data.len());
        let (dw, db) = sums.split_at_mut(p.bias);
        for x in &x.columns {
            let from = Collect {
                p,
                x,
                importance,
                length,
                h: &h,
                c: &c,
            };
            collect(isa, &from, 0, dw, db);
        }
        let doubles = |values: &[T]| values.iter().map(|v| v.to_f64()).collect();
        [doubles(&h), doubles(&c), sums.to_vec()]
    }

    fn same_bits<T: Real>(m: usize, lengths: &[usize], weighed: bool) {
        let csr = examples(lengths);
        let b: Vec<T> = (0..N)
            .map(|j| T::from_f64((word(j as u64, 2) % 9) as f64 / 90.0 - 0.05))
            .collect();
        let w = initial_weights(N, m, Init::XavierNormal, 0).map(T::from_f64);
        let p = Params::from_values(N, m, w, &b, None);
        let room = if weighed { N.next_multiple_of(64) } else { 0 };
        let importance: Vec<T> = (0..room).map(|j| T::from_f64(0.3 + j as f64)).collect();
        let apart = Examples::new(&csr, N, None);
        let beside = Examples::kept(&csr, N, m, None);
        let pays = csr.indices.len() >= N;
        assert_eq!(
            beside.windows.members.len(),
            if pays { lengths.len() } else { 0 }
        );
        let want = all(Isa::Portable, &p, &apart, &importance);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            for x in [&apart, &beside] {
                let got = all(isa, &p, x, &importance);
                assert_eq!(got, want, "{}, m = {m}, {} examples", isa.name(), x.count);
            }
        }
    }

    #[test]
    fn side_by_side_gives_the_bits_of_one_by_one() {
        let even: Vec<usize> = (0..333).map(|t| 2 + word(t, 3) as usize % 9).collect();
        // Some have none, some more than a slice may have, and one is alone with many.
        let uneven: Vec<usize> = (0..150)
            .map(|t| match t % 50 {
                0 => 0,
                1 => LONGEST + t,
                30 => LONGEST - 8,
                _ => 1 + t % 3,
            })
            .collect();
        for m in 1..=SMALL {
            for lengths in [&even[..], &uneven, &even[..17], &[0; 5]] {
                same_bits::<f32>(m, lengths, m % 2 == 0);
                same_bits::<f64>(m, lengths, m % 2 == 1);
            }
        }
    }
}
