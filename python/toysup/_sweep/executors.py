"""Runs on a ``concurrent.futures.Executor``: processes, loky, Dask, MPI, whatever it stands for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from toysup._backends.choose import backend, load
from toysup._backends.protocol import Backend, Failed, RawRun
from toysup._run.run import Run, from_raw
from toysup._stream.dataset import Dataset, find
from toysup._system.interrupt import Interrupt
from toysup._system.memory import available, budget, machine, refuse_memory, share
from toysup._system.processes import host, is_there, me, system
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.errors import BackendError, DataError, RunFailedError

__all__ = ["Caller", "outcome", "train_alone", "train_on", "works_here"]

# What an executor says of runs that it will not do any more; the second if it was shut.
_BROKEN = (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError)
# Runs at a time with an executor that does not say how many workers it has.
_PLACES = 256
# Bytes of a worker process besides its run: Python, NumPy, and what the run is kept in.
_PROCESS = 64 << 20
# Seconds between two looks at the process that a worker belongs to.
_WATCH = 0.5


@dataclass(frozen=True)
class Caller:
    """The sweep that a worker trains for, as far as it can be seen from there.

    Attributes
    ----------
    host, system, pid, started
        Which process it is: see ``processes.is_there``.
    flag : str
        A file that is there while results are wanted.
    folder : pair of int
        Device and inode of its folder, which tell whether that is the same at the worker.
    """

    host: str
    system: str | None
    pid: int
    started: str | None
    flag: str
    folder: tuple[int, int]

    def is_over(self) -> bool:
        """Whether nobody wants results any more; False where that cannot be seen."""
        if (self.host, self.system) != (host(), system()):
            return False
        with contextlib.suppress(OSError):
            if _identity(os.path.dirname(self.flag)) == self.folder:
                return not os.path.exists(self.flag) or self.is_dead()
        return self.is_dead()

    def is_dead(self) -> bool:
        """Whether the process has ended; False where that cannot be seen."""
        return is_there(self.host, self.system, self.pid, self.started) is False


@contextlib.contextmanager
def _calling() -> Iterator[Caller]:
    """The caller of workers that this process is: it wants results while this is entered."""
    try:
        handle, flag = tempfile.mkstemp(prefix="toysup-")
        os.close(handle)
        folder = _identity(os.path.dirname(flag))
    except OSError:  # there is no room for an empty file: workers see only whether we live
        yield Caller(*me(), "", (0, 0))
        return
    try:
        yield Caller(*me(), flag, folder)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(flag)


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


_following = threading.Lock()


def _follow(caller: Caller) -> None:
    """Let this process end with the caller's, if it is a worker of its pool.

    Such a pool's workers are no use to anybody then, but wait for ever to be told what to do.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != caller.pid or os.name != "posix":
        return
    if not _following.acquire(blocking=False):
        return  # for good: one thread watches, as long as this process lives
    before = os.getppid()  # the caller, or what forked this for it

    def watch() -> None:
        while os.getppid() == before and not caller.is_dead():
            time.sleep(_WATCH)
        with contextlib.suppress(OSError):
            os.unlink(caller.flag)
        os._exit(1)

    threading.Thread(target=watch, name="toysup-follow", daemon=True).start()


@dataclass(frozen=True)
class _Lacks:
    """What a worker without the data set returns: which one it is, by host and process."""

    worker: tuple[str, int]


class _Deliveries:
    """Which runs go with their data set, so that each worker is sent it about once.

    Executors do not say which worker takes a run. So no more runs are under way with the data set
    than workers have said that they lack it; but a run that was returned twice always goes with it.
    """

    def __init__(self) -> None:
        self._workers: set[tuple[str, int]] = set()
        self._returned: dict[int, int] = {}
        self._on_the_way: set[int] = set()

    def take(self, i: int) -> bool:
        """Whether run i, which is about to be submitted, goes with its data set."""
        count = self._returned.get(i, 0)
        if count > 1 or (count == 1 and len(self._on_the_way) < len(self._workers)):
            self._on_the_way.add(i)
            return True
        return False

    def ended(self, i: int) -> None:
        """Run i has been trained, or has failed."""
        self._on_the_way.discard(i)

    def returned(self, i: int, worker: tuple[str, int]) -> None:
        """Run i comes back from a worker that lacks the data set."""
        self._workers.add(worker)
        self._returned[i] = self._returned.get(i, 0) + 1


# The data sets that this worker was sent by a sweep, until another sweep sends it one.
_held: dict[str, list[Dataset]] = {}


def _has_data(config: TrainConfig, data: Dataset | None, caller: Caller | None) -> bool:
    """Whether the rows of a run's data set are in this process; ``data``, if sent, is kept.

    Raises
    ------
    DataError
        If another data set was sent.
    """
    if data is not None:
        flag = "" if caller is None else caller.flag
        kept = _held.get(flag, [])
        _held.clear()
        _held[flag] = kept if data in kept else [*kept, data]
    try:
        _data_of(config)
    except DataError:
        if data is not None:
            raise
        return False
    return True


