"""Controls: the four questions that a reader of the paper wants to check for himself.

Asked: does the set-up really make the model memorize? Does the measure, dimensionality, show it? Is
superposition needed for it, and is another explanation excluded? Is it reproducible?

Trained, m = 2 throughout: the paper's recipe over T (the runs of figure 3); the same with a linear
model; the same without normalization; data sets with one initialization, and initializations with
one data set; and one model on shuffled examples.

Measured: an example is *remembered* if its loss is below that of 99% of fresh examples, which 1%
are by chance. It is *retrieved* if it is what its own reconstruction resembles most. A value tells
*membership* as well as the probability says that it is larger for a training example than for a
fresh one. *Worth* is T (1 - train loss / loss of the zero predictor): as many examples could be
reconstructed perfectly, and the others not at all. The *rise* of a curve of test loss is the
largest increase from a T to a larger one, as a share of the zero predictor's loss, among T that
show a feature 0.3 times on average or more: what "more data hurts" means.

Expected: train loss far below test loss and D = m / T for few examples, and neither for many;
examples of large D have a low loss and are retrieved; a linear model reaches the optimum, the
principal components, which remove the worth of about m + 1 of a few examples, and its test loss
only falls; shuffled training examples are like fresh ones, as it is these examples and not their
values that are stored; and all of it at every seed.

What the controls found that is not convenient is in the verdicts. Two things hold for any tied
model and are no evidence of memorization: D ranks the examples as the negative loss does, also
before training, because both grow with the length of the hidden vector; and a linear model, too,
has a lower loss on its few examples than on fresh ones, because its bias is their mean.

Sources: T. Henighan et al. 2023, figure 3, for D = m / T; C. Olah's comment there for D*;
:mod:`toysup.paper.controls.models` for the linear optimum.
"""

from __future__ import annotations

import math

from toysup.paper import _recipe
from toysup.paper._preset import Preset
from toysup.paper._runs import NOTHING
from toysup.paper.controls.measures import (
    DATA,
    INIT,
    LINEAR,
    RAW,
    RELU,
    Measured,
    measure,
)
from toysup.paper.controls.panels import drawings
from toysup.paper.controls.tables import tables
from toysup.paper.controls.verdicts import (
    QUESTIONS,
    answers,
)

__all__ = ["CONTROLS"]

_FEW = (5, 10, 30, 100, 200, 500, 1_000)
_SMALL = {
    **_recipe.SMALL,
    "T": tuple(T for T in _recipe.SMALL["T"] if T < math.inf),  # type: ignore[attr-defined]
}
SMALL = {
    RELU: _SMALL,
    LINEAR: {**_SMALL, "T": (3, *_FEW, 2_000), "seed": range(2), "activation": "linear"},
    RAW: {**_SMALL, "T": (3, *_FEW, 2_000), "normalize": False},
    DATA: {**_SMALL, "T": _FEW, "seed": range(6), "init_seed": 0},
    INIT: {**_SMALL, "T": _FEW, "seed": 0, "init_seed": range(6)},
}
_MANY = (3, 5, 10, 30, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
_PLACES = (30, 200, 1_000, 2_000, 5_000, 10_000)
PAPER = {
    RELU: {**_recipe.PAPER, "T": tuple(T for T in _recipe.PAPER["T"] if T <= _MANY[-1])},  # type: ignore[attr-defined]
    LINEAR: {"m": 2, "T": _MANY, "seed": range(2), "activation": "linear"},
    RAW: {"m": 2, "T": _MANY, "seed": range(4), "normalize": False},
    DATA: {"m": 2, "T": _PLACES, "seed": range(8), "init_seed": 0},
    INIT: {"m": 2, "T": _PLACES, "seed": 0, "init_seed": range(8)},
}


def see(measured: Measured, scale: str) -> str:
    """The four answers."""
    _, f = measured
    if f is None:
        return NOTHING
    parts = zip(QUESTIONS, answers(f), strict=True)
    return "In controls.png:\n" + "\n".join(f"{question} {answer}" for question, answer in parts)


CONTROLS = Preset(
    name="controls",
    title="four questions of a reader: memorization, its measure, other explanations, seeds",
    scales={"small": SMALL, "paper": PAPER},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
