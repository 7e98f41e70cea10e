"""The sample stream: one definition, the same bits from both backends, and the right distribution.

Seeds of the statistical tests are fixed, so each gives one answer for ever; a p-value of 1e-3 would
be a surprise, not a failure now and then.
"""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import assume, example, given

import toysup
from helpers import bits, on
from strategies import SEEDS, SPARSITIES
from toysup._stream import stream

U64 = st.integers(0, 2**64 - 1)
SURPRISE = 1e-3


@st.composite
def ranges(draw, max_n=300, max_examples=200):
    """(n, start, stop, sparsity) of about a million features at most."""
    n = draw(st.integers(1, max_n) | st.sampled_from([1, 2, 3, 64, 65]))
    start = draw(st.sampled_from([0, 1, 2**32 - 3, 2**47]) | st.integers(0, 10**6))
    return n, start, start + draw(st.integers(0, max_examples)), draw(SPARSITIES)


def entries(csr):
    """(row, column, value) of every non-zero."""
    return np.repeat(np.arange(len(csr[0]) - 1), np.diff(csr[0])), csr[1], csr[2]


def pearson(x, y):
    return scipy.stats.pearsonr(x, y).pvalue


# ---------------------------------------------------------------------------------- same bits


@given(drawn=ranges(), seed=SEEDS, role=st.sampled_from([1, 2]), normalize=st.booleans())
@example(drawn=(10_000, 0, 500, 0.999), seed=0, role=1, normalize=True)  # several NumPy chunks
@example(drawn=(10_000, 5, 8, 0.0), seed=1, role=2, normalize=True)
@example(drawn=(10_000, 5, 8, 1 - 1e-12), seed=1, role=1, normalize=True)
@example(drawn=(10_000, 0, 3, 0.5), seed=2**63 - 1, role=1, normalize=False)
@example(drawn=(3, 0, 20_000, 0.5), seed=4, role=1, normalize=True)
@example(drawn=(1, 0, 100, 0.5), seed=3, role=1, normalize=True)
@example(drawn=(1, 0, 100, 0.0), seed=3, role=2, normalize=False)
@example(drawn=(7, 0, 50, 5e-324), seed=3, role=2, normalize=False)
@example(drawn=(100_003, 0, 4, 0.99), seed=3, role=2, normalize=True)
def test_both_backends_give_the_same_bits(native, reference, drawn, seed, role, normalize):
    n, start, stop, sparsity = drawn
    rust = native.sample(n, start, stop, sparsity, seed, role, normalize)
    numpy = reference.sample(n, start, stop, sparsity, seed, role, normalize)
    for ours, theirs in zip(rust, numpy, strict=True):
        assert ours.dtype == theirs.dtype
        assert bits(ours) == bits(theirs)


@given(seed=U64, role=U64, block=U64, example=U64, substream=U64)
@example(seed=0, role=0, block=0, example=0, substream=0)
@example(seed=2**64 - 1, role=2**64 - 1, block=2**64 - 1, example=2**64 - 1, substream=2**64 - 1)
def test_words_are_those_of_numpys_philox(seed, role, block, example, substream):
    counter = block + (example << 64) + (substream << 128)
    # NumPy's generator counts up before it makes a block.
    before = (counter - 1) % 2**256
    numpys = np.random.Philox(key=seed + (role << 64), counter=before).random_raw(4)
    one = np.array([block], np.uint64), np.array([example], np.uint64)
    assert np.array_equal(stream.philox((seed, role), *one, substream)[0], numpys)


@given(seed=U64, role=U64, counter=st.tuples(U64, U64, U64, U64))
def test_rusts_philox_is_numpys(native, seed, role, counter):
    from toysup import _native

    before = (sum(word << (64 * i) for i, word in enumerate(counter)) - 1) % 2**256
    numpys = np.random.Philox(key=seed + (role << 64), counter=before).random_raw(4)
    assert _native.philox([seed, role], list(counter)) == numpys.tolist()


