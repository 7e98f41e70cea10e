"""``toysup train``, ``toysup sweep``, ``toysup reproduce`` and ``toysup check``."""

from __future__ import annotations

import argparse
import math
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toysup._files.paths import as_path, check_file, with_npz
from toysup._text.units import duration
from toysup._version import __version__
from toysup.cli._fields import given_fields, one_value_fields, parse_field
from toysup.cli._output import (
    as_json,
    check_interrupt,
    counts_of,
    document,
    failures_of,
    in_words,
    report_failures,
    say,
    show,
)
from toysup.errors import unknown

if TYPE_CHECKING:
    from toysup import Run, SweepResult
    from toysup.paper import Reproduction
    from toysup.regime import Regime

__all__ = ["check", "reproduce", "sweep", "train"]

# Losses that differ by less agree: a model of zeros has a loss of about 1.
_AGREE = 1e-3


def train(args: argparse.Namespace) -> int:
    """Train one model, and say what it stores."""
    import toysup
    from toysup import regime

    config = toysup.TrainConfig.from_fields(one_value_fields(args))
    out = None if args.out is None else with_npz(as_path("--out", args.out))
    if out is not None:
        check_file(out)
    if args.checkpoint is not None:
        args.resume = "the same command continues"
    run = toysup.train(
        config,
        n_jobs=args.n_jobs,
        checkpoint=args.checkpoint,
        progress=False if args.quiet else None,
    )
    if out is not None:
        run.save(out)
        args.resume = f"the run is in {out}"
    is_asked = args.classes and (args.json or not args.quiet)
    stored = regime.classify(run) if is_asked and run.status == "ok" else None
    if args.json:
        document(_trained(run, stored, out))
    say(args, _trained_text(run, stored, out))
    return 0


def _trained(run: Run, stored: Regime | None, out: Path | None) -> dict[str, Any]:
    """What ``train --json`` prints."""
    return {
        "toysup": __version__,
        "config": run.config.to_dict(),
        **run.summary(),
        "stored": None if stored is None else stored.summary(),
        "out": None if out is None else str(out),
    }


def _trained_text(run: Run, stored: Regime | None, out: Path | None) -> str:
    """What ``train`` prints."""
    c = run.config
    return "\n".join(
        [
            f"T={c.T}, m={c.m}, n={c.n}, seed={c.seed}: {run.status}, {run.steps_done:,} steps in "
            f"{duration(run.seconds)}",
            f"train loss {run.train_loss:.6g}, test loss {run.test_loss:.6g}",
            *([] if stored is None else [repr(stored)]),
            "not saved: --out FILE saves it" if out is None else f"saved in {out}",
        ]
    )


def reproduce(args: argparse.Namespace) -> int:
    """Carry out presets one after the other; results are printed as they come."""
    from toysup import backend_name, paper

    began = time.perf_counter()
    if args.scale not in paper.SCALES:
        raise ValueError(unknown("scale", args.scale, paper.SCALES))
    figures = list(dict.fromkeys(args.figures)) or list(paper.DEFAULT[args.scale])
    changes: dict[str, Any] = {"seeds": args.seeds, "steps": args.steps, "T": None}
    if args.T is not None:
        T = parse_field("T", args.T)
        changes["T"] = T if isinstance(T, list) else [T]
    for name in figures:  # all of them are checked before any is trained
        paper.get(name).fields(args.scale, **changes)
    out = as_path("--out", args.out or f"toysup-{figures[0]}-{args.scale}")
    if args.dry_run:
        return _plan_presets(args, figures, out, changes)
    args.resume = "the same command continues"
    say(
        args,
        f"toysup {__version__} ({backend_name()}): {' and '.join(figures)} at the {args.scale} "
        f"scale, into {out}",
    )
    takes = {"small": "one or two minutes on two processors", "paper": "hours"}[args.scale]
    say(args, f"This takes {takes}. Ctrl-C is safe: the same command continues.")
    done: list[Reproduction] = []
    try:
        for name in figures:
            done.append(_reproduce_one(args, name, out, changes))
            for store, result in done[-1].results.items():
                check_interrupt(result, done[-1].folder / store)
    finally:
        if args.json and done:
            document(_reproduced(args, out, done, time.perf_counter() - began))
    say(args)
    for made in done:
        say(args, textwrap.fill(made.text, 100))
    names = ", ".join(path.name for made in done for path in made.files)
    say(args, f"\nWrote to {out}: {names}; every run is in {out / 'store'}.")
    say(args, f"Wall time {time.perf_counter() - began:.0f} s.")
    return max(report_failures(result) for made in done for result in made.results.values())


def _plan_presets(
    args: argparse.Namespace, figures: Iterable[str], out: Path, changes: dict[str, Any]
) -> int:
    """Say what presets would train, and what each takes."""
    from toysup import paper

    plans = []
    for name in figures:
        plans.append(paper.plan(name, args.scale, out, n_jobs=args.n_jobs, **changes))
        say(args, f"{plans[-1]!r}\n")
    if args.json:
        found = [plan.to_dict() for plan in plans]
        document({"toysup": __version__, "out": str(out), "figures": found})
    return 0 if all(plan.fits for plan in plans) else 1


