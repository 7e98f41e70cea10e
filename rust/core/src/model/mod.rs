//! The model: its parameters, and the examples that it is trained on.

pub(crate) mod examples;
pub(crate) mod order;
pub(crate) mod params;
pub(crate) mod slices;
pub(crate) mod sparse;
