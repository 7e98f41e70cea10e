"""Where a run starts, if not at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toysup._stream import ROLES, cospi
from toysup._types import CSR
from toysup._weights import Weights
from toysup.config import TrainConfig

__all__ = ["given_start", "polygon"]


def given_start(config: TrainConfig, sample: Callable[..., CSR]) -> Weights | None:
    """The weights that a config gives to start from, if any; ``sample`` is the backend's."""
    if config.init == "polygon":
        c = config
        X = sample(c.n, 0, int(c.T), c.sparsity, c.seed, ROLES["train"], c.normalize)
        return polygon(c.n, X)
    return config.init if isinstance(config.init, Weights) else None


def polygon(n: int, X: CSR) -> Weights:
    r"""The analytic solution that stores T examples as the corners of a regular T-gon (m = 2).

    .. math:: W = r \sum_t u_t x_t^T, \quad b = -r^2 \cos(2\pi/T) \sum_t x_t, \quad
              r^2 = 1 / (1 - \cos(2\pi/T))

    with unit vectors u_t at the angles 2 pi t / T. For orthonormal examples without common features
    x' = x: at the example's own features z = r^2 x (1 - cos(2 pi / T)), and at those of the others
    z <= 0. Where examples share features it is an approximation. One example is stored with r = 1.
    """
    indptr, indices, values = X
    T = len(indptr) - 1
    t = np.repeat(np.arange(T), np.diff(indptr))
    corners = np.array([(_cospi(2 * i / T), _cospi(2 * i / T - 0.5)) for i in range(T)])
    neighbour = _cospi(2 / T) if T > 1 else 0.0
    square = 1 / (1 - neighbour)
    W = [np.bincount(indices, values * corners[t, k], n) * np.sqrt(square) for k in range(2)]
    b = -square * neighbour * np.bincount(indices, values, n)
    return Weights(np.array(W), b)


def _cospi(x: float) -> float:
    """cos(pi x) for -1 <= x <= 2."""
    return cospi(2.0 - x if x > 1.0 else abs(x))
