"""What a sweep says of itself while it runs, for ``toysup status`` in another terminal."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from toysup._files import replace_file
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.errors import StoreError

__all__ = ["Pulse", "running"]

# Seconds between two signs of life.
_EVERY = 2.0
# A sign of life from another machine that is older than this is no longer believed.
_OLD = 120.0
# More than any sign of life takes.
_MAX_BYTES = 1 << 20
_MAX_RUNS = 1000
_numbers = itertools.count()


class Pulse:
    """While entered, a file in the store says how far the sweep is; it is gone afterwards.

    It can be lost without harm, so a store that cannot be written is met in silence.

    Parameters
    ----------
    folder : Path or None
        Where; nothing is written if None.
    configs : sequence of TrainConfig
        The runs that are to be done.
    """

    def __init__(self, folder: Path | None, configs: Sequence[TrainConfig]) -> None:
        self._folder, self._configs = folder, configs
        self._total = sum(config.step_cost() * config.steps for config in configs)
        self._began, self._due = time.time(), 0.0
        self._first: float | None = None
        name = f"{socket.gethostname()}-{os.getpid()}-{next(_numbers)}.json"
        self._path = None if folder is None else folder / name

    def __enter__(self) -> Pulse:
        for path, document in _documents(self._folder) if self._folder is not None else ():
            if not _is_alive(document):  # it was killed
                with contextlib.suppress(OSError):
                    path.unlink()
        return self

    def beat(
        self, work: float, counts: Mapping[str, int], running: Sequence[tuple[int, int]]
    ) -> None:
        """Write how far it is, if it is time."""
        if self._first is None:
            self._first = work  # what was done before, by a checkpoint
        if self._path is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _EVERY
        document = {
            "toysup": __version__,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": self._began,
            "updated": time.time(),
            "runs": len(self._configs),
            "share": work / self._total if self._total else 1.0,
            "seconds_left": self._left(work),
            **counts,
            "running": [self._run(i, step) for i, step in running[:_MAX_RUNS]],
        }
        text = json.dumps(document)
        path = self._path
        with contextlib.suppress(StoreError, OSError):
            path.parent.mkdir(exist_ok=True)
            replace_file(path, lambda file: file.write(text.encode()), durable=False)

    def _left(self, work: float) -> float | None:
        """Seconds that are left at the pace so far; None if nothing has been done."""
        done = work - (self._first or 0.0)
        elapsed = time.time() - self._began
        return elapsed * (self._total - work) / done if done > 0 else None

    def _run(self, i: int, step: int) -> dict[str, Any]:
        c = self._configs[i]
        T = c.T if isinstance(c.T, int) else "inf"
        return {"T": T, "m": c.m, "seed": c.seed, "step": step, "steps": c.steps}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()


def running(folder: Path) -> list[dict[str, Any]]:
    """What the sweeps that are at work on a store say, those that died without a word left out."""
    return [document for _, document in _documents(folder) if _is_alive(document)]


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The signs of life in a folder, those of the dead included."""
    for path in sorted(folder.glob("*.json")):
        try:
            if path.is_file() and path.stat().st_size <= _MAX_BYTES:
                yield path, _checked(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue  # being written, being removed, or not ours


def _is_alive(document: Mapping[str, Any]) -> bool:
    if document["host"] == socket.gethostname() and os.name == "posix":
        try:
            os.kill(document["pid"], 0)
        except ProcessLookupError:
            return False
        except OverflowError:
            return False
        except OSError:
            return True  # of another user
        return True
    return bool(time.time() - document["updated"] < _OLD)


def _checked(document: Any) -> dict[str, Any]:
    """The document with every value of the type that it should have."""
    left = document["seconds_left"]
    runs = [
        {"T": str(run["T"]), **{k: int(run[k]) for k in ("m", "seed", "step", "steps")}}
        for run in document["running"][:_MAX_RUNS]
    ]
    return {
        "host": str(document["host"])[:255],
        "pid": int(document["pid"]),
        "began": float(document["began"]),
        "updated": float(document["updated"]),
        **{k: int(document[k]) for k in ("runs", "done", "failed", "diverged")},
        "share": float(document["share"]),
        "seconds_left": None if left is None else float(left),
        "running": runs,
    }
