"""Controls: the four questions that a reader of the paper wants to check for himself.

Asked: does the set-up really make the model memorise? Does the measure, dimensionality, show it? Is
superposition needed for it, and is another explanation excluded? Is it reproducible?

Trained, m = 2 throughout: the paper's recipe over T (the runs of figure 3); the same with a linear
model; the same without normalisation; data sets with one initialisation, and initialisations with
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
model and are no evidence of memorisation: D ranks the examples as the negative loss does, also
before training, because both grow with the length of the hidden vector; and a linear model, too,
has a lower loss on its few examples than on fresh ones, because its bias is their mean.

Sources: T. Henighan et al. 2023, figure 3, for D = m / T; C. Olah's comment there for D*;
:mod:`toysup.paper.controls.measures` for the linear optimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._sweep.table import Cell, Table
from toysup.paper import _recipe
from toysup.paper._preset import Preset
from toysup.paper._runs import NOTHING, finite, mean, spread
from toysup.paper.controls.measures import (
    DATA,
    INIT,
    LINEAR,
    RAW,
    RELU,
    Examples,
    Floats,
    Found,
    Measured,
    by_T,
    means,
    measure,
    rises,
    spearman,
    zero_loss,
)

if TYPE_CHECKING:
    from toysup.paper.controls.page import Panel, Scatter

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

# A rise of test loss that its noise hardly makes. At the bump a few fresh examples have losses of
# 5 and more, so that the mean of 100,000 has a standard error of up to 0.002 at the small scale.
CLEAR = 5e-3

QUESTIONS = (
    "1. Does the set-up memorise?",
    "2. Does the dimensionality show it?",
    "3. Is superposition needed, and is another explanation excluded?",
    "4. Is it reproducible?",
)


# ------------------------------------------------------------------------------- the table

Cells = tuple[Cell, ...]


def said(yes: bool, text: str, *values: float) -> str:
    """A verdict; "unknown" if what it rests on is not there."""
    if not all(math.isfinite(value) for value in values):
        return "unknown: runs are missing"
    return f"{'yes' if yes else 'no'}: {text}"


def share(part: float, whole: float) -> float:
    """Their quotient; NaN by nothing."""
    return part / whole if whole else math.nan


def memorises(f: Found) -> list[Cells]:
    """Question 1."""
    rows: list[Cells] = []
    gap = f.at(f.few, lambda e: e.test_loss - float(e.loss.mean()))
    text = f"train loss is {f.at(f.few, lambda e: float(e.loss.mean())):.3f}"
    rows.append(("test loss - train loss", f.few, gap, "0", said(gap > 0.1, text, gap)))
    for T in f.places():
        v = f.at(T, lambda e: e.remembered)
        text = f"{v:.0%} of the examples, 1% by chance"
        rows.append(("remembered examples", T, v, "0.01", said(v >= 0.5, text, v)))
    T = min((T for T in f.examples if T >= 5), key=lambda T: abs(T - 5), default=f.few)
    v, uneven = f.at(T, lambda e: e.equal), f.at(T, lambda e: e.spread)
    blank = f.blank[T]
    text = (
        f"{v:.2f} m/T with a spread of {uneven:.0%}; before training {blank.equal:.2f} m/T with "
        f"{blank.spread:.0%}"
    )
    regular = abs(v - 1) < 0.1 and uneven < 0.5 * blank.spread
    rows.append(("median D of examples, in m/T", T, v, blank.equal, said(regular, text, v, uneven)))
    return rows


def shows(f: Found) -> list[Cells]:
    """Question 2."""
    rows: list[Cells] = []
    for T in f.places():
        v, blank = f.at(T, lambda e: e.loss_correlation), f.blank[T].loss_correlation
        text = f"{v:.2f}, but {blank:.2f} before training" if v <= blank else f"{v:.2f}"
        verdict = said(v > max(0.3, blank + 0.05), text, v, blank)
        rows.append(("rank correlation of D and -loss", T, v, blank, verdict))
    few = f.few
    v = f.at(few, lambda e: e.maximal_correlation)
    text = f"as that of D within {abs(v - f.at(few, lambda e: e.loss_correlation)):.3f}"
    rows.append(
        ("rank correlation of D* and -loss", few, v, f.blank[few].maximal_correlation,
         said(v > f.blank[few].maximal_correlation + 0.05, text, v))
    )  # fmt: skip
    for T in f.places():
        v, by_loss = f.at(T, lambda e: e.by_dimensionality), f.at(T, lambda e: e.by_loss)
        text = f"{v:.2f}; {by_loss:.2f} by loss, {f.blank[T].by_dimensionality:.2f} before training"
        yes = v >= max(0.6, f.blank[T].by_dimensionality + 0.05)
        rows.append(("membership by D", T, v, "0.5", said(yes, text, v)))
    for T in f.places():
        v, least = f.at(T, lambda e: float(e.retrieved.mean())), f.blank[T].retrieved.mean()
        text = f"{v:.1%} of the examples; {1 / T:.2%} by chance, {least:.1%} before training"
        rows.append(
            ("retrieved examples", T, v, f"{1 / T:.4f}", said(v >= max(0.1, 2 * least), text, v))
        )
    v = over_T(f)
    text = f"{v:.2f}, where -1 would be features instead of examples"
    rows.append(("rank correlation over T of the largest D of a feature and remembered examples",
                 None, v, "0", said(v < -0.5, text, v)))  # fmt: skip
    return rows


def over_T(f: Found) -> float:
    """Whether a large feature dimensionality and examples remembered go together."""
    largest = means(by_T(f.results[RELU], "max_feature_dimensionality"))
    pairs = [(largest[T], f.at(T, lambda e: e.remembered)) for T in f.examples]
    return spearman(*zip(*pairs, strict=True)) if len(pairs) > 2 else math.nan


def needs(f: Found) -> list[Cells]:
    """Question 3."""
    rows: list[Cells] = []
    v, line = worth(f, RELU, f.few), worth(f, LINEAR, f.few)
    text = f"{v:.1f} examples' worth, {line:.1f} by the linear model"
    rows.append(("worth of what is stored", f.few, v, line, said(v > 1.5 * line, text, v, line)))
    v = mean([e.remembered for e in f.linear])
    text = f"the linear model remembers {v:.0%} as well, and has a gap between train and test loss"
    rows.append(("remembered examples, linear model", f.few, v, "0.01", said(v < 0.5, text, v)))
    gaps = [o.trained - o.train for o in f.optimum]
    v, least = max(gaps, default=math.nan), min(gaps, default=math.nan)
    text = f"training reaches the optimum within {v:.1g}, and is {least:+.1g} from it at the least"
    rows.append(
        ("trained linear model - optimum, largest", None, v, "> 0.001",
         said(-1e-5 < least and v < 1e-3, text, v))
    )  # fmt: skip
    for part, name in ((RELU, "ReLU"), (LINEAR, "linear"), (RAW, "not normalised")):
        v = f.height(part)
        text = "test loss " + (f"rises by {v:.2%}" if v > 0 else "only falls")
        rows.append((f"rise of test loss, {name}", None, v, "<= 0", said(v > 0, text, v)))
    for T in f.places():
        v = f.at(T, lambda e: e.moved)
        text = f"{v:.2f} of the way from train to test loss"
        rows.append(("loss of shuffled examples", T, v, "0", said(abs(v - 1) < 0.25, text, v)))
    if f.moved is not None:
        a = f.moved
        text = f"{a.own:.3f}, {a.originals:.3f} for the originals; test loss {a.test:.3f}"
        yes = a.originals - a.own > 0.5 * (a.test - a.before)
        rows.append(("train loss on shuffled examples", a.T, a.own, a.test, said(yes, text, a.own)))
    return rows


def worth(f: Found, part: str, T: float) -> float:
    """T (1 - train loss / loss of the zero predictor), mean over the runs of a part."""
    result = f.results[part]
    loss = means(by_T(result, "train_loss")).get(T, math.nan)
    return T * (1.0 - loss / zero_loss(result.configs[0]))


def repeats(f: Found) -> list[Cells]:
    """Question 4."""
    rows: list[Cells] = []
    height = f.height(RELU) * zero_loss(f.results[RELU].configs[0])
    for part, name in ((DATA, "data sets"), (INIT, "initialisations")):
        found = finite(rises(f.results[part]))
        count = int(np.sum(found > CLEAR))
        v = count / len(found) if len(found) else math.nan
        text = f"{count} of {len(found)}, the least by {found.min(initial=math.inf):.4f}"
        rows.append((f"{name} with a rise above {CLEAR:g}", None, v, "0.5", said(v == 1, text, v)))
        v, middle = spread(found), mean(found)
        text = f"the rise is {middle:.4f}, with a standard deviation of {share(v, middle):.0%}"
        rows.append(
            (f"spread of the rise over {name}", None, v, middle, said(v < 0.25 * middle, text, v))
        )
        losses = by_T(f.results[part], "test_loss")
        for T in [T for T in f.places() if T in losses]:
            v = spread(losses[T])
            text = f"{share(v, height):.0%} of the rise"
            rows.append((f"spread of test loss over {name}", T, v, height,
                         said(v < 0.5 * height, text, v, height)))  # fmt: skip
    return rows


def answers(f: Found) -> list[str]:
    """What the numbers say, a few sentences a question."""
    few, many = label(f.few), label(f.many)
    known = {T: f.at(T, lambda e: e.remembered) for T in f.examples}
    last = max((T for T, v in known.items() if v >= 0.9), default=None)
    first = (
        f"{'No' if last is None else f'Yes, up to {label(last)}'}: at {few} train loss is "
        f"{f.at(f.few, lambda e: float(e.loss.mean())):.3f} and test loss "
        f"{f.at(f.few, lambda e: e.test_loss):.3f}, and {known[f.few]:.0%} of the examples have a "
        f"lower loss than 99% of fresh ones; at {label(f.bump)} {known[f.bump]:.0%}, at {many} "
        f"{known[f.many]:.0%}."
    )
    by_D, blank = f.at(f.few, lambda e: e.by_dimensionality), f.blank[f.few]
    rank, rank_blank = f.at(f.few, lambda e: e.loss_correlation), blank.loss_correlation
    second = (
        f"{'Yes' if by_D > max(0.6, blank.by_dimensionality + 0.05) else 'No'}: at {few} D tells "
        f"training examples from fresh ones with a probability of {by_D:.2f} "
        f"({blank.by_dimensionality:.2f} before training), at {many} "
        f"{f.at(f.many, lambda e: e.by_dimensionality):.2f}. Its rank correlation with -loss is "
        f"{rank:.2f} at {few}, {rank_blank:.2f} before training"
        f"{': in itself no evidence' if rank < rank_blank + 0.05 else ''}."
    )
    stored, linear = worth(f, RELU, f.few), worth(f, LINEAR, f.few)
    heights = [f.height(part) for part in (RELU, LINEAR, RAW)]
    needed = stored > 1.5 * linear and heights[0] > 0 >= heights[1]
    low = mean([e.remembered for e in f.linear])
    third = (
        f"{'Yes' if needed else 'Not clearly'}: at {few} {stored:.1f} examples' worth is stored, "
        f"by a linear model {linear:.1f}; the rise of test loss with T is {heights[0]:+.2%}, "
        f"of a linear model {heights[1]:+.2%}, without normalisation {heights[2]:+.2%}; the loss "
        f"of shuffled training examples is {f.at(f.few, lambda e: e.moved):.2f} of the way from "
        f"train to test loss."
    )
    if low >= 0.5:
        third += (
            f" But the linear model remembers {low:.0%} of so few examples, too: a lower loss on "
            f"them alone is no sign of superposition."
        )
    data, init = (finite(rises(f.results[part])) for part in (DATA, INIT))
    both = np.concatenate((data, init))
    spreads = [share(spread(found), mean(found)) for found in (data, init)]
    clear, total = int(np.sum(both > CLEAR)), len(both)
    start = "Yes" if clear == total > 0 else "Mostly" if clear > 0.75 * total else "No"
    fourth = (
        f"{start}: test loss rises by more than "
        f"{CLEAR:g} in {clear} of {total} curves, by {mean(data):.4f} ± {spread(data):.4f} "
        f"over data sets, and {mean(init):.4f} ± {spread(init):.4f} over initialisations of "
        f"one data set."
    )
    if max(spreads) > 0.25:
        fourth += " By how much it rises is not reproducible: one run says little of it."
    return [first, second, third, fourth]


def label(T: float) -> str:
    """``T = 1,000``."""
    return f"T = {int(T):,}"


def tables(measured: Measured, scale: str) -> list[Table]:
    """The verdicts, then the curves: examples, models and seeds over T."""
    results, f = measured
    columns = ["question", "quantity", "T", "value", "if_no", "verdict"]
    rows: list[Cells] = []
    if f is not None:
        for number, rows_of in enumerate((memorises, shows, needs, repeats), 1):
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
    rows: list[Cells] = [
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
    rows: list[Cells] = [
        (t, *(mean(curve[t]) if t in curve else math.nan for curve in curves.values())) for t in T
    ]
    heading = "Losses of the models, as shares of that of the zero predictor; means over the seeds."
    return Table("controls-models", columns, rows, heading, {"T": ".12g"})


def model_curves(f: Found) -> Iterator[tuple[str, dict[float, Floats]]]:
    """Name and values of the losses of every model, as shares of that of the zero predictor."""
    for part, name in ((RELU, "relu"), (LINEAR, "linear"), (RAW, "unnormalised")):
        result = f.results[part]
        zero = zero_loss(result.configs[0])
        for kind in ("train", "test"):
            curve = by_T(result, f"{kind}_loss")
            yield f"{name}_{kind}", {T: values / zero for T, values in curve.items()}
    zero = zero_loss(f.results[LINEAR].configs[0])
    for kind in ("train", "test"):
        values: dict[float, list[float]] = {}
        for o in f.optimum:
            values.setdefault(o.T, []).append(getattr(o, kind) / zero)
        yield f"optimum_{kind}", {T: np.array(v) for T, v in values.items()}


def by_seed(f: Found) -> Table:
    """Test loss over T by data sets and by initialisations."""
    rows: list[Cells] = []
    curves = [by_T(f.results[part], "test_loss") for part in (DATA, INIT)]
    for T in sorted({T for curve in curves for T in curve}):
        of_T = [curve.get(T, np.zeros(0)) for curve in curves]
        numbers = [number for values in of_T for number in (mean(values), spread(values))]
        rows.append((T, *numbers))
    heading = (
        "Test loss over T: mean and standard deviation over data sets with one initialisation, and "
        "over\ninitialisations with one data set."
    )
    columns = ["T", "mean_of_data", "spread_of_data", "mean_of_inits", "spread_of_inits"]
    return Table("controls-seeds", columns, rows, heading, {"T": ".12g"})


# -------------------------------------------------------------------------------- the page


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
        for name in ("relu", "linear", "optimum", "unnormalised")
    }
    test = [
        Line("ReLU", "examples", excess["relu"]),
        Line("ReLU, not normalised", "third", excess["unnormalised"]),
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
    """Test loss of all data sets, of all initialisations, and their spread."""
    from toysup.paper.controls.page import Line, Panel

    data, init = (by_T(f.results[part], "test_loss") for part in (DATA, INIT))
    relu = f.results[RELU]
    apart = [
        Line(
            name,
            look,
            {T: np.array([spread(v)]) for T, v in curve.items() if np.isfinite(spread(v))},
        )
        for name, look, curve in (("data sets", "third", data), ("initialisations", "other", init))
    ]
    height = f.height(RELU) * zero_loss(relu.configs[0])
    every = np.concatenate([*data.values(), *init.values(), np.array([1.0])])
    low, high = np.nanmin(every), np.nanmax(every)
    ends = (low - 0.05 * (high - low) - 1e-4, high + 0.05 * (high - low) + 1e-4)
    return [
        Panel("Data sets, one initialisation", "test loss",
              [Line("mean; dots are runs", "third", data, dots=True)], level=1.0, ylim=ends),
        Panel("Initialisations, one data set", "test loss",
              [Line("mean; dots are runs", "other", init, dots=True)], level=1.0, ylim=ends),
        Panel("Spread (dotted: height of the rise)", "standard deviation", apart,
              yscale="log", level=height if height > 0 else None),
    ]  # fmt: skip


def see(measured: Measured, scale: str) -> str:
    """The four answers."""
    _, f = measured
    if f is None:
        return NOTHING
    parts = zip(QUESTIONS, answers(f), strict=True)
    return "In controls.png:\n" + "\n".join(f"{question} {answer}" for question, answer in parts)


CONTROLS = Preset(
    name="controls",
    title="four questions of a reader: memorisation, its measure, other explanations, seeds",
    scales={"small": SMALL, "paper": PAPER},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
