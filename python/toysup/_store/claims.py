"""Which runs the sweeps on one store are training, so that they share the work.

A claim is a file in ``running/`` that is named by its run, and names the sign of life of its sweep.
It counts as long as that sweep lives. The worst that can come of any race is that a run is trained
twice, to the same bits.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path
from types import TracebackType

from toysup._files.whole import Damaged, opened, reason, temporary
from toysup._store.folder import CLAIM, remove_leftovers
from toysup._store.pulse import Pulse, lives
from toysup._text.notes import log

__all__ = ["Claims"]

_OWNER = re.compile(r"[^/\\\0]{1,200}\.json")
# More than any name of a file takes.
_MAX_BYTES = 1024
# Seconds for which a claim counts that names nobody: its owner may be about to write it.
_GRACE = 5.0
# Seconds for which what was seen of an owner holds.
_FRESH = 1.0
# A claim may come and go while it is looked at.
_TRIES = 3


class Claims:
    """The claims of a sweep, which are gone when this is left; callable from any thread.

    Where claims cannot be written, which is said, every run is this sweep's to train.

    Parameters
    ----------
    folder : Path or None
        Where; nothing is claimed if None.
    pulse : Pulse
        The sweep's sign of life in the same folder.
    """

    def __init__(self, folder: Path | None, pulse: Pulse) -> None:
        self._is_on, self._folder, self._pulse = folder is not None, folder or Path(), pulse
        self._held: set[str] = set()
        self._seen: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Claims:
        if self._is_on:
            try:
                self._pulse.begin()
                remove_leftovers(self._folder)
                for name in filter(CLAIM.fullmatch, os.listdir(self._folder)):
                    if not self._counts(self._folder / name):
                        self._remove(self._folder / name)
            except OSError as error:
                self._give_up(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for key in list(self._held):
            self.release(key)

    def take(self, key: str) -> bool:
        """Claim a run, if no other sweep that lives has done so; whether it is this one's."""
        try:
            path = self._file(key)
            for _ in range(_TRIES if self._is_on else 0):
                if self._write(path):
                    self._held.add(key)
                    return True
                if self._counts(path):
                    return key in self._held
                self._remove(path)
        except OSError as error:
            self._give_up(error)
        return not self._is_on

    def release(self, key: str) -> None:
        """Give up a claim, unless it has been taken over by another sweep."""
        if key in self._held:
            self._held.discard(key)
            path = self._file(key)
            with contextlib.suppress(OSError):
                if self._owner(path) == self._pulse.name:
                    path.unlink()

    def is_taken(self, key: str) -> bool:
        """Whether another sweep that lives has claimed a run."""
        try:
            return self._is_on and self._counts(self._file(key))
        except OSError as error:
            self._give_up(error)
            return False

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.claim"

    def _write(self, path: Path) -> bool:
        """Write a claim; False if there is one."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        try:
            handle = os.open(path, flags, 0o666)
        except FileExistsError:
            return False
        except FileNotFoundError:  # another sweep took this one for dead, and removed the folder
            self._pulse.begin()
            handle = os.open(path, flags, 0o666)
        try:
            os.write(handle, os.fsencode(self._pulse.name))
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(handle)
        return True

    def _counts(self, path: Path) -> bool:
        """Whether a claim is there, and its owner lives."""
        try:
            owner = self._owner(path)
            age = 0.0 if owner else time.time() - os.stat(path).st_mtime
        except (FileNotFoundError, Damaged):
            return False
        return self._lives(owner) if owner else abs(age) < _GRACE

    def _owner(self, path: Path) -> str | None:
        """The sign of life that a claim names, if it names one."""
        with opened(path, _MAX_BYTES) as (handle, size):
            text = os.fsdecode(os.read(handle, size))
        return text if _OWNER.fullmatch(text) else None

    def _lives(self, owner: str) -> bool:
        when, alive = self._seen.get(owner, (0.0, False))
        if not when or time.monotonic() - when > _FRESH:
            alive = lives(self._folder / owner)
            self._seen[owner] = time.monotonic(), alive
        return alive

    def _remove(self, path: Path) -> None:
        """Remove a claim that counts no more; one sweep alone can rename it."""
        aside = temporary(path)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.rename(path, aside)
            if self._counts(aside):  # another one was quicker, and has claimed the run already
                os.rename(aside, path)
            else:
                aside.unlink()

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            if self._is_on:
                text = "runs cannot be claimed in %s (%s): another sweep may train the same ones"
                log.warning(text, self._folder, reason(error))
            self._is_on = False
