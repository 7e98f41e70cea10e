"""What the paper and a little analysis say that the model must do."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import toysup
from helpers import initial, plain_rates
from toysup.metrics import dimensionality

# ---------------------------------------------------------------------------- the polygon solution


def disjoint_examples(T, width, seed):
    """T orthonormal examples: positive values on features of their own, unit norm, shape (T, n)."""
    rng = np.random.default_rng(seed)
    x = np.zeros((T, T * width + 3))
    features = rng.permutation(T * width + 3)
    for t in range(T):
        x[t, features[t * width : (t + 1) * width]] = rng.uniform(0.1, 1.0, width)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def polygon_solution(x):
    """W and b that put the examples on a regular T-gon and reconstruct them.

    With h_t = r p_t the outputs are x_sj (r² p_s . p_t + 1 - r²) for j of example s: x_sj for
    s = t, and 0 for the neighbours, where r² cos(2 pi / T) + 1 - r² = 0.
    """
    T = len(x)
    angle = 2 * np.pi * np.arange(T) / T
    square = 1 / (1 - math.cos(2 * math.pi / T))
    W = math.sqrt(square) * np.vstack([np.cos(angle), np.sin(angle)]) @ x
    return W, (1 - square) * x.sum(axis=0)


@given(T=st.integers(3, 40), width=st.integers(1, 6), seed=st.integers(0, 1000))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_orthonormal_examples_on_a_polygon_have_no_loss(backend, dtype, T, width, seed):
    x = disjoint_examples(T, width, seed)
    W, b = (p.astype(dtype) for p in polygon_solution(x))
    loss, dW, db = toysup.loss_and_grad(W, b, x, reduction="sum")
    square = 1 / (1 - math.cos(2 * math.pi / T))
    error = 20 * square * float(np.finfo(dtype).eps)  # of an output: sums of a few r²
    # The squares of these errors, and what a sum of squares of 1 is rounded by.
    assert abs(loss) <= T * width * error**2 + 4 * math.sqrt(T * width) * 2.0**-52
    assert np.max(np.abs(db)) <= 2 * error and np.max(np.abs(dW)) <= 20 * math.sqrt(square) * error
    h = x @ W.T.astype(float)
    assert np.allclose(np.linalg.norm(h, axis=1), math.sqrt(square), rtol=1e-5)
    assert np.allclose(dimensionality(h), 2 / T, rtol=1e-5)


def test_a_loss_is_never_negative(backend):
    """Not even by rounding: a mean of squares has a sign, and a logarithm."""
    for T in range(3, 20):
        x = disjoint_examples(T, 3, T)
        assert toysup.loss_and_grad(*polygon_solution(x), x, reduction="sum")[0] >= 0


@pytest.mark.parametrize("T", [3, 5, 8])
def test_the_polygon_is_a_minimum(backend, T):
    x = disjoint_examples(T, 2, 0)
    W, b = polygon_solution(x)
    rng = np.random.default_rng(1)
    for _ in range(20):
        near = W + 1e-3 * rng.standard_normal(W.shape), b + 1e-3 * rng.standard_normal(b.shape)
        assert toysup.loss_and_grad(*near, x)[0] > 1e-9


@pytest.mark.parametrize("shrink", [0.8, 0.95])
def test_a_smaller_polygon_has_a_loss(backend, shrink):
    """At a smaller radius neighbours leak into one another, whatever the bias."""
    x = disjoint_examples(7, 1, 0)
    W, b = polygon_solution(x)
    square = 1 / (1 - math.cos(2 * math.pi / 7)) * shrink**2
    for bias in (b, (1 - square) * x.sum(axis=0)):
        assert toysup.loss_and_grad(shrink * W, bias, x, reduction="sum")[0] > 1e-4


@pytest.mark.parametrize("T", [4, 5])
def test_training_finds_the_polygon(backend, T):
    """With n = 1,000, S = 0.99 and this seed, examples overlap by 0.01 at most."""
    run = toysup.train(
        n=1000, m=2, T=T, sparsity=0.99, seed=2, steps=3000, learning_rate=1e-2, weight_decay=1e-3,
        eps=1e-12, test_size=0, record=2,
    )  # fmt: skip
    assert run.train_loss < 0.02
    assert np.allclose(run.example_dimensionality(), 2 / T, atol=0.06)
    angles = np.sort(np.arctan2(*run.hidden().T))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    # A square with one more vector has a gap that is off by 0.31 at least.
    assert np.allclose(gaps, 2 * np.pi / T, atol=0.3)


# -------------------------------------------------------------------------- trivial predictors


@pytest.mark.parametrize("n, sparsity", [(50, 0.95), (10, 0.9), (300, 0.99)])
@pytest.mark.parametrize("role", ["train", "test"])
def test_the_zero_predictor_loses_one_minus_the_share_of_empty_examples(backend, n, sparsity, role):
    T = 20_000
    X = toysup.data.sample(n, T, sparsity, 17, role=role)
    loss, _, _ = toysup.loss_and_grad(np.zeros((2, n)), np.zeros(n), X, reduction="sum")
    expected = 1 - sparsity**n
    assert abs(loss - expected) <= 4 * math.sqrt(expected * (1 - expected) / T)
    assert loss == pytest.approx(np.mean(np.diff(X.indptr) > 0), rel=1e-12)


# The reference goes through T n outputs one by one.
EXAMPLES = {"native": 100_000, "numpy": 2_500}


def test_the_best_bias_alone_loses_0_99920(backend):
    """n = 10,000, S = 0.999: E x_j = 2.721e-4, and the loss is 1 - S^n - n (E x_j)²."""
    n, mean, T = 10_000, 2.721e-4, EXAMPLES[backend.name]
    X = toysup.data.sample(n, T, 0.999, 0, role="test")
    totals = np.bincount(np.repeat(np.arange(T), np.diff(X.indptr)), X.values, minlength=T)
    error = totals.std() / math.sqrt(T) / n
    assert abs(totals.mean() / n - mean) <= 4 * error + 5e-8  # half a unit of the last digit given
    W, b = np.zeros((1, n)), np.full(n, mean)
    loss, dW, db = toysup.loss_and_grad(W, b, X, reduction="sum")
    each = (np.diff(X.indptr) > 0) - 2 * mean * totals + n * mean**2  # |x|² - 2 b sum x + n b²
    assert loss == pytest.approx(each.mean(), rel=1e-10)
    nothing = toysup.loss_and_grad(W, np.zeros(n), X, reduction="sum")[0]
    assert nothing == pytest.approx(1 - 0.999**n, abs=5 * math.sqrt(0.999**n / T))
    # Few samples hold an empty example, which weighs most: their share is known, not measured.
    empty = 0.999**n
    deviation = math.sqrt(each.std() ** 2 + empty * (1 - empty))
    assert abs(loss - 0.99920) <= 4 * deviation / math.sqrt(T) + 5e-6
    assert not dW.any()
    # The mean is where the gradient is 0, on average over features.
    assert abs(db.mean()) <= 4 * 2 * error + 1e-7
    for other in (0.8 * mean, 1.2 * mean):
        assert toysup.loss_and_grad(W, np.full(n, other), X, reduction="sum")[0] > loss


def test_training_without_hidden_signal_finds_the_best_bias(backend):
    """With fresh data every step and little time for W, b goes to the mean of its feature."""
    n, S = 40, 0.9
    run = toysup.train(
        n=n, m=1, T=4000, sparsity=S, steps=600, optimizer="sgd", momentum=0.0, weight_decay=0.0,
        learning_rate=20.0 / 2, warmup=0.0, loss_reduction="mean", dtype="float64", test_size=4000,
        importance=1.0,
    )  # fmt: skip
    X = run.training_set().toarray()
    baseline = np.sum((X - X.mean(axis=0)) ** 2, axis=1).mean()
    assert run.train_loss <= baseline * (1 + 1e-3)
    assert run.test_loss <= 1 - S**n


# ----------------------------------------------------------------------------------- the bounds


@given(
    seed=st.integers(0, 1000),
    T=st.integers(1, 30),
    m=st.integers(1, 4),
    betas=st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.999)]),
)
def test_no_weight_goes_further_than_the_rates_allow(backend, seed, T, m, betas):
    """By Cauchy and Schwarz an Adam step is at most lr (1 - b1) / sqrt((1 - b2)(1 - b1²/b2))."""
    config = toysup.TrainConfig(
        n=30, m=m, T=T, sparsity=0.8, seed=seed, steps=150, learning_rate=0.05, betas=betas,
        weight_decay=0.0, eps=1e-8, test_size=0, record=1,
    )  # fmt: skip
    run = toysup.train(config)
    one, two = betas
    step = max(1.0, (1 - one) / math.sqrt((1 - two) * (1 - one**2 / two)))
    bound = step * plain_rates(config).sum() * (1 + 1e-5)
    assert np.max(np.abs(run.W - initial(config))) <= bound
    assert np.max(np.abs(run.b)) <= bound


@pytest.mark.parametrize("T", [5, 30])
def test_weights_and_biases_stay_below_the_sum_of_the_rates(backend, T):
    """An AdamW step is about the learning rate at most: 25 in the paper's 50,000 steps."""
    config = toysup.TrainConfig(
        n=200, m=2, T=T, sparsity=0.95, steps=1500, learning_rate=1e-2, test_size=0, record=20
    )
    run = toysup.train(config)
    limit = plain_rates(config).sum()
    assert np.max(np.abs(run.W)) < limit and np.max(np.abs(run.b)) < limit
    assert np.all(np.isfinite(run.history.W_norm))


