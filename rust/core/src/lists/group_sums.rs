//! What groups of features add to the gradient.

use crate::kernels::moments::{add_linear, first_moments};
use crate::lists::group_references::p_group;
use crate::model::params::{Params, at};
use crate::simd::vector::{Real, Vector};

/// Where A and B of groups go: half the gradient, in the layout of the parameters.
pub struct Sums<'a> {
    importance: &'a [f64],
    bias: usize,
    data: *mut f64,
}

impl<'a> Sums<'a> {
    /// The sums of these parameters, with importances that are padded to whole vectors, or none.
    pub fn new<T: Real>(p: &Params<T>, importance: &'a [f64], sums: &'a mut [f64]) -> Self {
        Sums {
            importance,
            bias: p.bias,
            data: sums.as_mut_ptr(),
        }
    }

    /// Add B and A of group g.
    #[inline(always)]
    pub unsafe fn add<V: Vector, const M: usize>(&self, g: usize, (big_b, a): &([V; M], V)) {
        let first = g * V::LANES;
        // SAFETY: the sums and the importances are padded to whole vectors.
        unsafe {
            for k in 0..M {
                self.add_lanes(big_b[k], first, at(M, first, k));
            }
            self.add_lanes(*a, first, self.bias + first);
        }
    }

    /// What z adds of the features whose bits `lanes` sets in each group: their A and B, and C.
    #[inline(always)]
    pub unsafe fn linear<V: Vector, const M: usize>(
        &self,
        p: &Params<V::Scalar>,
        importance: &[V::Scalar],
        groups: usize,
        lanes: impl Fn(usize) -> u32,
        h: &[V::Scalar],
        c: &mut [V::Scalar],
    ) {
        let (s1, s2) = first_moments::<V::Scalar, M>(h);
        // SAFETY: blocks of whole vectors; the importances are padded to them.
        unsafe {
            let s0 = V::splat(V::Scalar::from_f64((h.len() / M) as f64));
            let (mut matrix, mut vector) = ([[V::zero(); M]; M], [V::zero(); M]);
            for g in 0..groups {
                let bits = lanes(g);
                if bits == 0 {
                    continue;
                }
                let (mut w, b) = p_group::<V, M>(p, g);
                let b = b.select(bits, V::zero());
                for k in 0..M {
                    w[k] = w[k].select(bits, V::zero());
                }
                let mut big_b = [V::zero(); M];
                let mut a = b.mul(s0);
                for k in 0..M {
                    big_b[k] = b.mul(V::splat(s1[k]));
                    a = w[k].fma(V::splat(s1[k]), a);
                    for l in 0..M {
                        big_b[k] = w[l].fma(V::splat(s2[k][l]), big_b[k]);
                    }
                    let left = if importance.is_empty() {
                        w[k]
                    } else {
                        w[k].mul(V::load(importance.as_ptr().add(g * V::LANES)))
                    };
                    vector[k] = left.fma(b, vector[k]);
                    for l in 0..=k {
                        matrix[k][l] = left.fma(w[l], matrix[k][l]);
                    }
                }
                self.add::<V, M>(g, &(big_b, a));
            }
            let zero = V::Scalar::default();
            let (mut full, mut sum) = ([[zero; M]; M], [zero; M]);
            for k in 0..M {
                sum[k] = vector[k].sum();
                for l in 0..=k {
                    full[k][l] = matrix[k][l].sum();
                    full[l][k] = full[k][l];
                }
            }
            add_linear(&full, &sum, h, c);
        }
    }

    #[inline(always)]
    unsafe fn add_lanes<V: Vector>(&self, x: V, first: usize, to: usize) {
        // SAFETY: as above; at most 16 lanes.
        unsafe {
            let to = self.data.add(to);
            if self.importance.is_empty() {
                return x.add_lanes(to);
            }
            let mut lanes = [V::Scalar::default(); 16];
            x.store(lanes.as_mut_ptr());
            for i in 0..V::LANES {
                *to.add(i) += *self.importance.get_unchecked(first + i) * lanes[i].to_f64();
            }
        }
    }
}
