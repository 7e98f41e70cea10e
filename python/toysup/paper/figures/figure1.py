"""Figure 1: what a model of two hidden dimensions learns from infinite data.

Asked: which features does it store when no example ever comes twice, so that none can be memorized?

Trained: m = 2 and T = ∞, fresh examples at every step; at the paper's scale 50,000 steps of 10,000.
That finds the features, but the noise of such batches carries most biases below 0, where ReLU stops
their gradients, and they cost test loss: 0.9994 instead of the paper's 0.9987. So a second sweep,
"endless-revived", goes on from these weights, with such biases back at the mean of a feature, for a
tenth of the steps at a tenth of the learning rate, which is too low to carry them off again. That
has both, the features and the loss, at a tenth of what batches would cost that are large enough.

Measured: the vectors of the represented features, the angles between neighbours, and the hidden
vectors h = W x of fresh examples.

Expected: five of all features, chosen by chance, as a regular pentagon of lengths near 1 with gaps
of 72°, in superposition: each has up to 2/5 of a dimension, less what the many unrepresented
features take. An example that holds one of the five lies on its arm, so the hidden vectors form a
star with five arms. (T. Henighan et al. 2023, figure 1.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.config.weights import Weights
from toysup.data import sample
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE1", "revived"]

# The second sweep, what divides the steps and the learning rate of the first for it, and its seed,
# which gives other fresh examples than the runs had that it starts from.
REVIVED = "endless-revived"
_DIVISOR = 10
_SEED = 1_000_000
# Examples that the mean of a feature is taken from.
_SAMPLE = 10_000

SMALL = {**_recipe.SMALL, "T": (math.inf,), "seed": range(1)}
PAPER = {**_recipe.PAPER, "T": (math.inf,), "seed": range(1)}

# Fresh examples, so that some two hundred hold a feature of the pentagon at the small scale, where
# one in a hundred features is not zero, and a hundred at the paper's.
EXAMPLES = {"small": 5_000, "paper": 20_000}


def revived(run: Run) -> Weights:
    """The weights of a run, with dead biases at the mean of a feature, E x_i.

    A bias is dead if it is below half of that mean and the feature is not represented. There the
    mean is the best bias, as the model knows nothing of the feature.
    """
    c = run.config
    examples = sample(c.n, _SAMPLE, c.sparsity, c.seed, normalize=c.normalize)
    mean = float(examples.values.sum()) / (_SAMPLE * c.n)
    dead = (run.b < mean / 2) & ~run.represented()
    return Weights(run.W, np.where(dead, mean, run.b).astype(run.b.dtype))


def _endless(results: Results) -> list[Run]:
    """The runs of the first sweep that had fresh examples at every step."""
    return [run for run in _runs.finished(results[_recipe.PART]) if run.config.T == math.inf]


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """These runs once more, from their weights with revived biases."""
    runs = _endless(results)
    if not runs:
        return {}
    c = runs[0].config
    changed = {
        "seed": _SEED,
        "init": [revived(run) for run in runs],
        "steps": max(1, c.steps // _DIVISOR),
        "learning_rate": c.learning_rate / _DIVISOR,
    }
    return {REVIVED: {**c.to_dict(), **changed}}


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


# The sweep, and pairs of a run and the dataset seed of the one in the sweep that it is or began at.
Measured = tuple[SweepResult, list[tuple[Run, int]]]


def measure(results: Results) -> Measured:
    """The sweep, and its finished runs of the largest T by rising train loss: one is drawn.

    Where there are runs with revived biases, these.
    """
    result = results[_recipe.PART]
    runs = [(run, run.config.seed) for run in _runs.finished(result)]
    if REVIVED in results:
        starts, begun = results[REVIVED].coords["init"], _endless(results)
        seeds = {init: run.config.seed for init, run in zip(starts, begun, strict=True)}
        again = [(run, seeds[run.config.init]) for run in _runs.finished(results[REVIVED])]
        runs = again or runs
    of_largest = [pair for pair in runs if pair[0].config.T == runs[-1][0].config.T]
    return result, sorted(of_largest, key=lambda pair: _runs.train_loss(pair[0]))


def tables(measured: Measured, scale: str) -> list[Table]:
    """The represented features of every seed."""
    result, runs = measured
    rows: list[tuple[Value, ...]] = [
        (run.config.T, seed, *feature) for run, seed in runs for feature in represented(run)
    ]
    again = ""
    if runs and runs[0][0].config.seed == _SEED:
        c = runs[0][0].config
        again = (
            f"Dead biases are then revived, and {c.steps:,} steps follow with a learning rate of "
            f"{c.learning_rate:g}.\n"
        )
    heading = (
        f"The features that a model represents (figure 1) at the {scale} scale: "
        f"{_recipe.recipe(result)}.\n{again}"
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
    for run, _ in runs[:1]:
        yield "figure1", figure1(run, examples=EXAMPLES[scale])


def see(measured: Measured, scale: str) -> str:
    """How many features are represented, and how regular their polygon is."""
    _, runs = measured
    if not runs:
        return _runs.NOTHING
    run, _ = runs[0]
    features = represented(run)
    if not features:
        return "In figure1.png: no feature is represented."
    _, norm, _, D, gap = zip(*features, strict=True)
    return (
        f"In figure1.png: {len(features)} features are represented, with lengths from "
        f"{min(norm):.2f} to {max(norm):.2f}, gaps from {min(gap):.0f}° to {max(gap):.0f}° (72° in "
        f"a regular pentagon) and dimensionalities from {min(D):.2f} to {max(D):.2f}; the hidden "
        f"vectors of fresh examples form a star along them. Test loss is {run.test_loss:.4f}."
    )


FIGURE1 = Preset(
    name="figure1",
    title="features and hidden vectors after training on infinite data, for m = 2",
    scales={"small": {_recipe.PART: SMALL}, "paper": {_recipe.PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
    then=then,
    starts_from_runs=True,
)
