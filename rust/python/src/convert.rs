//! Jobs from Python, outcomes to Python.

use std::sync::Arc;

use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use toysup_core::{
    Activation, AnyOutcome, Csr, Dtype, Error, Init, Job, Kind, Outcome, Outline, Point, Result,
    Rows, Schedule, Settings, Snapshot, Sparsity, Spec, useful_threads,
};

use crate::drive::core_error;
use crate::state::state;

/// Sparse rows to Python: where they begin, features and values.
pub type PyCsr<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f64>>,
);

/// The same from Python.
pub type ReadCsr<'py> = (
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, f64>,
);

/// Rows as the core keeps them.
pub fn csr(x: &ReadCsr<'_>) -> PyResult<Csr> {
    Ok(Csr {
        indptr: converted(x.0.as_slice()?, |i| i as usize)?,
        indices: converted(x.1.as_slice()?, |i| i as u32)?,
        values: converted(x.2.as_slice()?, |v| v)?,
    })
}

/// Numbers in another type, if there is memory for them.
fn converted<A: Copy, B>(from: &[A], f: impl Fn(A) -> B) -> PyResult<Vec<B>> {
    let mut to = Vec::new();
    reserve(&mut to, from.len(), "the examples")?;
    to.extend(from.iter().map(|&x| f(x)));
    Ok(to)
}

/// Room for `more`, or a `MemoryError` that says what for.
fn reserve<T>(vec: &mut Vec<T>, more: usize, what: &str) -> PyResult<()> {
    vec.try_reserve(more).map_err(|_| {
        let bytes = (vec.len() + more) * size_of::<T>();
        PyMemoryError::new_err(format!("{bytes} bytes could not be had for {what}"))
    })
}

/// The training and the test examples of a run.
fn rows((train, test): &(ReadCsr<'_>, ReadCsr<'_>)) -> PyResult<Rows> {
    Ok(Rows {
        train: Arc::new(csr(train)?),
        test: csr(test)?,
    })
}

/// `f::<T>(py, w, b, …)` for the type T of the numbers in both arrays W and b.
macro_rules! by_dtype {
    ($f:ident($py:expr, $w:expr, $b:expr, $($rest:expr),*)) => {
        if let (Ok(w), Ok(b)) = ($w.extract(), $b.extract()) {
            $f::<f32>($py, w, b, $($rest),*)
        } else if let (Ok(w), Ok(b)) = ($w.extract(), $b.extract()) {
            $f::<f64>($py, w, b, $($rest),*)
        } else {
            Err(pyo3::exceptions::PyTypeError::new_err(
                "W and b must both be float32 or both float64 arrays",
            ))
        }
    };
}
pub(crate) use by_dtype;

/// The shape of a run's W.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
}

/// One number for all features, or a tuple of one for each.
#[derive(FromPyObject)]
pub enum PySparsity {
    All(f64),
    Each(Vec<f64>),
}

impl From<PySparsity> for Sparsity {
    fn from(sparsity: PySparsity) -> Self {
        match sparsity {
            PySparsity::All(s) => Sparsity::All(s),
            PySparsity::Each(all) => Sparsity::Each(all),
        }
    }
}

/// A job as the dict that `toysup._backends.native` makes of a config.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct PyJob<'py> {
    n: usize,
    m: usize,
    activation: String,
    batch: u64,
    examples: u64,
    copies: Vec<u64>,
    infinite: bool,
    rows: Option<(ReadCsr<'py>, ReadCsr<'py>)>,
    sparsity: PySparsity,
    normalize: bool,
    importance: Vec<f64>,
    seed: u64,
    init_seed: u64,
    init: String,
    given: Option<(Vec<f64>, Vec<f64>)>,
    biases: Vec<f64>,
    mean: bool,
    optimizer: String,
    learning_rate: f64,
    final_learning_rate: f64,
    warmup_steps: u64,
    steps: u64,
    schedule: String,
    betas: (f64, f64),
    momentum: f64,
    eps: f64,
    weight_decay: f64,
    decay_bias: bool,
    learn_bias: bool,
    dtype: String,
    test_size: u64,
    history_test: u64,
    record_steps: Vec<u64>,
    snapshot_steps: Vec<u64>,
    state: Option<Bound<'py, PyDict>>,
}

