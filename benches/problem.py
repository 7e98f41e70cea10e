"""The problem that every contestant solves: data, first weights, and a float64 reference.

The reference is written here a second time, densely and plainly, so that nothing that is measured
also judges itself.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.floating[Any]]

LEARNING_RATE = 1e-3
BETAS = (0.9, 0.999)
EPS = 1e-8
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class Job:
    """One cell and how it is measured.

    ``check`` steps are taken before the losses are compared; then come ``windows`` timed windows of
    about ``seconds`` each.
    """

    T: int
    m: int
    n: int
    sparsity: float
    seed: int
    threads: int
    check: int
    windows: int
    seconds: float

    def save(self, folder: Path) -> None:
        """Write the job to ``folder``."""
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Job:
        """The job that :meth:`save` wrote."""
        return Job(**json.loads((folder / "job.json").read_text(encoding="utf-8")))

    def train_fields(self, steps: int) -> dict[str, Any]:
        """Fields of ``toysup.TrainConfig`` for ``steps`` steps of this job."""
        return {
            **{"n": self.n, "m": self.m, "T": self.T, "sparsity": self.sparsity},
            **{"seed": self.seed, "steps": steps, "schedule": "constant", "warmup": 0.0},
            **{"learning_rate": LEARNING_RATE, "betas": BETAS, "eps": EPS},
            **{"weight_decay": WEIGHT_DECAY, "dtype": "float32", "loss_reduction": "mean"},
            **{"test_size": 0, "record": 1, "snapshots": 0},
        }


@dataclass(frozen=True)
class Problem:
    """Training examples as the rows of a CSR matrix (T, n), and the first W (m, n) and b (n,).

    Everything is float32, the indices are int32.
    """

    indptr: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    W: npt.NDArray[np.float32]
    b: npt.NDArray[np.float32]

    @staticmethod
    def load(folder: Path) -> Problem:
        """The problem that :func:`prepare` wrote."""
        with np.load(folder / "problem.npz") as file:
            return Problem(*(file[name] for name in ("indptr", "indices", "values", "W", "b")))

    @property
    def T(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> npt.NDArray[np.int32]:
        """Number of the example to which each non-zero belongs, ascending."""
        return np.repeat(np.arange(self.T, dtype=np.int32), np.diff(self.indptr))

    def dense(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Examples ``start`` ... ``stop`` - 1 as a dense array, shape (stop - start, n)."""
        stop = self.T if stop is None else min(stop, self.T)
        part = slice(self.indptr[start], self.indptr[stop])
        X = np.zeros((stop - start, self.W.shape[1]), dtype=np.float32)
        X[self.rows()[part] - start, self.indices[part]] = self.values[part]
        return X


def loss_and_grad(problem: Problem, W: Float, b: Float) -> tuple[float, Float, Float]:
    """Loss in the paper's unit, and the gradient of that loss over n, dense and in float64."""
    loss, dW, db = 0.0, np.zeros_like(W), np.zeros_like(b)
    for start in range(0, problem.T, 250):
        X = problem.dense(start, start + 250).astype(np.float64)
        H = X @ W.T
        Y = np.maximum(H @ W + b, 0)
        E = Y - X
        loss += float(np.vdot(E, E))
        G = np.where(Y > 0, E, 0.0)
        db += G.sum(axis=0)
        dW += H.T @ G + (G @ W.T).T @ X
    scale = 2 / (problem.T * len(b))
    return loss / problem.T, dW * scale, db * scale


def reference(problem: Problem, steps: int) -> tuple[float, Float, Float]:
    """Loss, W and b after ``steps`` steps of AdamW (Loshchilov and Hutter 2019), in float64.

    The moments start at 0, wherever W and b start.
    """
    theta = [problem.W.astype(np.float64), problem.b.astype(np.float64)]
    mean = [np.zeros_like(p) for p in theta]
    square = [np.zeros_like(p) for p in theta]
    for t in range(1, steps + 1):
        for i, g in enumerate(loss_and_grad(problem, *theta)[1:]):
            mean[i] += (1 - BETAS[0]) * (g - mean[i])
            square[i] += (1 - BETAS[1]) * (g * g - square[i])
            theta[i] *= 1 - LEARNING_RATE * WEIGHT_DECAY
            root = np.sqrt(square[i] / (1 - BETAS[1] ** t))
            theta[i] -= LEARNING_RATE / (1 - BETAS[0] ** t) * mean[i] / (root + EPS)
    return loss_and_grad(problem, *theta)[0], theta[0], theta[1]


def save_start(folder: Path, W: Float, b: Float) -> None:
    """Let the problem that :func:`prepare` makes in ``folder`` start at W (m, n) and b (n,)."""
    np.savez(folder / "start.npz", W=W, b=b)


def first_weights(job: Job, folder: Path) -> tuple[Float, Float]:
    """W and b of :func:`save_start`, or else those of a training that has not begun."""
    import toysup

    if (folder / "start.npz").exists():
        with np.load(folder / "start.npz") as file:
            return file["W"], file["b"]
    run = toysup.train(**job.train_fields(0))
    return run.W, run.b


def prepare(folder: Path) -> dict[str, Any]:
    """Make the data and the reference of the job in ``folder``; needs toysup."""
    import toysup

    job = Job.load(folder)
    batch = toysup.data.sample(job.n, job.T, job.sparsity, job.seed)
    W, b = first_weights(job, folder)
    problem = Problem(
        np.asarray(batch.indptr, dtype=np.int32),
        np.asarray(batch.indices, dtype=np.int32),
        np.asarray(batch.values, dtype=np.float32),
        np.asarray(W, dtype=np.float32),
        np.asarray(b, dtype=np.float32),
    )
    np.savez(folder / "problem.npz", **vars(problem))
    first = problem.W.astype(np.float64), problem.b.astype(np.float64)
    start = loss_and_grad(problem, *first)[0]
    loss, W, b = reference(problem, job.check)
    np.savez(folder / "reference.npz", W=W, b=b)
    return {"start_loss": start, "loss": loss, "nonzeros": len(problem.values)}


def distance(folder: Path, W: Float, b: Float) -> float:
    """How far (W, b) is from the reference, as a share of the way that the reference went."""
    first = Problem.load(folder)
    with np.load(folder / "reference.npz") as file:
        W_ref, b_ref = file["W"], file["b"]
    off = np.hypot(np.linalg.norm(W - W_ref), np.linalg.norm(b - b_ref))
    return float(off / np.hypot(np.linalg.norm(W_ref - first.W), np.linalg.norm(b_ref - first.b)))
