//! What can be seen of the gradient from outside.

/// A look at one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Number of updates so far.
    pub step: u64,
    /// Wall time since the first gradient, that of other looks left out.
    pub seconds: f64,
    /// Whether lists are in use.
    pub lists: bool,
    /// Entries of the lists, those that no skin would be needed for, and lists that are not empty.
    pub entries: u64,
    /// See `entries`.
    pub bare: u64,
    /// See `entries`.
    pub rows: u64,
    /// Lists of exceptions from being linear.
    pub minus: u64,
    /// Vectors of pairs looked at so far in making lists.
    pub built: u64,
    /// Steps that lists shall last.
    pub life: f64,
    /// Features that are not dead or linear for all examples.
    pub active: u64,
    /// Distance of the gradient from the dense one in double precision, as a share of its norm.
    pub error: f64,
    /// The same for the dense gradient in the run's own precision.
    pub dense_error: f64,
}
