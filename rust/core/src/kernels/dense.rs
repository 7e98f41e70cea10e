//! The dense kernels: every pair (example, feature), 3 m multiply-adds each.

use crate::model::params::row_length;
use crate::simd::aligned::Aligned;
use crate::simd::vector::{Real, Vector};

/// Features over which C_t is summed in T's precision.
const FEATURES: usize = 1 << 14;
/// Up to this m, kernels are compiled for each m with everything in registers; beyond, tiles are as
/// fast.
const FUSED_MAX: usize = 3;
/// Examples of a sub-block of the tiled kernel.
const SUB: usize = 32;

/// Features packed for the kernels: blocks of [`Dense::block`] features (the last may be shorter, a
/// multiple of whole vectors), each with m rows of W and one of b. A block lies in few pages.
#[derive(Clone, Copy)]
pub struct Packed<'a, T> {
    /// Number of features, padded.
    pub count: usize,
    /// W and b.
    pub params: &'a [T],
    /// Importances; empty when all are 1.
    pub importance: &'a [T],
    /// The same in double.
    pub importance64: &'a [f64],
}

/// Buffers of the dense kernels. The sizes depend on the shape of the problem alone, and with them
/// the order of additions: bits are the same on every instruction set.
pub struct Dense<T> {
    m: usize,
    /// Examples of a block.
    pub examples: usize,
    /// Features of a block.
    pub block: usize,
    /// Length of a hidden vector in memory.
    length: usize,
    /// A and B of a block of features, (m + 1, features), B first.
    acc: Aligned<T>,
    /// C of a block of examples by lanes, (examples, m, lanes).
    c_lanes: Aligned<T>,
    /// Outputs y of a sub-block, (SUB, features); tiled kernel only.
    y: Aligned<T>,
}

impl<T: Real> Dense<T> {
    /// Buffers for m hidden dimensions.
    pub fn new(m: usize) -> Self {
        let lanes = T::Portable::LANES;
        // C by lanes stays within the second-level cache, W and A, B of a block within the first: if they
        // were as large as that, all rows would lie in the same places of it.
        let mut examples = 512;
        while examples > SUB && examples * m * lanes * size_of::<T>() > 1 << 19 {
            examples /= 2;
        }
        let mut block = if m <= FUSED_MAX { 1024 } else { 256 };
        while m <= FUSED_MAX && (2 * m + 2) * block * size_of::<T>() >= 1 << 15 {
            block /= 2;
        }
        Dense {
            m,
            examples,
            block,
            length: row_length::<T>(m),
            acc: Aligned::zeros((m + 1) * block),
            c_lanes: Aligned::zeros(examples * m * lanes),
            y: Aligned::zeros(if m > FUSED_MAX { SUB * block } else { 0 }),
        }
    }

    /// For the examples with hidden vectors `h`, (count, row length): add A and B, weighted by I, to
    /// `sums`, packed like the features (write them if `first`), and C to `c`, (count, m).
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    pub unsafe fn run<V: Vector<Scalar = T>>(
        &mut self,
        f: &Packed<T>,
        h: &[T],
        first: bool,
        sums: &mut [f64],
        c: &mut [f64],
    ) {
        let count = h.len() / self.length;
        assert!(count <= self.examples && count * self.m == c.len());
        assert!(f.params.len() == (self.m + 1) * f.count && sums.len() >= f.params.len());
        assert!(f.count.is_multiple_of(2 * V::LANES));
        let mut j0 = 0;
        while j0 < f.count {
            let width = self.block.min(f.count - j0);
            self.acc.fill(T::default());
            // SAFETY: the caller's promise, and the assertions above. No closures here: they would
            // not have the instruction set.
            unsafe {
                match (self.m, f.importance.is_empty()) {
                    (1, true) => self.fused::<V, 1, false>(f, h, j0, width),
                    (2, true) => self.fused::<V, 2, false>(f, h, j0, width),
                    (3, true) => self.fused::<V, 3, false>(f, h, j0, width),
                    (1, false) => self.fused::<V, 1, true>(f, h, j0, width),
                    (2, false) => self.fused::<V, 2, true>(f, h, j0, width),
                    (3, false) => self.fused::<V, 3, true>(f, h, j0, width),
                    _ => self.tiled::<V>(f, h, j0, width),
                }
                self.flush(f, sums, j0, width, first);
                j0 += width;
                if j0 % FEATURES == 0 || j0 == f.count {
                    self.reduce::<V>(c);
                }
            }
        }
    }

