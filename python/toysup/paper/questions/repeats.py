"""Repeated examples: when one example gets a direction of its own.

Asked: a model that has learnt features is shown one of its T examples R times. From which R on does
it store that example, as it stores all of them when T is small, and what does that cost a feature?

Trained: m = 2, T where the transition to features is and beyond, and in every run example 0 occurs
R times in all. One run a pair (T, R) and seed, not several repeated examples in one run: in the
plane a stored example takes the place of one of five features, so two of them would compete with
each other, and whether one is stored would tell how often the other one occurs.

Measured: an example counts as memorized if its dimensionality is at least ten times m / T, the
share that each of T examples would have if all were alike, and if it loses at most half as much as
the others do on average: an example that consists of a stored feature for the most part meets the
first condition, too, but hardly the second. Copies of an example count once among the hidden
vectors. A near miss is an example whose dimensionality is large enough at a snapshot, and not at
the end. A feature is learnt where its dimensionality is 0.1 or more, and forgotten if that was so
at a snapshot after the warm-up and is not at the end. What an example costs is the largest fall of
a feature's dimensionality, from the run of the same data set in which the example occurs least.

Expected (a comment on the paper, one example of T = 30,000 with n = 10,000): 2 or 3 times do
nothing; 5 times give it a direction and suppress a feature; in the (T, R) map the boundary follows
R = 0.4 T / n; some examples are memorized and then dropped, and at T = 10,000 features are learnt
and forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.config import TrainConfig
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results
from toysup.regime import example_loss

__all__ = ["REPEATS"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def repeated(*counts: int) -> list[tuple[tuple[int, int], ...]]:
    """The axis ``repeats`` with example 0 so many times; 1 is no repetition."""
    return [((0, R),) if R > 1 else () for R in counts]


# One tenth of the paper's scale, as in figure 3.
SMALL = {
    "n": 1_000,
    "sparsity": 0.99,
    "eps": 1e-6,
    "m": 2,
    "T": (500, 1_000, 2_000, 3_000),
    "repeats": repeated(1, 2, 3, 4, 5, 8),
    "seed": range(3),
    "steps": 12_500,
    "learning_rate": 4e-3,
    "test_size": 20_000,
    "record": 16,
    "snapshots": 40,
}
PAPER = {
    "m": 2,
    "T": (10_000, 30_000),
    "repeats": repeated(1, 2, 3, 5, 10, 20),
    "seed": range(1),
    "snapshots": 60,
}

# From how many times m / T on, and up to which part of the others' loss, an example is memorized.
SHARE = 10.0
PART = 0.5
# A feature of this dimensionality is learnt.
LEARNT = 0.1
# The boundary of the comment, R = SLOPE T / n.
SLOPE = 0.4
# The T / n of the comment's example, whose runs are drawn.
DRAWN = 3.0


@dataclass(frozen=True)
class Reading:
    """What became of a repeated example.

    Attributes
    ----------
    config : TrainConfig
        Of the run.
    t, R : int
        The example's number, and how often it occurs.
    dimensionality, loss : float
        Of the example at the end; the loss is summed over features.
    others : float
        Mean loss of the examples that are not repeated.
    features : array of shape (n,)
        Dimensionality of every feature at the end.
    forgotten : int
        Features that were learnt at a snapshot after the warm-up and are not at the end.
    steps, course : array
        Steps of the snapshots, and the example's dimensionality at each.
    memorized, near_miss : bool
        See the description of the preset.
    """

    config: TrainConfig
    t: int
    R: int
    dimensionality: float
    loss: float
    others: float
    test_loss: float
    features: Floats
    forgotten: int
    steps: npt.NDArray[np.int64]
    course: Floats
    memorized: bool
    near_miss: bool


Measured = tuple[SweepResult, Sequence[Reading]]


def measure(results: Results) -> Measured:
    """What became of the repeated examples, beside the sweep."""
    return results["repeats"], readings(results["repeats"])


def readings(result: SweepResult) -> list[Reading]:
    """Every repeated example of every finished run; where none is repeated, those of other runs."""
    repeated = sorted({t for config in result.configs for t, _ in config.repeats}) or [0]
    return [
        reading
        for run in _runs.finished(result)
        for reading in read(run, run.config.repeats or [(t, 1) for t in repeated])
    ]


def read(run: Run, repeats: Sequence[tuple[int, int]]) -> Iterator[Reading]:
    """The reading of each of these examples (t, R) of a run with snapshots."""
    T, m = int(run.config.T), run.config.m
    steps = run.snapshots["step"].to_numpy()
    chosen = [t for t, _ in repeats]
    shares, learnt = over_snapshots(run, chosen)
    late = learnt[steps >= run.config.warmup_steps]
    loss = example_loss(run)[:T]
    others = float(np.delete(loss, chosen).mean())
    large = shares >= SHARE * m / T
    for k, (t, R) in enumerate(repeats):
        yield Reading(
            config=run.config,
            t=t,
            R=R,
            dimensionality=float(shares[-1, k]),
            loss=float(loss[t]),
            others=others,
            test_loss=run.test_loss,
            features=run.feature_dimensionality(),
            forgotten=int((late.any(axis=0) & ~learnt[-1]).sum()),
            steps=steps,
            course=shares[:, k],
            memorized=bool(large[-1, k] and loss[t] <= PART * others),
            near_miss=bool(large[:, k].any() and not large[-1, k]),
        )


def over_snapshots(run: Run, chosen: Sequence[int]) -> tuple[Floats, Flags]:
    """Dimensionalities of these examples, and which features are learnt, at each snapshot.

    Of shapes (snapshots, examples) and (snapshots, n).
    """
    X, T = run.training_set(), int(run.config.T)
    shares, learnt = [], []
    for W in run.snapshots["W"].to_numpy():
        # The first T rows are the distinct examples.
        hidden = X.dot(W.T.astype(np.float64))[:T]
        shares.append(metrics.dimensionality(hidden)[chosen])
        learnt.append(metrics.dimensionality(W.T) >= LEARNT)
    return np.array(shares), np.array(learnt)


def falls(found: Sequence[Reading]) -> list[float]:
    """By how much a feature's dimensionality falls at most, for each reading.

    From the run of the same data set in which the example occurs least; NaN for that run.
    """
    least: dict[tuple[float, int, int], Reading] = {}
    for reading in sorted(found, key=lambda r: r.R):
        least.setdefault((reading.config.T, reading.config.seed, reading.t), reading)
    bases = [least[reading.config.T, reading.config.seed, reading.t] for reading in found]
    return [
        math.nan if base is reading else float(np.max(base.features - reading.features))
        for base, reading in zip(bases, found, strict=True)
    ]


@dataclass(frozen=True)
class Boundary:
    """From where on an example is memorized.

    Attributes
    ----------
    T, n, seed : int
        Of the runs.
    R : float
        The geometric mean of the smallest R that is memorized and of the largest one tested below
        it; NaN if all or none are memorized.
    low, high : int or None
        These two.
    """

    T: int
    n: int
    seed: int
    low: int | None
    high: int | None

    @property
    def R(self) -> float:
        return math.sqrt(self.low * self.high) if self.low and self.high else math.nan


def boundaries(found: Sequence[Reading]) -> list[Boundary]:
    """The boundary at every T and seed, by rising T."""
    lines: dict[tuple[int, int, int], list[Reading]] = {}
    for reading in found:
        config = reading.config
        lines.setdefault((int(config.T), config.n, config.seed), []).append(reading)
    made = []
    for key, line in sorted(lines.items(), key=lambda item: item[0]):
        high = min((reading.R for reading in line if reading.memorized), default=None)
        below = [reading.R for reading in line if high is None or reading.R < high]
        made.append(Boundary(*key, max(below, default=None), high))
    return made


def fit(found: Sequence[Boundary]) -> tuple[float, float]:
    """(c, p) of R = c (T / n)^p, by least squares of logarithms; NaN with fewer than two T."""
    known = [boundary for boundary in found if math.isfinite(boundary.R)]
    if len({boundary.T for boundary in known}) < 2:
        return math.nan, math.nan
    x = np.log([boundary.T / boundary.n for boundary in known])
    p, log_c = np.polyfit(x, np.log([boundary.R for boundary in known]), 1)
    return math.exp(log_c), float(p)


def law(c: float, p: float) -> str:
    """The fit in words, if there is one."""
    return f"Fit: R = {c:.2f} (T/n)^{p:.2f}" if math.isfinite(c) else ""


def tables(measured: Measured, scale: str) -> list[Table]:
    """Every repeated example, and the boundary of each T."""
    result, unsorted = measured
    found = sorted(unsorted, key=lambda r: (r.config.T, r.R, r.config.seed, r.t))
    rows: list[tuple[Value, ...]] = [
        (
            int(reading.config.T),
            reading.R,
            reading.config.seed,
            reading.dimensionality,
            float(reading.course.max()),
            reading.loss,
            reading.others,
            "memorized" if reading.memorized else "near miss" if reading.near_miss else "",
            int(np.count_nonzero(reading.features >= LEARNT)),
            reading.forgotten,
            fall,
            reading.test_loss,
        )
        for reading, fall in zip(found, falls(found), strict=True)
    ]
    columns = [
        "T",
        "R",
        "seed",
        "dimensionality",
        "largest",
        "loss",
        "others_loss",
        "outcome",
        "features",
        "forgotten",
        "largest_fall",
        "test_loss",
    ]
    heading = (
        f"One example of T that occurs R times, at the {scale} scale: "
        f"{_recipe.recipe(result)}.\n"
        f"Memorized: dimensionality of {SHARE:g} m / T or more, and a loss of at most {PART:g} "
        f"times that of the others.\nA near miss has a dimensionality as large as that at a "
        f"snapshot only; largest is the highest at a snapshot.\nForgotten features were learnt "
        f"(dimensionality of {LEARNT:g} or more) at a snapshot after the warm-up only.\n"
        f"The largest fall is that of a feature's dimensionality, from the run with the smallest R."
    )
    return [Table("repeats", columns, rows, heading), boundary_table(boundaries(found))]


def boundary_table(found: Sequence[Boundary]) -> Table:
    """The boundary of each T and seed, beside the fit and the comment's line."""
    c, p = fit(found)
    rows: list[tuple[Value, ...]] = [
        (
            boundary.T,
            boundary.T / boundary.n,
            boundary.seed,
            boundary.low,
            boundary.high,
            boundary.R,
            c * (boundary.T / boundary.n) ** p,
            SLOPE * boundary.T / boundary.n,
        )
        for boundary in found
    ]
    heading = (
        "Where an example is memorized: from the smallest R that is, and the largest below it.\n"
        f"{law(c, p) or 'Too few for a fit'}; the comment's line: R = {SLOPE:g} T/n."
    )
    columns = ["T", "T/n", "seed", "not_at_R", "from_R", "boundary", "fit", "comment"]
    formats = dict.fromkeys(columns[1:], ".3g")
    return Table("repeats-boundary", columns, rows, heading, formats)


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The map and histories; then, of the T nearest to the comment's, vectors and both kinds."""
    from toysup.paper.questions.repeats_drawing import Curve, repeated_histories, repeated_vectors
    from toysup.plot._parts.style import label_T
    from toysup.plot._steps.evolution import evolution

    result, found = measured
    if not found:
        return
    yield "repeats-map", draw_map(found)
    curves = [Curve(int(r.config.T), r.R, r.steps, r.course, r.near_miss) for r in found]
    limits = {int(r.config.T): SHARE * r.config.m / r.config.T for r in found}
    yield "repeats-histories", repeated_histories(curves, limits)
    pair = drawn_pair(found)
    if pair:
        runs = [run_of(result, reading.config) for reading in pair]
        titles = [f"{label_T(r.config.T)}, R = {r.R}" for r in pair]
        yield "repeats-vectors", repeated_vectors(runs, [reading.t for reading in pair], titles)
        yield "repeats-evolution", evolution(runs[1])


