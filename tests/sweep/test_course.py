"""How the work of a step changes in a run, beside what whole runs took."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers import plain_rates
from toysup import TrainConfig
from toysup._sweep import course
from toysup._sweep.course import work

# Seconds of processor time of whole runs of the paper's recipe, by (T, m): on one busy machine, on
# another, and there since blocks of examples are listed for small m and large T.
EARLIER = {
    (200, 2): 3.75,
    (200, 4): 7.2,
    (200, 8): 18.6,
    (200, 16): 36.0,
    (500, 2): 8.0,
    (500, 4): 11.7,
    (500, 8): 34.2,
    (500, 16): 39.9,
    (1000, 2): 14.6,
    (1000, 4): 29.2,
    (1000, 6): 43.0,
    (1000, 8): 52.8,
    (1000, 16): 74.6,
    (2000, 8): 102.1,
    (2000, 16): 101.8,
}
LATER = {
    (1000, 2): 14.5,
    (1000, 4): 20.0,
    (1000, 8): 46.0,
    (1000, 16): 62.0,
    (5000, 7): 245.0,
    (5000, 8): 201.0,
    (5000, 9): 237.0,
    (5000, 10): 238.0,
    (5000, 16): 237.0,
    (10_000, 8): 450.0,
    (20_000, 16): 1040.0,
}
LATEST = {
    **{cell: seconds for cell, seconds in LATER.items() if cell[0] == 1000 and cell[1] <= 8},
    (2000, 4): 36.0,
    (5000, 2): 48.5,
    (5000, 4): 97.2,
    (5000, 6): 145.0,
    (5000, 8): 158.8,
    (10_000, 2): 79.0,
    (20_000, 2): 135.6,
    (20_000, 4): 485.1,
}


# With vectors of 32 bytes: those seconds, and the picoseconds that a unit of work took in a trial,
# the median of three where there were so many.
SHORT = {
    (100, 2): (3.5, 30.6),
    (200, 2): (5.5, 32.1),
    (200, 16): (42.8, 43.7),
    (500, 10): (56.3, 49.1),
    (1000, 2): (24.0, 44.9),
    (1000, 3): (28.3, 43.8),
    (1000, 4): (38.7, 28.7),
    (1000, 6): (60.1, 41.4),
    (1000, 8): (59.4, 32.7),
    (1000, 16): (86.4, 35.4),
    (2000, 4): (81.7, 32.7),
    (5000, 2): (95.9, 52.6),
    (5000, 3): (188.9, 57.7),
    (5000, 4): (250.1, 37.9),
    (5000, 5): (306.8, 34.0),
    (5000, 6): (331.4, 33.2),
    (5000, 8): (231.4, 37.3),
    (5000, 9): (361.0, 40.5),
    (5000, 16): (406.7, 34.2),
    (10_000, 2): (148.8, 45.2),
    (10_000, 8): (530.2, 37.5),
    (20_000, 2): (282.1, 36.9),
}


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The rule is that of the native backend, whichever is there; another instruction set."""

    def with_isa(isa: str) -> None:
        made = SimpleNamespace(name="native", isa=lambda: isa)
        monkeypatch.setattr(course, "backend", lambda: made)

    with_isa("avx512")
    return with_isa


def config(**fields: Any) -> TrainConfig:
    return TrainConfig(**{"T": 1000, "m": 4, **fields})


@pytest.mark.parametrize("whole", [EARLIER, LATER, LATEST], ids=["earlier", "later", "latest"])
def test_whole_runs_took_as_much_as_they_have_work(whole):
    units = {
        cell: seconds / work(config(T=cell[0], m=cell[1]), 50_000)
        for cell, seconds in whole.items()
    }
    usual = math.exp(np.log(list(units.values())).mean())
    far = {cell: unit / usual for cell, unit in units.items()}
    far = {cell: ratio for cell, ratio in far.items() if not 2 / 3 < ratio < 1.5}
    assert not far


def test_whole_runs_took_as_long_as_trials_say_where_vectors_are_short(native):
    native("avx2")
    said = {
        cell: 1e-12 * price * work(config(T=cell[0], m=cell[1]), 50_000) / seconds
        for cell, (seconds, price) in SHORT.items()
    }
    assert not {cell: ratio for cell, ratio in said.items() if not 2 / 3 < ratio < 1.5}


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("m", [1, 2, 4, 6, 7, 16, 64])
@pytest.mark.parametrize("T", [1, 1000, 100_000])
def test_steps_become_cheaper_and_never_dearer(native, T, m, isa):
    native(isa)
    c = config(T=T, m=m)
    steps = np.geomspace(1, c.steps, 30)
    done = np.array([work(c, step) for step in steps])
    paces = np.diff(done) / np.diff(steps)
    assert (paces > 0).all() and (np.diff(paces) <= 1e-3 * paces[:-1]).all()
    assert done[0] <= work(c, 1) and done[-1] <= c.steps * work(c, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"T": math.inf},
        {"T": 2000, "batch_size": 100},
        {"activation": "linear"},
    ],
)
def test_without_lists_all_steps_are_alike(fields):
    c = config(**fields)
    assert work(c, c.steps) == pytest.approx(c.steps * work(c, 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd"},
        {"schedule": "constant"},
        {"schedule": "quarter_cosine", "final_learning_rate": 1e-4},
        {"schedule": "constant", "warmup": 0},
        {"warmup": 0.99},
        {"steps": 1},
        {"T": 1, "m": 1, "n": 1},
    ],
)
def test_all_recipes_have_some_work(fields):
    c = config(**fields)
    assert 0 < work(c, c.steps) <= c.steps * work(c, 1) * (1 + 1e-9)


@pytest.mark.parametrize("schedule", ["cosine", "quarter_cosine", "constant"])
@pytest.mark.parametrize("lowest", [0.0, 2e-4])
def test_the_path_is_the_sum_of_the_rates(schedule, lowest):
    c = config(schedule=schedule, final_learning_rate=lowest, steps=2000, warmup=0.1)
    at = np.array([0, 100, 200, 700, 1500, 2000])
    sums = np.concatenate([[0.0], np.cumsum(plain_rates(c))])[at]
    assert course._path(c, at.astype(float)) == pytest.approx(sums, abs=c.learning_rate)


def test_larger_steps_come_sooner_to_short_lists():
    shares = [work(config(learning_rate=rate), 5000) for rate in (1e-4, 1e-3, 1e-2)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 1.5 * shares[-1]


def test_the_reference_skips_nothing(monkeypatch):
    monkeypatch.setattr(course, "backend", lambda: SimpleNamespace(name="numpy"))
    assert work(config(), 300) == 300 * config().step_cost()
