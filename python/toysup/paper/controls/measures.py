"""What the controls measure: examples one by one, and curves over T."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup.config import TrainConfig
from toysup.data import sample
from toysup.paper import _recipe
from toysup.paper._preset import Results
from toysup.paper._runs import finished, mean
from toysup.paper.controls.models import (
    Floats,
    Moved,
    Optimum,
    moved,
    optimum,
    shuffled,
    untrained,
)
from toysup.regime import example_loss, nearest_example

__all__ = [
    "DATA",
    "INIT",
    "LINEAR",
    "RAW",
    "RELU",
    "Examples",
    "Found",
    "Measured",
    "by_T",
    "examples_of",
    "means",
    "measure",
    "membership",
    "rise",
    "rises",
    "spearman",
    "zero_loss",
]

# Values of some runs, by rising T.
Curve = Mapping[float, Floats]

# The sweeps.
RELU, LINEAR, RAW = _recipe.PART, "controls-linear", "controls-unnormalised"
DATA, INIT = "controls-data-seeds", "controls-init-seeds"

# How many fresh examples training examples are compared with, and how many are looked for.
FRESH = 2_000
ASKED = 1_000


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last: Floats = np.cumsum(count) - 0.5 * (count - 1)
    return last[place]


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation of two samples; NaN where one of them does not vary."""
    a, b = (r - r.mean() for r in (ranks(x), ranks(y)))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def membership(inside: Floats, outside: Floats) -> float:
    """The probability that a value inside exceeds one outside, equal ones counting one half.

    That is the area under the curve of the test that tells the two apart by this value, and
    Mann and Whitney's U as a share: 1/2 if it cannot, 1 if it always can.
    """
    count = len(inside)
    total = float(ranks(np.concatenate((inside, outside)))[:count].sum())
    return (total - 0.5 * count * (count + 1)) / (count * len(outside))


@dataclass(frozen=True, eq=False)
class Examples:
    """The training examples of a run, one by one, beside fresh ones.

    Attributes
    ----------
    T, m : int
        Of the run.
    test_loss : float
        That of the run, on its whole test set.
    loss, fresh_loss : array
        :func:`toysup.regime.example_loss` of the T training examples and of fresh ones.
    dimensionality, maximal : array of shape (T,)
        D and D* of the training examples.
    fresh_dimensionality : array
        D that each of the fresh ones would have if it alone joined the training set.
    similarity : array
        Cosine of the reconstruction and the training example that it resembles most, for the first
        1,000 training examples.
    retrieved : bool array
        Whether that is the example itself.
    shuffled_loss : float
        Mean loss of the training examples with their values moved to random other features.
    """

    T: int
    m: int
    test_loss: float
    loss: Floats
    fresh_loss: Floats
    dimensionality: Floats
    maximal: Floats
    fresh_dimensionality: Floats
    similarity: Floats
    retrieved: npt.NDArray[np.bool_]
    shuffled_loss: float

    @property
    def remembered(self) -> float:
        """The share of training examples with a loss below that of 99 % of fresh ones."""
        return float(np.mean(self.loss < np.quantile(self.fresh_loss, 0.01)))

    @property
    def spread(self) -> float:
        """The spread of D, its standard deviation over its mean: 0 for a regular polygon."""
        D = self.dimensionality
        return float(D.std() / D.mean()) if np.any(D > 0) else math.nan

    @property
    def equal(self) -> float:
        """The median of D, in m / T: 1 for a regular polygon."""
        return float(np.median(self.dimensionality)) * self.T / self.m

    @property
    def loss_correlation(self) -> float:
        """The rank correlation of D with the negative loss."""
        return spearman(self.dimensionality, -self.loss)

    @property
    def maximal_correlation(self) -> float:
        """The same of D*."""
        return spearman(self.maximal, -self.loss)

    @property
    def similarity_correlation(self) -> float:
        """The rank correlation of D with how similar the reconstruction is to what it resembles."""
        return spearman(self.dimensionality[: len(self.similarity)], self.similarity)

    @property
    def by_loss(self) -> float:
        """:func:`membership` in the training set, as the loss tells it."""
        return membership(-self.loss, -self.fresh_loss)

    @property
    def by_dimensionality(self) -> float:
        """The same as D tells it."""
        return membership(self.dimensionality, self.fresh_dimensionality)

    @property
    def moved(self) -> float:
        """Where the loss of shuffled examples lies between train loss, 0, and test loss, 1."""
        gap = self.test_loss - float(self.loss.mean())
        return (self.shuffled_loss - float(self.loss.mean())) / gap if gap > 0 else math.nan


