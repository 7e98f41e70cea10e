"""Runs on data sets of one's own: the bits of the stream's runs, to the end and from any state."""

from __future__ import annotations

import gc
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toysup
from helpers import (
    assert_resumable,
    on,
    plain_batches,
    plain_gradient,
    plain_optimizer,
    plain_rates,
    run_bits,
)
from toysup import DataError, TrainConfig, train
from toysup._backends.protocol import Backend
from toysup._stream.rows import draws, order
from toysup.data import Dataset, sample
from toysup.regime import classify

STREAM = TrainConfig(n=60, m=2, T=40, sparsity=0.9, seed=4, steps=300, test_size=70, record=6)


def as_given(config: TrainConfig) -> Dataset:
    """The stream's own training and test examples, in an order that the seed sets right again."""
    c, T = config, int(config.T)
    rows, tests = (
        sample(c.n, size, c.sparsity, c.seed, normalize=c.normalize, role=role)
        for role, size in (("train", T), ("test", max(1, c.test_size)))
    )
    place = np.empty(T, np.int64)
    place[order(c.seed, T)] = np.arange(T)
    return Dataset(rows.to_scipy()[place], test=tests.to_scipy(), normalize=False)


def on_data(config: TrainConfig, data: Dataset) -> TrainConfig:
    """The same run on a data set."""
    fields = config.to_dict()
    own = ("data", "n", "sparsity", "normalize")
    return TrainConfig(data=data, **{k: v for k, v in fields.items() if k not in own})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"m": 9, "n": 90, "optimizer": "sgd", "learning_rate": 0.05},
        {"m": 5, "T": 300, "dtype": "float64", "importance": 0.99, "loss_reduction": "sum"},
        {"repeats": {0: 3, 7: 2}, "normalize": False},
        {"batch_size": 7},
        {"batch_size": 9, "repeats": {0: 3, 7: 2}, "m": 9, "dtype": "float64"},
        {"batch_size": 40},
        {"init": "polygon", "T": 6},
        {"activation": "linear", "snapshots": 3},
        {"test_size": 5000, "steps": 3},
        {"test_size": 0},
        {"T": 1, "seed": 2**63 - 1},
    ],
)
def test_the_streams_own_rows_train_to_the_bits_of_the_stream(backend: Backend, changes):
    config = STREAM.replace(**changes)
    data = as_given(config)
    given_, drawn = train(on_data(config, data)), train(config)
    assert run_bits(given_) == run_bits(drawn)
    same = given_.training_set().csr(), drawn.training_set().csr()
    assert [a.tobytes() for a in same[0]] == [a.tobytes() for a in same[1]]
    if config.test_size:
        assert given_.test_set(9).values.tobytes() == drawn.test_set(9).values.tobytes()


def plain_rows(data: Dataset, config: TrainConfig, step: int) -> Any:
    """The whole training set as a dense array, or the examples of a step if it is infinite."""
    rows = data.X.toarray()
    if config.T == math.inf:
        return rows[draws(config.seed, len(data), step * config.batch, config.batch)]
    chosen = rows[order(config.seed, len(data))[: int(config.T)]]
    return np.concatenate([chosen, chosen[config.copies()]])


