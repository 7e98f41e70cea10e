"""Where a run starts: the examples that it draws, and its weights if they are not random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from toysup._stream.rows import train_rows
from toysup._stream.stream import ROLES, cospis
from toysup._typing import CSR
from toysup.config import TrainConfig
from toysup.config.weights import Weights

__all__ = ["Stopped", "drawn", "given_start", "polygon"]


class Stopped(Exception):
    """The run was told to stop."""


def drawn(
    config: TrainConfig,
    start: int,
    stop: int,
    role: str,
    sample: Callable[..., CSR],
    check: Callable[[], None],
) -> Iterator[CSR]:
    """Examples of a stream by a backend's ``sample``, in parts, after which ``check`` may raise."""
    c, part = config, max(1, (1 << 22) // config.n)
    for low in range(start, max(stop, start + 1), part):
        high = min(stop, low + part)
        yield sample(c.n, low, high, c.sparsity, c.seed, ROLES[role], c.normalize)
        check()


def given_start(
    config: TrainConfig, sample: Callable[..., CSR], check: Callable[[], None]
) -> Weights | None:
    """The weights that a config gives to start from, if any; the rest as of :func:`drawn`."""
    if config.init == "polygon":
        T = int(config.T)
        if config.data is not None:
            return polygon(config.n, T, [train_rows(config)])
        return polygon(config.n, T, drawn(config, 0, T, "train", sample, check))
    return config.init if isinstance(config.init, Weights) else None


def polygon(n: int, T: int, parts: Iterable[CSR]) -> Weights:
    r"""The analytic solution that stores T examples as the corners of a regular T-gon (m = 2).

    .. math:: W = r \sum_t u_t x_t^T, \quad b = -r^2 \cos(2\pi/T) \sum_t x_t, \quad
              r^2 = 1 / (1 - \cos(2\pi/T))

    with unit vectors u_t at the angles 2 pi t / T. For orthonormal examples without common features
    x' = x: at the example's own features z = r^2 x (1 - cos(2 pi / T)), and at those of the others
    z <= 0. Where examples share features it is an approximation. One example is stored with r = 1.
    """
    rows, first = np.zeros((3, n)), 0
    for indptr, indices, values in parts:
        t = np.arange(first, first := first + len(indptr) - 1)
        corners = np.array([_cospi(2.0 * t / T), _cospi(2.0 * t / T - 0.5), np.ones(len(t))])
        for row, factors in zip(rows, corners, strict=True):
            np.add.at(row, indices, values * np.repeat(factors, np.diff(indptr)))
    neighbour = float(_cospi(np.array(2 / T))) if T > 1 else 0.0
    square = 1 / (1 - neighbour)
    return Weights(rows[:2] * np.sqrt(square), -square * neighbour * rows[2])


def _cospi(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """cos(pi x) for -1 <= x <= 2."""
    return cospis(np.where(x > 1.0, 2.0 - x, np.abs(x)))
