"""Writing goes wrong at every place where it can: the old state or the new one, nothing between."""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import kept_state, run_bits
from soak import soak
from toysup import StoreError, TrainConfig, open_sweep, sweep, train
from toysup._files import whole as files
from toysup._store.store import Store
from toysup.config.grid import Grid

pytestmark = pytest.mark.any_backend
SMALL = TrainConfig(n=12, m=2, T=4, sparsity=0.7, steps=10, test_size=20, record=3)
OTHER = SMALL.replace(T=6)
CODES = soak([errno.ENOSPC], [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT])


class Killed(BaseException):
    """The process ends here."""


class Faulty:
    """Counts the calls of the system and lets the k-th fail, or end the process.

    After a process has ended, no call of it has any effect.
    """

    def __init__(self, at: int, code: int | None) -> None:
        self.at, self.code, self.calls, self.failed = at, code, 0, False

    def __call__(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.code is None and self.failed:
            raise Killed
        self.calls += 1
        if self.calls - 1 != self.at:
            return real(*args, **kwargs)
        self.failed = True
        if self.code is None:
            raise Killed
        raise OSError(self.code, os.strerror(self.code))


class FaultyFile:
    """A file whose writing and flushing may fail, after half of it."""

    def __init__(self, fault: Faulty, file: Any) -> None:
        self._fault, self._file = fault, file

    def write(self, data: Any) -> Any:
        half = len(data) // 2
        self._file.write(bytes(data[:half]))
        return half + self._fault(self._file.write, bytes(data[half:]))

    def flush(self) -> None:
        self._fault(self._file.flush)

    def fileno(self) -> int:
        return int(self._file.fileno())

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int | None], Any]:
    """Let the k-th call of the system fail with a code, or end the process if that is None."""
    names = ("fsync", "replace", "open", "link", "unlink", "mkdir")
    real = {name: getattr(os, name) for name in names}

    @contextlib.contextmanager
    def injecting(at: int, code: int | None) -> Iterator[Faulty]:
        fault = Faulty(at, code)

        def open_file(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if "x" not in mode:
                return builtins.open(path, mode, *args, **kwargs)
            return FaultyFile(fault, fault(builtins.open, path, mode, *args, **kwargs))

        with monkeypatch.context() as patch:
            patch.setattr(files, "open", open_file, raising=False)
            for name, call in real.items():
                patch.setattr(os, name, lambda *a, call=call, **k: fault(call, *a, **k))
            yield fault

    return injecting


def state(path: Path) -> dict[str, Any]:
    """All that a store knows, by another process that opens it."""
    store = Store(path)
    try:
        grid = store.grid()
    except FileNotFoundError:
        return {}
    found: dict[str, Any] = {"axes": grid.axes}
    for T in (4, 6):
        config = SMALL.replace(T=T)
        summary = store.verified(config)
        if summary is not None and summary["status"] != "failed":
            summary = {**summary, "bits": run_bits(store.load(config))}
        checkpoint = kept_state(store, config)
        step = None if checkpoint is None else checkpoint[0]["step"]
        found[f"T={T}"] = (summary, step)
    return found


RUNS = {T: train(SMALL, T=T) for T in (4, 6)}
ARRAYS = {"W": np.arange(100.0)}


def save_new(store: Store) -> None:
    store.save(RUNS[6])


def save_again(store: Store) -> None:
    store.save(RUNS[4])


def fail(store: Store) -> None:
    store.save_failure(OTHER, "another failure", step=2)


def extend(store: Store) -> None:
    store.extend(Grid.make(SMALL, {"T": [5, 7], "seed": [0, 1]}))


def checkpoint(store: Store) -> None:
    store.save_checkpoint(OTHER, {"step": 8, "maker": "me"}, ARRAYS)


def begin(store: Store) -> None:
    Store(store.path / "deep" / "new").extend(Grid.make(SMALL, {"T": [4]}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a run, a failure and a checkpoint."""
    store = Store(tmp_path / "store")
    store.extend(Grid.make(SMALL, {"T": [4, 6]}))
    store.save(RUNS[4])
    store.save_failure(OTHER, "a failure", step=1)
    store.save_checkpoint(OTHER, {"step": 4, "maker": "me"}, ARRAYS)
    return store


@pytest.mark.parametrize("action", [save_new, save_again, fail, extend, checkpoint])
def test_a_fault_anywhere_leaves_the_old_state_or_the_new(
    store: Store, tmp_path: Path, inject: Any, action: Callable[[Store], None]
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(store.path, kept)
    old = state(store.path)
    action(store)
    new = state(store.path)
    injected = 0
    for code in [*CODES, None]:
        for at in range(100):
            shutil.rmtree(store.path)
            shutil.copytree(kept, store.path)
            with inject(at, code) as fault:
                try:
                    action(store)
                except (StoreError, Killed) as error:
                    assert not isinstance(error, StoreError) or os.strerror(code) in str(error)
                else:
                    assert code is not None or not fault.failed
            if not fault.failed:
                break  # a whole action without a fault
            injected += 1
            found = state(store.path)
            allowed = [old, new]
            if action is save_new:  # the run is there, and its failure and checkpoint still are
                allowed.append({**new, "T=6": (new["T=6"][0], 4)})
            assert found in allowed
            if code is not None:
                assert not list(store.path.rglob("*.tmp")) or fault.at > 0
            action(store)  # and it can be done after all
            assert state(store.path) == new
        else:
            pytest.fail("it does not end")
    print(f"{injected} faults injected into {action.__name__}")
    assert injected >= 5 * len(CODES) + 5


def test_a_fault_at_the_beginning_of_a_store(tmp_path: Path, inject: Any) -> None:
    injected = 0
    for code in [*CODES, None]:
        for at in range(100):
            store = Store(tmp_path / "new")
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            with inject(at, code) as fault, contextlib.suppress(StoreError, Killed):
                begin(store)
            if not fault.failed:
                break
            injected += 1
            assert state(store.path / "deep" / "new") in ({}, state_of_none())
            begin(store)
            assert state(store.path / "deep" / "new") == state_of_none()
    print(f"{injected} faults injected into the beginning of a store")
    assert injected > 7 * len(CODES)


def state_of_none() -> dict[str, Any]:
    return {"axes": {"T": [4]}, "T=4": (None, None), "T=6": (None, None)}


@pytest.mark.parametrize("code", [errno.ENOSPC, None])
def test_a_fault_anywhere_in_a_sweep_loses_no_finished_run(
    backend: object, tmp_path: Path, inject: Any, code: int | None
) -> None:
    """Whatever was there before is there afterwards, and the next sweep ends the same."""
    alone = [run_bits(run) for run in sweep(SMALL, T=[4, 6, 8]).runs()]
    sweep(SMALL, T=[4], store=tmp_path / "first")
    injected = 0
    for at in range(0, 200, soak(2, 1)):
        path = tmp_path / str(at)
        shutil.copytree(tmp_path / "first", path)
        with inject(at, code) as fault, contextlib.suppress(StoreError, Killed):
            sweep(SMALL, T=[4, 6, 8], store=path, n_jobs=1, progress=False)
        after = sweep(SMALL, T=[4, 6, 8], store=path, progress=False)
        [first] = (tmp_path / "first" / "runs").iterdir()
        assert (path / "runs" / first.name).read_bytes() == first.read_bytes()
        assert [run_bits(run) for run in after.runs()] == alone
        assert not (path / "damaged").exists()
        if not fault.failed:
            break
        injected += 1
    print(f"{injected} faults injected into sweeps")
    assert injected >= 15


def test_a_folder_that_cannot_be_flushed_is_no_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    save_new(store)
    assert store.verified(OTHER) == RUNS[6].summary()


def test_what_may_be_lost_is_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace_file(tmp_path / "x", lambda file: file.write(b"x"), durable=False)
    assert (tmp_path / "x").read_bytes() == b"x"
    with pytest.raises(AssertionError):
        files.replace_file(tmp_path / "y", lambda file: file.write(b"y"))
    assert not (tmp_path / "y").exists() and len(list(tmp_path.iterdir())) == 1


# -------------------------------------------------------------------- real file systems


def mount(*arguments: str) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 512 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(
    backend: Any, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**SMALL.to_dict(), "T": [4, 6, 8, 10], "seed": range(4)}
    expected = {run.config.key(): run_bits(run) for run in sweep(**fields).runs()}
    alone = list(expected.values())
    real, ended = backend.train_many, set()

    def train_many(configs: Any, n_jobs: int, on_result: Any, *rest: Any) -> None:
        def seen(i: int, raw: Any) -> None:
            ended.add(configs[i].key())
            on_result(i, raw)

        real(configs, n_jobs, seen, *rest)

    filler = disk / "filler"
    (disk / "store").mkdir()
    filler.write_bytes(bytes(470 << 10))
    with (
        monkeypatch.context() as patch,
        pytest.raises(StoreError, match=r"cannot write.*No space left on device") as caught,
    ):
        patch.setattr(backend, "train_many", train_many)
        sweep(**fields, store=disk / "store", n_jobs=1)
    path = Path(str(caught.value).split("'")[1])
    assert disk / "store" / "runs" == path.parent
    # Several may end before the first cannot be stored, and some may fit at the end, when claims
    # make room. Whatever ended is stored or handed over, and whole.
    kept = {run.config.key(): run_bits(run) for run in open_sweep(disk / "store").runs()}
    handed = {run.config.key(): run_bits(run) for run in caught.value.runs}
    assert kept.keys() | handed.keys() == ended and path.stem in ended
    assert not kept.keys() & handed.keys()
    assert (kept | handed).items() <= expected.items()
    assert not list(disk.rglob("*.tmp"))
    assert set(open_sweep(disk / "store").statuses) == {"ok", "missing"}
    filler.unlink()
    after = sweep(**fields, store=disk / "store")
    assert [run_bits(run) for run in after.runs()] == alone
    assert [run_bits(run) for run in open_sweep(disk / "store").runs()] == alone


def test_a_disk_without_room_for_a_manifest(backend: object, disk: Path) -> None:
    (disk / "store").mkdir()
    with contextlib.suppress(OSError), open(disk / "filler", "wb") as file:
        file.write(bytes(1 << 20))
    with pytest.raises(StoreError, match=r"cannot write.*No space left on device"):
        sweep(SMALL, store=disk / "store")
    with pytest.raises(StoreError, match=r"cannot write in.*runs.*No space left on device"):
        Store(disk / "store").check_writable()
    (disk / "filler").unlink()
    Store(disk / "store").check_writable()
    assert len(sweep(SMALL, store=disk / "store")) == 1


def test_a_file_system_that_is_read_only(backend: object, disk: Path) -> None:
    before = sweep(SMALL, T=[4, 6], store=disk / "store")
    mount("-o", "remount,ro", str(disk))
    again = sweep(SMALL, T=[4, 6], store=disk / "store")  # a finished sweep needs no writing
    assert [run_bits(r) for r in again.runs()] == [run_bits(r) for r in before.runs()]
    with pytest.raises(StoreError, match=r"cannot write.*store.*Read-only file system"):
        sweep(SMALL, T=[4, 8], store=disk / "store")
    with pytest.raises(StoreError, match=r"cannot write.*Read-only file system"):
        sweep(SMALL, store=disk / "other")
    with pytest.raises(StoreError, match=r"cannot write in.*runs.*Read-only file system"):
        Store(disk / "store").check_writable()
    mount("-o", "remount,rw", str(disk))
    assert len(sweep(SMALL, T=[4, 8], store=disk / "store")) == 2


UNPRIVILEGED = """
import json, os, sys, numpy, xarray, toysup
from toysup._store.store import Store
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
fields = json.loads(sys.argv[2])
print(len(toysup.sweep(**fields, T=[4, 6], store=sys.argv[1])))
for use in (
    lambda: toysup.sweep(**fields, T=[4, 8], store=sys.argv[1]),
    lambda: Store(sys.argv[1]).check_writable(),
    lambda: toysup.sweep(**fields, T=[4], store=sys.argv[1] + "/new"),
):
    try:
        use()
    except toysup.StoreError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such rights")
def test_a_folder_of_somebody_else(backend: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sweep(SMALL, T=[4, 6], store=store)
    fields = {k: v for k, v in SMALL.to_dict().items() if k != "T"}
    for folder in (store, store / "runs"):
        folder.chmod(0o555)
    parents = [p for p in tmp_path.parents if p.stat().st_uid == os.geteuid() and p != Path("/")]
    rights = {p: p.stat().st_mode & 0o7777 for p in [tmp_path, *parents]}
    try:
        for path in rights:
            path.chmod(rights[path] | 0o055)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(store), json.dumps(fields)],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "TOYSUP_BACKEND": backend.name},
        )  # fmt: skip
    finally:
        for path, mode in rights.items():
            path.chmod(mode)
        for folder in (store, store / "runs"):
            folder.chmod(0o755)
    if "Permission denied" in done.stderr and "site-packages" in done.stderr:
        pytest.skip("Python itself cannot be read by another user")
    assert done.returncode == 0, done.stderr
    count, *errors = done.stdout.splitlines()
    assert count == "2" and len(errors) == 3, done.stdout
    for error in errors:
        assert "cannot write" in error and str(store) in error and "Permission denied" in error
    assert len(sweep(SMALL, T=[4, 8], store=store)) == 2
