"""Values as users give them: what pandas, xarray, PyTorch or a generator holds, as NumPy has it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup.errors import short

__all__ = ["MAX_VALUES", "as_array", "as_numbers", "as_value", "check_finite"]

# A range or a generator with more values is taken for a mistake.
MAX_VALUES = 1_000_000


def as_value(name: str, value: Any) -> Any:
    """A value, with arrays of any library as NumPy arrays, and iterators as lists.

    An array without dimensions is its only element. What is no array and no iterator stays as it
    is; the parameter that it is for judges it.

    Raises
    ------
    TypeError
        If an array cannot be read.
    ValueError
        If a range or an iterator has too many values, or no end.
    """
    if isinstance(value, (str, bytes, int, float, tuple, list, np.generic, Mapping, type)):
        return value
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        array = as_array(name, value)
        return array.item() if array.ndim == 0 else array
    if isinstance(value, range) and value[MAX_VALUES:]:  # its len need not be an index
        raise ValueError(f"{name} has more than {MAX_VALUES:,} values: {short(value)}")
    ordered = isinstance(value, KeysView) or not isinstance(value, Set)
    if isinstance(value, Iterable) and ordered and not isinstance(value, Sequence):
        values = list(itertools.islice(value, MAX_VALUES + 1))
        if len(values) > MAX_VALUES:
            raise ValueError(f"{name} has more than {MAX_VALUES:,} values: {short(value)}")
        return values
    return value


def as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """An array of any library as a NumPy array.

    Raises
    ------
    TypeError
        If it cannot be read.
    ValueError
        If it is a list of rows that differ in length.
    """
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__array__"):
        # PyTorch hands over neither a parameter with a gradient nor what lies on an accelerator.
        for method in ("detach", "cpu"):
            found = getattr(value, method, None)
            value = found() if callable(found) else value
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:
        kind = type(value).__name__
        raise TypeError(
            f"{name} cannot be read as an array, give a NumPy array: got {kind} ({error})"
        ) from error


def as_numbers(name: str, value: Any) -> npt.NDArray[Any]:
    """The same of real numbers, bool not among them.

    Raises
    ------
    TypeError
        If it holds something else.
    """
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {short(value)} ({array.dtype})")
    return array


def check_finite(name: str, array: npt.NDArray[Any]) -> None:
    """Refuse an array with a number that is not finite, naming the first."""
    finite = np.isfinite(array)
    if not np.all(finite):
        raise ValueError(f"{name} must be finite, got {array[~finite][0]}")
