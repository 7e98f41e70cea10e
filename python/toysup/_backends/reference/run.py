"""One run of the reference: its data, its state, and what is measured on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from toysup._backends.protocol import HISTORY, HISTORY_TEST, RawRun, State
from toysup._backends.reference.model import Optimizer, gradient, learning_rate, loss
from toysup._stream.batch import joined, repeated, taken
from toysup._stream.order import batch_places, epoch_order
from toysup._stream.rows import batch_rows, test_rows
from toysup._stream.start import Stopped, drawn, given_start
from toysup._stream.stream import initial_weights, sample
from toysup._typing import CSR, Array
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.metrics import dimensionality

__all__ = ["check_state", "maker", "train_one"]


class Run:
    """One run: its data, its parameters, and what is measured on the way."""

    def __init__(self, config: TrainConfig, stop: Callable[[], bool]) -> None:
        self.config, self.stop = config, stop
        self.linear = config.activation == "linear"
        self.importance = config.importances()
        self.train_set: CSR | None = None
        self.order: tuple[int, npt.NDArray[np.int64]] | None = None  # of an epoch
        if config.T != math.inf:
            self.train_set = self._examples(0)
        self.W, self.b = self._start()
        self.given_tests = None if config.data is None else test_rows(config)
        self.test_set = self._tests(0, min(config.tested, HISTORY_TEST))
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
        return W.astype(dtype), c.biases().astype(dtype)

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
        """The examples of an update: all of them, a part, or fresh ones when T is infinite."""
        c = self.config
        if self.train_set is None:
            return self._examples(step)
        if not c.in_batches:
            return self.train_set
        epoch, places = batch_places(c, step)
        if self.order is None or self.order[0] != epoch:
            self.order = epoch, epoch_order(c.seed, epoch, c.examples, self._check)
        return taken(self.train_set, self.order[1][places])

    def _examples(self, step: int) -> CSR:
        """The whole training set, or the examples of an update if it is infinite."""
        c = self.config
        if c.data is not None:
            return batch_rows(c, step)
        if c.T != math.inf:
            return repeated(self._sample(0, int(c.T), "train"), c.copies())
        return self._sample(step * c.batch, (step + 1) * c.batch, "train")

    def _tests(self, low: int, high: int) -> CSR:
        """Test examples, drawn or taken from the data set."""
        if self.given_tests is None:
            return self._sample(low, high, "test")
        return taken(self.given_tests, np.arange(low, high))

    def _loss(self, X: CSR) -> tuple[float, float]:
        """Of examples, the mean loss and the sum of the squares of the losses."""
        return loss(self.W, self.b, X, self.importance, self.linear, self.stop)

    def measure(self, step: int) -> bool:
        """Append a point of the history; False if something is not finite."""
        norms = [float(np.linalg.norm(p.astype(np.float64))) for p in (self.W, self.b)]
        if not np.all(np.isfinite(norms)):
            self.history.append((math.nan, math.nan, *norms, math.nan))
            return False
        train, _ = self._loss(self.batch(step) if self.train_set is None else self.train_set)
        test = math.nan
        if self.config.tested:
            test, _ = self._loss(self.test_set)
        largest = float(np.max(dimensionality(self.W.T)))
        self.history.append((train, test, *norms, largest))
        tested = math.isfinite(test) or not self.config.tested
        return tested and all(map(math.isfinite, (train, *norms, largest)))

    def test_loss(self) -> tuple[float, float]:
        """The loss on the whole test set, which passes through in parts, and its standard error."""
        c, total, squares = self.config, 0.0, 0.0
        if not c.tested:
            return math.nan, math.nan
        part = max(1, min(c.tested, (1 << 22) // c.n))
        for low in range(0, c.tested, part):
            X = self._tests(low, min(c.tested, low + part))
            mean, more = self._loss(X)
            total += mean * (len(X[0]) - 1)
            squares += more
        mean = total / c.tested
        if c.tested == 1 or not math.isfinite(mean):
            return mean, math.nan
        variance = max(0.0, squares - total * mean) / (c.tested - 1)
        return mean, math.sqrt(variance / c.tested)

    def train(self, progress: Callable[[int], None]) -> str:
        """Run all updates that are left; returns the status."""
        c = self.config
        features = c.n if c.loss_reduction == "mean" else 1
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
                scale = 1.0 / ((len(X[0]) - 1) * features)
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
    run = Run(config, stop)
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
            test, error = run.test_loss() if status == "ok" else (math.nan, math.nan)
            if config.tested and not math.isfinite(test):
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
        "W": run.W,
        "b": run.b,
        "train_loss": run.history[-1][0],
        "test_loss": test,
        "test_loss_error": error,
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
