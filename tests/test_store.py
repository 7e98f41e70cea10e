"""What a store promises: it keeps what was done, continues, and is never half written."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import toysup
from helpers import run_bits
from toysup import StoreError, SweepResult, TrainConfig, load_run, open_sweep, sweep, train

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

    def train_many(configs, n_jobs, on_result, poll):
        found.extend(configs)
        real(configs, n_jobs, on_result, poll)

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
        ({}, {"batch_size": [3, 4], "T": [4, math.inf]}),
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
    assert manifest["schema_version"] == 1 and manifest["toysup"] == toysup.__version__


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
    from toysup._types import failed_run

    with monkeypatch.context() as patch:
        patch.setattr(
            backend,
            "train_many",
            lambda configs, jobs, on, poll: on(0, failed_run(configs[0], "ValueError: no")),
        )
        res = sweep(SMALL, T=[4], store=tmp_path, on_error="record")
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
    (np, "savez", no_space),
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


@pytest.mark.parametrize("module, name", [(os, "replace"), (os, "fsync"), (np, "savez")])
def test_a_write_that_is_interrupted_leaves_nothing(backend, tmp_path, monkeypatch, module, name):
    run = train(SMALL)
    monkeypatch.setattr(module, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "run.npz")
    assert contents(tmp_path) == {}


def fail_after(count: int, real: Callable[..., Any]) -> Callable[..., Any]:
    def limited(*args: Any) -> Any:
        nonlocal count
        count -= 1
        return real(*args) if count >= 0 else no_space()

    return limited


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_full_disk_ends_the_sweep_and_what_was_written_stays(
    backend, store, monkeypatch, trained, name
):
    before = contents(store)
    with monkeypatch.context() as patch:  # the manifest and one run fit
        patch.setattr(os, name, fail_after(2, getattr(os, name)))
        with pytest.raises(StoreError, match="No space left on device"):
            sweep(SMALL, T=[4, 6, 8, 10, 12], store=store, n_jobs=1)
    after = contents(store)
    assert not [path for path in after if ".tmp" in path]
    assert len(after) == len(before) + 1
    assert all(after[path] == before[path] for path in before if path != "sweep.json")
    del trained[:]
    res = sweep(SMALL, T=[4, 6, 8, 10, 12], store=store)
    assert len(trained) == 2
    assert_same_sweep(res, sweep(SMALL, T=[4, 6, 8, 10, 12]))


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_full_disk_leaves_the_old_manifest(backend, store, monkeypatch, trained, name):
    before = contents(store)
    monkeypatch.setattr(os, name, no_space)
    with pytest.raises(StoreError, match=r"cannot write.*sweep\.json.*No space left"):
        sweep(SMALL, T=[4, 8], store=store)
    assert contents(store) == before and not trained


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


def test_a_store_of_another_schema(store, trained):
    manifest = store / "sweep.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "schema_version": 2, "toysup": "9.8.7"}))
    before = contents(store)
    for use in (open_sweep, lambda path: sweep(SMALL, T=[4, 6], store=path)):
        with pytest.raises(StoreError, match=r"schema 2.*reads schema 1.*toysup 9\.8\.7"):
            use(store)
    assert contents(store) == before and not trained


def rewrite_meta(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the meta-data of a run's file."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta").tobytes())
    meta = change(meta) or meta
    np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)


def test_a_run_of_another_schema(store, trained):
    path = min((store / "runs").iterdir())
    rewrite_meta(path, lambda meta: meta.update(schema_version=2))
    assert_unreadable(store, path, r"schema 2.*reads schema 1.*toysup " + toysup.__version__)
    assert not trained


def assert_unreadable(store: Path, path: Path, words: str = "") -> None:
    """Nothing reads that file, everything says which one it is, and it is left as it was."""
    before = contents(store)
    uses = [lambda: load_run(path), lambda: list(open_sweep(store).runs())]
    uses += [lambda: open_sweep(store).dataset, lambda: sweep(SMALL, T=[4, 6], store=store)]
    for use in uses:
        with pytest.raises(StoreError, match=f"(?s){path.name}.*{words}"):
            use()
    assert contents(store) == before


BROKEN = {
    "empty": lambda data: b"",
    "text": lambda data: b"not a run at all",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "only its first bytes": lambda data: data[:4],
    "zeros": lambda data: bytes(len(data)),
    "reversed": lambda data: data[::-1],
    "a pickle": lambda data: b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_run_is_named_and_kept(store, trained, damage):
    path = min((store / "runs").iterdir())
    path.write_bytes(BROKEN[damage](path.read_bytes()))
    assert_unreadable(store, path)
    assert not trained


def test_other_numpy_files_are_no_runs(store):
    path = min((store / "runs").iterdir())
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    assert_unreadable(store, path)
    np.savez(path, W=np.zeros((2, 12)))
    assert_unreadable(store, path)
    shutil.rmtree(store / "runs")
    path.parent.mkdir()
    path.mkdir()
    assert_unreadable(store, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.pop("config"),
        lambda meta: meta.pop("schema_version"),
        lambda meta: meta.pop("summary"),
        lambda meta: meta["summary"].pop("status") and None,
        lambda meta: meta["summary"].update(status="fine"),
        lambda meta: meta["summary"].update(train_loss="abc"),
        lambda meta: meta["summary"].pop("train_loss") and None,
        lambda meta: meta.update(summary=[1]),
        lambda meta: meta.update(summary=None),
        lambda meta: meta.update(config=3),
        lambda meta: meta.update(config={"zzz": 1}),
        lambda meta: meta.update(steps_done=None),
        lambda meta: [1, 2],
        lambda meta: "text",
    ],
)
def test_a_run_whose_meta_data_make_no_sense(backend, tmp_path, change):
    path = train(SMALL).save(tmp_path / "run.npz")
    rewrite_meta(path, change)
    with pytest.raises(StoreError, match=r"run\.npz"):
        load_run(path)


@pytest.mark.parametrize("wrong", [np.zeros((3, 12), "f4"), np.zeros((2, 12)), np.zeros(3, "f4")])
def test_a_run_whose_weights_do_not_fit_its_config(backend, tmp_path, wrong):
    path = train(SMALL).save(tmp_path / "run.npz")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "W": wrong})
    with pytest.raises(StoreError, match=r"run\.npz.*W is"):
        load_run(path)


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(SMALL, snapshots=2, record=5).save(tmp_path_factory.mktemp("file") / "run.npz")


@given(data=st.data())
@settings(max_examples=200)
def test_a_run_with_changed_bytes_is_refused_or_the_same(run_file, data):
    original = run_file.read_bytes()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    path = run_file.with_name("damaged.npz")
    path.write_bytes(damaged)
    try:
        run = load_run(path)
    except StoreError as error:
        assert "damaged.npz" in str(error)
        return
    whole = load_run(run_file)  # the byte was one that nobody reads, such as a date
    assert run.config == whole.config and run_bits(run) == run_bits(whole)
    assert run.snapshots.identical(whole.snapshots)


@pytest.mark.parametrize("offset, value", [(6, 99), (8, 1), (8, 32), (10, 8), (10, 99)])
def test_a_run_in_a_zip_file_of_another_kind_is_refused(run_file, offset, value):
    data = bytearray(run_file.read_bytes())
    for start in (i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"):
        data[start + offset] = value  # the version, the flags or the method of each member
    path = run_file.with_name("kind.npz")
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"kind\.npz"):
        load_run(path)


@given(data=st.data())
@settings(max_examples=50)
def test_a_run_that_was_cut_is_refused(run_file, data):
    original = run_file.read_bytes()
    path = run_file.with_name("cut.npz")
    path.write_bytes(original[: data.draw(st.integers(0, len(original) - 1))])
    with pytest.raises(StoreError, match=r"cut\.npz"):
        load_run(path)


def test_the_run_of_another_config_is_not_taken_for_this_one(backend, store, trained):
    four, six = (store / "runs" / f"{SMALL.replace(T=T).key()}.npz" for T in (4, 6))
    six.unlink()
    four.rename(six)
    before = contents(store)
    with pytest.raises(StoreError, match=f"{six.name}.*another config"):
        list(open_sweep(store).runs())
    with pytest.raises(StoreError, match=f"{six.name}.*another config"):
        _ = open_sweep(store).dataset  # its losses would stand at the wrong place
    with pytest.raises(StoreError, match=f"{six.name}.*another config"):
        sweep(SMALL, T=[6], store=store)
    assert contents(store) == before and not trained


MANIFESTS = {
    "empty": "",
    "text": "not JSON",
    "cut": '{"schema_version": 1, "grid": {"ax',
    "a number": "3",
    "null": "null",
    "a list": "[]",
    "nothing in it": "{}",
    "no grid": '{"schema_version": 1}',
    "grid of a number": '{"schema_version": 1, "grid": 3}',
    "empty grid": '{"schema_version": 1, "grid": {}}',
    "axes of a number": '{"schema_version": 1, "grid": {"axes": 3, "fixed": {}}}',
    "axis of a number": '{"schema_version": 1, "grid": {"axes": {"T": 3.5}, "fixed": {}}}',
    "empty axis": '{"schema_version": 1, "grid": {"axes": {"T": []}, "fixed": {}}}',
    "value twice": '{"schema_version": 1, "grid": {"axes": {"T": [4, 4]}, "fixed": {}}}',
    "unknown field": '{"schema_version": 1, "grid": {"axes": {}, "fixed": {"zzz": 1}}}',
    "bad value": '{"schema_version": 1, "grid": {"axes": {}, "fixed": {"m": "two"}}}',
    "deep": '{"schema_version": 1, "grid": ' + 10_000 * "[" + 10_000 * "]" + "}",
    "huge": '{"schema_version": 1, "grid": {"axes": {}, "fixed": {"eps": 1' + 400 * "0" + "}}}",
}


@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_is_named_and_kept(store, trained, damage):
    (store / "sweep.json").write_text(MANIFESTS[damage])
    before = contents(store)
    for use in (open_sweep, lambda path: sweep(SMALL, T=[4, 6], store=path)):
        with pytest.raises(StoreError, match=r"sweep\.json"):
            use(store)
    assert contents(store) == before and not trained


def test_a_manifest_of_other_bytes_or_a_folder_in_its_place(store):
    (store / "sweep.json").write_bytes(b"\xff\xfe\x00 not UTF-8")
    with pytest.raises(StoreError, match=r"sweep\.json"):
        open_sweep(store)
    (store / "sweep.json").unlink()
    (store / "sweep.json").mkdir()
    with pytest.raises(StoreError, match=r"sweep\.json"):
        open_sweep(store)


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


def test_a_damaged_record_of_a_failure_is_named(store):
    [path] = [p for p in (store / "runs").iterdir() if load_run(p).config.T == 6]
    path.unlink()
    record = path.with_name(f"{path.stem}.failed.json")
    for text in ("", "[]", "{}", "3"):
        record.write_text(text)
        with pytest.raises(StoreError, match=record.name):
            open_sweep(store)
