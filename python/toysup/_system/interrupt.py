"""Ctrl-C that loses nothing: the first one asks, the second one insists."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from toysup.errors import SweepInterrupted

__all__ = ["Interrupt", "end_scripts"]

# What can end a process with notice; Windows has not all of them.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# Seconds that the end of the process waits for what other threads are doing.
_PATIENCE = 2.0


class Interrupt:
    """While entered, the first SIGINT sets a flag and the second raises ``KeyboardInterrupt``.

    SIGTERM and SIGHUP set the flag where their handler is that of SIGINT,
    ``signal.default_int_handler``, or the command line's. Only the main thread receives signals. A
    handler of the caller's own is left alone, and then interruption is what that handler makes of
    it. Those of ``asyncio`` and of notebooks are told of the first signal too, so that they cancel
    the task that called.

    In a daemon thread the end of the process sets the flag, and the thread never leaves this: until
    Python 3.14 it would be unwound, and the process aborts if that happens below native code.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, Any] = {}

    def is_set(self) -> bool:
        """Whether a signal came, or the process ends."""
        return self._event.is_set()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            return  # timeout, terminals and batch systems send the others twice
        self._event.set()
        with contextlib.suppress(KeyboardInterrupt):
            self._previous[signum](signum, frame)

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                handler = signal.getsignal(signum)
                if handler is signal.default_int_handler or _goes_along(handler):
                    self._previous[signum] = handler
                    signal.signal(signum, self._handle)
        else:
            _aside.add(self)
            self._stay_at_the_end()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if self in _aside:
            self._stay_at_the_end()
            _aside.discard(self)

    def _stay_at_the_end(self) -> None:
        """Return only if the process does not end."""
        if _over.is_set():
            _aside.discard(self)
            threading.Event().wait()


# Those in other threads than the main one, and whether the process ends.
_aside: set[Interrupt] = set()
_over = threading.Event()


@atexit.register
def _end() -> None:
    """Stop what daemon threads are doing."""
    _over.set()
    until = time.monotonic() + _PATIENCE
    while _aside and time.monotonic() < until:
        for interrupt in list(_aside):
            interrupt._event.set()
        time.sleep(0.01)


def _goes_along(handler: Any) -> bool:
    """Whether a handler only passes a signal on: to whatever calls, by way of a task or a sweep."""
    if isinstance(getattr(handler, "__self__", None), Interrupt):
        return True  # an executor may train in the thread that sweeps
    asyncio = sys.modules.get("asyncio")
    bound = getattr(getattr(handler, "func", None), "__self__", None)
    if asyncio is not None and isinstance(bound, asyncio.Runner):
        return True
    module = getattr(handler, "__module__", None) or ""
    return module.startswith(("ipykernel.", "toysup.cli"))  # of a cell that awaits; of a command


def end_scripts() -> None:
    """Let a ``SweepInterrupted`` that nobody catches end the process as Ctrl-C does: by SIGINT.

    A shell ends its script, too, only then. The interpreter does so for ``KeyboardInterrupt``, but
    until Python 3.14 not for what is derived from it: that is taken for an error.
    """
    usual = sys.excepthook
    if getattr(usual, "__module__", None) == __name__:
        return

    def show(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
        usual(kind, error, tb)
        if issubclass(kind, SweepInterrupted):
            with contextlib.suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")  # the interpreter remembers that of source code

    sys.excepthook = show


def _start_afresh() -> None:
    """A forked child has no part in the sweeps that its parent is in."""
    _aside.clear()
    for signum in _SIGNALS:
        if isinstance(getattr(signal.getsignal(signum), "__self__", None), Interrupt):
            signal.signal(signum, signal.default_int_handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