# ------------------------------------------------------------------------- features without data


def gradient_at(run, i):
    shot = run.snapshots.isel(step=i)
    return toysup.loss_and_grad(shot.W.values, shot.b.values, run.training_set())


def test_dead_features_only_decay(backend):
    """SGD without momentum: from where its gradient is 0, a feature shrinks by 1 - lr decay."""
    config = toysup.TrainConfig(
        n=60, m=2, T=3, sparsity=0.97, steps=100, optimizer="sgd", momentum=0.0, weight_decay=0.5,
        learning_rate=0.5, warmup=0.0, schedule="constant", loss_reduction="sum", dtype="float64",
        test_size=0, snapshots=100,
    )  # fmt: skip
    run = toysup.train(config)
    steps = run.snapshots.step.values
    W, b = run.snapshots.W.values, run.snapshots.b.values
    unseen = ~run.training_set().toarray().any(axis=0)
    found = 0
    for i in np.flatnonzero(np.diff(steps) == 1):
        _, dW, db = gradient_at(run, i)
        dead = unseen & ~dW.any(axis=0) & (db == 0)
        assert np.allclose(W[i + 1][:, dead], 0.75 * W[i][:, dead], rtol=1e-13)
        assert np.allclose(b[i + 1][dead], 0.75 * b[i][dead], rtol=1e-13)
        found += np.count_nonzero(dead)
    assert found > 100


