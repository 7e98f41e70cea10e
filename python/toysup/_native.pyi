"""Types of the Rust extension.

``gradients``, ``panic_for_test`` and ``trace`` are only in builds with the cargo feature ``doors``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "__version__",
    "available_isas",
    "check",
    "epoch_order",
    "gradients",
    "isa",
    "loss_and_grad",
    "panic_for_test",
    "philox",
    "sample",
    "trace",
    "train_many",
]

__version__: str

def available_isas() -> list[str]: ...
def check(job: Mapping[str, Any]) -> None: ...
def epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]: ...
def gradients(
    w: npt.NDArray[np.floating[Any]],
    b: npt.NDArray[np.floating[Any]],
    x: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]],
    importance: npt.NDArray[np.float64],
    features: float,
    pace: float,
    kernel: str,
    threads: int,
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]: ...
def isa() -> str: ...
def loss_and_grad(
    w: npt.NDArray[np.floating[Any]],
    b: npt.NDArray[np.floating[Any]],
    x: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]],
    importance: npt.NDArray[np.float64],
    features: float,
    activation: str,
) -> tuple[float, npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]: ...
def panic_for_test() -> None: ...
def philox(key: Sequence[int], counter: Sequence[int]) -> list[int]: ...
def sample(
    n: int,
    start: int,
    stop: int,
    sparsity: float | Sequence[float],
    seed: int,
    role: int,
    normalize: bool,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]: ...
def trace(
    job: Mapping[str, Any], every: int, check: bool, kernel: str | None, threads: int
) -> dict[str, npt.NDArray[np.float64]]: ...
def train_many(
    outlines: Sequence[Mapping[str, Any]],
    make: Callable[[int], Mapping[str, Any] | None],
    n_jobs: int,
    memory: int,
    on_result: Callable[[int, Any], object],
    poll: Callable[[float, Sequence[tuple[int, int]], int], bool],
    on_state: Callable[[int, dict[str, Any]], object],
    interval: float,
) -> int: ...
