"""What several numerical tests need: plain formulas, tolerances and bits."""

from __future__ import annotations

import _thread
import contextlib
import functools
import hashlib
import importlib.util
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import toysup
from toysup import TrainConfig
from toysup._backends.protocol import Backend, Options, RawRun, State
from toysup._run.run import Run
from toysup._store.store import Store

Array = npt.NDArray[Any]
Gradient = tuple[float, Array, Array]


# ------------------------------------------------------------------------------- plain formulas


def plain_gradient(
    W: Array, b: Array, x: Array, importance: Array, features: float = 1.0
) -> Gradient:
    """L and its gradient for dense examples x as rows, in doubles, one line a step of the chain."""
    W, b = W.astype(float), b.astype(float)
    h = x @ W.T
    z = h @ W + b
    y = np.where(z > 0, z, 0.0)
    weight = importance / (len(x) * features)
    loss = float(np.sum(weight * (x - y) ** 2))
    dz = np.where(z > 0, 2 * weight * (y - x), 0.0)
    dh = dz @ W.T
    # Of equal terms, as the biases of empty examples are, the roundings of a sum do not cancel.
    db = np.array([math.fsum(terms) for terms in dz.T])
    return loss, h.T @ dz + dh.T @ x, db


def plain_rates(config: toysup.TrainConfig) -> Array:
    """Learning rates of all updates: linear warm-up, then half or a quarter cosine, or constant."""
    lowest, fall = config.final_learning_rate, config.learning_rate - config.final_learning_rate
    warmup = round(config.warmup * config.steps)
    rates = []
    for step in range(config.steps):
        if step < warmup:
            rates.append(config.learning_rate * (step + 1) / warmup)
        elif config.schedule == "constant":
            rates.append(config.learning_rate)
        else:
            angle = math.pi * (step - warmup) / (config.steps - warmup)
            quarter = config.schedule == "quarter_cosine"
            share = math.cos(angle / 2) if quarter else (1 + math.cos(angle)) / 2
            rates.append(lowest + fall * share)
    return np.array(rates)


def plain_optimizer(
    config: toysup.TrainConfig, flush: bool = True
) -> Callable[[str, Array, Array, float], Array]:
    """``step(name, p, g, rate)``: an update as the documentation of torch.optim has it.

    PyTorch knows no flush of denormal moments, which toysup makes.
    """
    beta1, beta2 = config.betas
    state: dict[str, list[Any]] = {}

    def flushed(a: Array) -> Array:
        return np.where(np.abs(a) < np.finfo(a.dtype).tiny, 0, a).astype(a.dtype) if flush else a

    def step(name: str, p: Array, g: Array, rate: float) -> Array:
        decay = config.weight_decay if name == "W" or config.decay_bias else 0.0
        t, m, v = state.get(name, (0, np.zeros_like(p), np.zeros_like(p)))
        t += 1
        if config.optimizer == "adamw":
            p = p - rate * decay * p
        else:
            g = g + decay * p
        if config.optimizer == "sgd":
            m = flushed(config.momentum * m + g)
            p = p - rate * m
        else:
            m = flushed(beta1 * m + (1 - beta1) * g)
            v = flushed(beta2 * v + (1 - beta2) * g**2)
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
            p = p - rate * m_hat / (np.sqrt(v_hat) + config.eps)
        state[name] = [t, m, v]
        return p

    return step


def plain_train(config: toysup.TrainConfig, W: Array, flush: bool = True) -> tuple[Array, Array]:
    """W and b after all updates on a finite training set, from this initial W."""
    examples = toysup.data.sample(
        config.n, int(config.T), config.sparsity, config.seed, normalize=config.normalize
    ).toarray()
    features = config.n if config.loss_reduction == "mean" else 1
    b = np.full(config.n, config.bias_init).astype(W.dtype)
    step = plain_optimizer(config, flush)
    examples = np.concatenate([examples, examples[config.copies()]])
    batches = plain_batches(config, len(examples))
    for rate, rows in zip(plain_rates(config), batches, strict=False):
        x = examples if config.batch_size is None else examples[rows]
        _, dW, db = plain_gradient(W, b, x, config.importances(), features)
        W = step("W", W, dW.astype(W.dtype), float(rate))
        b = step("b", b, db.astype(W.dtype), float(rate)) if config.learn_bias else b
    return W, b


