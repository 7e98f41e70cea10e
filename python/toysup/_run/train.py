"""One run: :func:`train`, and the :class:`Run` it gives."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._backends.choose import backend
from toysup._backends.protocol import HISTORY, HISTORY_TEST, Backend, Options, RawRun
from toysup._files.paths import as_path
from toysup._files.whole import Damaged
from toysup._run.archive import is_of, largest, read, read_config, read_meta, write
from toysup._run.checkpoint import Checkpoint
from toysup._run.model import Model
from toysup._stream.batch import SparseBatch, as_batch, as_csr, repeated
from toysup._system.interrupt import Interrupt
from toysup._system.memory import budget, refuse_memory
from toysup._system.processors import as_jobs
from toysup._system.progress import Progress
from toysup._text.notes import warn
from toysup._typing import Array
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.config.advice import warn_of
from toysup.config.arguments import as_config, check_names
from toysup.config.checks import as_int, as_interval
from toysup.config.values import as_array, check_finite
from toysup.data import sample
from toysup.errors import RunFailedError, printable, short, unknown

if TYPE_CHECKING:
    import xarray

__all__ = ["Run", "load_run", "loss_and_grad", "train"]

# The variables of the history whose last value goes into the summary.
SUMMARY_HISTORY = ("W_norm", "b_norm", "max_feature_dimensionality")
# The numbers of a summary.
_SCALARS = ("train_loss", "test_loss", *SUMMARY_HISTORY, "n_represented", "seconds")


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """The outcome of one training.

    Attributes
    ----------
    config : TrainConfig
        What was trained.
    status : str
        ``"ok"``, or ``"diverged"`` if a loss or a norm stopped being finite: the run ended there.
    W : array of shape (m, n)
        Final weights; column i is the vector of feature i.
    b : array of shape (n,)
        Final biases.
    train_loss, test_loss : float
        Losses in the paper's unit: summed over features, mean over examples. With infinite T the
        train loss is that of the examples which the next update would have used.
    seconds : float
        Wall time of the run.
    steps_done : int
        Updates made.
    provenance : dict
        Versions, backend, instruction set and platform that made the run.
    """

    config: TrainConfig
    status: str
    W: Array = field(repr=False)
    b: Array = field(repr=False)
    train_loss: float
    test_loss: float
    seconds: float
    steps_done: int
    provenance: Mapping[str, str] = field(repr=False)
    _arrays: Mapping[str, npt.NDArray[Any]] = field(repr=False)

    def __repr__(self) -> str:
        c = self.config
        return (
            f"<toysup.Run T={c.T} m={c.m} n={c.n} seed={c.seed}: {self.status} after "
            f"{self.steps_done:,} steps, train loss {self.train_loss:.5f}, "
            f"test loss {self.test_loss:.5f}, {self.seconds:.1f} s>"
        )

    def _repr_html_(self) -> str:
        from toysup._run.html import run_html

        return run_html(self)

    @property
    def history(self) -> xarray.Dataset:
        """Scalars over ``step``, the number of updates so far.

        ``train_loss``, ``test_loss`` (on the first 2,048 test examples, so that its last value is
        not exactly :attr:`test_loss`), ``learning_rate`` of the next update, ``W_norm``
        (Frobenius), ``b_norm`` and ``max_feature_dimensionality``.
        """
        import xarray

        from toysup._backends.reference.model import learning_rate

        steps = self._arrays["history_step"]
        variables = {name: ("step", self._arrays[f"history_{name}"]) for name in HISTORY}
        rates = np.array([learning_rate(self.config, int(step)) for step in steps])
        test = min(self.config.test_size, HISTORY_TEST)
        return xarray.Dataset(
            {**variables, "learning_rate": ("step", rates)},
            coords={"step": steps},
            attrs={"config": self.config.to_json(), "test_examples": test},
        )

    @property
    def snapshots(self) -> xarray.Dataset:
        """``W`` (step, hidden, feature) and ``b`` (step, feature) at the steps of the snapshots."""
        import xarray

        return xarray.Dataset(
            {
                "W": (("step", "hidden", "feature"), self._arrays["snapshot_W"]),
                "b": (("step", "feature"), self._arrays["snapshot_b"]),
            },
            coords={"step": self._arrays["snapshot_step"]},
            attrs={"config": self.config.to_json()},
        )

    def training_set(self) -> SparseBatch:
        """The T training examples and further copies; with infinite T, those of the last update."""
        c = self.config
        start = max(0, c.steps - 1) * c.batch if c.T == math.inf else 0
        count = c.batch if c.T == math.inf else int(c.T)
        batch = sample(c.n, count, c.sparsity, c.seed, start=start, normalize=c.normalize)
        return SparseBatch(*repeated(batch.csr(), c.copies()), c.n)

    def _examples(self, X: object) -> SparseBatch:
        """The training set for None."""
        return self.training_set() if X is None else as_batch(X, self.config.n)

    @property
    def model(self) -> Model:
        """The final weights as a :class:`toysup.Model`, which takes any examples."""
        c = self.config
        return Model(self.W, self.b, activation=c.activation, importance=c.importance)

    def reconstruct(self, X: object = None) -> Array:
        """Reconstructions x' = f(W^T W x + b) in double precision, shape (T, n).

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
            Examples as rows; the training set if not given.

        Raises
        ------
        MemoryError
            If T n doubles do not fit in this machine's memory.
        """
        return self.model.reconstruct(self._examples(X))

    def loss(self, X: object = None) -> float:
        """The loss in the paper's unit: summed over features, mean over examples.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
            Examples as rows; the training set if not given.
        """
        return self.model.loss(self._examples(X))

    def hidden(self, X: object = None) -> Array:
        """Hidden vectors h = W x, shape (T, m).

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
            Examples as rows; the training set if not given.
        """
        return self._examples(X).dot(self.W.T.astype(np.float64))

    def feature_dimensionality(self) -> npt.NDArray[np.float64]:
        """Dimensionality of every feature, shape (n,): :func:`toysup.metrics.dimensionality`."""
        return metrics.dimensionality(self.W.T)

    def represented(self, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
        r"""Which features the model represents, shape (n,): :func:`toysup.metrics.represented`.

        Features have values as in the run's examples. In one of K non-zeros, scaled to length 1,
        the mean of a value's square is 1 / K; uniform ones reach to s = sqrt(3 / K) for that, or to
        1. With a certain feature there are K = 1 + (n - 1) (1 - S) on average.

        Parameters
        ----------
        threshold : float
            The smallest own gain, in (0, 1], of a represented feature.
        """
        c = self.config
        size = min(1.0, math.sqrt(3 / (1 + (c.n - 1) * (1 - c.sparsity)))) if c.normalize else 1.0
        return metrics.represented(
            self.W.T, self.b, size=size, activation=c.activation, threshold=threshold
        )

    def example_dimensionality(self) -> npt.NDArray[np.float64]:
        """Dimensionality of every training example, shape (T,); further copies do not count."""
        T = self.config.T
        return metrics.dimensionality(self.hidden()[: None if T == math.inf else int(T)])

    def summary(self) -> dict[str, Any]:
        """The scalars that a sweep's data set shows of this run."""
        last = {name: float(self._arrays[f"history_{name}"][-1]) for name in SUMMARY_HISTORY}
        finite = self.status == "ok"
        return {
            "status": self.status,
            "train_loss": self.train_loss,
            "test_loss": self.test_loss,
            **last,
            "n_represented": float(np.count_nonzero(self.represented())) if finite else math.nan,
            "seconds": self.seconds,
            "steps_done": self.steps_done,
            "provenance": dict(self.provenance),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the run to one file, whole or not at all; returns its path.

        The file is a NumPy ``.npz`` without pickles, with a checksum of its own; the suffix is
        added if it is missing.

        Raises
        ------
        StoreError
            If the file cannot be written. An older file of that name then stays as it was.
        """
        path = as_path("path", path)
        if path.suffix != ".npz":
            path = path.with_name(path.name + ".npz")
        meta = {
            "config": json.loads(self.config.to_json()),
            "summary": {k: _to_text(v) for k, v in self.summary().items()},
        }
        write(path, meta, {"W": self.W, "b": self.b, **self._arrays})
        return path


def _to_text(value: Any) -> Any:
    """JSON has neither NaN nor infinity; ``float`` reads both from text."""
    return repr(value) if isinstance(value, float) else value


def read_summary(path: Path, config: TrainConfig) -> dict[str, Any]:
    """The summary of the file of a config's run, as far as can be without its arrays.

    They are not verified, then.

    Raises
    ------
    FileNotFoundError, StoreError
        As :func:`load_run`; the run of another config is taken for damaged.
    """
    meta = read_meta(path, config)
    if not is_of(meta, config):
        raise Damaged(path, "holds the run of another config")
    return _summary(path, meta)


def _summary(path: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The summary in the meta-data of a file, with every value of the type that it should have."""
    try:
        found = dict(meta["summary"])
        status, made = found["status"], found["provenance"].items()
        if status not in ("ok", "diverged"):
            raise ValueError(f"unknown status {short(status)}")
        return {
            "status": status,
            **{name: float(found[name]) for name in _SCALARS},
            "steps_done": as_int("steps_done", found["steps_done"], 0, 2**40),
            "provenance": {printable(_text(k)): printable(_text(v)) for k, v in made},
        }
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise Damaged(path, f"has no valid summary ({str(error)[:200]})") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {short(value)}")
    return value


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run that :meth:`Run.save` or a sweep wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StoreError
        If the file is damaged, is not a run, or was written by a later version of toysup.
    """
    path = as_path("path", path)
    try:
        config = read_config(path, read_meta(path))
        meta, found = read(path, largest(config))
    except FileNotFoundError:
        raise FileNotFoundError(f"no run file at {str(path)!r}") from None
    config, summary = read_config(path, meta), _summary(path, meta)
    arrays = {}
    for name, shape, dtype in _layout(config, found):
        array = found.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            what = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise Damaged(path, f"{name} is {what}, not {dtype} of shape {shape}")
        arrays[name] = array
    return Run(
        config=config,
        status=summary["status"],
        W=arrays.pop("W"),
        b=arrays.pop("b"),
        train_loss=summary["train_loss"],
        test_loss=summary["test_loss"],
        seconds=summary["seconds"],
        steps_done=summary["steps_done"],
        provenance=summary["provenance"],
        _arrays=arrays,
    )


def _layout(
    config: TrainConfig, found: Mapping[str, npt.NDArray[Any]]
) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of every array of a run: as many points as its file has steps."""
    m, n, dtype = config.m, config.n, config.dtype
    points = max(1, found["history_step"].size if "history_step" in found else 0)
    shots = found["snapshot_step"].size if "snapshot_step" in found else 0
    return [
        ("W", (m, n), dtype),
        ("b", (n,), dtype),
        ("history_step", (points,), "int64"),
        *((f"history_{name}", (points,), "float64") for name in HISTORY),
        ("snapshot_step", (shots,), "int64"),
        ("snapshot_W", (shots, m, n), dtype),
        ("snapshot_b", (shots, n), dtype),
    ]


def provenance(chosen: Backend) -> dict[str, str]:
    """What a run is made with here."""
    return {
        "toysup": __version__,
        "backend": chosen.name,
        "isa": chosen.isa(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def from_raw(config: TrainConfig, raw: RawRun, chosen: Backend) -> Run:
    """The run of what a backend returned."""
    history = {f"history_{name}": values for name, values in raw["history"].items()}
    arrays = {
        **history,
        "history_step": raw["history_step"],
        "snapshot_step": raw["snapshot_step"],
        "snapshot_W": raw["snapshot_W"],
        "snapshot_b": raw["snapshot_b"],
    }
    return Run(
        config=config,
        status=raw["status"],
        W=raw["W"],
        b=raw["b"],
        train_loss=float(raw["train_loss"]),
        test_loss=float(raw["test_loss"]),
        seconds=float(raw["seconds"]),
        steps_done=int(raw["steps_done"]),
        provenance=provenance(chosen),
        _arrays=arrays,
    )


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
        Fields of :class:`TrainConfig`, which take precedence over ``config``.

    Returns
    -------
    Run

    Raises
    ------
    TypeError, ValueError
        For a bad field, naming it and its value.
    MemoryError
        If the run cannot fit in this machine's memory.
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
    jobs = as_jobs(n_jobs)
    interval = as_interval(checkpoint_every)
    refuse_memory(config.memory(), "this run")
    jobs, _ = budget(jobs, config.memory())
    warn_of([config])
    options = Options()
    if checkpoint is not None:
        keeper = Checkpoint(as_path("checkpoint", checkpoint), config)
        state = keeper.load()
        options = Options(
            on_start=lambda _: state, on_state=lambda _, s: keeper.save(s), interval=interval
        )
    results: list[RawRun] = []
    with Interrupt() as interrupt, Progress(progress, [config]) as bar:

        def poll(work: float) -> bool:
            bar.update(work)
            return interrupt.is_set()

        backend().train_many([config], jobs, lambda _, raw: results.append(raw), poll, options)
        if results:
            bar.finish()
    if interrupt.is_set() or not results:
        raise KeyboardInterrupt
    if results[0]["status"] == "failed":
        kind, _, text = results[0]["error"].partition(": ")
        if kind == "MemoryError":
            raise MemoryError(text)
        raise RunFailedError(f"the run failed: {results[0]['error']}")
    run = from_raw(config, results[0], backend())
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
