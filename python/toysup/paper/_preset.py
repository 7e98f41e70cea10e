"""What a preset is, and how one is carried out: sweeps, tables, drawings."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toysup._files.paths import as_path, check_file
from toysup._sweep.result import SweepResult
from toysup._sweep.sweep import sweep
from toysup._sweep.table import Table, runs_table
from toysup.config.checks import as_int
from toysup.config.grid import Grid, is_axis
from toysup.errors import short, unknown

__all__ = [
    "SCALES",
    "Preset",
    "Reproduction",
    "Results",
    "carry_out",
]

SCALES = ("small", "paper")


# The sweeps of a preset, by the names of their stores.
Results = Mapping[str, SweepResult]


@dataclass(frozen=True)
class Preset:
    """A figure of the paper, or a question about it, as an experiment.

    Attributes
    ----------
    name : str
        Its name in the registry.
    title : str
        What it shows, in one line.
    scales : mapping of str to mapping
        By scale, the arguments of every :func:`toysup.sweep`, by the name of its store. Sweeps of
        several presets that have a name in common share their runs.
    make_tables, draw, tell : callable
        What makes the tables, the drawings and the text from ``(found, scale)``: see
        :meth:`tables`, :meth:`drawings` and :meth:`see`.
    measure : callable, optional
        ``measure(results)``: what the three are made from, found once; by default the results.
    then : callable, optional
        ``then(results, scale)``: further sweeps, which start from the results of the first ones.
    starts_from_runs : bool
        Whether ``then`` needs the runs of the first sweeps, and not only their configs.
    check : callable, optional
        ``check()``: raises what should stop it before any training, such as a missing package.
    """

    name: str
    title: str
    scales: Mapping[str, Mapping[str, Mapping[str, Any]]]
    make_tables: Callable[[Any, str], list[Table]]
    draw: Callable[[Any, str], Iterator[tuple[str, Any]]]
    tell: Callable[[Any, str], str]
    measure: Callable[[Results], Any] = lambda results: results
    then: Callable[[Results, str], Mapping[str, Mapping[str, Any]]] | None = None
    starts_from_runs: bool = False
    check: Callable[[], object] | None = None

    def __reduce__(self) -> Any:
        # Its functions may be made when the module is loaded, and so have no name to go by.
        from toysup import paper

        known = self.name in paper.names() and paper.get(self.name) is self
        return (paper.get, (self.name,)) if known else super().__reduce_ex__(2)

    def tables(self, results: Results, scale: str) -> list[Table]:
        """What to print and to write as CSV."""
        return self.make_tables(self.measure(results), scale)

    def drawings(self, results: Results, scale: str) -> Iterator[tuple[str, Any]]:
        """Pairs of a file name without suffix and what a plot returned."""
        return self.draw(self.measure(results), scale)

    def see(self, results: Results, scale: str) -> str:
        """What to look for in the drawings, in a few sentences."""
        return self.tell(self.measure(results), scale)

    def fields(
        self,
        scale: str,
        *,
        seeds: int | None = None,
        T: Sequence[float] | None = None,
        steps: int | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The arguments of the first sweeps, with a few of them changed.

        Axes of other values are replaced: ``seeds`` counts where the seed is an axis, ``T`` where T
        is one, and ``steps`` where it is none.

        Raises
        ------
        TypeError, ValueError
            For an unknown scale, a bad number of seeds, a change of what no sweep has, or a grid
            that no config allows.
        """
        if scale not in self.scales:
            raise ValueError(unknown("scale", scale, self.scales))
        changes: dict[str, Any] = {}
        if seeds is not None:
            changes["seed"] = range(as_int("seeds", seeds, 1, 1_000_000))
        if T is not None:
            changes["T"] = list(T)
        if steps is not None:
            changes["steps"] = steps
        found = {name: dict(fields) for name, fields in self.scales[scale].items()}
        for name, value in changes.items():
            there = [f for f in found.values() if is_axis(name, f.get(name)) == (name != "steps")]
            if not there:
                raise ValueError(f"{self.name} has no {name} to be changed, got {short(value)}")
            for fields in there:
                fields[name] = value
        for fields in found.values():
            values = fields.get("T")
            if math.inf not in (list(values) if is_axis("T", values) else [values]):  # type: ignore[arg-type]
                fields.pop("batch_size", None)  # it is for infinite T alone
            Grid.make(None, fields)
        return found

    def grids(self, scale: str, **changes: Any) -> dict[str, Grid]:
        """The grids of the first sweeps; see :meth:`fields`."""
        return {k: Grid.make(None, v) for k, v in self.fields(scale, **changes).items()}

    def size(self, scale: str, **changes: Any) -> int:
        """Number of runs of the first sweeps; see :meth:`fields`."""
        return sum(math.prod(grid.shape) for grid in self.grids(scale, **changes).values())


