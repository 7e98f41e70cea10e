"""Examples that a model takes for one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toysup._run.model import Model, parts
from toysup._stream.batch import SparseBatch, take
from toysup.config.checks import as_share
from toysup.regime._model import (
    Floats,
    Ints,
    Trained,
    as_rows,
    model_and_examples,
    products,
    unit_rows,
)

__all__ = ["Clusters", "clusters"]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Examples that the model takes for one another.

    Attributes
    ----------
    label : int array of shape (T,)
        The cluster of each example, 0 for the largest; -1 for those that were left out.
    size : int array
        Number of examples in each cluster, falling.
    sharing : float
        Of the pairs within a cluster, the share that have a non-zero feature in common; NaN
        without any pair.
    chance : float
        The same of all pairs, within clusters and across: what grouping at random would give.
    """

    label: Ints
    size: Ints
    sharing: float
    chance: float


def clusters(
    run: Trained,
    X: object = None,
    rows: npt.ArrayLike | None = None,
    *,
    similarity: float = 0.9,
) -> Clusters:
    """Group examples whose hidden vectors mean the same to the model.

    Two examples are linked if the cosine of their reconstructions x' is at least ``similarity``;
    clusters are what links connect. That is the angle between hidden vectors as the decoder sees
    it: an angle that holds many examples at one T is empty at another, and in more than two
    dimensions, or on two circles, angles alone do not say what the model can tell apart.

    Time is O(M^2 n) for M examples, memory O(T + M) and a fixed budget.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.
    rows : array of int or mask of shape (T,), optional
        Which examples to group; all if not given. Leave out those that the model does not store
        (:func:`example_gain`): the biases alone make them all alike.
    similarity : float
        In (0, 1].

    Returns
    -------
    Clusters

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`, and for bad ``rows`` or a bad ``similarity``.
    """
    similarity = as_share("similarity", similarity)
    model, batch = model_and_examples(run, X)
    rows = np.unique(as_rows(rows, len(batch)))
    few = take(batch, rows)
    found, size = _by_size(_linked(model, few.dot(model.W.T), similarity))
    label = np.full(len(batch), -1)
    label[rows] = found
    return Clusters(label, size, *_sharing(few, found))


def _linked(model: Model, h: Floats, similarity: float) -> Ints:
    """A label per hidden vector, equal for those that links connect."""
    label = np.arange(len(h))
    for part in parts(len(h), len(model.b)):
        left = unit_rows(model.decode(h[part]))
        for other in parts(len(h), len(model.b)):
            if other.start < part.start:
                continue
            right = left if other == part else unit_rows(model.decode(h[other]))
            i, j = np.nonzero(left @ right.T >= similarity)
            label = _merge(label, label[part][i], label[other][j])
    return label


def _merge(label: Ints, left: Ints, right: Ints) -> Ints:
    """The labels after those of each pair have become one, the smallest of all that they meet."""
    apart = left != right
    pairs = np.unique(left[apart] * len(label) + right[apart])
    target = np.arange(len(label))

    def root(k: int) -> int:
        while target[k] != k:
            k = int(target[k])
        return k

    for pair in pairs.tolist():
        a, b = sorted(map(root, divmod(pair, len(label))))
        target[b] = a
    while np.any(target != target[target]):
        target = target[target]
    return target[label]


def _by_size(label: Ints) -> tuple[Ints, Ints]:
    """Labels 0, 1, ... from the largest cluster to the smallest, and the sizes."""
    _, inverse, count = np.unique(label, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], count[order]


def _sharing(batch: SparseBatch, label: Ints) -> tuple[float, float]:
    """Of pairs with the same label, and of all pairs, the share with a feature in common."""
    ones = SparseBatch(batch.indptr, batch.indices, np.ones(len(batch.indices)), batch.n)
    pairs = np.zeros(2)
    common = np.zeros(2)
    for part in parts(len(ones), ones.n):
        rows = np.arange(part.start, part.stop)
        for some, overlap in products(ones, take(ones, rows).toarray().T):
            later = np.arange(some.start, some.stop)[:, None] > rows
            for k, asked in enumerate((later & (label[some, None] == label[part]), later)):
                pairs[k] += np.count_nonzero(asked)
                common[k] += np.count_nonzero(asked & (overlap > 0))
    same, every = np.divide(common, pairs, out=np.full(2, np.nan), where=pairs > 0)
    return float(same), float(every)
