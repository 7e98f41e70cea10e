"""What one training gives, on either backend."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import toysup
from helpers import run_bits
from toysup import Run, RunFailedError, TrainConfig, load_run, regime, train
from toysup._backends.protocol import Failed

SMALL = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=40, learning_rate=0.01, test_size=30)


@st.composite
def small_configs(draw: Any) -> TrainConfig:
    """Configs of a few milliseconds, over everything that changes the computation."""
    n = draw(st.integers(1, 20))
    infinite = draw(st.booleans())
    optimizer = draw(st.sampled_from(["adamw", "adam", "sgd"]))
    return TrainConfig(
        n=n,
        m=draw(st.integers(1, n)),
        T=math.inf if infinite else draw(st.integers(1, 20)),
        batch_size=draw(st.integers(1, 20)) if infinite else None,
        sparsity=draw(st.floats(0, 0.99)),
        normalize=draw(st.booleans()),
        importance=draw(st.floats(0.5, 1) | st.lists(st.floats(0, 2), min_size=n, max_size=n)),
        seed=draw(st.integers(0, 2**63 - 1)),
        init_seed=draw(st.none() | st.integers(0, 9)),
        steps=draw(st.integers(0, 30)),
        learning_rate=draw(st.floats(1e-4, 0.001 if optimizer == "sgd" else 0.1)),
        warmup=draw(st.floats(0, 0.9)),
        schedule=draw(st.sampled_from(["cosine", "quarter_cosine", "constant"])),
        optimizer=optimizer,
        decay_bias=draw(st.booleans()),
        loss_reduction=draw(st.sampled_from(["mean", "sum"])),
        init=draw(st.sampled_from(["xavier_uniform", "xavier_normal"])),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        test_size=draw(st.integers(0, 20)),
        record=draw(st.integers(1, 9)),
        snapshots=draw(st.integers(0, 4)),
    )


def assert_same_run(a: Run, b: Run) -> None:
    """Bit for bit the same outcome; only the seconds may differ."""
    assert a.config == b.config and a.status == b.status and a.steps_done == b.steps_done
    assert run_bits(a) == run_bits(b)
    assert a.history.identical(b.history) and a.snapshots.identical(b.snapshots)


# --------------------------------------------------------------------------------- what comes out


@given(config=small_configs())
def test_any_run_is_what_its_config_says(backend, config):
    run = train(config)
    assert run.config == config and run.status == "ok" and run.steps_done == config.steps
    assert run.W.shape == (config.m, config.n) and run.b.shape == (config.n,)
    assert run.W.dtype == run.b.dtype == config.dtype
    assert np.all(np.isfinite(run.W)) and np.all(np.isfinite(run.b))
    assert type(run.train_loss) is float and run.train_loss >= 0
    assert math.isnan(run.test_loss) == (config.test_size == 0)
    assert run.seconds >= 0


@given(config=small_configs())
def test_history_and_snapshots_end_with_the_final_state(backend, config):
    run = train(config)
    history, shots = run.history, run.snapshots
    assert history.step.values.tolist() == config.record_steps().tolist()
    assert shots.step.values.tolist() == config.snapshot_steps().tolist()
    assert set(history) == {
        "train_loss", "test_loss", "learning_rate", "W_norm", "b_norm",
        "max_feature_dimensionality",
    }  # fmt: skip
    assert history.train_loss.values[-1] == run.train_loss
    W, b = run.W.astype(float), run.b.astype(float)
    np.testing.assert_allclose(history.W_norm.values[-1], np.linalg.norm(W), rtol=1e-12)
    np.testing.assert_allclose(history.b_norm.values[-1], np.linalg.norm(b), rtol=1e-12)
    largest = run.feature_dimensionality().max()
    np.testing.assert_allclose(history.max_feature_dimensionality.values[-1], largest, rtol=1e-9)
    if config.test_size:  # few enough that the history has them all
        np.testing.assert_allclose(history.test_loss.values[-1], run.test_loss, rtol=1e-12)
    assert shots.W.dims == ("step", "hidden", "feature") and shots.b.dims == ("step", "feature")
    assert shots.W.dtype == config.dtype
    if config.snapshots:
        assert np.array_equal(shots.W.values[-1], run.W)
        assert np.array_equal(shots.b.values[-1], run.b)


@given(config=small_configs())
@settings(max_examples=10)
def test_training_again_gives_the_same_bits(backend, config):
    assert_same_run(train(config), train(config))


@given(config=small_configs())
@settings(max_examples=15)
def test_a_saved_run_comes_back_bit_for_bit(backend, config, tmp_path):
    run = train(config)
    back = load_run(run.save(tmp_path / "run.npz"))
    assert_same_run(run, back)
    assert back.seconds == run.seconds and back.provenance == run.provenance
    np.testing.assert_equal(back.summary(), run.summary())


def test_fields_and_config_are_two_ways_to_say_the_same(backend):
    fields = SMALL.to_dict()
    assert_same_run(train(SMALL), train(**fields))
    assert_same_run(train(SMALL.replace(m=3)), train(SMALL, m=3))
    assert_same_run(train(SMALL, T=5), train(SMALL, T=5.0))


def test_what_changes_the_result(backend):
    base = run_bits(train(SMALL))
    changes: dict[str, Any] = {
        "T": 7, "sparsity": 0.5, "normalize": False, "importance": 0.9, "seed": 1, "init_seed": 1,
        "steps": 41, "learning_rate": 0.02, "warmup": 0.5, "schedule": "constant",
        "optimizer": "sgd", "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1,
        "decay_bias": False, "loss_reduction": "sum", "init": "xavier_normal", "dtype": "float64",
    }  # fmt: skip
    for name, value in changes.items():
        assert run_bits(train(SMALL, **{name: value})) != base, name


def test_init_seed_none_means_the_dataset_seed(backend):
    same = train(SMALL, seed=3), train(SMALL, seed=3, init_seed=3)
    assert run_bits(same[0]) == run_bits(same[1])


def test_no_steps_keep_the_initial_weights(backend):
    run = train(SMALL, steps=0, snapshots=1)
    assert run.steps_done == 0 and not run.b.any()
    assert np.array_equal(train(SMALL, steps=0, T=9, sparsity=0.1).W, run.W)
    assert run.history.step.values.tolist() == run.snapshots.step.values.tolist() == [0]


def test_the_loss_is_in_the_papers_unit_whatever_is_minimised(backend):
    X = toysup.data.sample(SMALL.n, 6, SMALL.sparsity, SMALL.seed)
    for reduction in ("mean", "sum"):
        run = train(SMALL, loss_reduction=reduction, dtype="float64")
        loss, _, _ = toysup.loss_and_grad(run.W, run.b, X, reduction="sum")
        assert run.train_loss == pytest.approx(loss, rel=1e-12)


def test_the_test_set_is_other_examples(backend):
    run = train(SMALL, dtype="float64")
    X = toysup.data.sample(SMALL.n, SMALL.test_size, SMALL.sparsity, SMALL.seed, role="test")
    loss, _, _ = toysup.loss_and_grad(run.W, run.b, X, reduction="sum")
    assert run.test_loss == pytest.approx(loss, rel=1e-12)


def test_learning_rate_of_the_history_is_the_schedule(backend):
    run = train(SMALL, steps=100, warmup=0.1, record=200)
    rates = dict(zip(run.history.step.values, run.history.learning_rate.values, strict=True))
    assert rates[0] == pytest.approx(0.001)
    assert rates[10] == pytest.approx(0.01)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_fresh_examples_at_every_step(backend):
    config = SMALL.replace(T=math.inf, batch_size=4, steps=10)
    run = train(config)
    assert run.config.batch == 4
    last = run.training_set()
    everything = toysup.data.sample(config.n, 40, config.sparsity, config.seed).toarray()
    assert np.array_equal(last.toarray(), everything[-4:])
    assert run.hidden().shape == (4, 2)


def test_infinite_T_takes_a_thousand_at_a_time_by_default(backend):
    run = train(SMALL, T=math.inf, steps=2)
    assert len(run.training_set()) == 1000


def test_hidden_vectors_of_any_kind_of_examples(backend):
    from scipy.sparse import csc_array

    run = train(SMALL)
    X = run.training_set()
    expected = X.toarray() @ run.W.T.astype(float)
    assert expected.shape == (6, 2)
    for examples in (None, X, X.to_scipy(), csc_array(X.toarray()), X.toarray(), X.toarray()[::1]):
        np.testing.assert_allclose(run.hidden(examples), expected, rtol=1e-12, atol=1e-15)
    fresh = toysup.data.sample(SMALL.n, 3, 0.5, 9)
    np.testing.assert_allclose(run.hidden(fresh), fresh.toarray() @ run.W.T, rtol=1e-12)


def test_dimensionalities(backend):
    run = train(SMALL)
    features, examples = run.feature_dimensionality(), run.example_dimensionality()
    assert features.shape == (12,) and examples.shape == (6,)
    np.testing.assert_array_equal(features, toysup.metrics.dimensionality(run.W.T))
    np.testing.assert_array_equal(examples, toysup.metrics.dimensionality(run.hidden()))


def test_a_run_says_what_made_it(backend):
    made = train(SMALL).provenance
    assert made["toysup"] == toysup.__version__
    assert made["backend"] == backend.name == toysup.backend_name()
    assert made["isa"] == backend.isa()
    assert {"numpy", "python", "platform"} <= set(made)


def test_a_run_prints_itself_and_cannot_be_changed(backend):
    run = train(SMALL)
    for part in ("T=6", "m=2", "n=12", "seed=0", "ok", "40 steps", f"{run.train_loss:.5f}"):
        assert part in repr(run)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.train_loss = 0.0


# ------------------------------------------------------------------------------ what can go wrong


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_that_diverges_ends_with_a_warning(backend, dtype, tmp_path):
    with pytest.warns(RuntimeWarning, match="diverged.*at step") as caught:
        run = train(SMALL, optimizer="sgd", learning_rate=1e30, dtype=dtype, snapshots=5)
    assert caught[0].filename == __file__
    assert run.status == "diverged" and 0 < run.steps_done < SMALL.steps
    assert not math.isfinite(run.train_loss) and math.isnan(run.test_loss)
    assert run.history.step.values[-1] == run.steps_done
    assert np.all(np.isfinite(run.history.train_loss.values[:-1]))
    assert np.all(run.snapshots.step.values <= run.steps_done)
    assert "diverged" in repr(run)
    assert_same_run(run, load_run(run.save(tmp_path / "diverged")))


def test_a_run_that_fails_raises_its_reason(backend, monkeypatch):
    def fail(configs, n_jobs, on_result, poll, options=None):
        on_result(0, Failed("the disk is on fire"))

    monkeypatch.setattr(backend, "train_many", fail)
    with pytest.raises(RunFailedError, match="the disk is on fire"):
        train(SMALL)


def test_an_error_inside_a_run_of_the_reference_is_named(monkeypatch):
    from toysup._backends.reference import run

    def broken(*args):
        raise ZeroDivisionError("in the gradient")

    monkeypatch.setenv("TOYSUP_BACKEND", "numpy")
    monkeypatch.setattr(run, "gradient", broken)
    with pytest.raises(RunFailedError, match="ZeroDivisionError: in the gradient"):
        train(SMALL)


# --------------------------------------------------------------------------------------- progress


def test_progress_is_shown_when_asked_for(backend, capsys):
    train(SMALL, steps=2000, progress=True)
    shown = capsys.readouterr()
    assert "training: 100%" in shown.err and not shown.out


@pytest.mark.parametrize("progress", [None, False])
def test_progress_is_silent_without_a_terminal(backend, capsys, progress):
    train(SMALL, progress=progress)
    shown = capsys.readouterr()
    assert not shown.err and not shown.out


# ------------------------------------------------------------------------------------------ files


def test_the_suffix_is_added_to_the_name(backend, tmp_path):
    run = train(SMALL)
    names = {"a": "a.npz", "b.npz": "b.npz", "c.v1": "c.v1.npz"}
    for given_name, written in names.items():
        assert run.save(str(tmp_path / given_name)) == tmp_path / written
        assert_same_run(run, load_run(tmp_path / written))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names.values())


def test_saving_twice_replaces_the_file(backend, tmp_path):
    path = tmp_path / "run.npz"
    train(SMALL).save(path)
    other = train(SMALL, seed=1)
    other.save(path)
    assert_same_run(other, load_run(path))
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_file_holds_no_pickles(backend, tmp_path):
    path = train(SMALL, snapshots=2).save(tmp_path / "run")
    with np.load(path, allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} <= set("fiu")


# ------------------------------------------------------------------------------------ loss_and_grad


def gradient_at(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(seed))
    W, b = rng.standard_normal((3, 8)), 0.1 * rng.standard_normal(8)
    return W, b, rng.uniform(size=(5, 8)) * (rng.uniform(size=(5, 8)) < 0.4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_may_lie_in_memory_as_they_like(backend, dtype):
    W, b, X = gradient_at()
    W, b = W.astype(dtype), b.astype(dtype)
    expected = toysup.loss_and_grad(W, b, X)
    wide_W, wide_b, wide_X = np.zeros((6, 16), dtype), np.zeros(16, dtype), np.zeros((10, 24))
    wide_W[::2, ::2], wide_b[::2], wide_X[::2, ::3] = W, b, X
    frozen = [W.copy(), b.copy(), X.copy()]
    for array in frozen:
        array.flags.writeable = False
    same = [
        (np.asfortranarray(W), b, np.asfortranarray(X)),
        (wide_W[::2, ::2], wide_b[::2], wide_X[::2, ::3]),
        (W[::-1][::-1], b[::-1].copy()[::-1], X[::-1][::-1]),
        (W[:, ::-1].copy()[:, ::-1], b, X[:, ::-1].copy()[:, ::-1]),
        tuple(frozen),
    ]
    for arguments in same:
        loss, dW, db = toysup.loss_and_grad(*arguments)
        assert (loss, dW.tobytes(), db.tobytes()) == (
            expected[0],
            expected[1].tobytes(),
            expected[2].tobytes(),
        )
    assert expected[1].shape == (3, 8) and expected[2].shape == (8,)
    assert expected[1].dtype == expected[2].dtype == dtype and type(expected[0]) is float


def test_examples_may_be_of_any_kind(backend):
    import scipy.sparse

    W, b, X = gradient_at()
    X = X.round(1)
    loss, dW, db = toysup.loss_and_grad(W, b, X)
    kinds = [X.tolist(), X.astype("f8").astype(">f8"), scipy.sparse.csr_matrix(X)]
    kinds += [scipy.sparse.csc_array(X), scipy.sparse.coo_array(X), scipy.sparse.lil_array(X)]
    for examples in kinds:
        other = toysup.loss_and_grad(W, b, examples)
        assert other[0] == loss and np.array_equal(other[1], dW) and np.array_equal(other[2], db)
    for binary in ((X > 0), (X > 0).astype(np.int8), (X > 0).astype(np.float32)):
        assert toysup.loss_and_grad(W, b, binary)[0] == toysup.loss_and_grad(W, b, X > 0)[0]


def test_lists_are_doubles(backend):
    W, b, X = gradient_at()
    assert toysup.loss_and_grad(W.tolist(), b.tolist(), X)[0] == toysup.loss_and_grad(W, b, X)[0]


def test_what_was_given_stays_as_it_was(backend):
    import scipy.sparse

    W, b, X = gradient_at()
    before = W.copy(), b.copy(), X.copy()
    toysup.loss_and_grad(W, b, X)
    assert all(np.array_equal(x, y) for x, y in zip((W, b, X), before, strict=True))
    twice = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([5, 1, 5]), np.array([0, 3])), shape=(1, 8)
    )
    dense = twice.toarray()
    assert toysup.loss_and_grad(W, b, twice)[0] == toysup.loss_and_grad(W, b, dense)[0]
    assert twice.data.tolist() == [1.0, 2.0, 3.0] and twice.indices.tolist() == [5, 1, 5]


def test_the_mean_is_the_sum_over_n(backend):
    W, b, X = gradient_at()
    total, mean = (toysup.loss_and_grad(W, b, X, reduction=r) for r in ("sum", "mean"))
    for a, b in zip(total, mean, strict=True):
        np.testing.assert_allclose(a, 8 * np.asarray(b), rtol=1e-12)


def test_importances_weigh_the_features(backend):
    W, b, X = gradient_at()
    base = toysup.loss_and_grad(W, b, X, importance=0.5)
    array = toysup.loss_and_grad(W, b, X, importance=0.5 ** np.arange(8))
    assert base[0] == array[0] and np.array_equal(base[1], array[1])
    nothing = toysup.loss_and_grad(W, b, X, importance=np.zeros(8))
    assert nothing[0] == 0 and not nothing[1].any() and not nothing[2].any()


def test_a_loss_too_large_for_a_double_is_not_finite_and_silent(backend):
    W, b, X = gradient_at()
    assert not math.isfinite(toysup.loss_and_grad(1e200 * np.abs(W), b, X)[0])


# ----------------------------------------------------------------------------------------- memory

MEMORY = """
import resource, toysup
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = dict(n=50, T=5, sparsity=0.9, steps=1, test_size=5)
toysup.train(**small)
before = peak()
run = toysup.train(n=5000, m=2, T=20_000, sparsity=0.999, steps=1, test_size=100, record=1)
run.example_dimensionality()
print(toysup.backend_name(), peak() - before)
"""


def test_nothing_is_as_large_as_T_times_n(backend):
    pytest.importorskip("resource")
    if sys.platform == "darwin":
        pytest.skip("ru_maxrss is in other units there")
    result = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    name, grown = result.stdout.split()
    assert name == backend.name
    assert float(grown) < 60, "MiB; a dense array of T x n would be 400 to 800"


@pytest.mark.parametrize(
    "fields",
    [
        dict(n=100, m=64, T=1, sparsity=0.99, learning_rate=1e39),
        dict(n=100, m=64, T=1, sparsity=0.99, learning_rate=1e39, dtype="float64"),
        dict(n=33, m=7, T=5, sparsity=0.9, learning_rate=1e30, optimizer="sgd", test_size=50),
        dict(n=20, m=3, T=4, sparsity=0.8, learning_rate=1e38, weight_decay=1e6, test_size=50),
    ],
    ids=["m 64", "float64", "sgd", "decay"],
)
def test_numbers_that_are_not_finite_end_a_run_as_diverged(backend, fields):
    with pytest.warns(RuntimeWarning, match="diverged"):
        run = toysup.train(**{"steps": 40, "record": 1, "test_size": 0, **fields})
    summary = run.summary()
    finite = [math.isfinite(summary[k]) for k in ("train_loss", "W_norm", "b_norm")]
    if fields.get("test_size"):
        finite.append(math.isfinite(summary["test_loss"]))
    assert (run.status == "ok") == all(finite)
    assert run.status == "diverged"


def test_what_is_small_though_its_parts_are_huge(backend):
    """A step of Adam is as large as its learning rate, however large the gradient is."""
    W, b = np.zeros((1, 2), np.float32), np.full(2, 0.5, np.float32)
    fields = dict(n=2, m=1, T=3, sparsity=0.5, init=(W, b), steps=1, warmup=0, record=1)
    fields |= dict(test_size=0, schedule="constant", importance=[1e17, 1e17], eps=1e-8)
    run = toysup.train(**fields, learning_rate=1e30, weight_decay=0, optimizer="adam")
    assert run.status == "ok" and np.allclose(np.abs(run.b), 1e30, rtol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"importance": 0.9}, {"activation": "linear"}], ids=str)
def test_the_error_of_the_test_loss_is_that_of_a_mean(backend, fields: dict[str, Any]) -> None:
    config = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=30, test_size=5000, **fields)
    run = train(config)
    losses = regime.example_loss(run, run.test_set())
    assert np.isclose(run.test_loss, losses.mean(), rtol=1e-6)
    assert np.isclose(run.test_loss_error, losses.std(ddof=1) / np.sqrt(5000), rtol=1e-5)
    assert run.summary()["test_loss_error"] == run.test_loss_error
    for size in (0, 1):
        assert np.isnan(train(config, test_size=size).test_loss_error)
