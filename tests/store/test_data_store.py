"""Stores of runs on a data set: it is kept once, found again, and never believed without a look."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toysup
from helpers import interrupted_sweep, run_bits
from toysup import DataError, StoreError, merge, open_sweep, sweep
from toysup._files.whole import Damaged
from toysup._run.archive import read, write
from toysup._store.data import data_bytes, read_data, write_data
from toysup._store.store import Store
from toysup._stream.dataset import _KNOWN
from toysup._sweep import executors
from toysup.data import Dataset, sample

pytestmark = pytest.mark.any_backend

RUNS: dict[str, Any] = dict(m=[2, 3], seed=[0, 1], steps=30, test_size=20, record=3)


def make(seed: int = 0, **fields: Any) -> Dataset:
    """A data set of one's own, which is the same for a seed."""
    X = sample(40, 60, 0.85, seed)
    names = [f"feature {i}" for i in range(40)]
    kept = X.to_scipy()[np.flatnonzero(np.diff(X.indptr))]
    return Dataset(kept, feature_names=names, name=f"words {seed}", **fields)


def bits(result: toysup.SweepResult) -> list[bytes]:
    return [run_bits(run) for run in result.runs()]


@pytest.fixture
def store(backend, tmp_path) -> Path:
    """A finished sweep, whose data set nobody holds."""
    sweep(data=make(), T=[10, 20], store=tmp_path / "store", **RUNS)
    forget()
    return tmp_path / "store"


def forget() -> None:
    gc.collect()
    assert not [data for data in _KNOWN.values() if (data.name or "").startswith("words")]


def data_file(store: Path) -> Path:
    (path,) = (store / "data").iterdir()
    return path


# ---------------------------------------------------------------------------------- kept once


def test_a_sweep_on_data_is_its_runs(backend, tmp_path):
    data = make()
    result = sweep(data=data, T=[10, 20], **RUNS)
    kept = sweep(data=data, T=[10, 20], store=tmp_path / "s", **RUNS)
    assert dict(result.dataset.sizes) == {"T": 2, "m": 2, "seed": 2}
    alone = [toysup.train(config) for config in result.configs]
    assert bits(result) == bits(kept) == [run_bits(run) for run in alone]
    assert (result.to_frame()["data"] == repr(data.ref)).all()
    assert repr(data.ref) in result.run(T=10, m=2, seed=0)._repr_html_()
    assert sweep(data=data, **RUNS).configs[0].T == len(data)


def test_the_store_has_the_data_once(store):
    path = data_file(store)
    assert path.name == f"{make().digest}.npz"
    assert path.stat().st_size < data_bytes(make().ref) + 2000
    before = path.stat().st_mtime_ns
    sweep(data=make(), T=[10, 30], store=store, **RUNS)
    assert data_file(store).stat().st_mtime_ns == before
    assert all(file.stat().st_size < 8000 for file in (store / "runs").iterdir())


def test_the_data_come_back_from_the_store(store):
    result = open_sweep(store)
    assert not list(_KNOWN) or all((d.name or "")[:5] != "words" for d in _KNOWN.values())
    run = result.run(T=20, m=3, seed=1)
    data = make()
    wanted = toysup.train(data=data, T=20, m=3, seed=1, steps=30, test_size=20, record=3)
    assert run_bits(run) == run_bits(wanted)
    assert run.training_set().toarray().tobytes() == wanted.training_set().toarray().tobytes()
    del data, wanted
    back = read_data(data_file(store), result.configs[0].data)
    assert back == make() and (back.name, back.feature_names[3]) == ("words 0", "feature 3")


def test_a_sweep_goes_on_with_the_data_of_its_store(store):
    config = open_sweep(store).configs[0]
    more = sweep(config, T=[10, 20, 30], m=RUNS["m"], seed=RUNS["seed"], store=store)
    assert len(more) == 12 and more.statuses == ["ok"] * 12
    assert bits(more) == bits(sweep(data=make(), T=[10, 20, 30], **RUNS))


def test_a_pickled_result_finds_the_data_in_its_store(store):
    back = pickle.loads(pickle.dumps(open_sweep(store)))
    forget()
    assert len(back.run(T=10, m=2, seed=0).training_set()) == 10


# ----------------------------------------------------------------------------- missing or wrong


def test_a_store_without_its_data_says_so_where_they_are_needed(store):
    shutil.rmtree(store / "data")
    result = open_sweep(store)
    assert result.statuses == ["ok"] * 8 and np.isfinite(result.dataset.train_loss).all()
    run = result.run(T=20, m=3, seed=1)
    assert run.feature_dimensionality().shape == (40,)
    with pytest.raises(DataError, match=r"rows of the data set \w+ .* are not in .* any more"):
        run.training_set()
    config = result.configs[0]
    known = dict(m=RUNS["m"], seed=RUNS["seed"], store=store)
    assert sweep(config, T=[10, 20], **known).statuses == ["ok"] * 8
    with pytest.raises(DataError, match="any more"):
        sweep(config, T=[10, 20, 30], **known)
    assert list(open_sweep(store).coords["T"]) == [10, 20]
    data = make()
    assert len(run.training_set()) == 20
    sweep(data=data, T=[30], store=store, **RUNS)
    assert data_file(store).name == f"{data.digest}.npz"


