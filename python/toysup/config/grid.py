"""The grid of a sweep: which fields are axes, their values, and the config of every cell."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import numbers
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toysup.config.arguments import refuse_beside_data
from toysup.config.checks import as_int
from toysup.config.data import DataRef, as_data
from toysup.config.per_feature import PER_FEATURE, PerFeature
from toysup.config.train_config import (
    FIELDS,
    MAX_EXAMPLES,
    OF_UPDATES,
    TrainConfig,
    kept_fields,
)
from toysup.config.values import as_value
from toysup.config.weights import Weights, as_weights, is_pair
from toysup.errors import nearest, short

__all__ = [
    "MAX_CELLS",
    "Axis",
    "Grid",
    "Index",
    "as_label",
    "is_axis",
    "labels_of",
    "legible",
    "place_of",
    "places_of",
    "plain",
]

Index = tuple[int, ...]

# A grid with more cells is taken for a mistake.
MAX_CELLS = 1_000_000

# More values of an array than these are not written out.
_MOST = 6

# For importance and bias_init, in messages: what a single number is called, and how to write an
# axis of single numbers that cannot be mistaken for one array.
_KINDS = {"importance": "bases", "bias_init": "numbers for all features"}
_ARRAYS = {
    "importance": "[r ** np.arange({count}) for r in importance]",
    "bias_init": "[np.full({count}, b) for b in bias_init]",
}

# Axes that come first, in this order; others follow as they were given.
_FIRST = ("T", "m", "seed")


class Axis(list[Any]):
    """A list that is an axis, even where a list of that length could be one value."""


def is_axis(name: str, value: object, sizes: Collection[int] = ()) -> bool:
    """Whether a field was given as a sequence of values rather than as one value.

    ``sizes`` are the values of n, which importances are read by.

    Raises
    ------
    ValueError
        For importances that may be either, or neither.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        return False
    if isinstance(value, Axis):
        return True
    if name == "betas":  # a pair is one value
        return len(value) == 0 or isinstance(as_value(name, value[0]), (Sequence, np.ndarray))
    if name == "repeats":  # so are pairs
        return len(value) > 0 and not _is_int_pair(as_value(name, value[0]))
    if name == "data":  # one data set, or what a config refuses
        return False
    if name in PER_FEATURE:
        return _is_axis_of_numbers(name, value, sizes)
    return name != "init" or not is_pair(value)


def _is_axis_of_numbers(name: str, value: Any, sizes: Collection[int]) -> bool:
    """An array of n numbers is one value; a list of arrays is an axis, and so is one of numbers."""
    count, is_array = len(value), isinstance(value, np.ndarray)
    if isinstance(value, PerFeature):  # of a config
        return False
    if count == 0 or (value.ndim > 1 if is_array else not all(_is_number(name, v) for v in value)):
        return True
    if is_array and set(sizes) == {count}:
        return False
    # Of sparsities, unlike the others, a list of numbers is an axis even if it has n of them.
    if name == "sparsity" or (not is_array and count not in sizes):
        return True
    n, kind = f"n = {', '.join(map(str, sizes))}", _KINDS[name]
    if is_array:
        raise ValueError(
            f"{name} is an array of {count} numbers, which is no value for {n}: give its "
            f"tolist() for an axis of {count} {kind}, or an array of n numbers for one value"
        )
    raise ValueError(
        f"{name} is a list of {count} numbers for {n}, which may be one value or an axis of "
        f"{kind}: give np.array({name}) for one value, or {_ARRAYS[name].format(count=count)} "
        f"for an axis"
    )


def _is_number(name: str, value: object) -> bool:
    return isinstance(as_value(name, value), numbers.Real)


def _is_int_pair(value: object) -> bool:
    return (
        isinstance(value, (Sequence, np.ndarray))
        and len(value) == 2
        and all(isinstance(part, numbers.Integral) for part in value)
    )


def _refuse_size(axes: Mapping[str, Any]) -> None:
    """Refuse a grid with too many cells before any of them is made."""
    cells = 1
    for values in axes.values():
        cells *= max(1, len(values))
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


