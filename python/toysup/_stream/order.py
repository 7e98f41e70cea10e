"""Orders that are drawn: of the rows of a data set, and of the examples in an epoch of batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toysup._stream.stream import I64, ROLES, U64, philox
from toysup.config import TrainConfig

__all__ = ["batch_places", "epoch_order", "shuffled", "words"]

# Blocks of words that are drawn at one time.
_BLOCKS = 1 << 16


def words(
    key: tuple[int, int],
    start: int,
    count: int,
    second: int = 0,
    check: Callable[[], None] = lambda: None,
) -> U64:
    """Words ``start`` to ``start + count`` of Philox at the counters (block, ``second``, 0, 0)."""
    found = np.empty(count, dtype=np.uint64)
    done, block = 0, start // 4
    while done < count:
        check()  # may raise
        more = min(_BLOCKS, (count - done) // 4 + 2)
        blocks = np.arange(block, block + more, dtype=np.uint64)
        some = philox(key, blocks, np.full_like(blocks, second), 0).ravel()
        some = some[start + done - 4 * block :][: count - done]
        found[done : done + len(some)] = some
        done, block = done + len(some), block + len(blocks)
    return found


def shuffled(
    key: tuple[int, int], count: int, second: int = 0, check: Callable[[], None] = lambda: None
) -> I64:
    """The numbers from 0 to ``count`` - 1, sorted by :func:`words`: number i by word i.

    Of equal words, which two of N numbers have with a probability below N**2 / 2**65, the smaller
    number is first. All orders are equally likely but for that.
    """
    drawn = words(key, 0, count, second, check)
    return np.argsort(drawn, kind="stable").astype(np.int64, copy=False)


def epoch_order(seed: int, epoch: int, count: int, check: Callable[[], None] = lambda: None) -> I64:
    """The numbers from 0 to ``count`` - 1 in the order of an epoch."""
    return shuffled((seed, ROLES["epoch"]), count, epoch, check)


def batch_places(config: TrainConfig, step: int) -> tuple[int, slice]:
    """The epoch of an update, and which places of its order are the batch."""
    epoch, place = divmod(step, -(-config.examples // config.batch))
    return epoch, slice(place * config.batch, (place + 1) * config.batch)