/// What `toysup._backends.native` says of a run before it begins.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct PyOutline {
    n: usize,
    m: usize,
    batch: u64,
    infinite: bool,
    steps: u64,
    cost: f64,
    memory: u64,
}

impl PyOutline {
    /// The shape of the run's W.
    pub fn shape(&self) -> Shape {
        Shape {
            m: self.m,
            n: self.n,
        }
    }

    /// The core's outline.
    pub fn outline(&self) -> Outline {
        // Of an infinite set the next examples are drawn aside.
        let aside = usize::from(self.infinite);
        Outline {
            cost: self.cost,
            steps: self.steps,
            memory: self.memory,
            threads: useful_threads(self.n, self.batch as usize) + aside,
        }
    }
}

/// The variant that `value` names.
fn choice<T: Copy>(what: &str, value: &str, choices: &[(&str, T)]) -> PyResult<T> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, variant)| *variant).ok_or_else(|| {
        PyValueError::new_err(format!("{what} is not known to the Rust core: '{value}'"))
    })
}

/// The activation of that name.
pub fn activation_of(name: &str) -> PyResult<Activation> {
    let activations = [("relu", Activation::Relu), ("linear", Activation::Linear)];
    choice("activation", name, &activations)
}

impl PyJob<'_> {
    /// The core's job.
    pub fn job(self) -> PyResult<Job> {
        let kinds = [
            ("adamw", Kind::AdamW),
            ("adam", Kind::Adam),
            ("sgd", Kind::Sgd),
        ];
        let schedules = [
            ("cosine", Schedule::Cosine),
            ("quarter_cosine", Schedule::QuarterCosine),
            ("constant", Schedule::Constant),
        ];
        let inits = [
            ("xavier_uniform", Init::XavierUniform),
            ("xavier_normal", Init::XavierNormal),
        ];
        let dtypes = [("float32", Dtype::F32), ("float64", Dtype::F64)];
        let optimizer = Settings {
            kind: choice("optimizer", &self.optimizer, &kinds)?,
            learning_rate: self.learning_rate,
            final_rate: self.final_learning_rate,
            warmup_steps: self.warmup_steps,
            steps: self.steps,
            schedule: choice("schedule", &self.schedule, &schedules)?,
            betas: self.betas,
            momentum: self.momentum,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decay_bias: self.decay_bias,
            learn_bias: self.learn_bias,
        };
        let spec = Spec {
            n: self.n,
            m: self.m,
            activation: activation_of(&self.activation)?,
            batch: self.batch,
            examples: self.examples,
            copies: self.copies,
            infinite: self.infinite,
            rows: self.rows.as_ref().map(rows).transpose()?,
            sparsity: self.sparsity.into(),
            normalize: self.normalize,
            importance: self.importance,
            seed: self.seed,
            init_seed: self.init_seed,
            init: choice("init", &self.init, &inits)?,
            given: self.given,
            biases: self.biases,
            mean: self.mean,
            optimizer,
            test_size: self.test_size,
            history_test: self.history_test,
            record_steps: self.record_steps,
            snapshot_steps: self.snapshot_steps,
        };
        let dtype = choice("dtype", &self.dtype, &dtypes)?;
        let shape = Shape {
            m: spec.m,
            n: spec.n,
        };
        let state = self.state.map(|dict| state(&dict, shape, dtype));
        let job = Job {
            state: state.transpose()?,
            spec,
            dtype,
        };
        job.check().map_err(core_error)?;
        Ok(job)
    }
}

