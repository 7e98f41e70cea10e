"""What presets ask of the runs of a sweep: which have finished, which is the best, and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._run.run import Run
from toysup._sweep.result import SweepResult

__all__ = [
    "NOTHING",
    "best",
    "finished",
    "finite",
    "mean",
    "mean_and_spread",
    "spread",
    "train_loss",
]

NOTHING = "No run has finished, so there is nothing to see."


def finished(result: SweepResult) -> list[Run]:
    """The runs that ended well, by rising T and then in the order of the grid."""
    return sorted(result.runs(status="ok"), key=lambda run: run.config.T)


def train_loss(run: Run) -> float:
    """What the best run has least of; without a number, infinity."""
    return math.inf if math.isnan(run.train_loss) else run.train_loss


def best(runs: Sequence[Run]) -> dict[float, Run]:
    """The run of lowest train loss of each T, which is the one that is drawn."""
    chosen: dict[float, Run] = {}
    for run in sorted(runs, key=train_loss):
        chosen.setdefault(run.config.T, run)
    return dict(sorted(chosen.items()))


def finite(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Those that are neither NaN nor infinite."""
    array = np.asarray(values)
    known: npt.NDArray[Any] = array[np.isfinite(array)]
    return known


def mean(values: npt.ArrayLike) -> float:
    """The mean of what is finite; NaN of nothing."""
    known = finite(values)
    return float(known.mean()) if known.size else math.nan


def spread(values: npt.ArrayLike) -> float:
    """The standard deviation of a sample, of what is finite; NaN of fewer than two values."""
    known = finite(values)
    return float(known.std(ddof=1)) if known.size > 1 else math.nan


def mean_and_spread(values: npt.ArrayLike) -> tuple[float, float]:
    """Both, for two columns of a table."""
    return mean(values), spread(values)
