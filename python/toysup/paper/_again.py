"""Recorded runs trained again: whether their numbers come out here."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup._sweep.sweep import sweep
from toysup._sweep.table import Table
from toysup.config import TrainConfig
from toysup.config.checks import as_float, as_int
from toysup.config.grid import Grid
from toysup.paper._recorded import recorded

if TYPE_CHECKING:
    import xarray

__all__ = ["train_again"]

# What is compared, and the digits that tables have.
_VARIABLES = ("train_loss", "test_loss", "W_norm", "b_norm", "max_feature_dimensionality")
_DIGITS = 7


def train_again(
    name: str = "figure3",
    runs: int = 3,
    *,
    seed: int = 0,
    longest: float = 120.0,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Table:
    """Train some recorded runs again, drawn at random, and compare what is recorded of them.

    Parameters
    ----------
    name : str, default "figure3"
        One of :func:`recorded_names`.
    runs : int, default 3
        How many runs to train, or all there are if these are fewer.
    seed : int, default 0
        Of the draw.
    longest : float, default 120
        Only runs are drawn that took at most so many seconds where they were recorded.
    n_jobs, progress
        As in :func:`toysup.sweep`.

    Returns
    -------
    Table
        A row for each of the losses, the norms and the largest dimensionality of a feature of each
        run: where the run lies on the axes of the table, the value recorded and the one found, and
        in how many leading digits they agree, of the seven that are recorded. ``text()`` shows it.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, and if no recorded run is short enough, or runs started from others.
    RunFailedError
        If a run fails.

    Notes
    -----
    The same version gives the same bits on every processor. Versions between the one that a table
    was made with and this one may have changed last bits (the changelog lists them). That leaves
    about four digits, and seven of most test losses; of a train loss near 0 perhaps none; and where
    T is near the bump, a run may store other examples.

    Examples
    --------
    >>> print(train_again("figure3", runs=1, longest=3).text())  # doctest: +SKIP
    """
    data, drawn = draw(name, runs, seed, longest)
    columns = (*map(str, data.dims), "variable", "recorded", "found", "digits")
    configs = _configs(data)
    rows = []
    for place in drawn:
        at = data.isel(dict(zip(data.dims, place, strict=True)))
        config = configs[tuple(place.tolist())]
        found = sweep(config, n_jobs=n_jobs, progress=progress, on_error="raise").dataset
        where = [at[axis].item() for axis in data.dims]
        for variable in _VARIABLES:
            old, new = float(at[variable]), float(found[variable])
            rows.append((*where, variable, old, new, digits(old, new)))
    formats = dict.fromkeys(columns, ".7g")
    return Table(f"{name}-again", columns, rows, _heading(name, data), formats)


def draw(
    name: str, runs: int, seed: int, longest: float
) -> tuple[xarray.Dataset, npt.NDArray[np.intp]]:
    """A table, and where in it some runs are that can be trained again; bad arguments are named."""
    data = recorded(name)
    runs = as_int("runs", runs, 1, 2**31)
    rng = np.random.default_rng(as_int("seed", seed, 0, 2**63 - 1))
    longest = as_float("longest", longest)
    if any(str(init).startswith("Weights(") for init in np.atleast_1d(data.get("init", ()))):
        raise ValueError(
            f"name must be a table of runs that start from drawn weights, got {name!r}, whose runs "
            f"start from other runs"
        )
    seconds = data["seconds"].where(data["status"] == "ok").to_numpy()
    places = np.argwhere(seconds <= longest)
    if not len(places):
        raise ValueError(
            f"longest must be at least {np.nanmin(seconds):.3g} s, which the shortest recorded run "
            f"of {name!r} took, got {longest:g}"
        )
    return data, places[np.sort(rng.permutation(len(places))[:runs])]


def _configs(data: xarray.Dataset) -> dict[tuple[int, ...], TrainConfig]:
    """Those of a table's runs by their places, as a sweep over its axes has them."""
    fixed = json.loads(data.attrs["fixed"])
    fields: dict[str, Any] = {k: math.inf if v == "inf" else v for k, v in fixed.items()}
    fields["betas"] = tuple(fields["betas"])
    fields |= {str(axis): data[axis].to_numpy().tolist() for axis in data.dims}
    return Grid.make(None, fields).configs()


def _heading(name: str, data: xarray.Dataset) -> str:
    made = f"toysup {data.attrs['made_with_toysup']}, {data.attrs['date']}, {data.attrs['machine']}"
    return f"Runs of {name!r} trained again; recorded with {made}."


def digits(old: float, new: float) -> int:
    """In how many leading digits two numbers agree, of those that are recorded."""
    if f"{old:.{_DIGITS}g}" == f"{new:.{_DIGITS}g}":
        return _DIGITS
    if not (math.isfinite(old) and math.isfinite(new)) or old == 0.0:
        return 0
    apart = abs(old - new) / abs(old)
    return min(_DIGITS - 1, max(0, math.floor(-math.log10(2 * apart))))
