"""Bad input is met with an error that names it, before anything is trained or written."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import toysup
import toysup.cli
from toysup import TrainConfig, load_run, loss_and_grad, open_sweep, sweep, train
from toysup.data import SparseBatch, sample
from toysup.errors import short

SMALL = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=2, test_size=0, record=1)
GIVEN = (np.ones((2, 12)), np.zeros(12))


# Where the size of the memory is not known, nothing is refused for it.
KNOWN_MEMORY = hasattr(os, "sysconf")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"<folder>"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def stored(backend: Any, tmp_path: Path) -> Path:
    """A folder that holds one store, called "old"."""
    sweep(SMALL, T=[4, 6], store=tmp_path / "old")
    return tmp_path


@pytest.fixture
def untrained(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test fails if it comes to train anything."""

    def train_many(*args: Any) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(backend, "train_many", train_many)


def pattern(*words: str) -> str:
    """Matches a text that has these words in this order."""
    return "(?s)" + ".*".join(re.escape(word) for word in words)


# --------------------------------------------------------------------------------- train and sweep

# What both refuse: the arguments, the error, and what it says.
WRONG: list[tuple[dict[str, Any], type[Exception], list[str]]] = [
    ({"T": 0}, ValueError, ["T must be", "got 0"]),
    ({"T": -3}, ValueError, ["T must be", "got -3"]),
    ({"T": math.nan}, ValueError, ["T must be", "got nan"]),
    ({"T": 2.5}, ValueError, ["T must be", "got 2.5"]),
    ({"T": np.float64("nan")}, ValueError, ["T must be", "got nan"]),
    ({"sparsity": np.float32("inf")}, ValueError, ["sparsity must be finite", "got inf"]),
    ({"m": np.float64(2)}, TypeError, ["m must be an integer", "got 2.0 (float64)"]),
    ({"betas": (np.float64(0.9),)}, ValueError, ["betas must be a pair", "got (0.9,)"]),
    ({"T": "5"}, TypeError, ["T must be", "got '5'"]),
    ({"T": None}, TypeError, ["T must be", "got None"]),
    ({"m": 13}, ValueError, ["m must not be larger than n = 12", "got 13"]),
    ({"m": 2.0}, TypeError, ["m must be an integer", "got 2.0"]),
    ({"n": True}, TypeError, ["n must be an integer", "got True"]),
    ({"seed": -1}, ValueError, ["seed must be", "got -1"]),
    ({"sparsity": 1.0}, ValueError, ["sparsity must be in [0, 1)", "got 1.0"]),
    ({"sparsity": math.nan}, ValueError, ["sparsity must be finite", "got nan"]),
    ({"learning_rate": "fast"}, TypeError, ["learning_rate must be", "got 'fast'"]),
    ({"learning_rate": 0}, ValueError, ["learning_rate must be", "got 0"]),
    ({"betas": (0.9,)}, ValueError, ["betas must be a pair", "got (0.9,)"]),
    ({"betas": (0.9, 1.0)}, ValueError, ["betas[1] must be", "got 1.0"]),
    ({"optimizer": "adm"}, ValueError, ["optimizer must be", "got 'adm'", "mean 'adam'"]),
    ({"normalize": 1}, TypeError, ["normalize must be True or False", "got 1"]),
    ({"dtype": "float16"}, ValueError, ["dtype must be", "got 'float16'"]),
    ({"importance": 0}, ValueError, ["importance must be", "got 0"]),
    ({"T": math.inf, "batch_size": 0}, ValueError, ["batch_size must be", "got 0"]),
    ({"T": math.inf, "batch_size": True}, TypeError, ["batch_size must be", "got True"]),
    ({"seeds": 3}, TypeError, ["'seeds'", "did you mean 'seed'?"]),
    ({"t": 5}, TypeError, ["'t'", "did you mean 'T'?"]),
    ({"zzz": 5}, TypeError, ["'zzz'"]),
    ({"progress": "yes"}, TypeError, ["progress must be", "got 'yes'"]),
    ({"progress": 0}, TypeError, ["progress must be", "got 0"]),
    ({"progress": 2.0}, TypeError, ["progress must be", "got 2.0"]),
    ({"T": 10**13, "sparsity": 0.999}, MemoryError, ["needs about", "PB", "has", "GB"]),
    ({"n": 2**31 - 1, "m": 1000, "sparsity": 0.9}, MemoryError, ["needs about", "TB", "has"]),
]
# What only a sweep refuses.
WRONG_SWEEP: list[tuple[dict[str, Any], type[Exception], list[str]]] = [
    ({"T": []}, ValueError, ["T must have at least one value"]),
    ({"seed": range(0)}, ValueError, ["seed must have at least one value"]),
    ({"betas": []}, ValueError, ["betas must have at least one value"]),
    ({"importance": np.zeros((0, 12))}, ValueError, ["importance must have at least one value"]),
    ({"T": [5, 5]}, ValueError, ["T has the value 5 twice"]),
    ({"T": [5, 6, 5.0]}, ValueError, ["T has the value 5 twice"]),
    ({"T": [math.inf, math.inf]}, ValueError, ["T has the value inf twice"]),
    ({"learning_rate": [1, 1.0]}, ValueError, ["learning_rate has the value 1.0 twice"]),
    ({"weight_decay": [0.0, -0.0]}, ValueError, ["weight_decay has the value", "twice"]),
    ({"betas": [(0.5, 0.9), [0.5, 0.9]]}, ValueError, ["betas has the value (0.5, 0.9) twice"]),
    ({"importance": [np.ones(12), [1.0] * 12]}, ValueError, ["importance has the value", "twice"]),
    ({"normalize": [True, np.True_]}, ValueError, ["normalize has the value True twice"]),
    ({"dtype": ["float32", np.float32]}, ValueError, ["dtype has the value 'float32' twice"]),
    ({"init_seed": [None, 3]}, ValueError, ["init_seed must not hold None"]),
    ({"T": [5, None]}, ValueError, ["T must not hold None"]),
    ({"batch_size": [None], "T": math.inf}, ValueError, ["batch_size must not hold None"]),
    ({"T": [5, 0]}, ValueError, ["T must be", "got 0"]),
    ({"T": [5, math.nan]}, ValueError, ["T must be", "got nan"]),
    ({"T": [5, "6"]}, TypeError, ["T must be", "got '6'"]),
    ({"T": [[5, 6]]}, TypeError, ["T must be", "got [5, 6]"]),
    ({"m": [2, 13]}, ValueError, ["m must not be larger than n = 12", "got 13"]),
    ({"m": [2, 3], "n": [12, 2]}, ValueError, ["m must not be larger than n = 2", "got 3"]),
    ({"seed": [0, True]}, TypeError, ["seed must be an integer", "got True"]),
    ({"seed": [0, 1.0]}, TypeError, ["seed must be an integer", "got 1.0"]),
    ({"seed": {0, 1}}, TypeError, ["seed must be an integer", "got {0, 1}"]),
    ({"n": range(1, 10**30)}, ValueError, ["n has more than 1,000,000 values", "range(1, 10"]),
    ({"seed": range(10**9)}, ValueError, ["seed has more than 1,000,000 values", "range(0, 10"]),
    ({"seed": itertools.count()}, ValueError, ["seed has more than 1,000,000 values", "count"]),
    ({"seed": "01"}, TypeError, ["seed must be an integer", "got '01'"]),
    ({"sparsity": [0.5, 1.0]}, ValueError, ["sparsity must be", "got 1.0"]),
    ({"optimizer": ["sgd", "adamv"]}, ValueError, ["optimizer must be", "got 'adamv'"]),
    ({"betas": [(0.5, 0.9), (0.5,)]}, ValueError, ["betas must be a pair", "got (0.5,)"]),
    ({"importance": [0.9, np.ones(11)]}, ValueError, ["importance must have shape (12,)", "(11,)"]),
    ({"importance": np.ones((2, 11))}, ValueError, ["importance must have shape (12,)", "(11,)"]),
    ({"batch_size": [3, 0], "T": math.inf}, ValueError, ["batch_size must be", "got 0"]),
    ({"batch_size": 0, "T": [5]}, ValueError, ["batch_size must be", "got 0"]),
    ({"batch_size": "x", "T": [5]}, TypeError, ["batch_size must be", "got 'x'"]),
    ({"batch_size": [3, "x"], "T": [5]}, TypeError, ["batch_size must be", "got 'x'"]),
    ({"batch_size": [7, 8], "T": [5, 6]}, ValueError, ["must not be an axis here", "at least"]),
    ({"batch_size": [3], "T": [math.inf, 6]}, ValueError, ["must not be an axis", "got [3]"]),
    # What changes nothing in any run.
    ({"momentum": [0.0, 0.5]}, ValueError, ["momentum must not be an axis", "is 'adamw'", "0.5]"]),
    ({"betas": [(0, 0), (0.5, 0.5)], "optimizer": "sgd"}, ValueError, ["betas must not", "'sgd'"]),
    ({"eps": [1e-8, 1e-6], "optimizer": ["sgd"]}, ValueError, ["eps must not be an axis", "'sgd'"]),
    ({"decay_bias": [True, False], "weight_decay": 0}, ValueError, ["decay_bias", "decay is 0"]),
    ({"init_seed": [0, 1], "init": "polygon"}, ValueError, ["init_seed must not", "'polygon'"]),
    ({"init_seed": [0, 1], "init": GIVEN}, ValueError, ["init_seed must not", "init is Weights("]),
    ({"warmup": [0.3, 0.31], "steps": 10}, ValueError, ["warmup must not", "in whole steps"]),
    ({"learning_rate": [0.1, 0.2], "steps": 0}, ValueError, ["learning_rate must", "steps is 0"]),
    # One value or an axis?
    ({"importance": [0.5] * 12}, ValueError, ["a list of 12 numbers for n = 12", "np.array(imp"]),
    ({"importance": tuple(range(12))}, ValueError, ["a list of 12 numbers", "** np.arange(12)"]),
    ({"importance": [0.5] * 3, "n": [12, 3]}, ValueError, ["a list of 3 numbers for n = 12, 3"]),
    ({"importance": np.ones(3), "n": [12, 3]}, ValueError, ["an array of 3", "no value for n = 1"]),
    ({"importance": np.ones(5)}, ValueError, ["array of 5", "no value for n = 12", "tolist()"]),
    ({"weight_decya": [0.1]}, TypeError, ["'weight_decya'", "did you mean 'weight_decay'?"]),
    ({"n_jobs": 0}, ValueError, ["n_jobs must not be 0"]),
    ({"n_jobs": 2.0}, TypeError, ["n_jobs must be an integer", "got 2.0"]),
    ({"n_jobs": True}, TypeError, ["n_jobs must be an integer", "got True"]),
    ({"n_jobs": "all"}, TypeError, ["n_jobs must be an integer", "got 'all'"]),
    ({"executor": 4}, TypeError, ["executor must be", "int"]),
    ({"executor": "threads"}, TypeError, ["executor must be", "str"]),
    ({"executor": ThreadPoolExecutor}, TypeError, ["executor must be", "Executor"]),
    ({"on_error": "ignore"}, ValueError, ["on_error must be one of 'raise', 'record'", "'ignore'"]),
    ({"on_error": "Raise"}, ValueError, ["on_error must be", "did you mean 'raise'?"]),
    ({"on_error": None}, ValueError, ["on_error must be", "got None"]),
    ({"on_interrupt": "go on"}, ValueError, ["on_interrupt must be one of 'raise', 'return'"]),
    ({"njobs": 2}, TypeError, ["'njobs'", "did you mean 'n_jobs'?"]),
    ({"T": [5, 10**13], "sparsity": 0.999}, MemoryError, ["largest run", "needs about", "has"]),
]


