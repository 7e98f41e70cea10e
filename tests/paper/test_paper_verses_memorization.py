"""Memorization scores of verses: the pool, the sweeps, and what the preset writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import toysup
from toysup.data import Dataset
from toysup.paper import _preset
from toysup.paper.questions import memorization, verses, verses_memorization
from toysup.paper.questions.verses_memorization import PART, USUAL, VERSES_MEMORIZATION

TINY: dict[str, Any] = {
    **{"n": 40, "sparsity": 0.9, "steps": 150, "learning_rate": 2e-2, "eps": 1e-6},
    **{"m": 2, "T": [4, 8], "seed": range(2), "test_size": 50, "record": 1},
}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def made_up() -> verses.Text:
    """Eleven books of ten verses of two to six words; the tenth book is held out."""
    rng = np.random.default_rng(0)
    bags = [np.sort(rng.choice(40, rng.integers(2, 7), replace=False)) for _ in range(110)]
    return verses.Text(bags, np.arange(110) // 10, tuple(f"word {i}" for i in range(40)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verses, "text", lambda least: made_up())
    monkeypatch.setitem(memorization.HALVES, "small", 6)


def test_a_pool_is_of_verses_in_a_drawn_order() -> None:
    data = verses.dataset(made_up(), "made up")
    few, more = verses_memorization.pool(data, 5), verses_memorization.pool(data, 30)
    assert (len(few), len(more)) == (10, 60) and few.test is None
    assert few.feature_names == data.feature_names
    np.testing.assert_array_equal(few.X.toarray(), more.X.toarray()[:10])
    rows = {row.tobytes() for row in data.X.toarray()}
    assert all(row.tobytes() in rows for row in more.X.toarray())
    assert not np.array_equal(few.X.toarray(), data.X.toarray()[:10])
    with pytest.raises(ValueError, match="T must be at most 50, half of the verses, got 51"):
        verses_memorization.pool(data, 51)


def test_the_sweeps_are_of_usual_runs_and_of_halves(small: None) -> None:
    first = {PART: toysup.sweep(progress=False, **{**TINY, "steps": 0})}
    more = verses_memorization.then(first, "small")
    assert list(more) == [USUAL, f"{PART}-4", f"{PART}-8"]
    usual = more[USUAL]
    assert isinstance(usual["data"], Dataset)
    assert len(usual["data"]) == 100 and len(usual["data"].test) == 10  # type: ignore[arg-type]
    assert usual["T"] == [4, 8] and usual["seed"] == [0, 1]
    for T in (4, 8):
        fields = more[f"{PART}-{T}"]
        assert len(fields["data"]) == 2 * T and fields["T"] == T
        assert fields["seed"] == range(6) and fields["learning_rate"] == 2e-2


def test_what_is_written(small: None, tmp_path: Path) -> None:
    scales = {"small": {PART: TINY}}
    preset = dataclasses.replace(VERSES_MEMORIZATION, scales=scales, check=None)
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    main, told, _ = made.tables
    assert [table.name for table in made.tables] == [PART, f"{PART}-measures", f"{PART}-classes"]
    rows = main.records()
    assert [(row["T"], row["examples"], row["runs"]) for row in rows] == [(4, 8, 6), (8, 16, 6)]
    usual = made.results[USUAL].dataset.test_loss.sel(T=8).mean()
    assert rows[1]["test_loss"] == pytest.approx(float(usual))
    assert len(told.rows) == 2 * len(memorization.MEASURES)
    assert "verses as bags of words,\nn = 40" in main.text()
    assert (tmp_path / f"{PART}.png").exists()
    assert f"In {PART}.png" in made.text and "at T = 8 (" in made.text


def test_the_scales_differ_in_steps_and_seeds_alone() -> None:
    one, other = (VERSES_MEMORIZATION.scales[scale][PART] for scale in ("small", "paper"))
    assert {name for name in one if one[name] != other[name]} == {"steps", "learning_rate", "seed"}
    assert one["steps"] * one["learning_rate"] == other["steps"] * other["learning_rate"]
