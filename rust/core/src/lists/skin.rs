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

/// More than any product that underflows.
pub const TINY: f64 = 1e-30;

/// A feature lists exceptions from being linear only if the sum of their -z is at most this many times
/// the sum of the others' z, and the same with |h| as a factor: one is subtracted from the other.
/// Nothing that is not a number fulfils that.
pub const BALANCE: [f64; 2] = [4.0, 16.0];

/// What a feature adds to the skin: of |h'|, of d, and by itself; and what of it rounding needs.
#[derive(Clone, Copy, Default)]
pub struct Bound<T> {
    pub size: T,
    pub reach: T,
    pub fixed: T,
    pub thin_size: T,
    pub thin_fixed: T,
}
