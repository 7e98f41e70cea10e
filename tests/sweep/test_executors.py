"""The same bits by every road: threads, processes, loky, Dask, shards and interruptions."""

from __future__ import annotations

import _thread
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import toysup
from helpers import run_bits
from toysup import RunFailedError, SweepInterrupted, TrainConfig, open_sweep, sweep
from toysup._backends.protocol import Failed
from toysup._store.store import Store
from toysup._sweep import executors
from toysup._sweep.executors import train_alone
from toysup._system import memory

pytestmark = pytest.mark.any_backend

CONFIG = TrainConfig(n=40, m=2, T=12, sparsity=0.85, steps=200, test_size=40, record=5)
AXES: dict[str, Any] = {"T": [12, 30], "m": [2, 7], "seed": [0, 1]}


def all_bits(result: Any) -> list[bytes]:
    return [run_bits(run) for run in result.runs()]


@functools.cache
def serially(backend: str) -> list[bytes]:
    return all_bits(sweep(CONFIG, **AXES, n_jobs=1))


@pytest.fixture
def serial(backend: Any) -> list[bytes]:
    """What one thread makes of it."""
    return serially(backend.name)


def spawned(workers: int = 2) -> concurrent.futures.Executor:
    spawn = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn)


def loky() -> concurrent.futures.Executor:
    loky = pytest.importorskip("loky")
    executor: concurrent.futures.Executor = loky.ProcessPoolExecutor(2)
    return executor


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_threads(backend, serial, n_jobs):
    assert all_bits(sweep(CONFIG, **AXES, n_jobs=n_jobs)) == serial


@pytest.mark.parametrize("make", [spawned, loky], ids=["processes", "loky"])
@pytest.mark.timeout(120)
def test_processes(backend, serial, make: Callable[[], Any], tmp_path):
    with make() as executor:
        result = sweep(CONFIG, **AXES, executor=executor, store=tmp_path / "s")
    assert all_bits(result) == serial
    assert all_bits(open_sweep(tmp_path / "s")) == serial


def test_a_worker_says_what_it_is_made_with(backend, tmp_path):
    with spawned(1) as executor:
        result = sweep(CONFIG, executor=executor, store=tmp_path / "s")
    assert dict(result.run().provenance) == dict(toysup.train(CONFIG).provenance)


def test_one_thread_a_worker_unless_told(backend, monkeypatch):
    seen = []

    class Here(concurrent.futures.Executor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            seen.append((function, *args[1:4]))
            future.set_result(function(*args, **kwargs))
            return future

    sweep(CONFIG, executor=Here())
    sweep(CONFIG, executor=Here(), n_jobs=3)
    how = (backend.name, toysup.__version__)
    assert seen == [(train_alone, 1, *how), (train_alone, 3, *how)]


def test_a_worker_of_another_version_is_refused(backend):
    with pytest.raises(
        toysup.BackendError, match=r"this worker has toysup .*, the sweep toysup 0\.0"
    ):
        train_alone(CONFIG, 1, backend.name, "0.0")


# ----------------------------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of worker processes."""
    distributed = pytest.importorskip("distributed")
    # Whoever starts workers sets OPENBLAS_NUM_THREADS here too, and leaves it so: the processes of
    # later tests would then add in another order than this one.
    environment = dict(os.environ)
    try:
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
    finally:
        os.environ.clear()
        os.environ.update(environment)


@pytest.mark.timeout(180)
def test_dask_with_a_worker_killed_in_the_middle(cluster, backend, tmp_path):
    steps = {"native": 50_000, "numpy": 1000}[backend.name]
    config = CONFIG.replace(steps=steps)
    executor = cluster.get_executor()
    pids = cluster.run(os.getpid)
    store, killed = tmp_path / "s", []

    def kill() -> None:
        until = time.monotonic() + 60
        while not list((store / "runs").glob("[!.]*.npz")) and time.monotonic() < until:
            time.sleep(0.01)
        busy = [pid for name, pid in pids.items() if cluster.processing().get(name)]
        os.kill((busy or list(pids.values()))[0], signal.SIGKILL)
        killed.append(len(list((store / "runs").glob("[!.]*.npz"))))

    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        murder = aside.submit(kill)
        result = sweep(config, **AXES, executor=executor, store=store)
        murder.result()
    assert killed and killed[0] < 8, "the worker was killed too late"
    assert (result.dataset.status == "ok").all()
    assert all_bits(result) == all_bits(sweep(config, **AXES, n_jobs=2))


# -------------------------------------------------------------------------- what can go wrong


def die(config: TrainConfig, *how: Any) -> Any:
    """A worker that dies on one seed."""
    if config.seed == 1:
        time.sleep(0.5)
        os._exit(1)
    return train_alone(config, *how)


@pytest.mark.timeout(120)
def test_a_pool_that_breaks_ends_the_sweep_and_a_new_one_continues(
    backend, serial, monkeypatch, tmp_path
):
    from toysup._sweep import executors

    monkeypatch.setattr(executors, "train_alone", die)
    # The seed that kills comes last, in any order of equal lengths.
    with spawned(1) as executor, pytest.raises(RunFailedError, match=r"the executor broke .*new"):
        sweep(CONFIG, T=[30, 12], seed=range(2), executor=executor, store=tmp_path / "s")
    monkeypatch.undo()
    monkeypatch.setenv("TOYSUP_BACKEND", backend.name)
    status = open_sweep(tmp_path / "s").dataset.status
    assert (status == "ok").any() and (status != "failed").all()
    with spawned(2) as executor:
        result = sweep(CONFIG, **AXES, executor=executor, store=tmp_path / "s")
    assert all_bits(result) == serial


def test_a_worker_that_raises_is_a_failed_run(backend, monkeypatch):
    from toysup._sweep import executors

    def raises(config: TrainConfig, *how: Any) -> Any:
        if config.seed == 1:
            raise ZeroDivisionError("in the worker")
        return train_alone(config, *how)

    monkeypatch.setattr(executors, "train_alone", raises)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        with pytest.warns(RuntimeWarning, match="1 of 3 runs failed; .*: in the worker"):
            result = sweep(CONFIG, seed=range(3), executor=executor)
        with pytest.raises(RunFailedError, match="seed=1 failed: ZeroDivisionError: in the worker"):
            sweep(CONFIG, seed=range(3), executor=executor, on_error="raise")
    assert result.dataset.status.values.tolist() == ["ok", "failed", "ok"]


def test_an_executor_that_is_shut_is_refused(backend):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        sweep(CONFIG, executor=executor)


def test_a_run_that_is_too_large_for_its_worker_fails_there(backend, monkeypatch):
    from toysup._sweep import executors

    def refuse(needed: int, what: str) -> None:
        raise MemoryError(f"{what} needs more than there is")

    monkeypatch.setattr(executors, "refuse_memory", refuse)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(RunFailedError, match="MemoryError: this run needs more") as caught,
    ):
        sweep(CONFIG, executor=executor)
    [(_, reason)] = caught.value.result.failed
    assert "MemoryError: this run needs more" in reason
    assert isinstance(Failed("x"), Failed)


