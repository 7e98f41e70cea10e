"""Features that are not equally frequent: the same bits on both backends, and each as it shall be.

Seeds of the statistical tests are fixed, as in ``test_stream.py``.
"""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import example, given

import toysup
from helpers import bits, digest, on
from strategies import SEEDS
from toysup._stream import stream
from toysup._stream.start import polygon
from toysup.data import power_law, sample

SURPRISE = 1e-3
PROBABILITIES = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 0.25, 2.0**-53, 1 - 2.0**-53])


@st.composite
def sparsities(draw):
    """Of some features, one of which at least can occur."""
    many = draw(st.lists(PROBABILITIES, min_size=1, max_size=40))
    S = np.repeat(1.0 - np.array(many), draw(st.sampled_from([1, 1, 7])))
    S[draw(st.integers(0, len(S) - 1))] = draw(st.floats(0, 0.9))
    return tuple(S.tolist())


# ---------------------------------------------------------------------------------- same bits


@given(
    S=sparsities(),
    start=st.sampled_from([0, 1, 2**47]) | st.integers(0, 10**6),
    count=st.integers(0, 60),
    seed=SEEDS,
    role=st.sampled_from([1, 2]),
    normalize=st.booleans(),
)
@example(S=(0.5,), start=0, count=50, seed=1, role=1, normalize=False)
@example(S=(0.0, 1.0), start=5, count=9, seed=1, role=2, normalize=True)
def test_both_backends_give_the_same_bits(
    native, reference, S, start, count, seed, role, normalize
):
    asked = (len(S), start, start + count, S, seed, role, normalize)
    for ours, theirs in zip(native.sample(*asked), reference.sample(*asked), strict=True):
        assert ours.dtype == theirs.dtype and bits(ours) == bits(theirs)


def test_both_backends_give_the_same_bits_of_many_features(native, reference):
    for n, exponent, active, count in ((10_000, 1.0, 10.0, 500), (3000, 0.0, 2500.0, 3)):
        S = power_law(n, active, exponent)
        ours, theirs = (on(b, sample, n, count, S, 3) for b in (native, reference))
        assert bits(*ours.csr()) == bits(*theirs.csr())


def test_examples_that_are_known(backend):
    """What a store finds by its key must never become something else."""
    X = sample(6, 4, [0.0, 0.5, 0.75, 0.9, 0.3, 1.0], 7, normalize=False)
    assert np.diff(X.indptr).tolist() == [3, 3, 2, 3]
    assert X.indices.tolist() == [0, 1, 4, 0, 1, 4, 0, 4, 0, 1, 2]
    assert X.values[:2].tolist() == [0.3799859920023967, 0.6737718703734753]
    assert (
        digest(bits(*sample(1000, 300, power_law(1000, 8.0, 1.2), 5).csr())) == "34e882d9baf36599"
    )


@given(S=sparsities(), seed=SEEDS, data=st.data())
def test_any_part_of_the_stream_is_a_slice_of_the_whole(backend, S, seed, data):
    low = data.draw(st.integers(0, 30))
    high = data.draw(st.integers(low, 30))
    whole, part = sample(len(S), 30, S, seed), sample(len(S), high - low, S, seed, start=low)
    cut = slice(whole.indptr[low], whole.indptr[high])
    assert np.array_equal(part.indptr, whole.indptr[low : high + 1] - cut.start)
    assert bits(part.indices, part.values) == bits(whole.indices[cut], whole.values[cut])


@given(S=sparsities(), seed=SEEDS, normalize=st.booleans())
def test_rows_are_sorted_distinct_positive_and_of_unit_norm(backend, S, seed, normalize):
    X = sample(len(S), 20, S, seed, normalize=normalize)
    for t in range(20):
        row = slice(X.indptr[t], X.indptr[t + 1])
        assert np.all(np.diff(X.indices[row]) > 0)
        if normalize and row.stop > row.start:
            assert np.sum(X.values[row] ** 2) == pytest.approx(1.0, abs=1e-14)
    assert np.all((X.values > 0) & (X.values <= 1))
    found = np.bincount(X.indices, minlength=len(S))
    assert np.all(found[np.array(S) == 1.0] == 0) and np.all(found[np.array(S) == 0.0] == 20)


# -------------------------------------------------------------------------------- distribution


