"""One feature at a time: regular k-gons as exact critical points of the loss.

Chen et al. (2023), "Dynamical versus Bayesian phase transitions in a toy model of superposition"
(arXiv 2310.06301), let exactly one of c features be on, with a value uniform on [0, 1], and m = 2.
Then the expected loss is a sum of c^2 integrals of piecewise quadratic functions. They report its
critical points: k features as a regular k-gon of length l and bias b, the others with W = 0 and
either a bias below 0, which says nothing, or one of 1 / (2 c), the mean of their value (each a
"+").

Trained: gradient descent with momentum from random W, for several c, on a data set that stands for
the distribution: every feature at the midpoints of 200 equal parts of [0, 1].

Measured: at the end of each run the exact expected loss, by closed form, and the norm of its
gradient, which would be 0 at a critical point of the loss itself and not of that on the grid. Which
critical point it is, is told by the number k of features that are longer than half and of the
others with a bias above 0, if its loss is that of the formula to 1e-5. An end with another loss is
called irregular.

Expected: k-gons of the published length and bias, up to k = 7, and the square for k = 4, of loss 0;
features that have no place in them with and without a "+".

Part "k-gons" holds runs without updates, which say from where the others start, and each further
part the runs of one c.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._run.run import Run
from toysup._stream.dataset import Dataset
from toysup._sweep.table import Table, Value
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import on_data

__all__ = ["K_GONS", "Descent", "expected_loss_and_grad", "level", "name_of", "polygon"]

NAME = "k-gons"

Floats = npt.NDArray[np.float64]

# Runs without updates: the numbers of features and the seeds are theirs.
STARTS: dict[str, Any] = {
    "n": (5, 6, 7, 8),
    "m": 2,
    "T": 1,
    "sparsity": 0.0,
    "normalize": False,
    "steps": 0,
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 0.1,
    "schedule": "constant",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "loss_reduction": "sum",
    "dtype": "float64",
    "test_size": 0,
    "record": 100,
}
SMALL = {**STARTS, "seed": range(64)}
PAPER = {**STARTS, "seed": range(1_000)}

# Updates of each run, unless another number is asked for.
STEPS = 4_000
# Regular polygons with a length and bias of their own; up to 4 features have length 1 and bias 0.
_SIDES = range(5, 9)
# How near a loss must be to that of a critical point.
_NEAR = 1e-5
# Values of each feature in the data set.
_GRID = 200
IRREGULAR = "irregular"


def expected_loss_and_grad(W: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    r"""The expected loss and its gradient if one of c features is on, with a value in [0, 1].

    .. math:: L = \frac{1}{c} \sum_{ij} \int_0^1 (\delta_{ij} x - f(a x + b_j))^2 dx

    for a = w_i . w_j. Between the ends of the interval on which a x + b_j > 0, the integrand is a
    polynomial, and the ends themselves add nothing to the gradient.

    Parameters
    ----------
    W : array of shape (..., m, c)
        Weights of any number of models.
    b : array of shape (..., c)
        Biases.

    Returns
    -------
    loss : array of shape (...)
        Summed over features, and the mean over which of them is on.
    dW, db : arrays of the shapes of W and b
    """
    c = b.shape[-1]
    own = np.eye(c)
    a, bias = np.swapaxes(W, -1, -2) @ W, b[..., None, :]
    low, high = _active(a, bias)
    one, x, xx = high - low, (high**2 - low**2) / 2, (high**3 - low**3) / 3
    said = a * x + bias * one  # the integral of f, and that of x f
    said_x = a * xx + bias * x
    loss = np.sum(a * said_x + bias * said - 2 * own * said_x + own / 3, axis=(-1, -2)) / c
    da, db = 2 * (said_x - own * xx) / c, 2 * np.sum(said - own * x, axis=-2) / c
    return loss, W @ (da + np.swapaxes(da, -1, -2)), db


def _active(a: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """The part of [0, 1] on which a x + bias is above 0; two equal ends if there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.clip(np.where(a == 0.0, 0.0, -bias / a), 0.0, 1.0)
    low = np.where(a > 0, root, 0.0)
    high = np.where(a > 0, 1.0, np.where(a < 0, root, np.where(bias > 0, 1.0, 0.0)))
    return low, high


