"""What a sweep says of itself while it runs, for ``toysup status`` in another terminal."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from toysup._files.whole import opened, parse_json, replace_file
from toysup._system.processes import is_there, me
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.errors import printable

__all__ = ["LATE", "Pulse", "lives", "running"]

# Seconds between two signs of life.
_EVERY = 2.0
# One that is older than this is late, as if the process were stopped or its disk slow.
LATE = 30.0
# One that is older, or lies further ahead, is believed only of a process that is seen to be there.
_OLD = 120.0
# So often the folder may be removed while a sign of life is written.
_TRIES = 100
# More than any sign of life takes.
_MAX_BYTES = 1 << 20
_MAX_RUNS = 1000
_MAX_FILES = 10_000
_MAX_PID = 1 << 31
_MAX_INT = 1 << 64
# What a sign of life says of its process, in the order of ``processes.me``.
_PROCESS = ("host", "system", "pid", "started")
# Those that are at work in this process: one that was left in a hurry may have left its file.
_ENTERED: set[str] = set()


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
        # Containers may have their name and process numbers in common.
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.json"
        self.name = name
        self._path = None if folder is None else folder / name

    def __enter__(self) -> Pulse:
        _ENTERED.add(self.name)
        for path, document in _documents(self._folder) if self._folder is not None else ():
            if not _is_alive(document):  # it was killed
                with contextlib.suppress(OSError):
                    path.unlink()
        return self

    def begin(self) -> None:
        """Write a sign of life now; ``OSError`` if that cannot be done."""
        self._write(0.0, {"done": 0, "failed": 0, "diverged": 0}, ())

    def beat(
        self, work: float, counts: Mapping[str, int], running: Sequence[tuple[int, int]]
    ) -> None:
        """Write how far it is, if it is time."""
        if self._first is None:
            self._first = work  # what was done before, by a checkpoint
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _EVERY
            with contextlib.suppress(OSError):
                self._write(work, counts, running)

    def _write(
        self, work: float, counts: Mapping[str, int], running: Sequence[tuple[int, int]]
    ) -> None:
        if self._path is None:
            return
        document = {
            "toysup": __version__,
            **dict(zip(_PROCESS, me(), strict=True)),
            "began": self._began,
            "updated": time.time(),
            "runs": len(self._configs),
            "share": work / self._total if self._total else 1.0,
            "seconds_left": self._left(work),
            **counts,
            "running": [self._run(i, step) for i, step in running[:_MAX_RUNS]],
        }
        text = json.dumps(document)
        for tries_left in reversed(range(_TRIES)):
            try:
                self._path.parent.mkdir(exist_ok=True)
                replace_file(self._path, lambda file: file.write(text.encode()), durable=False)
                return
            except OSError as error:  # another sweep has left, and removed the folder
                is_gone = isinstance(error.__cause__ or error, (FileNotFoundError, FileExistsError))
                if not is_gone or not tries_left:
                    raise

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
        _ENTERED.discard(self.name)
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()


def running(folder: Path) -> list[dict[str, Any]]:
    """What the sweeps that are at work on a store say, those that died without a word left out.

    Each was ``heard`` so many seconds ago.
    """
    now = time.time()
    return [
        {**document, "heard": max(0.0, now - document["updated"])}
        for _, document in _documents(folder)
        if _is_alive(document)
    ]


def lives(path: Path) -> bool:
    """Whether the sweep of a sign of life is at work."""
    document = _document(path)
    if document is None or not _is_alive(document):
        return False
    return _process(document) != me() or path.name in _ENTERED


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The signs of life in a folder, those of the dead included; none if it is not there."""
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):  # the last sweep that leaves removes the folder
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    for name in names[:_MAX_FILES]:
        document = _document(folder / name)
        if document is not None:
            yield folder / name, document


def _document(path: Path) -> dict[str, Any] | None:
    """What a sign of life says, if it is one."""
    try:
        with opened(path, _MAX_BYTES) as (handle, size):
            document = parse_json(path, os.read(handle, size))
        return _checked(document)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # being written, being removed, or not ours


def _process(document: Mapping[str, Any]) -> tuple[Any, ...]:
    """The process of a sign of life, as :func:`is_there` takes it."""
    return tuple(document[name] for name in _PROCESS)


def _is_alive(document: Mapping[str, Any]) -> bool:
    """Whether a process is there, as far as can be seen from here, or else was heard lately."""
    seen = is_there(*_process(document))
    return abs(time.time() - document["updated"]) < _OLD if seen is None else seen


def _checked(document: Any) -> dict[str, Any]:
    """The document with every value as it should be; ``ValueError`` and the like if one is not."""
    # Older versions did not say the last two, nor what is done elsewhere.
    left, where, since = document["seconds_left"], *map(document.get, ("system", "started"))
    runs = [
        {"T": _size(run["T"]), **{k: _whole(run[k]) for k in ("m", "seed", "step", "steps")}}
        for run in document["running"][:_MAX_RUNS]
    ]
    return {
        "host": _printable(document["host"]),
        "pid": _whole(document["pid"], _MAX_PID) or _whole(None),  # 0 stands for all of a group
        "system": None if where is None else _printable(where),
        "started": None if since is None else _printable(since),
        "began": _real(document["began"]),
        "updated": _real(document["updated"]),
        **{k: _whole(document[k]) for k in ("runs", "done", "failed", "diverged")},
        "elsewhere": _whole(document.get("elsewhere", 0)),
        "share": _real(document["share"]),
        "seconds_left": None if left is None else _real(left),
        "running": runs,
    }


def _whole(value: object, end: int = _MAX_INT) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise ValueError("not such an integer")
    return value


def _size(value: object) -> str:
    return "inf" if value == "inf" else str(_whole(value))


def _real(value: object) -> float:
    if type(value) not in (int, float) or not -_MAX_INT < value < _MAX_INT:  # type: ignore[operator]
        raise ValueError("not such a number")
    return float(value)  # type: ignore[arg-type]


def _printable(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return printable(value[:255])
