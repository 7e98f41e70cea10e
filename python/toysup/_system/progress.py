"""A progress bar over the work of many runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from toysup._text.notes import UNSAID, is_open, is_terminal
from toysup.config import TrainConfig
from toysup.config.checks import check_shown

__all__ = ["Progress"]

# Seconds before a bar appears, so that short runs stay silent.
_DELAY = 1.5


class Progress:
    """A tqdm bar that counts multiply-adds, so that long steps weigh more than short ones.

    Parameters
    ----------
    shown : bool or None
        None shows the bar in a terminal, after a moment; True and False insist.
    configs : sequence of TrainConfig
        The runs.
    """

    def __init__(self, shown: bool | None, configs: Sequence[TrainConfig]) -> None:
        check_shown(shown)
        self._shown = shown
        self._total = sum(config.step_cost() * config.steps for config in configs)
        self._runs = len(configs)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._shown is False or self._total == 0:
            return self
        if not (is_open(sys.stderr) if self._shown else is_terminal(sys.stderr)):
            return self  # tqdm has a thread and a lock, which a forked child would inherit
        from tqdm.auto import tqdm

        shape = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        with self._as_far_as_it_is_seen():
            self._bar = tqdm(
                total=100.0,
                desc=f"{self._runs} runs" if self._runs > 1 else "training",
                bar_format=shape,
                disable=None if self._shown is None else False,
                delay=0 if self._shown else _DELAY,
                leave=bool(self._shown),
            )
        return self

    @contextlib.contextmanager
    def _as_far_as_it_is_seen(self) -> Iterator[None]:
        """Go on without a bar where there is nothing to draw it on any more."""
        try:
            yield
        except UNSAID:
            if self._bar is not None:
                self._bar.disable = True

    def update(self, work: float, note: str = "") -> None:
        """Move to ``work`` multiply-adds."""
        if self._bar is not None and not self._bar.disable:
            with self._as_far_as_it_is_seen():
                if note:
                    self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(max(0.0, 100.0 * work / self._total - self._bar.n))

    def finish(self, note: str = "") -> None:
        """Move to the end: what is told of last may lie a moment before it."""
        self.update(self._total, note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            with self._as_far_as_it_is_seen():
                self._bar.close()
