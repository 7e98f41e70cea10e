"""Lowest train loss of the solutions that store examples and of those that store features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup.plot._parts.curves import line_at
from toysup.plot._parts.limits import mark_beyond
from toysup.plot._parts.style import canvas, paint
from toysup.plot._parts.t_axis import TAxis

__all__ = ["branches"]

MARKERS = {"examples": "o", "features": "s"}
NAMES = {"examples": "examples stored", "features": "features stored"}


def branches(
    points: Sequence[Any],
    best: Mapping[str, Mapping[float, Any]],
    crossing: tuple[float, float] | None = None,
    *,
    axes: object = None,
) -> npt.NDArray[np.object_]:
    """Draw train loss above test loss: every run as a faint mark, the best of a branch as a line.

    Runs far above the best ones are triangles at the edge.

    Parameters
    ----------
    points : sequence
        All runs, with the attributes T, train_loss, test_loss and branch: "examples" or "features".
    best : mapping
        By branch and by T, the run of lowest train loss.
    crossing : pair of float, optional
        The T between which the lower train loss changes from one branch to the other.
    axes : Axes, optional
        Where to draw, two; by default a new figure.

    Returns
    -------
    array of Axes, shape (2,)
    """
    axis = TAxis(point.T for point in points)
    with canvas((5.6, 5.6), axes, rows=2) as panels:
        for ax, variable in zip(panels[:, 0], ("train_loss", "test_loss"), strict=True):
            for name, by_T in best.items():
                if not by_T:
                    continue
                every = [point for point in points if point.branch == name]
                style: dict[str, Any] = {"color": paint(name), "marker": MARKERS[name]}
                style |= {"markeredgewidth": 0}
                x, y = axis.x([p.T for p in every]), [getattr(p, variable) for p in every]
                ax.plot(x, y, linestyle="none", markersize=3.0, alpha=0.3, **style)
                y = [getattr(point, variable) for point in by_T.values()]
                x = axis.x(list(by_T))
                ax.plot(x, y, markersize=4.5, zorder=3, label=NAMES[name], **style)
            if crossing is not None:
                ax.axvspan(
                    *axis.x(crossing), color=paint("muted"), alpha=0.15, linewidth=0, zorder=0
                )
            line_at(ax, 1.0)
            _limit(ax, [getattr(p, variable) for by_T in best.values() for p in by_T.values()])
            for name in best:
                every = [point for point in points if point.branch == name]
                x, y = axis.x([p.T for p in every]), [getattr(p, variable) for p in every]
                mark_beyond(ax, x, y, paint(name), numbers=None, markersize=3.0, alpha=0.6)
            ax.set_ylabel(variable.replace("_", " "))
            axis.apply(ax, label=variable == "test_loss")
        panels[0, 0].legend(loc="lower right")
        panels[0, 0].set_title("lowest train loss of each branch, and all runs", loc="left")
    return panels[:, 0]


def _limit(ax: Axes, best: list[float]) -> None:
    """End the axis beyond the best runs; of others above it, triangles at the edge tell."""
    low, high = min([*best, 1.0]), max([*best, 1.0])
    ax.set_ylim(low - 0.08 * (high - low) - 1e-4, high + 0.12 * (high - low) + 1e-4)
