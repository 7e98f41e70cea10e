//! Pairs that are taken one by one: what the entries of lists by feature add.
//!
//! A list is gone through once, as many pairs at a time as a vector has lanes: z of all of them by adding
//! up vectors that run over k, then relu and sums, and each pair's share of B and C, while w_j stays in
//! registers. Sums of B are four chains where rows are short, so that none waits for its own last addition.

use std::hint::black_box;

use crate::lists::rows::Rows;
use crate::model::params::Params;
use crate::simd::prefetch::prefetch;
use crate::simd::vector::{Real, Vector};

/// Sums of B that run side by side.
const CHAINS: usize = 4;
/// Vectors of a row from which on what the next list reads is asked for ahead; with shorter rows it does
/// not pay.
const LONG: usize = 3;
/// More than the lanes of any vector.
const LANES: usize = 16;

/// The lists of a tile and what their pairs work on; rows of h and C are those of the tile.
pub struct Pairs<'a, T> {
    pub p: &'a Params<T>,
    /// Empty when all are 1.
    pub importance: &'a [f64],
    pub rows: &'a Rows,
    /// Features that list the exceptions from being linear.
    pub is_minus: &'a [bool],
    /// Length of a row of h and C.
    pub length: usize,
    pub h: *const T,
    pub c: *mut T,
}

/// y of some pairs, on its way from a vector to the scalars of the pairs: through memory, as loads have
/// units to spare and shuffles have none. Hidden from the compiler, which would shuffle.
#[repr(align(64))]
struct Outputs<T>([T; LANES]);

/// Entry i: read alone, for the same reason.
///
/// # Safety
/// There are more than i entries.
#[inline(always)]
unsafe fn entry(entries: &[u16], i: usize) -> usize {
    debug_assert!(i < entries.len());
    // SAFETY: the caller's promise.
    usize::from(unsafe { entries.as_ptr().add(i).read_volatile() })
}

/// The sums of one feature over the pairs of its list.
#[derive(Clone, Copy)]
struct Sums<V, const Q: usize> {
    a: V,
    b: [[V; Q]; CHAINS],
}

