"""Memorization scores: which of the measures know what a model would not know without an example.

Asked: Feldman and Zhang (2020) define how much a training remembers an example by leaving it out,

    mem(t) = E[loss of t | t left out] - E[loss of t | t in the training set],

over many trainings on random halves of the data. Is that what the measures of one run tell: the
dimensionality of an example, its gain, and what :func:`toysup.regime.classify` calls it? And are
examples either remembered or not, or is it a matter of degree, as T passes the ridge of test loss?

Trained: first the usual runs at several T, for their test loss. Then, for each T, a data set of 2 T
examples of the stream, many times on a random half of it, each time with another initial W.

Measured: the score of each example, with its standard error; how well the scores from the odd runs
agree with those from the even ones (rank correlation), which is about the most that a measure can
reach. Then some runs are asked: over the training examples of one, the rank correlation of each
measure with the score by the runs that are not asked, and the AUC for telling the upper half of the
scores; and the same for the mean of a measure over the runs that had the example. Five controls
need no training: both dimensionalities, the length of the hidden vector and the loss of the example
before the first update, and its number of non-zeros.

Whether the histogram of scores has two humps is asked in two ways. Sarle's coefficient,
(skewness^2 + 1) / kurtosis, is 5/9 for a uniform distribution and 1 for two points; its interval,
95 %, is over drawn examples. A skewed histogram of one hump passes 5/9, too, so Silverman's test
(1981) is made as well: how often examples that are drawn from the narrowest smoothed histogram with
one hump have more than one at that width. Below 0.05 there are two humps or more; the second may be
a few outliers, so the share of examples in the smaller of two is given beside it.

Expected: all of few examples are remembered, and none of many. In between the gain should tell
best, since it is made of the loss itself; the dimensionality only where it does more than in the
untrained model.

Part "memorization" holds the first runs, and each further part those on halves of 2 T examples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import metrics, regime
from toysup._means import nan_mean
from toysup._run.run import Run
from toysup._run.train import train
from toysup._stream.batch import SparseBatch, take
from toysup._stream.dataset import Dataset, find
from toysup._stream.rows import order
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.config import TrainConfig
from toysup.data import sample
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN
from toysup.paper._statistics import auc, bimodality, one_hump, rank_correlation

__all__ = [
    *("MEMORIZATION", "Measured", "Scores", "drawings", "measured_of", "on_halves", "scores"),
    *("see", "tables"),
]

PART = "memorization"
# Trainings on halves, at each T.
HALVES = {"small": 100, "paper": 500}
# Runs that are asked what they remember.
_ASKED = 20
# A score above this counts as remembered (Feldman and Zhang's threshold).
REMEMBERED = 0.25

# The distance that the weights can move, steps times learning rate, is that of the usual stand-in.
# The paper's scale has the same n, since each T takes hundreds of runs. Its steps are finer.
PAPER = {
    **STAND_IN,
    "m": 2,
    "T": (10, 30, 100, 300, 1_000),
    "seed": range(4),
    "test_size": 20_000,
    "record": 1,
}
SMALL = {**PAPER, "steps": 2_500, "learning_rate": 2e-2, "seed": range(3)}

# What a measure of one run is called, and whether a large value says that an example is remembered.
MEASURES = {
    "dimensionality": "dimensionality D",
    "maximal": "maximal dimensionality D*",
    "gain": "gain of the example",
    "loss": "−train loss of the example",
    "stored": "stored by itself or in a cluster",
    "length": "length of the hidden vector",
    "untrained_dimensionality": "D, untrained",
    "untrained_maximal": "D*, untrained",
    "untrained_length": "length, untrained",
    "untrained_loss": "−loss, untrained",
    "nonzeros": "number of non-zeros",
}
CONTROLS = tuple(name for name in MEASURES if name.startswith("untrained") or name == "nonzeros")

Floats = npt.NDArray[np.float64]


def pool(config: TrainConfig) -> Dataset:
    """The first 2 T examples of the stream of seed 0 that are not empty."""
    T = int(config.T)
    more = sample(config.n, 2 * T + 100, config.sparsity, 0, normalize=config.normalize)
    filled = np.flatnonzero(np.diff(more.indptr) > 0)[: 2 * T]
    return Dataset(take(more, filled), normalize=config.normalize, name=f"{2 * T} examples")


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """The sweeps on random halves, one for each finite T."""
    return on_halves(PART, results[PART], pool, scale)


def on_halves(
    part: str, first: SweepResult, pool_of: Callable[[TrainConfig], Dataset], scale: str
) -> dict[str, dict[str, Any]]:
    """The sweeps on random halves of pools of 2 T examples, one for each finite T of the first."""
    one = {int(config.T): config for config in first.configs if config.T != math.inf}
    fields = {T: _recipe.on_data(config, pool_of(config)) for T, config in one.items()}
    return {f"{part}-{T}": {**f, "T": T, "seed": range(HALVES[scale])} for T, f in fields.items()}


@dataclass(frozen=True)
class Scores:
    """How much each of 2 T examples is remembered.

    Attributes
    ----------
    T : int
        Examples of a half.
    inside : bool array of shape (runs, 2 T)
        Which examples each run was trained on.
    losses : array of shape (runs, 2 T)
        Loss of every example in every run.
    score, error : arrays of shape (2 T,)
        mem(t), and its standard error. NaN for an example that fewer than two runs left out or had.
    reliability : float
        The rank correlation of the scores by the even runs with those by the odd ones.
    measures : dict of str to array of shape (2, asked)
        By measure, the rank correlation and the AUC in each run that was asked.
    means : dict of str to float
        By measure, the rank correlation of its mean over the runs that were asked.
    labels : dict of str to pair of float
        By class of :func:`toysup.regime.classify`, its share of the training examples of the runs
        that were asked, and the mean score of those.
    train_loss, test_loss, usual : float
        Means over the runs: of the examples in the half, of those out of it, and the test loss of
        the usual runs of that T.
    """

    T: int
    inside: npt.NDArray[np.bool_]
    losses: Floats
    score: Floats
    error: Floats
    reliability: float
    measures: dict[str, Floats]
    means: dict[str, float]
    labels: dict[str, tuple[float, float]]
    train_loss: float
    test_loss: float
    usual: float

    @functools.cached_property
    def known(self) -> Floats:
        """The scores that are numbers."""
        return _runs.finite(self.score)

    @functools.cached_property
    def shape(self) -> tuple[float, float, float]:
        """Sarle's coefficient of the scores, and its interval."""
        return bimodality(self.known)

    @functools.cached_property
    def humps(self) -> tuple[float, float]:
        """The p of one hump, and the share of the scores in the smaller of two."""
        return one_hump(self.known)


