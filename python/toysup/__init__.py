"""toysup: toy models of superposition, trained over sweeps, fast on a CPU.

>>> import toysup
>>> run = toysup.train(n=50, m=2, T=5, sparsity=0.9, steps=500, test_size=100)
>>> run.W.shape
(2, 50)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from toysup._version import __version__

if TYPE_CHECKING:
    from toysup import data, metrics, paper, plot, regime
    from toysup._backends.choose import backend_name
    from toysup._backends.versions import show_versions
    from toysup._run.model import Model
    from toysup._run.run import Run, load_run
    from toysup._run.train import loss_and_grad, train
    from toysup._sweep.plan import Plan
    from toysup._sweep.result import SweepResult
    from toysup._sweep.sweep import merge, open_sweep, plan, sweep
    from toysup.config import TrainConfig
    from toysup.errors import (
        BackendError,
        DataError,
        RunFailedError,
        SlowBackendWarning,
        StoreError,
        SurroundingsError,
        SweepInterrupted,
        ToysupError,
    )

__all__ = [
    "BackendError",
    "DataError",
    "Model",
    "Plan",
    "Run",
    "RunFailedError",
    "SlowBackendWarning",
    "StoreError",
    "SurroundingsError",
    "SweepInterrupted",
    "SweepResult",
    "ToysupError",
    "TrainConfig",
    "__version__",
    "backend_name",
    "data",
    "load_run",
    "loss_and_grad",
    "merge",
    "metrics",
    "open_sweep",
    "paper",
    "plan",
    "plot",
    "regime",
    "show_versions",
    "sweep",
    "train",
]

# Where each name lives: importing toysup alone loads nothing but this file.
_HOME = {
    "BackendError": "toysup.errors",
    "DataError": "toysup.errors",
    "Model": "toysup._run.model",
    "Plan": "toysup._sweep.plan",
    "Run": "toysup._run.run",
    "RunFailedError": "toysup.errors",
    "SlowBackendWarning": "toysup.errors",
    "StoreError": "toysup.errors",
    "SweepInterrupted": "toysup.errors",
    "SurroundingsError": "toysup.errors",
    "SweepResult": "toysup._sweep.result",
    "ToysupError": "toysup.errors",
    "TrainConfig": "toysup.config",
    "backend_name": "toysup._backends.choose",
    "load_run": "toysup._run.run",
    "loss_and_grad": "toysup._run.train",
    "merge": "toysup._sweep.sweep",
    "open_sweep": "toysup._sweep.sweep",
    "plan": "toysup._sweep.sweep",
    "show_versions": "toysup._backends.versions",
    "sweep": "toysup._sweep.sweep",
    "train": "toysup._run.train",
}
_MODULES = ("data", "metrics", "paper", "plot", "regime")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"toysup.{name}")
    else:
        raise AttributeError(f"module 'toysup' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
