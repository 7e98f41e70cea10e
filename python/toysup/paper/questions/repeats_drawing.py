"""Repeated examples: the map over T and R, the vectors without and with one, and histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import MARKERS, canvas, hue_colors, label_T, paint, thousands
from toysup.plot._parts.vectors import draw_panel
from toysup.plot._steps.history import step_axis

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["Curve", "Line", "repeated_histories", "repeated_map", "repeated_vectors"]

# Label, T, R and line style of a boundary in the map.
Line = tuple[str, Floats, Floats, str]

_MAX_COLUMNS = 4
_LIMIT: Any = {"linestyle": ":", "linewidth": 1.0, "zorder": 1}
_RING: Any = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 9,
    "markerfacecolor": "none",
    "zorder": 5,
}
# Dimensionalities below this are left out.
_LEAST = 1e-5


def repeated_map(
    T: Sequence[float],
    R: Sequence[int],
    dimensionality: Floats,
    loss: Floats,
    memorized: Sequence[Sequence[str]],
    lines: Sequence[Line],
) -> npt.NDArray[np.object_]:
    """Two maps over T (across) and R (upwards), both logarithmic: dimensionality and loss.

    Parameters
    ----------
    T, R : sequence
        The values of the axes, rising.
    dimensionality, loss : array of shape (R, T)
        Of the repeated example, mean over the seeds; NaN where no run is finished.
    memorized : sequence of sequence of str
        What to write into each cell, such as "1/2", in the same order.
    lines : sequence of (label, T, R, line style)
        Boundaries to compare with.

    Returns
    -------
    ndarray of Axes
        Shape (2,), with a QuadMesh each.
    """
    known = dimensionality[np.isfinite(dimensionality) & (dimensionality > 0)]
    norm = LogNorm(known.min(), max(known.max(), 1.01 * known.min())) if known.size else None
    with canvas((7.4, 3.2), columns=2) as panels:
        left, right = panels[0]
        mesh = _mesh(left, T, R, dimensionality, memorized)
        mesh.set(cmap="plasma", norm=norm)
        _bar(left, mesh, "its dimensionality")
        mesh = _mesh(right, T, R, loss, memorized)
        mesh.set(cmap="plasma_r", clim=(0.0, 1.0))
        _bar(right, mesh, "its train loss")
        for ax in (left, right):
            for label, x, y, style in lines:
                ax.plot(x, y, "-", color=paint("paper"), linewidth=3.2, label="_halo")
                ax.plot(x, y, style, color=paint("ink"), linewidth=1.4, label=label)
        left.set_title("in the cells: how many seeds memorize it", loc="left", size="small")
        left.set_ylabel("R, how often one example occurs")
        handles, labels = left.get_legend_handles_labels()
        if lines:
            left.figure.legend(handles, labels, loc="outside upper center", ncols=2)
    drawn: npt.NDArray[np.object_] = panels[0]
    return drawn


def _mesh(
    ax: Axes,
    T: Sequence[float],
    R: Sequence[int],
    values: Floats,
    texts: Sequence[Sequence[str]],
) -> QuadMesh:
    """The cells, with a text in each."""
    mesh = ax.pcolormesh(
        _edges(T), _edges(R), np.ma.masked_invalid(values), edgecolors=paint("paper"), linewidth=0.4
    )
    for i, j in np.ndindex(values.shape):
        ax.text(
            T[j],
            R[i],
            texts[i][j],
            ha="center",
            va="center",
            size="x-small",
            color=paint("ink"),
            bbox={
                "boxstyle": "round,pad=0.15",
                "facecolor": paint("paper"),
                "alpha": 0.75,
                "linewidth": 0,
            },
        )
    _log_axes(ax, T, R)
    return mesh


def _bar(ax: Axes, mesh: QuadMesh, name: str) -> None:
    known: Floats = np.ma.masked_invalid(np.ma.asarray(mesh.get_array())).compressed()
    top = mesh.get_clim()[1]
    over = known.size > 0 and bool(np.any(known > top))
    extend = "max" if over else "neither"
    bar = ax.figure.colorbar(mesh, ax=ax, label=name, pad=0.02, extend=extend)
    bar.outline.set_visible(False)


def _edges(values: Sequence[float]) -> Floats:
    """Ends of the cells around these values, halfway on a logarithmic scale."""
    at = np.log(np.asarray(values, dtype=np.float64))
    half = 0.5 * np.diff(at) if at.size > 1 else np.array([0.35])
    return np.exp(
        np.concatenate(([at[0] - half[0]], at[:-1] + 0.5 * np.diff(at), [at[-1] + half[-1]]))
    )


def _log_axes(ax: Axes, T: Sequence[float], R: Sequence[int]) -> None:
    """Logarithmic axes with a tick at each value, and the limits of the cells."""
    ax.set(xscale="log", yscale="log", xlim=_edges(T)[[0, -1]], ylim=_edges(R)[[0, -1]])
    for axis, values in ((ax.xaxis, T), (ax.yaxis, R)):
        axis.set_major_locator(FixedLocator(list(values)))
        axis.set_major_formatter(FixedFormatter([thousands(v) for v in values]))
        axis.set_minor_locator(NullLocator())
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("training examples T")


def repeated_vectors(
    runs: Sequence[Run], examples: Sequence[int], titles: Sequence[str]
) -> npt.NDArray[np.object_]:
    """Features (blue, above) and examples (faint red, below) of some runs, for m = 2.

    Parameters
    ----------
    runs : sequence of Run
        A column for each.
    examples : sequence of int
        The number of the example that each run repeats: a star, and a dashed line to the rim.
    titles : sequence of str
        What stands above each column.

    Returns
    -------
    ndarray of Axes
        Shape (2, columns).
    """
    with canvas((0.4 + 2.1 * len(runs), 4.4), rows=2, columns=len(runs)) as panels:
        for k, (run, t) in enumerate(zip(runs, examples, strict=True)):
            # The first T rows are the distinct examples.
            H = run.hidden()[: int(run.config.T)].astype(np.float64)
            for ax, V, name in (
                (panels[0, k], run.W.T.astype(np.float64), "features"),
                (panels[1, k], H, "examples"),
            ):
                longest = float(np.hypot(*V.T).max())
                draw_panel(ax, V, name, longest)
                ray = 1.12 * longest * H[t] / max(float(np.hypot(*H[t])), 1e-12)
                ax.plot(
                    [0, ray[0]], [0, ray[1]], "--", color=paint("muted"), linewidth=0.8, zorder=1
                )
            star = {"marker": "*", "markersize": 11, "markeredgecolor": paint("paper")}
            panels[1, k].plot(*H[t], linestyle="none", color=paint("ink"), label="repeated", **star)
            panels[0, k].set_title(titles[k])
        panels[0, 0].set_ylabel("features", color=paint("features"))
        panels[1, 0].set_ylabel("examples", color=paint("examples"))
    return panels


@dataclass(frozen=True)
class Curve:
    """The dimensionality of a repeated example over the steps, with a ring at its peak or not."""

    T: int
    R: int
    steps: npt.NDArray[np.int64]
    share: Floats
    ring: bool


def repeated_histories(curves: Sequence[Curve], limits: Mapping[int, float]) -> Figure:
    """The dimensionality of repeated examples over the steps: a panel a T, a colour for each R.

    Parameters
    ----------
    curves : sequence of Curve
        A line each.
    limits : mapping of int to float
        For each T the dimensionality from which on an example is taken for memorized: a dotted
        line.

    Returns
    -------
    Figure
        With a panel for each T, in which each curve is a line labelled with its R.
    """
    columns = min(len(limits), _MAX_COLUMNS)
    rows = -(-len(limits) // columns)
    counts = sorted({curve.R for curve in curves})
    last = max(1, *(int(curve.steps[-1]) for curve in curves))
    with canvas((1.9 + 2.1 * columns, 0.7 + 1.9 * rows), rows=rows, columns=columns) as panels:
        for ax in panels.ravel()[len(limits) :]:
            ax.set_visible(False)
        for ax, (T, limit) in zip(panels.ravel(), limits.items(), strict=False):
            for curve in curves:
                if curve.T == T:
                    _course(ax, curve, counts)
            ax.axhline(limit, color=paint("ink"), label="_line", **_LIMIT)
            step_axis(ax, last)
            ax.set(yscale="log", xlim=(min(10, last), 1.1 * last), ylim=(_LEAST, 1.0))
            ax.set_title(label_T(T))
            ax.label_outer()
        panels[0, 0].set_ylabel("dimensionality\nof the repeated example")
        figure = panels[0, 0].figure
        figure.legend(handles=_keys(counts), loc="outside right center")
    assert isinstance(figure, Figure)
    return figure


def _course(ax: Axes, curve: Curve, counts: Sequence[int]) -> None:
    """A line, with a ring at its peak."""
    k = counts.index(curve.R)
    style = _look(k, len(counts))
    ax.plot(curve.steps, curve.share, markevery=(k % 3, 4), label=f"R = {curve.R}", **style)
    if curve.ring:
        top = int(np.argmax(curve.share))
        ax.plot(
            curve.steps[top],
            curve.share[top],
            markeredgecolor=paint("examples"),
            label="_ring",
            **_RING,
        )


def _look(k: int, count: int) -> dict[str, Any]:
    """Colour and marker of the k-th R."""
    marker = MARKERS[k % len(MARKERS)]
    size = {"markersize": 3.2, "markeredgewidth": 0, "linewidth": 1.1}
    return {"color": hue_colors(count)[k], "marker": marker, **size}


def _keys(counts: Sequence[int]) -> list[Line2D]:
    """What stands in the legend."""
    lines = [
        Line2D([], [], label=f"R = {R}", **_look(k, len(counts))) for k, R in enumerate(counts)
    ]
    limit = Line2D([], [], color=paint("ink"), label="memorized above", **_LIMIT)
    ring = Line2D([], [], markeredgecolor=paint("examples"), label="near miss", **_RING)
    return [*lines, limit, ring]
