//! The Python extension module `toysup._native`: conversion, detaching, errors and signals.
//! Nothing numerical happens here.

mod convert;
#[cfg(feature = "doors")]
mod doors;
mod drive;
mod state;

use pyo3::prelude::*;

/// Rust core of toysup; the package calls it by way of `toysup._backends.native`.
#[pymodule]
mod _native {
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
    use pyo3::prelude::*;
    use toysup_core::{
        Activation, AnyState, Choice, Control, Csr, Isa, Objective, Outline, Params, Real,
        Sparsity, Stream,
    };

    use crate::convert::{
        PyCsr, PyJob, PyOutline, PySparsity, ReadCsr, activation_of, by_dtype, csr, raw_run,
    };
    #[cfg(feature = "doors")]
    #[pymodule_export]
    use crate::doors::{gradients, panic_for_test, trace};
    use crate::drive::{core_error, detached, drive};
    use crate::state::state_dict;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // NumPy's C API and the flags of borrowed arrays are otherwise looked up when they are first
        // used, by Python code that a signal can interrupt in the middle of a run.
        drop(PyArray1::<f64>::zeros(module.py(), [1], false).readonly());
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Name of the instruction set in use.
    #[pyfunction]
    fn isa() -> PyResult<&'static str> {
        Ok(Isa::current().map_err(core_error)?.name())
    }

    /// Names of the instruction sets that this processor has.
    #[pyfunction]
    fn available_isas() -> Vec<&'static str> {
        Isa::ALL
            .into_iter()
            .filter(|isa| isa.available())
            .map(Isa::name)
            .collect()
    }

    /// One block of Philox4x64-10.
    #[pyfunction]
    fn philox(key: [u64; 2], counter: [u64; 4]) -> [u64; 4] {
        toysup_core::philox(key, counter)
    }

    /// The numbers below `count` in the order of an epoch.
    #[pyfunction]
    fn epoch_order(
        py: Python<'_>,
        seed: u64,
        epoch: u64,
        count: usize,
    ) -> PyResult<Bound<'_, PyArray1<i64>>> {
        let order = detached(py, |cancel| {
            toysup_core::epoch_order(seed, epoch, count, cancel)
        })?;
        let order = order.into_iter().map(i64::from).collect();
        Ok(PyArray1::from_vec(py, order))
    }

    /// Examples `start .. stop` of a stream as compressed rows.
    #[pyfunction]
    #[allow(clippy::too_many_arguments)]
    fn sample(
        py: Python<'_>,
        n: usize,
        start: u64,
        stop: u64,
        sparsity: PySparsity,
        seed: u64,
        role: u64,
        normalize: bool,
    ) -> PyResult<PyCsr<'_>> {
        let sparsity = Sparsity::from(sparsity);
        sparsity.check(n).map_err(core_error)?;
        let stream = Stream::new(n, sparsity, seed, role, normalize);
        let csr = detached(py, |cancel| stream.sample(start, stop, cancel))?;
        let indptr = csr.indptr.iter().map(|&i| i as i64).collect();
        let indices = csr.indices.iter().map(|&i| i as i32).collect();
        Ok((
            PyArray1::from_vec(py, indptr),
            PyArray1::from_vec(py, indices),
            PyArray1::from_vec(py, csr.values),
        ))
    }

    /// The loss and its gradient, divided by `features`.
    #[pyfunction]
    fn loss_and_grad<'py>(
        py: Python<'py>,
        w: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        x: ReadCsr<'py>,
        importance: PyReadonlyArray1<'py, f64>,
        features: f64,
        activation: &str,
    ) -> PyResult<(f64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let x = csr(&x)?;
        let importance = importance.as_slice()?;
        let how = (features, activation_of(activation)?);
        by_dtype!(typed(py, w, b, &x, importance, how))
    }

    fn typed<'py, T: Real + numpy::Element>(
        py: Python<'py>,
        w: PyReadonlyArray2<'py, T>,
        b: PyReadonlyArray1<'py, T>,
        x: &Csr,
        importance: &[f64],
        (features, activation): (f64, Activation),
    ) -> PyResult<(f64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let shape = w.as_array().dim();
        let params = Params::from_values(
            shape.1,
            shape.0,
            w.as_slice()?.iter().copied(),
            b.as_slice()?,
            None,
        );
        let objective = Objective {
            activation,
            x,
            importance,
            features,
        };
        let isa = Isa::current().map_err(core_error)?;
        let (loss, dw, db) = detached(py, |cancel| {
            toysup_core::loss_and_grad(&params, &objective, isa, cancel)
        })?;
        let dw = PyArray1::from_vec(py, dw);
        let dw: Bound<'_, PyArray2<T>> = dw.reshape(shape)?;
        Ok((loss, dw.into_any(), PyArray1::from_vec(py, db).into_any()))
    }

    /// Refuse a job, its state included, that cannot be done.
    #[pyfunction]
    fn check(job: PyJob<'_>) -> PyResult<()> {
        job.job().map(drop)
    }

    /// When the states of runs are given away.
    struct Keeper {
        interval: Duration,
        /// Of the runs that have begun.
        times: Vec<Option<Times>>,
    }

    /// When a run began, and when its state was given away, or it began; whether it was asked for one since.
    #[derive(Clone, Copy)]
    struct Times {
        began: Instant,
        last: Instant,
        asked: bool,
    }

    impl Times {
        /// Whether it is time: after an eighth of the interval first, then after twice as long each time.
        fn is_due(&self, now: Instant, interval: Duration) -> bool {
            let age = self.last.duration_since(self.began);
            now.duration_since(self.last) >= age.clamp(interval / 8, interval)
        }
    }

    impl Keeper {
        /// The state that has been due for longest, if one is. One at a time: writing may be slow,
        /// and in between signals are looked at.
        fn due(
            &mut self,
            control: &Control,
            running: &[(usize, u64)],
        ) -> Option<(usize, AnyState)> {
            let now = Instant::now();
            let new = Times {
                began: now,
                last: now,
                asked: false,
            };
            let since = |&(run, _): &(usize, u64)| (self.times[run].get_or_insert(new).last, run);
            let mut due: Vec<_> = running.iter().map(since).collect();
            due.sort_unstable();
            due.into_iter().find_map(|(_, run)| {
                let times = self.times[run].as_mut()?;
                if !times.is_due(now, self.interval) || control.is_asked(run) {
                    return None;
                }
                // Since it was asked it has come to a step; it may have no state there, and an older one.
                let state = times.asked.then(|| control.take_state(run)).flatten();
                times.asked = state.is_none();
                if state.is_some() {
                    times.last = Instant::now();
                } else {
                    control.ask(run);
                }
                Some((run, state?))
            })
        }
    }

    /// Train every run on `n_jobs` threads, as many at a time as fit in `memory` bytes. `make(i)` is
    /// called for the job of run i, on its thread, when it begins; it returns None when it was told
    /// to stop.
    /// `on_result(i, run)` is called in this thread as soon as run i ends, and
    /// `poll(work, running, missing)` every 25 ms; when it returns True, unfinished runs are dropped.
    /// `on_state(i, state)` is given the newest state of a run every `interval` seconds, sooner at
    /// first, and that of each run that is dropped. Returns `missing`, the number of threads that could
    /// not be started.
    #[pyfunction]
    #[allow(clippy::too_many_arguments)]
    fn train_many(
        py: Python<'_>,
        outlines: Vec<PyOutline>,
        make: &Bound<'_, PyAny>,
        n_jobs: usize,
        memory: u64,
        on_result: &Bound<'_, PyAny>,
        poll: &Bound<'_, PyAny>,
        on_state: &Bound<'_, PyAny>,
        interval: f64,
    ) -> PyResult<usize> {
        let runs: Vec<Outline> = outlines.iter().map(PyOutline::outline).collect();
        let make = make.as_unbound();
        let choice = Choice::current().map_err(core_error)?;
        let control = Control::new(runs.len());
        let make = |i| {
            let job = Python::attach(|py| {
                let job: Option<PyJob<'_>> = make.call1(py, (i,))?.extract(py)?;
                job.map(PyJob::job).transpose()
            });
            job.map_err(|error| toysup_core::Error::Invalid(error.to_string()))?
                .ok_or(toysup_core::Error::Cancelled)
        };
        let keep = |i: usize, state| -> PyResult<()> {
            let state = state_dict(py, outlines[i].shape(), state)?;
            on_state.call1((i, state)).map(drop)
        };
        let mut keeper = Keeper {
            interval: Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX),
            times: vec![None; runs.len()],
        };
        drive(
            py,
            &control.cancel,
            |send| toysup_core::train_many(&runs, &make, n_jobs, memory, choice, &control, send),
            |(i, ended)| {
                if !matches!(ended, Err(toysup_core::Error::Cancelled)) {
                    drop(control.take_state(i));
                    on_result.call1((
                        i,
                        raw_run(py, outlines[i].shape(), ended, control.steps(i))?,
                    ))?;
                }
                Ok(())
            },
            || {
                let running = control.running();
                if let Some((i, state)) = keeper.due(&control, &running) {
                    keep(i, state)?;
                }
                let missing = control.missing.load(Ordering::Relaxed);
                poll.call1((control.work(&runs), running, missing))?
                    .is_truthy()
            },
            // Not before: if the sweep is to stop, no other run begins.
            |i| control.release(&runs[i]),
        )?;
        for i in 0..runs.len() {
            if let Some(state) = control.take_state(i) {
                keep(i, state)?;
            }
        }
        Ok(control.missing.into_inner())
    }
}
