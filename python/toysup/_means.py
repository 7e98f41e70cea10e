"""Means of what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["nan_mean"]


def nan_mean(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The mean along the last axis without NaN; NaN, and no warning, where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: npt.NDArray[np.float64] = np.divide(
        total, count, out=np.full(total.shape, np.nan), where=count > 0
    )
    return mean
