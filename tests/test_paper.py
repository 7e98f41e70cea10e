"""The paper's figures as presets: the numbers they are compared with, and what they write."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

import toysup
from toysup import paper
from toysup._result import SweepResult
from toysup._sweep import sweep
from toysup._types import Backend
from toysup.errors import StoreError
from toysup.paper import _preset, figure3, heatmap, reference
from toysup.paper._table import Table, plain

TINY = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take a moment."""
    for name in paper.names():
        preset = paper.get(name)
        scales = {scale: {**fields, **TINY} for scale, fields in preset.scales.items()}
        monkeypatch.setitem(paper._REGISTRY, name, dataclasses.replace(preset, scales=scales))


def small_sweep(**fields: object) -> SweepResult:
    given = {"T": [3, 5, 200], "m": 2, "seed": range(2), **TINY, **fields}
    return sweep(progress=False, **given)


# --- the paper's numbers ---


def test_reference_covers_the_main_figure() -> None:
    assert reference.FIGURE3_T[:3] == (3, 5, 6)
    assert reference.FIGURE3_T[-2:] == (500_000, math.inf)
    assert len(reference.FIGURE3_T) == 21
    assert list(reference.FIGURE3_T) == sorted(reference.FIGURE3_T)
    assert reference.FIGURE3_TEST_LOSS[2_000] == reference.Reading(1.0150)


def test_readings_say_what_they_are() -> None:
    exact, bound = reference.Reading(1.0177), reference.Reading(1.025, is_bound=True)
    assert (str(exact), str(bound)) == ("1.0177", "> 1.025")
    assert exact.agrees(1.0178) and not exact.agrees(1.0180)
    assert bound.agrees(1.3) and not bound.agrees(1.02)


def test_the_paper_scale_is_the_papers_recipe() -> None:
    """Nothing but T, m, the seeds and what the paper leaves open is set: the defaults hold."""
    for name in paper.names():
        fields = paper.get(name).fields("paper")
        assert set(fields) <= {"T", "m", "seed", "batch_size"}
        assert list(fields["seed"]) == [0, 1, 2, 3]
    assert paper.get("figure3").size("paper") == 21 * 4
    assert paper.get("heatmap").size("paper") == 11 * 10 * 4


@pytest.mark.parametrize("name", paper.names())
def test_the_small_scale_is_one_tenth(name: str) -> None:
    full = toysup.TrainConfig()
    fields = paper.get(name).fields("small")
    data = ("T", "batch_size", "m", "seed")
    small = full.replace(**{k: v for k, v in fields.items() if k not in data})
    assert small.n * 10 == full.n
    assert (1 - small.sparsity) == pytest.approx(10 * (1 - full.sparsity))
    # Weights can grow as far: the learning rates have the same sum.
    assert small.steps * small.learning_rate == full.steps * full.learning_rate


@pytest.mark.parametrize(
    ("T", "scale", "there"),
    [(5, "small", 5), (50, "small", 50), (200, "small", 2_000), (math.inf, "small", math.inf),
     (200, "paper", 200), (math.inf, "paper", math.inf)],
)  # fmt: skip
def test_which_T_of_the_paper_is_compared(T: float, scale: str, there: float) -> None:
    assert figure3.paper_T(T, scale) == there


def test_every_small_T_has_a_value_to_compare_with() -> None:
    for T in figure3.SMALL["T"]:
        assert figure3.paper_T(T, "small") in reference.FIGURE3_TEST_LOSS


# --- the registry ---


