"""The folder of a sweep: its grid, and one file a run that is named by its config's hash.

==========================  =================================================================
``sweep.json``              the grid
``sweep.N.json``            the grid after N extensions, of which ``sweep.json`` is then a copy
``runs/KEY.npz``            finished runs
``runs/KEY.failed.json``    runs that failed
``checkpoints/KEY.*.npz``   states of runs under way; the second word is a hash of their maker
``data/DIGEST.npz``         the data set that the runs are trained on, if it is one
``damaged/``                files that could not be trusted, set aside by a sweep
``running/*.json``          signs of life of the sweeps that are at work
``running/KEY.claim``       which of these is training that run
==========================  =================================================================
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from toysup._files.paths import as_path, check_file, check_writable
from toysup._files.whole import SCHEMA_VERSION, Damaged, read_document, reason, write_document
from toysup._run.archive import (
    Checkpoint,
    checkpoint_at,
    is_of,
    largest,
    read_checkpoint,
    read_config,
    read_meta,
    tag,
    verify,
    write_checkpoint,
)
from toysup._run.run import Run, load_run, read_summary
from toysup._store.data import check_data, read_data, write_data
from toysup._store.folder import (
    EXTENSION,
    FOLDERS,
    STATE,
    inside,
    is_ours,
    locked,
    make,
    remove_leftovers,
    set_aside,
)
from toysup._store.merge import merge_stores
from toysup._stream.dataset import Dataset, offer
from toysup._text.notes import warn
from toysup.config import TrainConfig
from toysup.config.data import DataRef
from toysup.config.grid import Grid
from toysup.errors import DataError, StoreError

__all__ = ["SCHEMA_VERSION", "Store"]

Found = TypeVar("Found")
Packed = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]
# Characters that are kept of a reason.
_MAX_ERROR = 10_000
# What becomes of a run whose state is damaged: another state of its may be there.
_NOT_USED = "and its run does not go on from there"
# The last extension that can be.
_LAST = 999_999_999
# How often a manifest is looked for that is listed and not found, and the seconds between.
_TRIES, _PAUSE = 100, 0.01


@dataclass
class _Manifests:
    """What the manifests of a store say.

    Attributes
    ----------
    number : int
        That of the latest extension; 0 if there is none.
    grids : dict of int to Grid
        What the latest extension and ``sweep.json``, which is 0, hold, where that can be read.
    damage : list of Damaged
        Where it cannot.
    """

    number: int
    grids: dict[int, Grid] = field(default_factory=dict)
    damage: list[Damaged] = field(default_factory=list)


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
        # Whoever unpickles it may work in another folder.
        return type(self), (os.path.abspath(self.path),)

    # ------------------------------------------------------------------------------- names

    def folder(self, name: str) -> Path:
        """A folder of the store, which need not be there; one that leads elsewhere is refused."""
        return inside(self._folders[name])

    def _manifest(self, number: int = 0) -> Path:
        """The file of an extension; 0 is ``sweep.json``."""
        return self.path / (f"sweep.{number}.json" if number else "sweep.json")

    def run_file(self, config: TrainConfig) -> Path:
        """Where a finished run is."""
        return self.folder("runs") / f"{config.key()}.npz"

    def failure_file(self, config: TrainConfig) -> Path:
        """Where the record of a failure is."""
        return self.folder("runs") / f"{config.key()}.failed.json"

    def data_file(self, ref: DataRef) -> Path:
        """Where a data set is."""
        return self.folder("data") / f"{ref.digest}.npz"

    def checkpoint_file(self, config: TrainConfig, maker: str) -> Path:
        """Where the state of a run under way is; that of another maker is of no use to this one."""
        return self.folder("checkpoints") / f"{config.key()}.{tag(maker)}.npz"

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
        grid = self._grid()
        self.offer_data(grid.fixed["data"])
        return grid

    def _grid(self) -> Grid:
        try:
            return self._read_grid()
        except FileNotFoundError:
            what = ", which is a file" if os.path.isfile(self.path) else ""
            raise FileNotFoundError(f"no sweep is stored in {str(self.path)!r}{what}") from None
        except Damaged as error:
            found = self._manifests()
            grid = self._known(found)
            if grid is None:
                raise
            rest = " and of another manifest" if found.grids else ""
            warn(f"{error}; the grid is that of its runs{rest}", stacklevel=2)
            return grid

    def _read_grid(self) -> Grid:
        """The grid, if no manifest is damaged."""
        found = self._manifests()
        if found.damage:
            raise found.damage[0]
        if 0 not in found.grids:
            raise FileNotFoundError(str(self._manifest()))
        return functools.reduce(Grid.joined, found.grids.values())

    def _extensions(self) -> list[int]:
        """The numbers of the extensions that are there."""
        try:
            names = os.listdir(self.path)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # null characters
            return []
        except OSError as error:
            raise StoreError(f"cannot read {str(self.path)!r}: {reason(error)}") from error
        return [int(found[1]) for name in names if (found := EXTENSION.fullmatch(name))]

    def _manifests(self) -> _Manifests:
        """What ``sweep.json`` says, and the latest extension."""
        for name in FOLDERS:
            self.folder(name)
        for _ in range(_TRIES):
            found = _Manifests(max(self._extensions(), default=0))
            seals: dict[str, Grid] = {}
            try:
                for number in sorted({found.number, 0}, reverse=True):
                    self._read_manifest(number, found, seals)
            except FileNotFoundError:  # a later extension has taken the place of the latest
                time.sleep(_PAUSE)
                continue
            return found
        words = "is listed in its folder, and cannot be found there"
        raise StoreError(f"{self._manifest(found.number)}: {words}")

    def _read_manifest(self, number: int, found: _Manifests, seals: dict[str, Grid]) -> None:
        """Add what a manifest says; ``seals`` are the checksums of what was read before it."""
        path = self._manifest(number)
        try:
            data = read_document(path)
            seal = str(data.get("sha256"))
            try:
                grid = seals.get(seal) or Grid.from_json(data["grid"])
                for other in found.grids.values():
                    other.joined(grid)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
                raise Damaged(path, f"not a readable manifest ({str(error)[:200]})") from error
            found.grids[number] = grid
            seals[seal] = grid  # a copy has the same
        except Damaged as error:
            found.damage.append(error)
        except FileNotFoundError:
            if path.is_symlink():
                found.damage.append(Damaged(path, "is a link that leads nowhere"))
            elif number:
                raise

    def _known(self, found: _Manifests) -> Grid | None:
        """All that is known of the grid; from the runs, too, where a manifest does not say it."""
        grids = list(found.grids.values())
        try:
            if found.damage or 0 not in found.grids:
                runs = self._grid_of_runs()
                grids += [] if runs is None else [runs]
            return functools.reduce(Grid.joined, grids) if grids else None
        except ValueError as error:
            words = f"{self._manifest()}: the runs do not make one grid ({error})"
            raise StoreError(words) from error

    def _grid_of_runs(self) -> Grid | None:
        """The smallest grid that holds all runs whose files can be read; None without any.

        ``ValueError`` if there is no such grid.
        """
        configs = []
        for path in sorted(self.folder("runs").glob("*.npz")):
            with contextlib.suppress(OSError):  # damaged, or of a later version
                config = read_config(path, read_meta(path))
                if path.stem == config.key():
                    configs.append(config)
        return Grid.of(configs) if configs else None

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
        self.check_folder()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                self._extend(grid)
                folders = map(self.folder, ("runs", "checkpoints", "data"))
                for folder in (self.path, *folders):
                    remove_leftovers(folder)
        except StoreError:
            raise
        except OSError as error:
            words = f"cannot write a store in {str(self.path)!r}: {reason(error)}"
            raise StoreError(words) from error

    def _extend(self, grid: Grid) -> None:
        """:meth:`extend`, right without locks, too.

        The extensions are a chain: each holds the one before it, as it was written by who had read
        that, and to a name that was free, which one process alone can do. Who is second reads
        again. An extension is removed only when a later one is on the disk, so that the latest is
        never removed; and its number may come free by that, but who takes it sees that there is a
        later one, and reads again, too. ``sweep.json`` begins the chain, and is a copy later on.
        """
        damage: dict[Path, Damaged] = {}
        while True:
            found = self._manifests()
            damage.update((error.path, error) for error in found.damage)
            if not found.grids and not found.damage:
                self._refuse_foreign()
            known = self._known(found)
            whole = grid if known is None else known.joined(grid)
            make(self._folders["runs"])
            number = found.number
            latest = found.grids.get(number)
            if latest is None or not latest.holds(whole):
                number += 1 if found.grids or found.damage else 0
                if not self._write_manifest(number, whole):
                    continue
                latest = found.grids[number] = whole
            for error in damage.values():
                set_aside(self.path, error, "and is made again from the runs")
            damage.clear()
            copy = found.grids.get(0)
            if copy is None or not copy.holds(latest):
                write_document(self._manifest(), {"grid": latest.to_json()})
            extensions = self._extensions()
            if max(extensions, default=0) == number:
                break
        for old in extensions:
            if old != number:
                with contextlib.suppress(OSError):
                    self._manifest(old).unlink()

    def _write_manifest(self, number: int, grid: Grid) -> bool:
        """Write the next manifest; False if another process was first."""
        path = self._manifest(number)
        if number > _LAST:
            raise StoreError(f"{self._manifest(_LAST)}: is the last that can be: move it elsewhere")
        try:
            write_document(path, {"grid": grid.to_json()}, new=True)
        except FileExistsError:
            return False
        return True

    def _refuse_foreign(self) -> None:
        """Refuse a folder without a manifest that holds what no store does."""
        found = (  # folders that go meanwhile are none: another sweep may have left
            Path(root, name)
            for root, folders, files in os.walk(self.path)
            for name in (*folders, *files)
        )
        if not all(is_ours(self.path, path) for path in found):
            words = f"{str(self.path)!r} is not a store, and is not empty"
            raise StoreError(words) from None

    def check_folder(self) -> None:
        """Refuse, with a ``StoreError``, a file where a store has its folder."""
        if os.path.isfile(self.path):
            raise StoreError(f"{str(self.path)!r} is a file, and a store is a folder")

    def check_target(self) -> None:
        """Refuse, with a ``StoreError``, what cannot be a store; nothing is written."""
        self.check_folder()
        check_file(self._manifest(), make=True)
        if not os.path.lexists(self._manifest()):
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
        self.offer_data(run.config.data)
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

    def knows(self, config: TrainConfig) -> bool:
        """Whether there is a file of a run, whatever it says; more quickly than :meth:`summary`."""
        return os.path.lexists(self.run_file(config)) or os.path.lexists(self.failure_file(config))

    def verified(self, config: TrainConfig) -> dict[str, Any] | None:
        """As :meth:`summary`, after the whole file has been compared with its checksum.

        A damaged file is set aside, with a warning; the run is then one that has not been trained.

        Raises
        ------
        StoreError
            As :meth:`summary`, or if a damaged file cannot be moved.
        """

        def reading() -> dict[str, Any] | None:
            with contextlib.suppress(FileNotFoundError):
                verify(self.run_file(config), largest(config))
            return self._summary(config)

        found = self._or_set_aside(reading, "and the run is trained again")
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
        error, steps = data.get("error"), data.get("steps_done")
        if not isinstance(error, str) or type(steps) is not int or not 0 <= steps <= config.steps:
            raise Damaged(path, "not a readable record of a failure")
        if not is_of(data, config):
            raise Damaged(path, "is the record of another config")
        return {"status": "failed", "error": error, "steps_done": steps}

    def _or_set_aside(self, reading: Callable[[], Found], then: str) -> Found | None:
        """What ``reading`` finds; a file that it finds damaged is set aside."""
        try:
            return reading()
        except Damaged as error:
            damage = error
        try:
            with locked(self.path):
                try:
                    return reading()  # another process may have seen to it
                except Damaged as error:
                    set_aside(self.path, error, then)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"{damage}; it cannot be moved: {reason(error)}") from error
        return None

    # -------------------------------------------------------------------------- the data set

    def keep_data(self, data: Dataset) -> None:
        """Write a data set, unless it is there; a damaged file is set aside, with a warning."""
        ref, path = data.ref, self.data_file(data.ref)
        with contextlib.suppress(FileNotFoundError):
            reading = functools.partial(check_data, path, ref)
            if self._or_set_aside(lambda: reading() is None, "and is written again"):
                return
        make(self._folders["data"])
        write_data(path, data)

    def data(self, ref: DataRef) -> Dataset:
        """The data set of that digest.

        Raises
        ------
        DataError
            If it is not there.
        StoreError
            If its file is damaged, or cannot be read.
        """
        try:
            return read_data(self.data_file(ref), ref)
        except FileNotFoundError:
            raise DataError(
                f"the rows of the data set {ref.digest[:12]} ({ref.rows:,} rows of {ref.n:,} "
                f"features) are not in {str(self.path)!r} any more: make the Dataset again"
            ) from None

    def offer_data(self, ref: DataRef | None) -> None:
        """Let a config look here for its data set, if it does not know where that is."""
        if ref is not None:
            offer(ref, functools.partial(self.data, ref))

    # ----------------------------------------------------------------------- runs under way

    def save_checkpoint(
        self, config: TrainConfig, meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Keep the state of a run under way, beside those of other makers."""
        make(self._folders["checkpoints"])
        write_checkpoint(self.checkpoint_file(config, meta["maker"]), config, meta, arrays)

    def checkpoints(
        self, configs: Iterable[TrainConfig], *, repair: bool = False
    ) -> list[Checkpoint]:
        """The checkpoints of these runs, most steps first; ``repair`` sets damaged ones aside."""
        files = self._states()
        found = []
        for config in configs if files else ():
            for path in files.get(config.key(), ()):
                reading = functools.partial(checkpoint_at, path, config)
                with contextlib.suppress(FileNotFoundError):
                    one = self._or_set_aside(reading, _NOT_USED) if repair else _readable(reading)
                    found += [] if one is None else [one]
        return sorted(found, key=lambda one: -one.step)

    def _states(self) -> dict[str, list[Path]]:
        """The files of states, by the keys of their runs."""
        folder = self.folder("checkpoints")
        files: dict[str, list[Path]] = {}
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                if found := STATE.fullmatch(name):
                    files.setdefault(found[1], []).append(folder / name)
        return files

    def is_intact(self, checkpoint: Checkpoint) -> bool:
        """Whether the whole of a checkpoint is as it was written; a damaged one is set aside."""
        reading = functools.partial(verify, checkpoint.path, checkpoint.config.memory())
        with contextlib.suppress(FileNotFoundError):
            return self._or_set_aside(lambda: reading() is None, _NOT_USED) is not None
        return False

    def load_checkpoint(self, checkpoint: Checkpoint) -> Packed | None:
        """The state in a checkpoint, from which its run goes on; a damaged one is set aside."""
        reading = functools.partial(read_checkpoint, checkpoint.path, checkpoint.config)
        with contextlib.suppress(FileNotFoundError):
            return self._or_set_aside(reading, _NOT_USED)
        return None

    def drop_checkpoints(self, config: TrainConfig) -> None:
        """Remove the states of a run; if that cannot be done, it does no harm."""
        for path in self._states().get(config.key(), ()):
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


def _readable(reading: Callable[[], Found]) -> Found | None:
    """What ``reading`` finds, if it can."""
    with contextlib.suppress(StoreError):
        return reading()
    return None
