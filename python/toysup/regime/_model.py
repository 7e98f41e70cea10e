"""The model of a run, or one's own, and examples as they pass through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from toysup._run.model import Model, parts
from toysup._run.run import Run
from toysup._stream.batch import SparseBatch, take
from toysup.config.weights import is_pair
from toysup.errors import short

__all__ = [
    "Floats",
    "Ints",
    "Trained",
    "as_rows",
    "model_and_examples",
    "model_of",
    "products",
    "unit_rows",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# What the measures take: a run, or weights of any origin with examples.
Trained: TypeAlias = Run | Model | tuple[npt.ArrayLike, npt.ArrayLike]


def model_of(run: Trained) -> Model:
    """The model that a measure is of."""
    if isinstance(run, Run):
        if not (np.all(np.isfinite(run.W)) and np.all(np.isfinite(run.b))):
            raise ValueError(f"run must have finite weights, got one that is {run.status}")
        return run.model
    if isinstance(run, Model):
        return run
    if is_pair(run):
        return Model(*run)
    kind = type(run).__name__
    raise TypeError(f"run must be a Run, a Model or a pair (W, b), got {short(run)} ({kind})")


def model_and_examples(run: Trained, X: object) -> tuple[Model, SparseBatch]:
    """The model and its examples; a run's own if none are given."""
    model = model_of(run)
    if X is not None:
        return model, model.examples(X)
    if not isinstance(run, Run):
        raise ValueError("X must be given: a model has no training set of its own, a Run has")
    return model, run.training_set()


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