    /// Add A and B of a block of features to the sums, or write them.
    #[inline(always)]
    fn flush(&self, f: &Packed<T>, sums: &mut [f64], j0: usize, width: usize, first: bool) {
        for k in 0..=self.m {
            let acc = &self.acc[k * self.block..][..width];
            let sums = &mut sums[j0 * (self.m + 1) + k * width..][..width];
            match (f.importance64.is_empty(), first) {
                (true, true) => sums.iter_mut().zip(acc).for_each(|(s, a)| *s = a.to_f64()),
                (true, false) => sums.iter_mut().zip(acc).for_each(|(s, a)| *s += a.to_f64()),
                (false, _) => {
                    let weights = &f.importance64[j0..][..width];
                    for ((s, a), w) in sums.iter_mut().zip(acc).zip(weights) {
                        *s = if first {
                            a.to_f64() * w
                        } else {
                            *s + a.to_f64() * w
                        };
                    }
                }
            }
        }
    }

    /// Sum C over lanes into doubles, and clear the lanes.
    #[inline(always)]
    unsafe fn reduce<V: Vector<Scalar = T>>(&mut self, c: &mut [f64]) {
        for (c, lanes) in c.iter_mut().zip(self.c_lanes.chunks_exact_mut(V::LANES)) {
            // SAFETY: a chunk is one vector.
            unsafe {
                *c += V::load(lanes.as_ptr()).sum().to_f64();
                V::zero().store(lanes.as_mut_ptr());
            }
        }
    }

    /// A, B and C of a block of features for small m: one sweep, everything in registers.
    #[inline(always)]
    unsafe fn fused<V: Vector<Scalar = T>, const M: usize, const IMPORTANCE: bool>(
        &mut self,
        f: &Packed<T>,
        h: &[T],
        j0: usize,
        width: usize,
    ) {
        let count = h.len() / M;
        // SAFETY: offsets stay inside the buffers, by the assertions in `run`.
        unsafe {
            let sweep = Sweep {
                w: f.params.as_ptr().add(j0 * (M + 1)),
                importance: if IMPORTANCE {
                    f.importance.as_ptr().add(j0)
                } else {
                    std::ptr::null()
                },
                acc: self.acc.as_mut_ptr(),
                features: self.block,
                width,
                h: h.as_ptr(),
                c: self.c_lanes.as_mut_ptr(),
            };
            if V::REGISTERS >= 32 {
                match M {
                    1..=2 => sweep.all::<V, M, 8, IMPORTANCE>(count),
                    _ => sweep.all::<V, M, 4, IMPORTANCE>(count),
                }
            } else if V::SPLIT {
                match M {
                    1 => sweep.all::<V::Half, M, 8, IMPORTANCE>(count),
                    2 => sweep.all::<V::Half, M, 4, IMPORTANCE>(count),
                    _ => sweep.all::<V::Half, M, 2, IMPORTANCE>(count),
                }
            } else {
                match M {
                    1 => sweep.all::<V, M, 4, IMPORTANCE>(count),
                    2 => sweep.all::<V, M, 2, IMPORTANCE>(count),
                    _ => sweep.all::<V, M, 1, IMPORTANCE>(count),
                }
            }
        }
    }

