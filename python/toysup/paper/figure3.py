"""The main figure: test loss, dimensionalities and vectors against T, for m = 2.

Models with two hidden dimensions are trained on the first T examples of a stream. With few
examples they store the examples, as the corners of a polygon; with many they store five features,
as a pentagon; in between, test loss has its bump.

The small scale is the stand-in of one tenth: n and 1 / (1 - S) are a tenth of the paper's, so an
example has ten non-zeros as in the paper, and the bump comes at a tenth of T. The mean over fewer
features makes gradients larger, and eps = 1e-6 keeps the paper's ratio of the two. A quarter of the
steps at four times the learning rate let weights grow as far as the paper's: rates sum to 25.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from toysup._result import SweepResult
from toysup.paper import reference
from toysup.paper._preset import Preset
from toysup.paper._table import Cell, Table

__all__ = ["FIGURE3", "paper_T"]

SMALL = {
    "n": 1_000,
    "sparsity": 0.99,
    "eps": 1e-6,
    "m": 2,
    "T": (3, 5, 6, 8, 10, 15, 30, 50, 100, 200, 500, 1_000, 2_000, 5_000, math.inf),
    "batch_size": 3_000,  # for infinite T: a higher learning rate needs larger batches
    "seed": range(3),
    "steps": 12_500,
    "learning_rate": 4e-3,
    "test_size": 100_000,
}
# What is not named is the paper's recipe, the default.
PAPER = {"m": 2, "T": reference.FIGURE3_T, "seed": range(4)}

# The T of figure 2, which shows how few examples lie.
POLYGONS = (3, 5, 6, 8, 10, 15, 30)

# Up to here a feature occurs in half an example on average, T (1 - S) = 0.5, as up to T = 500 in
# the paper: the model stores examples, and only their number counts.
SMALL_DATA = 50

_COMPARED = {
    "small": """\
The paper has n = 10,000 and S = 0.999. Up to T = 50 its value is that at the same T, because the
model stores examples and their number counts; beyond, that at 10 T, where features are seen as
often. A stand-in of one tenth resembles the paper and does not equal it: at large T its loss lies
about ten times as far below 1, because one feature is 1/n of the loss.""",
    "paper": "The paper's values are read off its figure 3, to within 0.0002.",
}


def paper_T(T: float, scale: str) -> float:
    """The paper's T that a T of this scale is compared with."""
    return T if scale == "paper" or T <= SMALL_DATA else 10 * T


def tables(result: SweepResult, scale: str) -> list[Table]:
    """Test loss of each T, mean and standard deviation over seeds, beside the paper's."""
    data = result.dataset.transpose("T", "seed")
    ok = data["status"] == "ok"
    rows: list[tuple[Cell, ...]] = []
    for i, T in enumerate(result.coords["T"]):
        done = ok[i].to_numpy()
        test = data["test_loss"][i].to_numpy()[done]
        train = data["train_loss"][i].to_numpy()[done]
        there = paper_T(T, scale)
        value = reference.FIGURE3_TEST_LOSS.get(there)
        known = (there, str(value)) if value is not None else (None, None)
        rows.append((T, _mean(test), _spread(test), _mean(train), int(done.sum()), *known))
    config = result.configs[0]
    heading = (
        f"Test loss of figure 3 at the {scale} scale: n = {config.n:,}, S = {config.sparsity}, "
        f"m = {config.m}, {config.steps:,} steps, learning rate {config.learning_rate:g}.\n"
        f"Losses are means over the seeds, the spread is their standard deviation.\n"
        f"{_COMPARED[scale]}"
    )
    columns = ["T", "test_loss", "spread", "train_loss", "seeds", "paper_T", "paper_test_loss"]
    formats = {"T": ".12g", "paper_T": ".12g"}
    return [Table("figure3", columns, rows, heading=heading, formats=formats)]


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if values.size else math.nan


def _spread(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else math.nan


def drawings(result: SweepResult, scale: str) -> Iterator[tuple[str, Any]]:
    """Figure 3, and figure 2 as far as the sweep has its T."""
    from toysup import plot

    known = None
    if scale == "paper":
        values = reference.FIGURE3_TEST_LOSS
        known = {T: math.nan if v.is_bound else v.value for T, v in values.items()}
    yield "figure3", plot.figure3(result, reference=known)
    few = [T for T in POLYGONS if T in result.coords["T"]]
    if few:
        yield "vectors", plot.vectors(result, T=few)


def see(result: SweepResult, scale: str) -> str:
    """What to look for: the regular polygon, the bump if there is one, and where it ends."""
    data = result.dataset
    loss = data["test_loss"].where(data["status"] == "ok").mean("seed").to_numpy()
    curve = sorted(
        (T, float(y)) for T, y in zip(result.coords["T"], loss, strict=True) if math.isfinite(y)
    )
    parts = [
        f"at T = {T} the examples form a regular polygon and test loss is {y:.4f}"
        for T, y in curve
        if T == 5
    ]
    beyond = 0.5 / (1.0 - result.configs[0].sparsity)
    inner = zip(curve, curve[1:], curve[2:], strict=False)
    bumps = [(y, T) for (_, a), (T, y), (_, b) in inner if T > beyond and y > max(a, b)]
    if bumps:
        height, T = max(bumps)
        parts.append(f"it has a bump, {height:.4f}, at T = {T}, where features replace examples")
    if curve:
        parts.append(f"it ends at {curve[-1][1]:.4f} for T = {curve[-1][0]}")
    return f"In figure3.png: {'; '.join(parts)}."


FIGURE3 = Preset(
    name="figure3",
    title="test loss, dimensionalities and vectors against T, for m = 2",
    scales={"small": SMALL, "paper": PAPER},
    tables=tables,
    drawings=drawings,
    see=see,
)
