"""The axis of all curves: T on a logarithmic scale, with a place of its own for T = ∞."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from toysup.plot._parts.style import paint, thousands

__all__ = ["TAxis"]

Floats = npt.NDArray[np.float64]


class TAxis:
    """Where each T is drawn: a finite T at itself, ∞ a little to the right of the largest one.

    Parameters
    ----------
    values : iterable of float
        Every T that the axis has to hold, in any order.

    Attributes
    ----------
    values : ndarray
        The different T, in rising order.
    infinity : float or None
        The x of T = ∞, if it is among the values.
    """

    def __init__(self, values: Iterable[float]) -> None:
        self.values: Floats = np.unique(np.asarray(list(values), dtype=np.float64))
        self.finite: Floats = self.values[np.isfinite(self.values)]
        low, high = (self.finite[0], self.finite[-1]) if self.finite.size else (1.0, 1.0)
        # Margins are in decades: a share of the span, but some room also around a single T.
        span = math.log10(high / low)
        infinite = self.values.size > self.finite.size
        self._gap = max(0.11 * span, 0.25) if infinite and self.finite.size else 0.0
        self._margin = 0.04 * (span + self._gap) if span > 0 else 0.3
        self.infinity = float(high) * 10**self._gap if infinite else None

    def x(self, T: npt.ArrayLike) -> Floats:
        """The x of each T."""
        values = np.asarray(T, dtype=np.float64)
        x = np.where(np.isinf(values), self.infinity or np.nan, values)
        return x

    def curve(self, T: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Points in order of T, with a NaN before T = ∞ so that a line stops at the break."""
        values, heights = np.asarray(T, dtype=np.float64), np.asarray(y, dtype=np.float64)
        order = np.argsort(values)
        x, heights = self.x(values[order]), heights[order]
        if self.infinity is not None and self.finite.size and np.isinf(values[order][-1]):
            return np.insert(x, -1, np.nan), np.insert(heights, -1, np.nan)
        return x, heights

    def room(self, T: npt.ArrayLike) -> Floats:
        """Half the width, in decades, free around each of these T, in rising order."""
        at = np.log10(self.x(T))
        if at.size == 1:
            return np.array([0.6 * self._margin])
        gaps = np.diff(at)
        nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
        widest = 0.02 * (at[-1] - at[0] + 2 * self._margin)
        free: Floats = np.minimum(0.45 * nearest, widest)
        return free

    def apply(self, ax: Axes, *, label: bool = True) -> None:
        """Set scale, limits, ticks and the break mark of an Axes."""
        at = self.x(self.values)
        ax.set_xscale("log")
        ax.set_xlim(at[0] / 10**self._margin, at[-1] * 10**self._margin)
        major = self._ticks()
        names = [thousands(tick) for tick in major]
        places = list(major)
        if self.infinity is not None:
            places.append(self.infinity)
            names.append("∞")
        ax.xaxis.set_major_locator(FixedLocator(places))
        ax.xaxis.set_major_formatter(FixedFormatter(names))
        ax.xaxis.set_minor_locator(FixedLocator(self._minor_ticks()))
        ax.xaxis.set_minor_formatter(NullFormatter())
        if label:
            ax.set_xlabel("training examples T")
        if self.infinity is not None and self.finite.size:
            self._mark_break(ax)

    def _few(self) -> bool:
        """Whether every T can have its own label."""
        if self.finite.size < 2:
            return True
        if self.finite.size > 9:
            return False
        at = np.log10(self.finite)
        return bool(np.min(np.diff(at)) >= 0.05 * (at[-1] - at[0]))

    def _ticks(self) -> list[float]:
        if self._few():
            return list(self.finite)
        low, high = math.ceil(math.log10(self.finite[0])), math.log10(self.finite[-1])
        decades = [10.0**k for k in range(low, math.floor(high) + 1)]
        return decades if len(decades) > 1 else [float(self.finite[0]), float(self.finite[-1])]

    def _minor_ticks(self) -> list[float]:
        if self._few():
            return []
        low, high = self.finite[0], self.finite[-1]
        first = math.floor(math.log10(low))
        marks = [
            k * 10.0**e for e in range(first, math.ceil(math.log10(high)) + 1) for k in range(1, 10)
        ]
        return [tick for tick in marks if low <= tick <= high]

    def _mark_break(self, ax: Axes) -> None:
        """Two slashes on the lower edge, between the largest finite T and ∞."""
        middle = float(self.finite[-1]) * 10 ** (0.5 * self._gap)
        gap = Path([(-0.5, -1), (0.0, 1), (0.5, 1), (0.0, -1), (-0.5, -1)])
        sides = Path([(-0.5, -1), (0.0, 1), (0.0, -1), (0.5, 1)], [1, 2, 1, 2])
        line = ax.spines["bottom"].get_edgecolor()
        for shape, face, edge in ((gap, paint("paper"), "none"), (sides, "none", line)):
            ax.plot(
                [middle],
                [0],
                transform=ax.get_xaxis_transform(),
                linestyle="none",
                marker=shape,
                markersize=9,
                markerfacecolor=face,
                markeredgecolor=edge,
                markeredgewidth=0.7,
                clip_on=False,
                zorder=10,
                label="_break",
            )
