"""The classic model with equal features: dimensions per feature, and their sticky values.

"Toy Models of Superposition" (Elhage et al. 2022, transformer-circuits.pub/2022/toy_model) trains
models of n equally important features in m dimensions, dense to sparse. A feature that is
represented has a length of about 1, so that D* = m / ||W||_F^2 is the number of dimensions that
each takes. It falls from 1, but not evenly: it stays at 1/2 for a range of densities, where
features lie in pairs of opposite vectors. The dimensionality D_i of each feature shows more such
values: those of a triangle, a tetrahedron, a pentagon or a square antiprism.

The paper's scale has n = 400 and m = 30; the small one has n = 100 and m = 10, fewer steps with a
larger learning rate, and batches of half the size. Dense features take most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper._preset import Preset, Results
from toysup.paper.toy.toy_features import CLASSIC, FAST, SLOW, runs_of

__all__ = ["TOY_DIMENSIONS"]

NAME = "toy-dimensions"


def sparsities(count: int) -> list[float]:
    """S for ``count`` log-spaced densities 1 ... 0.01."""
    return [round(1.0 - float(density), 6) for density in np.geomspace(1.0, 0.01, count)]


SMALL = {
    **CLASSIC,
    **FAST,
    "n": 100,
    "m": 10,
    "steps": 3_000,
    "batch_size": 512,
    "sparsity": sparsities(28),
    "test_size": 20_000,
}
PAPER = {**CLASSIC, **SLOW, "n": 400, "m": 30, "sparsity": sparsities(40), "test_size": 20_000}

# A dimensionality this close to 1/2 is that of an antipodal pair, and D* this close is sticky.
_PAIR = 0.01
_STICKY = 0.05

Measured = tuple[SweepResult, Table]


def measure(results: Results) -> Measured:
    """The sweep; D* at each density, and how many features lie in antipodal pairs."""
    from toysup.plot._figures.toy_features import density

    result = results[NAME]
    rows: list[tuple[Value, ...]] = []
    for run in runs_of(result):
        dense = density(run.config.sparsity)
        share = run.config.m / float(np.sum(run.W.astype(np.float64) ** 2))
        pairs = int(np.count_nonzero(np.abs(run.feature_dimensionality() - 0.5) < _PAIR))
        count = int(run.represented().sum())
        rows.append((dense, 1.0 / dense, share, count, pairs, run.test_loss))
    columns = ["density", "rareness", "dimensions_per_feature", "represented", "in_pairs"]
    config = result.configs[0]
    heading = (
        f"Dimensions per feature, D* = m / ||W||_F^2, of models with n = {config.n} equal features "
        f"and m = {config.m},\ntrained for {config.steps:,} steps. A feature is represented if its "
        "own gain is at least 0.5; one in an\nantipodal pair has a dimensionality within "
        f"{_PAIR} of 1/2."
    )
    formats = {"density": ".4g", "rareness": ".2f"}
    return result, Table(NAME, [*columns, "test_loss"], rows, heading=heading, formats=formats)


def tables(measured: Measured, scale: str) -> list[Table]:
    """The dimensions per feature."""
    return [measured[1]]


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """D* and the dimensionalities against 1 / (1 - S)."""
    from toysup.plot._figures.toy_dimensions import toy_dimensions

    yield NAME, toy_dimensions(measured[0])


def see(measured: Measured, scale: str) -> str:
    """D* at both ends, and where it stays at 1/2."""
    rows = measured[1].records()
    if not rows:
        return "No run has finished."
    share = "dimensions_per_feature"
    first, last = rows[0], rows[-1]
    sticky = [row for row in rows if abs(row[share] - 0.5) < _STICKY]
    stays = (
        f"it stays near 1/2 for 1 / (1 - S) from {sticky[0]['rareness']:.2f} to "
        f"{sticky[-1]['rareness']:.2f}, where {sum(row['in_pairs'] for row in sticky)} of "
        f"{sum(row['represented'] for row in sticky)} features lie in antipodal pairs"
        if sticky
        else "it does not stay near 1/2"
    )
    return (
        f"In {NAME}.png: a feature takes {first[share]:.3f} dimensions at density "
        f"{first['density']:g} and {last[share]:.3f} at {last['density']:g}; {stays}."
    )


TOY_DIMENSIONS = Preset(
    name=NAME,
    title='dimensions per feature against density ("Toy Models of Superposition")',
    scales={"small": {NAME: SMALL}, "paper": {NAME: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