@pytest.mark.parametrize(
    "S",
    [
        power_law(40, 6.0, 1.0),
        power_law(200, 100.0, 0.5),
        np.linspace(0.0, 0.999, 60),
        np.full(30, 0.7),
        # In one class, and at the edges of classes.
        1.0 - np.array([0.5, 0.999, 0.25, 0.4999, 0.125, 0.2499, 0.0626, 0.07]),
    ],
    ids=["Zipf", "half", "linear", "alike", "edges"],
)
def test_every_feature_is_as_frequent_as_it_shall_be(backend, S):
    n, T = len(S), 40_000
    X = sample(n, T, S, 11)
    hits = np.bincount(X.indices, minlength=n)
    p = 1.0 - S
    random = (p > 0) & (p < 1)
    z = (hits - T * p)[random] / np.sqrt(T * p * S)[random]
    assert scipy.stats.chi2.sf(np.sum(z**2), len(z)) > SURPRISE
    assert scipy.stats.chi2.cdf(np.sum(z**2), len(z)) > SURPRISE
    assert np.all(hits[p == 1] == T)
    # The number of non-zeros has the variance of independent features.
    counts = np.diff(X.indptr)
    assert abs(counts.mean() - p.sum()) < 4 * math.sqrt(np.sum(p * S) / T)
    ratio = counts.var(ddof=1) / np.sum(p * S)
    assert abs(ratio - 1) < 4 * math.sqrt(2 / T) + 4 / T


def test_features_are_independent(backend):
    """All 2^6 sets of features, of three classes, as often as the product says."""
    p, T = np.array([0.6, 0.9, 0.3, 0.45, 0.2, 0.13]), 60_000
    dense = sample(6, T, 1.0 - p, 4).toarray() > 0
    found = np.bincount(dense @ (1 << np.arange(6)), minlength=64)
    sets = (np.arange(64)[:, None] >> np.arange(6)) & 1
    expected = T * np.prod(np.where(sets, p, 1 - p), axis=1)
    assert expected.min() > 5
    assert scipy.stats.chisquare(found, expected).pvalue > SURPRISE


def test_examples_seeds_and_roles_are_independent(backend):
    S = power_law(50, 10.0, 0.8)
    one, other, test = (
        (sample(50, 4000, S, seed, role=role).toarray() > 0) - (1 - S)
        for seed, role in ((0, "train"), (1, "train"), (0, "test"))
    )
    pairs = [(one[1:], one[:-1]), (one, other), (one, test), (one[:, 1:], one[:, :-1])]
    counts = one.sum(axis=1)
    for a, b in [*((a.ravel(), b.ravel()) for a, b in pairs), (counts[1:], counts[:-1])]:
        assert scipy.stats.pearsonr(a, b).pvalue > SURPRISE


def test_values_are_uniform_whatever_the_feature(backend):
    X = sample(40, 8000, power_law(40, 8.0, 1.0), 2, normalize=False)
    assert scipy.stats.kstest(X.values, "uniform").pvalue > SURPRISE
    assert scipy.stats.pearsonr(X.indices, X.values).pvalue > SURPRISE


@given(S=sparsities())
def test_classes_hold_every_feature_that_can_occur_once(S):
    classes = stream._classes(S)
    members = np.concatenate([c.members for c in classes])
    chances = np.concatenate([c.chances for c in classes])
    assert sorted(members.tolist()) == np.flatnonzero(1.0 - np.array(S)).tolist()
    assert np.array_equal(chances * 2.0**-53, 1.0 - np.array(S)[members])  # exactly
    for c in classes:
        assert c.largest == max(c.chances) < 2 * min(c.chances)
    assert len({c.substream for c in classes}) == len(classes)


# ------------------------------------------------------------------------------------ power laws


def test_a_power_law_that_is_known():
    S = power_law(1000, 8.0, 1.2)
    assert S[[0, 1, 2, 999]].tolist() == [
        *(0.0, 0.0865881861798512, 0.43849049335704393, 0.9994728883448588),
    ]  # fmt: skip
    assert np.allclose(power_law(4, 1.5, 1.0), 1 - 0.72 / np.arange(1, 5), rtol=1e-15)
    assert np.array_equal(power_law(5, 2.0, 0.0), np.full(5, 0.6))


@given(n=st.integers(1, 3000), share=st.floats(1e-6, 1), exponent=st.floats(0, 50))
@example(n=10_000, share=1e-3, exponent=1.0)
@example(n=100, share=1.0, exponent=2.0)
@example(n=100, share=0.5, exponent=1e300)
def test_a_power_law_has_so_many_non_zeros(n, share, exponent):
    p = 1.0 - power_law(n, share * n, exponent)
    assert p.shape == (n,) and np.all((p >= 0) & (p <= 1)) and np.all(np.diff(p) <= 0)
    assert math.fsum(p) == pytest.approx(share * n, rel=1e-12, abs=n * 2.0**-53)
    inside = np.flatnonzero((p < 1) & (p > 1e-6))
    if len(inside) > 1 and exponent < 60:
        i = inside + 1.0
        slope = np.log(p[inside][1:] / p[inside][0]) / np.log(i[1:] / i[0])
        assert np.allclose(slope, -exponent, atol=1e-8)


