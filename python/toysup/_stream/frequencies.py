"""How often features occur, if they do not occur equally often."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup._stream.stream import exp, log

__all__ = ["power_law_densities"]


@exact_floats()
def power_law_densities(n: int, active: float, exponent: float) -> npt.NDArray[np.float64]:
    """min(1, c i^-exponent) for i = 1 ... n, with the sum ``active``, in (0, n].

    The first k are 1, for the least k such that the others are at most 1 if they share the rest.
    """
    low, high = 0, n - 1
    while low < high:
        k = (low + high) // 2
        if active <= k + math.fsum(_ratios(n, k, exponent)):
            high = k
        else:
            low = k + 1
    ratios = _ratios(n, low, exponent)
    rest = min(active - low, math.fsum(ratios))  # rounding may leave it above
    return np.concatenate((np.ones(low), rest / math.fsum(ratios) * ratios))


def _ratios(n: int, k: int, exponent: float) -> npt.NDArray[np.float64]:
    """((k + 1) / i)^exponent for i = k + 1 ... n."""
    i = np.arange(k + 1, n + 1, dtype=np.float64)
    with np.errstate(under="ignore", over="ignore"):
        return exp(-exponent * log(i / (k + 1)))
