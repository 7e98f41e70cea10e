"""Figure 3, middle pane: how many dimensions each feature and each example takes, against T."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes

from toysup._run.model import Model
from toysup._stream.batch import SparseBatch
from toysup.plot._parts.source import (
    Cells,
    Floats,
    Source,
    Trained,
    open_cells,
    open_weights,
    require_examples,
)
from toysup.plot._parts.style import canvas, paint
from toysup.plot._parts.t_axis import TAxis
from toysup.plot._parts.thin import top_and_quantiles

__all__ = ["dimensionality"]

# Points of one strip; of more, the largest half and quantiles of the others are drawn.
MAX_POINTS = 500
_GOLDEN = (5**0.5 - 1) / 2


def dimensionality(
    source: Trained, *, X: object = None, ax: Axes | None = None, **select: Any
) -> Axes:
    """Draw the dimensionality of every feature (blue) and training example (red) against T.

    A strip of features and a strip of examples stand side by side at each T, with the dotted line
    D = m / T: that of T examples which share the m dimensions evenly, as the corners of a regular
    polygon do. Where a sweep holds several seeds of a T, the run of lowest train loss is drawn,
    unless ``seed=`` chooses one. For T = ∞ the examples are those of the last step.

    Of more than 500 points of a strip, the 250 largest are drawn and 250 evenly spaced quantiles
    of the others. The sideways scatter carries no meaning; it is the same each time.

    Parameters
    ----------
    source : Run, Model, (W, b), SweepResult, str or PathLike
        A run, weights, a sweep, or the path of a store or of a run's file.
    X : array of shape (T, n), sparse array or SparseBatch, optional
        Examples of a run or weights, by default a run's own; weights need them.
    ax : Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``m=4``, ``seed=0`` or ``T=[3, 5]``.

    Returns
    -------
    Axes
        Each strip is a line of dots labelled "features" or "examples" (later ones "_features",
        "_examples", for the legend's sake), the dotted line is labelled "m / T".

    Raises
    ------
    TypeError
        If the source or ``ax`` is something else.
    ValueError
        If no run is finished, or an axis other than T and the seeds has several values.
    """
    given = open_weights(source, X, select)
    if given is not None:
        return _draw_model(given[0], require_examples(given[1]), ax)
    cells = open_cells(cast(Source, source), select).sort("T")
    cells.require_fixed("T", "seed", "init_seed")
    cells.require_finished()
    axis = TAxis(cells.coords["T"])
    with canvas((2.8 if cells.is_run else 6.2, 2.8), ax) as panels:
        ax = panels[0, 0]
        draw_strips(ax, cells, axis)
        axis.apply(ax)
        add_legend(ax)
    return ax


def _draw_model(model: Model, batch: SparseBatch, ax: Axes | None) -> Axes:
    """The two strips of one model and its examples."""
    axis = TAxis([len(batch)])
    with canvas((2.8, 2.8), ax) as panels:
        ax = panels[0, 0]
        room = float(axis.room(axis.values)[0])
        at = float(axis.x(axis.values)[0])
        features, examples = model.feature_dimensionality(), model.example_dimensionality(batch)
        _draw_pair(ax, at, room, features, examples, "")
        _draw_even(ax, axis, model.m)
        axis.apply(ax)
        add_legend(ax)
    return ax


def add_legend(ax: Axes) -> None:
    """A legend whose dots are larger and fuller than those of the strips."""
    for handle in ax.legend(loc="best", markerscale=1.6).legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def draw_strips(ax: Axes, cells: Cells, axis: TAxis) -> None:
    """The strips of every T of cells sorted by T, the line m / T and the y axis."""
    seen = ""
    for place, room in enumerate(axis.room(cells.coords["T"])):
        run = cells.pick(T=place)
        if run is None:
            continue
        at = float(axis.x(cells.coords["T"][place]))
        _draw_pair(ax, at, room, run.feature_dimensionality(), run.example_dimensionality(), seen)
        seen = "_"
    _draw_even(ax, axis, cells.coords["m"][0])


def _draw_pair(
    ax: Axes, at: float, room: float, features: Floats, examples: Floats, seen: str
) -> None:
    """The strips of features and of examples at one place."""
    for name, color, side, values in (
        ("features", paint("features"), -1, features),
        ("examples", paint("examples"), +1, examples),
    ):
        y = top_and_quantiles(np.asarray(values, dtype=np.float64), MAX_POINTS)
        ax.plot(
            at * 10 ** (side * room * scatter(y.size)),
            y,
            linestyle="none",
            marker="o",
            markersize=2.6 if y.size > 50 else 3.4,
            markeredgewidth=0,
            color=color,
            alpha=0.55 if y.size > 50 else 0.8,
            label=seen + name,
            rasterized=y.size > 100,
        )


def _draw_even(ax: Axes, axis: TAxis, m: int) -> None:
    """The line m / T, and the y axis."""
    if axis.finite.size:
        T = np.geomspace(axis.finite[0], axis.finite[-1], 200)
        # The line of a single T is as wide as its strips.
        half = 1.5 * float(axis.room(axis.values)[0])
        x = T if axis.finite.size > 1 else T * np.logspace(-half, half, T.size)
        ax.plot(
            x,
            m / T,
            linestyle=":",
            linewidth=1.1,
            color=paint("ink"),
            label="m / T",
            zorder=3,
        )
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("dimensionality")


def scatter(count: int) -> Floats:
    """``count`` numbers in [0.15, 1), evenly spread however many of the first are looked at."""
    golden = (0.5 + np.arange(count)) * _GOLDEN
    return np.asarray(0.15 + 0.85 * (golden - np.floor(golden)), dtype=np.float64)
