//! One generic body, compiled once for each instruction set and chosen at run time.

/// Define `fn name<T: Real>(isa, args…)` that calls `body::<V>(args…)` with the vector type of
/// `isa`, in a function that may use that instruction set; the body must be `#[inline(always)]`.
macro_rules! multiversion {
    ($(#[$doc:meta])* fn $name:ident = $body:ident ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name<T: $crate::simd::vector::Real>(
            isa: $crate::simd::isa::Isa, $($arg: $ty),*
        ) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[allow(clippy::too_many_arguments)]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl,fma")]
            unsafe fn avx512<T: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of T::Avx512 are enabled here.
                unsafe { $body::<T::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[allow(clippy::too_many_arguments)]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2<T: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of T::Avx2 are enabled here.
                unsafe { $body::<T::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[allow(clippy::too_many_arguments)]
            #[target_feature(enable = "neon")]
            unsafe fn neon<T: $crate::simd::vector::Real>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features of T::Neon are enabled here.
                unsafe { $body::<T::Neon>($($arg),*) }
            }
            assert!(isa.available(), "{} is not available here", isa.name());
            match isa {
                // SAFETY: the assertion above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::isa::Isa::Avx512 => unsafe { avx512::<T>($($arg),*) },
                // SAFETY: the assertion above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::isa::Isa::Avx2 => unsafe { avx2::<T>($($arg),*) },
                // SAFETY: the assertion above.
                #[cfg(target_arch = "aarch64")]
                $crate::simd::isa::Isa::Neon => unsafe { neon::<T>($($arg),*) },
                // SAFETY: the portable vector needs no features.
                _ => unsafe { $body::<T::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use multiversion;
