"""Core-hours of the paper's whole heat map: test loss over T and m.

    python benches/map.py [--T 200,500,...] [--m 2,3,...] [--seconds 20] [--json F]

The map has T = 200 ... 500,000, m = 2 ... 10 and 16, four seeds, and 50,000 steps a run with the
paper's recipe (n = 10,000, S = 0.999). A cell is trained once, on one thread, for as many steps as
take about ``--seconds``, the schedule compressed into them, and looked at from inside
(``toysup._native.trace``). Its paces, milliseconds a step, early, in the middle and late are those
of the first tenth of the steps, of the fifth in the middle and of the last tenth.

Extrapolation: a whole run is taken to have, at each share of its schedule, the pace that the
compressed run has there. A compressed run goes less far in the same share of its schedule, so that
its lists are longer and begin later: the hours are over-estimated, the more so the fewer steps
there were. ``--whole`` trains the cells that it names to the end, too, shows by how much, and takes
their own hours. Cells that are not measured are interpolated linearly in the logarithms; beyond the
measured T hours grow in proportion to T, and beyond the measured m they stay the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from machine import announce, command_line, pin, table_file
from scaling import gaps, trace
from step import parse_cells

MAP_T = (200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
MAP_M = (2, 3, 4, 5, 6, 7, 8, 9, 10, 16)
SEEDS = 4
STEPS = 50_000
N = 10_000
# Steps of the compressed run: fewer show nothing but its dense beginning, more are not needed.
LEAST, MOST = 60, 5_000
LOOKS = 100

HEADER = (
    f"{'T':>9}{'m':>5}{'steps':>8}{'early':>10}{'middle':>10}{'late':>10}{'mean ms':>10}"
    f"{'hours a run':>13}{'whole run':>11}{'ratio':>8}"
)


def paced(T: int, m: int, steps: int) -> Any:
    """Milliseconds a step between looks at a compressed run, over its whole length."""
    cell = {"T": T, "n": N, "m": m, "threads": 1}
    return gaps(trace(cell, max(1, steps // LOOKS), None, steps=steps))


def measured(T: int, m: int, seconds: float) -> dict[str, Any]:
    """A cell: paces of a run of about so many seconds, and what a whole run comes to."""
    first = float(np.median(paced(T, m, LEAST)))
    # Lists make the later steps cheaper than those of the shortest run.
    steps = int(np.clip(2e3 * seconds / first, LEAST, MOST))
    pace = paced(T, m, steps)
    tenth = max(1, len(pace) // 10)
    middle = pace[len(pace) // 2 - tenth : len(pace) // 2 + tenth]
    mean = float(pace.mean())
    windows = [float(part.mean()) for part in (pace[:tenth], middle, pace[-tenth:])]
    hours = mean * STEPS / 3.6e6
    return {"T": T, "m": m, "steps": steps, "windows_ms": windows, "ms": mean, "hours": hours}


def whole(T: int, m: int) -> float:
    """Hours of a whole run."""
    import toysup

    config = toysup.TrainConfig(n=N, m=m, T=T, sparsity=0.999, steps=STEPS, test_size=0, record=1)
    began = time.perf_counter()
    toysup.train(config, n_jobs=1, progress=False)
    return (time.perf_counter() - began) / 3600


def surface(rows: Sequence[dict[str, Any]]) -> dict[tuple[int, int], float]:
    """Hours of a run for each cell of the map, from those of the measured cells."""
    of_m: dict[int, Any] = {}
    for m in sorted({row["m"] for row in rows}):
        points = sorted(
            (row["T"], row.get("whole_hours", row["hours"])) for row in rows if row["m"] == m
        )
        T, hours = np.log(np.array(points)).T
        at = np.log(np.array(MAP_T))
        below = np.interp(at, T, hours)
        of_m[m] = below + np.maximum(0.0, at - T[-1]) + np.minimum(0.0, at - T[0])
    known = np.log(list(of_m))
    table = np.array(list(of_m.values()))
    found = {}
    for i, T in enumerate(MAP_T):
        for m in MAP_M:
            found[T, m] = float(np.exp(np.interp(np.log(m), known, table[:, i])))
    return found


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    windows = "".join(f"{ms:10.4g}" for ms in row["windows_ms"])
    text = f"{row['T']:9,}{row['m']:5}{row['steps']:8,}{windows}{row['ms']:10.4g}"
    text += f"{row['hours']:13.4g}"
    if "whole_hours" in row:
        text += f"{row['whole_hours']:11.4g}{row['hours'] / row['whole_hours']:8.3g}"
    return text


def totals(hours: dict[tuple[int, int], float]) -> list[str]:
    """Core-hours of all seeds: a line for each T over m, and the sum."""
    lines = ["", f"core-hours of {SEEDS} seeds", f"{'T':>9}" + "".join(f"{m:>9}" for m in MAP_M)]
    for T in MAP_T:
        values = "".join(f"{SEEDS * hours[T, m]:9.3g}" for m in MAP_M)
        lines.append(f"{T:9,}{values}")
    total = SEEDS * sum(hours.values())
    runs = SEEDS * len(MAP_T) * len(MAP_M)
    lines.append(f"the map, {runs} runs of {STEPS:,} steps: {total:.4g} core-hours")
    return lines


def whole_numbers(text: str) -> list[int]:
    """Positive integers between commas."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"must be positive integers between commas, got {text!r}")
    return values


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, parsed and checked."""
    parser = command_line(__doc__)
    add = parser.add_argument
    every_T, every_m = (",".join(map(str, values)) for values in (MAP_T, MAP_M))
    add("--T", type=whole_numbers, default=every_T, metavar="T,…", help=f"default {every_T}")
    add("--m", type=whole_numbers, default=every_m, metavar="m,…", help=f"default {every_m}")
    add("--seconds", type=float, default=20.0, help="of a cell, about (default 20)")
    add("--whole", type=parse_cells, default=[], metavar="T:m,…",
        help="cells that are trained to the end, too")  # fmt: skip
    add("--json", type=table_file, metavar="FILE", help="also write everything to FILE")
    args = parser.parse_args(argv)
    if not args.seconds > 0:
        parser.error(f"--seconds must be positive, got {args.seconds}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the cells that are measured, then the whole map."""
    args = arguments(argv)
    about = announce(["toysup", "numpy"], 1)
    pin(1)
    print(f"\nmilliseconds a step\n{HEADER}")
    rows: list[dict[str, Any]] = []
    cells = dict.fromkeys([*((T, m) for T in args.T for m in args.m), *args.whole])
    for T, m in cells:
        row = measured(T, m, args.seconds)
        if (T, m) in args.whole:
            row["whole_hours"] = whole(T, m)
        rows.append(row)
        print(line(row), flush=True)
        if args.json:  # after each cell: a long table may be interrupted
            text = json.dumps({**about, "seconds": args.seconds, "rows": rows}, indent=1)
            args.json.write_text(text + "\n", encoding="utf-8")
    print("\n".join(totals(surface(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
