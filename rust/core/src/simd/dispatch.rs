//! One generic body, compiled once for each instruction set and chosen at run time.

/// Define `fn name<T: Real>(isa, args…)` with a body that may use `V`, the vector type of `isa`, and
/// `T`, its scalar: it is compiled with each instruction set. In the body that of `V` is available.
macro_rules! multiversion {
    (
        $(#[$meta:meta])*
        fn $name:ident<$v:ident, $t:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        pub(crate) fn $name<$t: $crate::simd::vector::Real>(
            isa: $crate::simd::isa::Isa, $($arg: $ty),*
        ) $(-> $ret)? {
            /// # Safety
            /// The instruction set of the vector is available.
            #[inline(always)]
            unsafe fn body<
                $t: $crate::simd::vector::Real, $v: $crate::simd::vector::Vector<Scalar = $t>,
            >($($arg: $ty),*) $(-> $ret)? $body
            /// # Safety
            /// The processor has AVX-512.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl,fma,bmi1,bmi2,popcnt")]
            unsafe fn avx512<$t: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of this vector are enabled here.
                unsafe { body::<$t, $t::Avx512>($($arg),*) }
            }
            /// # Safety
            /// The processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
            unsafe fn avx2<$t: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of this vector are enabled here.
                unsafe { body::<$t, $t::Avx2>($($arg),*) }
            }
            /// # Safety
            /// The processor has NEON.
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon<$t: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of this vector are enabled here.
                unsafe { body::<$t, $t::Neon>($($arg),*) }
            }
            assert!(isa.available(), "{} is not available here", isa.name());
            match isa {
                // SAFETY: the assertion above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::isa::Isa::Avx512 => unsafe { avx512::<$t>($($arg),*) },
                // SAFETY: the assertion above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::isa::Isa::Avx2 => unsafe { avx2::<$t>($($arg),*) },
                // SAFETY: the assertion above.
                #[cfg(target_arch = "aarch64")]
                $crate::simd::isa::Isa::Neon => unsafe { neon::<$t>($($arg),*) },
                // SAFETY: the portable vector needs no features.
                _ => unsafe { body::<$t, $t::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use multiversion;
