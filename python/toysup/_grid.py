"""The grid of a sweep: which fields are axes, their values, and the config of every cell."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toysup._weights import Weights, as_weights, is_pair
from toysup.config import FIELDS, MAX_EXAMPLES, TrainConfig, as_int
from toysup.errors import nearest, short

__all__ = ["MAX_CELLS", "Grid", "Index", "as_label", "is_axis", "legible", "plain"]

Index = tuple[int, ...]

# A grid with more cells is taken for a mistake.
MAX_CELLS = 1_000_000

# More values of an array than these are not written out.
_MOST = 6

# Axes that come first, in this order; others follow as they were given.
_FIRST = ("T", "m", "seed")


def is_axis(name: str, value: object) -> bool:
    """Whether a field was given as a sequence of values rather than as one value."""
    if isinstance(value, (str, bytes)):
        return False
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return False
    if not isinstance(value, (Sequence, np.ndarray)):
        return False
    if name == "betas":  # a pair is one value
        return len(value) == 0 or isinstance(value[0], (Sequence, np.ndarray))
    if name == "repeats":  # so are pairs
        return len(value) > 0 and not _is_int_pair(value[0])
    return name != "init" or not is_pair(value)


def _is_int_pair(value: object) -> bool:
    return (
        isinstance(value, (Sequence, np.ndarray))
        and len(value) == 2
        and all(isinstance(part, numbers.Integral) for part in value)
    )


def _refuse_size(axes: Mapping[str, Any]) -> None:
    """Refuse a grid with too many cells before any of them is made."""
    cells = 1
    for name, values in axes.items():
        try:
            cells *= max(1, len(values))
        except OverflowError:  # of a range
            raise ValueError(
                f"{name} has more than {MAX_CELLS:,} values: {short(values)}"
            ) from None
    if cells > MAX_CELLS:
        raise ValueError(f"a grid may have at most {MAX_CELLS:,} cells, got {cells:,}")


def _sorted(values: list[Any]) -> list[Any]:
    """Values in order, if they are numbers."""
    return sorted(values) if all(isinstance(v, (int, float)) for v in values) else values


def as_label(value: Any) -> Any:
    """The coordinate of a value: itself, or text for a pair, repeats, or weights."""
    if isinstance(value, Weights):
        return repr(value)
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else value


def legible(value: Any) -> Any:
    """A value for a table: itself, or a text that tells it from others and is not long."""
    if isinstance(value, tuple) and len(value) > _MOST:
        first, second, last = map(repr, (*value[:2], value[-1]))
        digest = hashlib.sha256(repr(value).encode()).hexdigest()[:8]
        return f"{first}, {second}, ..., {last} ({len(value):,} values, {digest})"
    return as_label(value)


def plain(value: Any) -> Any:
    """A value as JSON for a reader, in lists and dicts too: None for NaN, "inf" for infinity.

    Weights, and the run they are of, are their label, by which ``SweepResult.run`` knows them; a
    store has them in full, see :meth:`Grid.to_json`. What JSON has no form for is its text, and
    what of a text is no Unicode, as in names of files, is escaped.
    """
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    weights = as_weights(value)
    return plain(str(value)) if weights is None else as_label(weights)


def _held(name: str, value: Any) -> Any:
    """A value of an axis as configs hold it, if there can be one."""
    if name == "init":
        return as_weights(value) or value
    if name == "repeats" and isinstance(value, Mapping):
        value = sorted(value.items())
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, (list, tuple)):
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    return value


@dataclass(frozen=True)
class Grid:
    """Axes with their values, and the fields that all cells share."""

    axes: dict[str, list[Any]]
    fixed: dict[str, Any]

    @classmethod
    def make(cls, config: TrainConfig | None, changes: Mapping[str, Any]) -> Grid:
        """The grid of ``sweep(config, **changes)``, with every value in its canonical form.

        Raises
        ------
        TypeError, ValueError
            For an unknown field, an empty axis, a value twice, or a cell that no config allows.
        """
        for name in changes:
            if name not in FIELDS:
                raise TypeError(f"unknown parameter {name!r}{nearest(name, FIELDS)}")
        fixed = {} if config is None else config.to_dict()
        axes = {k: v for k, v in changes.items() if is_axis(k, v)}
        fixed.update((k, v) for k, v in changes.items() if k not in axes)
        _refuse_size(axes)
        return cls._build(fixed, {k: list(v) for k, v in axes.items()})

    @classmethod
    def of(cls, configs: Sequence[TrainConfig]) -> Grid:
        """The smallest grid that holds these configs; a field in which they differ is an axis.

        Raises
        ------
        ValueError
            If there is none, or a cell of it is no config.
        """
        fixed, axes = {}, {}
        for name in FIELDS:
            # A batch size counts where T is infinite.
            told = [c for c in configs if name != "batch_size" or c.T == math.inf]
            values = list(dict.fromkeys(getattr(c, name) for c in told)) or [None]
            fixed[name] = values[0]
            if len(values) > 1:
                axes[name] = _sorted(values)
        return cls._build(fixed, axes)

    @classmethod
    def _build(cls, fixed: dict[str, Any], given: Mapping[str, list[Any]]) -> Grid:
        """The grid of these fields and axes."""
        _refuse_size(given)
        order = [k for k in _FIRST if k in given] + [k for k in given if k not in _FIRST]
        for name in order:
            fixed.pop(name, None)
            if not given[name]:
                raise ValueError(f"{name} must have at least one value, got an empty axis")
            if any(value is None for value in given[name]):
                raise ValueError(f"{name} must not hold None when it is an axis")
        batch_size = fixed.get("batch_size")
        if batch_size is not None:
            batch_size = as_int("batch_size", batch_size, 1, MAX_EXAMPLES)
        corner = _cell(fixed, {name: given[name][0] for name in order})
        axes = {name: _canonical(name, given, fixed) for name in order}
        fixed = {k: v for k, v in corner.to_dict().items() if k not in axes}
        if "batch_size" not in axes:
            fixed["batch_size"] = batch_size  # for the cells with infinite T
        grid = cls(axes, fixed)
        grid.configs()  # every cell is checked before any is trained
        return grid

    def corner(self) -> Grid:
        """The grid with the first value of every axis alone."""
        return Grid({name: values[:1] for name, values in self.axes.items()}, self.fixed)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    def indices(self) -> Iterator[Index]:
        """Index of every cell, the last axis fastest."""
        return itertools.product(*(range(length) for length in self.shape))

    def values(self, index: Index) -> dict[str, Any]:
        """The values of the axes at a cell."""
        return {name: self.axes[name][i] for name, i in zip(self.axes, index, strict=True)}

    def config(self, index: Index) -> TrainConfig:
        """The config of a cell."""
        fields = {**self.fixed, **self.values(index)}
        if fields["T"] != math.inf:
            fields["batch_size"] = None
        return TrainConfig.from_checked(fields)

    def configs(self) -> dict[Index, TrainConfig]:
        """The config of every cell."""
        return dict(self._configs)

    @functools.cached_property
    def _configs(self) -> dict[Index, TrainConfig]:
        return {index: self.config(index) for index in self.indices()}

    def position(self, name: str, value: Any) -> int:
        """Where a value stands on an axis; -1 if it does not."""
        value = _held(name, value)
        for i, known in enumerate(self.axes[name]):
            if known == value or (isinstance(value, str) and as_label(known) == value):
                return i
        return -1

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with all that is needed to make the grid again."""
        return {"axes": _encode(self.axes), "fixed": _encode(self.fixed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Grid:
        """The inverse of :meth:`to_json`."""
        fixed = {k: _decode(v) for k, v in data["fixed"].items()}
        return cls._build(fixed, {k: list(_decode(v)) for k, v in data["axes"].items()})

    def merged(self, other: Grid) -> Grid:
        """The smallest grid that holds both.

        Raises
        ------
        ValueError
            If a field that is no axis of either differs.
        """
        changes: dict[str, Any] = {}
        for name in FIELDS:
            mine, theirs = self._values(name), other._values(name)
            both = list(dict.fromkeys([*mine, *theirs])) or [None]
            is_axis = name in self.axes or name in other.axes
            if not is_axis and len(both) > 1:
                raise ValueError(
                    f"{name} is {short(both[0])} in the sweep that is stored there, "
                    f"not {short(both[1])}"
                )
            changes[name] = _sorted(both) if is_axis else both[0]
        order = [*self.axes, *(name for name in other.axes if name not in self.axes)]
        return Grid._build(changes, {name: changes.pop(name) for name in order})

    def holds(self, other: Grid) -> bool:
        """Whether this has every axis and every value of the other one."""
        return other.axes.keys() <= self.axes.keys() and all(
            set(other._values(name)) <= set(self._values(name)) for name in FIELDS
        )

    def _values(self, name: str) -> list[Any]:
        if name in self.axes:
            return self.axes[name]
        value = self.fixed[name]
        # No batch size says nothing where no T is infinite.
        nothing = name == "batch_size" and value is None and math.inf not in self._values("T")
        return [] if nothing else [value]


def _cell(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> TrainConfig:
    """The config of a cell; a batch size counts only where T is infinite."""
    fields = {**fixed, **values}
    T = fields.get("T", 1)
    if isinstance(T, (int, float, np.number)) and T != math.inf:
        fields.pop("batch_size", None)
    return TrainConfig.from_fields(fields)


def _canonical(name: str, given: Mapping[str, list[Any]], fixed: Mapping[str, Any]) -> list[Any]:
    """The values of an axis as a config holds them, each once."""
    others = {k: v[0] for k, v in given.items() if k != name}
    if name == "batch_size":
        others["T"] = math.inf
    values: dict[Any, None] = {}
    for value in given[name]:
        # n is tried with m = 1, and m with a large n: pairs of them are checked cell by cell.
        trial = {**fixed, **others, **({"m": 1} if name == "n" else {})}
        usual = {"importance": 1.0, "init": "xavier_uniform"}
        config = _cell({**trial, **usual}, {name: value})
        canonical = getattr(config, name)
        if canonical in values:
            raise ValueError(f"{name} has the value {short(canonical)} twice")
        values[canonical] = None
    return list(values)


def _encode(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    if isinstance(value, Weights):
        return value.to_json()
    return "inf" if value == math.inf else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    return math.inf if value == "inf" else value
