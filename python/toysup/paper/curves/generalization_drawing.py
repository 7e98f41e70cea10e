"""Curves of several sparsities against T and against T (1 - S), where they may collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup.plot._parts.source import Floats, Source
from toysup.plot._parts.style import canvas, paint
from toysup.plot._sweeps.against import LABELS, against

__all__ = ["collapse"]


def collapse(
    sources: Mapping[str, Source],
    variable: str = "max_feature_dimensionality",
    jumps: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    *,
    axes: object = None,
) -> npt.NDArray[np.object_]:
    """Draw a scalar for several sparsities: against T on the left, against T (1 - S) on the right.

    Parameters
    ----------
    sources : mapping of str to source
        By the title of a row, a sweep with the axis "sparsity" as :func:`against` takes it.
    variable : str
        Any number of the sweeps' data sets.
    jumps : mapping of title to pairs of float, optional
        T and T (1 - S) at which each curve jumps; their range is shaded, and how many times its
        least the most is, is written there. NaN is left out.
    axes : Axes, optional
        Where to draw, two for each source; by default a new figure.

    Returns
    -------
    array of Axes, shape (sources, 2)

    Raises
    ------
    TypeError, ValueError
        As :func:`against`.
    """
    rows = len(sources)
    with canvas((7.2, 2.6 * rows), axes, rows=rows, columns=2) as panels:
        for pair, (title, source) in zip(panels, sources.items(), strict=True):
            at = np.array((jumps or {}).get(title) or np.empty((0, 2)), dtype=np.float64)
            for ax, x, places in zip(pair, LABELS, at.T, strict=True):
                left = ax is pair[0]
                against(source, variable, hue="sparsity", x=x, legend=left, ax=ax)
                _shade(ax, places[np.isfinite(places)])
            pair[0].set_title(title, loc="left")
            pair[1].set_ylabel("")
        highest = max(ax.get_ylim()[1] for ax in panels.ravel())
        for ax in panels.ravel():
            ax.set_ylim(0.0, highest)
    return panels


def _shade(ax: Axes, places: Floats) -> None:
    """Shade the range of the places, and write the factor between its ends."""
    if places.size < 2:
        return
    low, high = float(places.min()), float(places.max())
    ax.axvspan(low, high, color=paint("ink"), alpha=0.07, linewidth=0, zorder=0, label="_jumps")
    ax.annotate(
        f"× {high / low:.1f}",
        ((low * high) ** 0.5, 0.0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        color=paint("muted"),
    )
