"""How toysup's time a step grows with T, n, m and threads, beside the least it can take.

    python benches/scaling.py [--steps 2000] [--only T,m] [--json F] [--plot F.png]

From the cell T = 1,000, n = 10,000, m = 2, one thread, one of the four is varied at a time; where
threads are, T = 100,000, since less is not shared out. Each point is a training with the paper's
recipe in ``--steps`` steps, the schedule compressed into them, looked at from inside
(``toysup._native.trace``): the time is the median over the last quarter. The training sets of all n
have about ten non-zeros an example (S = 1 - 10 / n).

Floor: what is left when no pair has to be visited: reading the non-zeros to make h, spreading the
gradient over them, asking of every feature whether it is dead, and the optimizer's pass over the
parameters. It is measured with the same examples, sizes and threads in a run whose weight decay
takes W and b to 0 in every step (rate x decay = 1), so that only what AdamW adds is left of them:
after some steps every feature has one sign for all examples, and only looks without an active
feature count; of their times the shortest. Whatever the pairs cost is on top of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from machine import announce, command_line, cores, figure_file, table_file

BASE = {"T": 1000, "n": 10_000, "m": 2, "threads": 1}
# Largest values last: a table that is interrupted has the rest.
VALUES = {
    "T": (100, 1000, 10_000, 100_000, 500_000),
    "n": (1000, 3000, 10_000, 30_000, 100_000),
    "m": (1, 2, 3, 4, 8, 16, 64, 256),
    "threads": (1, 2, 4, 8, 16, 32),
}
THREADS_T = 100_000
# Looks at the training, and steps of the run that the floor is taken from.
LOOKS = 40
FLOOR_STEPS = 60

HEADER = (
    f"{'T':>9}{'n':>9}{'m':>5}{'threads':>9}{'ms/step':>10}{'floor':>10}{'x floor':>9}"
    f"{'ns/pair':>10}{'lists':>7}{'entries':>12}"
)


def trace(cell: dict[str, int], every: int, kernel: str | None, **fields: Any) -> Any:
    """Arrays of ``toysup._native.trace`` for a cell, looked at every ``every`` steps."""
    import toysup
    from toysup import _native
    from toysup._backends import native

    config = toysup.TrainConfig(
        **{"T": cell["T"], "n": cell["n"], "m": cell["m"]},
        **{"sparsity": 1 - 10 / cell["n"], "test_size": 0, "record": 1, **fields},
    )
    return _native.trace(native._job(config), every, False, kernel, cell["threads"])


def gaps(looks: Any) -> Any:
    """Milliseconds a step between a look and the next."""
    return 1e3 * np.diff(looks["seconds"]) / np.diff(looks["step"])


def late(cell: dict[str, int], steps: int) -> dict[str, Any]:
    """The pace in the last quarter of a training."""
    looks = trace(cell, max(1, steps // LOOKS), None, steps=steps)
    pace = gaps(looks)
    last = pace[-max(1, len(pace) // 4) :]
    return {
        "ms": float(statistics.median(last)),
        "lists": bool(looks["lists"][-1]),
        "entries": int(looks["entries"][-1]),
    }


def floor(cell: dict[str, int]) -> float | None:
    """Milliseconds a step of a run that visits no pairs; None if there was no such step."""
    rate = 0.1
    looks = trace(
        cell, 5, "dense", steps=FLOOR_STEPS, warmup=0.0, schedule="constant",
        learning_rate=rate, weight_decay=1 / rate,
    )  # fmt: skip
    active = looks["active"]
    still = (active[1:] == 0) & (active[:-1] == 0)
    pace = gaps(looks)[still]
    return float(pace.min()) if len(pace) else None


def cell_of(axis: str, value: int) -> dict[str, int]:
    """The cell where ``axis`` has that value."""
    large = {"T": THREADS_T} if axis == "threads" else {}
    return {**BASE, **large, axis: value}


def run_point(axis: str, cell: dict[str, int], steps: int) -> dict[str, Any]:
    """A point of the table."""
    row: dict[str, Any] = {"axis": axis, **cell, **late(cell, steps), "floor": floor(cell)}
    row["ns_per_pair"] = 1e6 * row["ms"] / (cell["T"] * cell["n"])
    return row


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    ratio = "–" if row["floor"] is None else f"{row['ms'] / row['floor']:.3g}"
    least = "–" if row["floor"] is None else f"{row['floor']:.4g}"
    return (
        f"{row['T']:9,}{row['n']:9,}{row['m']:5}{row['threads']:9}{row['ms']:10.4g}{least:>10}"
        f"{ratio:>9}{row['ns_per_pair']:10.3g}{'yes' if row['lists'] else 'no':>7}"
        f"{row['entries']:12,}"
    )


def plot(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """A panel an axis: milliseconds per step, and the floor."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row["axis"] for row in rows))
    size = (3.1 * len(names) + 0.4, 3.4)
    figure, panels = plt.subplots(
        1, len(names), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axes, name in zip(panels[0], names, strict=True):
        here = [row for row in rows if row["axis"] == name]
        at = [row[name] for row in here]
        axes.loglog(at, [row["ms"] for row in here], "o-", color="black", label="toysup")
        least = [row["floor"] or float("nan") for row in here]
        axes.loglog(at, least, "s--", color="tab:blue", markersize=4, label="floor")
        rest = ((key, here[0][key]) for key in BASE if key != name)
        axes.set_title(", ".join(f"{key} = {value:,}" for key, value in rest), fontsize="small")
        axes.set_xlabel(name)
        if name in ("m", "threads"):
            axes.set_xscale("log", base=2)
            axes.set_xticks(at, [str(value) for value in at])
            axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9")
    panels[0][0].set_ylabel("ms per step")
    panels[0][0].legend(frameon=False)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=200)
    plt.close(figure)