def test_other_data_are_refused_and_nothing_written(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    for other in (make(1), make(normalize=False), make(test=make(1).X)):
        with pytest.raises(ValueError, match=r"data is DataRef\(.*\) in the sweep that is stored"):
            sweep(data=other, T=[10, 20], store=store, **RUNS)
    with pytest.raises(ValueError, match=r"data is DataRef\(.*\) in .* not None"):
        sweep(n=40, T=[10, 20], store=store, **RUNS)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def spoil(how: str, path: Path) -> None:
    """Make something else of the file of a data set."""
    meta, arrays = read(path)
    if how == "cut":
        os.truncate(path, path.stat().st_size // 2)
        return
    if how == "bit":
        content = bytearray(path.read_bytes())
        content[-3000] ^= 1
        path.write_bytes(content)
        return
    if how == "other data":
        write_data(path, make(1))
        return
    if how == "one value":
        arrays["values"][0] *= 1.5
    elif how == "not finite":
        arrays["values"][0] = np.nan
    elif how == "far features":
        arrays["indices"][-1] = 2**31 - 1
    elif how == "falling features":
        arrays["indices"][:2] = arrays["indices"][1::-1]
    elif how == "falling rows":
        arrays["indptr"][2] = 0
    elif how == "wrong types":
        arrays["values"] = arrays["values"].astype(np.float32)
    elif how == "no values":
        del arrays["values"]
    elif how == "names":
        meta["feature_names"] = ["a"]
    write(path, {k: meta[k] for k in ("data", "name", "feature_names")}, arrays)


HOW = [
    *("cut", "bit", "other data", "one value", "not finite", "far features"),
    *("falling features", "falling rows", "no values", "names"),
]


@pytest.mark.parametrize("how", HOW)
def test_a_file_that_is_not_the_data_is_never_believed(store, how):
    path = data_file(store)
    spoil(how, path)
    forget()
    run = open_sweep(store).run(T=20, m=3, seed=1)
    with pytest.raises(Damaged, match=path.name):
        run.training_set()
    with pytest.raises(StoreError, match=path.name):
        sweep(run.config, T=[10, 20, 30], store=store)


@pytest.mark.parametrize("how", ["cut", "bit", "other data"])
def test_a_damaged_file_is_set_aside_and_written_again(store, how):
    path, data = data_file(store), make()
    spoil(how, path)
    with pytest.warns(RuntimeWarning, match=r"it was moved to .*, and is written again"):
        sweep(data=data, T=[10, 30], store=store, **RUNS)
    assert read_data(path, data.ref) == data
    assert [p.name for p in (store / "damaged").iterdir()] == [path.name]


def test_a_link_out_of_the_store_is_refused(store, tmp_path):
    shutil.move(store / "data", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", store / "data")
    with pytest.raises(StoreError, match="is a link or a file"):
        sweep(data=make(), T=[30], store=store, **RUNS)


def test_a_file_of_another_kind_is_no_data_set(store, tmp_path):
    path, ref = data_file(store), make().ref
    for content in (b"", b"PK\3\4", b"x" * 1000, next((store / "runs").iterdir()).read_bytes()):
        path.write_bytes(content)
        with pytest.raises(Damaged):
            read_data(path, ref)
    path.write_bytes(b"")
    os.truncate(path, 10**12)
    with pytest.raises(Damaged, match="is larger than any such file"):
        read_data(path, ref)


def test_a_disk_that_is_full(store, monkeypatch):
    def no_space(*_: object, **__: object) -> None:
        raise StoreError("cannot write: no space")

    monkeypatch.setattr("toysup._store.store.write_data", no_space)
    shutil.rmtree(store / "data")
    with pytest.raises(StoreError, match="no space"):
        sweep(data=make(), T=[30], store=store, **RUNS)


# --------------------------------------------------------------------- shards, mergers, plans


def test_shards_are_merged_with_their_data(store, tmp_path):
    data = make()
    for i in (1, 2):
        sweep(data=data, T=[10, 20], shard=(i, 2), store=tmp_path / str(i), **RUNS)
    del data
    merged = merge(tmp_path / "whole", [tmp_path / "1", tmp_path / "2"])
    forget()
    assert bits(merged) == bits(open_sweep(store))
    assert data_file(tmp_path / "whole").read_bytes() == data_file(store).read_bytes()
    assert len(merged.run(T=20, m=2, seed=0).training_set()) == 20
    other = tmp_path / "other"
    sweep(data=make(1), T=[10, 20], store=other, **RUNS)
    with pytest.raises(ValueError, match="data is DataRef"):
        merge(tmp_path / "whole", [other])


@pytest.mark.parametrize("how", ["cut", "bit", "other data"])
def test_damaged_data_are_left_out_of_a_merger(store, tmp_path, how):
    spoil(how, data_file(store))
    with pytest.warns(RuntimeWarning, match="it is left out"):
        merged = merge(tmp_path / "whole", [store])
    assert merged.statuses == ["ok"] * 8
    assert not list((tmp_path / "whole").glob("data/*"))


def test_a_plan_counts_the_file_of_the_data(store, tmp_path):
    data = make()
    new = toysup.plan(data=data, T=[10], store=tmp_path / "new", **RUNS)
    here = toysup.plan(data=data, T=[30], store=store, **RUNS)
    assert (new.todo, here.todo) == (4, 4) and new.seconds is not None
    assert new.disk - here.disk == pytest.approx(data_bytes(data.ref), abs=200)


# -------------------------------------------------------------------------------- executors


class Counting(executors.concurrent.futures.ThreadPoolExecutor):
    """Threads, which count what they are sent."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.sent: list[Dataset | None] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.sent.append(args[-1])
        return super().submit(fn, *args, **kwargs)


def test_workers_in_this_process_are_sent_nothing(backend):
    data = make()
    with Counting(2) as executor:
        result = sweep(data=data, T=[10, 20], executor=executor, **RUNS)
    assert executor.sent == [None] * 8
    assert bits(result) == bits(sweep(data=data, T=[10, 20], **RUNS))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_are_sent_the_data_when_they_lack_them(backend, tmp_path, method, monkeypatch):
    import concurrent.futures
    import multiprocessing

    data, sent = make(), []
    real = executors._data_of
    monkeypatch.setattr(executors, "_data_of", lambda c: sent.append(1) or real(c))
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        result = sweep(data=data, T=range(10, 22), executor=executor, **RUNS)
        # Another sweep finds the data where they are, or sends them again.
        again = sweep(data=data, T=[30], executor=executor, **RUNS)
    assert result.statuses == ["ok"] * 48 and again.statuses == ["ok"] * 4
    assert bits(result) == bits(sweep(data=data, T=range(10, 22), **RUNS))
    # Once to each worker; again where one took two runs that carry it.
    assert len(sent) <= (0 if method == "fork" else 4)


def test_there_are_as_many_deliveries_as_workers_that_lack_the_data():
    ways = executors._Deliveries()
    assert not any(ways.take(i) for i in range(4))
    for i in range(4):
        ways.returned(i, ("host", i % 2))
    assert [ways.take(i) for i in range(4)] == [True, True, False, False]
    ways.ended(0)
    assert not ways.take(9)  # it has not come back
    ways.returned(2, ("host", 1))
    assert ways.take(2)  # it has, twice
    ways.ended(1)
    assert ways.take(3)


def test_a_worker_keeps_the_data_of_one_sweep(backend):
    config = toysup.TrainConfig(data=make(), m=2, steps=2, test_size=0)
    how = (1, backend.name, toysup.__version__, None)
    plain, digest = toysup.TrainConfig.from_json(config.to_json()), config.data.digest
    del config
    executors._held.clear()
    forget()
    assert isinstance(executors.train_alone(plain, *how), executors._Lacks)
    run = executors.train_alone(plain, *how, make())
    assert isinstance(run, toysup.Run)
    again = toysup.TrainConfig.from_json(plain.to_json())
    assert isinstance(executors.train_alone(again, *how), toysup.Run)
    assert [data.digest for data in executors._held[""]] == [digest]
    stranger = toysup.TrainConfig.from_json(toysup.TrainConfig(data=make(1), m=2).to_json())
    assert isinstance(executors.train_alone(stranger, *how), executors._Lacks)
    with pytest.raises(DataError, match="are not at hand"):
        executors.train_alone(stranger, *how, make())
    executors._held.clear()


# ------------------------------------------------------------------------------ interruptions


def test_a_sweep_on_data_goes_on_after_an_interruption(backend, tmp_path):
    steps = {"native": 40_000, "numpy": 1500}[backend.name]
    config = toysup.TrainConfig(data=make(), m=2, T=20, steps=steps, test_size=20, record=4)
    store, config = interrupted_sweep(tmp_path, config, T=[20, 30], n_jobs=1)
    whole = sweep(config, T=[20, 30], n_jobs=1)
    assert Store(store).checkpoints(whole.configs)
    config = open_sweep(store).configs[0]
    assert bits(sweep(config, T=[20, 30], n_jobs=1, store=store)) == bits(whole)
    assert Store(store).checkpoints(whole.configs) == []
