//! Kernels: sums over pairs, non-zeros and features, and the update of the parameters.

pub(crate) mod dense;
pub(crate) mod evaluate;
pub(crate) mod linear;
pub(crate) mod metrics;
pub(crate) mod moments;
pub(crate) mod nonzeros;
pub(crate) mod optimizer;
pub(crate) mod whole;
