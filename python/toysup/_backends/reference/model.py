"""The reference: the whole model in NumPy, with the paper's symbols.

    h = W x,    x' = ReLU(Wᵀ h + b),    L = 1/T Σ_t Σ_j I_j (x_tj − x'_tj)²

The Rust core is right when it agrees with this module, and this module runs everything when the
core is not there. Examples are rows here, so H = X Wᵀ and Z = H W + b. Nothing is T × n: examples
pass through in chunks of a fixed number of entries.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import numpy as np
import numpy.typing as npt

from toysup._backends.protocol import (
    HISTORY,
    HISTORY_TEST,
    OnResult,
    Options,
    Poll,
    RawRun,
    State,
    failed_run,
)
from toysup._floats import exact_floats, refuse_inexact
from toysup._stream.start import Stopped, drawn, given_start, joined
from toysup._stream.stream import cospi, initial_weights, repeated, sample
from toysup._system.processors import ThreadWarning, no_thread
from toysup._typing import CSR, Array
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.metrics import dimensionality

__all__ = [
    "check_state",
    "isa",
    "learning_rate",
    "loss_and_grad",
    "name",
    "sample",
    "train_many",
]

name = "numpy"

# Entries of a dense (examples x n) chunk: small enough for a cache, large enough for BLAS.
_CHUNK = 1 << 18
# Seconds for which the system may count threads that have ended.
_LINGER = 0.2


def isa() -> str:
    """NumPy chooses its own instruction set."""
    return "numpy"


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


def loss(
    W: Array, b: Array, X: CSR, importance: Array, linear: bool, stop: Callable[[], bool]
) -> float:
    """L in the paper's unit: importance-weighted squared error, summed over features, mean over X.

    Always in double precision, whatever the type of W.
    """
    W, b, total = W.astype(np.float64), b.astype(np.float64), 0.0
    for x in _chunks(X, W.shape[1], np.float64):
        z = (x @ W.T) @ W + b
        error = x - (z if linear else np.maximum(z, 0.0))
        total += float(np.sum(error * error @ importance))
        if stop():
            raise Stopped
    return total / (len(X[0]) - 1)


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
    for x in _chunks(X, W.shape[1], W.dtype):
        h = x @ W.T
        z = h @ W + b
        r = factor * (z - x)
        if not linear:
            r = np.where(z > 0, r, 0).astype(W.dtype, copy=False)
        db += r.sum(axis=0, dtype=np.float64)
        dW += h.T @ r + (r @ W.T).T @ x
        if stop():
            raise Stopped
    return dW.astype(W.dtype), db.astype(b.dtype)


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
    _check_blas(os.getpid())
    linear = activation == "linear"
    per_feature = W.shape[1] if reduction == "mean" else 1
    scale = 1.0 / ((len(X[0]) - 1) * per_feature)
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss(W, b, X, importance, linear, lambda: False) / per_feature
        return value, *gradient(W, b, X, importance, scale, linear, lambda: False)


@functools.cache
def _check_blas(_pid: int) -> None:
    """Refuse threads of BLAS that are in another mode than this one; once a process.

    They are made when NumPy is imported, and nobody can set the mode of another thread. Each has a
    part in a product that is large enough. One of them is this thread; so a BLAS that flushes all
    entries does it whatever the mode, and bits do not depend on it.
    """
    size, depth = 256, 64 + 4 * (os.cpu_count() or 1)
    A, B = np.zeros((size, depth)), np.zeros((depth, size))
    B[0] = 0.5
    B[1] = 1.0
    for a in ((np.finfo(np.float64).tiny, 0.0), (2.0, 2.0**-54), (2.0, 3 * 2.0**-54)):
        A[:, :2] = a
        product = A @ B
        refuse_inexact(bool(np.all(product == product[0, 0])), "threads of NumPy's BLAS")


# --------------------------------------------------------------------------------- the optimizer


@exact_floats()
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
                move = self.first[i] / (
                    root + self.config.eps
                )  # what is small, though both are huge
                p -= rate / (1.0 - self.powers[0]) * move


def flushed(a: Array) -> Array:
    """``a`` with its denormals, which it owns, set to zero."""
    a[np.abs(a) < np.finfo(a.dtype).tiny] = 0
    return a


# ---------------------------------------------------------------------------------- one training


class _Run:
    """One run: its data, its parameters, and what is measured on the way."""

    def __init__(self, config: TrainConfig, stop: Callable[[], bool]) -> None:
        self.config, self.stop = config, stop
        self.linear = config.activation == "linear"
        self.importance = config.importances()
        self.train_set: CSR | None = None
        if config.T != math.inf:
            self.train_set = repeated(self._sample(0, int(config.T), "train"), config.copies())
        self.W, self.b = self._start()
        self.test_set = self._sample(0, min(config.test_size, HISTORY_TEST), "test")
        self.history: list[tuple[float, ...]] = []
        self.snapshots: list[tuple[Array, Array]] = []
        self.optimizer = Optimizer(config, (self.W, self.b))
        self.step = 0

    def _start(self) -> tuple[Array, Array]:
        """The initial parameters."""
        c, dtype = self.config, np.dtype(self.config.dtype)
        given = given_start(c, sample, self._check)
        if given is not None:
            return given.W.astype(dtype), given.b.astype(dtype)
        W = initial_weights(c.n, c.m, str(c.init), c.weight_seed, self._check)
        return W.astype(dtype), np.zeros(c.n, dtype=dtype)

    def state(self) -> dict[str, Array]:
        """Copies of all arrays that change; the rest follows from the config and the step."""
        W, b = zip(*self.snapshots, strict=True) if self.snapshots else ((), ())
        first, second = self.optimizer.first, self.optimizer.second
        arrays = {
            "W": self.W,
            "b": self.b,
            "first_W": first[0],
            "first_b": first[1],
            "second_W": second[0],
            "second_b": second[1],
            "powers": np.array(self.optimizer.powers),
            "history": np.array(self.history).reshape(-1, len(HISTORY)),
            "snapshot_W": np.array(W, self.W.dtype).reshape(-1, *self.W.shape),
            "snapshot_b": np.array(b, self.W.dtype).reshape(-1, *self.b.shape),
        }
        return {name: array.copy() for name, array in arrays.items()}

    def resume(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self.W[:], self.b[:] = state["W"], state["b"]
        self.optimizer.first = [state["first_W"].copy(), state["first_b"].copy()]
        self.optimizer.second = [state["second_W"].copy(), state["second_b"].copy()]
        self.optimizer.powers = state["powers"].tolist()
        self.history = [tuple(point) for point in state["history"].tolist()]
        self.snapshots = list(zip(state["snapshot_W"], state["snapshot_b"], strict=True))
        self.step = state["step"]

    def _check(self) -> None:
        if self.stop():
            raise Stopped

    def _sample(self, start: int, stop: int, role: str) -> CSR:
        """Examples of a stream; a long draw can be stopped."""
        return joined(drawn(self.config, start, stop, role, sample, self._check))

    def batch(self, step: int) -> CSR:
        """The examples of an update: all of them, or fresh ones when T is infinite."""
        if self.train_set is not None:
            return self.train_set
        return self._sample(step * self.config.batch, (step + 1) * self.config.batch, "train")

    def _loss(self, X: CSR) -> float:
        return loss(self.W, self.b, X, self.importance, self.linear, self.stop)

    def measure(self, step: int) -> bool:
        """Append a point of the history; False if something is not finite."""
        norms = [float(np.linalg.norm(p.astype(np.float64))) for p in (self.W, self.b)]
        if not np.all(np.isfinite(norms)):
            self.history.append((math.nan, math.nan, *norms, math.nan))
            return False
        train = self._loss(self.batch(step))
        test = math.nan
        if self.config.test_size:
            test = self._loss(self.test_set)
        largest = float(np.max(dimensionality(self.W.T)))
        self.history.append((train, test, *norms, largest))
        tested = math.isfinite(test) or not self.config.test_size
        return tested and all(map(math.isfinite, (train, *norms, largest)))

    def test_loss(self) -> float:
        """The loss on the whole test set, which passes through in parts."""
        c, total = self.config, 0.0
        part = max(1, min(c.test_size, (1 << 22) // c.n))
        for low in range(0, c.test_size, part):
            X = self._sample(low, min(c.test_size, low + part), "test")
            total += self._loss(X) * (len(X[0]) - 1)
        return total / c.test_size if c.test_size else math.nan

    def train(self, progress: Callable[[int], None]) -> str:
        """Run all updates that are left; returns the status."""
        c = self.config
        scale = 1.0 / (c.batch * (c.n if c.loss_reduction == "mean" else 1))
        records, snapshots = c.record_steps().tolist(), c.snapshot_steps().tolist()
        for step in range(self.step, c.steps + 1):
            progress(step)
            # What has been measured at this step before an interruption is there already.
            if step in records[len(self.history) :][:1] and not self.measure(step):
                return "diverged"
            if step in snapshots[len(self.snapshots) :][:1]:
                self.snapshots.append((self.W.copy(), self.b.copy()))
            if step < c.steps:
                X = self.batch(step)
                parameters = (self.W, self.b)
                grads = gradient(*parameters, X, self.importance, scale, self.linear, self.stop)
                self.optimizer.step(learning_rate(c, step), grads)
                self.step = step + 1
        return "ok"


def maker() -> str:
    """What a state depends on besides its run."""
    return f"toysup {__version__} numpy {np.__version__}"


def check_state(config: TrainConfig, state: State) -> None:
    """Raise ``ValueError``, saying why, if a run cannot go on from there to the same bits."""
    if state.get("maker") != maker():
        raise ValueError(f"it was made by {state.get('maker')}, this is {maker()}")
    m, n = config.m, config.n
    points, shots = (np.shape(state.get(name))[:1] for name in ("history", "snapshot_W"))  # type: ignore[arg-type]
    shapes = {"W": (m, n), "b": (n,), "powers": (2,), "history": (*points, len(HISTORY))}
    shapes |= {f"{k}_{name}": shapes[name] for k in ("first", "second") for name in ("W", "b")}
    shapes |= {"snapshot_W": (*shots, m, n), "snapshot_b": (*shots, n)}
    for name, shape in shapes.items():
        dtype = np.dtype("float64" if name in ("powers", "history") else config.dtype)
        array = state.get(name)
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (shape, dtype):
            raise ValueError(f"the state does not fit the run: {name}")
    step, seconds = state.get("step"), state.get("seconds")
    if not isinstance(step, int) or not 0 < step <= config.steps:
        raise ValueError(f"the state does not fit the run: step {step}")
    if not isinstance(seconds, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"the state does not fit the run: seconds {seconds}")
    for name, found, steps in (
        ("history", points, config.record_steps()),
        ("snapshots", shots, config.snapshot_steps()),
    ):
        # Those of the step itself are there or not.
        if not np.sum(steps < step) <= found[0] <= np.sum(steps <= step):
            raise ValueError(f"the state does not fit the run: {name}")


def train_one(
    config: TrainConfig,
    stop: Callable[[], bool],
    progress: Callable[[int], None],
    state: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
    interval: float = math.inf,
) -> RawRun:
    """Train one config to the end, from ``state`` if there is one.

    ``keep`` is given a state every ``interval`` seconds, sooner at first, and one before
    :class:`Stopped` is raised because ``stop`` says so.
    """
    began = last = time.perf_counter()
    run = _Run(config, stop)
    earlier = 0.0
    if state is not None:
        run.resume(state)
        earlier = state["seconds"]

    def seconds() -> float:
        return earlier + time.perf_counter() - began

    def show() -> None:
        keep({**run.state(), "step": run.step, "seconds": seconds(), "maker": maker()})

    def tick(step: int) -> None:
        nonlocal last
        progress(step)
        # Sooner at first: after an eighth of the interval, then after twice as long each time.
        wait = min(max(last - began, interval / 8), interval)
        if time.perf_counter() - last >= wait and step > 0:
            last = time.perf_counter()
            show()

    with np.errstate(over="ignore", invalid="ignore"):
        try:
            status = run.train(tick)
            test = run.test_loss() if status == "ok" else math.nan
            if config.test_size and not math.isfinite(test):
                status = "diverged"
        except Stopped:
            if run.step > 0:
                show()
            raise
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
        "seconds": seconds(),
        "steps_done": int(done[-1]),
        "history": dict(zip(HISTORY, np.array(run.history).T, strict=True)),
        "history_step": done,
        "snapshot_step": config.snapshot_steps()[:shots],
        "snapshot_W": np.array([w for w, _ in run.snapshots], run.W.dtype).reshape(
            shots, config.m, config.n
        ),
        "snapshot_b": np.array([b for _, b in run.snapshots], run.b.dtype).reshape(shots, config.n),
    }


class _Pool:
    """Runs in a pool of threads, the longest first, as many at a time as fit in memory."""

    def __init__(self, configs: Sequence[TrainConfig], n_jobs: int, options: Options) -> None:
        self.configs, self.options = configs, options
        self.threads = min(n_jobs, len(configs))
        self.warning = ThreadWarning()
        self.stop = threading.Event()
        self.costs = [config.step_cost() for config in configs]
        self.steps = [0] * len(configs)
        self.states: dict[int, State] = {}
        self.running: dict[Future[RawRun], int] = {}
        self.waiting = sorted(range(len(configs)), key=lambda i: -self.costs[i] * configs[i].steps)

    @exact_floats()
    def one(self, i: int) -> RawRun:
        """Run i, in a thread of the pool."""

        def progress(step: int) -> None:
            self.steps[i] = step

        def keep(state: State) -> None:
            self.states[i] = state

        state = self.options.on_start(i)
        try:
            return train_one(
                self.configs[i], self.stop.is_set, progress, state, keep, self.options.interval
            )
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  recorded, and raised again by the caller
            kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
            text = f"{kind}: {error}"
            return failed_run(self.configs[i], text, self.steps[i])

    def start(self, i: int) -> Future[RawRun]:
        """Run i begins, in a thread that does not keep the process from ending."""
        future: Future[RawRun] = Future()

        def work() -> None:
            try:
                future.set_result(self.one(i))
            except BaseException as error:  # noqa: BLE001  the future hands it over
                future.set_exception(error)

        thread = threading.Thread(target=work, name=f"toysup-{i}", daemon=True)
        until = time.monotonic() + _LINGER
        while True:
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                if self.running or time.monotonic() > until:
                    raise
                time.sleep(0.005)
            else:
                return future

    def admit(self) -> None:
        """Start the runs that there are threads and memory for."""
        limit = math.inf if self.options.memory is None else self.options.memory
        used = sum(self.configs[i].memory() for i in self.running.values())
        for i in list(self.waiting):
            if len(self.running) >= self.threads:
                return
            if not self.running or used + self.configs[i].memory() <= limit:
                try:
                    self.running[self.start(i)] = i
                except RuntimeError as error:
                    if not self.running:
                        raise no_thread(error) from error
                    self.warning.missing(self.threads - len(self.running))
                    self.threads = len(self.running)
                    return
                used += self.configs[i].memory()
                self.waiting.remove(i)

    def hand_over(self, on_result: OnResult, states: int | None = None) -> None:
        """The results of the runs that have ended, and states of those that have not.

        No run begins meanwhile: one that has ended keeps its place until it has been handed over.
        """
        for future in [future for future in self.running if future.done()]:
            i = self.running.pop(future)
            if not isinstance(future.exception(), Stopped):
                self.states.pop(i, None)
                on_result(i, future.result())
        for i in list(self.states)[:states]:
            self.options.on_state(i, self.states.pop(i))


@exact_floats()
def train_many(
    configs: Sequence[TrainConfig],
    n_jobs: int,
    on_result: OnResult,
    poll: Poll,
    options: Options | None = None,
) -> None:
    """Train every config in a pool of threads, longest first; see ``protocol.Backend``."""
    _check_blas(os.getpid())
    work = _Pool(configs, n_jobs, options or Options())
    try:
        while work.waiting or work.running:
            work.admit()
            wait(work.running, timeout=0.05, return_when=FIRST_COMPLETED)
            work.hand_over(on_result, 1)  # writing may be slow, and poll looks for Ctrl-C
            work.options.on_running([(i, work.steps[i]) for i in work.running.values()])
            if poll(sum(c * s for c, s in zip(work.costs, work.steps, strict=True))):
                break
    finally:
        work.stop.set()
        wait(work.running)
    work.hand_over(on_result)
