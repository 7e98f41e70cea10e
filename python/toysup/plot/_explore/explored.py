"""What is to be explored: cells in the order of the sliders, and the states in them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from toysup._files.paths import as_path
from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup.errors import short, unknown
from toysup.plot._parts.source import Source, is_finished, open_source

__all__ = ["MAX_STATES", "Explored", "open_explored"]

# More snapshots of a run than this are not shown.
MAX_STATES = 40

Index: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Explored:
    """A run, a sweep or a table as an array of cells.

    Attributes
    ----------
    name : str
        What it is called; empty if it has no name.
    axes : dict of str to list
        The values of every axis, numbers in rising order.
    fixed : dict of str
        T, m and seed where they are no axes.
    labels : dict of str to list
        What the data set calls the values of the axes.
    data : xarray.Dataset
        The scalars and the status of every cell, over the axes.
    open_run : callable
        Opens the run of a cell; None where there are no runs, only a table.
    states : int
        How many states the finished runs have together: one each, or one a snapshot.
    """

    name: str
    axes: dict[str, list[Any]]
    fixed: dict[str, Any]
    labels: dict[str, list[str]]
    data: xr.Dataset
    open_run: Callable[[Index], Run] | None
    states: int


def open_explored(source: Source, wanted: Mapping[str, Any]) -> Explored:
    """The cells of a source at the wanted values of its axes.

    Raises
    ------
    TypeError, ValueError
        If the source or a value is something else, or no run is finished.
    FileNotFoundError, StoreError
        If nothing is at the path, or what is there cannot be read.
    """
    name = as_path("source", source).stem if isinstance(source, (str, os.PathLike)) else ""
    given = open_source(source)
    if isinstance(given, SweepResult):
        found = _of_sweep(name, given, wanted)
    elif isinstance(given, xr.Dataset):
        found = _of_table(name, given, wanted)
    else:
        found = _of_run(name, given, wanted)
    if not np.any(is_finished(found.data)):
        raise ValueError("there is no finished run to explore")
    return found


def _of_run(name: str, run: Run, wanted: Mapping[str, Any]) -> Explored:
    import xarray as xr

    if wanted:
        raise ValueError(f"a single run has no axes, got {next(iter(wanted))}")
    scalars = {k: v for k, v in run.summary().items() if k != "provenance"}
    fixed = {"T": run.config.T, "m": run.config.m, "seed": run.config.seed}
    return Explored(name, {}, fixed, {}, xr.Dataset(scalars), lambda index: run, _states(run))


def _states(run: Run) -> int:
    return min(MAX_STATES, max(1, run.snapshots.sizes["step"]))


def _of_sweep(name: str, result: SweepResult, wanted: Mapping[str, Any]) -> Explored:
    for key in wanted:
        if key not in result.dims:
            raise ValueError(unknown("axis of the sweep", key, result.dims))
    result = result.sel(**wanted)
    axes = {axis: list(values) for axis, values in result.coords.items()}
    order = {axis: _rising(values) for axis, values in axes.items()}

    def open_run(index: Index) -> Run:
        return result.run_at(
            tuple(places[i] for places, i in zip(order.values(), index, strict=True))
        )

    states = sum(
        min(MAX_STATES, max(1, len(config.snapshot_steps())))
        for config, status in zip(result.configs, result.statuses, strict=True)
        if status == "ok"
    )
    return _explored(name, result.dataset, axes, order, open_run, states)


def _of_table(name: str, data: xr.Dataset, wanted: Mapping[str, Any]) -> Explored:
    """A table as the data set of a sweep is, without runs."""
    for key, value in wanted.items():
        if key not in data.dims:
            raise ValueError(unknown("axis of the table", key, map(str, data.dims)))
        try:
            data = data.sel({key: value})
        except KeyError:
            raise ValueError(f"{key} has no value {short(value)} in this table") from None
    if "status" not in data:
        if "test_loss" not in data:
            raise ValueError("a table must have a status or a test_loss")
        known = data["test_loss"].notnull()
        data = data.assign(status=(known.dims, np.where(known, "ok", "missing")))
    axes = {}
    for axis in map(str, data["status"].dims):
        if axis not in data.coords:
            raise ValueError(f"the axis {axis!r} of the table has no coordinates")
        axes[axis] = data[axis].to_numpy().tolist()
    order = {axis: _rising(values) for axis, values in axes.items()}
    return _explored(name, data, axes, order, None, 0)


def _explored(
    name: str,
    data: xr.Dataset,
    axes: Mapping[str, list[Any]],
    order: Mapping[str, list[int]],
    open_run: Callable[[Index], Run] | None,
    states: int,
) -> Explored:
    """The cells in the order of their values."""
    data = data.isel({axis: list(places) for axis, places in order.items()})
    fixed = {
        key: data[key].item()
        for key in ("T", "m", "seed")
        if key in data.coords and data[key].ndim == 0
    }
    sorted_axes = {axis: [values[i] for i in order[axis]] for axis, values in axes.items()}
    labels = {axis: [_label(value) for value in data[axis].to_numpy().tolist()] for axis in axes}
    return Explored(name, sorted_axes, fixed, labels, data, open_run, states)


def _rising(values: Sequence[Any]) -> list[int]:
    """Places of the values: of numbers in rising order, else as they are."""
    places = list(range(len(values)))
    if all(isinstance(value, (int, float)) for value in values):
        places.sort(key=lambda i: values[i])
    return places


def _label(value: Any) -> str:
    """A value as a reader knows it: 1,000, ∞, or its text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if math.isinf(value):
        return "∞"
    whole = float(value).is_integer() and abs(value) < 1e15
    return f"{int(value):,}" if whole else f"{value:g}"
