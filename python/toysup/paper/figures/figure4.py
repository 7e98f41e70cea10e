"""Figure 4: the vectors at one scale for all T, and how large W and b are.

Asked: does the size of the weights tell memorization from generalization?

Trained: the runs of figure 3.

Measured: the Frobenius norm of W and the Euclidean norm of b, and the longest feature and the
longest hidden vector of a training example.

Expected: both norms are large where examples are stored, since T vectors in the plane must be long
to be told apart (a regular T-gon has radius 1 / sqrt(1 - cos(2 pi / T))); they peak near T = 30 and
fall. For large T the norm of W is about sqrt(5), that of five features of length 1, and b is small.
(T. Henighan et al. 2023, figure 4.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs, reference
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE4"]


Row = tuple[Value, ...]
Measured = tuple[SweepResult, list[Row]]


def measure(results: Results) -> Measured:
    """The sweep, and for each T the norms over the seeds and the longest vectors."""
    result = results[_recipe.PART]
    runs = _runs.finished(result)
    rows: list[Row] = []
    for T, drawn in _runs.best(runs).items():
        of_T = [run for run in runs if run.config.T == T]
        W = np.array([np.linalg.norm(run.W) for run in of_T])
        b = np.array([np.linalg.norm(run.b) for run in of_T])
        norms = (*_runs.mean_and_spread(W), *_runs.mean_and_spread(b))
        rows.append((T, *norms, len(of_T), _longest(drawn.W.T), _longest(drawn.hidden())))
    return result, rows


def tables(measured: Measured, scale: str) -> list[Table]:
    """Norms of each T, mean and standard deviation over seeds, and the longest vectors."""
    result, rows = measured
    heading = (
        f"Norms of W and b (figure 4) at the {scale} scale: {_recipe.recipe(result)}, m = 2.\n"
        "Norms are means over the seeds, spreads their standard deviations. The longest feature "
        "and the longest\nhidden vector of an example are those of the run of lowest train loss."
    )
    columns = ["T", "W_norm", "W_spread", "b_norm", "b_spread", "seeds"]
    columns += ["longest_feature", "longest_example"]
    formats = {"T": ".12g"}
    return [Table("figure4", columns, rows, heading=heading, formats=formats)]


def _longest(V: npt.NDArray[Any]) -> float:
    return float(np.max(np.linalg.norm(V, axis=1), initial=0.0))


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The vectors at one scale above the norms."""
    from toysup.plot._figures.figure4 import figure4

    result, rows = measured
    if rows:
        yield "figure4", figure4(result, features=reference.FIGURE4_FEATURES)


def see(measured: Measured, scale: str) -> str:
    """Where the norms peak, and where that of W ends."""
    _, rows = measured
    if not rows:
        return _runs.NOTHING
    T, W, b = zip(*((row[0], row[1], row[3]) for row in rows), strict=True)
    peak_W, peak_b = int(np.argmax(W)), int(np.argmax(b))
    return (
        f"In figure4.png: the norm of W is largest, {W[peak_W]:.1f}, at T = {T[peak_W]}, and that "
        f"of b, {b[peak_b]:.1f}, at T = {T[peak_b]}; at T = {T[-1]} they are {W[-1]:.2f} and "
        f"{b[-1]:.2f}, and five features of length 1 have 2.24."
    )


FIGURE4 = Preset(
    name="figure4",
    title="vectors at one scale, and norms of W and b against T, for m = 2",
    scales={"small": {_recipe.PART: _recipe.SMALL}, "paper": {_recipe.PART: _recipe.PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
