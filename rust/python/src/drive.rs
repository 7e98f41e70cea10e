//! The only way into the core: off the GIL, with signals polled and errors mapped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use toysup_core::{Error, Result, is_exact};

pyo3::import_exception!(toysup.errors, SurroundingsError);

/// How often signals are looked at.
const TICK: Duration = Duration::from_millis(25);

/// The Python exception of an error of the core.
pub fn core_error(error: Error) -> PyErr {
    match error {
        Error::Invalid(text) => PyValueError::new_err(text),
        Error::Surroundings(text) => SurroundingsError::new_err(text),
        Error::Memory(_) => PyMemoryError::new_err(error.to_string()),
        Error::Cancelled => PyKeyboardInterrupt::new_err(()),
        Error::Panicked(_) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// Run `work` in a thread of its own while this one waits detached. What `work` sends is given to
/// `on_message` here; `tick` is called every 25 ms and stops the work by returning true. An error
/// from either, or a pending signal, stops the work too and is returned once it has ended. `settle` is
/// called for each message last, when it may already be known that the work is to stop.
pub fn drive<M: Send, R: Send>(
    py: Python<'_>,
    cancel: &AtomicBool,
    work: impl FnOnce(&(dyn Fn(usize, M) + Sync)) -> Result<R> + Send,
    mut on_message: impl FnMut((usize, M)) -> PyResult<()>,
    mut tick: impl FnMut() -> PyResult<bool>,
    mut settle: impl FnMut(usize),
) -> PyResult<R> {
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().spawn_scoped(scope, move || {
            if !is_exact() {
                let text = "threads here flush denormal numbers, or do not round to nearest";
                return Ok(Err(Error::Surroundings(text.into())));
            }
            // The receiver outlives the worker, so a send cannot fail.
            let send = |i: usize, m: M| drop(sender.send((i, m)));
            catch_unwind(AssertUnwindSafe(|| work(&send)))
        });
        let worker = worker.map_err(|error| core_error(Error::no_thread(&error)))?;
        let mut failure = None;
        let mut due = Instant::now();
        loop {
            let message = py.detach(|| receiver.lock().unwrap().recv_timeout(TICK));
            let (mut done, which) = match message {
                Ok((i, m)) if failure.is_none() => (on_message((i, m)), Some(i)),
                Err(RecvTimeoutError::Disconnected) => break,
                _ => (Ok(()), None),
            };
            if failure.is_none() && Instant::now() >= due {
                due = Instant::now() + TICK;
                done = done.and_then(|()| py.check_signals()).and_then(|()| {
                    if tick()? {
                        cancel.store(true, Ordering::Relaxed);
                    }
                    Ok(())
                });
            }
            if let Err(error) = done {
                cancel.store(true, Ordering::Relaxed);
                failure = Some(error);
            } else if let Some(i) = which {
                settle(i);
            }
        }
        let ended = py.detach(|| worker.join());
        match (failure, ended) {
            (Some(error), _) => Err(error),
            (None, Ok(Ok(result))) => result.map_err(core_error),
            (None, Ok(Err(panic)) | Err(panic)) => Err(core_error(Error::caught(&*panic))),
        }
    })
}

/// [`drive`] for one result.
pub fn detached<R: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<R> + Send,
) -> PyResult<R> {
    let cancel = AtomicBool::new(false);
    drive::<(), R>(
        py,
        &cancel,
        |_| work(&cancel),
        |_| Ok(()),
        || Ok(false),
        |_| (),
    )
}
