"""What a store promises: it keeps what was done, continues, and is never half written."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import random
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import toysup
from helpers import kept_state, run_bits
from toysup import (
    RunFailedError,
    StoreError,
    SweepResult,
    TrainConfig,
    load_run,
    open_sweep,
    sweep,
    train,
)
from toysup._files.whole import read_document, write_document
from toysup._store.store import Store
from toysup.config.grid import Grid

pytestmark = pytest.mark.any_backend
SMALL = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=20, learning_rate=0.01, test_size=30)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"<folder>"
        for path in sorted(folder.rglob("*"))
    }


def assert_same_sweep(a: SweepResult, b: SweepResult) -> None:
    """Same grid and bit for bit the same runs; only the seconds may differ."""
    assert a.dims == b.dims and a.coords == b.coords and a.configs == b.configs
    assert [run_bits(run) for run in a.runs()] == [run_bits(run) for run in b.runs()]
    assert [run.config for run in a.runs()] == [run.config for run in b.runs()]
    drop = ["seconds"]
    assert a.dataset.drop_vars(drop).identical(b.dataset.drop_vars(drop))


@pytest.fixture
def trained(backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The configs that are trained from here on."""
    real, found = backend.train_many, []

    def train_many(configs, n_jobs, on_result, poll, *rest):
        found.extend(configs)
        real(configs, n_jobs, on_result, poll, *rest)

    monkeypatch.setattr(backend, "train_many", train_many)
    return found


@pytest.fixture
def store(backend: Any, tmp_path: Path) -> Path:
    """A store with two runs."""
    sweep(SMALL, T=[4, 6], store=tmp_path / "store")
    return tmp_path / "store"


# ---------------------------------------- what it keeps


def test_a_stored_sweep_is_the_sweep(backend, tmp_path):
    axes: dict[str, Any] = {
        "T": [4, math.inf],
        "seed": range(2),
        "betas": [(0.5, 0.9), (0.9, 0.99)],
    }
    alone = sweep(SMALL, batch_size=3, **axes)
    stored = sweep(SMALL, batch_size=3, store=tmp_path / "a" / "b", **axes)  # parents are made
    opened = open_sweep(tmp_path / "a" / "b")
    again = open_sweep(str(tmp_path / "a" / "b"))
    for res in (stored, opened, again):
        assert_same_sweep(alone, res)
    assert opened.dataset.identical(stored.dataset)  # the seconds too
    assert not opened.interrupted and not opened.failed
    assert opened.best("seed").dataset.identical(stored.best("seed").dataset)


ARRAY = (1.0, 0.25, *[0.5] * 10)


@pytest.mark.parametrize(
    "changes, axes",
    [
        ({}, {}),
        ({"importance": ARRAY}, {}),
        ({"importance": ARRAY}, {"seed": [0, 1]}),
        ({}, {"importance": [ARRAY, (1.0,) * 12]}),
        ({}, {"importance": [0.5, ARRAY]}),
        ({"betas": (0.5, 0.75)}, {"T": [4]}),
        ({}, {"betas": [(0.5, 0.75)]}),
        ({"T": math.inf, "batch_size": 3}, {}),
        ({"T": math.inf, "batch_size": 3}, {"T": [math.inf, 4]}),
        ({"T": math.inf, "batch_size": 3}, {"T": [4, math.inf]}),
        ({"T": math.inf}, {"batch_size": [3, 4]}),
        ({"init_seed": 3}, {"optimizer": ["sgd", "adam"]}),
        ({}, {"dtype": ["float64"], "normalize": [False, True], "m": [3, 1]}),
    ],
)
def test_any_grid_survives_its_store(backend, trained, tmp_path, changes, axes):
    stored = sweep(SMALL.replace(**changes), **axes, store=tmp_path / "s")
    assert sorted(stored.dims) == sorted(axes)
    assert_same_sweep(stored, open_sweep(tmp_path / "s"))
    del trained[:]
    assert_same_sweep(stored, sweep(SMALL.replace(**changes), **axes, store=tmp_path / "s"))
    assert not trained


def test_diverged_runs_are_kept(backend, trained, tmp_path):
    res = sweep(SMALL, optimizer="sgd", learning_rate=[0.01, 1e30], store=tmp_path)
    opened = open_sweep(tmp_path)
    assert_same_sweep(res, opened)
    assert opened.failed == res.failed and opened.run(learning_rate=1e30).status == "diverged"
    sweep(SMALL, optimizer="sgd", learning_rate=[0.01, 1e30], store=tmp_path)
    assert len(trained) == 2


def test_a_run_of_a_store_is_a_run_file(store):
    files = sorted((store / "runs").iterdir())
    runs = {run.config.key(): run for run in open_sweep(store).runs()}
    assert [path.name for path in files] == sorted(f"{key}.npz" for key in runs)
    for path in files:
        assert run_bits(load_run(path)) == run_bits(runs[path.stem])


