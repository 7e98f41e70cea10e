"""The reference: the whole model in NumPy, with the paper's symbols.

    h = W x,    x' = ReLU(Wᵀ h + b),    L = 1/T Σ_t Σ_j I_j (x_tj − x'_tj)²

The Rust core is right when it agrees with this module, and this module runs everything when the
core is not there. Examples are rows here, so H = X Wᵀ and Z = H W + b. Nothing is T × n: examples
pass through in chunks of a fixed number of entries.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np
import numpy.typing as npt

from toysup._stream import ROLES, cospi, initial_weights, sample
from toysup._types import CSR, HISTORY, HISTORY_TEST, Array, OnResult, Poll, RawRun, failed_run
from toysup.config import TrainConfig
from toysup.metrics import dimensionality

__all__ = ["isa", "learning_rate", "loss_and_grad", "name", "sample", "train_many"]

name = "numpy"

# Entries of a dense (examples x n) chunk: small enough for a cache, large enough for BLAS.
_CHUNK = 1 << 18


def isa() -> str:
    """NumPy chooses its own instruction set."""
    return "numpy"


class Stopped(Exception):
    """The run was told to stop."""


# ------------------------------------------------------------------------------------- the model


def _chunks(X: CSR, n: int, dtype: npt.DTypeLike) -> Iterator[Array]:
    """The examples as dense arrays of at most ``_CHUNK`` entries."""
    indptr, indices, values = X
    rows = max(1, _CHUNK // n)
    for low in range(0, len(indptr) - 1, rows):
        ends = indptr[low : low + rows + 1]
        dense: Array = np.zeros((len(ends) - 1, n), dtype=dtype)
        row = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        dense[row, indices[ends[0] : ends[-1]]] = values[ends[0] : ends[-1]]
        yield dense


def loss(W: Array, b: Array, X: CSR, importance: Array, stop: Callable[[], bool]) -> float:
    """L in the paper's unit: importance-weighted squared error, summed over features, mean over X.

    Always in double precision, whatever the type of W.
    """
    W, b, total = W.astype(np.float64), b.astype(np.float64), 0.0
    for x in _chunks(X, W.shape[1], np.float64):
        error = x - np.maximum((x @ W.T) @ W + b, 0.0)
        total += float(np.sum(error * error @ importance))
        if stop():
            raise Stopped
    return total / (len(X[0]) - 1)


def gradient(
    W: Array, b: Array, X: CSR, importance: Array, scale: float, stop: Callable[[], bool]
) -> tuple[Array, Array]:
    """Gradient of ``scale`` Σ_t Σ_j I_j (x_tj − x'_tj)² with respect to W and b.

    With r_tj = 2 scale I_j (x'_tj − x_tj) where z_tj > 0, and 0 elsewhere (∂L/∂z):

        ∂L/∂b = Σ_t r_t,    ∂L/∂W = Σ_t h_t r_tᵀ  (decoder)  +  Σ_t (W r_t) x_tᵀ  (encoder).
    """
    # Sums over chunks are kept in double: there can be thousands of them.
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    factor = (2.0 * scale * importance).astype(W.dtype)
    for x in _chunks(X, W.shape[1], W.dtype):
        h = x @ W.T
        z = h @ W + b
        r = np.where(z > 0, factor * (z - x), 0).astype(W.dtype, copy=False)
        db += r.sum(axis=0, dtype=np.float64)
        dW += h.T @ r + (r @ W.T).T @ x
        if stop():
            raise Stopped
    return dW.astype(W.dtype), db.astype(b.dtype)


def loss_and_grad(
    W: Array, b: Array, X: CSR, importance: npt.NDArray[np.float64], reduction: str
) -> tuple[float, Array, Array]:
    """The loss of this reduction and its gradient."""
    per_feature = W.shape[1] if reduction == "mean" else 1
    scale = 1.0 / ((len(X[0]) - 1) * per_feature)
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss(W, b, X, importance, lambda: False) / per_feature
        return value, *gradient(W, b, X, importance, scale, lambda: False)


# --------------------------------------------------------------------------------- the optimizer


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of update ``step`` (from 0): linear warm-up, then constant or half a cosine."""
    warmup = config.warmup_steps
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant" or config.steps == warmup:
        return config.learning_rate
    return config.learning_rate * 0.5 * (1.0 + cospi((step - warmup) / (config.steps - warmup)))


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
        self.powers = [1.0, 1.0]

    def step(self, rate: float, gradients: Sequence[Array]) -> None:
        """One update of the parameters, in place."""
        beta1, beta2 = self.config.betas
        self.powers = [self.powers[0] * beta1, self.powers[1] * beta2]
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            decay = self.config.weight_decay if p.ndim == 2 or self.config.decay_bias else 0.0
            if self.config.optimizer == "adamw":
                p *= 1.0 - rate * decay
            else:
                g = g + decay * p
            if self.config.optimizer == "sgd":
                self.first[i] = flushed(self.config.momentum * self.first[i] + g)
                p -= rate * self.first[i]
            else:
                self.first[i] = flushed(beta1 * self.first[i] + (1.0 - beta1) * g)
                self.second[i] = flushed(beta2 * self.second[i] + (1.0 - beta2) * g * g)
                root = np.sqrt(self.second[i]) / math.sqrt(1.0 - self.powers[1])
                p -= (rate / (1.0 - self.powers[0])) * self.first[i] / (root + self.config.eps)


def flushed(a: Array) -> Array:
    """``a`` with its denormals, which it owns, set to zero."""
    a[np.abs(a) < np.finfo(a.dtype).tiny] = 0
    return a


# ---------------------------------------------------------------------------------- one training


class _Run:
    """One run: its data, its parameters, and what is measured on the way."""

    def __init__(self, config: TrainConfig, stop: Callable[[], bool]) -> None:
        self.config, self.stop = config, stop
        dtype = np.dtype(config.dtype)
        W = initial_weights(config.n, config.m, config.init, config.weight_seed, self._check)
        self.W: Array = W.astype(dtype)
        self.b: Array = np.zeros(config.n, dtype=dtype)
        self.importance = config.importances()
        self.train_set = None if config.T == math.inf else self._sample(0, config.batch, "train")
        self.test_set = self._sample(0, min(config.test_size, HISTORY_TEST), "test")
        self.history: list[tuple[float, ...]] = []
        self.snapshots: list[tuple[Array, Array]] = []

    def _check(self) -> None:
        if self.stop():
            raise Stopped

    def _sample(self, start: int, stop: int, role: str) -> CSR:
        """Examples of a stream, in parts so that a long draw can be stopped."""
        c, part = self.config, max(1, (1 << 22) // self.config.n)
        parts = []
        for low in range(start, max(stop, start + 1), part):
            high = min(stop, low + part)
            parts.append(sample(c.n, low, high, c.sparsity, c.seed, ROLES[role], c.normalize))
            if self.stop():
                raise Stopped
        counts = np.concatenate([np.diff(indptr) for indptr, _, _ in parts])
        return (
            np.concatenate(([0], np.cumsum(counts))),
            np.concatenate([indices for _, indices, _ in parts]),
            np.concatenate([values for _, _, values in parts]),
        )

    def batch(self, step: int) -> CSR:
        """The examples of an update: all of them, or fresh ones when T is infinite."""
        if self.train_set is not None:
            return self.train_set
        return self._sample(step * self.config.batch, (step + 1) * self.config.batch, "train")

    def measure(self, step: int) -> None:
        """Append a point of the history."""
        norms = [float(np.linalg.norm(p.astype(np.float64))) for p in (self.W, self.b)]
        if not np.all(np.isfinite(norms)):
            self.history.append((math.nan, math.nan, *norms, math.nan))
            return
        train = loss(self.W, self.b, self.batch(step), self.importance, self.stop)
        test = math.nan
        if self.config.test_size:
            test = loss(self.W, self.b, self.test_set, self.importance, self.stop)
        largest = float(np.max(dimensionality(self.W.T)))
        self.history.append((train, test, *norms, largest))

    def test_loss(self) -> float:
        """The loss on the whole test set, which passes through in parts."""
        c, total = self.config, 0.0
        part = max(1, min(c.test_size, (1 << 22) // c.n))
        for low in range(0, c.test_size, part):
            X = self._sample(low, min(c.test_size, low + part), "test")
            total += loss(self.W, self.b, X, self.importance, self.stop) * (len(X[0]) - 1)
        return total / c.test_size if c.test_size else math.nan

    def train(self, progress: Callable[[int], None]) -> str:
        """Run all updates; returns the status."""
        c = self.config
        scale = 1.0 / (c.batch * (c.n if c.loss_reduction == "mean" else 1))
        optimizer = Optimizer(c, (self.W, self.b))
        records, snapshots = set(c.record_steps().tolist()), set(c.snapshot_steps().tolist())
        for step in range(c.steps + 1):
            if step in records:
                self.measure(step)
                if not math.isfinite(self.history[-1][0]):
                    return "diverged"
            if step in snapshots:
                self.snapshots.append((self.W.copy(), self.b.copy()))
            if step < c.steps:
                X = self.batch(step)
                grads = gradient(self.W, self.b, X, self.importance, scale, self.stop)
                optimizer.step(learning_rate(c, step), grads)
                progress(step + 1)
        return "ok"


def train_one(
    config: TrainConfig, stop: Callable[[], bool], progress: Callable[[int], None]
) -> RawRun:
    """Train one config to the end. Raises :class:`Stopped` when ``stop`` says so."""
    began = time.perf_counter()
    run = _Run(config, stop)
    with np.errstate(over="ignore", invalid="ignore"):
        status = run.train(progress)
        test = run.test_loss() if status == "ok" else math.nan
    points = len(run.history)
    done = config.record_steps()[:points]
    shots = len(run.snapshots)
    return {
        "status": status,
        "error": "",
        "W": run.W,
        "b": run.b,
        "train_loss": run.history[-1][0],
        "test_loss": test,
        "seconds": time.perf_counter() - began,
        "steps_done": int(done[-1]),
        "history": dict(zip(HISTORY, np.array(run.history).T, strict=True)),
        "history_step": done,
        "snapshot_step": config.snapshot_steps()[:shots],
        "snapshot_W": np.array([w for w, _ in run.snapshots], run.W.dtype).reshape(
            shots, config.m, config.n
        ),
        "snapshot_b": np.array([b for _, b in run.snapshots], run.b.dtype).reshape(shots, config.n),
    }


def train_many(
    configs: Sequence[TrainConfig], n_jobs: int, on_result: OnResult, poll: Poll
) -> None:
    """Train every config in a pool of threads, longest first; see ``_types.Backend``."""
    stop = threading.Event()
    work = [0.0] * len(configs)
    costs = [config.step_cost() for config in configs]

    def one(i: int) -> RawRun:
        def progress(steps: int) -> None:
            work[i] = steps * costs[i]

        try:
            return train_one(configs[i], stop.is_set, progress)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  recorded, and raised again by the caller
            return failed_run(configs[i], f"{type(error).__name__}: {error}")

    order = sorted(range(len(configs)), key=lambda i: -costs[i] * configs[i].steps)
    with ThreadPoolExecutor(n_jobs) as pool:
        futures: dict[Future[RawRun], int] = {pool.submit(one, i): i for i in order}
        try:
            while futures and not stop.is_set():
                done, _ = wait(futures, timeout=0.05, return_when=FIRST_COMPLETED)
                for future in done:
                    on_result(futures.pop(future), future.result())
                if poll(sum(work)):
                    stop.set()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        for future, i in futures.items():
            if not future.cancelled() and future.exception() is None:
                on_result(i, future.result())
