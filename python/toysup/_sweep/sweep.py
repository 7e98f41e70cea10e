"""A grid of runs: :func:`sweep`, and what goes with it."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from toysup._backends.choose import backend, warn_if_slow
from toysup._store.data import data_bytes
from toysup._store.store import Store
from toysup._stream.dataset import Dataset, find
from toysup._sweep.executors import works_here
from toysup._sweep.plan import Plan, make_plan
from toysup._sweep.result import Summary, SweepResult
from toysup._sweep.work import RETRY, Work, held_of_others, stored
from toysup._system.interrupt import end_scripts
from toysup._system.memory import refuse_memory
from toysup._system.processors import as_jobs
from toysup._text.notes import warn
from toysup.config import TrainConfig
from toysup.config.advice import warn_of
from toysup.config.arguments import as_config, check_names
from toysup.config.checks import as_int, as_interval, check_shown
from toysup.config.grid import Grid, Index
from toysup.errors import DataError, RunFailedError, SweepInterrupted, short, unknown

__all__ = ["kept", "merge", "open_sweep", "plan", "sweep"]


def sweep(
    config: TrainConfig | None = None,
    /,
    *,
    store: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
    on_error: str = "record",
    on_interrupt: str = "raise",
    retry: str = "failed",
    shard: str | tuple[int, int] | None = None,
    checkpoint_every: float = 60.0,
    **fields: Any,
) -> SweepResult:
    """Train a grid of models: every field that is given as a sequence is an axis.

    Parameters
    ----------
    config : TrainConfig, optional
        The fields that all runs share; the paper's recipe if not given.
    store : path-like, optional
        A folder that keeps every run as soon as it ends. Calling again with the same folder trains
        only what is missing; the folder then holds both grids. Files are verified before they
        count; a damaged one is set aside, with a warning, and its run is trained again. Sweeps at
        the same time on one folder, on any machines, share its runs: each waits at the end for what
        others are training, and takes over what those leave that die. Runs stay in memory without a
        store.
    n_jobs : int, optional
        Runs at a time, each on one thread; all processors this process may use if None, by its
        affinity and the quota of its control group. Fewer run where memory is short, or the system
        allows no more threads (with a ``RuntimeWarning``). With an executor: threads of each
        worker, 1 if None.
    executor : concurrent.futures.Executor, optional
        Where to train instead of in this process: processes, loky, Dask, MPI. Results come back
        here, so workers need no access to the store. Of workers on other machines it is assumed
        that there is memory for a run each.
    progress : bool or None
        Whether to show a progress bar; None shows it for long sweeps in a terminal.
    on_error : {"record", "raise"}
        A run that fails is recorded with its reason, and the others go on; a warning at the end
        counts such runs. "raise" ends the sweep with the first of them. A run that diverges is
        always recorded.
    on_interrupt : {"raise", "return"}
        What Ctrl-C does, once all is safe: raise :class:`SweepInterrupted`, which has the result as
        far as it has come, or return that result with a warning and ``interrupted`` set. Finished
        runs are kept either way, and runs under way keep their state in the store. A second Ctrl-C
        does not wait for that.
    retry : {"failed", "all", "none"}
        Which recorded runs are trained again: those that failed, those that diverged as well, or
        neither.
    shard : str or pair of int, optional
        ``"2/8"`` or ``(2, 8)``: train the second of eight parts of the grid, and leave the others
        missing. The parts are about equally long, and depend on the grid alone. See :func:`merge`.
    checkpoint_every : float
        Seconds after which a run under way writes its state to the store, at the end of the step
        that is under way; at first after an eighth of that, then after twice as long each time. So
        does Ctrl-C. From there it goes on after an interruption, to the same bits.
    **fields
        Fields of :class:`TrainConfig`, or sequences of their values: lists, ranges, arrays of any
        library, generators. A pair is one value of ``betas`` and of ``init``, and so is an array
        of n importances; lists of these are axes. Where some T are finite and some infinite, a
        batch size counts for the infinite ones, and the finite ones are trained in full batches.
        ``data`` is one data set for all runs. The store keeps it, once, and workers of an executor
        are sent it when they do not have it.

    Returns
    -------
    SweepResult

    Raises
    ------
    TypeError, ValueError
        For a bad field, an empty axis, a value twice, an axis that changes nothing in any run, or
        importances that may be one value or an axis; then nothing was trained or written.
    MemoryError
        If the largest run, or without a store the results of all, cannot fit in the memory that is
        free.
    DataError
        If runs are to be trained on a data set that is not at hand.
    StoreError
        If the store cannot be written or read. Finished runs that could not be written are its
        attribute ``runs``.
    SurroundingsError
        If not one thread can be started, or the processor is in another floating-point mode than
        the default, and cannot be set back.
    RunFailedError
        If all runs failed that were trained, if one did and ``on_error`` is "raise", or if the
        executor broke. Runs that had finished are in the store, and in its attribute ``result``.
    SweepInterrupted
        After Ctrl-C, within 0.2 s. It is a ``KeyboardInterrupt`` with the attribute ``result``.

    Examples
    --------
    >>> res = sweep(n=20, m=[2, 3], T=[3, 5], seed=range(2), sparsity=0.8, steps=50, test_size=10)
    >>> dict(res.dataset.sizes)
    {'T': 2, 'm': 2, 'seed': 2}
    """
    if on_error not in ("raise", "record"):
        raise ValueError(unknown("on_error", on_error, ("raise", "record")))
    if on_interrupt not in ("raise", "return"):
        raise ValueError(unknown("on_interrupt", on_interrupt, ("raise", "return")))
    given: object = executor
    if given is not None and not isinstance(given, concurrent.futures.Executor):
        kind = type(given).__name__
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {kind}")
    interval = as_interval(checkpoint_every)
    check_shown(progress)
    asked = _Asked.make(config, store, shard, retry, fields, sweep)
    jobs = 1 if executor is not None and n_jobs is None else as_jobs(n_jobs)
    backend()  # an unusable one is refused before a folder is made
    if executor is None or works_here(executor):
        _refuse(asked)
    warn_of(asked.mine.values(), asked.grid.repeats())
    data = asked.data()
    if asked.store is not None:
        asked.store.extend(asked.grid)
        if data is not None:
            asked.store.keep_data(data)
    work = asked.work(on_error)
    if work.todo:
        warn_if_slow()
    if work.todo and asked.store is not None:
        asked.store.check_writable()
    try:
        interrupted = work.do(jobs, executor, progress, interval)
    except RunFailedError as error:
        error.result = SweepResult(asked.grid, work.cells())
        raise
    result = SweepResult(asked.grid, work.cells(), interrupted=interrupted)
    if interrupted:
        message = (
            f"the sweep was interrupted: {so_far(result, asked.store)}"
            + (", in memory only; with store= they are kept, and" if asked.store is None else ";")
            + " the same call continues"
        )
        if on_interrupt == "raise":
            end_scripts()
            raise SweepInterrupted(message, result)
        warn(message, stacklevel=2)
    elif work.all_failed:
        all_failed = RunFailedError(work.failures())
        all_failed.result = result
        raise all_failed
    elif failures := work.failures():
        again = "" if asked.store is None else ", and the same call tries them again"
        warn(f"{failures}; .failed of the result lists them{again}", stacklevel=2)
    return result


def so_far(result: SweepResult, store: Store | None) -> str:
    """What an interrupted sweep has done and kept."""
    runs = list(zip(result.configs, result.statuses, strict=True))
    left = [config for config, status in runs if status not in ("ok", "diverged")]
    text = f"{len(result) - len(left)} of {len(result)} runs are finished"
    if store is None:
        return text
    half = len({checkpoint.config for checkpoint in store.checkpoints(left)})
    more = f", with the states of {half} more" if half else ""
    return f"{text} and kept in {str(store.path)!r}{more}"


def plan(
    config: TrainConfig | None = None,
    /,
    *,
    store: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    retry: str = "failed",
    shard: str | tuple[int, int] | None = None,
    **fields: Any,
) -> Plan:
    """What a sweep would do, and what it would take; nothing is trained or written.

    Parameters
    ----------
    config : TrainConfig, optional
        The fields that all runs share.
    store : path-like, optional
        The store that the sweep would use; what is done there need not be done again.
    n_jobs : int, optional
        Runs at a time.
    retry : {"failed", "all", "none"}
        Which recorded runs would be trained again.
    shard : str or pair of int, optional
        The part of the grid.
    **fields
        Fields of :class:`TrainConfig`, or sequences of their values.

    Returns
    -------
    Plan
        Runs done and to be done, wall time from a short calibration, peak memory and disk.

    Raises
    ------
    TypeError, ValueError, StoreError
        As :func:`sweep`.
    """
    asked = _Asked.make(config, store, shard, retry, fields, plan)
    warn_of(asked.mine.values(), asked.grid.repeats())
    jobs = as_jobs(n_jobs)
    known = {} if asked.store is None else _summaries(asked.store, asked.grid, asked.mine)
    statuses = {key: str(summary["status"]) for key, summary in known.items()}
    again = {"damaged", *RETRY[retry]}
    todo = [c for k, c in asked.mine.items() if statuses.get(k, "damaged") in again]
    failed = sum(status in RETRY[retry] for status in statuses.values())
    held = 0 if asked.store is not None else held_of_others(todo)
    data = asked.data()
    found = make_plan(todo, len(asked.mine) - len(todo), failed, jobs, held=held)
    if data is None or asked.store is None or asked.store.data_file(data.ref).exists():
        return found
    return replace(found, disk=found.disk + data_bytes(data.ref))


def kept(path: str | os.PathLike[str], fields: Mapping[str, Any]) -> SweepResult:
    """A sweep as far as a store has it, the other runs being missing; nothing is written.

    Raises
    ------
    TypeError, ValueError, StoreError
        As :func:`sweep`.
    """
    asked = _Asked.make(None, path, None, "failed", fields, plan)
    store = Store(path)
    summaries = _summaries(store, asked.grid, asked.mine)
    cells = {
        index: stored(config, Summary.of(summaries.get(config.key())), store)
        for index, config in asked.configs.items()
    }
    return SweepResult(asked.grid, cells)


def _summaries(
    store: Store, grid: Grid, configs: Mapping[str, TrainConfig]
) -> dict[str, Mapping[str, Any]]:
    """The summary of each run that a store knows, by its key; the grid must fit in it."""
    try:
        store.grid().merged(grid)
    except FileNotFoundError:
        return {}
    found = {key: store.summary(config) for key, config in configs.items()}
    return {key: summary for key, summary in found.items() if summary is not None}


@dataclass
class _Asked:
    """What the arguments of ``sweep`` and ``plan`` have in common."""

    grid: Grid
    configs: dict[Index, TrainConfig]
    mine: dict[str, TrainConfig]
    store: Store | None
    retry: str

    @classmethod
    def make(
        cls,
        config: TrainConfig | None,
        store: str | os.PathLike[str] | None,
        shard: str | tuple[int, int] | None,
        retry: str,
        fields: Mapping[str, Any],
        function: Any,
    ) -> _Asked:
        """The checked arguments."""
        if retry not in RETRY:
            raise ValueError(unknown("retry", retry, RETRY))
        if config is not None:
            config = as_config(config, {})
        folder = None if store is None else Store(store)
        if folder is not None:
            folder.check_folder()
        check_names(fields, function)
        grid = Grid.make(config, fields)
        configs = grid.configs()
        mine = {config.key(): config for config in configs.values()}
        if shard is not None:
            mine = _part(mine, *_as_shard(shard))
        return cls(grid, configs, mine, folder, retry)

    def data(self) -> Dataset | None:
        """The data set of all runs, if there is one; it must be at hand if any is to be trained."""
        ref = self.grid.fixed["data"]
        if ref is None:
            return None
        if self.store is not None:
            self.store.offer_data(ref)
        try:
            return find(ref)
        except DataError:
            if self.store is None or not all(map(self.store.knows, self.mine.values())):
                raise
            return None

    def work(self, on_error: str) -> Work:
        """What is to be done."""
        return Work(self.configs, set(self.mine), self.store, on_error, self.retry)


def _refuse(asked: _Asked) -> None:
    configs = asked.mine.values()
    largest = max((config.memory() for config in configs), default=0)
    refuse_memory(largest, "the largest run of this sweep")
    if asked.store is None:
        what = "the largest run of this sweep, with the other ones' results (there is no store),"
        refuse_memory(largest + held_of_others(configs), what)


def _as_shard(shard: object) -> tuple[int, int]:
    """Number and count of a shard, from 1 on."""
    parts: Iterable[object] | None = None
    if isinstance(shard, str):
        words = shard.split("/")
        if len(words) == 2 and all(word.strip().isdecimal() for word in words):
            parts = [int(word) for word in words]
    elif isinstance(shard, (tuple, list)) and len(shard) == 2:
        parts = shard
    if parts is None:
        raise ValueError(f"shard must be such as '2/8' or (2, 8), got {short(shard)}")
    number, count = parts
    count = as_int("shard", count, 1, 1_000_000)
    return as_int("shard", number, 1, count), count


def _part(configs: Mapping[str, TrainConfig], number: int, count: int) -> dict[str, TrainConfig]:
    """Every ``count``-th run, the longest first, so that parts take about the same time."""
    order = sorted(configs, key=lambda key: (-configs[key].step_cost() * configs[key].steps, key))
    return {key: configs[key] for key in order[number - 1 :: count]}


def open_sweep(path: str | os.PathLike[str]) -> SweepResult:
    """The sweep that a folder holds, finished or not.

    Runs whose file is damaged have the status "damaged"; nothing is moved or written.

    Raises
    ------
    FileNotFoundError
        If there is no sweep in that folder.
    StoreError
        If it cannot be read, or was written by another version of toysup.
    """
    store = Store(path)
    grid = store.grid()
    cells = {
        index: stored(config, Summary.of(store.summary(config)), store)
        for index, config in grid.configs().items()
    }
    return SweepResult(grid, cells)


def merge(path: str | os.PathLike[str], stores: Iterable[str | os.PathLike[str]]) -> SweepResult:
    """Bring the runs of several stores together in one, such as the shards of a sweep.

    Parameters
    ----------
    path : path-like
        The store they go to; it is made if it is not there.
    stores : sequence of path-like
        The stores they come from, which stay as they are.

    Returns
    -------
    SweepResult
        The sweep that is then in ``path``.

    Raises
    ------
    FileNotFoundError
        If one of the stores is not there.
    ValueError
        If they differ in a field that is no axis.
    StoreError
        If a file cannot be read or written, or two stores hold different results of the same run.
    """
    if isinstance(stores, (str, os.PathLike)):
        raise TypeError(f"stores must be a sequence of paths, got {short(stores)}")
    sources = [Store(source) for source in stores]
    if not sources:
        raise ValueError("stores must name at least one store, got none")
    Store(path).merge(sources)
    return open_sweep(path)