impl<T: Real> Pairs<'_, T> {
    /// Add A and B of all lists to `sums`, in the layout of the parameters, and C of their pairs.
    ///
    /// # Safety
    /// The instruction set of `V` is available. Entries are examples that h and C have rows of `length`
    /// for; `sums` is as long as the parameters.
    #[inline(always)]
    pub unsafe fn run<V: Vector<Scalar = T>>(&self, sums: &mut [f64]) {
        let lanes = V::LANES;
        // SAFETY: the caller's promise; vectors and their number make up `length`.
        unsafe {
            match self.length {
                length if length < lanes => self.lists::<V::Half, 1>(sums),
                length if length == lanes => self.lists::<V, 1>(sums),
                length if length == 2 * lanes => self.lists::<V, 2>(sums),
                length if length == 3 * lanes => self.lists::<V, 3>(sums),
                length if length == 4 * lanes => self.lists::<V, 4>(sums),
                _ => self.long_lists::<V>(sums),
            }
        }
    }

    /// Ask for what the list at place i of the order will read: with rows that long, W and the sums do not
    /// fit into the second cache, and a list of few entries takes less time than memory does.
    #[inline(always)]
    fn fetch(&self, i: usize, sums: &[f64]) {
        if let Some(&j) = self.rows.order().get(i) {
            let (j, m) = (j as usize, self.p.m);
            prefetch(self.p.row(j));
            prefetch(&sums[j * m..][..m]);
        }
    }

    /// Factor of z: -1 for exceptions from being linear.
    #[inline(always)]
    fn sign(&self, j: usize) -> T {
        T::from_f64(if self.is_minus[j] { -1.0 } else { 1.0 })
    }

    #[inline(always)]
    fn weight(&self, j: usize) -> f64 {
        self.importance.get(j).copied().unwrap_or(1.0)
    }

    /// Rows of Q vectors.
    #[inline(always)]
    unsafe fn lists<V: Vector<Scalar = T>, const Q: usize>(&self, sums: &mut [f64]) {
        for (i, &j) in self.rows.order().iter().enumerate() {
            let j = j as usize;
            if Q >= LONG {
                self.fetch(i + 1, sums);
            }
            let entries = self.rows.row(j);
            let chunks = entries.chunks_exact(V::LANES);
            let rest = chunks.remainder();
            // SAFETY: the caller's promise. A vector that starts inside a row of W may be loaded whole.
            unsafe {
                let row = self.p.row(j).as_ptr();
                let weight = V::splat(T::from_f64(self.weight(j)));
                let (mut w, mut weighed) = ([V::zero(); Q], [V::zero(); Q]);
                for q in 0..Q {
                    w[q] = V::load(row.add(q * V::LANES));
                    weighed[q] = w[q].mul(weight);
                }
                let (b, sign) = (V::splat(self.p.b()[j]), V::splat(self.sign(j)));
                let mut s = Sums {
                    a: V::zero(),
                    b: [[V::zero(); Q]; CHAINS],
                };
                for chunk in chunks {
                    let parts = self.products::<V, Q>(&w, chunk, V::LANES);
                    let y = V::sums(parts.as_ptr()).add(b).mul(sign).relu();
                    self.spread::<V, Q>(&weighed, chunk, V::LANES, y, &mut s);
                }
                if !rest.is_empty() {
                    let parts = self.products::<V, Q>(&w, rest, rest.len());
                    let z = V::sums(parts.as_ptr()).add(b).mul(sign);
                    let y = z.relu().first(rest.len());
                    self.spread::<V, Q>(&weighed, rest, rest.len(), y, &mut s);
                }
                self.finish::<V, Q>(j, &s, sums);
            }
        }
    }

    /// w_j . h_t before its lanes are added, of the first `count` entries; zeros behind.
    #[inline(always)]
    unsafe fn products<V: Vector<Scalar = T>, const Q: usize>(
        &self,
        w: &[V; Q],
        entries: &[u16],
        count: usize,
    ) -> [V; LANES] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut parts = [V::zero(); LANES];
            for i in 0..count {
                let h = self.h.add(entry(entries, i) * (Q * V::LANES));
                let mut part = w[0].mul(V::load(h));
                for q in 1..Q {
                    part = w[q].fma(V::load(h.add(q * V::LANES)), part);
                }
                parts[i] = part;
            }
            parts
        }
    }

    /// What the first `count` entries with outputs `y` add.
    #[inline(always)]
    unsafe fn spread<V: Vector<Scalar = T>, const Q: usize>(
        &self,
        weighed: &[V; Q],
        entries: &[u16],
        count: usize,
        y: V,
        s: &mut Sums<V, Q>,
    ) {
        let chains = if Q == 1 { CHAINS } else { CHAINS / 2 };
        let mut outputs = Outputs([T::default(); LANES]);
        // SAFETY: the caller's promise. What is behind m in C nobody reads.
        unsafe {
            y.store(outputs.0.as_mut_ptr());
            let outputs = &black_box(&outputs).0;
            s.a = s.a.add(y);
            for i in 0..count {
                let at = entry(entries, i) * (Q * V::LANES);
                let (h, c) = (self.h.add(at), self.c.add(at));
                let y = V::splat(outputs[i]);
                for q in 0..Q {
                    let sum = &mut s.b[i % chains][q];
                    *sum = y.fma(V::load(h.add(q * V::LANES)), *sum);
                    let c = c.add(q * V::LANES);
                    y.fma(weighed[q], V::load(c)).store(c);
                }
            }
        }
    }

    /// Add A and B of feature j to `sums`.
    #[inline(always)]
    unsafe fn finish<V: Vector<Scalar = T>, const Q: usize>(
        &self,
        j: usize,
        s: &Sums<V, Q>,
        sums: &mut [f64],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            sums[self.p.bias + j] += self.weight(j) * s.a.sum().to_f64();
            for q in 0..Q {
                let even = s.b[0][q].add(s.b[2][q]);
                let odd = s.b[1][q].add(s.b[3][q]);
                self.add_b(j, q * V::LANES, even.add(odd), sums);
            }
        }
    }

    /// Rows of any number of vectors: as above, but vector by vector, so that what is summed stays in
    /// registers and h and C of a few pairs in the first cache.
    #[inline(always)]
    unsafe fn long_lists<V: Vector<Scalar = T>>(&self, sums: &mut [f64]) {
        for (i, &j) in self.rows.order().iter().enumerate() {
            let j = j as usize;
            self.fetch(i + 1, sums);
            let mut a = T::default();
            for chunk in self.rows.row(j).chunks(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let parts = self.long_products::<V>(j, chunk);
                    let z = V::sums(parts.as_ptr()).add(V::splat(self.p.b()[j]));
                    let y = z.mul(V::splat(self.sign(j))).relu().first(chunk.len());
                    a = a + y.sum();
                    self.long_spread::<V>(j, chunk, y, sums);
                }
            }
            sums[self.p.bias + j] += self.weight(j) * a.to_f64();
        }
    }

    /// See [`Pairs::products`]; four entries at a time.
    #[inline(always)]
    unsafe fn long_products<V: Vector<Scalar = T>>(&self, j: usize, entries: &[u16]) -> [V; LANES] {
        let row = self.p.row(j).as_ptr();
        // SAFETY: the caller's promise. Entries beyond the last stand for the first: their lanes are
        // not looked at.
        unsafe {
            let mut parts = [V::zero(); LANES];
            for i in (0..entries.len()).step_by(CHAINS) {
                let mut h = [self.h_of(entries[0]); CHAINS];
                for (h, &t) in h.iter_mut().zip(&entries[i..]) {
                    *h = self.h_of(t);
                }
                let mut four = [V::zero(); CHAINS];
                for k in (0..self.length).step_by(V::LANES) {
                    let w = V::load(row.add(k));
                    for i in 0..CHAINS {
                        four[i] = w.fma(V::load(h[i].add(k)), four[i]);
                    }
                }
                parts[i..i + CHAINS].copy_from_slice(&four);
            }
            parts
        }
    }

    /// See [`Pairs::spread`]; B goes to the sums at once.
    #[inline(always)]
    unsafe fn long_spread<V: Vector<Scalar = T>>(
        &self,
        j: usize,
        entries: &[u16],
        y: V,
        sums: &mut [f64],
    ) {
        let row = self.p.row(j).as_ptr();
        let mut outputs = Outputs([T::default(); LANES]);
        // SAFETY: the caller's promise.
        unsafe {
            y.store(outputs.0.as_mut_ptr());
            let outputs = &black_box(&outputs).0;
            let weight = V::splat(T::from_f64(self.weight(j)));
            for k in (0..self.length).step_by(V::LANES) {
                let weighed = V::load(row.add(k)).mul(weight);
                let mut b = [V::zero(); CHAINS];
                for (i, &t) in entries.iter().enumerate() {
                    let (h, c) = (self.h_of(t).add(k), self.c_of(t).add(k));
                    let y = V::splat(outputs[i]);
                    b[i % CHAINS] = y.fma(V::load(h), b[i % CHAINS]);
                    y.fma(weighed, V::load(c)).store(c);
                }
                self.add_b(j, k, b[0].add(b[2]).add(b[1].add(b[3])), sums);
            }
        }
    }

    /// Add a vector of B_j, from k on, to `sums`.
    #[inline(always)]
    unsafe fn add_b<V: Vector<Scalar = T>>(&self, j: usize, k: usize, sum: V, sums: &mut [f64]) {
        let m = self.p.m;
        let out = &mut sums[j * m + k..][..V::LANES.min(m - k)];
        let weight = self.weight(j);
        // SAFETY: the caller's promise; at most LANES lanes.
        unsafe {
            if weight == 1.0 && out.len() == V::LANES {
                sum.add_lanes(out.as_mut_ptr());
            } else {
                let mut lanes = [T::default(); LANES];
                sum.store(lanes.as_mut_ptr());
                let add = |(o, x): (&mut f64, &T)| *o += weight * x.to_f64();
                out.iter_mut().zip(&lanes).for_each(add);
            }
        }
    }

    #[inline(always)]
    unsafe fn h_of(&self, t: u16) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.h.add(usize::from(t) * self.length) }
    }

    #[inline(always)]
    unsafe fn c_of(&self, t: u16) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.c.add(usize::from(t) * self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::params::row_length;
    use crate::simd::aligned::Aligned;
    use crate::simd::isa::Isa;
    use crate::stream::philox;

    /// Examples of the tile; features, one for each length of a list.
    const COUNT: usize = 50;
    const FEATURES: usize = 41;

    /// Lists of every length to 40, some of them of exceptions from being linear.
    struct Case<T> {
        p: Params<T>,
        rows: Rows,
        is_minus: Vec<bool>,
        importance: Vec<f64>,
        h: Aligned<T>,
    }

    fn word(i: usize, kind: u64) -> u64 {
        philox([kind, 5], [i as u64, 0, 0, 0])[0]
    }

    fn drawn<T: Real>(i: usize, kind: u64) -> T {
        T::from_f64((word(i, kind) >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }

    fn case<T: Real>(m: usize, weighed: bool) -> Case<T> {
        let n = FEATURES;
        let b: Vec<T> = (0..n).map(|j| drawn(j, 1)).collect();
        let p = Params::from_values(n, m, (0..n * m).map(|i| drawn(i, 2)), &b, None);
        let length = row_length::<T>(m);
        let mut h = Aligned::zeros(COUNT * length);
        for (t, row) in h.chunks_exact_mut(length).enumerate() {
            (0..m).for_each(|k| row[k] = drawn(t * m + k, 3));
        }
        let mut rows = Rows::new(n);
        for j in 0..n {
            // Examples from a place on, in steps of 7, which does not divide their number.
            let first = word(j, 4) as usize;
            let list: Vec<u16> = (0..j)
                .map(|i| ((first % 1000 + 7 * i) % COUNT) as u16)
                .collect();
            rows.set(j, &list, 0);
        }
        rows.sort();
        let weights = (0..n).map(|j| 0.5 + drawn::<f64>(j, 5).abs());
        Case {
            p,
            rows,
            is_minus: (0..n).map(|j| word(j, 6).is_multiple_of(3)).collect(),
            importance: if weighed {
                weights.collect()
            } else {
                Vec::new()
            },
            h,
        }
    }

    crate::simd::dispatch::multiversion! {
        fn run<V, T>(pairs: &Pairs<T>, sums: &mut [f64]) {
            // SAFETY: the instruction set of `V` is available here; `case` made rows that fit.
            unsafe { pairs.run::<V>(sums) }
        }
    }

    /// C and sums, as the kernel gives them.
    fn given<T: Real>(isa: Isa, case: &Case<T>) -> (Vec<f64>, Vec<f64>) {
        let (mut c, mut sums) = (Aligned::zeros(case.h.len()), vec![0.0; case.p.data.len()]);
        let pairs = Pairs {
            p: &case.p,
            importance: &case.importance,
            rows: &case.rows,
            is_minus: &case.is_minus,
            length: row_length::<T>(case.p.m),
            h: case.h.as_ptr(),
            c: c.as_mut_ptr(),
        };
        run(isa, &pairs, &mut sums);
        (c.iter().map(|c: &T| c.to_f64()).collect(), sums)
    }

    /// The same, pair by pair in double precision, and the sizes of the terms.
    fn wanted<T: Real>(case: &Case<T>) -> [Vec<f64>; 4] {
        let (p, length) = (&case.p, row_length::<T>(case.p.m));
        let (mut c, mut sums) = (vec![0.0; case.h.len()], vec![0.0; p.data.len()]);
        let (mut c_size, mut size) = (c.clone(), sums.clone());
        for j in 0..p.n {
            let weight = case.importance.get(j).copied().unwrap_or(1.0);
            for &t in case.rows.row(j) {
                let h = &case.h[usize::from(t) * length..][..p.m];
                let w = p.row(j);
                let products = w.iter().zip(h).map(|(w, h)| w.to_f64() * h.to_f64());
                let z = products.sum::<f64>() + p.b()[j].to_f64();
                let y = if case.is_minus[j] { -z } else { z }.max(0.0);
                let add = |to: &mut f64, size: &mut f64, x: f64| {
                    *to += x;
                    *size += x.abs();
                };
                add(&mut sums[p.bias + j], &mut size[p.bias + j], weight * y);
                for k in 0..p.m {
                    let (at, at_c) = (j * p.m + k, usize::from(t) * length + k);
                    add(&mut sums[at], &mut size[at], weight * y * h[k].to_f64());
                    add(&mut c[at_c], &mut c_size[at_c], weight * y * w[k].to_f64());
                }
            }
        }
        [c, sums, c_size, size]
    }

    fn check<T: Real>(m: usize, weighed: bool) {
        let case = case::<T>(m, weighed);
        let length = row_length::<T>(m);
        let [c, sums, c_size, size] = wanted(&case);
        let portable = given(Isa::Portable, &case);
        // The error of y, too, counts: z cancels, but not below a share of m products.
        let tolerance = 8.0 * (m + 8) as f64 * T::EPSILON;
        let near = |a: &[f64], b: &[f64], size: &[f64]| {
            let far = |((a, b), s): ((&f64, &f64), &f64)| (a - b).abs() > tolerance * (s + 1.0);
            !a.iter().zip(b).zip(size).any(far)
        };
        assert!(near(&portable.1, &sums, &size), "sums, m = {m}");
        for (t, row) in portable.0.chunks_exact(length).enumerate() {
            let here = t * length..t * length + m;
            assert!(
                near(&row[..m], &c[here.clone()], &c_size[here]),
                "C, m = {m}"
            );
        }
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            let bits = |v: &[f64]| -> Vec<u64> { v.iter().map(|x| x.to_bits()).collect() };
            let other = given(isa, &case);
            assert_eq!(bits(&other.1), bits(&portable.1), "{}, m = {m}", isa.name());
            let rows = other
                .0
                .chunks_exact(length)
                .zip(portable.0.chunks_exact(length));
            for (a, b) in rows {
                assert_eq!(bits(&a[..m]), bits(&b[..m]), "{}, m = {m}", isa.name());
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn pairs_of_every_width_and_length_add_what_the_formulas_say() {
        for m in (7..=40).chain([48, 49, 63, 64, 65, 96, 127, 128, 200, 256, 300]) {
            check::<f32>(m, m % 2 == 0);
            check::<f64>(m, m % 2 == 1);
        }
    }
}
