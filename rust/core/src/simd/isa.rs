//! Which instruction set the kernels use: chosen once, at run time.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 (F, DQ, VL) with FMA.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// NEON, which every AArch64 processor has.
    Neon,
    /// What every processor of the target has.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// The name that `TOYSUP_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Isa::Avx512 => {
                Isa::Avx2.available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            // Masks are counted and walked through by the bit instructions, which came with AVX2.
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
            }
            Isa::Neon => false,
            Isa::Portable => true,
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self {
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Neon => cfg!(target_arch = "aarch64"),
            Isa::Portable => true,
        }
    }

    /// The fastest one here, or the one that the environment variable `TOYSUP_ISA` names.
    ///
    /// # Errors
    /// If the variable holds an unknown name, or one that this processor lacks.
    pub fn current() -> Result<Isa> {
        static CHOICE: OnceLock<Result<Isa>> = OnceLock::new();
        CHOICE
            .get_or_init(|| match std::env::var("TOYSUP_ISA") {
                Ok(name) if !name.is_empty() => Isa::parse(&name),
                _ => Ok(Isa::ALL
                    .into_iter()
                    .find(|isa| isa.available())
                    .unwrap_or(Isa::Portable)),
            })
            .clone()
    }

    /// The instruction set of that name.
    ///
    /// # Errors
    /// If there is none, or this processor lacks it.
    pub fn parse(name: &str) -> Result<Isa> {
        let here: Vec<_> = Isa::ALL.into_iter().filter(|isa| isa.available()).collect();
        here.iter()
            .copied()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = here.iter().map(|isa| isa.name()).collect();
                Error::Invalid(format!(
                    "TOYSUP_ISA must be one of {} on this processor, got '{name}'",
                    names.join(", ")
                ))
            })
    }
}
