"""One full-batch AdamW step, side by side: toysup, PyTorch and JAX.

    python benches/step.py [--threads 1] [--cells 100:2,1000:2,...] [--only native,jax] [--json F]

For each cell T:m it prints milliseconds per step, the ratio to toysup's native backend and the
peak of memory. All contestants have the same examples (``toysup.data.sample``), the same first
weights, the same hyper-parameters (AdamW, learning rate 1e-3 throughout, betas 0.9 and 0.999,
eps 1e-8, weight decay 1e-2 on W and b, mean loss), float32, and the same number of threads on the
same cores.

Each runs in a fresh process of its own, and the peak is the largest resident set of that process,
the framework included; "- import" is what comes on top of importing it.

Time: the first ``--check`` steps warm up; then come ``--windows`` windows of ``--seconds`` each,
and the median counts. Above 20 s a step two steps are timed. For toysup, ``run.seconds`` of
``toysup.train`` for ``--check`` steps is subtracted from that for more steps, so set-up drops out.
The steps timed are the first ones of a training, "steps" of them in a window; PyTorch and JAX take
the same time all along, toysup does not: what it can skip changes as the training goes on.

Check: after ``--check`` steps the training loss of every contestant (its own arithmetic, the
paper's unit) has to agree with a float64 reference within LOSS_TOLERANCE of the loss, and the way
that W and b went with the reference's within WAY_TOLERANCE of its length. Otherwise the row says
so, and the script ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, Contestant
from machine import (
    announce,
    available_memory,
    command_line,
    compiler,
    cores,
    pin,
    table_file,
    versions,
)
from problem import Job

LOSS_TOLERANCE = 2e-6
WAY_TOLERANCE = 1e-3

CELLS = "100:2,1000:2,10000:2,100:16,1000:16,10000:16"
_HERE = Path(__file__).resolve().parent


def environment(contestant: Contestant | None, threads: int, folder: Path) -> dict[str, str]:
    """Environment of a child: ``threads`` threads everywhere, BLAS and malloc as shipped."""
    own = ("OPENBLAS_", "MALLOC_", "JAX_", "TOYSUP_BACKEND")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} "
        f"intra_op_parallelism_threads={threads}"
    )
    env["JAX_PLATFORMS"] = "cpu"
    env["CUDA_VISIBLE_DEVICES"] = ""
    env["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    return env | dict(contestant.env if contestant else {})


def child(
    name: str,
    folder: Path,
    threads: int,
    script: str = "contestants.py",
    limit: float | None = None,
) -> dict[str, Any]:
    """Run ``SCRIPT NAME`` in a fresh process, at most ``limit`` s; its answer, or {"error": …}."""
    command = [sys.executable, str(_HERE / script), name, str(folder)]
    env = environment(CONTESTANTS.get(name), threads, folder)
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {limit:g} s", "stderr": "", "slow": True}
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return answer
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*", done.stderr, re.MULTILINE)
    error = errors[-1] if errors else f"exit code {done.returncode}"
    return {"error": error, "stderr": done.stderr}


def obstacle(contestant: Contestant, job: Job) -> str | None:
    """Why a contestant cannot take part here, if so."""
    if versions([contestant.package])[contestant.package] is None:
        return "not installed"
    if contestant.compiler and compiler() is None:
        return "no C++ compiler"
    need = 4.0 * contestant.arrays * job.T * job.n
    if need > available_memory():
        return f"left out: needs about {need / 1e9:.0f} GB"
    return None


def verdict(
    answer: dict[str, Any],
    goal: dict[str, Any],
    loss: float = LOSS_TOLERANCE,
    way: float = WAY_TOLERANCE,
) -> str | None:
    """What is wrong with an answer, if anything; ``loss`` and ``way`` are tolerances."""
    if "error" in answer:
        return f"failed: {answer['error']}"
    off = abs(answer["loss"] - goal["loss"]) / goal["loss"]
    if not off <= loss:
        return f"LOSS DIFFERS by {off:.1e} of it"
    if not answer["distance"] <= way:
        return f"WEIGHTS DIFFER by {answer['distance']:.1e} of the way"
    return None


def run_cell(job: Job, names: Sequence[str]) -> list[dict[str, Any]]:
    """One block of the table: print it row by row; the rows."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job.save(folder)
        goal = child("prepare", folder, job.threads)
        if "error" in goal:
            sys.exit(f"step.py: no data for T = {job.T}, m = {job.m}\n{goal['stderr']}")
        print(
            f"\nT = {job.T:,}, m = {job.m}, {goal['nonzeros']:,} non-zeros; reference loss: "
            f"{goal['start_loss']:.7f}, after {job.check} steps {goal['loss']:.7f}"
        )
        print(HEADER)
        rows: list[dict[str, Any]] = []
        for name in names:
            row: dict[str, Any] = {"contestant": name, "T": job.T, "m": job.m, "goal": goal}
            row["note"] = obstacle(CONTESTANTS[name], job)
            row["bad"] = False
            if row["note"] is None:
                row |= child(name, folder, job.threads)
                row["note"] = verdict(row, goal)
                row["bad"] = row["note"] is not None
            rows.append(row)
            native = next((r.get("ms") for r in rows if r["contestant"] == "native"), None)
            row["ratio"] = row["ms"] / native if native and "ms" in row else None
            print(line(row), flush=True)
    return rows


