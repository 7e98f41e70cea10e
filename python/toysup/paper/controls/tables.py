"""The tables of the controls: verdicts, and curves over T of examples, models and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from toysup._sweep.table import Table
from toysup.paper import _recipe
from toysup.paper._runs import mean, mean_and_spread
from toysup.paper.controls.measures import (
    DATA,
    INIT,
    RELU,
    Examples,
    Found,
    Measured,
    by_T,
    model_curves,
)
from toysup.paper.controls.verdicts import (
    QUESTIONS,
    Values,
    memorizes,
    needs,
    repeats,
    shows,
)

__all__ = ["tables"]


def tables(measured: Measured, scale: str) -> list[Table]:
    """The verdicts, then the curves: examples, models and seeds over T."""
    results, f = measured
    columns = ["question", "quantity", "T", "value", "if_no", "verdict"]
    rows: list[Values] = []
    if f is not None:
        for number, rows_of in enumerate((memorizes, shows, needs, repeats), 1):
            rows += [(number, *row) for row in rows_of(f)]
    heading = (
        f"Controls at the {scale} scale: {_recipe.recipe(results[RELU])}, m = 2.\n"
        + "\n".join(QUESTIONS)
        + "\nif_no is what would be expected, or what an untrained or linear model has, if the "
        "answer were no."
    )
    verdicts = Table("controls", columns, rows, heading, {"T": ".12g"})
    return [verdicts, *([] if f is None else [by_example(f), by_model(f), by_seed(f)])]


MEASURES: dict[str, Callable[[Examples], float]] = {
    "train_loss": lambda e: float(e.loss.mean()),
    "test_loss": lambda e: e.test_loss,
    "remembered": lambda e: e.remembered,
    "retrieved": lambda e: float(e.retrieved.mean()),
    "membership_by_loss": lambda e: e.by_loss,
    "membership_by_D": lambda e: e.by_dimensionality,
    "median_D_in_m/T": lambda e: e.equal,
    "spread_of_D": lambda e: e.spread,
    "D_and_loss": lambda e: e.loss_correlation,
    "D*_and_loss": lambda e: e.maximal_correlation,
    "D_and_similarity": lambda e: e.similarity_correlation,
    "shuffled_loss": lambda e: e.shuffled_loss,
}
# What an untrained model gives without meaning anything by it.
BEFORE = ("retrieved", "membership_by_D", "median_D_in_m/T", "spread_of_D", "D_and_loss")


def by_example(f: Found) -> Table:
    """Measures of single examples over T, mean over the seeds, and those before training."""
    columns = ["T", *MEASURES, *(f"{name}_before" for name in BEFORE)]
    rows: list[Values] = [
        (
            T,
            *(f.at(T, value) for value in MEASURES.values()),
            *(MEASURES[name](f.blank[T]) for name in BEFORE),
        )
        for T in f.examples
    ]
    return Table("controls-examples", columns, rows, "Examples one by one; means over the seeds.")


def by_model(f: Found) -> Table:
    """Losses of all models over T, as shares of that of the zero predictor."""
    curves = dict(model_curves(f))
    columns = ["T", *curves]
    T = sorted({T for curve in curves.values() for T in curve})
    rows: list[Values] = [
        (t, *(mean(curve[t]) if t in curve else math.nan for curve in curves.values())) for t in T
    ]
    heading = "Losses of the models, as shares of that of the zero predictor; means over the seeds."
    return Table("controls-models", columns, rows, heading, {"T": ".12g"})


def by_seed(f: Found) -> Table:
    """Test loss over T by data sets and by initializations."""
    rows: list[Values] = []
    curves = [by_T(f.results[part], "test_loss") for part in (DATA, INIT)]
    for T in sorted({T for curve in curves for T in curve}):
        of_T = [curve.get(T, np.zeros(0)) for curve in curves]
        numbers = [number for values in of_T for number in mean_and_spread(values)]
        rows.append((T, *numbers))
    heading = (
        "Test loss over T: mean and standard deviation over data sets with one initialization, and "
        "over\ninitializations with one data set."
    )
    columns = ["T", "mean_of_data", "spread_of_data", "mean_of_inits", "spread_of_inits"]
    return Table("controls-seeds", columns, rows, heading, {"T": ".12g"})
