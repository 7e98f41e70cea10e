"""Figure 5: the heat map of mean test loss over T and m.

Asked: where is test loss worst, and is more data, or a larger model, always better?

Trained: models of m = 2 to 16 hidden dimensions on 200 to 500,000 examples, four data sets of each
(at the small scale m = 2 to 5, a tenth of T, and one data set).

Measured: test loss, and for each m its ridge: the T of largest loss among those at which a feature
occurs in 0.4 examples or more, T (1 - S) > 0.4, if it is above 1, the loss of a model that says
nothing. With less data, test loss rises for another reason: few long vectors.

Expected: the ridge moves to larger T as m grows, since a larger model can store more examples. Left
of the ridge more data hurts, and right of it larger models do: double descent in T and in m.
(T. Henighan et al. 2023, figure 5.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, reference
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE5", "Ridge", "ridge"]

PART = "heatmap"

# One tenth of the paper's scale, as in figure 3, with a fifth of the steps and one seed.
SMALL = {
    "n": 1_000,
    "sparsity": 0.99,
    "eps": 1e-6,
    "T": (20, 50, 100, 200, 500, 1_000, 2_000),
    "m": (2, 3, 4, 5),
    "seed": range(1),
    "steps": 10_000,
    "learning_rate": 5e-3,
    "test_size": 100_000,
}
PAPER = {"T": reference.FIGURE5_T, "m": reference.FIGURE5_M, "seed": range(4)}

# How often a feature must occur on average, T (1 - S), where a ridge is looked for.
OCCURS = 0.4


@dataclass(frozen=True)
class Ridge:
    """The largest test loss of one m, the T where it is, and the T from which it is below 1."""

    T: float
    height: float
    below: float | None


def means(result: SweepResult) -> tuple[list[float], dict[int, npt.NDArray[np.float64]]]:
    """The T in rising order, and by m the mean test losses over the seeds that have finished."""
    loss = result.finished.dataset["test_loss"].transpose("m", "T", "seed").mean("seed").to_numpy()
    order = np.argsort(result.coords["T"])
    rows = dict(zip(result.coords["m"], loss[:, order], strict=True))
    return sorted(result.coords["T"]), dict(sorted(rows.items()))


def ridge(result: SweepResult) -> dict[int, Ridge]:
    """The ridge of every m that has one."""
    T, rows = means(result)
    least = OCCURS / result.configs[0].density
    found: dict[int, Ridge] = {}
    for m, loss in rows.items():
        known = [(t, float(y)) for t, y in zip(T, loss, strict=True) if t > least and y == y]
        if not known:
            continue
        top, height = max(known, key=lambda pair: pair[1])
        below = [t for t, y in known if t > top and y < 1]
        if height > 1:
            found[m] = Ridge(top, height, below[0] if below else None)
    return found


def tables(results: Results, scale: str) -> list[Table]:
    """Mean test loss, a row for each m and a column for each T; and the ridge."""
    result = results[PART]
    T, losses = means(result)
    seeds = len(result.coords["seed"])
    made = f"{_recipe.recipe(result)}, {seeds} seed{'s' if seeds > 1 else ''}"
    heading = f"Test loss over m and T (figure 5) at the {scale} scale: {made}."
    columns = ["m", *(f"T={t}" for t in T)]
    rows: list[tuple[Value, ...]] = [(m, *map(float, loss)) for m, loss in losses.items()]
    found = ridge(result)
    tops: list[tuple[Value, ...]] = []
    for m in losses:
        top = found.get(m)
        tops.append((m, top.T, top.height, top.below) if top else (m, None, None, None))
    about = (
        "The ridge: for each m the T of largest test loss, and the next T where it is below 1.\n"
        f"Only T at which a feature occurs in {OCCURS} examples or more count, and losses above 1."
    )
    formats = {"T": ".12g", "below_1_at": ".12g"}
    return [
        Table("figure5", columns, rows, heading=heading),
        Table("ridge", ["m", "T", "height", "below_1_at"], tops, heading=about, formats=formats),
    ]


def drawings(results: Results, scale: str) -> Iterator[tuple[str, Any]]:
    """The map, with the values written into it and the ridge marked."""
    from toysup import plot

    result = results[PART]
    if not any(np.isfinite(loss).any() for loss in means(result)[1].values()):
        return
    low, high = reference.FIGURE5_RANGE if scale == "paper" else (None, None)
    tops = {m: top.T for m, top in ridge(result).items()}
    yield "figure5", plot.heatmap(result, vmin=low, vmax=high, annotate=".3f", ridge=tops)


def see(results: Results, scale: str) -> str:
    """Where the ridge is for each m."""
    found = ridge(results[PART])
    if not found:
        return "In figure5.png: no ridge, test loss above 1, at these T."
    where = ", ".join(f"T = {top.T} for m = {m} ({top.height:.3f})" for m, top in found.items())
    T = [top.T for top in found.values()]
    moves = "moves to larger T as m grows" if T == sorted(T) and T[0] < T[-1] else "lies"
    return f"In figure5.png: the ridge of test loss {moves}: {where}."


FIGURE5 = Preset(
    name="figure5",
    title="mean test loss over T and m",
    scales={"small": {PART: SMALL}, "paper": {PART: PAPER}},
    make_tables=tables,
    draw=drawings,
    tell=see,
)
