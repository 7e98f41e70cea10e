"""The paper's figures as presets: the numbers they are compared with, and what they write."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import xml.etree.ElementTree
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import toysup
from toysup import paper
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup._sweep.sweep import sweep
from toysup._sweep.table import Table, runs_table
from toysup.config.grid import plain
from toysup.errors import StoreError
from toysup.paper import _preset, _recipe, _runs, reference
from toysup.paper.figures import figure1, figure2, figure3, figure4, figure5

FIGURES = [figure1.FIGURE1, figure2.FIGURE2, figure3.FIGURE3, figure4.FIGURE4, figure5.FIGURE5]
TINY = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take a moment."""
    for name in paper.names():
        preset = paper.get(name)
        scales = {
            scale: {part: {**fields, **TINY} for part, fields in parts.items()}
            for scale, parts in preset.scales.items()
        }
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


@pytest.mark.parametrize("preset", FIGURES, ids=lambda preset: preset.name)
def test_the_paper_scale_is_the_papers_recipe(preset: _preset.Preset) -> None:
    """Nothing but T, m, the seeds and what the paper leaves open is set: the defaults hold."""
    (fields,) = preset.fields("paper").values()
    assert set(fields) <= {"T", "m", "seed", "batch_size"}


def test_the_paper_scale_has_the_papers_grids() -> None:
    assert [preset.size("paper") for preset in FIGURES] == [1, 7 * 4, 21 * 4, 21 * 4, 11 * 10 * 4]


@pytest.mark.parametrize("preset", FIGURES, ids=lambda preset: preset.name)
def test_the_small_scale_is_one_tenth(preset: _preset.Preset) -> None:
    full = toysup.TrainConfig()
    (fields,) = preset.fields("small").values()
    data = ("T", "batch_size", "m", "seed")
    small = full.replace(**{k: v for k, v in fields.items() if k not in data})
    assert small.n * 10 == full.n
    assert (1 - small.sparsity) == pytest.approx(10 * (1 - full.sparsity))
    # Weights can grow as far: the learning rates have the same sum.
    assert small.steps * small.learning_rate == full.steps * full.learning_rate


@pytest.mark.parametrize("scale", paper.SCALES)
def test_figures_1_to_4_are_drawn_from_the_runs_of_figure3(scale: str) -> None:
    """What figures 1, 2 and 4 train is a part of what figure 3 trains."""
    (whole,) = figure3.FIGURE3.grids(scale).values()
    for preset in FIGURES[:4]:
        assert list(preset.scales[scale]) == ["figure3"]
        (grid,) = preset.grids(scale).values()
        assert set(grid.configs().values()) <= set(whole.configs().values())


@pytest.mark.parametrize(
    ("T", "scale", "there"),
    [(5, "small", 5), (50, "small", 50), (200, "small", 2_000), (math.inf, "small", math.inf),
     (200, "paper", 200), (math.inf, "paper", math.inf)],
)  # fmt: skip
def test_which_T_of_the_paper_is_compared(T: float, scale: str, there: float) -> None:
    assert _recipe.paper_T(T, scale) == there


def test_every_small_T_has_a_value_to_compare_with() -> None:
    for T in _recipe.SMALL["T"]:
        assert _recipe.paper_T(T, "small") in reference.FIGURE3_TEST_LOSS


# --- the registry ---


def test_names_and_defaults() -> None:
    assert paper.names()[:5] == [f"figure{i}" for i in range(1, 6)]
    for scale in paper.SCALES:
        assert set(paper.DEFAULT[scale]) <= set(paper.names())
    for name in paper.names():
        preset = paper.get(name)
        assert preset.name == name and preset.title
        assert set(preset.scales) == set(paper.SCALES)
        assert preset.size("small") > 0 and preset.size("paper") > 0


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
    (table,) = figure3.tables({"figure3": result}, "small")
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
    (table,) = figure3.tables({"figure3": small_sweep(T=[7], seed=[0])}, "small")
    row = table.records()[0]
    assert row["spread"] is row["paper_T"] is row["paper_test_loss"] is None


