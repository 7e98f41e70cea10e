//! Lists of the pairs (example, feature) that may matter, which stay valid while the model moves.
//!
//! As in molecular dynamics (Verlet 1967; for clusters of particles, Páll and Hess 2013), pairs are
//! sorted with a skin, and the lists are good until something has moved through the skin. A pair has
//! z = w_j . h_t + b_j. With references w', b' of the feature and h' of the example,
//!
//! ```text
//! |z - (w'.h' + b')| = |(w - w').h' + w.(h - h') + (b - b')|
//!                   <= |w - w'| |h'| + |w| |h - h'| + |b - b'|
//!                   <= r_j |h'_t| + (|w'_j| + r_j) d_t + e_j  =: skin_tj
//! ```
//!
//! as long as |w - w'| <= r_j and |b - b'| <= e_j (looked at for each feature) and |h - h'| <= d_t
//! (for each example, [`crate::lists::tile`]) hold. So a pair with w'.h' + b' < -skin is *dead*:
//! y = 0, and one with w'.h' + b' > skin is *linear*: y = z. A feature lists the pairs that may not
//! be dead; or, where that is shorter, those that may not be linear, which take part with relu(-z),
//! since y = z + relu(-z), and z comes from moments for many examples at once. What has moved too
//! far gets a new reference, and only its lists are made anew. Both references enter alike, so it
//! does not matter which of the two was taken first.
//!
//! Once so much moves too far that it would be more work by itself, all references are taken anew
//! together ([`crate::lists::pace::Lifetime`]). Then each pair is looked at once, where it would be
//! looked at twice if each feature and each example came by itself; and nothing has to be looked for in
//! a list before it is added. What moves too far before that is the exception.
//!
//! Rounding: each of the two z is off by at most (m + 2) u (|b| + |w| |h|), and the comparison by
//! 3 u (skin + |z|). All sizes are those of the references plus what they may move, so a share
//! rho = 8 (m + 4) eps of them on top of the skin covers both; what may underflow is less than TINY.
//! A pair that is left out is therefore dead, or linear, for the z that the kernels compute, too.
//! Anything that is not a number stays listed.
//!
//! Budgets r, e and d are multiples of the learning rate, one factor each, set from how much of the
//! last budget was used; the number of steps they shall last is set from counts: of pairs looked at in
//! making lists, against pairs that are listed for the skin alone. No clock is read, so the same run
//! makes the same lists.

use crate::simd::vector::{Real, Vector};

/// More than any product that underflows.
const TINY: f64 = 1e-30;

/// A feature lists exceptions from being linear only if the sum of their -z is at most this many times
/// the sum of the others' z, and the same with |h| as a factor: one is subtracted from the other.
/// Nothing that is not a number fulfils that.
pub const BALANCE: [f64; 2] = [4.0, 16.0];

/// The sums that are compared, by lanes.
pub struct Balance<V> {
    up: [V; 2],
    down: [V; 2],
}

impl<V: Vector> Balance<V> {
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        let zeros = unsafe { [V::zero(); 2] };
        Balance {
            up: zeros,
            down: zeros,
        }
    }

    /// Add pairs with that z, of examples with that |h|.
    #[inline(always)]
    pub unsafe fn add(&mut self, z: V, size: V) {
        let (up, down) = (self.up, self.down);
        // SAFETY: the caller's promise.
        unsafe {
            let (y, exception) = (z.relu(), V::zero().sub(z).relu());
            // 0, or not a number if z is none that is finite.
            let y = y.add(z.sub(z));
            self.up = [up[0].add(y), y.fma(size, up[1])];
            self.down = [down[0].add(exception), exception.fma(size, down[1])];
        }
    }

    /// Whether they are in balance in each lane.
    #[inline(always)]
    pub unsafe fn holds_in_lanes(&self) -> bool {
        let mut drowned = 0;
        for i in 0..2 {
            // SAFETY: the caller's promise.
            unsafe {
                let room = self.up[i].mul(V::splat(V::Scalar::from_f64(BALANCE[i])));
                drowned |= self.down[i].sub(room).positive();
            }
        }
        drowned == 0
    }

    /// Whether the sums over lanes are in balance.
    #[inline(always)]
    pub unsafe fn holds(&self) -> bool {
        let mut holds = true;
        for i in 0..2 {
            // SAFETY: the caller's promise.
            let (up, down) = unsafe { (self.up[i].sum().to_f64(), self.down[i].sum().to_f64()) };
            holds &= down - BALANCE[i] * up <= 0.0; // not what is not a number
        }
        holds
    }
}

/// |h - h'|^2 of a vector of examples, whose h and h' lie as [k][lane] for m values of k.
///
/// # Safety
/// The instruction set of `V` is available, and there are m vectors behind both.
#[inline(always)]
pub unsafe fn square_moved<V: Vector>(now: *const V::Scalar, old: *const V::Scalar, m: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut far = V::zero();
        for k in 0..m {
            let d = V::load(now.add(k * V::LANES)).sub(V::load(old.add(k * V::LANES)));
            far = d.fma(d, far);
        }
        far
    }
}

/// Whether lists are clearly shorter with so many entries than with so many `others`.
#[inline(always)]
pub fn clearly_fewer(entries: usize, others: usize) -> bool {
    entries * 10 < others * 7
}

