"""The file of a data set in a store: its rows, once, under the name of their digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._files.whole import Damaged
from toysup._run.archive import read, read_meta, verify, write
from toysup._stream.batch import SparseBatch, as_sparse
from toysup._stream.dataset import MAX_NAME, Dataset
from toysup.config.data import DataRef
from toysup.config.values import check_finite

__all__ = ["check_data", "data_bytes", "read_data", "write_data"]


def data_bytes(ref: DataRef) -> int:
    """Bytes of the file, its names left out."""
    nonzeros, rows = ref.nonzeros + ref.test_nonzeros, ref.rows + ref.test
    return 12 * nonzeros + 8 * rows + 4096


def _most(ref: DataRef) -> int:
    """Bytes that no such file exceeds: each character of a name may take six."""
    return data_bytes(ref) + (6 * MAX_NAME + 4) * (ref.n + 1) + (1 << 16)


def write_data(path: Path, data: Dataset) -> None:
    """Write a data set, whole or not at all.

    Raises
    ------
    StoreError
        If that cannot be done.
    """
    arrays = _named("", data.X)
    if data.test is not None:
        arrays |= _named("test_", data.test)
    names = None if data.feature_names is None else list(data.feature_names)
    meta = {"data": data.ref.to_json(), "name": data.name, "feature_names": names}
    write(path, meta, arrays)


def _named(prefix: str, batch: SparseBatch) -> dict[str, npt.NDArray[Any]]:
    parts = ("indptr", "indices", "values")
    return dict(zip((prefix + part for part in parts), batch.csr(), strict=True))


def check_data(path: Path, ref: DataRef) -> None:
    """Compare a file with its checksum, and with what it should hold.

    Raises
    ------
    FileNotFoundError, StoreError
        As ``archive.read_meta``.
    """
    if read_meta(path).get("data") != ref.to_json():
        raise Damaged(path, "holds another data set")
    verify(path, _most(ref))


def read_data(path: Path, ref: DataRef) -> Dataset:
    """The data set of a file, whose content has the digest.

    Raises
    ------
    FileNotFoundError, StoreError
        As ``archive.read``; another data set is taken for damaged.
    """
    meta, arrays = read(path, _most(ref))
    if meta.get("data") != ref.to_json():
        raise Damaged(path, "holds another data set")
    try:
        X = _batch(arrays, "", ref.n)
        test = _batch(arrays, "test_", ref.n) if ref.test else None
        names, name = meta.get("feature_names"), meta.get("name")
        data = Dataset.of(X, test, ref.normalize, names, name)
    except (ValueError, LookupError, TypeError) as error:
        raise Damaged(path, f"is not a readable data set ({str(error)[:200]})") from error
    if data.ref != ref:
        raise Damaged(path, "does not hold the rows that its name is the digest of")
    return data


def _batch(arrays: dict[str, npt.NDArray[Any]], prefix: str, n: int) -> SparseBatch:
    """Rows that fit together."""
    indptr, indices, values = (arrays[prefix + part] for part in ("indptr", "indices", "values"))
    batch = as_sparse("the file", SparseBatch(indptr, indices, values, n))
    check_finite("the file", batch.values)
    if len(batch) == 0 or not np.all(batch.values):
        raise ValueError("it has no rows, or a zero among its values")
    return batch