def test_a_store_holds_nothing_but_the_manifest_and_the_runs(store):
    assert sorted(path.name for path in store.iterdir()) == ["runs", "sweep.json"]
    assert {path.suffix for path in (store / "runs").iterdir()} == {".npz"}
    manifest = json.loads((store / "sweep.json").read_text())
    assert manifest["schema_version"] == 3 and manifest["toysup"] == toysup.__version__


def test_the_folder_may_be_moved(store, tmp_path):
    before = open_sweep(store).dataset
    shutil.move(store, tmp_path / "elsewhere")
    assert open_sweep(tmp_path / "elsewhere").dataset.identical(before)


def test_an_empty_folder_becomes_a_store(backend, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(sweep(SMALL, store=tmp_path / "empty")) == 1


def test_a_store_in_the_current_folder(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep(SMALL, T=[4], store="here")
    assert len(open_sweep("here")) == 1 and (tmp_path / "here" / "sweep.json").is_file()


# ---------------------------------------- how it continues


def test_a_second_call_trains_nothing(backend, store, trained):
    before = contents(store)
    times = {path: path.stat().st_mtime_ns for path in (store / "runs").iterdir()}
    res = sweep(SMALL, T=[4, 6], store=store)
    assert not trained and contents(store) == before
    assert {path: path.stat().st_mtime_ns for path in (store / "runs").iterdir()} == times
    assert_same_sweep(res, sweep(SMALL, T=[4, 6]))


def test_only_what_is_missing_is_trained(backend, store, trained):
    [lost] = [p for p in (store / "runs").iterdir() if load_run(p).config.T == 6]
    kept = contents(store)
    lost.unlink()
    assert open_sweep(store).dataset.status.values.tolist() == ["ok", "missing"]
    res = sweep(SMALL, T=[4, 6], store=store)
    assert trained == [SMALL.replace(T=6)]
    after = contents(store)
    assert after.keys() == kept.keys()
    assert all(after[name] == kept[name] for name in kept if name != f"runs/{lost.name}")
    assert_same_sweep(res, sweep(SMALL, T=[4, 6]))


def test_missing_runs_say_so(store):
    for path in (store / "runs").iterdir():
        path.unlink()
    res = open_sweep(store)
    assert np.isnan(res.dataset.train_loss).all() and not list(res.runs()) and not res.failed
    assert repr(res) == "<toysup.SweepResult (T: 2): 2 runs, 2 missing>"
    with pytest.raises(ValueError, match="the run at T=4 is missing"):
        res.run(T=4)


def test_an_axis_is_extended(backend, store, trained):
    before = contents(store)
    res = sweep(SMALL, T=[6, 5], store=store)
    assert res.coords == {"T": [6, 5]}  # a result has what was asked for
    assert trained == [SMALL.replace(T=5)]
    assert open_sweep(store).coords == {"T": [4, 5, 6]}  # and the store everything, in order
    assert_same_sweep(open_sweep(store), sweep(SMALL, T=[4, 5, 6]))
    after = contents(store)
    assert all(after[name] == before[name] for name in before if name != "sweep.json")


def test_a_field_becomes_an_axis(backend, store, trained):
    res = sweep(SMALL, T=[4, 6], seed=[0, 1], store=store)
    assert {c.seed for c in trained} == {1} and len(trained) == 2
    assert_same_sweep(res, open_sweep(store))
    del trained[:]
    sweep(SMALL, T=4, store=store)  # and one cell of it may be asked for alone
    assert not trained and open_sweep(store).dims == ("T", "seed")


def test_two_grids_are_merged_into_one_and_the_rest_is_missing(backend, store, trained):
    sweep(SMALL, T=[8], seed=[1], weight_decay=[0.5], store=store)
    res = open_sweep(store)
    assert res.dims == ("T", "seed", "weight_decay")
    assert res.coords == {"T": [4, 6, 8], "seed": [0, 1], "weight_decay": [0.01, 0.5]}
    status = res.dataset.status
    assert int((status == "ok").sum()) == 3 and int((status == "missing").sum()) == 9
    assert status.sel(T=8, seed=1, weight_decay=0.5) == "ok"
    assert len(trained) == 1
    assert_same_sweep(sweep(SMALL, **res.coords, store=store), sweep(SMALL, **res.coords))


@given(
    first=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    second=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
)
@settings(max_examples=8)
def test_merging_is_the_union_of_the_axes(backend, tmp_path_factory, first, second, seeds):
    folder = tmp_path_factory.mktemp("merge")
    config = SMALL.replace(steps=2, test_size=0, record=1)
    sweep(config, T=first, store=folder)
    sweep(config, T=second, seed=seeds, store=folder)
    res = open_sweep(folder)
    assert res.coords["T"] == sorted({*first, *second})
    assert res.coords["seed"] == sorted({0, *seeds})
    done = {(T, 0) for T in first} | {(T, seed) for T in second for seed in seeds}
    assert {(run.config.T, run.config.seed) for run in res.runs()} == done


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 21}, ["steps is 20 in the sweep that is stored", "not 21"]),
        ({"n": 13}, ["n is 12", "not 13"]),
        ({"importance": 0.5}, ["importance is 1.0", "not 0.5"]),
        ({"optimizer": "sgd"}, ["optimizer is 'adamw'", "not 'sgd'"]),
        ({"betas": (0.5, 0.9)}, ["betas is (0.9, 0.999)", "not (0.5, 0.9)"]),
        ({"seed": 1}, ["seed is 0", "not 1"]),
        ({"init_seed": 0}, ["init_seed is None", "not 0"]),
        ({"dtype": "float64"}, ["dtype is 'float32'", "not 'float64'"]),
    ],
)
def test_another_sweep_is_refused_and_nothing_written(backend, store, trained, changes, words):
    before = contents(store)
    with pytest.raises(ValueError) as caught:
        sweep(SMALL.replace(**changes), T=[4, 8], store=store)
    assert all(word in str(caught.value) for word in words), caught.value
    assert contents(store) == before and not trained