    /// A, B and C of a block of features for any m: three products of tiles, by way of a small
    /// buffer of outputs y.
    #[inline(always)]
    unsafe fn tiled<V: Vector<Scalar = T>>(
        &mut self,
        f: &Packed<T>,
        h: &[T],
        j0: usize,
        width: usize,
    ) {
        let count = h.len() / self.length;
        let null = std::ptr::null();
        for t0 in (0..count).step_by(SUB) {
            // SAFETY: offsets stay inside the buffers, by the assertions in `run`.
            unsafe {
                let block = Block {
                    m: self.m,
                    length: self.length,
                    w: f.params.as_ptr().add(j0 * (self.m + 1)),
                    importance: if f.importance.is_empty() {
                        null
                    } else {
                        f.importance.as_ptr().add(j0)
                    },
                    acc: self.acc.as_mut_ptr(),
                    features: self.block,
                    width,
                    h: h.as_ptr().add(t0 * self.length),
                    c: self.c_lanes.as_mut_ptr().add(t0 * self.m * V::LANES),
                    y: self.y.as_mut_ptr(),
                    examples: SUB.min(count - t0),
                };
                if V::REGISTERS >= 32 {
                    block.run::<V, 4, 4, 4>();
                } else {
                    block.run::<V, 2, 2, 2>();
                }
            }
        }
    }
}

/// A block of features that examples are run over.
struct Sweep<T> {
    w: *const T,
    importance: *const T,
    acc: *mut T,
    features: usize,
    width: usize,
    h: *const T,
    c: *mut T,
}

impl<T: Real> Sweep<T> {
    /// All examples, P at a time as long as P are left. If V is half of what a vector is elsewhere, one
    /// half of each after the other.
    #[inline(always)]
    unsafe fn all<V: Vector<Scalar = T>, const M: usize, const P: usize, const IMPORTANCE: bool>(
        &self,
        count: usize,
    ) {
        for part in (0..T::Portable::LANES).step_by(V::LANES) {
            let mut t = 0;
            // SAFETY: `part` is one of a vector.
            unsafe {
                self.some::<V, M, P, IMPORTANCE>(&mut t, count, part);
                self.some::<V, M, 2, IMPORTANCE>(&mut t, count, part);
                self.some::<V, M, 1, IMPORTANCE>(&mut t, count, part);
            }
        }
    }

    /// Examples from `t` on, P at a time, as long as P are left.
    #[inline(always)]
    unsafe fn some<
        V: Vector<Scalar = T>,
        const M: usize,
        const P: usize,
        const IMPORTANCE: bool,
    >(
        &self,
        t: &mut usize,
        count: usize,
        part: usize,
    ) {
        while *t + P <= count {
            // SAFETY: examples t .. t + P exist.
            unsafe { self.examples::<V, M, P, IMPORTANCE>(*t, part) };
            *t += P;
        }
    }

    /// P examples, in the lanes of V that begin at `part`.
    #[inline(always)]
    unsafe fn examples<
        V: Vector<Scalar = T>,
        const M: usize,
        const P: usize,
        const IMPORTANCE: bool,
    >(
        &self,
        t: usize,
        part: usize,
    ) {
        let lanes = T::Portable::LANES;
        // SAFETY: the buffers hold P examples from t on and `width` features, whole vectors each.
        unsafe {
            let mut h = [[V::zero(); M]; P];
            let mut c = [[V::zero(); M]; P];
            for p in 0..P {
                for k in 0..M {
                    h[p][k] = V::splat(*self.h.add((t + p) * M + k));
                    c[p][k] = V::load(self.c.add(((t + p) * M + k) * lanes + part));
                }
            }
            let mut j = part;
            while j < self.width {
                let mut w = [V::zero(); M];
                let mut big_b = [V::zero(); M];
                for k in 0..M {
                    w[k] = V::load(self.w.add(k * self.width + j));
                    big_b[k] = V::load(self.acc.add(k * self.features + j));
                }
                let b = V::load(self.w.add(M * self.width + j));
                let mut a = V::load(self.acc.add(M * self.features + j));
                let importance = if IMPORTANCE {
                    V::load(self.importance.add(j))
                } else {
                    b
                };
                for p in 0..P {
                    let mut z = b;
                    for k in 0..M {
                        z = w[k].fma(h[p][k], z);
                    }
                    let y = z.relu();
                    a = a.add(y);
                    let weighted = if IMPORTANCE { y.mul(importance) } else { y };
                    for k in 0..M {
                        big_b[k] = y.fma(h[p][k], big_b[k]);
                        c[p][k] = weighted.fma(w[k], c[p][k]);
                    }
                }
                for k in 0..M {
                    big_b[k].store(self.acc.add(k * self.features + j));
                }
                a.store(self.acc.add(M * self.features + j));
                j += lanes;
            }
            for p in 0..P {
                for k in 0..M {
                    c[p][k].store(self.c.add(((t + p) * M + k) * lanes + part));
                }
            }
        }
    }
}

