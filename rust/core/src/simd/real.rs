//! The two scalars and their vectors.

#[cfg(target_arch = "aarch64")]
use crate::simd::neon::{NeonF32, NeonF64};
use crate::simd::portable::Portable;
use crate::simd::vector::Real;
#[cfg(target_arch = "x86_64")]
use crate::simd::x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

macro_rules! real {
    ($t:ty, $avx512:ident, $avx2:ident, $neon:ident, $lanes:literal) => {
        impl Real for $t {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = $avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = $avx2;
            #[cfg(target_arch = "aarch64")]
            type Neon = $neon;
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
