"""The order in which an epoch takes the examples: any is as likely, the same on both backends."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given

from strategies import SEEDS
from toysup import TrainConfig
from toysup._stream.order import batch_places, epoch_order
from toysup._stream.rows import order
from toysup._stream.start import Stopped
from toysup._stream.stream import ROLES

SURPRISE = 1e-3
EPOCHS = st.integers(0, 2**64 - 1)


def numpys(seed, epoch, count):
    """The same by NumPy's own generator; role 10 is that of epochs."""
    key, before = seed + (10 << 64), ((epoch << 64) - 1) % 2**256
    words = np.random.Philox(key=key, counter=before).random_raw(count)
    return sorted(range(count), key=words.tolist().__getitem__)


@given(seed=SEEDS, epoch=EPOCHS, count=st.integers(1, 200))
@example(seed=0, epoch=0, count=1)
@example(seed=2**63 - 1, epoch=2**64 - 1, count=4)
@example(seed=7, epoch=3, count=300_001)  # several parts
def test_an_order_is_that_of_numpys_words(native, seed, epoch, count):
    from toysup import _native

    order = epoch_order(seed, epoch, count)
    assert order.tolist() == numpys(seed, epoch, count)
    assert np.array_equal(_native.epoch_order(seed, epoch, count), order)


def test_orders_that_are_known():
    assert epoch_order(5, 0, 10).tolist() == [6, 1, 4, 3, 2, 0, 8, 7, 5, 9]
    assert epoch_order(5, 1, 10).tolist() == [8, 9, 4, 5, 0, 6, 1, 2, 3, 7]


def test_no_two_uses_of_the_stream_draw_the_same_words():
    assert len(set(ROLES.values())) == len(ROLES)
    # Nor does the first epoch take the chosen rows of a data set as they were chosen.
    assert order(5, 10).tolist() == [2, 4, 5, 8, 6, 1, 3, 9, 7, 0]
    assert scipy.stats.pearsonr(order(0, 20_000), epoch_order(0, 0, 20_000)).pvalue > SURPRISE


def test_all_orders_are_equally_likely():
    count, epochs = 4, 24 * 400
    orders = [tuple(epoch_order(11, epoch, count).tolist()) for epoch in range(epochs)]
    _, found = np.unique(orders, axis=0, return_counts=True)
    assert len(found) == 24 and scipy.stats.chisquare(found).pvalue > SURPRISE


def test_orders_of_epochs_and_seeds_are_independent():
    one, next_, other = (epoch_order(s, e, 20_000) for s, e in ((0, 0), (0, 1), (1, 0)))
    for a, b in ((one, next_), (one, other), (one, np.arange(20_000)), (one[1:], one[:-1])):
        assert scipy.stats.pearsonr(a, b).pvalue > SURPRISE


@given(T=st.integers(1, 60), size=st.integers(1, 70), seed=SEEDS, data=st.data())
def test_an_epoch_takes_every_example_once(T, size, seed, data):
    repeats = data.draw(st.dictionaries(st.integers(0, T - 1), st.integers(1, 4), max_size=3))
    config = TrainConfig(n=5, T=T, batch_size=size, seed=seed, repeats=repeats)
    count = T + sum(R - 1 for R in repeats.values())
    assert config.examples == count and config.batch == min(size, count)
    assert config.in_batches == (size < count)
    batches = -(-count // config.batch)
    start = data.draw(st.integers(0, 5)) * batches
    seen, sizes = [], []
    for step in range(start, start + batches):
        epoch, places = batch_places(config, step)
        assert epoch == start // batches
        seen += (rows := epoch_order(seed, epoch, count)[places]).tolist()
        sizes.append(len(rows))
    assert sorted(seen) == list(range(count))
    assert sizes == [config.batch] * (batches - 1) + [count - config.batch * (batches - 1)]


def test_a_long_draw_can_be_stopped():
    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        epoch_order(0, 0, 10, stop)
