"""A number per run against T or another axis: mean over seeds, which are dots, a curve a hue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from toysup._means import nan_mean
from toysup.errors import nearest
from toysup.plot._parts.field_axis import FieldAxis
from toysup.plot._parts.source import Cells, Floats
from toysup.plot._parts.style import MARKERS, hue_colors, paint
from toysup.plot._parts.t_axis import TAxis

__all__ = ["abscissa", "curve", "hue_legend", "hues", "line_at", "thinned"]

# More entries of a legend than this hide the curves.
_MAX_LEGEND = 12


def hues(cells: Cells, hue: str | None, along: str = "T") -> Iterator[tuple[Cells, str, Any, str]]:
    """The part of the cells, label, colour and marker of each curve along an axis.

    Raises
    ------
    ValueError
        If ``hue`` is no axis of the sweep, or another axis than ``along`` and seed has several
        values.
    """
    known = [a for a in cells.coords if a not in (along, "seed")]
    if hue is None:
        hue = "m" if len(cells.coords["m"]) > 1 and along != "m" else None
    elif hue not in known:
        raise ValueError(
            f"hue must be an axis of the sweep other than {along} and seed ({', '.join(known)}), "
            f"got {hue!r}{nearest(str(hue), known)}"
        )
    cells.require_fixed(
        along,
        "seed",
        *([hue] if hue else []),
        hint=', or draw a curve for each with hue="…"' if hue is None else "",
    )
    if hue is None:
        yield cells, _over_seeds(cells, along), paint("ink"), "o"
        return
    values = cells.labels[hue]
    for k, (value, color) in enumerate(zip(values, hue_colors(len(values)), strict=True)):
        text = f"{value:g}" if isinstance(value, float) else str(value)
        text = f"{value:,}" if isinstance(value, int) else text
        yield cells.take({hue: [k]}), text, color, MARKERS[k % len(MARKERS)]


def _over_seeds(cells: Cells, along: str) -> str:
    """Over how many finished seeds the points are means, as it stands in the legend."""
    done = cells.finished
    counts = done.sum([axis for axis in done.dims if axis != along]).to_numpy()
    most = int(np.max(counts, initial=1))
    fewest = int(np.min(counts[counts > 0], initial=most))
    if most == 1:
        return "one seed"
    return f"mean of {most} seeds" if fewest == most else f"mean of {fewest} to {most} seeds"


def curve(
    ax: Axes,
    axis: TAxis | FieldAxis,
    cells: Cells,
    variable: str,
    *,
    color: Any,
    label: str,
    marker: str = "o",
    linestyle: str = "-",
    factor: float = 1.0,
    along: str = "T",
) -> Floats:
    """Draw one variable against an axis, or its values times a factor; returns the mean over seeds.

    The mean is that of each value of the axis.
    """
    T = abscissa(cells, factor, along)
    dims = (along, "seed") if "seed" in cells.coords and along != "seed" else (along,)
    seeds = cells.values(variable, *dims).reshape(T.size, -1)
    mean = nan_mean(seeds)
    if seeds.shape[1] > 1:
        ax.plot(
            np.repeat(axis.x(T), seeds.shape[1]),
            seeds.ravel(),
            linestyle="none",
            marker="o",
            markersize=2.6,
            markeredgewidth=0,
            color=color,
            alpha=0.35,
            label=f"_{label} seeds",
        )
    x, y = axis.curve(T, mean)
    ax.plot(
        x,
        y,
        linestyle=linestyle,
        marker=marker,
        markersize=4.2,
        markeredgewidth=0,
        color=color,
        label=label,
    )
    return mean


def abscissa(cells: Cells, factor: float = 1.0, along: str = "T") -> Floats:
    """T times a factor, without the last bits that would tell equal products apart.

    Another axis has its own values, arrays by their means.
    """
    values = [float(np.mean(v)) for v in cells.coords[along]]
    x: Floats = np.asarray(values, dtype=np.float64)
    return np.round(x * factor, 9) if along == "T" else x


def line_at(ax: Axes, height: float) -> None:
    """A dotted line across the panel."""
    ax.axhline(height, linestyle=":", linewidth=1.0, color=paint("muted"), zorder=1, label="_line")


def hue_legend(ax: Axes, hue: str) -> None:
    """The value of each curve's hue; of very many, every k-th, as their colours are in order."""
    lines, labels, title = thinned(ax, hue.replace("_", " "), _MAX_LEGEND)
    ax.legend(lines, labels, title=title, loc="best")


def thinned(ax: Axes, title: str, limit: int) -> tuple[list[Any], list[str], str]:
    """At most ``limit`` of the labelled lines, their labels, and a title that says which."""
    lines, labels = ax.get_legend_handles_labels()
    step = -(-len(lines) // limit)
    some = f"{title} (one of {step})" if step > 1 else title
    return lines[::step], labels[::step], some