@pytest.mark.parametrize("T, batch", [(25, None), (25, 7), (math.inf, 20)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_is_the_plain_loop_over_its_rows(backend: Backend, T, batch, sign):
    # With values of any sign, which the stream does not have.
    rng = np.random.default_rng(5)
    array = rng.normal(size=(50, 30)) * (rng.random((50, 30)) < 0.2)
    array[:, 0] += 1.0
    data = Dataset(sign * array, test=np.abs(array[:7]))
    config = TrainConfig(
        data=data, m=3, T=T, batch_size=batch, steps=60, learning_rate=0.01, dtype="float64"
    )
    run = train(config)
    W, b = train(config, steps=0).W, np.zeros(30)
    step = plain_optimizer(config)
    batches = plain_batches(config, config.examples)
    for i, (rate, places) in enumerate(zip(plain_rates(config), batches, strict=False)):
        rows = plain_rows(data, config, i)
        x = rows[places] if config.in_batches else rows
        _, dW, db = plain_gradient(W, b, x, np.ones(30), 30)
        W, b = step("W", W, dW, float(rate)), step("b", b, db, float(rate))
    np.testing.assert_allclose(run.W, W, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(run.b, b, rtol=1e-7, atol=1e-9)
    used = run.training_set().toarray()
    last = plain_rows(data, config, 59 if T == math.inf else 0)
    assert used.tobytes() == last.tobytes()
    for X, loss in ((data.test, run.test_loss), (last, run.loss())):
        dense = np.asarray(X)
        wanted = plain_gradient(run.W, run.b, dense, np.ones(30))[0]
        assert loss == pytest.approx(wanted, rel=1e-9)


@given(st.integers(1, 60), st.integers(0, 80), st.integers(0, 2**40))
def test_the_test_loss_is_of_rows_that_were_not_drawn(backend: Backend, T, size, seed):
    data = Dataset(as_given(STREAM.replace(T=60)).X, normalize=False)
    run = train(data=data, m=2, T=T, seed=seed, steps=2, test_size=size)
    rows = data.X.toarray()[order(seed, 60)]
    tests = rows[T : T + size]
    assert run.test_set().toarray().tobytes() == tests.tobytes()
    assert run.training_set().toarray().tobytes() == rows[:T].tobytes()
    if len(tests):
        wanted = plain_gradient(run.W, run.b, tests, np.ones(60))[0]
        assert run.test_loss == pytest.approx(wanted, rel=1e-9)
        assert run.history.attrs["test_examples"] == len(tests)
    else:
        assert math.isnan(run.test_loss) and run.status == "ok"


def test_all_rows_if_T_is_not_given(backend: Backend):
    run = train(data=as_given(STREAM), m=2, steps=2)
    assert run.config.T == 40 and len(run.training_set()) == 40


KINDS: dict[str, dict[str, Any]] = {
    "groups": {"m": 2},
    "pairs": {"m": 9, "T": 30},
    "infinite": {"m": 2, "T": math.inf, "batch_size": 30},
    "repeats": {"m": 3, "T": 20, "repeats": {0: 4}},
    "in batches": {"m": 3, "T": 20, "batch_size": 7, "repeats": {0: 4}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_to_the_same_bits(backend: Backend, kind: str):
    data = as_given(STREAM.replace(T=60, test_size=300))
    steps = 60_000 if backend.name == "native" else 1000 if kind == "infinite" else 3000
    config = TrainConfig(data=data, steps=steps, record=9, snapshots=2, **KINDS[kind])
    assert_resumable(backend, config)


@pytest.mark.parametrize("batch_size", [None, 4100])
def test_threads_do_not_change_bits(native, batch_size):
    config = STREAM.replace(T=9000, n=300, sparsity=0.98, m=4, steps=20, batch_size=batch_size)
    config = on_data(config, as_given(config))
    assert run_bits(train(config, n_jobs=1)) == run_bits(train(config, n_jobs=3))


def test_both_backends_take_the_same_batches(native, reference):
    data = as_given(STREAM.replace(T=60))
    config = TrainConfig(
        data=data, m=3, T=50, batch_size=8, steps=60, learning_rate=0.01, dtype="float64", eps=1e-7
    )
    ours, theirs = (on(b, train, config) for b in (native, reference))
    for name in ours.history:
        assert np.allclose(ours.history[name], theirs.history[name], rtol=1e-8), name
    assert np.allclose(ours.W, theirs.W, rtol=1e-7, atol=1e-9)


def test_a_sweep_over_batches_of_rows(backend: Backend, tmp_path):
    data = as_given(STREAM)
    fields = dict(data=data, m=2, steps=30, test_size=20)
    first = toysup.sweep(**fields, T=[10, 30], batch_size=[4, 10], store=tmp_path / "a")
    for config, run in zip(first.configs, first.runs(), strict=True):
        assert config.in_batches == (config.batch_size < config.T)
        assert run_bits(run) == run_bits(train(config))
        assert len(run.training_set()) == config.T
    # A store grows by batch sizes, and knows the data when it is opened.
    grown = toysup.sweep(**fields, T=[10, 30], batch_size=[4, 6, 10], store=tmp_path / "a")
    assert toysup.open_sweep(tmp_path / "a").configs == grown.configs
    # Beside an infinite T, full batches of the finite one.
    both = toysup.sweep(**fields, T=[10, math.inf], batch_size=4)
    assert [(c.T, c.batch_size) for c in both.configs] == [(10, None), (math.inf, 4)]
    assert run_bits(both.run(T=10)) == run_bits(train(**fields, T=10))
    with pytest.raises(ValueError, match="data"):
        other = as_given(STREAM.replace(seed=5))
        toysup.sweep(**{**fields, "data": other}, T=10, batch_size=[4, 7], store=tmp_path / "a")


def test_a_checkpoint_file_knows_the_data(backend: Backend, tmp_path, monkeypatch):
    data, other = (as_given(STREAM.replace(seed=seed)) for seed in (4, 5))
    fields = dict(m=2, steps=500, test_size=20, checkpoint=tmp_path / "state.npz")
    whole = train(data=data, m=2, steps=500, test_size=20)
    real = backend.train_many

    def cut(configs, jobs, on_result, poll, options):
        real(configs, jobs, on_result, lambda work: work > 0 or poll(work), options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(backend, "train_many", cut)
        train(data=data, **{**fields, "steps": 10**9})
    with pytest.raises(toysup.StoreError, match="is the state of another run"):
        train(data=other, **{**fields, "steps": 10**9})
    (tmp_path / "state.npz").unlink()
    assert run_bits(train(data=data, **fields)) == run_bits(whole)


# ------------------------------------------------------------------------------- what runs hold


def test_a_runs_file_holds_the_digest_and_not_the_rows(backend: Backend, tmp_path):
    data = as_given(STREAM.replace(T=2000, n=200))
    run = train(data=data, m=2, T=30, steps=5, test_size=10)
    path, digest = run.save(tmp_path / "run"), data.digest
    assert path.stat().st_size < 30_000 < 12 * len(data.X.indices)
    back = toysup.load_run(path)
    assert back.config == run.config and back.config.data.digest == digest
    rows = run.training_set().toarray()
    assert back.training_set().toarray().tobytes() == rows.tobytes()
    again, stranger = data.X.toarray(), as_given(STREAM)
    tests = data.test.toarray()
    del run, back, data
    gc.collect()
    back = toysup.load_run(path)
    assert back.feature_dimensionality().shape == (200,) and back.represented().shape == (200,)
    for use in (back.training_set, back.test_set, back.hidden, back.loss, lambda: classify(back)):
        with pytest.raises(DataError, match="are not at hand"):
            use()
    with pytest.raises(DataError, match="are not at hand"):
        train(back.config)
    with pytest.raises(ValueError, match="data must be what the run was trained on"):
        back.training_set(stranger)
    data = Dataset(again, test=tests, normalize=False)
    assert data.digest == digest
    assert back.training_set(data).toarray().tobytes() == rows.tobytes()
    assert back.hidden().shape == (30, 2)


def test_a_run_on_generated_examples_takes_no_data():
    run = train(STREAM, steps=1)
    with pytest.raises(ValueError, match="trained on, generated examples, got Dataset"):
        run.training_set(as_given(STREAM))
    assert len(run.test_set()) == 70 and len(run.test_set(3)) == 3


def test_regimes_of_own_data(backend: Backend):
    data = as_given(STREAM.replace(T=12, n=200, sparsity=0.98))
    tested, untested = (
        train(data=data, m=2, steps=400),
        train(data=Dataset(data.X, normalize=False), m=2, steps=400),
    )
    found = classify(tested), classify(untested)
    assert found[0].fresh_loss.shape == (70,) and 0 <= found[0].fresh_stored <= 1
    assert found[1].fresh_loss.shape == (0,) and math.isnan(found[1].fresh_stored)
    assert found[0].label.tolist() == found[1].label.tolist()
    figure = toysup.plot.regime(untested)
    assert figure is not None


def test_the_size_of_a_feature_is_that_of_the_data():
    rows = as_given(STREAM.replace(normalize=False)).X.to_scipy()
    small, large = (Dataset(rows * size, normalize=False) for size in (1.0, 1000.0))
    runs = [train(data=data, m=2, steps=0) for data in (small, large)]
    assert [run.config.data.largest for run in runs] == pytest.approx([1.0, 1000.0], rel=0.05)
    wanted = [
        toysup.metrics.represented(run.W.T, run.b, size=run.config.data.largest) for run in runs
    ]
    assert [run.represented().tolist() for run in runs] == [w.tolist() for w in wanted]
