//! The loss and its gradient.

#[allow(clippy::module_inception)] // the folder is named after what it makes
pub(crate) mod gradient;
pub(crate) mod kept;
