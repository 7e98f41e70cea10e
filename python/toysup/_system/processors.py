"""How many processors this process may use, and the number of threads that is made of it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from toysup._system.groups import control_groups, lines
from toysup._text.notes import warn
from toysup.config.checks import as_int
from toysup.errors import SurroundingsError

__all__ = ["ThreadWarning", "as_jobs", "no_thread", "processors"]

_LIMITS = "see ulimit -u, ulimit -v and the control group's pids.max"


def processors() -> int:
    """Processors that this process may use, by its affinity and the quotas of its groups."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> Iterator[float]:
    """Processors' worth of time that each control group has."""
    for folder, version in control_groups("cpu"):
        if version == 2:
            numbers = [word for line in lines(folder / "cpu.max") for word in line.split()]
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            numbers = [line for name in names for line in lines(folder / name)]
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):  # not max, not -1
            quota, period = map(int, numbers)
            if period > 0:
                yield quota / period


def as_jobs(n_jobs: int | None) -> int:
    """The number of threads: all processors this process may use, if None or -1.

    Negative numbers count from all of them, as in scikit-learn: -2 leaves one free.
    """
    available = processors()
    if n_jobs is None:
        return available
    n_jobs = as_int("n_jobs", n_jobs, -(2**31), 2**31)
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0: give a number of threads, or -1 for all")
    return n_jobs if n_jobs > 0 else max(1, available + 1 + n_jobs)


def no_thread(error: object) -> SurroundingsError:
    """The error of who cannot start one thread."""
    return SurroundingsError(f"cannot start a thread ({error}); {_LIMITS}")


class ThreadWarning:
    """Says once that threads are missing."""

    def __init__(self) -> None:
        self._said = False

    def missing(self, count: int) -> None:
        """So many could not be started, of those that would be of use."""
        if count and not self._said:
            self._said = True
            text = f"{count} threads could not be started, so the others do their work; {_LIMITS}"
            warn(text, stacklevel=2)
