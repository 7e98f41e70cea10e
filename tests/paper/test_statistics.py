"""Ranks, correlations and shapes against SciPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from toysup.paper._statistics import (
    auc,
    bimodality,
    one_hump,
    passes_at,
    rank_correlation,
    ranks,
)


def test_ranks_and_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40).astype(float), rng.normal(size=40)
    np.testing.assert_array_equal(ranks(x), scipy.stats.rankdata(x))
    assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert math.isnan(rank_correlation(np.ones(4), y[:4]))
    positive = y > 0.3
    pairs = np.sign(x[positive][:, None] - x[~positive])
    assert auc(x, positive) == pytest.approx(np.mean(0.5 + 0.5 * pairs))
    assert math.isnan(auc(x, np.zeros(40, dtype=bool)))


def test_shapes_of_one_hump_and_of_two() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=400), rng.normal(size=400) + np.repeat([0, 6], [280, 120])
    uniform, outliers = rng.uniform(size=4_000), np.append(rng.normal(size=300), [30.0, 30.1])
    assert bimodality(one)[0] == pytest.approx(1 / 3, abs=0.05)
    value, low, high = bimodality(uniform)
    assert low < 5 / 9 < high and high - low < 0.05 and value == pytest.approx(5 / 9, abs=0.02)
    assert bimodality(np.repeat([0.0, 1.0], 50))[0] == pytest.approx(1.0)
    assert one_hump(one)[0] > 0.1
    p, beyond = one_hump(two)
    assert p < 0.05 and beyond == pytest.approx(0.3, abs=0.06)
    p, beyond = one_hump(outliers)
    assert p < 0.05 and beyond == pytest.approx(2 / 302)
    assert all(map(math.isnan, one_hump(np.ones(9))))


def test_a_curve_passes_a_level_on_a_line_over_the_logarithm() -> None:
    x, y = np.array([1.0, 10.0, 1_000.0]), np.array([0.0, 1.0, 3.0])
    assert passes_at(x, y, 1, 2.0) == pytest.approx(100.0)
    assert passes_at(x, y, 0, 0.0) == 1.0 and passes_at(x, -y, 1, -3.0) == pytest.approx(1_000.0)