@given(n=st.integers(1, 60), m=st.integers(1, 5), seed=SEEDS)
@example(n=10_000, m=2, seed=0)
@example(n=1, m=1, seed=0)
@pytest.mark.parametrize("init", ["xavier_uniform", "xavier_normal"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_have_the_same_bits(native, reference, init, dtype, n, m, seed):
    assume(m <= n)
    config = toysup.TrainConfig(
        n=n, m=m, T=1, seed=seed, steps=0, init=init, dtype=dtype, test_size=0
    )
    ours, theirs = on(native, toysup.train, config), on(reference, toysup.train, config)
    defined = stream.initial_weights(n, m, init, seed).astype(dtype)
    assert ours.W.dtype == theirs.W.dtype == dtype
    assert bits(ours.W) == bits(theirs.W) == bits(defined)
    assert not ours.b.any() and not theirs.b.any()


# -------------------------------------------------------------------------------- random access


@given(drawn=ranges(max_n=100, max_examples=60), seed=SEEDS, data=st.data())
def test_any_part_of_the_stream_is_a_slice_of_the_whole(backend, drawn, seed, data):
    n, start, stop, sparsity = drawn
    low = data.draw(st.integers(start, stop))
    high = data.draw(st.integers(low, stop))
    whole = toysup.data.sample(n, stop - start, sparsity, seed, start=start)
    part = toysup.data.sample(n, high - low, sparsity, seed, start=low)
    cut = slice(whole.indptr[low - start], whole.indptr[high - start])
    assert np.array_equal(part.indptr, whole.indptr[low - start : high - start + 1] - cut.start)
    assert bits(part.indices, part.values) == bits(whole.indices[cut], whole.values[cut])


@given(n=st.integers(1, 50), T=st.integers(1, 60), more=st.integers(0, 60), seed=SEEDS)
def test_a_training_set_is_a_prefix_of_every_larger_one(backend, n, T, more, seed):
    small, large = (toysup.data.sample(n, count, 0.8, seed) for count in (T, T + more))
    end = small.indptr[-1]
    assert np.array_equal(small.indptr, large.indptr[: T + 1])
    assert bits(small.indices, small.values) == bits(large.indices[:end], large.values[:end])


@given(seed=st.integers(0, 2**62))
def test_every_seed_and_role_is_a_stream_of_its_own(backend, seed):
    streams = [
        toysup.data.sample(50, 20, 0.5, s, role=role).toarray()
        for s in (seed, seed + 1, seed ^ 2**32)
        for role in ("train", "test")
    ]
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert not np.array_equal(one, other)
            assert len(np.intersect1d(one, other)) <= 1  # the zero


def test_weights_share_no_words_with_the_examples(backend):
    config = toysup.TrainConfig(n=40, m=4, T=5, steps=0, sparsity=0.0, normalize=False, test_size=0)
    run = toysup.train(config, dtype="float64")
    words = (run.W / math.sqrt(6 / 44) + 1) / 2
    values = toysup.data.sample(40, 50, 0.0, 0, normalize=False).values
    assert np.min(np.abs(words.reshape(-1, 1) - values)) > 1e-9


# --------------------------------------------------------------------------- form of an example


@given(drawn=ranges(max_n=200, max_examples=60), seed=SEEDS, normalize=st.booleans())
def test_rows_are_sorted_distinct_positive_and_of_unit_norm(backend, drawn, seed, normalize):
    n, start, stop, sparsity = drawn
    X = toysup.data.sample(n, stop - start, sparsity, seed, start=start, normalize=normalize)
    assert X.shape == (stop - start, n)
    assert X.indptr[0] == 0 and X.indptr[-1] == len(X.indices) == len(X.values)
    rows, columns, values = entries(X.csr())
    assert np.all((np.diff(rows) > 0) | (np.diff(columns) > 0))
    assert np.all((columns >= 0) & (columns < n)) and np.all((values > 0) & (values <= 1))
    counts = np.diff(X.indptr)
    if sparsity == 0:
        assert np.all(counts == n)
    if normalize:
        squares = np.bincount(rows, values**2, minlength=len(X))
        # n squares of about 1 / n each: 4 sqrt(n) eps.
        assert np.allclose(squares, counts > 0, rtol=0, atol=4 * math.sqrt(n + 1) * 2.0**-52)


def test_normalizing_divides_by_the_norm_and_changes_nothing_else(backend):
    plain = toysup.data.sample(60, 200, 0.9, 7, normalize=False)
    unit = toysup.data.sample(60, 200, 0.9, 7, normalize=True)
    assert bits(plain.indptr, plain.indices) == bits(unit.indptr, unit.indices)
    norms = np.linalg.norm(plain.toarray(), axis=1)
    expected = plain.values / np.repeat(norms, np.diff(plain.indptr))
    assert np.allclose(unit.values, expected, rtol=1e-14)


# --------------------------------------------------------------------------------- distribution


@pytest.mark.parametrize("n, sparsity", [(20, 0.5), (50, 0.95), (1000, 0.999), (7, 0.1), (1, 0.3)])
def test_the_number_of_nonzeros_is_binomial(backend, n, sparsity):
    T = 30_000
    counts = np.diff(toysup.data.sample(n, T, sparsity, 11).indptr)
    expected = T * scipy.stats.binom.pmf(np.arange(n + 1), n, 1 - sparsity)
    observed = np.bincount(counts, minlength=n + 1)
    common = expected >= 10  # chi-square needs a few of each; the rest makes one class
    classes = [np.append(a[common], a[~common].sum()) for a in (observed, expected)]
    if classes[1][-1] < 1e-6:
        classes = [a[:-1] for a in classes]
    assert scipy.stats.chisquare(*classes).pvalue > SURPRISE


@given(n=st.integers(1, 20_000), sparsity=SPARSITIES)
@example(n=10_000, sparsity=0.999)
@example(n=1, sparsity=1 - 1e-12)
def test_the_table_is_the_binomial_distribution_function(n, sparsity):
    k0, table = stream.binomial_table(n, sparsity)
    expected = scipy.stats.binom.cdf(np.arange(k0, k0 + len(table)), n, 1 - sparsity)
    assert table[-1] == 1.0 and np.all(np.diff(table) >= 0)
    # 1 - S is rounded once, which moves a probability by up to n eps.
    assert np.allclose(table, expected, rtol=0, atol=1e-12 + 2 * n * 2.0**-52)
    assert k0 == 0 or scipy.stats.binom.cdf(k0 - 1, n, 1 - sparsity) < 1e-20 or sparsity == 0


@pytest.mark.parametrize(
    "n, sparsity, T", [(40, 0.9, 20_000), (37, 0.2, 4000), (300, 0.99, 20_000)]
)
def test_positions_are_uniform(backend, n, sparsity, T):
    """Also where more than half are non-zero, and the zeros are drawn instead."""
    X = toysup.data.sample(n, T, sparsity, 5)
    hits = np.bincount(X.indices, minlength=n)
    # Conditional on the counts, a feature's hits are a sum of Bernoulli variables.
    share = np.diff(X.indptr) / n
    variance = np.sum(share * (1 - share)) * n / (n - 1)
    statistic = np.sum((hits - hits.mean()) ** 2) / variance
    assert scipy.stats.chi2.sf(statistic, n - 1) > SURPRISE
    assert scipy.stats.chi2.cdf(statistic, n - 1) > SURPRISE


def test_pairs_of_positions_are_uniform(backend):
    n = 12
    X = toysup.data.sample(n, 60_000, 0.85, 3)
    pairs = X.toarray()[np.diff(X.indptr) == 2] > 0
    together = (pairs[:, :, None] & pairs[:, None, :]).sum(axis=0)[np.triu_indices(n, 1)]
    assert scipy.stats.chisquare(together).pvalue > SURPRISE


def test_values_are_uniform_up_to_one(backend):
    X = toysup.data.sample(50, 10_000, 0.9, 2, normalize=False)
    assert scipy.stats.kstest(X.values, "uniform").pvalue > SURPRISE
    low_bits = (X.values * 2.0**53).astype(np.uint64) % 256  # 53 random bits, not 24 or 32
    assert scipy.stats.chisquare(np.bincount(low_bits.astype(int), minlength=256)).pvalue > SURPRISE


def test_neighbours_are_not_correlated(backend):
    X = toysup.data.sample(50, 20_000, 0.9, 9, normalize=False)
    counts = np.diff(X.indptr)
    dense = X.toarray()
    totals = dense.sum(axis=1)
    first = X.values[X.indptr[:-1][counts > 1]]
    second = X.values[X.indptr[:-1][counts > 1] + 1]
    assert pearson(counts[:-1], counts[1:]) > SURPRISE  # examples
    assert pearson(totals[:-1], totals[1:]) > SURPRISE
    assert pearson(dense[:, 3], dense[:, 4]) > SURPRISE  # features
    assert pearson(first, second) > SURPRISE  # values of one example
    mean = np.bincount(np.repeat(np.arange(len(X)), counts), X.values) / np.maximum(counts, 1)
    assert pearson(counts[counts > 0], mean[counts > 0]) > SURPRISE  # count and values


def test_seeds_are_not_correlated(backend):
    one, other = (toysup.data.sample(30, 5000, 0.5, seed).toarray().ravel() for seed in (0, 1))
    assert pearson(one, other) > SURPRISE
    test = toysup.data.sample(30, 5000, 0.5, 0, role="test").toarray().ravel()
    assert pearson(one, test) > SURPRISE


# ------------------------------------------------------------------------------ initial weights


@pytest.mark.parametrize("n, m", [(1000, 2), (300, 30), (5000, 1)])
def test_uniform_weights_fill_glorots_bounds(backend, n, m):
    W = toysup.train(n=n, m=m, T=1, steps=0, test_size=0, dtype="float64").W
    bound = math.sqrt(6 / (n + m))
    assert np.max(np.abs(W)) < bound
    assert (
        scipy.stats.kstest(W.ravel(), scipy.stats.uniform(-bound, 2 * bound).cdf).pvalue > SURPRISE
    )


@pytest.mark.parametrize("n, m", [(1000, 2), (300, 30), (5000, 1)])
def test_normal_weights_have_glorots_deviation(backend, n, m):
    config = {"n": n, "m": m, "T": 1, "steps": 0, "test_size": 0, "dtype": "float64"}
    W = toysup.train(**config, init="xavier_normal").W
    normal = scipy.stats.norm(0, math.sqrt(2 / (n + m)))
    assert scipy.stats.kstest(W.ravel(), normal.cdf).pvalue > SURPRISE


def test_init_seed_alone_decides_the_weights(backend):
    config = toysup.TrainConfig(n=30, m=2, T=2, steps=0, test_size=0)
    assert np.array_equal(
        toysup.train(config, seed=1, init_seed=5).W, toysup.train(config, seed=5).W
    )
    assert not np.array_equal(
        toysup.train(config, seed=5, init_seed=1).W, toysup.train(config, seed=5).W
    )


# ------------------------------------------------------------------------- elementary functions

# Two roundings more than a library's own, which is right to half a unit in the last place.
ULPS = 4 * 2.0**-52


@given(seed=SEEDS, exponent=st.integers(-1000, 1000))
def test_log_agrees_with_the_library(seed, exponent):
    u = np.random.default_rng(seed).uniform(0.5, 1.0, 200) * 2.0**exponent
    assert np.all(np.abs(stream.log(u) - np.log(u)) <= ULPS * np.maximum(np.abs(np.log(u)), 1e-1))


@given(seed=SEEDS)
def test_cospi_agrees_with_the_library(seed):
    for x in np.random.default_rng(seed).uniform(0.0, 1.0, 100):
        assert abs(stream.cospi(float(x)) - math.cos(math.pi * x)) <= ULPS
    assert [stream.cospi(x) for x in (0.0, 0.5, 1.0)] == [1.0, 0.0, -1.0]


@given(seed=SEEDS, smallest=st.floats(-16.2, -0.31))
def test_normal_quantile_agrees_with_scipy(seed, smallest):
    u = 10.0 ** np.random.default_rng(seed).uniform(smallest, -0.302, 200)
    ours, scipys = stream.normal_quantile(u), scipy.special.ndtri(u)
    # Two rational approximations, each of about 1e-16 relative; near u = 1/2 the quantile is as
    # uncertain as u - 1/2 itself.
    assert np.all(np.abs(ours - scipys) <= 20 * 2.0**-52 * np.maximum(np.abs(scipys), 1.0))
    exact = 1.0 - (1.0 - u)  # so that the other tail is the same number
    mirrored = -stream.normal_quantile(1.0 - exact)
    assert np.allclose(mirrored, stream.normal_quantile(exact), rtol=1e-15, atol=1e-16)


def test_normal_quantile_is_finite_at_the_ends_of_the_words():
    words = np.array([0, 1, 2**51, 2**52 - 2, 2**52 - 1], np.uint64)
    z = stream.normal_quantile((words + 0.5) * 2.0**-52)
    assert np.all(np.isfinite(z)) and np.all(np.diff(z) > 0)
    assert z[0] == pytest.approx(scipy.special.ndtri(2.0**-53), rel=1e-14)
    assert z[-1] == pytest.approx(-z[0], rel=1e-14)
