"""Figure A1: test loss against T for several weight decays, for m = 4.

Asked: does the bump of test loss depend on how strongly the weights are held down?

Trained: models of four hidden dimensions for several T, each with every weight decay from none to
1.0, a hundred times the usual.

Measured: test loss.

Expected: the less decay, the larger the bump, and with 1.0 there is none. The paper takes that for
a sign that the bump is due to the model's fitting single examples, which needs large weights.
(T. Henighan et al. 2023, appendix.)

Part "weight-decay" holds all runs. The small scale is the stand-in of figure 3, with T a tenth of
the paper's; there the bump is at T = 1,000, a feature in ten examples.
"""

from __future__ import annotations

from toysup._sweep.result import SweepResult
from toysup.paper import _recipe
from toysup.paper._recipe import STAND_IN
from toysup.paper.curves._bump import curves

__all__ = ["DECAYS", "WEIGHT_DECAY"]

DECAYS = (0.0, 1e-3, 1e-2, 1e-1, 1.0)

SMALL = {
    **STAND_IN,
    "m": 4,
    "T": (100, 200, 500, 1_000, 2_000),
    "seed": range(2),
    "weight_decay": DECAYS,
}
PAPER = {
    "m": 4,
    "T": (1_000, 2_000, 5_000, 10_000, 20_000),
    "seed": range(4),
    "weight_decay": DECAYS,
}


def heading(result: SweepResult, scale: str) -> str:
    """What the table shows."""
    return (
        f"Test loss over weight decay and T (figure A1) at the {scale} scale: "
        f"m = {result.configs[0].m},\n{_recipe.recipe(result)}."
    )


WEIGHT_DECAY = curves(
    "weight-decay",
    "weight_decay",
    title="test loss against T for several weight decays, for m = 4",
    scales={"small": SMALL, "paper": PAPER},
    heading=heading,
    unit="a weight decay of {:g}",
)
