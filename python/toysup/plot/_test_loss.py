"""Figure 3, upper pane, and figures A1 and A2: test loss against T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path

from toysup.plot._curves import curve, hues, line_at
from toysup.plot._source import Cells, Floats, Source, open_cells
from toysup.plot._style import canvas, paint
from toysup.plot._t_axis import TAxis

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
    of the curve is well seen, and a mean beyond it is drawn as a triangle at the edge.

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
            title = hue or "m"
            ax.legend(title=title.replace("_", " "), loc="best")
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
            means.append((T, y, None))
    line_at(ax, 1.0)
    low, high = ylim or loss_limits(np.concatenate([mean for _, mean, _ in means]))
    if ylim is None and any(known["paper, at least"].values()):  # an arrow has room above its foot
        high = max(high, max(known["paper, at least"].values()) + 0.3 * (high - low))
    ax.set_ylim(low, high)
    for T, mean, color in means:
        over = mean > high
        if color is not None and np.any(over):
            edge = high - 0.035 * (high - low)
            ax.plot(
                axis.x(T[over]),
                np.full(over.sum(), edge),
                linestyle="none",
                marker="^",
                markersize=5,
                markeredgewidth=0,
                color=color,
                clip_on=False,
                label="_above",
            )
    ax.set_ylabel("test loss")


def loss_limits(losses: Floats) -> tuple[float, float]:
    """Ends of a loss axis that shows the line at 1 and most losses well.

    A loss counts as far above when it lies more than 3.5 times as far from 1 as three quarters of
    all losses do.
    """
    known = losses[np.isfinite(losses)]
    away = np.abs(known - 1.0)
    low = min(1.0, float(known.min()))
    high = max(1.0, float(known.max()))
    typical = 1.0 + 3.5 * float(np.quantile(away, 0.75))
    if high > 1.3 * (typical - 1.0) + 1.0:
        high = max(typical, 1.0 + 1e-12)
    margin = 0.06 * (high - low) or 1e-3
    return low - margin, high + margin