def named(cases: list[Any]) -> Any:
    """The cases as parameters of a test, called by what is wrong."""
    if not KNOWN_MEMORY:
        cases = [case for case in cases if case[1] is not MemoryError]
    return pytest.mark.parametrize("fields, error, words", cases, ids=lambda v: short(v, 40))


@named(WRONG)
def test_train_refuses(untrained, fields, error, words):
    with pytest.raises(error, match=pattern(*words)):
        train(SMALL, **fields)
    with pytest.raises(error, match=pattern(*words)):
        train(**{"n": 12, "m": 2, "T": 6, "sparsity": 0.7, **fields})


@named(WRONG + WRONG_SWEEP)
def test_sweep_refuses_and_leaves_no_trace(stored, untrained, fields, error, words):
    before = contents(stored)
    for store in ("old", "new"):
        with pytest.raises(error, match=pattern(*words)):
            sweep(SMALL, **fields, store=stored / store)
    assert contents(stored) == before


@pytest.mark.parametrize("config", [{"T": 5}, 5, "config", TrainConfig, [SMALL], SMALL.to_json()])
def test_a_config_of_another_type(untrained, config):
    for use in (train, sweep):
        with pytest.raises(TypeError, match="config must be a TrainConfig, got"):
            use(config)


@pytest.mark.parametrize("use", [train, sweep])
def test_nothing_but_the_config_is_positional(use):
    with pytest.raises(TypeError, match="positional"):
        use(SMALL, 5)