def run_of(result: SweepResult, config: TrainConfig) -> Run:
    """The run of a config."""
    return result.run(**{name: getattr(config, name) for name in result.dims})


def draw_map(found: Sequence[Reading]) -> Any:
    """Dimensionality and loss over T and R, with the boundaries as lines."""
    from toysup.paper.questions.repeats_drawing import repeated_map

    T = sorted({int(reading.config.T) for reading in found})
    R = sorted({reading.R for reading in found})
    shares, losses = np.full((2, len(R), len(T)), np.nan)
    texts = [[""] * len(T) for _ in R]
    for i, j in np.ndindex(len(R), len(T)):
        cell = [r for r in found if (r.R, r.config.T) == (R[i], T[j])]
        if cell:
            shares[i, j] = np.mean([reading.dimensionality for reading in cell])
            losses[i, j] = np.mean([reading.loss for reading in cell])
            texts[i][j] = f"{sum(reading.memorized for reading in cell)}/{len(cell)}"
    n = found[0].config.n
    x = np.geomspace(T[0] / 2, T[-1] * 2, 50)
    lines = [(f"comment: R = {SLOPE:g} T/n", x, SLOPE * x / n, ":")]
    c, p = fit(boundaries(found))
    if math.isfinite(c):
        lines.append((f"fit: R = {c:.2g} (T/n)$^{{{p:.2f}}}$", x, c * (x / n) ** p, "-"))
    return repeated_map(T, R, shares, losses, texts, lines)


