"""Results of the paper's scale that come with the package: tables of runs with their provenance.

A file is a CSV whose first line is a comment of JSON: the axes, the fields that all runs share,
what the runs were made with, on which machine, and how long they took together.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._files.whole import replace_file
from toysup._sweep.frame import as_csv
from toysup._sweep.result import VARIABLES
from toysup._sweep.table import runs_table
from toysup.errors import unknown

if TYPE_CHECKING:
    import xarray

    from toysup._sweep.result import SweepResult

__all__ = ["record", "recorded", "recorded_names"]

_SUFFIX = ".csv"
# What says that a cell has no run.
_MISSING = "missing"


def recorded_names() -> list[str]:
    """Names of the recorded sweeps, for :func:`recorded`."""
    return sorted(p.name.removesuffix(_SUFFIX) for p in _folder() if p.name.endswith(_SUFFIX))


def recorded(name: str) -> xarray.Dataset:
    """The runs of a sweep at the paper's scale that were made for the package.

    Parameters
    ----------
    name : str
        One of :func:`recorded_names`, such as "figure3".

    Returns
    -------
    xarray.Dataset
        As ``SweepResult.dataset``: scalars over the axes of the sweep, with ``status``. Its
        attributes hold the fields that all runs share ("fixed", as JSON), what they were made with,
        the machine and the date. Plots of scalars draw it as they draw a sweep. In place of
        ``n_represented``, for which one needs the weights, there is ``n_large_dimensionality``: the
        number of features with a dimensionality of at least 0.1.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> data = recorded("figure3")
    >>> float(data["test_loss"].sel(T=5).mean("seed").round(3))
    1.0
    """
    import xarray

    names = recorded_names()
    if name not in names:
        raise ValueError(unknown("name", name, names))
    (path,) = (p for p in _folder() if p.name == name + _SUFFIX)
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    about = json.loads(first.removeprefix("#"))
    header, *rows = csv.reader(lines)
    columns = {key: [row[i] for row in rows] for i, key in enumerate(header)}
    axes = {axis: _values(columns.pop(axis)) for axis in about.pop("axes")}
    coords = {axis: list(dict.fromkeys(values)) for axis, values in axes.items()}
    index = tuple([coords[axis].index(value) for value in values] for axis, values in axes.items())
    shape = tuple(map(len, coords.values()))
    status = np.full(shape, _MISSING, dtype=object)
    status[index] = columns.pop("status")
    variables: dict[str, Any] = {"status": (tuple(coords), status.astype(str))}
    for key, texts in columns.items():
        array = np.full(shape, math.nan)
        array[index] = [float(text) if text else math.nan for text in texts]
        variables[key] = (tuple(coords), array, VARIABLES.get(key, {}))
    fixed = about["fixed"]
    scalars = {k: _value(str(fixed[k])) for k in ("T", "m", "seed") if k in fixed}
    attrs = {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()}
    return xarray.Dataset(variables, coords={**coords, **scalars}, attrs=attrs)


def record(result: SweepResult, path: Path, machine: str, date: str) -> Path:
    """Write the finished runs of a sweep, and where they come from, as :func:`recorded` reads them.

    Fields that are arrays are left out, and so are runs that are missing. ``batch_size`` is that of
    T = inf, if T has finite values, too.
    """
    table = runs_table(result)
    at = table.columns.index("status")
    data = result.dataset
    made = {k: v for k, v in data.attrs.items() if k.startswith("made_with_")}
    fixed = {
        k: v for k, v in result.configs[0].plain().items()
        if k not in result.dims and not isinstance(v, dict)
    }  # fmt: skip
    endless = [c for c in result.configs if c.T == math.inf]
    if endless and "batch_size" in fixed:  # where there are finite T, too, it counts for T = inf
        fixed["batch_size"] = endless[0].batch_size
    seconds = float(result.finished.dataset["seconds"].sum())
    about = {
        "axes": list(result.dims),
        "fixed": fixed,
        **made,
        "machine": machine,
        "date": date,
        "seconds_of_all_runs": round(seconds),
    }
    rows = [tuple(map(_text, row)) for row in table.rows if row[at] != _MISSING]

    text = f"# {json.dumps(about)}\n{as_csv(table.columns, rows)}"
    replace_file(path, lambda file: file.write(text.encode()))
    return path


def _folder() -> Iterator[Any]:
    folder = resources.files("toysup.paper") / "recorded"
    return iter(folder.iterdir()) if folder.is_dir() else iter(())


def _text(value: Any) -> str:
    """Seven digits are more than the last bits of another processor leave alike."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return str(value)


def _values(texts: list[str]) -> list[Any]:
    return [_value(text) for text in texts]


def _value(text: str) -> Any:
    """The value of an axis from its text: a number, if it is one."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "e" not in text and "." not in text else number
