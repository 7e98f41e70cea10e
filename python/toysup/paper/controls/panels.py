"""The page of the controls: which curves stand in its panels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup.paper._runs import spread
from toysup.paper.controls.measures import (
    DATA,
    INIT,
    RELU,
    Examples,
    Found,
    Measured,
    by_T,
    model_curves,
    zero_loss,
)
from toysup.paper.controls.models import Floats
from toysup.paper.controls.verdicts import (
    QUESTIONS,
    answers,
)

if TYPE_CHECKING:
    from toysup.paper.controls.page import Panel, Scatter

__all__ = ["drawings"]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The page."""
    _, f = measured
    if f is None:
        return
    from toysup.paper.controls.page import Row, controls

    panels = (memory_panels(f), measure_panels(f), model_panels(f), seed_panels(f))
    rows = [Row(*row) for row in zip(QUESTIONS, answers(f), panels, strict=True)]
    yield "controls", controls(rows)


def memory_panels(f: Found) -> list[Panel | Scatter]:
    """Losses, those of single examples, and dimensionalities."""
    from toysup.paper.controls.page import Line, Panel

    first: dict[float, Examples] = {T: of_T[0] for T, of_T in f.examples.items()}
    relu = f.results[RELU]
    train, test = by_T(relu, "train_loss"), by_T(relu, "test_loss")
    losses = [
        Line("fresh examples", "fresh", test, dots=True),
        Line("training examples", "examples", train, dots=True),
    ]
    single = [
        Line("fresh", "fresh", {T: e.fresh_loss for T, e in first.items()}, strip=True),
        Line("training", "examples", {T: e.loss for T, e in first.items()}, strip=True),
    ]
    before: dict[float, Floats] = {T: e.dimensionality for T, e in f.blank.items()}
    D: dict[float, Floats] = {T: e.dimensionality for T, e in first.items()}
    shares = [
        Line("untrained", "blank", before, strip=True),
        Line("training examples", "examples", D, strip=True),
    ]
    m = relu.configs[0].m
    return [
        Panel("Loss of all", "loss", losses, level=1.0),
        Panel("Loss of each example", "loss", single, level=1.0, ylim=(-0.05, 1.6)),
        Panel(
            "Dimensionality of each", "dimensionality D", shares,
            yscale="log", share=(m, "m / T"), ylim=(1e-6, 3.0), legend="lower left",
        ),
    ]  # fmt: skip


def measure_panels(f: Found) -> list[Panel | Scatter]:
    """D against loss, their ranks, and membership."""
    from toysup.paper.controls.page import Line, Panel, Scatter

    groups = []
    for T in f.places():
        e = f.examples[T][0]
        k = len(e.retrieved)
        relative = np.maximum(e.dimensionality[:k] * T / e.m, 1e-3)
        groups.append((T, relative, e.loss[:k], e.retrieved))
    ranks = [
        Line("D and -loss", "examples", f.line(lambda e: e.loss_correlation)),
        Line("D* and -loss", "crosses", f.line(lambda e: e.maximal_correlation)),
        Line("D and likeness of x'", "other", f.line(lambda e: e.similarity_correlation)),
        Line("D and -loss, untrained", "blank", f.before(lambda e: e.loss_correlation)),
    ]
    tests = [
        Line("by loss", "fresh", f.line(lambda e: e.by_loss)),
        Line("by D", "examples", f.line(lambda e: e.by_dimensionality)),
        Line("by D, untrained", "blank", f.before(lambda e: e.by_dimensionality)),
        Line("retrieved", "other", f.line(lambda e: float(e.retrieved.mean()))),
    ]
    return [
        Scatter("D and loss (full: retrieved)", "D, in m / T", "loss", groups),
        Panel("Rank correlation", "Spearman's rho", ranks, level=0.0, ylim=(-1.05, 1.05)),
        Panel(
            "Telling training from fresh",
            "probability",
            tests,
            level=0.5,
            ylim=(-0.03, 1.05),
            legend=(0.56, 0.14),
        ),
    ]


def model_panels(f: Found) -> list[Panel | Scatter]:
    """Train loss, test loss and shuffled examples."""
    from toysup.paper.controls.page import Line, Panel

    curves = dict(model_curves(f))
    train = [
        Line("ReLU", "examples", curves["relu_train"]),
        Line("linear", "linear", curves["linear_train"]),
        Line("linear optimum (PCA)", "crosses", curves["optimum_train"]),
    ]
    excess = {
        name: {T: values - 1.0 for T, values in curves[f"{name}_test"].items()}
        for name in ("relu", "linear", "optimum", "unnormalized")
    }
    test = [
        Line("ReLU", "examples", excess["relu"]),
        Line("ReLU, not normalized", "third", excess["unnormalized"]),
        Line("linear", "linear", excess["linear"]),
        Line("linear optimum (PCA)", "crosses", excess["optimum"]),
    ]
    moved = [
        Line("fresh examples", "fresh", f.line(lambda e: e.test_loss)),
        Line("training, shuffled", "crosses", f.line(lambda e: e.shuffled_loss)),
        Line("training examples", "examples", f.line(lambda e: float(e.loss.mean()))),
    ]
    if f.moved is not None:
        point = {f.moved.T: np.array([f.moved.own])}
        moved.append(Line("shuffled, if trained on", "diamonds", point))
    return [
        Panel("Train loss", "loss / that of x' = 0", train, ylim=(-0.03, 1.05)),
        Panel(
            "Test loss",
            "loss / that of x' = 0, less 1",
            test,
            yscale="symlog",
            level=0.0,
            ylim=(-1.0, 2.0),
            legend="lower left",
        ),
        Panel("Values in other features", "loss", moved, ylim=(-0.03, None)),
    ]


def seed_panels(f: Found) -> list[Panel | Scatter]:
    """Test loss of all data sets, of all initializations, and their spread."""
    from toysup.paper.controls.page import Line, Panel

    data, init = (by_T(f.results[part], "test_loss") for part in (DATA, INIT))
    relu = f.results[RELU]
    apart = [
        Line(
            name,
            look,
            {T: np.array([spread(v)]) for T, v in curve.items() if np.isfinite(spread(v))},
        )
        for name, look, curve in (("data sets", "third", data), ("initializations", "other", init))
    ]
    height = f.height(RELU) * zero_loss(relu.configs[0])
    every = np.concatenate([*data.values(), *init.values(), np.array([1.0])])
    low, high = np.nanmin(every), np.nanmax(every)
    ends = (low - 0.05 * (high - low) - 1e-4, high + 0.05 * (high - low) + 1e-4)
    return [
        Panel("Data sets, one initialization", "test loss",
              [Line("mean; dots are runs", "third", data, dots=True)], level=1.0, ylim=ends),
        Panel("Initializations, one data set", "test loss",
              [Line("mean; dots are runs", "other", init, dots=True)], level=1.0, ylim=ends),
        Panel("Spread (dotted: height of the rise)", "standard deviation", apart,
              yscale="log", level=height if height > 0 else None),
    ]  # fmt: skip
