"""How long Ctrl-C waits for an answer, at random moments of every command.

    python benches/interrupt.py [--moments 500] [--seed 0] [--only NAME,...] [--json FILE]

Each command is run once to its end, or for ``--most`` seconds, to learn how long it takes; then
again and again, with SIGINT to its process at a moment drawn uniformly from that time. The answer
is the end of the process. Printed are the waits by command (median, 99th percentile, worst), what
the processes ended with, and the worst wait of all with its moment. Needs POSIX; let the machine do
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine import announce, table_file

# Of a process that does not answer at all.
_GIVE_UP = 60.0
_SMALL = ["--n", "40", "--sparsity", "0.9", "--steps", "200", "--test-size", "100"]
_LONG = ["--n", "10000", "--sparsity", "0.999", "--steps", "50000", "--test-size", "1000"]


@dataclass(frozen=True)
class Command:
    """What is interrupted: arguments of ``toysup``, or a script if ``code`` is given."""

    arguments: tuple[str, ...] = ()
    code: str = ""
    backend: str = "native"
    # Whether a store of 300 finished runs is in the folder "done" of where it runs.
    store: bool = False

    def argv(self) -> list[str]:
        if self.code:
            return [sys.executable, "-c", self.code]
        return [sys.executable, "-m", "toysup", *self.arguments]


def _sweep(*arguments: str, backend: str = "native", store: bool = False) -> Command:
    return Command(("sweep", "--store", "new", *arguments), backend=backend, store=store)


_TRAIN = "import toysup; toysup.train(n=10_000, T={T}, m={m}, sparsity=0.999, steps=50_000{more})"
_POOL = """
import concurrent.futures, toysup
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        toysup.sweep(T=[100, 200, 300], m=2, n=1000, sparsity=0.99, steps=50_000, executor=pool)
"""
COMMANDS: dict[str, Command] = {
    "sweep of tiny runs": _sweep(*_SMALL, "--T", "5,8,10,20", "--m", "1,2,3", "--seed", "0:200"),
    "sweep of long runs": _sweep(*_LONG, "--T", "1000,2000", "--m", "2,3"),
    "sweep of long steps": _sweep(*_LONG, "--T", "100000", "--m", "16"),
    "sweep T = inf": _sweep(*_LONG, "--T", "inf", "--m", "2", "--batch-size", "5000"),
    "sweep first weights": _sweep(*_LONG, "--T", "1000000", "--m", "2", "--init", "polygon"),
    "sweep NumPy": _sweep(*_LONG, "--T", "1000,2000", "--m", "2,3", backend="numpy"),
    "sweep large grid": _sweep(*_SMALL, "--T", "5,6,7,8", "--seed", "0:25000"),
    "sweep all is done": Command(
        ("sweep", *_SMALL, "--store", "done", "--T", "5,8,10", "--m", "2", "--seed", "0:100"),
        store=True,
    ),
    "sweep --dry-run": _sweep(*_LONG, "--T", "1000,10000", "--m", "2,8,16", "--dry-run"),
    "train": Command(code=_TRAIN.format(T=5000, m=8, more="")),
    "train recorded": Command(code=_TRAIN.format(T=100, m=64, more=", record=1")),
    "train NumPy": Command(code=_TRAIN.format(T=2000, m=8, more=""), backend="numpy"),
    "processes": Command(code=_POOL),
    "reproduce": Command(("reproduce", "figure2", "--out", "out")),
    "status": Command(("status", "done"), store=True),
    "merge": Command(("merge", "both", "done"), store=True),
    "export": Command(("export", "done", "--out", "table.csv"), store=True),
    "export netCDF": Command(("export", "done", "--out", "table.nc"), store=True),
    "plot": Command(("plot", "test_loss", "done", "--out", "plot.png"), store=True),
}


def _start(command: Command, folder: Path) -> subprocess.Popen[bytes]:
    with open(folder / "stderr", "wb") as errors:
        return subprocess.Popen(
            command.argv(),
            cwd=folder,
            env={**os.environ, "TOYSUP_BACKEND": command.backend, "MPLBACKEND": "agg"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def _in_folder(command: Command, done: Path, do: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        if command.store:
            shutil.copytree(done, Path(name) / "done")
        do(Path(name))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _length(command: Command, done: Path, most: float) -> float:
    """Seconds that a command takes, at most ``most``."""
    seconds = most

    def run(folder: Path) -> None:
        nonlocal seconds
        began = time.perf_counter()
        process = _start(command, folder)
        try:
            if process.wait(most) != 0:
                sys.exit(f"{command.argv()} failed: {(folder / 'stderr').read_text()}")
            seconds = time.perf_counter() - began
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)

    _in_folder(command, done, run)
    return seconds


def _wait(command: Command, done: Path, moment: float) -> tuple[float, str]:
    """Seconds from SIGINT to the end of the process, and what that was."""
    answer = (0.0, "ended before")

    def run(folder: Path) -> None:
        nonlocal answer
        process = _start(command, folder)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            answer = _interrupt(process, folder)
        finally:
            _end(process)

    _in_folder(command, done, run)
    return answer


def _interrupt(process: subprocess.Popen[bytes], folder: Path) -> tuple[float, str]:
    gave_up = threading.Timer(_GIVE_UP, process.kill)
    gave_up.start()
    began = time.perf_counter()
    process.send_signal(signal.SIGINT)
    code = process.wait()  # without a limit, which would look every 50 ms only
    seconds = time.perf_counter() - began
    gave_up.cancel()
    errors = (folder / "stderr").read_text(errors="replace")
    if "panicked" in errors or "PanicException" in errors:
        return seconds, "panic"
    if code == -signal.SIGKILL:
        return seconds, "no answer"
    if code in (-signal.SIGINT, 130):
        return seconds, "interrupted"
    if code == 1 and "toysup" not in errors:
        return seconds, "interrupted while Python started"
    return seconds, "finished" if code == 0 else f"exit code {code}: {errors[-300:]}"


def main() -> None:
    """Interrupt everything, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=3.0, help="seconds of a command, at most")
    parser.add_argument("--only", help="names of commands, separated by commas")
    parser.add_argument("--json", type=table_file, metavar="FILE")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(COMMANDS)
    announce(["toysup", "numpy"], os.cpu_count() or 1)
    draw = random.Random(args.seed)
    waits: dict[str, list[tuple[float, float, str]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        done = Path(folder) / "done"
        first = COMMANDS["sweep all is done"]
        subprocess.run(first.argv(), cwd=folder, check=True, capture_output=True)
        lengths = {name: _length(COMMANDS[name], done, args.most) for name in names}
        for i in range(args.moments):
            name = names[i % len(names)]
            moment = draw.uniform(0, lengths[name])
            waits[name].append((moment, *_wait(COMMANDS[name], done, moment)))
    print(f"{'command':22} {'length':>7} {'moments':>7} {'median':>8} {'99 %':>8} {'worst':>8}  at")
    for name, found in waits.items():
        times = sorted(seconds for _, seconds, what in found if what != "ended before")
        if not times:
            continue
        worst = max(found, key=lambda wait: wait[1])
        high = times[min(len(times) - 1, int(0.99 * len(times)))]
        ms = [f"{1000 * t:5.0f} ms" for t in (statistics.median(times), high, worst[1])]
        print(f"{name:22} {lengths[name]:5.1f} s {len(times):7} {' '.join(ms)}  {worst[0]:.2f} s")
        for what, count in Counter(what for *_, what in found).items():
            print(f"{'':22} {count:7} {what}")
    if args.json:
        args.json.write_text(json.dumps({"lengths": lengths, "waits": waits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
