"""Instructions of one training step at six shapes, against stored counts.

    python benches/instructions.py [--isa avx2,portable] [--renew] [--only "dense m=2",...]

Times differ from machine to machine and from run to run; instructions, counted by valgrind, hardly
differ, so every change is tested with them. This fails if a step takes over 10 % more than
instructions.json says, for the same version of Rust and instruction set. Where a step takes over
10 % fewer, it says so: then, and where more are intended, ``--renew`` stores the counts anew.

The shapes are in rust/core/benches/steps.rs. Each is trained for some steps, and for 64 more; what
the second takes on top is divided by 64, so that all that is done once drops out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = Path(__file__).with_suffix(".json")
# Of the instruction sets that valgrind knows, the one that most machines use.
ISAS = "avx2"
LIMIT = 0.10
# Steps of the shorter training, and those that are counted. Lists are judged every 64 steps.
FIRST, COUNTED = 16, 64


def compiler() -> str:
    """The compiler that cargo uses here, such as ``rustc 1.95.0``."""
    said = subprocess.run(["rustc", "--version"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return " ".join(said.stdout.decode().split()[:2])


def build() -> str:
    """Compile the program that trains the shapes, as wheels are compiled; returns its path."""
    command = ["cargo", "bench", "--locked", "-p", "toysup-core", "--bench", "steps", "--no-run"]
    said = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    made = [json.loads(line).get("executable") for line in said.stdout.splitlines()]
    return next(path for path in reversed(made) if path)


def shapes(program: str) -> list[str]:
    """The names of the shapes."""
    said = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True)
    return said.stdout.splitlines()


def instructions(program: str, shape: str, isa: str, steps: int) -> int:
    """All instructions of a training of so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        said = subprocess.run(
            [*valgrind, program, shape, str(steps)],
            env={**os.environ, "TOYSUP_ISA": isa},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    found = re.search(r"Collected : (\d+)", said.stdout)
    if said.returncode != 0 or found is None:
        raise SystemExit(f"valgrind failed for {shape!r}, {isa}:\n{said.stdout}")
    return int(found[1])


def per_step(program: str, shape: str, isa: str) -> int:
    """Instructions of one step."""
    few = instructions(program, shape, isa, FIRST)
    return (instructions(program, shape, isa, FIRST + COUNTED) - few) // COUNTED


def check(shape: str, count: int, stored: Mapping[str, int], isa: str) -> bool:
    """Print a count beside the stored one; whether it is within the limit."""
    well, said = False, "no stored count"
    if shape in stored:
        change = count / stored[shape] - 1
        well, said = count <= stored[shape] * (1 + LIMIT), f"{change:+.2%}"
        if not well:
            said += ": too many"
        elif change < -LIMIT:
            said += ": fewer, store this count"
    print(f"{isa:10}{shape:26}{count:>14,}  {said}", flush=True)
    return well


def main(argv: Sequence[str] | None = None) -> int:
    """Count, and compare or store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--isa", default=ISAS, help=f"instruction sets (default: {ISAS})")
    parser.add_argument("--only", metavar="SHAPE,...", help="some of the shapes")
    parser.add_argument("--renew", action="store_true", help="store the counts")
    args = parser.parse_args(argv)
    version, program = compiler(), build()
    known = shapes(program)
    chosen = args.only.split(",") if args.only else known
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"--only must name some of {known}, got {unknown}")
    table = json.loads(STORED.read_text(encoding="utf-8"))
    of_version = table.get(version, {})
    well = True
    print(f"instructions of a step, {version}", flush=True)
    for isa in args.isa.split(","):
        stored = of_version.get(isa, {})
        counts = {}
        for name in chosen:
            counts[name] = per_step(program, name, isa)
            well &= check(name, counts[name], stored, isa)
        of_version[isa] = {**stored, **counts}
    if args.renew:
        # The counts of other compilers would be those of older sources.
        STORED.write_text(json.dumps({version: of_version}, indent=2) + "\n", encoding="utf-8")
        return 0
    if not well:
        print("Where this is intended, store the counts: python benches/instructions.py --renew")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
