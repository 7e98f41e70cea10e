"""Runs on a ``concurrent.futures.Executor``: processes, loky, Dask, MPI, whatever it stands for."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from toysup._backend import backend, load
from toysup._interrupt import Interrupt
from toysup._memory import refuse_memory
from toysup._types import Backend, RawRun
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.errors import BackendError, RunFailedError
from toysup.training import Run, from_raw

__all__ = ["Failed", "train_alone", "train_on"]

# What an executor says of runs that it will not do any more; the second if it was shut.
_BROKEN = (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError)
# Runs at a time with an executor that does not say how many workers it has.
_PLACES = 256


@dataclass(frozen=True)
class Failed:
    """A run that raised an error, after that many updates."""

    error: str
    step: int = 0


def outcome(config: TrainConfig, raw: RawRun, chosen: Backend) -> Run | Failed:
    """What a backend returned."""
    if raw["status"] == "failed":
        return Failed(raw["error"], raw["steps_done"])
    return from_raw(config, raw, chosen)


def train_alone(
    config: TrainConfig, n_jobs: int, backend_name: str, version: str
) -> Run | Failed | None:
    """One run, in a worker; None if the worker was interrupted.

    The worker must be of the same version, and takes the same backend: bits shall not depend on
    where a run is trained.
    """
    if version != __version__:
        raise BackendError(f"this worker has toysup {__version__}, the sweep toysup {version}")
    chosen = load(backend_name)
    refuse_memory(config.memory(), "this run")
    results: list[RawRun] = []
    with Interrupt() as interrupt:
        chosen.train_many(
            [config], n_jobs, lambda _, raw: results.append(raw), lambda _: interrupt.is_set()
        )
    return outcome(config, results[0], chosen) if results else None


def train_on(
    executor: concurrent.futures.Executor,
    configs: Sequence[TrainConfig],
    n_jobs: int,
    on_outcome: Callable[[int, Run | Failed], None],
    poll: Callable[[float], bool],
) -> bool:
    """Train on an executor, the longest run first; True if a worker was interrupted.

    A few more runs are with it than it has workers: what has ended and is not kept yet cannot pile
    up, however slowly it is written.

    Raises
    ------
    RunFailedError
        If the executor broke or was shut. What had finished has been handed over.
    """
    cost = [config.step_cost() * config.steps for config in configs]
    waiting = collections.deque(sorted(range(len(configs)), key=lambda i: -cost[i]))
    futures: dict[concurrent.futures.Future[Run | Failed | None], int] = {}
    work, dropped = 0.0, False
    broken: BaseException | None = None
    how = (n_jobs, backend().name, __version__)

    def submit() -> None:
        nonlocal broken
        while waiting and broken is None and len(futures) < _places(executor):
            i = waiting.popleft()
            try:
                futures[executor.submit(train_alone, configs[i], *how)] = i
            except RuntimeError as error:  # broken, or shut
                if len(waiting) == len(configs) - 1 and not isinstance(error, _BROKEN):
                    raise
                broken = error

    def collect() -> None:
        nonlocal work, dropped, broken
        # Not what wait returns: that leaves out what the shutdown of an executor cancelled.
        for future in [future for future in futures if future.done()]:
            i = futures.pop(future)
            try:
                result = _result(future)
            except _BROKEN as error:
                broken = error
                continue
            work += cost[i]
            if result is None:
                dropped = True
            else:
                on_outcome(i, result)

    try:
        while not poll(work):
            submit()
            if not futures:
                break
            concurrent.futures.wait(futures, timeout=0.05, return_when="FIRST_COMPLETED")
            collect()
    finally:
        for future in list(futures):
            if future.cancel():
                del futures[future]
    collect()  # what had ended by then
    if broken is not None and not poll(work):  # Ctrl-C kills workers that are starting
        raise RunFailedError(
            f"the executor broke ({' '.join([type(broken).__name__, *map(str, broken.args)])}); "
            f"the runs that had finished are kept, and a sweep with a new executor continues"
        )
    return dropped or broken is not None


def _places(executor: concurrent.futures.Executor) -> int:
    """How many runs may be with an executor: being trained, or trained and not kept yet."""
    workers = _workers(executor)
    return _PLACES if workers is None else workers + max(2, workers // 2)


def _workers(executor: Any) -> int | None:
    """How many workers an executor has at present; None if it does not say so."""
    for name in ("_max_workers", "num_workers"):  # concurrent.futures and loky; mpi4py
        workers = getattr(executor, name, None)
        if isinstance(workers, int):
            return workers
    try:
        return int(sum(executor._client.nthreads().values()))  # Dask
    except Exception:  # noqa: BLE001  another kind, or a client that is lost: the runs will tell
        return None


def _result(
    future: concurrent.futures.Future[Run | Failed | None],
) -> Run | Failed | None:
    """What a worker returned; what it raised is a failed run."""
    try:
        return future.result()
    except _BROKEN:
        raise
    except Exception as error:  # noqa: BLE001  recorded, and raised again by the caller
        return Failed(f"{type(error).__name__}: {error}")
