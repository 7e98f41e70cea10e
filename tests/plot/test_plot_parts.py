"""The parts that the figures are made of: the T axis, thinning, limits and selection."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

matplotlib.use("Agg")

from matplotlib.figure import Figure

from toysup._means import nan_mean
from toysup.plot._parts.limits import loss_limits
from toysup.plot._parts.style import hue_colors, label_T, thousands
from toysup.plot._parts.t_axis import TAxis
from toysup.plot._parts.thin import outer_and_spread, top_and_quantiles

finite_T = st.integers(1, 10**9).map(float)
several_T = st.lists(st.one_of(finite_T, st.just(math.inf)), min_size=1, max_size=25)


@given(several_T)
def test_T_keeps_its_place_and_infinity_comes_last(values):
    axis = TAxis(values)
    x = axis.x(axis.values)
    assert np.all(np.isfinite(x)) and np.all(x > 0)
    assert np.all(np.diff(x) > 0)
    assert np.array_equal(axis.x(axis.finite), axis.finite)


@given(several_T)
@example([2.0, 3.0, math.inf])
@example([7.0, math.inf])
def test_everything_lies_within_the_axis(values):
    axis = TAxis(values)
    ax = Figure().add_subplot()
    axis.apply(ax)
    low, high = ax.get_xlim()
    x = axis.x(axis.values)
    assert low < x.min() and x.max() < high
    room = axis.room(axis.values)
    assert np.all(room > 0)
    left, right = np.log10(x) - room, np.log10(x) + room
    assert np.all(left[1:] > right[:-1])  # strips never overlap
    assert math.log10(low) <= left[0] and right[-1] <= math.log10(high)


@given(several_T)
def test_ticks_are_few_or_decades_and_infinity_has_its_own(values):
    ax = Figure().add_subplot()
    axis = TAxis(values)
    axis.apply(ax)
    ticks = ax.get_xticks()
    labels = [ax.xaxis.get_major_formatter()(x, i) for i, x in enumerate(ticks)]
    assert 1 <= len(ticks) <= 11
    assert (labels[-1] == "∞") == (math.inf in values)
    assert all(tick in axis.finite or math.log10(tick).is_integer() for tick in ticks[:-1])


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (500, "500"), (2000, "2k"), (50_000, "50k"), (1e6, "1M"), (math.inf, "∞")],
)
def test_thousands(value, text):
    assert thousands(value) == text


def test_label_T():
    assert label_T(1000) == "T = 1,000"
    assert label_T(3.0) == "T = 3"
    assert label_T(math.inf) == "T = ∞"


@given(st.lists(finite_T, min_size=1, max_size=20, unique=True), st.booleans())
def test_a_curve_is_in_order_and_stops_before_infinity(T, infinite):
    values = [*T, math.inf] if infinite else T
    axis = TAxis(values)
    x, y = axis.curve(values, np.arange(len(values), dtype=float))
    assert np.all(np.diff(x[~np.isnan(x)]) > 0)
    assert np.isnan(x).sum() == infinite == np.isnan(y).sum()
    if infinite:
        assert np.isnan(x[-2]) and y[-1] == len(T)


sizes = st.lists(st.floats(0, 1e6), max_size=300).map(lambda values: np.array(values, dtype=float))


@given(sizes, st.integers(4, 100))
def test_thinning_keeps_the_largest_and_repeats_none(size, limit):
    kept = outer_and_spread(size, limit)
    assert len(kept) == len(set(kept.tolist())) == min(limit, len(size))
    if len(size):
        assert size[kept].max() == size.max()
    assert np.array_equal(kept, outer_and_spread(size.copy(), limit))


@given(sizes, st.integers(4, 100))
def test_quantiles_keep_both_ends(values, limit):
    kept = top_and_quantiles(values, limit)
    assert len(kept) == min(limit, len(values))
    assert np.all(np.diff(kept) <= 0)
    assert set(kept.tolist()) <= set(values.tolist())
    if len(values):
        assert kept[0] == values.max() and kept[-1] == values.min()


@given(st.lists(st.one_of(st.floats(0, 1e4), st.just(math.nan)), min_size=1, max_size=30))
def test_loss_limits_hold_the_line_at_1_and_most_losses(losses):
    values = np.array([1.0, *losses])
    low, high = loss_limits(values)
    assert low < 1.0 < high
    known = values[np.isfinite(values)]
    assert known.min() > low
    assert np.mean(known <= high) >= 0.75


def test_loss_limits_of_the_paper_show_the_bump():
    paper = [1.3, 1, 1, 1.0177, 1.03, 1.0222, 1.0075, 1.0047, 1.0032, 1.0015, 1.0004, 1.0007]
    paper += [1.015, 0.9995, 0.9989, 0.9988, 0.9988, 0.9988, 0.9988, 0.9987, 0.9987]
    low, high = loss_limits(np.array(paper))
    assert 0.99 < low < 0.9987
    assert 1.0222 < high < 1.04


def test_nan_mean_says_nothing_of_nothing():
    values = np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, np.nan]])
    assert np.array_equal(nan_mean(values), [2.0, np.nan], equal_nan=True)


@given(st.integers(1, 30))
def test_hue_colors_differ(count):
    assert len(set(hue_colors(count))) == count
