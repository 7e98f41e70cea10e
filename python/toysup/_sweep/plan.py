"""Before a sweep starts: how long it will take, what it will hold, and whether that fits."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from toysup._backends.choose import backend
from toysup._backends.protocol import HISTORY_TEST, Failed, RawRun
from toysup._system.memory import available, budget
from toysup.config import TrainConfig

__all__ = ["Plan", "PlanRow", "make_plan"]

_Item = TypeVar("_Item")

# Configs that are tried, seconds for the updates of each, and for all.
_TRIED = 6
_SECONDS = 1.0
_TOTAL = 7.0
# Multiply-adds of a short look at the pace of this machine, and of one at a test loss.
_LOOK = 1e7
_TEST = 1e8
# Steps that a trial should get to: at first the native backend does not list pairs. Fewer examples
# are taken for that, down to one in so many.
_STEPS = 80
_CUT = 10
# Seconds a multiply-add while nothing is known; slower than any machine.
_SLOW = 1e-9
# Lists get shorter as a run goes on. In whole runs over T = 100 ... 10,000 and m = 2 ... 256 the
# time of a step fell about so, from about this step on.
_FALL_FROM = 300
_FALL = 0.4


@dataclass(frozen=True)
class PlanRow:
    """What is to do at one (T, m).

    Attributes
    ----------
    T, m : number
        As in :class:`TrainConfig`.
    runs : int
        Runs to do.
    seconds : float or None
        Of one of them on one thread, their mean.
    memory : int
        Bytes of the largest.
    """

    T: int | float
    m: int
    runs: int
    seconds: float | None
    memory: int


@dataclass(frozen=True, repr=False)
class Plan:
    """What a sweep will take, estimated before it starts.

    Attributes
    ----------
    runs, done, todo, failed : int
        All runs; those that are done; those to do; and how many of these were tried and failed.
    seconds : float or None
        Wall time on ``n_jobs`` threads; None if no time was measured.
    core_seconds : float or None
        Time on one thread.
    memory : int
        Bytes held at one time at most, estimated from above.
    available : int or None
        Bytes that this process may take; None if no limit is known.
    disk : int
        Bytes to be written.
    n_jobs : int
        Threads.
    rows : tuple of PlanRow
        The same by (T, m), in ascending order.

    Notes
    -----
    Times come from about a second of each of a few of the runs, and are mostly within a factor of
    2 of the truth. They are rather too long for m from 16 on (up to 2.5 times), where a second
    shows no more than the first, slow steps; and too short where there are more threads than cores,
    or other programs at work. Of a sweep with many (n, m), single rows are less certain than the
    sum: those of small T may be too short by a factor of 4.
    """

    runs: int
    done: int
    todo: int
    failed: int
    seconds: float | None
    core_seconds: float | None
    memory: int
    available: int | None
    disk: int
    n_jobs: int
    rows: tuple[PlanRow, ...]

    @property
    def fits(self) -> bool:
        """Whether the memory is there, as far as is known."""
        return self.available is None or self.memory <= self.available

    def to_dict(self) -> dict[str, Any]:
        """All attributes in types that JSON has; an infinite T is ``"inf"``."""
        data = asdict(self)
        data["rows"] = [{**asdict(r), "T": "inf" if r.T == math.inf else r.T} for r in self.rows]
        return data

    def __repr__(self) -> str:
        again = f" ({self.failed} failed before)" if self.failed else ""
        threads = f"{self.n_jobs} thread{'s' if self.n_jobs > 1 else ''}"
        left = "" if self.available is None else f" of {_size(self.available)} available"
        took = f"about {_time(self.seconds)} on {threads}, {_time(self.core_seconds)} on one"
        lines = [
            f"runs    {self.runs:,}: {self.done:,} done, {self.todo:,} to do{again}",
            f"time    {f'not measured; {threads}' if self.seconds is None else took}",
            f"memory  up to {_size(self.memory)}{left}{'' if self.fits else ': TOO MUCH'}",
            f"disk    {_size(self.disk)} to be written",
        ]
        table = [("T", "m", "runs", "time each", "memory each")]
        for r in self.rows:
            T = "inf" if r.T == math.inf else f"{r.T:,}"
            table.append((T, str(r.m), f"{r.runs:,}", _time(r.seconds), _size(r.memory)))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table if self.rows else ():
            lines.append("  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)))
        return "\n".join(lines)


def _time(seconds: float | None) -> str:
    """Such as "20 ms", "0.3 s", "12 s", "5 min", "2 h 10 min" and "3 d 4 h"."""
    if seconds is None:
        return "?"
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours} h"


def _size(size: float) -> str:
    """Such as "730 kB" and "1.3 GB"."""
    unit = "kB"
    size /= 1000
    for larger in ("MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:,.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


# --------------------------------------------------------------------------------------- the plan


def make_plan(
    todo: Sequence[TrainConfig],
    done: int,
    failed: int,
    n_jobs: int,
    *,
    kept: int = 0,
    calibrate: bool = True,
) -> Plan:
    """The plan of a sweep.

    Parameters
    ----------
    todo : sequence of TrainConfig
        The runs that are to be trained.
    done, failed : int
        How many are done, and how many of ``todo`` were tried and failed.
    n_jobs : int
        Threads.
    kept : int
        Bytes that stay of runs which have ended, beside one of them.
    calibrate : bool
        Whether to measure the time of a few runs, in about 8 s at most; there are no times
        without it.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C while times are measured.
    """
    trials = _calibrated(todo) if calibrate else []
    needs: dict[tuple[Any, ...], _Need] = {}
    runs: list[_Need] = []
    for config in todo:
        shape = _shape(config)
        if shape not in needs:
            seconds = _run_seconds(trials, config) if trials else None
            needs[shape] = _Need(config, seconds, config.memory(), config.disk())
        runs.append(needs[shape])
    n_jobs, room = budget(n_jobs, max((need.memory for need in runs), default=0))
    wall, peak = _schedule(runs, n_jobs, max(0, room - kept))
    return Plan(
        runs=done + len(todo),
        done=done,
        todo=len(todo),
        failed=failed,
        seconds=wall if calibrate else None,
        core_seconds=sum(need.time for need in runs) if calibrate else None,
        memory=peak + kept,
        available=available(),
        disk=sum(need.disk for need in runs),
        n_jobs=n_jobs,
        rows=_rows(runs),
    )


class _Need(NamedTuple):
    """What the runs of one shape take, each."""

    config: TrainConfig
    seconds: float | None
    memory: int
    disk: int

    @property
    def work(self) -> float:
        return self.config.step_cost() * self.config.steps

    @property
    def time(self) -> float:
        """Seconds, or what stands for them where nothing was measured."""
        return self.work if self.seconds is None else self.seconds


def _shape(config: TrainConfig) -> tuple[Any, ...]:
    """What the needs of a run follow from."""
    return (
        *(config.n, config.m, config.T, config.batch, config.sparsity, config.dtype),
        *(config.steps, config.record, config.snapshots, config.test_size),
    )


def _rows(runs: Sequence[_Need]) -> tuple[PlanRow, ...]:
    by: dict[tuple[int | float, int], list[_Need]] = {}
    for need in runs:
        by.setdefault((need.config.T, need.config.m), []).append(need)
    rows = []
    for (T, m), these in sorted(by.items()):
        times = [need.seconds for need in these if need.seconds is not None]
        mean = sum(times) / len(times) if times else None
        rows.append(PlanRow(T, m, len(these), mean, max(need.memory for need in these)))
    return tuple(rows)


def _schedule(runs: Sequence[_Need], n_jobs: int, limit: int) -> tuple[float, int]:
    """Wall time and peak memory when the backend trains these: the longest that fits is next.

    The run that ended last holds its memory, as it may still be written when the next one begins.
    """
    waiting = sorted(runs, key=lambda need: need.work)  # the longest is at the end
    running: list[tuple[float, int]] = []
    now, used, kept, peak = 0.0, 0, 0, 0
    while waiting:
        fits = (
            i
            for i in range(len(waiting) - 1, -1, -1)
            if not used or used + waiting[i].memory <= limit
        )
        i = next(fits, None) if len(running) < n_jobs else None
        if i is None:
            used -= kept
            if kept and len(running) < n_jobs:
                kept = 0
            else:
                now, kept = heapq.heappop(running)
            continue
        need = waiting.pop(i)
        heapq.heappush(running, (now + need.time, need.memory))
        used += need.memory
        peak = max(peak, used)
    return max((end for end, _ in running), default=now), peak


# ----------------------------------------------------------------------------------------- times


class _Trial(NamedTuple):
    """What was seen of one config on one thread."""

    config: TrainConfig  # with fewer examples, if there would have been too few steps
    steps: float  # that were done
    seconds: float  # that these took
    pace: float  # seconds a step at the end
    example: float  # seconds of the loss of one example
    rest: float  # seconds of the rest of a point of the history


def _test_cost(config: TrainConfig) -> float:
    """Multiply-adds of the loss of one example."""
    return config.n * (2.0 * config.m + 2.0)


def _calibrated(todo: Sequence[TrainConfig]) -> list[_Trial]:
    """Trials of some of these."""
    began = time.perf_counter()
    chosen, limit = _representatives(todo), budget(1, 0)[1]
    trials: list[_Trial] = []
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
        trials.append(_tried(copy, min(_SECONDS, max(0.1, share)), guess, *measured[kind]))
    return trials or [guess] if guess else []


def _guessed(config: TrainConfig, limit: int) -> _Trial:
    """A short look at a small copy, to begin with."""
    copy = _cut(config, _LOOK, 1)
    step = _SLOW * copy.step_cost()
    example = _SLOW * _test_cost(copy)
    guess = _Trial(copy, 1.0, step, step, example, example)
    return guess if copy.memory() > limit else _tried(copy, 0.1, guess, example, example)


def _representatives(todo: Sequence[TrainConfig]) -> list[TrainConfig]:
    """A few different configs, the cheapest first: of each (n, m) the dearest, and some others."""
    groups: dict[tuple[int, int, bool], dict[tuple[Any, ...], TrainConfig]] = {}
    for c in [c for c in todo if c.steps > 0] or todo:
        group = groups.setdefault((c.n, c.m, c.T == math.inf), {})
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
    size: dict[str, int] = {"batch_size" if config.T == math.inf else "T": examples}
    return config.replace(repeats=(), record=1, snapshots=0, test_size=0, **size)


def _tried(
    config: TrainConfig, seconds: float, guess: _Trial, example: float, rest: float
) -> _Trial:
    """Train a config for so long; a guess stands for what has not come to the end of a step."""
    points, run = _watched(config, seconds)
    points = [(at, steps) for at, steps in points if 0 < steps < config.steps]
    if run is not None and config.steps > 0:
        last = points[-1][0] if points else 0.0
        points.append((max(last, run["seconds"]), float(config.steps)))
    if not points:
        pace = max(seconds, guess.pace * config.step_cost() / guess.config.step_cost())
        return _Trial(config, 1.0, pace, pace, example, rest)
    end, steps = points[-1]
    half = [(at, done) for at, done in points if end / 2 <= at < end and done < steps]
    at, before = half[0] if half else (0.0, 0.0)
    return _Trial(config, steps, end, (end - at) / (steps - before), example, rest)


def _measured(config: TrainConfig, guess: _Trial, seconds: float) -> tuple[float, float]:
    """Seconds of the loss of one example, and of the rest of a point of the history."""
    scale = _test_cost(config) / _test_cost(guess.config)
    example, rest = scale * guess.example, scale * guess.rest
    size: dict[str, int] = {"batch_size" if config.T == math.inf else "T": 1}
    none = config.replace(steps=0, **size)
    run = _watched(none, seconds)[1]
    if run is None:
        return example, max(rest, seconds)
    rest = run["seconds"]
    # Enough examples that they stand out from the rest.
    work = max(_TEST, rest / 2 * guess.config.step_cost() / guess.pace)
    count = int(min(HISTORY_TEST, max(1, work / _test_cost(config))))
    some = none.replace(test_size=count)
    run = _watched(some, seconds)[1] if some.tested else None
    if run is not None:
        # They pass once for the history and once for the final loss.
        example = max(0.0, run["seconds"] - rest) / (2 * some.tested)
    return example, rest


def _watched(
    config: TrainConfig, seconds: float
) -> tuple[list[tuple[float, float]], RawRun | None]:
    """Train for at most so long: (seconds, steps) on the way, and the run if it came to its end."""
    began = time.perf_counter()
    points: list[tuple[float, float]] = []
    runs: list[RawRun | Failed] = []

    def poll(work: float) -> bool:
        points.append((time.perf_counter() - began, work / config.step_cost()))
        return points[-1][0] >= seconds

    backend().train_many([config], 1, lambda _, run: runs.append(run), poll)
    run = runs[0] if runs else None
    if run is None or isinstance(run, Failed) or run["status"] != "ok":
        return points, None
    return points, run


def _run_seconds(trials: Sequence[_Trial], config: TrainConfig) -> float:
    """Seconds of a whole run on one thread."""
    distances = [_distance(trial.config, config) for trial in trials]
    near = [t for t, d in zip(trials, distances, strict=True) if d == min(distances)]
    scale = _test_cost(config) / _test_cost(near[0].config)
    example = scale * float(np.mean([trial.example for trial in near]))
    rest = scale * float(np.mean([trial.rest for trial in near]))
    examples = config.batch + min(config.tested, HISTORY_TEST)
    measuring = len(config.record_steps()) * (rest + examples * example)
    return _training_seconds(near, config) + measuring + config.tested * example


def _distance(a: TrainConfig, b: TrainConfig) -> tuple[float, ...]:
    """How little the steps of one say about those of the other, number of examples aside."""
    sizes = abs(math.log(a.n / b.n)) + abs(math.log(a.m / b.m))
    return float((a.T == math.inf) != (b.T == math.inf)), sizes, float(a.dtype != b.dtype)


def _training_seconds(near: Sequence[_Trial], config: TrainConfig) -> float:
    """Seconds of all updates: between the trials by the logarithms, beyond them in proportion."""
    if config.steps == 0:
        return 0.0
    falls = backend().name == "native" and config.T != math.inf
    known = sorted((t.config.step_cost(), _extended(t, config.steps, falls)) for t in near)
    costs, seconds = np.array(known).T
    cost = config.step_cost()
    nearest = float(np.clip(cost, costs[0], costs[-1]))
    between = math.exp(float(np.interp(math.log(nearest), np.log(costs), np.log(seconds))))
    return between * cost / nearest


def _extended(trial: _Trial, steps: int, falls: bool) -> float:
    """Seconds that so many steps like those of a trial would take."""
    if steps <= trial.steps:
        return trial.seconds * steps / trial.steps
    if not falls:
        return trial.seconds + trial.pace * (steps - trial.steps)
    low = max(trial.steps, min(steps, _FALL_FROM))
    power = 1.0 - _FALL
    later = math.pow(low, _FALL) * (math.pow(steps, power) - math.pow(low, power)) / power
    return trial.seconds + trial.pace * (low - trial.steps + later)
