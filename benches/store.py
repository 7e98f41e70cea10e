"""What keeping a sweep on disk costs.

    python benches/store.py [--runs 8] [--tiny 10000] [--folder DIR]

Overhead: a sweep of runs of about one second each, with and without a store, in turn; each run's
state is also kept every ``--checkpoint`` seconds. Tiny: ``--tiny`` runs of a model of 20 features,
swept into a store, opened, and swept again, when every file is verified and nothing is trained.
Put the folder on the disk that you mean; by default it is where temporary files are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import announce

# Times that each way is taken.
ROUNDS = 3


def timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    began = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - began, result


def overhead(folder: Path, runs: int, checkpoint: float) -> None:
    """Print the time of a sweep with and without a store."""
    from toysup import TrainConfig, sweep

    config = TrainConfig(T=1000, steps=3000, test_size=2000, snapshots=4)
    seconds, _ = timed(sweep, config, n_jobs=1)
    config = config.replace(steps=max(100, round(3000 / seconds)))
    more: dict[str, Any] = {"seed": range(runs), "n_jobs": 1, "progress": False}
    bare, kept = [], []
    for i in range(ROUNDS):
        bare.append(timed(sweep, config, **more)[0])
        store = folder / f"store-{i}"
        kept.append(timed(sweep, config, **more, store=store, checkpoint_every=checkpoint)[0])
        size = sum(path.stat().st_size for path in (store / "runs").iterdir())
    ratio = statistics.median(k / b for b, k in zip(bare, kept, strict=True))
    print(
        f"{runs} runs of {statistics.median(bare) / runs:.2f} s: {min(bare):.2f} s without and "
        f"{min(kept):.2f} s with a store: {100 * (ratio - 1):+.2f} % (median of {ROUNDS}); "
        f"{size / runs / 1e6:.2f} MB a run"
    )


def tiny(folder: Path, count: int) -> None:
    """Print the times of a sweep of many tiny runs."""
    from toysup import open_sweep, sweep

    fields: dict[str, Any] = {
        **{"n": 20, "m": [1, 2], "T": [3, 4, 5, 6, 7], "seed": range(count // 10)},
        **{"sparsity": 0.8, "steps": 20, "test_size": 10, "record": 3},
    }
    swept, _ = timed(sweep, **fields, progress=False)
    print(f"{count:,} tiny runs: {swept:.2f} s without a store")
    swept, _ = timed(sweep, **fields, store=folder / "tiny", progress=False)
    opened, result = timed(open_sweep, folder / "tiny")
    shown, data = timed(lambda: result.dataset)
    again, _ = timed(sweep, **fields, store=folder / "tiny", progress=False)
    assert (data.status == "ok").all()
    print(
        f"{count:,} tiny runs: {swept:.2f} s with a store; opened in {opened:.2f} s, data set in "
        f"{shown:.2f} s; swept again, all files verified, in {again:.2f} s"
    )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--tiny", type=int, default=10_000)
    parser.add_argument("--checkpoint", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    announce(["numpy", "xarray"], 1)
    folder = Path(tempfile.mkdtemp(prefix="toysup-", dir=args.folder))
    try:
        overhead(folder, args.runs, args.checkpoint)
        tiny(folder, args.tiny)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOYSUP_BACKEND", "native")
    sys.exit(main())
