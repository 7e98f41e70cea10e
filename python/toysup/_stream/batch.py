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
from toysup.config.checks import as_int
from toysup.config.train_config import MAX_FEATURES
from toysup.config.values import as_array
from toysup.errors import short

if TYPE_CHECKING:
    import scipy.sparse

__all__ = [
    "SparseBatch",
    "as_batch",
    "as_csr",
    "as_sparse",
    "check_rows",
    "joined",
    "repeated",
    "take",
    "taken",
    "transposed",
]

Rows = npt.NDArray[np.integer[Any]]
# Numbers of a dense array that are looked at together.
_BUDGET = 1 << 20


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
    return SparseBatch(*taken(X.csr(), rows), X.n)


def taken(X: CSR, rows: Rows) -> CSR:
    """The same of compressed rows."""
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
    return joined([X, taken(X, rows)]) if len(rows) else X


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
    batch = as_sparse("X", X)
    if batch.n != n:
        raise ValueError(f"X must have n = {n} columns, got shape {batch.shape}")
    if len(batch) == 0:
        raise ValueError(f"X must hold at least one example, got shape {batch.shape}")
    check_rows("X", batch)
    return batch.csr()


def check_rows(name: str, batch: SparseBatch) -> None:
    """Refuse a number that is not finite, naming the first and where it is.

    Raises
    ------
    ValueError
        If there is one.
    """
    finite = np.isfinite(batch.values)
    if not np.all(finite):
        place = int(np.argmin(finite))
        row = int(np.searchsorted(batch.indptr, place, side="right")) - 1
        raise ValueError(
            f"{name} must be finite, got {batch.values[place]} in row {row}, column "
            f"{batch.indices[place]}"
        )


def as_batch(X: object, n: int) -> SparseBatch:
    """The same as a batch; what :func:`as_csr` refuses is refused."""
    return SparseBatch(*as_csr(X, n), n)


def as_sparse(name: str, X: object) -> SparseBatch:
    """Examples in any of these forms as a batch, whose numbers need not be finite.

    Its arrays are those of a batch that was given, where they have the right dtypes.

    Raises
    ------
    TypeError, ValueError
        If X is none of these.
    """
    if isinstance(X, SparseBatch):
        return _checked(name, X)
    if hasattr(X, "tocsr"):
        return _checked(name, _from_scipy(name, X))
    return _from_dense(name, X)


def _checked(name: str, X: SparseBatch) -> SparseBatch:
    """The batch with the right dtypes, if its parts fit together; users can make their own."""
    parts = {part: np.asarray(getattr(X, part)) for part in ("indptr", "indices", "values")}
    for part, array in parts.items():
        if array.ndim != 1 or array.dtype.kind not in ("fiu" if part == "values" else "iu"):
            raise ValueError(
                f"{name}.{part} must be a one-dimensional array of numbers, "
                f"got {array.dtype} of shape {array.shape}"
            )
    n = as_int(f"{name}.n", X.n, 0, MAX_FEATURES)
    indptr, indices = np.ascontiguousarray(parts["indptr"], np.int64), parts["indices"]
    entries = len(indices)
    if len(parts["values"]) != entries:
        raise ValueError(f"{name} has {entries} indices but {len(parts['values'])} values")
    ends = len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == entries
    if not ends or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError(f"{name}.indptr must rise from 0 to {entries}, got {short(indptr)}")
    if entries and not 0 <= indices.min() <= indices.max() < n:
        bad = indices[(indices < 0) | (indices >= n)][0]
        raise ValueError(f"{name}.indices must be in [0, {n}), got {bad}")
    starts = np.zeros(entries + 1, dtype=np.bool_)
    starts[indptr] = True
    falls = indices[1:] <= indices[:-1]
    falls &= ~starts[1:-1] if entries else falls
    if np.any(falls):
        bad = indices[1:][falls][0]
        raise ValueError(f"{name}.indices must ascend within each example, got {bad} too late")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(parts["values"], np.float64)
    return SparseBatch(indptr, np.ascontiguousarray(indices, np.int32), values, n)


def _from_scipy(name: str, X: Any) -> SparseBatch:
    if hasattr(X, "check_format"):  # compiled code goes where the indices of an array lead
        try:
            X.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"{name} is no valid SciPy array: {error}") from error
    csr = X.tocsr()
    csr = csr.copy() if csr is X else csr  # which stays as it is
    if csr.ndim != 2 or csr.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be a real (T, n) array, got {csr.dtype} of {csr.shape}")
    csr.sum_duplicates()
    return SparseBatch(
        csr.indptr,
        csr.indices,
        csr.data.astype(np.uint8) if csr.dtype.kind == "b" else csr.data,
        csr.shape[1],
    )


def _from_dense(name: str, X: object) -> SparseBatch:
    """An array of any library, some rows at a time: beside it there are 12 bytes a value."""
    if np.ma.is_masked(X):
        raise TypeError(f"{name} must have no masked values: give X.filled(0)")
    try:
        array = np.asarray(as_array(name, X))  # not a matrix, whose rows are matrices
    except ValueError as error:
        raise ValueError(f"{name} must have shape (T, n), got rows that differ ({error})") from None
    if array.dtype.kind not in "fiub":
        what = f"{type(X).__name__} of dtype {array.dtype}" if array.ndim else type(X).__name__
        raise TypeError(
            f"{name} must be a SparseBatch, a SciPy sparse array or a real (T, n) array, got {what}"
        )
    if array.ndim != 2:
        hint = "; one example is X.reshape(1, -1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (T, n), got shape {array.shape}{hint}")
    T, n = array.shape
    step = max(1, _BUDGET // max(1, n))
    blocks = [slice(low, min(low + step, T)) for low in range(0, T, step)]
    indptr = np.zeros(T + 1, np.int64)
    for block in blocks:
        indptr[1:][block] = np.count_nonzero(array[block], axis=1)
    np.cumsum(indptr, out=indptr)
    entries = int(indptr[-1])
    refuse_memory(12 * entries, f"{name}, with {entries:,} values that are not zero,")
    indices, values = np.empty(entries, np.int32), np.empty(entries)
    for block in blocks:
        rows, columns = np.nonzero(array[block])
        here = slice(indptr[block.start], indptr[block.stop])
        with np.errstate(over="ignore"):
            indices[here], values[here] = columns, array[block][rows, columns]
    return SparseBatch(indptr, indices, values, n)
