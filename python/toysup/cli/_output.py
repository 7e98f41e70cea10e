"""What is printed: results on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from toysup._files.whole import reason
from toysup._text.notes import UNSAID, is_open
from toysup.errors import printable

if TYPE_CHECKING:
    from toysup import SweepResult, TrainConfig

__all__ = [
    "Interrupted",
    "ReaderGone",
    "UsageError",
    "as_json",
    "begin",
    "check_interrupt",
    "complain",
    "counts_of",
    "document",
    "end",
    "failures_of",
    "in_one_line",
    "in_words",
    "point_of",
    "report_failures",
    "say",
    "show",
]


class UsageError(Exception):
    """Bad arguments of the command line."""


class Interrupted(Exception):
    """Ctrl-C ended a sweep, which kept what was finished."""


class ReaderGone(Exception):
    """Whoever read stdout has gone away."""


# Why stdout can no longer be written to, if it cannot.
_broken: list[Exception] = []


def say(args: argparse.Namespace, text: str = "") -> None:
    """A line for a reader, unless there is to be none."""
    if not args.quiet and not args.json:
        show(text)


def document(data: object) -> None:
    """The JSON document, which is all that goes to stdout."""
    show(as_json(data))


def as_json(data: object) -> str:
    """Strict JSON: NaN is null, infinity is the text "inf", and what JSON lacks is its text."""
    from toysup.config.grid import plain

    return json.dumps(plain(data), indent=1, allow_nan=False)


def show(text: str) -> None:
    """A result on stdout, or on stderr when that can no longer be written to."""
    if not _broken and is_open(sys.stdout):
        try:
            write(sys.stdout, text)
        except BrokenPipeError:
            raise ReaderGone from None
        except UNSAID as error:
            _broken.append(error)
    if _broken:
        with contextlib.suppress(*UNSAID):
            write(sys.stderr, text)


def write(stream: Any, text: str) -> None:
    """Lines, at once."""
    stream.write(printable(text, keep="\n") + "\n")
    if hasattr(stream, "flush"):
        stream.flush()


def begin(args: argparse.Namespace) -> None:
    """Refuse what would only be printed where there is no stdout."""
    _broken.clear()
    only_prints = args.json or not (args.quiet or _writes_files(args))
    if only_prints and not is_open(sys.stdout):
        raise OSError("stdout is closed, and this command would only print")


def _writes_files(args: argparse.Namespace) -> bool:
    """Whether something is left of a command besides what it prints."""
    match args.command:
        case "train":
            return args.out is not None
        case "sweep":
            return args.store is not None and not args.dry_run
        case "reproduce":
            return not args.dry_run
        case _:
            return args.command not in ("status", "info", "list")


def end(code: int) -> int:
    """The exit code, once stdout has been flushed; says what became of stdout."""
    try:
        if is_open(sys.stdout) and hasattr(sys.stdout, "flush"):
            sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    except UNSAID as error:
        _broken.append(error)
    if not _broken:
        return code
    complain("error", f"cannot write to stdout: {reason(_broken[0])}")
    return code or 1


def complain(kind: str, text: object) -> None:
    """A line on stderr, if that can be written to."""
    with contextlib.suppress(*UNSAID):
        line = " ".join(printable(text, keep="\n\t").split())
        write(sys.stderr, f"toysup: {kind}: {line}")


def counts_of(result: SweepResult) -> dict[str, int]:
    """Number of runs of each status."""
    from toysup._sweep.result import STATUSES

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
    return printable(", ".join(f"{axis}={value}" for axis, value in where))


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
        from toysup._store.store import Store
        from toysup._sweep.sweep import so_far

        then = "; the same command continues" if store else " and lost"
        raise Interrupted(so_far(result, Store(store) if store else None) + then)
