"""A grid of runs: :func:`sweep`, :func:`open_sweep`, and the :class:`SweepResult` they give."""

from __future__ import annotations

import concurrent.futures
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._backend import backend
from toysup._grid import Grid, Index, as_label
from toysup._interrupt import Interrupt
from toysup._progress import Progress, check_shown
from toysup._types import RawRun
from toysup.config import TrainConfig
from toysup.data import refuse_memory
from toysup.errors import RunFailedError, nearest, short, unknown
from toysup.store import SCHEMA_VERSION, Store
from toysup.training import Run, as_config, as_jobs, check_names, from_raw

if TYPE_CHECKING:
    import xarray

__all__ = ["SweepResult", "open_sweep", "sweep"]

# Variables of the data set that are floats, with their description.
_VARIABLES = {
    "train_loss": "training loss, summed over features, mean over examples",
    "test_loss": "loss on fresh examples, summed over features, mean over examples",
    "W_norm": "Frobenius norm of W",
    "b_norm": "Euclidean norm of b",
    "max_feature_dimensionality": "largest dimensionality of a feature",
    "n_represented": "features with a dimensionality of at least 0.1",
    "seconds": "wall time of the run",
}


@dataclass(frozen=True)
class _Cell:
    """One cell of a result: its config, its scalars, and how to get at the run."""

    config: TrainConfig
    summary: Mapping[str, Any] | None
    run: Callable[[], Run] | None

    @property
    def status(self) -> str:
        return "missing" if self.summary is None else str(self.summary["status"])


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
        cells: Mapping[Index, _Cell],
        *,
        interrupted: bool = False,
        chosen: Mapping[str, Mapping[Index, Any]] | None = None,
    ) -> None:
        self._grid = grid
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
        return {name: list(values) for name, values in self._grid.axes.items()}

    @property
    def configs(self) -> list[TrainConfig]:
        """The config of every cell, the last axis fastest."""
        return [self._cells[index].config for index in self._grid.indices()]

    @property
    def failed(self) -> list[tuple[TrainConfig, str]]:
        """(config, reason) of every run that failed or diverged."""
        found = []
        for cell in self._cells.values():
            if cell.status in ("failed", "diverged") and cell.summary is not None:
                reason = cell.summary.get("error") or "a loss or a norm was not finite"
                found.append((cell.config, str(reason)))
        return found

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

    def runs(self) -> Iterator[Run]:
        """The runs that were trained, in the order of :attr:`configs`."""
        for index in self._grid.indices():
            load = self._cells[index].run
            if load is not None:
                yield load()

    def run(self, **where: Any) -> Run:
        """The run at a point of the grid.

        Parameters
        ----------
        **where
            A value for each axis; axes of length 1 may be left out.

        Raises
        ------
        TypeError
            For a name that is not an axis.
        ValueError
            For an axis without a value, a value that is not on it, or a run that is not there.

        Examples
        --------
        >>> res = sweep(n=20, T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
        >>> res.run(T=5, seed=1).config.T
        5
        """
        for name in where:
            if name not in self.dims:
                hint = nearest(name, self.dims)
                raise TypeError(f"{name!r} is not an axis of this sweep; axes: {self.dims}{hint}")
        index = []
        for name, values in self._grid.axes.items():
            if name not in where and len(values) > 1:
                raise ValueError(f"give a value for the axis {name}: one of {short(values)}")
            i = self._grid.position(name, where[name]) if name in where else 0
            if i < 0:
                raise ValueError(f"{name} must be one of {short(values)}, got {short(where[name])}")
            index.append(i)
        cell = self._cells[tuple(index)]
        if cell.run is None:
            point = ", ".join(f"{k}={v}" for k, v in self._grid.values(tuple(index)).items())
            raise ValueError(f"the run at {point} is {cell.status}")
        return cell.run()

    def best(self, axis: str) -> SweepResult:
        """For each cell of the other axes, the run of lowest train loss along one axis.

        As in the paper, which trained several initialisations and kept the best. The data set gets
        a variable of the axis's name: the value that was kept.

        Raises
        ------
        ValueError
            If that is not an axis.
        """
        if axis not in self.dims:
            raise ValueError(unknown("axis", axis, self.dims))
        at = self.dims.index(axis)
        grid = Grid({k: v for k, v in self._grid.axes.items() if k != axis}, self._grid.fixed)
        source: dict[Index, Index] = {}
        for index in grid.indices():
            line = [(*index[:at], i, *index[at:]) for i in range(len(self._grid.axes[axis]))]
            source[index] = min(line, key=lambda full: _loss(self._cells[full]))
        labels = self._labels(axis)
        chosen = {axis: {index: labels[full[at]] for index, full in source.items()}}
        for name, values in self._chosen.items():
            chosen[name] = {index: values[full] for index, full in source.items()}
        cells = {index: self._cells[full] for index, full in source.items()}
        return SweepResult(grid, cells, interrupted=self.interrupted, chosen=chosen)

    @property
    def dataset(self) -> xarray.Dataset:
        """The scalars of all runs over the axes; NaN and ``status`` "missing" where there is none.

        Variables: ``train_loss``, ``test_loss``, ``W_norm``, ``b_norm``,
        ``max_feature_dimensionality``, ``n_represented``, ``seconds`` and ``status`` ("ok",
        "diverged", "failed" or "missing").
        """
        import xarray

        shape, dims = self._grid.shape, self.dims
        values = {name: np.full(shape, np.nan) for name in _VARIABLES}
        status = np.full(shape, "missing", dtype="<U8")
        for index, cell in self._cells.items():
            status[index] = cell.status
            for name in _VARIABLES:
                values[name][index] = (cell.summary or {}).get(name, math.nan)
        variables: dict[str, Any] = {
            name: (dims, array, {"long_name": _VARIABLES[name]}) for name, array in values.items()
        }
        for name, kept in self._chosen.items():
            array = np.empty(shape, dtype=np.array(list(kept.values())).dtype)
            for index, value in kept.items():
                array[index] = value
            variables[name] = (dims, array)
        coords = {name: (name, self._labels(name)) for name in dims}
        scalars = {k: self._grid.fixed[k] for k in ("T", "m", "seed") if k in self._grid.fixed}
        return xarray.Dataset(
            {**variables, "status": (dims, status)},
            coords={**coords, **scalars},
            attrs=self._attrs(),
        )

    def _labels(self, name: str) -> list[Any]:
        """Coordinates of an axis; numbers from 0 where its values are arrays."""
        values = self._grid.axes[name]
        if name == "importance" and any(isinstance(v, tuple) for v in values):
            return list(range(len(values)))
        return [as_label(value) for value in values]

    def _attrs(self) -> dict[str, Any]:
        """The sweep's settings, and what its runs were made with (each value that occurs)."""
        made: dict[str, set[str]] = {}
        for cell in self._cells.values():
            for name, value in (cell.summary or {}).get("provenance", {}).items():
                made.setdefault(f"made_with_{name}", set()).add(value)
        config = json.dumps(self._grid.to_json(), sort_keys=True)
        attrs = {name: ", ".join(sorted(values)) for name, values in sorted(made.items())}
        return {"config": config, "schema_version": SCHEMA_VERSION, **attrs}


