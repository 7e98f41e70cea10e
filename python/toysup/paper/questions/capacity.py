"""Capacity: how many examples a model stores before test loss rises, and what sets that number.

Asked: in the heat map the ridge of test loss moves to larger T as m grows. At which T does it begin
for each m, and with which power of m? A law of the number of parameters would be m^1. Is that
number one of the model, or of its training: how far the optimizer can move the weights?

Trained: for several m, each at a fine grid of T around the place. Then, for one m, other n (with
n (1 - S) held, so that examples have as many non-zeros), other S (with n held), other weight
decays, and other numbers of steps and learning rates, two of which have the same product.

Measured: the T at which test loss first passes 1.01 with rising T, between two T on the logarithmic
scale, for each seed; a seed that does not pass within its grid, or has passed at its start, has
none. The exponent is that of the power law through the geometric means over seeds. Its interval,
95 %, is found by drawing the seeds anew 2,000 times: the data set of a seed is the same for all m,
so seeds are drawn for all of a law's points together. That the points lie on no power law is not in
it: the residual tells.

Expected: if the travel of the optimizer sets it, the T moves with steps times learning rate, and
does not if both vary with the product held. One seed of the recorded heat map has 87 m^1.88.

Part "capacity" holds the numbers of steps and the learning rates, and each further part those of
one other m, n or S, or the weight decays.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._sweep.table import Table, Value
from toysup.config import TrainConfig
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN
from toysup.paper._statistics import passes_at

__all__ = ["CAPACITY", "Curve", "Law", "curves", "first_passing", "laws"]

PART = "capacity"
# What test loss passes.
LEVEL = 1.01
_DRAWS = 2_000

Floats = npt.NDArray[np.float64]


def _around(T: float, count: int, ratio: float) -> tuple[int, ...]:
    """An odd number of T, evenly over log T."""
    return tuple(round(T * ratio**k) for k in range(-(count // 2), count // 2 + 1))


def _parts(
    recipe: Mapping[str, Any],
    seeds: int,
    m: Sequence[int],
    place: Callable[[float], float],
    grid: tuple[int, float],
) -> dict[str, dict[str, Any]]:
    """The sweeps, with grids around ``place(m)``; the first of the m has all the other settings."""
    usual = TrainConfig(**recipe)
    n, gap, seed = usual.n, usual.density, range(seeds)
    fields = {**recipe, "m": m[0], "seed": seed, "T": _around(place(m[0]), *grid)}
    parts = {
        PART: {
            **fields,
            "steps": (usual.steps // 2, usual.steps),
            "learning_rate": (usual.learning_rate, 2 * usual.learning_rate),
        }
    }
    for other in m[1:]:
        parts[f"{PART}-m{other}"] = {**fields, "m": other, "T": _around(place(other), *grid)}
    for factor in (0.5, 2.0):
        S = round(1.0 - gap / factor, 12)
        here = {"n": round(factor * n), "sparsity": S, "eps": usual.eps / factor**2}
        T = _around(factor * place(m[0]), *grid)
        parts[f"{PART}-n{here['n']}"] = {**fields, **here, "T": T}
        T = _around(factor**0.5 * place(m[0]), *grid)
        parts[f"{PART}-S{S}"] = {**fields, "sparsity": S, "T": T}
    parts[f"{PART}-decay"] = {**fields, "weight_decay": (0.0, 10 * usual.weight_decay)}
    return parts


# The distance that the weights can move, steps times learning rate, is that of the usual stand-in.
SMALL = {**STAND_IN, "steps": 2_500, "learning_rate": 2e-2, "test_size": 10_000, "record": 1}
PAPER = {"record": 1}
SCALES = {
    "small": _parts(SMALL, 4, (4, 2, 3, 6, 8), lambda m: 265 * (m / 4) ** 1.4, (7, 1.15)),
    "paper": _parts(PAPER, 4, (4, 5, 6, 7, 8, 9, 10, 16), lambda m: 87 * m**1.88, (17, 1.1)),
}


def first_passing(T: npt.ArrayLike, loss: npt.ArrayLike, level: float = LEVEL) -> float:
    """The T at which a loss first passes a level with rising T, interpolated in log T.

    Losses that are not finite are left out. NaN if none of the others is above the level, or the
    first one already is.
    """
    order = np.argsort(T)
    x, y = np.asarray(T, dtype=np.float64)[order], np.asarray(loss, dtype=np.float64)[order]
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    above = np.flatnonzero(y > level)
    if not above.size or above[0] == 0:
        return math.nan
    return passes_at(x, y, int(above[0]) - 1, level)


@dataclass(frozen=True)
class Curve:
    """Test loss against T for one setting of all else.

    Attributes
    ----------
    config : TrainConfig
        One of its runs.
    losses : dict of int to dict of float to float
        By seed and by T, the test loss of each run that ended well.
    """

    config: TrainConfig
    losses: dict[int, dict[float, float]]

    @functools.cached_property
    def passing(self) -> dict[int, float]:
        """By seed, the T at which test loss passes; seeds that have none are left out."""
        found = {
            seed: first_passing(list(of_T), list(of_T.values()))
            for seed, of_T in self.losses.items()
        }
        return {seed: T for seed, T in found.items() if math.isfinite(T)}

    @property
    def place(self) -> float:
        """The geometric mean over the seeds that pass; NaN if none does."""
        return math.exp(_runs.mean(np.log(list(self.passing.values()))))


def _setting(config: TrainConfig) -> tuple[float, ...]:
    """All that a curve has one value of."""
    c = config
    return c.m, c.n, c.density, c.steps, c.learning_rate, c.weight_decay


def curves(results: Results) -> list[Curve]:
    """A curve for each setting; the first is the usual one, with the most steps and least rate."""
    found: dict[tuple[float, ...], Curve] = {}
    for result in results.values():
        losses = result.dataset["test_loss"].to_numpy().ravel()
        for config, status, loss in zip(result.configs, result.statuses, losses, strict=True):
            curve = found.setdefault(_setting(config), Curve(config, {}))
            of_T = curve.losses.setdefault(config.seed, {})
            if status == "ok" and config.T < math.inf:
                of_T[config.T] = float(loss)
    first = [c for c in found.values() if c.config in results[PART].configs]
    usual = max(first, key=lambda c: (c.config.steps, -c.config.learning_rate))
    return [usual, *(c for c in found.values() if c is not usual)]


def budget(config: TrainConfig) -> float:
    """Steps times learning rate, which bounds how far AdamW can move a weight."""
    return config.steps * config.learning_rate


# By its name: what varies, and what the curves have in common with the usual one. What is not
# named here is the same for all of a law.
_LAWS: dict[str, tuple[Callable[[TrainConfig], float], Callable[[TrainConfig], tuple[float, ...]]]]
_LAWS = {
    "m": (lambda c: c.m, lambda c: (c.n, c.density, c.steps, c.learning_rate, c.weight_decay)),
    "n": (
        lambda c: c.n,
        lambda c: (c.m, c.n * c.density, c.steps, c.learning_rate, c.weight_decay),
    ),
    "1/(1-S)": (
        lambda c: 1 / c.density,
        lambda c: (c.m, c.n, c.steps, c.learning_rate, c.weight_decay),
    ),
    "steps*rate": (budget, lambda c: (c.m, c.n, c.density, c.weight_decay)),
    "steps": (lambda c: c.steps, lambda c: (c.m, c.n, c.density, budget(c), c.weight_decay)),
}


@dataclass(frozen=True)
class Law:
    """A power law T ~ x^a through the places of some curves.

    Attributes
    ----------
    name : str
        What varies: "m", "n", "1/(1-S)", "steps*rate", or "steps" with that product held.
    x, T : arrays
        Its values, rising, and the place at each.
    exponent, low, high : float
        The exponent a, and its interval over drawn seeds; of one seed there is none, NaN.
    residual : float
        Root mean square of log T about the law.
    factor : float
        T at x = 1, by the law.
    curves : list of Curve
        What x and T are of.
    """

    name: str
    x: Floats
    T: Floats
    exponent: float
    low: float
    high: float
    residual: float
    factor: float
    curves: list[Curve]

    @property
    def interval(self) -> str:
        """The interval in words."""
        return "one seed" if math.isnan(self.low) else f"{self.low:.2f} to {self.high:.2f}"


def laws(found: Sequence[Curve]) -> list[Law]:
    """The laws of which there are two different values or more."""
    made = []
    for name, (value, common) in _LAWS.items():
        shared = common(found[0].config)
        some = [c for c in found if np.allclose(common(c.config), shared, rtol=1e-6, atol=0.0)]
        some = sorted((c for c in some if c.passing), key=lambda c: value(c.config))
        x = np.array([value(c.config) for c in some], dtype=np.float64)
        if np.unique(x).size > 1:
            made.append(_law(name, x, some))
    return made


def _law(name: str, x: Floats, some: list[Curve]) -> Law:
    """The power law through these curves."""
    T = np.array([c.place for c in some])
    exponent, offset = np.polyfit(np.log(x), np.log(T), 1)
    drawn = _runs.finite(_drawn(np.log(x), some))
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn.size else (math.nan, math.nan)
    rest = np.log(T) - exponent * np.log(x) - offset
    return Law(
        name=name,
        x=x,
        T=T,
        exponent=float(exponent),
        low=float(low),
        high=float(high),
        residual=float(np.sqrt(np.mean(rest**2))),
        factor=math.exp(offset),
        curves=some,
    )


def _drawn(x: Floats, some: Sequence[Curve]) -> Floats:
    """Exponents with other draws of the seeds, against log x; NaN where only one x has a place.

    None of one seed, of which there are no other draws.
    """
    seeds = sorted({seed for c in some for seed in c.passing})
    if len(seeds) < 2:
        return np.empty(0)
    log_T = np.log([[c.passing.get(seed, np.nan) for seed in seeds] for c in some])
    rng = np.random.Generator(np.random.Philox(0))
    which = rng.integers(len(seeds), size=(_DRAWS, len(seeds)))
    known = np.isfinite(log_T)
    counts = known[:, which].sum(axis=2)
    sums = np.where(known, log_T, 0.0)[:, which].sum(axis=2)
    exponents = []
    for count, total in zip(counts.T, sums.T, strict=True):
        there = count > 0
        if np.unique(x[there]).size < 2:
            exponents.append(math.nan)
        else:
            exponents.append(np.polyfit(x[there], total[there] / count[there], 1)[0])
    return np.array(exponents, dtype=np.float64)


Measured = tuple[list[Curve], list[Law]]


def measure(results: Results) -> Measured:
    """The curves, and the laws of their places."""
    found = curves(results)
    return found, laws(found)


def tables(measured: Measured, scale: str) -> list[Table]:
    """Where each curve passes, and the exponents."""
    found, of = measured
    rows: list[tuple[Value, ...]] = []
    for c in found:
        T = list(c.passing.values())
        ends = (min(T, default=math.nan), max(T, default=math.nan))
        m, n, density, *rest = _setting(c.config)
        seeds, passing = len(c.losses), len(T)
        rows.append((m, n, 1 - density, *rest, budget(c.config), seeds, passing, c.place, *ends))
    heading = (
        f"Where test loss first passes {LEVEL} with rising T, at the {scale} scale: the geometric "
        "mean over the seeds\nthat pass within their grid, and the least and the most of them."
    )
    columns = ["m", "n", "S", "steps", "learning_rate", "weight_decay", "steps*rate"]
    columns += ["seeds", "passing", "T", "T_first", "T_last"]
    formats = dict.fromkeys(("S", "learning_rate", "weight_decay", "steps*rate"), "g")
    formats |= dict.fromkeys(("T", "T_first", "T_last"), ".0f")
    text = (
        "Exponents of T in power laws, each of one quantity, with 95 % intervals over drawn seeds."
        "\nn: with n (1 - S) held; 1/(1-S): with n held; steps: with steps * rate held. The "
        "residual is\nthat of log T."
    )
    names = ["law", "curves", "from", "to", "exponent", "low", "high", "residual", "factor"]
    lines: list[tuple[Value, ...]] = [
        (w.name, len(w.x), w.x[0], w.x[-1], w.exponent, w.low, w.high, w.residual, w.factor)
        for w in of
    ]
    exponents = dict.fromkeys(("exponent", "low", "high"), ".2f")
    return [
        Table(PART, columns, rows, heading, formats),
        Table(
            f"{PART}-laws",
            names,
            lines,
            text,
            {"from": "g", "to": "g", "factor": ".3g", **exponents},
        ),
    ]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """Test loss against T for each m, and the laws."""
    from toysup.paper.questions.capacity_drawing import capacity

    found, of = measured
    if of:
        decays = [c for c in found if _setting(c.config)[:-1] == _setting(found[0].config)[:-1]]
        yield PART, capacity(of, sorted(decays, key=lambda c: c.config.weight_decay), LEVEL)


def see(measured: Measured, scale: str) -> str:
    """The exponents."""
    _, of = measured
    said = [f"{_NAMES[w.name]}^{w.exponent:.2f} ({w.interval})" for w in of]
    if not said:
        return f"Test loss passes {LEVEL} at too few settings for a law."
    return f"In {PART}.png: test loss passes {LEVEL} at a T that goes as {'; '.join(said)}."


_NAMES = {
    "m": "m",
    "n": "n (n (1 - S) held)",
    "1/(1-S)": "(1 / (1 - S))",
    "steps*rate": "(steps * rate)",
    "steps": "steps (steps * rate held)",
}


CAPACITY = Preset(
    name=PART,
    title="how many examples are stored before test loss rises, against m, n, S and training",
    scales=SCALES,
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
