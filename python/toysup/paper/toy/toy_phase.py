r"""The classic model with one feature too many: a phase diagram, trained and expected.

"Toy Models of Superposition" (Elhage et al. 2022, transformer-circuits.pub/2022/toy_model) gives a
model of m dimensions n = m + 1 features. What becomes of the last one depends on its importance r,
relative to that of the others, and on the density p = 1 - S of features: it is not represented, or
it has a dimension for itself and the others make do with the rest, or it shares one with another
feature, as a pair of opposite vectors. The changes between these phases are sudden.

Models are trained on a grid of r and p, each from a few initial W, because training also ends in
other phases; the run of lowest test loss counts. With n = 3, more arrangements need more of them.
The expected phase is that of the lowest expected loss among candidates whose vectors have length 1,
with the best b, exactly:

* A feature that is not represented (:meth:`Run.represented`) is predicted by its mean; the loss is
  its variance times its importance, v = p/3 - p^2/4.
* W = [1, 0] and W = [0, 1] give r v and v; a feature with its own dimension costs nothing.
* W = [1, -1] gives (1 + r) c, where by symmetry both have the same bias b >= 0. With z = x_1 - x_2
  + b, the first costs b^2 if x_2 = 0 and b^2 again if both are 0; (b - x_2)^2 while x_2 < b if only
  the second is not 0; and with both, (x_2 - b)^2 where z > 0, and x_1^2 elsewhere. So

  .. math:: c = \min_b\; (1-p) b^2 + p (1-p) \frac{b^3}{3}
            + p^2 \Big(\frac{b^3}{3} + \frac{(1-b)^3}{3} - \frac{(1-b)^4}{6}\Big),

  whose derivative rises through 0 once in [0, 1].
* With n = 3 and m = 2 the other two may share a dimension instead, for 2 c.

Trained vectors need not have length 1, and in superposition they do better for it; so that phase
reaches a little further than expected.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper._preset import Preset, Results
from toysup.paper.toy.toy_features import CLASSIC

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["TOY_PHASE", "expected_losses", "expected_phase", "outcomes"]

Floats = npt.NDArray[np.float64]


def grid(others: int, count: int, starts: int) -> dict[str, Any]:
    """The model of m = ``others`` with one feature more, on a grid of ``count`` x ``count``."""
    ratios = [float(f"{ratio:.4g}") for ratio in np.geomspace(0.1, 10.0, count)]
    densities = np.geomspace(0.01, 1.0, count)
    return {
        **CLASSIC,
        "n": others + 1,
        "m": others,
        "importance": [(*[1.0] * others, ratio) for ratio in ratios],
        "sparsity": [round(1.0 - float(density), 6) for density in densities],
        "init_seed": range(starts),
        "test_size": 200_000,  # at density 0.01, two features occur together in 20
        "record": 8,
    }


SMALL = {"toy-phase": {**grid(1, 13, 3), "steps": 1_000, "learning_rate": 1e-2}}
PAPER = {
    "toy-phase": {**grid(1, 21, 3), "steps": 2_000, "learning_rate": 5e-3},
    "toy-phase-3": {**grid(2, 15, 6), "steps": 2_000, "learning_rate": 5e-3},
}


def expected_losses(importance: npt.ArrayLike, density: npt.ArrayLike, n: int = 2) -> Floats:
    """The expected loss of each phase, at its best candidate with vectors of length 1.

    Parameters
    ----------
    importance : array
        Importance of the last feature; that of the others is 1.
    density : array
        1 - S, in (0, 1].
    n : {2, 3}
        Number of features, of a model with n - 1 dimensions.

    Returns
    -------
    array of shape (3, ...)
        For the last feature not represented, in its own dimension, and in superposition.
    """
    r, p = np.broadcast_arrays(np.asarray(importance, float), np.asarray(density, float))
    variance = p / 3.0 - p**2 / 4.0
    pair = _pair_loss(p)
    own = variance if n == 2 else np.minimum(variance, 2.0 * pair)
    return np.stack([r * variance, own, (1.0 + r) * pair])


def expected_phase(importance: npt.ArrayLike, density: npt.ArrayLike, n: int = 2) -> Any:
    """The phase of lowest expected loss: 0 not represented, 1 own dimension, 2 superposition."""
    return np.argmin(expected_losses(importance, density, n), axis=0)


def _pair_loss(p: Floats) -> Floats:
    """The expected loss c of either feature of W = [1, -1] at its best bias, by bisection."""
    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(60):
        b = 0.5 * (low + high)
        u = 1.0 - b
        slope = 2 * (1 - p) * b + p * (1 - p) * b**2 + p**2 * (b**2 - u**2 + 2 * u**3 / 3)
        low, high = np.where(slope < 0, b, low), np.where(slope < 0, high, b)
    b = 0.5 * (low + high)
    u = 1.0 - b
    both = b**3 / 3 + u**3 / 3 - u**4 / 6
    loss: Floats = (1 - p) * b**2 + p * (1 - p) * b**3 / 3 + p**2 * both
    return loss


@dataclass(frozen=True)
class Outcome:
    """What became of the last feature in the best run of a cell; None where there is no run.

    Attributes
    ----------
    importance, density : float
        The cell.
    phase : int or None
        Found by training.
    square, shared : float or None
        Its squared length and its superposition; the latter only if it is represented.
    expected : bool
        Whether no phase has a lower expected loss.
    """

    importance: float
    density: float
    phase: int | None = None
    square: float | None = None
    shared: float | None = None
    expected: bool = False


def outcomes(result: SweepResult) -> list[Outcome]:
    """What became of the last feature, for every cell of the map."""
    from toysup.plot._figures.toy_features import density, open_fresh

    cells = open_fresh(result)
    found = []
    for i, importance in enumerate(cells.coords["importance"]):
        for k, sparsity in enumerate(cells.coords["sparsity"]):
            run = cells.pick(importance=i, sparsity=k)
            where = importance[-1] / importance[0], density(sparsity)
            found.append(Outcome(*where) if run is None else _outcome(*where, run))
    return found


def _outcome(importance: float, density: float, run: Run) -> Outcome:
    from toysup.plot._figures.toy_phase import measure, phase_of

    phase, (square, shared) = phase_of(run), measure(run.W)
    losses = expected_losses(importance, density, run.config.n)
    # Two phases have the same loss where features are equal.
    lowest = bool(losses[phase] <= losses.min() * (1.0 + 1e-9))
    return Outcome(importance, density, phase, square, shared if phase else None, lowest)


def _agreement(found: list[Outcome]) -> str:
    done = [cell for cell in found if cell.phase is not None]
    return f"{sum(cell.expected for cell in done)} of {len(done)}"


# By the name of a sweep: the sweep, and what became of the last feature in it.
Measured = dict[str, tuple[SweepResult, list[Outcome]]]


def measure(results: Results) -> Measured:
    """What became of the last feature, beside each sweep."""
    return {part: (result, outcomes(result)) for part, result in results.items()}


def tables(measured: Measured, scale: str) -> list[Table]:
    """Maps over importance and density: the phase, squared length and superposition."""
    return [table for part, found in measured.items() for table in _maps(part, *found)]


def _maps(part: str, result: SweepResult, found: list[Outcome]) -> list[Table]:
    """The three maps of a sweep."""
    config = result.configs[0]
    last = f"the last of n = {config.n} features in m = {config.m} dimensions"
    heading = (
        f"What becomes of {last}, over its relative importance and the density 1 - S:\n"
        f"none: not represented; own: a dimension for itself; shared: superposition. "
        f"{_agreement(found)} cells have the phase\nof lowest expected loss; a star marks others."
    )
    return [
        _map(part, heading, [(cell, _word(cell)) for cell in found]),
        _map(f"{part}-length", f"Squared length of {last}.", [(c, c.square) for c in found]),
        _map(
            f"{part}-superposition",
            f"Superposition of {last}, where it is represented.",
            [(cell, cell.shared) for cell in found],
        ),
    ]


def _word(cell: Outcome) -> str | None:
    if cell.phase is None:
        return None
    return ("none", "own", "shared")[cell.phase] + ("" if cell.expected else "*")


def _map(name: str, heading: str, cells: list[tuple[Outcome, Value]]) -> Table:
    """A row for each importance and a column for each density, dense to sparse."""
    values = {(cell.importance, cell.density): value for cell, value in cells}
    densities = sorted({p for _, p in values}, reverse=True)
    rows: list[tuple[Value, ...]] = [
        (r, *(values[r, p] for p in densities)) for r in sorted({r for r, _ in values})
    ]
    columns = ["importance", *(f"{p:.3g}" for p in densities)]
    formats = {"importance": ".3g", **dict.fromkeys(columns[1:], ".2f")}
    return Table(name, columns, rows, heading=heading, formats=formats)


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The trained and the expected phase diagram of each model."""
    from toysup.plot._figures.toy_phase import toy_phase

    for part, (result, _) in measured.items():
        theory = functools.partial(expected_phase, n=result.configs[0].n)
        yield part, toy_phase(result, theory=theory)


def see(measured: Measured, scale: str) -> str:
    """How many cells are in each phase, and in the expected one."""
    parts = []
    for part, (_, found) in measured.items():
        none, own, shared = (sum(cell.phase == k for cell in found) for k in range(3))
        parts.append(
            f"In {part}.png: the last feature is not represented in {none} cells, has a dimension "
            f"for itself in {own} and shares one in {shared}; {_agreement(found)} are in the phase "
            "of lowest expected loss."
        )
    return " ".join(parts)


TOY_PHASE = Preset(
    name="toy-phase",
    title='one feature too many: its phase diagram ("Toy Models of Superposition")',
    scales={"small": SMALL, "paper": PAPER},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
