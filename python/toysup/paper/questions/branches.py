"""Two branches: does storing the examples, or storing features, give the lower train loss.

Asked: the paper's authors (update of July 2023) take the middle regime for a failure of the
optimization. With a scan of learning rates, the solution that stores examples has the lowest train
loss up to about T = 500,000, and beyond it the one that stores features: a transition of first
order, at which the lowest train loss has a kink.

Trained: models of two hidden dimensions for several T, each at several learning rates, from three
starts: at random; from the features of a run with endless data, or with 100,000 examples at the
paper's scale (``init=`` that run); and from a run that stored the examples of the smallest T. So
both branches are looked for on both sides of the transition. The learning rates of the update are
not known.

Measured: train and test loss. A run is of the branch "features" if a feature has a dimensionality
of 0.1 or more (five that share the plane have 0.4), and of the branch "examples" otherwise. One of
a few examples has that, too, but none of hundreds, as here, where it reaches 0.07. For each T the
run of lowest train loss of each branch is kept.

Expected: lowest train loss by examples for small T, by features for large T, with a crossing; test
loss far above 1 on the first branch and below 1 on the second. A branch that no run reaches at some
T is not drawn there: then its start was left for the other branch.

Parts: "figure3" holds the run that learnt features, "branches-random" the random starts, and
"branches-started" the others. The analytic polygon (``init="polygon"``) is no good start here: if
examples share features, as they do from T = 100 on, its train loss is in the thousands.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.config.weights import as_weights
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN
from toysup.paper._statistics import passes_at

if TYPE_CHECKING:
    import xarray

    # Sweeps, or the recorded tables that are called so.
    Scans = Mapping[str, SweepResult | xarray.Dataset]

__all__ = ["BRANCHES", "Gap", "Point", "crossing", "gap", "lowest", "points"]

RANDOM, STARTED = "branches-random", "branches-started"

SCANS: dict[str, dict[str, Any]] = {
    "small": {
        **STAND_IN,
        "T": (200, 500, 1_000, 2_000, 5_000),
        "learning_rate": (4e-3, 1.2e-2, 4e-2),
    },
    "paper": {
        "T": (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000),
        "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2),
    },
}
# The smallest dimensionality of a feature that makes a run one of features.
_SHARE = 0.1
# Where the runs of the second sweep start, in its order.
ORIGINS = ("features", "examples")
# Runs of figure 3 that learnt features. At the paper's scale the batches of that preset leave
# most biases below 0, where nothing moves them: 100,000 examples are a better start there.
LEARNT: dict[str, dict[str, Any]] = {
    "small": {**_recipe.SMALL, "T": math.inf, "seed": 0},
    "paper": {"m": 2, "T": 100_000, "seed": 0},
}


def _first(scale: str) -> dict[str, dict[str, Any]]:
    """The runs that start at random, and the one that learns features."""
    return {
        _recipe.PART: LEARNT[scale],
        RANDOM: {**SCANS[scale], "m": 2, "seed": range(1)},
    }


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """The same scan from the weights of two of these runs."""
    runs = _runs.finished(results[RANDOM])
    learnt = _runs.finished(results[_recipe.PART])
    if not runs or not learnt:
        raise ValueError("the runs that others start from have diverged: try fewer steps")
    fewest = [run for run in runs if run.config.T == runs[0].config.T]
    examples = min(fewest, key=_runs.train_loss)
    axes = {name: results[RANDOM].coords[name] for name in results[RANDOM].dims}
    starts = [as_weights(learnt[0]), as_weights(examples)]
    return {STARTED: {**runs[0].config.to_dict(), **axes, "init": starts}}


@dataclass(frozen=True)
class Point:
    """A run that ended well."""

    T: float
    seed: int
    start: str  # "random", "features" or "examples"
    rate: float
    train_loss: float
    test_loss: float
    branch: str  # "features" or "examples"


def points(results: Scans) -> list[Point]:
    """All runs that ended well, by rising T: of sweeps or of recorded tables."""
    found = []
    for part in (RANDOM, STARTED):
        result = results[part]
        data = result.dataset if isinstance(result, SweepResult) else result
        starts = {}
        if part == STARTED:
            starts = dict(zip(data["init"].to_numpy(), ORIGINS, strict=True))
        frame = data.to_dataframe().reset_index()
        for run in frame[frame["status"] == "ok"].to_dict("records"):
            start = starts[run["init"]] if starts else "random"
            branch = "features" if run["max_feature_dimensionality"] >= _SHARE else "examples"
            losses = (run["train_loss"], run["test_loss"])
            found.append(Point(run["T"], run["seed"], start, run["learning_rate"], *losses, branch))
    return sorted(found, key=lambda point: point.T)


def lowest(found: Sequence[Point]) -> dict[str, dict[float, Point]]:
    """The run of lowest train loss of each branch, by rising T."""
    best: dict[str, dict[float, Point]] = {"examples": {}, "features": {}}
    for point in sorted(found, key=lambda point: point.train_loss):
        best[point.branch].setdefault(point.T, point)
    return {name: dict(sorted(by_T.items())) for name, by_T in best.items()}


def crossing(best: Mapping[str, Mapping[float, Point]]) -> tuple[float, float] | None:
    """The neighbouring T between which the lower train loss goes from examples to features."""
    T = sorted({*best["examples"], *best["features"]})
    for before, after in itertools.pairwise(T):
        if (lower(best, before), lower(best, after)) == ("examples", "features"):
            return before, after
    return None


def lower(best: Mapping[str, Mapping[float, Point]], T: float) -> str:
    """The branch of lower train loss at a T."""
    there = {name: by_T[T].train_loss for name, by_T in best.items() if T in by_T}
    return min(there, key=lambda name: there[name])


@dataclass(frozen=True)
class Gap:
    """How far the lowest train loss of features lies above that of examples, and where it closes.

    Attributes
    ----------
    by_T : dict
        The gap, by rising T; below 0 where features have the lower loss.
    closes : float
        T at which it is 0: on a straight line over log T between the neighbours where its sign
        changes, or else of a fit, infinity if that has none.
    error : float
        The standard error of that T in the fit; NaN without.
    """

    by_T: dict[float, float]
    closes: float
    error: float


# So many T give a fit with an error.
_FITTED = 4


def gap(best: Mapping[str, Mapping[float, Point]]) -> Gap | None:
    """The gap where both branches are known; None if it does not close there, of too few T.

    What is fitted is a / T + c. What a model can store is a share of the loss that falls like
    1 / T, and so do the errors that are assumed: T times the gap is fitted by a + c T, all T alike.
    """
    both = sorted(best["examples"].keys() & best["features"].keys())
    by_T = {T: best["features"][T].train_loss - best["examples"][T].train_loss for T in both}
    T, apart = np.array([*by_T], np.float64), np.array([*by_T.values()], np.float64)
    changes = np.flatnonzero((apart[:-1] > 0) & (apart[1:] <= 0))
    if changes.size:
        return Gap(by_T, passes_at(T, apart, int(changes[0]), 0.0), math.nan)
    if len(by_T) < _FITTED:
        return None
    (c, a), errors = np.polyfit(T, T * apart, 1, cov=True)
    if c >= 0:
        return Gap(by_T, math.inf, math.nan)
    slope = np.array([a / c**2, -1 / c])  # of what closes, in c and in a
    return Gap(by_T, float(-a / c), math.sqrt(slope @ errors @ slope))


def tables(results: Results, scale: str) -> list[Table]:
    """Lowest train loss of each branch at each T, and how it was found; and every run."""
    found = points(results)
    best = lowest(found)
    rows: list[tuple[Value, ...]] = []
    for T in sorted({point.T for point in found}):
        row: list[Value] = [T]
        for name, by_T in best.items():
            p = by_T.get(T)
            row += [p.train_loss, p.test_loss, p.rate, p.start] if p else [None] * 4
            row.append(sum(q.T == T and q.branch == name for q in found))
        rows.append((*row, lower(best, T)))
    c = results[RANDOM].configs[0]
    heading = (
        f"Lowest train loss of two branches at the {scale} scale: n = {c.n:,}, S = {c.sparsity}, "
        f"m = 2, {c.steps:,} steps.\nA run is of the branch of features if one has a "
        "dimensionality of 0.1 or more; of every branch the run of lowest\ntrain loss is shown, "
        "with its learning rate and where it started, and how many runs ended there."
    )
    columns = ["T"]
    for name in best:
        columns += [f"{name}_{what}" for what in ("train", "test", "rate", "start", "runs")]
    formats = {"T": ".12g", "examples_rate": "g", "features_rate": "g"}
    every = [dataclasses.astuple(point) for point in found]
    names = [field.name for field in dataclasses.fields(Point)]
    return [
        Table("branches", [*columns, "lower"], rows, heading=heading, formats=formats),
        Table("branches-all", names, every, heading="All runs.", formats={"rate": "g"}),
    ]


def drawings(results: Scans, scale: str) -> Iterator[tuple[str, Any]]:
    """Train and test loss of both branches against T; of recorded tables, too."""
    from toysup.paper.questions.branches_drawing import branches

    found = points(results)
    if found:
        best = lowest(found)
        yield "branches", branches(found, best, crossing(best))


def see(results: Scans, scale: str) -> str:
    """Where the branches cross, and by how much they differ there."""
    best = lowest(points(results))
    where = crossing(best)
    if where is None:
        known = {*best["examples"], *best["features"]}
        only = " or ".join(sorted({lower(best, T) for T in known})) or "neither branch"
        said = f"In branches.png: no crossing at these T; lowest train loss: {only}."
    else:
        parts = []
        for T in where:
            there = [f"{by[T].train_loss:.4f} by {name}" for name, by in best.items() if T in by]
            parts.append(f"at T = {T:,} it is {' and '.join(there)}")
        said = (
            "In branches.png: lowest train loss is that of stored examples up to "
            f"T = {where[0]:,}, and that of features from T = {where[1]:,} on: {'; '.join(parts)}."
        )
    found = gap(best)
    return said if found is None else f"{said} {_told(found)}"


def _told(found: Gap) -> str:
    """How the gap falls, and where it closes."""
    (first, high), *_, (last, low) = found.by_T.items()
    where = "from there on it closes at no T"
    if found.closes < math.inf:
        where = f"it closes at T = {found.closes:,.0f}"
    if not math.isnan(found.error):
        where = f"as a / T + c {where} ± {found.error:,.0f}"
    return f"Features lie above by {high:.2g} at T = {first:,} and {low:.2g} at {last:,}; {where}."


BRANCHES = Preset(
    name="branches",
    title="lowest train loss of stored examples and of stored features against T",
    scales={scale: _first(scale) for scale in SCANS},
    make_tables=tables,
    draw=drawings,
    tell=see,
    then=then,
    starts_from_runs=True,
)