@dataclass(frozen=True, repr=False)
class Reproduction:
    """What became of a preset.

    Attributes
    ----------
    results : mapping of str to SweepResult
        The runs, by the names of their stores.
    tables : list of Table
        Empty after an interruption, as ``files`` is.
    files : list of Path
        What was written, besides the stores.
    text : str
        What to look for in the drawings; empty after an interruption.
    folder : Path
        The folder that keeps the stores.
    seconds : float
        Wall time, drawing included.
    """

    preset: Preset
    scale: str
    results: dict[str, SweepResult]
    folder: Path
    seconds: float
    tables: list[Table] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    text: str = ""

    def __repr__(self) -> str:
        counts = Counter(status for result in self.results.values() for status in result.statuses)
        runs = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        ended = "interrupted" if self.interrupted else f"files written: {len(self.files)}"
        where = str(self.folder.parent)
        return (
            f"{self.preset.name} at the {self.scale} scale: {counts.total()} runs ({runs}) in "
            f"{self.seconds:.0f} s, {ended}, in {where!r}"
        )

    @property
    def result(self) -> SweepResult:
        """The first of the results."""
        return next(iter(self.results.values()))

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it; doing it again continues it."""
        return any(result.interrupted for result in self.results.values())


def carry_out(
    preset: Preset,
    scale: str,
    out: str | os.PathLike[str],
    sweeps: Mapping[str, Mapping[str, Any]],
    *,
    n_jobs: int | None = None,
    progress: bool | None = None,
    on_interrupt: str = "raise",
) -> Reproduction:
    """Train what the stores in ``out`` lack; then write tables and drawings there."""
    # What cannot be imported is better known before hours of training.
    from toysup.plot._parts.save import save
    from toysup.plot._parts.style import for_files

    began = time.perf_counter()
    if preset.check:
        preset.check()
    out = as_path("out", out)
    check_file(out / f"{preset.name}.png", make=True)
    folder = out / "store"
    results: dict[str, SweepResult] = {}
    how: dict[str, Any] = {"n_jobs": n_jobs, "progress": progress, "on_interrupt": on_interrupt}

    def done(**made: Any) -> Reproduction:
        return Reproduction(preset, scale, results, folder, time.perf_counter() - began, **made)

    def trained(sweeps: Mapping[str, Mapping[str, Any]]) -> bool:
        for name, fields in sweeps.items():
            results[name] = sweep(store=folder / name, **how, **fields)
            if results[name].interrupted:
                return False
        return True

    if not trained(sweeps) or (preset.then and not trained(preset.then(results, scale))):
        return done()
    found = preset.measure(results)
    tables = preset.make_tables(found, scale)
    names = [preset.name] if len(results) == 1 else list(results)
    runs = map(runs_table, results.values(), (f"{name}-runs" for name in names))
    files = [table.save(out) for table in [*tables, *runs]]
    with for_files():
        for name, drawing in preset.draw(found, scale):
            files += save(drawing, out / name)
    return done(tables=tables, files=files, text=preset.tell(found, scale))
