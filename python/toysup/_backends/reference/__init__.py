"""The NumPy reference behind the door that every backend has: see ``protocol.Backend``.

:mod:`~toysup._backends.reference.model` is the model; the other files train it. What the Rust core
does this does too, more slowly, where the core is not there.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from toysup._backends.reference.model import gradient, loss
from toysup._backends.reference.pool import train_many
from toysup._backends.reference.run import check_state, maker
from toysup._floats import exact_floats, refuse_inexact_blas
from toysup._stream.stream import sample
from toysup._typing import CSR, Array

__all__ = ["check_state", "isa", "loss_and_grad", "maker", "name", "sample", "train_many"]

name = "numpy"


def isa() -> str:
    """NumPy chooses its own instruction set."""
    return "numpy"


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
    refuse_inexact_blas(os.getpid())
    linear = activation == "linear"
    per_feature = W.shape[1] if reduction == "mean" else 1
    scale = 1.0 / ((len(X[0]) - 1) * per_feature)
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss(W, b, X, importance, linear, _never)[0] / per_feature
        return value, *gradient(W, b, X, importance, scale, linear, _never)


def _never() -> bool:
    return False
