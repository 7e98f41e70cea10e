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

macro_rules! real {
    ($t:ty, $avx512:ident, $avx2:ident, $neon:ident, $lanes:literal) => {
        impl Real for $t {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = $avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = $avx2;
            #[cfg(target_arch = "aarch64")]
            type Neon = crate::simd::neon::$neon;
            type Portable = Portable<$t, $lanes>;
            const EPSILON: f64 = <$t>::EPSILON as f64;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn fma(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
        }
    };
}
real!(f32, Avx512F32, Avx2F32, NeonF32, 16);
real!(f64, Avx512F64, Avx2F64, NeonF64, 8);

/// A vector of `LANES` scalars.
///
/// # Safety
/// Every method may only be called where the instruction set of the type is available; `load`,
/// `load_f64` and `store` need `LANES` valid, initialised scalars at the pointer (any alignment).
pub unsafe trait Vector: Copy {
    /// The scalar.
    type Scalar: Real;
    /// Number of lanes: 16 for `f32`, 8 for `f64`.
    const LANES: usize;
    /// How many vectors fit in the registers: sizes tiles, and never changes a result.
    const REGISTERS: usize;
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
    /// Lane i is `p[indices[i]]`.
    #[inline(always)]
    unsafe fn gather(p: *const Self::Scalar, indices: *const u32) -> Self {
        let mut out = [Self::Scalar::default(); 16];
        for (i, out) in out.iter_mut().enumerate().take(Self::LANES) {
            // SAFETY: the caller vouches for LANES indices, and for what they point to.
            *out = unsafe { *p.add(*indices.add(i) as usize) };
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

/// A vector without any instruction set of its own: the compiler uses what the target always has.
#[derive(Clone, Copy)]
pub struct Portable<T, const N: usize>([T; N]);

macro_rules! portable {
    ($t:ty, $n:literal) => {
        // SAFETY: plain Rust; pointers as the trait demands.
        unsafe impl Vector for Portable<$t, $n> {
            type Scalar = $t;
            const LANES: usize = $n;
            const REGISTERS: usize = 8;
            #[inline(always)]
            unsafe fn zero() -> Self {
                Portable([0.0; $n])
            }
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                Portable([x; $n])
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller vouches for $n scalars.
                Portable(unsafe { p.cast::<[$t; $n]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_f64(p: *const f64) -> Self {
                // SAFETY: the caller vouches for $n scalars.
                Portable(unsafe { p.cast::<[f64; $n]>().read_unaligned() }.map(|x| x as $t))
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller vouches for $n scalars.
                unsafe { p.cast::<[$t; $n]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn add(mut self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] += b.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn sub(mut self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] -= b.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn any(self) -> bool {
                self.0 != [0.0; $n]
            }
            #[inline(always)]
            unsafe fn positive(self) -> u32 {
                let mut bits = 0;
                for i in 0..$n {
                    bits |= u32::from(self.0[i] > 0.0 || self.0[i].is_nan()) << i;
                }
                bits
            }
            #[inline(always)]
            unsafe fn mul(mut self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] *= b.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn div(mut self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] /= b.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn fma(mut self, a: Self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] = self.0[i].mul_add(a.0[i], b.0[i]);
                }
                self
            }
            #[inline(always)]
            unsafe fn fnma(mut self, a: Self, b: Self) -> Self {
                for i in 0..$n {
                    self.0[i] = (-self.0[i]).mul_add(a.0[i], b.0[i]);
                }
                self
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                Portable(self.0.map(<$t>::sqrt))
            }
            #[inline(always)]
            unsafe fn relu(self) -> Self {
                Portable(self.0.map(|x| if x > 0.0 { x } else { 0.0 }))
            }
            #[inline(always)]
            unsafe fn flush(self) -> Self {
                Portable(
                    self.0
                        .map(|x| if x.abs() < <$t>::MIN_POSITIVE { 0.0 } else { x }),
                )
            }
            #[inline(always)]
            unsafe fn sum(mut self) -> $t {
                let mut half = $n / 2;
                while half > 0 {
                    for i in 0..half {
                        self.0[i] += self.0[i + half];
                    }
                    half /= 2;
                }
                self.0[0]
            }
        }
    };
}
portable!(f32, 16);
portable!(f64, 8);

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

#[cfg(target_arch = "x86_64")]
#[allow(clippy::missing_safety_doc)]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    /// 16 `f32` in one register.
    #[derive(Clone, Copy)]
    pub struct Avx512F32(__m512);
    /// 8 `f64` in one register.
    #[derive(Clone, Copy)]
    pub struct Avx512F64(__m512d);
    /// 16 `f32` in two registers.
    #[derive(Clone, Copy)]
    pub struct Avx2F32(__m256, __m256);
    /// 8 `f64` in two registers.
    #[derive(Clone, Copy)]
    pub struct Avx2F64(__m256d, __m256d);

    /// The operations that look the same on every register type.
    macro_rules! common {
        ($name:ident, $t:ty, $lanes:literal, $registers:literal, ($($part:tt),+),
         $zero:ident, $set1:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident,
         $sqrt:ident, $max:ident) => {
            type Scalar = $t;
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as the trait demands; so for all below.
                unsafe { $name($({ let _ = $part; $zero() }),+) }
            }
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($({ let _ = $part; $set1(x) }),+) }
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($add(self.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn sub(self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($sub(self.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn mul(self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($mul(self.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn div(self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($div(self.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($fma(self.$part, a.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn fnma(self, a: Self, b: Self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($fnma(self.$part, a.$part, b.$part)),+) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: as the trait demands.
                unsafe { $name($($sqrt(self.$part)),+) }
            }
            #[inline(always)]
            unsafe fn relu(self) -> Self {
                // The second operand is the result when the first is NaN.
                // SAFETY: as the trait demands.
                unsafe { $name($($max(self.$part, $zero())),+) }
            }
        };
    }

    /// Sum of 8 `f32`.
    #[inline(always)]
    unsafe fn sum8(v: __m256) -> f32 {
        // SAFETY: as the trait demands.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// Sum of 4 `f64`.
    #[inline(always)]
    unsafe fn sum4(v: __m256d) -> f64 {
        // SAFETY: as the trait demands.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    /// Partial sums of 4 vectors, 4 each: lanes i, i + 4, i + 8 and i + 12 as [`Vector::sum`] adds
    /// them.
    #[inline(always)]
    unsafe fn four(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
        // SAFETY: as the trait demands.
        unsafe {
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
            );
            _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            )
        }
    }

    /// In each quarter: the 2 partial sums of `a`'s 4, then those of `b`'s.
    #[inline(always)]
    unsafe fn pairs_of_two(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait demands.
        unsafe {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            _mm512_add_ps(
                _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
            )
        }
    }

    /// In each quarter: the sums of `a`'s two pairs, then those of `b`'s.
    #[inline(always)]
    unsafe fn pairs(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait demands.
        unsafe {
            _mm512_add_ps(
                _mm512_shuffle_ps::<0b10_00_10_00>(a, b),
                _mm512_shuffle_ps::<0b11_01_11_01>(a, b),
            )
        }
    }

    /// Denormals of a register set to 0.
    #[inline(always)]
    unsafe fn flush_ps(v: __m256) -> __m256 {
        // SAFETY: as the trait demands.
        unsafe {
            let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), v);
            let tiny = _mm256_set1_ps(f32::MIN_POSITIVE);
            _mm256_and_ps(v, _mm256_cmp_ps::<_CMP_NLT_UQ>(size, tiny))
        }
    }

    /// Denormals of a register set to 0.
    #[inline(always)]
    unsafe fn flush_pd(v: __m256d) -> __m256d {
        // SAFETY: as the trait demands.
        unsafe {
            let size = _mm256_andnot_pd(_mm256_set1_pd(-0.0), v);
            let tiny = _mm256_set1_pd(f64::MIN_POSITIVE);
            _mm256_and_pd(v, _mm256_cmp_pd::<_CMP_NLT_UQ>(size, tiny))
        }
    }

    // SAFETY: operations of the instruction set; pointers as the trait demands.
    unsafe impl Vector for Avx512F32 {
        #[inline(always)]
        unsafe fn any(self) -> bool {
            // SAFETY: as the trait demands.
            unsafe { _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(self.0, _mm512_setzero_ps()) != 0 }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u32 {
            // SAFETY: as the trait demands.
            unsafe {
                u32::from(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(
                    self.0,
                    _mm512_setzero_ps(),
                ))
            }
        }
        #[inline(always)]
        unsafe fn gather(p: *const f32, indices: *const u32) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let indices = _mm512_loadu_si512(indices.cast());
                Avx512F32(_mm512_i32gather_ps::<4>(indices, p))
            }
        }
        #[inline(always)]
        unsafe fn sums(vectors: *const Self) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let v = std::slice::from_raw_parts(vectors, 16);
                let a = four(v[0].0, v[4].0, v[8].0, v[12].0);
                let b = four(v[1].0, v[5].0, v[9].0, v[13].0);
                let c = four(v[2].0, v[6].0, v[10].0, v[14].0);
                let d = four(v[3].0, v[7].0, v[11].0, v[15].0);
                Avx512F32(pairs(pairs_of_two(a, b), pairs_of_two(c, d)))
            }
        }
        common!(
            Avx512F32,
            f32,
            16,
            32,
            (0),
            _mm512_setzero_ps,
            _mm512_set1_ps,
            _mm512_add_ps,
            _mm512_sub_ps,
            _mm512_mul_ps,
            _mm512_div_ps,
            _mm512_fmadd_ps,
            _mm512_fnmadd_ps,
            _mm512_sqrt_ps,
            _mm512_max_ps
        );
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx512F32(_mm512_loadu_ps(p)) }
        }
        #[inline(always)]
        unsafe fn load_f64(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let low = _mm512_cvtpd_ps(_mm512_loadu_pd(p));
                let high = _mm512_cvtpd_ps(_mm512_loadu_pd(p.add(8)));
                Avx512F32(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high))
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: as the trait demands.
            unsafe { _mm512_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn flush(self) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let keep = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(
                    _mm512_abs_ps(self.0),
                    _mm512_set1_ps(f32::MIN_POSITIVE),
                );
                Avx512F32(_mm512_maskz_mov_ps(keep, self.0))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as the trait demands.
            unsafe {
                let high = _mm512_extractf32x8_ps::<1>(self.0);
                sum8(_mm256_add_ps(_mm512_castps512_ps256(self.0), high))
            }
        }
    }

    // SAFETY: operations of the instruction set; pointers as the trait demands.
    unsafe impl Vector for Avx512F64 {
        #[inline(always)]
        unsafe fn any(self) -> bool {
            // SAFETY: as the trait demands.
            unsafe { _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(self.0, _mm512_setzero_pd()) != 0 }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u32 {
            // SAFETY: as the trait demands.
            unsafe {
                u32::from(_mm512_cmp_pd_mask::<_CMP_NLE_UQ>(
                    self.0,
                    _mm512_setzero_pd(),
                ))
            }
        }
        common!(
            Avx512F64,
            f64,
            8,
            32,
            (0),
            _mm512_setzero_pd,
            _mm512_set1_pd,
            _mm512_add_pd,
            _mm512_sub_pd,
            _mm512_mul_pd,
            _mm512_div_pd,
            _mm512_fmadd_pd,
            _mm512_fnmadd_pd,
            _mm512_sqrt_pd,
            _mm512_max_pd
        );
        #[inline(always)]
        unsafe fn load(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx512F64(_mm512_loadu_pd(p)) }
        }
        #[inline(always)]
        unsafe fn load_f64(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Self::load(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f64) {
            // SAFETY: as the trait demands.
            unsafe { _mm512_storeu_pd(p, self.0) }
        }
        #[inline(always)]
        unsafe fn flush(self) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let keep = _mm512_cmp_pd_mask::<_CMP_NLT_UQ>(
                    _mm512_abs_pd(self.0),
                    _mm512_set1_pd(f64::MIN_POSITIVE),
                );
                Avx512F64(_mm512_maskz_mov_pd(keep, self.0))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f64 {
            // SAFETY: as the trait demands.
            unsafe {
                let high = _mm512_extractf64x4_pd::<1>(self.0);
                sum4(_mm256_add_pd(_mm512_castpd512_pd256(self.0), high))
            }
        }
    }

    // SAFETY: operations of the instruction set; pointers as the trait demands.
    unsafe impl Vector for Avx2F32 {
        #[inline(always)]
        unsafe fn any(self) -> bool {
            // SAFETY: as the trait demands.
            unsafe {
                let zero = _mm256_setzero_ps();
                let low = _mm256_cmp_ps::<_CMP_NEQ_UQ>(self.0, zero);
                let high = _mm256_cmp_ps::<_CMP_NEQ_UQ>(self.1, zero);
                _mm256_movemask_ps(_mm256_or_ps(low, high)) != 0
            }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u32 {
            // SAFETY: as the trait demands.
            unsafe {
                let zero = _mm256_setzero_ps();
                let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(self.0, zero));
                let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(self.1, zero));
                (low | high << 8) as u32
            }
        }
        common!(
            Avx2F32,
            f32,
            16,
            8,
            (0, 1),
            _mm256_setzero_ps,
            _mm256_set1_ps,
            _mm256_add_ps,
            _mm256_sub_ps,
            _mm256_mul_ps,
            _mm256_div_ps,
            _mm256_fmadd_ps,
            _mm256_fnmadd_ps,
            _mm256_sqrt_ps,
            _mm256_max_ps
        );
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx2F32(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn load_f64(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                let a = _mm256_cvtpd_ps(_mm256_loadu_pd(p));
                let b = _mm256_cvtpd_ps(_mm256_loadu_pd(p.add(4)));
                let c = _mm256_cvtpd_ps(_mm256_loadu_pd(p.add(8)));
                let d = _mm256_cvtpd_ps(_mm256_loadu_pd(p.add(12)));
                Avx2F32(_mm256_set_m128(b, a), _mm256_set_m128(d, c))
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: as the trait demands.
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn flush(self) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx2F32(flush_ps(self.0), flush_ps(self.1)) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as the trait demands.
            unsafe { sum8(_mm256_add_ps(self.0, self.1)) }
        }
    }

    // SAFETY: operations of the instruction set; pointers as the trait demands.
    unsafe impl Vector for Avx2F64 {
        #[inline(always)]
        unsafe fn any(self) -> bool {
            // SAFETY: as the trait demands.
            unsafe {
                let zero = _mm256_setzero_pd();
                let low = _mm256_cmp_pd::<_CMP_NEQ_UQ>(self.0, zero);
                let high = _mm256_cmp_pd::<_CMP_NEQ_UQ>(self.1, zero);
                _mm256_movemask_pd(_mm256_or_pd(low, high)) != 0
            }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u32 {
            // SAFETY: as the trait demands.
            unsafe {
                let zero = _mm256_setzero_pd();
                let low = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(self.0, zero));
                let high = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(self.1, zero));
                (low | high << 4) as u32
            }
        }
        common!(
            Avx2F64,
            f64,
            8,
            8,
            (0, 1),
            _mm256_setzero_pd,
            _mm256_set1_pd,
            _mm256_add_pd,
            _mm256_sub_pd,
            _mm256_mul_pd,
            _mm256_div_pd,
            _mm256_fmadd_pd,
            _mm256_fnmadd_pd,
            _mm256_sqrt_pd,
            _mm256_max_pd
        );
        #[inline(always)]
        unsafe fn load(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx2F64(_mm256_loadu_pd(p), _mm256_loadu_pd(p.add(4))) }
        }
        #[inline(always)]
        unsafe fn load_f64(p: *const f64) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Self::load(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f64) {
            // SAFETY: as the trait demands.
            unsafe {
                _mm256_storeu_pd(p, self.0);
                _mm256_storeu_pd(p.add(4), self.1);
            }
        }
        #[inline(always)]
        unsafe fn flush(self) -> Self {
            // SAFETY: as the trait demands.
            unsafe { Avx2F64(flush_pd(self.0), flush_pd(self.1)) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f64 {
            // SAFETY: as the trait demands.
            unsafe { sum4(_mm256_add_pd(self.0, self.1)) }
        }
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
            let indices: Vec<u32> = (0..16).map(|i| (i * 7 + seed as u32) % 16).collect();
            let table: Vec<V::Scalar> = a.iter().chain(&b).copied().collect();
            let vectors = [
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
                V::gather(table.as_ptr(), indices.as_ptr()),
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
            unsafe { results::<V>(seed, tiniest) }
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
