"""Questions on one page: a row of panels for each, with the answer below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from toysup._means import nan_mean
from toysup.plot._parts.curves import line_at
from toysup.plot._parts.limits import mark_beyond
from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import MARKERS, hue_colors, label_T, paint, whole_figure
from toysup.plot._parts.t_axis import TAxis
from toysup.plot._parts.thin import outer_and_spread, top_and_quantiles

__all__ = ["Line", "Panel", "Row", "Scatter", "controls"]

# Paint, marker and line style. Red stays what concerns training examples; green is the model
# without superposition, grey the one without training, violet and orange are other controls.
LOOKS = {
    "examples": ("examples", "o", "-"),
    "fresh": ("ink", "s", "-"),
    "other": ("violet", "v", "-"),
    "third": ("orange", "P", "-"),
    "linear": ("green", "^", "-"),
    "blank": ("muted", "D", "--"),
    "crosses": ("ink", "x", ""),
    "diamonds": ("orange", "d", ""),
}
# Examples of one T that are drawn.
_MAX_STRIP = 120
_MAX_SCATTER = 400


@dataclass(frozen=True, eq=False)
class Line:
    """Values at each T: their mean is a line.

    Attributes
    ----------
    label, look : str
        The look is one of :data:`LOOKS`.
    points : mapping of float to array
        Values by T: of some runs, or of many examples.
    dots : bool
        Whether each value is a faint dot, too.
    strip : bool
        Whether values are dots only, those of many examples, a little to one side of their T.
    """

    label: str
    look: str
    points: Mapping[float, Floats]
    dots: bool = False
    strip: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """Lines over T.

    Attributes
    ----------
    title, ylabel : str
        What is above it and beside it.
    lines : sequence of Line
        The first strip is left of its T, another one right of it.
    yscale : {"linear", "log", "symlog"}
        "symlog" is linear between -0.01 and 0.01.
    level : float, optional
        The height of a dotted line.
    share : (float, str), optional
        A dotted line y = share / T, and its label.
    ylim : (float or None, float or None)
        Ends of the axis.
    legend : str or (float, float)
        Where the legend is, as Matplotlib has it.
    """

    title: str
    ylabel: str
    lines: Sequence[Line]
    yscale: str = "linear"
    level: float | None = None
    share: tuple[float, str] | None = None
    ylim: tuple[float | None, float | None] = (None, None)
    legend: str | tuple[float, float] = "best"


@dataclass(frozen=True, eq=False)
class Scatter:
    """Two values of each example against each other.

    ``groups`` has T, x, y and which examples are drawn full, the others being hollow.
    """

    title: str
    xlabel: str
    ylabel: str
    groups: Sequence[tuple[float, Floats, Floats, npt.NDArray[np.bool_]]]
    legend: str = "best"


@dataclass(frozen=True, eq=False)
class Row:
    """A question, the answer, and panels to judge it by."""

    question: str
    answer: str
    panels: Sequence[Panel | Scatter]


def controls(rows: Sequence[Row]) -> Figure:
    """Draw one page, 7.6 inches wide: a row of panels for each question.

    Returns
    -------
    Figure
        With the Axes of all panels, from left to right and from above.
    """
    with whole_figure((7.6, 2.68 * len(rows)), None) as figure:
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            part.suptitle(row.question, x=0.008, ha="left", size=10.0, weight="bold")
            answer = textwrap.fill(row.answer, 128)
            part.supxlabel(answer, x=0.008, ha="left", size=7.8, color=paint("ink"))
            axes = part.subplots(1, len(row.panels), squeeze=False)[0]
            for ax, panel in zip(axes, row.panels, strict=True):
                _scatter(ax, panel) if isinstance(panel, Scatter) else _panel(ax, panel)
                ax.set_title(panel.title, loc="left", size="small")
                ax.set_ylabel(panel.ylabel, size="small")
                ax.tick_params(labelsize="x-small")
                ax.xaxis.label.set_size("small")
                if ax.get_legend_handles_labels()[0]:
                    ax.legend(loc=panel.legend, fontsize=6.3, handlelength=1.6, labelspacing=0.25)
    assert isinstance(figure, Figure)
    return figure


def _panel(ax: Axes, panel: Panel) -> None:
    axis = TAxis({T for line in panel.lines for T in line.points})
    if not axis.values.size:
        ax.text(
            0.5,
            0.5,
            "no run",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=paint("muted"),
        )
        return
    side = -1
    for line in panel.lines:
        if line.strip:
            _strip(ax, axis, line, side)
            side = 1
        elif line.points:
            _line(ax, axis, line)
    if panel.level is not None:
        line_at(ax, panel.level)
    if panel.share is not None and axis.finite.size:
        T = np.geomspace(axis.finite[0], axis.finite[-1], 200)
        ax.plot(T, panel.share[0] / T, ":", linewidth=1.1, color=paint("ink"), label=panel.share[1])
    axis.apply(ax)
    if panel.yscale == "symlog":
        ax.set_yscale("symlog", linthresh=0.01, linscale=0.8)
    else:
        ax.set_yscale(panel.yscale)
    if panel.yscale != "linear":
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(*panel.ylim)
    for line in panel.lines:
        if line.points and not line.strip:
            means = [float(nan_mean(line.points[t])) for t in sorted(line.points)]
            mark_beyond(ax, axis.x(sorted(line.points)), means, paint(LOOKS[line.look][0]))


def _line(ax: Axes, axis: TAxis, line: Line) -> None:
    """The mean of the values at each T and, if asked for, the values themselves."""
    name, marker, style = LOOKS[line.look]
    color = paint(name)
    T = np.array(sorted(line.points), dtype=np.float64)
    values = [line.points[t] for t in T]
    if line.dots:
        x = np.repeat(axis.x(T), [v.size for v in values])
        look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgewidth": 0}
        label = f"_{line.label} runs"
        ax.plot(x, _joined(values), color=color, alpha=0.6, markersize=2.6, label=label, **look)
    ax.plot(
        *axis.curve(T, [float(nan_mean(v)) for v in values]),
        linestyle=style or "none",
        marker=marker,
        markersize=3.6 if style else 5.0,
        markeredgewidth=0 if style else 1.0,
        markerfacecolor=color if style else "none",
        linewidth=1.2,
        color=color,
        label=line.label,
        zorder=3 if style else 4,
    )


def _strip(ax: Axes, axis: TAxis, line: Line, side: int) -> None:
    """Dots of many values, beside their T."""
    name, marker, _ = LOOKS[line.look]
    color = paint(name)
    T = np.array(sorted(line.points), dtype=np.float64)
    room = axis.room(T) if T.size else T
    values = [top_and_quantiles(line.points[t][np.isfinite(line.points[t])], _MAX_STRIP) for t in T]
    x = axis.x(T) * 10 ** (0.5 * side * room)
    ax.plot(
        np.repeat(x, [v.size for v in values]),
        _joined(values),
        linestyle="none",
        marker=marker,
        markersize=2.0,
        markeredgewidth=0,
        color=color,
        alpha=0.45,
        label=line.label,
        rasterized=True,
    )


def _scatter(ax: Axes, panel: Scatter) -> None:
    colors = hue_colors(len(panel.groups))
    for k, (T, x, y, full) in enumerate(panel.groups):
        shown = outer_and_spread(x, _MAX_SCATTER)
        face = [colors[k] if full[i] else (1.0, 1.0, 1.0, 0.0) for i in shown]
        marker = MARKERS[k % len(MARKERS)]
        look: dict[str, Any] = {"marker": marker, "s": 11.0, "linewidths": 0.6}
        ax.scatter(x[shown], y[shown], facecolors=face, edgecolors=[colors[k]], alpha=0.8, **look)
        ax.scatter([], [], color=[colors[k]], label=label_T(T), **look)
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(panel.xlabel)


def _joined(values: Iterable[Floats]) -> Floats:
    parts = list(values)
    return np.concatenate(parts) if parts else np.zeros(0)
