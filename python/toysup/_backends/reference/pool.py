"""The runs of the reference, several at a time in a pool of threads."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from toysup._backends.protocol import Failed, OnResult, Options, Poll, RawRun, State
from toysup._backends.reference.run import train_one
from toysup._floats import exact_floats, refuse_inexact_blas
from toysup._stream.start import Stopped
from toysup._system.processors import ThreadWarning, no_thread
from toysup.config import TrainConfig

__all__ = ["train_many"]

# Seconds for which the system may count threads that have ended.
_LINGER = 0.2


class _Pool:
    """Runs in a pool of threads, the longest first, as many at a time as fit in memory."""

    def __init__(self, configs: Sequence[TrainConfig], n_jobs: int, options: Options) -> None:
        self.configs, self.options = configs, options
        self.threads = min(n_jobs, len(configs))
        self.warning = ThreadWarning()
        self.stop = threading.Event()
        self.costs = [config.step_cost() for config in configs]
        self.steps = [0] * len(configs)
        self.states: dict[int, State] = {}
        self.running: dict[Future[RawRun | Failed], int] = {}
        self.waiting = sorted(range(len(configs)), key=lambda i: -self.costs[i] * configs[i].steps)

    @exact_floats()
    def one(self, i: int) -> RawRun | Failed:
        """Run i, in a thread of the pool."""

        def progress(step: int) -> None:
            self.steps[i] = step

        def keep(state: State) -> None:
            self.states[i] = state

        state = self.options.on_start(i)
        try:
            return train_one(
                self.configs[i], self.stop.is_set, progress, state, keep, self.options.interval
            )
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  recorded, and raised again by the caller
            kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
            return Failed(f"{kind}: {error}", self.steps[i])

    def start(self, i: int) -> Future[RawRun | Failed]:
        """Run i begins, in a thread that does not keep the process from ending."""
        future: Future[RawRun | Failed] = Future()

        def work() -> None:
            try:
                future.set_result(self.one(i))
            except BaseException as error:  # noqa: BLE001  the future hands it over
                future.set_exception(error)

        thread = threading.Thread(target=work, name=f"toysup-{i}", daemon=True)
        until = time.monotonic() + _LINGER
        while True:
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                if self.running or time.monotonic() > until:
                    raise
                time.sleep(0.005)
            else:
                return future

    def admit(self) -> None:
        """Start the runs that there are threads and memory for."""
        limit = math.inf if self.options.memory is None else self.options.memory
        used = sum(self.configs[i].memory() for i in self.running.values())
        for i in list(self.waiting):
            if len(self.running) >= self.threads:
                return
            if not self.running or used + self.configs[i].memory() <= limit:
                try:
                    self.running[self.start(i)] = i
                except RuntimeError as error:
                    if not self.running:
                        raise no_thread(error) from error
                    self.warning.missing(self.threads - len(self.running))
                    self.threads = len(self.running)
                    return
                used += self.configs[i].memory()
                self.waiting.remove(i)

    def hand_over(self, on_result: OnResult, states: int | None = None) -> None:
        """The results of the runs that have ended, and states of those that have not.

        No run begins meanwhile: one that has ended keeps its place until it has been handed over.
        """
        for future in [future for future in self.running if future.done()]:
            i = self.running.pop(future)
            if not isinstance(future.exception(), Stopped):
                self.states.pop(i, None)
                on_result(i, future.result())
        for i in list(self.states)[:states]:
            self.options.on_state(i, self.states.pop(i))


@exact_floats()
def train_many(
    configs: Sequence[TrainConfig],
    n_jobs: int,
    on_result: OnResult,
    poll: Poll,
    options: Options | None = None,
) -> None:
    """Train every config in a pool of threads, longest first; see ``protocol.Backend``."""
    refuse_inexact_blas(os.getpid())
    work = _Pool(configs, n_jobs, options or Options())
    try:
        while work.waiting or work.running:
            work.admit()
            wait(work.running, timeout=0.05, return_when=FIRST_COMPLETED)
            work.hand_over(on_result, 1)  # writing may be slow, and poll looks for Ctrl-C
            work.options.on_running([(i, work.steps[i]) for i in work.running.values()])
            if poll(sum(c * s for c, s in zip(work.costs, work.steps, strict=True))):
                break
    finally:
        work.stop.set()
        wait(work.running)
    work.hand_over(on_result)
