"""The model of a run in double precision, and examples as they pass through it in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from toysup._run.train import Run
from toysup._stream.batch import SparseBatch, as_csr, take
from toysup.errors import short

__all__ = ["Floats", "Ints", "Model", "as_rows", "examples_of", "parts", "products", "unit_rows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Numbers of a dense array that exists at one time; of several arrays, that of each.
_BUDGET = 2**20


class Model:
    """x' = f(W^T h + b) in double precision."""

    def __init__(self, run: Run) -> None:
        if not isinstance(run, Run):
            raise TypeError(f"run must be a Run, got {short(run)} ({type(run).__name__})")
        self.W: Floats = run.W.astype(np.float64)
        self.b: Floats = run.b.astype(np.float64)
        if not (np.all(np.isfinite(self.W)) and np.all(np.isfinite(self.b))):
            raise ValueError(f"run must have finite weights, got one that is {run.status}")
        self.importance = run.config.importances()
        self.linear = run.config.activation == "linear"

    def decode(self, h: Floats) -> Floats:
        """The reconstructions x' of hidden vectors as rows."""
        z = h @ self.W + self.b
        return z if self.linear else np.maximum(z, 0.0)

    def silent(self) -> Floats:
        """What x' is for h = 0, shape (1, n)."""
        return self.decode(np.zeros((1, len(self.W))))

    def chunks(self, batch: SparseBatch) -> Iterator[tuple[slice, Floats, Floats]]:
        """Which examples, x and x' as dense rows: a few at a time."""
        for part in parts(len(batch), batch.n):
            few = take(batch, np.arange(part.start, part.stop))
            yield part, few.toarray(), self.decode(few.dot(self.W.T))


def examples_of(run: Run, X: object) -> SparseBatch:
    return run.training_set() if X is None else SparseBatch(*as_csr(X, run.config.n), run.config.n)


def as_rows(rows: npt.ArrayLike | None, count: int) -> Ints:
    """Numbers of examples: all of them for None, those that are True of a mask."""
    if rows is None:
        return np.arange(count)
    array = np.asarray(rows)
    if array.dtype == np.bool_ and array.shape == (count,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"rows must be a list of numbers of examples, got {short(rows)}")
    outside = array[(array < 0) | (array >= count)]
    if outside.size:
        raise ValueError(f"rows must be in [0, {count}), got {outside[0]}")
    return array.astype(np.int64)


def parts(count: int, width: int) -> Iterator[slice]:
    """Slices of so many rows that a dense array of them, ``width`` numbers each, is in budget."""
    step = max(1, _BUDGET // width)
    return (slice(low, min(low + step, count)) for low in range(0, count, step))


def products(batch: SparseBatch, A: Floats) -> Iterator[tuple[slice, Floats]]:
    """X A for a dense A of shape (n, k), a few examples at a time."""
    entries = max(1, len(batch.indices) // max(1, len(batch)))
    A = np.ascontiguousarray(A)
    for part in parts(len(batch), A.shape[1] * entries):
        yield part, take(batch, np.arange(part.start, part.stop)).dot(A)


def unit_rows(V: Floats) -> Floats:
    """Rows of length 1; zero ones stay zero."""
    length = np.linalg.norm(V, axis=1, keepdims=True)
    unit: Floats = np.divide(V, length, out=np.zeros_like(V), where=length > 0)
    return unit