@pytest.mark.parametrize("path", [5, 2.5, True, b"bytes", ["a"], object()])
def test_paths_of_wrong_type(untrained, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for use in (load_run, open_sweep):
        with pytest.raises(TypeError):
            use(path)
    with pytest.raises(TypeError, match="store"):
        sweep(SMALL, store=path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("path", ["", "with\0null"])
def test_paths_that_are_none(untrained, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, toysup.StoreError)):
        sweep(SMALL, store=path)
    assert contents(tmp_path) == {}


@given(
    name=st.sampled_from(toysup.config.FIELDS),
    value=st.one_of(
        st.none(),
        st.text(max_size=5),
        st.binary(max_size=5),
        st.complex_numbers(),
        st.sets(st.integers(), max_size=2),
        st.dictionaries(st.integers(), st.integers(), max_size=2),
        st.sampled_from([len, int, ..., object()]),
        st.floats(max_value=-1e-3) | st.just(math.nan),
    ),
)
def test_whatever_is_given_is_accepted_or_named(name, value):
    for use in (lambda v: TrainConfig(**{name: v}), lambda v: SMALL.replace(**{name: v})):
        try:
            use(value)
        except (TypeError, ValueError) as error:
            assert re.search(rf"\b{name}\b", str(error)), error
        else:
            if name == "bias_init":
                assert isinstance(value, float) and value > -math.inf
            else:
                assert value is None and name in ("init_seed", "batch_size", "data")


# ------------------------------------------------------------------------------------------- memory

HUGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
import toysup
for importance in (1.0, 0.5, 1 + 2**-52):
    config = toysup.TrainConfig(n=2**31 - 1, importance=importance, T=2**48)
    config.key(), config.memory(), hash(config)
try:
    toysup.train(config)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no such limit here")
def test_a_huge_config_costs_nothing_and_is_refused_with_figures():
    out = subprocess.run(
        [sys.executable, "-c", HUGE], capture_output=True, text=True, timeout=60, check=False
    )
    assert out.returncode == 0, out.stderr[-500:]
    assert re.fullmatch(
        r"this run needs about [\d,]+ [TP]B, this machine has [\d.]+ GB left\n", out.stdout
    )


@pytest.mark.skipif(not KNOWN_MEMORY, reason="the size of the memory is not known here")
def test_examples_beyond_the_memory(backend):
    with pytest.raises(MemoryError, match=r"1000000000000 examples.*[TP]B.*machine has"):
        sample(10_000, 10**12, 0.999, 0)
    X = SparseBatch(np.zeros(10**6 + 1, np.int64), np.zeros(0, np.int32), np.zeros(0), 2**31 - 1)
    with pytest.raises(MemoryError, match=r"\(1000000, 2147483647\).*PB"):
        X.toarray()
    with pytest.raises(MemoryError, match="a dense array of shape"):
        np.asarray(X)


# ---------------------------------------------------------------------------------- loss_and_grad

W, B = np.ones((2, 4)), np.zeros(4)
X = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 2.0]])


