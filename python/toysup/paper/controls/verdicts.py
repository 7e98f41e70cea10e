"""What the measures say: a verdict on every number, and an answer to each question."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from toysup._sweep.table import Value
from toysup.paper._runs import finite, mean, spread
from toysup.paper.controls.measures import (
    DATA,
    INIT,
    LINEAR,
    RAW,
    RELU,
    Found,
    by_T,
    means,
    rises,
    spearman,
    zero_loss,
)

__all__ = ["QUESTIONS", "Values", "answers", "memorizes", "needs", "repeats", "shows"]

# A rise of test loss that its noise hardly makes. At the bump a few fresh examples have losses of
# 5 and more, so that the mean of 100,000 has a standard error of up to 0.002 at the small scale.
CLEAR = 5e-3

QUESTIONS = (
    "1. Does the set-up memorize?",
    "2. Does the dimensionality show it?",
    "3. Is superposition needed, and is another explanation excluded?",
    "4. Is it reproducible?",
)


Values = tuple[Value, ...]


def said(yes: bool, text: str, *values: float) -> str:
    """A verdict; "unknown" if what it rests on is not there."""
    if not all(math.isfinite(value) for value in values):
        return "unknown: runs are missing"
    return f"{'yes' if yes else 'no'}: {text}"


def share(part: float, whole: float) -> float:
    """Their quotient; NaN by nothing."""
    return part / whole if whole else math.nan


def memorizes(f: Found) -> list[Values]:
    """Question 1."""
    rows: list[Values] = []
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


def shows(f: Found) -> list[Values]:
    """Question 2."""
    rows: list[Values] = []
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


def needs(f: Found) -> list[Values]:
    """Question 3."""
    rows: list[Values] = []
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
    for part, name in ((RELU, "ReLU"), (LINEAR, "linear"), (RAW, "not normalized")):
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


def repeats(f: Found) -> list[Values]:
    """Question 4."""
    rows: list[Values] = []
    height = f.height(RELU) * zero_loss(f.results[RELU].configs[0])
    for part, name in ((DATA, "data sets"), (INIT, "initializations")):
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
        f"of a linear model {heights[1]:+.2%}, without normalization {heights[2]:+.2%}; the loss "
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
        f"{CLEAR:g} in {clear} of {total} curves, by {_about(data)} over data sets, and "
        f"{_about(init)} over initializations of one data set."
    )
    if max(spreads) > 0.25:
        fourth += " By how much it rises is not reproducible: one run says little of it."
    return [first, second, third, fourth]


def _about(values: npt.NDArray[np.float64]) -> str:
    """Mean and spread; of one value there is no spread."""
    return f"{mean(values):.4f}" + (f" ± {spread(values):.4f}" if len(values) > 1 else "")


def label(T: float) -> str:
    """``T = 1,000``."""
    return f"T = {int(T):,}"
