//! What of lists is kept when they are made anew.

/// How far lists may let things move, by where these lie; see [`crate::lists::skin`].
#[derive(Debug, Clone)]
pub struct Budgets {
    /// Factors of w and b of each feature.
    pub features: Vec<[f32; 2]>,
    /// Factors of the examples, or of vectors of examples.
    pub examples: Vec<f32>,
    /// Steps that lists shall last.
    pub life: f64,
    /// Entries when last sorted, if known, and what more of them have cost since.
    pub sorted: Option<u64>,
    /// See `sorted`.
    pub excess: f64,
}
