//! The vectors for AArch64, where every processor has NEON: four registers each.

use std::arch::aarch64::*;

use crate::simd::portable::Portable;
use crate::simd::vector::Vector;

/// 16 `f32` in four registers.
#[derive(Clone, Copy)]
pub struct NeonF32([float32x4_t; 4]);
/// 8 `f64` in four registers.
#[derive(Clone, Copy)]
pub struct NeonF64([float64x2_t; 4]);

/// Bit i is set where lane i of four is all ones.
#[inline(always)]
unsafe fn bits4(mask: uint32x4_t) -> u32 {
    // SAFETY: NEON is always there; so for all below.
    unsafe {
        let powers = [1, 2, 4, 8];
        vaddvq_u32(vandq_u32(mask, vld1q_u32(powers.as_ptr())))
    }
}

/// Bit i is set where lane i of two is all ones.
#[inline(always)]
unsafe fn bits2(mask: uint64x2_t) -> u32 {
    // SAFETY: as the trait demands.
    unsafe {
        let powers = [1, 2];
        vaddvq_u64(vandq_u64(mask, vld1q_u64(powers.as_ptr()))) as u32
    }
}

/// What looks the same on both. A loop over the four registers unrolls.
macro_rules! neon {
    ($name:ident, $t:ty, $lanes:literal, $each:literal, $bits:ident, $load:ident, $store:ident,
     $dup:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fms:ident,
     $sqrt:ident, $abs:ident, $greater:ident, $less:ident, $not_greater:ident, $and:ident,
     $clear:ident, $cast:ident, $back:ident) => {
        type Scalar = $t;
        type Half = Portable<$t, 8>;
        const LANES: usize = $lanes;
        const REGISTERS: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as the trait demands.
            unsafe { Self::splat(0.0) }
        }
        #[inline(always)]
        unsafe fn splat(x: $t) -> Self {
            // SAFETY: as the trait demands.
            unsafe { $name([$dup(x); 4]) }
        }
        #[inline(always)]
        unsafe fn load(p: *const $t) -> Self {
            // SAFETY: as the trait demands.
            unsafe {
                $name([
                    $load(p),
                    $load(p.add($each)),
                    $load(p.add(2 * $each)),
                    $load(p.add(3 * $each)),
                ])
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut $t) {
            for i in 0..4 {
                // SAFETY: as the trait demands.
                unsafe { $store(p.add(i * $each), self.0[i]) };
            }
        }
        #[inline(always)]
        unsafe fn add(mut self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $add(self.0[i], b.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn sub(mut self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $sub(self.0[i], b.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn mul(mut self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $mul(self.0[i], b.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn div(mut self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $div(self.0[i], b.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn fma(mut self, a: Self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $fma(b.0[i], self.0[i], a.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn fnma(mut self, a: Self, b: Self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $fms(b.0[i], self.0[i], a.0[i]) };
            }
            self
        }
        #[inline(always)]
        unsafe fn sqrt(mut self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe { $sqrt(self.0[i]) };
            }
            self
        }
        // Not a maximum, which would keep NaN.
        #[inline(always)]
        unsafe fn relu(mut self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe {
                    let positive = $greater(self.0[i], $dup(0.0));
                    $back($and($cast(self.0[i]), positive))
                };
            }
            self
        }
        #[inline(always)]
        unsafe fn flush(mut self) -> Self {
            for i in 0..4 {
                self.0[i] = unsafe {
                    let tiny = $less($abs(self.0[i]), $dup(<$t>::MIN_POSITIVE));
                    $back($clear($cast(self.0[i]), tiny))
                };
            }
            self
        }
        #[inline(always)]
        unsafe fn positive(self) -> u32 {
            let mut bits = 0;
            for i in 0..4 {
                bits |= unsafe { $bits($not_greater(self.0[i], $dup(0.0))) } << (i * $each);
            }
            !bits & ((1 << $lanes) - 1)
        }
    };
}

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for NeonF32 {
    neon!(
        NeonF32,
        f32,
        16,
        4,
        bits4,
        vld1q_f32,
        vst1q_f32,
        vdupq_n_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        vdivq_f32,
        vfmaq_f32,
        vfmsq_f32,
        vsqrtq_f32,
        vabsq_f32,
        vcgtq_f32,
        vcltq_f32,
        vcleq_f32,
        vandq_u32,
        vbicq_u32,
        vreinterpretq_u32_f32,
        vreinterpretq_f32_u32
    );
    #[inline(always)]
    unsafe fn load_f64(p: *const f64) -> Self {
        // SAFETY: as the trait demands.
        unsafe {
            NeonF32([0, 4, 8, 12].map(|i| {
                let low = vcvt_f32_f64(vld1q_f64(p.add(i)));
                vcvt_high_f32_f64(low, vld1q_f64(p.add(i + 2)))
            }))
        }
    }
    #[inline(always)]
    unsafe fn any(self) -> bool {
        // SAFETY: as the trait demands.
        unsafe {
            // All bits but the sign.
            let [a, b, c, d] = self.0.map(|x| vreinterpretq_u32_f32(vabsq_f32(x)));
            vmaxvq_u32(vorrq_u32(vorrq_u32(a, b), vorrq_u32(c, d))) != 0
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as the trait demands.
        unsafe {
            let [a, b, c, d] = self.0;
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
}

// SAFETY: operations of the instruction set; pointers as the trait demands.
unsafe impl Vector for NeonF64 {
    neon!(
        NeonF64,
        f64,
        8,
        2,
        bits2,
        vld1q_f64,
        vst1q_f64,
        vdupq_n_f64,
        vaddq_f64,
        vsubq_f64,
        vmulq_f64,
        vdivq_f64,
        vfmaq_f64,
        vfmsq_f64,
        vsqrtq_f64,
        vabsq_f64,
        vcgtq_f64,
        vcltq_f64,
        vcleq_f64,
        vandq_u64,
        vbicq_u64,
        vreinterpretq_u64_f64,
        vreinterpretq_f64_u64
    );
    #[inline(always)]
    unsafe fn load_f64(p: *const f64) -> Self {
        // SAFETY: as the trait demands.
        unsafe { Self::load(p) }
    }
    #[inline(always)]
    unsafe fn any(self) -> bool {
        // SAFETY: as the trait demands.
        unsafe {
            // All bits but the sign.
            let [a, b, c, d] = self.0.map(|x| vreinterpretq_u64_f64(vabsq_f64(x)));
            let all = vorrq_u64(vorrq_u64(a, b), vorrq_u64(c, d));
            vmaxvq_u32(vreinterpretq_u32_u64(all)) != 0
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: as the trait demands.
        unsafe {
            let [a, b, c, d] = self.0;
            let two = vaddq_f64(vaddq_f64(a, c), vaddq_f64(b, d));
            vgetq_lane_f64::<0>(two) + vgetq_lane_f64::<1>(two)
        }
    }
}
