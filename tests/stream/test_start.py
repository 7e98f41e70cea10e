"""What a run may be besides the paper's: linear, with repeated examples, from given weights."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import toysup
from helpers import Module, Tensor, on, run_bits
from strategies import Problem, problems
from toysup import TrainConfig, sweep, train
from toysup._backends.protocol import Backend
from toysup._stream.batch import repeated
from toysup._stream.start import polygon
from toysup.config.weights import Weights
from toysup.data import SparseBatch

SMALL: dict[str, Any] = {"n": 60, "m": 2, "T": 12, "sparsity": 0.9, "steps": 60, "test_size": 50}


# --------------------------------------------------------------------------------- the linear model


def linear_answer(problem: Problem, reduction: str = "sum") -> Any:
    importance = problem.given_importance()
    options = {"importance": importance, "reduction": reduction, "activation": "linear"}
    return toysup.loss_and_grad(*problem.parameters(), problem.examples(), **options)


def plain_linear(problem: Problem) -> tuple[float, Any, Any, float]:
    """Loss and gradient in matrix form, and the size of what is added up."""
    W, b = (a.astype(np.float64) for a in problem.parameters())
    X, importance = problem.examples().toarray(), problem.importances()
    H = X @ W.T
    r = importance * (H @ W + b - X) / len(X)
    loss = float(np.sum(r * (H @ W + b - X)))
    dW = 2 * (H.T @ r + (r @ W.T).T @ X)
    R = importance * (np.abs(H) @ np.abs(W) + np.abs(b) + np.abs(X))
    size = float(np.max(np.abs(H).T @ R + (R @ np.abs(W).T).T @ np.abs(X)))
    return loss, dW, 2 * r.sum(axis=0), size + float(np.max(np.sum(R, axis=0), initial=0.0))


@given(problem=problems(max_n=120, max_m=12, max_T=300))
def test_linear_gradient_is_that_of_the_plain_formula(backend: Backend, problem: Problem) -> None:
    loss, dW, db = linear_answer(problem)
    expected, W_part, b_part, size = plain_linear(problem)
    scale = 1e-12 * (1 + size)
    assert loss == pytest.approx(expected, rel=1e-9, abs=scale)
    np.testing.assert_allclose(dW, W_part, rtol=1e-9, atol=scale)
    np.testing.assert_allclose(db, b_part, rtol=1e-9, atol=scale)


@given(problem=problems(max_n=80, max_m=8, max_T=100, dtype="float32"))
def test_linear_gradient_in_single_precision(backend: Backend, problem: Problem) -> None:
    loss, dW, db = linear_answer(problem, "mean")
    assert dW.dtype == db.dtype == np.float32
    exact, W_part, b_part, size = plain_linear(problem)
    tolerance = 1e-5 * (1 + size) / problem.n
    assert loss == pytest.approx(exact / problem.n, rel=1e-9, abs=1e-6)
    np.testing.assert_allclose(dW, W_part / problem.n, rtol=1e-4, atol=tolerance)
    np.testing.assert_allclose(db, b_part / problem.n, rtol=1e-4, atol=tolerance)


@given(problem=problems(max_n=60, max_m=6, max_T=60))
def test_relu_and_linear_agree_where_nothing_is_cut(backend: Backend, problem: Problem) -> None:
    """With large biases every z is positive."""
    W, b = problem.parameters()
    X = problem.examples()
    b = np.full_like(b, 1.0 + np.max(np.abs(X.dot(W.T) @ W), initial=0.0))
    answers = [toysup.loss_and_grad(W, b, X, activation=a) for a in ("relu", "linear")]
    scale = float(np.max(np.abs(answers[0][1]), initial=0.0) + answers[0][0])
    for relu, linear in zip(*answers, strict=True):
        np.testing.assert_allclose(relu, linear, rtol=1e-9, atol=1e-11 * (1 + scale))


def test_linear_training_agrees_with_the_reference(native: Backend, reference: Backend) -> None:
    config = TrainConfig(**SMALL, activation="linear", dtype="float64", importance=0.9)
    one, other = (on(b, train, config, progress=False) for b in (native, reference))
    np.testing.assert_allclose(one.W, other.W, rtol=1e-7, atol=1e-9)
    assert one.train_loss == pytest.approx(other.train_loss, rel=1e-9)
    assert one.test_loss == pytest.approx(other.test_loss, rel=1e-9)


def test_a_linear_model_learns_with_endless_data(backend: Backend) -> None:
    run = train(**{**SMALL, "T": math.inf}, batch_size=30, activation="linear", progress=False)
    assert run.status == "ok"
    start = float(run.history["train_loss"][0])
    assert run.train_loss < start


# -------------------------------------------------------------------------------- repeated examples


@given(
    counts=st.dictionaries(st.integers(0, 5), st.integers(1, 4), max_size=4),
    seed=st.integers(0, 1000),
)
def test_copies_follow_the_examples(backend: Backend, counts: dict[int, int], seed: int) -> None:
    config = TrainConfig(**{**SMALL, "T": 6, "steps": 0}, repeats=counts, seed=seed)
    run = train(config, progress=False)
    rows = run.training_set().toarray()
    first = toysup.data.sample(60, 6, 0.9, seed).toarray()
    copies = [t for t in sorted(counts) for _ in range(counts[t] - 1)]
    np.testing.assert_array_equal(rows, np.concatenate([first, first[copies]]))
    assert len(rows) == config.batch
    assert len(run.example_dimensionality()) == 6
    loss, _, _ = toysup.loss_and_grad(run.W, run.b, run.training_set(), reduction="sum")
    assert run.train_loss == pytest.approx(loss, rel=1e-12)


def test_repeating_all_examples_alike_changes_nothing(backend: Backend) -> None:
    config = TrainConfig(**SMALL, dtype="float64")
    once, thrice = (
        train(config.replace(repeats=repeats), progress=False)
        for repeats in ((), dict.fromkeys(range(12), 3))
    )
    np.testing.assert_allclose(thrice.W, once.W, rtol=1e-6, atol=1e-9)
    assert thrice.train_loss == pytest.approx(once.train_loss, rel=1e-9)


def test_backends_agree_on_repeats(native: Backend, reference: Backend) -> None:
    config = TrainConfig(**SMALL, repeats={0: 5, 7: 2}, dtype="float64")
    one, other = (on(b, train, config, progress=False) for b in (native, reference))
    np.testing.assert_allclose(one.W, other.W, rtol=1e-7, atol=1e-9)
    assert one.train_loss == pytest.approx(other.train_loss, rel=1e-9)


def test_a_repeated_example_weighs_more(backend: Backend) -> None:
    """SGD from the same weights moves further towards what is there more often."""
    fields = {**SMALL, "steps": 200, "optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.0}
    fields |= {"loss_reduction": "sum", "weight_decay": 0.0}
    loss = {}
    for R in (1, 50):
        run = train(**fields, repeats={0: R}, progress=False)
        first = toysup.data.sample(60, 1, 0.9, 0)
        loss[R], _, _ = toysup.loss_and_grad(run.W, run.b, first, reduction="sum")
    assert loss[50] < 0.7 * loss[1]


def test_the_order_of_repeats_does_not_matter() -> None:
    given_as = ({7: 2, 0: 5}, ((0, 5), (7, 2)), [[7, 2], [0, 5]], np.array([[7, 2], [0, 5]]))
    configs = {TrainConfig(**SMALL, repeats=repeats) for repeats in given_as}
    configs.add(TrainConfig(**SMALL, repeats={0: 5, 7: 2, 3: 1}))
    (config,) = configs
    assert config.repeats == ((0, 5), (7, 2))
    assert TrainConfig.from_json(config.to_json()) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.batch == 12 + 4 + 1
    assert config.copies().tolist() == [0, 0, 0, 0, 7]


def test_repeated_rows_of_nothing() -> None:
    X = toysup.data.sample(60, 4, 0.9, 0).csr()
    assert repeated(X, np.zeros(0, np.int64)) is X
    empty = toysup.data.sample(60, 3, 1 - 1e-12, 0).csr()
    indptr, indices, _ = repeated(empty, np.array([2, 2]))
    assert (indptr.tolist(), len(indices)) == ([0] * 6, 0)


def test_repeats_as_an_axis(backend: Backend) -> None:
    values = [(), {0: 4}, ((0, 4), (1, 2))]
    result = sweep(**{**SMALL, "T": [3, 12]}, repeats=values, progress=False)
    assert result.dataset["repeats"].values.tolist() == ["", "(0, 4)", "(0, 4), (1, 2)"]
    for repeats in values:
        assert result.run(T=3, repeats=repeats).config.repeats == tuple(
            sorted(dict(repeats).items())
        )
    assert result.run(T=12, repeats="(0, 4)").config.repeats == ((0, 4),)
    alone = train(**SMALL, repeats={0: 4}, progress=False)
    assert run_bits(alone) == run_bits(result.run(T=12, repeats={0: 4}))


@pytest.mark.parametrize(
    ("repeats", "error", "message"),
    [
        (5, TypeError, r"repeats must be pairs \(t, R\), got 5"),
        ("0:5", TypeError, "repeats must be pairs"),
        ([(0, 5, 1)], TypeError, r"repeats must be pairs \(t, R\), got \(0, 5, 1\)"),
        ({12: 2}, ValueError, "t in repeats must be between 0 and 11, got 12"),
        ({-1: 2}, ValueError, "t in repeats must be between 0 and 11, got -1"),
        ({0: 0}, ValueError, "R in repeats must be between 1 and 1000000, got 0"),
        ({0: 2.5}, TypeError, "R in repeats must be an integer, got 2.5"),
        ([(0, 5), (0, 3)], ValueError, "repeats has the example 0 twice"),
    ],
)
def test_bad_repeats(repeats: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TrainConfig(**SMALL, repeats=repeats)


def test_endless_data_repeat_nothing() -> None:
    with pytest.raises(ValueError, match="repeats must be empty when T is infinite"):
        TrainConfig(**{**SMALL, "T": math.inf}, repeats={0: 2})


# ------------------------------------------------------------------------------------ given weights


def start(dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((2, 60)).astype(dtype), rng.standard_normal(60).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_starts_with_the_weights_it_is_given(backend: Backend, dtype: str) -> None:
    W, b = start(dtype)
    run = train(**{**SMALL, "steps": 0}, init=(W, b), dtype=dtype, progress=False)
    np.testing.assert_array_equal(run.W, W)
    np.testing.assert_array_equal(run.b, b)
    rounded = train(**{**SMALL, "steps": 0}, init=start("float64"), progress=False)
    np.testing.assert_array_equal(rounded.W, start("float64")[0].astype(np.float32))


def test_a_run_goes_on_from_a_run(backend: Backend) -> None:
    first = train(**SMALL, progress=False)
    second = train(**SMALL, init=first, progress=False)
    assert float(second.history["train_loss"][0]) == pytest.approx(first.train_loss, rel=1e-12)
    again = train(**SMALL, init=(first.W, first.b), progress=False)
    assert run_bits(again) == run_bits(second)
    assert again.config == second.config and hash(again.config) == hash(second.config)


def test_given_weights_survive_files_pickles_and_stores(backend: Backend, tmp_path: Any) -> None:
    W, b = start()
    config = TrainConfig(**SMALL, init=(W, b))
    assert TrainConfig.from_json(config.to_json()) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.replace(steps=3).init == config.init
    run = train(config, progress=False)
    assert toysup.load_run(run.save(tmp_path / "run")).config == config
    axes = {"init": [(W, b), "polygon", "xavier_uniform"], "T": [5, 12]}
    result = sweep(**{**SMALL, **axes}, store=tmp_path / "store", progress=False)
    again = toysup.open_sweep(tmp_path / "store")
    assert run_bits(again.run(init=(W, b), T=12)) == run_bits(run)
    assert again.run(init="polygon", T=5).config.init == "polygon"
    label = str(result.dataset["init"].values[0])
    assert again.run(init=label, T=12).config == config
    assert again.to_frame()["init"].nunique() == 3


def test_given_weights_are_frozen_and_compared_by_value() -> None:
    W, b = start()
    one, other = Weights(W, b), Weights(W.copy(), b.copy())
    assert one == other and hash(one) == hash(other)
    assert one != Weights(W.astype(np.float64), b) and one != Weights(W, -b) and one != "polygon"
    W[0, 0] = 7.0
    assert one == other
    with pytest.raises(ValueError, match="read-only"):
        one.W[0, 0] = 1.0
    with pytest.raises(AttributeError, match="frozen"):
        one.W = W  # type: ignore[misc]


W, B = np.arange(120.0).reshape(2, 60), np.linspace(-1, 1, 60)


@pytest.mark.parametrize(
    "init",
    [
        [W, B],
        (W, B[:, None]),
        (W, B[None]),
        (W.tolist(), B.tolist()),
        {"W": W, "b": B},
        xr.Dataset({"W": (("hidden", "feature"), W), "b": ("feature", B)}),
        (pd.DataFrame(W), pd.Series(B)),
        (Tensor(W, requires_grad=True), Tensor(B[:, None], requires_grad=True, device="cuda:0")),
        Module(W, B),
        Module(W, B).state_dict(),
    ],
    ids=lambda v: type(v).__name__,
)
def test_weights_of_other_libraries_are_taken(init: Any) -> None:
    expected = TrainConfig(**SMALL, init=(W, B))
    assert TrainConfig(**SMALL, init=init) == expected
    fields = {**SMALL, "steps": 0, "test_size": 0}
    res = sweep(**fields, init=[init, "xavier_normal"])
    assert sweep(**fields, init=init).dims == () and res.dims == ("init",)
    assert res.configs[0].init == expected.init
    assert res.run(init=init).config.init == expected.init


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        (5, TypeError, "init must be a name, a Run or a pair"),
        (
            W,
            TypeError,
            r"init must be a name, a Run or a pair \(W, b\) of arrays, got array.* [^\n]*$",
        ),
        ((W.T, B), ValueError, r"shapes \(60, 2\) and \(60,\); give W.T if W has a row for each"),
        ({"lin.weight": W}, ValueError, r"must hold 'W' and 'b' .*got the keys \['lin.weight'\]"),
        ("xavier", ValueError, "init must be one of .*did you mean"),
        ((np.zeros((2, 5)), np.zeros(5)), ValueError, r"of shape \(m, n\) = \(2, 60\)"),
        ((np.zeros((2, 60)), np.zeros(59)), ValueError, r"got shapes \(2, 60\) and \(59,\)"),
        ((np.full((2, 60), np.nan), np.zeros(60)), ValueError, "init must be finite, got nan"),
        ((np.zeros((2, 60), complex), np.zeros(60)), TypeError, "init must hold real numbers"),
        ({"dtype": "float16", "m": 2, "data": ""}, ValueError, "init must be a name or weights"),
        ({"dtype": "float32", "m": 2, "data": "AA=?"}, ValueError, "no valid base 64"),
        ({"dtype": "float32", "m": 2, "data": 7}, ValueError, "no valid base 64"),
        ({"dtype": "float32", "m": 0, "data": "AAAA"}, ValueError, "no W and b for m = 0"),
        ({"dtype": "float32", "m": 10**9, "data": "AAAA"}, ValueError, "3 bytes"),
    ],
)
def test_bad_starts(init: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TrainConfig(**SMALL, init=init)


@given(text=st.text(max_size=40), m=st.integers(-3, 5) | st.none(), dtype=st.text(max_size=8))
def test_weights_from_any_json(text: str, m: int | None, dtype: str) -> None:
    values = {**SMALL, "init": {"dtype": dtype, "m": m, "data": text}}
    with pytest.raises(ValueError, match="init"):
        TrainConfig.from_json(json.dumps(values))


# -------------------------------------------------------------------------------------- the polygon


def disjoint(T: int) -> SparseBatch:
    """Unit examples of three features each, none of which two examples share."""
    rng = np.random.default_rng(T)
    values = rng.uniform(0.1, 1.0, (T, 3))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    n = 3 * T
    return SparseBatch(np.arange(0, n + 1, 3), np.arange(n, dtype=np.int32), values.ravel(), n)


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 8, 30])
def test_the_polygon_is_the_analytic_solution(backend: Backend, T: int) -> None:
    X = disjoint(T)
    given_weights = polygon(X.n, len(X), [X.csr()])
    W, b = given_weights.W, given_weights.b
    loss, dW, _ = toysup.loss_and_grad(W, b, X, reduction="sum")
    assert loss < 1e-15 * T**2
    radius = 1 / np.sqrt(1 - np.cos(2 * np.pi / T)) if T > 1 else 1.0
    H = X.dot(W.T)
    np.testing.assert_allclose(np.linalg.norm(H, axis=1), radius, rtol=1e-12)
    if T > 2:
        np.testing.assert_allclose(toysup.metrics.dimensionality(H), 2 / T, rtol=1e-10)
    assert np.max(np.abs(dW)) < 1e-9 * T**2


def test_a_polygon_is_where_training_can_start(backend: Backend) -> None:
    run = train(**{**SMALL, "T": 5, "sparsity": 0.97, "steps": 0}, init="polygon", progress=False)
    X = run.training_set()
    expected = polygon(60, len(X), [X.csr()])
    np.testing.assert_allclose(run.W, expected.W, rtol=1e-6)
    np.testing.assert_allclose(run.b, expected.b, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 3}, "init = 'polygon' is for m = 2, got m = 3"),
        ({"T": math.inf}, "init = 'polygon' is for a finite T"),
    ],
)
def test_where_there_is_no_polygon(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**SMALL, **changes}, init="polygon")


# -------------------------------------------------------------------------------------- all of them


def test_keys_of_earlier_configs_stay() -> None:
    """Fields that came later are not written at their defaults, so that stored runs are found."""
    text = TrainConfig().to_json()
    assert "repeats" not in text and "activation" not in text
    assert TrainConfig().key() == "55d00b16e935d0fa35b9"
    assert "repeats" in TrainConfig(repeats={0: 2}).to_json()
    assert '"activation":"linear"' in TrainConfig(activation="linear").to_json()