def drawn_config(found: Sequence[Reading]) -> TrainConfig:
    """A config of the T that is nearest to the comment's."""
    return min((r.config for r in found), key=lambda c: abs(math.log(c.T / c.n / DRAWN)))


def drawn_pair(found: Sequence[Reading]) -> list[Reading]:
    """Of the T that is drawn: an example that occurs least, and the same one just memorized."""
    T = drawn_config(found).T
    memorized = [r for r in found if r.config.T == T and r.memorized]
    for with_it in sorted(memorized, key=lambda r: r.R):
        same = (with_it.config.T, with_it.config.seed, with_it.t)
        others = [r for r in found if (r.config.T, r.config.seed, r.t) == same and not r.memorized]
        if others:
            return [min(others, key=lambda r: r.R), with_it]
    return []


def see(measured: Measured, scale: str) -> str:
    """From which R on examples are memorized, what that costs, and how many near misses."""
    _, found = measured
    if not found:
        return _runs.NOTHING
    limits = boundaries(found)
    parts = []
    for T in sorted({boundary.T for boundary in limits}):
        first = [b.high for b in limits if b.T == T and b.high is not None]
        if first:
            low, high = min(first), max(first)
            parts.append(f"from R = {low if low == high else f'{low} to {high}'} on at T = {T:,}")
    where = f"the example is memorized {', '.join(parts)}" if parts else "none is memorized"
    pair = drawn_pair(found)
    cost = ""
    if pair:
        cost = (
            f" At T = {pair[0].config.T:,} a feature's dimensionality falls by "
            f"{falls(pair)[1]:.2f} from R = {pair[0].R} to R = {pair[1].R}."
        )
    fitted = f" {law(*fit(limits))}." if law(*fit(limits)) else ""
    near = sum(reading.near_miss for reading in found)
    return (
        f"In repeats-map.png: {where}.{fitted}{cost} Near misses: {near} of {len(found)} examples."
    )


REPEATS = Preset(
    name="repeats",
    title="one example repeated: when it is memorized, over T and R",
    scales={"small": {"repeats": SMALL}, "paper": {"repeats": PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
