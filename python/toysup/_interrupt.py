"""Ctrl-C that loses nothing: the first one asks, the second one insists."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupt"]

# Seconds that the end of the process waits for what other threads are doing.
_PATIENCE = 2.0


class Interrupt:
    """While entered, the first SIGINT sets a flag and the second raises ``KeyboardInterrupt``.

    Only the main thread receives signals. A handler of the caller's own is left alone, and then
    interruption is what that handler makes of it. Those of ``asyncio`` and of notebooks are told of
    the first SIGINT too, so that they cancel the task that called.

    In a daemon thread the end of the process sets the flag, and the thread never leaves this: until
    Python 3.14 it would be unwound, and the process aborts if that happens below native code.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: Any = None

    def is_set(self) -> bool:
        """Whether a SIGINT came, or the process ends."""
        return self._event.is_set()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()
        if self._previous is not signal.default_int_handler:
            self._previous(signum, frame)

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if handler is signal.default_int_handler or _goes_along(handler):
                self._previous = handler
                signal.signal(signal.SIGINT, self._handle)
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
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
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
    """Whether a handler only passes SIGINT on: to whatever calls, by way of a task or a sweep."""
    if isinstance(getattr(handler, "__self__", None), Interrupt):
        return True  # an executor may train in the thread that sweeps
    asyncio = sys.modules.get("asyncio")
    bound = getattr(getattr(handler, "func", None), "__self__", None)
    if asyncio is not None and isinstance(bound, asyncio.Runner):
        return True
    module = getattr(handler, "__module__", None) or ""
    return module.startswith("ipykernel.")  # of a cell that awaits


def _start_afresh() -> None:
    """A forked child has no part in the sweeps that its parent is in."""
    _aside.clear()
    if isinstance(getattr(signal.getsignal(signal.SIGINT), "__self__", None), Interrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
