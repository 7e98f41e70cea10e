"""What users hold: it is copied, sent, printed and given to other libraries."""

from __future__ import annotations

import copy
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toysup
from helpers import Tensor
from toysup import StoreError, paper
from toysup._files.whole import Damaged
from toysup._sweep.table import Table

TINY = {"n": 30, "m": 2, "sparsity": 0.85, "steps": 60, "test_size": 100, "record": 5}


def same(a: toysup.Run, b: toysup.Run) -> bool:
    """Whether two runs are equal bit for bit."""
    losses = np.array_equal(
        [a.train_loss, a.test_loss], [b.train_loss, b.test_loss], equal_nan=True
    )
    return losses and a.W.tobytes() == b.W.tobytes() and a.b.tobytes() == b.b.tobytes()


def alike(a: Any, b: Any) -> bool:
    """Whether two objects hold the same, to the bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, BaseException) and not alike(a.args, b.args):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if hasattr(a, "__dict__") and not callable(a):
        return alike(vars(a), vars(b))
    return bool(a == b or (a != a and b != b))


def failed(error: BaseException, **attributes: Any) -> BaseException:
    error.add_note("and more")
    vars(error).update(attributes)
    return error


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of every kind that a user can hold."""
    folder = tmp_path_factory.mktemp("public") / "store"
    axes: dict[str, Any] = {"T": [3, math.inf], "seed": [0, 1], "batch_size": 5}
    loose = toysup.sweep(**TINY, **axes)
    kept = toysup.sweep(**TINY, **axes, store=folder, importance=[np.linspace(1, 0.5, 30)])
    run = loose.run(T=3, seed=0)
    started = toysup.train(**TINY, T=3, init=run, repeats={0: 3}, snapshots=2)
    regime = toysup.regime.classify(run)
    drawn = {"x": loose, "y": kept}
    table = Table("t", ["a"], [(1,), (math.inf,)])
    done = [paper.Reproduction(paper.get(name), "small", drawn, folder, 1.5, [table], [folder])
            for name in paper.names()]  # fmt: skip
    return {
        "run": run, "run with more": started, "config": started.config, "grid": kept._grid,
        "result": loose, "result of a store": kept, "best": kept.best("seed"),
        "best without a store": loose.best("seed"), "failures": loose.failed,
        "regime": regime, "plan": toysup.plan(**TINY, T=[3, 5]), "reproductions": done,
        "examples": run.training_set(), "history": run.history.to_dict(),
        "errors": [
            toysup.ToysupError("x"), failed(toysup.BackendError("x")),
            toysup.SurroundingsError("x"), failed(StoreError("x"), runs=(run,)),
            failed(Damaged(folder, "is damaged"), runs=(run,)), StoreError(28, "full", "x.npz"),
            failed(toysup.RunFailedError("x"), result=loose),
            failed(toysup.SweepInterrupted("x", kept)),
        ],
    }  # fmt: skip


KINDS = ("run", "run with more", "config", "grid", "result", "result of a store", "best",
         "best without a store", "failures", "regime", "plan", "reproductions", "examples",
         "history", "errors")  # fmt: skip
WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_public_objects_can_be_copied_and_sent(public: dict[str, Any], kind: str, way: str) -> None:
    assert public.keys() == set(KINDS)
    there = WAYS[way](public[kind])
    assert alike(there, public[kind])
    assert repr(there) == repr(public[kind])


def test_reprs_are_sentences(public: dict[str, Any]) -> None:
    """What a cell of a notebook shows of them is what print does, and no list of fields."""
    for kind, words in (("regime", r"\d+ examples: .*Features represented: \d+\."),
                        ("plan", r"runs    2: 0 done, 2 to do\ntime ")):  # fmt: skip
        assert re.match(words, repr(public[kind])) and repr(public[kind]) == str(public[kind])
    polygon = public["regime"].polygon
    assert polygon is not None and repr(polygon) == str(polygon)
    made = public["reproductions"][0]
    assert (
        repr(made)
        == str(made)
        == (
            f"{made.preset.name} at the small scale: 8 runs (8 ok) in 2 s, files written: 1, "
            f"in {str(made.folder.parent)!r}"
        )
    )


def test_examples_as_an_array(backend: object) -> None:
    X = toysup.train(**TINY, T=4).training_set()
    dense = X.toarray()
    for found, dtype in ((np.asarray(X), float), (np.asarray(X, dtype=np.float32), np.float32),
                         (np.array(X, copy=True), float)):  # fmt: skip
        assert found.dtype == dtype and np.array_equal(found, dense.astype(dtype))
    assert np.allclose(np.linalg.norm(X, axis=1), 1)
    with pytest.raises(ValueError, match="always a copy"):
        np.array(X, copy=False)


def test_a_pickled_result_of_a_store_reads_its_runs_there(
    public: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, and only when they are asked for; others carry those that they show."""
    monkeypatch.chdir(tmp_path)
    here = toysup.sweep(**TINY, T=3, seed=[0, 1], store="s")
    pickled, run = pickle.dumps(here), here.run(seed=1)
    assert run.W.tobytes() not in pickled
    monkeypatch.chdir("/")
    assert same(pickle.loads(pickled).run(seed=1), run)
    loose = public["result"]
    best = pickle.dumps(loose.best("seed"))
    assert sorted(run.W.tobytes() in best for run in loose.runs()) == [False, False, True, True]
    pairs = zip(pickle.loads(best).runs(), loose.best("seed").runs(), strict=True)
    assert all(same(there, here) for there, here in pairs)


def test_three_examples_are_memorized_in_two_dimensions(backend: object) -> None:
    run = toysup.train(n=100, m=2, T=3, sparsity=0.97, steps=3000, learning_rate=3e-3, eps=1e-6,
                       weight_decay=0, test_size=1000)  # fmt: skip
    assert run.train_loss < 1e-9 and run.test_loss > 0.9
    assert run.example_dimensionality().sum() == pytest.approx(2, abs=0.05)


def test_order_and_library_of_arrays_do_not_matter(backend: object) -> None:
    W, b = np.random.default_rng(0).normal(size=(3, 8)), np.zeros(16)[::2]
    X = np.eye(8)[::-1]
    plain = toysup.loss_and_grad(W, b.copy(), X.copy())
    for way in (
        (np.asfortranarray(W), b, np.asfortranarray(X)),
        (Tensor(W, requires_grad=True), Tensor(b, device="cuda:0"), pd.DataFrame(X)),
    ):
        other = toysup.loss_and_grad(*way)
        assert all(np.array_equal(p, o) for p, o in zip(plain, other, strict=True))
    np.testing.assert_array_equal(
        toysup.metrics.dimensionality(Tensor(W.T, requires_grad=True)),
        toysup.metrics.dimensionality(W.T),
    )
