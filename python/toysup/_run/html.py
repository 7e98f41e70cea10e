"""How a run looks in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toysup._text.html import table

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["run_html"]


def run_html(run: Run) -> str:
    """The outcome of a run."""
    c = run.config
    rows = [
        ["T, m, n", f"{c.T}, {c.m}, {c.n:,}"],
        ["seed", str(c.seed)],
        *([] if c.data is None else [["data", repr(c.data)]]),
        ["status", f"{run.status} after {run.steps_done:,} of {c.steps:,} steps"],
        ["train loss", f"{run.train_loss:.6g}"],
        ["test loss", f"{run.test_loss:.6g}"],
        ["wall time", f"{run.seconds:.1f} s"],
        ["made with", ", ".join(f"{k} {v}" for k, v in run.provenance.items())],
    ]
    return table(["toysup.Run", ""], rows)