/// The `RawRun` of a job that ended, or why and after how many updates it failed.
pub fn raw_run<'py>(
    py: Python<'py>,
    shape: Shape,
    ended: Result<AnyOutcome>,
    steps: u64,
) -> PyResult<Bound<'py, PyDict>> {
    match ended {
        Ok(AnyOutcome::F32(outcome)) => finished(py, shape, outcome),
        Ok(AnyOutcome::F64(outcome)) => finished(py, shape, outcome),
        Err(error) => failed(py, error, steps),
    }
}

fn failed(py: Python<'_>, error: Error, steps: u64) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("status", "failed")?;
    // As the exception of that name says.
    let kind = if matches!(error, Error::Memory(_)) {
        "MemoryError: "
    } else {
        ""
    };
    raw.set_item("error", format!("{kind}{error}"))?;
    raw.set_item("steps_done", steps)?;
    Ok(raw)
}

fn finished<'py, T: Element + Copy>(
    py: Python<'py>,
    shape: Shape,
    outcome: Outcome<T>,
) -> PyResult<Bound<'py, PyDict>> {
    let raw = PyDict::new(py);
    let points = &outcome.history;
    let last = points.last();
    raw.set_item("status", if outcome.diverged { "diverged" } else { "ok" })?;
    raw.set_item("train_loss", last.map_or(f64::NAN, |p| p.train_loss))?;
    raw.set_item("test_loss", outcome.test_loss)?;
    raw.set_item("test_loss_error", outcome.test_loss_error)?;
    raw.set_item("seconds", outcome.seconds)?;
    raw.set_item("steps_done", outcome.last.step)?;
    raw.set_item("W", matrix(py, shape, [&outcome.last])?.get_item(0)?)?;
    raw.set_item("b", PyArray1::from_vec(py, outcome.last.b))?;
    raw.set_item("history", history(py, points)?)?;
    let steps = |steps: Vec<i64>| PyArray1::from_vec(py, steps);
    raw.set_item(
        "history_step",
        steps(points.iter().map(|p| p.step as i64).collect()),
    )?;
    let shots = &outcome.snapshots;
    raw.set_item(
        "snapshot_step",
        steps(shots.iter().map(|s| s.step as i64).collect()),
    )?;
    raw.set_item("snapshot_W", matrix(py, shape, shots.iter().map(|s| &**s))?)?;
    let b = joined(shots.iter().map(|s| &s.b[..]))?;
    raw.set_item(
        "snapshot_b",
        PyArray1::from_vec(py, b).reshape([shots.len(), shape.n])?,
    )?;
    Ok(raw)
}

/// All these one behind the other.
pub fn joined<'a, T: Copy + 'a>(parts: impl IntoIterator<Item = &'a [T]>) -> PyResult<Vec<T>> {
    let mut all = Vec::new();
    for part in parts {
        reserve(&mut all, part.len(), "the snapshots of a run")?;
        all.extend_from_slice(part);
    }
    Ok(all)
}

/// W of each snapshot, shape (snapshots, m, n).
fn matrix<'a, 'py, T: Element + Copy + 'a>(
    py: Python<'py>,
    shape: Shape,
    shots: impl IntoIterator<Item = &'a Snapshot<T>>,
) -> PyResult<Bound<'py, numpy::PyArray3<T>>> {
    let w = joined(shots.into_iter().map(|s| &s.w[..]))?;
    let count = w.len() / (shape.m * shape.n);
    PyArray1::from_vec(py, w).reshape([count, shape.m, shape.n])
}

fn history<'py>(py: Python<'py>, points: &[Point]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let set = |name: &str, of: fn(&Point) -> f64| {
        dict.set_item(
            name,
            PyArray1::from_vec(py, points.iter().map(of).collect()),
        )
    };
    set("train_loss", |p| p.train_loss)?;
    set("test_loss", |p| p.test_loss)?;
    set("W_norm", |p| p.w_norm)?;
    set("b_norm", |p| p.b_norm)?;
    set("max_feature_dimensionality", |p| {
        p.max_feature_dimensionality
    })?;
    Ok(dict)
}