/// What a feature adds to the skin: of |h'|, of d, and by itself; and what of it rounding needs.
#[derive(Clone, Copy, Default)]
pub struct Bound<T> {
    pub size: T,
    pub reach: T,
    pub fixed: T,
    pub thin_size: T,
    pub thin_fixed: T,
}

/// Numbers of a [`Bound`].
pub const BOUNDS: usize = 5;

impl<T> Bound<T> {
    /// All of them, in this order.
    pub fn numbers(self) -> [T; BOUNDS] {
        [
            self.size,
            self.reach,
            self.fixed,
            self.thin_size,
            self.thin_fixed,
        ]
    }
}

/// What a feature may do until its reference is taken anew.
pub struct Allowed<T> {
    /// Squares of how far w and b may go.
    pub limits: [T; 2],
    pub bound: Bound<T>,
}

/// For a feature with that |w'|^2 and b', whose w may go `radius` far and whose b `fixed`.
pub fn allowed<T: Real>(m: usize, square: f64, b: f64, radius: f64, fixed: f64) -> Allowed<T> {
    // The squares that are compared with these limits are off by (m + 2) u.
    let shrink = 1.0 - 1e-3;
    let rho = 8.0 * (m + 4) as f64 * T::EPSILON;
    let reach = square.sqrt() * (1.0 + 1e-6) + radius;
    let up = |x: f64| T::from_f64(x * (1.0 + 1e-5));
    Allowed {
        limits: [radius, fixed].map(|far| T::from_f64(far * far * shrink)),
        bound: Bound {
            size: up(radius + rho * reach),
            reach: up(reach * (1.0 + rho)),
            fixed: up(fixed + rho * (b.abs() + fixed) + TINY),
            thin_size: up(rho * reach),
            thin_fixed: up(rho * b.abs() + TINY),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::philox;

    /// A number from -1 to 1.
    fn drawn(i: u64, k: usize) -> f64 {
        (philox([i, 9], [k as u64, 0, 0, 0])[0] >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn norm(v: &[f64]) -> f64 {
        v.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// `from` moved by `far` along `direction`, in T.
    fn moved<T: Real>(from: &[f64], direction: &[f64], far: f64) -> Vec<f64> {
        let scale = far / norm(direction).max(1e-300);
        let points = from.iter().zip(direction);
        points
            .map(|(x, d)| T::from_f64(x + scale * d).to_f64())
            .collect()
    }

    /// z as kernels compute it, in T.
    fn z<T: Real>(w: &[f64], h: &[f64], b: f64) -> f64 {
        let pairs = w.iter().zip(h);
        pairs
            .fold(T::from_f64(b), |z, (&w, &h)| {
                T::from_f64(w).fma(T::from_f64(h), z)
            })
            .to_f64()
    }

    /// Move everything as far as it may go, to where it changes z most: the skin holds, and is not much
    /// too large.
    fn attack<T: Real>(m: usize, i: u64, sign: f64) {
        let size = |k: usize, low: f64| 10f64.powf(low * (drawn(i, 900 + k) + 1.0) / 2.0);
        let of = |first: usize, size: f64| -> Vec<f64> {
            let point = (first..first + m).map(|k| T::from_f64(size * drawn(i, k)).to_f64());
            point.collect()
        };
        let (w, h) = (of(0, size(0, -3.0)), of(400, size(1, -3.0)));
        let b = T::from_f64(size(2, -3.0) * drawn(i, 800)).to_f64();
        let (radius, fixed, far) = (size(3, -6.0), size(4, -6.0), size(5, -6.0));
        let square = w.iter().map(|x| x * x).sum();
        let Allowed { limits, bound } = allowed::<T>(m, square, b, radius, fixed);
        // As far as the limits let them, which are compared as squares in T.
        let at_most = |limit: T| limit.to_f64().sqrt() * (1.0 - 1e-6);
        let new_w = moved::<T>(&w, &h, sign * at_most(limits[0]));
        let new_h = moved::<T>(&h, &new_w, sign * far);
        let new_b = T::from_f64(b + sign * at_most(limits[1])).to_f64();
        let change = (z::<T>(&new_w, &new_h, new_b) - z::<T>(&w, &h, b)).abs();
        let far = T::from_f64(far * (1.0 + 1e-5));
        let h_size = T::from_f64(norm(&h) * (1.0 + 1e-6));
        let skin = bound.size.fma(h_size, bound.fixed);
        let skin = bound.reach.fma(far, skin).to_f64();
        let thin = bound.thin_size.fma(h_size, bound.thin_fixed).to_f64();
        assert!(
            change <= skin,
            "m = {m}, case {i}: {change} is more than {skin}"
        );
        // What the three inequalities allow.
        let most = radius * norm(&h) + (norm(&w) + radius) * far.to_f64() + fixed;
        assert!(
            skin <= 1.01 * most + 10.0 * thin,
            "m = {m}, case {i}: {skin}, not {most}"
        );
    }

    #[test]
    fn what_moves_as_far_as_it_may_stays_in_the_skin() {
        for m in [1, 2, 3, 6, 7, 8, 16, 33, 300] {
            for i in 0..200 {
                for sign in [1.0, -1.0] {
                    attack::<f32>(m, i, sign);
                    attack::<f64>(m, i, sign);
                }
            }
        }
    }
}
