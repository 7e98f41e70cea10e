"""The two branches: which runs are of which, where they cross, and what starts from what."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from toysup import paper
from toysup._backends.protocol import Backend
from toysup.paper import _preset
from toysup.paper.questions.branches import (
    BRANCHES,
    RANDOM,
    SCANS,
    STARTED,
    Point,
    crossing,
    gap,
    lower,
    lowest,
    points,
)

TINY = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 40, "record": 3}


def tiny() -> _preset.Preset:
    scales = {
        scale: {
            part: {**fields, **TINY, **({"batch_size": 20} if "batch_size" in fields else {})}
            for part, fields in parts.items()
        }
        for scale, parts in BRANCHES.scales.items()
    }
    return dataclasses.replace(BRANCHES, scales=scales)


def point(T: float, train: float, branch: str, **other: object) -> Point:
    given = {"seed": 0, "start": "random", "rate": 1e-3, "test_loss": 1.0, **other}
    return Point(T=T, train_loss=train, branch=branch, **given)


def test_the_lowest_of_each_branch_and_where_they_cross() -> None:
    found = [
        point(100, 0.95, "examples"),
        point(100, 0.90, "examples", rate=0.5),
        point(100, 0.97, "features"),
        point(200, 0.96, "examples"),
        point(400, 0.99, "examples"),
        point(400, 0.98, "features"),
    ]
    best = lowest(found)
    assert {T: p.train_loss for T, p in best["examples"].items()} == {
        100: 0.90,
        200: 0.96,
        400: 0.99,
    }
    assert best["examples"][100].rate == 0.5
    assert [lower(best, T) for T in (100, 200, 400)] == ["examples", "examples", "features"]
    assert crossing(best) == (200, 400)


@pytest.mark.parametrize("branch", ["examples", "features"])
def test_one_branch_alone_does_not_cross(branch: str) -> None:
    best = lowest([point(100, 0.9, branch), point(200, 0.95, branch)])
    assert crossing(best) is None


def test_no_runs_at_all() -> None:
    assert lowest([]) == {"examples": {}, "features": {}}
    assert crossing(lowest([])) is None


def apart(gaps: dict[float, float]) -> list[Point]:
    """Both branches, so far apart."""
    examples = [point(T, 0.9, "examples") for T in gaps]
    return examples + [point(T, 0.9 + y, "features") for T, y in gaps.items()]


T_FITTED = [1_000, 2_000, 5_000, 10_000, 20_000]


def test_a_gap_is_fitted_to_where_it_closes() -> None:
    found = gap(lowest(apart({T: 20 / T - 20 / 500_000 for T in T_FITTED})))
    assert found is not None and list(found.by_T) == T_FITTED
    assert math.isclose(found.closes, 500_000) and found.error < 500


def test_a_gap_that_closes_between_two_T_is_interpolated() -> None:
    found = gap(lowest(apart({100: 0.3, 1_000: 0.1, 8_000: -0.2})))
    assert found is not None and math.isclose(found.closes, 2_000) and math.isnan(found.error)
    found = gap(lowest(apart({100: 0.3, 1_000: 0.0})))
    assert found is not None and math.isclose(found.closes, 1_000)


def test_the_error_of_where_a_gap_closes_is_that_of_the_fit() -> None:
    """As found by fitting again what noise of the same size has moved."""
    rng = np.random.default_rng(0)

    def noisy() -> dict[float, float]:
        return {T: (20 + rng.normal(0, 0.3)) / T - 20 / 40_000 for T in T_FITTED}

    fits = [gap(lowest(apart(noisy()))) for _ in range(300)]
    closes = np.array([fit.closes for fit in fits if fit is not None])
    errors = np.array([fit.error for fit in fits if fit is not None])
    assert math.isclose(np.sqrt(np.mean(errors**2)), closes.std(), rel_tol=0.2)


def test_a_gap_that_does_not_close_has_no_end() -> None:
    found = gap(lowest(apart({T: 20 / T + 1e-5 for T in T_FITTED})))
    assert found is not None and found.closes == math.inf and math.isnan(found.error)


def test_no_gap_is_fitted_to_few_T() -> None:
    assert gap(lowest(apart({}))) is None
    assert gap(lowest(apart({1: 1.0, 2: 0.5, 3: 0.3}))) is None
    assert gap(lowest(apart({1: -1.0, 2: -0.5}))) is None


def test_both_scans_start_below_the_crossing() -> None:
    for scale in paper.SCALES:
        T = SCANS[scale]["T"]
        assert list(T) == sorted(T) and T[0] >= 200
        assert BRANCHES.size(scale) == 1 + len(T) * len(SCANS[scale]["learning_rate"])


@pytest.mark.any_backend
def test_the_branches_are_trained_drawn_and_told(backend: Backend, tmp_path: Path) -> None:
    preset = tiny()
    sweeps = preset.fields("small", T=[6, 12])
    made = _preset.carry_out(preset, "small", tmp_path, sweeps, progress=False)
    assert list(made.results) == ["figure3", RANDOM, STARTED]
    assert made.results["figure3"].configs[0].T == math.inf
    started = made.results[STARTED]
    learnt, examples = started.coords["init"]
    assert (learnt.W == made.results["figure3"].run().W).all()
    of_fewest = [
        made.results[RANDOM].run(T=6, learning_rate=rate)
        for rate in started.coords["learning_rate"]
    ]
    assert (examples.W == min(of_fewest, key=lambda run: run.train_loss).W).all()
    found = points(made.results)
    assert len(found) == 2 * 3 * 3
    assert {p.start for p in found} == {"random", "features", "examples"}
    table, every = made.tables
    assert [row["T"] for row in table.records()] == [6, 12]
    assert len(every.rows) == len(found)
    for row in table.records():
        of_T = [p for p in found if row["T"] == p.T]
        assert row["examples_runs"] + row["features_runs"] == len(of_T)
        least = min(of_T, key=lambda p: p.train_loss)
        assert row["lower"] == least.branch
        assert row[f"{least.branch}_train"] == least.train_loss
    assert (tmp_path / "branches.png").stat().st_size > 1000
    assert "branches.png" in preset.see(made.results, "small")
    assert points({name: made.results[name].dataset for name in (RANDOM, STARTED)}) == found


def test_starts_that_diverged_are_named(tmp_path: Path) -> None:
    preset = tiny()
    sweeps = preset.fields("small", T=[6])
    sweeps[RANDOM] |= {"optimizer": "sgd", "learning_rate": [1e30], "warmup": 0.0}
    with pytest.raises(ValueError, match="have diverged: try fewer steps"):
        _preset.carry_out(preset, "small", tmp_path, sweeps, progress=False)
