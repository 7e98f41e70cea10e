"""Trainings looked at from inside: the gradient in use, beside the exact one at the same place."""

from __future__ import annotations

import numpy as np
import pytest

import toysup
from helpers import bits
from soak import soak

KEYS = {
    "step",
    "seconds",
    "lists",
    "entries",
    "bare",
    "rows",
    "minus",
    "built",
    "life",
    "active",
    "error",
    "dense_error",
}


def trace(config, every, check=True, kernel="lists", threads=1):
    from toysup import _native
    from toysup._backends import native as _rust

    return _native.trace(_rust._job(config), every, check, kernel, threads)


def config_of(**given):
    drawn = dict(n=200, m=2, T=50, sparsity=0.97, steps=100, test_size=0)
    return toysup.TrainConfig(**{**drawn, **given})


@pytest.mark.parametrize("T, m", [(100, 2), (1000, 2), (100, 4), (1000, 4), (100, 16), (1000, 16)])
@pytest.mark.parametrize("reduction", soak(["sum"], ["mean", "sum"]))
def test_lists_are_as_exact_as_all_pairs_in_a_training(doors, T, m, reduction):
    steps = 1500 if T * m <= 2000 else 600
    config = config_of(
        n=2000, m=m, T=T, sparsity=0.997, steps=steps, loss_reduction=reduction, record=2
    )
    looks = trace(config, every=250)
    assert np.all(looks["lists"] == 1)
    assert np.all(looks["error"] <= 3 * looks["dense_error"] + 1e-6)
    assert looks["entries"][-1] * (16 if m <= 6 else 1) < 0.9 * config.n * T  # some are left out
    assert looks["built"][-1] > 0


@pytest.mark.parametrize("T, n, m", [(30, 200, 2), (60, 200, 2), (900, 200, 3), (100, 200, 9)])
@pytest.mark.parametrize("rate", [1e-2, 1.0])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_lists_keep_up_with_any_learning_rate(doors, optimizer, rate, T, n, m):
    """In double precision, where what is left out shows."""
    config = config_of(
        n=n, m=m, T=T, learning_rate=rate, optimizer=optimizer, dtype="float64", steps=300
    )
    looks = trace(config, every=20)
    finite = np.isfinite(looks["dense_error"])
    assert finite[:5].all()
    assert np.all(looks["error"][finite] <= 1e-11)


def test_auto_is_as_exact_when_it_changes_its_mind(doors):
    config = config_of(n=1500, T=200, sparsity=0.995, steps=800, dtype="float64", record=2)
    looks = trace(config, every=40, kernel="auto")
    assert {0.0, 1.0} == set(looks["lists"])
    assert np.all(looks["error"] <= 1e-11)


def test_a_trace_has_a_row_for_every_look(doors):
    looks = trace(config_of(), every=30)
    assert set(looks) == KEYS
    assert all(a.dtype == np.float64 and a.shape == (4,) for a in looks.values())
    assert looks["step"].tolist() == [0, 30, 60, 90]
    assert np.all(np.diff(looks["seconds"]) > 0) and looks["seconds"][0] == 0
    assert np.all(np.diff(looks["built"]) >= 0)
    assert np.all(looks["bare"] <= looks["entries"]) and np.all(looks["life"] > 0)


def test_the_dense_kernel_has_no_lists(doors):
    looks = trace(config_of(), every=30, kernel="dense")
    assert not looks["lists"].any() and not looks["entries"].any() and not looks["built"].any()
    assert np.array_equal(looks["error"], looks["dense_error"])
    assert np.all(looks["active"] <= 200) and looks["active"][0] > 0


def test_looking_changes_nothing(doors):
    """With checks and without, and whoever does the work."""
    counts = [
        bits(
            *(
                trace(config_of(T=500), 20, *how)[key]
                for key in ("entries", "bare", "rows", "built")
            )
        )
        for how in ((True, "lists", 1), (False, "lists", 1), (False, "lists", 3))
    ]
    assert len(set(counts)) == 1


def test_without_a_kernel_the_variable_chooses(doors, monkeypatch):
    for kernel, lists in (("dense", 0.0), ("lists", 1.0)):
        monkeypatch.setenv("TOYSUP_KERNEL", kernel)
        assert set(trace(config_of(), 30, kernel=None)["lists"]) == {lists}


def test_an_unknown_kernel_is_refused(doors):
    with pytest.raises(ValueError, match="auto, dense or lists, got 'fast'"):
        trace(config_of(), 30, kernel="fast")