def test_unseen_features_die_and_keep_their_direction(backend):
    """AdamW: once the moments are spent, W_j and b_j shrink by the product of 1 - lr decay.

    Dead are those whose z was below minus a learning rate for all examples, at all snapshots of the
    second half: too far from 0 to have come back in between.
    """
    config = toysup.TrainConfig(
        n=80, m=2, T=6, sparsity=0.95, steps=1200, betas=(0.5, 0.8), weight_decay=0.1,
        learning_rate=0.01, warmup=0.0, dtype="float64", eps=1e-12, test_size=0, snapshots=60,
    )  # fmt: skip
    run = toysup.train(config)
    steps, x = run.snapshots.step.values, run.training_set().toarray()
    W, b = run.snapshots.W.values, run.snapshots.b.values
    dead = ~x.any(axis=0)
    for i in range(int(np.searchsorted(steps, 600)), len(steps)):
        dead &= np.max(x @ W[i].T @ W[i] + b[i], axis=0) < -0.01
    assert np.count_nonzero(dead) > 30
    at = int(np.searchsorted(steps, 900))
    factor = np.prod(1 - 0.1 * plain_rates(config)[steps[at] :])
    assert np.allclose(W[-1][:, dead], factor * W[at][:, dead], rtol=1e-13)
    assert np.allclose(b[-1][dead], factor * b[at][dead], rtol=1e-13)


def test_without_decay_dead_features_stay_where_they_are(backend):
    config = toysup.TrainConfig(
        n=80, m=2, T=6, sparsity=0.95, steps=1200, betas=(0.5, 0.8), weight_decay=0.0,
        learning_rate=0.01, schedule="constant", warmup=0.0, eps=1e-12, test_size=0, snapshots=40,
    )  # fmt: skip
    run = toysup.train(config)
    at = int(np.searchsorted(run.snapshots.step.values, 600))
    same = np.all(run.snapshots.W.values[at] == run.W, axis=0)
    unseen = ~run.training_set().toarray().any(axis=0)
    assert np.count_nonzero(same & unseen) > 0.8 * np.count_nonzero(unseen)
