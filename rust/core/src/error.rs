use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory::OutOfMemory;

/// What can go wrong in the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An argument is out of range; the text names it and its value.
    Invalid(String),
    /// What this process runs in does not allow it; the text says why.
    Surroundings(String),
    /// The caller asked to stop.
    Cancelled,
    /// Memory could not be had; the text says how much.
    Memory(String),
    /// A run panicked; the text is the panic's message.
    Panicked(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(text) | Error::Surroundings(text) | Error::Memory(text) => {
                f.write_str(text)
            }
            Error::Cancelled => f.write_str("cancelled"),
            Error::Panicked(text) => write!(f, "internal error: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Not one thread can be started.
    pub fn no_thread(error: &dyn fmt::Display) -> Self {
        Error::Surroundings(format!(
            "cannot start a thread ({error}); see ulimit -u, ulimit -v and the control group's pids.max"
        ))
    }

    /// That of what was caught while a thread unwound.
    pub fn caught(panic: &(dyn Any + Send)) -> Error {
        if let Some(OutOfMemory { bytes }) = panic.downcast_ref() {
            return Error::Memory(format!("{} could not be had", in_words(*bytes as f64)));
        }
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Error::Panicked(text.unwrap_or_else(|| "panic".into()))
    }

    /// The same, of a run of n features, m dimensions and so many examples that may take so many bytes.
    pub(crate) fn caught_in(sizes: [u64; 3], bytes: u64, panic: &(dyn Any + Send)) -> Error {
        let [n, m, examples] = sizes;
        match Error::caught(panic) {
            Error::Memory(text) => Error::Memory(format!(
                "{text} for n = {n}, m = {m} and {examples} examples, which may take {} together",
                in_words(bytes as f64)
            )),
            error => error,
        }
    }
}

/// A number of bytes.
fn in_words(bytes: f64) -> String {
    let units = [
        ("GiB", 2f64.powi(30)),
        ("MiB", 2f64.powi(20)),
        ("KiB", 1024.0),
    ];
    let (name, unit) = units
        .into_iter()
        .find(|(_, unit)| bytes >= *unit)
        .unwrap_or(("bytes", 1.0));
    format!("{:.1} {name}", bytes / unit)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_in_the_largest_unit_that_fits() {
        let said = [0.0, 1023.0, 1024.0, 1.5 * 2f64.powi(20), 2f64.powi(40)].map(in_words);
        assert_eq!(
            said,
            [
                "0.0 bytes",
                "1023.0 bytes",
                "1.0 KiB",
                "1.5 MiB",
                "1024.0 GiB"
            ]
        );
    }

    #[test]
    fn what_a_thread_unwinds_with_becomes_an_error() {
        let text = |error: Error| error.to_string();
        assert_eq!(text(Error::caught(&"why")), "internal error: why");
        assert_eq!(
            text(Error::caught(&String::from("why"))),
            "internal error: why"
        );
        assert_eq!(Error::caught(&7), Error::Panicked("panic".into()));
        let panic = OutOfMemory { bytes: 1 << 21 };
        assert_eq!(
            Error::caught(&panic),
            Error::Memory("2.0 MiB could not be had".into())
        );
        let said = text(Error::caught_in([5, 2, 9], 1 << 30, &panic));
        let sizes = "for n = 5, m = 2 and 9 examples, which may take 1.0 GiB together";
        assert_eq!(said, format!("2.0 MiB could not be had {sizes}"));
        assert_eq!(
            Error::caught_in([5, 2, 9], 0, &"why"),
            Error::Panicked("why".into())
        );
    }

    #[test]
    fn only_a_set_flag_cancels() {
        assert_eq!(check(&AtomicBool::new(false)), Ok(()));
        assert_eq!(check(&AtomicBool::new(true)), Err(Error::Cancelled));
    }
}
