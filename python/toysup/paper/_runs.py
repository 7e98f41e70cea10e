"""What presets ask of the runs of a sweep: which have finished, which is the best, and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from toysup._run.train import Run
from toysup._sweep.result import SweepResult

__all__ = ["NOTHING", "best", "finished", "mean", "spread", "train_loss"]

NOTHING = "No run has finished, so there is nothing to see."


def finished(result: SweepResult) -> list[Run]:
    """The runs that ended well, by rising T and then in the order of the grid."""
    runs = []
    for config, status in zip(result.configs, result.statuses, strict=True):
        if status == "ok":
            runs.append(result.run(**{axis: getattr(config, axis) for axis in result.dims}))
    return sorted(runs, key=lambda run: run.config.T)


def train_loss(run: Run) -> float:
    """What the best run has least of; without a number, infinity."""
    return math.inf if math.isnan(run.train_loss) else run.train_loss


def best(runs: Sequence[Run]) -> dict[float, Run]:
    """The run of lowest train loss of each T, which is the one that is drawn."""
    chosen: dict[float, Run] = {}
    for run in sorted(runs, key=train_loss):
        chosen.setdefault(run.config.T, run)
    return dict(sorted(chosen.items()))


def mean(values: np.ndarray[Any, Any]) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if values.size else math.nan


def spread(values: np.ndarray[Any, Any]) -> float:
    """The standard deviation of a sample; NaN of fewer than two values."""
    return float(values.std(ddof=1)) if values.size > 1 else math.nan