def test_infinite_T_joins_a_store_of_finite_T(backend, store):
    sweep(SMALL, T=[4, math.inf], batch_size=3, store=store)
    res = open_sweep(store)
    assert res.coords == {"T": [4, 6, math.inf]}
    assert res.run(T=math.inf).config.batch_size == 3


def test_a_failure_is_recorded_and_tried_again(backend, tmp_path, monkeypatch):
    from toysup._backends.protocol import Failed

    with monkeypatch.context() as patch:
        patch.setattr(
            backend,
            "train_many",
            lambda configs, jobs, on, *rest: on(0, Failed("ValueError: no")),
        )
        with pytest.raises(RunFailedError, match="ValueError: no") as caught:
            sweep(SMALL, T=[4], store=tmp_path)
        res = caught.value.result
    opened = open_sweep(tmp_path)
    for r in (res, opened):
        assert r.failed == [(SMALL.replace(T=4), "ValueError: no")] and not list(r.runs())
        assert r.dataset.status.values.tolist() == ["failed"]
    again = sweep(SMALL, T=[4], store=tmp_path)
    assert not again.failed and not open_sweep(tmp_path).failed
    assert sorted(p.suffix for p in (tmp_path / "runs").iterdir()) == [".npz"]


# ---------------------------------------- never half written


