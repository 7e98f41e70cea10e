//! Training of the toy model x' = relu(W^T W x + b) on sparse examples: the numbers, without Python.
//!
//! The NumPy reference in `python/toysup/_backends/reference/model.py` defines what is right; this
//! crate agrees with it.

// Tiles are small arrays that are indexed alike: ranges say it best.
#![allow(clippy::needless_range_loop)]

// The numbers of features and of examples are bounded (stream.rs): their products fit in 64 bits.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("the native backend needs a 64-bit machine: TOYSUP_PURE=1 installs the NumPy one");

mod error;
mod gradient;
#[cfg(feature = "doors")]
mod inspect;
mod kernels;
mod lists;
mod math;
mod memory;
mod model;
mod simd;
mod stream;
mod training;

pub use error::{Error, Result};
pub use gradient::kept::Kept;
pub use gradient::kernel::Kernel;
pub use gradient::shares::useful_threads;
#[cfg(feature = "doors")]
pub use inspect::trace::{Reading, trace};
#[cfg(feature = "doors")]
pub use inspect::walk::{Walk, walk};
pub use kernels::linear::Activation;
pub use kernels::optimizer::{Kind, Memory, Schedule, Settings};
pub use lists::budgets::Budgets;
pub use math::is_exact;
pub use model::params::Params;
pub use simd::isa::Isa;
pub use simd::vector::Real;
pub use stream::{Csr, Init, Sparsity, Stream, epoch_order, philox, role};
#[cfg(feature = "doors")]
pub use training::gradients::gradients;
pub use training::gradients::{Objective, loss_and_grad};
pub use training::pool::{
    AnyOutcome, AnyState, Control, Dtype, Job, Outline, on_threads, train_many,
};
pub use training::run::{Keep, train};
pub use training::spec::{Choice, Outcome, Point, Rows, Snapshot, Spec};
pub use training::state::{State, Trial};
