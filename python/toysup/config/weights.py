"""Weights that a run starts from, as a value of its config."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup.config.values import as_numbers, check_finite
from toysup.errors import short

__all__ = ["Weights", "as_weights", "is_pair"]


class Weights:
    """W and b to start from; frozen, and compared and hashed by what they hold.

    Attributes
    ----------
    W : array of shape (m, n)
        Weights, in single precision, or in double precision if they were given so.
    b : array of shape (n,)
        Biases, of the dtype of W.
    largest : float
        The largest absolute value in them.
    """

    __slots__ = ("W", "_digest", "b", "largest")

    W: npt.NDArray[np.floating[Any]]
    b: npt.NDArray[np.floating[Any]]
    largest: float
    _digest: str

    def __init__(self, W: npt.ArrayLike, b: npt.ArrayLike) -> None:
        arrays = [as_numbers("init", value) for value in (W, b)]
        single = all(array.dtype == np.float32 for array in arrays)
        dtype = np.float32 if single else np.float64
        W, b = (np.array(array, dtype=dtype, order="C") for array in arrays)
        if b.ndim == 2 and 1 in b.shape:  # a column, as W x + b is often written
            b = b.ravel()
        if W.ndim != 2 or b.shape != W.shape[1:]:
            turned = "; give W.T if W has a row for each feature" if b.shape == W.shape[:1] else ""
            raise ValueError(
                f"init must hold W of shape (m, n) and b of shape (n,), "
                f"got shapes {W.shape} and {b.shape}{turned}"
            )
        for array in (W, b):
            check_finite("init", array)
            array.flags.writeable = False
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "b", b)
        largest = max(float(np.max(np.abs(array), initial=0.0)) for array in (W, b))
        object.__setattr__(self, "largest", largest)
        text = f"{W.dtype.name} {W.shape}".encode()
        digest = hashlib.sha256(text + W.tobytes() + b.tobytes()).hexdigest()
        object.__setattr__(self, "_digest", digest)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Weights are frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weights) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        m, n = self.W.shape
        return f"Weights(m={m}, n={n}, {self._digest[:8]})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Weights, (self.W, self.b)

    def to_json(self) -> dict[str, Any]:
        """Dtype, m, and the bytes of W and b in little-endian order, as base 64."""
        little = self.W.dtype.newbyteorder("<")
        data = b"".join(array.astype(little).tobytes() for array in (self.W, self.b))
        text = base64.b64encode(data).decode()
        return {"dtype": self.W.dtype.name, "m": self.W.shape[0], "data": text}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Weights:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        ValueError
            If that is not what it is.
        """
        dtype, m, text = (values.get(name) for name in ("dtype", "m", "data"))
        if dtype not in ("float32", "float64") or not isinstance(m, int) or len(values) != 3:
            raise ValueError(f"init must be a name or weights, got {short(dict(values))}")
        try:
            data = base64.b64decode(text, validate=True)  # type: ignore[arg-type]
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError(f"init holds no valid base 64: {error}") from error
        size = np.dtype(dtype).itemsize
        if not 1 <= m <= len(data) or len(data) % (size * (m + 1)):
            raise ValueError(f"init holds {len(data)} bytes, which are no W and b for m = {m}")
        numbers = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype)
        n = len(numbers) // (m + 1)
        return cls(numbers[: m * n].reshape(m, n), numbers[m * n :])


def as_weights(value: object) -> Weights | None:
    """The weights of a run, of a pair or a mapping of W and b, or of JSON; or None.

    Raises
    ------
    TypeError, ValueError
        If ``value`` is one of these, but not of real finite numbers of fitting shapes.
    """
    if isinstance(value, Weights):
        return value
    if isinstance(value, Mapping):
        if "data" in value:
            return Weights.from_json(value)
        if "W" not in value or "b" not in value:
            keys = short(list(value))
            raise ValueError(f"init must hold 'W' and 'b' if it is a mapping, got the keys {keys}")
        return Weights(value["W"], value["b"])
    if is_pair(value):
        return Weights(*value)  # type: ignore[misc]
    if hasattr(value, "W") and hasattr(value, "b"):
        return Weights(value.W, value.b)
    return None


def is_pair(value: object) -> bool:
    """Whether this is a pair (W, b): a matrix, and a vector or a column."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    try:
        W, b = (np.shape(part) for part in value)
    except (ValueError, TypeError, RuntimeError):  # rows that differ, or no array
        return False
    return len(W) == 2 and (len(b) == 1 or (len(b) == 2 and 1 in b))
