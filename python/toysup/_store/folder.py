"""The folder in which a store is: what may lie in it, and what must not happen to it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from toysup._files.whole import Damaged, reason, unused
from toysup._text.notes import log, warn
from toysup.errors import StoreError

__all__ = [
    "CLAIM",
    "DATA",
    "EXTENSION",
    "FAILURE",
    "FOLDERS",
    "RUN",
    "STATE",
    "inside",
    "is_ours",
    "locked",
    "make",
    "remove_leftovers",
    "set_aside",
]

FOLDERS = ("runs", "checkpoints", "data", "damaged", "running")
# Names of the files of a store. That of a run's file begins with the key of its config; in that of
# a state a hash of its maker follows; that of an extension of the grid has its number; that of a
# data set is its digest.
RUN = re.compile(r"([0-9a-f]{20})\.npz")
STATE = re.compile(r"([0-9a-f]{20})\.[0-9a-f]{8}\.npz")
FAILURE = re.compile(r"([0-9a-f]{20})\.failed\.json")
CLAIM = re.compile(r"([0-9a-f]{20})\.claim")
DATA = re.compile(r"([0-9a-f]{64})\.npz")
EXTENSION = re.compile(r"sweep\.([1-9][0-9]{0,8})\.json")
_FILES = [RUN, STATE, FAILURE, CLAIM, DATA, EXTENSION, re.compile(r"sweep\.json")]
_FILE = f"({'|'.join(name.pattern for name in _FILES)})"
# What an interrupted writing left of them.
_LEFT = re.compile(rf"\.{_FILE}\.[0-9a-f]+\.tmp")
_OURS = re.compile(rf"{_FILE}(\.\d+)?|{_LEFT.pattern}")
# What version control, file managers, notebooks and file systems put into a folder by themselves.
_LITTER = {
    *(".gitkeep", ".keep", ".gitignore", ".ipynb_checkpoints", "lost+found"),
    *(".DS_Store", ".directory", "Thumbs.db", "desktop.ini"),
}
# What another process may be about to rename is younger than this, in seconds.
_OLD = 86_400.0
# Held while a store is changed in more than one step.
_CHANGES = threading.Lock()


def _renew_lock() -> None:
    """In a forked child the lock may be held by a thread that is not there."""
    global _CHANGES
    _CHANGES = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Keep other threads, and where the system can other processes, from changing a store."""
    with _CHANGES:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        folder = os.open(store, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            # Closing is not enough: a child that was forked meanwhile has the folder open too.
            with contextlib.suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_UN)
            os.close(folder)


def inside(folder: Path) -> Path:
    """A folder of a store, which need not be there; one that leads elsewhere is refused."""
    try:
        mode = os.lstat(folder).st_mode
    except (OSError, ValueError):
        return folder  # not there
    if not stat.S_ISDIR(mode):
        raise StoreError(f"{folder}: is a link or a file, where a store has a folder")
    return folder


def make(folder: Path) -> Path:
    """A folder of a store, made if it is not there."""
    inside(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {str(folder)!r}: {reason(error)}") from error
    return folder


def is_ours(store: Path, path: Path) -> bool:
    """Whether a store that lost its manifest, or a folder that counts as empty, could hold this."""
    parts = first, *rest = path.relative_to(store).parts
    if any(part in _LITTER or part.startswith("._") for part in parts):
        return True
    if not rest:
        return first in FOLDERS or bool(_OURS.fullmatch(first))
    if first == "running":
        return len(rest) == 1 and path.suffix in (".json", ".claim", ".tmp")
    alone = len(rest) == 1 or first == "damaged"  # what was set aside may be a folder
    return first in FOLDERS and alone and bool(_OURS.fullmatch(rest[0]))


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left half written."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _LEFT.fullmatch(entry.name):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _OLD:
                    os.unlink(entry)


def set_aside(store: Path, damage: Damaged, then: str) -> None:
    """Move a damaged file out of the way and say so; the store is locked."""
    folder = make(store / "damaged")
    target = unused(folder / damage.path.name)
    try:
        os.rename(damage.path, target)
    except FileNotFoundError:
        return  # without locks: another process has moved it
    except OSError as error:
        words = f"{damage}; it cannot be moved to {str(folder)!r}: {reason(error)}"
        raise StoreError(words) from error
    message = f"{damage}; it was moved to {str(target)!r}, {then}"
    log.warning("%s", message)
    warn(message, stacklevel=2)