def labels_of(name: str, values: Sequence[Any]) -> list[Any]:
    """Coordinates of an axis; numbers from 0 where its values are arrays."""
    if name in PER_FEATURE and any(isinstance(value, tuple) for value in values):
        return list(range(len(values)))
    return [as_label(value) for value in values]


def place_of(name: str, value: Any, values: Sequence[Any], labels: Sequence[Any]) -> int:
    """Where a value of an axis stands, given as itself or as its label in data sets or tables.

    Raises
    ------
    ValueError
        If it is nowhere, or is a value of the axis and the label of another one.
    """
    held = _held(name, value)
    label = as_label(held)
    found = next((i for i, known in enumerate(values) if known == held), None)
    labelled = next((i for i, known in enumerate(labels) if known == label), None)
    if labelled is None and isinstance(label, str):  # as tables have it
        labelled = next((i for i, known in enumerate(values) if legible(known) == label), None)
    if found is None and labelled is None:
        sep = "; " if any(isinstance(k, str) and "," in k for k in labels) else ", "
        known = sep.join(f"{k:.12g}" if isinstance(k, float) else str(k) for k in labels)
        known = known if len(known) <= 400 else f"{known[:400]}..."
        raise ValueError(f"{name} = {short(value)} is not in the sweep, which has {known}")
    if found is None or labelled is None or found == labelled:
        return labelled if found is None else found  # type: ignore[return-value]
    raise ValueError(
        f"{name} = {short(value)} is a value with the label {labels[found]!r}, and the label of "
        f"another value: give {labels[found]!r}, or that other value itself"
    )


def places_of(
    name: str, value: Any, values: Sequence[Any], labels: Sequence[Any]
) -> int | list[int]:
    """The place of one value of an axis, or those of a sequence of values.

    Raises
    ------
    ValueError
        As :func:`place_of`, or if an empty sequence was given.
    """
    value = as_value(name, value)
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        return place_of(name, value, values, labels)
    try:
        return place_of(name, value, values, labels)  # a pair, or an array of importances
    except ValueError:
        if len(value) == 0:
            raise ValueError(f"{name} must name at least one value, got {short(value)}") from None
        return [place_of(name, item, values, labels) for item in value]


def _held(name: str, value: Any) -> Any:
    """A value of an axis as configs hold it, if there can be one."""
    value = as_value(name, value)
    if name == "init":
        return as_weights(value) or value
    if name == "repeats" and isinstance(value, Mapping):
        value = sorted(value.items())
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, (list, tuple)):
        parts = (as_value(name, part) for part in value)
        parts = (part.tolist() if isinstance(part, np.ndarray) else part for part in parts)
        return tuple(tuple(part) if isinstance(part, list) else part for part in parts)
    return value


