"""Figure 5: the heat map of mean test loss over T and m.

The ridge, where test loss is highest, moves to larger T as m grows: above it more data hurts, and
left of it larger models hurt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toysup._result import SweepResult
from toysup.paper import reference
from toysup.paper._preset import Preset
from toysup.paper._table import Cell, Table

__all__ = ["HEATMAP"]

# One tenth of the paper's scale, as in figure 3, with a fifth of the steps and one seed.
SMALL = {
    "n": 1_000,
    "sparsity": 0.99,
    "eps": 1e-6,
    "T": (20, 50, 100, 200, 500, 1_000, 2_000),
    "m": (2, 3, 4, 5),
    "seed": range(1),
    "steps": 10_000,
    "learning_rate": 5e-3,
    "test_size": 100_000,
}
PAPER = {"T": reference.FIGURE5_T, "m": reference.FIGURE5_M, "seed": range(4)}


def tables(result: SweepResult, scale: str) -> list[Table]:
    """Mean test loss over the seeds that have finished: a row for each m, a column for each T."""
    data = result.dataset.transpose("T", "m", "seed")
    loss = data["test_loss"].where(data["status"] == "ok").mean("seed").to_numpy()
    rows: list[tuple[Cell, ...]] = [
        (m, *map(float, loss[:, i])) for i, m in enumerate(result.coords["m"])
    ]
    config, seeds = result.configs[0], len(result.coords["seed"])
    heading = (
        f"Test loss over m and T (figure 5) at the {scale} scale: n = {config.n:,}, "
        f"S = {config.sparsity}, {config.steps:,} steps, learning rate {config.learning_rate:g}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}."
    )
    columns = ["m", *(f"T={T}" for T in result.coords["T"])]
    return [Table("heatmap", columns, rows, heading=heading)]


def drawings(result: SweepResult, scale: str) -> Iterator[tuple[str, Any]]:
    """The map, with the values written into it."""
    from toysup import plot

    low, high = reference.FIGURE5_RANGE if scale == "paper" else (None, None)
    yield "heatmap", plot.heatmap(result, vmin=low, vmax=high, annotate=".4f")


def see(result: SweepResult, scale: str) -> str:
    """Where the ridge is, among the T at which a feature occurs in half an example or more."""
    columns = [f"T={T}" for T in result.coords["T"] if T * (1 - result.configs[0].sparsity) > 0.4]
    ridge = []
    for row in tables(result, scale)[0].records():
        losses = {column: row[column] for column in columns if row[column] is not None}
        if losses:
            ridge.append(f"{max(losses, key=lambda column: losses[column])} for m={row['m']}")
    where = ", ".join(ridge) if ridge else "nowhere at these T"
    return f"In heatmap.png: a ridge of test loss, which lies at larger T for larger m: {where}."


HEATMAP = Preset(
    name="heatmap",
    title="mean test loss over T and m",
    scales={"small": SMALL, "paper": PAPER},
    tables=tables,
    drawings=drawings,
    see=see,
)