def outcome(config: TrainConfig, ended: RawRun | Failed, chosen: Backend) -> Run | Failed:
    """What a sweep keeps of what a backend returned."""
    return ended if isinstance(ended, Failed) else from_raw(config, ended, chosen)


def train_alone(
    config: TrainConfig,
    n_jobs: int,
    backend_name: str,
    version: str,
    caller: Caller | None = None,
    data: Dataset | None = None,
) -> Run | Failed | _Lacks | None:
    """One run, in a worker; None if the worker was interrupted, or the caller's sweep is over.

    ``data`` is the run's data set, which a worker is sent that lacks it.

    The worker must be of the same version, and takes the same backend: bits shall not depend on
    where a run is trained.
    """
    if version != __version__:
        raise BackendError(f"this worker has toysup {__version__}, the sweep toysup {version}")
    chosen = load(backend_name)
    if caller is not None:
        _follow(caller)
        if caller.is_over():
            return None
    if not _has_data(config, data, caller):
        return _Lacks((host(), os.getpid()))
    refuse_memory(config.memory(), "this run")
    jobs, _ = budget(n_jobs, config.memory())
    results: list[RawRun | Failed] = []
    with Interrupt() as interrupt:

        def poll(work: float) -> bool:
            return interrupt.is_set() or (caller is not None and caller.is_over())

        chosen.train_many([config], jobs, lambda _, raw: results.append(raw), poll)
    return outcome(config, results[0], chosen) if results else None


def train_on(
    executor: concurrent.futures.Executor,
    configs: Sequence[TrainConfig],
    n_jobs: int,
    on_outcome: Callable[[int, Run | Failed], None],
    poll: Callable[[float], bool],
    on_start: Callable[[int], bool] = lambda _: True,
) -> bool:
    """Train on an executor, the longest run first; True if a worker was interrupted.

    Only runs are submitted of which ``on_start(i)`` says so just before.

    A few more runs are with it than it has workers: what has ended and is not kept yet cannot pile
    up, however slowly it is written. Where its workers are on this machine, only as many are with
    it as fit in memory together. When this ends, workers stop what they do. A worker that lacks the
    rows of a data set gives its run back, and is sent them with one.

    Raises
    ------
    RunFailedError
        If the executor broke or was shut. What had finished has been handed over.
    """
    cost = [config.step_cost() * config.steps for config in configs]
    waiting = sorted(range(len(configs)), key=lambda i: -cost[i])
    limit, each = _memory(executor)
    size = [config.memory() + each for config in configs]
    futures: dict[concurrent.futures.Future[Run | Failed | _Lacks | None], int] = {}
    deliveries = _Deliveries()
    work, dropped, began = 0.0, False, False
    broken: BaseException | None = None
    how = (n_jobs, backend().name, __version__)

    def submit(caller: Caller) -> None:
        nonlocal broken, began
        while broken is None and len(futures) < _places(executor) and not poll(work):
            left = limit - sum(size[i] for i in futures.values())
            i = next((i for i in waiting if not futures or size[i] <= left), None)
            if i is None:
                return
            waiting.remove(i)
            if not on_start(i):
                continue
            try:
                data = _data_of(configs[i]) if deliveries.take(i) else None
                futures[executor.submit(train_alone, configs[i], *how, caller, data)] = i
            except RuntimeError as error:  # broken, or shut
                if not began and not isinstance(error, _BROKEN):
                    raise
                broken = error
            began = True

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
            if isinstance(result, _Lacks):
                deliveries.returned(i, result.worker)
                waiting.insert(0, i)
                continue
            deliveries.ended(i)
            work += cost[i]
            if result is None:
                dropped = True
            else:
                on_outcome(i, result)

    try:
        with _calling() as caller:
            while not poll(work):
                submit(caller)
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


def works_here(executor: Any) -> bool:
    """Whether the workers of an executor are known to be on this machine."""
    if _is_threads(executor) or hasattr(executor, "_processes"):  # concurrent.futures and loky
        return True
    try:
        workers = [urlsplit(worker) for worker in executor._client.nthreads()]  # Dask
    except Exception:  # noqa: BLE001  as above
        return False
    here = ("127.0.0.1", "::1", "localhost")
    return bool(workers) and all(w.scheme == "inproc" or w.hostname in here for w in workers)


def _memory(executor: Any) -> tuple[int, int]:
    """Bytes that the runs of all workers may take together, and what each takes besides."""
    if not works_here(executor):
        return sys.maxsize, 0  # whoever starts workers elsewhere sees to it
    if _is_threads(executor):
        return share(available()), 0
    return share(machine()), _PROCESS


def _is_threads(executor: Any) -> bool:
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor)


def _data_of(config: TrainConfig) -> Dataset | None:
    return None if config.data is None else find(config.data)


def _result(
    future: concurrent.futures.Future[Run | Failed | _Lacks | None],
) -> Run | Failed | _Lacks | None:
    """What a worker returned; what it raised is a failed run."""
    try:
        return future.result()
    except _BROKEN:
        raise
    except Exception as error:  # noqa: BLE001  recorded, and raised again by the caller
        return Failed(f"{type(error).__name__}: {error}")
