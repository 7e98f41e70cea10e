"""The loss of every example and feature, and what hidden vectors take off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toysup._run.model import Model
from toysup._stream.batch import SparseBatch
from toysup.regime._model import (
    Floats,
    Ints,
    Trained,
    model_and_examples,
)

__all__ = ["Gains", "example_gain", "example_loss", "feature_gain", "feature_loss", "gains"]


def example_loss(run: Trained, X: object = None) -> Floats:
    r"""The loss of every example.

    .. math:: L_t = \sum_i I_i (x_{ti} - x'_{ti})^2

    in double precision, in chunks of bounded memory. Over a finite training set its mean is
    ``run.train_loss``. With infinite T it is not: there ``train_loss`` is of the examples that the
    update after the last would have had, and the examples here, ``run.training_set()``, are those
    of the last update.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.

    Returns
    -------
    array of shape (T,)
        In the paper's unit.

    Raises
    ------
    TypeError, ValueError
        If the run has no finite weights, or X does not fit them, or is not given for weights that
        have no training set.
    """
    model, batch = model_and_examples(run, X)
    return model.example_loss(batch)


def feature_loss(run: Trained, X: object = None) -> Floats:
    r"""The loss of every feature, mean over examples.

    .. math:: \ell_i = \frac{1}{T} \sum_t I_i (x_{ti} - x'_{ti})^2

    The sum over features is the mean of :func:`example_loss`.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    model, batch = model_and_examples(run, X)
    total = np.zeros(batch.n)
    for _, x, y in model.chunks(batch):
        total += np.square(x - y).sum(axis=0)
    return total * model.importance / len(batch)


def example_gain(run: Trained, X: object = None) -> Floats:
    r"""The share of an example's loss that its hidden vector removes.

    .. math:: g_t = 1 - \frac{L_t(h_t)}{L_t(0)}

    where L_t(0) is the loss of the biases alone, h = 0. It is 1 for an example that is stored
    perfectly, 1/K for one of K orthogonal examples that are stored as their mean, and about 0 for
    one that is not stored. It is negative where the hidden vector does harm.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.

    Returns
    -------
    array of shape (T,)
        0 for an example without a loss to remove.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    return gains(*model_and_examples(run, X)).gain


def feature_gain(run: Trained, X: object = None) -> Floats:
    """The share of a feature's loss that hidden vectors remove, over all examples together.

    As :func:`example_gain`, by feature: 1 for one that is always reconstructed, about 0 for one of
    which only the bias knows.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.

    Returns
    -------
    array of shape (n,)
        0 for a feature without a loss to remove.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    model, batch = model_and_examples(run, X)
    before, removed = np.zeros(batch.n), np.zeros(batch.n)
    silent = model.decode(np.zeros((1, model.m)))
    for _, x, y in model.chunks(batch):
        alone = np.square(x - silent).sum(axis=0)
        before += alone
        removed += alone - np.square(x - y).sum(axis=0)
    return _ratio(removed, before)


@dataclass(frozen=True, eq=False)
class Gains:
    """Per example: its loss, the share that h removes, and the feature that gains most by h."""

    loss: Floats
    gain: Floats
    feature: Ints
    share: Floats  # what the feature has of all that any feature gains


def gains(model: Model, batch: SparseBatch) -> Gains:
    """What the hidden vectors of examples do, feature by feature."""
    loss, gain, share = (np.zeros(len(batch)) for _ in range(3))
    feature = np.zeros(len(batch), dtype=np.int64)
    silent = model.decode(np.zeros((1, model.m)))
    for part, x, y in model.chunks(batch):
        removed = np.square(x - silent) * model.importance
        before = removed.sum(axis=1)
        after = np.square(x - y) * model.importance
        loss[part] = after.sum(axis=1)
        removed -= after
        gain[part] = _ratio(removed.sum(axis=1), before)
        feature[part] = best = removed.argmax(axis=1)
        np.maximum(removed, 0.0, out=removed)
        share[part] = _ratio(removed[np.arange(len(best)), best], removed.sum(axis=1))
    return Gains(loss, gain, feature, share)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, 0 where the whole is not positive."""
    quotient: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return quotient
