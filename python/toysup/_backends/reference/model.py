"""The reference: the whole model in NumPy, with the paper's symbols.

    h = W x,    x' = ReLU(Wᵀ h + b),    L = 1/T Σ_t Σ_j I_j (x_tj − x'_tj)²

The Rust core is right when it agrees with this page. Examples are rows here, so H = X Wᵀ and
Z = H W + b; they come as dense chunks of a few rows, so that nothing is T × n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from toysup._backends.reference.chunks import dense_chunks
from toysup._floats import exact_floats
from toysup._stream.stream import cospi
from toysup._typing import CSR, Array
from toysup.config import TrainConfig

__all__ = ["Optimizer", "forward", "gradient", "learning_rate", "loss"]


def forward(W: Array, b: Array, x: Array) -> tuple[Array, Array]:
    """Both h and z = Wᵀ h + b of examples; x' is ReLU(z), or z itself if the model is linear."""
    h = x @ W.T
    return h, h @ W + b


def loss(
    W: Array, b: Array, X: CSR, importance: Array, linear: bool, stop: Callable[[], bool]
) -> tuple[float, float]:
    """L in the paper's unit: importance-weighted squared error, summed over features, mean over X.

    With it the sum of the squares of the losses of the examples. Always in double precision,
    whatever the type of W.
    """
    W, b, total, squares = W.astype(np.float64), b.astype(np.float64), 0.0, 0.0
    for x in dense_chunks(X, W.shape[1], np.float64, stop):
        _, z = forward(W, b, x)
        error = x - (z if linear else np.maximum(z, 0.0))
        losses = error * error @ importance
        total += float(np.sum(losses))
        squares += float(losses @ losses)
    return total / (len(X[0]) - 1), squares


def gradient(
    W: Array,
    b: Array,
    X: CSR,
    importance: Array,
    scale: float,
    linear: bool,
    stop: Callable[[], bool],
) -> tuple[Array, Array]:
    """Gradient of ``scale`` Σ_t Σ_j I_j (x_tj − x'_tj)² with respect to W and b.

    With r_tj = 2 scale I_j (x'_tj − x_tj) where z_tj > 0, and 0 elsewhere (∂L/∂z); everywhere, if
    the model is linear:

        ∂L/∂b = Σ_t r_t,    ∂L/∂W = Σ_t h_t r_tᵀ  (decoder)  +  Σ_t (W r_t) x_tᵀ  (encoder).
    """
    # Sums over chunks are kept in double: there can be thousands of them.
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    factor = (2.0 * scale * importance).astype(W.dtype)
    for x in dense_chunks(X, W.shape[1], W.dtype, stop):
        h, z = forward(W, b, x)
        r = factor * (z - x)
        if not linear:
            r = np.where(z > 0, r, 0).astype(W.dtype, copy=False)
        db += r.sum(axis=0, dtype=np.float64)
        dW += h.T @ r + (r @ W.T).T @ x
    return dW.astype(W.dtype), db.astype(b.dtype)


@exact_floats()
def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of update ``step`` (from 0): linear warm-up, then as ``schedule`` says."""
    warmup = config.warmup_steps
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    highest, lowest = config.learning_rate, config.final_learning_rate
    if config.schedule == "constant" or config.steps == warmup:
        return highest
    progress = (step - warmup) / (config.steps - warmup)
    if config.schedule == "quarter_cosine":
        return lowest + (highest - lowest) * cospi(0.5 * progress)
    return lowest + (highest - lowest) * 0.5 * (1.0 + cospi(progress))


class Optimizer:
    """AdamW, Adam and SGD with momentum, as PyTorch defines them.

    Moments below the smallest normal number become 0: those of dead features would otherwise stay
    denormal for ever, which is slow and means nothing.
    """

    def __init__(self, config: TrainConfig, parameters: Sequence[Array]) -> None:
        self.config = config
        self.parameters = parameters
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]
        self.powers = [1.0, 1.0]  # β₁ and β₂ to the power of the number of updates

    def step(self, rate: float, gradients: Sequence[Array]) -> None:
        """One update of the parameters, in place."""
        c, (beta1, beta2) = self.config, self.config.betas
        self.powers = [self.powers[0] * beta1, self.powers[1] * beta2]
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            if p.ndim == 1 and not c.learn_bias:
                continue
            decay = c.weight_decay if p.ndim == 2 or c.decay_bias else 0.0
            if c.optimizer == "adamw":
                p *= 1.0 - rate * decay
            else:
                g = g + decay * p
            if c.optimizer == "sgd":
                self.first[i] = _flushed(c.momentum * self.first[i] + g)
                p -= rate * self.first[i]
            else:
                self.first[i] = _flushed(beta1 * self.first[i] + (1.0 - beta1) * g)
                self.second[i] = _flushed(beta2 * self.second[i] + (1.0 - beta2) * g * g)
                root = np.sqrt(self.second[i]) / math.sqrt(1.0 - self.powers[1])
                move = self.first[i] / (root + c.eps)  # it is small, though both may be huge
                p -= rate / (1.0 - self.powers[0]) * move


def _flushed(a: Array) -> Array:
    """``a`` itself, with its denormals set to zero."""
    a[np.abs(a) < np.finfo(a.dtype).tiny] = 0
    return a
