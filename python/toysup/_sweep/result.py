"""What a sweep gives: :class:`SweepResult`."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._files.paths import as_path
from toysup._run.run import Run
from toysup._store.store import SCHEMA_VERSION, Store
from toysup.config import TrainConfig
from toysup.config.grid import Axis, Grid, Index, labels_of, place_of, places_of, plain
from toysup.errors import nearest, printable, short, unknown

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["MISSING", "VARIABLES", "Cell", "Failure", "Summary", "SweepResult"]

# Variables of the data set that are floats, with attributes. xarray writes "long_name [units]" at
# axes, and breaks lines after 30 letters.
VARIABLES: dict[str, dict[str, str]] = {
    "train_loss": {
        "long_name": "train loss",
        "description": "loss on the training set, summed over features, mean over examples",
    },
    "test_loss": {
        "long_name": "test loss",
        "description": "loss on fresh examples, summed over features, mean over examples",
    },
    "test_loss_error": {
        "long_name": "standard error of test loss",
        "description": "standard error of the test loss: that of a mean over the test examples",
    },
    "W_norm": {"long_name": "norm of W", "description": "Frobenius norm of W"},
    "b_norm": {"long_name": "norm of b", "description": "Euclidean norm of b"},
    "max_feature_dimensionality": {
        "long_name": "largest feature dimensionality",
        "description": "largest dimensionality of a feature",
    },
    "n_represented": {
        "long_name": "features represented",
        "description": "features whose own gain is at least 0.5",
    },
    "seconds": {"long_name": "wall time", "units": "s", "description": "wall time of the run"},
    "steps_done": {"long_name": "updates made", "description": "updates made"},
}
# From the best to the worst.
STATUSES = ("ok", "diverged", "failed", "damaged", "missing")
# Those of runs that went wrong.
BAD = ("failed", "diverged", "damaged")


@dataclass(frozen=True)
class Summary:
    """What became of a run: all that is known of it without its arrays.

    Attributes
    ----------
    status : {"ok", "diverged", "failed", "damaged", "missing"}
        "damaged" is said of the run's file.
    error : str
        Why it failed, or what is wrong with its file; empty if nothing is.
    scalars : mapping of str to float
        Those of ``VARIABLES`` that are known.
    provenance : mapping of str to str
        What the run was made with.
    """

    status: str
    error: str = ""
    scalars: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Summary:
        """That of ``Run.summary``, or of what a store knows of a run: None for nothing."""
        if found is None:
            return MISSING
        scalars = {name: found[name] for name in VARIABLES if name in found}
        return cls(found["status"], found.get("error", ""), scalars, found.get("provenance", {}))

    @property
    def steps_done(self) -> int:
        """Updates that had been made; 0 if that is not known."""
        return int(self.scalars.get("steps_done", 0))

    @property
    def reason(self) -> str:
        """Why a run went wrong; empty if it did not."""
        if self.status == "diverged":
            return f"a loss or a norm was not finite at step {self.steps_done}"
        return printable(self.error)


# Of a run that has not been trained.
MISSING = Summary("missing")


@dataclass(frozen=True)
class Cell:
    """One cell of a result: its config, what became of it, and its run or the store that has it."""

    config: TrainConfig
    summary: Summary = MISSING
    source: Run | Store | None = None

    def run(self) -> Run | None:
        """The run, read from the store if that has it; None if there is none."""
        return self.source.load(self.config) if isinstance(self.source, Store) else self.source

    @property
    def status(self) -> str:
        """The status of the run."""
        return self.summary.status

    @property
    def failure(self) -> Failure:
        """What went wrong."""
        found = self.summary
        return Failure(self.config, found.reason, found.status, found.steps_done)


class Failure(tuple[TrainConfig, str]):
    """A run that went wrong: the pair (config, reason), with more to say.

    Attributes
    ----------
    config : TrainConfig
        The run.
    reason : str
        Why.
    status : str
        "failed", "diverged" or "damaged".
    step : int
        Updates that had been made; 0 if that is not known.
    """

    config: TrainConfig
    reason: str
    status: str
    step: int

    def __new__(cls, config: TrainConfig, reason: str, status: str, step: int) -> Failure:
        """The pair, and what goes with it."""
        self = super().__new__(cls, (config, reason))
        self.config, self.reason, self.status, self.step = config, reason, status, step
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Failure, (self.config, self.reason, self.status, self.step)


class SweepResult:
    """A grid of runs, some of which may be missing.

    Attributes
    ----------
    dims : tuple of str
        The axes: T, m and seed first, then the others as they were given.
    coords : dict of str to list
        The values of each axis.
    interrupted : bool
        Whether Ctrl-C ended the sweep before all runs were done.
    """

    def __init__(
        self,
        grid: Grid,
        cells: Mapping[Index, Cell],
        *,
        interrupted: bool = False,
        chosen: Mapping[str, Mapping[Index, Any]] | None = None,
        labels: Mapping[str, list[Any]] | None = None,
    ) -> None:
        self._grid = grid
        self._labels = dict(labels or {name: labels_of(name, v) for name, v in grid.axes.items()})
        self._cells = dict(cells)
        self._chosen = dict(chosen or {})
        self.interrupted = interrupted

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes."""
        return self._grid.dims

    @property
    def coords(self) -> dict[str, list[Any]]:
        """Values of the axes."""
        return {name: Axis(values) for name, values in self._grid.axes.items()}

    @property
    def configs(self) -> list[TrainConfig]:
        """The config of every cell, the last axis fastest."""
        return [self._cells[index].config for index in self._grid.indices()]

    @property
    def failed(self) -> list[Failure]:
        """(config, reason) of every run that failed or diverged, or whose file is damaged.

        Each has a ``status`` and the ``step`` at which it ended, too. :func:`sweep` trains failed
        and damaged ones again, and with ``retry="all"`` diverged ones as well.
        """
        return [cell.failure for cell in self._cells.values() if cell.status in BAD]

    @property
    def statuses(self) -> list[str]:
        """The status of every cell, in the order of :attr:`configs`."""
        return [self._cells[index].status for index in self._grid.indices()]

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._cells)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}: {len(v)}" for k, v in self._grid.axes.items())
        counts: dict[str, int] = {}
        for cell in self._cells.values():
            counts[cell.status] = counts.get(cell.status, 0) + 1
        states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return f"<toysup.SweepResult ({sizes}): {len(self)} runs, {states}>"

    def _repr_html_(self) -> str:
        from toysup._sweep.html import sweep_html

        return sweep_html(self)

    def to_frame(self) -> pandas.DataFrame:
        """One row a run: T, m, seed, all other fields, the scalars, status and ``error``.

        The columns are the same for all sweeps, so that tables can be put together. Pairs, arrays
        and weights are text; what counts something is an integer, also where some are missing.
        """
        from toysup._sweep.frame import frame

        cells = [self._cells[index] for index in self._grid.indices()]
        return frame(cells, list(VARIABLES))

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as ``.csv`` or ``.parquet``, or the data set as ``.nc`` or ``.zarr``.

        Parameters
        ----------
        path : path-like
            The file, which is replaced; or the folder for ``.zarr``, which must not be there yet.

        Returns
        -------
        Path
            The file or folder, which is written whole or not at all.

        Raises
        ------
        ValueError
            For another suffix.
        ImportError
            If what writes that kind of file is not installed; with what to install.
        StoreError
            If it cannot be written.
        """
        from toysup._sweep.export import export

        return export(self, as_path("path", path))

    @property
    def finished(self) -> SweepResult:
        """The same grid with the runs that ended well alone: all others are missing in it.

        Examples
        --------
        >>> from toysup import sweep
        >>> res = sweep(n=20, T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
        >>> means = res.finished.dataset["test_loss"].mean("seed")  # without what diverged
        """
        cells = {
            index: cell if cell.status == "ok" else Cell(cell.config)
            for index, cell in self._cells.items()
        }
        return SweepResult(
            self._grid,
            cells,
            interrupted=self.interrupted,
            chosen=self._chosen,
            labels=self._labels,
        )

    def runs(self, status: str | None = None) -> Iterator[Run]:
        """The runs that were trained, in the order of :attr:`configs`.

        Parameters
        ----------
        status : {"ok", "diverged", "failed", "damaged", "missing"}, optional
            Only those of this status. There is no run to be had of what failed or is missing.

        Raises
        ------
        ValueError
            For another status.
        """
        if status is not None and status not in STATUSES:
            raise ValueError(unknown("status", status, STATUSES))
        cells = (self._cells[index] for index in self._grid.indices())
        runs = (cell.run() for cell in cells if status in (None, cell.status))
        return (run for run in runs if run is not None)

    def run(self, **where: Any) -> Run:
        """The run at a point of the grid.

        Parameters
        ----------
        **where
            A value for each axis, or its label in :attr:`dataset`; axes of length 1 may be left
            out.

        Raises
        ------
        TypeError
            For a name that is not an axis.
        ValueError
            For an axis without a value, a value that is not on it, or a run that is not there.

        Examples
        --------
        >>> from toysup import sweep
        >>> res = sweep(n=20, T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
        >>> res.run(T=5, seed=1).config.T
        5
        """
        self._check_axes(where)
        index = []
        for name, values in self._grid.axes.items():
            if name not in where and len(values) > 1:
                raise ValueError(f"give a value for the axis {name}: one of {short(values)}")
            labels = self._labels[name]
            index.append(place_of(name, where[name], values, labels) if name in where else 0)
        return self.run_at(tuple(index))

    def run_at(self, index: Index) -> Run:
        """The run of a cell, given its place along each axis.

        Raises
        ------
        ValueError
            If the run is not there.
        """
        cell = self._cells[index]
        run = cell.run()
        if run is None:
            point = ", ".join(f"{k}={v}" for k, v in self._grid.values(index).items())
            raise ValueError(f"the run at {point} is {cell.status}")
        return run

    def sel(self, **where: Any) -> SweepResult:
        """The cells at some values of some axes.

        Parameters
        ----------
        **where
            For each of these axes a value, which takes the axis away, or a sequence of values,
            which keeps it. A label of :attr:`dataset` does for a value.

        Raises
        ------
        TypeError
            For a name that is not an axis.
        ValueError
            For a value that is not on its axis, or a value twice.

        Examples
        --------
        >>> from toysup import sweep
        >>> res = sweep(n=20, T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
        >>> res.sel(T=5)
        <toysup.SweepResult (seed: 2): 2 runs, 2 ok>
        """
        self._check_axes(where)
        axes, labels, fixed = dict(self._grid.axes), dict(self._labels), dict(self._grid.fixed)
        places: dict[str, int | list[int]] = {k: list(range(len(v))) for k, v in axes.items()}
        for name, value in where.items():
            places[name] = found = places_of(name, value, axes[name], labels[name])
            if isinstance(found, int):
                fixed[name] = axes.pop(name)[found]
                continue
            if len(set(found)) < len(found):
                raise ValueError(f"{name} has a value twice in {short(value)}")
            axes[name] = [axes[name][i] for i in found]
            labels[name] = [labels[name][i] for i in found]
        grid = self._grid.part(axes, fixed)
        spots = [p if isinstance(p, list) else [p] for p in places.values()]
        source = dict(zip(grid.indices(), itertools.product(*spots), strict=True))
        return self._part(grid, source, {}, labels)

    def _check_axes(self, where: Mapping[str, Any]) -> None:
        for name in where:
            if name not in self.dims:
                hint = nearest(name, self.dims)
                raise TypeError(f"{name!r} is not an axis of this sweep; axes: {self.dims}{hint}")

    def best(self, axis: str) -> SweepResult:
        """For each cell of the other axes, the run of lowest train loss along one axis.

        As in the paper, which trained several initializations and kept the best. The data set gets
        a variable of the axis's name: the value that was kept. Where no run went well, one that
        diverged is kept before one that failed, is damaged or missing.

        Raises
        ------
        ValueError
            If that is not an axis.
        """
        if axis not in self.dims:
            raise ValueError(unknown("axis", axis, self.dims))
        at = self.dims.index(axis)
        axes = {k: v for k, v in self._grid.axes.items() if k != axis}
        grid = self._grid.part(axes, self._grid.fixed)
        source: dict[Index, Index] = {}
        for index in grid.indices():
            line = [(*index[:at], i, *index[at:]) for i in range(len(self._grid.axes[axis]))]
            source[index] = min(line, key=lambda full: _rank(self._cells[full]))
        labels = self._labels[axis]
        chosen = {axis: {index: labels[full[at]] for index, full in source.items()}}
        return self._part(grid, source, chosen, self._labels)

    def _part(
        self,
        grid: Grid,
        source: Mapping[Index, Index],
        chosen: Mapping[str, Mapping[Index, Any]],
        labels: Mapping[str, list[Any]],
    ) -> SweepResult:
        """Some of the cells, given for each index of another grid where they stand in this one."""
        kept = {k: {i: v[full] for i, full in source.items()} for k, v in self._chosen.items()}
        cells = {index: self._cells[full] for index, full in source.items()}
        return SweepResult(
            grid,
            cells,
            interrupted=self.interrupted,
            chosen={**chosen, **kept},
            labels={name: labels[name] for name in grid.dims},
        )

    @property
    def dataset(self) -> xarray.Dataset:
        """The scalars of all runs over the axes; NaN and ``status`` "missing" where there is none.

        Variables: ``train_loss``, ``test_loss``, ``W_norm``, ``b_norm``,
        ``max_feature_dimensionality``, ``n_represented``, ``seconds``, ``steps_done`` and
        ``status`` ("ok", "diverged", "failed", "damaged" or "missing").
        """
        import xarray

        shape, dims = self._grid.shape, self.dims
        values = {name: np.full(shape, np.nan) for name in VARIABLES}
        status = np.full(shape, "missing", dtype="<U8")
        for index, cell in self._cells.items():
            status[index] = cell.status
            for name, value in cell.summary.scalars.items():
                values[name][index] = value
        variables: dict[str, Any] = {
            name: (dims, array, VARIABLES[name]) for name, array in values.items()
        }
        for name, kept in self._chosen.items():
            array = np.empty(shape, dtype=np.array(list(kept.values())).dtype)
            for index, value in kept.items():
                array[index] = value
            variables[name] = (dims, array)
        coords = {name: (name, self._labels[name]) for name in dims}
        scalars = {k: self._grid.fixed[k] for k in ("T", "m", "seed") if k in self._grid.fixed}
        return xarray.Dataset(
            {**variables, "status": (dims, status)},
            coords={**coords, **scalars},
            attrs=self._attrs(),
        )

    def _attrs(self) -> dict[str, Any]:
        """The sweep's settings, and what its runs were made with (each value that occurs)."""
        made: dict[str, set[str]] = {}
        for cell in self._cells.values():
            for name, value in cell.summary.provenance.items():
                # The names that every format of files has for attributes.
                attribute = re.sub(r"\W", "_", f"made_with_{name}", flags=re.ASCII)
                made.setdefault(attribute, set()).add(value)
        settings = {"axes": self._grid.axes, "fixed": self._grid.fixed}
        config = json.dumps(plain(settings), sort_keys=True)
        attrs = {name: ", ".join(sorted(values)) for name, values in sorted(made.items())}
        return {"config": config, "schema_version": SCHEMA_VERSION, **attrs}


def _rank(cell: Cell) -> tuple[int, float]:
    """What ``best`` compares: the train loss, but only among runs that went equally well."""
    loss = cell.summary.scalars.get("train_loss", math.inf)
    return STATUSES.index(cell.status), math.inf if math.isnan(loss) else float(loss)
