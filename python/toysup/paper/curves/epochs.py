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

from toysup._sweep.result import SweepResult
from toysup.paper._recipe import STAND_IN
from toysup.paper.curves._bump import curves

__all__ = ["EPOCHS"]

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


def heading(result: SweepResult, scale: str) -> str:
    """What the table shows."""
    config = result.configs[0]
    return (
        f"Test loss over the number of epochs and T (figure A2) at the {scale} scale: "
        f"m = {config.m},\n"
        f"n = {config.n:,}, S = {config.sparsity}, learning rate {config.learning_rate:g}. "
        "A step is an epoch."
    )


EPOCHS = curves(
    "epochs",
    "steps",
    title="test loss against T for several numbers of epochs, for m = 4",
    scales={"small": SMALL, "paper": PAPER},
    heading=heading,
    unit="{:,} steps",
)
