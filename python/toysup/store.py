"""The folder of a sweep: its grid, and one file a run that is named by its config's hash.

==========================  =================================================================
``sweep.json``              the grid
``runs/KEY.npz``            finished runs
``runs/KEY.failed.json``    runs that failed
``checkpoints/KEY.*.npz``   states of runs under way; the second word is a hash of their maker
``damaged/``                files that could not be trusted, set aside by a sweep
``running/``                signs of life of the sweeps that are at work
==========================  =================================================================
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from toysup._archive import (
    Kept,
    is_of,
    largest,
    read_checkpoint,
    read_config,
    read_kept,
    read_meta,
    tag,
    verify,
    write_checkpoint,
)
from toysup._files import SCHEMA_VERSION, Damaged, read_document, reason, write_document
from toysup._folder import (
    FOLDERS,
    STATE,
    inside,
    is_ours,
    locked,
    make,
    remove_leftovers,
    set_aside,
)
from toysup._grid import Grid
from toysup._merge import merge_stores
from toysup._notes import warn
from toysup._paths import as_path, check_file, check_writable
from toysup.config import TrainConfig
from toysup.errors import StoreError
from toysup.training import Run, load_run, read_summary

__all__ = ["SCHEMA_VERSION", "Store"]

Found = TypeVar("Found")
Packed = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]
# Characters that are kept of a reason.
_MAX_ERROR = 10_000
# What becomes of a run whose state is damaged: another state of its may be there.
_NOT_USED = "and its run does not go on from there"
# The files of a run are named several times in a row.
_key = functools.lru_cache(maxsize=64)(TrainConfig.key)


class Store:
    """A folder that holds one sweep; runs are added and never changed.

    Parameters
    ----------
    path : path-like
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path("store", path)
        self._folders = {name: self.path / name for name in FOLDERS}

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        # Who takes a pickle out again may work in another folder.
        return type(self), (os.path.abspath(self.path),)

    # ------------------------------------------------------------------------------- names

    def folder(self, name: str) -> Path:
        """A folder of the store, which need not be there; one that leads elsewhere is refused."""
        return inside(self._folders[name])

    @property
    def _manifest(self) -> Path:
        return self.path / "sweep.json"

    def run_file(self, config: TrainConfig) -> Path:
        """Where a finished run is."""
        return self.folder("runs") / f"{_key(config)}.npz"

    def failure_file(self, config: TrainConfig) -> Path:
        """Where the record of a failure is."""
        return self.folder("runs") / f"{_key(config)}.failed.json"

    def checkpoint_file(self, config: TrainConfig, maker: str) -> Path:
        """Where the state of a run under way is; that of another maker is of no use to this one."""
        return self.folder("checkpoints") / f"{_key(config)}.{tag(maker)}.npz"

    # ------------------------------------------------------------------------------ the grid

    def grid(self) -> Grid:
        """The grid of the sweep that is stored here.

        If the manifest is damaged it is the smallest grid that holds all runs, with a warning.

        Raises
        ------
        FileNotFoundError
            If there is no store.
        StoreError
            If it cannot be read or is of a later version.
        """
        try:
            return self._read_grid()
        except FileNotFoundError:
            raise FileNotFoundError(f"no sweep is stored in {str(self.path)!r}") from None
        except Damaged as error:
            grid = self._grid_of_runs()
            if grid is None:
                raise
            warn(f"{error}; the grid is that of its runs", stacklevel=2)
            return grid

    def _read_grid(self) -> Grid:
        for name in FOLDERS:
            self.folder(name)
        data = read_document(self._manifest)
        try:
            return Grid.from_json(data["grid"])
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            words = f"not a readable manifest ({str(error)[:200]})"
            raise Damaged(self._manifest, words) from error

    def _grid_of_runs(self) -> Grid | None:
        """The smallest grid that holds all runs whose files can be read; None without any."""
        configs = []
        for path in sorted(self.folder("runs").glob("*.npz")):
            with contextlib.suppress(OSError):  # damaged, or of a later version
                config = read_config(path, read_meta(path))
                if path.stem == config.key():
                    configs.append(config)
        try:
            return Grid.of(configs) if configs else None
        except ValueError as error:
            words = f"{self._manifest}: the runs do not make one grid ({error})"
            raise StoreError(words) from error

    def extend(self, grid: Grid) -> None:
        """Make the store if there is none, and let its grid include ``grid``.

        Nothing is written if it does already. A damaged manifest is set aside and made again from
        the runs.

        Raises
        ------
        StoreError
            If the folder cannot be written, is of a later version, or holds other files.
        ValueError
            If the stored sweep differs in a field that is no axis.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                self._extend(grid)
                for folder in (self.path, self.folder("runs"), self.folder("checkpoints")):
                    remove_leftovers(folder)
        except StoreError:
            raise
        except OSError as error:
            words = f"cannot write a store in {str(self.path)!r}: {reason(error)}"
            raise StoreError(words) from error

    def _extend(self, grid: Grid) -> None:
        """:meth:`extend` while no other sweep does the same."""
        damage = None
        try:
            stored = self._read_grid()
            if stored.holds(grid):
                make(self._folders["runs"])
                return
            grid = stored.merged(grid)
        except (FileNotFoundError, Damaged) as error:
            damage = error if isinstance(error, Damaged) else None
            if damage is None:
                self._refuse_foreign()
            known = self._grid_of_runs()
            grid = grid if known is None else known.merged(grid)
        make(self._folders["runs"])
        if damage is not None:
            set_aside(self.path, damage, "and is made again from the runs")
        write_document(self._manifest, {"grid": grid.to_json()})

    def _refuse_foreign(self) -> None:
        """Refuse a folder without a manifest that holds what no store does."""
        if not all(is_ours(self.path, path) for path in self.path.rglob("*")):
            words = f"{str(self.path)!r} is not a store, and is not empty"
            raise StoreError(words) from None

    def check_target(self) -> None:
        """Refuse, with a ``StoreError``, what cannot be a store; nothing is written."""
        check_file(self._manifest, make=True)
        if not os.path.lexists(self._manifest):
            self._refuse_foreign()

    def check_writable(self) -> None:
        """Refuse, with a ``StoreError``, a store to which no run can be added."""
        check_writable(make(self._folders["runs"]))

    # ------------------------------------------------------------------------------ the runs

    def save(self, run: Run) -> None:
        """Write a finished run, whole or not at all."""
        run.save(self.run_file(run.config))
        self.tidy(run.config)

    def tidy(self, config: TrainConfig) -> None:
        """Remove what a finished run has no use for; if that cannot be done, it does no harm."""
        self.drop_checkpoints(config)
        with contextlib.suppress(OSError):
            self.failure_file(config).unlink(missing_ok=True)

    def save_failure(self, config: TrainConfig, error: str, *, step: int = 0) -> None:
        """Record that a run failed after that many steps; it is tried again by the next sweep."""
        data = {"status": "failed", "error": error[:_MAX_ERROR], "steps_done": step}
        write_document(self.failure_file(config), {"config": json.loads(config.to_json()), **data})

    def load(self, config: TrainConfig) -> Run:
        """The run of a config.

        Raises
        ------
        FileNotFoundError, StoreError
            If it is not there, or not readable, or is the run of another config.
        """
        path = self.run_file(config)
        run = load_run(path)
        if run.config != config:
            raise Damaged(path, "holds the run of another config")
        return run

    def summary(self, config: TrainConfig) -> dict[str, Any] | None:
        """What the data set shows of a run, quickly; None if it has not been trained.

        The status of a file that is damaged, as far as that can be seen quickly, is "damaged".

        Raises
        ------
        StoreError
            If a file cannot be read, or was written by a later version.
        """
        try:
            return self._summary(config)
        except Damaged as error:
            return {"status": "damaged", "error": str(error)}

    def verified(self, config: TrainConfig) -> dict[str, Any] | None:
        """As :meth:`summary`, after the whole file has been compared with its checksum.

        A damaged file is set aside, with a warning; the run is then one that has not been trained.

        Raises
        ------
        StoreError
            As :meth:`summary`, or if a damaged file cannot be moved.
        """

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(FileNotFoundError):
                verify(self.run_file(config), largest(config))
            return self._summary(config)

        found = self._or_set_aside(look, "and the run is trained again")
        if found is not None and found["status"] != "failed":
            self.tidy(config)
        return found

    def _summary(self, config: TrainConfig) -> dict[str, Any] | None:
        """What is known of a run; a damaged file is an error."""
        with contextlib.suppress(FileNotFoundError):
            return read_summary(self.run_file(config), config)
        path = self.failure_file(config)
        try:
            # Each character may take six, and each number of the config a line of its own.
            data = read_document(path, 8 * len(config.to_json()) + 6 * _MAX_ERROR + 4096)
        except FileNotFoundError:
            return None
        error, steps = data.get("error"), data.get("steps_done", 0)
        if not isinstance(error, str) or type(steps) is not int or not 0 <= steps <= config.steps:
            raise Damaged(path, "not a readable record of a failure")
        if not is_of(data, config):
            raise Damaged(path, "is the record of another config")
        return {"status": "failed", "error": error, "steps_done": steps}

    def _or_set_aside(self, look: Callable[[], Found], then: str) -> Found | None:
        """What ``look`` finds; a file that it finds damaged is set aside."""
        try:
            return look()
        except Damaged as error:
            damage = error
        try:
            with locked(self.path):
                try:
                    return look()  # another process may have seen to it
                except Damaged as error:
                    set_aside(self.path, error, then)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"{damage}; it cannot be moved: {reason(error)}") from error
        return None

    # ----------------------------------------------------------------------- runs under way

    def save_checkpoint(
        self, config: TrainConfig, meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Keep the state of a run under way, beside those of other makers."""
        make(self._folders["checkpoints"])
        write_checkpoint(self.checkpoint_file(config, meta["maker"]), config, meta, arrays)

    def kept(self, configs: Iterable[TrainConfig], *, repair: bool = False) -> list[Kept]:
        """The states of these runs, the furthest first; damaged ones are set aside to repair."""
        files = self._states()
        found = []
        for config in configs if files else ():
            for path in files.get(_key(config), ()):
                look = functools.partial(read_kept, path, config)
                with contextlib.suppress(FileNotFoundError):
                    state = self._or_set_aside(look, _NOT_USED) if repair else _readable(look)
                    found += [] if state is None else [state]
        return sorted(found, key=lambda state: -state.step)

    def _states(self) -> dict[str, list[Path]]:
        """The files of states, by the keys of their runs."""
        folder = self.folder("checkpoints")
        files: dict[str, list[Path]] = {}
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                if found := STATE.fullmatch(name):
                    files.setdefault(found[1], []).append(folder / name)
        return files

    def load_checkpoint(self, kept: Kept) -> Packed | None:
        """The whole of a state, from which its run goes on; a damaged one is set aside."""
        look = functools.partial(read_checkpoint, kept.path, kept.config)
        with contextlib.suppress(FileNotFoundError):
            return self._or_set_aside(look, _NOT_USED)
        return None

    def drop_checkpoints(self, config: TrainConfig) -> None:
        """Remove the states of a run; if that cannot be done, it does no harm."""
        for path in self._states().get(_key(config), ()):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def merge(self, sources: Sequence[Store]) -> dict[str, int]:
        """Bring in what other stores hold, which stay as they are.

        Damaged files of theirs are left out, with a warning.

        Returns
        -------
        dict
            Numbers of runs that were ``"copied"``, or ``"known"`` already, of files that were
            ``"damaged"``, and of records of runs that ``"failed"``.

        Raises
        ------
        FileNotFoundError, ValueError, StoreError
            As :meth:`grid` and :meth:`extend`, or if two stores hold different results of the same
            run; then nothing was copied.
        """
        return merge_stores(self, sources)


def _readable(look: Callable[[], Found]) -> Found | None:
    """What ``look`` finds, if it can."""
    with contextlib.suppress(StoreError):
        return look()
    return None
