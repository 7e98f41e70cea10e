//! Vectors: one trait, its instruction sets, and the choice among them.

pub(crate) mod aligned;
pub(crate) mod dispatch;
pub(crate) mod isa;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod vector;
