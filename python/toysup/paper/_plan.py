"""What a preset would train, and what that would take."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toysup._files.paths import as_path
from toysup._sweep.plan import Plan
from toysup._sweep.sweep import kept, plan
from toysup._text.units import duration, size
from toysup.paper._preset import Preset

__all__ = ["PresetPlan", "make_plan"]

_LEFT_OUT = (
    "Further sweeps start from the runs of these, and are not counted before these are finished."
)


@dataclass(frozen=True, repr=False)
class PresetPlan:
    """What a preset will take, estimated before it starts.

    Attributes
    ----------
    name, scale : str
        Of the preset.
    parts : dict of str to Plan
        The plan of each sweep, by the name of its store, in the order in which they are trained.
    complete : bool
        Whether these are all sweeps: further ones may start from runs that are not there yet.

    Notes
    -----
    For the uncertainty of the times see :class:`toysup.Plan`. Runs that presets share are counted
    in each that is not there.
    """

    name: str
    scale: str
    parts: dict[str, Plan]
    complete: bool

    @property
    def runs(self) -> int:
        """All runs."""
        return sum(part.runs for part in self.parts.values())

    @property
    def done(self) -> int:
        """Those that are stored already."""
        return sum(part.done for part in self.parts.values())

    @property
    def todo(self) -> int:
        """Those to do."""
        return sum(part.todo for part in self.parts.values())

    @property
    def seconds(self) -> float:
        """Wall time, one sweep after the other."""
        return sum(part.seconds or 0.0 for part in self.parts.values())

    @property
    def core_seconds(self) -> float:
        """Time on one thread."""
        return sum(part.core_seconds or 0.0 for part in self.parts.values())

    @property
    def memory(self) -> int:
        """Bytes held at one time at most."""
        return max(part.memory for part in self.parts.values())

    @property
    def disk(self) -> int:
        """Bytes to be written."""
        return sum(part.disk for part in self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether the memory is there, as far as is known."""
        return all(part.fits for part in self.parts.values())

    def to_dict(self) -> dict[str, Any]:
        """What there is to do in types that JSON has; an infinite T is ``"inf"``."""
        names = ("name", "scale", "runs", "done", "todo", "seconds", "core_seconds", "memory")
        found = {name: getattr(self, name) for name in (*names, "disk", "complete")}
        return {**found, "parts": {name: part.to_dict() for name, part in self.parts.items()}}

    def __repr__(self) -> str:
        """The sums, and a line for each T and m of each sweep."""
        jobs = max(part.n_jobs for part in self.parts.values())
        threads = f"{jobs} thread{'s' if jobs > 1 else ''}"
        lines = [
            f"{self.name} at the {self.scale} scale",
            f"runs    {self.runs:,}: {self.done:,} stored already, {self.todo:,} to do",
            f"time    about {duration(self.seconds)} on {threads}, {_hours(self.core_seconds)} "
            "core-hours",
            f"memory  up to {size(self.memory)}{'' if self.fits else ': TOO MUCH'}",
            f"disk    {size(self.disk)} to be written",
        ]
        table = [("part", "T", "m", "runs", "time each", "core-hours")]
        for name, part in self.parts.items():
            for row in part.rows:
                T = "inf" if row.T == math.inf else f"{row.T:,}"
                hours = _hours(row.runs * (row.seconds or 0.0))
                table.append((name, T, str(row.m), f"{row.runs:,}", duration(row.seconds), hours))
            total = _hours(part.core_seconds or 0.0)
            table.append((name, "all", "", f"{part.todo:,}", "", total))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for first, *rest in table:
            cells = [first.ljust(widths[0])]
            cells += [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join(cells))
        return "\n".join(lines if self.complete else [*lines, _LEFT_OUT])


def _hours(seconds: float) -> str:
    """Core-hours with two digits or more."""
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def make_plan(
    preset: Preset,
    scale: str,
    out: str | os.PathLike[str],
    sweeps: Mapping[str, Mapping[str, Any]],
    n_jobs: int | None,
) -> PresetPlan:
    """The plan of a preset whose first sweeps are these; nothing is trained or written.

    Further sweeps are counted if the arguments of the first ones say what they are, or if the runs
    that they start from are stored.
    """
    if preset.check:
        preset.check()
    folder = as_path("out", out) / "store"
    parts = {k: plan(store=folder / k, n_jobs=n_jobs, **fields) for k, fields in sweeps.items()}
    complete = not (preset.starts_from_runs and any(part.todo for part in parts.values()))
    if preset.then and complete:
        results = {k: kept(folder / k, fields) for k, fields in sweeps.items()}
        for name, fields in preset.then(results, scale).items():
            parts[name] = plan(store=folder / name, n_jobs=n_jobs, **fields)
    return PresetPlan(preset.name, scale, parts, complete)
