"""Figure 1: the features of one model beside the hidden vectors of fresh data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup import metrics
from toysup.config.checks import as_int
from toysup.plot._parts.source import Floats, Source, open_cells
from toysup.plot._parts.style import canvas, label_T, paint
from toysup.plot._parts.vectors import draw_panel, require_plane

__all__ = ["figure1"]

_MAX_EXAMPLES = 100_000


def figure1(
    source: Source, *, examples: int = 5000, axes: npt.ArrayLike | None = None, **select: Any
) -> npt.NDArray[np.object_]:
    """Draw figure 1 of the paper: features (blue) beside hidden vectors of fresh data (red).

    A model of m = 2 that was trained on infinite data holds five features as a regular pentagon.
    An example is one or a few of them and many others; its hidden vector h = W x lies along an arm
    of a star. Dotted lines show the directions of the represented features
    (:meth:`Run.represented`), and the dimensionality of each is written at its tip.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file. Of a sweep the largest T is
        drawn unless ``T=`` chooses one, and of several seeds the run of lowest train loss.
    examples : int, default 5000
        Number of examples, the first ones of the stream of test examples.
    axes : array of Axes, optional
        Two Axes; by default those of a new figure.
    **select
        One value of any axis of the sweep, such as ``T=math.inf`` or ``seed=0``.

    Returns
    -------
    ndarray of Axes
        Shape (2,), the features first. In each panel the lines from the origin are a
        LineCollection and the tips a PathCollection, both labelled "features" or "examples".

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If m is not 2, no run is finished, or the selection does not fit the sweep.
    """
    count = as_int("examples", examples, 1, _MAX_EXAMPLES)
    cells = open_cells(source, select)
    require_plane(cells)
    run = next(found for place in _falling(cells.coords["T"]) if (found := cells.pick(T=place)))
    X = run.test_set(count)
    if len(X) == 0:
        raise ValueError("the run has no test examples: its data set has none, or all were drawn")
    count = len(X)
    features = np.asarray(run.W, dtype=np.float64).T
    hidden = np.asarray(run.hidden(X), dtype=np.float64)
    with canvas((5.6, 3.02), axes, columns=2) as panels:
        left, right = panels[0]
        reach = np.hypot(*features.T).max()
        draw_panel(left, features, "features", 1.36 * reach)  # with room for the numbers
        draw_panel(right, hidden, "examples", np.hypot(*hidden.T).max(), limit=count)
        _draw_arms(left, right, features, np.flatnonzero(run.represented()))
        left.set_title(f"features, {label_T(run.config.T)}", color=paint("features"))
        right.set_title(f"{count:,} fresh examples", color=paint("examples"))
    pair: npt.NDArray[np.object_] = panels[0]
    return pair


def _falling(T: list[float]) -> list[int]:
    """Positions of the T, the largest first."""
    return sorted(range(len(T)), key=lambda place: -T[place])


def _draw_arms(left: Axes, right: Axes, features: Floats, places: npt.NDArray[np.intp]) -> None:
    """The dimensionality of each of these features at its tip, and its direction beside it."""
    reach = 1.5 * right.get_xlim()[1]
    D = metrics.dimensionality(features)
    for place in places:
        unit = features[place] / np.hypot(*features[place])
        right.plot(
            *np.outer(unit, (0.0, reach)),
            linestyle=":",
            linewidth=0.9,
            color=paint("muted"),
            zorder=0,
            label="_direction",
        )
        left.annotate(
            f"$D$ = {D[place]:.2f}",
            features[place],
            xytext=(16.0 * unit[0], 9.0 * unit[1]),
            textcoords="offset points",
            ha="center",
            va="center",
            size="x-small",
            color=paint("muted"),
            zorder=4,
        )