def broken_batch(indptr: Any, indices: Any, values: Any, n: int = 4) -> SparseBatch:
    return SparseBatch(
        np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, float), n
    )


BAD_ARRAYS: list[tuple[Any, Any, Any, type[Exception], list[str]]] = [
    (W[0], B, X, ValueError, ["W must have shape (m, n)", "(4,)"]),
    (W[None], B, X, ValueError, ["W must have shape (m, n)", "(1, 2, 4)"]),
    (1.0, B, X, ValueError, ["W must have shape (m, n)", "()"]),
    (W[:0], B, X, ValueError, ["W must not be empty", "(0, 4)"]),
    (W[:, :0], B[:0], X, ValueError, ["W must not be empty", "(2, 0)"]),
    (W, B[:3], X, ValueError, ["b must have shape (4,)", "(3,)"]),
    (W, B[None], X, ValueError, ["b must have shape (n,)", "(1, 4)"]),
    (W, B[:, None], X, ValueError, ["b must have shape (n,)", "(4, 1)"]),
    (W.astype(int), B, X, TypeError, ["W must be a float32 or float64 array", "int64"]),
    (W.astype("f2"), B, X, TypeError, ["W must be a float32 or float64 array", "float16"]),
    (W.astype(complex), B, X, TypeError, ["W must be", "complex128"]),
    (W.astype(object), B, X, TypeError, ["W must be", "object"]),
    (W.astype(str), B, X, TypeError, ["W must be", "<U"]),
    (None, B, X, TypeError, ["W must be", "object"]),
    (W, B.astype(bool), X, TypeError, ["b must be", "bool"]),
    (W, B.astype("f4"), X, TypeError, ["W and b must have the same dtype", "float64", "float32"]),
    (W * np.nan, B, X, ValueError, ["W must be finite", "nan"]),
    (W, B + np.inf, X, ValueError, ["b must be finite", "inf"]),
    (W, B, X[:, :3], ValueError, ["X must have n = 4 columns", "(2, 3)"]),
    (W, B, X[:0], ValueError, ["X must hold at least one example", "(0, 4)"]),
    (W, B, X[0], ValueError, ["X must have shape (T, n)", "(4,)"]),
    (W, B, X[None], ValueError, ["X must have shape (T, n)", "(1, 2, 4)"]),
    (W, B, 1.0, ValueError, ["X must have shape (T, n)", "()"]),
    (W, B, [], ValueError, ["X must", "(0,)"]),
    (W, B, X * np.nan, ValueError, ["X must be finite", "nan"]),
    (W, B, np.where(X > 1, np.inf, X), ValueError, ["X must be finite", "inf"]),
    (W, B, -np.where(X > 1, np.inf, X), ValueError, ["X must be finite", "-inf"]),
    (W, B, X.astype(complex), TypeError, ["X must be", "real"]),
    (W, B, X.astype(str), TypeError, ["X must be"]),
    (W, B, X.astype(object), TypeError, ["X must be"]),
    (W, B, "examples", TypeError, ["X must be", "str"]),
    (W, B, None, TypeError, ["X must be", "NoneType"]),
    (W, B, [[1.0, 2.0], [3.0]], ValueError, ["X"]),
    (W, B, {"a": 1}, TypeError, ["X must be", "dict"]),
    (W, B, broken_batch([0, 1], [4], [1]), ValueError, ["X"]),
    (W, B, broken_batch([0, 1], [-1], [1]), ValueError, ["X"]),
    (W, B, broken_batch([0, 2], [0], [1]), ValueError, ["X"]),
    (W, B, broken_batch([1, 1], [0], [1]), ValueError, ["X"]),
    (W, B, broken_batch([0, 2, 1], [0, 1], [1, 1]), ValueError, ["X"]),
    (W, B, broken_batch([0, 2], [0, 1], [1]), ValueError, ["X"]),
    (W, B, broken_batch([0, 2], [1, 1], [1, 2]), ValueError, ["X"]),
    (W, B, broken_batch([0, 2], [2, 1], [1, 2]), ValueError, ["X"]),
    (W, B, broken_batch([], [], []), ValueError, ["X"]),
    (W, B, broken_batch([0, 1], [0], [math.nan]), ValueError, ["X must be finite", "nan"]),
    (W, B, broken_batch([0, 1], [0], [1], n=5), ValueError, ["X must have n = 4 columns"]),
]