@functools.cache
def polygon(k: int) -> tuple[float, float, float]:
    """Length, bias and loss of the regular k-gon of c = k features.

    Up to four features can be stored without loss. For more the loss is a function of the length
    and the bias alone, whose minimum is found by Newton's method, started at the k-gon before.
    """
    if k <= 4:
        return 1.0, 0.0, 0.0
    angle = 2 * np.pi * np.arange(k) / k
    rays = np.array([np.cos(angle), np.sin(angle)])

    def slope(at: Floats) -> Floats:
        _, dW, db = expected_loss_and_grad(at[0] * rays, np.full(k, at[1]))
        return np.array([np.sum(dW * rays), np.sum(db)])

    at = np.array([1.17, -0.28]) if k == 5 else np.add(polygon(k - 1)[:2], (0.13, -0.34))
    for _ in range(50):
        steps = 1e-6 * np.eye(2)
        curvature = np.array([(slope(at + h) - slope(at - h)) / 2e-6 for h in steps])
        move = np.linalg.solve(curvature, slope(at))
        at = at - move
        if np.abs(move).max() < 1e-13:
            break
    loss, _, _ = expected_loss_and_grad(at[0] * rays, np.full(k, at[1]))
    return float(at[0]), float(at[1]), float(loss)


def level(k: int, plus: int, c: int) -> float:
    """Loss of the critical point of c features with a k-gon and ``plus`` biases of 1 / (2 c).

    A feature that is not stored costs the mean square of its value, 1 / (3 c); with that bias it
    costs the variance, and 1 / (4 c^2) in each example of another feature.
    """
    stored = k * polygon(k)[2] / c if k in (*range(5), *_SIDES) else np.nan
    return float(stored + (c - k) / (3 * c) - plus / (4 * c * c))


def name_of(k: int, plus: int) -> str:
    """The name of a critical point, such as 5+."""
    return f"{k}{'+' * plus}"


def grid(c: int) -> Dataset:
    """Examples of one of c features each, at the midpoints of a grid of values."""
    values = (np.arange(_GRID) + 0.5) / _GRID
    rows = np.kron(np.eye(c), values[:, None])
    return Dataset(rows, normalize=False, name=f"one of {c} features")


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """The runs of each c, with the seeds of the first sweep."""
    first, made = results[NAME], {}
    for c in sorted({config.n for config in first.configs}):
        some = [config for config in first.configs if config.n == c]
        data = grid(c)
        made[f"{NAME}-{c}"] = {
            **on_data(some[0], data),
            **{"T": len(data), "steps": some[0].steps or STEPS},
            "seed": [config.seed for config in some],
        }
    return made


@dataclass(frozen=True)
class Descent:
    """What one start has become.

    Attributes
    ----------
    c, seed : int
        Number of features, and the seed of the start.
    name : str
        Of the critical point, or "irregular".
    formula : float
        The loss of that critical point; NaN if there is none.
    loss, slope : float
        The exact expected loss at the end, and the norm of its gradient.
    train_loss : float
        The loss on the data set.
    W, b : arrays
        The model.
    steps, losses : arrays
        The loss on the data set during training.
    """

    c: int
    seed: int
    name: str
    formula: float
    loss: float
    slope: float
    train_loss: float
    W: Floats
    b: Floats
    steps: npt.NDArray[np.int64]
    losses: Floats

    @property
    def stored(self) -> npt.NDArray[np.bool_]:
        """Which features belong to the polygon."""
        return _stored(self.W)


def _stored(W: Floats) -> npt.NDArray[np.bool_]:
    """Which features are longer than half."""
    long: npt.NDArray[np.bool_] = np.hypot(W[0], W[1]) > 0.5
    return long


def measure(results: Results) -> list[Descent]:
    """What became of all starts, by c and then by seed."""
    parts = [result for name, result in results.items() if name != NAME]
    return [descent(run) for result in parts for run in _runs.finished(result)]


def descent(run: Run) -> Descent:
    """A run, with the name of where it ended."""
    W, b, c = run.W.astype(np.float64), run.b.astype(np.float64), run.config.n
    loss, dW, db = expected_loss_and_grad(W, b)
    stored = _stored(W)
    k, plus = int(stored.sum()), int(np.count_nonzero(~stored & (b > 0)))
    formula = level(k, plus, c)
    known = abs(loss - formula) < _NEAR
    return Descent(
        c=c,
        seed=run.config.seed,
        name=name_of(k, plus) if known else IRREGULAR,
        formula=formula if known else np.nan,
        loss=float(loss),
        slope=float(np.sqrt(np.sum(dW**2) + np.sum(db**2))),
        train_loss=run.train_loss,
        W=W,
        b=b,
        steps=run.history["step"].to_numpy(),
        losses=run.history["train_loss"].to_numpy(),
    )


