"""A scalar of the runs against an axis or T (1 - S): figures A1 and A2, and the comments'."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from toysup.plot._parts.curves import abscissa, curve, hue_legend, hues, line_at
from toysup.plot._parts.field_axis import FieldAxis
from toysup.plot._parts.limits import mark_curves
from toysup.plot._parts.source import Cells, Source, open_cells
from toysup.plot._parts.style import canvas, name_axis, name_variable
from toysup.plot._parts.t_axis import TAxis

__all__ = ["against"]

FEATURES = "T(1-S)"
LABELS = {"T": name_axis("T"), FEATURES: r"examples with a feature, $T\,(1-S)$"}


def against(
    source: Source,
    variable: str = "test_loss",
    *,
    hue: str | None = None,
    x: str = "T",
    legend: bool = True,
    room_for: Iterable[float] = (),
    ylim: tuple[float, float] | None = None,
    ax: Axes | None = None,
    **select: Any,
) -> Axes:
    """Draw a scalar of the runs, a curve for each value of an axis: the mean over seeds.

    Each seed is a faint dot. A place at which a curve has no finished run is left out of it. Where
    ``ylim`` or the axis of a given ``ax``, such as a logarithmic one, leaves out a mean, a triangle
    at the edge has its value beside it; for a seed there is a small one.

    Parameters
    ----------
    source : Run, SweepResult, Dataset, str or PathLike
        A run, a sweep, a sweep's data set, or the path of a store or of a run's file.
    variable : str
        Any number of the sweep's data set, such as "max_feature_dimensionality" or "W_norm".
    hue : str, optional
        An axis of the sweep, such as "weight_decay", of which each value gets a curve. By default
        "m" if it has several values.
    x : str, default "T"
        What lies to the right: an axis of numbers, such as "m" or "learning_rate", or "T(1-S)", in
        how many training examples a feature occurs on average, for which "sparsity" must be an
        axis.
    legend : bool
        Whether several curves get a legend.
    room_for : iterable of float
        Further places that the horizontal axis has to hold, so that it is like another's.
    ylim : (float, float), optional
        Ends of the vertical axis.
    ax : Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``m=4`` or ``T=[200, 500]``.

    Returns
    -------
    Axes
        Each curve is a line labelled "mean of … seeds", "one seed" or with its hue.

    Raises
    ------
    TypeError
        If the source or ``ax`` is something else.
    ValueError
        If no run is finished, there is no such variable, ``x`` is no axis of numbers or the
        sparsity is not known, or an axis other than that, seed and the hue has several values.
    """
    along = "T" if x == FEATURES else x
    cells = open_cells(source, select)
    if x != FEATURES:
        cells.require_axis("x", x, FEATURES)
    cells = cells.sort(along)
    if not cells.is_numeric(along):
        raise ValueError(f"x must be an axis of numbers, got {x!r}: draw it with hue={x!r}")
    if x == FEATURES and "sparsity" not in cells.coords:
        raise ValueError(f"x = {x!r} needs an axis sparsity, got {', '.join(cells.coords)}")
    parts = [(_known(part, variable, along), *look) for part, *look in hues(cells, hue, along)]
    cells.require_finished(variable)
    parts = [part for part in parts if part[0].coords[along]]
    factors = [_factor(part, x) for part, *_ in parts]
    places = [abscissa(part[0], f, along) for part, f in zip(parts, factors, strict=True)]
    values = np.concatenate([*places, list(room_for)])
    axis = TAxis(values) if along == "T" else FieldAxis(x, values)
    with canvas((6.2, 3.2), ax) as panels:
        ax = panels[0, 0]
        means = []
        for (part, label, color, marker), f, at in zip(parts, factors, places, strict=True):
            look: dict[str, Any] = {"color": color, "marker": marker, "label": label}
            mean = curve(ax, axis, part, variable, factor=f, along=along, **look)
            means.append((axis.x(at), mean, color))
        if variable == "test_loss":
            line_at(ax, 1.0)
        axis.apply(ax)
        if ylim is not None:
            ax.set_ylim(*ylim)
        mark_curves(ax, means)
        if x == FEATURES:
            ax.set_xlabel(LABELS[x])
        ax.set_ylabel(name_variable(variable))
        if legend and len(parts) > 1:
            hue_legend(ax, hue or "m")
    return ax


def _known(part: Cells, variable: str, along: str) -> Cells:
    """The cells without each place along the axis that has no finished run."""
    known = np.isfinite(part.mean(variable, along))
    return part.take({along: np.flatnonzero(known).tolist()})


def _factor(part: Cells, x: str) -> float:
    """1 - S, or the mean of all features, for T(1-S)."""
    return float(np.mean(1.0 - np.array(part.coords["sparsity"][0]))) if x == FEATURES else 1.0
