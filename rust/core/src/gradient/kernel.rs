//! Which pairs a step goes through.

use crate::error::{Error, Result};

/// How the pairs are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// What costs less, judged from counts.
    Auto,
    /// All pairs, but for features that are dead or linear for all examples.
    Dense,
    /// The pairs of lists.
    Lists,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Kernel; 3] = [Kernel::Auto, Kernel::Dense, Kernel::Lists];

    /// The name that `TOYSUP_KERNEL` uses.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Auto => "auto",
            Kernel::Dense => "dense",
            Kernel::Lists => "lists",
        }
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(name: &str) -> Result<Kernel> {
        let found = Kernel::ALL.into_iter().find(|k| k.name() == name);
        found.ok_or_else(|| {
            Error::Invalid(format!(
                "TOYSUP_KERNEL must be auto, dense or lists, got '{name}'"
            ))
        })
    }

    /// What the environment variable `TOYSUP_KERNEL` names, or [`Kernel::Auto`].
    ///
    /// # Errors
    /// If the variable holds an unknown name.
    pub fn current() -> Result<Kernel> {
        match std::env::var("TOYSUP_KERNEL") {
            Ok(name) if !name.is_empty() => Kernel::parse(&name),
            _ => Ok(Kernel::Auto),
        }
    }
}
