"""What the controls measure: examples one by one, curves over T, and models to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._backends.reference.model import Optimizer, learning_rate
from toysup._run.train import Run, loss_and_grad, train
from toysup._stream.batch import SparseBatch, transposed
from toysup._sweep.result import SweepResult
from toysup.config import TrainConfig
from toysup.data import sample
from toysup.paper import _recipe
from toysup.paper._preset import Results
from toysup.paper._runs import finished, mean
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
    "linear_optimum",
    "look",
    "means",
    "measure",
    "membership",
    "rise",
    "rises",
    "shuffled",
    "spearman",
    "train_on",
    "untrained",
    "weights_as_run",
    "zero_loss",
]

Floats = npt.NDArray[np.float64]
# Values of some runs, by rising T.
Curve = Mapping[float, Floats]

# The sweeps.
RELU, LINEAR, RAW = _recipe.PART, "controls-linear", "controls-unnormalised"
DATA, INIT = "controls-data-seeds", "controls-init-seeds"

# How many fresh examples training examples are compared with, and how many are looked for.
FRESH = 2_000
ASKED = 1_000


# ----------------------------------------------------------------------------------- ranks


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


# ------------------------------------------------------------------------------- one by one


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


def look(run: Run) -> Examples:
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


def shuffled(X: SparseBatch, seed: int) -> SparseBatch:
    """The same examples after a random permutation of the n positions, another for each example.

    Values and norms stay; which features an example has does not.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    indices, values = np.empty_like(X.indices), np.empty_like(X.values)
    for low, high in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        places = rng.choice(X.n, size=high - low, replace=False)
        order = np.argsort(places)
        indices[low:high], values[low:high] = places[order], X.values[low:high][order]
    return SparseBatch(X.indptr, indices, values, X.n)


# ---------------------------------------------------------------------------- other models


def weights_as_run(config: TrainConfig, W: Floats, b: Floats) -> Run:
    """A run without updates that has these weights, in double precision, and their losses."""
    return train(config, init=(W, b), steps=0, warmup=0.0, dtype="float64", progress=False)


def untrained(config: TrainConfig) -> Run:
    """The same run before its first update."""
    return train(config, steps=0, warmup=0.0, test_size=0, progress=False)


def train_on(config: TrainConfig, X: SparseBatch) -> Run:
    """Train as a config says, but on these examples.

    It takes the gradients of the backend in use and the reference's optimizer, update by update.
    The train loss of the run is that of the config's own examples, which it has not seen.
    """
    start = untrained(config)
    W, b = start.W.copy(), start.b.copy()
    optimizer = Optimizer(config, (W, b))
    kind = {"reduction": config.loss_reduction, "activation": config.activation}
    for step in range(config.steps):
        _, *gradient = loss_and_grad(W, b, X, importance=config.importances(), **kind)
        optimizer.step(learning_rate(config, step), gradient)
    return weights_as_run(config, W.astype(np.float64), b.astype(np.float64))


def linear_optimum(X: SparseBatch, m: int) -> tuple[Floats, Floats]:
    r"""W and b of the linear model x' = W^T W x + b of lowest loss on X, for importance 1.

    For A = W^T W the best b is (1 - A) mu, mu the mean of the examples; then

    .. math:: L = \mathrm{tr}\,(1 - A)\, C\, (1 - A)^T

    with the covariance C, divided by T. No A of rank m, tied or not, has less than the sum of all
    eigenvalues of C but the m largest (Eckart and Young 1936), which the projector on their
    eigenvectors has; and that is W^T W for the eigenvectors as the rows of W. So tying costs
    nothing, and the optimum is the principal component analysis of centred data.

    Only products C V are made, in O(non-zeros) each: Krylov spaces of a block of vectors, restarted
    from the best of them, until C w = lambda w holds to 1e-5. The block is wider than m, so equal
    eigenvalues, which examples without common features have, are all found.

    Parameters
    ----------
    X : SparseBatch
        T examples.
    m : int
        Hidden size, at most n.

    Returns
    -------
    W : array of shape (m, n)
        Orthonormal rows.
    b : array of shape (n,)
    """
    columns = transposed(X)
    mean = columns.dot(np.ones((len(X), 1)))[:, 0] / len(X)

    def covariance(V: Floats) -> Floats:
        U: Floats = X.dot(V) - mean @ V
        product: Floats = columns.dot(U) / len(X)
        return product

    block: Floats = np.random.Generator(np.random.Philox(0)).standard_normal((X.n, m + 4))
    for _ in range(200):
        basis = _krylov(covariance, block, 8)
        image = covariance(basis)
        values, vectors = np.linalg.eigh(basis.T @ image)
        block = basis @ vectors[:, -block.shape[1] :]
        rest = image @ vectors[:, -m:] - block[:, -m:] * values[-m:]
        if np.linalg.norm(rest) <= 1e-5 * max(values[-1], 1e-300):
            break
    W = np.ascontiguousarray(block[:, -m:].T)
    return W, mean - W.T @ (W @ mean)