def plain_batches(config: toysup.TrainConfig, count: int) -> Iterator[list[int]]:
    """The examples of each update: every epoch sorts their numbers by words of its own."""
    size = config.batch_size or count
    for epoch in itertools.count():
        philox = np.random.Philox(
            key=config.seed + (10 << 64), counter=((epoch << 64) - 1) % 2**256
        )
        words = philox.random_raw(count).tolist()
        order = sorted(range(count), key=words.__getitem__)
        yield from (order[low : low + size] for low in range(0, count, size))


def initial(config: toysup.TrainConfig) -> Array:
    """The initial W of a config."""
    return toysup.train(config.replace(steps=0, warmup=0.0, test_size=0)).W


# ------------------------------------------------------------------------------------ tolerances


def gradient_tolerance(
    W: Array, b: Array, x: Array, importance: Array, features: float = 1.0
) -> Gradient:
    """How far two right answers may be apart: loss, dW and db, entry by entry.

    k roundings leave about sqrt(k) eps of the sum of the terms' absolute values; k is the longest
    chain of additions. 4 times that is allowed, as equal terms (the biases of empty examples) are
    not rounded at random. A z within rounding of the kink may be seen on either side of it, and is
    worth what the gradient jumps by there.
    """
    info = np.finfo(W.dtype)
    W, b, x = W.astype(float), b.astype(float), x.astype(float)
    error = 4 * math.sqrt(sum(W.shape) + len(x))
    weight = 2 * importance / (len(x) * features)
    size = np.abs(x) @ np.abs(W).T @ np.abs(W) + np.abs(b)  # of the terms of z
    slack = error * float(info.eps) * size + float(info.tiny)
    near = np.abs(x @ W.T @ W + b) <= slack
    dz = weight * (error * float(info.eps) * (size + np.abs(x)) + near * np.abs(x))
    loss = float(np.sum(weight * (size + np.abs(x)) ** 2)) * error * 2.0**-52  # always in doubles
    h, dh = np.abs(x) @ np.abs(W).T, dz @ np.abs(W).T
    tiny = 2 * float(info.tiny)
    return loss + 1e-300, h.T @ dz + dh.T @ np.abs(x) + tiny, dz.sum(axis=0) + tiny


def assert_same_gradient(actual: Gradient, expected: Gradient, tolerance: Gradient) -> None:
    """Equal within :func:`gradient_tolerance`."""
    for name, got, want, bound in zip(
        ("loss", "dW", "db"), actual, expected, tolerance, strict=True
    ):
        off = np.atleast_1d(np.abs(np.asarray(got, float) - want))
        assert np.all(np.isfinite(off)), f"{name} is not finite"
        ratio = off / np.atleast_1d(bound)
        worst = np.unravel_index(np.argmax(ratio), ratio.shape)
        assert ratio[worst] <= 1, (
            f"{name}{worst}: off by {off[worst]:.3e}, {ratio[worst]:.3g} times"
        )


# ------------------------------------------------------------------------------- other libraries


class Tensor:
    """An array as PyTorch has it: with a gradient, or on an accelerator, NumPy cannot read it."""

    def __init__(self, data: Any, requires_grad: bool = False, device: str = "cpu") -> None:
        self.data, self.requires_grad, self.device = np.asarray(data), requires_grad, device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Tensor:
        return Tensor(self.data[i], self.requires_grad, self.device)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return Tensor(self.data == other)

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        if self.device != "cpu":
            raise TypeError(f"can't convert {self.device} device type tensor to numpy.")
        return np.array(self.data, dtype)

    def detach(self) -> Tensor:
        return Tensor(self.data, False, self.device)

    def cpu(self) -> Tensor:
        return Tensor(self.data, self.requires_grad)


class Module:
    """A PyTorch module of this model, whose biases are a column on an accelerator."""

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = Tensor(W, True), Tensor(b[:, None], True, "cuda:0")

    def state_dict(self) -> dict[str, Tensor]:
        return {"W": self.W.detach(), "b": self.b.detach()}


# ------------------------------------------------------------------------------------------ bits


def bits(*arrays: Any) -> bytes:
    """The bytes of arrays and numbers, one after another."""
    return b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)


