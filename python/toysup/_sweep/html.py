"""How a sweep looks in a notebook."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any

from toysup._text.html import table

if TYPE_CHECKING:
    from toysup._sweep.result import SweepResult

__all__ = ["sweep_html"]

# Reasons, rows and columns that are written out.
_MOST = 5
_ROWS, _COLUMNS = 40, 16


def sweep_html(result: SweepResult) -> str:
    """Finished and all runs of each T and m, and what went wrong."""
    cells: dict[tuple[float, int], Counter[str]] = {}
    for config, status in zip(result.configs, result.statuses, strict=True):
        cells.setdefault((config.T, config.m), Counter())[status] += 1
    columns = _ends(sorted({m for _, m in cells}), _COLUMNS)
    head = ["T", *("…" if m is None else f"m = {m}" for m in columns)]
    rows = [
        ["…" if T is None else str(T), *(_count(cells.get((T, m))) for m in columns)]
        for T in _ends(sorted({T for T, _ in cells}), _ROWS)
    ]
    failures = [
        f"T = {f.config.T}, m = {f.config.m}, seed = {f.config.seed}: {f.status}: {f.reason}"
        for f in result.failed[:_MOST]
    ]
    more = len(result.failed) - len(failures)
    failures += [f"and {more} more: see .failed"] if more else []
    items = "".join(f"<li>{html.escape(text)}</li>" for text in failures)
    title = f"<p><code>{html.escape(repr(result))}</code></p>"
    return title + table(head, rows) + (f"<ul>{items}</ul>" if items else "")


def _ends(values: list[Any], most: int) -> list[Any]:
    """The values; where there are more than ``most``, None for those in the middle."""
    half = most // 2
    return values if len(values) <= most else [*values[:half], None, *values[-half:]]


def _count(count: Counter[str] | None) -> str:
    if count is None:
        return ""
    bad = [f"{count[kind]} {kind}" for kind in ("failed", "diverged", "damaged") if count[kind]]
    return ", ".join([f"{count['ok']} / {count.total()}", *bad])
