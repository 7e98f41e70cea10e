//! The vectors for x86-64: AVX-512, and AVX2 with two registers each.

#![allow(clippy::missing_safety_doc)]

use std::arch::x86_64::*;

use crate::simd::vector::Vector;

/// 16 `f32` in one register.
#[derive(Clone, Copy)]
pub struct Avx512F32(__m512);
/// 8 `f64` in one register.
#[derive(Clone, Copy)]
pub struct Avx512F64(__m512d);
/// 16 `f32` in two registers.
#[derive(Clone, Copy)]
pub struct Avx2F32(HalfF32, HalfF32);
/// 8 `f64` in two registers.
#[derive(Clone, Copy)]
pub struct Avx2F64(__m256d, __m256d);

/// 8 `f32` in one register: with AVX-512, too, two of them cost no more than one of 16.
#[derive(Clone, Copy)]
pub struct HalfF32(__m256);

/// Lanes that stay, then lanes that do not.
static FIRST: [i32; 16] = {
    let mut mask = [0; 16];
    let mut i = 0;
    while i < 8 {
        mask[i] = -1;
        i += 1;
    }
    mask
};

/// The operations that look the same on every register type.
macro_rules! common {
    ($name:ident, $half:ident, $t:ty, $lanes:literal, $registers:literal, ($($part:tt),+),
     $zero:ident, $set1:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident,
     $sqrt:ident, $max:ident) => {
        type Scalar = $t;
        type Half = $half;
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

/// Halves of `a` added, then those of `b`: one shuffle across halves, and one that any unit does.
#[inline(always)]
unsafe fn two_halves(a: __m256, b: __m256) -> __m256 {
    // SAFETY: as the trait demands.
    unsafe {
        let inner = _mm256_permute2f128_ps::<0x21>(a, b);
        _mm256_add_ps(_mm256_blend_ps::<0xF0>(a, b), inner)
    }
}

/// In each half: the 2 partial sums of `a`'s 4, then those of `b`'s.
#[inline(always)]
unsafe fn quarters(a: __m256, b: __m256) -> __m256 {
    // SAFETY: as the trait demands.
    unsafe {
        let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
        let low = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
        _mm256_add_ps(low, _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
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

/// 8 indices, times M.
#[inline(always)]
unsafe fn multiples<const M: usize>(indices: *const u32) -> __m256i {
    // SAFETY: as the trait demands.
    unsafe {
        let indices = _mm256_loadu_si256(indices.cast());
        _mm256_mullo_epi32(indices, _mm256_set1_epi32(M as i32))
    }
}

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for Avx512F32 {
    #[inline(always)]
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx512F32(_mm512_mask_mov_ps(b.0, bits as u16, self.0)) }
    }
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const f32, indices: *const u32) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let at = _mm512_mullo_epi32(
                _mm512_loadu_si512(indices.cast()),
                _mm512_set1_epi32(M as i32),
            );
            Avx512F32(_mm512_i32gather_ps::<4>(at, p))
        }
    }
    #[inline(always)]
    unsafe fn gather_pair<const M: usize>(p: *const f32, indices: *const u32) -> (Self, Self) {
        // SAFETY: as the trait demands.
        unsafe {
            let pairs = |i: usize| {
                let at = multiples::<M>(indices.add(i));
                _mm512_castpd_ps(_mm512_i32gather_pd::<4>(at, p.cast()))
            };
            let (low, high) = (pairs(0), pairs(8));
            let first =
                _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let second = _mm512_add_epi32(first, _mm512_set1_epi32(1));
            (
                Avx512F32(_mm512_permutex2var_ps(low, first, high)),
                Avx512F32(_mm512_permutex2var_ps(low, second, high)),
            )
        }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx512F32(_mm512_maskz_mov_ps(((1u32 << count) - 1) as u16, self.0)) }
    }
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
        HalfF32,
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
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx512F64(_mm512_mask_mov_pd(b.0, bits as u8, self.0)) }
    }
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const f64, indices: *const u32) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx512F64(_mm512_i32gather_pd::<8>(multiples::<M>(indices), p)) }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx512F64(_mm512_maskz_mov_pd(((1u32 << count) - 1) as u8, self.0)) }
    }
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