def test_names_and_defaults() -> None:
    assert paper.names()[0] == "figure3"
    for scale in paper.SCALES:
        assert set(paper.DEFAULT[scale]) <= set(paper.names())
    for name in paper.names():
        preset = paper.get(name)
        assert preset.name == name
        assert set(preset.scales) == set(paper.SCALES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "figure33"}, "figure must be one of .*'figure33'; did you mean 'figure3'"),
        ({"scale": "smal"}, "scale must be one of .*'smal'; did you mean 'small'"),
        ({"seeds": 0}, "seeds must be between 1 .* got 0"),
        ({"T": []}, "T must have at least one value"),
        ({"T": [3, 3]}, "T has the value 3 twice"),
        ({"steps": -1}, "steps must be between 0 .* got -1"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        paper.reproduce(out=tmp_path / "out", progress=False, **arguments)
    assert not (tmp_path / "out").exists()


# --- tables ---


def test_figure3_table_has_mean_and_spread_of_the_seeds() -> None:
    result = small_sweep()
    (table,) = figure3.tables(result, "small")
    loss = result.dataset["test_loss"]
    for row in table.records():
        of_T = loss.sel(T=row["T"]).to_numpy()
        assert row["test_loss"] == pytest.approx(of_T.mean())
        assert row["spread"] == pytest.approx(of_T.std(ddof=1))
        assert row["seeds"] == 2
    assert [row["paper_test_loss"] for row in table.records()] == ["> 1.025", "1.0000", "1.0150"]
    assert [row["paper_T"] for row in table.records()] == [3, 5, 2_000]


def test_figure3_table_without_a_spread_or_a_reference() -> None:
    """One seed has no spread; a T that the paper does not have has no value to compare."""
    table = figure3.tables(small_sweep(T=[7], seed=[0]), "small")[0]
    row = table.records()[0]
    assert row["spread"] is row["paper_T"] is row["paper_test_loss"] is None


def test_tables_leave_out_diverged_runs() -> None:
    rates = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
    result = small_sweep(**rates)
    assert set(result.dataset["status"].to_numpy().ravel().tolist()) == {"diverged"}
    row = figure3.tables(result, "small")[0].records()[0]
    assert row["seeds"] == 0
    assert row["test_loss"] is None
    assert figure3.see(result, "small")
    both = small_sweep(m=[2, 3], **rates)
    assert heatmap.tables(both, "small")[0].records()[0]["T=3"] is None
    assert "nowhere" in heatmap.see(both, "small")


def test_heatmap_table_is_m_by_T() -> None:
    result = small_sweep(m=[2, 3])
    (table,) = heatmap.tables(result, "small")
    means = result.dataset["test_loss"].mean("seed")
    assert [row["m"] for row in table.records()] == [2, 3]
    for row in table.records():
        for T in (3, 5, 200):
            assert row[f"T={T}"] == pytest.approx(float(means.sel(T=T, m=row["m"])))


def test_see_finds_the_bump_and_the_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    result = small_sweep(T=[5, 10, 20, 50], m=[2, 3], seed=[0])
    data = result.dataset
    heights = np.array([[1.0, 1.0], [1.1, 0.9], [0.9, 1.2], [0.8, 0.8]])[:, :, None]
    bent = data.assign(test_loss=(data["test_loss"].dims, heights))
    monkeypatch.setattr(SweepResult, "dataset", property(lambda self: bent))
    text = heatmap.see(result, "small")
    assert "T=10 for m=2" in text and "T=20 for m=3" in text
    flat = bent.isel(m=0)
    monkeypatch.setattr(SweepResult, "dataset", property(lambda self: flat))
    text = figure3.see(result, "small")
    assert "a bump, 1.1000, at T = 10" in text and "0.8000 for T = 50" in text


def test_table_as_text_and_csv(tmp_path: Path) -> None:
    rows = [(3, 1.23456, None), (math.inf, math.nan, "> 1.025")]
    table = Table("t", ["T", "test_loss", "paper"], rows, heading="A heading.")
    assert table.text() == (
        "A heading.\n\n  T  test loss    paper\n  3     1.2346\ninf             > 1.025"
    )
    with open(table.save(tmp_path), newline="") as file:
        read = list(csv.reader(file))
    assert read == [["T", "test_loss", "paper"], ["3", "1.23456", ""], ["inf", "", "> 1.025"]]
    json.dumps(table.records(), allow_nan=False)
    assert table.records()[1] == {"T": "inf", "test_loss": None, "paper": "> 1.025"}


def test_plain_goes_into_lists_and_dicts() -> None:
    assert plain({"a": [math.inf, (-math.inf, math.nan)], "b": 1}) == {
        "a": ["inf", ["-inf", None]],
        "b": 1,
    }


def test_runs_table_has_a_row_for_every_cell() -> None:
    result = small_sweep(betas=[(0.9, 0.99), (0.8, 0.9)])
    rows = _preset.runs_table(result).records()
    assert len(rows) == len(result) == 12
    assert rows[1]["betas"] == "0.8 0.9"
    first = result.run(T=3, seed=0, betas=(0.9, 0.99))
    assert rows[0]["train_loss"] == first.train_loss
    assert {row["status"] for row in rows} == {"ok"}


# --- reproduce ---


@pytest.mark.usefixtures("tiny")
def test_reproduce_writes_tables_and_drawings(backend: Backend, tmp_path: Path) -> None:
    made = paper.reproduce(
        "figure3", out=tmp_path / "new" / "out", seeds=2, T=[3, 5, 200, math.inf], progress=False
    )
    assert not made.interrupted
    names = {path.name for path in made.files}
    assert names == {
        "figure3.csv", "figure3-runs.csv", "figure3.png", "figure3.svg", "vectors.png",
        "vectors.svg",
    }  # fmt: skip
    for path in made.files:
        assert path.parent == tmp_path / "new" / "out"
        assert path.stat().st_size > 100
        if path.suffix == ".svg":
            xml.etree.ElementTree.parse(path)
    assert toysup.open_sweep(made.store).dataset["status"].to_numpy().tolist() == [["ok"] * 2] * 4
    assert made.result.run(T=3, seed=0).provenance["backend"] == backend.name


@pytest.mark.usefixtures("tiny")
def test_reproduce_without_small_T_draws_no_polygons(tmp_path: Path) -> None:
    made = paper.reproduce("figure3", out=tmp_path, seeds=1, T=[200], progress=False)
    assert {path.suffix for path in made.files} == {".csv", ".png", ".svg"}
    assert not any(path.name.startswith("vectors") for path in made.files)


@pytest.mark.usefixtures("tiny")
def test_reproduce_again_trains_nothing(tmp_path: Path) -> None:
    arguments = {"out": tmp_path, "T": [5, 200], "progress": False}
    first = paper.reproduce("heatmap", **arguments)
    before = {p: p.stat().st_mtime_ns for p in (first.store / "runs").iterdir()}
    bytes_before = {p: p.read_bytes() for p in first.files}
    again = paper.reproduce("heatmap", **arguments)
    assert {p: p.stat().st_mtime_ns for p in (again.store / "runs").iterdir()} == before
    assert {p: p.read_bytes() for p in again.files} == bytes_before
    more = paper.reproduce("heatmap", seeds=2, **arguments)
    assert len(list((more.store / "runs").glob("*.npz"))) == 2 * len(before)


@pytest.mark.usefixtures("tiny")
def test_reproduce_refuses_the_folder_of_other_fields(tmp_path: Path) -> None:
    paper.reproduce("heatmap", out=tmp_path, T=[5], progress=False)
    with pytest.raises(ValueError, match="steps is 60 in the sweep that is stored there, not 61"):
        paper.reproduce("heatmap", out=tmp_path, T=[5], steps=61, progress=False)


def test_reproduce_into_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(StoreError, match="cannot write a store"):
        paper.reproduce(out=path, T=[3], seeds=1, steps=1, progress=False)
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("tiny")
def test_an_interruption_leaves_no_half_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**fields: object) -> SweepResult:
        result = sweep(**fields)
        result.interrupted = True
        return result

    monkeypatch.setattr(_preset, "sweep", interrupted)
    made = paper.reproduce("figure3", out=tmp_path, seeds=1, T=[3], progress=False)
    assert made.interrupted
    assert (made.tables, made.files) == ([], [])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.usefixtures("native")
def test_five_examples_become_a_pentagon() -> None:
    """The small stand-in memorises T = 5: train loss 0, D = m / T, and test loss 1."""
    fields = {**paper.get("figure3").fields("small"), "T": 5, "seed": 0, "test_size": 5_000}
    fields["batch_size"] = None
    run = toysup.train(progress=False, **fields)
    assert run.train_loss < 0.01
    assert run.test_loss == pytest.approx(1.0, abs=0.005)
    np.testing.assert_allclose(run.example_dimensionality(), 2 / 5, atol=0.06)