@pytest.mark.parametrize("weights, bias, examples, error, words", BAD_ARRAYS)
def test_loss_and_grad_refuses(backend, weights, bias, examples, error, words):
    with pytest.raises(error, match=pattern(*words)):
        loss_and_grad(weights, bias, examples)


def test_sparse_examples_of_the_wrong_kind(backend):
    import scipy.sparse

    for examples, error, words in [
        (scipy.sparse.csr_array((2, 3)), ValueError, ["X must have n = 4 columns", "(2, 3)"]),
        (scipy.sparse.csr_array((0, 4)), ValueError, ["X must hold at least one example"]),
        (scipy.sparse.csr_array(X * np.nan), ValueError, ["X must be finite", "nan"]),
        (scipy.sparse.csr_array(X * 1j), (TypeError, ValueError), ["X must be", "real", "complex"]),
        (scipy.sparse.coo_array(X[0]), ValueError, ["X must be", "(4,)"]),
    ]:
        with pytest.raises(error, match=pattern(*words)):
            loss_and_grad(W, B, examples)
    assert loss_and_grad(W, B, scipy.sparse.csr_array((2, 4)))[0] == 0  # all zero is fine


@pytest.mark.parametrize(
    "importance, error, words",
    [
        (0.0, ValueError, ["importance", "0.0"]),
        (-1.0, ValueError, ["importance", "-1.0"]),
        (math.nan, ValueError, ["importance", "nan"]),
        (True, TypeError, ["importance", "True"]),
        ("1", TypeError, ["importance", "'1'"]),
        (None, TypeError, ["importance", "None"]),
        (np.ones(3), ValueError, ["importance must have shape (4,)", "(3,)"]),
        (np.ones((4, 1)), ValueError, ["importance must have shape (4,)", "(4, 1)"]),
        ([1, 1, 1, -1], ValueError, ["importance", "-1.0"]),
        ([1, 1, 1, math.nan], ValueError, ["importance", "nan"]),
    ],
)
def test_loss_and_grad_refuses_importances(backend, importance, error, words):
    with pytest.raises(error, match=pattern(*words)):
        loss_and_grad(W, B, X, importance=importance)


