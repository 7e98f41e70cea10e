//! The Python extension module `toysup._native`: conversion, detaching, errors and signals.
//! Nothing numerical happens here.

mod convert;
mod drive;

use pyo3::prelude::*;

/// Rust core of toysup; the package calls it by way of `toysup._rust`.
#[pymodule]
mod _native {
    use std::sync::atomic::AtomicBool;

    use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
    use pyo3::exceptions::PyTypeError;
    use pyo3::prelude::*;
    use toysup_core::{Control, Csr, Isa, Job, Params, Real, Stream};

    use crate::convert::{PyJob, raw_run};
    use crate::drive::{core_error, detached, drive};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    type PyCsr<'py> = (
        Bound<'py, PyArray1<i64>>,
        Bound<'py, PyArray1<i32>>,
        Bound<'py, PyArray1<f64>>,
    );

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

    /// Examples `start .. stop` of a stream as compressed rows.
    #[pyfunction]
    #[allow(clippy::too_many_arguments)]
    fn sample(
        py: Python<'_>,
        n: usize,
        start: u64,
        stop: u64,
        sparsity: f64,
        seed: u64,
        role: u64,
        normalize: bool,
    ) -> PyResult<PyCsr<'_>> {
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
        x: (
            PyReadonlyArray1<'py, i64>,
            PyReadonlyArray1<'py, i32>,
            PyReadonlyArray1<'py, f64>,
        ),
        importance: PyReadonlyArray1<'py, f64>,
        features: f64,
    ) -> PyResult<(f64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let x = Csr {
            indptr: x.0.as_slice()?.iter().map(|&i| i as usize).collect(),
            indices: x.1.as_slice()?.iter().map(|&i| i as u32).collect(),
            values: x.2.as_slice()?.to_vec(),
        };
        let importance = importance.as_slice()?;
        if let (Ok(w), Ok(b)) = (w.extract(), b.extract()) {
            typed::<f32>(py, w, b, &x, importance, features)
        } else if let (Ok(w), Ok(b)) = (w.extract(), b.extract()) {
            typed::<f64>(py, w, b, &x, importance, features)
        } else {
            Err(PyTypeError::new_err(
                "W and b must both be float32 or both float64 arrays",
            ))
        }
    }

    fn typed<'py, T: Real + numpy::Element>(
        py: Python<'py>,
        w: PyReadonlyArray2<'py, T>,
        b: PyReadonlyArray1<'py, T>,
        x: &Csr,
        importance: &[f64],
        features: f64,
    ) -> PyResult<(f64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let shape = w.as_array().dim();
        let params = Params::from_values(
            shape.1,
            shape.0,
            w.as_slice()?.iter().copied(),
            b.as_slice()?,
        );
        let isa = Isa::current().map_err(core_error)?;
        let (loss, dw, db) = detached(py, |cancel| {
            toysup_core::loss_and_grad(&params, x, importance, features, isa, cancel)
        })?;
        let dw = PyArray1::from_vec(py, dw);
        let dw: Bound<'_, PyArray2<T>> = numpy::PyArrayMethods::reshape(&dw, shape)?;
        Ok((loss, dw.into_any(), PyArray1::from_vec(py, db).into_any()))
    }

    /// Train every job on `n_jobs` threads. `on_result(i, run)` is called in this thread as soon as
    /// run i ends, `poll(work)` every 25 ms; when it returns True, unfinished runs are dropped.
    #[pyfunction]
    fn train_many(
        py: Python<'_>,
        jobs: Vec<PyJob>,
        n_jobs: usize,
        on_result: &Bound<'_, PyAny>,
        poll: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let jobs: Vec<Job> = jobs.into_iter().map(PyJob::job).collect::<PyResult<_>>()?;
        let isa = Isa::current().map_err(core_error)?;
        let control = Control::new(jobs.len());
        drive(
            py,
            &control.cancel,
            |send| toysup_core::train_many(&jobs, n_jobs, isa, &control, send),
            |(i, ended)| match ended {
                Err(toysup_core::Error::Cancelled) => Ok(()),
                ended => on_result
                    .call1((i, raw_run(py, &jobs[i], ended)?))
                    .map(drop),
            },
            || poll.call1((control.work(&jobs),))?.is_truthy(),
        )
    }

    /// Panic inside a detached call: what a broken invariant of the core looks like from Python.
    #[pyfunction]
    fn panic_for_test(py: Python<'_>) -> PyResult<()> {
        detached(py, |_: &AtomicBool| panic!("on purpose"))
    }
}
