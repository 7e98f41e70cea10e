"""Sparse examples as dense arrays, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from toysup._stream.start import Stopped
from toysup._typing import CSR, Array

__all__ = ["dense_chunks"]

# Entries of a dense (examples x n) chunk: small enough for a cache, large enough for BLAS.
_CHUNK = 1 << 18


def dense_chunks(X: CSR, n: int, dtype: npt.DTypeLike, stop: Callable[[], bool]) -> Iterator[Array]:
    """The examples as dense arrays of at most ``_CHUNK`` entries.

    Raises
    ------
    Stopped
        After a chunk, if ``stop`` says so by then.
    """
    indptr, indices, values = X
    rows = max(1, _CHUNK // n)
    for low in range(0, len(indptr) - 1, rows):
        ends = indptr[low : low + rows + 1]
        dense: Array = np.zeros((len(ends) - 1, n), dtype=dtype)
        row = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        dense[row, indices[ends[0] : ends[-1]]] = values[ends[0] : ends[-1]]
        yield dense
        if stop():
            raise Stopped