@dataclass(frozen=True)
class Grid:
    """Axes with their values, and the fields that all cells share.

    With ``full_batches`` the batch size is for infinite T alone, as it is in a grid that has both.
    """

    axes: dict[str, list[Any]]
    fixed: dict[str, Any]
    full_batches: bool = False

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
        given = {name: as_value(name, value) for name, value in changes.items()}
        refuse_beside_data(config, given)
        fixed = kept_fields({} if config is None else config.to_dict(), given)
        data = as_data(given.get("data", fixed.get("data")))
        default = TrainConfig.__dataclass_fields__["n"].default if data is None else data.n
        n = given.get("n", fixed.get("n", default))
        sizes = list(n) if is_axis("n", n) else [n]
        axes = {k: v for k, v in given.items() if is_axis(k, v, sizes)}
        fixed.update((k, v) for k, v in given.items() if k not in axes)
        _refuse_size(axes)
        grid = cls._build(fixed, {k: list(v) for k, v in axes.items()})
        grid._refuse_batch_size()
        grid._refuse_idle_axis()
        return grid

    def _refuse_batch_size(self) -> None:
        """Refuse an axis of batch sizes where finite T would not use them."""
        axis = self.axes.get("batch_size")
        if axis and self.full_batches:
            raise ValueError(
                f"batch_size must not be an axis where T is finite and infinite, as it counts for "
                f"infinite T alone there, got {short(axis)}: sweep over the finite T apart"
            )

    def _refuse_idle_axis(self) -> None:
        """Refuse an axis along which the runs are all the same."""
        effects = self._effects()
        for at, (name, values) in enumerate(self.axes.items()):
            lines: dict[Index, set[Index]] = {}
            for index, effect in effects.items() if len(values) > 1 else ():
                lines.setdefault((*index[:at], *index[at + 1 :]), set()).add(effect)
            if lines and all(len(line) == 1 for line in lines.values()):
                why = self._why_idle([name])
                raise ValueError(f"{name} must not be an axis here, as {why}: got {short(values)}")

    def repeats(self) -> str | None:
        """What to say of runs that repeat others, as a field changes nothing in some of them."""
        effects = self._effects()
        spare = len(effects) - len(set(effects.values()))
        if not spare:
            return None
        return f"{spare} of {len(effects)} runs repeat others, as {self._why_idle(self.axes)}"

    def _effects(self) -> dict[Index, Index]:
        """Where every cell stands on the axes; -1 on an axis that changes nothing in it.

        Empty if there is no axis that could be so.
        """
        if not self.axes.keys() & {"init_seed", "batch_size", *OF_UPDATES}:
            return {}

        def place(name: str, i: int, config: TrainConfig, idle: Collection[str]) -> int:
            if name in idle:
                return -1
            return config.warmup_steps if name == "warmup" else i  # whole steps count

        effects = {}
        for index, config in self._configs.items():
            named = zip(self.axes, index, strict=True)
            idle = config.idle()
            effects[index] = tuple(place(name, i, config, idle) for name, i in named)
        return effects

    def _why_idle(self, names: Iterable[str]) -> str:
        """Why one of these fields changes nothing, in the first cell in which it does not."""
        for config in self._configs.values():
            for name, setting in config.idle().items():
                if name in names:
                    return f"{name} changes nothing where {setting}"
        return "warmup counts in whole steps"

    @classmethod
    def of(cls, configs: Sequence[TrainConfig]) -> Grid:
        """The smallest grid that holds these configs; a field in which they differ is an axis.

        Raises
        ------
        ValueError
            If there is none, or a cell of it is no config.
        """
        fixed, axes = {}, {}
        both = len({c.T == math.inf for c in configs}) > 1
        if both and any(c.T != math.inf and c.batch_size is not None for c in configs):
            raise ValueError(_APART)
        for name in FIELDS:
            told = [c for c in configs if name != "batch_size" or not both or c.T == math.inf]
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
        full = len({_is_infinite(T) for T in given.get("T", ())}) > 1
        corner = _cell(fixed, {name: given[name][0] for name in order}, full)
        axes = {name: _canonical(name, given, fixed, full) for name in order}
        fixed = {k: v for k, v in corner.to_dict().items() if k not in axes}
        if "batch_size" not in axes:
            fixed["batch_size"] = batch_size  # also if it is not for the corner
        grid = cls(axes, fixed, full)
        grid.configs()  # every cell is checked before any is trained
        return grid

    def corner(self) -> Grid:
        """The grid with the first value of every axis alone."""
        return self.part({name: values[:1] for name, values in self.axes.items()}, self.fixed)

    def part(self, axes: dict[str, list[Any]], fixed: dict[str, Any]) -> Grid:
        """Some of the cells, whose configs stay what they are."""
        return Grid(axes, fixed, self.full_batches)

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
        if self.full_batches and fields["T"] != math.inf:
            fields["batch_size"] = None
        return TrainConfig.from_checked(fields)

    def configs(self) -> dict[Index, TrainConfig]:
        """The config of every cell."""
        return dict(self._configs)

    @functools.cached_property
    def _configs(self) -> dict[Index, TrainConfig]:
        return {index: self.config(index) for index in self.indices()}

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
        for name in ("data", *FIELDS):  # other data would have another n, too
            if name == "batch_size":
                both = self._batch_sizes_with(other)
            else:
                both = list(dict.fromkeys([*self._values(name), *other._values(name)]))
            is_axis = name in self.axes or name in other.axes
            if not is_axis and len(both) > 1:
                raise ValueError(
                    f"{name} is {short(both[0])} in the sweep that is stored there, "
                    f"not {short(both[1])}"
                )
            changes[name] = _sorted(both) if is_axis else both[0]
        order = [*self.axes, *(name for name in other.axes if name not in self.axes)]
        return Grid._build(changes, {name: changes.pop(name) for name in order})

    def joined(self, other: Grid) -> Grid:
        """As :meth:`merged`; this grid itself if it holds the other one."""
        return self if self.holds(other) else self.merged(other)

    def holds(self, other: Grid) -> bool:
        """Whether this has every axis and every value of the other one."""
        both = zip(self._all_values(), other._all_values(), strict=True)
        return other.axes.keys() <= self.axes.keys() and all(
            set(theirs) <= set(mine) for mine, theirs in both
        )

    def _all_values(self) -> list[list[Any]]:
        """The values of every field; the batch sizes of finite T, and of infinite T."""
        names = [name for name in FIELDS if name != "batch_size"]
        return [*map(self._values, names), *self._batch_sizes()]

    def _values(self, name: str) -> list[Any]:
        if name in self.axes:
            return self.axes[name]
        return [self.fixed[name]]

    def _batch_sizes(self) -> tuple[list[Any], list[Any]]:
        """The batch sizes of the cells with finite and of those with infinite T."""
        infinite = {T == math.inf for T in self._values("T")}
        values = self._values("batch_size")
        finite = [None] if self.full_batches else values
        return finite if False in infinite else [], values if True in infinite else []

    def _batch_sizes_with(self, other: Grid) -> list[Any]:
        """The batch sizes of a grid that holds both."""
        pairs = zip(self._batch_sizes(), other._batch_sizes(), strict=True)
        finite, infinite = (list(dict.fromkeys([*mine, *theirs])) for mine, theirs in pairs)
        if infinite and finite not in ([], [None]):
            raise ValueError(_APART)
        return infinite or finite


