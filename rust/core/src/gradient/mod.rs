//! The loss and its gradient.

mod all_pairs;
mod choose;
#[allow(clippy::module_inception)] // the folder is named after what it makes
pub(crate) mod gradient;
pub(crate) mod kept;
pub(crate) mod kernel;
pub(crate) mod shares;
mod tiles;
