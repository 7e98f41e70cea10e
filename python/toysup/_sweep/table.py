"""Tables of results: aligned text for a reader, CSV for a program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._files.whole import replace_file
from toysup._sweep.frame import as_cell, as_csv
from toysup.config.grid import legible, plain

if TYPE_CHECKING:
    from toysup._sweep.result import SweepResult

__all__ = ["Table", "Value", "align", "runs_table"]

Value = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Named columns and rows of values.

    Attributes
    ----------
    name : str
        Its file's name without ".csv".
    columns : sequence of str
        Names of the columns.
    rows : list of tuple
        A value for each column; None and NaN are left blank in text.
    heading : str
        What a reader must know, one or more lines.
    formats : mapping of str to str
        How a column's floats are shown in the text, ".4f" if not given. The CSV has all digits.
    """

    name: str
    columns: Sequence[str]
    rows: list[tuple[Value, ...]]
    heading: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Heading and aligned columns."""
        formats = [self.formats.get(column, ".4f") for column in self.columns]
        cells = [list(map(_text, row, formats)) for row in self.rows]
        body = align([[column.replace("_", " ") for column in self.columns], *cells])
        return f"{self.heading}\n\n{body}" if self.heading else body

    def records(self) -> list[dict[str, Any]]:
        """The rows as JSON values: None for NaN and "inf" for infinity."""
        return [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]

    def save(self, folder: Path) -> Path:
        """Write ``folder/name.csv``, whole or not at all; returns its path."""
        rows = [tuple(map(as_cell, row)) for row in self.rows]
        path = folder / f"{self.name}.csv"
        replace_file(path, lambda file: file.write(as_csv(self.columns, rows).encode()))
        return path


def align(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text: columns aligned to the right, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _blank(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Value, spec: str) -> str:
    if value is None or _blank(value):
        return ""
    return format(value, spec) if isinstance(value, float) else str(value)


def runs_table(result: SweepResult, name: str = "runs") -> Table:
    """Every cell of a sweep: the values of its axes, its status and its scalars."""
    data = result.dataset
    scalars = [str(key) for key in data.data_vars if key != "status"]
    arrays = {key: data[key].to_numpy() for key in ("status", *scalars)}
    rows: list[tuple[Value, ...]] = []
    for index, config in zip(np.ndindex(arrays["status"].shape), result.configs, strict=True):
        axes = [_as_value(getattr(config, axis)) for axis in result.dims]
        rows.append((*axes, *(_as_value(array[index].item()) for array in arrays.values())))
    columns = [*result.dims, "status", *scalars]
    axes_formats = dict.fromkeys(result.dims, ".12g")
    formats = {"train_loss": ".5f", "test_loss": ".5f", "n_represented": ".0f", "seconds": ".2f"}
    formats["steps_done"] = ".0f"
    return Table(name, columns, rows, formats={**axes_formats, **formats})


def _as_value(value: Any) -> Value:
    """A number or a text."""
    return value if isinstance(value, (int, float, str)) else str(legible(value))