@pytest.mark.parametrize(
    "arguments, error, shown",
    [
        ((0, 1.0, 1.0), ValueError, "n must be between 1"),
        ((2.5, 1.0, 1.0), TypeError, "n must be an integer, got 2.5"),
        ((5, 0.0, 1.0), ValueError, r"active must be in \(0, n\] for n = 5, got 0.0"),
        ((5, 5.5, 1.0), ValueError, r"active must be in \(0, n\] for n = 5, got 5.5"),
        ((5, math.nan, 1.0), ValueError, "active must be finite, got nan"),
        ((5, 1.0, -0.5), ValueError, "exponent must not be negative, got -0.5"),
        ((5, 1.0, math.inf), ValueError, "exponent must be finite, got inf"),
        ((5, "1", 1.0), TypeError, "active must be a real number, got '1'"),
        ((5, 1e-20, 1.0), ValueError, "active is too small .* n = 5 .* got 1e-20"),
    ],
)
def test_power_laws_that_are_refused(arguments, error, shown):
    with pytest.raises(error, match=shown):
        power_law(*arguments)


@given(seed=SEEDS, size=st.floats(-3, 2.9))
def test_exp_agrees_with_the_library(seed, size):
    x = -np.random.default_rng(seed).uniform(0, 10.0**size, 200)
    assert np.allclose(stream.exp(x), np.exp(x), rtol=4 * 2.0**-52, atol=1e-320)
    assert stream.exp(np.array([0.0, -1e5, -np.inf])).tolist() == [1.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------- in trainings


@pytest.mark.parametrize("T, batch_size", [(30, None), (30, 7), (math.inf, 20)])
def test_trainings_of_both_backends_agree(native, reference, T, batch_size):
    config = toysup.TrainConfig(
        n=60, m=3, T=T, batch_size=batch_size, sparsity=power_law(60, 5.0, 1.0), steps=60,
        learning_rate=0.01, dtype="float64", eps=1e-7, test_size=200, record=6,
    )  # fmt: skip
    ours, theirs = (on(b, toysup.train, config).history for b in (native, reference))
    for name in ours:
        assert np.allclose(ours[name], theirs[name], rtol=1e-8), name


def test_a_run_of_an_array_goes_through_everything(backend, tmp_path):
    S = power_law(30, 4.0, 1.0)
    config = toysup.TrainConfig(n=30, T=12, sparsity=S, steps=30, test_size=100, snapshots=3)
    run = toysup.train(config)
    again = toysup.load_run(run.save(tmp_path / "run"))
    assert again.config == config and again.config.key() == config.key()
    examples = sample(30, 12, S, 0)
    assert bits(*run.training_set().csr()) == bits(*examples.csr())
    assert run.train_loss == pytest.approx(run.loss(examples), rel=1e-12)
    fresh = sample(30, 100, S, 0, role="test")
    assert run.test_loss == pytest.approx(run.loss(fresh), rel=1e-12)
    assert run.represented().shape == (30,)
    corners = toysup.train(config, init="polygon", steps=0)
    assert np.array_equal(corners.W, polygon(30, 12, [examples.csr()]).W.astype("float32"))
    assert len(toysup.regime.classify(run).label) == 12


@pytest.mark.any_backend
def test_frequent_features_are_learned_first(backend):
    S = power_law(40, 5.0, 1.2)
    run = toysup.train(
        n=40, m=5, T=math.inf, batch_size=200, sparsity=S, steps=400, learning_rate=0.02,
        normalize=False, test_size=100,
    )  # fmt: skip
    lengths = np.linalg.norm(run.W, axis=0)
    assert lengths[:5].min() > 2 * np.median(lengths[20:])


def test_examples_that_are_mostly_empty_are_warned_of():
    config = toysup.TrainConfig(n=4, T=3, sparsity=[0.9, 0.8, 1.0, 0.9], steps=0, test_size=0)
    text = r"n = 4 features and an array for sparsity, .* 0\.4 non-zeros .* 65 % .* are empty"
    with pytest.warns(UserWarning, match=text):
        toysup.train(config)
