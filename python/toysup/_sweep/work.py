"""The runs of a sweep that are to be done, and what becomes of those that end."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from toysup._backends.choose import backend
from toysup._backends.protocol import Failed, Options, Poll, RawRun, State
from toysup._run.archive import Checkpoint
from toysup._run.checkpoint import pack, unpack
from toysup._run.run import Run
from toysup._store.claims import Claims
from toysup._store.pulse import Pulse
from toysup._store.store import Store
from toysup._stream.start import Stopped
from toysup._sweep.executors import outcome, train_on
from toysup._sweep.result import MISSING, Cell, Summary
from toysup._system.interrupt import Interrupt
from toysup._system.memory import budget
from toysup._system.progress import Progress
from toysup._text.notes import log, warn
from toysup.config import TrainConfig
from toysup.config.grid import Index
from toysup.errors import RunFailedError, StoreError, short

__all__ = ["RETRY", "Work", "held_of_others", "stored"]

# Which of the runs that went wrong are trained again.
RETRY = {"failed": {"failed"}, "all": {"failed", "diverged"}, "none": set[str]()}
# Seconds between two looks at runs that other sweeps are training: at first, and at last.
_SOON, _LATER = 0.05, 1.0
# Seconds between two looks for Ctrl-C meanwhile.
_TICK = 0.025


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
        self._again = RETRY[retry]
        self._runs: dict[str, Run] = {}
        self._summaries: dict[str, Summary] = {}
        self._failed: list[tuple[str, str]] = []
        self._unwritten: list[Run] = []
        self._unwritable: StoreError | None = None
        self._counts = {"done": 0, "failed": 0, "diverged": 0}
        # Runs left to other sweeps: those that are not in the store yet, and how many are.
        self._elsewhere: set[int] = set()
        self._taken = 0
        self._claims: Claims | None = None
        self._began = time.monotonic()
        todo = {}
        for config in configs.values():
            key = config.key()
            if key in self._summaries or key in todo:
                continue
            summary = self._known(config)
            if summary is not MISSING:
                self._summaries[key] = summary
            if key in mine and (summary is MISSING or summary.status in self._again):
                todo[key] = config
        self.todo = list(todo.values())

    def _known(self, config: TrainConfig) -> Summary:
        """What the store knows of a run, if that can be trusted."""
        return MISSING if self._store is None else Summary.of(self._store.verified(config))

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
        runs: Sequence[int] = range(len(self.todo))
        cost, before = [config.step_cost() * config.steps for config in self.todo], 0.0
        log.info("%d runs to train, %d are done", len(self.todo), self.done)
        with (
            Interrupt() as interrupt,
            Progress(progress, self.todo) as bar,
            Pulse(folder, self.todo) as pulse,
            Claims(folder, pulse) as self._claims,
        ):

            def on_running(now: Sequence[tuple[int, int]]) -> None:
                nonlocal running
                running = [(runs[i], step) for i, step in now]

            def poll(work: float) -> bool:
                bar.update(before + work, self._note(running))
                counts = {**self._counts, "elsewhere": self._taken + len(self._elsewhere)}
                pulse.beat(before + work, counts, running)
                ended = self._on_error == "raise" and bool(self._failed)
                return interrupt.is_set() or ended or self._unwritable is not None

            if executor is None:
                self._check_states()
            options = Options(memory=memory, interval=interval, on_running=on_running)
            dropped = False
            while runs and not dropped:
                if executor is None:
                    self._train(runs, jobs, poll, options)
                else:
                    dropped = self._train_on(executor, runs, jobs, poll)
                running = ()
                before = sum(c for i, c in enumerate(cost) if i not in self._elsewhere)
                runs = [] if dropped else self._wait(poll)
            if self._counts["done"] + self._taken == len(self.todo):
                bar.finish(self._note(()))
            self._write_the_rest()
        if self._failed and self._on_error == "raise":
            point, error = self._failed[0]
            raise RunFailedError(f"the run at {point} failed: {error}")
        # Even if all runs had ended just then: a loop around the sweep must notice.
        return interrupt.is_set() or dropped

    def _train(self, runs: Sequence[int], jobs: int, poll: Poll, options: Options) -> None:
        """Train these runs here, but for those that are elsewhere."""
        backend().train_many(
            [self.todo[i] for i in runs],
            jobs,
            lambda i, raw: self._on_result(runs[i], raw),
            poll,
            replace(
                options,
                on_start=lambda i: self._start(runs[i]),
                on_state=lambda i, state: self._keep_state(runs[i], state),
            ),
        )

    def _train_on(
        self, executor: concurrent.futures.Executor, runs: Sequence[int], jobs: int, poll: Poll
    ) -> bool:
        """Train these runs there, but for those that are elsewhere; True if it was interrupted."""
        return train_on(
            executor,
            [self.todo[i] for i in runs],
            jobs,
            lambda i, ended: self._finish(runs[i], ended),
            poll,
            lambda i: self._claim(runs[i]),
        )

    def _claim(self, i: int) -> bool:
        """Whether run i, which is about to start, is to be trained by this sweep."""
        key = self.todo[i].key()
        try:
            assert self._claims is not None
            mine = self._claims.take(key)
            # Only now another sweep cannot finish it any more without being seen.
            if mine and self._store is not None and self._store.knows(self.todo[i]):
                mine = not self._is_settled(Summary.of(self._store.summary(self.todo[i])), key)
        except Exception as error:  # noqa: BLE001  that is no reason not to train it
            log.warning("%s: its claim: %s", _point(self.todo[i]), error)
            return True
        if not mine:
            self._elsewhere.add(i)
            self._claims.release(key)
        return mine

    def _is_settled(self, found: Summary, key: str) -> bool:
        """Whether what the store has of a run that was to be done leaves nothing to do."""
        if found is MISSING:
            return False
        if found.status not in self._again:
            return True
        # That it failed may be the fault of another machine, but that it diverges is its own.
        before = self._summaries.get(key, MISSING).scalars.get("seconds")
        return found.status == "diverged" and found.scalars["seconds"] != before

    def _wait(self, poll: Poll) -> list[int]:
        """Wait for the runs that other sweeps train; those of them that are left to this one."""
        delay = _SOON
        while self._elsewhere:
            free = []
            for i in sorted(self._elsewhere):
                if poll(0.0):
                    return []
                if self._settle(i):
                    delay = _SOON
                elif not self._is_taken(i):
                    free.append(i)
            if free:
                self._elsewhere.difference_update(free)
                return free
            until = time.monotonic() + delay
            delay = min(2 * delay, _LATER)
            while self._elsewhere and time.monotonic() < until:
                if poll(0.0):
                    return []
                time.sleep(_TICK)
        return []

    def _settle(self, i: int) -> bool:
        """Take what another sweep has made of a run, if it has ended."""
        config = self.todo[i]
        found = self._known(config)
        if not self._is_settled(found, config.key()):
            return False
        log.info("%s: %s, trained by another sweep", _point(config), found.status)
        self._summaries[config.key()] = found
        self._elsewhere.discard(i)
        self._taken += 1
        return True

    def _is_taken(self, i: int) -> bool:
        return self._claims is not None and self._claims.is_taken(self.todo[i].key())

    def _room(self, jobs: int) -> tuple[int, int]:
        """Threads, and bytes for runs at the same time."""
        jobs, memory = budget(jobs, max(config.memory() for config in self.todo))
        if self._store is None:
            memory = max(0, memory - held_of_others(self.todo))
        return jobs, memory

    def _note(self, running: Sequence[tuple[int, int]]) -> str:
        """What the progress bar says besides the time."""
        done = self._counts["done"]
        words = [f"{done + self._taken}/{len(self.todo)} runs"]
        if done:
            rate = 60 * done / max(time.monotonic() - self._began, 1e-3)
            words.append(f"{rate:.3g} a minute")
        words += [f"{self._counts[k]} {k}" for k in ("failed", "diverged") if self._counts[k]]
        if self._elsewhere:
            words.append(f"{len(self._elsewhere)} elsewhere")
        if running:
            config = self.todo[running[0][0]]
            words.append(f"now T={config.T} m={config.m}")
        return ", ".join(words)

    def _check_states(self) -> None:
        """Say which states are not used; that of a run is read when it starts, and not before."""
        if self._store is None:
            return
        usable: set[int] = set()
        others: dict[str, set[int]] = {}
        places = {config.key(): i for i, config in enumerate(self.todo)}
        for checkpoint in self._store.checkpoints(self.todo, repair=True):
            i = places[checkpoint.config.key()]
            if checkpoint.maker != backend().maker():
                others.setdefault(checkpoint.maker, set()).add(i)
            elif self._store.is_intact(checkpoint):
                usable.add(i)
        for maker, runs in others.items():
            self._say_unused(maker, runs - usable)

    def _start(self, i: int) -> State | None:
        """Where run i goes on that is about to start, if it is to be trained here."""
        if not self._claim(i):
            raise Stopped
        try:
            found = [] if self._store is None else self._store.checkpoints([self.todo[i]])
            for one in [one for one in found if one.maker == backend().maker()]:
                if (state := self._state(one)) is not None:
                    return state
        except Exception as error:  # noqa: BLE001  it begins, then
            log.warning("%s: its state: %s", _point(self.todo[i]), error)
        return None

    def _state(self, checkpoint: Checkpoint) -> State | None:
        """A state in full, if the run can go on from there."""
        assert self._store is not None
        found = self._store.load_checkpoint(checkpoint)
        try:
            return None if found is None else unpack(checkpoint.config, *found)
        except ValueError as error:
            point = _point(checkpoint.config)
            log.warning("%s does not go on from %s: %s", point, checkpoint.path, error)
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

    def _on_result(self, i: int, raw: RawRun | Failed) -> None:
        self._finish(i, outcome(self.todo[i], raw, backend()))

    def _finish(self, i: int, ended: Run | Failed) -> None:
        """Keep the outcome of a run; other sweeps may take it, or try it themselves, then."""
        self._keep(self.todo[i], ended)
        if self._claims is not None:
            self._claims.release(self.todo[i].key())

    def _keep(self, config: TrainConfig, ended: Run | Failed) -> None:
        self._counts["done"] += 1
        if isinstance(ended, Failed):
            self._fail(config, ended)
            return
        self._summaries[config.key()] = Summary.of(ended.summary())
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
        self._summaries[config.key()] = Summary("failed", failed.error, {"steps_done": failed.step})
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
        return 0 < len(self._failed) == self._counts["done"] + self._taken

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
                cells[index] = stored(config, self._summaries.get(key, MISSING), self._store)
        return cells


def held_of_others(configs: Collection[TrainConfig]) -> int:
    """Bytes that stay of all runs but the largest in a sweep without a store."""
    held = [config.arrays() for config in configs]
    return sum(held) - max(held, default=0)


def stored(config: TrainConfig, summary: Summary, store: Store | None) -> Cell:
    """The cell of a run that lies in a store, if anywhere."""
    return Cell(config, summary, store if summary.status in ("ok", "diverged") else None)


def _point(config: TrainConfig) -> str:
    return f"T={config.T}, m={config.m}, seed={config.seed}"
