"""What is printed: results on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toysup import SweepResult, TrainConfig

__all__ = [
    "Interrupted",
    "UsageError",
    "check_interrupt",
    "complain",
    "counts_of",
    "document",
    "failures_of",
    "in_one_line",
    "in_words",
    "point_of",
    "report_failures",
    "say",
]


class UsageError(Exception):
    """Bad arguments of the command line."""


class Interrupted(Exception):
    """Ctrl-C ended a sweep, which kept what was finished."""


def say(args: argparse.Namespace, text: str = "") -> None:
    """A line for a reader, unless there is to be none."""
    if not args.quiet and not args.json:
        print(text, flush=True)


def document(data: object) -> None:
    """The JSON document, which is all that goes to stdout."""
    from toysup._grid import plain

    print(json.dumps(plain(data), indent=1, allow_nan=False))


def complain(kind: str, text: object) -> None:
    print(f"toysup: {kind}: {' '.join(str(text).split())}", file=sys.stderr, flush=True)


def counts_of(result: SweepResult) -> dict[str, int]:
    """Number of runs of each status."""
    from toysup._result import STATUSES

    counts = Counter(result.statuses)
    return {status: counts[status] for status in STATUSES}


def in_words(counts: dict[str, int]) -> str:
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{sum(counts.values())} runs: {found}"


def failures_of(result: SweepResult) -> list[dict[str, Any]]:
    """Where runs failed or diverged, and why."""
    return [{**point_of(result, config), "reason": reason} for config, reason in result.failed]


def point_of(result: SweepResult, config: TrainConfig) -> dict[str, Any]:
    """Where on the axes a run is."""
    return {axis: getattr(config, axis) for axis in result.dims or ("T", "m", "seed")}


def in_one_line(where: Iterable[tuple[str, Any]]) -> str:
    """Such a place in words."""
    return ", ".join(f"{axis}={value}" for axis, value in where)


def report_failures(result: SweepResult) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    counts, failures = counts_of(result), failures_of(result)
    if not failures:
        return 0
    *where, (_, reason) = failures[0].items()
    bad = {status: counts[status] for status in ("failed", "diverged", "damaged")}
    text = f"of {in_words(counts)}; the first of these, at {in_one_line(where)}: {reason}"
    complain("error" if bad["failed"] else "note", text)
    return 1 if bad["failed"] else 0


def check_interrupt(result: SweepResult, store: str | os.PathLike[str] | None) -> None:
    if result.interrupted:
        from toysup._sweep import so_far
        from toysup.store import Store

        then = "; the same command continues" if store else " and lost"
        raise Interrupted(so_far(result, Store(store) if store else None) + then)
