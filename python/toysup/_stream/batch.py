"""Sparse examples as compressed rows, and the selection of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup._system.extras import need
from toysup._system.memory import refuse_memory
from toysup._typing import CSR
from toysup.config.values import as_array, check_finite
from toysup.errors import short

if TYPE_CHECKING:
    import scipy.sparse

__all__ = [
    "SparseBatch",
    "as_batch",
    "as_csr",
    "joined",
    "repeated",
    "take",
    "transposed",
]

Rows = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """Sparse examples as compressed rows.

    Attributes
    ----------
    indptr : int64 array of shape (T + 1,)
        Example t has the entries ``indptr[t]`` to ``indptr[t + 1]``.
    indices : int32 array
        Features of the entries, ascending within an example.
    values : float64 array
        Values of the entries.
    n : int
        Number of features.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    n: int

    @property
    def shape(self) -> tuple[int, int]:
        """(T, n)."""
        return len(self), self.n

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __repr__(self) -> str:
        return f"SparseBatch(T={len(self):,}, n={self.n:,}, non-zeros={len(self.indices):,})"

    def csr(self) -> CSR:
        """(indptr, indices, values)."""
        return self.indptr, self.indices, self.values

    @exact_floats()
    def dot(self, A: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The product X A with a dense A of shape (n, k), shape (T, k), in O(non-zeros k)."""
        if A.ndim != 2 or A.shape[0] != self.n:
            raise ValueError(f"A must have shape ({self.n}, k), got shape {A.shape}")
        products = self.values[:, None] * A[self.indices]
        filled = np.diff(self.indptr) > 0
        out = np.zeros((len(self), A.shape[1]), dtype=products.dtype)
        if len(products):
            out[filled] = np.add.reduceat(products, self.indptr[:-1][filled], axis=0)
        return out

    def toarray(self) -> npt.NDArray[np.float64]:
        """A dense array of shape (T, n).

        Raises
        ------
        MemoryError
            If T n doubles do not fit in this machine's memory.
        """
        refuse_memory(8 * len(self) * self.n, f"a dense array of shape {self.shape}")
        dense = np.zeros(self.shape)
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.values
        return dense

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """The dense array, for ``np.asarray``; see :meth:`toarray` for what is refused."""
        if copy is False:
            raise ValueError("a dense array of sparse examples is always a copy: copy=False")
        return self.toarray().astype(np.float64 if dtype is None else dtype, copy=False)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A ``scipy.sparse.csr_array`` of shape (T, n); SciPy must be installed."""
        need("to_scipy", "scipy")
        from scipy.sparse import csr_array

        return csr_array((self.values, self.indices, self.indptr), shape=self.shape)


def take(X: SparseBatch, rows: Rows) -> SparseBatch:
    """The examples of these numbers."""
    return SparseBatch(*_taken(X.csr(), rows), X.n)


def _taken(X: CSR, rows: Rows) -> CSR:
    indptr, indices, values = X
    counts = np.diff(indptr)[rows]
    ends = np.concatenate(([0], np.cumsum(counts)))
    # Entry e is entry e - (the new beginning of its row) + (the old one) of X.
    entries = np.arange(ends[-1]) + np.repeat(indptr[rows] - ends[:-1], counts)
    return ends, indices[entries], values[entries]


def joined(parts: Iterable[CSR]) -> CSR:
    """The examples of one or more parts together."""
    parts = list(parts)
    counts = np.concatenate([np.diff(indptr) for indptr, _, _ in parts])
    return (
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([indices for _, indices, _ in parts]),
        np.concatenate([values for _, _, values in parts]),
    )


def repeated(X: CSR, rows: Rows) -> CSR:
    """Examples, and behind them copies of the rows of these numbers."""
    return joined([X, _taken(X, rows)]) if len(rows) else X


def transposed(X: SparseBatch) -> SparseBatch:
    """The features as rows over the examples."""
    order = np.argsort(X.indices, kind="stable")
    rows = np.repeat(np.arange(len(X), dtype=np.int32), np.diff(X.indptr))
    counts = np.bincount(X.indices, minlength=X.n)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    return SparseBatch(indptr, rows[order], X.values[order], len(X))


def as_csr(X: object, n: int) -> CSR:
    """Examples given as a SparseBatch, a SciPy sparse array or a dense array, as compressed rows.

    Raises
    ------
    TypeError, ValueError
        If X is none of these, is not finite, or does not have n columns.
    """
    if not isinstance(X, SparseBatch):
        X = _from_scipy(X) if hasattr(X, "tocsr") else _from_dense(X)
    X = _checked(X)
    if X.n != n:
        raise ValueError(f"X must have n = {n} columns, got shape {X.shape}")
    if len(X) == 0:
        raise ValueError(f"X must hold at least one example, got shape {X.shape}")
    check_finite("X", X.values)
    return X.csr()


def as_batch(X: object, n: int) -> SparseBatch:
    """The same as a batch; what :func:`as_csr` refuses is refused."""
    return SparseBatch(*as_csr(X, n), n)


def _checked(X: SparseBatch) -> SparseBatch:
    """The batch with the right dtypes, if its parts fit together; users can make their own."""
    parts = {name: np.asarray(getattr(X, name)) for name in ("indptr", "indices", "values")}
    for name, array in parts.items():
        if array.ndim != 1 or array.dtype.kind not in ("fiu" if name == "values" else "iu"):
            raise ValueError(
                f"X.{name} must be a one-dimensional array of numbers, "
                f"got {array.dtype} of shape {array.shape}"
            )
    indptr, indices = parts["indptr"].astype(np.int64), parts["indices"].astype(np.int64)
    entries = len(indices)
    if len(parts["values"]) != entries:
        raise ValueError(f"X has {entries} indices but {len(parts['values'])} values")
    ends = len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == entries
    if not ends or np.any(np.diff(indptr) < 0):
        raise ValueError(f"X.indptr must rise from 0 to {entries}, got {short(indptr)}")
    if entries and not 0 <= indices.min() <= indices.max() < X.n:
        bad = indices[(indices < 0) | (indices >= X.n)][0]
        raise ValueError(f"X.indices must be in [0, {X.n}), got {bad}")
    starts = np.zeros(entries + 1, dtype=np.bool_)
    starts[indptr] = True
    falls = (np.diff(indices) <= 0) & ~starts[1:-1] if entries else np.zeros(0, np.bool_)
    if np.any(falls):
        bad = indices[1:][falls][0]
        raise ValueError(f"X.indices must ascend within each example, got {bad} too late")
    return SparseBatch(indptr, indices.astype(np.int32), parts["values"].astype(np.float64), X.n)


def _from_scipy(X: Any) -> SparseBatch:
    csr = X.tocsr().copy()  # tocsr may return X itself, which stays as it is
    csr.sum_duplicates()
    if csr.ndim != 2 or csr.dtype.kind not in "fiub":
        raise ValueError(f"X must be a real (T, n) array, got {csr.dtype} of shape {csr.shape}")
    return SparseBatch(
        csr.indptr.astype(np.int64),
        csr.indices.astype(np.int32),
        csr.data.astype(np.float64),
        csr.shape[1],
    )


def _from_dense(X: object) -> SparseBatch:
    kind = type(X).__name__
    try:
        array = as_array("X", X)
    except ValueError as error:
        raise ValueError(f"X must have shape (T, n), got rows that differ ({error})") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"X must be a SparseBatch, a SciPy sparse array or a real (T, n) array, got {kind}"
        )
    if array.ndim != 2:
        raise ValueError(f"X must have shape (T, n), got shape {array.shape}")
    rows, columns = np.nonzero(array)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(array)))))
    values = array[rows, columns].astype(np.float64)
    return SparseBatch(indptr.astype(np.int64), columns.astype(np.int32), values, array.shape[1])
