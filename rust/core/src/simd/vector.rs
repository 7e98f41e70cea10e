//! One vector type per instruction set and scalar, all of the same logical width.
//!
//! A `f32` vector has 16 lanes and a `f64` vector 8 on every instruction set, every operation is
//! correctly rounded (multiply-add fused), and sums over lanes add in one fixed order. So every
//! kernel written over [`Vector`] gives the same bits with AVX-512, AVX2, NEON and the portable body.

use std::fmt::Debug;

/// `f32` or `f64`.
pub trait Real:
    Copy
    + Send
    + Sync
    + Debug
    + Default
    + PartialOrd
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Neg<Output = Self>
    + crate::memory::Zero
{
    /// Its vector for AVX-512.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Scalar = Self>;
    /// Its vector for AVX2.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Scalar = Self>;
    /// Its vector for NEON.
    #[cfg(target_arch = "aarch64")]
    type Neon: Vector<Scalar = Self>;
    /// Its vector for any processor.
    type Portable: Vector<Scalar = Self>;
    /// Rounded from `f64`.
    fn from_f64(x: f64) -> Self;
    /// Distance from 1 to the next number.
    const EPSILON: f64;
    /// Exact conversion.
    fn to_f64(self) -> f64;
    /// `self * a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
}

/// A vector of `LANES` scalars.
///
/// # Safety
/// Every method may only be called where the instruction set of the type is available; `load`,
/// `load_f64` and `store` need `LANES` valid, initialized scalars at the pointer (any alignment).
pub unsafe trait Vector: Copy {
    /// The scalar.
    type Scalar: Real;
    /// The vector for rows that are half as long, where that pays; else the same.
    type Half: Vector<Scalar = Self::Scalar>;
    /// Number of lanes: 16 for `f32`, 8 for `f64`.
    const LANES: usize;
    /// How many vectors fit in the registers: sizes tiles, and never changes a result.
    const REGISTERS: usize;
    /// Whether a vector is two in the registers, so that kernels with many of them take one half after the
    /// other; which never changes a result.
    const SPLIT: bool = Self::Half::REGISTERS > Self::REGISTERS;
    /// Zeros.
    unsafe fn zero() -> Self;
    /// All lanes the same.
    unsafe fn splat(x: Self::Scalar) -> Self;
    /// From memory.
    unsafe fn load(p: *const Self::Scalar) -> Self;
    /// From doubles in memory, rounded.
    unsafe fn load_f64(p: *const f64) -> Self;
    /// To memory.
    unsafe fn store(self, p: *mut Self::Scalar);
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self - b`.
    unsafe fn sub(self, b: Self) -> Self;
    /// `self * b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// `self / b`.
    unsafe fn div(self, b: Self) -> Self;
    /// `self * a + b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `b - self * a`, rounded once.
    unsafe fn fnma(self, a: Self, b: Self) -> Self;
    /// Square root.
    unsafe fn sqrt(self) -> Self;
    /// `self` where it is greater than 0, else 0 (also for NaN).
    unsafe fn relu(self) -> Self;
    /// 0 where `|self|` is below the smallest normal number, else `self`.
    unsafe fn flush(self) -> Self;
    /// Sum of the lanes: halves are added until one lane is left.
    unsafe fn sum(self) -> Self::Scalar;
    /// Bit i is set unless lane i is 0 or less: also for NaN.
    unsafe fn positive(self) -> u32;
    /// The first `count` lanes, and zeros; at most `LANES`.
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        let mut lanes = [Self::Scalar::default(); 16];
        // SAFETY: at most 16 lanes.
        unsafe {
            self.store(lanes.as_mut_ptr());
            lanes[count..].fill(Self::Scalar::default());
            Self::load(lanes.as_ptr())
        }
    }
    /// Lanes of `self` where the bit of the lane is set, else those of `b`.
    #[inline(always)]
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        let (mut lanes, mut others) =
            ([Self::Scalar::default(); 16], [Self::Scalar::default(); 16]);
        // SAFETY: at most 16 lanes.
        unsafe {
            self.store(lanes.as_mut_ptr());
            b.store(others.as_mut_ptr());
            for i in 0..Self::LANES {
                if bits >> i & 1 == 0 {
                    lanes[i] = others[i];
                }
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// Lane i is the scalar `M * indices[i]` behind `p`.
    ///
    /// # Safety
    /// There are `LANES` indices, each with a scalar, which is less than 2^31 scalars behind `p`.
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const Self::Scalar, indices: *const u32) -> Self {
        let mut lanes = [Self::Scalar::default(); 16];
        // SAFETY: at most 16 lanes; the caller vouches for the rest.
        unsafe {
            for i in 0..Self::LANES {
                lanes[i] = *p.add(*indices.add(i) as usize * M);
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// The same with the scalar behind it, as two vectors: what lies side by side is read at one time.
    ///
    /// # Safety
    /// As for [`Vector::gather`], with two scalars for each index.
    #[inline(always)]
    unsafe fn gather_pair<const M: usize>(
        p: *const Self::Scalar,
        indices: *const u32,
    ) -> (Self, Self) {
        // SAFETY: the caller vouches for both.
        unsafe {
            (
                Self::gather::<M>(p, indices),
                Self::gather::<M>(p.add(1), indices),
            )
        }
    }
    /// Whether any lane is not 0.
    unsafe fn any(self) -> bool;
    /// Lane i is the sum of the lanes of vector i: what [`Vector::sum`] gives, for `LANES` at once.
    #[inline(always)]
    unsafe fn sums(vectors: *const Self) -> Self {
        let mut out = [Self::Scalar::default(); 16];
        for (i, out) in out.iter_mut().enumerate().take(Self::LANES) {
            // SAFETY: the caller vouches for LANES vectors.
            *out = unsafe { (*vectors.add(i)).sum() };
        }
        // SAFETY: at most 16 lanes.
        unsafe { Self::load(out.as_ptr()) }
    }
    /// Add all lanes to doubles.
    #[inline(always)]
    unsafe fn add_lanes(self, out: *mut f64) {
        let mut lanes = [Self::Scalar::default(); 16];
        // SAFETY: at most 16 lanes; the caller vouches for `out`.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for i in 0..Self::LANES {
                *out.add(i) += lanes[i].to_f64();
            }
        }
    }
    /// Add the first lanes to the doubles of `out`, at most `LANES`.
    #[inline(always)]
    unsafe fn add_to(self, out: &mut [f64]) {
        let mut lanes = [Self::Scalar::default(); 16];
        // SAFETY: at most 16 lanes.
        unsafe { self.store(lanes.as_mut_ptr()) };
        out.iter_mut()
            .zip(&lanes)
            .for_each(|(o, x)| *o += x.to_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::{Real, Vector};
    use crate::simd::isa::Isa;

    /// Numbers of every kind, in an order that mixes them.
    fn drawn<T: Real>(seed: u64, tiniest: T) -> Vec<T> {
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY,
        ];
        let word = |i: u64| crate::stream::philox([seed, 0], [i, 0, 0, 0])[0];
        (0..16u64)
            .map(|i| {
                let x = (word(i) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
                match word(i + 100) % 6 {
                    0 => T::from_f64(special[(word(i + 200) % 7) as usize]),
                    1 => T::from_f64(x) * tiniest,
                    2 => T::from_f64(x * 1e30),
                    3 => T::from_f64(x * 1e-20),
                    _ => T::from_f64(x),
                }
            })
            .collect()
    }

    /// Bits, those of all NaN alike.
    fn same<T: Real>(x: T) -> u64 {
        let x = x.to_f64();
        if x.is_nan() { u64::MAX } else { x.to_bits() }
    }

    /// What every operation gives.
    ///
    /// # Safety
    /// The instruction set of `V` is available.
    #[inline(always)]
    unsafe fn results<V: Vector>(seed: u64, tiniest: V::Scalar) -> Vec<u64> {
        // SAFETY: buffers of 16 and more.
        unsafe {
            let [a, b, c] = [0, 1, 2].map(|i| drawn::<V::Scalar>(3 * seed + i, tiniest));
            let (x, y, z) = (
                V::load(a.as_ptr()),
                V::load(b.as_ptr()),
                V::load(c.as_ptr()),
            );
            let doubles: Vec<f64> = drawn(seed + 7777, 1e-40);
            let places: [u32; 16] = std::array::from_fn(|i| (i as u32 * 5 + seed as u32) % 7);
            let many: Vec<_> = a.iter().chain(&b).chain(&c).copied().collect();
            let parts = [
                x,
                y,
                z,
                x.add(y),
                x.sub(z),
                y.mul(z),
                x,
                z,
                y,
                x,
                y,
                z,
                x,
                y,
                z,
                x,
            ];
            let twos = [
                V::gather_pair::<2>(a.as_ptr(), places.as_ptr()),
                V::gather_pair::<3>(many.as_ptr().add(1), places.as_ptr()),
            ];
            let vectors = [
                x.first(0),
                x.first(seed as usize % V::LANES),
                x.first(V::LANES),
                V::zero(),
                V::splat(a[3]),
                V::load_f64(doubles.as_ptr()),
                x.add(y),
                x.sub(y),
                x.mul(y),
                x.div(y),
                x.fma(y, z),
                x.fnma(y, z),
                x.sqrt(),
                x.relu(),
                x.flush(),
                V::sums(parts.as_ptr()),
                x.select(0, y),
                x.select(0xA53C ^ (seed as u32 & 0xFFFF), y),
                x.select(0xFFFF, y),
                V::gather::<1>(a.as_ptr(), places.as_ptr()),
                V::gather::<2>(a.as_ptr().add(1), places.as_ptr()),
                V::gather::<5>(many.as_ptr(), places.as_ptr()),
                twos[0].0,
                twos[0].1,
                twos[1].0,
                twos[1].1,
            ];
            let mut all = Vec::new();
            for vector in vectors {
                let mut lanes = [V::Scalar::default(); 16];
                vector.store(lanes.as_mut_ptr());
                all.extend(lanes[..V::LANES].iter().map(|&x| same(x)));
            }
            all.push(same(x.sum()));
            all.push(u64::from(x.positive()));
            all.push(u64::from(x.any()));
            all.push(u64::from(V::zero().any()));
            all.push(u64::from(V::splat(-V::Scalar::default()).any()));
            let mut out = vec![1.0; V::LANES - 1];
            x.add_to(&mut out);
            all.extend(out.into_iter().map(same));
            all
        }
    }

    crate::simd::dispatch::multiversion! {
        fn by_isa<V, T>(seed: u64, tiniest: T) -> Vec<u64> {
            // SAFETY: the instruction set of `V` is available here.
            unsafe {
                let mut all = results::<V>(seed, tiniest);
                all.extend(results::<V::Half>(seed, tiniest));
                all
            }
        }
    }

    #[test]
    fn every_vector_does_what_the_portable_one_does() {
        let here: Vec<_> = Isa::ALL.into_iter().filter(|isa| isa.available()).collect();
        assert!(here.contains(&Isa::Portable));
        for &isa in &here {
            for seed in 0..300 {
                let want = by_isa::<f32>(Isa::Portable, seed, f32::MIN_POSITIVE);
                let got = by_isa::<f32>(isa, seed, f32::MIN_POSITIVE);
                assert_eq!(got, want, "{}, f32, seed {seed}", isa.name());
                let want = by_isa::<f64>(Isa::Portable, seed, f64::MIN_POSITIVE);
                let got = by_isa::<f64>(isa, seed, f64::MIN_POSITIVE);
                assert_eq!(got, want, "{}, f64, seed {seed}", isa.name());
            }
        }
    }
}
