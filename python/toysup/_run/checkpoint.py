"""The state of a run under way, as it is kept in files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._backends.choose import backend
from toysup._backends.protocol import State
from toysup._files.paths import check_file
from toysup._files.whole import Damaged, reason, unused
from toysup._run.archive import (
    checkpoint_at,
    is_of,
    read_checkpoint,
    read_meta,
    tag,
    write_checkpoint,
)
from toysup._text.notes import log, warn
from toysup.config import TrainConfig
from toysup.errors import StoreError, short

__all__ = ["Keeper", "pack", "unpack"]

# What of a state are not arrays.
_NUMBERS = ("step", "seconds", "maker")

Packed = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]


def pack(state: State) -> Packed:
    """The meta-data and the arrays of a state."""
    numbers = {name: state[name] for name in _NUMBERS}
    return numbers, {k: np.asarray(v) for k, v in state.items() if k not in numbers}


def unpack(config: TrainConfig, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> State:
    """The inverse.

    Raises
    ------
    ValueError
        If the run cannot go on from there to the same bits; with the reason.
    """
    state = {**arrays, **{name: meta.get(name) for name in _NUMBERS}}
    backend().check_state(config, state)
    log.info(
        "T=%s, m=%d, seed=%d goes on from step %d", config.T, config.m, config.seed, meta["step"]
    )
    return state


class Keeper:
    """A file with the state of one run; no other file is ever replaced or removed.

    States by other makers are kept beside it, in files named by these, until the run ends.

    Parameters
    ----------
    path : Path
        The file, which need not be there.
    config : TrainConfig
        The run.
    """

    def __init__(self, path: Path, config: TrainConfig) -> None:
        self.path, self.config = path, config
        self._is_mine = self._is_said = False

    def load(self) -> State | None:
        """The state to go on from, if there is one.

        One that is damaged, or of another maker, is renamed, with a warning; the latter is found
        again when that maker is back.

        Raises
        ------
        StoreError
            If something else is there, or if no state could be written there.
        """
        check_file(self.path)
        try:
            meta = read_meta(self.path)
        except FileNotFoundError:
            return self._brought_back()
        except Damaged as error:
            raise self._refusal(error.defect) from error
        if "step" not in meta:
            raise self._refusal("is a finished run")
        if not is_of(meta, self.config):
            raise self._refusal(f"is the state of another run{self._difference(meta)}")
        maker, mine = meta.get("maker"), backend().maker()
        if isinstance(maker, str) and maker != mine:
            why = f"it was made by {short(maker)}, this is {mine!r}"
            self._set_aside(why, self._beside(maker))
            return self._brought_back()
        try:
            state = unpack(self.config, *read_checkpoint(self.path, self.config))
        except Damaged as error:
            self._set_aside(error.defect)
            return None
        except ValueError as error:
            self._set_aside(str(error))
            return None
        self._is_mine = True
        return state

    def _refusal(self, what: str) -> StoreError:
        return StoreError(f"checkpoint {str(self.path)!r}: {what}; remove it, or name another file")

    def _difference(self, meta: Mapping[str, Any]) -> str:
        """A field in which the run of a state differs."""
        mine, theirs = self.config.plain(), meta.get("config")
        if not isinstance(theirs, Mapping):
            return ""
        for name in mine:
            if theirs.get(name) != mine[name]:
                return f" (its {name} is {short(theirs.get(name))}, not {short(mine[name])})"
        return ""

    def _beside(self, maker: str) -> Path:
        """Where a state of another maker is kept."""
        return self.path.with_name(f"{self.path.name}.{tag(maker)}")

    def _brought_back(self) -> State | None:
        """The state that this maker had to leave to another one, if it had."""
        beside = self._beside(backend().maker())
        try:
            checkpoint_at(beside, self.config)
            os.rename(beside, self.path)
        except OSError:  # there is none, or it is no such state
            return None
        return self.load()

    def _set_aside(self, why: str, where: Path | None = None) -> None:
        aside = unused(where or self.path)
        try:
            os.rename(self.path, aside)
        except OSError as error:
            words = f"{self.path}: {why}; it cannot be renamed: {reason(error)}"
            raise StoreError(words) from error
        text = f"{self.path}: {why}; it is kept as {str(aside)!r}, and the run does not use it"
        log.warning("%s", text)
        warn(text, stacklevel=4)

    def save(self, state: State) -> None:
        """Write a state, whole or not at all; the run goes on without, so failure is only said."""
        try:
            write_checkpoint(self.path, self.config, *pack(state))
            self._is_mine = True
        except StoreError as error:
            if not self._is_said:
                warn(f"the state of the run is not kept: {error}", stacklevel=4)
            self._is_said = True

    def drop(self) -> None:
        """Remove the states, if that can be done: they are of no use any more."""
        if self._is_mine:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        name = re.compile(re.escape(self.path.name) + r"\.[0-9a-f]{8}")
        with contextlib.suppress(OSError):
            for beside in filter(name.fullmatch, os.listdir(self.path.parent)):
                with contextlib.suppress(OSError):
                    checkpoint_at(self.path.with_name(beside), self.config)  # raises if it is none
                    self.path.with_name(beside).unlink()
