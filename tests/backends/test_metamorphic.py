"""What must change, and how, when the problem is changed: no formula is needed to know it."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import given

import toysup
from helpers import assert_same_gradient, bits, gradient_tolerance
from strategies import problems

FACTORS = st.sampled_from([1e-3, 0.5, 2.0, 3.0, 1e3])


def parts(problem):
    return (*problem.parameters(), problem.examples().toarray(), problem.importances())


def answer(W, b, x, importance, reduction="sum"):
    return toysup.loss_and_grad(W, b, x, importance=importance, reduction=reduction)


def assert_both(first, second, problem):
    """Equal within the rounding of two answers to this problem."""
    assert_same_gradient(first, second, tuple(2 * t for t in gradient_tolerance(*problem)))


# ---------------------------------------------------------------------------------- symmetries


@given(problem=problems(max_n=80, max_m=8, max_T=80), seed=st.integers(0, 1000))
def test_permuting_features_permutes_the_gradient(backend, problem, seed):
    W, b, x, importance = given = parts(problem)
    order = np.random.default_rng(seed).permutation(problem.n)
    loss, dW, db = answer(*given)
    permuted = answer(W[:, order], b[order], x[:, order], importance[order])
    back = np.argsort(order)
    assert_both((permuted[0], permuted[1][:, back], permuted[2][back]), (loss, dW, db), given)


@given(problem=problems(max_n=80, max_m=8, max_T=80), seed=st.integers(0, 1000))
def test_rotating_the_hidden_space_rotates_the_gradient(backend, problem, seed):
    W, b, x, importance = given = parts(problem)
    Q = scipy.stats.ortho_group.rvs(problem.m, random_state=seed) if problem.m > 1 else -np.eye(1)
    loss, dW, db = answer(*given)
    rotated = answer(Q @ W, b, x, importance)
    # A rotation mixes the rows of W: their tolerances are added up.
    tolerance = gradient_tolerance(*given)
    mixed = 2 * np.abs(Q).T @ np.abs(Q) @ tolerance[1] * math.sqrt(problem.m)
    bounds = (4 * problem.m * tolerance[0], 2 * mixed, 4 * problem.m * tolerance[2])
    assert_same_gradient((rotated[0], Q.T @ rotated[1], rotated[2]), (loss, dW, db), bounds)


@given(problem=problems(max_n=80, max_m=8, max_T=80), seed=st.integers(0, 1000))
def test_the_order_of_examples_does_not_matter(backend, problem, seed):
    W, b, x, importance = given = parts(problem)
    order = np.random.default_rng(seed).permutation(len(x))
    assert_both(answer(W, b, x[order], importance), answer(*given), given)


@given(problem=problems(max_n=60, max_m=8, max_T=200), copies=st.integers(2, 5))
def test_duplicating_the_data_set_leaves_loss_and_gradient(backend, problem, copies):
    W, b, x, importance = given = parts(problem)
    assert_both(answer(W, b, np.tile(x, (copies, 1)), importance), answer(*given), given)


@given(problem=problems(max_n=60, max_m=8, max_T=200), cut=st.floats(0, 1))
def test_a_data_set_is_the_mean_of_its_parts(backend, problem, cut):
    W, b, x, importance = given = parts(problem)
    T, low = len(x), round(cut * len(x))
    total = [0.0, np.zeros_like(W), np.zeros_like(b)]
    for part in (x[:low], x[low:]):
        if len(part):
            answers = answer(W, b, part, importance)
            total = [t + len(part) / T * a for t, a in zip(total, answers, strict=True)]
    assert_both(tuple(total), answer(*given), given)


@given(problem=problems(max_n=40, max_m=6, max_T=40), seed=st.integers(0, 1000))
def test_a_feature_without_data_weight_and_bias_changes_nothing(backend, problem, seed):
    W, b, x, importance = given = parts(problem)
    at = int(np.random.default_rng(seed).integers(0, problem.n + 1))
    added = answer(
        np.insert(W, at, 0.0, axis=1), np.insert(b, at, -1.0), np.insert(x, at, 0.0, axis=1),
        np.insert(importance, at, 1.0),
    )  # fmt: skip
    assert not added[1][:, at].any() and added[2][at] == 0
    rest = added[0], np.delete(added[1], at, axis=1), np.delete(added[2], at)
    assert_both(rest, answer(*given), given)


@given(problem=problems(max_n=40, max_m=6, max_T=40))
def test_a_hidden_dimension_of_zeros_changes_nothing(backend, problem):
    W, b, x, importance = given = parts(problem)
    loss, dW, db = answer(np.vstack([W, np.zeros(problem.n)]), b, x, importance)
    assert not dW[-1].any()
    assert_both((loss, dW[:-1], db), answer(*given), given)


# -------------------------------------------------------------------------------------- scaling


@given(problem=problems(max_n=60, max_m=8, max_T=80), factor=FACTORS)
def test_importance_scales_loss_and_gradient(backend, problem, factor):
    W, b, x, importance = given = parts(problem)
    scaled = answer(W, b, x, factor * importance)
    assert_both(tuple(a / factor for a in scaled), answer(*given), given)


@given(problem=problems(max_n=60, max_m=8, max_T=80), seed=st.integers(0, 1000))
def test_loss_and_gradient_are_linear_in_the_importance(backend, problem, seed):
    W, b, x, importance = given = parts(problem)
    part = np.random.default_rng(seed).uniform(0, 1, problem.n) * importance
    one, other = answer(W, b, x, part), answer(W, b, x, importance - part)
    total = tuple(a + c for a, c in zip(one, other, strict=True))
    assert_both(total, answer(*given), given)


@given(problem=problems(max_n=60, max_m=8, max_T=80), factor=FACTORS)
def test_scaling_examples_and_bias_scales_the_loss_by_the_square(backend, problem, factor):
    """ReLU(W^T W c x + c b) = c ReLU(W^T W x + b) for c > 0."""
    W, b, x, importance = given = parts(problem)
    loss, dW, db = answer(W, factor * b, factor * x, importance)
    assert_both((loss / factor**2, dW / factor**2, db / factor), answer(*given), given)


@given(problem=problems(max_n=60, max_m=8, max_T=80), power=st.sampled_from([-3, 1, 5]))
def test_scaling_by_a_power_of_two_is_exact(backend, problem, power):
    W, b, x, importance = parts(problem)
    factor = 2.0**power
    loss, dW, db = answer(W, b, x, importance)
    scaled = answer(W, factor * b, factor * x, importance)
    assert bits(*scaled) == bits(loss * factor**2, dW * factor**2, db * factor)


@given(problem=problems(max_n=60, max_m=8, max_T=80))
def test_the_sum_is_n_times_the_mean(backend, problem):
    given = parts(problem)
    mean = tuple(problem.n * a for a in answer(*given, "mean"))
    assert_both(mean, answer(*given, "sum"), given)


# ------------------------------------------------------------------------------------- training


def settings(draw):
    n = draw(st.integers(2, 30))
    return toysup.TrainConfig(
        n=n, m=draw(st.integers(1, min(n, 5))), T=draw(st.integers(1, 20)), sparsity=0.7,
        seed=draw(st.integers(0, 1000)), steps=draw(st.integers(1, 15)), learning_rate=0.01,
        eps=draw(st.sampled_from([1e-5, 1e-3])), dtype="float64", test_size=20,
    )  # fmt: skip


@given(data=st.data(), optimizer=st.sampled_from(["adamw", "adam"]))
def test_mean_with_eps_is_sum_with_n_eps(backend, data, optimizer):
    """Adam adds the decay to the gradient, so there it has to be 0."""
    config = settings(data.draw).replace(optimizer=optimizer)
    config = config.replace(weight_decay=0.1 if optimizer == "adamw" else 0.0)
    mean = toysup.train(config, loss_reduction="mean")
    sums = toysup.train(config, loss_reduction="sum", eps=config.eps * config.n)
    assert np.allclose(mean.W, sums.W, rtol=0, atol=1e-9)
    assert np.allclose(mean.b, sums.b, rtol=0, atol=1e-9)
    assert mean.train_loss == pytest.approx(sums.train_loss, rel=1e-8)


@given(data=st.data(), factor=FACTORS)
def test_importance_times_c_is_eps_over_c(backend, data, factor):
    config = settings(data.draw)
    weights = tuple(np.full(config.n, factor))
    one = toysup.train(config, importance=weights, eps=config.eps * factor)
    other = toysup.train(config)
    assert np.allclose(one.W, other.W, rtol=0, atol=1e-9)
    assert np.allclose(one.b, other.b, rtol=0, atol=1e-9)
    assert one.train_loss == pytest.approx(factor * other.train_loss, rel=1e-8)


@given(data=st.data())
def test_reported_losses_do_not_depend_on_what_is_minimised(backend, data):
    config = settings(data.draw).replace(steps=0)
    mean, sums = (toysup.train(config, loss_reduction=r) for r in ("mean", "sum"))
    assert bits(mean.train_loss, mean.test_loss) == bits(sums.train_loss, sums.test_loss)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_small_error_beside_a_large_output_is_not_lost(backend, activation):
    W, b = np.diag([1.0, 0.0, 1.0]), np.zeros(3)
    fields = {"reduction": "sum", "activation": activation}
    assert toysup.loss_and_grad(W, b, [[1e8, 1.0, 0.0]], **fields)[0] == 1.0
    # The error of a feature that is zero counts as much.
    W[2, 0], W[2, 2] = 1e-8, 1.0
    loss = toysup.loss_and_grad(W, b, [[1e8, 0.0, 0.0]], **fields)[0]
    assert loss == pytest.approx(1.0, rel=1e-6)


@given(data=st.data())
def test_reported_losses_are_those_of_loss_and_grad(backend, data):
    run = toysup.train(settings(data.draw))
    loss, _, _ = toysup.loss_and_grad(run.W, run.b, run.training_set(), reduction="sum")
    assert run.train_loss == pytest.approx(loss, rel=1e-12)
    c = run.config
    X = toysup.data.sample(c.n, c.test_size, c.sparsity, c.seed, role="test")
    loss, _, _ = toysup.loss_and_grad(run.W, run.b, X, reduction="sum")
    assert run.test_loss == pytest.approx(loss, rel=1e-12)