/// A sub-block of examples times a block of features.
struct Block<T> {
    m: usize,
    length: usize,
    w: *const T,
    importance: *const T,
    acc: *mut T,
    features: usize,
    width: usize,
    h: *const T,
    c: *mut T,
    y: *mut T,
    examples: usize,
}

impl<T: Real> Block<T> {
    /// Y, then B and A from Y, then C from Y, in tiles of P scalars by Q vectors.
    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>, const P: usize, const Q: usize, const K: usize>(&self) {
        // SAFETY: P and Q tiles with remainders of 1 stay inside the block; Q divides the padding.
        unsafe {
            let mut t = 0;
            while t < self.examples {
                let whole = t + P <= self.examples;
                let mut j = 0;
                while j < self.width {
                    if whole {
                        self.outputs::<V, P, Q>(t, j);
                    } else {
                        self.outputs::<V, 1, Q>(t, j);
                    }
                    j += Q * V::LANES;
                }
                t += if whole { P } else { 1 };
            }
            let mut j = 0;
            while j < self.width {
                let mut k = 0;
                while k < self.m {
                    let whole = k + P <= self.m;
                    if whole {
                        self.decoder::<V, P, Q>(k, j);
                    } else {
                        self.decoder::<V, 1, Q>(k, j);
                    }
                    k += if whole { P } else { 1 };
                }
                self.bias::<V, Q>(j);
                j += Q * V::LANES;
            }
            self.hidden_tiles::<V, P, K>();
        }
    }

    /// y = relu(W^T h + b) for P examples and Q vectors of features.
    #[inline(always)]
    unsafe fn outputs<V: Vector<Scalar = T>, const P: usize, const Q: usize>(
        &self,
        t: usize,
        j: usize,
    ) {
        // SAFETY: as in `run`.
        unsafe {
            let mut z = [[V::zero(); Q]; P];
            for q in 0..Q {
                let b = V::load(self.w.add(self.m * self.width + j + q * V::LANES));
                for row in &mut z {
                    row[q] = b;
                }
            }
            for k in 0..self.m {
                let mut w = [V::zero(); Q];
                for q in 0..Q {
                    w[q] = V::load(self.w.add(k * self.width + j + q * V::LANES));
                }
                for p in 0..P {
                    let h = V::splat(*self.h.add((t + p) * self.length + k));
                    for q in 0..Q {
                        z[p][q] = w[q].fma(h, z[p][q]);
                    }
                }
            }
            for p in 0..P {
                for q in 0..Q {
                    z[p][q]
                        .relu()
                        .store(self.y.add((t + p) * self.features + j + q * V::LANES));
                }
            }
        }
    }

