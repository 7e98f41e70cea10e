//! The references of groups of features.

use crate::lists::pace::Pace;
use crate::lists::skin::{BOUNDS, allowed};
use crate::memory;
use crate::model::params::{Params, at, by_m};
use crate::simd::aligned::Aligned;
use crate::simd::dispatch::multiversion;
use crate::simd::vector::{Real, Vector};

/// The references of the groups.
pub struct Groups<T> {
    n: usize,
    pub count: usize,
    /// w' and b', [group][0..=m][lane].
    reference: Aligned<T>,
    /// What they add to skins, [group][bound][lane].
    bounds: Aligned<T>,
    /// Squares of how far w and b may go, [group][2][lane], and the factors of these budgets, by
    /// feature.
    limits: Aligned<T>,
    pub factors: Vec<[f32; 2]>,
    born: Vec<u64>,
    /// Groups with new references in this step.
    pub stale: Vec<u32>,
}

impl<T: Real> Groups<T> {
    pub fn new(n: usize, m: usize) -> Self {
        let lanes = T::Portable::LANES;
        let count = n.div_ceil(lanes);
        Groups {
            n,
            count,
            reference: Aligned::zeros(count * (m + 1) * lanes),
            bounds: Aligned::zeros(count * BOUNDS * lanes),
            limits: Aligned::zeros(count * 2 * lanes),
            factors: memory::filled(n, [0.5; 2]),
            born: memory::zeros(count),
            stale: memory::with_capacity(count),
        }
    }

    #[inline(always)]
    unsafe fn look_m<V: Vector<Scalar = T>, const M: usize>(&mut self, p: &Params<T>, pace: Pace) {
        self.stale.clear();
        for g in 0..self.count {
            // SAFETY: the caller's promise.
            if pace.all || unsafe { self.is_far::<V, M>(p, g) } {
                self.stale.push(g as u32);
            }
        }
        for i in 0..self.stale.len() {
            self.take::<M>(p, self.stale[i] as usize, pace);
        }
    }

    #[inline(always)]
    unsafe fn is_far<V: Vector<Scalar = T>, const M: usize>(
        &self,
        p: &Params<T>,
        g: usize,
    ) -> bool {
        // SAFETY: blocks of whole vectors. Lanes without a feature are 0 and stay 0.
        unsafe {
            let (now, b) = p_group::<V, M>(p, g);
            let old = self.reference.as_ptr().add(g * (M + 1) * V::LANES);
            let mut far = V::zero();
            for k in 0..M {
                let d = now[k].sub(V::load(old.add(k * V::LANES)));
                far = d.fma(d, far);
            }
            let d = b.sub(V::load(old.add(M * V::LANES)));
            let limits = self.limits.as_ptr().add(g * 2 * V::LANES);
            let (w, b) = (V::load(limits), V::load(limits.add(V::LANES)));
            far.sub(w).positive() | d.mul(d).sub(b).positive() != 0
        }
    }

    /// The reference of a group is where it is now.
    #[inline(always)]
    fn take<const M: usize>(&mut self, p: &Params<T>, g: usize, pace: Pace) {
        let lanes = T::Portable::LANES;
        let old = &mut self.reference[g * (M + 1) * lanes..][..(M + 1) * lanes];
        let limits = &mut self.limits[g * 2 * lanes..][..2 * lanes];
        let bounds = &mut self.bounds[g * BOUNDS * lanes..][..BOUNDS * lanes];
        // Lanes without a feature keep bounds of 0: they are never listed.
        for lane in 0..lanes.min(self.n - g * lanes) {
            let j = g * lanes + lane;
            let (mut size, mut far) = (0.0, 0.0);
            for k in 0..M {
                let x = p.data[at(M, j, k)];
                let d = x.to_f64() - std::mem::replace(&mut old[k * lanes + lane], x).to_f64();
                size += x.to_f64() * x.to_f64();
                far += d * d;
            }
            let b = p.b()[j].to_f64();
            let fall = (b - std::mem::replace(&mut old[M * lanes + lane], p.b()[j]).to_f64()).abs();
            let [factor_w, factor_b] = &mut self.factors[j];
            if pace.adapt {
                let used = (far / limits[lane].to_f64()).sqrt();
                *factor_w = pace.next_factor(*factor_w, used, self.born[g]);
                let used = fall / limits[lanes + lane].to_f64().sqrt();
                *factor_b = pace.next_factor(*factor_b, used, self.born[g]);
            }
            let radius = pace.budget(*factor_w) * (M as f64).sqrt();
            let allowed = allowed(M, size, b, radius, pace.budget(*factor_b));
            [limits[lane], limits[lanes + lane]] = allowed.limits;
            for (i, x) in allowed.bound.numbers().into_iter().enumerate() {
                bounds[i * lanes + lane] = x;
            }
        }
        self.born[g] = pace.step;
    }

