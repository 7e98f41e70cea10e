//! Training: one run, its state between steps, and many runs at a time.

pub(crate) mod gradients;
pub(crate) mod pool;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod state;
#[cfg(test)]
mod tests;
