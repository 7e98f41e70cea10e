"""Whether and how a run, or weights of any origin, store each of their examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._run.run import Run
from toysup._stream.batch import take
from toysup.config.checks import as_int, as_share
from toysup.regime._clusters import clusters
from toysup.regime._losses import gains
from toysup.regime._model import Floats, Ints, Trained, model_and_examples
from toysup.regime._polygons import Polygon, polygon
from toysup.regime._retrieval import nearest_example

__all__ = ["CLASSES", "Regime", "classify"]

# What an example can be, in the order in which T makes them: see :func:`classify`.
CLASSES = ("single", "partial", "cluster", "feature", "none")


@dataclass(frozen=True, eq=False, repr=False)
class Regime:
    """What a run stores.

    Attributes
    ----------
    label : str array of shape (T,)
        The class of each training example, one of :data:`CLASSES`.
    loss, gain : array of shape (T,)
        :func:`example_loss` and :func:`example_gain`.
    cluster : int array of shape (T,)
        The cluster of each "single", "partial" and "cluster" example; -1 for the others.
    size : int array
        Number of examples in each cluster, falling; 1 for an example without others like it.
    sharing, chance : float
        See :class:`Clusters`.
    represented : bool array of shape (n,)
        Which features have an own gain of at least the threshold.
    retrieved : float
        Of the first training examples, the share whose reconstruction resembles no other example
        more; an independent check.
    kept_together : float
        Of those of class "cluster" among them, the share whose reconstruction resembles one of
        their own cluster most; NaN if there are none.
    fresh_loss : array
        Losses of fresh examples.
    fresh_stored : float
        The share of fresh examples with as large a gain as stored ones have: about 0 for a model
        that stores examples, and that of the training set for one that has learnt what holds for
        all data.
    polygon : Polygon or None
        How the hidden vectors of the stored examples lie, for m = 2.
    """

    label: npt.NDArray[np.str_]
    loss: Floats
    gain: Floats
    cluster: Ints
    size: Ints
    sharing: float
    chance: float
    represented: npt.NDArray[np.bool_]
    retrieved: float
    kept_together: float
    fresh_loss: Floats
    fresh_stored: float
    polygon: Polygon | None

    @property
    def counts(self) -> dict[str, int]:
        """Number of training examples of each class."""
        return {name: int(np.count_nonzero(self.label == name)) for name in CLASSES}

    def summary(self) -> dict[str, Any]:
        """Counts and scalars: numbers, and a text for the polygon."""
        return {
            "T": len(self.label),
            **self.counts,
            "clusters": int(np.count_nonzero(self.size > 1)),
            "largest_cluster": int(self.size.max(initial=0)),
            "sharing": self.sharing,
            "chance": self.chance,
            "represented": int(np.count_nonzero(self.represented)),
            "median_loss": float(np.median(self.loss)),
            "max_loss": float(self.loss.max()),
            "retrieved": self.retrieved,
            "kept_together": self.kept_together,
            "fresh_stored": self.fresh_stored,
            "polygon": "" if self.polygon is None else str(self.polygon),
        }

    def __repr__(self) -> str:
        """The summary in two or three sentences."""
        found = self.summary()
        parts = ", ".join(f"{found[name]:,} {name}" for name in CLASSES)
        text = f"{found['T']:,} examples: {parts}. Features represented: {found['represented']:,}."
        if found["clusters"]:
            text += (
                f" {found['clusters']:,} clusters: {self.sharing:.0%} of the pairs in them share "
                f"a feature, {self.chance:.0%} by chance."
            )
        return text


def classify(
    run: Trained,
    X: object = None,
    *,
    gain: float = 0.05,
    share: float = 0.5,
    similarity: float = 0.9,
    represented: float = 0.5,
    fresh: int = 2_000,
    retrieve: int = 1_000,
) -> Regime:
    """Say of each example whether and how the model stores it.

    * "none": its hidden vector removes less than ``gain`` of its loss (:func:`example_gain`).
    * "feature": it is stored, but at least ``share`` of what it gains comes from one feature, and
      that one is represented. Any other example with that feature would gain as well.
    * "cluster": it is stored, and others have a reconstruction like its own (:func:`clusters`).
    * "single": it has its reconstruction for itself and gains half or more, so that at most one
      other can have as much of its place.
    * "partial": it has its reconstruction for itself, too, but gains less than half. It lies
      between others and gains a little from each, or is about to be dropped.

    Copies of an example, as ``repeats`` makes them, are examples of one cluster.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin. With infinite T the training set of a run
        is that of the last step.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.
    gain : float
        The smallest gain of a stored example. One of K orthogonal examples that are stored as
        their mean gains 1/K, so 0.05 stands for up to twenty.
    share : float
        Of the gain of an example, the smallest share that makes it one of a feature.
    similarity : float
        As for :func:`clusters`.
    represented : float
        The smallest own gain of a represented feature, as in :meth:`Run.represented`.
    fresh : int
        How many test examples of a run to compare with. Of a data set there may be fewer, or none,
        and weights have none.
    retrieve : int
        How many training examples, the first ones, to look for with :func:`nearest_example`.

    Returns
    -------
    Regime

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`, and for a threshold that is not in (0, 1] or a bad number.
    """
    gain, share = as_share("gain", gain), as_share("share", share)
    fresh = as_int("fresh", fresh, 1, 10_000_000)
    retrieve = as_int("retrieve", retrieve, 1, 10_000_000)
    model, batch = model_and_examples(run, X)
    found = gains(model, batch)
    trained = run if isinstance(run, Run) else model
    known = trained.represented(as_share("represented", represented))
    stored = found.gain >= gain
    of_feature = stored & (found.share >= share) & known[found.feature]
    groups = clusters(model, batch, stored & ~of_feature, similarity=similarity)
    alone = np.append(groups.size, 0)[groups.label] == 1
    conditions = [alone & (found.gain >= 0.5), alone, groups.label >= 0, of_feature]
    label = np.select(conditions, list(CLASSES[:4]), default=CLASSES[4])
    rows = np.arange(min(retrieve, len(batch)))
    nearest, _ = nearest_example(model, batch, rows)
    together = (groups.label[nearest] == groups.label[rows])[label[rows] == "cluster"]
    others = gains(model, run.test_set(fresh) if isinstance(run, Run) else take(batch, rows[:0]))
    return Regime(
        label=label,
        loss=found.loss,
        gain=found.gain,
        cluster=groups.label,
        size=groups.size,
        sharing=groups.sharing,
        chance=groups.chance,
        represented=known,
        retrieved=float(np.mean(nearest == rows)),
        kept_together=float(together.mean()) if together.size else math.nan,
        fresh_loss=others.loss,
        fresh_stored=float(np.mean(others.gain >= gain)) if len(others.gain) else math.nan,
        polygon=polygon(model.hidden(batch)[stored]) if model.m == 2 else None,
    )
