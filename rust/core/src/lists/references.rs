//! The references of the features, which lists by feature are made from.

use crate::lists::pace::Pace;
use crate::lists::skin::{Bound, allowed};
use crate::memory;
use crate::model::params::Params;
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};

/// The references of the features.
pub struct Features<T> {
    /// w', as in [`Params`], and b'.
    pub w: Vec<T>,
    pub b: Vec<T>,
    /// What they add to skins.
    pub bounds: Vec<Bound<T>>,
    /// Squares of how far w may go.
    limit_w: Vec<T>,
    /// Squares of how far b may go.
    limit_b: Vec<T>,
    pub factor_w: Vec<f32>,
    pub factor_b: Vec<f32>,
    pub born: Vec<u64>,
    /// Features with a new reference in this step.
    pub rebuilt: Vec<u32>,
}

impl<T: Real> Features<T> {
    pub fn new(p: &Params<T>) -> Self {
        let n = p.n;
        let padded = n.next_multiple_of(64);
        Features {
            w: memory::zeros(p.bias),
            b: memory::zeros(padded),
            bounds: memory::filled(n, Bound::default()),
            limit_w: memory::zeros(padded),
            limit_b: memory::zeros(padded),
            factor_w: memory::filled(n, 0.5),
            factor_b: memory::filled(n, 0.5),
            born: memory::zeros(n),
            rebuilt: memory::with_capacity(2 * n),
        }
    }

    /// |w - w'|^2 for LANES features at a time.
    #[inline(always)]
    unsafe fn look_at_rows<V: Vector<Scalar = T>>(&mut self, p: &Params<T>) {
        let m = p.m;
        let mut parts = [V::Scalar::default(); 16];
        for j0 in (0..p.n).step_by(V::LANES) {
            let count = V::LANES.min(p.n - j0);
            // SAFETY: whole vectors inside rows; the rest one by one. At most 16 lanes.
            unsafe {
                let mut sums = [const { std::mem::MaybeUninit::<V>::uninit() }; 16];
                let sums = sums.as_mut_ptr().cast::<V>();
                for i in 0..V::LANES {
                    let mut sum = V::zero();
                    if i < count {
                        let (new, old) = (p.row(j0 + i), &self.w[(j0 + i) * m..][..m]);
                        let whole = m / V::LANES * V::LANES;
                        for k in (0..whole).step_by(V::LANES) {
                            let d = V::load(new.as_ptr().add(k)).sub(V::load(old.as_ptr().add(k)));
                            sum = d.fma(d, sum);
                        }
                        if whole < m {
                            parts.fill(T::default());
                            for k in whole..m {
                                parts[k - whole] = new[k] - old[k];
                            }
                            let d = V::load(parts.as_ptr());
                            sum = d.fma(d, sum);
                        }
                    }
                    sums.add(i).write(sum);
                }
                let limit = V::load(self.limit_w.as_ptr().add(j0));
                let mut mask = V::sums(sums).sub(limit).positive() & low_bits(count);
                while mask != 0 {
                    self.rebuilt.push(j0 as u32 + mask.trailing_zeros());
                    mask &= mask - 1;
                }
            }
        }
    }

    /// |b - b'|^2.
    #[inline(always)]
    unsafe fn look_at_biases<V: Vector<Scalar = T>>(&mut self, b: &[T], n: usize) {
        assert!(b.len() == self.b.len() && b.len() == self.limit_b.len());
        assert!(b.len().is_multiple_of(V::LANES));
        for j0 in (0..n).step_by(V::LANES) {
            // SAFETY: whole vectors.
            let mut mask = unsafe {
                let d = V::load(b.as_ptr().add(j0)).sub(V::load(self.b.as_ptr().add(j0)));
                let limit = V::load(self.limit_b.as_ptr().add(j0));
                d.mul(d).sub(limit).positive() & low_bits(V::LANES.min(n - j0))
            };
            while mask != 0 {
                self.rebuilt.push(j0 as u32 + mask.trailing_zeros());
                mask &= mask - 1;
            }
        }
    }

    /// Feature j's reference is where it is now.
    fn take_reference(&mut self, p: &Params<T>, j: usize, pace: Pace) {
        let m = p.m;
        let (mut size, mut far): (f64, f64) = (0.0, 0.0);
        let old = &mut self.w[j * m..][..m];
        for (x, old) in p.row(j).iter().zip(old.iter_mut()) {
            let d = x.to_f64() - old.to_f64();
            size += x.to_f64() * x.to_f64();
            far += d * d;
            *old = *x;
        }
        let b = p.b()[j].to_f64();
        if pace.adapt {
            let used_w = (far / self.limit_w[j].to_f64()).sqrt();
            let used_b = (b - self.b[j].to_f64()).abs() / self.limit_b[j].to_f64().sqrt();
            self.factor_w[j] = pace.next_factor(self.factor_w[j], used_w, self.born[j]);
            self.factor_b[j] = pace.next_factor(self.factor_b[j], used_b, self.born[j]);
        }
        self.born[j] = pace.step;
        self.b[j] = p.b()[j];
        let radius = pace.budget(self.factor_w[j]) * (m as f64).sqrt();
        let allowed = allowed(m, size, b, radius, pace.budget(self.factor_b[j]));
        [self.limit_w[j], self.limit_b[j]] = allowed.limits;
        self.bounds[j] = allowed.bound;
    }
}

multiversion! {
    /// Take anew the references of the features that have moved too far, or of all, and note which.
    fn look<V, T>(features: &mut Features<T>, p: &Params<T>, pace: Pace) {
        features.rebuilt.clear();
        if pace.all {
            features.rebuilt.extend(0..p.n as u32);
        } else {
            // SAFETY: the instruction set of `V` is available here.
            unsafe {
                features.look_at_rows::<V>(p);
                features.look_at_biases::<V>(&p.data[p.bias..], p.n);
            }
            features.rebuilt.sort_unstable();
            features.rebuilt.dedup();
        }
        for i in 0..features.rebuilt.len() {
            features.take_reference(p, features.rebuilt[i] as usize, pace);
        }
    }
}

fn low_bits(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}