/// Each half by itself.
macro_rules! halves {
    ($($name:ident($($arg:ident),*)),+) => {
        $(
            #[inline(always)]
            unsafe fn $name(self, $($arg: Self),*) -> Self {
                // SAFETY: as the trait demands.
                unsafe { Avx2F32(self.0.$name($($arg.0),*), self.1.$name($($arg.1),*)) }
            }
        )+
    };
}

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for Avx2F32 {
    #[inline(always)]
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            Avx2F32(
                self.0.select(bits & 0xFF, b.0),
                self.1.select(bits >> HalfF32::LANES, b.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const f32, indices: *const u32) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            Avx2F32(
                HalfF32::gather::<M>(p, indices),
                HalfF32::gather::<M>(p, indices.add(HalfF32::LANES)),
            )
        }
    }
    #[inline(always)]
    unsafe fn gather_pair<const M: usize>(p: *const f32, indices: *const u32) -> (Self, Self) {
        // SAFETY: as the trait demands.
        unsafe {
            let low = HalfF32::gather_pair::<M>(p, indices);
            let high = HalfF32::gather_pair::<M>(p, indices.add(HalfF32::LANES));
            (Avx2F32(low.0, high.0), Avx2F32(low.1, high.1))
        }
    }
    type Scalar = f32;
    type Half = HalfF32;
    const LANES: usize = 2 * HalfF32::LANES;
    const REGISTERS: usize = HalfF32::REGISTERS / 2;
    halves!(
        add(b),
        sub(b),
        mul(b),
        div(b),
        fma(a, b),
        fnma(a, b),
        sqrt(),
        relu(),
        flush()
    );
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx2F32(HalfF32::zero(), HalfF32::zero()) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx2F32(HalfF32::splat(x), HalfF32::splat(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Avx2F32(HalfF32::load(p), HalfF32::load(p.add(HalfF32::LANES))) }
    }
    #[inline(always)]
    unsafe fn load_f64(p: *const f64) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            Avx2F32(
                HalfF32::load_f64(p),
                HalfF32::load_f64(p.add(HalfF32::LANES)),
            )
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as the trait demands.
        unsafe {
            self.0.store(p);
            self.1.store(p.add(HalfF32::LANES));
        }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        let lanes = HalfF32::LANES;
        // SAFETY: as the trait demands.
        unsafe {
            Avx2F32(
                self.0.first(count.min(lanes)),
                self.1.first(count.saturating_sub(lanes)),
            )
        }
    }
    #[inline(always)]
    unsafe fn any(self) -> bool {
        // SAFETY: as the trait demands.
        unsafe { self.0.any() | self.1.any() }
    }
    #[inline(always)]
    unsafe fn positive(self) -> u32 {
        // SAFETY: as the trait demands.
        unsafe { self.0.positive() | self.1.positive() << HalfF32::LANES }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as the trait demands.
        unsafe { self.0.add(self.1).sum() }
    }
}

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for Avx2F64 {
    #[inline(always)]
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let set = |powers: __m256i| {
                let set = _mm256_and_si256(_mm256_set1_epi64x(i64::from(bits)), powers);
                _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, powers))
            };
            let (low, high) = (
                _mm256_setr_epi64x(1, 2, 4, 8),
                _mm256_setr_epi64x(16, 32, 64, 128),
            );
            Avx2F64(
                _mm256_blendv_pd(b.0, self.0, set(low)),
                _mm256_blendv_pd(b.1, self.1, set(high)),
            )
        }
    }
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const f64, indices: *const u32) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let at = |i: usize| {
                _mm_mullo_epi32(
                    _mm_loadu_si128(indices.add(i).cast()),
                    _mm_set1_epi32(M as i32),
                )
            };
            Avx2F64(
                _mm256_i32gather_pd::<8>(p, at(0)),
                _mm256_i32gather_pd::<8>(p, at(4)),
            )
        }
    }
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

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for HalfF32 {
    #[inline(always)]
    unsafe fn select(self, bits: u32, b: Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let powers = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(bits as i32), powers);
            let mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, powers));
            HalfF32(_mm256_blendv_ps(b.0, self.0, mask))
        }
    }
    #[inline(always)]
    unsafe fn gather<const M: usize>(p: *const f32, indices: *const u32) -> Self {
        // SAFETY: as the trait demands.
        unsafe { HalfF32(_mm256_i32gather_ps::<4>(p, multiples::<M>(indices))) }
    }
    #[inline(always)]
    unsafe fn gather_pair<const M: usize>(p: *const f32, indices: *const u32) -> (Self, Self) {
        // SAFETY: as the trait demands; the shuffle leaves the middle quarters in the wrong order.
        unsafe {
            let at = multiples::<M>(indices);
            let pairs = |at| _mm256_castpd_ps(_mm256_i32gather_pd::<4>(p.cast(), at));
            let low = pairs(_mm256_castsi256_si128(at));
            let high = pairs(_mm256_extracti128_si256::<1>(at));
            let order = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0xD8>(_mm256_castps_pd(x)));
            (
                HalfF32(order(_mm256_shuffle_ps::<0x88>(low, high))),
                HalfF32(order(_mm256_shuffle_ps::<0xDD>(low, high))),
            )
        }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        // SAFETY: as the trait demands; a window of 8 into the 16 of the mask.
        unsafe {
            let mask = FIRST.as_ptr().add(8 - count).cast();
            HalfF32(_mm256_and_ps(self.0, _mm256_loadu_ps(mask)))
        }
    }
    #[inline(always)]
    unsafe fn any(self) -> bool {
        // SAFETY: as the trait demands.
        unsafe {
            let unequal = _mm256_cmp_ps::<_CMP_NEQ_UQ>(self.0, _mm256_setzero_ps());
            _mm256_movemask_ps(unequal) != 0
        }
    }
    #[inline(always)]
    unsafe fn positive(self) -> u32 {
        // SAFETY: as the trait demands.
        unsafe {
            let positive = _mm256_cmp_ps::<_CMP_NLE_UQ>(self.0, _mm256_setzero_ps());
            _mm256_movemask_ps(positive) as u32
        }
    }
    #[inline(always)]
    unsafe fn sums(vectors: *const Self) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let v = std::slice::from_raw_parts(vectors, 8);
            let ae = two_halves(v[0].0, v[4].0);
            let bf = two_halves(v[1].0, v[5].0);
            let cg = two_halves(v[2].0, v[6].0);
            let dh = two_halves(v[3].0, v[7].0);
            let (abef, cdgh) = (quarters(ae, bf), quarters(cg, dh));
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(abef, cdgh);
            let odd = _mm256_shuffle_ps::<0b11_01_11_01>(abef, cdgh);
            HalfF32(_mm256_add_ps(even, odd))
        }
    }
    common!(
        HalfF32,
        HalfF32,
        f32,
        8,
        16,
        (0),
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
        unsafe { HalfF32(_mm256_loadu_ps(p)) }
    }
    #[inline(always)]
    unsafe fn load_f64(p: *const f64) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            let a = _mm256_cvtpd_ps(_mm256_loadu_pd(p));
            let b = _mm256_cvtpd_ps(_mm256_loadu_pd(p.add(4)));
            HalfF32(_mm256_set_m128(b, a))
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as the trait demands.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn flush(self) -> Self {
        // SAFETY: as the trait demands.
        unsafe { HalfF32(flush_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as the trait demands.
        unsafe { sum8(self.0) }
    }
}
