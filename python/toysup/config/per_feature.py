"""Numbers that a config holds for each of the n features."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from toysup.config.values import as_array
from toysup.errors import short

__all__ = ["PER_FEATURE", "Biases", "Importances", "PerFeature", "Sparsities"]

# Numbers that a repr shows one by one at most.
_SHOWN = 100


class PerFeature(tuple[float, ...]):
    """Numbers that have been checked: all configs of a sweep share them, and their JSON."""

    field: ClassVar[str]
    rule: ClassVar[str]
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf

    @classmethod
    def of(cls, value: object, n: int) -> Self:
        """An array of n numbers.

        Raises
        ------
        TypeError, ValueError
            Naming the field and the value.
        """
        name = cls.field
        if isinstance(value, cls) and len(value) == n:
            return value
        if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
            kind = type(value).__name__
            raise TypeError(
                f"{name} must be a number or an array of n numbers, got {short(value)} ({kind})"
            )
        try:
            array = as_array(name, value)
        except ValueError as error:  # ragged
            raise TypeError(f"{name} must hold numbers, got {short(value)}") from error
        if array.size and array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must hold numbers, got {short(value)} ({array.dtype})")
        array = array.astype(np.float64) + 0.0
        if array.shape != (n,):
            raise ValueError(f"{name} must have shape ({n},) for n = {n}, got shape {array.shape}")
        good = np.isfinite(array) & (array >= cls.low) & (array <= cls.high)
        if not np.all(good):
            raise ValueError(f"{name} must be {cls.rule}, got {array[~good][0]}")
        return cls(array.tolist())

    @functools.cached_property
    def text(self) -> str:
        """The numbers as JSON."""
        return json.dumps(list(self), allow_nan=False, separators=(",", ":"))

    @functools.cached_property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(map(abs, self))

    @functools.cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        """As a tuple, or their count and range where there are many."""
        if len(self) <= _SHOWN:
            return super().__repr__()
        return f"<{len(self):,} numbers from {min(self):.6g} to {max(self):.6g}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (tuple(self),)


class Importances(PerFeature):
    """I_i of every feature."""

    field = "importance"
    rule = "finite and not negative"
    low = 0.0


class Sparsities(PerFeature):
    """S_i of every feature, at least one of which can occur."""

    field = "sparsity"
    rule = "in [0, 1]"
    low = 0.0
    high = 1.0

    @classmethod
    def of(cls, value: object, n: int) -> Self:
        """An array of n numbers, not all of them 1."""
        found = super().of(value, n)
        if min(found) == 1.0:
            shown = short(value)
            raise ValueError(f"sparsity must be below 1 for at least one feature, got {shown}")
        return found

    @functools.cached_property
    def density(self) -> float:
        """The mean of 1 - S_i."""
        return math.fsum(1.0 - S for S in self) / len(self)


class Biases(PerFeature):
    """Initial b_i of every feature."""

    field = "bias_init"
    rule = "finite"


# The fields that can hold a number for each feature, and what holds it.
PER_FEATURE: dict[str, type[PerFeature]] = {
    kind.field: kind for kind in (Sparsities, Importances, Biases)
}
