"""The contestants: one full-batch AdamW step, each in the way its framework likes best.

Run as ``python contestants.py NAME FOLDER`` by ``step.py``, one fresh process each, so that the
peak of memory is that of one contestant. The answer goes to ``FOLDER/NAME.json``.
"""

from __future__ import annotations

import importlib
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from machine import peak_memory
from problem import (
    BETAS,
    EPS,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Float,
    Job,
    Problem,
    distance,
    loss_and_grad,
    prepare,
)

# Above this many seconds a step, two steps are timed and no more.
SLOW = 20.0


class State(NamedTuple):
    """Where a training stands: the loss in the paper's unit, W (m, n), b (n,), and what made it."""

    loss: float
    W: Float
    b: Float
    provenance: Mapping[str, str] = {}


@dataclass
class Stepper:
    """A training that can be taken further, ``grain`` steps at a time, and looked at."""

    advance: Callable[[int], None]
    state: Callable[[], State]
    grain: int = 1


class Timing(NamedTuple):
    """Seconds a step in each window, and the number of steps in one."""

    seconds: list[float]
    steps: int


def run_stepper(stepper: Stepper, job: Job) -> tuple[State, Timing]:
    """``job.check`` steps and a look, which also warm up; then the timed windows."""

    def timed(steps: int) -> float:
        start = time.perf_counter()
        stepper.advance(steps)
        return (time.perf_counter() - start) / steps

    stepper.advance(job.check)
    state = stepper.state()
    each = timed(stepper.grain)
    if each > SLOW:
        return state, Timing([each, timed(stepper.grain)], stepper.grain)
    if each * stepper.grain < job.seconds:  # one short look may have been disturbed
        each = min(each, *(timed(stepper.grain) for _ in range(4)))
    steps = stepper.grain * math.ceil(job.seconds / (each * stepper.grain))
    return state, Timing([timed(steps) for _ in range(job.windows)], steps)


def run_toysup(job: Job) -> tuple[State, Timing]:
    """Trainings of two lengths; the difference of their ``run.seconds`` is that of the steps.

    Set-up (sampling, the first weights, the final loss) is in both and drops out.
    """
    import toysup

    def train(steps: int) -> Any:
        return toysup.train(**job.train_fields(steps), progress=False)

    run = train(job.check)
    state = State(float(run.train_loss), run.W, run.b, run.provenance)
    each = run.seconds / job.check  # at most: with its share of the set-up
    repeats = 3 if run.seconds < job.seconds else 1
    short = statistics.median(train(job.check).seconds for _ in range(repeats))
    steps = 1 if each > SLOW else math.ceil(job.seconds / each)
    while (gap := train(job.check + steps).seconds - short) < 0.7 * job.seconds:
        # At most tenfold at a time, as a small gap is mostly the noise of the set-up.
        steps = math.ceil(steps * job.seconds / max(gap, 0.1 * job.seconds))
    windows = 2 if each > SLOW else job.windows
    gaps = [gap, *(train(job.check + steps).seconds - short for _ in range(windows - 1))]
    return state, Timing([gap / steps for gap in gaps], steps)


