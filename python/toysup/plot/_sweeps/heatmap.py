"""Figure 5: one number of every cell, over T and m or two other axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle

from toysup.plot._parts.source import Floats, Source, open_cells
from toysup.plot._parts.style import canvas, name_axis, name_variable, paint

__all__ = ["heatmap"]

# The outline of a cell around its middle.
_SQUARE = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5))


def heatmap(
    source: Source,
    variable: str = "test_loss",
    *,
    x: str = "T",
    y: str = "m",
    vmin: float | None = None,
    vmax: float | None = None,
    annotate: bool | str = False,
    ridge: Mapping[Any, Any] | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
    **select: Any,
) -> Axes:
    """Draw the mean over seeds of a variable as a map over two axes: T (across) and m (upwards).

    The values of both axes are drawn at equal distances, whatever lies between them. A cell
    without a finished run is hatched.

    Parameters
    ----------
    source : Run, SweepResult, Dataset, str or PathLike
        A run, a sweep, a sweep's data set, or the path of a store or of a run's file.
    variable : str, default "test_loss"
        A data variable of the sweep's dataset.
    x, y : str
        The axes of the sweep that lie across and upwards, such as "learning_rate"; by default T
        and m.
    vmin, vmax : float, optional
        Ends of the colour scale; by default those of the data. Figure 5 has 1 and 1.57.
    annotate : bool or str, default False
        Whether to write the value into each cell; a string is the format. By default it is
        ".3f" for values about 1, such as losses, which differ in the third decimal, else ".3g".
    ridge : mapping of m to T, optional
        Cells to outline, such as those of largest loss; outlines of neighbouring rows are joined.
        Rows and columns that the map lacks are left out. With other axes it maps values of ``y`` to
        values of ``x``.
    colorbar : bool, default True
        Whether to add a colour bar.
    ax : Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``weight_decay=0.01`` or ``m=[2, 4, 8]``.

    Returns
    -------
    Axes
        With a QuadMesh whose array has shape (m, T), or that of ``y`` and ``x``, masked where no
        run is finished. The ridge is a line labelled "ridge".

    Raises
    ------
    TypeError
        If the source or ``ax`` is something else.
    ValueError
        If no run is finished, the variable is unknown, ``x`` or ``y`` is no axis, both are the
        same, or an axis other than these and seed has several values.
    """
    cells = open_cells(source, select)
    cells.require_axis("x", x)
    cells.require_axis("y", y)
    if x == y:
        raise ValueError(f"x and y must be two axes, got {x!r} for both")
    cells = cells.sort(x, y)
    cells.require_fixed(x, y, "seed", hint=f', or lay it along a side, as {x} is by x="{x}"')
    values = cells.mean(variable, y, x)
    cells.require_finished(variable)
    across, upwards = cells.coords[x], cells.coords[y]
    with canvas((1.9 + 0.42 * len(across), 1.1 + 0.3 * len(upwards)), ax) as panels:
        ax = panels[0, 0]
        mesh = _draw_mesh(ax, values, vmin, vmax)
        _hatch(ax, np.isnan(values))
        if annotate:
            _write(ax, mesh, values, annotate if isinstance(annotate, str) else _spec(values))
        _draw_ridge(ax, across, upwards, ridge or {})
        ax.set_xticks(np.arange(len(across)), cells.texts(x))
        ax.set_yticks(np.arange(len(upwards)), cells.texts(y))
        ax.tick_params(length=0)
        ax.set(xlabel=name_axis(x), ylabel=name_axis(y))
        if colorbar:
            _add_colorbar(ax, mesh, values, name_variable(variable))
    return ax


def _draw_mesh(ax: Axes, values: Floats, vmin: float | None, vmax: float | None) -> QuadMesh:
    rows, columns = values.shape
    mesh = ax.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap="plasma",
        vmin=vmin,
        vmax=vmax,
        edgecolors=paint("paper"),
        linewidth=0.4,
    )
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    ax.spines[:].set_visible(False)
    return mesh


def _hatch(ax: Axes, missing: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    for row, column in np.argwhere(missing):
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=paint("wash"),
                edgecolor=paint("rule"),
                hatch="////",
                linewidth=0.0,
                label="_missing",
            )
        )


def _spec(values: Floats) -> str:
    """A format for values that are about 1, or for any others."""
    known = values[np.isfinite(values)]
    return ".3f" if np.all((known > 0.5) & (known < 10.0)) else ".3g"


def _write(ax: Axes, mesh: QuadMesh, values: Floats, spec: str) -> None:
    colors = mesh.to_rgba(values)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            # Luminance as sRGB weighs it; white on the dark half, black on the light.
            light = float(np.dot(colors[row, column, :3], (0.2126, 0.7152, 0.0722)))
            ax.text(
                column,
                row,
                format(value, spec),
                ha="center",
                va="center",
                size="xx-small",
                color="black" if light > 0.5 else "white",
            )


def _draw_ridge(ax: Axes, across: list[Any], upwards: list[Any], ridge: Mapping[Any, Any]) -> None:
    """An outline of the ridge's cells, joined along the border of neighbouring rows."""
    places = [
        (across.index(ridge[k]), row) for row, k in enumerate(upwards) if ridge.get(k) in across
    ]
    if not places:
        return
    points: list[tuple[float, float]] = []
    for i, (x, y) in enumerate(places):
        points += [(x + dx, y + dy) for dx, dy in _SQUARE]
        if i + 1 < len(places) and places[i + 1][1] == y + 1:
            side = np.sign(places[i + 1][0] - x) * 0.5
            points += [(np.nan, np.nan), (x + side, y + 0.5), (places[i + 1][0] - side, y + 0.5)]
        points.append((np.nan, np.nan))
    for color, width, label in (("black", 3.2, "_ridge"), ("white", 1.8, "ridge")):
        # A line on a darker one is seen on every colour.
        ax.plot(
            *zip(*points, strict=True),
            color=color,
            linewidth=width,
            solid_joinstyle="round",
            clip_on=False,
            label=label,
            zorder=2.5,
        )


def _add_colorbar(ax: Axes, mesh: QuadMesh, values: Floats, name: str) -> None:
    low, high = mesh.get_clim()
    under, over = bool(np.nanmin(values) < low), bool(np.nanmax(values) > high)
    extend = "both" if under and over else "min" if under else "max" if over else "neither"
    bar = ax.figure.colorbar(mesh, ax=ax, extend=extend, label=name, pad=0.02)
    bar.outline.set_visible(False)
