"""The classic model's presets: what is expected, and what their tables and figures say."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from soak import soak

matplotlib.use("Agg")

from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

import toysup
from toysup import metrics, plot
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import _preset
from toysup.paper.toy import toy_dimensions, toy_features, toy_phase
from toysup.paper.toy.toy_features import CLASSIC
from toysup.plot._figures.toy_dimensions import POLYTOPES
from toysup.plot._figures.toy_features import SHARED, density, superposition
from toysup.plot._figures.toy_features import toy_features as draw_features
from toysup.plot._figures.toy_features import toy_vectors as draw_vectors
from toysup.plot._figures.toy_phase import phase_of
from toysup.plot._figures.toy_phase import toy_phase as draw_phase
from toysup.plot._parts.style import paint

PRESETS = (toy_features.TOY_FEATURES, toy_dimensions.TOY_DIMENSIONS, toy_phase.TOY_PHASE)
QUICK = {**CLASSIC, "batch_size": 64, "steps": 40, "learning_rate": 0.03, "test_size": 50}
RATIOS = [(1.0, 5.0), (1.0, 0.2), (1.0, 1.0)]

every = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)


def of_weights(W: np.ndarray[Any, Any]) -> toysup.Run:
    """A run with these weights and no biases."""
    m, n = W.shape
    run = toysup.train(**{**QUICK, "n": n, "m": m, "sparsity": 0.5, "steps": 0})
    return dataclasses.replace(run, W=W, b=np.zeros(n))


def short(preset: _preset.Preset, scale: str) -> dict[str, dict[str, Any]]:
    """The sweeps of a preset with few and short runs on few densities."""
    parts = {}
    for part, fields in preset.fields(scale).items():
        fields |= {"batch_size": 32, "steps": 30, "test_size": 20, "record": 2}
        fields["sparsity"] = [max(fields["sparsity"]), min(fields["sparsity"])]
        if "init_seed" in fields:
            fields["init_seed"] = [0]
        if part.startswith("toy-phase"):
            fields["importance"] = fields["importance"][::12]
        if fields["n"] > 60:
            fields |= {"n": 30, "m": 6}
        parts[part] = fields
    return parts


def phase_sweep(**changes: Any) -> SweepResult:
    fields = {**QUICK, "n": 2, "m": 1, "importance": RATIOS, "sparsity": [0.9, 0.0]}
    return toysup.sweep(**{**fields, "init_seed": [0, 1], **changes}, progress=False)


def without_runs(folder: Path, **where: Any) -> SweepResult:
    """The sweep stored there without some of its runs."""
    result = toysup.open_sweep(folder)
    for run in result.runs():
        if all(getattr(run.config, name) == value for name, value in where.items()):
            (folder / "runs" / f"{run.config.key()}.npz").unlink()
    return toysup.open_sweep(folder)


def best_run(result: SweepResult, **where: Any) -> toysup.Run:
    """The run of lowest test loss there; with infinite T the train loss is that of one batch."""
    runs = [
        run for run in result.runs() if all(getattr(run.config, k) == v for k, v in where.items())
    ]
    return min(runs, key=lambda run: run.test_loss)


# --- measures ---


def test_superposition_is_what_the_others_have_along_a_feature() -> None:
    W = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    W[:, 5] = 0.0
    wanted = []
    for i in range(9):
        unit = W[:, i] / (np.linalg.norm(W[:, i]) or 1.0)
        wanted.append(sum(float(unit @ W[:, j]) ** 2 for j in range(9) if j != i))
    np.testing.assert_allclose(superposition(W), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("W", "phase"),
    [
        ([[1.0, 0.0]], 0),
        ([[0.0, 1.0]], 1),
        ([[1.0, -1.0]], 2),
        ([[1.0, -0.49]], 0),
        ([[0.49, -1.0]], 1),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 0),
        ([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]], 1),  # the others share
        ([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]], 2),
        ([[1.0, 0.0, -0.6], [0.0, 1.0, -0.6]], 2),
    ],
)
def test_phases(W: list[list[float]], phase: int) -> None:
    assert phase_of(of_weights(np.array(W))) == phase


def test_angles_go_all_round() -> None:
    at = np.radians([350.0, 60.0, 170.0, 100.0])
    W = np.stack([np.cos(at), np.sin(at)])
    W[:, 3] *= 0.4  # too short to count
    assert sorted(toy_features.angles(of_weights(W))) == pytest.approx([70.0, 110.0, 180.0])


# --- the expected losses ---


@pytest.mark.parametrize("p", [1.0, 0.5, 0.1])
def test_expected_losses_are_those_of_the_candidates(p: float) -> None:
    """By numerical integration, with the best of many biases for each feature."""
    r, b = 0.7, np.linspace(0.0, 0.6, 241)[:, None]
    middle = (np.arange(100) + 0.5) / 100
    x = np.zeros((2, 101, 101))
    x[0, 1:], x[1, :, 1:] = middle[:, None], middle
    chance = np.concatenate([[1 - p], np.full(100, p / 100)])
    weight = np.outer(chance, chance).ravel()
    x = x.reshape(2, -1)

    def best(W: list[float]) -> float:
        h = np.array(W) @ x
        losses = [
            ((np.maximum(w * h + b, 0) - y) ** 2 @ weight).min() for w, y in zip(W, x, strict=True)
        ]
        return losses[0] + r * losses[1]

    wanted = [best([1.0, 0.0]), best([0.0, 1.0]), best([1.0, -1.0])]
    np.testing.assert_allclose(toy_phase.expected_losses(r, p), wanted, rtol=1e-3)


def test_a_pair_of_dense_features_has_the_loss_that_the_cubic_gives() -> None:
    """At p = 1 the best b = 1 - u solves 2 u^3 / 3 - 2 u + 1 = 0."""
    u = min((x.real for x in np.roots([2 / 3, 0, -2, 1])), key=lambda x: abs(x - 0.5))
    b = 1 - u
    c = b**3 / 3 + u**3 / 3 - u**4 / 6
    assert toy_phase.expected_losses(1.0, 1.0)[2] == pytest.approx(2 * c, rel=1e-12)


def test_expected_phases() -> None:
    """Superposition where features are rare; otherwise the more important one wins."""
    r, p = np.meshgrid([0.1, 0.9, 1.1, 10.0], [0.01, 0.9], indexing="ij")
    phases = toy_phase.expected_phase(r, p)
    assert phases[:, 0].tolist() == [2, 2, 2, 2]
    assert phases[:, 1].tolist() == [0, 0, 1, 1]


def test_the_phase_diagram_has_a_symmetry() -> None:
    """With two features, r and 1 / r exchange them."""
    p = np.geomspace(0.01, 1.0, 40)
    none, own, shared = toy_phase.expected_losses(4.0, p)
    other = toy_phase.expected_losses(0.25, p)
    np.testing.assert_allclose(np.stack([none, own, shared]) / 4.0, other[[1, 0, 2]], rtol=1e-13)


def test_with_three_features_the_other_two_may_share() -> None:
    two, three = (toy_phase.expected_losses(5.0, [0.01, 1.0], n) for n in (2, 3))
    assert three[1, 0] < 0.1 * two[1, 0] and three[1, 1] == two[1, 1]
    assert toy_phase.expected_phase(5.0, 0.3, 3) == 1
    np.testing.assert_array_equal(two[[0, 2]], three[[0, 2]])


# --- training ---


@pytest.mark.filterwarnings("ignore:with n = 2 features and sparsity = 0.95")
@pytest.mark.parametrize(("r", "p"), [(0.2, 0.9), (5.0, 0.9), (1.0, 0.05)])
def test_training_finds_the_expected_phase(r: float, p: float, backend: Backend) -> None:
    fields = {**QUICK, "n": 2, "m": 1, "batch_size": 128, "steps": 250, "sparsity": 1.0 - p}
    result = toysup.sweep(**fields, importance=[(1.0, r)], init_seed=range(2), progress=False)
    run = best_run(result)
    assert phase_of(run) == toy_phase.expected_phase(r, p)


def test_dense_features_take_a_dimension_each(backend: Backend) -> None:
    """The most important m are represented, orthogonal and of length 1; the others are not."""
    fields = {**QUICK, "n": 5, "m": 2, "importance": 0.5, "steps": 800, "learning_rate": 0.05}
    run = toysup.train(**{**fields, "sparsity": 0.0})
    assert run.represented().tolist() == [True] * 2 + [False] * 3
    assert float(np.sum(run.W**2)) == pytest.approx(2.0, abs=0.05)
    assert superposition(run.W)[:2].max() < 0.02
    assert sorted(toy_features.angles(run)) == pytest.approx([90.0, 270.0], abs=5.0)


def test_the_best_run_is_that_of_lowest_test_loss() -> None:
    """The one of lowest train loss is another one here: that loss is of two examples."""
    result = toysup.sweep(**{**QUICK, "batch_size": 2}, n=6, m=2, sparsity=0.5, init_seed=range(8))
    (run,) = toy_features.runs_of(result)
    assert run.config.init_seed == best_run(result).config.init_seed
    assert run.config.init_seed != result.best("init_seed").dataset["init_seed"]
    unknown = {**QUICK, "test_size": 0}
    result = toysup.sweep(**unknown, n=6, m=2, sparsity=0.5, init_seed=range(3))
    (run,) = toy_features.runs_of(result)
    assert run.config.init_seed == result.best("init_seed").dataset["init_seed"]


# --- the presets ---


@every
def test_the_recipe_is_the_classic_one(preset: _preset.Preset) -> None:
    for scale in _preset.SCALES:
        for fields in preset.fields(scale).values():
            assert fields["T"] == math.inf and fields["normalize"] is False
            assert fields["weight_decay"] == 0.0 and fields["loss_reduction"] == "sum"


def test_the_paper_scale_has_the_papers_sizes() -> None:
    sizes = {
        part: (fields["n"], fields["m"], fields["batch_size"])
        for preset in PRESETS
        for part, fields in preset.fields("paper").items()
    }
    assert sizes == {
        "toy-features": (80, 20, 1024),
        "toy-vectors": (5, 2, 1024),
        "toy-dimensions": (400, 30, 1024),
        "toy-phase": (2, 1, 1024),
        "toy-phase-3": (3, 2, 1024),
    }


@every
@pytest.mark.parametrize("scale", soak(["small"], _preset.SCALES))
def test_a_preset_is_carried_out(preset: _preset.Preset, scale: str, tmp_path: Path) -> None:
    done = _preset.carry_out(preset, scale, tmp_path, short(preset, scale), progress=False)
    names = {file.name for file in done.files}
    parts = set(preset.fields(scale))
    assert {f"{part}.png" for part in parts} | {f"{part}.csv" for part in parts} <= names
    assert all(table.rows and table.text() for table in done.tables)
    text = preset.see(done.results, scale)
    assert text.endswith(".") and f"{preset.name}.png" in text and "nan" not in text


@every
def test_nothing_finished_is_said(preset: _preset.Preset) -> None:
    """Tables are empty or blank where every run diverged."""
    parts = {k: {**v, "learning_rate": 1e30} for k, v in short(preset, "small").items()}
    results = {part: toysup.sweep(**fields, progress=False) for part, fields in parts.items()}
    assert all(set(result.statuses) == {"diverged"} for result in results.values())
    for table in preset.tables(results, "small"):
        assert all(value is None for row in table.rows for value in row[1:])
    text = preset.see(results, "small")
    assert text == "No run has finished." or "0 of 0" in text
    with pytest.raises(ValueError, match="no finished run"):
        list(preset.drawings(results, "small"))


def test_features_table(tmp_path: Path) -> None:
    fields = {**QUICK, "n": 6, "m": 3, "importance": 0.7, "sparsity": [0.9, 0.0, 0.5]}
    toysup.sweep(**fields, init_seed=[0, 1], store=tmp_path / "s", progress=False)
    result = without_runs(tmp_path / "s", sparsity=0.5)
    plane = toysup.sweep(**{**fields, "m": 2}, init_seed=[0], progress=False)
    table, vectors = toy_features.TOY_FEATURES.tables(
        {"toy-features": result, "toy-vectors": plane}, "small"
    )
    assert [row[0] for row in table.rows] == [1.0, 0.1]
    for row, sparsity in zip(table.records(), (0.0, 0.9), strict=True):
        run = best_run(result, sparsity=sparsity)
        there = run.represented()
        assert row["represented"] == there.sum()
        assert row["sum_of_squares"] == pytest.approx(np.sum(run.W**2), rel=1e-6)
        assert row["max_superposition"] == pytest.approx(superposition(run.W)[there].max())
        assert row["test_loss"] == run.test_loss
    assert [row[0] for row in vectors.rows] == [1.0, 0.5, 0.1]
    for row in vectors.records():
        assert len(row["angles"].split()) == row["represented"]


def test_dimensions_table() -> None:
    fields = {**QUICK, "n": 12, "m": 3, "batch_size": 128, "steps": 400}
    result = toysup.sweep(**fields, sparsity=[0.7, 0.0], progress=False)
    (table,) = toy_dimensions.TOY_DIMENSIONS.tables({"toy-dimensions": result}, "small")
    dense, rare = table.records()
    assert (dense["density"], dense["rareness"]) == (1.0, 1.0)
    assert dense["dimensions_per_feature"] == pytest.approx(1.0, abs=0.1)
    assert rare["rareness"] == pytest.approx(1 / 0.3)
    D = result.run(sparsity=0.7).feature_dimensionality()
    assert rare["in_pairs"] == np.count_nonzero(np.abs(D - 0.5) < 0.01)
    assert rare["dimensions_per_feature"] < 0.7


@pytest.mark.parametrize(("count", "drawn"), [(0, 20), (6, 20), (30, 30), (150, 100)])
def test_of_many_features_the_represented_ones_are_drawn(count: int, drawn: int) -> None:
    """A thousand bars and a million cells would be smaller than a pixel."""
    known = np.arange(count) * 5 + 2
    W = np.zeros((max(count, 2), 1_000))
    W[0] = 0.01 + 1e-6 * np.arange(1_000)
    W[:, known] = np.eye(len(W), count)
    run = of_weights(W)
    assert np.flatnonzero(run.represented()).tolist() == known.tolist()
    [[products], [bars]] = draw_features(run)
    image = products.images[0].get_array()
    assert image.shape == (drawn, drawn)
    assert np.count_nonzero(np.diag(image) > 0.9) == min(count, drawn)
    widths = np.array([bar.get_width() for bar in bars.patches])
    assert len(widths) == drawn and np.count_nonzero(widths > 0.9) == min(count, drawn)
    text = " ".join(bars.get_xlabel().split())
    assert text.endswith(f"{drawn} of 1,000 features; {count} represented")
    products.figure.canvas.draw()
    tallest = bars.patches[0].get_window_extent().height
    assert tallest > 1
    if drawn == 20:
        names = [label.get_text() for label in bars.get_yticklabels()]
        assert names[:count] == [str(i) for i in known]


def test_phase_tables(tmp_path: Path) -> None:
    phase_sweep(store=tmp_path / "s")
    result = without_runs(tmp_path / "s", importance=(1.0, 0.2), sparsity=0.0)
    words, length, shared = toy_phase.TOY_PHASE.tables({"toy-phase": result}, "small")
    assert [t.name for t in (words, length, shared)] == [
        "toy-phase",
        "toy-phase-length",
        "toy-phase-superposition",
    ]
    assert list(words.columns) == ["importance", "1", "0.1"]
    assert [row[0] for row in words.rows] == [0.2, 1.0, 5.0]
    assert all(table.rows[0][1] is None for table in (words, length, shared))
    agree = 0
    for i, r in enumerate((0.2, 1.0, 5.0)):
        for k, sparsity in enumerate((0.0, 0.9), start=1):
            if words.rows[i][k] is None:
                continue
            run = best_run(result, importance=(1.0, r), sparsity=sparsity)
            W, found = run.W.astype(float), phase_of(run)
            losses = toy_phase.expected_losses(r, density(sparsity))
            lowest = losses[found] == pytest.approx(losses.min(), rel=1e-9)
            agree += lowest
            assert words.rows[i][k] == ("none", "own", "shared")[found] + "*" * (not lowest)
            assert length.rows[i][k] == pytest.approx(W[0, 1] ** 2)
            assert (shared.rows[i][k] is None) == (found == 0)
    assert f"{agree} of 5 cells" in words.heading


# --- the figures ---


@pytest.fixture(scope="module")
def features() -> SweepResult:
    fields = {**QUICK, "n": 6, "m": 2, "importance": 0.7, "sparsity": [0.9, 0.0]}
    return toysup.sweep(**fields, init_seed=[0, 1], progress=False)


def test_features_figure(features: SweepResult) -> None:
    axes = draw_features(features)
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["$1 - S = 1$", "$1 - S = 0.1$"]
    for column, sparsity in zip(axes.T, (0.0, 0.9), strict=True):
        run = best_run(features, sparsity=sparsity)
        W = run.W.astype(float)
        products, bias = column[0].images
        np.testing.assert_allclose(products.get_array(), W.T @ W)
        np.testing.assert_allclose(bias.get_array()[:, 0], run.b)
        assert products.get_clim() == bias.get_clim() == (-1.0, 1.0)
        bars = column[1].patches
        np.testing.assert_allclose([b.get_width() for b in bars], np.linalg.norm(W, axis=0))
        share = np.clip(superposition(W), 0.0, 1.0)[:, None]
        wanted = (1 - share) * to_rgb(paint("features")) + share * to_rgb(SHARED)
        np.testing.assert_allclose([b.get_facecolor()[:3] for b in bars], wanted, atol=0.01)
        assert column[1].get_ylim() == (6, 0)  # the most important on top


def test_features_figure_of_one_run(features: SweepResult) -> None:
    run = features.run(sparsity=0.9, init_seed=1)
    axes = draw_features(run)
    assert axes.shape == (2, 1) and axes[0, 0].get_title() == "$1 - S = 0.1$"
    assert draw_features(features, sparsity=0.9).shape == (2, 1)
    with pytest.raises(ValueError, match="needs 2 x 1 Axes"):
        draw_features(run, axes=[axes[0, 0]])


def test_vectors_figure(features: SweepResult) -> None:
    axes = draw_vectors(features)
    for ax, sparsity in zip(axes, (0.0, 0.9), strict=True):
        W = best_run(features, sparsity=sparsity).W
        lines = {line.get_label(): line.get_xydata() for line in ax.lines}
        for k in range(6):
            np.testing.assert_allclose(lines[f"feature {k + 1}"], [[0, 0], W[:, k]], atol=1e-6)
        numbered = {text.get_text() for text in ax.texts}
        assert numbered == {str(k + 1) for k in np.flatnonzero(np.linalg.norm(W, axis=0) > 0.5)}
    three = toysup.train(**QUICK, n=6, m=3, sparsity=0.5)
    with pytest.raises(ValueError, match="m = 2 only, got m = 3"):
        draw_vectors(three)


def test_dimensions_figure() -> None:
    result = toysup.sweep(**QUICK, n=8, m=3, sparsity=[0.75, 0.0, 0.5], progress=False)
    ((name, axes),) = toy_dimensions.TOY_DIMENSIONS.drawings({"toy-dimensions": result}, "small")
    assert name == "toy-dimensions" and axes.shape == (2,)
    runs = [result.run(sparsity=S) for S in (0.0, 0.5, 0.75)]
    line = next(a for a in axes[0].lines if a.get_label() == "dimensions per feature")
    np.testing.assert_allclose(line.get_xdata(), [1.0, 2.0, 4.0])
    np.testing.assert_allclose(
        line.get_ydata(), [3 / np.sum(run.W.astype(float) ** 2) for run in runs]
    )
    dots = next(a for a in axes[1].lines if a.get_label() == "features")
    D = np.concatenate([metrics.dimensionality(run.W.T) for run in runs])
    np.testing.assert_allclose(dots.get_ydata(), D)
    np.testing.assert_allclose(dots.get_xdata(), np.repeat([1.0, 2.0, 4.0], 8))
    heights = [a.get_ydata()[0] for a in axes[1].lines if a.get_label() == "_line"]
    assert heights == [1.0, 3 / 4, 2 / 3, 1 / 2, 2 / 5, 3 / 8]
    assert {text.get_text() for text in axes[1].texts} == set(POLYTOPES)


def test_phase_figure(tmp_path: Path) -> None:
    phase_sweep(store=tmp_path / "s")
    result = without_runs(tmp_path / "s", importance=(1.0, 0.2), sparsity=0.0)
    trained, expected = draw_phase(result, theory=toy_phase.expected_phase)
    mesh = next(a for a in trained.collections if isinstance(a, QuadMesh))
    colors = np.asarray(mesh.get_array())
    assert colors.shape == (3, 2, 4)  # importance upwards, dense on the left
    assert trained.get_xlim()[0] > trained.get_xlim()[1]
    assert colors[0, 0, 3] == 0.0 and colors[..., 3].sum() == 5  # the missing one is left out
    W = best_run(result, importance=(1.0, 5.0), sparsity=0.9).W.astype(float)
    share, length = min(W[0, 0] ** 2, 1.0), min(abs(W[0, 1]), 1.0)
    ink = (1 - share) * np.array(to_rgb(paint("features"))) + share * np.array(to_rgb(SHARED))
    wanted = (1 - length) * np.array(to_rgb("#f2f2f2")) + length * ink
    np.testing.assert_allclose(colors[2, 1, :3], wanted, atol=1e-6)
    assert {text.get_text().replace("\n", " ") for text in expected.texts} == {
        "not represented",
        "own dimension",
        "superposition",
    }
    plot.save(trained, tmp_path / "phase")
    assert draw_phase(result).shape == (1,)


def test_phase_figure_refuses_what_it_cannot_draw(features: SweepResult) -> None:
    with pytest.raises(ValueError, match="must have the axis 'importance'"):
        draw_phase(features)
    with pytest.raises(ValueError, match="must hold arrays that begin above 0, got 0"):
        draw_phase(phase_sweep(importance=[0.5, 0.8, 0.9]))
    with pytest.raises(ValueError, match="weight_decay has 2 values"):
        draw_phase(phase_sweep(weight_decay=[0.0, 0.1]))


def test_a_store_is_drawn_by_its_path(tmp_path: Path) -> None:
    phase_sweep(store=tmp_path / "s", init_seed=[0])
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    assert draw_phase(tmp_path / "t").shape == (1,)
