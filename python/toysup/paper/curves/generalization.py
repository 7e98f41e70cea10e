"""The scale of generalization: from which T on a feature has a direction of its own.

Asked: the largest dimensionality of a feature jumps at some T, where the model begins to store
features instead of examples. Does the place depend on weight decay? Is T what counts, or T (1 - S),
in how many examples a feature occurs?

Trained: models of two hidden dimensions (a) for several weight decays, and (b) for several
sparsities S, from a feature in one example to a feature in twenty. Two tests of (b) are made, since
S cannot be varied alone:

- n is held, as the comment has it. Then the number of non-zeros of an example, n (1 - S), varies;
  examples are scaled to length 1, so each feature is a larger or smaller share of its example.
- n (1 - S) is held, so that n varies. Then data sets of the same T (1 - S) have the same numbers of
  non-zeros in a row and in a column, and differ in size alone. That is the fair test of T (1 - S):
  nothing else that could matter varies. It is also what makes the small scale a stand-in for the
  paper's.

The gradients of a mean over n features, each in a share 1 - S of the examples and of size about
1 / sqrt(n (1 - S)), go as 1 / n^2, whatever S is; eps is changed in proportion.

Measured: the largest dimensionality of a feature, and the T at which the mean over seeds passes
half-way from its smallest to its largest value, for the last time and between two T on the
logarithmic scale. How far these T lie apart, and how far T (1 - S), says which of the two counts;
so does the exponent a in T ~ (1 / (1 - S))^a, which is 1 if T (1 - S) alone counts and 0 if T does.

Expected: the jump is at the same T for all weight decays, and near T (1 - S) = 10 for all S.
(T. Henighan et al. 2023, comments.) At the small scale the sparsities agree in T (1 - S) with
n (1 - S) held. With n held they do not: the more non-zeros an example has, the more examples of a
feature are needed. A weight decay of 1.0 is strong enough to bring the jump forward.

Part "generalization" holds the runs of (a), and each further part those of one S and one n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from toysup._sweep.table import Table, Value
from toysup.config import TrainConfig
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN
from toysup.paper._statistics import passes_at
from toysup.paper.curves.weight_decay import DECAYS

if TYPE_CHECKING:
    import xarray

__all__ = ["GENERALIZATION", "Jump", "crossing", "jumps"]

PART = "generalization"
VARIABLE = "max_feature_dimensionality"

# In how many examples a feature occurs on average: these T (1 - S) are trained.
SEEN = (1, 2, 3, 5, 7, 10, 20)
# How many times the usual 1 - S the others have.
MULTIPLES = (4.0, 2.0, 0.5)
# What is held while S varies, as the table has it.
HELD = {"n(1-S)": "n (1 - S)", "n": "n"}


def _parts(recipe: Mapping[str, Any], seeds: int) -> dict[str, dict[str, Any]]:
    """The sweep over weight decays, and one for each other sparsity and n."""
    usual = TrainConfig(**recipe)
    gap = usual.density
    fields = {**recipe, "m": 2, "seed": range(seeds)}
    parts = {PART: {**fields, "T": _examples(gap), "weight_decay": DECAYS}}
    for multiple in MULTIPLES:
        S = round(1.0 - multiple * gap, 12)
        for n in (usual.n, round(usual.n / multiple)):
            here = {"n": n, "sparsity": S, "eps": usual.eps * (usual.n / n) ** 2}
            parts[f"{PART}-S{S}-n{n}"] = {**fields, **here, "T": _examples(multiple * gap)}
    return parts


def _examples(gap: float) -> tuple[int, ...]:
    """The T at which a feature of probability ``gap`` occurs in so many examples as SEEN has."""
    return tuple(round(seen / gap) for seen in SEEN)


@dataclass(frozen=True)
class Jump:
    """One curve of the largest dimensionality of a feature, and where it passes half-way.

    Attributes
    ----------
    held : str
        What the curves that it is compared with have in common: "S", "n(1-S)" or "n".
    config : TrainConfig
        A run of it.
    T : float
        Where the mean over seeds passes half-way; NaN if it does not.
    by_seed : list of float
        The same for each seed that passes.
    low, high : float
        The smallest and largest mean.
    """

    held: str
    config: TrainConfig
    T: float
    by_seed: list[float]
    low: float
    high: float

    @property
    def seen(self) -> float:
        """In how many examples a feature occurs there, T (1 - S)."""
        return self.T * self.config.density


def crossing(T: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Where a curve passes half-way from its smallest to its largest value, for the last time.

    Parameters
    ----------
    T, y : array of shape (points,)
        The curve; points that are not finite are left out.

    Returns
    -------
    float
        Interpolated in log T; NaN if the curve is flat, or ends below half-way.
    """
    x, heights = np.asarray(T, dtype=np.float64), np.asarray(y, dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(heights)
    order = np.argsort(x[known])
    x, heights = x[known][order], heights[known][order]
    if heights.size < 2:
        return math.nan
    half = 0.5 * (heights.min() + heights.max())
    below = np.flatnonzero(heights < half)
    if below.size == 0 or below[-1] == heights.size - 1:
        return math.nan
    return passes_at(x, heights, int(below[-1]), half)


def jumps(results: Results) -> list[Jump]:
    """Where each curve jumps: those of the weight decays, and those of the sparsities twice."""
    first = results[PART]
    found = []
    for decay in first.coords["weight_decay"]:
        config = next(c for c in first.configs if c.weight_decay == decay)
        found.append(_jump("S", config, first.finished.dataset.sel(weight_decay=decay)))
    for held in HELD:
        found += [_jump(held, config, data) for config, data in _sparsities(results, held)]
    return found


def _jump(held: str, config: TrainConfig, data: xarray.Dataset) -> Jump:
    values = data[VARIABLE].transpose("T", "seed")
    T, by_seed = data["T"].to_numpy(), values.to_numpy()
    mean = values.mean("seed").to_numpy()
    passing = [x for x in (crossing(T, y) for y in by_seed.T) if math.isfinite(x)]
    ends = (float(np.nanmin(mean)), float(np.nanmax(mean))) if np.isfinite(mean).any() else None
    return Jump(held, config, crossing(T, mean), passing, *(ends or (math.nan, math.nan)))


def _sparsities(results: Results, held: str) -> list[tuple[TrainConfig, xarray.Dataset]]:
    """A config and the data set of each sparsity, where n or n (1 - S) is that of the first."""
    found = []
    others = [result for name, result in results.items() if name != PART]
    decay = others[0].configs[0].weight_decay
    usual = next(c for c in results[PART].configs if c.weight_decay == decay)
    found.append((usual, results[PART].finished.dataset.sel(weight_decay=decay, drop=True)))
    for result in others:
        config = result.configs[0]
        if math.isclose(_kept(config, held), _kept(usual, held), rel_tol=1e-6):
            found.append((config, result.finished.dataset))
    return sorted(found, key=lambda pair: pair[0].sparsity)


def _kept(config: TrainConfig, held: str) -> float:
    return config.n if held == "n" else config.n * config.density


def together(results: Results, held: str) -> xarray.Dataset:
    """The data sets of the sparsities that have n or n (1 - S) in common, over a new axis."""
    import xarray

    parts = [data.assign_coords(sparsity=c.sparsity) for c, data in _sparsities(results, held)]
    return xarray.concat(parts, "sparsity", join="outer", combine_attrs="drop")


def spreads(found: list[Jump]) -> dict[str, tuple[int, float, float, float]]:
    """By what is held: the number of jumps, the factors between the least and the most, exponent.

    The factors are those of T and of T (1 - S). The exponent a is that of T ~ (1 / (1 - S))^a.
    """
    spread = {}
    for held in ("S", *HELD):
        some = [jump for jump in found if jump.held == held and math.isfinite(jump.T)]
        T, seen = np.array([jump.T for jump in some]), np.array([jump.seen for jump in some])
        rarity = np.log([1.0 / jump.config.density for jump in some])
        exponent = math.nan
        if len(some) > 1 and np.ptp(rarity) > 0:
            exponent = float(np.polyfit(rarity, np.log(T), 1)[0])
        factors = [float(v.max() / v.min()) if v.size else math.nan for v in (T, seen)]
        spread[held] = (len(some), factors[0], factors[1], exponent)
    return spread


Measured = tuple[Results, list[Jump]]


def measure(results: Results) -> Measured:
    """The sweeps, and where each curve jumps."""
    return results, jumps(results)


def tables(measured: Measured, scale: str) -> list[Table]:
    """Where each curve jumps, and how far the jumps lie apart."""
    results, found = measured
    config = results[PART].configs[0]
    heading = (
        f"Where the largest dimensionality of a feature passes half-way, at the {scale} scale:\n"
        f"m = {config.m}, {config.steps:,} steps, learning rate {config.learning_rate:g}. "
        '"held" is what the curves to be compared have in\ncommon. Low and high are the ends of '
        "the mean over seeds, T first and T last the T of the seeds\none by one."
    )
    rows: list[tuple[Value, ...]] = []
    for jump in found:
        c, seeds = jump.config, jump.by_seed
        ends = (min(seeds, default=math.nan), max(seeds, default=math.nan))
        where = (jump.held, c.weight_decay, cast("float", c.sparsity), c.n)
        rows.append((*where, jump.low, jump.high, jump.T, *ends, jump.seen))
    columns = ["held", "weight_decay", "sparsity", "n", "low", "high"]
    columns += ["T", "T_first", "T_last", "T(1-S)"]
    formats = dict.fromkeys(("T", "T_first", "T_last"), ".0f")
    formats |= {"weight_decay": "g", "sparsity": "g", "T(1-S)": ".2f", "low": ".3f", "high": ".3f"}
    apart = (
        "How far the jumps lie apart: the factor between the least and the most T, and T (1 - S).\n"
        "The exponent a in T ~ (1 / (1 - S))^a is 1 if T (1 - S) alone counts, and 0 if T does."
    )
    names = ["held", "curves", "factor_T", "factor_T(1-S)", "exponent"]
    lines: list[tuple[Value, ...]] = [(held, *rest) for held, rest in spreads(found).items()]
    return [
        Table(PART, columns, rows, heading, formats),
        Table(f"{PART}-apart", names, lines, apart, dict.fromkeys(names, ".2f")),
    ]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """The curves of the weight decays; those of the sparsities against T and T (1 - S)."""
    from toysup.paper.curves.generalization_drawing import collapse
    from toysup.plot._sweeps.against import against

    results, found = measured
    if "ok" in results[PART].statuses:
        yield f"{PART}-decay", against(results[PART], VARIABLE, hue="weight_decay")
    sets = {_title(results, held): together(results, held) for held in HELD}
    if all((data["status"] == "ok").any() for data in sets.values()):
        at = [[(jump.T, jump.seen) for jump in found if jump.held == held] for held in HELD]
        yield f"{PART}-sparsity", collapse(sets, VARIABLE, dict(zip(sets, at, strict=True)))


def _title(results: Results, held: str) -> str:
    """What is held, with its value."""
    config, _ = _sparsities(results, held)[0]
    return f"{HELD[held]} = {_kept(config, held):,.6g}".replace("-", "−")


def see(measured: Measured, scale: str) -> str:
    """At which T the jump is, and how well T and T (1 - S) tell it."""
    _, found = measured
    said = []
    decays = [jump for jump in found if jump.held == "S" and math.isfinite(jump.T)]
    if decays:
        at = ", ".join(f"{jump.T:.0f} for {jump.config.weight_decay:g}" for jump in decays)
        said.append(f"In {PART}-decay.png: the jump, by weight decay, is at T = {at}.")
    apart = []
    for held, (count, of_T, of_seen, exponent) in spreads(found).items():
        if held in HELD and count > 1:
            seen = [jump.seen for jump in found if jump.held == held and math.isfinite(jump.T)]
            apart.append(
                f"with {HELD[held]} held, T at the jump differs by a factor of {of_T:.1f} and "
                f"T (1 - S), {min(seen):.1f} to {max(seen):.1f}, by {of_seen:.1f}, so T goes as "
                f"(1 / (1 - S))^{exponent:.2f}"
            )
    if apart:
        said.append(f"In {PART}-sparsity.png: {'; '.join(apart)}.")
    return " ".join(said) or _runs.NOTHING


GENERALIZATION = Preset(
    name="generalization",
    title="from which T on a feature has a direction, by weight decay and sparsity, for m = 2",
    scales={"small": _parts(STAND_IN, 2), "paper": _parts({}, 4)},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
