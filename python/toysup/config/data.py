"""A data set as configs name it: by the digest of its content, and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from toysup.config.checks import as_int, in_range
from toysup.errors import short

__all__ = ["MAX_ROWS", "DataRef", "as_data"]

MAX_ROWS = 2**32 - 1
_MAX_FEATURES = 2**31 - 1
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DataRef:
    """What a config holds of a :class:`toysup.data.Dataset`: which one it is, and no rows.

    Attributes
    ----------
    digest : str
        The data set's digest.
    n, rows, nonzeros, longest : int
        Features, rows, non-zero values of all rows, and of the row that has most.
    test, test_nonzeros : int
        Test rows, and their non-zero values; 0 without a test set.
    largest : float
        The largest absolute value.
    normalize : bool
        Whether rows were scaled to unit norm.
    """

    digest: str
    n: int
    rows: int
    nonzeros: int
    longest: int
    test: int
    test_nonzeros: int
    largest: float
    normalize: bool
    # The data set, or a function without arguments that finds it, where one is known.
    source: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"DataRef({self.rows:,} x {self.n:,}, {self.digest[:12]})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the rows, which may be large: whoever unpickles it must have the data set.
        return _from_json, (self.to_json(),)

    def __copy__(self) -> DataRef:
        return self

    def __deepcopy__(self, memo: object) -> DataRef:
        return self

    @property
    def sparsity(self) -> float:
        """Share of the values that are zero, below 1."""
        return min(1.0 - self.nonzeros / (self.rows * self.n), 1.0 - 2.0**-53)

    def to_json(self) -> dict[str, Any]:
        """All but the source, as JSON values."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(field.name for field in fields(DataRef) if field.compare)


def _from_json(values: Mapping[str, Any]) -> DataRef:
    """The inverse of :meth:`DataRef.to_json`.

    Raises
    ------
    TypeError, ValueError
        If that is not what it is.
    """
    digest = values.get("digest")
    known = isinstance(digest, str) and len(digest) == 64 and set(digest) <= _DIGITS
    if set(values) != set(_FIELDS) or not known or not isinstance(values["normalize"], bool):
        raise ValueError(f"data must name a data set by its digest, got {short(dict(values))}")
    n = as_int("n of data", values["n"], 1, _MAX_FEATURES)
    rows = as_int("rows of data", values["rows"], 1, MAX_ROWS)
    test = as_int("test of data", values["test"], 0, MAX_ROWS)
    longest = as_int("longest of data", values["longest"], 1, n)
    most = longest * test
    return DataRef(
        digest=str(digest),
        n=n,
        rows=rows,
        nonzeros=as_int("nonzeros of data", values["nonzeros"], 1, longest * rows),
        longest=longest,
        test=test,
        test_nonzeros=as_int("test_nonzeros of data", values["test_nonzeros"], 0, most),
        largest=in_range("largest of data", values["largest"], 0.0, open_low=True),
        normalize=values["normalize"],
    )


def as_data(value: object) -> DataRef | None:
    """What a config holds of a data set, or of none.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    if value is None or isinstance(value, DataRef):
        return value
    if isinstance(value, Mapping):
        return _from_json(value)
    found = getattr(value, "ref", None)
    if isinstance(found, DataRef):
        return found
    kind = type(value).__name__
    if isinstance(value, (list, tuple)) and any(hasattr(one, "ref") for one in value):
        raise TypeError(f"data must be one toysup.data.Dataset for all runs, got a {kind} of them")
    raise TypeError(
        f"data must be a toysup.data.Dataset, got {short(value)} ({kind}): of an array X of "
        f"examples as rows, give toysup.data.Dataset(X)"
    )