def by_name(found: Sequence[Descent]) -> dict[str, list[Descent]]:
    """Descents of one c by where they ended, of rising loss, irregular ones last."""

    def order(descent: Descent) -> tuple[bool, float]:
        return descent.name == IRREGULAR, descent.loss

    groups: dict[str, list[Descent]] = {}
    for descent in sorted(found, key=order):
        groups.setdefault(descent.name, []).append(descent)
    return groups


def of_c(found: Sequence[Descent]) -> dict[int, list[Descent]]:
    """Descents by the number of features."""
    return {c: list(some) for c, some in itertools.groupby(found, key=lambda one: one.c)}


def tables(found: Sequence[Descent], scale: str) -> list[Table]:
    """A row for every polygon of the formula; and for every end of every c."""
    polygons: list[tuple[Value, ...]] = [(k, *polygon(k)) for k in (4, *_SIDES)]
    rows: list[tuple[Value, ...]] = []
    for c, some in of_c(found).items():
        for name, group in by_name(some).items():
            regular = name != IRREGULAR
            length = np.concatenate([np.hypot(*one.W)[one.stored] for one in group])
            bias = np.concatenate([one.b[one.stored] for one in group])
            losses = [one.loss for one in group]
            rows.append(
                (
                    *(c, name, len(group), len(group) / len(some)),
                    *((_runs.mean(length), _runs.mean(bias)) if regular else (None, None)),
                    *(min(losses), max(losses)),
                    group[0].formula if regular else None,
                    max(abs(one.train_loss - one.loss) for one in group),
                    max(one.slope for one in group),
                )
            )
    heading = "The regular k-gon of k features, one of which is on, by formula."
    ends = (
        f"Where gradient descent ends at the {scale} scale. k: a k-gon; every +: a feature with "
        "W = 0 and the bias\n1 / (2 c). Length and bias are means over the features of the "
        "polygon, losses are exact expected ones;\ngrid error: the largest difference to the train "
        "loss; slope: the largest norm of the exact gradient."
    )
    columns = ["c", "end", "runs", "share", "length", "bias", "least_loss", "largest_loss"]
    columns += ["formula", "grid_error", "slope"]
    exact = dict.fromkeys(("length", "bias", "loss"), ".5f")
    formats = {**exact, **dict.fromkeys(("least_loss", "largest_loss", "formula"), ".6f")}
    formats |= {"share": ".3f", "grid_error": ".0e", "slope": ".0e"}
    return [
        Table(f"{NAME}-formula", ["k", "length", "bias", "loss"], polygons, heading, formats),
        Table(NAME, columns, rows, ends, formats),
    ]


def drawings(found: Sequence[Descent], scale: str) -> Iterator[tuple[str, Any]]:
    """Losses of all ends; for one c, losses during training and a model of each end."""
    from toysup.paper.toy.k_gons_drawing import k_gons

    if found:
        groups = {c: by_name(some) for c, some in of_c(found).items()}
        drawn = 6 if 6 in groups else next(iter(groups))
        levels = {
            name_of(k, plus): level(k, plus, drawn)
            for k in range(4, min(drawn, _SIDES[-1]) + 1)
            for plus in range(drawn - k + 1)
        }
        yield NAME, k_gons(groups, drawn, levels)


def see(found: Sequence[Descent], scale: str) -> str:
    """Where the descents of each c end."""
    parts = []
    for c, some in of_c(found).items():
        ends = ", ".join(f"{len(group)} at {name}" for name, group in by_name(some).items())
        parts.append(f"of {len(some)} runs of {c} features {ends}")
    regular = [abs(one.loss - one.formula) for one in found if one.name != IRREGULAR]
    if not parts:
        return _runs.NOTHING
    error = f" Losses agree with the formula to {max(regular):.0e}." if regular else ""
    return f"In {NAME}.png: {'; '.join(parts)}.{error}"


K_GONS = Preset(
    name=NAME,
    title="one feature at a time: k-gons as exact critical points (Chen et al. 2023)",
    scales={"small": {NAME: SMALL}, "paper": {NAME: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
    then=then,
)
