//! What of the gradient a state holds besides the parameters.

use crate::lists::budgets::Budgets;

/// Work through lists from one state to the next, in the cycles by which kernels are chosen: less than a
/// minute of a slow core, unless a step takes longer.
pub const WORK: f64 = if cfg!(test) { 1e6 } else { 6e10 };

/// What the kernel keeps between steps.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Those of the lists, if they are in use.
    pub budgets: Option<Budgets>,
    /// Step at which lists are tried again.
    pub retry: u64,
    /// Step at which features and examples are sorted at the latest.
    pub sort: u64,
    /// Features that needed their pairs when last counted.
    pub active: u64,
    /// Cycles of a step through the lists, as last counted.
    pub cost: f64,
}
