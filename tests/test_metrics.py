"""Dimensionality: the theorems, the symmetries and the known cases."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given

import toysup
from toysup.metrics import (
    dimensionality,
    maximal_dimensionality,
    n_represented,
    own_gain,
    represented,
)

# Ratios of sums of N m products in doubles, for vectors of like lengths.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
SCALES = st.sampled_from([1.0, 1e-3, 1e7, 1e-150, 1e150, 1e-300, 1e300])


@st.composite
def vectors(draw, max_N=60, max_m=8, min_N=0):
    """N vectors in m dimensions of any rank, with zero vectors, repeated ones and any unit."""
    N, m = draw(st.integers(min_N, max_N)), draw(st.integers(1, max_m))
    rank = draw(st.integers(0, min(N, m)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    V = rng.standard_normal((N, rank)) @ rng.standard_normal((rank, m))
    V *= 10 ** rng.uniform(-1, 1, (N, 1))  # lengths
    if N and draw(st.booleans()):
        V[rng.integers(0, N, N // 3)] = 0.0
        V[rng.integers(0, N, N // 4)] = V[0]
    return V * draw(SCALES)


def rank(V):
    return 0 if V.size == 0 else np.linalg.matrix_rank(V / max(np.max(np.abs(V)), 1e-320))


def polygon(T, radius=1.0):
    angle = 2 * np.pi * np.arange(T) / T
    return radius * np.c_[np.cos(angle), np.sin(angle)]


def turned(short):
    """A long vector and one of length ``short``, orthogonal to it, along no axis."""
    c, s = np.cos(0.7), np.sin(0.7)
    return np.array([[c, s], [-s * short, c * short]])


# ------------------------------------------------------------------------------------- theorems


@given(V=vectors())
@example(V=np.zeros((0, 2)))
@example(V=np.zeros((3, 2)))
@example(V=np.full((1, 1), 5e-324))
@example(V=np.full((2, 2), np.finfo(float).max))
def test_zero_at_least_and_maximal_and_one_at_most(V):
    D, best = dimensionality(V), maximal_dimensionality(V)
    assert D.shape == best.shape == (len(V),)
    assert np.all(D >= 0) and np.all(best <= 1)
    assert np.all(D <= best + 1e-9)


@given(V=vectors())
def test_maximal_dimensionalities_add_up_to_the_rank(V):
    assert maximal_dimensionality(V).sum() == pytest.approx(rank(V), abs=1e-9)


@given(V=vectors())
def test_dimensionalities_add_up_to_the_hidden_size_at_most(V):
    assert dimensionality(V).sum() <= rank(V) + 1e-9 <= V.shape[1] + 1e-9


@pytest.mark.parametrize("short", [1.0, 1e-3, 1e-7, 1e-9, 1e-12])
def test_a_short_vector_orthogonal_to_a_long_one_has_a_dimension_for_itself(short):
    assert dimensionality(turned(short)) == pytest.approx([1, 1], rel=1e-6)
    both = np.vstack([turned(short), turned(short)[1:]])
    assert dimensionality(both) == pytest.approx([1, 0.5, 0.5], rel=1e-6)


@pytest.mark.parametrize("short", [1e-7, 1e-9])
def test_the_history_sees_the_dimension_of_a_short_vector(backend, short):
    """Four long vectors share one dimension, a short one has the other for itself."""
    long, only = turned(short)
    W = np.array([long, long, long, only, long]).T
    run = toysup.train(
        init=(W, np.zeros(5)), n=5, m=2, T=3, sparsity=0.5, steps=0, test_size=0, dtype="float64",
        progress=False,
    )  # fmt: skip
    assert float(run.history.max_feature_dimensionality[-1]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(("k", "threshold"), [(20, 0.1), (5, 0.4)])
def test_features_that_are_alike_are_counted_alike_at_the_threshold(k, threshold):
    """A polygon of k features with ||v||^2 = 2 / k has linear gains of 2 / k."""
    V = polygon(k, (2 / k) ** 0.5)
    gain = own_gain(V, activation="linear")
    assert gain == pytest.approx(np.full(k, threshold), rel=1e-12)
    for turn in np.linspace(0, 1, 9):
        c, s = np.cos(turn), np.sin(turn)
        options = {"activation": "linear", "threshold": threshold}
        assert n_represented(V @ np.array([[c, -s], [s, c]]), **options) == k
        assert n_represented(V, activation="linear", threshold=threshold + 1e-8) == 0


@given(V=vectors())
def test_zero_vectors_have_none_and_take_none(V):
    zero = ~V.any(axis=1)
    assert not dimensionality(V)[zero].any()
    for measure in (dimensionality, maximal_dimensionality):
        D = measure(V)
        assert np.all(D[zero] <= CLOSE["atol"])  # the maximum comes from rounded vectors
        assert np.allclose(D[~zero], measure(V[~zero]), **CLOSE)
        assert np.all(D[~zero] > 0)


@given(V=vectors(min_N=1))
def test_the_definition(V):
    """With a loop over pairs, as the paper writes it."""
    V = V / max(np.max(np.abs(V)), 1e-320)
    for v, D in zip(V, dimensionality(V), strict=True):
        length = np.linalg.norm(v)
        interference = sum((v / length @ other) ** 2 for other in V) if length else 1.0
        assert pytest.approx(length**2 / interference, rel=1e-9, abs=1e-12) == D


@given(V=vectors(min_N=1), seed=st.integers(0, 1000))
def test_no_direction_gives_more_than_the_maximum(V, seed):
    V = V / max(np.max(np.abs(V)), 1e-320)
    best = maximal_dimensionality(V)
    for u in np.random.default_rng(seed).standard_normal((20, V.shape[1])):
        total = np.sum((V @ u) ** 2)
        assert np.all((V @ u) ** 2 <= best * total * (1 + 1e-9) + 1e-12)


# ------------------------------------------------------------------------------------ known cases


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 6, 7, 30, 1000])
@pytest.mark.parametrize("radius", [1.0, 1e-150, 1e150])
def test_a_regular_polygon_shares_two_dimensions(T, radius):
    """One vector has a dimension, two opposite ones half of one each, T > 2 have 2 / T."""
    expected = 2 / T if T > 2 else 1 / T
    for measure in (dimensionality, maximal_dimensionality):
        assert np.allclose(measure(polygon(T, radius)), expected, rtol=1e-12)


@given(N=st.integers(1, 8), seed=st.integers(0, 1000), scale=SCALES)
def test_orthogonal_vectors_have_a_dimension_each(N, seed, scale):
    Q = scipy.stats.ortho_group.rvs(N, random_state=seed) if N > 1 else np.eye(1)
    lengths = np.random.default_rng(seed).uniform(0.1, 10, (N, 1))
    for measure in (dimensionality, maximal_dimensionality):
        assert np.allclose(measure(scale * lengths * Q), 1.0, rtol=1e-9)


@given(m=st.integers(1, 5), copies=st.integers(1, 20))
def test_repeated_vectors_share_a_dimension(m, copies):
    V = np.repeat(np.eye(m), copies, axis=0)
    assert np.allclose(dimensionality(V), 1 / copies, rtol=1e-12)
    assert np.allclose(maximal_dimensionality(V), 1 / copies, rtol=1e-12)


def test_a_longer_vector_takes_more():
    D = dimensionality([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert np.allclose(D, [0.9, 0.1, 1.0], rtol=1e-12)


def test_two_circles():
    """6 examples on a large circle and 2 on a small one: the small one has nearly nothing."""
    D = dimensionality(np.vstack([polygon(6, 10.0), polygon(2, 0.1)]))
    assert np.allclose(D[:6], 1 / 3, rtol=1e-3) and np.all(D[6:] < 1e-3)


@pytest.mark.parametrize("tiny", [1e-3, 1e-6])
def test_a_short_vector_alone_in_its_direction_has_all_of_it(tiny):
    V = np.array([[1.0, 0.0], [0.0, tiny]])
    assert np.allclose(dimensionality(V), 1.0, rtol=1e-9)
    assert np.allclose(maximal_dimensionality(V), 1.0, rtol=1e-9)


@pytest.mark.xfail(strict=False, reason="the rank is judged relative to the longest vector")
def test_a_very_short_vector_alone_in_its_direction_has_all_of_it():
    V = np.array([[1.0, 0.0], [0.0, 1e-20]])
    assert np.all(dimensionality(V) <= maximal_dimensionality(V))


def test_a_short_vector_keeps_its_dimension_when_all_is_rotated():
    c, s = np.cos(0.7), np.sin(0.7)
    V = np.array([[1.0, 0.0], [0.0, 1e-10]]) @ np.array([[c, s], [-s, c]])
    assert np.allclose(dimensionality(V), 1.0, rtol=1e-2)


# ------------------------------------------------------------------------------------ symmetries


@given(V=vectors(min_N=1), seed=st.integers(0, 1000))
def test_permutation_rotation_reflection_and_unit(V, seed):
    rng = np.random.default_rng(seed)
    m = V.shape[1]
    order = rng.permutation(len(V))
    Q = scipy.stats.ortho_group.rvs(m, random_state=seed) if m > 1 else -np.eye(1)
    signs = rng.choice([-1.0, 1.0], (len(V), 1))
    unit = V / max(np.max(np.abs(V)), 1e-320)
    for measure in (dimensionality, maximal_dimensionality):
        D = measure(V)
        assert np.allclose(measure(V[order]), D[order], **CLOSE)
        assert np.allclose(measure(unit @ Q), D, **CLOSE)
        assert np.allclose(measure(signs * V), D, **CLOSE)
        assert np.allclose(measure(unit * 1e-160), D, **CLOSE)
        assert np.allclose(measure(np.hstack([V, np.zeros((len(V), 2))])), D, **CLOSE)


@given(V=vectors(min_N=1), copies=st.integers(2, 4))
def test_copies_share_what_the_original_had(V, copies):
    for measure in (dimensionality, maximal_dimensionality):
        assert np.allclose(
            measure(np.tile(V, (copies, 1))), np.tile(measure(V) / copies, copies), **CLOSE
        )


@given(V=vectors(min_N=1), seed=st.integers(0, 1000))
def test_the_maximum_does_not_see_a_change_of_basis(V, seed):
    """Leverage scores belong to the column space; the plain dimensionality does see it."""
    V = V / max(np.max(np.abs(V)), 1e-320)
    rng = np.random.default_rng(seed)
    A = np.eye(V.shape[1]) + 0.3 * rng.uniform(-1, 1, (V.shape[1],) * 2) / V.shape[1]
    assert np.allclose(
        maximal_dimensionality(V @ A), maximal_dimensionality(V), rtol=1e-8, atol=1e-10
    )


# ------------------------------------------------------------------------------------- in a run


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_history_records_the_largest_dimensionality(backend, m):
    run = toysup.train(
        n=40, m=m, T=12, sparsity=0.8, steps=60, learning_rate=0.02, record=9, snapshots=8,
        test_size=0,
    )  # fmt: skip
    for i, step in enumerate(run.snapshots.step.values):
        largest = dimensionality(run.snapshots.W.values[i].T).max()
        recorded = float(run.history.max_feature_dimensionality.sel(step=step))
        assert recorded == pytest.approx(largest, rel=1e-10)
    assert np.allclose(run.feature_dimensionality(), dimensionality(run.W.T), rtol=0)
    assert np.allclose(run.example_dimensionality(), dimensionality(run.hidden()), rtol=0)


# ------------------------------------------------------------------------------ represented


def by_quadrature(V, b, size, activation):
    """The own gain as its formula has it, by the midpoint rule."""
    x = size * (np.arange(4000) + 0.5) / 4000
    f = (lambda z: z) if activation == "linear" else (lambda z: np.maximum(z, 0))
    response = f((V @ V.T)[..., None] * x + b[:, None, None]) - f(b)[:, None, None]
    left = np.square(np.eye(len(V))[..., None] * x - response).mean(axis=2).sum(axis=1)
    return 1 - left / np.mean(x**2)


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 4),
    size=st.sampled_from([1.0, 0.3, 4.0]),
    activation=st.sampled_from(["relu", "linear"]),
)
def test_the_own_gain_is_the_integral_of_its_formula(seed, m, size, activation):
    rng = np.random.default_rng(seed)
    V, b = rng.normal(size=(9, m)), size * rng.normal(size=9)
    V[0], b[1] = 0.0, 0.0
    gain = own_gain(V, b, size=size, activation=activation)
    assert np.allclose(gain, by_quadrature(V, b, size, activation), rtol=1e-4, atol=1e-4)
    assert gain[0] == 0 and gain.max() <= 1
    for threshold in (0.05, 0.5, 1.0):
        options = {"size": size, "activation": activation, "threshold": threshold}
        assert np.array_equal(represented(V, b, **options), gain >= threshold)
        assert n_represented(V, b, **options) == np.sum(gain >= threshold)


def test_without_relu_the_own_gain_is_that_of_dimensionality():
    V = np.random.default_rng(0).normal(size=(30, 4))
    square = np.sum(V**2, axis=1)
    expected = 2 * square - square**2 / dimensionality(V)
    assert np.allclose(own_gain(V, activation="linear"), expected)


@pytest.mark.parametrize("length", [0.9, 1.0, 1.1])
def test_a_polygon_of_features_is_represented_among_others(length):
    rng = np.random.default_rng(0)
    V = np.concatenate([polygon(5, length), 0.01 * rng.normal(size=(995, 2))])
    assert np.flatnonzero(represented(V)).tolist() == [0, 1, 2, 3, 4]
    assert n_represented(V) == 5
    # With the biases of the analytic polygon neighbours do not interfere.
    square = 1 / (1 - np.cos(2 * np.pi / 5))
    gain = own_gain(polygon(5, square**0.5), np.full(5, 1 - square))
    assert np.allclose(gain, 0.905, atol=1e-3)
    assert n_represented(np.eye(3), threshold=1.0) == 3


@pytest.mark.parametrize("T", [2, 3, 4, 5, 6, 8, 15, 30])
def test_polygons_of_examples_represent_no_feature(T):
    """Some of their features have a dimensionality of 0.1 and more."""
    largest = 0.0
    for seed in range(5):
        run = toysup.train(
            n=1000, m=2, T=T, sparsity=0.99, init="polygon", seed=seed, steps=0, warmup=0.0,
            test_size=0,
        )  # fmt: skip
        assert not run.represented().any()
        largest = max(largest, run.feature_dimensionality().max())
    assert largest > 0.1 or T > 8


SMALL = {"m": 2, "sparsity": 0.95, "eps": 1e-6, "test_size": 0}


@pytest.mark.parametrize(("T", "n", "steps", "rate", "count"),
    [(5, 200, 1000, 0.02, 0), (8, 200, 1000, 0.02, 0), (2000, 60, 400, 0.03, 5)],
)  # fmt: skip
def test_training_on_many_examples_represents_features(backend, T, n, steps, rate, count):
    run = toysup.train(n=n, T=T, steps=steps, learning_rate=rate, **SMALL)
    assert run.represented().sum() == run.summary()["n_represented"] == count
    # The largest dimensionality does not tell the two apart.
    assert run.feature_dimensionality().max() > 0.1


@given(V=vectors(min_N=1))
@example(V=np.full((2, 2), np.finfo(float).max))
@example(V=np.full((1, 1), 5e-324))
def test_the_own_gain_of_any_vectors_is_a_number_or_minus_infinity(V):
    b = np.linspace(-1, 1, len(V)) * np.max(np.abs(V))
    for size in (1e-300, 1.0, 1e300):
        gain = own_gain(V, b, size=size)
        assert not np.isnan(gain).any() and gain.max() <= 1 + 1e-9
        assert n_represented(V, b, size=size) == np.sum(gain >= 0.5)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"b": 0.1}, ValueError, r"b must have shape \(vectors,\), got shape \(\)"),
        ({"b": [1.0, 2.0]}, ValueError, r"b must have shape \(3,\), got shape \(2,\)"),
        ({"b": [1.0, 2.0, np.inf]}, ValueError, "b must be finite, got .*inf"),
        ({"b": ["a", "b", "c"]}, TypeError, "b must be a real array"),
        ({"size": 0.0}, ValueError, "size must be greater than 0, got 0.0"),
        ({"size": "1"}, TypeError, "size must be a real number, got '1'"),
        ({"threshold": 0}, ValueError, r"threshold must be in \(0, 1\], got 0"),
        ({"activation": "tanh"}, ValueError, "activation must be .*'tanh'"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(given, error, message):
    with pytest.raises(error, match=message):
        n_represented(np.eye(3), **given)
