"""The axis of a figure for any axis of numbers of a sweep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import name_axis

__all__ = ["FieldAxis"]

# From this ratio of the ends on, an axis of positive values is logarithmic.
_DECADES_FROM = 20.0


class FieldAxis:
    """Numbers to the right: logarithmic where all are positive and far apart, else linear.

    Parameters
    ----------
    name : str
        The axis of the sweep.
    values : array
        All numbers that the axis has to hold.
    """

    def __init__(self, name: str, values: npt.ArrayLike) -> None:
        self.name, self.values = name, np.unique(np.asarray(values, dtype=np.float64))
        low, high = self.values[0], self.values[-1]
        self.logarithmic = bool(low > 0.0 and high >= _DECADES_FROM * low)

    def x(self, values: npt.ArrayLike) -> Floats:
        """Where values lie: at themselves."""
        return np.asarray(values, dtype=np.float64)

    def curve(self, values: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Points in rising order."""
        x, heights = self.x(values), np.asarray(y, dtype=np.float64)
        order = np.argsort(x)
        return x[order], heights[order]

    def apply(self, ax: Axes) -> None:
        """Set scale and label of an Axes."""
        if self.logarithmic:
            ax.set_xscale("log")
        ax.set_xlabel(name_axis(self.name))
