"""The state of a run under way, as it is kept in files."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._archive import read_checkpoint, write_checkpoint
from toysup._backend import backend
from toysup._files import Damaged
from toysup._types import State
from toysup.config import TrainConfig, as_float

__all__ = ["Checkpoint", "as_interval", "pack", "unpack"]

# What of a state are not arrays.
_NUMBERS = ("step", "seconds", "maker")

log = logging.getLogger("toysup")

Packed = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]


def as_interval(value: object) -> float:
    """Seconds between two checkpoints."""
    seconds = as_float("checkpoint_every", value)
    if seconds < 0:
        raise ValueError(f"checkpoint_every must not be negative, got {value}")
    return seconds


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


class Checkpoint:
    """A file with the state of one run.

    Parameters
    ----------
    path : Path
        The file, which need not be there.
    config : TrainConfig
        The run.
    """

    def __init__(self, path: Path, config: TrainConfig) -> None:
        self.path, self.config = path, config

    def save(self, state: State) -> None:
        """Write a state, whole or not at all; raises ``StoreError``."""
        write_checkpoint(self.path, self.config, *pack(state))

    def load(self) -> State | None:
        """The state, if there is one that the run can go on from; a warning says why not."""
        try:
            return unpack(self.config, *read_checkpoint(self.path, self.config))
        except FileNotFoundError:
            return None
        except (Damaged, ValueError) as error:
            text = f"{error}" if isinstance(error, Damaged) else f"{self.path}: {error}"
            warnings.warn(
                f"{text}; the run starts from the beginning", RuntimeWarning, stacklevel=3
            )
            return None

    def drop(self) -> None:
        """Remove the file, if that can be done: it is of no use any more."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
