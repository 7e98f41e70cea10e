"""What a backend returns and calls: the same for Rust and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from toysup._typing import CSR, Array
from toysup.config import TrainConfig


class RawRun(TypedDict):
    """A run that ended. Losses are in the paper's unit; arrays over steps are float64."""

    status: str  # "ok" or "diverged"
    W: Array  # (m, n)
    b: Array  # (n,)
    train_loss: float
    test_loss: float
    test_loss_error: float  # its standard error
    seconds: float
    steps_done: int
    history: dict[str, Array]  # by name, over history_step
    history_step: npt.NDArray[np.int64]
    snapshot_step: npt.NDArray[np.int64]
    snapshot_W: Array  # (snapshots, m, n)
    snapshot_b: Array  # (snapshots, n)


@dataclass(frozen=True)
class Failed:
    """A run that raised an error, after that many updates."""

    error: str
    step: int = 0


# History variables, in the order in which backends measure them.
HISTORY = ("train_loss", "test_loss", "W_norm", "b_norm", "max_feature_dimensionality")
# The history's test loss is taken on this many of the test examples, the final one on all.
HISTORY_TEST = 2048

OnResult = Callable[[int, RawRun | Failed], None]
Poll = Callable[[float], bool]


# A run between two steps, from which it goes on to the same bits: "step", "seconds" and "maker",
# and arrays whose names are the backend's own affair.
State = dict[str, Any]


def _nothing(*_: object) -> None:
    """The callback of who does not ask."""


@dataclass(frozen=True)
class Options:
    """What else can be asked of ``train_many``.

    Attributes
    ----------
    memory : int or None
        Bytes that the runs at one time may take together, by ``TrainConfig.memory``. A run that
        alone takes more is trained by itself.
    on_start : callable
        ``on_start(i)`` is called in the thread of run i, which is about to start: the state from
        which it goes on, or None; :class:`toysup._stream.start.Stopped` if it is not to be trained
        here.
    on_state : callable
        ``on_state(i, state)`` is called in this thread about every ``interval`` seconds of run i,
        sooner at first, and once for a run that is dropped, if it has got anywhere since.
    interval : float
        Seconds.
    on_running : callable
        ``on_running([(i, steps), ...])`` is called before ``poll`` with the runs under way.
    """

    memory: int | None = None
    on_start: Callable[[int], State | None] = lambda _: None
    on_state: Callable[[int, State], object] = _nothing
    interval: float = math.inf
    on_running: Callable[[Sequence[tuple[int, int]]], object] = _nothing


class Backend(Protocol):
    """The whole of what the rest of the package asks of a backend."""

    name: str

    def isa(self) -> str:
        """The instruction set in use, e.g. "avx512"."""

    def sample(
        self,
        n: int,
        start: int,
        stop: int,
        sparsity: float | tuple[float, ...],
        seed: int,
        role: int,
        normalize: bool,
    ) -> CSR:
        """Examples start to stop of a stream."""

    def loss_and_grad(
        self,
        W: Array,
        b: Array,
        X: CSR,
        importance: npt.NDArray[np.float64],
        reduction: str,
        activation: str = "relu",
    ) -> tuple[float, Array, Array]:
        """The loss and its gradient with respect to W and b."""

    def maker(self) -> str:
        """What a state depends on besides its run: its "maker" must be the same."""

    def check_state(self, config: TrainConfig, state: State) -> None:
        """Raise ``ValueError``, saying why, if a run cannot go on from there to the same bits."""

    def train_many(
        self,
        configs: Sequence[TrainConfig],
        n_jobs: int,
        on_result: OnResult,
        poll: Poll,
        options: Options | None = None,
    ) -> None:
        """Train every config; call ``on_result(i, run)`` in this thread as soon as run i ends.

        ``poll(work)`` is called at least every 50 ms with the work done so far (in units of
        ``TrainConfig.step_cost``); when it returns True, unfinished runs are dropped.
        """
