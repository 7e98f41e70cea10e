"""The runs of a sweep that are to be done, and what becomes of those that end."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from toysup._archive import Kept
from toysup._backend import backend
from toysup._checkpoint import pack, unpack
from toysup._executors import Failed, outcome, train_on
from toysup._grid import Index
from toysup._interrupt import Interrupt
from toysup._memory import budget
from toysup._notes import log, warn
from toysup._progress import Progress
from toysup._result import Cell
from toysup._running import Pulse
from toysup._types import Options, RawRun, State
from toysup.config import TrainConfig
from toysup.errors import RunFailedError, StoreError, short
from toysup.store import Store
from toysup.training import Run

__all__ = ["RETRY", "Work", "kept_of_others", "stored"]

# Which of the runs that went wrong are trained again.
RETRY = {"failed": {"failed"}, "all": {"failed", "diverged"}, "none": set[str]()}


class Work:
    """The runs of a sweep: which are done, and what becomes of those that end.

    Parameters
    ----------
    configs : mapping of Index to TrainConfig
        All cells.
    mine : collection of str
        Keys of the runs that may be trained here.
    store : Store or None
        Where finished runs are.
    on_error, retry : str
        As of ``sweep``.
    """

    def __init__(
        self,
        configs: Mapping[Index, TrainConfig],
        mine: set[str],
        store: Store | None,
        on_error: str,
        retry: str,
    ) -> None:
        self._configs, self._store, self._on_error = configs, store, on_error
        self._runs: dict[str, Run] = {}
        self._summaries: dict[str, Mapping[str, Any]] = {}
        self._failed: list[tuple[str, str]] = []
        self._unwritten: list[Run] = []
        self._unwritable: StoreError | None = None
        self._counts = {"done": 0, "failed": 0, "diverged": 0}
        self._began = time.monotonic()
        todo = {}
        for config in configs.values():
            key = config.key()
            if key in self._summaries or key in todo:
                continue
            summary = self._known(config)
            if summary is not None:
                self._summaries[key] = summary
            if key in mine and (summary is None or summary["status"] in RETRY[retry]):
                todo[key] = config
        self.todo = list(todo.values())

    def _known(self, config: TrainConfig) -> Mapping[str, Any] | None:
        """What the store knows of a run, if that can be trusted."""
        return None if self._store is None else self._store.verified(config)

    @property
    def done(self) -> int:
        """Number of runs that need not be trained."""
        return len(self._summaries.keys() - {config.key() for config in self.todo})

    def do(
        self,
        jobs: int,
        executor: concurrent.futures.Executor | None,
        progress: bool | None,
        interval: float,
    ) -> bool:
        """Train what is to be done; True if it was interrupted."""
        if not self.todo:
            return False
        self._began = time.monotonic()
        jobs, memory = self._room(jobs) if executor is None else (jobs, 0)
        folder = None if self._store is None else self._store.folder("running")
        running: Sequence[tuple[int, int]] = ()
        log.info("%d runs to train, %d are done", len(self.todo), self.done)
        with (
            Interrupt() as interrupt,
            Progress(progress, self.todo) as bar,
            Pulse(folder, self.todo) as pulse,
        ):

            def on_running(now: Sequence[tuple[int, int]]) -> None:
                nonlocal running
                running = now

            def poll(work: float) -> bool:
                bar.update(work, self._note(running))
                pulse.beat(work, self._counts, running)
                ended = self._on_error == "raise" and bool(self._failed)
                return interrupt.is_set() or ended or self._unwritable is not None

            dropped = False
            if executor is None:
                options = Options(
                    memory=memory,
                    states=self._states(),
                    on_state=self._keep_state,
                    interval=interval,
                    on_running=on_running,
                )
                backend().train_many(self.todo, jobs, self._on_result, poll, options)
            else:
                dropped = train_on(executor, self.todo, jobs, self._finish, poll)
            if self._counts["done"] == len(self.todo):
                bar.finish(self._note(()))
            self._write_the_rest()
        if self._failed and self._on_error == "raise":
            point, error = self._failed[0]
            raise RunFailedError(f"the run at {point} failed: {error}")
        # Even if all runs had ended just then: a loop around the sweep must notice.
        return interrupt.is_set() or dropped

    def _room(self, jobs: int) -> tuple[int, int]:
        """Threads, and bytes for runs at the same time."""
        jobs, memory = budget(jobs, max(config.memory() for config in self.todo))
        if self._store is None:
            memory = max(0, memory - kept_of_others(self.todo))
        return jobs, memory

    def _note(self, running: Sequence[tuple[int, int]]) -> str:
        """What the progress bar says besides the time."""
        done = self._counts["done"]
        words = [f"{done}/{len(self.todo)} runs"]
        if done:
            rate = 60 * done / max(time.monotonic() - self._began, 1e-3)
            words.append(f"{rate:.3g} a minute")
        words += [f"{self._counts[k]} {k}" for k in ("failed", "diverged") if self._counts[k]]
        if running:
            config = self.todo[running[0][0]]
            words.append(f"now T={config.T} m={config.m}")
        return ", ".join(words)

    def _states(self) -> dict[int, State]:
        """Where runs go on."""
        if self._store is None:
            return {}
        states: dict[int, State] = {}
        others: dict[str, set[int]] = {}
        places = {config.key(): i for i, config in enumerate(self.todo)}
        for kept in self._store.kept(self.todo, repair=True):
            i = places[kept.config.key()]
            if kept.maker != backend().maker():
                others.setdefault(kept.maker, set()).add(i)
            elif i not in states:
                state = self._state(kept)
                states |= {} if state is None else {i: state}
        for maker, runs in others.items():
            self._say_unused(maker, runs - states.keys())
        return states

    def _state(self, kept: Kept) -> State | None:
        """A state in full, if the run can go on from there."""
        assert self._store is not None
        found = self._store.load_checkpoint(kept)
        try:
            return None if found is None else unpack(kept.config, *found)
        except ValueError as error:
            log.warning("%s does not go on from %s: %s", _point(kept.config), kept.path, error)
            return None

    def _say_unused(self, maker: str, runs: Collection[int]) -> None:
        """Say that runs begin although there are states of them."""
        if runs:
            which = _point(self.todo[min(runs)]) + (f" and {len(runs) - 1} more" * (len(runs) > 1))
            message = (
                f"states made by {short(maker)} are kept but not used, as this is "
                f"{backend().maker()!r}: {which}"
            )
            log.warning("%s", message)
            warn(message, stacklevel=5)

    def _keep_state(self, i: int, state: State) -> None:
        """Keep a checkpoint; a sweep can do without it, so what goes wrong is only said."""
        if self._store is None:
            return
        try:
            self._store.save_checkpoint(self.todo[i], *pack(state))
        except StoreError as error:
            log.warning("no checkpoint of %s: %s", _point(self.todo[i]), error)
        else:
            log.debug("%s: checkpoint at step %d", _point(self.todo[i]), state["step"])

    def _on_result(self, i: int, raw: RawRun) -> None:
        self._finish(i, outcome(self.todo[i], raw, backend()))

    def _finish(self, i: int, ended: Run | Failed) -> None:
        """Keep the outcome of a run."""
        config = self.todo[i]
        self._counts["done"] += 1
        if isinstance(ended, Failed):
            self._fail(config, ended)
            return
        self._summaries[config.key()] = ended.summary()
        self._counts["diverged"] += ended.status == "diverged"
        log.info("%s: %s, train loss %.6g", _point(config), ended.status, ended.train_loss)
        if self._store is None:
            self._runs[config.key()] = ended
            return
        try:
            self._store.save(ended)
        except StoreError as error:
            self._unwritten.append(ended)
            self._unwritable = self._unwritable or error

    def _fail(self, config: TrainConfig, failed: Failed) -> None:
        self._counts["failed"] += 1
        log.error("%s failed at step %d: %s", _point(config), failed.step, failed.error)
        self._summaries[config.key()] = {
            "status": "failed",
            "error": failed.error,
            "steps_done": failed.step,
        }
        # Said, or raised, when the backend has handed over what else had ended.
        self._failed.append((_point(config), failed.error))
        if self._store is not None:
            try:
                self._store.save_failure(config, failed.error, step=failed.step)
            except StoreError as error:
                self._unwritable = self._unwritable or error

    def _write_the_rest(self) -> None:
        """Try once more to write what could not be written; the error takes the runs along."""
        if self._unwritable is None:
            return
        assert self._store is not None
        left = []
        for run in self._unwritten:
            try:
                self._store.save(run)
            except StoreError:
                left.append(run)
        self._unwritten = left
        self._unwritable.runs = tuple(left)
        raise self._unwritable

    @property
    def all_failed(self) -> bool:
        """Whether runs were trained, and none of them came to its end."""
        return 0 < len(self._failed) == self._counts["done"]

    def failures(self) -> str:
        """How many of the runs that were trained failed, and why the first; empty if none."""
        if not self._failed:
            return ""
        (point, error), all_runs = self._failed[0], self._counts["done"]
        if all_runs == 1:
            return f"the run at {point} failed: {error}"
        count = "all" if self.all_failed else f"{len(self._failed)} of"
        return f"{count} {all_runs} runs failed; the first, at {point}: {error}"

    def cells(self) -> dict[Index, Cell]:
        """The cells as they are now."""
        cells = {}
        for index, config in self._configs.items():
            key = config.key()
            if key in self._runs:
                cells[index] = Cell(config, self._summaries[key], self._runs[key])
            else:
                cells[index] = stored(config, self._summaries.get(key), self._store)
        return cells


def kept_of_others(configs: Collection[TrainConfig]) -> int:
    """Bytes that stay of all runs but the largest in a sweep without a store."""
    kept = [config.arrays() for config in configs]
    return sum(kept) - max(kept, default=0)


def stored(config: TrainConfig, summary: Mapping[str, Any] | None, store: Store | None) -> Cell:
    """The cell of a run that lies in a store, if anywhere."""
    if store is None or summary is None or summary["status"] not in ("ok", "diverged"):
        return Cell(config, summary, None)
    return Cell(config, summary, store)


def _point(config: TrainConfig) -> str:
    return f"T={config.T}, m={config.m}, seed={config.seed}"