class Instant(concurrent.futures.Executor):
    """Trains as soon as it is given a run, as quick workers would while a disk is slow."""

    _max_workers = 4

    def __init__(self) -> None:
        self.trained = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(function(*args, **kwargs))
        self.trained += 1
        return future


def test_few_runs_are_trained_that_are_not_kept(backend, monkeypatch, tmp_path):
    executor, most, kept = Instant(), 0, 0
    real = Store.save

    def save(self: Store, run: Any) -> None:
        nonlocal most, kept
        most = max(most, executor.trained - kept)
        real(self, run)
        kept += 1

    monkeypatch.setattr(Store, "save", save)
    tiny = CONFIG.replace(steps=5)
    assert sweep(tiny, seed=range(30), executor=executor, store=tmp_path).statuses == ["ok"] * 30
    assert 4 <= most <= 6


def test_what_had_ended_when_ctrl_c_came_is_kept(backend, monkeypatch, tmp_path):
    real, executor, kept = Store.save, Instant(), []

    def save(self: Store, run: Any) -> None:
        kept.append(run)
        if len(kept) == 1:
            _thread.interrupt_main()
        real(self, run)

    monkeypatch.setattr(Store, "save", save)
    with pytest.raises(SweepInterrupted):
        sweep(CONFIG.replace(steps=5), seed=range(30), executor=executor, store=tmp_path)
    assert open_sweep(tmp_path).statuses.count("ok") == executor.trained < 30


def test_an_executor_that_is_shut_on_the_way_ends_the_sweep(backend, tmp_path):
    class Shut(Instant):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self.trained == 3:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return super().submit(function, *args, **kwargs)

    with pytest.raises(RunFailedError, match=r"the executor broke \(RuntimeError cannot schedule"):
        sweep(CONFIG.replace(steps=5), seed=range(9), executor=Shut(), store=tmp_path)
    assert open_sweep(tmp_path).statuses.count("ok") == 3


