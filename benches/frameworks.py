"""Whole trainings, side by side: toysup from the first step to the last, PyTorch and JAX along it.

    python benches/frameworks.py [--threads 1] [--cells 100:2,...] [--json F] [--plot F.png]

For each cell T:m toysup trains once with the paper's recipe, and its milliseconds per step are
those of the whole run: what can be skipped changes along it. W and b are kept at three steps, early
(100), middle and late (nine tenths), and every framework is timed from there: same examples, same
W and b, float32, same number of threads on the same cores, in a fresh process. The frameworks are
dense, so the three times hardly differ, and their mean stands for the whole run. toysup's own
columns "early", "middle" and "late" are the paces over a fiftieth of the run from there.

What is timed of a framework is its step alone, as in step.py: ``--check`` steps to warm up, then
the median of three windows of ``--seconds``. Of toysup it is everything between the first step and
the last, on the core that the frameworks have.

Check: from each start, with AdamW's moments at 0 and the rate at 1e-3, the loss after ``--check``
steps of every framework, and of toysup's listed gradients with AdamW in NumPy, has to agree with
that of a float64 reference; otherwise the row says so and the exit code is 1. "off" shows the worst
of the starts. TOLERANCES are those of the loss and of the way that W and b went, as a share of its
length. Later in a run many gradients are almost 0, and a first step of AdamW is as long for them as
for the others, so that rounding shows in single precision, whoever computes: there the loss may be
further off, and the way is shown, not judged.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contestants import CONTESTANTS
from machine import announce, command_line, cores, figure_file, pin, table_file
from problem import Job, save_start
from step import LOSS_TOLERANCE, child, obstacle, parse_cells, verdict
from whole import Plan

TOLERANCES = ((LOSS_TOLERANCE, 2e-2), (1e-4, math.inf), (1e-4, math.inf))

CELLS = "100:2,1000:2,10000:2,1000:16,10000:8,20000:16,1000:256"
FRAMEWORKS = [name for name, each in CONTESTANTS.items() if each.package != "toysup"]
WINDOWS = ("early", "middle", "late")

HEADER = (
    f"{'ms per step':24}{'early':>10}{'middle':>10}{'late':>10}{'whole run':>11}{'x toysup':>10}"
    f"{'loss off':>10}{'way off':>10}"
)


def run_cell(
    job: Job, plan: Plan, names: Sequence[str], limit: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """toysup's training of a cell, and the rows of all contestants, toysup first; print them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job.save(folder)
        plan.save(folder)
        whole = child("train", folder, job.threads, "whole.py")
        if "error" in whole:
            sys.exit(f"frameworks.py: T = {job.T}, m = {job.m}: {whole['error']}")
        print(
            f"\nT = {job.T:,}, m = {job.m}: {plan.steps:,} steps of toysup in "
            f"{whole['seconds']:.3g} s, train loss {whole['train_loss']:.7f}"
        )
        rows = [{"contestant": name, "T": job.T, "m": job.m} for name in ("toysup", *names)]
        for row in rows[1:]:
            row["note"] = obstacle(CONTESTANTS[row["contestant"]], job)
        run_starts(job, folder, rows, limit)
    rows[0] |= {"ms": whole["ms"], "windows_ms": whole["windows_ms"]}
    print(HEADER)
    for row in rows:
        finish(row, whole["ms"])
        print(line(row), flush=True)
    print(summary(rows))
    return whole, rows


def run_starts(job: Job, folder: Path, rows: list[dict[str, Any]], limit: float) -> None:
    """From each of toysup's snapshots, the steps of every row, put into ``row["answers"]``."""
    with np.load(folder / "shots.npz") as file:
        shots = list(zip(file["W"], file["b"], strict=True))
    for tolerances, (W, b) in zip(TOLERANCES, shots, strict=True):
        save_start(folder, W, b)
        goal = child("prepare", folder, job.threads)
        if "error" in goal:
            sys.exit(f"frameworks.py: no reference for T = {job.T}, m = {job.m}\n{goal['stderr']}")
        for row in rows:
            if row.get("note"):
                continue
            if row["contestant"] == "toysup":
                answer = child("gradient", folder, job.threads, "whole.py")
            else:
                answer = child(row["contestant"], folder, job.threads, limit=limit)
            row["note"] = verdict(answer, goal, *tolerances)
            row["bad"] = row["note"] is not None and not answer.get("slow", False)
            row.setdefault("answers", []).append({**answer, "goal": goal})


