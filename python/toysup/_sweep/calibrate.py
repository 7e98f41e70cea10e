"""How long the runs of a sweep will take, from short trials of a few of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from toysup._backends.choose import backend
from toysup._backends.protocol import HISTORY_TEST, Failed, RawRun
from toysup._sweep.course import work
from toysup._system.memory import budget
from toysup.config import TrainConfig

__all__ = ["Trial", "calibrated", "run_seconds"]

_Item = TypeVar("_Item")

# Configs that are tried, seconds at work on the updates of each, and seconds that may pass for
# each, if other programs have the core meanwhile, and for all.
_TRIED = 6
_SECONDS = 1.0
_LONGEST = 2.0
_TOTAL = 7.0
# Multiply-adds of a first trial of the pace of this machine, and of one of a test loss.
_FIRST = 1e7
_TEST = 1e8
# Steps that a trial should get to: at first the native backend does not list pairs. Fewer examples
# are taken for that, down to one in so many.
_STEPS = 80
_CUT = 10
# Seconds a multiply-add while nothing is known; slower than any machine.
_SLOW = 1e-9


class Trial(NamedTuple):
    """What was seen of one config on one thread."""

    config: TrainConfig  # with fewer examples, if there would have been too few steps
    steps: float  # that were done
    seconds: float  # that the thread was at work for these
    price: float  # seconds of a unit of work at the end
    example: float  # seconds of the loss of one example
    rest: float  # seconds of the rest of a point of the history

    @property
    def pace(self) -> float:
        """Seconds of a step as the first ones are."""
        return self.price * work(self.config, 1.0)


def _test_cost(config: TrainConfig) -> float:
    """Multiply-adds of the loss of one example."""
    return config.n * (2.0 * config.m + 2.0)


def calibrated(todo: Sequence[TrainConfig]) -> list[Trial]:
    """Trials of some of these."""
    began = time.perf_counter()
    chosen, limit = _representatives(todo), budget(1, 0)[1]
    trials: list[Trial] = []
    measured: dict[tuple[int, int, str], tuple[float, float]] = {}
    guess = _guessed(chosen[0], limit) if chosen else None
    for i, config in enumerate(chosen):
        assert guess is not None
        share = (_TOTAL - (time.perf_counter() - began)) / (len(chosen) - i)
        most = _SECONDS / _STEPS * guess.config.step_cost() / guess.pace
        copy = _cut(config, most, config.batch // _CUT)
        if copy.memory() > limit:
            continue
        kind = (config.n, config.m, config.dtype)
        if kind not in measured:
            share, before = 0.7 * share, time.perf_counter()
            measured[kind] = _measured(copy, guess, share / 2)
            share -= time.perf_counter() - before
        trials.append(_tried(copy, min(_LONGEST, max(0.1, share)), guess, *measured[kind]))
    return trials or [guess] if guess else []


def _guessed(config: TrainConfig, limit: int) -> Trial:
    """A short trial of a small copy, to begin with."""
    copy = _cut(config, _FIRST, 1)
    step = _SLOW * copy.step_cost()
    example = _SLOW * _test_cost(copy)
    guess = Trial(copy, 1.0, step, step / work(copy, 1.0), example, example)
    if copy.memory() > limit:
        return guess
    tried = _tried(copy, 0.1, guess, example, example)
    # As long as a step takes for as many multiply-adds.
    return tried._replace(example=_test_cost(copy) * tried.pace / copy.step_cost())


def _representatives(todo: Sequence[TrainConfig]) -> list[TrainConfig]:
    """A few different configs, the cheapest first: of each (n, m) the costliest, and others."""
    groups: dict[tuple[int, int, bool], dict[tuple[Any, ...], TrainConfig]] = {}
    for c in [c for c in todo if c.steps > 0] or todo:
        group = groups.setdefault((c.n, c.m, c.is_varied), {})
        group.setdefault((c.T, c.batch, c.sparsity, c.dtype), c)
    ranked = [sorted(group.values(), key=TrainConfig.step_cost) for group in groups.values()]
    ranked = _spread(sorted(ranked, key=lambda configs: configs[-1].step_cost()), _TRIED)
    chosen: list[TrainConfig] = []
    for i, configs in enumerate(ranked):
        chosen += _spread(configs, _TRIED // len(ranked) + (i < _TRIED % len(ranked)))
    return sorted(chosen, key=TrainConfig.step_cost)


def _spread(items: list[_Item], count: int) -> list[_Item]:
    """So many of them at equal distances, the last one included."""
    if count >= len(items):
        return items
    steps = max(1, count - 1)
    return [items[-1 - (len(items) - 1) * i // steps] for i in range(count)]


def _cut(config: TrainConfig, most: float, least: int) -> TrainConfig:
    """A copy that measures nothing, of ``least`` examples or those of ``most`` multiply-adds."""
    example = config.n * (3.0 * config.m + 2.0)
    spare = most - (config.step_cost() - config.batch * example)
    examples = min(config.batch, max(1, least, int(spare / example)))
    size: dict[str, int] = {"batch_size" if config.is_varied else "T": examples}
    if config.in_batches:  # from a smaller set
        size["T"] = min(int(config.T), 4 * examples)
    return config.replace(repeats=(), record=1, snapshots=0, test_size=0, **size)


def _tried(config: TrainConfig, seconds: float, guess: Trial, example: float, rest: float) -> Trial:
    """Train a config for so long; a guess stands for what has not come to the end of a step."""
    points, took = _watched(config, seconds, _SECONDS)
    points = [(at, steps) for at, steps in points if 0 < steps < config.steps]
    if took is not None and config.steps > 0:
        last = points[-1][0] if points else 0.0
        points.append((max(last, took), float(config.steps)))
    if not points:
        pace = max(seconds, guess.pace * config.step_cost() / guess.config.step_cost())
        return Trial(config, 1.0, pace, pace / work(config, 1.0), example, rest)
    end, steps = points[-1]
    half = [(at, done) for at, done in points if end / 2 <= at < end and done < steps]
    at, before = half[0] if half else (0.0, 0.0)
    price = (end - at) / (work(config, steps) - work(config, before))
    return Trial(config, steps, end, price, example, rest)


def _measured(config: TrainConfig, guess: Trial, seconds: float) -> tuple[float, float]:
    """Seconds of the loss of one example, and of the rest of a point of the history."""
    scale = _test_cost(config) / _test_cost(guess.config)
    example, rest = scale * guess.example, scale * guess.rest
    size: dict[str, int] = {"batch_size": 1} if config.T == math.inf else {"T": 1}
    none = config.replace(steps=0, **size)
    took = _watched(none, seconds, seconds)[1]
    if took is None:
        return example, max(rest, seconds)
    rest = took
    # Enough examples that they stand out from the rest.
    cost = max(_TEST, rest / 2 * guess.config.step_cost() / guess.pace)
    count = int(min(HISTORY_TEST, max(1, cost / _test_cost(config))))
    some = none.replace(test_size=count)
    took = _watched(some, seconds, seconds)[1] if some.tested else None
    if took is not None:
        # They pass once for the history and once for the final loss.
        example = max(0.0, took - rest) / (2 * some.tested)
    return example, rest


def _watched(
    config: TrainConfig, seconds: float, at_work: float
) -> tuple[list[tuple[float, float]], float | None]:
    """Train for at most so long, by the wall and at work.

    Returns (seconds at work, steps) on the way, and the seconds of the whole run, which are None if
    it did not come to its end.
    """
    began, clock = time.perf_counter(), _worked()
    points: list[tuple[float, float]] = []
    took: list[float] = []

    def poll(done: float) -> bool:
        points.append((clock(), done / config.step_cost()))
        return time.perf_counter() - began >= seconds or points[-1][0] >= at_work

    def end(_: int, run: RawRun | Failed) -> None:
        if not isinstance(run, Failed) and run["status"] == "ok":
            took.append(min(clock(), run["seconds"]))

    backend().train_many([config], 1, end, poll)
    return points, took[0] if took else None


def _worked() -> Callable[[], float]:
    """A clock of the time for which one thread of this process is at work from now on.

    Time in which other programs have its core does not count: that is the processor time of the
    process, as all else it does meanwhile is to poll. Other threads, such as those of BLAS, add to
    that, but no thread works for longer than passes on the wall. Where the clock of the processor
    has not ticked yet, the one on the wall stands for it.
    """
    wall, busy = time.perf_counter(), time.process_time()

    def clock() -> float:
        passed = time.perf_counter() - wall
        return min(passed, (time.process_time() - busy) or passed)

    return clock


def run_seconds(trials: Sequence[Trial], config: TrainConfig) -> float:
    """Seconds of a whole run on one thread."""
    distances = [_distance(trial.config, config) for trial in trials]
    near = [t for t, d in zip(trials, distances, strict=True) if d == min(distances)]
    scale = _test_cost(config) / _test_cost(near[0].config)
    example = scale * float(np.mean([trial.example for trial in near]))
    rest = scale * float(np.mean([trial.rest for trial in near]))
    examples = config.examples + min(config.tested, HISTORY_TEST)
    measuring = len(config.record_steps()) * (rest + examples * example)
    return _training_seconds(near, config) + measuring + config.tested * example


def _distance(a: TrainConfig, b: TrainConfig) -> tuple[float, ...]:
    """How little the steps of one say about those of the other, number of examples aside."""
    sizes = abs(math.log(a.n / b.n)) + abs(math.log(a.m / b.m))
    return float(a.is_varied != b.is_varied), sizes, float(a.dtype != b.dtype)


def _training_seconds(near: Sequence[Trial], config: TrainConfig) -> float:
    """Seconds of all updates, at prices that go from trial to trial by the logarithms."""
    if config.steps == 0:
        return 0.0
    known = sorted((t.config.step_cost(), _mean_price(t, config.steps)) for t in near)
    costs, prices = np.log(known).T
    price = math.exp(float(np.interp(math.log(config.step_cost()), costs, prices)))
    return price * work(config, config.steps)


def _mean_price(trial: Trial, steps: int) -> float:
    """Seconds of a unit of work of so many steps of what was tried."""
    seen = min(steps, trial.steps)
    done, whole = work(trial.config, seen), work(trial.config, steps)
    return (trial.seconds * seen / trial.steps + trial.price * (whole - done)) / whole