# --------------------------------------------------------------------------------------- shards


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_shards_merged_are_the_whole(backend, serial, tmp_path, count):
    for number in range(1, count + 1):
        part = sweep(CONFIG, **AXES, shard=f"{number}/{count}", store=tmp_path / f"{number}")
        done = int((part.dataset.status == "ok").sum())
        assert done in (8 // count, -(-8 // count))
    stores = [tmp_path / str(number) for number in range(1, count + 1)]
    merged = toysup.merge(tmp_path / "all", stores)
    assert all_bits(merged) == serial
    again = sweep(CONFIG, **AXES, store=tmp_path / "all")  # nothing is left to do
    assert (again.dataset.seconds == merged.dataset.seconds).all()


def test_shards_on_one_store_need_no_merging(backend, serial, tmp_path):
    for number in (3, 1, 2):
        sweep(CONFIG, **AXES, shard=(number, 3), store=tmp_path / "s")
    assert all_bits(open_sweep(tmp_path / "s")) == serial


def test_shards_take_about_the_same_time() -> None:
    from toysup._sweep.sweep import _part
    from toysup.config.grid import Grid

    grid = Grid.make(TrainConfig(), {"T": [100, 1000, 10_000], "m": [2, 4, 8], "seed": range(4)})
    configs = {config.key(): config for config in grid.configs().values()}
    parts = [_part(configs, number, 4) for number in range(1, 5)]
    assert sorted(key for part in parts for key in part) == sorted(configs)
    cost = [sum(c.step_cost() * c.steps for c in part.values()) for part in parts]
    assert max(cost) < 1.01 * min(cost)


@pytest.mark.parametrize(
    ("shard", "error", "match"),
    [
        ("0/3", ValueError, "shard must be between 1 and 3, got 0"),
        ("4/3", ValueError, "shard must be between 1 and 3, got 4"),
        ("1/0", ValueError, "shard must be between 1 and 1000000, got 0"),
        ("1", ValueError, r"shard must be such as '2/8' or \(2, 8\), got '1'"),
        ("a/b", ValueError, "shard must be such as"),
        ("-1/2", ValueError, "shard must be such as"),
        ((1, 2, 3), ValueError, "shard must be such as"),
        ((1.5, 2), TypeError, "shard must be an integer, got 1.5"),
        (3, ValueError, "shard must be such as"),
    ],
)
def test_bad_shards_are_refused(shard: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sweep(CONFIG, shard=shard)


def test_the_roads_cross(backend, serial, tmp_path: Path):
    """Part of a sweep by processes, part by shards, part here: one store, the same bits."""
    with spawned(1) as executor:
        sweep(CONFIG, T=[12], m=[2], seed=[0, 1], store=tmp_path / "s", executor=executor)
    sweep(CONFIG, **AXES, shard="1/2", store=tmp_path / "other")
    toysup.merge(tmp_path / "s", [tmp_path / "other"])
    assert all_bits(sweep(CONFIG, **AXES, store=tmp_path / "s")) == serial


# --------------------------------------------------------------------------------------- memory


class Counting(concurrent.futures.ThreadPoolExecutor):
    """Counts the runs that are with it."""

    now = most = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)

        def ended(future: Any) -> None:
            self.now -= 1

        future = super().submit(function, *args, **kwargs)
        future.add_done_callback(ended)
        return future


class Processes(Counting):
    """Takes itself for one of processes."""

    _processes: dict[int, Any] = {}  # noqa: RUF012


class Elsewhere(concurrent.futures.Executor):
    """Says nothing about its workers."""

    def __init__(self, workers: int) -> None:
        self.inner = Counting(workers)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.inner.submit(function, *args, **kwargs)


def test_only_what_fits_in_this_machine_is_with_its_workers(backend, monkeypatch):
    need = CONFIG.memory()
    monkeypatch.setattr(memory, "machine", lambda: 4 * need)  # of which runs have nine tenths
    monkeypatch.setattr(executors, "machine", lambda: int(3.4 * (need + executors._PROCESS)))
    monkeypatch.setattr(executors, "_is_threads", lambda executor: type(executor) is Counting)
    for kind in (Counting, Processes):
        with kind(4) as executor:
            result = sweep(CONFIG, seed=range(9), executor=executor)
        assert (result.dataset.status == "ok").all()
        assert 1 < executor.most <= 3
    result = sweep(CONFIG, seed=range(9), executor=(elsewhere := Elsewhere(4)))
    assert elsewhere.inner.most > 3  # each worker sees to its own
    elsewhere.inner.shutdown()


def test_what_cannot_fit_is_refused_where_workers_are_here(backend, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "machine", lambda: CONFIG.memory() - 1)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(MemoryError, match="the largest run of this sweep needs"),
    ):
        sweep(CONFIG, executor=executor, store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_worker_drops_the_run_of_a_sweep_that_is_over(backend):
    how = (1, backend.name, toysup.__version__)
    with executors._calling() as caller:
        assert not caller.is_over()
        assert isinstance(train_alone(CONFIG, *how, caller), toysup.Run)
    assert caller.is_over() and not caller.is_dead()
    assert train_alone(CONFIG, *how, caller) is None
    elsewhere = dataclasses.replace(caller, host="elsewhere")
    assert isinstance(train_alone(CONFIG, *how, elsewhere), toysup.Run)


def test_workers_need_no_room_for_the_flag(backend, serial, monkeypatch):
    def full(**options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert all_bits(sweep(CONFIG, **AXES, executor=executor)) == serial