def finish(row: dict[str, Any], toysup_ms: float) -> None:
    """What the answers of a row come to."""
    answers = [answer for answer in row.get("answers", []) if "loss" in answer]
    if answers:
        off = [abs(a["loss"] - a["goal"]["loss"]) / a["goal"]["loss"] for a in answers]
        row["loss_off"], row["way_off"] = max(off), max(a["distance"] for a in answers)
    if "ms" not in row and len(answers) == len(WINDOWS):
        row["windows_ms"] = [answer["ms"] for answer in answers]
        row["ms"] = statistics.fmean(row["windows_ms"])
    row["ratio"] = row["ms"] / toysup_ms if "ms" in row else None


def label(name: str) -> str:
    """What a contestant is called in the table and the figure."""
    return CONTESTANTS[name].label if name in CONTESTANTS else name


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    note = f"  {row['note']}" if row.get("note") else ""
    text = f"{label(row['contestant']):24}"
    if "ms" not in row:
        return text + note
    text += "".join(f"{ms:10.4g}" for ms in row["windows_ms"])
    text += f"{row['ms']:11.4g}{row['ratio']:10.4g}"
    if "loss_off" in row:
        text += f"{row['loss_off']:10.0e}{row['way_off']:10.0e}"
    return text + note


def fastest(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the fastest framework, if any was timed."""
    timed = [row for row in rows if row["contestant"] != "toysup" and row["ratio"] is not None]
    return min(timed, key=lambda row: row["ms"], default=None)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """The line below the rows of a cell."""
    best = fastest(rows)
    if best is None:
        return "no framework was timed"
    name = label(best["contestant"])
    return f"fastest framework: {name}; toysup's whole run is {best['ratio']:.3g} x as fast"


def plot(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Milliseconds per step over the cells, a line a contestant, the ratio to the best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    cells = list(dict.fromkeys((row["T"], row["m"]) for row in rows))
    figure, axes = plt.subplots(figsize=(1.2 * len(cells) + 3.2, 4.4), layout="constrained")
    for name in dict.fromkeys(row["contestant"] for row in rows):
        timed = [row for row in rows if row["contestant"] == name and row["ratio"] is not None]
        at = [cells.index((row["T"], row["m"])) for row in timed]
        style: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1}
        if name == "toysup":
            style |= {"color": "black", "linewidth": 2, "zorder": 3}
            low, high = ([end(row["windows_ms"]) for row in timed] for end in (min, max))
            axes.vlines(at, low, high, color="0.75", linewidth=6, zorder=1, label="early to late")
        axes.plot(at, [row["ms"] for row in timed], label=label(name), **style)
    for i, cell in enumerate(cells):
        here = [row for row in rows if (row["T"], row["m"]) == cell]
        if (best := fastest(here)) is not None:
            text, below = f"{best['ratio']:.3g}×", min(here[0]["windows_ms"])
            axes.annotate(text, (i, below), (0, -8), textcoords="offset points",
                          ha="center", va="top", fontweight="bold")  # fmt: skip
    axes.set_yscale("log")
    axes.margins(x=0.5 / len(cells), y=0.14)
    axes.set_xticks(range(len(cells)), [f"T = {T:,}\nm = {m}" for T, m in cells])
    axes.set_ylabel("ms per step")
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=200)
    plt.close(figure)


def parse_frameworks(text: str) -> list[str]:
    """Names of frameworks."""
    names = text.split(",")
    if unknown := [name for name in names if name not in FRAMEWORKS]:
        raise argparse.ArgumentTypeError(
            f"unknown framework {unknown[0]!r}; choose from {', '.join(FRAMEWORKS)}"
        )
    return names


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, parsed and checked."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--threads", type=int, default=1, help="threads and cores (default 1)")
    add("--cells", type=parse_cells, default=CELLS, metavar="T:m,…", help=f"default {CELLS}")
    add("--only", type=parse_frameworks, default=",".join(FRAMEWORKS), metavar="NAME,…",
        help=f"default {','.join(FRAMEWORKS)}")  # fmt: skip
    add("--steps", type=int, default=50_000, help="of toysup's training (default 50000)")
    add("--n", type=int, default=10_000, help="features (default 10000)")
    add("--sparsity", type=float, default=0.999, help="S (default 0.999)")
    add("--seed", type=int, default=0, help="dataset seed (default 0)")
    add("--check", type=int, default=10, help="steps before losses are compared (default 10)")
    add("--seconds", type=float, default=1.0, help="length of a timed window (default 1)")
    add("--limit", type=float, default=600.0,
        help="seconds that a framework may take from one start (default 600)")  # fmt: skip
    add("--json", type=table_file, metavar="FILE", help="also write everything to FILE")
    add("--plot", type=figure_file, metavar="FILE", help="also draw the table to FILE")
    args = parser.parse_args(argv)
    if not 1 <= args.threads <= len(cores()):
        parser.error(f"--threads must be between 1 and {len(cores())}, got {args.threads}")
    if args.steps < 100 or args.check < 1 or not min(args.seconds, args.limit) > 0:
        parser.error("--steps must be at least 100, --check, --seconds and --limit positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 0 if every contestant that took part gave the same losses, else 1."""
    args = arguments(argv)
    about = announce(["toysup", "numpy", "torch", "jax", "jaxlib"], args.threads)
    about["tolerances"] = dict(zip(WINDOWS, map(str, TOLERANCES), strict=True))
    plan = Plan.of(args.steps)
    print(f"{'data':10} n = {args.n:,}, S = {args.sparsity}; windows from steps {plan.starts}")
    pin(args.threads)  # the children inherit it
    rows: list[dict[str, Any]] = []
    wholes: list[dict[str, Any]] = []
    for T, m in args.cells:
        job = Job(
            **{"T": T, "m": m, "n": args.n, "sparsity": args.sparsity, "seed": args.seed},
            **{"threads": args.threads, "check": args.check},
            **{"windows": 3, "seconds": args.seconds},
        )
        whole, here = run_cell(job, plan, args.only, args.limit)
        rows += here
        wholes.append({"T": T, "m": m, **whole})
        if args.json:  # after each cell: a long table may be interrupted
            result = {**about, "steps": args.steps, "whole": wholes, "rows": rows}
            text = json.dumps(result, indent=1)
            args.json.write_text(text + "\n", encoding="utf-8")
        if args.plot:
            title = f"{about['machine']['cpu']}, {args.threads} thread(s), {args.steps:,} steps"
            plot(rows, args.plot, title)
    print(f"\n{'T':>8}{'m':>6}{'toysup ms':>11}{'fastest framework':>26}{'ms':>10}{'ratio':>9}")
    ratios = []
    for cell in dict.fromkeys((row["T"], row["m"]) for row in rows):
        here = [row for row in rows if (row["T"], row["m"]) == cell]
        if (best := fastest(here)) is not None:
            ratios.append(best["ratio"])
            name = label(best["contestant"])
            print(f"{cell[0]:8,}{cell[1]:6}{here[0]['ms']:11.4g}{name:>26}{best['ms']:10.4g}"
                  f"{best['ratio']:9.3g}")  # fmt: skip
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"geometric mean of the ratios: {mean:.3g}")
    bad = [row for row in rows if row.get("bad")]
    for row in bad:
        name = label(row["contestant"])
        print(f"T = {row['T']}, m = {row['m']}, {name}: {row['note']}", file=sys.stderr)
        print(row["answers"][-1].get("stderr", ""), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
