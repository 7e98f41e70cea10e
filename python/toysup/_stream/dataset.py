"""Examples of one's own: :class:`Dataset`, and finding it again by its digest."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup._stream.batch import SparseBatch, as_sparse, check_rows, take
from toysup._stream.stream import norms
from toysup.config.checks import as_flag
from toysup.config.data import DataRef
from toysup.errors import DataError, short

__all__ = ["MAX_NAME", "Dataset", "find", "offer"]

# Characters of the name of a data set, and of one of its features.
MAX_NAME = 256
# Numbers that are squared at one time.
_BUDGET = 1 << 20
# Squares of numbers between these are neither lost nor infinite, nor are sums of them.
_SMALL, _LARGE = 2.0**-480, 2.0**480

_ATTRIBUTES = ("X", "test", "normalize", "feature_names", "name", "digest")


class Dataset:
    """Examples of one's own, to be trained on in place of generated ones.

    A data set is frozen, and kept as compressed rows: memory is 12 bytes for each value that is not
    zero and 8 for each row, and never that of a dense array. Features are ascending in each row,
    zeros are left out, and values that a SciPy array holds for the same place are added up. While
    it is made, about twice that is in use beside what is given.

    Values may have any sign. Those of the model's output are never negative (unless its activation
    is "linear"), so that negative ones add to the loss what no model can remove.

    Parameters
    ----------
    X : SciPy sparse array, SparseBatch, or array of shape (rows, n)
        Examples as rows; arrays of any library, such as PyTorch.
    test : same as X, optional
        Test examples, with the same features. Without them, the test loss of a run is that of rows
        which it was not trained on, if there are any.
    normalize : bool
        Whether each row, in ``test`` too, is scaled to unit Euclidean norm. There must be no empty
        one then.
    feature_names : sequence of str, optional
        A name for each feature.
    name : str, optional
        What the data set is called.

    Attributes
    ----------
    X, test : SparseBatch
        The rows, scaled if ``normalize``; ``test`` is None if it was not given. Not to be written
        to.
    n : int
        Number of features.
    digest : str
        The SHA-256 of all that a training can depend on: n, ``normalize``, and all rows. Data sets
        are equal if their digests are; names do not count.
    normalize, feature_names, name
        As given; ``feature_names`` is a tuple or None.

    Raises
    ------
    TypeError, ValueError
        If X or ``test`` cannot be read as real numbers, holds NaN, infinity or numbers that are
        infinite in double precision, has no rows, or an empty one that is to be scaled; if ``test``
        has another number of features; for a wrong number of feature names.

    Examples
    --------
    >>> words = Dataset([[0.0, 3.0, 4.0], [1.0, 0.0, 0.0]], name="words")
    >>> words
    Dataset('words', 2 x 3, 1.5 non-zeros a row, unit norm, 1dfdf8e9)
    >>> words.X.toarray()
    array([[0. , 0.6, 0.8],
           [1. , 0. , 0. ]])
    """

    X: SparseBatch
    test: SparseBatch | None
    normalize: bool
    feature_names: tuple[str, ...] | None
    name: str | None
    digest: str
    _ref: dict[str, Any]

    __slots__ = (*_ATTRIBUTES, "__weakref__", "_ref")

    def __init__(
        self,
        X: object,
        test: object = None,
        normalize: bool = True,
        feature_names: Iterable[str] | None = None,
        name: str | None = None,
    ) -> None:
        flag = as_flag("normalize", normalize)
        rows = _canonical("X", X, flag)
        tests = None if test is None else _canonical("test", test, flag)
        if tests is not None and tests.n != rows.n:
            raise ValueError(f"test must have n = {rows.n} columns as X has, got {tests.shape}")
        if len(rows.indices) == 0:
            raise ValueError(f"X must hold a value that is not zero, got shape {rows.shape}")
        self._fill(rows, tests, flag, _as_names(feature_names, rows.n), _as_name(name))

    @classmethod
    def of(
        cls,
        X: SparseBatch,
        test: SparseBatch | None,
        normalize: bool,
        feature_names: Iterable[str] | None,
        name: str | None,
    ) -> Dataset:
        """A data set of the rows of another one: they are neither scaled nor checked."""
        self = object.__new__(cls)
        self._fill(X, test, normalize, _as_names(feature_names, X.n), _as_name(name))
        return self

    def _fill(
        self,
        X: SparseBatch,
        test: SparseBatch | None,
        normalize: bool,
        feature_names: tuple[str, ...] | None,
        name: str | None,
    ) -> None:
        """Set every attribute, and note that this process holds the data set."""
        for batch in (X, *([] if test is None else [test])):
            for array in batch.csr():
                array.flags.writeable = False
        digest = _digest(X, test, normalize)
        values = (X, test, normalize, feature_names, name, digest)
        for attribute, value in zip(_ATTRIBUTES, values, strict=True):
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "_ref", _measured(self))
        _KNOWN[id(self)] = self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Dataset is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Dataset is frozen: {name} cannot be deleted")

    def __len__(self) -> int:
        """Number of rows, those of ``test`` left out."""
        return len(self.X)

    @property
    def n(self) -> int:
        """Number of features."""
        return self.X.n

    @property
    def ref(self) -> DataRef:
        """What a config holds of the data set, and where the rows are."""
        return DataRef(**self._ref, source=self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        parts = [] if self.name is None else [repr(self.name)]
        parts.append(f"{len(self):,} x {self.n:,}")
        parts.append(f"{len(self.X.indices) / len(self):.3g} non-zeros a row")
        if self.test is not None:
            parts.append(f"{len(self.test):,} test rows")
        parts += ["unit norm"] if self.normalize else []
        return f"Dataset({', '.join(parts)}, {self.digest[:8]})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset.of, (self.X, self.test, self.normalize, self.feature_names, self.name)


# The data sets of this process that somebody holds, some of which may be equal.
_KNOWN: weakref.WeakValueDictionary[int, Dataset] = weakref.WeakValueDictionary()


def _as_name(name: object, what: str = "name") -> str | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, got {short(name)} ({type(name).__name__})")
    if len(name) > MAX_NAME:
        raise ValueError(f"{what} must have at most {MAX_NAME} characters, got {short(name)}")
    return str(name)


def _as_names(names: object, n: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        kind = type(names).__name__
        raise TypeError(f"feature_names must be n = {n} strings, got {short(names)} ({kind})")
    found = tuple(str(_as_name(name, "a name in feature_names")) for name in names)
    if len(found) != n:
        raise ValueError(f"feature_names must be n = {n} strings, got {len(found)}")
    return found


def _canonical(name: str, X: object, normalize: bool) -> SparseBatch:
    """Rows of finite numbers without zeros, in arrays of their own."""
    batch = as_sparse(name, X)
    if len(batch) == 0 or batch.n == 0:
        raise ValueError(f"{name} must hold at least one row and column, got shape {batch.shape}")
    check_rows(name, batch)
    own = _without_zeros(batch)
    if own is batch and isinstance(X, SparseBatch):
        indptr, indices, values = batch.csr()
        own = SparseBatch(indptr.copy(), indices.copy(), values.copy(), batch.n)
    return _scaled(name, own) if normalize else own


def _without_zeros(batch: SparseBatch) -> SparseBatch:
    """The batch without its zeros: itself, if it holds none."""
    kept = batch.values != 0.0
    if np.all(kept):
        return batch
    ends = np.concatenate(([0], np.cumsum(kept)))
    return SparseBatch(ends[batch.indptr], batch.indices[kept], batch.values[kept], batch.n)


@exact_floats()
def _scaled(name: str, batch: SparseBatch) -> SparseBatch:
    """The rows, scaled in place to unit norm, to the bits of the stream's examples."""
    counts, values = np.diff(batch.indptr), batch.values
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        more = f", and {len(empty) - 1:,} more," if len(empty) > 1 else ""
        raise ValueError(
            f"{name} must have no empty row if rows are to be scaled to unit norm: row {empty[0]}"
            f"{more} has no value that is not zero; leave it out, or give normalize=False"
        )
    sizes = np.abs(values)
    if sizes.min() < _SMALL or sizes.max() > _LARGE:
        # By powers of 2, which changes no bits but of what would be lost beside the largest.
        largest = np.maximum.reduceat(sizes, batch.indptr[:-1])
        values[:] = np.ldexp(values, -np.repeat(np.frexp(largest)[1], counts))
    del sizes  # as large as all values
    found = _norms(batch, counts)
    step = max(1, _BUDGET * len(batch) // len(values))
    for low in range(0, len(batch), step):
        rows = slice(low, low + step)
        ends = batch.indptr[low], batch.indptr[min(low + step, len(batch))]
        values[slice(*ends)] /= np.repeat(found[rows], counts[rows])
    return _without_zeros(batch)  # what was lost beside the largest of its row


def _norms(batch: SparseBatch, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The norm of each row; rows of about the same length are done together."""
    found, order = np.empty(len(batch)), np.argsort(counts, kind="stable")
    low = 0
    while low < len(order):
        high = min(len(order), low + max(1, _BUDGET // int(counts[order[low]] + 1)))
        high = low + max(1, min(high - low, _BUDGET // int(counts[order[high - 1]] + 1)))
        rows = order[low:high]
        found[rows] = norms(take(batch, rows).values, counts[rows])
        low = high
    return found


def _digest(X: SparseBatch, test: SparseBatch | None, normalize: bool) -> str:
    """SHA-256 of sizes and rows, in little-endian order."""
    digest = hashlib.sha256()
    for batch in (X, test):
        sizes = "no rows" if batch is None else f"{batch.shape} {len(batch.indices)} {normalize}"
        digest.update(f"toysup data 1: {sizes}\n".encode())
        if batch is not None:
            for array in batch.csr():
                digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def _measured(data: Dataset) -> dict[str, Any]:
    """The fields of the data set's :class:`DataRef`."""
    X, test = data.X, data.test
    batches = [X] if test is None else [X, test]
    return {
        "digest": data.digest,
        "n": data.n,
        "rows": len(X),
        "nonzeros": len(X.indices),
        "longest": int(max(np.diff(batch.indptr).max() for batch in batches)),
        "test": 0 if test is None else len(test),
        "test_nonzeros": 0 if test is None else len(test.indices),
        "largest": float(max(np.abs(b.values).max(initial=0.0) for b in batches)),
        "normalize": data.normalize,
    }


def find(ref: DataRef) -> Dataset:
    """The data set that a config names: the one it was made from, or an equal one held here.

    Raises
    ------
    DataError
        If it is not at hand.
    """
    known = [ref.source] if isinstance(ref.source, Dataset) else list(_KNOWN.values())
    found = next((data for data in known if data.digest == ref.digest), None)
    if found is None and ref.source is not None:
        found = ref.source()
    if found is None:
        raise DataError(
            f"the rows of the data set {ref.digest[:12]} ({ref.rows:,} rows of {ref.n:,} features) "
            f"are not at hand: make the Dataset again, and hold it"
        )
    if found.ref != ref:
        raise DataError(f"the data set {ref.digest[:12]} is not as {ref!r} says")
    object.__setattr__(ref, "source", found)
    return found


def offer(ref: DataRef | None, source: Callable[[], Dataset]) -> None:
    """Give a config, unless it has one, a function that finds its data set."""
    if ref is not None and ref.source is None:
        object.__setattr__(ref, "source", source)