def _krylov(apply: Callable[[Floats], Floats], block: Floats, depth: int) -> Floats:
    """An orthonormal basis of what a block becomes when applied to up to ``depth`` times."""
    blocks = [np.linalg.qr(block)[0]]
    for _ in range(depth):
        blocks.append(np.linalg.qr(apply(blocks[-1]))[0])
    return np.linalg.qr(np.hstack(blocks))[0]


# ------------------------------------------------------------------------------------ curves


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
    return 1.0 - c.sparsity**c.n if c.normalize else c.n * (1.0 - c.sparsity) / 3.0


def rise(curve: Mapping[float, float], c: TrainConfig) -> tuple[float, float]:
    """The largest increase of test loss with T, as a share of the zero predictor's, and its T.

    Negative for a curve that only falls; NaN for fewer than two T that show a feature 0.3 times.
    """
    found, lowest = (math.nan, math.nan), math.inf
    for T, loss in sorted(curve.items()):
        if T * (1.0 - c.sparsity) < 0.3 - 1e-9 or not math.isfinite(loss):
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


# --------------------------------------------------------------------------------- all of it


@dataclass(frozen=True)
class Optimum:
    """Losses of a trained linear model, and of the best one for its examples."""

    T: float
    trained: float
    train: float
    test: float


@dataclass(frozen=True)
class Moved:
    """Losses of a model trained on shuffled examples, and of those that they were made from.

    ``before`` is the train loss of the model that was trained on the latter.
    """

    T: float
    before: float
    own: float
    originals: float
    test: float


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
        examples.setdefault(T, []).append(look(run))
        if T not in blank:
            blank[T] = look(untrained(run.config))
    height, top = rise(means(by_T(results[RELU], "test_loss")), c)
    few, middle = nearest(examples, 30), nearest(examples, 2.0 / (1.0 - c.sparsity))
    linear = [run for run in finished(results[LINEAR]) if run.config.T < math.inf]
    return Found(
        results=results,
        examples=examples,
        blank=blank,
        linear=[look(run) for run in linear if run.config.T == few],
        optimum=[optimum(run) for run in linear],
        moved=moved(next(run for run in runs if run.config.T == few)),
        few=few,
        bump=int(top) if height > 0 else middle,
        many=max(examples),
    )


def nearest(places: Iterable[int], goal: float) -> int:
    """The T that is nearest to one on a logarithmic axis."""
    return min(places, key=lambda T: abs(math.log(T / goal)))


def optimum(run: Run) -> Optimum:
    """The best linear model for the examples of a linear run, with losses by the backend."""
    best = weights_as_run(run.config, *linear_optimum(run.training_set(), run.config.m))
    return Optimum(run.config.T, run.train_loss, best.train_loss, best.test_loss)


def moved(run: Run) -> Moved:
    """A model trained on the examples of a run after :func:`shuffled`."""
    X = shuffled(run.training_set(), 0)
    other = train_on(run.config, X)
    own = float(example_loss(other, X).mean())
    return Moved(run.config.T, run.train_loss, own, other.train_loss, other.test_loss)
