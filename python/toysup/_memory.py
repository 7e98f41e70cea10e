"""How much memory is left for this process, and the refusal of what needs more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from toysup import _groups
from toysup._groups import control_groups, lines

__all__ = ["available", "budget", "refuse_memory"]

# The share of what is left that runs may take together: nothing else must starve.
_SHARE = 0.9


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


def available() -> int | None:
    """Bytes that this process may still take; None where no limit is known.

    The least of what the system can give without swapping, what the limits of this process's
    control groups (containers, batch jobs) leave, and what the limit of its address space leaves.
    """
    known = [left for left in (_system(), *_control_groups(), _address_space()) if left is not None]
    return max(0, min(known)) if known else None


def budget() -> int:
    """Bytes that runs which are trained at the same time may take together."""
    left = available()
    return sys.maxsize if left is None else int(_SHARE * left)


def refuse_memory(needed: int, what: str) -> None:
    """Raise ``MemoryError``, with the figures, for more bytes than are left for this process."""
    left = available()
    if left is not None and needed > left:
        sizes = (f"{size / 2.0**30:,.1f} GiB" for size in (needed, left))
        raise MemoryError("{} needs about {}, this machine has {} left".format(what, *sizes))


def _system() -> int | None:
    """What the system can give without swapping; all that it has, where that is not known."""
    for line in lines(_groups.ROOT / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _address_space() -> int | None:
    """What the limit of the address space leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    sizes = lines(_groups.ROOT / "proc/self/statm")
    return limit - (int(sizes[0].split()[0]) * resource.getpagesize() if sizes else 0)


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
