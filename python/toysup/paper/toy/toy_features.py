"""The classic model: which features it represents, and how, as they become rarer.

"Toy Models of Superposition" (Elhage et al. 2022, transformer-circuits.pub/2022/toy_model) asks
when a model represents more features than it has dimensions. Its model is the same,
x' = ReLU(W^T W x + b), but examples are fresh at every step (T = ∞) and are not normalized, and
features differ in importance: the loss is sum_i I_i (x_i - x'_i)^2 with I_i = r^i. A feature is 0
with probability S, and else uniform on [0, 1].

Two models are trained at several densities 1 - S, each from a few initial W; the run of lowest
test loss counts. With dense features (1 - S = 1) the m most important ones get a dimension each, as
in a principal component analysis, and the others nothing. As features become rarer, more of them
are represented, in superposition. In the plane, five features show how: first two that are
orthogonal, then two pairs of opposite vectors, then a pentagon.

The paper has n = 20 and m = 5 with I_i = 0.7^i, and n = 80 and m = 20 with I_i = 0.9^i. The small
scale trains the first, in half the steps, with a larger learning rate that ends at 0; the paper's
scale trains the second. The paper's optimizer is Adam with a learning rate of 1e-3 and batches of
1,024 examples, over 10,000 steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper._preset import Preset, Results

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["CLASSIC", "FAST", "SLOW", "TOY_FEATURES", "runs_of"]

# What all presets of that paper share.
CLASSIC: dict[str, Any] = {
    "T": math.inf,
    "batch_size": 1_024,
    "normalize": False,
    "loss_reduction": "sum",
    "weight_decay": 0.0,
}
# Its steps; and fewer, which reach the same.
SLOW = {"steps": 10_000, "learning_rate": 1e-3, "warmup": 0.0, "schedule": "constant"}
FAST = {"steps": 5_000, "learning_rate": 1e-2}

# S of the densities 1, 0.3, 0.1, 0.03, 0.01, 0.003 and 0.001.
SPARSITY = (0.0, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999)
PLANE = {"n": 5, "m": 2, "importance": 0.9, "sparsity": (0.0, 0.8, 0.9), "init_seed": range(6)}

_FORMATS = {"density": ".4g", "sum_of_squares": ".2f", "max_superposition": ".2f"}


def scale(model: dict[str, Any], speed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Both sweeps, of a model of many dimensions and of the plane."""
    common = {**CLASSIC, **speed}
    many = {**common, **model, "sparsity": SPARSITY, "init_seed": range(3)}
    return {"toy-features": many, "toy-vectors": {**common, **PLANE}}


def runs_of(result: SweepResult) -> list[Run]:
    """The finished run of lowest test loss at each sparsity, dense to sparse."""
    from toysup.plot._figures.toy_features import open_fresh, runs_by_density

    return runs_by_density(open_fresh(result))


Measured = tuple[Results, list[Table]]


def measure(results: Results) -> Measured:
    """The sweeps; what is represented at each density, and how five features lie in the plane."""
    found = [_features_table(results["toy-features"]), _vectors_table(results["toy-vectors"])]
    return results, found


def tables(measured: Measured, scale: str) -> list[Table]:
    """What is represented at each density, and how five features lie in the plane."""
    return measured[1]


def _features_table(result: SweepResult) -> Table:
    from toysup.plot._figures.toy_features import density, superposition

    rows: list[tuple[Value, ...]] = []
    for run in runs_of(result):
        there = run.represented()
        square = float(np.sum(run.W.astype(np.float64) ** 2))
        most = float(superposition(run.W)[there].max(initial=0.0))
        numbers = (int(there.sum()), square, most, run.test_loss)
        rows.append((density(run.config.sparsity), *numbers))
    columns = ["density", "represented", "sum_of_squares", "max_superposition", "test_loss"]
    heading = (
        f"Features at each density 1 - S, of {_model(result)}.\n"
        "A feature with an own gain of at least 0.5 is represented; sum of squares is ||W||_F^2; "
        "superposition is\nthe sum of (W_i . W_j)^2 / ||W_i||^2 over the other features j, here "
        "the largest of a represented feature."
    )
    formats = {**_FORMATS, "test_loss": ".3g"}
    return Table("toy-features", columns, rows, heading=heading, formats=formats)


def _vectors_table(result: SweepResult) -> Table:
    from toysup.plot._figures.toy_features import density

    rows: list[tuple[Value, ...]] = []
    for run in runs_of(result):
        gaps = " ".join(f"{gap:.0f}" for gap in angles(run))
        count = int(run.represented().sum())
        rows.append((density(run.config.sparsity), count, gaps, run.test_loss))
    heading = (
        f"Features in the plane, of {_model(result)}.\n"
        "The angles, in degrees, are those between neighbours among the represented features."
    )
    columns = ["density", "represented", "angles", "test_loss"]
    return Table("toy-vectors", columns, rows, heading=heading, formats=_FORMATS)


def _model(result: SweepResult) -> str:
    config = result.configs[0]
    return (
        f"a model with n = {config.n}, m = {config.m}, I_i = {config.importance}^i, trained for "
        f"{config.steps:,} steps"
    )


def angles(run: Run) -> list[float]:
    """Degrees between neighbours among the represented features, all round, for m = 2."""
    x, y = run.W[:, run.represented()].astype(np.float64)
    at = np.sort(np.degrees(np.arctan2(y, x)))
    gaps: list[float] = np.diff(at, append=at[:1] + 360.0).tolist()
    return gaps


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """W^T W, b and the lengths at each density; and the five features in the plane."""
    from toysup.plot._figures.toy_features import toy_features, toy_vectors

    results, _ = measured
    yield "toy-features", toy_features(results["toy-features"])
    yield "toy-vectors", toy_vectors(results["toy-vectors"])


def see(measured: Measured, scale: str) -> str:
    """The numbers of features at both ends."""
    results, (features, vectors) = measured
    config = results["toy-features"].configs[0]
    parts = [
        f"{row['represented']} of {config.n} features at density {row['density']:g} "
        f"(superposition at most {row['max_superposition']:.2f})"
        for row in features.records()
    ]
    plane = [str(row["represented"]) for row in vectors.records()]
    if not parts or not plane:
        return "No run has finished."
    return (
        f"In toy-features.png: a model of m = {config.m} represents {parts[0]}, and "
        f"{parts[-1]}. In toy-vectors.png: {', '.join(plane)} of five features in the plane, as "
        "they become rarer."
    )


TOY_FEATURES = Preset(
    name="toy-features",
    title='which features are represented, dense to sparse ("Toy Models of Superposition")',
    scales={
        "small": scale({"n": 20, "m": 5, "importance": 0.7}, FAST),
        "paper": scale({"n": 80, "m": 20, "importance": 0.9}, SLOW),
    },
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
