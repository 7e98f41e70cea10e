"""How much memory is left for this process, and the refusal of what needs more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from toysup._system import groups
from toysup._system.groups import control_groups, lines
from toysup._text.units import size

__all__ = ["available", "budget", "machine", "refuse_memory", "share"]

# The share of what is left that runs may take together.
_SHARE = 0.9
# A thread's stack where the system sets no limit, and the address space that glibc's malloc
# reserves for it.
_STACK = 8 << 20
_ARENA = 64 << 20


class _Names(NamedTuple):
    """The files of a control group that say what memory it may take, and what it does take."""

    limits: tuple[str, ...]
    usage: str
    inactive: str  # a line of memory.stat


# By the version of the groups.
_NAMES = {
    1: _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    2: _Names(("memory.max", "memory.high"), "memory.current", "inactive_file"),
}


def machine() -> int | None:
    """Bytes that all processes in this one's control groups may still take together."""
    known = [left for left in (_system(), *_control_groups()) if left is not None]
    return max(0, min(known)) if known else None


def available(threads: int = 2) -> int | None:
    """Bytes that this process may still take beside so many new threads; None if no limit is known.

    The least of what the system can give without swapping, what the limits of this process's
    control groups (containers, batch jobs) leave, and what the limits of its address space and of
    its data leave. One run has two threads on the native backend.
    """
    limits = (limit.left - threads * limit.thread for limit in _limits())
    known = [left for left in (machine(), *limits) if left is not None]
    return max(0, min(known)) if known else None


def budget(n_jobs: int, largest: int) -> tuple[int, int]:
    """Threads, and bytes that runs which are trained at the same time may take together.

    There are fewer threads than ``n_jobs`` where a limit has no room for so many, each with a run
    of ``largest`` bytes.
    """
    for limit in _limits():
        n_jobs = min(n_jobs, (limit.left - limit.thread) // (limit.thread + largest))
    n_jobs = max(1, n_jobs)
    return n_jobs, share(available(n_jobs + 1))


def share(left: int | None) -> int:
    """What runs may take of what is left: nothing else must starve."""
    return sys.maxsize if left is None else int(_SHARE * left)


def refuse_memory(needed: int, what: str) -> None:
    """Raise ``MemoryError``, with the figures, for more bytes than are left for this process."""
    left = available()
    if left is not None and needed > left:
        raise MemoryError(f"{what} needs about {size(needed)}, this machine has {size(left)} left")


def _system() -> int | None:
    """What the system can give without swapping; all that it has, where that is not known."""
    for line in lines(groups.ROOT / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


class _Limit(NamedTuple):
    """What a limit of this process leaves, and what each new thread takes of that."""

    left: int
    thread: int


def _limits() -> Iterator[_Limit]:
    """The limits of the address space and of the data."""
    try:
        import resource
    except ImportError:  # Windows
        return
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)  # that of threads, too
    stack = _STACK if stack == resource.RLIM_INFINITY else stack
    for kind, name, arena in (
        (resource.RLIMIT_AS, "VmSize:", _ARENA),
        (resource.RLIMIT_DATA, "VmData:", 0),
    ):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield _Limit(limit - _used(name), stack + arena)


def _used(name: str) -> int:
    """Bytes that the kernel's line of that name gives; 0 where it says nothing."""
    for line in lines(groups.ROOT / "proc/self/status"):
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    return 0


def _control_groups() -> Iterator[int]:
    """What each limit of this process's control groups leaves."""
    for folder, version in control_groups("memory"):
        names = _NAMES[version]
        limits = [text for name in names.limits for text in lines(folder / name) if text.isdigit()]
        used = lines(folder / names.usage)
        if limits and used:
            stat = dict(line.split(" ", 1) for line in lines(folder / "memory.stat"))
            # Pages of files that nobody has read of late are given up first.
            unused = int(stat.get(names.inactive, 0))
            yield min(map(int, limits)) - max(0, int(used[0]) - unused)
