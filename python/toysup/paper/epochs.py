"""Figure A2: test loss against T for several numbers of epochs, for m = 4.

Asked: does the bump of test loss grow with the time that a model is trained?

Trained: models of four hidden dimensions for several T, with an eighth to twice as many steps as
usual. A step sees the whole training set, so steps are epochs. The learning rate rises and falls
over all steps, up to the same value: more steps let the weights grow further, too.

Measured: test loss.

Expected: the more epochs, the larger the bump; where a feature occurs in tens of examples the
number matters little. (T. Henighan et al. 2023, appendix.)

Part "epochs" holds all runs. The small scale is the stand-in of figure 3, with T a tenth and steps
a quarter of the paper's; its learning rate is four times the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toysup.paper import figure3
from toysup.paper._bump import STAND_IN, bump_table, bumps, phrases
from toysup.paper._preset import Preset, Results
from toysup.paper._table import Table

__all__ = ["EPOCHS"]

PART = "epochs"

SMALL = {
    **STAND_IN,
    "m": 4,
    "T": (100, 200, 500, 1_000, 2_000),
    "seed": range(2),
    "steps": (3_125, 6_250, 12_500, 25_000),
}
PAPER = {
    "m": 4,
    "T": (1_000, 2_000, 5_000, 10_000, 20_000),
    "seed": range(4),
    "steps": (12_500, 25_000, 50_000, 100_000),
}


def tables(results: Results, scale: str) -> list[Table]:
    """Mean test loss over the seeds: a row for each number of steps, a column for each T."""
    config = results[PART].configs[0]
    heading = (
        f"Test loss over the number of epochs and T (figure A2) at the {scale} scale: "
        f"m = {config.m},\n"
        f"n = {config.n:,}, S = {config.sparsity}, learning rate {config.learning_rate:g}. "
        "A step is an epoch. "
        "Losses are means over the seeds."
    )
    return [bump_table(results[PART], "steps", PART, heading)]


def drawings(results: Results, scale: str) -> Iterator[tuple[str, Any]]:
    """A curve of test loss for each number of steps."""
    from toysup.plot._against import against

    if "ok" in results[PART].statuses:
        yield PART, against(results[PART], hue="steps")


def see(results: Results, scale: str) -> str:
    """How high the bump is for each number of steps."""
    found = phrases(bumps(results[PART], "steps"), "{:,} steps")
    if not found:
        return figure3.NOTHING
    return f"In {PART}.png: test loss is highest, {', '.join(found)}."


EPOCHS = Preset(
    name="epochs",
    title="test loss against T for several numbers of epochs, for m = 4",
    scales={"small": {PART: SMALL}, "paper": {PART: PAPER}},
    tables=tables,
    drawings=drawings,
    see=see,
)