def score_of(inside: npt.NDArray[np.bool_], losses: Floats) -> tuple[Floats, Floats]:
    """mem(t) of each example, and its standard error."""
    means, errors = [], []
    for which in (~inside, inside):
        count = which.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(which, losses, 0.0).sum(axis=0) / count
            square = np.where(which, (losses - mean) ** 2, 0.0).sum(axis=0) / (count - 1)
            means.append(np.where(count > 1, mean, np.nan))
            errors.append(np.where(count > 1, square / count, np.nan))
    return means[0] - means[1], np.sqrt(errors[0] + errors[1])


def scores(result: SweepResult, usual: float) -> Scores:
    """The scores of the examples that a sweep was trained on halves of."""
    runs = _runs.finished(result)
    data = find(runs[0].config.data)  # type: ignore[arg-type]
    rows = [order(run.config.seed, len(data))[: int(run.config.T)] for run in runs]
    inside = np.zeros((len(runs), len(data)), dtype=np.bool_)
    for which, own in zip(inside, rows, strict=True):
        which[own] = True
    losses = np.array([regime.example_loss(run, data.X) for run in runs])
    score, error = score_of(inside, losses)
    even, odd = (score_of(inside[i::2], losses[i::2])[0] for i in (0, 1))
    asked = min(_ASKED, len(runs) // 2)
    truth, _ = score_of(inside[asked:], losses[asked:])
    told = {name: np.full((asked, len(data)), np.nan) for name in MEASURES}
    labels: dict[str, list[Floats]] = {name: [] for name in regime.CLASSES}
    for i, (run, own) in enumerate(zip(runs[:asked], rows, strict=False)):
        label = regime.classify(run, fresh=1, retrieve=1).label
        for name, values in measures_of(run, take(data.X, own), label).items():
            told[name][i, own] = values
        for name, some in labels.items():
            some.append(truth[own][label == name])
    flat = {name: np.concatenate(some) for name, some in labels.items()}
    return Scores(
        T=int(runs[0].config.T),
        inside=inside,
        losses=losses,
        score=score,
        error=error,
        reliability=_agreement(even, odd)[0],
        measures={
            name: np.array([_agreement(one, truth) for one in values]).T
            for name, values in told.items()
        },
        means={name: _agreement(nan_mean(values.T), truth)[0] for name, values in told.items()},
        labels={
            name: (len(some) / (asked * len(rows[0])), _runs.mean(some))
            for name, some in flat.items()
        },
        train_loss=_runs.mean(losses[inside]),
        test_loss=_runs.mean(losses[~inside]),
        usual=usual,
    )


def measures_of(run: Run, X: SparseBatch, label: npt.NDArray[np.str_]) -> dict[str, Floats]:
    """The measures of the training examples X of a run, the larger the more remembered."""
    start = train(run.config, steps=0, warmup=0.0, test_size=0, progress=False)
    hidden = run.hidden(X)
    return {
        "dimensionality": metrics.dimensionality(hidden),
        "maximal": metrics.maximal_dimensionality(hidden),
        "gain": regime.example_gain(run, X),
        "loss": -regime.example_loss(run, X),
        "stored": np.isin(label, ("single", "partial", "cluster")).astype(np.float64),
        "length": np.linalg.norm(hidden, axis=1),
        "untrained_dimensionality": metrics.dimensionality(start.hidden(X)),
        "untrained_maximal": metrics.maximal_dimensionality(start.hidden(X)),
        "untrained_length": np.linalg.norm(start.hidden(X), axis=1),
        "untrained_loss": -regime.example_loss(start, X),
        "nonzeros": np.diff(X.indptr).astype(np.float64),
    }


def _agreement(found: Floats, truth: Floats) -> tuple[float, float]:
    """The rank correlation and the AUC for the upper half, where both are known."""
    known = np.isfinite(found) & np.isfinite(truth)
    x, y = found[known], truth[known]
    if y.size < 2:
        return math.nan, math.nan
    return rank_correlation(x, y), auc(x, y > np.median(y))


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes
    ----------
    part : str
        What the tables and the drawing are called.
    recipe : str
        What all runs have in common.
    scores : list of Scores
        Those of each T that has three finished runs on halves or more, by rising T.
    """

    part: str
    recipe: str
    scores: list[Scores]


def measure(results: Results) -> Measured:
    """The scores of each T, beside the usual runs."""
    return measured_of(PART, results, PART, _recipe.recipe(results[PART]))


def measured_of(part: str, results: Results, usual: str, recipe: str) -> Measured:
    """The scores by the sweeps that :func:`on_halves` named, beside a sweep of usual runs."""
    losses: dict[float, list[float]] = {}
    for run in _runs.finished(results[usual]):
        losses.setdefault(run.config.T, []).append(run.test_loss)
    halves = [result for name, result in results.items() if name not in (part, usual)]
    found = [
        scores(result, _runs.mean(losses.get(result.configs[0].T, [])))
        for result in halves
        if len(_runs.finished(result)) > 2
    ]
    return Measured(part, recipe, found)


def tables(measured: Measured, scale: str) -> list[Table]:
    """The scores of each T, how well measures tell them, and the labels."""
    part, found = measured.part, measured.scores
    rows: list[tuple[Value, ...]] = []
    for one in found:
        runs, examples = one.inside.shape
        low, median, high = np.quantile(one.known, (0.1, 0.5, 0.9))
        rows.append(
            (
                *(one.T, examples, runs, one.train_loss, one.test_loss, one.usual),
                *(float(low), float(median), float(high)),
                *(float(np.mean(one.known > REMEMBERED)), float(np.nanmedian(one.error))),
                *(one.reliability, *one.shape, *one.humps),
            )
        )
    columns = ["T", "examples", "runs", "loss_in", "loss_out", "test_loss"]
    columns += ["score_10%", "median", "score_90%", "remembered", "error", "reliability"]
    columns += ["bimodality", "low", "high", "p", "beyond"]
    heading = (
        f"Memorization scores of 2 T examples by trainings on random halves at the {scale} scale:\n"
        f"{measured.recipe}. Remembered: scores above {REMEMBERED}; error: the median "
        "standard error of a score;\nreliability: rank correlation of scores by even and by odd "
        "runs. Bimodality (Sarle) is 0.556 for a uniform one,\nwith a 95 % interval; p: of "
        "one hump, by Silverman's test; beyond: the share of scores in the smaller of two."
    )
    short = dict.fromkeys(columns[6:], ".3f")
    told: list[tuple[Value, ...]] = [
        (one.T, name, *(v for x in values for v in _runs.mean_and_spread(x)), one.means[name])
        for one in found
        for name, values in one.measures.items()
    ]
    names = ["T", "measure", "correlation", "correlation_sd", "auc", "auc_sd"]
    names.append("of_mean")
    how = (
        f"How well a measure of one run tells the scores of its training examples, in {_ASKED} "
        "runs at most, by the other\nruns: rank correlation, and AUC for the upper half of the "
        "scores, with standard deviations over the runs.\nOf mean: rank correlation of the mean of "
        "the measure over those runs."
    )
    classes: list[tuple[Value, ...]] = [
        (one.T, name, *pair) for one in found for name, pair in one.labels.items()
    ]
    about = "Shares of the classes of regime.classify in the same runs, and their mean scores."
    return [
        Table(part, columns, rows, heading, short),
        Table(f"{part}-measures", names, told, how, dict.fromkeys(names, ".3f")),
        Table(f"{part}-classes", ["T", "class", "share", "score"], classes, about),
    ]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """Histograms of the scores, and how well the measures tell them."""
    from toysup.paper.questions.memorization_drawing import memorization

    if measured.scores:
        yield measured.part, memorization(measured.scores, MEASURES, CONTROLS)


def see(measured: Measured, scale: str) -> str:
    """Which measure tells best at each T, beside the best control."""
    if not measured.scores:
        return _runs.NOTHING
    parts = []
    for one in measured.scores:
        correlation = {name: _runs.mean(values[0]) for name, values in one.measures.items()}
        trained = [name for name in correlation if name not in CONTROLS]
        best, control = _best(correlation, trained), _best(correlation, CONTROLS)
        parts.append(f"{np.median(one.known):.2f} at T = {one.T:,} ({best}; {control})")
    return (
        f"In {measured.part}.png: the median score, and the rank correlation with it of the best "
        f"measure of one run and of the best control, is {', '.join(parts)}."
    )


def _best(correlation: Mapping[str, float], names: Sequence[str]) -> str:
    """The one of these with the largest correlation of either sign."""
    known = [name for name in names if math.isfinite(correlation[name])]
    name = max(known, key=lambda name: abs(correlation[name]), default="")
    return f"{name.replace('_', ' ')} {correlation[name]:.2f}" if name else "none"


MEMORIZATION = Preset(
    name=PART,
    title="memorization scores by leaving examples out, beside the measures of one run",
    scales={"small": {PART: SMALL}, "paper": {PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
    then=then,
)
