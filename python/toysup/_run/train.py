"""Training one model: :func:`train`, and the loss and gradient alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._backends.choose import backend, warn_if_slow
from toysup._backends.protocol import Failed, Options, RawRun
from toysup._files.paths import as_path
from toysup._run.checkpoint import Keeper
from toysup._run.run import Run, from_raw
from toysup._stream.batch import as_csr
from toysup._stream.dataset import find
from toysup._system.interrupt import Interrupt
from toysup._system.memory import budget, refuse_memory
from toysup._system.processors import as_jobs
from toysup._system.progress import Progress
from toysup._text.notes import warn
from toysup._typing import Array
from toysup.config import TrainConfig
from toysup.config.advice import warn_of
from toysup.config.arguments import as_config, check_names
from toysup.config.checks import as_interval
from toysup.config.values import as_array, check_finite
from toysup.errors import RunFailedError, unknown

__all__ = ["loss_and_grad", "train"]


def train(
    config: TrainConfig | None = None,
    /,
    *,
    progress: bool | None = None,
    n_jobs: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    **fields: Any,
) -> Run:
    """Train one model.

    Parameters
    ----------
    config : TrainConfig, optional
        What to train; the paper's recipe if not given.
    progress : bool or None
        Whether to show a progress bar; None shows it for long runs in a terminal.
    n_jobs : int, optional
        Threads for this run; None or -1 takes all processors. The native backend shares out steps
        that are long enough to gain by it. The result does not depend on it, to the bit.
    checkpoint : path-like, optional
        A file that keeps the state of the run while it lasts. If the same run was interrupted, it
        goes on from there, to the same bits; the file is removed at the end. A state that is
        damaged, or was made by another version or backend, is renamed, with a warning; the latter
        is used again by what made it, and removed at the end as well.
    checkpoint_every : float
        Seconds after which the state is written again, at the end of the step that is under way; at
        first after an eighth of that, then after twice as long each time. Ctrl-C writes it too.
    **fields
        Fields of :class:`TrainConfig`, which take precedence over ``config``. With ``data``,
        S and ``normalize`` are those of the data set and must not be given.

    Returns
    -------
    Run

    Raises
    ------
    TypeError, ValueError
        For a bad field, naming it and its value.
    MemoryError
        If the run cannot fit in this machine's memory.
    DataError
        If the config names a data set that is not at hand.
    SurroundingsError
        If not one thread can be started, or the processor is in another floating-point mode than
        the default, and cannot be set back.
    RunFailedError
        If the run failed inside the backend.
    StoreError
        If ``checkpoint`` is something else than a state of this run, which then stays as it is, or
        a file that cannot be written.
    KeyboardInterrupt
        On Ctrl-C, within 0.2 s.

    Examples
    --------
    >>> run = train(n=20, m=2, T=5, sparsity=0.8, steps=200, test_size=100)
    >>> run.W.shape, run.status
    ((2, 20), 'ok')
    """
    check_names(fields, train)
    config = as_config(config, fields)
    if config.data is not None:
        find(config.data)
    jobs = as_jobs(n_jobs)
    interval = as_interval(checkpoint_every)
    refuse_memory(config.memory(), "this run")
    jobs, _ = budget(jobs, config.memory())
    warn_of([config])
    warn_if_slow()
    options = Options()
    if checkpoint is not None:
        keeper = Keeper(as_path("checkpoint", checkpoint), config)
        state = keeper.load()
        options = Options(
            on_start=lambda _: state, on_state=lambda _, s: keeper.save(s), interval=interval
        )
    results: list[RawRun | Failed] = []
    with Interrupt() as interrupt, Progress(progress, [config]) as bar:

        def poll(work: float) -> bool:
            bar.update(work)
            return interrupt.is_set()

        backend().train_many([config], jobs, lambda _, raw: results.append(raw), poll, options)
        if results:
            bar.finish()
    if interrupt.is_set() or not results:
        raise KeyboardInterrupt
    ended = results[0]
    if isinstance(ended, Failed):
        kind, _, text = ended.error.partition(": ")
        if kind == "MemoryError":
            raise MemoryError(text)
        raise RunFailedError(f"the run failed: {ended.error}")
    run = from_raw(config, ended, backend())
    if checkpoint is not None:
        keeper.drop()
    if run.status == "diverged":
        text = f"the run diverged: a loss or a norm was not finite at step {run.steps_done}"
        warn(text, stacklevel=2)
    return run


def _parameter(name: str, value: npt.ArrayLike, ndim: int) -> Array:
    array = as_array(name, value)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be a float32 or float64 array, got dtype {array.dtype}")
    if array.ndim != ndim:
        want = "(m, n)" if ndim == 2 else "(n,)"
        raise ValueError(f"{name} must have shape {want}, got shape {array.shape}")
    check_finite(name, array)
    return array


def loss_and_grad(
    W: npt.ArrayLike,
    b: npt.ArrayLike,
    X: object,
    *,
    importance: float | Sequence[float] | npt.NDArray[np.floating[Any]] = 1.0,
    reduction: str = "mean",
    activation: str = "relu",
) -> tuple[float, Array, Array]:
    r"""The loss of x' = ReLU(W^T W x + b) and its gradient, on the backend in use.

    .. math:: L = \frac{1}{T} \sum_t \sum_j I_j (x_{tj} - x'_{tj})^2

    for ``reduction="sum"``; ``"mean"`` divides it by n, gradient included. At the kink of the ReLU
    (z = 0) the derivative is 0.

    Parameters
    ----------
    W : float32 or float64 array of shape (m, n)
        Weights.
    b : array of shape (n,) and the dtype of W
        Biases.
    X : SparseBatch, SciPy sparse array or array of shape (T, n)
        Examples as rows.
    importance : float or array of shape (n,)
        A base r, for I_i = r**i, or the importances themselves.
    reduction : {"mean", "sum"}
        Over features; over examples it is always the mean.
    activation : {"relu", "linear"}
        ``"linear"`` leaves out the ReLU.

    Returns
    -------
    loss : float
        In double precision, whatever the dtype.
    dW : array of shape (m, n)
    db : array of shape (n,)

    Raises
    ------
    TypeError, ValueError
        For wrong shapes, dtypes, values or names.
    """
    W, b = _parameter("W", W, 2), _parameter("b", b, 1)
    m, n = W.shape
    if m == 0 or n == 0:
        raise ValueError(f"W must not be empty, got shape {W.shape}")
    if b.shape != (n,):
        raise ValueError(f"b must have shape ({n},) to fit W, got shape {b.shape}")
    if W.dtype != b.dtype:
        raise TypeError(f"W and b must have the same dtype, got {W.dtype} and {b.dtype}")
    if reduction not in ("mean", "sum"):
        raise ValueError(unknown("reduction", reduction, ("mean", "sum")))
    if activation not in ("relu", "linear"):
        raise ValueError(unknown("activation", activation, ("relu", "linear")))
    given = TrainConfig(n=n, m=1, importance=importance, dtype=W.dtype.name)  # type: ignore[arg-type]
    weights = given.importances()
    return backend().loss_and_grad(W, b, as_csr(X, n), weights, reduction, activation)
