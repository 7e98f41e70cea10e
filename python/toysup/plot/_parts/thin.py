"""Which of many points to draw: always the same ones, and always the largest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["outer_and_spread", "top_and_quantiles"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def outer_and_spread(size: Floats, limit: int) -> Places:
    """At most ``limit`` places: the largest quarter of them, the rest evenly spread by number.

    Examples are independent draws, so every k-th of them is a fair sample of all; the largest are
    few and are what the eye looks for.
    """
    count = size.shape[0]
    if count <= limit:
        return np.arange(count)
    largest = np.argsort(-size, kind="stable")[: limit // 4]
    rest = np.setdiff1d(np.arange(count), largest)
    spread = np.linspace(0, rest.size - 1, limit - largest.size).astype(np.intp)
    return np.sort(np.concatenate((largest, rest[spread])))


def top_and_quantiles(values: Floats, limit: int) -> Floats:
    """At most ``limit`` values, falling: the largest half of them, then evenly spaced quantiles."""
    falling = -np.sort(-values)
    if falling.size <= limit:
        return falling
    top = limit // 2
    ranks = np.linspace(top, falling.size - 1, limit - top).astype(np.intp)
    return np.concatenate((falling[:top], falling[ranks]))
