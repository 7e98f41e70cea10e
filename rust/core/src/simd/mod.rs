//! Vectors: one trait, its instruction sets, and the choice among them.

pub(crate) mod aligned;
pub(crate) mod dispatch;
pub(crate) mod isa;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
pub(crate) mod prefetch;
mod real;
pub(crate) mod vector;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;
