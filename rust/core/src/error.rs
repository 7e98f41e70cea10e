use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What can go wrong in the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An argument is out of range; the text names it and its value.
    Invalid(String),
    /// What this process runs in does not allow it; the text says why.
    Surroundings(String),
    /// The caller asked to stop.
    Cancelled,
    /// A run panicked; the text is the panic's message.
    Panicked(String),
}

impl Error {
    /// Not one thread can be started.
    pub fn no_thread(error: &dyn fmt::Display) -> Self {
        Error::Surroundings(format!(
            "cannot start a thread ({error}); see ulimit -u, ulimit -v and the control group's pids.max"
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(text) | Error::Surroundings(text) => f.write_str(text),
            Error::Cancelled => f.write_str("cancelled"),
            Error::Panicked(text) => write!(f, "internal error: {text}"),
        }
    }
}

impl std::error::Error for Error {}

/// `Result` with the core's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// [`Error::Cancelled`] if `cancel` was set.
pub(crate) fn check(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        Err(Error::Cancelled)
    } else {
        Ok(())
    }
}
