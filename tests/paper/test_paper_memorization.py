"""Memorization scores: halves, scores, agreement and shape, and what the preset writes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toysup
from toysup import TrainConfig, regime
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import _preset
from toysup.paper.questions import memorization
from toysup.paper.questions.memorization import MEMORIZATION, PART

TINY: dict[str, Any] = {
    **{"n": 40, "sparsity": 0.9, "steps": 200, "learning_rate": 2e-2, "eps": 1e-6},
    **{"m": 2, "T": [4, 8], "seed": range(2), "test_size": 50, "record": 1},
}


def halves(monkeypatch: pytest.MonkeyPatch, count: int = 8, **fields: Any) -> dict[str, Any]:
    """The results of the whole preset, with few runs of few steps."""
    monkeypatch.setitem(memorization.HALVES, "small", count)
    first = {PART: toysup.sweep(progress=False, **{**TINY, **fields})}
    more = memorization.then(first, "small")
    return {**first, **{k: toysup.sweep(progress=False, **v) for k, v in more.items()}}


def score_by_hand(result: SweepResult, t: int) -> float:
    """mem of example t, by the runs and the rows that they have."""
    data = memorization.find(result.configs[0].data)  # type: ignore[arg-type]
    row = data.X.toarray()[[t]]
    inside, outside = [], []
    for run in result.runs():
        trained = run.training_set().toarray()
        own = (trained == row).all(axis=1).any()
        (inside if own else outside).append(run.loss(row))
    return float(np.mean(outside) - np.mean(inside))


def test_a_pool_is_of_the_first_examples_that_are_not_empty() -> None:
    config = TrainConfig(**{**TINY, "T": 30, "seed": 0, "sparsity": 0.97})
    stream = toysup.data.sample(40, 160, 0.97, 0).toarray()
    filled = stream[stream.any(axis=1)]
    assert len(filled) < 160
    found = memorization.pool(config)
    np.testing.assert_allclose(found.X.toarray(), filled[:60], rtol=1e-15)


def test_each_T_is_trained_on_halves_of_twice_as_many() -> None:
    endless = {"T": [4, 8, math.inf], "steps": 0}
    first = {PART: toysup.sweep(progress=False, **{**TINY, **endless})}
    for scale, count in memorization.HALVES.items():
        more = memorization.then(first, scale)
        assert list(more) == [f"{PART}-4", f"{PART}-8"]
        for T, fields in zip((4, 8), more.values(), strict=True):
            assert len(fields["data"]) == 2 * T and fields["T"] == T
            assert fields["seed"] == range(count)
            assert fields["learning_rate"] == 2e-2
    assert memorization.HALVES["paper"] >= 500


def test_scores_are_the_difference_of_the_means(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = halves(monkeypatch)
    result = results[f"{PART}-4"]
    one = memorization.scores(result, 1.0)
    assert one.inside.shape == one.losses.shape == (8, 8)
    assert (one.inside.sum(axis=1) == 4).all()
    for t in range(8):
        assert one.score[t] == pytest.approx(score_by_hand(result, t), abs=1e-9)
    runs = list(result.runs())
    assert one.train_loss == pytest.approx(np.mean([run.train_loss for run in runs]))
    assert one.test_loss == pytest.approx(np.mean([run.test_loss for run in runs]))
    assert sum(share for share, _ in one.labels.values()) == pytest.approx(1.0)
    assert one.measures["gain"].shape == (2, 4)


def test_the_score_of_a_few_runs_and_its_error() -> None:
    inside = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [0, 1]], dtype=bool)
    losses = np.array([[1.0, 2.0], [3.0, 9.0], [7.0, 4.0], [9.0, 9.0], [11.0, 6.0]])
    score, error = memorization.score_of(inside, losses)
    assert score.tolist() == [9.0 - 2.0, 9.0 - 4.0]
    assert error == pytest.approx([math.sqrt(4 / 3 + 1), math.sqrt(4 / 3)])
    alone, _ = memorization.score_of(inside[:2], losses[:2])
    assert np.isnan(alone).all()  # none without the first, one with the second


def test_measures_are_those_of_the_run_and_of_its_start() -> None:
    run = toysup.train(**{**TINY, "T": 8, "seed": 1}, progress=False)
    start = toysup.train(run.config, steps=0, progress=False)
    label = np.array(["single", "none", "cluster", "feature", "partial", "none", "none", "single"])
    found = memorization.measures_of(run, run.training_set(), label)
    assert list(found) == list(memorization.MEASURES)
    np.testing.assert_allclose(found["dimensionality"], run.example_dimensionality())
    np.testing.assert_allclose(found["gain"], regime.example_gain(run))
    np.testing.assert_allclose(found["untrained_dimensionality"], start.example_dimensionality())
    assert found["stored"].tolist() == [1, 0, 1, 0, 1, 0, 0, 1]
    assert found["nonzeros"].tolist() == np.diff(run.training_set().indptr).tolist()
    assert -found["loss"].mean() == pytest.approx(run.train_loss)
    assert set(memorization.CONTROLS) < set(memorization.MEASURES)
    assert "gain" not in memorization.CONTROLS


def test_what_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(memorization.HALVES, "small", 6)
    scales = {"small": {PART: TINY}}
    preset = dataclasses.replace(MEMORIZATION, scales=scales)
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    main, told, classes = made.tables
    rows = main.records()
    assert [(row["T"], row["examples"], row["runs"]) for row in rows] == [(4, 8, 6), (8, 16, 6)]
    usual = made.results[PART].dataset.test_loss.sel(T=4).mean()
    assert rows[0]["test_loss"] == pytest.approx(float(usual))
    assert len(told.rows) == 2 * len(memorization.MEASURES)
    assert len(classes.rows) == 2 * len(regime.CLASSES)
    assert all(abs(row["correlation"] or 0) <= 1 for row in told.records())
    assert (tmp_path / f"{PART}.png").exists()
    assert "at T = 4 (" in made.text and "at T = 8 (" in made.text


def test_without_runs_there_is_nothing_to_see() -> None:
    result = toysup.sweep(progress=False, **{**TINY, "steps": 0})
    measured = MEMORIZATION.measure({PART: result})
    assert measured.scores == []
    assert MEMORIZATION.tell(measured, "small").startswith("No run has finished")
    assert list(MEMORIZATION.draw(measured, "small")) == []