def _loss(cell: _Cell) -> float:
    """The train loss that ``best`` compares: no finite loss is the worst."""
    loss = (cell.summary or {}).get("train_loss", math.nan)
    return float(loss) if math.isfinite(loss) else math.inf


def sweep(
    config: TrainConfig | None = None,
    /,
    *,
    store: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
    on_error: str = "raise",
    **fields: Any,
) -> SweepResult:
    """Train a grid of models: every field that is given as a sequence is an axis.

    Parameters
    ----------
    config : TrainConfig, optional
        The fields that all runs share; the paper's recipe if not given.
    store : path-like, optional
        A folder that keeps every run as soon as it ends. Calling again with the same folder trains
        only what is missing; the folder then holds both grids. Runs stay in memory without it.
    n_jobs : int, optional
        Runs at a time, each on one thread; all processors this process may use if None.
    executor : concurrent.futures.Executor, optional
        Where to train instead of in this process.
    progress : bool or None
        Whether to show a progress bar; None shows it for long sweeps in a terminal.
    on_error : {"raise", "record"}
        Whether a run that fails ends the sweep, or is recorded with its reason. A run that diverges
        is always recorded.
    **fields
        Fields of :class:`TrainConfig`, or sequences of their values. A pair is one value of
        ``betas``; an array of importances is given in ``config``, or as an element of a list. A
        batch size counts for the cells with infinite T.

    Returns
    -------
    SweepResult
        After Ctrl-C, with the runs that had finished, and ``interrupted`` set. A second Ctrl-C
        raises ``KeyboardInterrupt``.

    Raises
    ------
    TypeError, ValueError
        For a bad field, an empty axis or a value twice; then nothing was trained or written.
    StoreError
        If the store cannot be written or read.
    RunFailedError
        If a run failed, and ``on_error`` is "raise". Runs that had finished are in the store.

    Examples
    --------
    >>> res = sweep(n=20, m=[2, 3], T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
    >>> dict(res.dataset.sizes)
    {'T': 2, 'm': 2, 'seed': 2}
    """
    if on_error not in ("raise", "record"):
        raise ValueError(unknown("on_error", on_error, ("raise", "record")))
    given: object = executor
    if given is not None and not isinstance(given, concurrent.futures.Executor):
        kind = type(given).__name__
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {kind}")
    if config is not None:
        config = as_config(config, {})
    check_shown(progress)
    folder = None if store is None else Store(store)
    jobs = as_jobs(n_jobs)
    check_names(fields, sweep)
    grid = Grid.make(config, fields)
    configs = grid.configs()
    refuse_memory(max(c.memory() for c in configs.values()), "the largest run of this sweep")
    backend()  # an unusable one is refused before a folder is made
    if folder is not None:
        folder.extend(grid)
    work = _Work(configs, folder, on_error)
    interrupted = work.do(jobs, executor, progress)
    cells = work.cells()
    if interrupted:
        done = sum(cell.run is not None for cell in cells.values())
        warnings.warn(
            f"the sweep was interrupted: {done} of {len(cells)} runs are finished",
            RuntimeWarning,
            stacklevel=2,
        )
    return SweepResult(grid, cells, interrupted=interrupted)