HEADER = (
    f"{'':24}{'ms/step':>10}{'x native':>10}{'peak MB':>10}{'- import':>10}"
    f"{'loss':>12}{'way off':>10}{'steps':>9}"
)


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    label = CONTESTANTS[row["contestant"]].label
    if (isa := row.get("provenance", {}).get("isa", "numpy")) != "numpy":
        label += f", {isa}"
    label = f"{label:24}"
    if "ms" not in row:
        return f"{label}  {row['note']}"
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3g}"
    peak, above = row["peak_bytes"] / 1e6, (row["peak_bytes"] - row["import_bytes"]) / 1e6
    note = f"  {row['note']}" if row["note"] else ""
    return (
        f"{label}{row['ms']:10.4g}{ratio:>10}{peak:10.0f}{above:10.0f}"
        f"{row['loss']:12.7f}{row['distance']:10.0e}{row['steps']:9,}{note}"
    )


def parse_cells(text: str) -> list[tuple[int, int]]:
    """``"100:2,1000:2"`` as [(100, 2), (1000, 2)]."""
    cells = []
    for cell in text.split(","):
        T, _, m = cell.partition(":")
        if not (T.isdecimal() and m.isdecimal() and int(T) and int(m)):
            raise argparse.ArgumentTypeError(f"a cell is T:m, such as 1000:2, got {cell!r}")
        cells.append((int(T), int(m)))
    return cells


def parse_names(text: str) -> list[str]:
    """Names of contestants, native first, since the others are compared with it."""
    names = text.split(",")
    if unknown := [name for name in names if name not in CONTESTANTS]:
        raise argparse.ArgumentTypeError(
            f"unknown contestant {unknown[0]!r}; choose from {', '.join(CONTESTANTS)}"
        )
    return [name for name in CONTESTANTS if name in names]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, parsed and checked."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--threads", type=int, default=1, help="threads and cores (default 1)")
    add("--cells", type=parse_cells, default=CELLS, metavar="T:m,…", help=f"default {CELLS}")
    add("--only", type=parse_names, default=",".join(CONTESTANTS), metavar="NAME,…",
        help=f"default {','.join(CONTESTANTS)}")  # fmt: skip
    add("--n", type=int, default=10_000, help="features (default 10000)")
    add("--sparsity", type=float, default=0.999, help="S (default 0.999)")
    add("--seed", type=int, default=0, help="dataset seed (default 0)")
    add("--check", type=int, default=10, help="steps before losses are compared (default 10)")
    add("--windows", type=int, default=5, help="timed windows (default 5)")
    add("--seconds", type=float, default=1.0, help="length of a window (default 1)")
    add("--json", type=table_file, metavar="FILE", help="also write everything to FILE")
    args = parser.parse_args(argv)
    if not 1 <= args.threads <= len(cores()):
        parser.error(f"--threads must be between 1 and {len(cores())}, got {args.threads}")
    if min(args.check, args.windows) < 1 or not args.seconds > 0:
        parser.error("--check, --windows and --seconds must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 if every contestant that took part gave the same losses, else 1."""
    args = arguments(argv)
    about = announce(["toysup", "numpy", "torch", "jax", "jaxlib"], args.threads)
    about["tolerance"] = {"loss": LOSS_TOLERANCE, "way": WAY_TOLERANCE}
    print(f"{'data':10} n = {args.n:,}, S = {args.sparsity}")
    pin(args.threads)  # the children inherit it
    rows: list[dict[str, Any]] = []
    for T, m in args.cells:
        job = Job(
            **{"T": T, "m": m, "n": args.n, "sparsity": args.sparsity, "seed": args.seed},
            **{"threads": args.threads, "check": args.check},
            **{"windows": args.windows, "seconds": args.seconds},
        )
        rows += run_cell(job, args.only)
        if args.json:  # after each cell: a long table may be interrupted
            text = json.dumps({**about, "rows": rows}, indent=1)
            args.json.write_text(text + "\n", encoding="utf-8")
    bad = [row for row in rows if row["bad"]]
    for row in bad:
        label = CONTESTANTS[row["contestant"]].label
        print(f"T = {row['T']}, m = {row['m']}, {label}: {row['note']}", file=sys.stderr)
        print(row.get("stderr", ""), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
