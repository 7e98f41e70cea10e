"""The Rust core behind the same door as the NumPy reference: see ``protocol.Backend``."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import _native
from toysup._backends.protocol import (
    HISTORY_TEST,
    Failed,
    OnResult,
    Options,
    Poll,
    State,
)
from toysup._floats import exact_floats
from toysup._stream.rows import test_rows, train_rows
from toysup._stream.start import Stopped, given_start
from toysup._system.processors import ThreadWarning
from toysup._typing import CSR, Array
from toysup._version import __version__
from toysup.config import TrainConfig

__all__ = ["check_state", "isa", "loss_and_grad", "name", "sample", "train_many"]

# Counts what a state holds: one of another number is not read.
_STATES = 2
# More memory than there is.
_ANY = 2**63 - 1

name = "native"
isa = _native.isa
sample = exact_floats()(_native.sample)


@exact_floats()
def loss_and_grad(
    W: Array,
    b: Array,
    X: CSR,
    importance: npt.NDArray[np.float64],
    reduction: str,
    activation: str = "relu",
) -> tuple[float, Array, Array]:
    """The loss of this reduction and its gradient."""
    features = W.shape[1] if reduction == "mean" else 1
    W, b = np.ascontiguousarray(W), np.ascontiguousarray(b)
    return _native.loss_and_grad(W, b, X, importance, features, activation)


def _outline(config: TrainConfig) -> dict[str, Any]:
    """What the core needs to know of a config before its run begins."""
    return {
        "n": config.n,
        "m": config.m,
        "batch": config.batch,
        "infinite": config.T == math.inf,
        "steps": config.steps,
        "cost": config.step_cost(),
        "memory": min(_ANY, config.memory()),
    }


def _job(
    config: TrainConfig, state: State | None = None, check: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """What the core needs to know of a config when its run begins; ``check`` may raise."""
    return {
        **config.to_dict(),
        "batch": config.batch,
        "examples": config.examples,
        "copies": config.copies(),
        "init": config.init if config.init == "xavier_normal" else "xavier_uniform",
        "given": _given(config, check),
        "biases": config.biases(),
        "infinite": config.T == math.inf,
        "rows": _rows(config),
        "test_size": config.tested,
        "importance": config.importances(),
        "init_seed": config.weight_seed,
        "mean": config.loss_reduction == "mean",
        "warmup_steps": config.warmup_steps,
        "history_test": HISTORY_TEST,
        "record_steps": config.record_steps(),
        "snapshot_steps": config.snapshot_steps(),
        "state": state,
    }


def _rows(config: TrainConfig) -> tuple[CSR, CSR] | None:
    """The training and the test examples, if they are not drawn from the stream."""
    if config.data is None:
        return None
    return train_rows(config), test_rows(config)


def _given(config: TrainConfig, check: Callable[[], None]) -> tuple[Array, Array] | None:
    """W, row by row, and b to start from in double precision, if the config gives them."""
    given = given_start(config, sample, check)
    return None if given is None else (given.W.ravel().astype(float), given.b.astype(float))


def maker() -> str:
    """What a state depends on besides its run."""
    kernel = os.environ.get("TOYSUP_KERNEL") or "auto"
    return f"toysup {__version__} native {kernel} {_STATES}"


def check_state(config: TrainConfig, state: State) -> None:
    """Raise ``ValueError``, saying why, if a run cannot go on from there to the same bits."""
    if state.get("maker") != maker():
        raise ValueError(f"it was made by {state.get('maker')}, this is {maker()}")
    try:
        _native.check(_job(config, state))
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error


@exact_floats()
def train_many(
    configs: Sequence[TrainConfig],
    n_jobs: int,
    on_result: OnResult,
    poll: Poll,
    options: Options | None = None,
) -> None:
    """Train every config in a pool of threads, longest first."""
    options, warning = options or Options(), ThreadWarning()
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise Stopped

    def make(i: int) -> dict[str, Any] | None:
        try:
            return _job(configs[i], options.on_start(i), check)
        except Stopped:
            return None

    def finish(i: int, raw: Any) -> None:
        failed = raw["status"] == "failed"
        on_result(i, Failed(raw["error"], raw["steps_done"]) if failed else raw)

    def tick(work: float, running: Sequence[tuple[int, int]], missing: int) -> bool:
        warning.missing(missing)
        options.on_running(running)
        if poll(work):
            stopped.set()
        return stopped.is_set()

    def keep(i: int, state: State) -> None:
        options.on_state(i, {**state, "maker": maker()})

    missing = _native.train_many(
        [_outline(config) for config in configs],
        make,
        n_jobs,
        _ANY if options.memory is None else options.memory,
        finish,
        tick,
        keep,
        options.interval,
    )
    warning.missing(missing)
