"""One run: the :class:`Run` that a training gives, and its file."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._backends.protocol import HISTORY, HISTORY_TEST, Backend, RawRun
from toysup._files.paths import as_path, with_npz
from toysup._files.whole import Damaged
from toysup._run.archive import is_of, largest, read, read_config, read_meta, write
from toysup._run.model import Model
from toysup._stream.batch import SparseBatch, as_batch, repeated
from toysup._stream.dataset import Dataset, find, offer
from toysup._stream.rows import batch_rows, test_rows
from toysup._typing import Array
from toysup._version import __version__
from toysup.config import TrainConfig
from toysup.config.checks import as_int
from toysup.config.data import as_data
from toysup.config.train_config import MAX_EXAMPLES
from toysup.data import sample
from toysup.errors import printable, short

if TYPE_CHECKING:
    import xarray

__all__ = ["Run", "from_raw", "load_run", "provenance", "read_summary"]

# The variables of the history whose last value goes into the summary.
SUMMARY_HISTORY = ("W_norm", "b_norm", "max_feature_dimensionality")
# The numbers of a summary.
_SCALARS = ("train_loss", "test_loss", *SUMMARY_HISTORY, "n_represented", "seconds")
# Those that a file may lack, as it was written before there were any.
_LATER = ("test_loss_error",)


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
    test_loss_error : float
        Standard error of ``test_loss``: the standard deviation of the losses of the test examples,
        over the square root of their number. NaN for fewer than two, and for a run of a file that
        was written before it was kept.
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
    test_loss_error: float
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
        test = min(self.config.tested, HISTORY_TEST)
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

    def training_set(self, data: Dataset | None = None) -> SparseBatch:
        """The T training examples and further copies; with infinite T, those of the last update.

        Parameters
        ----------
        data : toysup.data.Dataset, optional
            The data set that the run was trained on, if it was. It need not be given where it is at
            hand: in this process, or in the store that the run was taken from.

        Raises
        ------
        DataError
            If the run was trained on a data set that is not at hand.
        ValueError
            If it was trained on other data than these.
        """
        c = self.config
        self._check_data(data)
        step = max(0, c.steps - 1)
        if c.data is not None:
            return SparseBatch(*batch_rows(c, step), c.n)
        start = step * c.batch if c.T == math.inf else 0
        count = c.batch if c.T == math.inf else int(c.T)
        batch = sample(c.n, count, c.sparsity, c.seed, start=start, normalize=c.normalize)
        return SparseBatch(*repeated(batch.csr(), c.copies()), c.n)

    def test_set(self, size: int | None = None) -> SparseBatch:
        """The first ``size`` test examples; all that the final test loss is of, if not given.

        Of a data set there may be fewer, or none.

        Raises
        ------
        DataError
            As :meth:`training_set`.
        """
        c = self.config
        count = c.tested if size is None else as_int("size", size, 0, MAX_EXAMPLES)
        if c.data is not None:
            return SparseBatch(*test_rows(c, count), c.n)
        return sample(c.n, count, c.sparsity, c.seed, normalize=c.normalize, role="test")

    def _check_data(self, data: object) -> None:
        """Refuse other data than the run's own; these are remembered as where the rows are."""
        if data is None:
            return
        given, own = as_data(data), self.config.data
        if given != own:
            what = "generated examples" if own is None else repr(own)
            raise ValueError(f"data must be what the run was trained on, {what}, got {short(data)}")
        assert own is not None
        offer(own, lambda: find(given))  # type: ignore[arg-type]

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
        1. With a certain feature there are K = 1 + (n - 1) (1 - S) on average, with the mean of S
        where features differ in it. Those of a data set that was not scaled reach to its largest
        absolute value.

        Parameters
        ----------
        threshold : float
            The smallest own gain, in (0, 1], of a represented feature.
        """
        c = self.config
        size = 1.0 if c.data is None else c.data.largest
        if c.normalize:
            size = min(1.0, math.sqrt(3 / (1 + (c.n - 1) * c.density)))
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
            "test_loss_error": self.test_loss_error,
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
        path = with_npz(as_path("path", path))
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
            **{name: float(found.get(name, math.nan)) for name in _LATER},
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
        test_loss_error=summary["test_loss_error"],
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
        test_loss_error=float(raw["test_loss_error"]),
        seconds=float(raw["seconds"]),
        steps_done=int(raw["steps_done"]),
        provenance=provenance(chosen),
        _arrays=arrays,
    )