@pytest.mark.parametrize("reduction", ["Mean", "average", "", None, 1, ["mean"]])
def test_loss_and_grad_refuses_reductions(backend, reduction):
    words = ["reduction must be one of 'mean', 'sum'", f"got {reduction!r}"]
    with pytest.raises(ValueError, match=pattern(*words)):
        loss_and_grad(W, B, X, reduction=reduction)


@pytest.mark.parametrize("examples", [X[:, :3], X * np.nan, "x", 1.0, X[:0]])
def test_hidden_refuses(backend, examples):
    run = train(n=4, m=2, T=6, sparsity=0.5, steps=2, test_size=3)
    with pytest.raises((TypeError, ValueError), match=r"^X must"):
        run.hidden(examples)


def test_hidden_refuses_examples_of_another_n(backend):
    run = train(n=4, m=2, T=6, sparsity=0.5, steps=2, test_size=3)
    with pytest.raises(ValueError, match=pattern("X must have n = 4 columns", "(3, 5)")):
        run.hidden(sample(5, 3, 0.5, 0))


# -------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lr", "learning_rate'?"),
        ("feature_probability", "sparsity', which is 1 minus that probability?"),
        ("n_hidden", "m'?"),
        ("N", "n'?"),
        ("learning_rat", "learning_rate'?"),
    ],
)
@pytest.mark.parametrize("call", [train, sweep, toysup.plan, TrainConfig])
def test_names_of_other_programs_are_met_with_ours(call, name, hint):
    words = f"unknown parameter '{name}'; did you mean '{hint}"
    with pytest.raises(TypeError, match=pattern(words)):
        call(**{name: 1})


def test_a_config_has_the_signature_of_its_fields():
    assert list(inspect.signature(TrainConfig).parameters) == list(toysup.config.FIELDS)


# -------------------------------------------------------------------------------------------- paths