def run_bits(run: Run) -> bytes:
    """Everything that a run computes."""
    history = [run.history[name].values for name in sorted(run.history)]
    return bits(run.W, run.b, run.train_loss, run.test_loss, *history)


def raw_bits(raw: RawRun) -> bytes:
    """Everything that a backend computes."""
    history = [raw["history_step"], *(raw["history"][name] for name in sorted(raw["history"]))]
    shots = [raw["snapshot_step"], raw["snapshot_W"], raw["snapshot_b"]]
    losses = (raw["train_loss"], raw["test_loss"], raw["steps_done"])
    return bits(raw["W"], raw["b"], *losses, *history, *shots) + raw["status"].encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@contextlib.contextmanager
def using(backend: Backend) -> Iterator[None]:
    """That backend is the one in use."""
    before = os.environ.get("TOYSUP_BACKEND")
    os.environ["TOYSUP_BACKEND"] = backend.name
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOYSUP_BACKEND"]
        else:
            os.environ["TOYSUP_BACKEND"] = before


def on(backend: Backend, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function returns on that backend."""
    with using(backend):
        return function(*args, **kwargs)


def kept_state(store: Store, config: toysup.TrainConfig) -> Any:
    """The furthest state of a run: its meta-data and arrays, if there is one."""
    for kept in store.checkpoints([config], repair=True):
        return store.load_checkpoint(kept)
    return None


def after(seconds: float) -> Callable[[], bool]:
    """So many seconds from now it is so; for what lasts for ever."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def training(
    monkeypatch: pytest.MonkeyPatch, backend: Backend, thread: threading.Thread | None = None
) -> threading.Event:
    """An event: a training on that backend, in that thread if one is given, is under way."""
    real, begun = backend.train_many, threading.Event()

    def train_many(configs: Any, n_jobs: int, on_result: Any, poll: Any, *options: Any) -> None:
        def look(work: float) -> bool:
            if thread in (None, threading.current_thread()):
                begun.set()
            return bool(poll(work))

        real(configs, n_jobs, on_result, look, *options)

    monkeypatch.setattr(backend, "train_many", train_many)
    return begun


def until(
    backend: Backend,
    config: TrainConfig,
    state: State | None,
    step: float,
    threads: int = 1,
    **options: Any,
) -> tuple[Any, list[State]]:
    """Train from a state to about that step: the outcome, if it came so far, and the states."""
    raws: list[Any] = []
    states: list[State] = []
    limit = step * config.step_cost()
    more = Options(
        on_start=lambda _: state,
        on_state=lambda i, state: states.append(state),
        **options,
    )
    backend.train_many(
        [config], threads, lambda i, raw: raws.append(raw), lambda work: work >= limit, more
    )
    return (raws[0] if raws else None), states


def longer(config: TrainConfig) -> Iterator[TrainConfig]:
    """The run, then ever longer ones: it may end before it is stopped or gives a state."""
    return (config.replace(steps=config.steps << k) for k in range(12))


def state_of(backend: Backend, config: TrainConfig, threads: int = 1) -> tuple[TrainConfig, State]:
    """The last state of a run that lasts long enough for one, and what it is of."""
    for run in longer(config):
        _, states = until(backend, run, None, math.inf, threads, interval=0.0)
        if states:
            return run, states[-1]
    raise AssertionError("it always ends before there is a state")


def interrupted(backend: Backend, config: TrainConfig, seed: int) -> tuple[Any, int]:
    """The outcome of a run that is interrupted at random, and how often it was resumed."""
    draw, state, resumed = random.Random(seed), None, 0
    for _ in range(200):
        at = 0 if state is None else state["step"]
        stride = draw.uniform(0, 0.9 * config.steps)
        raw, states = until(
            backend, config, state, at + stride, interval=draw.choice([0.0, 0.005, math.inf])
        )
        if raw is not None:
            return raw, resumed
        if states:
            assert states[-1]["step"] > at
            state = states[-1]
            backend.check_state(config, state)
            resumed += 1
    raise AssertionError("it does not end")


