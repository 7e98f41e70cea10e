"""What figures A1 and A2 have in common: test loss against T for each value of an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results

__all__ = ["Bump", "bumps", "curves"]


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
    loss = result.finished.dataset["test_loss"].transpose(axis, "T", "seed").mean("seed").to_numpy()
    found = []
    for value, of_value in zip(result.coords[axis], loss, strict=True):
        curve = zip(result.coords["T"], map(float, of_value), strict=True)
        found.append(Bump(value, dict(sorted(curve))))
    return found


def curves(
    name: str,
    axis: str,
    *,
    title: str,
    scales: Mapping[str, Mapping[str, Any]],
    heading: Callable[[SweepResult, str], str],
    unit: str,
) -> Preset:
    """A preset whose result is a curve of test loss against T for each value of an axis.

    Parameters
    ----------
    name : str
        Of the preset, of its only sweep, of its table and of its drawing.
    axis : str
        A field of the config.
    title : str
        What it shows, in one line.
    scales : mapping of str to mapping
        The arguments of the sweep, by scale.
    heading : callable
        ``heading(result, scale)``: what stands above the table.
    unit : str
        How a value of the axis is named in a sentence, with a place for it: ``"{:,} steps"``.
    """

    def tables(results: Results, scale: str) -> list[Table]:
        """Mean test loss over the seeds: a row for each value, a column for each T."""
        result = results[name]
        rows: list[tuple[Value, ...]] = [
            (curve.value, *curve.losses.values(), *curve.highest) for curve in bumps(result, axis)
        ]
        columns = [axis, *(f"T={T}" for T in sorted(result.coords["T"])), "highest", "at_T"]
        above = f"{heading(result, scale)} Losses are means over the seeds."
        return [Table(name, columns, rows, above, {axis: "g", "at_T": ".12g"})]

    def drawings(results: Results, scale: str) -> Iterator[tuple[str, Any]]:
        """A curve of test loss for each value."""
        from toysup.plot._sweeps.against import against

        if "ok" in results[name].statuses:
            yield name, against(results[name], hue=axis)

    def see(results: Results, scale: str) -> str:
        """How high the bump is for each value, and where."""
        found = [
            f"{loss:.4f} at T = {T:,} for {unit.format(curve.value)}"
            for curve in bumps(results[name], axis)
            for loss, T in [curve.highest]
            if math.isfinite(loss)
        ]
        if not found:
            return _runs.NOTHING
        return f"In {name}.png: test loss is highest, {', '.join(found)}."

    parts = {scale: {name: fields} for scale, fields in scales.items()}
    return Preset(name, title, scales=parts, make_tables=tables, draw=drawings, tell=see)
