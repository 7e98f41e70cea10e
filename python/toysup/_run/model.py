"""A model: W and b, whoever trained them, with what they make of examples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._files.paths import as_path
from toysup._files.whole import replace_file
from toysup._floats import exact_floats
from toysup._stream.batch import SparseBatch, as_batch, take
from toysup._system.extras import need
from toysup._system.memory import refuse_memory
from toysup._typing import Array
from toysup.config import TrainConfig
from toysup.config.values import as_array, as_numbers, check_finite
from toysup.errors import StoreError, short, unknown

__all__ = ["LAYOUTS", "Model", "parts"]

Floats = npt.NDArray[np.float64]

# Numbers of a dense array that exists at one time; of several arrays, that of each.
_BUDGET = 2**20


class _Layout(NamedTuple):
    """What public code calls the weights: W (m, n), perhaps its transpose beside it, and b (n,)."""

    W: str
    b: str
    transpose: str | None = None


LAYOUTS = {
    "toysup": _Layout("W", "b"),
    "anthropic": _Layout("W", "b_final"),
    "spd": _Layout("linear1.weight", "linear2.bias", "linear2.weight"),
    "devinterp": _Layout("embedding.weight", "unembedding.bias", "unembedding.weight"),
    "bags": _Layout("enc.weight", "bias"),
}


class Model:
    """x' = ReLU(W^T W x + b), or without the ReLU, with weights of one's own.

    Parameters
    ----------
    W : array of shape (m, n)
        Weights; column i is the vector of feature i. Arrays of any library, also PyTorch
        parameters with a gradient.
    b : array of shape (n,) or (n, 1), optional
        Biases; zeros if not given.
    activation : {"relu", "linear"}
        ``"linear"`` leaves out the ReLU.
    importance : float or array of shape (n,)
        A base r, for I_i = r**i, or the importances themselves.

    Attributes
    ----------
    W, b : array
        In single precision if both were, else in double; not to be written to.
    m, n : int
        Hidden dimensions and features.

    Raises
    ------
    TypeError, ValueError
        If W and b do not fit together, are not real and finite, or for another activation or bad
        importances.
    """

    def __init__(
        self,
        W: npt.ArrayLike,
        b: npt.ArrayLike | None = None,
        *,
        activation: str = "relu",
        importance: float | npt.ArrayLike = 1.0,
    ) -> None:
        if activation not in ("relu", "linear"):
            raise ValueError(unknown("activation", activation, ("relu", "linear")))
        self.W = _weights("W", W, 2)
        self.m, self.n = self.W.shape
        b = np.zeros(self.n, self.W.dtype) if b is None else _weights("b", b, 1)
        if b.shape != (self.n,):
            turned = "; give W.T if W has a row for each feature" if len(b) == self.m else ""
            raise ValueError(f"b must have shape ({self.n},) to fit W, got {b.shape}{turned}")
        both = np.result_type(self.W, b)
        self.W, self.b = self.W.astype(both), b.astype(both)
        self.activation = activation
        config = TrainConfig(n=self.n, m=1, dtype="float64", importance=importance)  # type: ignore[arg-type]
        self.importance = config.importances()
        for array in (self.W, self.b, self.importance):
            array.flags.writeable = False

    def __repr__(self) -> str:
        return f"Model(m={self.m}, n={self.n:,}, {self.W.dtype.name}, {self.activation})"

    # -------------------------------------------------------------------- what it makes of examples

    def examples(self, X: object) -> SparseBatch:
        """Examples as a SparseBatch with n columns.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.

        Raises
        ------
        TypeError, ValueError
            If X is none of these, is not finite, or does not have n columns.
        """
        return as_batch(X, self.n)

    def hidden(self, X: object) -> Floats:
        """Hidden vectors h = W x in double precision, shape (T, m).

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.
        """
        return self.examples(X).dot(self.W.T.astype(np.float64))

    @exact_floats()
    def decode(self, h: npt.ArrayLike) -> Floats:
        """Reconstructions x' = f(W^T h + b) of hidden vectors as rows, shape (T, n).

        Parameters
        ----------
        h : array of shape (T, m)
            Hidden vectors.
        """
        h = as_array("h", h)
        if h.ndim != 2 or h.shape[1] != self.m:
            raise ValueError(f"h must have shape (T, {self.m}), got shape {h.shape}")
        z: Floats = (
            h.astype(np.float64, copy=False) @ self.W.astype(np.float64, copy=False) + self.b
        )
        return z if self.activation == "linear" else np.maximum(z, 0.0)

    def reconstruct(self, X: object) -> Floats:
        """Reconstructions x' of examples, shape (T, n), in double precision.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.

        Raises
        ------
        MemoryError
            If T n doubles do not fit in this machine's memory.
        """
        batch = self.examples(X)
        refuse_memory(16 * len(batch) * self.n, f"reconstructions of shape {batch.shape}")
        return self.decode(batch.dot(self.W.T.astype(np.float64)))

    def example_loss(self, X: object) -> Floats:
        r"""The loss of every example, L_t = sum_i I_i (x_ti - x'_ti)^2, shape (T,).

        In double precision, in chunks of bounded memory.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.
        """
        batch = self.examples(X)
        loss = np.zeros(len(batch))
        for part, x, y in self.chunks(batch):
            loss[part] = np.square(x - y) @ self.importance
        return loss

    def loss(self, X: object) -> float:
        """The loss in the paper's unit: summed over features, mean over examples.

        Code that trains by a mean over features, as ``torch.nn.functional.mse_loss`` is, has this
        divided by n.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.
        """
        return float(self.example_loss(X).mean())

    def chunks(self, batch: SparseBatch) -> Iterator[tuple[slice, Floats, Floats]]:
        """Which examples, x and x' as dense rows: a few at a time.

        Parameters
        ----------
        batch : SparseBatch
            Examples of n features.
        """
        W = self.W.T.astype(np.float64, copy=False)
        for part in parts(len(batch), self.n):
            few = take(batch, np.arange(part.start, part.stop))
            yield part, few.toarray(), self.decode(few.dot(W))

    # --------------------------------------------------------------------------------- its features

    def feature_dimensionality(self) -> Floats:
        """Dimensionality of every feature, shape (n,): :func:`toysup.metrics.dimensionality`."""
        return metrics.dimensionality(self.W.T)

    def example_dimensionality(self, X: object) -> Floats:
        """Dimensionality of every example, shape (T,): that of its hidden vector among all.

        Parameters
        ----------
        X : SparseBatch, SciPy sparse array or array of shape (T, n)
            Examples as rows.
        """
        return metrics.dimensionality(self.hidden(X))

    def represented(self, threshold: float = 0.5, *, size: float = 1.0) -> npt.NDArray[np.bool_]:
        """Which features the model represents, shape (n,): :func:`toysup.metrics.represented`.

        Parameters
        ----------
        threshold : float
            The smallest own gain, in (0, 1], of a represented feature.
        size : float
            The largest value of a feature.
        """
        activation = self.activation
        return metrics.represented(
            self.W.T, self.b, size=size, activation=activation, threshold=threshold
        )

    # ----------------------------------------------------------------------------------- in and out

    def state_dict(self, layout: str = "toysup") -> dict[str, Array]:
        """The weights by the names that other code gives them, as NumPy arrays.

        PyTorch takes them by ``module.load_state_dict``, each made a tensor by
        ``torch.from_numpy``.

        Parameters
        ----------
        layout : {"toysup", "anthropic", "spd", "devinterp", "bags"}
            ``"toysup"`` has W and b; ``"anthropic"`` (and ARENA) W and b_final; ``"spd"``
            linear1.weight (m, n), linear2.weight (n, m) and linear2.bias; ``"devinterp"`` the same
            as embedding.weight, unembedding.weight and unembedding.bias; ``"bags"`` enc.weight and
            bias.

        Raises
        ------
        ValueError
            For another layout.
        """
        names = _layout(layout)
        state = {names.W: self.W.copy(), names.b: self.b.copy()}
        if names.transpose is not None:
            state[names.transpose] = np.ascontiguousarray(self.W.T)
        return state

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Any],
        layout: str | None = None,
        *,
        instance: int | None = None,
        activation: str = "relu",
        importance: float | npt.ArrayLike = 1.0,
    ) -> Model:
        """A model from the weights of other code, such as a PyTorch module's ``state_dict()``.

        Parameters
        ----------
        state : mapping
            Arrays, or tensors, also those with a gradient, by name.
        layout : str, optional
            As for :meth:`state_dict`; that whose names are there if not given.
        instance : int, optional
            Which model, where arrays have one axis more, of instances trained at once.
        activation, importance
            As for :class:`Model`.

        Raises
        ------
        TypeError, ValueError
            If no layout fits, or two do; if a decoder is not the transpose of its encoder (the
            model has one W); if there are instances and none is chosen.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays, got {short(state)}")
        names = _found_layout(state) if layout is None else _layout(layout)
        absent = [name for name in names if name is not None and name not in state]
        if absent:
            raise ValueError(f"state has no {absent[0]!r}, got the names {short(list(state))}")
        W, b = (as_array(name, state[name]) for name in (names.W, names.b))
        decoder = None if names.transpose is None else as_array("state", state[names.transpose])
        if W.ndim == 3:
            count = len(W)
            if instance is None or not -count <= instance < count:
                raise ValueError(
                    f"{names.W} has {count} instances: instance must be one of 0 to {count - 1}, "
                    f"got {instance}"
                )
            shared = b.ndim == 1 or len(b) != count  # one b for all instances
            W, b = W[instance], b if shared else b[instance]
        elif instance not in (None, 0):
            raise ValueError(f"instance must not be given for a single model, got {instance}")
        if decoder is not None and not np.array_equal(decoder, W.T):
            raise ValueError(
                f"{names.transpose} is not the transpose of {names.W}, and the model has one W"
            )
        return cls(W, b, activation=activation, importance=importance)

    def save_safetensors(self, path: str | os.PathLike[str], layout: str = "toysup") -> Path:
        """Write the weights as a safetensors file; the package ``safetensors`` must be installed.

        Parameters
        ----------
        path : path-like
            Where to; an older file there is replaced, whole or not at all.
        layout : str
            As for :meth:`state_dict`.

        Returns
        -------
        Path

        Raises
        ------
        StoreError
            If the file cannot be written.
        """
        need("a .safetensors file", "safetensors")
        from safetensors.numpy import save

        path = as_path("path", path)
        data = save(self.state_dict(layout), metadata={"activation": self.activation})
        replace_file(path, lambda file: file.write(data))
        return path

    @classmethod
    def load_safetensors(
        cls, path: str | os.PathLike[str], layout: str | None = None, **options: Any
    ) -> Model:
        """Read weights from a safetensors file; the package ``safetensors`` must be installed.

        Parameters
        ----------
        path : path-like
            The file.
        layout, **options
            As for :meth:`from_state_dict`.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        StoreError
            If it is no safetensors file.
        TypeError, ValueError
            As :meth:`from_state_dict`.
        """
        need("a .safetensors file", "safetensors")
        from safetensors import SafetensorError, safe_open

        path = as_path("path", path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file at {str(path)!r}")
        try:
            with safe_open(path, framework="numpy") as file:
                told = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise StoreError(f"{str(path)!r} is no safetensors file: {error}") from error
        if told.get("activation") in ("relu", "linear"):
            options.setdefault("activation", told["activation"])
        return cls.from_state_dict(state, layout, **options)


def parts(count: int, width: int) -> Iterator[slice]:
    """Slices of so many rows that a dense array of them, ``width`` numbers each, is in budget."""
    step = max(1, _BUDGET // width)
    return (slice(low, min(low + step, count)) for low in range(0, count, step))


def _weights(name: str, value: npt.ArrayLike, ndim: int) -> Array:
    """A copy of real, finite weights with that many axes."""
    array = as_numbers(name, value)
    if (
        ndim == 1 and array.ndim == 2 and array.shape[1] == 1
    ):  # a column, as W x + b is often written
        array = array.ravel()
    if array.ndim != ndim or array.size == 0:
        want = "(m, n)" if ndim == 2 else "(n,)"
        raise ValueError(f"{name} must have shape {want}, got shape {array.shape}")
    array = np.array(array, np.float32 if array.dtype == np.float32 else np.float64, order="C")
    check_finite(name, array)
    return array


def _layout(name: str) -> _Layout:
    if name not in LAYOUTS:
        raise ValueError(unknown("layout", name, LAYOUTS))
    return LAYOUTS[name]


def _found_layout(state: Mapping[str, Any]) -> _Layout:
    found = [names for names in LAYOUTS.values() if names.W in state and names.b in state]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{key}: {names.W}, {names.b}" for key, names in LAYOUTS.items())
    which = "no layout" if not found else "more than one layout"
    raise ValueError(f"{which} fits the names {short(list(state))}; known are {known}")
