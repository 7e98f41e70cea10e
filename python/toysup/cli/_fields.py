"""Fields of a run from the text of options."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from toysup.errors import nearest

if TYPE_CHECKING:
    from toysup.data import Dataset

__all__ = ["given_fields", "item", "one_value_fields", "option_value", "parse_field", "parts"]

_MAX_RANGE = 100_000


def parse_field(name: str, text: str) -> Any:
    """The value of a field of a run, or the list of its values, from the text of an option.

    Raises
    ------
    ValueError
        Naming the field and the part of the text that is wrong.
    """
    from toysup.config import TrainConfig
    from toysup.config.grid import Axis

    kind = str(TrainConfig.__dataclass_fields__[name].type)
    if name == "data":
        return None if text.lower() == "none" else _data(text)
    if name == "repeats":
        repeats = [_repeats(name, value) for value in parts(name, text, ";")]
        return repeats if ";" in text else repeats[0]
    if kind.startswith("tuple"):
        pairs = [
            tuple(item(name, kind, part) for part in parts(name, pair, ","))
            for pair in parts(name, text, ";")
        ]
        return pairs if ";" in text else pairs[0]
    values: list[Any] = []
    texts = parts(name, text, ",")
    has_ranges = ":" in text and "str" not in kind  # C:\run.npz is the file of a run
    for part in texts:
        is_range = has_ranges and ":" in part
        values += _range(name, kind, part) if is_range else [item(name, kind, part)]
    return Axis(values) if len(texts) > 1 or has_ranges else values[0]


def option_value(value: Any) -> str:
    """The inverse of :func:`parse_field` for one value."""
    if isinstance(value, tuple):
        return ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def parts(name: str, text: str, separator: str) -> list[str]:
    """The values between separators; those in the parentheses of a label of weights are its own."""
    pattern = rf"{separator}(?![^(]*\))" if name == "init" else separator
    parts = [part.strip() for part in re.split(pattern, text)]
    if "" in parts:
        raise ValueError(f"{name} has an empty value in {text!r}")
    return parts


def item(name: str, kind: str, text: str) -> Any:
    """One value; ``kind`` is the annotation of the field. What it may be, the config decides."""
    lowered = text.lower()
    if lowered == "none" and "None" in kind:
        return None
    if name == "init" and lowered.endswith(".npz"):
        from toysup._run.run import load_run

        return load_run(text)
    if "str" in kind:
        return text
    if kind == "bool":
        if lowered not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return lowered == "true"
    try:
        return _number(text) if "int" in kind else float(text)
    except ValueError:
        what = "an integer" if "int" in kind and "float" not in kind else "a number"
        raise ValueError(f"{name} must be {what}, got {text!r}") from None


def _data(path: str, normalize: bool = True) -> Dataset:
    """The data set of a file."""
    from toysup.data import load

    return load(path, normalize=normalize)


def _repeats(name: str, text: str) -> tuple[tuple[int, ...], ...]:
    """``t:R`` for every example t that is there R times, or none."""
    if text.lower() == "none":
        return ()
    found = []
    for part in parts(name, text, ","):
        words = part.split(":")
        if len(words) != 2:
            raise ValueError(f"{name} must be such as 0:5 or 0:5,7:2, got {part!r}")
        found.append(tuple(item(name, "int", word) for word in words))
    return tuple(found)


def _number(text: str) -> int | float:
    """An int where the text is one, 1e5 included; else a float."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        return int(value) if value.is_integer() else value


def _range(name: str, kind: str, text: str) -> range:
    """``a:b`` or ``a:b:step``, as in Python without its end."""
    if "int" not in kind:
        raise ValueError(f"{name} has no ranges, got {text!r}: separate values by commas")
    try:
        values = range(*(int(part) for part in text.split(":")))
    except (ValueError, TypeError):
        raise ValueError(f"{name} must be a range such as 0:4 or 0:100:10, got {text!r}") from None
    if not values or values[_MAX_RANGE:]:  # its len need not be an index
        size = "no value" if not values else f"more than {_MAX_RANGE:,} values"
        raise ValueError(f"{name} has {size} in the range {text!r}")
    return values


def given_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a run that were given as options."""
    return _read(_texts(args))


def _texts(args: argparse.Namespace) -> dict[str, str]:
    """The fields that were given as options, as they were given."""
    from toysup.config import FIELDS

    given = {name: getattr(args, name, None) for name in FIELDS}
    return {name: text for name, text in given.items() if text is not None}


def _read(texts: dict[str, str]) -> dict[str, Any]:
    """The values of fields; a data set's rows are scaled, or not, when it is read."""
    path = texts.get("data", "none")
    fields = {name: parse_field(name, text) for name, text in texts.items() if name != "data"}
    if path.lower() != "none":
        fields["data"] = _data(path, fields.pop("normalize", True))
    return fields


def one_value_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of one run, given as words such as ``T=100`` or as options.

    Raises
    ------
    ValueError
        Naming the word or the field that is wrong.
    """
    from toysup.config import FIELDS

    texts = _texts(args)
    for word in args.fields:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"a field of a run is written such as T=100, got {word!r}")
        if name not in FIELDS:
            raise ValueError(f"{name!r} is not a field of a run{nearest(name, FIELDS)}")
        if name in texts:
            raise ValueError(f"{name} is given twice, the second time as {text!r}")
        texts[name] = text
    fields = _read(texts)
    for name, value in fields.items():
        if isinstance(value, list):
            raise ValueError(
                f"{name} has {len(value)} values, and toysup train trains one run: "
                f"toysup sweep takes several values"
            )
    return fields
