"""How results look in a notebook: plain tables that fit light and dark pages."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toysup._run.train import Run
    from toysup._sweep.result import SweepResult

__all__ = ["run_html", "sweep_html"]

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
    return title + _table(head, rows) + (f"<ul>{items}</ul>" if items else "")


def run_html(run: Run) -> str:
    """The outcome of a run."""
    c = run.config
    rows = [
        ["T, m, n", f"{c.T}, {c.m}, {c.n:,}"],
        ["seed", str(c.seed)],
        ["status", f"{run.status} after {run.steps_done:,} of {c.steps:,} steps"],
        ["train loss", f"{run.train_loss:.6g}"],
        ["test loss", f"{run.test_loss:.6g}"],
        ["wall time", f"{run.seconds:.1f} s"],
        ["made with", ", ".join(f"{k} {v}" for k, v in run.provenance.items())],
    ]
    return _table(["toysup.Run", ""], rows)


def _ends(values: list[Any], most: int) -> list[Any]:
    """The values; where there are more than ``most``, None for those in the middle."""
    half = most // 2
    return values if len(values) <= most else [*values[:half], None, *values[-half:]]


def _count(count: Counter[str] | None) -> str:
    if count is None:
        return ""
    bad = [f"{count[kind]} {kind}" for kind in ("failed", "diverged", "damaged") if count[kind]]
    return ", ".join([f"{count['ok']} / {count.total()}", *bad])


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def line(tag: str, cells: list[Any]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"
