//! States of runs, from and to Python: numbers and arrays by name.

use std::sync::Arc;

use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use toysup_core::{AnyState, Budgets, Dtype, Kept, Memory, Point, Snapshot, State, Trial};

use crate::convert::Shape;

use crate::convert::joined;

/// Numbers of a point of the history, its step included.
const POINT: usize = 6;
/// Numbers of what the kernel keeps besides arrays.
const KEPT: usize = 10;

/// The state that a dict holds, as [`state_dict`] makes it.
pub fn state(dict: &Bound<'_, PyDict>, shape: Shape, dtype: Dtype) -> PyResult<AnyState> {
    Ok(match dtype {
        Dtype::F32 => AnyState::F32(typed(dict, shape)?),
        Dtype::F64 => AnyState::F64(typed(dict, shape)?),
    })
}

/// A state as a dict of numbers and arrays.
pub fn state_dict<'py>(
    py: Python<'py>,
    shape: Shape,
    state: AnyState,
) -> PyResult<Bound<'py, PyDict>> {
    match state {
        AnyState::F32(state) => dict(py, shape, state),
        AnyState::F64(state) => dict(py, shape, state),
    }
}

fn wrong(name: &str) -> PyErr {
    PyValueError::new_err(format!("the state does not fit the run: {name}"))
}

fn array<T: Element + Copy>(dict: &Bound<'_, PyDict>, name: &str) -> PyResult<Vec<T>> {
    let value = dict.get_item(name)?.ok_or_else(|| wrong(name))?;
    let array: PyReadonlyArrayDyn<'_, T> = value.extract().map_err(|_| wrong(name))?;
    Ok(array.as_array().iter().copied().collect())
}

fn pair<T: Element + Copy>(dict: &Bound<'_, PyDict>, name: &str) -> PyResult<(Vec<T>, Vec<T>)> {
    Ok((
        array(dict, &format!("{name}W"))?,
        array(dict, &format!("{name}b"))?,
    ))
}

fn typed<T: Element + Copy>(dict: &Bound<'_, PyDict>, shape: Shape) -> PyResult<State<T>> {
    let number = |name| dict.get_item(name)?.ok_or_else(|| wrong(name));
    let powers: Vec<f64> = array(dict, "powers")?;
    let second = dict.contains("second_W")?;
    Ok(State {
        step: number("step")?.extract()?,
        seconds: number("seconds")?.extract()?,
        parameters: pair(dict, "")?,
        memory: Memory {
            first: pair(dict, "first_")?,
            second: second.then(|| pair(dict, "second_")).transpose()?,
            powers: match powers[..] {
                [a, b] => (a, b),
                _ => return Err(wrong("powers")),
            },
        },
        rank: array(dict, "rank")?,
        order: array(dict, "order")?,
        kept: kept(dict)?,
        trial: trial(dict)?,
        history: points(&array(dict, "history")?)?,
        snapshots: snapshots(dict, shape)?,
    })
}

fn kept(dict: &Bound<'_, PyDict>) -> PyResult<Kept> {
    let numbers: Vec<f64> = array(dict, "kept")?;
    let [retry, sort, active, lists, life, sorted, excess, cost, _, _] = numbers[..] else {
        return Err(wrong("kept"));
    };
    let factors: Vec<f32> = array(dict, "feature_factors")?;
    let (features, rest) = factors.as_chunks::<2>();
    let examples: Vec<f32> = array(dict, "example_factors")?;
    let none = features.is_empty() && examples.is_empty();
    if !rest.is_empty() || lists == 0.0 && !none {
        return Err(wrong("budgets"));
    }
    let budgets = Budgets {
        features: features.to_vec(),
        examples,
        life,
        sorted: (sorted >= 0.0).then_some(sorted as u64),
        excess,
    };
    Ok(Kept {
        budgets: (lists != 0.0).then_some(budgets),
        retry: retry as u64,
        sort: sort as u64,
        active: active as u64,
        cost,
    })
}

fn trial<T: Element + Copy>(dict: &Bound<'_, PyDict>) -> PyResult<Option<Trial<T>>> {
    let numbers: Vec<f64> = array(dict, "kept")?;
    let [.., step, pace] = numbers[..] else {
        return Err(wrong("kept"));
    };
    if step < 0.0 {
        return Ok(None);
    }
    Ok(Some(Trial {
        step: step as u64,
        pace,
        parameters: pair(dict, "trial_")?,
    }))
}