def test_tables_leave_out_diverged_runs() -> None:
    rates = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
    result = small_sweep(**rates)
    assert set(result.dataset["status"].to_numpy().ravel().tolist()) == {"diverged"}
    row = figure3.tables({"figure3": result}, "small")[0].records()[0]
    assert row["seeds"] == 0
    assert row["test_loss"] is None
    assert figure3.see({"figure3": result}, "small") == _runs.NOTHING
    both = {"heatmap": small_sweep(m=[2, 3], **rates)}
    assert figure5.tables(both, "small")[0].records()[0]["T=3"] is None
    assert "no ridge" in figure5.see(both, "small")


def test_heatmap_table_is_m_by_T() -> None:
    result = small_sweep(m=[2, 3])
    table, _ = figure5.tables({"heatmap": result}, "small")
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
    text = figure5.see({"heatmap": result}, "small")
    assert "moves to larger T" in text
    assert "T = 10 for m = 2 (1.100)" in text and "T = 20 for m = 3 (1.200)" in text
    ridge = figure5.tables({"heatmap": result}, "small")[1].records()
    assert [(row["T"], row["below_1_at"]) for row in ridge] == [(10, 20), (20, 50)]
    plane = small_sweep(T=[5, 10, 20, 50], seed=[0])
    flat = bent.isel(m=0)
    monkeypatch.setattr(SweepResult, "dataset", property(lambda self: flat))
    text = figure3.see({"figure3": plane}, "small")
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
    rows = runs_table(result).records()
    assert len(rows) == len(result) == 12
    assert rows[1]["betas"] == "0.8, 0.9"
    first = result.run(T=3, seed=0, betas=(0.9, 0.99))
    assert rows[0]["train_loss"] == first.train_loss
    assert {row["status"] for row in rows} == {"ok"}


# --- reproduce ---


@pytest.mark.any_backend
@pytest.mark.usefixtures("tiny")
def test_reproduce_writes_tables_and_drawings(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plt, "figure", lambda **_: pytest.fail("pyplot was asked for a figure"))
    made = paper.reproduce(
        "figure3", out=tmp_path / "new" / "out", seeds=2, T=[3, 5, 200, math.inf], progress=False
    )
    assert not made.interrupted
    names = {path.name for path in made.files}
    assert names == {"figure3.csv", "figure3-runs.csv", "figure3.png", "figure3.svg"}
    for path in made.files:
        assert path.parent == tmp_path / "new" / "out"
        assert path.stat().st_size > 100
        if path.suffix == ".svg":
            xml.etree.ElementTree.parse(path)
    assert (
        toysup.open_sweep(made.folder / "figure3").dataset["status"].to_numpy().tolist()
        == [["ok"] * 2] * 4
    )
    assert made.result.run(T=3, seed=0).provenance["backend"] == backend.name


@pytest.mark.usefixtures("tiny")
def test_presets_share_runs(tmp_path: Path) -> None:
    """What figure 3 has trained, figures 1, 2 and 4 only draw."""
    T = [5, math.inf]
    first = paper.reproduce("figure3", out=tmp_path, seeds=2, T=T, progress=False)
    runs = {p: p.stat().st_mtime_ns for p in (first.folder / "figure3" / "runs").iterdir()}
    for name in ("figure2", "figure4"):
        made = paper.reproduce(name, out=tmp_path, seeds=2, T=T, progress=False)
        assert {p: p.stat().st_mtime_ns for p in runs} == runs
        assert any(path.name == f"{name}.png" for path in made.files)
    assert len(list((first.folder / "figure3" / "runs").iterdir())) == len(runs)


@pytest.mark.usefixtures("tiny")
def test_an_alias_is_the_preset(tmp_path: Path) -> None:
    made = paper.reproduce("heatmap", out=tmp_path, T=[5], progress=False)
    assert made.preset.name == "figure5"
    assert (tmp_path / "figure5.png").exists() and list(made.results) == ["heatmap"]