def no_space(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


FAILURES = [
    (os, "replace", no_space),
    (os, "fsync", no_space),
]


@pytest.mark.parametrize("module, name, failure", FAILURES)
def test_a_failing_write_leaves_the_old_run_and_nothing_else(
    backend, tmp_path, monkeypatch, module, name, failure
):
    path = train(SMALL).save(tmp_path / "run.npz")
    other = train(SMALL, seed=1)
    before = contents(tmp_path)
    monkeypatch.setattr(module, name, failure)
    for target in (path, tmp_path / "new.npz"):
        with pytest.raises(StoreError, match=f"cannot write.*{target.name}.*No space left"):
            other.save(target)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("module, name", [(os, "replace"), (os, "fsync"), (zipfile, "ZipFile")])
def test_a_write_that_is_interrupted_leaves_nothing(backend, tmp_path, monkeypatch, module, name):
    run = train(SMALL)
    monkeypatch.setattr(module, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "run.npz")
    assert contents(tmp_path) == {}


def fail_after(count: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Let all but the first calls fail, other than signs of life: their number depends on time."""

    def limited(*args: Any) -> Any:
        nonlocal count
        if isinstance(args[-1], Path) and args[-1].parent.name == "running":
            return real(*args)
        count -= 1
        return real(*args) if count >= 0 else no_space()

    return limited


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_full_disk_ends_the_sweep_and_what_was_written_stays(
    backend, store, monkeypatch, trained, name
):
    before = contents(store)
    with monkeypatch.context() as patch:  # the manifest's copy and one run fit
        writes = {"replace": 2, "fsync": 6}[name]  # "fsync": files and their folders
        patch.setattr(os, name, fail_after(writes, getattr(os, name)))
        with pytest.raises(StoreError, match="No space left on device"):
            sweep(SMALL, T=[4, 6, 8, 10, 12], store=store, n_jobs=1)
    after = contents(store)
    assert not [path for path in after if ".tmp" in path]
    assert len(after) == len(before) + 2
    assert all(after[path] == before[path] for path in before if path != "sweep.json")
    del trained[:]
    res = sweep(SMALL, T=[4, 6, 8, 10, 12], store=store)
    assert len(trained) == 2
    assert_same_sweep(res, sweep(SMALL, T=[4, 6, 8, 10, 12]))


@pytest.mark.parametrize("names", [("link", "rename"), ("fsync",)])
def test_a_full_disk_leaves_the_old_manifest(backend, store, monkeypatch, trained, names):
    before = contents(store)
    for name in names:
        monkeypatch.setattr(os, name, no_space)
    with pytest.raises(StoreError, match=r"cannot write.*sweep\.1\.json.*No space left"):
        sweep(SMALL, T=[4, 8], store=store)
    assert contents(store) == before and not trained


# ---------------------------------------- extended by several processes, with no locks


class Killed(BaseException):
    """The process ends here."""


class Processes:
    """Extensions of one store, a thread each, of which one at a time makes a step."""

    STEPS = ("listdir", "link", "replace", "unlink", "rename")

    def __init__(self, patch: pytest.MonkeyPatch, store: Path, grids: list[Grid]) -> None:
        self.outcomes: dict[int, object] = {}
        self._turns = [threading.Semaphore(0) for _ in grids]
        self._back, self._mine, self._dead = threading.Semaphore(0), threading.local(), set[int]()
        patch.setattr("toysup._store.store.locked", lambda path: contextlib.nullcontext())
        for name in self.STEPS:
            patch.setattr(os, name, self._step(getattr(os, name)))
        patch.setattr("toysup._store.store.read_document", self._step(read_document))
        self._threads = [
            threading.Thread(target=self._extend, args=(i, store, grid), daemon=True)
            for i, grid in enumerate(grids)
        ]
        for thread in self._threads:
            thread.start()

    def _wait(self) -> None:
        self._turns[self._mine.i].acquire()
        if self._mine.i in self._dead:
            raise Killed

    def _step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if hasattr(self._mine, "i"):
                self._back.release()
                self._wait()
            return real(*args, **kwargs)

        return step

    def _extend(self, i: int, store: Path, grid: Grid) -> None:
        self._mine.i = i
        try:
            self._wait()
            Store(store).extend(grid)
            self.outcomes[i] = "done"
        except BaseException as error:  # noqa: BLE001
            self.outcomes[i] = error
        self._back.release()

    def left(self) -> list[int]:
        """Who has not ended."""
        return [i for i in range(len(self._threads)) if i not in self.outcomes]

    def step(self, i: int, *, kill: bool = False) -> None:
        """Let one of them make its next step, or end at it."""
        self._dead |= {i} if kill else set()
        self._turns[i].release()
        assert self._back.acquire(timeout=60)


def no_locks(kind: str) -> Callable[..., None]:
    def flock(*args: Any) -> None:
        if kind == "fails":
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    return flock


def test_no_order_of_steps_loses_a_value(tmp_path):
    for seed in range(30):
        draw, store = random.Random(seed), tmp_path / str(seed)
        known, kills = [[], [8], [8, 9]][seed % 3], seed % 2
        for T in known:
            Store(store).extend(Grid.make(SMALL, {"T": [T]}))
        with pytest.MonkeyPatch.context() as patch:
            grids = [Grid.make(SMALL, {"T": [T, 7]}) for T in (4, 6, 5)]
            processes, killed = Processes(patch, store, grids), 0
            while left := processes.left():
                # Some are slow: others do much in the meantime.
                i = draw.choices(left, weights=[4.0 ** -(i * seed % 3) for i in left])[0]
                kill = killed < kills and draw.random() < 0.1
                killed += kill
                processes.step(i, kill=kill)
        done = {T for i, T in enumerate((4, 6, 5)) if processes.outcomes[i] == "done"}
        assert len(done) >= 3 - killed, processes.outcomes
        T = open_sweep(store).coords["T"]
        assert T == sorted(T) and {*done, 7, *known} <= set(T) <= {4, 5, 6, 7, *known}
        # What a killed one has left is mended by the next, and there is no more than two files.
        Store(store).extend(Grid.make(SMALL, {"T": T}))
        assert json.loads((store / "sweep.json").read_text())["grid"]["axes"]["T"] == T
        assert len(list(store.glob("sweep*.json"))) <= 2
        assert open_sweep(store).coords["T"] == T


def test_of_two_sweeps_that_do_not_fit_one_is_refused(tmp_path):
    for seed in range(15):
        draw, store = random.Random(seed), tmp_path / str(seed)
        with pytest.MonkeyPatch.context() as patch:
            grids = [Grid.make(SMALL, {"T": [4], "steps": steps}) for steps in (20, 21)]
            processes = Processes(patch, store, grids)
            while left := processes.left():
                processes.step(draw.choice(left))
        done = [i for i in range(2) if processes.outcomes[i] == "done"]
        assert len(done) == 1 and open_sweep(store).configs == list(
            grids[done[0]].configs().values()
        )
        with pytest.raises(ValueError, match=r"steps is 2[01] in the sweep that is stored there"):
            raise processes.outcomes[1 - done[0]]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("locks", ["fails", "does nothing"])
def test_a_call_for_every_seed_needs_no_locks_and_few_files(monkeypatch, tmp_path, locks, links):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", no_locks(locks))
    if not links:
        monkeypatch.setattr(os, "link", no_locks("fails"))
    store = Store(tmp_path)
    for seed in range(12):
        store.extend(Grid.make(SMALL, {"seed": [seed], "optimizer": ["sgd", "adam"][seed % 2 :]}))
    assert open_sweep(tmp_path).coords == {"seed": list(range(12)), "optimizer": ["sgd", "adam"]}
    assert sorted(contents(tmp_path)) == ["runs", "sweep.11.json", "sweep.json"]


def test_what_an_older_version_adds_to_the_manifest_is_kept(store):
    kept, old = Store(store), [Grid.make(SMALL, {"T": [T]}) for T in (5, 8, 9)]
    kept.extend(old[0])
    write_document(store / "sweep.json", {"grid": kept.grid().merged(old[1]).to_json()})
    assert open_sweep(store).coords["T"] == [4, 5, 6, 8]
    kept.extend(old[2])
    assert open_sweep(store).coords["T"] == [4, 5, 6, 8, 9]
    assert json.loads((store / "sweep.2.json").read_text())["grid"]["axes"]["T"] == [4, 5, 6, 8, 9]


# ---------------------------------------- stores that are broken


def folders_that_cannot_be_written(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").write_text("a regular file")
    (tmp_path / "with_file_runs").mkdir()
    (tmp_path / "with_file_runs" / "runs").write_text("a regular file")
    found = [tmp_path / "file", tmp_path / "file" / "sub", tmp_path / "with_file_runs"]
    found += [tmp_path / ("a" * 300)]
    if Path("/proc/self").exists():
        found += [Path("/proc/toysup"), Path("/dev/null"), Path("/dev/null/x")]
    if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        found += [tmp_path / "locked", tmp_path / "locked" / "sub"]
    return found


def test_a_folder_that_cannot_be_written(backend, trained, tmp_path):
    folders = folders_that_cannot_be_written(tmp_path)
    before = contents(tmp_path)
    for folder in folders:
        with pytest.raises(StoreError) as caught:
            sweep(SMALL, T=[4, 6], store=folder)
        assert str(folder) in str(caught.value)
    assert contents(tmp_path) == before and not trained


def test_a_run_cannot_be_written_there_either(backend, tmp_path):
    (tmp_path / "file").write_text("a regular file")
    run = train(SMALL)
    for path in (tmp_path / "file" / "run", tmp_path / "nowhere" / "run", tmp_path / ("a" * 300)):
        with pytest.raises(StoreError, match="cannot write"):
            run.save(path)
    assert list(contents(tmp_path)) == ["file"]


@pytest.mark.parametrize("length", [200, 243, 244, 255])
def test_any_name_that_a_file_can_have_will_do(tmp_path, length):
    run = train(SMALL)
    path = run.save(tmp_path / f"{(length - 4) * 'a'}.npz")
    assert len(path.name) == length and run_bits(load_run(path)) == run_bits(run)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["notes.txt", "sub", ".hidden"])
def test_a_folder_of_something_else_is_not_taken_over(backend, trained, tmp_path, name):
    if name == "sub":
        (tmp_path / "sub").mkdir()
    else:
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="is not a store, and is not empty"):
        sweep(SMALL, T=[4, 6], store=tmp_path)
    with pytest.raises(FileNotFoundError, match="no sweep is stored in"):
        open_sweep(tmp_path)
    assert contents(tmp_path) == before and not trained


def test_a_file_is_no_store(backend, tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("mine")
    for use in (
        lambda: sweep(SMALL, T=[4], store=path),
        lambda: toysup.plan(SMALL, T=[4], store=path),
        lambda: toysup.merge(path, [path]),
    ):
        with pytest.raises(StoreError, match=r"run\.npz' is a file, and a store is a folder"):
            use()
    with pytest.raises(FileNotFoundError, match=r"no sweep .*run\.npz', which is a file"):
        open_sweep(path)
    assert contents(tmp_path) == {"run.npz": b"mine"}


def test_what_comes_into_folders_by_itself_is_not_in_the_way(backend, tmp_path):
    for name in (".gitkeep", ".DS_Store", "Thumbs.db", "._x", ".ipynb_checkpoints/a-checkpoint.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = contents(tmp_path)
    sweep(SMALL, T=[4, 6], store=tmp_path)
    (tmp_path / "runs" / ".DS_Store").write_text("x")
    (tmp_path / "sweep.json").unlink()  # it is made again from the runs
    assert sweep(SMALL, T=[4, 6], store=tmp_path).statuses == ["ok", "ok"]
    assert before.items() <= contents(tmp_path).items()


def test_a_folder_whose_runs_are_not_ours_is_not_taken_over(backend, trained, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "events.out").write_text("of another program")
    (tmp_path / "model.py").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="is not a store, and is not empty"):
        sweep(SMALL, T=[4, 6], store=tmp_path)
    assert contents(tmp_path) == before and not trained


def test_there_is_nothing_to_open(tmp_path):
    (tmp_path / "file").write_text("a regular file")
    before = contents(tmp_path)
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(FileNotFoundError, match="no sweep is stored in"):
            open_sweep(path)
    with pytest.raises(FileNotFoundError, match="no run file at"):
        load_run(tmp_path / "nowhere.npz")
    assert contents(tmp_path) == before


def test_a_lost_manifest_is_made_again_by_the_sweep(backend, store, trained):
    (store / "sweep.json").unlink()
    res = sweep(SMALL, T=[4, 6], store=store)
    assert not trained
    assert_same_sweep(res, open_sweep(store))


@pytest.mark.parametrize("manifest", [True, False])
def test_what_a_killed_process_left_behind_is_no_hindrance(backend, store, trained, manifest):
    if not manifest:
        (store / "sweep.json").unlink()
    key = SMALL.replace(T=4).key()
    for name in (".sweep.json.0123abcd.tmp", f"runs/.{key}.npz.0123abcd.tmp"):
        (store / name).write_bytes(b"half of it")
    res = sweep(SMALL, T=[4, 6], store=store)
    assert not trained
    assert_same_sweep(res, open_sweep(store))


def test_a_lost_folder_of_runs_is_made_again(backend, store, trained):
    shutil.rmtree(store / "runs")
    assert len(list(sweep(SMALL, T=[4, 6], store=store).runs())) == 2 and len(trained) == 2


def test_a_lost_manifest_does_not_lose_what_is_not_asked_for(backend, store, trained):
    (store / "sweep.json").unlink()
    sweep(SMALL, T=[5], store=store)
    assert open_sweep(store).coords == {"T": [4, 5, 6]} and len(trained) == 1


def test_a_folder_that_goes_while_a_store_is_made_is_none(tmp_path, monkeypatch):
    """Another sweep that has begun the same store may leave just then."""
    going, real = tmp_path / "running", os.scandir
    going.mkdir()

    def scandir(path: Any = ".") -> Any:
        if Path(path) == going:
            going.rmdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    Store(tmp_path).extend(Grid.make(SMALL, {"T": [4]}))
    assert not going.exists() and (tmp_path / "sweep.json").exists()


# ---------------------------------------- nothing more than is needed, and nowhere else


def test_nothing_is_written_where_nothing_is_new(store, monkeypatch):
    """So a finished sweep may lie in a folder that cannot be written."""
    sweep(SMALL, T=[6, 4], store=store)
    before = contents(store)
    for name in ("replace", "rename", "link", "unlink", "mkdir", "fsync"):
        monkeypatch.setattr(os, name, no_space)
    assert len(sweep(SMALL, T=[4, 6], store=store)) == 2
    assert len(sweep(SMALL, T=[6], store=store)) == 1
    monkeypatch.undo()
    assert contents(store) == before


def test_a_grid_is_held_only_with_its_axes():
    grid = Grid.make(SMALL, {"T": [4, 6]})
    assert grid.holds(grid) and grid.holds(Grid.make(SMALL, {"T": 4}))
    assert grid.holds(Grid.make(SMALL, {"T": [6, 4]}))
    for other in ({"T": [4, 5]}, {"T": [4], "seed": [0]}, {"T": [4], "seed": 1}, {"T": 5}):
        assert not grid.holds(Grid.make(SMALL, other)), other


def test_the_batch_size_of_finite_T_is_none():
    finite = Grid.make(SMALL, {"T": [4]})
    three, default = (Grid.make(SMALL, {"T": math.inf, "batch_size": b}) for b in (3, None))
    assert finite.merged(three).fixed["batch_size"] == 3
    assert three.merged(finite).fixed["batch_size"] == 3
    with pytest.raises(ValueError, match="batch_size is 3 in the sweep that is stored there"):
        three.merged(default)
    assert default.merged(finite).fixed["batch_size"] is None


@pytest.mark.parametrize(
    "axes",
    [
        {"T": range(1, 1001), "seed": range(1001)},
        {"seed": range(10**12)},
        {"seed": range(10**30)},
        {"T": [], "seed": range(10**12)},
    ],
)
def test_a_grid_of_too_many_cells_is_refused_at_once(tmp_path, axes):
    with pytest.raises(ValueError, match=r"1,000,000 (cells|values)"):
        sweep(SMALL, **axes, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_grids_that_are_too_large_together_are_refused():
    first = Grid({"T": list(range(1, 1001))}, {**SMALL.to_dict()})
    second = Grid({"seed": list(range(1001))}, {**SMALL.to_dict()})
    with pytest.raises(ValueError, match="at most 1,000,000 cells, got 1,001,000"):
        first.merged(second)


@pytest.mark.parametrize("name", ["runs", "checkpoints", "damaged", "running"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_of_a_store_that_leads_elsewhere_is_refused(
    backend, store, trained, tmp_path, name, kind
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(store / name, ignore_errors=True)
    if kind == "link":
        (store / name).symlink_to(elsewhere)
    else:
        (store / name).write_text("a file")
    words = f"{name}: is a link or a file"
    for use in (open_sweep, lambda path: sweep(SMALL, T=[4, 8], store=path)):
        with pytest.raises(StoreError, match=words):
            use(store)
    if name == "runs":
        with pytest.raises(StoreError, match=words):
            Store(store).save(train(SMALL))
    if name == "checkpoints":
        with pytest.raises(StoreError, match=words):
            Store(store).save_checkpoint(SMALL, {"step": 1, "maker": "me"}, {})
    assert not list(elsewhere.iterdir())


def test_only_old_leftovers_are_removed(store):
    key, day = SMALL.key(), 86_400
    (store / "checkpoints").mkdir()
    left = [".sweep.json.0a.tmp", f"runs/.{key}.npz.0a.tmp", f"runs/.{key}.failed.json.0a.tmp"]
    left += [f"checkpoints/.{key}.npz.0a.tmp"]
    others = ["runs/.notes.txt.0a.tmp", "runs/notes.tmp", f"runs/{key}.txt"]
    for name in [*left, *others]:
        (store / name).write_text("half of it")
        then = time.time() - 2 * day
        os.utime(store / name, (then, then))
    young = store / "runs" / f".{key}.npz.0b.tmp"
    young.write_text("being written")
    Store(store).extend(Grid.make(SMALL, {"T": 4}))
    assert not any((store / name).exists() for name in left)
    assert all((store / name).exists() for name in others) and young.exists()


def test_a_store_in_which_no_run_can_be_written_says_so(store, monkeypatch):
    Store(store).check_writable()
    before = contents(store)
    shutil.move(store / "runs", store.parent / "runs")
    (store / "runs").write_text("a file")
    with pytest.raises(StoreError, match="runs"):
        Store(store).check_writable()
    (store / "runs").unlink()
    shutil.move(store.parent / "runs", store / "runs")
    assert contents(store) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks beside threads
def test_a_lock_held_at_a_fork_is_free_in_the_child(store):
    from toysup._store.folder import locked

    with locked(store):
        child = os.fork()
        if child == 0:
            try:
                # The parent's lock on the folder is not the child's to wait for here.
                Store(store.parent / "other").extend(Grid.make(SMALL, {"T": 4}))
                os._exit(0)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 60
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, 9)
            time.sleep(0.01)
    assert ended[1] == 0 and (store.parent / "other" / "sweep.json").exists()


# ---------------------------------------- checkpoints and failures


def test_a_checkpoint_is_kept_until_its_run_is_saved(backend, store):
    kept, config = Store(store), SMALL.replace(T=6, seed=1)
    arrays = {"W": np.arange(6, dtype="f4").reshape(2, 3), "powers": np.array([0.9, 0.1])}
    assert kept_state(kept, config) is None
    kept.save_failure(config, "made to fail", step=3)
    assert kept.summary(config) == {"status": "failed", "error": "made to fail", "steps_done": 3}
    kept.save_checkpoint(config, {"step": 3, "seconds": 0.25, "maker": "me"}, arrays)
    kept.save_checkpoint(config, {"step": 4, "seconds": 0.25, "maker": "me"}, arrays)
    found = kept_state(kept, config)
    assert found is not None
    meta, again = found
    assert (meta["step"], meta["seconds"], meta["maker"]) == (4, 0.25, "me")
    assert again.keys() == arrays.keys()
    assert all(again[k].dtype == arrays[k].dtype for k in arrays)
    assert all(np.array_equal(again[k], arrays[k]) for k in arrays)
    kept.save(train(config))
    assert kept_state(kept, config) is None
    assert not list((store / "checkpoints").iterdir())
    assert not list((store / "runs").glob("*.failed.json"))
    kept.drop_checkpoints(config)


def test_what_a_finished_run_has_no_use_for_is_removed_by_the_next_sweep(backend, store):
    kept, config = Store(store), SMALL.replace(T=6)
    before = contents(store)
    kept.save_checkpoint(config, {"step": 3, "maker": "me"}, {})
    kept.save_failure(config, "an older one")
    assert sweep(SMALL, T=[4, 6], store=store).dataset.status.values.tolist() == ["ok", "ok"]
    (store / "checkpoints").rmdir()
    assert contents(store) == before


# ---------------------------------------- merging


def shards(folder: Path) -> list[Path]:
    """Two stores with a run in common."""
    sweep(SMALL, T=[4, 6], store=folder / "a")
    sweep(SMALL, T=[6, 8], seed=[0, 1], store=folder / "b")
    return [folder / "a", folder / "b"]


def test_stores_are_merged(backend, trained, tmp_path):
    sources = shards(tmp_path)
    before = [contents(source) for source in sources]
    del trained[:]
    counts = Store(tmp_path / "all").merge([Store(source) for source in sources])
    assert counts == {"copied": 5, "known": 1, "damaged": 0, "failed": 0}
    assert [contents(source) for source in sources] == before
    merged = open_sweep(tmp_path / "all")
    assert merged.coords == {"T": [4, 6, 8], "seed": [0, 1]} and not trained
    assert merged.dataset.status.values.ravel().tolist() == ["ok", "missing", *4 * ["ok"]]
    after = contents(tmp_path / "all")
    copied = {k: v for source in before for k, v in source.items() if k.endswith(".npz")}
    known = {k: v for k, v in before[0].items() if k.endswith(".npz")}
    assert {k: v for k, v in after.items() if k.endswith(".npz")} == {**copied, **known}
    again = Store(tmp_path / "all").merge([Store(s) for s in [*sources, tmp_path / "all"]])
    assert again == {"copied": 0, "known": 6, "damaged": 0, "failed": 0}
    assert contents(tmp_path / "all") == after
    whole = {"T": [4, 6, 8], "seed": [0, 1]}
    assert_same_sweep(sweep(SMALL, **whole, store=tmp_path / "all"), sweep(SMALL, **whole))


def test_different_results_of_one_run_are_refused(backend, tmp_path):
    sources = shards(tmp_path)
    run = Store(sources[1]).load(SMALL.replace(T=6))
    Store(sources[1]).save(dataclasses.replace(run, seconds=99.0, provenance={"toysup": "9.9"}))
    counts = Store(tmp_path / "fine").merge([Store(source) for source in sources])
    assert counts["known"] == 1  # whoever made it, and however long it took
    W, history = run.W.copy(), dict(run._arrays)
    W[0, 0] += 1
    history["history_W_norm"] = history["history_W_norm"] + 1
    for other in (
        dataclasses.replace(run, W=W),
        dataclasses.replace(run, test_loss=run.test_loss + 1e-9),
        dataclasses.replace(run, _arrays=history),
    ):
        Store(sources[1]).save(dataclasses.replace(other, provenance={"toysup": "9.8.7"}))
        with pytest.raises(StoreError, match="different results") as caught:
            Store(tmp_path / "all").merge([Store(source) for source in sources])
        for word in [*map(str, sources), "toysup 9.8.7", f"backend {backend.name}"]:
            assert word in str(caught.value)
        assert not (tmp_path / "all").exists()


def test_damaged_files_are_left_out_of_a_merger(backend, tmp_path):
    sources = shards(tmp_path)
    broken = Store(sources[1]).run_file(SMALL.replace(T=8))
    broken.write_bytes(broken.read_bytes()[:-1])
    before = contents(tmp_path)
    with pytest.warns(RuntimeWarning, match=f"{broken.name}.*it is left out"):
        counts = Store(tmp_path / "all").merge([Store(source) for source in sources])
    assert counts == {"copied": 4, "known": 1, "damaged": 1, "failed": 0}
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if not k.startswith("all")} == before
    status = open_sweep(tmp_path / "all").dataset.status
    assert status.sel(T=8, seed=0) == "missing"


def test_failures_and_checkpoints_are_merged_where_there_is_no_run(backend, tmp_path):
    a, b, c = (Store(tmp_path / name) for name in "abc")
    four, six, eight = (SMALL.replace(T=T) for T in (4, 6, 8))
    for store in (a, b):
        store.extend(Grid.make(SMALL, {"T": [4, 6, 8]}))
    a.save(train(four))
    b.save_failure(four, "fails elsewhere")
    b.save_failure(six, "fails", step=2)
    a.save_checkpoint(four, {"step": 9, "maker": "me"}, {})
    a.save_checkpoint(eight, {"step": 5, "maker": "me"}, {"x": np.zeros(2)})
    b.save_checkpoint(eight, {"step": 7, "maker": "me"}, {"x": np.ones(2)})
    c.extend(Grid.make(SMALL, {"T": 8}))
    c.save_checkpoint(eight, {"step": 6, "maker": "me"}, {})
    b.save_checkpoint(eight, {"step": 3, "maker": "you"}, {})
    old = a.checkpoint_file(eight, "me")  # those of older versions do not name their maker
    old.rename(old.with_name(f"{eight.key()}.npz"))
    assert c.merge([b, a]) == {"copied": 1, "known": 0, "damaged": 0, "failed": 1}
    assert c.summary(four)["status"] == "ok" and kept_state(c, four) is None
    assert c.summary(six) == {"status": "failed", "error": "fails", "steps_done": 2}
    meta, arrays = kept_state(c, eight)
    assert meta["step"] == 7 and arrays["x"].tolist() == [1, 1]
    assert [(kept.step, kept.maker) for kept in c.checkpoints([eight])] == [(7, "me"), (3, "you")]
    assert c.merge([a, b])["copied"] == 0 and len(c.checkpoints([eight])) == 2


def test_a_merger_of_what_is_not_there_or_another_sweep(backend, tmp_path):
    [a, _] = shards(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no sweep is stored in.*nowhere"):
        Store(tmp_path / "all").merge([Store(a), Store(tmp_path / "nowhere")])
    sweep(SMALL, steps=21, store=tmp_path / "other")
    with pytest.raises(ValueError, match="steps is 20"):
        Store(tmp_path / "all").merge([Store(a), Store(tmp_path / "other")])
    assert not (tmp_path / "all").exists()
