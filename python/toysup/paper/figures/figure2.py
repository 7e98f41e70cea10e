"""Figure 2: with few examples the examples form a regular polygon, not the features.

Asked: what does a model of two hidden dimensions store when it sees T examples again and again?

Trained: m = 2 and T = 3 to 30, some data sets of each.

Measured: the hidden vectors h = W x of the training set, and their dimensionalities. T vectors
that share the plane evenly, as the corners of a regular T-gon, have D = 2/T each. The mean of D is
near 2/T for nearly all ways to lie in the plane; how far D spreads tells whether the polygon is
regular.

Expected: the features look messy, and the examples are a T-gon with train loss 0. As T grows,
training misses the polygon more often: in the paper T = 8 has two circles, six examples on a large
one and two on a small one, and at T = 30 some examples stay at the origin. At the small scale
examples share ten times as many features, so that polygons are less regular and train loss is
higher. (T. Henighan et al. 2023, figure 2.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toysup import regime
from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs, reference
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE2"]

SMALL = {**_recipe.SMALL, "T": reference.FIGURE2_T}
PAPER = {**_recipe.PAPER, "T": reference.FIGURE2_T}


Measured = tuple[SweepResult, list[Run]]


def measure(results: Results) -> Measured:
    """The sweep and its finished runs."""
    return results[_recipe.PART], _runs.finished(results[_recipe.PART])


def tables(measured: Measured, scale: str) -> list[Table]:
    """Every run: train loss, dimensionalities beside 2/T, and how the examples lie."""
    result, runs = measured
    drawn = {T: run.config.seed for T, run in _runs.best(runs).items()}
    rows: list[tuple[Value, ...]] = []
    for run in runs:
        T, D = run.config.T, run.example_dimensionality()
        lie = regime.polygon(run.hidden())
        is_drawn = "yes" if run.config.seed == drawn[T] else ""
        means = (run.train_loss, float(np.mean(D)), 2 / D.size, float(np.std(D)))
        rows.append((T, run.config.seed, *means, lie.at_origin, str(lie), is_drawn))
    heading = (
        f"How T examples lie in the plane (figure 2) at the {scale} scale: "
        f"{_recipe.recipe(result)}.\n"
        "The dimensionality is the mean over examples, the spread its standard deviation; in a "
        "regular polygon each is 2/T.\nDrawn is the seed of lowest train loss."
    )
    columns = ["T", "seed", "train_loss", "dimensionality", "2/T", "spread", "at_origin"]
    columns += ["examples", "drawn"]
    return [Table("figure2", columns, rows, heading=heading, formats={"T": ".12g"})]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """Features above examples for each T."""
    from toysup.plot._figures.figure2 import figure2

    result, runs = measured
    if runs:
        yield "figure2", figure2(result)


def see(measured: Measured, scale: str) -> str:
    """Which of the polygons that are drawn are regular."""
    _, runs = measured
    lie = {T: regime.polygon(run.hidden()) for T, run in _runs.best(runs).items()}
    regular = [f"{T:g}" for T, found in lie.items() if found.regular and not found.at_origin]
    others = [f"{T:g} ({found})" for T, found in lie.items() if f"{T:g}" not in regular]
    parts = []
    if regular:
        parts.append(f"the examples (red) form a regular polygon at T = {', '.join(regular)}")
    if others:
        parts.append(f"at T = {', '.join(others)} they do not")
    return f"In figure2.png: {'; '.join(parts)}." if parts else _runs.NOTHING


FIGURE2 = Preset(
    name="figure2",
    title="few examples as polygons in the plane, for m = 2",
    scales={"small": {_recipe.PART: SMALL}, "paper": {_recipe.PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