    /// Features of group g.
    #[inline(always)]
    pub fn features(&self, g: usize) -> usize {
        (self.n - g * T::Portable::LANES).min(T::Portable::LANES)
    }

    /// The reference of a group, with that sign.
    #[inline(always)]
    pub unsafe fn group<V: Vector<Scalar = T>, const M: usize>(
        &self,
        g: usize,
        sign: V,
    ) -> Reference<V, M> {
        // SAFETY: blocks of whole vectors.
        unsafe {
            let from = self.reference.as_ptr().add(g * (M + 1) * V::LANES);
            let mut w = [V::zero(); M];
            for k in 0..M {
                w[k] = V::load(from.add(k * V::LANES)).mul(sign);
            }
            let b = V::load(from.add(M * V::LANES)).mul(sign);
            let mut bounds = [V::zero(); BOUNDS];
            for i in 0..BOUNDS {
                bounds[i] = V::load(self.bounds.as_ptr().add((g * BOUNDS + i) * V::LANES));
            }
            Reference { w, b, bounds }
        }
    }

    /// The reference of one feature of group g, the same in all lanes.
    #[inline(always)]
    pub unsafe fn feature<V: Vector<Scalar = T>, const M: usize>(
        &self,
        g: usize,
        lane: usize,
    ) -> Reference<V, M> {
        let of = &self.reference[g * (M + 1) * V::LANES..][..(M + 1) * V::LANES];
        let bound = &self.bounds[g * BOUNDS * V::LANES..][..BOUNDS * V::LANES];
        // SAFETY: the caller's promise.
        unsafe {
            let (mut w, mut bounds) = ([V::zero(); M], [V::zero(); BOUNDS]);
            for k in 0..M {
                w[k] = V::splat(of[k * V::LANES + lane]);
            }
            for i in 0..BOUNDS {
                bounds[i] = V::splat(bound[i * V::LANES + lane]);
            }
            let b = V::splat(of[M * V::LANES + lane]);
            Reference { w, b, bounds }
        }
    }
}

multiversion! {
    /// New references, of all groups or of those that have gone too far.
    fn look<V, T>(groups: &mut Groups<T>, p: &Params<T>, pace: Pace) {
        // SAFETY: the instruction set of `V` is available here.
        unsafe {
            by_m!(
                p.m, M => groups.look_m::<V, M>(p, pace),
                unreachable!("m = {} is too large for groups", p.m)
            );
        }
    }
}

/// W and b of group g, as they are.
#[inline(always)]
pub unsafe fn p_group<V: Vector, const M: usize>(p: &Params<V::Scalar>, g: usize) -> ([V; M], V) {
    // SAFETY: g is a group; both parts of the parameters are padded to whole vectors.
    unsafe {
        let data = p.data.as_ptr();
        let mut w = [V::zero(); M];
        for k in 0..M {
            w[k] = V::load(data.add(at(M, g * V::LANES, k)));
        }
        (w, V::load(data.add(p.bias + g * V::LANES)))
    }
}

/// W and b of the reference of a group or of a feature, and its bounds.
pub struct Reference<V, const M: usize> {
    w: [V; M],
    b: V,
    bounds: [V; BOUNDS],
}

impl<V: Vector, const M: usize> Reference<V, M> {
    /// z of the references with examples at h', the skin and what rounding alone needs.
    #[inline(always)]
    pub unsafe fn pairs(&self, h: [V; M], size: V, reach: V) -> (V, V, V) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut z = self.b;
            for k in 0..M {
                z = self.w[k].fma(h[k], z);
            }
            let [of_size, of_reach, fixed, thin_size, thin_fixed] = self.bounds;
            let skin = of_reach.fma(reach, of_size.fma(size, fixed));
            (z, skin, thin_size.fma(size, thin_fixed))
        }
    }
}
