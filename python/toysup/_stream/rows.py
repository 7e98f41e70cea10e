"""The rows of a data set that a run is trained and tested on.

The rows come in an order that is drawn from the dataset seed: that of their words, each a word of
the raw output of Philox4x64-10 with the key (seed, role "order"). With an infinite T each example
of each step is a row that is drawn by itself, from a word with the role "draws". As in the sample
stream there is integer arithmetic only, and both backends have the same rows.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from toysup._stream.batch import repeated, taken
from toysup._stream.dataset import find
from toysup._stream.order import shuffled, words
from toysup._stream.stream import I64, ROLES, multiply
from toysup._typing import CSR
from toysup.config import TrainConfig

__all__ = ["batch_rows", "draws", "order", "test_rows", "train_rows"]


@functools.lru_cache(maxsize=4)  # the runs of a sweep have few seeds
def order(seed: int, rows: int) -> I64:
    """All rows by number, in the order of that seed; not to be written to."""
    found = shuffled((seed, ROLES["order"]), rows)
    found.flags.writeable = False
    return found


def draws(seed: int, rows: int, start: int, count: int, role: str = "draws") -> I64:
    """Draws ``start`` to ``start + count`` of one row each, with replacement.

    A row is the high half of word * rows; a word whose low half is below 2**64 mod rows is dropped
    for that of the next attempt, which makes rows exactly uniform.
    """
    key, threshold = (seed, ROLES[role]), np.uint64((2**64 - rows) % rows)
    row, low = multiply(rows, words(key, start, count))
    attempt = 0
    while len(bad := np.flatnonzero(low < threshold)):
        attempt += 1
        again = [words(key, start + int(i), 1, attempt) for i in bad]
        row[bad], low[bad] = multiply(rows, np.concatenate(again))
    return row.astype(np.int64)


def train_rows(config: TrainConfig) -> CSR:
    """The training set without its further copies; all rows if T is infinite."""
    assert config.data is not None
    X = find(config.data).X.csr()
    if config.T == math.inf:
        return X
    return taken(X, order(config.seed, config.data.rows)[: int(config.T)])


def batch_rows(config: TrainConfig, step: int) -> CSR:
    """The whole training set, or the examples of a step if it is infinite."""
    assert config.data is not None
    if config.T != math.inf:
        return repeated(train_rows(config), config.copies())
    drawn = draws(config.seed, config.data.rows, step * config.batch, config.batch)
    return taken(train_rows(config), drawn)


def test_rows(config: TrainConfig, most: int | None = None) -> CSR:
    """The test examples, ``config.tested`` of them or another number at most."""
    assert config.data is not None
    data, count = find(config.data), config.tested if most is None else most
    if data.test is not None:
        return taken(data.test.csr(), np.arange(min(count, len(data.test))))
    first = len(data) if config.T == math.inf else int(config.T)
    return taken(data.X.csr(), order(config.seed, len(data))[first:][:count])
