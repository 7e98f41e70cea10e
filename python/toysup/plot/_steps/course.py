"""A run seen through its snapshots: its features and its examples at each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup._stream.batch import SparseBatch, take
from toysup.metrics import dimensionality
from toysup.plot._parts.source import Floats, Source, open_cells
from toysup.plot._parts.thin import Places

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["Course", "open_course"]

# The two kinds of vectors, in the paper's order and colours.


@dataclass(frozen=True)
class Course:
    """The features and the distinct training examples of a run, at each of its snapshots.

    Attributes
    ----------
    run : Run
        The run.
    steps : array of shape (K,)
        Steps of the snapshots, as far as they are finite.
    W : array of shape (K, m, n)
        The weights at these steps.
    X : SparseBatch
        The first T rows of the training set: what comes after them are copies. For T = ∞ the
        examples of the last update.
    """

    run: Run
    steps: npt.NDArray[np.int64]
    W: npt.NDArray[np.floating[Any]]
    X: SparseBatch

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> int:
        """The last step of the history."""
        return int(self.run.history["step"][-1])

    def count(self, name: str) -> int:
        """How many vectors of this kind there are."""
        return self.X.n if name == "features" else len(self.X)

    def vectors(self, name: str, k: int, X: SparseBatch | None = None) -> Floats:
        """The features, shape (n, m), or the examples, shape (T, m), at snapshot k."""
        W = self.W[k].T.astype(np.float64)
        return W if name == "features" else np.asarray((self.X if X is None else X).dot(W))

    def dimensionality(self, name: str, k: int) -> Floats:
        """The dimensionality of each vector at snapshot k."""
        return dimensionality(self.vectors(name, k))

    def guides(self, name: str) -> list[tuple[float, str]]:
        """Dimensionalities to compare those of a kind with, and what they are called."""
        m, T = self.run.config.m, self.run.config.T
        if name == "features":
            return [(0.4, "2/5")] if m == 2 else []
        return [(m / T, "m / T")] if m <= T < math.inf else []

    def recorded(self, variable: str) -> tuple[Floats, Floats]:
        """Steps and values of a scalar of the history, where it is finite."""
        history = self.run.history
        y = history[variable].to_numpy().astype(np.float64)
        finite = np.isfinite(y)
        return history["step"].to_numpy().astype(np.float64)[finite], y[finite]

    def at(self, places: Places) -> Course:
        """Some of the snapshots."""
        return replace(self, steps=self.steps[places], W=self.W[places])


def open_course(source: Source, select: Mapping[str, Any]) -> Course:
    """The snapshots of a run, or of the run of lowest train loss over the seeds of a sweep.

    Raises
    ------
    TypeError, FileNotFoundError, StoreError
        If there is no run at the source.
    ValueError
        If the run has no snapshots, or the selection does not fit.
    """
    cells = open_cells(source, select)
    cells.require_fixed("seed", "init_seed")
    if cells.is_run:
        run = cells.run_at(dict.fromkeys(cells.coords, 0))
    else:
        cells.require_finished()
        found = cells.pick()
        assert found is not None
        run = found
    snapshots = run.snapshots
    if not snapshots.sizes["step"]:
        raise ValueError("the run has no snapshots: train it with snapshots=200, say")
    W = snapshots["W"].to_numpy()
    finite = int(np.logical_and.accumulate([bool(np.all(np.isfinite(w))) for w in W]).sum())
    if not finite:
        raise ValueError("the run diverged before its first snapshot")
    X = run.training_set()
    T = len(X) if run.config.T == math.inf else int(run.config.T)
    return Course(run, snapshots["step"].to_numpy()[:finite], W[:finite], take(X, np.arange(T)))