    /// B_k += sum_t y_t h_tk for P of the k.
    #[inline(always)]
    unsafe fn decoder<V: Vector<Scalar = T>, const P: usize, const Q: usize>(
        &self,
        k: usize,
        j: usize,
    ) {
        // SAFETY: as in `run`.
        unsafe {
            let mut sum = [[V::zero(); Q]; P];
            for p in 0..P {
                for q in 0..Q {
                    sum[p][q] = V::load(self.acc.add((k + p) * self.features + j + q * V::LANES));
                }
            }
            for t in 0..self.examples {
                let mut y = [V::zero(); Q];
                for q in 0..Q {
                    y[q] = V::load(self.y.add(t * self.features + j + q * V::LANES));
                }
                for p in 0..P {
                    let h = V::splat(*self.h.add(t * self.length + k + p));
                    for q in 0..Q {
                        sum[p][q] = y[q].fma(h, sum[p][q]);
                    }
                }
            }
            for p in 0..P {
                for q in 0..Q {
                    sum[p][q].store(self.acc.add((k + p) * self.features + j + q * V::LANES));
                }
            }
        }
    }

    /// A += sum_t y_t.
    #[inline(always)]
    unsafe fn bias<V: Vector<Scalar = T>, const Q: usize>(&self, j: usize) {
        // SAFETY: as in `run`.
        unsafe {
            for q in 0..Q {
                let at = self.acc.add(self.m * self.features + j + q * V::LANES);
                let mut sum = V::load(at);
                for t in 0..self.examples {
                    sum = sum.add(V::load(self.y.add(t * self.features + j + q * V::LANES)));
                }
                sum.store(at);
            }
        }
    }

    /// C_t += sum_j I_j y_tj w_j.
    #[inline(always)]
    unsafe fn hidden_tiles<V: Vector<Scalar = T>, const P: usize, const K: usize>(&self) {
        // SAFETY: as in `run`.
        unsafe {
            if !self.importance.is_null() {
                self.weigh::<V>();
            }
            let mut t = 0;
            while t < self.examples {
                let whole_t = t + P <= self.examples;
                let mut k = 0;
                while k < self.m {
                    let whole_k = k + K <= self.m;
                    match (whole_t, whole_k) {
                        (true, true) => self.hidden::<V, P, K>(t, k),
                        (true, false) => self.hidden::<V, P, 1>(t, k),
                        (false, true) => self.hidden::<V, 1, K>(t, k),
                        (false, false) => self.hidden::<V, 1, 1>(t, k),
                    }
                    k += if whole_k { K } else { 1 };
                }
                t += if whole_t { P } else { 1 };
            }
        }
    }

    /// y *= I, after A and B have been taken.
    #[inline(always)]
    unsafe fn weigh<V: Vector<Scalar = T>>(&self) {
        for t in 0..self.examples {
            for j in (0..self.width).step_by(V::LANES) {
                // SAFETY: as in `run`.
                unsafe {
                    let y = self.y.add(t * self.features + j);
                    V::load(y).mul(V::load(self.importance.add(j))).store(y);
                }
            }
        }
    }

    /// C of P examples and K of the k.
    #[inline(always)]
    unsafe fn hidden<V: Vector<Scalar = T>, const P: usize, const K: usize>(
        &self,
        t: usize,
        k: usize,
    ) {
        // SAFETY: as in `run`.
        unsafe {
            let mut c = [[V::zero(); K]; P];
            for p in 0..P {
                for q in 0..K {
                    c[p][q] = V::load(self.c.add(((t + p) * self.m + k + q) * V::LANES));
                }
            }
            let mut j = 0;
            while j < self.width {
                let mut w = [V::zero(); K];
                for q in 0..K {
                    w[q] = V::load(self.w.add((k + q) * self.width + j));
                }
                for p in 0..P {
                    let y = V::load(self.y.add((t + p) * self.features + j));
                    for q in 0..K {
                        c[p][q] = y.fma(w[q], c[p][q]);
                    }
                }
                j += V::LANES;
            }
            for p in 0..P {
                for q in 0..K {
                    c[p][q].store(self.c.add(((t + p) * self.m + k + q) * V::LANES));
                }
            }
        }
    }
}
