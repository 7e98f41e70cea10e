//! Doors for tests and benchmarks, in builds with the feature of that name: gradients with the kernel
//! of choice, trainings looked at from inside, and a panic.

use std::sync::atomic::AtomicBool;

use numpy::{
    PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use toysup_core::{Activation, Choice, Csr, Dtype, Kernel, Objective, Params, Reading, Real};

use crate::convert::{PyJob, ReadCsr, by_dtype, csr};
use crate::drive::{core_error, detached};

/// The choice of the environment, with the kernel of that name if one is given.
fn choice(kernel: Option<&str>) -> PyResult<Choice> {
    let mut choice = Choice::current().map_err(core_error)?;
    if let Some(name) = kernel {
        choice.kernel = Kernel::parse(name).map_err(core_error)?;
    }
    Ok(choice)
}

/// Gradients (dW, db) for W and b that follow one another: arrays (steps, m, n) and (steps, n).
#[pyfunction]
#[pyo3(signature = (w, b, x, importance, features, pace, kernel, threads))]
#[allow(clippy::too_many_arguments)]
pub fn gradients<'py>(
    py: Python<'py>,
    w: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    x: ReadCsr<'py>,
    importance: PyReadonlyArray1<'py, f64>,
    features: f64,
    pace: f64,
    kernel: &str,
    threads: usize,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let x = csr(&x)?;
    let importance = importance.as_slice()?;
    let how = (features, pace, choice(Some(kernel))?, threads);
    by_dtype!(sequence(py, w, b, &x, importance, how))
}

fn sequence<'py, T: Real + numpy::Element>(
    py: Python<'py>,
    w: PyReadonlyArray3<'py, T>,
    b: PyReadonlyArray2<'py, T>,
    x: &Csr,
    importance: &[f64],
    (features, pace, choice, threads): (f64, f64, Choice, usize),
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (steps, m, n) = w.as_array().dim();
    let (w, b) = (w.as_slice()?, b.as_slice()?);
    let all: Vec<_> = w
        .chunks_exact(m * n)
        .zip(b.chunks_exact(n))
        .map(|(w, b)| Params::from_values(n, m, w.iter().copied(), b, None))
        .collect();
    let objective = Objective {
        activation: Activation::Relu,
        x,
        importance,
        features,
    };
    let found = detached(py, |cancel| {
        toysup_core::on_threads(threads, || {
            toysup_core::gradients(&all, &objective, choice, pace, cancel)
        })
    })?;
    let (dw, db): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let dw = PyArray1::from_vec(py, dw.concat());
    let dw: Bound<'_, PyArray3<T>> = dw.reshape([steps, m, n])?;
    let db = PyArray1::from_vec(py, db.concat());
    let db: Bound<'_, PyArray2<T>> = db.reshape([steps, n])?;
    Ok((dw.into_any(), db.into_any()))
}

/// Train and look at every `every`-th step: arrays by name, see the core's `Reading`.
#[pyfunction]
#[pyo3(signature = (job, every, check, kernel, threads))]
pub fn trace<'py>(
    py: Python<'py>,
    job: PyJob<'py>,
    every: u64,
    check: bool,
    kernel: Option<&str>,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let job = job.job()?;
    let choice = choice(kernel)?;
    let readings = detached(py, |cancel| {
        toysup_core::on_threads(threads, || match job.dtype {
            Dtype::F32 => toysup_core::trace::<f32>(&job.spec, choice, every, check, cancel),
            Dtype::F64 => toysup_core::trace::<f64>(&job.spec, choice, every, check, cancel),
        })
    })?;
    by_name(py, &readings)
}

/// Panic inside a detached call: what a broken invariant of the core looks like from Python.
#[pyfunction]
pub fn panic_for_test(py: Python<'_>) -> PyResult<()> {
    detached(py, |_: &AtomicBool| panic!("on purpose"))
}

/// Readings as arrays by name.
fn by_name<'py>(py: Python<'py>, readings: &[Reading]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let set = |name: &str, of: fn(&Reading) -> f64| {
        dict.set_item(
            name,
            PyArray1::from_vec(py, readings.iter().map(of).collect()),
        )
    };
    set("step", |r| r.step as f64)?;
    set("seconds", |r| r.seconds)?;
    set("lists", |r| f64::from(u8::from(r.lists)))?;
    set("entries", |r| r.entries as f64)?;
    set("bare", |r| r.bare as f64)?;
    set("rows", |r| r.rows as f64)?;
    set("minus", |r| r.minus as f64)?;
    set("built", |r| r.built as f64)?;
    set("life", |r| r.life)?;
    set("active", |r| r.active as f64)?;
    set("error", |r| r.error)?;
    set("dense_error", |r| r.dense_error)?;
    Ok(dict)
}
