"""Before a sweep starts: how long it will take, what it will hold, and whether that fits."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from toysup._sweep.calibrate import calibrated, run_seconds
from toysup._system.memory import available, budget
from toysup._text.units import duration, size
from toysup.config import TrainConfig

__all__ = ["Plan", "PlanRow", "make_plan"]


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
        Wall time on ``n_jobs`` threads with a core each; None if no time was measured.
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
    Times come from about a second of each of a few of the runs. They are times at work: where other
    programs want the same cores, or there are more threads than cores, runs take as much longer.

    For runs like the paper's (n = 10,000, S = 0.999, 50,000 steps, m = 2 to 16) they are within a
    factor of 1.5 of the truth on the native backend up to T = 20,000, as means of several
    estimates. How much it skips later in a run follows from a rule that was fitted there, and is
    less certain elsewhere. What other programs do to the caches and the clock of a busy machine may
    change what is measured by a third or so, at times by more.
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
        left = "" if self.available is None else f" of {size(self.available)} available"
        took = f"about {duration(self.seconds)} on {threads}, {duration(self.core_seconds)} on one"
        lines = [
            f"runs    {self.runs:,}: {self.done:,} done, {self.todo:,} to do{again}",
            f"time    {f'not measured; {threads}' if self.seconds is None else took}",
            f"memory  up to {size(self.memory)}{left}{'' if self.fits else ': TOO MUCH'}",
            f"disk    {size(self.disk)} to be written",
        ]
        table = [("T", "m", "runs", "time each", "memory each")]
        for r in self.rows:
            T = "inf" if r.T == math.inf else f"{r.T:,}"
            table.append((T, str(r.m), f"{r.runs:,}", duration(r.seconds), size(r.memory)))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table if self.rows else ():
            lines.append("  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)))
        return "\n".join(lines)


def make_plan(
    todo: Sequence[TrainConfig],
    done: int,
    failed: int,
    n_jobs: int,
    *,
    held: int = 0,
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
    held : int
        Bytes that stay of runs which have ended, beside one of them.
    calibrate : bool
        Whether to measure the time of a few runs, in about 8 s at most; there are no times
        without it.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C while times are measured.
    """
    trials = calibrated(todo) if calibrate else []
    needs: dict[tuple[Any, ...], _Need] = {}
    runs: list[_Need] = []
    for config in todo:
        shape = _shape(config)
        if shape not in needs:
            seconds = run_seconds(trials, config) if trials else None
            needs[shape] = _Need(config, seconds, config.memory(), config.disk())
        runs.append(needs[shape])
    n_jobs, room = budget(n_jobs, max((need.memory for need in runs), default=0))
    wall, peak = _schedule(runs, n_jobs, max(0, room - held))
    return Plan(
        runs=done + len(todo),
        done=done,
        todo=len(todo),
        failed=failed,
        seconds=wall if calibrate else None,
        core_seconds=sum(need.time for need in runs) if calibrate else None,
        memory=peak + held,
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
        *(config.n, config.m, config.T, config.batch, config.examples),
        *(config.sparsity, config.dtype, config.steps, config.record, config.snapshots),
        config.test_size,
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
    now, used, last, peak = 0.0, 0, 0, 0
    while waiting:
        fits = (
            i
            for i in range(len(waiting) - 1, -1, -1)
            if not used or used + waiting[i].memory <= limit
        )
        i = next(fits, None) if len(running) < n_jobs else None
        if i is None:
            used -= last
            if last and len(running) < n_jobs:
                last = 0
            else:
                now, last = heapq.heappop(running)
            continue
        need = waiting.pop(i)
        heapq.heappush(running, (now + need.time, need.memory))
        used += need.memory
        peak = max(peak, used)
    return max((end for end, _ in running), default=now), peak
