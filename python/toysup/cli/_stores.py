"""``toysup status``, ``merge`` and ``export``: what is in stores."""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toysup._files.paths import as_path
from toysup._text.units import duration
from toysup._version import __version__
from toysup.cli._output import (
    counts_of,
    document,
    failures_of,
    in_one_line,
    in_words,
    point_of,
    report_failures,
    say,
)
from toysup.errors import printable

if TYPE_CHECKING:
    from toysup import SweepResult

__all__ = ["export", "merge", "status", "stores_in"]

# Lines on states, of which there are few unless many sweeps were stopped.
_MANY = 20


def stores_in(folder: Path) -> list[Path]:
    """The folder if it is a store, or else the stores just below it, or in its folder "store"."""
    if (folder / "sweep.json").exists() or not folder.is_dir():
        return [folder]
    found = [*folder.glob("*/sweep.json"), *folder.glob("store/*/sweep.json")]
    return sorted(path.parent for path in found) or [folder]


def status(args: argparse.Namespace) -> int:
    """How far the sweeps in a folder are."""
    from toysup import open_sweep
    from toysup._store.pulse import running
    from toysup._sweep.result import STATUSES

    documents = []
    for store in stores_in(as_path("DIR", args.directory)):
        result = open_sweep(store)
        counts, cells = counts_of(result), _by_T_and_m(result)
        documents.append(
            {
                "store": str(store),
                "axes": result.coords,
                "data": _data(result, store),
                "counts": counts,
                "seconds": float(result.dataset["seconds"].sum()),
                "cells": [
                    {"T": T, "m": m, **{status: count[status] for status in STATUSES}}
                    for (T, m), count in cells.items()
                ],
                "failures": failures_of(result),
                "kept": _checkpoints(result, store),
                "running": running(store / "running"),
            }
        )
        say(args, ("\n" if len(documents) > 1 else "") + _status_text(documents[-1], cells))
    if args.json:
        document({"toysup": __version__, "stores": documents})
    return 0


def _by_T_and_m(result: SweepResult) -> dict[tuple[float, int], Counter[str]]:
    """Counts of each status for every T and m."""
    cells: dict[tuple[float, int], Counter[str]] = {}
    for config, kind in zip(result.configs, result.statuses, strict=True):
        cells.setdefault((config.T, config.m), Counter())[kind] += 1
    return dict(sorted(cells.items()))


def _data(result: SweepResult, store: Path) -> dict[str, Any] | None:
    """The data set of all runs, if there is one, and whether its file is there."""
    from toysup._store.store import Store

    ref = result.configs[0].data
    if ref is None:
        return None
    is_kept = Store(store).data_file(ref).exists()
    return {"digest": ref.digest, "rows": ref.rows, "n": ref.n, "kept": is_kept}


def _checkpoints(result: SweepResult, store: Path) -> list[dict[str, Any]]:
    """How far the runs are that are not finished and have kept their state."""
    from toysup._store.store import Store

    runs = zip(result.configs, result.statuses, strict=True)
    left = [config for config, status in runs if status not in ("ok", "diverged")]
    return [
        {
            **point_of(result, one.config),
            "step": one.step,
            "steps": one.config.steps,
            "made_by": one.maker,
        }
        for one in Store(store).checkpoints(left)
    ]


def _checkpoints_text(found: Sequence[dict[str, Any]]) -> list[str]:
    """Lines on the states that are kept."""
    makers = {state["made_by"] for state in found}
    lines = []
    for state in found[:_MANY]:
        where = [(k, v) for k, v in state.items() if k not in ("step", "steps", "made_by")]
        place = f"{in_one_line(where)}: " if where else ""  # steps may be the only axis
        by = f", made by {state['made_by']}" if len(makers) > 1 else ""
        lines.append(f"  {place}step {state['step']:,} of {state['steps']:,}{by}")
    more = [f"  and {len(found) - _MANY} more"] if len(found) > _MANY else []
    return ["under way, with their state kept:", *lines, *more] if found else []


def _status_text(document: dict[str, Any], cells: dict[tuple[float, int], Counter[str]]) -> str:
    from toysup._sweep.table import align

    def show(count: Counter[str] | None) -> str:
        if count is None:
            return ""
        bad = [f"{count[kind]} {kind}" for kind in ("diverged", "failed", "damaged") if count[kind]]
        return " ".join([f"{count['ok']}/{count.total()}", *bad])

    sizes = {m for _, m in cells}
    lines = [["T", *(f"m={m}" for m in sorted(sizes))]]
    for T in dict.fromkeys(T for T, _ in cells):
        lines.append([str(T), *(show(cells.get((T, m))) for m in sorted(sizes))])
    work = f"{duration(document['seconds'])} of work"
    head = f"{printable(document['store'])}: {in_words(document['counts'])}; {work}"
    reasons = []
    for failure in document["failures"]:
        *where, (_, reason) = failure.items()
        reasons.append(f"{in_one_line(where)}: {reason}")
    data = document["data"]
    if data is not None:
        where = "" if data["kept"] else ", which is not in the store"
        head += f"\ndata set {data['digest'][:12]}: {data['rows']:,} x {data['n']:,}{where}"
    table = [head, "finished / all, over the other axes:", "", align(lines), *reasons]
    running = map(_running_text, document["running"])
    return "\n".join([*table, *_checkpoints_text(document["kept"]), *running])


def _running_text(sweep: dict[str, Any]) -> str:
    """How far a sweep is that is at work."""
    from toysup._store.pulse import LATE

    left = sweep["seconds_left"]
    end = "" if left is None or not math.isfinite(left) else f", about {duration(left)} left"
    bad = "".join(f", {sweep[k]} {k}" for k in ("failed", "diverged") if sweep[k])
    bad += f", {sweep['elsewhere']} elsewhere" if sweep["elsewhere"] else ""
    age = max(0.0, time.time() - sweep["began"])
    late = f"; not heard of for {duration(sweep['heard'])}" if sweep["heard"] > LATE else ""
    lines = [
        f"at work: {sweep['host']}, process {sweep['pid']}, for {duration(age)}: "
        f"{sweep['done']} of {sweep['runs']} runs{bad}, "
        f"{100 * sweep['share']:.0f} %{end}{late}"
    ]
    lines += [
        f"  T={run['T']} m={run['m']} seed={run['seed']}: step {run['step']:,} of {run['steps']:,}"
        for run in sweep["running"]
    ]
    return "\n".join(lines)


def merge(args: argparse.Namespace) -> int:
    """Bring stores together."""
    import toysup

    args.resume = "the same command continues"
    result = toysup.merge(args.out, args.stores)
    if args.json:
        found = {"store": args.out, "axes": result.coords, "counts": counts_of(result)}
        document({"toysup": __version__, **found})
    say(args, f"{args.out}: {in_words(counts_of(result))}")
    return report_failures(result)


def export(args: argparse.Namespace) -> int:
    """Write the table of a store."""
    from toysup import open_sweep
    from toysup._sweep.export import check_export

    out = as_path("--out", args.out)
    check_export(out)
    result = open_sweep(args.directory)
    result.export(out)
    say(args, f"{out}: {in_words(counts_of(result))}")
    return 0
