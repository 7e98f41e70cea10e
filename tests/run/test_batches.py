"""Finite training sets that are trained in batches."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import toysup
from helpers import bits, initial, on, plain_train, run_bits
from strategies import SEEDS

BASE = toysup.TrainConfig(
    n=30, m=3, T=20, batch_size=6, sparsity=0.8, steps=11, learning_rate=0.02, warmup=0.2,
    eps=1e-5, dtype="float64", test_size=50, record=4,
)  # fmt: skip


def assert_close(run, W, b):
    scale = max(np.max(np.abs(W)), np.max(np.abs(b)))
    assert np.max(np.abs(run.W - W)) <= 1e-9 * scale
    assert np.max(np.abs(run.b - b)) <= 1e-9 * scale


@given(
    T=st.integers(1, 30),
    batch_size=st.integers(1, 32),
    seed=SEEDS,
    fields=st.fixed_dictionaries(
        {
            "optimizer": st.sampled_from(["adamw", "adam", "sgd"]),
            "loss_reduction": st.sampled_from(["mean", "sum"]),
            "activation": st.sampled_from(["relu", "linear"]),
        }
    ),
)
def test_a_run_in_batches_is_the_definitions(backend, T, batch_size, seed, fields):
    """More than an epoch, with a smaller batch at its end, by plain formulas."""
    config = BASE.replace(T=T, batch_size=batch_size, seed=seed, **fields)
    if fields["activation"] == "linear":
        ours, theirs = toysup.train(config), on_the_other(backend, config)
        assert theirs is None or np.allclose(ours.W, theirs.W, rtol=1e-9, atol=1e-9)
        return
    assert_close(toysup.train(config), *plain_train(config, initial(config)))


def on_the_other(backend, config):
    from conftest import HAS_NATIVE
    from toysup._backends import choose

    if not HAS_NATIVE:
        return None
    return on(choose.load("numpy" if backend.name == "native" else "native"), toysup.train, config)


def test_copies_are_examples_of_an_epoch(backend):
    config = BASE.replace(T=7, batch_size=4, repeats={0: 3, 5: 2}, steps=9)
    assert config.examples == 10
    assert_close(toysup.train(config), *plain_train(config, initial(config)))


@pytest.mark.parametrize("batch_size", [20, 21, 10_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_all_examples_is_a_full_one(backend, batch_size, dtype):
    config = BASE.replace(dtype=dtype, steps=60)
    full = toysup.train(config, batch_size=None)
    assert run_bits(toysup.train(config, batch_size=batch_size)) == run_bits(full)
    assert bits(toysup.train(config).W) != bits(full.W)


def test_losses_are_over_the_whole_training_set(backend):
    run = toysup.train(BASE, record=12)
    assert len(run.training_set()) == 20
    assert run.train_loss == pytest.approx(run.loss(), rel=1e-12)
    shots = toysup.train(BASE, record=12, snapshots=11)
    for step, W, b in zip(shots.snapshots.step, shots.snapshots.W, shots.snapshots.b, strict=True):
        expected = toysup.Model(W.values, b.values).loss(run.training_set())
        found = float(run.history.train_loss.sel(step=step))
        assert found == pytest.approx(expected, rel=1e-12)


def test_a_step_of_sgd_follows_the_mean_of_its_batch(backend):
    """The third step takes what the first two have left, and is divided by that."""
    config = BASE.replace(
        **{"T": 7, "batch_size": 3, "steps": 3, "optimizer": "sgd", "momentum": 0.0},
        **{"weight_decay": 0.0, "warmup": 0.0, "schedule": "constant", "snapshots": 3},
    )
    run = toysup.train(config)
    X = run.training_set().toarray()
    order = np.random.Philox(key=10 << 64, counter=2**256 - 1).random_raw(7).argsort()
    W, b = run.snapshots.W.values[1], run.snapshots.b.values[1]
    _, dW, db = toysup.loss_and_grad(W, b, X[order[6:]])
    assert np.allclose(run.W, W - 0.02 * dW, rtol=1e-12, atol=1e-15)
    assert np.allclose(run.b, b - 0.02 * db, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_sweep_has_the_bits_of_single_runs(backend, n_jobs):
    fields = {"T": [5, 20], "batch_size": [3, 8], "seed": [0, 1]}
    result = toysup.sweep(BASE, **fields, n_jobs=n_jobs)
    assert [(c.T, c.batch_size) for c in result.configs[:2]] == [(5, 3), (5, 8)]
    for config, run in zip(result.configs, result.runs(), strict=True):
        assert run_bits(run) == run_bits(toysup.train(config, n_jobs=n_jobs))


@pytest.mark.parametrize("m", [2, 5, 9])
def test_curves_of_both_backends_agree(native, reference, m):
    config = BASE.replace(m=m, T=50, steps=80, batch_size=16, eps=1e-7, n=60, sparsity=0.9)
    ours, theirs = (on(b, toysup.train, config).history for b in (native, reference))
    for name in ours:
        assert np.allclose(ours[name], theirs[name], rtol=1e-8), name


def test_batches_learn_in_fewer_passes(backend):
    """As many passes over the examples, more of them updates."""
    config = BASE.replace(n=60, T=64, batch_size=None, sparsity=0.9, steps=30, learning_rate=0.01)
    full = toysup.train(config)
    batches = toysup.train(config, batch_size=8, steps=240)
    assert batches.train_loss < 0.9 * full.train_loss


def test_other_seeds_take_other_orders(backend):
    same = BASE.replace(sparsity=0.0, normalize=False, init_seed=3)
    one, again, other = (toysup.train(same, seed=seed) for seed in (1, 1, 2))
    assert bits(one.W) == bits(again.W) != bits(other.W)


# ------------------------------------------------------------------------- sweeps and their grids


def test_beside_infinite_T_a_batch_size_is_for_that_alone(backend, tmp_path):
    res = toysup.sweep(BASE, T=[20, math.inf], store=tmp_path / "store")
    assert {c.T: c.batch_size for c in res.configs} == {20: None, math.inf: 6}
    assert toysup.open_sweep(tmp_path / "store").configs == res.configs
    # A part of it holds the same runs.
    part = res.sel(T=20)
    assert part.configs == [BASE.replace(batch_size=None)] and part.run().config.batch == 20
    assert res.sel(T=[20]).configs == part.configs
    assert res.best("T").dataset.train_loss.values.shape == ()
    with pytest.raises(ValueError, match=r"batch_size must not be an axis .*got \[3, 6\]"):
        toysup.sweep(BASE, T=[20, math.inf], batch_size=[3, 6])


@pytest.mark.parametrize(
    "there, asked", [(20, [20, math.inf]), ([math.inf], [20]), ([20, math.inf], 20)]
)
def test_stores_do_not_mix_batches_and_infinite_T(backend, tmp_path, there, asked):
    before = toysup.sweep(BASE, T=there, store=tmp_path / "a").configs
    with pytest.raises(ValueError, match=r"finite T in batches and infinite T|batch_size is"):
        toysup.sweep(BASE, T=asked, store=tmp_path / "a")
    assert toysup.open_sweep(tmp_path / "a").configs == before


@pytest.mark.parametrize("first, second", [(None, 6), (6, None), (6, 7)])
def test_a_store_grows_by_batch_sizes_only_as_an_axis(backend, tmp_path, first, second):
    toysup.sweep(BASE, batch_size=first, store=tmp_path / "a")
    with pytest.raises(ValueError, match=f"batch_size is {first} in the sweep .* not {second}"):
        toysup.sweep(BASE, batch_size=second, store=tmp_path / "a")
    if first is not None and second is not None:
        res = toysup.sweep(BASE, batch_size=[first, second], store=tmp_path / "a")
        assert toysup.open_sweep(tmp_path / "a").configs == res.configs
        assert [c.batch_size for c in res.configs] == [first, second]


def test_runs_that_repeat_a_full_batch_are_warned_of(backend):
    with pytest.warns(UserWarning, match="1 of 3 .* batch_size .* at least the 20 training"):
        toysup.sweep(BASE, batch_size=[6, 20, 30])
    with pytest.raises(ValueError, match=r"batch_size must not be an axis here.*steps is 0"):
        toysup.sweep(BASE, batch_size=[6, 7], steps=0)
