"""What a run costs, by its sizes alone: multiply-adds, bytes in memory, bytes of its file.

These formulas bound what every backend takes. They stand here, below the backends, because a
config answers for them: ``TrainConfig.memory`` is asked before a backend is chosen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from toysup.config.data import DataRef
    from toysup.config.train_config import TrainConfig

__all__ = ["GROUPED", "arrays", "has_blocks", "memory", "step_cost"]

# Up to this m the native backend lists groups of pairs, from there on single ones.
GROUPED = 6
# With small m and 5 T >= n it lists blocks of examples, with a bit for each feature and block. They
# are in tiles of at most 64 blocks of 64 bytes, with at most these bytes of h and C.
_TILE_BYTES = 1 << 15
# Of a feature in a tile: 64 bits, how many there would be without a skin, and which sign it lists.
_TILE_FEATURE = 8 + 1 + 0.25


def step_cost(c: TrainConfig) -> float:
    """Multiply-adds of one update, roughly."""
    pairs = c.batch * c.n * (3.0 * c.m + 2.0)
    return pairs + 40.0 * c.n * (c.m + 1.0)


def has_blocks(c: TrainConfig) -> bool:
    """Whether the native backend lists blocks of examples, if it lists any pairs."""
    return c.m <= GROUPED and 5 * c.batch >= c.n and not c.is_varied


def memory(c: TrainConfig) -> int:
    """Bytes that a run takes at most."""
    needed = _states(c) + _per_feature(c) + _examples(c) + _hidden(c) + _lists(c)
    return int(needed) + (1 << 24)


def _states(c: TrainConfig) -> int:
    """Of W and b, their moments and sums, and what is measured, kept for a restart, handed over.

    A snapshot is copied to be handed over, and again to be written.
    """
    size = np.dtype(c.dtype).itemsize
    parameters = (c.m + 1) * (c.n + 64)
    shares = min(8, 1 + c.batch // 4096)
    snapshots = min(c.snapshots, c.steps + 1)
    states = parameters * (21 * size + 8 * shares + 4 * size * snapshots)
    return states + 160 * min(c.record, c.steps + 1)


def _per_feature(c: TrainConfig) -> int:
    """Of numbers that each feature has: as they are given, handed over, in the kernels, as text."""
    arrays = sum(isinstance(values, tuple) for values in (c.sparsity, c.importance, c.bias_init))
    base = isinstance(c.importance, float) and c.importance != 1.0
    return c.n * (192 * arrays + 64 * base)


def _examples(c: TrainConfig) -> float:
    """Of the examples of a step by example and by feature, and the parts of the test set.

    With those of the next step where it has others, the whole training set where a step has a part
    of it, the order of that, and what is drawn at one time.
    """
    fresh = 16 if c.is_varied else 0
    size = np.dtype(c.dtype).itemsize
    beside = 0.0 if c.is_varied or c.m > GROUPED else 2.1 * (4 + size)  # examples side by side
    nonzeros = _nonzeros(c) * (48 + 4 * size + beside + fresh)
    nonzeros += 32 * _of_all(c) + 64 * c.examples if c.in_batches else 0
    if c.data is not None:
        return nonzeros + _rows(c, c.data)
    nonzeros += (min(c.test_size, 2048) + min(c.test_size, 4096)) * _density(c) * 16
    drawn = min(max(c.examples, c.test_size) * c.n, 1 << 22)
    return nonzeros + 48 * drawn * c.density


def _hidden(c: TrainConfig) -> int:
    """Of hidden vectors and what goes with them, padded to 64 bytes unless m is small.

    For m that is not small: h, C and what they are sorted by; h now and as lists know it, and how
    far it may go; orders and budgets.
    """
    size = np.dtype(c.dtype).itemsize
    if c.m <= GROUPED:
        return c.batch * (size * (6 * c.m + 4) + 64)
    row = math.ceil(c.m * size / 64) * 64
    return c.batch * (3 * row + size * (2 * c.m + 4) + 64)


def _lists(c: TrainConfig) -> float:
    """Of lists of pairs, whose entries are 2 bytes.

    There are as many as the core allows and a quarter more, or fewer: up to half of all pairs or,
    for small m, all groups of 64 bytes of features. With small m and many examples they are bits
    instead.
    """
    size = np.dtype(c.dtype).itemsize
    if has_blocks(c):
        tile = min(_TILE_BYTES // (2 * c.m * size), 64 * 64 // size) // 64 * 64
        return math.ceil(c.batch / tile) * (c.n + 16) * _TILE_FEATURE
    pairs = 0.0 if c.is_varied else float(c.n) * c.batch
    entries = max(1 << 26, 24 * (_nonzeros(c) + (c.n + c.batch) * (c.m + 1)))
    most = 2.75 * entries  # some are copied when they grow
    if c.m <= GROUPED:
        return min(most + pairs / 128, pairs * size / 16)  # and a bit for each group
    return min(most, pairs * 1.5)


def _nonzeros(c: TrainConfig) -> float:
    """Non-zeros of the examples of a step, and one more of each."""
    if c.data is None:
        return c.batch * _density(c)
    if not c.is_varied:
        return _of_all(c)
    copies = 0 if c.T == math.inf else min(c.batch, c.examples - int(c.T))
    chosen = _chosen(c.data, c.data.nonzeros / c.data.rows, c.batch)
    return chosen + copies * c.data.longest + c.batch


def _of_all(c: TrainConfig) -> float:
    """The same of a whole finite training set."""
    if c.data is None:
        return c.examples * _density(c)
    return _held(c, c.data) + (c.examples - int(c.T)) * c.data.longest + c.examples


def _chosen(data: DataRef, mean: float, rows: int) -> float:
    """Non-zeros of so many rows of a data set, whichever these are.

    They are more less often than once in 10^17 times, by Bernstein's inequality, which holds with
    replacement and without.
    """
    expected = rows * mean
    spread = math.sqrt(80 * expected * data.longest) + 40 * data.longest
    return min(rows * data.longest, expected + spread)


def _held(c: TrainConfig, data: DataRef) -> float:
    """Non-zeros of the rows that a run has to take its examples from."""
    if c.T == math.inf:
        return data.nonzeros
    return min(data.nonzeros, _chosen(data, data.nonzeros / data.rows, int(c.T)))


def _rows(c: TrainConfig, data: DataRef) -> float:
    """Of the rows of a data set as they are chosen, handed over and held."""
    mean = data.test_nonzeros / data.test if data.test else data.nonzeros / data.rows
    nonzeros = _held(c, data) + _chosen(data, mean, c.tested)
    held = data.rows if c.T == math.inf else int(c.T)
    return 48 * nonzeros + 24 * (data.rows + held + c.tested)


def _density(c: TrainConfig) -> float:
    """Non-zeros of an example, and one more."""
    return c.n * c.density + 1


def arrays(c: TrainConfig) -> int:
    """Bytes of the arrays of a run that has ended."""
    points, shots = len(c.record_steps()), len(c.snapshot_steps())
    states = (c.m + 1) * c.n * (1 + shots) * np.dtype(c.dtype).itemsize
    return states + 8 * (6 * points + shots)  # 6 arrays over the steps of the history
