"""The table of a sweep: one row a run, with the same columns whatever the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toysup.config import FIELDS
from toysup.config.grid import legible

if TYPE_CHECKING:
    import pandas

    from toysup._sweep.result import Cell

__all__ = ["as_cell", "as_csv", "frame", "to_csv"]

# The scalars that count something.
_COUNTS = ("n_represented", "steps_done")
# What formulas begin with, and what spreadsheets leave out before them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Fields that are integers or None.
_MAYBE = ("init_seed", "batch_size")


def frame(cells: Sequence[Cell], scalars: Sequence[str]) -> pandas.DataFrame:
    """A row for each cell: T, m, seed, all other fields, the scalars, status and error.

    Integers are so also where some are missing; only T is a float if any of it is infinite.
    """
    import pandas

    columns: dict[str, Any] = {}
    for name in dict.fromkeys(["T", "m", "seed", *FIELDS]):
        values = [getattr(cell.config, name) for cell in cells]
        if name == "data":
            texts = [None if value is None else repr(value) for value in values]
            columns[name] = pandas.Series(texts, dtype="string")
        else:
            is_maybe = name in _MAYBE
            columns[name] = pandas.Series(values, dtype="Int64") if is_maybe else _plain(values)
    for name in scalars:
        found = [float(cell.summary.scalars.get(name, math.nan)) for cell in cells]
        if name in _COUNTS:
            whole = [int(value) if math.isfinite(value) else None for value in found]
            columns[name] = pandas.Series(whole, dtype="Int64")
        else:
            columns[name] = found
    columns["status"] = [cell.status for cell in cells]
    columns["error"] = [cell.summary.reason for cell in cells]
    return pandas.DataFrame(columns)


def _plain(values: list[Any]) -> list[Any]:
    """The values of a field: as they are if they are numbers or flags, else as text."""
    numbers = all(isinstance(value, (bool, int, float)) for value in values)
    return values if numbers else [str(legible(value)) for value in values]


def as_cell(value: Any) -> Any:
    """A value of a CSV: a text that a spreadsheet would take for a formula is quoted for it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Values as they are, each in its shortest form; nothing for None and NaN."""
    import pandas

    table = pandas.DataFrame(list(rows), columns=list(columns), dtype=object)
    return str(table.to_csv(index=False, lineterminator="\n"))


def to_csv(table: pandas.DataFrame) -> str:
    """As RFC 4180 has it; floats by their shortest form that gives the same bits again."""
    if table["T"].dtype.kind == "f":
        T = ["inf" if value == math.inf else str(int(value)) for value in table["T"]]
        table = table.assign(T=T)
    for name in table.columns:
        if table[name].dtype.kind == "O":
            table = table.assign(**{name: [as_cell(value) for value in table[name]]})
    # These line ends also make sure that a lone \r is quoted.
    return str(table.to_csv(index=False, lineterminator="\r\n"))