def assert_resumable(backend: Backend, config: TrainConfig, seeds: int = 1) -> None:
    """Interrupted at random, a run that lasts long enough for it has the bits of a whole one."""
    for run in longer(config):
        whole, _ = until(backend, run, None, math.inf)
        times = 0
        for seed in range(seeds):
            raw, resumed = interrupted(backend, run, seed)
            assert raw_bits(raw) == raw_bits(whole)
            times += resumed
        if times:
            return
    raise AssertionError("it always ends before it can be interrupted")


@contextlib.contextmanager
def interrupted_when(
    condition: Callable[[], Any], signum: int = signal.SIGINT
) -> Iterator[list[float]]:
    """Ctrl-C comes to the main thread as soon as something is so.

    If it came: the processor time that this process had taken then. What it takes until it answers
    says how soon it does, whatever else the machine does.
    """
    times: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            if condition():
                times.append(time.process_time())
                _thread.interrupt_main(signum)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


def interrupted_sweep(
    folder: Path, config: toysup.TrainConfig, states: int = 1, **fields: Any
) -> tuple[Path, toysup.TrainConfig]:
    """A store whose sweep was interrupted once so many of its runs had a state, and their config.

    Where a fast machine ends them before, they are longer.
    """
    for steps in (config.steps * 8**k for k in range(6)):
        store, longer = folder / f"{steps} steps", config.replace(steps=steps)

        def there(store: Path = store) -> bool:
            return len(list(store.glob("checkpoints/[!.]*.npz"))) >= states

        with contextlib.suppress(KeyboardInterrupt), interrupted_when(there):
            toysup.sweep(longer, store=store, checkpoint_every=0.0, **fields)
        if there():
            return store, longer
    raise AssertionError("all of them end too soon")


class Traced:
    """Bytes that Python took: those that it still holds, and the most at one time."""

    held = peak = 0


@contextlib.contextmanager
def traced() -> Iterator[Traced]:
    """What is done meanwhile takes so much memory, which is known at the end."""
    memory = Traced()
    tracemalloc.start()
    try:
        yield memory
        memory.held, memory.peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def loaded(script: Path) -> ModuleType:
    """A script that is in no package, as a module."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_new_process(function: str, module: str = "helpers", **environment: str) -> Any:
    """What ``<module>.<function>()`` returns in a process with these environment variables."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    code = f"import json, {module}; print(json.dumps({module}.{function}()))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def digests() -> dict[str, str]:
    """Digests of gradients and short trainings that take every kernel through its remainders."""
    return _digests(toysup.backend_name())


@functools.cache
def _digests(backend_name: str) -> dict[str, str]:
    from strategies import Problem

    found = {"backend": backend_name}
    for dtype in ("float32", "float64"):
        for m in (1, 2, 3, 4, 5, 9, 17):
            for importance, spread in itertools.product(("one", "array"), (False, True)):
                p = Problem(
                    n=150, m=m, T=541, importance=importance, dtype=dtype, spread=spread
                )  # fmt: skip
                given = {"importance": p.given_importance()}
                answer = toysup.loss_and_grad(*p.parameters(), p.examples(), **given)
                found[f"gradient m={m} {dtype} {importance} {spread}"] = digest(bits(*answer))
            config = toysup.TrainConfig(
                n=90, m=m, T=37, sparsity=0.9, steps=60, learning_rate=0.01, dtype=dtype,
                optimizer=("adamw", "adam", "sgd")[m % 3], test_size=50, record=8,
            )  # fmt: skip
            found[f"training m={m} {dtype}"] = digest(run_bits(toysup.train(config)))
        p = Problem(n=17_000, m=2, T=9, sparsity=0.999, dtype=dtype)  # C_t in two parts
        answer = toysup.loss_and_grad(*p.parameters(), p.examples())
        found[f"gradient n={p.n} {dtype}"] = digest(bits(*answer))
    fresh = toysup.TrainConfig(
        n=90, T=math.inf, batch_size=20, sparsity=0.9, steps=40, test_size=50, init="xavier_normal"
    )
    found["training T=inf"] = digest(run_bits(toysup.train(fresh)))
    return found


def of_their_T(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a sweep, without a batch size where no T is infinite."""
    T = fields["T"] if isinstance(fields["T"], (list, tuple)) else [fields["T"]]
    return {k: v for k, v in fields.items() if k != "batch_size" or math.inf in T}
