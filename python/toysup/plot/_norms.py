"""Figure 4, lower part: the sizes of W and b against T."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from toysup.plot._curves import curve
from toysup.plot._source import Source, open_cells
from toysup.plot._style import canvas
from toysup.plot._t_axis import TAxis

__all__ = ["norms"]


def norms(source: Source, *, ax: Axes | None = None, **select: Any) -> Axes:
    """Draw the Frobenius norm of W and the Euclidean norm of b against T, mean over seeds.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file.
    ax : Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``m=4`` or ``seed=0``.

    Returns
    -------
    Axes
        With one line for W and one for b, in this order, after the faint dots of the seeds; a NaN
        stands before T = ∞.

    Raises
    ------
    TypeError
        If the source or ``ax`` is something else.
    ValueError
        If no run is finished, or an axis other than T and seed has several values.
    """
    cells = open_cells(source, select).sort("T")
    cells.require_fixed("T", "seed")
    cells.require_finished()
    axis = TAxis(cells.coords["T"])
    with canvas((6.2, 2.6), ax) as panels:
        ax = panels[0, 0]
        # Neither blue nor red: those stand for features and examples.
        curve(ax, axis, cells, "W_norm", color="#1b7837", marker="o", label=r"$\|W\|_F$")
        curve(
            ax,
            axis,
            cells,
            "b_norm",
            color="#762a83",
            marker="s",
            label=r"$\|b\|_2$",
            linestyle="--",
        )
        axis.apply(ax)
        ax.set_ylim(bottom=0.0)
        ax.set_ylabel("norm")
        ax.legend(loc="best")
    return ax
