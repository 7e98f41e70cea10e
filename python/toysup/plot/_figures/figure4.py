"""Figure 4: vectors at one scale for all T, and how large W and b are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from toysup.plot._parts.source import Source, open_cells
from toysup.plot._parts.style import paint, thousands, whole_figure
from toysup.plot._parts.t_axis import TAxis
from toysup.plot._parts.vectors import MAX_COLUMNS, draw_columns, require_plane, spread_places
from toysup.plot._sweeps.norms import draw_norms

__all__ = ["figure4"]


def figure4(
    source: Source,
    *,
    T: Sequence[float] | None = None,
    features: int | None = 5,
    seed: int | None = None,
    fig: Figure | SubFigure | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw figure 4 of the paper: vectors at one scale for all T, and norms of W and b, for m = 2.

    The vectors are those of the run of lowest train loss of each T, or of one seed. A bar shows the
    length 1 in each row. The norms are means over seeds; each seed is a faint dot.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file.
    T : sequence of float, optional
        The T whose vectors are drawn. By default all that have a finished run, or ten spread over
        them if there are more.
    features : int, optional
        Draws a dotted line at √features; see :func:`norms`.
    seed : int, optional
        The seed of the vectors.
    fig : Figure or SubFigure, optional
        Where to draw; by default a new figure, 7.4 inches wide.
    **select
        One value of any other axis of the sweep, such as ``m=2``.

    Returns
    -------
    ndarray of Axes
        The features and then the examples of each T, and the norms.

    Raises
    ------
    TypeError
        If the source or ``fig`` is something else.
    ValueError
        If m is not 2, no run is finished, or the selection does not fit the sweep.
    """
    cells = open_cells(source, select).sort("T")
    require_plane(cells)
    chosen = cells if seed is None else cells.select({"seed": seed})
    chosen.require_finished()
    shown = chosen if T is None else chosen.select({"T": T})
    given = T is not None
    columns = range(len(shown.coords["T"])) if given else spread_places(shown, MAX_COLUMNS)
    with whole_figure((7.4, 4.1), fig) as figure:
        layout = figure.add_gridspec(3, len(columns), height_ratios=(1.0, 1.0, 2.9))
        pairs = np.empty((2, len(columns)), dtype=object)
        for row, column in np.ndindex(pairs.shape):
            pairs[row, column] = figure.add_subplot(layout[row, column])
        draw_columns(pairs, shown, columns, common_scale=True)
        for row in pairs:
            _draw_unit(row[0])
        for ax, place in zip(pairs[0], columns, strict=True):
            ax.set_title(f"T = {thousands(shown.coords['T'][place])}")  # short: panels are narrow
        ax = figure.add_subplot(layout[2, :])
        axis = TAxis(cells.coords["T"])
        draw_norms(ax, cells, axis, features)
        axis.apply(ax)
        ax.legend(loc="best")
    return np.array([*pairs.ravel(), ax], dtype=object)


def _draw_unit(ax: Axes) -> None:
    """A bar of length 1 in the lower left corner, which the panels to the right share."""
    low, high = ax.get_xlim()
    left, bottom = low + 0.07 * (high - low), low + 0.08 * (high - low)
    ax.plot([left, left + 1.0], [bottom, bottom], color=paint("ink"), linewidth=1.4, label="_unit")
    ax.annotate(
        "1",
        (left + 0.5, bottom),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        size="x-small",
        color=paint("ink"),
    )
