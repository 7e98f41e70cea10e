"""toysup's part in frameworks.py: a whole training, and its gradient from any W and b.

Run as ``python whole.py train FOLDER`` or ``python whole.py gradient FOLDER``, a fresh process
each. The answer goes to ``FOLDER/train.json`` or ``FOLDER/gradient.json``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contestants import State, Stepper
from problem import BETAS, EPS, LEARNING_RATE, WEIGHT_DECAY, Job, Problem, distance


@dataclass(frozen=True)
class Plan:
    """Number of steps of a training, and first step and length of the windows looked at."""

    steps: int
    starts: tuple[int, ...]
    length: int

    @staticmethod
    def of(steps: int) -> Plan:
        """Three windows: after the first hundred steps, in the middle, and after nine tenths."""
        return Plan(steps, (min(100, steps // 10), steps // 2, steps * 9 // 10), steps // 50)

    def save(self, folder: Path) -> None:
        """Write the plan to ``folder``."""
        (folder / "plan.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Plan:
        """The plan that :meth:`save` wrote."""
        fields = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return Plan(fields["steps"], tuple(fields["starts"]), fields["length"])


def train(folder: Path) -> dict[str, Any]:
    """The whole training of the job in ``folder``, with the paper's recipe; its pace.

    W and b at the beginnings of the windows go to ``shots.npz``. How far the training is, is asked
    from outside every 25 ms, as a progress bar does; sampling and the losses at the end are left
    out.
    """
    import toysup
    from toysup import _native
    from toysup._backends import native

    job, plan = Job.load(folder), Plan.load(folder)
    config = toysup.TrainConfig(
        **{"n": job.n, "m": job.m, "T": job.T, "sparsity": job.sparsity, "seed": job.seed},
        **{"steps": plan.steps, "test_size": 0, "record": 1},
    )
    outline = {**native._outline(config), "cost": 1.0}
    work = {**native._job(config), "snapshot_steps": list(plan.starts)}
    points: list[tuple[float, float]] = []
    ended: list[Any] = []

    def poll(steps: float, running: object, missing: int) -> bool:
        points.append((time.perf_counter(), steps))
        return False

    ends = lambda _, raw: ended.append(raw)  # noqa: E731
    make = lambda _: work  # noqa: E731
    _native.train_many([outline], make, job.threads, 2**62, ends, poll, lambda *_: None, math.inf)
    if ended[0]["status"] != "ok":
        raise RuntimeError(f"the training ended as {ended[0]['status']}")
    np.savez(folder / "shots.npz", W=ended[0]["snapshot_W"], b=ended[0]["snapshot_b"])
    seconds, steps = np.array([(at, n) for at, n in points if 0 < n < plan.steps]).T
    if len(steps) < 8:
        raise ValueError(f"{plan.steps} steps are over too soon to be timed; take more")

    def pace(first: float, last: float) -> float:
        ends = np.clip([first, last], steps[0], steps[-1])
        return float(1e3 * np.ptp(np.interp(ends, steps, seconds)) / np.ptp(ends))

    return {
        "ms": pace(0, plan.steps),
        "windows_ms": [pace(start, start + plan.length) for start in plan.starts],
        "seconds": ended[0]["seconds"],
        "train_loss": ended[0]["train_loss"],
        "isa": _native.isa(),
        "curve": [[int(step), pace(step, step + plan.steps / 32)] for step in _curve(plan)],
    }


def _curve(plan: Plan) -> list[float]:
    """Steps from which the pace is drawn."""
    return [plan.steps * i / 32 for i in range(32)]


def gradient_stepper(job: Job, folder: Path) -> Stepper:
    """AdamW in NumPy with the gradients of toysup's lists: they start from any W and b."""
    from toysup import _native

    problem = Problem.load(folder)
    theta = [problem.W.copy(), problem.b.copy()]
    mean, square = ([np.zeros_like(p) for p in theta] for _ in range(2))
    x = (problem.indptr.astype(np.int64), problem.indices, problem.values.astype(np.float64))
    ones, done = np.ones(job.n), 0

    def advance(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            done += 1
            W, b = (p[None] for p in theta)
            got = _native.gradients(W, b, x, ones, job.n, LEARNING_RATE, "lists", job.threads)
            for p, u, v, g in zip(theta, mean, square, (got[0][0], got[1][0]), strict=True):
                u += (1 - BETAS[0]) * (g - u)
                v += (1 - BETAS[1]) * (g * g - v)
                p *= 1 - LEARNING_RATE * WEIGHT_DECAY
                root = np.sqrt(v / (1 - BETAS[1] ** done))
                p -= LEARNING_RATE / (1 - BETAS[0] ** done) * u / (root + EPS)

    def state() -> State:
        loss = _native.loss_and_grad(*theta, x, ones, 1.0, "relu")[0]
        return State(loss, *theta)

    return Stepper(advance, state)


def gradient(folder: Path) -> dict[str, Any]:
    """Where the steps of :func:`gradient_stepper` end, beside the reference."""
    job = Job.load(folder)
    stepper = gradient_stepper(job, folder)
    stepper.advance(job.check)
    state = stepper.state()
    return {"loss": state.loss, "distance": distance(folder, state.W, state.b)}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    answer = {"train": train, "gradient": gradient}[name](folder)
    (folder / f"{name}.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
