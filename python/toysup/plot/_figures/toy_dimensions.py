"""Figures of "Toy Models of Superposition": dimensions per feature, and their sticky values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from toysup.plot._figures.toy_features import density, finished_runs
from toysup.plot._parts.limits import mark_beyond
from toysup.plot._parts.source import Source
from toysup.plot._parts.style import canvas, paint

__all__ = ["POLYTOPES", "toy_dimensions"]

# m / n of regular arrangements of n vectors in m dimensions, and the height at which to write the
# name, which keeps neighbours apart.
POLYTOPES = {
    "own dimension 1": (1.0, 1.0),
    "tetrahedron 3/4": (3 / 4, 3 / 4),
    "triangle 2/3": (2 / 3, 2 / 3),
    "antipodal pair 1/2": (1 / 2, 1 / 2),
    "pentagon 2/5": (2 / 5, 0.412),
    "square antiprism 3/8": (3 / 8, 0.358),
}


def toy_dimensions(
    source: Source, *, axes: npt.ArrayLike | None = None, **select: Any
) -> npt.NDArray[np.object_]:
    """Draw dimensions per feature and the dimensionality of each feature against 1 / (1 - S).

    Above is D* = m / ||W||_F^2: a feature that is represented has a length of about 1, so that
    ||W||_F^2 counts them. Below is a dot for each feature, with lines where regular arrangements
    of vectors put it. Where a sweep holds several seeds, the run of lowest test loss is drawn.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep over ``sparsity``, or the path of a store or of a run's file.
    axes : array of Axes, optional
        Two Axes; by default those of a new figure.
    **select
        Values of any axis of the sweep.

    Returns
    -------
    ndarray of Axes
        Shape (2,). The line of the first is labelled "dimensions per feature", the dots of the
        second "features".

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If no run is finished, or an axis other than the sparsity and the seeds has several values.
    """
    runs = finished_runs(source, select)
    rareness = np.array([1.0 / density(run.config.sparsity) for run in runs])
    with canvas((6.2, 5.2), axes, rows=2) as panels:
        upper, lower = panels[:, 0]
        weights = [float(np.sum(run.W.astype(np.float64) ** 2)) for run in runs]
        shares = [run.config.m / total for run, total in zip(runs, weights, strict=True)]
        upper.plot(
            rareness,
            shares,
            color=paint("features"),
            marker="o",
            markersize=4.2,
            markeredgewidth=0,
            label="dimensions per feature",
        )
        for height, text in ((1.0, "one feature a dimension"), (0.5, "two, as antipodal pairs")):
            _line(upper, height, text)
        upper.set_ylabel(r"dimensions per feature, $m / \|W\|_F^2$")
        D = [run.feature_dimensionality() for run in runs]
        lower.plot(
            np.repeat(rareness, [values.size for values in D]),
            np.concatenate(D),
            linestyle="none",
            marker="o",
            markersize=3.4,
            markeredgewidth=0,
            color=paint("features"),
            alpha=0.3,
            label="features",
            rasterized=True,
        )
        for text, (height, at) in POLYTOPES.items():
            _line(lower, height, text, at)
        lower.set_ylabel("dimensionality of a feature")
        for ax in (upper, lower):
            ax.set(xscale="log", ylim=(-0.03, 1.06))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        mark_beyond(upper, rareness, shares, paint("features"))
        lower.set_xlabel("1 / (1 − S), rarer features to the right")
    return panels[:, 0]


def _line(ax: Axes, height: float, text: str, at: float | None = None) -> None:
    """A dotted line across, and its name to the right of the panel."""
    ax.axhline(height, linestyle=":", linewidth=1.0, color=paint("muted"), zorder=0, label="_line")
    ax.annotate(
        text,
        (1.0, height if at is None else at),
        xytext=(4, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        size="x-small",
        color=paint("ink"),
    )
