"""Figure 1: what a model of two hidden dimensions learns from infinite data.

Asked: which features does it store when no example ever comes twice, so that none can be memorized?

Trained: m = 2 and T = ∞, fresh examples at every step; at the paper's scale 50,000 steps of 10,000.

Measured: the vectors of the represented features, the angles between neighbours, and the hidden
vectors h = W x of fresh examples.

Expected: five of all features, chosen by chance, as a regular pentagon of lengths near 1 with gaps
of 72°, in superposition: each has up to 2/5 of a dimension, less what the many unrepresented
features take. An example that holds one of the five lies on its arm, so the hidden vectors form a
star with five arms. (T. Henighan et al. 2023, figure 1.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE1"]

SMALL = {**_recipe.SMALL, "T": (math.inf,), "seed": range(1)}
PAPER = {**_recipe.PAPER, "T": (math.inf,), "seed": range(1)}

# Fresh examples, so that some two hundred hold a feature of the pentagon at the small scale, where
# one in a hundred features is not zero, and a hundred at the paper's.
EXAMPLES = {"small": 5_000, "paper": 20_000}


def represented(run: Run) -> list[tuple[int, float, float, float, float]]:
    """Feature, norm, angle, dimensionality and angle to the next, by rising angle in degrees."""
    D = run.feature_dimensionality()
    found = np.flatnonzero(run.represented())
    x, y = run.W[:, found].astype(np.float64)
    angle = np.degrees(np.arctan2(y, x)) % 360
    order = np.argsort(angle)
    gap = np.diff(angle[order], append=angle[order][:1] + 360)
    columns = (found[order], np.hypot(x, y)[order], angle[order], D[found][order], gap)
    return list(zip(*(column.tolist() for column in columns), strict=True))


Measured = tuple[SweepResult, list[Run]]


def measure(results: Results) -> Measured:
    """The sweep, and its finished runs of the largest T by rising train loss: one is drawn."""
    result = results[_recipe.PART]
    runs = _runs.finished(result)
    of_largest = [run for run in runs if run.config.T == runs[-1].config.T]
    return result, sorted(of_largest, key=_runs.train_loss)


def tables(measured: Measured, scale: str) -> list[Table]:
    """The represented features of every seed."""
    result, runs = measured
    rows: list[tuple[Value, ...]] = [
        (run.config.T, run.config.seed, *feature) for run in runs for feature in represented(run)
    ]
    heading = (
        f"The features that a model represents (figure 1) at the {scale} scale: "
        f"{_recipe.recipe(result)}.\n"
        "Each has an own gain of at least 0.5. Angles are in degrees; the gap is that to the next, "
        "72 in a regular\npentagon."
    )
    columns = ["T", "seed", "feature", "norm", "angle", "dimensionality", "gap"]
    formats = {"T": ".12g", "norm": ".3f", "angle": ".1f", "dimensionality": ".3f", "gap": ".1f"}
    return [Table("figure1", columns, rows, heading=heading, formats=formats)]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The features beside the hidden vectors of fresh examples."""
    from toysup.plot._figures.figure1 import figure1

    _, runs = measured
    for run in runs[:1]:
        yield "figure1", figure1(run, examples=EXAMPLES[scale])


def see(measured: Measured, scale: str) -> str:
    """How many features are represented, and how regular their polygon is."""
    _, runs = measured
    if not runs:
        return _runs.NOTHING
    features = represented(runs[0])
    if not features:
        return "In figure1.png: no feature is represented."
    _, norm, _, D, gap = zip(*features, strict=True)
    return (
        f"In figure1.png: {len(features)} features are represented, with lengths from "
        f"{min(norm):.2f} to {max(norm):.2f}, gaps from {min(gap):.0f}° to {max(gap):.0f}° (72° in "
        f"a regular pentagon) and dimensionalities from {min(D):.2f} to {max(D):.2f}; the hidden "
        "vectors of fresh examples form a star along them."
    )


FIGURE1 = Preset(
    name="figure1",
    title="features and hidden vectors after training on infinite data, for m = 2",
    scales={"small": {_recipe.PART: SMALL}, "paper": {_recipe.PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
