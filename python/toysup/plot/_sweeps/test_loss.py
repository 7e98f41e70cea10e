"""Figure 3, upper pane, and figures A1 and A2: test loss against T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path

from toysup.plot._parts.curves import curve, hue_legend, hues, line_at
from toysup.plot._parts.limits import MAX_BEYOND, loss_limits, mark_curves, scale_loss, seed_lines
from toysup.plot._parts.source import Cells, Source, open_cells
from toysup.plot._parts.style import canvas, paint
from toysup.plot._parts.t_axis import TAxis

__all__ = ["test_loss"]

# An arrow upwards that stands on a foot, where the marker is put.
_ARROW = Path(
    [(-0.4, 0), (0.4, 0), (0, 0), (0, 1), (-0.3, 0.55), (0, 1), (0.3, 0.55)], [1, 2, 1, 2, 1, 2, 2]
)


def test_loss(
    source: Source,
    *,
    hue: str | None = None,
    reference: Mapping[float, float] | None = None,
    reference_above: Mapping[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    ax: Axes | None = None,
    **select: Any,
) -> Axes:
    """Draw test loss against T: the mean over seeds, each seed as a faint dot, a dotted line at 1.

    The loss is in the paper's unit, summed over features. The effects are of the order of 1e-3
    while a few small T may lie far above; so the axis ends, unless ``ylim`` is given, where most
    of the curve is well seen. A mean beyond it is a triangle at the edge with its value beside it,
    and a seed a small one; where there would be more than six, or two of one T, the axis holds all
    of them and is linear up to 0.03 from 1 and logarithmic beyond.

    Parameters
    ----------
    source : Run, SweepResult, Dataset, str or PathLike
        A run, a sweep, a sweep's data set, or the path of a store or of a run's file.
    hue : str, optional
        An axis of the sweep, such as "weight_decay", of which each value gets a curve. By default
        "m" if it has several values.
    reference : mapping of T to loss, optional
        Losses to compare with, drawn as hollow diamonds labelled "paper"; NaN leaves one out.
    reference_above : mapping of T to loss, optional
        Lower bounds to compare with, drawn as arrows upwards labelled "paper, at least".
    ylim : (float, float), optional
        Ends of the loss axis.
    ax : Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``m=4`` or ``T=[200, 500]``.

    Returns
    -------
    Axes
        Each curve is a line labelled "mean of … seeds", "one seed" or with its hue. It has a NaN
        before T = ∞, which is drawn to the right of the largest finite T. The reference is a line
        labelled "paper".

    Raises
    ------
    TypeError
        If the source or ``ax`` is something else.
    ValueError
        If no run is finished, or an axis other than T, seed and the hue has several values.
    """
    cells = open_cells(source, select).sort("T")
    parts = list(hues(cells, hue))
    cells.require_finished("test_loss")
    known = {"paper": dict(reference or {}), "paper, at least": dict(reference_above or {})}
    axis = TAxis([*cells.coords["T"], *(T for losses in known.values() for T in losses)])
    with canvas((6.2, 2.8), ax) as panels:
        ax = panels[0, 0]
        draw_losses(ax, axis, parts, known, ylim)
        axis.apply(ax)
        if len(parts) > 1:
            hue_legend(ax, hue or "m")
        elif any(known.values()):
            ax.legend(loc="best")
    return ax


def draw_losses(
    ax: Axes,
    axis: TAxis,
    parts: list[tuple[Cells, str, Any, str]],
    known: Mapping[str, Mapping[float, float]],
    ylim: tuple[float, float] | None,
) -> None:
    """The curves, what is known by its label, the line at 1 and the loss axis."""
    means = []
    for cells, label, color, marker in parts:
        mean = curve(ax, axis, cells, "test_loss", color=color, marker=marker, label=label)
        means.append((np.asarray(cells.coords["T"], dtype=np.float64), mean, color))
    for label, losses in known.items():
        pairs = np.array([(T, y) for T, y in sorted(losses.items()) if np.isfinite(y)])
        if pairs.size:
            T, y = pairs.T
            arrow = label != "paper"
            ax.plot(
                axis.x(T),
                y,
                linestyle="none",
                marker=_ARROW if arrow else "D",
                markersize=15 if arrow else 5.5,
                markerfacecolor="none",
                markeredgecolor=paint("orange"),
                markeredgewidth=1.0,
                label=label,
                zorder=4,
            )
            means.append((T, y, paint("orange")))
    line_at(ax, 1.0)
    seeds = seed_lines(ax)
    values = np.concatenate([mean for _, mean, _ in means])
    low, high = ylim or loss_limits(values)
    if ylim is None and any(known["paper, at least"].values()):  # an arrow has room above its foot
        high = max(high, max(known["paper, at least"].values()) + 0.3 * (high - low))
    ax.set_ylabel("test loss")
    above = np.concatenate([T[mean > high] for T, mean, _ in means])
    if ylim is None and (above.size > MAX_BEYOND or np.unique(above).size < above.size):
        scale_loss(ax, np.concatenate([values, *(np.asarray(line.get_ydata()) for line in seeds)]))
        return
    ax.set_ylim(low, high)
    mark_curves(ax, [(axis.x(T), mean, color) for T, mean, color in means])
