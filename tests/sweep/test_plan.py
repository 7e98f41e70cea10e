"""What a sweep will take: times on a machine whose clock is ours, schedules, and words."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import toysup
from helpers import interrupted_when, training
from toysup import TrainConfig
from toysup._sweep import calibrate, course
from toysup._sweep import plan as _plan
from toysup._sweep.course import work
from toysup._sweep.plan import Plan, PlanRow, make_plan
from toysup._system import memory as _memory

Price = Callable[[TrainConfig, float], float]
TICK = 0.025


class Machine:
    """A backend that does nothing, on clocks that say how long it took.

    A step costs ``price(config, step)`` seconds; the loss of an example and the rest of a point of
    the history cost always the same. All of it takes ``slow`` times as long on the clock on the
    wall, where the core is shared, and so many ``threads`` add up in processor time. ``away`` says
    for how long the thread does not run at all before a poll, by its number.
    """

    def __init__(self, name: str, price: Price) -> None:
        self.name, self.price, self.now, self.rest = name, price, 0.0, 1e-3
        self.slow, self.threads, self.polls, self.lost = 1.0, 1.0, 0, 0.0
        self.away: dict[int, float] = {}

    def isa(self) -> str:
        return "avx512"

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return (self.now - self.lost) * self.threads / self.slow

    def seconds(self, c: TrainConfig) -> float:
        """Of a whole run."""
        return sum(self.price(c, step) for step in range(c.steps)) + self.measuring(c)

    def measuring(self, c: TrainConfig) -> float:
        points = len(c.record_steps())
        examples = points * (c.examples + min(c.test_size, 2048)) + c.test_size
        return 2e-6 * examples + self.rest * points

    def waits(self, end: float, poll: Callable[[], bool]) -> bool:
        """Let time pass until then; True if the poll says to stop."""
        while self.due + TICK < end:
            self.due = self.now = self.due + TICK
            self.polls += 1
            away = self.away.get(self.polls, 0.0)
            self.lost, end, self.due = self.lost + away, end + away, self.due + away
            self.now = self.due
            if poll():
                return True
        self.now = end
        return False

    def train_many(
        self, configs: Sequence[TrainConfig], n_jobs: int, on_result: Any, poll: Any
    ) -> None:
        (config,) = configs
        assert n_jobs == 1
        began = self.due = self.now
        for step in range(config.steps):
            end = self.now + self.slow * self.price(config, step)
            if self.waits(end, lambda step=step: poll(step * config.step_cost())):
                return
        end = self.now + self.slow * self.measuring(config)
        if self.waits(end, lambda: poll(config.steps * config.step_cost())):
            return
        on_result(0, {"status": "ok", "seconds": self.now - began})


def steady(c: TrainConfig, step: float) -> float:
    return 2e-11 * c.step_cost()


def falling(c: TrainConfig, step: float) -> float:
    """As the rule for the native backend has it, from a few looks at it."""
    return falls(c.T, c.m, c.steps)[int(step)]


@functools.cache
def falls(T: float, m: int, steps: int) -> list[float]:
    c = TrainConfig(T=T, m=m, steps=steps)
    looks = np.unique([*range(0, 101, 50), *np.geomspace(101, steps, 40).astype(int)])
    done = np.interp(np.arange(steps + 1), looks, [work(c, look) for look in looks])
    return [float(x) for x in 2e-11 * np.diff(done)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Price], Machine]:
    def make(name: str, price: Price) -> Machine:
        made = Machine(name, price)
        clocks = {name: getattr(made, name) for name in ("perf_counter", "process_time")}
        monkeypatch.setattr(calibrate, "backend", lambda: made)
        monkeypatch.setattr(course, "backend", lambda: made)
        monkeypatch.setattr(calibrate, "time", SimpleNamespace(**clocks))
        return made

    return make


def grid(**fields: Sequence[Any]) -> list[TrainConfig]:
    configs = [TrainConfig(steps=20_000)]
    for name, values in fields.items():
        configs = [c.replace(**{name: value}) for c in configs for value in values]
    return configs


# ----------------------------------------------------------------------------------------- times

MANY = grid(T=[3, 30, 100, 300, 1000, 3000], m=[2, 4, 16], seed=[0, 1])


@pytest.mark.parametrize("name, price", [("numpy", steady), ("native", falling)])
def test_times_of_runs_that_were_tried_and_that_were_not(machine, name, price):
    computer = machine(name, price)
    plan = make_plan(MANY, 0, 0, 1)
    assert computer.now <= 8, "seconds of calibration"
    truth = sum(map(computer.seconds, MANY))
    assert plan.core_seconds == pytest.approx(truth, rel=0.15)
    assert plan.seconds == pytest.approx(plan.core_seconds)
    for row in plan.rows:
        each = computer.seconds(TrainConfig(steps=20_000, T=row.T, m=row.m))
        assert row.seconds == pytest.approx(each, rel=0.3), row


@pytest.mark.parametrize("slow, threads", [(1, 1), (4, 1), (1, 3)])
@pytest.mark.parametrize("away", [{}, {5: 0.3, 20: 0.5, 40: 0.2}])
def test_time_in_which_the_thread_does_not_run_does_not_count(machine, slow, threads, away):
    # Others have its core, in turn or for a while, or threads such as those of BLAS help.
    computer = machine("numpy", steady)
    computer.slow, computer.threads, computer.away = slow, threads, away
    config = TrainConfig(T=100)
    plan = make_plan([config], 0, 0, 1)
    assert computer.now <= 8 and (computer.lost > 0) == bool(away)
    if threads == 1 or not away:
        assert plan.seconds == pytest.approx(computer.seconds(config), rel=0.1)


def test_a_clock_of_coarse_ticks_does_not_say_that_nothing_was_done(machine, monkeypatch):
    computer = machine("native", steady)
    clocks = SimpleNamespace(perf_counter=computer.perf_counter, process_time=lambda: 0.0)
    monkeypatch.setattr(calibrate, "time", clocks)
    config = TrainConfig(n=100, T=10, steps=500, sparsity=0.9)
    assert make_plan([config], 0, 0, 1).seconds == pytest.approx(computer.seconds(config), rel=0.1)


@pytest.mark.parametrize(
    "name, fields",
    [
        ("numpy", {"T": 100}),
        ("native", {"T": 100, "activation": "linear"}),
        ("native", {"T": math.inf}),
        ("native", {"T": 2000, "batch_size": 100}),
        ("numpy", {"T": 10_000_000, "batch_size": 100, "record": 1}),
    ],
)
def test_nothing_gets_cheaper_where_there_are_no_lists(machine, name, fields):
    computer = machine(name, steady)
    config = TrainConfig(**fields, test_size=0)
    assert make_plan([config], 0, 0, 1).seconds == pytest.approx(computer.seconds(config), rel=0.1)


def test_the_first_steps_may_be_dear(machine):
    computer = machine("numpy", lambda c, step: steady(c, step) * (20 if step < 100 else 1))
    config = TrainConfig(T=100, test_size=0)
    assert make_plan([config], 0, 0, 1).seconds == pytest.approx(computer.seconds(config), rel=0.1)


def test_a_run_that_ends_in_time_is_known(machine):
    computer = machine("native", steady)
    config = TrainConfig(n=100, T=10, steps=500, sparsity=0.9)
    assert make_plan([config], 0, 0, 1).seconds == pytest.approx(computer.seconds(config), rel=0.1)


def test_steps_that_are_too_long_to_be_seen(machine):
    computer = machine("numpy", steady)
    config = TrainConfig(T=2_000_000, m=16, steps=100, record=2)
    plan = make_plan([config], 0, 0, 1)
    assert computer.now <= 8
    assert plan.seconds == pytest.approx(computer.seconds(config), rel=1)


def test_steps_of_a_model_that_is_dear_to_measure(machine):
    # A point of the history takes longer than there is for all of the calibration.
    computer = machine("numpy", steady)
    computer.rest = 20.0
    plan = make_plan([TrainConfig(T=100, m=m, steps=100) for m in range(1, 9)], 0, 0, 1)
    assert computer.now <= 8
    assert plan.seconds is not None and plan.seconds > 100


@pytest.mark.parametrize("rest", [0.6, 0.95, 1.7])
def test_the_loss_of_an_example_is_known_beside_numbers_that_are_dear(machine, rest):
    # Together with the loss of some examples, a point of the history takes a second or more.
    computer = machine("numpy", steady)
    computer.rest = rest
    config = TrainConfig(T=1000, m=256, steps=1000)
    plan = make_plan([config], 0, 0, 1)
    assert computer.now <= 8
    assert plan.seconds == pytest.approx(computer.seconds(config), rel=0.2)


def test_what_does_not_fit_is_not_tried(machine, monkeypatch):
    computer = machine("numpy", steady)
    monkeypatch.setattr(_memory, "available", lambda *_: 1 << 20)
    plan = make_plan(grid(T=[3, 30]), 0, 0, 1)
    assert computer.now == 0 and plan.seconds and plan.seconds > 0


def test_runs_without_steps_have_a_time_too(machine):
    computer = machine("numpy", steady)
    config = TrainConfig(T=500, steps=0)
    assert make_plan([config], 0, 0, 1).seconds == pytest.approx(computer.seconds(config), rel=0.1)


@pytest.mark.parametrize(
    "m, T, expected",
    [
        ([2], [10, 20, 30], [(10, 2), (20, 2), (30, 2)]),
        ([2], range(10, 21), [(10, 2), (12, 2), (14, 2), (16, 2), (18, 2), (20, 2)]),
        ([2, 3, 4], range(10, 21), [(T, m) for T in (10, 20) for m in (2, 3, 4)]),
        ([2, 3, 4, 5], [10, 20], [(10, 2), (10, 3), *((20, m) for m in (2, 3, 4, 5))]),
        (range(1, 12), [10, 20], [(20, m) for m in (1, 3, 5, 7, 9, 11)]),
        ([2], [10, math.inf], [(10, 2), (math.inf, 2)]),
    ],
)
def test_few_are_tried(m, T, expected):
    chosen = calibrate._representatives(grid(T=T, m=m, seed=[0, 1]))
    assert sorted((c.T, c.m) for c in chosen) == expected
    assert chosen == sorted(chosen, key=TrainConfig.step_cost)


@pytest.mark.any_backend
def test_a_real_estimate(backend):
    config = TrainConfig(n=400, T=40, sparsity=0.98, steps=3000, test_size=2000)
    ratios = []
    for _ in range(3):
        plan = make_plan([config], 0, 0, 1)
        began = time.process_time()
        backend.train_many([config], 1, lambda i, run: None, lambda work: False)
        assert plan.seconds is not None
        ratios.append(plan.seconds / (time.process_time() - began))
    assert 1 / 5 < sorted(ratios)[1] < 5, ratios


def test_ctrl_c_ends_it_at_once(backend, monkeypatch):
    begun = training(monkeypatch, backend)
    with interrupted_when(begun.is_set) as times, pytest.raises(KeyboardInterrupt):
        make_plan(grid(T=[2000, 5000], m=[2, 8]), 0, 0, 1)
    assert time.process_time() - times[0] < 1


# -------------------------------------------------------------------------------------- schedules


def needs(*runs: tuple[float, int]) -> list[_plan._Need]:
    """Runs of these seconds and bytes, with as much work."""
    made = []
    for seconds, memory in runs:
        config = TrainConfig(n=10, T=1, m=1, steps=round(10 * seconds))
        made.append(_plan._Need(config, seconds, memory, 0))
    return made


@pytest.mark.parametrize(
    "runs, jobs, limit, expected",
    [
        ([], 2, 10, (0, 0)),
        # The first may still be written when the second begins; not if it does not fit.
        ([(3, 1), (2, 1)], 1, 10, (5, 2)),
        ([(3, 6), (2, 6)], 1, 10, (5, 6)),
        # The longest first: 3 + 2 + 2 beside 3 + 2, not what is best.
        ([(2, 1), (2, 1), (2, 1), (3, 1), (3, 1)], 2, 10, (7, 3)),
        ([(3, 1), (2, 1)], 8, 10, (3, 2)),
        # Two of the large ones do not fit; a small one does, beside the first.
        ([(3, 6), (2, 6), (1, 4)], 2, 10, (5, 10)),
        # What is too large goes alone.
        ([(3, 20), (1, 1)], 2, 10, (4, 20)),
    ],
)
def test_schedules(runs, jobs, limit, expected):
    assert _plan._schedule(needs(*runs), jobs, limit) == expected


def test_a_plan_of_many_runs_is_made_quickly(machine, monkeypatch):
    machine("numpy", steady)
    monkeypatch.setattr(_memory, "available", lambda *_: 1 << 30)
    config = TrainConfig()
    configs = [config.replace(seed=seed, T=1 + seed % 7) for seed in range(2_000)]
    began = time.process_time()
    plan = make_plan(configs, 0, 0, 4, calibrate=False)
    assert time.process_time() - began < 1
    assert plan.memory <= 0.9 * (1 << 30)


# ------------------------------------------------------------------------------------------ words


def test_without_calibration_there_are_no_times(monkeypatch):
    monkeypatch.setattr(calibrate, "backend", lambda: pytest.fail("trained"))
    plan = make_plan(grid(T=[3, 30]), 4, 1, 2, calibrate=False)
    assert (plan.runs, plan.done, plan.todo, plan.failed) == (6, 4, 2, 1)
    assert plan.seconds is None and plan.core_seconds is None
    assert plan.memory == sum(c.memory() for c in grid(T=[3, 30]))
    assert plan.disk == sum(c.disk() for c in grid(T=[3, 30]))
    assert "time    not measured; 2 threads" in str(plan)


def test_nothing_to_do_takes_nothing():
    plan = make_plan([], 12, 0, 4)
    assert (plan.runs, plan.seconds, plan.memory, plan.disk, plan.rows) == (12, 0, 0, 0, ())
    assert str(plan).splitlines()[0] == "runs    12: 12 done, 0 to do"


PLAN = Plan(
    runs=1200,
    done=1100,
    todo=100,
    failed=3,
    seconds=7_800.0,
    core_seconds=15_300.0,
    memory=1_320_000_000,
    available=22_000_000_000,
    disk=13_900_000,
    n_jobs=2,
    rows=(
        PlanRow(100, 2, 60, 2.54, 24_000_000),
        PlanRow(10_000, 16, 30, 3_260.0, 211_000_000),
        PlanRow(math.inf, 2, 10, 0.03, 730_000),
    ),
)


def test_a_table_for_people():
    assert str(PLAN).splitlines() == [
        "runs    1,200: 1,100 done, 100 to do (3 failed before)",
        "time    about 2 h 10 min on 2 threads, 4 h 15 min on one",
        "memory  up to 1.3 GB of 22 GB available",
        "disk    14 MB to be written",
        "     T   m  runs  time each  memory each",
        "   100   2    60      2.5 s        24 MB",
        "10,000  16    30     54 min       211 MB",
        "   inf   2    10      30 ms       730 kB",
    ]


def test_json():
    data = json.loads(json.dumps(PLAN.to_dict(), allow_nan=False))
    assert [row["T"] for row in data["rows"]] == [100, 10_000, "inf"]
    assert data["seconds"] == 7_800.0 and data["rows"][0]["memory"] == 24_000_000
    assert set(data) == set(Plan.__dataclass_fields__)


def test_whether_it_fits():
    values = {name: getattr(PLAN, name) for name in Plan.__dataclass_fields__}
    small, unknown = (Plan(**{**values, "available": bytes_}) for bytes_ in (1 << 30, None))
    assert PLAN.fits and unknown.fits and not small.fits
    assert "1.1 GB available: TOO MUCH" in str(small) and "available" not in str(unknown)


def test_a_plan_for_a_store_that_holds_another_sweep_is_refused(tmp_path):
    toysup.sweep(n=16, T=[3, 4], sparsity=0.8, steps=20, test_size=20, store=tmp_path)
    with pytest.raises(ValueError, match=r"sparsity is 0\.8 in the sweep that is stored there"):
        toysup.plan(n=16, T=[3, 4], sparsity=0.7, steps=20, test_size=20, store=tmp_path)
    plan = toysup.plan(n=16, T=[3, 5], sparsity=0.8, steps=20, test_size=20, store=tmp_path)
    assert (plan.runs, plan.done, plan.todo) == (2, 1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "sweep.json"]
