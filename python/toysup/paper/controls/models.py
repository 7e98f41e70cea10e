"""Models that the controls compare with: untrained, linear, and trained on shuffled examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toysup._backends.reference.model import Optimizer, learning_rate
from toysup._run.run import Run
from toysup._run.train import loss_and_grad, train
from toysup._stream.batch import SparseBatch, transposed
from toysup.config import TrainConfig
from toysup.regime import example_loss

__all__ = [
    "Floats",
    "Moved",
    "Optimum",
    "linear_optimum",
    "moved",
    "optimum",
    "shuffled",
    "train_on",
    "untrained",
    "weights_as_run",
]

Floats = npt.NDArray[np.float64]


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
        _, *gradient = loss_and_grad(W, b, X, importance=config.importance, **kind)
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