class _Work:
    """The runs of a sweep: which are done, and what becomes of those that end."""

    def __init__(
        self, configs: Mapping[Index, TrainConfig], store: Store | None, on_error: str
    ) -> None:
        self._configs, self._store, self._on_error = configs, store, on_error
        self._runs: dict[str, Run] = {}
        self._summaries: dict[str, Mapping[str, Any]] = {}
        self._failure: str | None = None
        for config in configs.values():
            summary = None if store is None else store.summary(config)
            if summary is not None and summary["status"] != "failed":
                self._summaries[config.key()] = summary
        todo = {c.key(): c for c in configs.values() if c.key() not in self._summaries}
        self._todo = list(todo.values())

    def do(
        self, jobs: int, executor: concurrent.futures.Executor | None, progress: bool | None
    ) -> bool:
        """Train what is missing; True if it was interrupted."""
        if not self._todo:
            return False
        ended = 0
        with Interrupt() as interrupt, Progress(progress, self._todo) as bar:

            def on_result(i: int, raw: RawRun) -> None:
                nonlocal ended
                ended += 1
                self._finish(self._todo[i], raw)

            def poll(work: float) -> bool:
                bar.update(work, f"{ended}/{len(self._todo)} runs")
                return interrupt.is_set() or self._failure is not None

            dropped = False
            if executor is None:
                backend().train_many(self._todo, jobs, on_result, poll)
            else:
                dropped = _on_executor(executor, self._todo, on_result, poll)
            if self._failure is not None:
                raise RunFailedError(self._failure)
            # Even if all runs had ended just then: a loop around the sweep must notice.
            return interrupt.is_set() or dropped

    def _finish(self, config: TrainConfig, raw: RawRun) -> None:
        """Keep the outcome of a run."""
        if raw["status"] == "failed":
            self._summaries[config.key()] = {"status": "failed", "error": raw["error"]}
            if self._store is not None:
                self._store.save_failure(config, raw["error"])
            if self._on_error == "raise" and self._failure is None:
                # Raised when the backend has handed over what else had ended.
                where = f"T={config.T}, m={config.m}, seed={config.seed}"
                self._failure = f"the run at {where} failed: {raw['error']}"
            return
        run = from_raw(config, raw)
        self._summaries[config.key()] = run.summary()
        if self._store is None:
            self._runs[config.key()] = run
        else:
            self._store.save(run)

    def cells(self) -> dict[Index, _Cell]:
        """The cells as they are now."""
        cells = {}
        for index, config in self._configs.items():
            key = config.key()
            if key in self._runs:
                cells[index] = _Cell(config, self._summaries[key], lambda k=key: self._runs[k])  # type: ignore[misc]
            else:
                cells[index] = _stored(config, self._summaries.get(key), self._store)
        return cells


def _stored(config: TrainConfig, summary: Mapping[str, Any] | None, store: Store | None) -> _Cell:
    """The cell of a run that lies in a store, if anywhere."""
    if store is None or summary is None or summary["status"] == "failed":
        return _Cell(config, summary, None)
    return _Cell(config, summary, lambda: store.load(config))


def train_alone(config: TrainConfig) -> RawRun | None:
    """One run on one thread, for a worker of an executor; None if it was interrupted."""
    results: list[RawRun] = []
    with Interrupt() as interrupt:
        backend().train_many(
            [config], 1, lambda _, raw: results.append(raw), lambda _: interrupt.is_set()
        )
    return results[0] if results else None


def _on_executor(
    executor: concurrent.futures.Executor,
    configs: list[TrainConfig],
    on_result: Callable[[int, RawRun], None],
    poll: Callable[[float], bool],
) -> bool:
    """Train on an executor, the longest run first; True if a worker was interrupted."""
    cost = [config.step_cost() * config.steps for config in configs]
    order = sorted(range(len(configs)), key=lambda i: -cost[i])
    futures = {executor.submit(train_alone, configs[i]): i for i in order}
    work, dropped = 0.0, False
    try:
        while futures and not poll(work):
            done, _ = concurrent.futures.wait(futures, timeout=0.05, return_when="FIRST_COMPLETED")
            for future in done:
                i = futures.pop(future)
                raw = future.result()
                work += cost[i]
                if raw is None:
                    dropped = True
                else:
                    on_result(i, raw)
    finally:
        for future in futures:
            future.cancel()
    return dropped


def open_sweep(path: str | os.PathLike[str]) -> SweepResult:
    """The sweep that a folder holds, finished or not.

    Raises
    ------
    FileNotFoundError
        If there is no sweep in that folder.
    StoreError
        If it cannot be read, or was written by another version of toysup.
    """
    store = Store(path)
    grid = store.grid()
    configs = grid.configs().items()
    cells = {index: _stored(config, store.summary(config), store) for index, config in configs}
    return SweepResult(grid, cells)