@pytest.mark.usefixtures("tiny")
def test_what_no_sweep_has_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"figure1 has no T to be changed, got \[3\]"):
        preset = dataclasses.replace(paper.get("figure1"), scales={"small": {"a": {"T": 3}}})
        preset.fields("small", T=[3])
    with pytest.raises(ValueError, match="epochs has no steps to be changed, got 5"):
        scales = {"small": {"a": {"steps": [3, 4]}}}
        dataclasses.replace(paper.get("epochs"), scales=scales).fields("small", steps=5)


@pytest.mark.any_backend
def test_further_sweeps_start_from_the_first_ones(backend: Backend, tmp_path: Path) -> None:
    """``then`` is given the results, and what it returns is trained, kept and shown too."""
    seen: list[object] = []

    def then(results: _preset.Results, scale: str) -> dict[str, dict[str, object]]:
        return {"second": {**TINY, "T": 5, "init": results["first"].run(T=5)}}

    preset = _preset.Preset(
        name="two",
        title="",
        scales={"small": {"first": {**TINY, "T": [5, 9]}}},
        make_tables=lambda results, scale: seen.append(list(results)) or [],  # type: ignore[func-returns-value]
        draw=lambda results, scale: iter(()),
        tell=lambda results, scale: "",
        then=then,
    )
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    assert seen == [["first", "second"]]
    first, second = made.results.values()
    assert second.run().history["train_loss"][0] == pytest.approx(first.run(T=5).train_loss)
    assert {p.name for p in made.folder.iterdir()} == {"first", "second"}
    assert {p.name for p in made.files} == {"first-runs.csv", "second-runs.csv"}


@pytest.mark.usefixtures("tiny")
def test_reproduce_again_trains_nothing(tmp_path: Path) -> None:
    arguments = {"out": tmp_path, "T": [5, 200], "progress": False}
    first = paper.reproduce("heatmap", **arguments)
    before = {p: p.stat().st_mtime_ns for p in (first.folder / "heatmap" / "runs").iterdir()}
    bytes_before = {p: p.read_bytes() for p in first.files}
    again = paper.reproduce("heatmap", **arguments)
    assert {
        p: p.stat().st_mtime_ns for p in (again.folder / "heatmap" / "runs").iterdir()
    } == before
    assert {p: p.read_bytes() for p in again.files} == bytes_before
    more = paper.reproduce("heatmap", seeds=2, **arguments)
    assert len(list((more.folder / "heatmap" / "runs").glob("*.npz"))) == 2 * len(before)


@pytest.mark.usefixtures("tiny")
def test_reproduce_refuses_the_folder_of_other_fields(tmp_path: Path) -> None:
    paper.reproduce("heatmap", out=tmp_path, T=[5], progress=False)
    with pytest.raises(ValueError, match="steps is 60 in the sweep that is stored there, not 61"):
        paper.reproduce("heatmap", out=tmp_path, T=[5], steps=61, progress=False)


def test_reproduce_into_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(StoreError, match=r"cannot write .*file.* is not a folder"):
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
    fields = {"out": tmp_path, "seeds": 1, "T": [3], "progress": False}
    made = paper.reproduce("figure3", on_interrupt="return", **fields)
    assert made.interrupted
    assert (made.tables, made.files) == ([], [])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.usefixtures("native")
def test_five_examples_become_a_pentagon() -> None:
    """The small stand-in memorizes T = 5: train loss 0, D = m / T, and test loss 1."""
    fields = {
        **paper.get("figure3").fields("small")["figure3"],
        "T": 5,
        "seed": 0,
        "test_size": 5_000,
    }
    fields["batch_size"] = None
    run = toysup.train(progress=False, **fields)
    assert run.train_loss < 0.01
    assert run.test_loss == pytest.approx(1.0, abs=0.005)
    np.testing.assert_allclose(run.example_dimensionality(), 2 / 5, atol=0.06)
