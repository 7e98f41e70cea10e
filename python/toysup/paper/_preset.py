"""What a preset is, and how one is carried out: sweep, tables, drawings."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toysup._grid import Grid
from toysup._result import SweepResult
from toysup._sweep import sweep
from toysup.config import as_int
from toysup.errors import unknown
from toysup.paper._table import Cell, Table

__all__ = ["SCALES", "Preset", "Reproduction", "carry_out", "figure_of", "runs_table"]

SCALES = ("small", "paper")


@dataclass(frozen=True)
class Preset:
    """A figure of the paper as an experiment.

    Attributes
    ----------
    name : str
        Its name in the registry; its store and its files are called so.
    title : str
        What it shows, in one line.
    scales : mapping of str to mapping
        The arguments of :func:`toysup.sweep`, by scale.
    tables : callable
        ``tables(result, scale)``: what to print and to write as CSV.
    drawings : callable
        ``drawings(result, scale)``: yields (file name without suffix, what a plot returned).
    see : callable
        ``see(result, scale)``: what to look for in the drawings, in a sentence.
    """

    name: str
    title: str
    scales: Mapping[str, Mapping[str, Any]]
    tables: Callable[[SweepResult, str], list[Table]]
    drawings: Callable[[SweepResult, str], Iterator[tuple[str, Any]]]
    see: Callable[[SweepResult, str], str]

    def fields(
        self,
        scale: str,
        *,
        seeds: int | None = None,
        T: Sequence[float] | None = None,
        steps: int | None = None,
    ) -> dict[str, Any]:
        """The arguments of the sweep, with a few of them changed.

        Raises
        ------
        TypeError, ValueError
            For an unknown scale, a bad number of seeds, or a grid that no config allows.
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
        fields = {**self.scales[scale], **changes}
        Grid.make(None, fields)
        return fields

    def size(self, scale: str, **changes: Any) -> int:
        """Number of runs; see :meth:`fields`."""
        return math.prod(Grid.make(None, self.fields(scale, **changes)).shape)


@dataclass(frozen=True)
class Reproduction:
    """What became of a preset.

    Attributes
    ----------
    result : SweepResult
        The runs.
    tables : list of Table
        Empty after an interruption, as ``files`` is.
    files : list of Path
        What was written, besides the store.
    store : Path
        The folder that keeps the runs.
    seconds : float
        Wall time, drawing included.
    """

    preset: Preset
    scale: str
    result: SweepResult
    store: Path
    seconds: float
    tables: list[Table] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it; doing it again continues it."""
        return self.result.interrupted


def carry_out(
    preset: Preset,
    scale: str,
    out: str | os.PathLike[str],
    fields: Mapping[str, Any],
    *,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Reproduction:
    """Train what the store in ``out`` lacks; then write tables and drawings there."""
    began = time.perf_counter()
    folder = Path(out)
    store = folder / "store" / preset.name
    result = sweep(store=store, n_jobs=n_jobs, progress=progress, **fields)
    if result.interrupted:
        return Reproduction(preset, scale, result, store, time.perf_counter() - began)
    tables = preset.tables(result, scale)
    files = [table.save(folder) for table in [*tables, runs_table(result, f"{preset.name}-runs")]]
    for name, drawing in preset.drawings(result, scale):
        files += _save(drawing, folder / name)
    return Reproduction(
        preset, scale, result, store, time.perf_counter() - began, tables=tables, files=files
    )


def _save(drawing: Any, path: Path) -> tuple[Path, Path]:
    """Write a drawing and free it."""
    import matplotlib.pyplot as plt

    from toysup.plot import save

    files = save(drawing, path)
    plt.close(figure_of(drawing))
    return files


def figure_of(drawing: Any) -> Any:
    """The figure of what a plot returned: itself, or that of its Axes."""
    from matplotlib.figure import Figure

    artist = np.array(drawing, dtype=object).ravel()[0]
    return artist if isinstance(artist, Figure) else artist.figure


def runs_table(result: SweepResult, name: str = "runs") -> Table:
    """Every cell of a sweep: the values of its axes, its status and its scalars."""
    data = result.dataset
    scalars = [str(key) for key in data.data_vars if key != "status"]
    arrays = {key: data[key].to_numpy() for key in ("status", *scalars)}
    rows: list[tuple[Cell, ...]] = []
    for index, config in zip(np.ndindex(arrays["status"].shape), result.configs, strict=True):
        axes = [_as_cell(getattr(config, axis)) for axis in result.dims]
        rows.append((*axes, *(_as_cell(array[index].item()) for array in arrays.values())))
    columns = [*result.dims, "status", *scalars]
    axes_formats = dict.fromkeys(result.dims, ".12g")
    formats = {"train_loss": ".5f", "test_loss": ".5f", "n_represented": ".0f", "seconds": ".2f"}
    formats["steps_done"] = ".0f"
    return Table(name, columns, rows, formats={**axes_formats, **formats})


def _as_cell(value: Any) -> Cell:
    """A number or a text; a pair of betas becomes a text."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
