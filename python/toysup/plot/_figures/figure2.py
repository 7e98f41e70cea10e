"""Figure 2: few examples as regular polygons in the hidden space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup.plot._parts.source import Floats, Source, open_cells
from toysup.plot._parts.style import canvas, paint
from toysup.plot._parts.vectors import MAX_COLUMNS, draw_columns, require_plane, spread_places

__all__ = ["figure2"]


def figure2(
    source: Source,
    *,
    T: float | Sequence[float] | None = None,
    axes: npt.ArrayLike | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw figure 2 of the paper: features (blue) above training examples (red), for m = 2.

    Each panel has its own scale. Below each column stands the dimensionality D of its examples,
    mean and standard deviation, beside 2 / T, that of T vectors which share the plane evenly as
    the corners of a regular polygon do. Of several seeds the run of lowest train loss is drawn.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file.
    T : float or sequence of float, optional
        The columns, in this order. By default all T that have a finished run, or ten spread over
        them if there are more.
    axes : array of Axes, optional
        2 x columns Axes. By default those of a new figure.
    **select
        One value of any other axis of the sweep, such as ``seed=0``.

    Returns
    -------
    ndarray of Axes
        Shape (2, columns); row 0 is the features. See :func:`vectors` for what they hold.

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If m is not 2, no run is finished, or the selection does not fit the sweep.
    """
    cells = open_cells(source, select if T is None else {**select, "T": T})
    require_plane(cells)
    given = T is not None
    columns = range(len(cells.coords["T"])) if given else spread_places(cells, MAX_COLUMNS)
    with canvas((0.3 + 1.05 * len(columns), 2.95), axes, rows=2, columns=len(columns)) as panels:
        draw_columns(panels, cells, columns, common_scale=False)
        for ax, place in zip(panels[1], columns, strict=True):
            run = cells.pick(T=place)
            if run is not None:
                _write(ax, run.example_dimensionality())
    return panels


def _write(ax: Axes, D: Floats) -> None:
    """The dimensionality of examples, and that of as many corners of a polygon, below a panel."""
    for text, color, y in (
        (f"$D$ {D.mean():.2f} ± {D.std():.2f}", paint("ink"), -13),
        (f"$2/T$ = {2 / D.size:.2f}", paint("muted"), -24),
    ):
        ax.annotate(
            text,
            (0.5, 0.0),
            xycoords="axes fraction",
            xytext=(0, y),
            textcoords="offset points",
            ha="center",
            va="top",
            size="small",
            color=color,
        )