def torch_stepper(job: Job, folder: Path, *, tuned: bool, compiled: bool = False) -> Stepper:
    """PyTorch on the dense X (T, n).

    ``tuned`` has the fused optimizer, no denormals, and a forward pass that makes one T x n array
    where the plain one makes several.
    """
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(tuned)
    problem = Problem.load(folder)
    X = torch.from_numpy(problem.dense())
    W = torch.nn.Parameter(torch.from_numpy(problem.W.copy()))
    b = torch.nn.Parameter(torch.from_numpy(problem.b.copy()))

    def plain() -> Any:
        h = X @ W.T
        out = F.relu(h @ W + b)
        return ((X - out) ** 2).mean()

    def frugal() -> Any:
        return F.mse_loss(torch.addmm(b, X @ W.T, W).relu_(), X)

    loss: Any = torch.compile(plain) if compiled else frugal if tuned else plain
    options = {"lr": LEARNING_RATE, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}
    optimizer = torch.optim.AdamW([W, b], **options, fused=True if tuned else None)

    def advance(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    def state() -> State:
        with torch.no_grad():
            value = float((frugal if tuned else plain)()) * job.n
        return State(value, W.detach().numpy().copy(), b.detach().numpy().copy())

    return Stepper(advance, state)


def jax_loss(problem: Problem) -> Callable[[Any], Any]:
    """The mean loss of (W, b) in JAX, where x enters by its non-zeros only.

    It is the mean of y^2 - 2 x y + x^2, and the last two are zero where x is. W is kept as (n, m),
    so that a gather takes whole rows.
    """
    import jax
    import jax.numpy as jnp

    T, n = problem.T, problem.W.shape[1]
    rows, columns = jnp.asarray(problem.rows()), jnp.asarray(problem.indices)
    x = jnp.asarray(problem.values)

    def loss(theta: Any) -> Any:
        W, b = theta
        at_x = W[columns]
        h = jax.ops.segment_sum(x[:, None] * at_x, rows, T, indices_are_sorted=True)
        y = jax.nn.relu(h @ W.T + b)
        y_at_x = jax.nn.relu((h[rows] * at_x).sum(axis=1) + b[columns])
        return ((y * y).sum() - 2 * jnp.vdot(x, y_at_x) + jnp.vdot(x, x)) / (T * n)

    return loss


def jax_adamw(carry: Any, corrections: Any, gradient: Any) -> Any:
    """One step of AdamW on lists of arrays; the two bias corrections come from outside."""
    import jax.numpy as jnp

    def one(p: Any, u: Any, v: Any, g: Any) -> tuple[Any, Any, Any]:
        u = BETAS[0] * u + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        p = (1 - LEARNING_RATE * WEIGHT_DECAY) * p
        return p - corrections[0] * u / (corrections[1] * jnp.sqrt(v) + EPS), u, v

    new = [one(*each) for each in zip(*carry, gradient, strict=True)]
    return tuple(map(list, zip(*new, strict=True)))


def jax_stepper(job: Job, folder: Path) -> Stepper:
    """JAX, jitted, with ``lax.scan`` over ``job.check`` steps at a time."""
    import jax
    import jax.numpy as jnp

    problem = Problem.load(folder)
    mean_loss = jax_loss(problem)

    def step(carry: Any, corrections: Any) -> tuple[Any, None]:
        return jax_adamw(carry, corrections, jax.grad(mean_loss)(carry[0])), None

    chunk = jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs)[0], donate_argnums=0)
    shapes = (job.n, job.m), (job.n,)
    first = [jnp.asarray(problem.W.T.copy()), jnp.asarray(problem.b)]
    carry: Any = (first, *([jnp.zeros(shape) for shape in shapes] for _ in range(2)))
    done = 0

    def advance(steps: int) -> None:
        nonlocal carry, done
        for _ in range(steps // job.check):
            # In float32 1 - 0.999**t has few right digits, so it is made here.
            t = np.arange(done + 1, done + job.check + 1, dtype=np.float64)
            rate, root = LEARNING_RATE / (1 - BETAS[0] ** t), (1 - BETAS[1] ** t) ** -0.5
            carry = chunk(carry, (rate.astype(np.float32), root.astype(np.float32)))
            done += job.check
        jax.block_until_ready(carry)

    def state() -> State:
        # Not mean_loss: in float32, its y^2 - 2 x y + x^2 loses a small loss.
        W, b = np.array(carry[0][0]).T, np.array(carry[0][1])
        loss, _, _ = loss_and_grad(problem, W.astype(np.float64), b.astype(np.float64))
        return State(loss, W, b)

    return Stepper(advance, state, grain=job.check)


@dataclass(frozen=True)
class Contestant:
    """A row of the table: its label, the package it needs, and how it is run and paid for.

    ``arrays`` is about how many T x n arrays of float32 its memory would hold, as measured; kept
    and split blocks of the heap count.
    """

    label: str
    package: str
    run: Callable[[Job, Path], tuple[State, Timing]]
    env: Mapping[str, str] = field(default_factory=dict)
    arrays: float = 0
    compiler: bool = False


# glibc gives big arrays back after each use, and the next one faults all its pages in again.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


def _stepping(
    make: Callable[..., Stepper], **options: bool
) -> Callable[[Job, Path], tuple[State, Timing]]:
    return lambda job, folder: run_stepper(make(job, folder, **options), job)


CONTESTANTS = {
    "native": Contestant(
        "toysup native", "toysup", lambda job, _: run_toysup(job), {"TOYSUP_BACKEND": "native"}
    ),
    "numpy": Contestant(
        "toysup NumPy", "toysup", lambda job, _: run_toysup(job), {"TOYSUP_BACKEND": "numpy"}
    ),
    "jax": Contestant("JAX jit+scan, sparse", "jax", _stepping(jax_stepper), arrays=2),
    "torch": Contestant("PyTorch eager", "torch", _stepping(torch_stepper, tuned=False), arrays=8),
    "torch-tuned": Contestant(
        "PyTorch tuned", "torch", _stepping(torch_stepper, tuned=True), _MALLOC, arrays=13
    ),
    "torch-compile": Contestant(
        "torch.compile, tuned",
        "torch",
        _stepping(torch_stepper, tuned=True, compiled=True),
        {**_MALLOC, "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        arrays=5,
        compiler=True,
    ),
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Run the contestant ``name`` on the job in ``folder``; what step.py puts into the table."""
    contestant, job = CONTESTANTS[name], Job.load(folder)
    importlib.import_module(contestant.package)
    imported = peak_memory()
    state, timing = contestant.run(job, folder)
    peak = peak_memory()  # before the comparison, which loads the reference
    return {
        "ms": 1e3 * statistics.median(timing.seconds),
        "windows_ms": [1e3 * seconds for seconds in timing.seconds],
        "steps": timing.steps,
        "peak_bytes": peak,
        "import_bytes": imported,
        "loss": state.loss,
        "distance": distance(folder, state.W, state.b),
        "provenance": dict(state.provenance),
    }


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    answer = prepare(folder) if name == "prepare" else measure(name, folder)
    (folder / f"{name}.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
