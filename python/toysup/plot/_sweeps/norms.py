"""Figure 4, lower part: the sizes of W and b against T."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from toysup.plot._parts.curves import abscissa, curve, line_at
from toysup.plot._parts.limits import mark_curves
from toysup.plot._parts.source import Cells, Source, open_cells
from toysup.plot._parts.style import canvas, paint
from toysup.plot._parts.t_axis import TAxis

__all__ = ["norms"]


def norms(
    source: Source, *, features: int | None = None, ax: Axes | None = None, **select: Any
) -> Axes:
    """Draw the Frobenius norm of W and the Euclidean norm of b against T, mean over seeds.

    Each seed is a faint dot. What the axis of a given ``ax`` leaves out is marked at its edge, as
    :func:`against` does it.

    Parameters
    ----------
    source : Run, SweepResult, Dataset, str or PathLike
        A run, a sweep, a sweep's data set, or the path of a store or of a run's file.
    features : int, optional
        Draws a dotted line at the norm of a W that holds so many features of length 1 and nothing
        else, which is the square root. In the paper it is 5 for m = 2.
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
        draw_norms(ax, cells, axis, features)
        axis.apply(ax)
        ax.legend(loc="best")
    return ax


def draw_norms(ax: Axes, cells: Cells, axis: TAxis, features: int | None) -> None:
    """The two curves of cells sorted by T, the line at √features and the y axis."""
    if features is not None:
        line_at(ax, features**0.5)
        ax.annotate(
            rf"$\sqrt{{{features}}}$",
            (1.0, features**0.5),
            xycoords=ax.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=paint("muted"),
            annotation_clip=False,
        )
    means = []
    # Neither blue nor red: those stand for features and examples.
    for name, color, marker, linestyle, label in (
        ("W_norm", paint("green"), "o", "-", r"$\|W\|_F$"),
        ("b_norm", paint("violet"), "s", "--", r"$\|b\|_2$"),
    ):
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": linestyle}
        mean = curve(ax, axis, cells, name, label=label, **look)
        means.append((axis.x(abscissa(cells)), mean, color))
    if ax.get_yscale() == "linear":
        ax.set_ylim(bottom=0.0)
    mark_curves(ax, means)
    ax.set_ylabel("norm")
