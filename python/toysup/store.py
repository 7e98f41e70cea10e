"""The folder of a sweep: its grid, and one file a run that is named by its config's hash."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toysup._files import replace_file
from toysup._grid import Grid
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.errors import StoreError, short
from toysup.training import UNREADABLE, Run, load_run, read_summary

__all__ = ["Store"]

# The layout of a store. A reader refuses any other.
SCHEMA_VERSION = 1
# Held while a manifest is read and written again.
_MANIFESTS = threading.Lock()
# Names of files in runs/: a run, a failure, or what an interrupted writing left of either.
_OURS = re.compile(r"\.?[0-9a-f]{20}\.(npz|failed\.json)(\.[0-9a-f]+\.tmp)?")


class Store:
    """A folder that holds one sweep; runs are added and never changed.

    Parameters
    ----------
    path : path-like
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given: object = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(given, str):
            raise TypeError(f"store must be a path, got {short(path)} ({type(path).__name__})")
        if not given:
            raise ValueError(f"store must name a folder, got {short(path)}")
        self.path = Path(path)

    @property
    def _manifest(self) -> Path:
        return self.path / "sweep.json"

    def _run_file(self, config: TrainConfig) -> Path:
        return self.path / "runs" / f"{config.key()}.npz"

    def _failure_file(self, config: TrainConfig) -> Path:
        return self.path / "runs" / f"{config.key()}.failed.json"

    def grid(self) -> Grid:
        """The grid of the sweep that is stored here.

        Raises
        ------
        FileNotFoundError
            If there is no store.
        StoreError
            If it cannot be read or is of another version.
        """
        if not self._manifest.exists():
            raise FileNotFoundError(f"no sweep is stored in {str(self.path)!r}")
        try:
            data = json.loads(self._manifest.read_text(encoding="utf-8"))
            version = data["schema_version"]
            if version == SCHEMA_VERSION:
                return Grid.from_json(data["grid"])
            writer = data.get("toysup", "(unknown)")
        except UNREADABLE as error:
            raise StoreError(f"{self._manifest}: not a readable manifest ({error})") from error
        raise StoreError(
            f"{self._manifest}: written with store schema {version}, but toysup {__version__} "
            f"reads schema {SCHEMA_VERSION}: use the version that wrote it, toysup {writer}"
        )

    def extend(self, grid: Grid) -> None:
        """Make the store if there is none, and let its grid include ``grid``.

        Raises
        ------
        StoreError
            If the folder cannot be written, is of another version, or holds other files.
        ValueError
            If the stored sweep differs in a field that is no axis.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._extend(grid)
        except StoreError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"cannot write a store in {str(self.path)!r}: {reason}") from error

    def _extend(self, grid: Grid) -> None:
        """:meth:`extend` while no other sweep does the same."""
        if self._manifest.exists():
            grid = self.grid().merged(grid)
        elif not all(map(self._is_ours, self.path.rglob("*"))):
            raise StoreError(f"{str(self.path)!r} is not a store, and is not empty")
        (self.path / "runs").mkdir(exist_ok=True)
        data = {"schema_version": SCHEMA_VERSION, "toysup": __version__, "grid": grid.to_json()}
        text = json.dumps(data, indent=1)
        replace_file(self._manifest, lambda file: file.write(text.encode()))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads, and where the system can other processes, from the manifest."""
        with _MANIFESTS:
            try:
                import fcntl
            except ImportError:  # Windows
                yield
                return
            folder = os.open(self.path, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):  # some network file systems have no locks
                    fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)

    def _is_ours(self, path: Path) -> bool:
        """Whether a store that lost its manifest could hold this."""
        if path.parent == self.path:
            return path.name == "runs" or path.name.startswith(".sweep.json.")
        return path.parent == self.path / "runs" and bool(_OURS.fullmatch(path.name))

    def save(self, run: Run) -> None:
        """Write a finished run, whole or not at all."""
        run.save(self._run_file(run.config))
        self._failure_file(run.config).unlink(missing_ok=True)

    def save_failure(self, config: TrainConfig, error: str) -> None:
        """Record that a run failed; it is tried again by the next sweep."""
        data = {"config": json.loads(config.to_json()), "status": "failed", "error": error}
        text = json.dumps(data, indent=1)
        replace_file(self._failure_file(config), lambda file: file.write(text.encode()))

    def load(self, config: TrainConfig) -> Run:
        """The run of a config.

        Raises
        ------
        FileNotFoundError, StoreError
            If it is not there, or not readable, or is the run of another config.
        """
        path = self._run_file(config)
        run = load_run(path)
        if run.config != config:
            raise StoreError(f"{path}: holds the run of another config")
        return run

    def summary(self, config: TrainConfig) -> dict[str, Any] | None:
        """What the data set shows of a run; None if it has not been trained."""
        path = self._run_file(config)
        if path.exists():
            return read_summary(path, config)
        failure = self._failure_file(config)
        if not failure.exists():
            return None
        try:
            data = json.loads(failure.read_text(encoding="utf-8"))
            return {"status": "failed", "error": str(data["error"])}
        except UNREADABLE as error:
            raise StoreError(f"{failure}: not a readable record ({error})") from error