def _reproduce_one(
    args: argparse.Namespace, name: str, out: Path, changes: dict[str, Any]
) -> Reproduction:
    from toysup import paper

    preset = paper.get(name)
    kept = sum(
        (out / "store" / part / "runs" / f"{config.key()}.npz").exists()
        for part, grid in preset.grids(args.scale, **changes).items()
        for config in grid.configs().values()
    )
    known = f", {kept} runs are in the store already" if kept else ""
    say(args, f"\n{name}: {preset.title}: {preset.size(args.scale, **changes)} runs{known}")
    made = paper.reproduce(
        name,
        args.scale,
        out,
        **changes,
        n_jobs=args.n_jobs,
        progress=False if args.quiet else None,
        on_interrupt="return",
    )
    for table in made.tables:
        say(args, f"\n{table.text()}")
    if not made.interrupted:
        say(args, f"\n{name} took {made.seconds:.1f} s")
    return made


def _reproduced(
    args: argparse.Namespace, out: Path, done: list[Reproduction], seconds: float
) -> dict[str, Any]:
    """What ``reproduce --json`` prints."""
    from toysup import backend_name

    return {
        "toysup": __version__,
        "backend": backend_name(),
        "scale": args.scale,
        "out": str(out),
        "interrupted": any(made.interrupted for made in done),
        "seconds": seconds,
        "figures": [
            {
                "name": made.preset.name,
                "runs": _total(made.results.values()),
                "stores": {part: str(made.folder / part) for part in made.results},
                "seconds": made.seconds,
                "tables": {table.name: table.records() for table in made.tables},
                "files": [str(path) for path in made.files],
            }
            for made in done
        ],
    }


def _total(results: Iterable[SweepResult]) -> dict[str, int]:
    """Number of runs of each status in all of them."""
    counts = [counts_of(result) for result in results]
    return {status: sum(count[status] for count in counts) for status in counts[0]}


def sweep(args: argparse.Namespace) -> int:
    """Train a grid and print a line for each run, or say what it would take."""
    import toysup

    fields = given_fields(args)
    where = {"store": args.store, "n_jobs": args.n_jobs, "shard": args.shard, "retry": args.retry}
    if args.dry_run:
        plan = toysup.plan(**where, **fields)
        if args.json:
            document({"toysup": __version__, "fields": fields, **plan.to_dict()})
        say(args, str(plan))
        return 0 if plan.fits else 1
    if args.store:
        args.resume = "the same command continues"
    is_printed = args.json or not args.quiet
    if is_printed:
        _rehearse(args, fields)
    try:
        result = toysup.sweep(
            **where,
            progress=False if args.quiet else None,
            on_error=args.on_error,
            on_interrupt="return",
            checkpoint_every=args.checkpoint_every,
            **fields,
        )
    except toysup.RunFailedError as error:
        if args.on_error == "raise":
            raise
        result = error.result  # all runs failed, which is reported as if only some had
    if is_printed:
        show(_report(args, result, fields))
    check_interrupt(result, args.store)
    return report_failures(result)


def _report(args: argparse.Namespace, result: SweepResult, fields: dict[str, Any]) -> str:
    """What is printed of a sweep."""
    from toysup._sweep.table import runs_table

    table, counts = runs_table(result), counts_of(result)
    if args.json:
        found = {
            "toysup": __version__,
            "store": args.store,
            "shard": args.shard,
            "interrupted": result.interrupted,
            "fields": fields,
            "axes": result.coords,
            "counts": counts,
            "runs": table.records(),
            "failures": failures_of(result),
        }
        return as_json(found)
    kept = f"; kept in {args.store}" if args.store else "; not saved: --store DIR saves them"
    return f"{table.text()}\n\n{in_words(counts)}{kept}"


def _rehearse(args: argparse.Namespace, fields: dict[str, Any]) -> None:
    """Make the report of a sweep of which nothing is done, rather than fail after hours."""
    from toysup._sweep.result import Cell, SweepResult
    from toysup.config.grid import Grid

    grid = Grid.make(None, fields).corner()
    cells = {index: Cell(config) for index, config in grid.configs().items()}
    _report(args, SweepResult(grid, cells), fields)


def check(args: argparse.Namespace) -> int:
    """Train recorded runs again; fails if a loss is not what is recorded."""
    from toysup import paper
    from toysup.paper._again import draw

    names = list(dict.fromkeys(args.tables)) or ["figure3"]
    for name in names:  # all of them are checked before any is trained
        draw(name, args.runs, args.draw, args.longest)
    tables: dict[str, Any] = {}
    apart = 0.0
    for name in names:
        table = paper.train_again(
            name,
            args.runs,
            seed=args.draw,
            longest=args.longest,
            n_jobs=args.n_jobs,
            progress=False if args.quiet else None,
        )
        say(args, f"{table.text()}\n")
        tables[name] = table.records()
        losses = [row for row in tables[name] if row["variable"].endswith("_loss")]
        apart = max(apart, *(_apart(row["recorded"], row["found"]) for row in losses))
    if args.json:
        document({"toysup": __version__, "largest_difference_of_losses": apart, "tables": tables})
    say(args, f"Recorded and found losses differ by at most {apart:.2g}.")
    return 0 if apart < _AGREE else 1


def _apart(recorded: float, found: float | None) -> float:
    """By how much two losses differ; what is not a number differs from all."""
    return math.inf if found is None else abs(recorded - found)