def examples_of(run: Run) -> Examples:
    """Measure the examples of a run of finite T."""
    c, X = run.config, run.training_set()
    fresh = sample(c.n, FRESH, c.sparsity, c.seed, normalize=c.normalize, role="test")
    H, F = (run.hidden(some).astype(np.float64) for some in (X, fresh))
    asked = np.arange(min(ASKED, len(X)))
    nearest, similarity = nearest_example(run, X, asked)
    # A few examples are shuffled more than once: their mean alone would be noise.
    again = -(-ASKED // len(X))
    others = [float(example_loss(run, shuffled(X, seed)).mean()) for seed in range(again)]
    return Examples(
        T=int(c.T),
        m=c.m,
        test_loss=run.test_loss,
        loss=example_loss(run, X),
        fresh_loss=example_loss(run, fresh),
        dimensionality=metrics.dimensionality(H),
        maximal=metrics.maximal_dimensionality(H),
        fresh_dimensionality=joining(H, F),
        similarity=similarity,
        retrieved=nearest == asked,
        shuffled_loss=float(np.mean(others)),
    )


def joining(H: Floats, F: Floats) -> Floats:
    """The dimensionality of each row of F if it alone joined the vectors that are the rows of H."""
    own = np.einsum("ik,ik->i", F, F) ** 2
    crowd = np.einsum("ik,kl,il->i", F, H.T @ H, F)
    joined: Floats = np.divide(own, crowd + own, out=np.zeros(len(F)), where=own > 0)
    return joined


def by_T(result: SweepResult, variable: str) -> dict[float, Floats]:
    """A variable of all runs by rising T: NaN for one that has not finished, no T without any."""
    values = result.finished.dataset[variable].transpose("T", ...).to_numpy()
    rows = zip(result.coords["T"], values.reshape(len(values), -1), strict=True)
    return {T: row for T, row in sorted(rows, key=lambda pair: pair[0]) if np.isfinite(row).any()}


def means(curve: Curve) -> dict[float, float]:
    """The mean at each T."""
    return {T: mean(values) for T, values in curve.items()}


def zero_loss(c: TrainConfig) -> float:
    """The loss of x' = 0, E ||x||^2: 1 unless all features are 0, or n times (1 - S) / 3."""
    return 1.0 - c.empty if c.normalize else c.n * c.density / 3.0


def rise(curve: Mapping[float, float], c: TrainConfig) -> tuple[float, float]:
    """The largest increase of test loss with T, as a share of the zero predictor's, and its T.

    Negative for a curve that only falls; NaN for fewer than two T that show a feature 0.3 times.
    """
    found, lowest = (math.nan, math.nan), math.inf
    for T, loss in sorted(curve.items()):
        if T * c.density < 0.3 - 1e-9 or not math.isfinite(loss):
            continue
        height = (loss - lowest) / zero_loss(c)
        if math.isfinite(height) and not height <= found[0]:
            found = (height, T)
        lowest = min(lowest, loss)
    return found


def rises(result: SweepResult) -> Floats:
    """The rise of every seed's curve; NaN where it lacks runs."""
    curve = by_T(result, "test_loss")
    runs = np.array(list(curve.values())).T if curve else np.zeros((0, 0))
    c = result.configs[0]
    return np.array([rise(dict(zip(curve, run, strict=True)), c)[0] for run in runs])


@dataclass(frozen=True, eq=False)
class Found:
    """All measures.

    Attributes
    ----------
    results : Results
        The sweeps.
    examples : dict of T to list of Examples
        Those of every finished run of the paper's recipe.
    blank : dict of T to Examples
        Those of the first seed before training.
    linear : list of Examples
        Those of linear models with few examples.
    optimum : list of Optimum
        For every finished linear run.
    moved : Moved or None
        None without any run.
    few, bump, many : int
        Where the answers are read: T near 30, where test loss has risen most, and the largest T.
    """

    results: Results
    examples: dict[int, list[Examples]]
    blank: dict[int, Examples]
    linear: list[Examples]
    optimum: list[Optimum]
    moved: Moved | None
    few: int
    bump: int
    many: int

    def at(self, T: int, value: Callable[[Examples], float]) -> float:
        """The mean over the runs of a T."""
        return mean([value(e) for e in self.examples[T]])

    def line(self, value: Callable[[Examples], float]) -> dict[float, Floats]:
        """The value of every run, by T."""
        return {T: np.array([value(e) for e in all_of]) for T, all_of in self.examples.items()}

    def before(self, value: Callable[[Examples], float]) -> dict[float, Floats]:
        """The same of the untrained models."""
        return {T: np.array([value(e)]) for T, e in self.blank.items()}

    def places(self) -> list[int]:
        """T of few examples, of the bump and of many, each once."""
        return sorted({self.few, self.bump, self.many})

    def height(self, part: str) -> float:
        """The rise of the mean curve of a part."""
        result = self.results[part]
        return rise(means(by_T(result, "test_loss")), result.configs[0])[0]


Measured = tuple[Results, Found | None]


def measure(results: Results) -> Measured:
    """The sweeps, and all measures; None if no run of the paper's recipe has finished."""
    runs = [run for run in finished(results[RELU]) if run.config.T < math.inf]
    return results, found_in(results, runs) if runs else None


def found_in(results: Results, runs: list[Run]) -> Found:
    """All measures, given the finished runs of the paper's recipe."""
    c = runs[0].config
    examples: dict[int, list[Examples]] = {}
    blank: dict[int, Examples] = {}
    for run in runs:
        T = int(run.config.T)
        examples.setdefault(T, []).append(examples_of(run))
        if T not in blank:
            blank[T] = examples_of(untrained(run.config))
    height, top = rise(means(by_T(results[RELU], "test_loss")), c)
    few, middle = nearest(examples, 30), nearest(examples, 2.0 / c.density)
    linear = [run for run in finished(results[LINEAR]) if run.config.T < math.inf]
    return Found(
        results=results,
        examples=examples,
        blank=blank,
        linear=[examples_of(run) for run in linear if run.config.T == few],
        optimum=[optimum(run) for run in linear],
        moved=moved(next(run for run in runs if run.config.T == few)),
        few=few,
        bump=int(top) if height > 0 else middle,
        many=max(examples),
    )


def nearest(places: Iterable[int], goal: float) -> int:
    """The T that is nearest to one on a logarithmic axis."""
    return min(places, key=lambda T: abs(math.log(T / goal)))


def model_curves(f: Found) -> Iterator[tuple[str, dict[float, Floats]]]:
    """Name and values of the losses of every model, as shares of that of the zero predictor."""
    for part, name in ((RELU, "relu"), (LINEAR, "linear"), (RAW, "unnormalized")):
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