# Said where a grid would have infinite T, and finite T in batches.
_APART = "finite T in batches and infinite T do not make one sweep: give each a store of its own"


def _is_infinite(T: object) -> bool:
    """Whether this is an infinite T, if it is a T at all."""
    return isinstance(T, (int, float, np.number)) and bool(T == math.inf)


def _cell(fixed: Mapping[str, Any], values: Mapping[str, Any], full: bool) -> TrainConfig:
    """The config of a cell; with ``full`` a batch size counts only where T is infinite."""
    fields = {**fixed, **values}
    if full and not _is_infinite(fields.get("T")):
        fields.pop("batch_size", None)
    return TrainConfig.from_fields(fields)


def _canonical(
    name: str, given: Mapping[str, list[Any]], fixed: Mapping[str, Any], full: bool
) -> list[Any]:
    """The values of an axis as a config holds them, each once."""
    others = {k: v[0] for k, v in given.items() if k != name}
    if name == "batch_size" and full:
        others["T"] = math.inf
    values: dict[Any, None] = {}
    for value in given[name]:
        # n is tried with m = 1, and m with a large n: pairs of them are checked cell by cell.
        trial = {**fixed, **others, **({"m": 1} if name == "n" else {})}
        usual = {"importance": 1.0, "init": "xavier_uniform", "bias_init": 0.0}
        if fixed.get("data") is None:  # which have their own
            usual["sparsity"] = 0.9
        config = _cell({**trial, **usual}, {name: value}, full)
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
    if isinstance(value, (Weights, DataRef)):
        return value.to_json()
    return "inf" if value == math.inf else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    return math.inf if value == "inf" else value
