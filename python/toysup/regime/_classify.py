"""The measures of :mod:`toysup.regime`, which says what they are for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._run.train import Run
from toysup._stream.batch import SparseBatch, as_csr, take
from toysup.config.checks import as_int, as_share
from toysup.data import sample
from toysup.errors import short

__all__ = [
    "CLASSES",
    "Circle",
    "Clusters",
    "Polygon",
    "Regime",
    "classify",
    "clusters",
    "example_gain",
    "example_loss",
    "feature_gain",
    "feature_loss",
    "nearest_example",
    "polygon",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# What an example can be, in the order in which T makes them: see :func:`classify`.
CLASSES = ("single", "partial", "cluster", "feature", "none")

# Numbers of a dense array that exists at one time; of several arrays, that of each.
_BUDGET = 2**20


# ------------------------------------------------------------------------------------ losses


def example_loss(run: Run, X: object = None) -> Floats:
    r"""The loss of every example.

    .. math:: L_t = \sum_i I_i (x_{ti} - x'_{ti})^2

    in double precision, in chunks of bounded memory. Over the training set its mean is
    ``run.train_loss``.

    Parameters
    ----------
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.

    Returns
    -------
    array of shape (T,)
        In the paper's unit.

    Raises
    ------
    TypeError, ValueError
        If the run is not a run with finite weights, or X does not fit it.
    """
    model, batch = _Model(run), _examples(run, X)
    loss = np.empty(len(batch))
    for part, x, y in model.chunks(batch):
        loss[part] = np.square(x - y) @ model.importance
    return loss


def feature_loss(run: Run, X: object = None) -> Floats:
    r"""The loss of every feature, mean over examples.

    .. math:: \ell_i = \frac{1}{T} \sum_t I_i (x_{ti} - x'_{ti})^2

    The sum over features is the mean of :func:`example_loss`.

    Parameters
    ----------
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    model, batch = _Model(run), _examples(run, X)
    total = np.zeros(batch.n)
    for _, x, y in model.chunks(batch):
        total += np.square(x - y).sum(axis=0)
    return total * model.importance / len(batch)


def example_gain(run: Run, X: object = None) -> Floats:
    r"""The share of an example's loss that its hidden vector removes.

    .. math:: g_t = 1 - \frac{L_t(h_t)}{L_t(0)}

    where L_t(0) is the loss of the biases alone, h = 0. It is 1 for an example that is stored
    perfectly, 1/K for one of K orthogonal examples that are stored as their mean, and about 0 for
    one that is not stored. It is negative where the hidden vector does harm.

    Parameters
    ----------
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.

    Returns
    -------
    array of shape (T,)
        0 for an example without a loss to remove.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    return _gains(_Model(run), _examples(run, X)).gain


def feature_gain(run: Run, X: object = None) -> Floats:
    """The share of a feature's loss that hidden vectors remove, over all examples together.

    As :func:`example_gain`, by feature: 1 for one that is always reconstructed, about 0 for one of
    which only the bias knows.

    Parameters
    ----------
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.

    Returns
    -------
    array of shape (n,)
        0 for a feature without a loss to remove.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`.
    """
    model, batch = _Model(run), _examples(run, X)
    before, removed = np.zeros(batch.n), np.zeros(batch.n)
    silent = model.silent()
    for _, x, y in model.chunks(batch):
        alone = np.square(x - silent).sum(axis=0)
        before += alone
        removed += alone - np.square(x - y).sum(axis=0)
    return _ratio(removed, before)


class _Model:
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
        self.rows = max(1, _BUDGET // run.config.n)

    def decode(self, h: Floats) -> Floats:
        """The reconstructions x' of hidden vectors as rows."""
        z = h @ self.W + self.b
        return z if self.linear else np.maximum(z, 0.0)

    def silent(self) -> Floats:
        """What x' is for h = 0, shape (1, n)."""
        return self.decode(np.zeros((1, len(self.W))))

    def chunks(self, batch: SparseBatch) -> Iterator[tuple[slice, Floats, Floats]]:
        """Which examples, x and x' as dense rows: a few at a time."""
        for part in _slices(len(batch), self.rows):
            few = take(batch, np.arange(part.start, part.stop))
            yield part, few.toarray(), self.decode(few.dot(self.W.T))


@dataclass(frozen=True, eq=False)
class _Gains:
    """Per example: its loss, the share that h removes, and the feature that gains most by h."""

    loss: Floats
    gain: Floats
    feature: Ints
    share: Floats  # what the feature has of all that any feature gains


def _gains(model: _Model, batch: SparseBatch) -> _Gains:
    """What the hidden vectors of examples do, feature by feature."""
    loss, gain, share = (np.zeros(len(batch)) for _ in range(3))
    feature = np.zeros(len(batch), dtype=np.int64)
    silent = model.silent()
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
    return _Gains(loss, gain, feature, share)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, 0 where the whole is not positive."""
    quotient: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return quotient


def _examples(run: Run, X: object) -> SparseBatch:
    return run.training_set() if X is None else SparseBatch(*as_csr(X, run.config.n), run.config.n)


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(low, min(low + step, count)) for low in range(0, count, step))


def _unit(V: Floats) -> Floats:
    """Rows of length 1; zero ones stay zero."""
    length = np.linalg.norm(V, axis=1, keepdims=True)
    unit: Floats = np.divide(V, length, out=np.zeros_like(V), where=length > 0)
    return unit


# --------------------------------------------------------------------------------- retrieval


def nearest_example(
    run: Run, X: object = None, rows: npt.ArrayLike | None = None
) -> tuple[Ints, Floats]:
    """The example that each reconstruction x'_t resembles most, by the cosine.

    An example is retrieved if that is itself. Of equal ones, such as copies, the example itself
    counts, then the first.

    Parameters
    ----------
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.
    rows : array of int, optional
        Which of the examples to reconstruct, all T if not given. They are compared with all, so
        the time is O(rows x non-zeros).

    Returns
    -------
    index : int array of shape (rows,)
        Number of the nearest example; -1 if the reconstruction is zero.
    similarity : array of shape (rows,)
        Their cosine.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`, and if ``rows`` are not numbers of examples.
    """
    model, batch = _Model(run), _examples(run, X)
    rows = _as_rows(rows, len(batch))
    length = np.sqrt(np.add.reduceat(np.append(batch.values**2, 0.0), batch.indptr[:-1]))
    length[np.diff(batch.indptr) == 0] = np.inf  # an all-zero example resembles nothing
    index, best = np.full(len(rows), -1), np.zeros(len(rows))
    for part in _slices(len(rows), model.rows):
        asked = rows[part]
        y = _unit(model.decode(take(batch, asked).dot(model.W.T)))
        own = np.zeros(len(asked))
        for some, products in _products(batch, y.T):
            cosine = products / length[some, None]
            here = (asked >= some.start) & (asked < some.stop)
            own[here] = cosine[asked[here] - some.start, np.flatnonzero(here)]
            nearest = cosine.argmax(axis=0)
            value = cosine[nearest, np.arange(len(asked))]
            better = value > best[part]
            index[part] = np.where(better, nearest + some.start, index[part])
            best[part] = np.where(better, value, best[part])
        index[part] = np.where((own > 0) & (own >= best[part]), asked, index[part])
    return index, best


def _products(batch: SparseBatch, A: Floats) -> Iterator[tuple[slice, Floats]]:
    """X A for a dense A of shape (n, k), a few examples at a time."""
    entries = max(1, len(batch.indices) // max(1, len(batch)))
    A = np.ascontiguousarray(A)
    for part in _slices(len(batch), max(1, _BUDGET // (A.shape[1] * entries))):
        yield part, take(batch, np.arange(part.start, part.stop)).dot(A)


def _as_rows(rows: npt.ArrayLike | None, count: int) -> Ints:
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


# ---------------------------------------------------------------------------------- clusters


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
    run: Run,
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
    run : Run
        A run that ended well.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; the training set if not given.
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
    model, batch = _Model(run), _examples(run, X)
    rows = np.unique(_as_rows(rows, len(batch)))
    few = take(batch, rows)
    found, size = _by_size(_linked(model, few.dot(model.W.T), similarity))
    label = np.full(len(batch), -1)
    label[rows] = found
    return Clusters(label, size, *_sharing(few, found))


def _linked(model: _Model, h: Floats, similarity: float) -> Ints:
    """A label per hidden vector, equal for those that links connect."""
    label = np.arange(len(h))
    for part in _slices(len(h), model.rows):
        left = _unit(model.decode(h[part]))
        for other in _slices(len(h), model.rows):
            if other.start < part.start:
                continue
            right = left if other == part else _unit(model.decode(h[other]))
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
    for part in _slices(len(ones), max(1, _BUDGET // ones.n)):
        rows = np.arange(part.start, part.stop)
        for some, overlap in _products(ones, take(ones, rows).toarray().T):
            later = np.arange(some.start, some.stop)[:, None] > rows
            for k, asked in enumerate((later & (label[some, None] == label[part]), later)):
                pairs[k] += np.count_nonzero(asked)
                common[k] += np.count_nonzero(asked & (overlap > 0))
    same, every = np.divide(common, pairs, out=np.full(2, np.nan), where=pairs > 0)
    return float(same), float(every)


# ---------------------------------------------------------------------------------- polygons


@dataclass(frozen=True)
class Circle:
    """Vectors of about the same length.

    Attributes
    ----------
    vectors : int
        How many.
    directions : int
        How many directions they have; vectors closer than 2 degrees, or than half the even
        spacing if that is less, have the same one.
    radius : float
        Mean length.
    spread : float
        1 - shortest / longest.
    deviation : float
        The largest difference between an angle from one direction to the next and 360 degrees /
        directions, as a share of the latter.
    regular : bool
        Whether three or more directions form a regular polygon, within the tolerance.
    round : bool
        Whether the spread is within the tolerance.
    """

    vectors: int
    directions: int
    radius: float
    spread: float
    deviation: float
    regular: bool
    round: bool


@dataclass(frozen=True, repr=False)
class Polygon:
    """How vectors lie in the plane.

    Attributes
    ----------
    vectors : int
        Number of vectors.
    at_origin : int
        Those of negligible length.
    circles : tuple of Circle
        The others, from the longest to the shortest.
    """

    vectors: int
    at_origin: int
    circles: tuple[Circle, ...]

    @property
    def regular(self) -> bool:
        """Whether all vectors that are not at the origin form one regular polygon."""
        return len(self.circles) == 1 and self.circles[0].regular

    def __repr__(self) -> str:
        """Such as "5 on one circle, regular" or "two circles: 6 and 2; 3 at the origin".

        A single vector of its own length is no circle: it is "elsewhere".
        """
        circles = [circle for circle in self.circles if circle.vectors > 1 or self.vectors == 1]
        elsewhere = self.vectors - self.at_origin - sum(circle.vectors for circle in circles)
        parts = [(elsewhere, "elsewhere"), (self.at_origin, "at the origin")]
        if len(circles) > 3 or not all(circle.round for circle in circles):
            parts[0] = (self.vectors - self.at_origin, "spread out")
            circles = []
        texts = [f"{count:,} {where}" for count, where in parts if count]
        if circles:
            texts.insert(0, _on_circles(circles))
        return "; ".join(texts) or "no vectors"


def _on_circles(circles: list[Circle]) -> str:
    if len(circles) > 1:
        *first, last = (f"{circle.vectors:,}" for circle in circles)
        count = {2: "two", 3: "three"}[len(circles)]
        return f"{count} circles: {', '.join(first)} and {last}"
    circle = circles[0]
    merged = circle.directions < circle.vectors
    inside = f" in {circle.directions:,} directions" if merged else ""
    kind = "regular" if circle.regular else "irregular"
    return f"{circle.vectors:,} on one circle{inside}, {kind}"


def polygon(
    V: npt.ArrayLike, *, origin: float = 0.1, gap: float = 0.85, tolerance: float = 0.2
) -> Polygon:
    """Describe vectors in the plane as the corners of polygons.

    Parameters
    ----------
    V : array of shape (N, 2)
        Vectors as rows: hidden vectors h, or the columns of W (``W.T``).
    origin : float
        Vectors shorter than this share of the longest are at the origin.
    gap : float
        A new circle begins where, from the longest vector to the shortest, one has less than this
        share of the length of the one before.
    tolerance : float
        By how much, as a share, angles and lengths of a regular polygon may differ.

    Returns
    -------
    Polygon
        ``str()`` of it is a description.

    Raises
    ------
    TypeError, ValueError
        If V is not a real, finite array of that shape, or a share is not in (0, 1].

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> print(polygon(np.c_[np.cos(angle), np.sin(angle)]))
    5 on one circle, regular
    """
    origin, gap = as_share("origin", origin), as_share("gap", gap)
    tolerance = as_share("tolerance", tolerance)
    V = _in_plane(V)
    length = np.hypot(V[:, 0], V[:, 1])
    order = np.argsort(-length, kind="stable")
    outer = order[(length[order] > 0) & (length[order] >= origin * length.max(initial=0.0))]
    cuts = 1 + np.flatnonzero(length[outer[1:]] < gap * length[outer[:-1]])
    parts = np.split(outer, cuts) if len(outer) else []
    circles = tuple(_circle(V[part], length[part], tolerance) for part in parts)
    return Polygon(len(V), len(V) - len(outer), circles)


def _in_plane(V: npt.ArrayLike) -> Floats:
    array: npt.NDArray[Any] = np.asarray(V)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"V must be a real array, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"V must have shape (N, 2), got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"V must be finite, got {short(array[~np.isfinite(array)][0])}")
    return array.astype(np.float64)


def _circle(V: Floats, length: Floats, tolerance: float) -> Circle:
    """Vectors of about the same length, as a circle."""
    gaps = _gaps(_directions(np.sort(np.arctan2(V[:, 1], V[:, 0]))))
    deviation = float(np.max(np.abs(gaps * len(gaps) / (2 * np.pi) - 1)))
    spread = float(1 - length.min() / length.max())
    regular = len(gaps) >= 3 and max(deviation, spread) <= tolerance
    radius = float(length.mean())
    return Circle(len(V), len(gaps), radius, spread, deviation, regular, spread <= tolerance)


def _gaps(angles: Floats) -> Floats:
    """From each of the rising angles to the next, around the circle."""
    return np.diff(np.append(angles, angles[0] + 2 * np.pi))


def _directions(angles: Floats) -> Floats:
    """Rising angles with those that are hardly apart replaced by their mean."""
    gaps = _gaps(angles)
    wide = np.flatnonzero(gaps > min(np.radians(2.0), np.pi / len(angles)))
    if len(wide) == 0:
        return angles[:1]
    # Begin after a wide gap, so that no group lies across the end of the list.
    first = (wide[0] + 1) % len(angles)
    angles = np.unwrap(np.roll(angles, -first))
    ends = (wide - first) % len(angles)
    groups = np.split(angles, np.sort(ends)[:-1] + 1)
    return np.array([group.mean() for group in groups])


# ----------------------------------------------------------------------------------- regimes


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
        text = f"{found['T']:,} examples: {parts}. {found['represented']:,} features represented."
        if found["clusters"]:
            text += (
                f" {found['clusters']:,} clusters: {self.sharing:.0%} of the pairs in them share "
                f"a feature, {self.chance:.0%} by chance."
            )
        return text


def classify(
    run: Run,
    *,
    gain: float = 0.05,
    share: float = 0.5,
    similarity: float = 0.9,
    represented: float = 0.5,
    fresh: int = 2_000,
    retrieve: int = 1_000,
) -> Regime:
    """Say of each training example whether and how the run stores it.

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
    run : Run
        A run that ended well. With infinite T its training set is that of the last step.
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
        How many test examples to compare with.
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
    model, batch, c = _Model(run), run.training_set(), run.config
    found = _gains(model, batch)
    known = run.represented(as_share("represented", represented))
    stored = found.gain >= gain
    of_feature = stored & (found.share >= share) & known[found.feature]
    groups = clusters(run, batch, stored & ~of_feature, similarity=similarity)
    alone = np.append(groups.size, 0)[groups.label] == 1
    conditions = [alone & (found.gain >= 0.5), alone, groups.label >= 0, of_feature]
    label = np.select(conditions, list(CLASSES[:4]), default=CLASSES[4])
    rows = np.arange(min(retrieve, len(batch)))
    nearest, _ = nearest_example(run, batch, rows)
    together = (groups.label[nearest] == groups.label[rows])[label[rows] == "cluster"]
    others = _gains(model, sample(c.n, fresh, c.sparsity, c.seed, 0, c.normalize, role="test"))
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
        fresh_stored=float(np.mean(others.gain >= gain)),
        polygon=polygon(run.hidden(batch)[stored]) if c.m == 2 else None,
    )
