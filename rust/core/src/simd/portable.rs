//! The vectors for any processor.

use crate::simd::vector::Vector;

/// A vector without any instruction set of its own: the compiler uses what the target always has.
#[derive(Clone, Copy)]
pub struct Portable<T, const N: usize>([T; N]);

macro_rules! portable {
    ($t:ty, $n:literal, $half:literal) => {
        // SAFETY: plain Rust; pointers as the trait demands.
        unsafe impl Vector for Portable<$t, $n> {
            type Scalar = $t;
            type Half = Portable<$t, $half>;
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
portable!(f32, 16, 8);
portable!(f32, 8, 8);
portable!(f64, 8, 8);
