"""What a backend returns and calls: the same for Rust and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from toysup.config import TrainConfig

Array = npt.NDArray[np.floating[Any]]
CSR = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]


class RawRun(TypedDict):
    """The outcome of one run. Losses are in the paper's unit; arrays over steps are float64."""

    status: str  # "ok", "diverged" or "failed"
    error: str  # why, when failed
    W: Array  # (m, n)
    b: Array  # (n,)
    train_loss: float
    test_loss: float
    seconds: float
    steps_done: int
    history: dict[str, Array]  # by name, over history_step
    history_step: npt.NDArray[np.int64]
    snapshot_step: npt.NDArray[np.int64]
    snapshot_W: Array  # (snapshots, m, n)
    snapshot_b: Array  # (snapshots, n)


# History variables, in the order in which backends measure them.
HISTORY = ("train_loss", "test_loss", "W_norm", "b_norm", "max_feature_dimensionality")
# The history's test loss is taken on this many of the test examples, the final one on all.
HISTORY_TEST = 2048


def failed_run(config: TrainConfig, error: str) -> RawRun:
    """The record of a run that raised an error."""
    m, n, dtype = config.m, config.n, config.dtype
    return {
        "status": "failed",
        "error": error,
        "W": np.full((m, n), np.nan, dtype),
        "b": np.full(n, np.nan, dtype),
        "train_loss": math.nan,
        "test_loss": math.nan,
        "seconds": math.nan,
        "steps_done": 0,
        "history": {name: np.zeros(0) for name in HISTORY},
        "history_step": np.zeros(0, np.int64),
        "snapshot_step": np.zeros(0, np.int64),
        "snapshot_W": np.zeros((0, m, n), dtype),
        "snapshot_b": np.zeros((0, n), dtype),
    }


OnResult = Callable[[int, RawRun], None]
Poll = Callable[[float], bool]


class Backend(Protocol):
    """The whole of what the rest of the package asks of a backend."""

    name: str

    def isa(self) -> str:
        """The instruction set in use, e.g. "avx512"."""

    def sample(
        self, n: int, start: int, stop: int, sparsity: float, seed: int, role: int, normalize: bool
    ) -> CSR:
        """Examples start to stop of a stream."""

    def loss_and_grad(
        self, W: Array, b: Array, X: CSR, importance: npt.NDArray[np.float64], reduction: str
    ) -> tuple[float, Array, Array]:
        """The loss and its gradient with respect to W and b."""

    def train_many(
        self, configs: Sequence[TrainConfig], n_jobs: int, on_result: OnResult, poll: Poll
    ) -> None:
        """Train every config; call ``on_result(i, run)`` in this thread as soon as run i ends.

        ``poll(work)`` is called at least every 50 ms with the work done so far (in units of
        ``TrainConfig.step_cost``); when it returns True, unfinished runs are dropped.
        """