fn points(numbers: &[f64]) -> PyResult<Vec<Point>> {
    let (points, rest) = numbers.as_chunks::<POINT>();
    if !rest.is_empty() {
        return Err(wrong("history"));
    }
    let point = |p: &[f64; POINT]| Point {
        step: p[0] as u64,
        train_loss: p[1],
        test_loss: p[2],
        w_norm: p[3],
        b_norm: p[4],
        max_feature_dimensionality: p[5],
    };
    Ok(points.iter().map(point).collect())
}

fn snapshots<T: Element + Copy>(
    dict: &Bound<'_, PyDict>,
    shape: Shape,
) -> PyResult<Vec<Arc<Snapshot<T>>>> {
    let steps: Vec<i64> = array(dict, "snapshot_step")?;
    let (w, b): (Vec<T>, Vec<T>) = pair(dict, "snapshot_")?;
    let size = shape.m * shape.n;
    if w.len() != steps.len() * size || b.len() != steps.len() * shape.n {
        return Err(wrong("snapshots"));
    }
    let one = |(i, &step): (usize, &i64)| {
        Arc::new(Snapshot {
            step: step as u64,
            w: w[i * size..(i + 1) * size].to_vec(),
            b: b[i * shape.n..(i + 1) * shape.n].to_vec(),
        })
    };
    Ok(steps.iter().enumerate().map(one).collect())
}

fn dict<'py, T: Element + Copy>(
    py: Python<'py>,
    shape: Shape,
    state: State<T>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("step", state.step)?;
    dict.set_item("seconds", state.seconds)?;
    set_pair(&dict, "", state.parameters, shape)?;
    set_pair(&dict, "first_", state.memory.first, shape)?;
    if let Some(second) = state.memory.second {
        set_pair(&dict, "second_", second, shape)?;
    }
    let (a, b) = state.memory.powers;
    set(&dict, "powers", vec![a, b])?;
    set(&dict, "rank", state.rank)?;
    set(&dict, "order", state.order)?;
    let begun = state.trial.as_ref().map(|trial| (trial.step, trial.pace));
    set_kept(&dict, state.kept, begun)?;
    if let Some(trial) = state.trial {
        set_pair(&dict, "trial_", trial.parameters, shape)?;
    }
    let numbers = state.history.iter().flat_map(|p| {
        let losses = [p.step as f64, p.train_loss, p.test_loss];
        let sizes = [p.w_norm, p.b_norm, p.max_feature_dimensionality];
        losses.into_iter().chain(sizes)
    });
    set(&dict, "history", numbers.collect())?;
    let shots = &state.snapshots;
    set(
        &dict,
        "snapshot_step",
        shots.iter().map(|s| s.step as i64).collect(),
    )?;
    set(&dict, "snapshot_W", joined(shots.iter().map(|s| &s.w[..]))?)?;
    set(&dict, "snapshot_b", joined(shots.iter().map(|s| &s.b[..]))?)?;
    Ok(dict)
}

fn set<T: Element>(dict: &Bound<'_, PyDict>, name: &str, values: Vec<T>) -> PyResult<()> {
    dict.set_item(name, PyArray1::from_vec(dict.py(), values))
}

fn set_pair<T: Element>(
    dict: &Bound<'_, PyDict>,
    name: &str,
    (w, b): (Vec<T>, Vec<T>),
    shape: Shape,
) -> PyResult<()> {
    let w = PyArray1::from_vec(dict.py(), w).reshape([shape.m, shape.n])?;
    dict.set_item(format!("{name}W"), w)?;
    set(dict, &format!("{name}b"), b)
}

fn set_kept(dict: &Bound<'_, PyDict>, kept: Kept, trial: Option<(u64, f64)>) -> PyResult<()> {
    let lists = kept.budgets.is_some();
    let budgets = kept.budgets.unwrap_or(Budgets {
        features: Vec::new(),
        examples: Vec::new(),
        life: 0.0,
        sorted: None,
        excess: 0.0,
    });
    let numbers: [f64; KEPT] = [
        kept.retry as f64,
        kept.sort as f64,
        kept.active as f64,
        f64::from(u8::from(lists)),
        budgets.life,
        budgets.sorted.map_or(-1.0, |sorted| sorted as f64),
        budgets.excess,
        kept.cost,
        trial.map_or(-1.0, |(step, _)| step as f64),
        trial.map_or(0.0, |(_, pace)| pace),
    ];
    set(dict, "kept", numbers.to_vec())?;
    set(dict, "feature_factors", budgets.features.into_flattened())?;
    set(dict, "example_factors", budgets.examples)
}
