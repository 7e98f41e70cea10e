"""Recorded runs trained again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import toysup
from toysup import paper
from toysup.paper import _recorded
from toysup.paper._again import _configs, digits
from toysup.paper._recipe import PAPER

FIELDS = {"n": 30, "m": 2, "sparsity": 0.8, "steps": 40, "test_size": 50, "batch_size": 10}
AXES = {"T": [3, 7, math.inf], "seed": [0, 1], "loss_reduction": ["mean", "sum"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recorded table, "mine", that is not the package's."""
    monkeypatch.setattr(_recorded, "_folder", lambda: iter(tmp_path.iterdir()))
    result = toysup.sweep(**FIELDS, **AXES, progress=False)
    _recorded.record(result, tmp_path / "mine.csv", "a machine", "2026-01-31")
    return tmp_path


def test_the_batch_size_recorded_is_that_of_infinite_T(folder: Path) -> None:
    assert json.loads(paper.recorded("mine").attrs["fixed"])["batch_size"] == 10


def test_the_batch_size_of_the_packages_figure_3() -> None:
    """It is that of the preset, and the recipe of the finite T."""
    data = paper.recorded("figure3")
    assert json.loads(data.attrs["fixed"])["batch_size"] == PAPER["batch_size"] == 10_000
    configs = _configs(data)
    assert configs[0, 0] == toysup.TrainConfig(T=3)
    assert configs[len(data["T"]) - 1, 1].batch == 10_000


@pytest.mark.parametrize(
    "name", sorted({*paper.recorded_names()} - {"branches-started", "endless-revived"})
)
def test_every_recorded_run_has_a_config(name: str) -> None:
    data = paper.recorded(name)
    configs = _configs(data)
    done = np.argwhere((data["status"] == "ok").to_numpy())
    for place in (done[0], done[-1]):
        at = data.isel(dict(zip(data.dims, place, strict=True)))
        config = configs[tuple(place.tolist())]
        assert all(getattr(config, axis) == at[axis].item() for axis in data.dims)
        assert config.steps >= int(at["steps_done"])


def spoil(folder: Path) -> None:
    """Another train loss for every run."""
    path = folder / "mine.csv"
    first, head, *lines = path.read_text().splitlines()
    at = head.split(",").index("train_loss")
    rows = [line.split(",") for line in lines]
    for row in rows:
        row[at] = f"{float(row[at]) + 0.01:.7g}"
    path.write_text("\n".join([first, head, *map(",".join, rows)]) + "\n")


def test_recorded_runs_come_out_again(folder: Path) -> None:
    table = paper.train_again("mine", runs=99, n_jobs=1, progress=False)
    assert list(table.columns) == [*AXES, "variable", "recorded", "found", "digits"]
    assert len(table.rows) == 12 * 5
    assert {row[-1] for row in table.rows} == {7}
    assert {row[:3] for row in table.rows} == {
        (T, seed, reduction)
        for T in AXES["T"]
        for seed in AXES["seed"]
        for reduction in AXES["loss_reduction"]
    }
    assert "a machine" in table.text() and "2026-01-31" in table.text()


def test_the_draw_is_that_of_its_seed(folder: Path) -> None:
    drawn = [
        [row[:3] for row in paper.train_again("mine", 2, seed=seed, progress=False).rows]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(set(rows)) == 2 for rows in drawn)


def test_what_does_not_come_out_is_seen(folder: Path) -> None:
    spoil(folder)
    rows = paper.train_again("mine", 1, progress=False).records()
    assert [row["digits"] < 3 for row in rows] == [True, False, False, False, False]


def test_digits_are_those_that_agree() -> None:
    pairs = {
        (1.0, 1.0): 7,
        (1.0, 1.0000000001): 7,
        (1.234567, 1.234568): 5,
        (0.01234567, 0.0123): 2,
        (1.0, 2.0): 0,
        (math.nan, 1.0): 0,
        (0.0, 1e-9): 0,
        (math.nan, math.nan): 7,
    }
    assert {pair: digits(*pair) for pair in pairs} == pairs


def test_bad_arguments_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"runs must be between 1 and .*, got 0"):
        paper.train_again("mine", runs=0)
    with pytest.raises(ValueError, match=r"longest must be at least .* s, .* got -1"):
        paper.train_again("mine", longest=-1)
    with pytest.raises(TypeError, match="longest"):
        paper.train_again("mine", longest="x")
    with pytest.raises(ValueError, match="name must be one of 'mine', got 'figure3'"):
        paper.train_again()


def test_runs_that_start_from_others_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'branches-started', whose runs start from other"):
        paper.train_again("branches-started")
