//! Trainings looked at from inside.

pub(crate) mod trace;
pub(crate) mod walk;
