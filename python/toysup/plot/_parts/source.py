"""What the plots draw from: a run, a sweep, a path or a table, all seen as cells over axes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from toysup._files.paths import as_path
from toysup._means import nan_mean
from toysup._run.model import Model
from toysup._run.run import Run, load_run
from toysup._stream.batch import SparseBatch
from toysup._sweep.result import SweepResult
from toysup.config.grid import places_of
from toysup.config.weights import Weights, is_pair
from toysup.errors import nearest, short, unknown
from toysup.plot._parts.style import thousands
from toysup.regime._model import model_of

__all__ = [
    "Cells",
    "Source",
    "Trained",
    "UnchosenAxis",
    "is_finished",
    "only_run",
    "open_cells",
    "open_model",
    "open_source",
    "open_weights",
    "require_examples",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Source: TypeAlias = "Run | SweepResult | xr.Dataset | str | os.PathLike[str]"
Trained: TypeAlias = "Source | Model | tuple[npt.ArrayLike, npt.ArrayLike]"


class UnchosenAxis(ValueError):
    """An axis with several values, for which a figure has no place."""

    def __init__(self, name: str, values: Sequence[Any], hint: str) -> None:
        self.name, self.values = name, values
        best = f', or reduce it with sweep.best("{name}")' if name == "init_seed" else ""
        super().__init__(
            f"{name} has {len(values)} values in this sweep: choose one, as in "
            f"{name}={short(values[0])}{best}{hint}"
        )


@dataclass(frozen=True)
class Cells:
    """The cells of a sweep, or the single cell of a run.

    Attributes
    ----------
    coords : dict of str to list
        The values of every axis; T and m are always there, with one value where they do not vary.
    labels : dict of str to list
        What the sweep's data set calls these values.
    data : xarray.Dataset
        The results, over the axes of ``coords`` and without coordinates; NaN where a run is
        missing, failed or diverged. ``status`` says which.
    open_run : callable
        Opens the run of a cell, given the value of every axis; ValueError where there are none.
    is_run : bool
        Whether this is a run and not a sweep.
    """

    coords: dict[str, list[Any]]
    labels: dict[str, list[Any]]
    data: xr.Dataset
    open_run: Callable[[dict[str, Any]], Run]
    is_run: bool = False
    _opened: dict[tuple[int, ...], Run] = field(default_factory=dict)

    def select(self, wanted: Mapping[str, Any]) -> Cells:
        """The cells at some values of some axes: one value or a sequence of values for each.

        A value may be given as its label in the sweep's data set.

        Raises
        ------
        ValueError
            For a name that is no axis, and for a value that the axis does not have.
        """
        places: dict[str, list[int]] = {}
        for name, value in wanted.items():
            if name not in self.coords:
                raise ValueError(unknown("axis of the sweep", name, self.coords))
            found = places_of(name, value, self.coords[name], self.labels[name])
            places[name] = [found] if isinstance(found, int) else found
        return self.take(places)

    def take(self, places: Mapping[str, Sequence[int]]) -> Cells:
        """The cells at these places of some axes."""
        coords, labels = (
            {k: [v[i] for i in places[k]] if k in places else v for k, v in known.items()}
            for known in (self.coords, self.labels)
        )
        return Cells(coords, labels, self.data.isel(places), self.open_run, self.is_run)

    def sort(self, *names: str) -> Cells:
        """The same cells with the values of these axes in rising order, arrays by their means.

        Axes that hold other things than numbers stay as they are.
        """
        known = {name: self.coords[name] for name in names if self.is_numeric(name)}
        sizes = {k: [np.mean(v) if isinstance(v, tuple) else v for v in known[k]] for k in known}
        return self.take({k: sorted(range(len(v)), key=v.__getitem__) for k, v in sizes.items()})

    @property
    def finished(self) -> xr.DataArray:
        """Whether the run of each cell ended well."""
        return is_finished(self.data)

    def is_numeric(self, name: str) -> bool:
        """Whether this is an axis of numbers, or of arrays of them."""
        return name in self.coords and all(
            all(map(_is_number, v)) and len(v) > 0 if isinstance(v, tuple) else _is_number(v)
            for v in self.coords[name]
        )

    def texts(self, name: str) -> list[str]:
        """The values of an axis as they stand at ticks and in legends."""
        if name == "T":
            return [thousands(value) for value in self.coords[name]]
        labels = self.labels[name]
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in labels]

    def require_axis(self, parameter: str, name: str, *more: str) -> None:
        """Refuse what is no axis, nor one of what else can be given.

        Raises
        ------
        ValueError
            Naming what there is.
        """
        known = [*self.coords, *more]
        if name not in known:
            raise ValueError(
                f"{parameter} must be an axis of the sweep ({', '.join(known)}), got {name!r}"
                f"{nearest(str(name), known)}"
            )

    def varied(self, *known: str) -> list[str]:
        """Axes with more than one value, apart from the known ones."""
        return [a for a, values in self.coords.items() if len(values) > 1 and a not in known]

    def require_fixed(self, *known: str, hint: str = "") -> None:
        """Refuse axes with more than one value that the figure has no place for.

        Raises
        ------
        UnchosenAxis
            For the first such axis.
        """
        for name in self.varied(*known):
            pairs = zip(self.coords[name], self.labels[name], strict=True)
            shown = [
                label if isinstance(v, Weights) or len(repr(v)) >= 40 else v for v, label in pairs
            ]
            raise UnchosenAxis(name, shown, hint)

    def values(self, variable: str, *dims: str) -> Floats:
        """A variable over ``dims``, which must hold every axis with more than one value.

        Raises
        ------
        ValueError
            If the sweep has no such variable of numbers.
        """
        numeric = [name for name in self.data if np.issubdtype(self.data[name].dtype, np.number)]
        if variable not in numeric:
            raise ValueError(unknown("variable", variable, (str(name) for name in numeric)))
        array = self.data[variable]
        extra = {name: 0 for name in array.dims if name not in dims}
        return np.asarray(array.isel(extra).transpose(*dims), dtype=np.float64)

    def mean(self, variable: str, *dims: str) -> Floats:
        """A variable over ``dims``, averaged over the seeds that have finished."""
        if "seed" not in self.coords or "seed" in dims:
            return self.values(variable, *dims)
        return nan_mean(self.values(variable, *dims, "seed"))

    def require_finished(self, variable: str | None = None) -> None:
        """Refuse cells without any finished run, or where a variable is NaN in all of them.

        Raises
        ------
        ValueError
            Saying how many runs there are of each status, or which variable is NaN.
        """
        if not np.any(self.finished):
            status = self.data["status"].to_numpy().astype(str)
            kinds, counts = np.unique(status, return_counts=True)
            found = ", ".join(f"{c} {k}" for k, c in zip(kinds, counts, strict=True)) or "no cells"
            raise ValueError(f"there is no finished run to draw ({found})")
        if variable is not None and not np.any(np.isfinite(self.data[variable])):
            raise ValueError(f"{variable} is NaN in every finished run")

    def pick(self, **where: int) -> Run | None:
        """The finished run of lowest train loss at these positions along these axes, if any."""
        part = self.take({name: [i] for name, i in where.items()})
        loss = part.data["train_loss"].transpose(*self.coords).to_numpy().astype(np.float64)
        done = part.finished.transpose(*self.coords).to_numpy()
        if not np.any(done):
            return None
        loss = np.where(done, np.where(np.isnan(loss), math.inf, loss), np.nan)
        spot = np.unravel_index(int(np.nanargmin(loss)), loss.shape)
        index = dict(zip(self.coords, (int(i) for i in spot), strict=True))
        return self.run_at({**index, **where})

    def run_at(self, index: Mapping[str, int]) -> Run:
        """The run of one cell, given its position along every axis."""
        key = tuple(index[name] for name in self.coords)
        if key not in self._opened:
            cell = {name: values[index[name]] for name, values in self.coords.items()}
            self._opened[key] = self.open_run(cell)
        return self._opened[key]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def open_cells(source: Source, wanted: Mapping[str, Any] | None = None) -> Cells:
    """The cells of a run, a sweep, a sweep's data set, or the path of a store or a run's file.

    Raises
    ------
    TypeError
        If the source is none of these.
    ValueError
        As :meth:`Cells.select`, and for a data set that is not like a sweep's.
    FileNotFoundError, StoreError
        If nothing is at the path, or what is there cannot be read.
    """
    return _load(source).select(wanted or {})


def open_weights(
    source: object, X: object, wanted: Mapping[str, Any]
) -> tuple[Model, SparseBatch | None] | None:
    """Weights of one's own with examples, if given, or a run with others; None for other sources.

    Raises
    ------
    TypeError
        If the source is neither weights nor what :func:`open_cells` opens.
    ValueError
        If there is a selection, which only the runs of a sweep have, or X without one model.
    """
    weights = isinstance(source, Model) or is_pair(source)
    if not weights and not isinstance(source, (Run, SweepResult, xr.Dataset, str, os.PathLike)):
        kind = type(source).__name__
        raise TypeError(
            "source must be a Run, a Model, a pair (W, b), a SweepResult or a path, "
            f"got {short(source)} ({kind})"
        )
    if not weights and X is None:
        return None
    if not weights and not isinstance(source, Run):
        raise ValueError("X must be given with a Run, a Model or a pair (W, b) only")
    if wanted:
        name = next(iter(wanted))
        raise ValueError(f"{name} must not be given for one model, which has no axes")
    model = model_of(source)  # type: ignore[arg-type]
    return model, None if X is None else model.examples(X)


def require_examples(batch: SparseBatch | None) -> SparseBatch:
    """The examples of weights, which must be given.

    Raises
    ------
    ValueError
        If they are not.
    """
    if batch is None:
        raise ValueError("X must be given, with one example or more, for weights")
    return batch


def open_model(source: Trained, wanted: Mapping[str, Any]) -> tuple[Model, npt.NDArray[np.bool_]]:
    """The model of one run, or one's own weights, and which features it represents.

    Raises
    ------
    TypeError
        If the source is neither weights nor what :func:`open_cells` opens.
    ValueError
        If the selection leaves no finished run or several that are no seeds, or weights have one.
    """
    given = open_weights(source, None, wanted)
    if given is not None:
        return given[0], given[0].represented()
    run = only_run(cast(Source, source), wanted)
    return model_of(run), run.represented()


def only_run(source: Source, wanted: Mapping[str, Any]) -> Run:
    """The finished run of a source; of several seeds that of lowest train loss.

    Raises
    ------
    TypeError, ValueError
        As :func:`open_model`.
    """
    cells = open_cells(source, wanted)
    cells.require_fixed("seed", "init_seed")
    cells.require_finished()
    run = cells.pick()
    assert run is not None
    return run


def open_source(source: object) -> Run | SweepResult | xr.Dataset:
    """The run, the sweep or the table itself, read from the disk if a path is given.

    Raises
    ------
    TypeError
        If the source is none of these.
    FileNotFoundError, StoreError
        If nothing is at the path, or what is there cannot be read.
    """
    from toysup._sweep.sweep import open_sweep

    if isinstance(source, (str, os.PathLike)):
        path = as_path("source", source)
        if not path.exists():
            raise FileNotFoundError(f"there is no store and no run file at {str(path)!r}")
        return open_sweep(path) if path.is_dir() else load_run(path)
    if isinstance(source, (Run, SweepResult, xr.Dataset)):
        return source
    kind = type(source).__name__
    raise TypeError(
        f"source must be a Run, a SweepResult, a Dataset or a path, got {short(source)} ({kind})"
    )


def _load(source: object) -> Cells:
    found = open_source(source)
    if isinstance(found, SweepResult):
        return _cells_of_sweep(found)
    return _cells_of_table(found) if isinstance(found, xr.Dataset) else _cells_of_run(found)


def _cells_of_run(run: Run) -> Cells:
    coords: dict[str, list[Any]] = {
        "T": [run.config.T],
        "m": [run.config.m],
        "seed": [run.config.seed],
    }
    scalars = {name: (tuple(coords), [[[value]]]) for name, value in run.summary().items()}
    return Cells(coords, coords, _mask(xr.Dataset(scalars)), lambda cell: run, is_run=True)


def _cells_of_sweep(result: SweepResult) -> Cells:
    axes = {name: list(result.coords[name]) for name in result.dims}

    def open_run(cell: dict[str, Any]) -> Run:
        return result.run_at(tuple(axes[name].index(cell[name]) for name in result.dims))

    return _cells_of(result.dataset, axes, open_run)


def _cells_of_table(data: xr.Dataset) -> Cells:
    """A table as :attr:`SweepResult.dataset` gives it, perhaps read from a file, without runs.

    Without a ``status`` every cell with a number counts as "ok".
    """
    axes: dict[str, list[Any]] = {}
    for name in map(str, data.dims):
        if name not in data.coords:
            raise ValueError(f"the axis {name!r} of the data set has no coordinates")
        axes[name] = data[name].to_numpy().tolist()
    if not axes:
        raise ValueError(f"a data set must have axes, got one with {short(list(data.coords))}")
    if "status" not in data:
        numbers = data[[k for k, v in data.items() if np.issubdtype(v.dtype, np.number)]]
        some = numbers.notnull().to_array().any("variable")
        data = data.assign(status=(some.dims, np.where(some, "ok", "missing")))

    def open_run(cell: dict[str, Any]) -> Run:
        raise ValueError(
            "this figure needs the runs themselves, which a data set does not hold: "
            "give the sweep or its store"
        )

    return _cells_of(data, axes, open_run)


def _cells_of(
    data: xr.Dataset, axes: dict[str, list[Any]], open_run: Callable[[dict[str, Any]], Run]
) -> Cells:
    """Cells over these axes, and over T and m."""
    labels = {name: data[name].to_numpy().tolist() for name in axes}
    for name in ("T", "m"):
        if name not in axes:
            if name not in data.coords:
                raise ValueError(f"{name} is neither an axis nor the same in all cells")
            axes[name] = labels[name] = [data[name].item()]
            data = data.drop_vars(name).expand_dims(name)
    data = _mask(data.drop_vars(list(data.coords)))
    return Cells(axes, labels, data.transpose(*axes), open_run)


def _mask(data: xr.Dataset) -> xr.Dataset:
    """The same cells with NaN for every number of a run that is not "ok"."""
    ok = is_finished(data)
    masked = {
        name: values.astype(np.float64).where(ok)
        for name, values in data.items()
        if np.issubdtype(values.dtype, np.number)
    }
    return data.assign(masked)


def is_finished(data: xr.Dataset) -> xr.DataArray:
    """Whether the run of each cell of a data set ended well."""
    return data["status"].astype(str) == "ok"
