"""Statistics of values of any kind: ranks, how one tells another, humps, and where curves pass."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["auc", "bimodality", "one_hump", "passes_at", "rank_correlation", "ranks"]

# Drawn samples of an interval or a test.
_DRAWS = 500
# Bins of a smoothed histogram.
_BINS = 400

Floats = npt.NDArray[np.float64]


def passes_at(x: Floats, y: Floats, i: int, level: float) -> float:
    """The x at which a curve passes a level between its points i and i + 1, straight over log x."""
    share = (level - y[i]) / (y[i + 1] - y[i])
    return float(x[i] * (x[i + 1] / x[i]) ** share)


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    shared: Floats = (last - (count - 1) / 2)[place]
    return shared


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's coefficient; NaN if either has one value only."""
    a, b = ranks(x) - np.mean(ranks(x)), ranks(y) - np.mean(ranks(y))
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else math.nan


def auc(x: npt.ArrayLike, positive: npt.NDArray[np.bool_]) -> float:
    """How often a positive has the larger x of a pair, ties counting half; NaN without either."""
    many = int(positive.sum())
    if many == 0 or many == positive.size:
        return math.nan
    total = float(ranks(x)[positive].sum()) - many * (many + 1) / 2
    return total / (many * (positive.size - many))


def bimodality(values: Floats) -> tuple[float, float, float]:
    """Sarle's coefficient, and its interval of 95 % over drawn values."""
    rng = np.random.Generator(np.random.Philox(0))
    drawn = [_sarle(values[rng.integers(values.size, size=values.size)]) for _ in range(_DRAWS)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return _sarle(values), float(low), float(high)


def _sarle(values: Floats) -> float:
    """(skewness^2 + 1) / kurtosis, from 0 to 1; NaN of equal values."""
    rest = values - values.mean()
    variance = float(np.mean(rest**2))
    if variance == 0.0:
        return math.nan
    skewness = float(np.mean(rest**3)) / variance**1.5
    return float((skewness**2 + 1) * variance**2 / np.mean(rest**4))


def one_hump(values: Floats) -> tuple[float, float]:
    """Silverman's test of one hump, and the share of the values in the smaller of two.

    Its p is the share of draws from one hump, as wide as it must be, that have more.
    """
    size = float(values.std())
    if size == 0.0:
        return math.nan, math.nan
    low, high = 0.0, 4 * size
    for _ in range(12):
        width = (low + high) / 2
        low, high = (width, high) if len(_valleys(values, width)) else (low, width)
    rng = np.random.Generator(np.random.Philox(0))
    more = 0
    for _ in range(_DRAWS):
        drawn = values[rng.integers(values.size, size=values.size)]
        noise = high * rng.standard_normal(values.size)
        # Drawn and smoothed, with the variance of the values.
        smooth = drawn.mean() + (drawn - drawn.mean() + noise) / math.sqrt(1 + (high / size) ** 2)
        more += len(_valleys(smooth, high)) > 0
    valleys = _valleys(values, low) if low > 0 else np.empty(0)
    beyond = [float(np.mean(values > valley)) for valley in valleys]
    return more / _DRAWS, max((min(share, 1 - share) for share in beyond), default=0.0)


def _valleys(values: Floats, width: float) -> Floats:
    """Where the histogram, smoothed by a normal distribution of that width, rises again."""
    ends = (float(values.min() - 3 * width), float(values.max() + 3 * width))
    counts, edges = np.histogram(values, _BINS, ends)
    at = (edges[:-1] + edges[1:]) / 2
    density = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2) @ counts
    # Far from all values it is 0 but for rounding, which is no valley.
    rises = np.diff(density) > 1e-9 * density.max()
    falls = np.diff(density) < -1e-9 * density.max()
    lowest = np.flatnonzero(rises & (np.cumsum(falls) > 0))
    first = lowest[np.diff(lowest, prepend=-2) > 1] if lowest.size else lowest
    valleys: Floats = at[first]
    return valleys