NO_PATHS: dict[str, tuple[Any, type[Exception], str]] = {
    "variable": ("$HOME/x", ValueError, "begins with a variable that was not replaced"),
    "URL": ("s3://bucket/x", ValueError, "got the URL 's3://bucket/x'"),
    "URL of a file": (Path("file:///x"), ValueError, "got the URL"),
    "home of nobody": ("~nobody-has-this/x", ValueError, "home of an unknown user"),
    "null": ("a\0b", ValueError, "must not have a null character"),
    "nothing": ("", ValueError, "must not be empty"),
    "number": (3, TypeError, "must be a path, got 3 (int)"),
    "bytes": (b"x", TypeError, "must be a path, got b'x' (bytes)"),
}
TAKE_PATHS: dict[str, tuple[str, Any]] = {
    "sweep": ("store", lambda path: sweep(SMALL, store=path)),
    "plan": ("store", lambda path: toysup.plan(SMALL, store=path)),
    "open_sweep": ("store", open_sweep),
    "merge": ("store", lambda path: toysup.merge(path, ["nowhere"])),
    "merge from": ("store", lambda path: toysup.merge("new", [path])),
    "train": ("checkpoint", lambda path: train(SMALL, checkpoint=path)),
    "load_run": ("path", load_run),
    "save": ("path", lambda path: saved().save(path)),
    "export": ("path", lambda path: sweep(SMALL.replace(steps=0)).export(path)),
    "reproduce": ("out", lambda path: toysup.paper.reproduce("figure1", out=path)),
    "plot": ("source", lambda path: toysup.plot.norms(path)),
    "plot.save": ("path", lambda path: toysup.plot.save(figure(), path)),
    "animate": ("path", lambda path: toysup.plot.animate(saved(), path)),
}


@functools.cache
def saved() -> toysup.Run:
    return train(SMALL.replace(steps=0))


def figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


@pytest.mark.parametrize("kind", NO_PATHS)
@pytest.mark.parametrize("function", TAKE_PATHS)
def test_what_is_no_path_is_refused(monkeypatch, tmp_path, function, kind):
    (value, error, words), (name, call) = NO_PATHS[kind], TAKE_PATHS[function]
    monkeypatch.chdir(tmp_path)
    if function == "plot" and not isinstance(value, (str, Path)):
        words, error = "must be a Run", TypeError
    with pytest.raises(error, match=pattern(name, words)):
        call(value)
    assert os.listdir() == []


def test_the_home_folder_is_found(backend, monkeypatch, tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir(), here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    sweep(SMALL, T=[4, 6], store="~/s")
    open_sweep(Path("~/s")).export("~/s.csv")
    run = load_run(open_sweep("~/s").run(T=4).save("~/run"))
    assert train(run.config, checkpoint="~/state").status == "ok"
    toysup.plot.save(toysup.plot.norms("~/s"), "~/norms.svg")
    code = toysup.cli.main(["plot", "norms", "~/s", "--out", "~/n.png", "--quiet"])
    assert code == toysup.cli.main(["export", "~/s", "--out=~/t.csv", "--quiet"]) == 0
    assert os.listdir() == []
    assert {"s", "s.csv", "run.npz", "norms.svg", "n.png", "t.csv"} <= set(os.listdir(home))
    sweep(SMALL, T=[4, 6], store="./~/s")  # what is really called so
    assert open_sweep("./~/s").statuses == ["ok", "ok"] and os.listdir() == ["~"]


# ------------------------------------------------------------------------------------------- sample


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("n", 0, ValueError),
        ("n", 2.0, TypeError),
        ("n", True, TypeError),
        ("n", 2**31, ValueError),
        ("T", -1, ValueError),
        ("T", 2.0, TypeError),
        ("T", math.inf, TypeError),
        ("sparsity", 1.0, ValueError),
        ("sparsity", -0.1, ValueError),
        ("sparsity", None, TypeError),
        ("sparsity", math.nan, ValueError),
        ("sparsity", "0.5", TypeError),
        ("seed", -1, ValueError),
        ("seed", 2**63, ValueError),
        ("seed", 0.5, TypeError),
        ("start", -1, ValueError),
        ("start", None, TypeError),
        ("normalize", 1, TypeError),
        ("normalize", None, TypeError),
        ("role", "init", ValueError),
        ("role", "Train", ValueError),
        ("role", None, ValueError),
    ],
)
def test_sample_refuses(backend, name, value, error):
    arguments = {"n": 5, "T": 3, "sparsity": 0.5, "seed": 0, name: value}
    with pytest.raises(error, match=pattern(name, str(value))):
        sample(**arguments)


def test_dot_refuses(backend):
    batch = sample(5, 3, 0.5, 0)
    for A in (np.ones(5), np.ones((4, 2)), np.ones((5, 2, 1))):
        with pytest.raises(ValueError, match=pattern("A must have shape (5, k)", str(A.shape))):
            batch.dot(A)