def parse_axes(text: str) -> list[str]:
    """Names of what is varied."""
    names = text.split(",")
    if unknown := [name for name in names if name not in VALUES]:
        raise argparse.ArgumentTypeError(
            f"unknown axis {unknown[0]!r}; choose from {', '.join(VALUES)}"
        )
    return names


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, parsed and checked."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--only", type=parse_axes, default=",".join(VALUES), metavar="AXIS,…",
        help=f"default {','.join(VALUES)}")  # fmt: skip
    add("--most", type=float, default=float("inf"), metavar="PAIRS",
        help="leave out points of more pairs, T x n (default: none are)")  # fmt: skip
    add("--steps", type=int, default=2000, help="of each training (default 2000)")
    add("--json", type=table_file, metavar="FILE", help="also write everything to FILE")
    add("--plot", type=figure_file, metavar="FILE", help="also draw the table to FILE")
    args = parser.parse_args(argv)
    if args.steps < 8:
        parser.error(f"--steps must be at least 8, got {args.steps}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    args = arguments(argv)
    allowed = len(cores())
    about = announce(["toysup", "numpy"], allowed)
    from toysup import _native

    print(f"{'kernels':10} {_native.isa()}")
    print(f"{'training':10} {args.steps:,} steps; base {BASE}, n (1 - S) = 10")
    rows: list[dict[str, Any]] = []
    for axis in args.only:
        print(f"\n{axis} varied\n{HEADER}")
        for value in VALUES[axis]:
            cell = cell_of(axis, value)
            if cell["threads"] > allowed or cell["T"] * cell["n"] > args.most:
                continue
            rows.append(run_point(axis, cell, args.steps))
            print(line(rows[-1]), flush=True)
            if args.json:  # after each point: a long table may be interrupted
                result = {**about, "isa": _native.isa(), "steps": args.steps, "rows": rows}
                args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            if args.plot:
                plot(rows, args.plot, f"{about['machine']['cpu']}, {_native.isa()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
