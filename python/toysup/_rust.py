"""The Rust core behind the same door as the NumPy reference: see ``_types.Backend``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import _native
from toysup._types import CSR, HISTORY_TEST, Array, OnResult, Poll, RawRun, failed_run
from toysup.config import TrainConfig

__all__ = ["isa", "loss_and_grad", "name", "sample", "train_many"]

name = "native"
isa = _native.isa
sample = _native.sample


def loss_and_grad(
    W: Array, b: Array, X: CSR, importance: npt.NDArray[np.float64], reduction: str
) -> tuple[float, Array, Array]:
    """The loss of this reduction and its gradient."""
    W, b = np.ascontiguousarray(W), np.ascontiguousarray(b)
    return _native.loss_and_grad(W, b, X, importance, W.shape[1] if reduction == "mean" else 1)


def _job(config: TrainConfig) -> dict[str, Any]:
    """What the core needs to know of a config."""
    return {
        **config.to_dict(),
        "batch": config.batch,
        "infinite": config.T == math.inf,
        "importance": config.importances(),
        "init_seed": config.weight_seed,
        "mean": config.loss_reduction == "mean",
        "warmup_steps": config.warmup_steps,
        "history_test": HISTORY_TEST,
        "record_steps": config.record_steps(),
        "snapshot_steps": config.snapshot_steps(),
        "cost": config.step_cost(),
    }


def train_many(
    configs: Sequence[TrainConfig], n_jobs: int, on_result: OnResult, poll: Poll
) -> None:
    """Train every config in a pool of threads, longest first."""

    def finish(i: int, raw: RawRun) -> None:
        failed = raw["status"] == "failed"
        on_result(i, failed_run(configs[i], raw["error"]) if failed else raw)

    _native.train_many([_job(config) for config in configs], n_jobs, finish, poll)
