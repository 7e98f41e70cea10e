"""The middle regime: what is stored between the examples of small data and the features of large.

Asked: figure 3 has a regime of small data, in which the model stores examples, and one of large
data, in which it stores five features. What does it store in between? An update by the paper's
authors says that a memorizing solution then stores clusters of correlated examples.

Trained: the paper's recipe for m = 2, from small to large T, a part of the runs of figure 3.

Measured: every training example is looked at on its own (:func:`toysup.regime.classify`). It is
stored as far as its hidden vector makes its loss smaller than the biases alone do: singly, in part
(alone too, but by less than half), in a cluster of two or more examples that the model takes for
one another, or because one represented feature makes up most of it. Three numbers check this. The
share of pairs within clusters that have a feature in common, against that of all pairs of the same
examples, says whether clusters are of correlated examples; before training, neighbours in the plane
share features hardly more often than chance has it, 11 % against 10 % at the small scale. The share
of examples whose reconstruction resembles no other example more says whether examples can be told
apart. And fresh examples, by the same threshold, say what is not memory.

Expected: a polygon of single examples at T = 5 and 8, where two circles are possible; then, on one
circle, clusters that share features several times as often as chance would have it; then no circle
any more and five arms, one for each of five features, which fresh examples use nearly as often as
training examples. Between the last two few examples are stored at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from toysup import regime
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results

__all__ = ["MIDDLE"]

SMALL = {**_recipe.SMALL, "T": (5, 8, 15, 30, 50, 100, 200, 500, 1_000, 2_000)}
PAPER = {**_recipe.PAPER, "T": (5, 30, 200, 1_000, 2_000, 5_000, 10_000)}

# Columns that are means over the runs of a T.
_MEANS = (
    *regime.CLASSES,
    "clusters",
    "sharing",
    "chance",
    "represented",
    "median_loss",
    "max_loss",
    "retrieved",
    "kept_together",
    "fresh_stored",
)

_COLUMNS = """\
Means over the seeds. single, partial, cluster, feature, none: examples that are stored that way;
partial: alone in its place, too, but with a gain of less than half.
clusters: those of two or more examples; sharing: pairs within them that have a feature in common;
chance: all pairs of the same examples.
retrieved: examples whose reconstruction resembles no other example more; kept together: those in
clusters whose reconstruction resembles one of their own cluster most; fresh stored: fresh examples
that would count as stored.
polygon: how the hidden vectors of stored examples lie, in the run of lowest train loss."""


# What the finished runs of each T store.
Regimes = dict[float, list[regime.Regime]]
Measured = tuple[SweepResult, Regimes]


def measure(results: Results) -> Measured:
    """What the runs store, beside the sweep."""
    return results[_recipe.PART], regimes(results[_recipe.PART])


def regimes(result: SweepResult) -> Regimes:
    """What the finished runs of each T store, by rising T and then train loss."""
    found: dict[float, list[tuple[float, regime.Regime]]] = {}
    for run in _runs.finished(result):
        found.setdefault(run.config.T, []).append((run.train_loss, regime.classify(run)))
    return {T: [r for _, r in sorted(found[T], key=lambda pair: pair[0])] for T in sorted(found)}


def tables(measured: Measured, scale: str) -> list[Table]:
    """A row for every T."""
    result, found = measured
    rows: list[tuple[Value, ...]] = []
    for T, runs in found.items():
        means = [mean(runs, name) for name in _MEANS]
        rows.append((T, len(runs), *means, runs[0].summary()["polygon"]))
    heading = (
        f"What is stored of T examples at the {scale} scale: {_recipe.recipe(result)}.\n{_COLUMNS}"
    )
    counts = (*regime.CLASSES, "clusters", "represented")
    shares = ("sharing", "chance", "retrieved", "kept_together")
    formats = {"T": ".12g", **dict.fromkeys(counts, ".1f"), **dict.fromkeys(shares, ".2f")}
    columns = ["T", "seeds", *_MEANS, "polygon"]
    return [Table("middle", columns, rows, heading, formats)]


def mean(runs: Sequence[regime.Regime], name: str) -> float:
    """The mean of a number of the summaries, without NaN."""
    return _runs.mean([float(run.summary()[name]) for run in runs])


def middle_T(found: Regimes) -> float:
    """The T at which there are most clusters."""
    return max(found, key=lambda T: mean(found[T], "clusters"))


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The shares of the classes against T, and the run of one T."""
    from toysup.plot._sweeps import regime as _regime

    result, found = measured
    if found:
        yield "middle", _regime.regimes(found)
        yield "middle-run", _regime.regime(result, T=middle_T(found))


def see(measured: Measured, scale: str) -> str:
    """The shares at the smallest, a middle and the largest T."""
    _, found = measured
    if not found:
        return _runs.NOTHING
    few, middle, many = min(found), middle_T(found), max(found)
    parts = [f"at T = {few:,}, {share(found[few], 'single'):.0%} of the examples are stored singly"]
    if mean(found[middle], "clusters") > 0:
        parts.append(
            f"at T = {middle:,} (middle-run.png), {share(found[middle], 'single'):.0%} are and "
            f"{share(found[middle], 'cluster'):.0%} lie in clusters, where "
            f"{mean(found[middle], 'sharing'):.0%} of the pairs share a feature "
            f"({mean(found[middle], 'chance'):.0%} by chance)"
        )
    if many > middle:
        parts.append(
            f"at T = {many:,}, {share(found[many], 'none'):.0%} are not stored, and "
            f"{mean(found[many], 'represented'):.1f} features are represented"
        )
    return f"In middle.png: {'; '.join(parts)}."


def share(runs: Sequence[regime.Regime], name: str) -> float:
    """The mean share of the examples of a class."""
    return float(np.mean([np.mean(run.label == name) for run in runs]))


MIDDLE = Preset(
    name="middle",
    title="the middle regime: single examples, clusters of them, features, or nothing, against T",
    scales={"small": {_recipe.PART: SMALL}, "paper": {_recipe.PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
