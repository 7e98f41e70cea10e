"""What figures A1 and A2 have in common: test loss against T for each value of an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from toysup._result import SweepResult
from toysup.paper import figure3
from toysup.paper._table import Cell, Table

__all__ = ["STAND_IN", "Bump", "bump_table", "bumps", "phrases"]

# The small scale of figure 3, for any m and T.
STAND_IN: dict[str, Any] = {
    name: figure3.SMALL[name]
    for name in ("n", "sparsity", "eps", "steps", "learning_rate", "test_size")
}


@dataclass(frozen=True)
class Bump:
    """Where one curve of test loss is highest.

    Attributes
    ----------
    value
        The curve's value on its axis.
    losses : dict of float to float
        Test loss by rising T, the mean over the seeds that have finished; NaN without any.
    """

    value: Any
    losses: dict[float, float]

    @property
    def highest(self) -> tuple[float, float]:
        """Test loss and T of the highest point; NaN for both if there is none."""
        known = [(loss, T) for T, loss in self.losses.items() if math.isfinite(loss)]
        return max(known, default=(math.nan, math.nan))


def bumps(result: SweepResult, axis: str) -> list[Bump]:
    """The curve of each value of an axis, in the order of the axis."""
    data = result.dataset.transpose(axis, "T", "seed")
    loss = data["test_loss"].where(data["status"] == "ok").mean("seed").to_numpy()
    found = []
    for value, of_value in zip(result.coords[axis], loss, strict=True):
        curve = zip(result.coords["T"], map(float, of_value), strict=True)
        found.append(Bump(value, dict(sorted(curve))))
    return found


def bump_table(result: SweepResult, axis: str, name: str, heading: str) -> Table:
    """A row for each value of the axis: test loss for each T, then the highest and its T."""
    curves = bumps(result, axis)
    rows: list[tuple[Cell, ...]] = [
        (curve.value, *curve.losses.values(), *curve.highest) for curve in curves
    ]
    columns = [axis, *(f"T={T}" for T in sorted(result.coords["T"])), "highest", "at_T"]
    return Table(name, columns, rows, heading, {axis: "g", "at_T": ".12g"})


def phrases(curves: list[Bump], unit: str) -> list[str]:
    """For each curve with any run: ``1.1176 at T = 1,000 for weight decay 0.01``."""
    return [
        f"{loss:.4f} at T = {T:,} for {unit.format(curve.value)}"
        for curve in curves
        for loss, T in [curve.highest]
        if math.isfinite(loss)
    ]
