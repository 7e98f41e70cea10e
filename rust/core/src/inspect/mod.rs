//! Trainings looked at from inside.

pub(crate) mod trace;
