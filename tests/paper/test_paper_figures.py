"""Figures 1 to 5 of the paper: their tables and drawings show the numbers of the runs."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr

matplotlib.use("Agg")

from matplotlib.collections import PathCollection, QuadMesh

import toysup
from helpers import of_their_T
from toysup import plot
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import reference
from toysup.paper._preset import Preset
from toysup.paper.figures import figure1, figure2, figure3, figure4, figure5
from toysup.plot._figures.figure1 import figure1 as draw_figure1
from toysup.plot._figures.figure2 import figure2 as draw_figure2
from toysup.plot._figures.figure4 import figure4 as draw_figure4

TINY = {"n": 60, "sparsity": 0.9, "steps": 60, "learning_rate": 0.02, "test_size": 80, "record": 4}
T = [3, 8, 40, math.inf]
PLANE = (figure1.FIGURE1, figure2.FIGURE2, figure3.FIGURE3, figure4.FIGURE4)
ALL = (*PLANE, figure5.FIGURE5)

presets = pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.name)


def swept(**fields: Any) -> SweepResult:
    given = {**TINY, "T": T, "m": 2, "seed": range(2), "batch_size": 50, **fields}
    return toysup.sweep(progress=False, **of_their_T(given))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over T, m and seed, from which every figure can be drawn."""
    folder = tmp_path_factory.mktemp("figures") / "store"
    swept(m=[2], store=folder)
    return folder


@pytest.fixture(scope="module")
def result(store: Path) -> SweepResult:
    return toysup.open_sweep(store)


def results_of(preset: Preset, result: SweepResult) -> dict[str, SweepResult]:
    (part,) = preset.scales["small"]
    return {part: result}


def drawn(preset: Preset, result: SweepResult, scale: str = "small") -> Any:
    """The only drawing of a preset, as the plot returned it."""
    ((name, drawing),) = preset.drawings(results_of(preset, result), scale)
    assert name == preset.name
    return drawing


def by_label(ax: Any, label: str) -> list[Any]:
    found = [artist for artist in ax.get_children() if artist.get_label() == label]
    assert found, f"{label!r} is not among {[a.get_label() for a in ax.get_children()]}"
    return found


def tips(ax: Any, name: str) -> Any:
    dots = next(a for a in by_label(ax, name) if isinstance(a, PathCollection))
    return np.asarray(dots.get_offsets())


# ---- what all of them do


@pytest.mark.any_backend
@presets
def test_whatever_was_trained_is_drawn(preset: Preset, backend: Backend, tmp_path: Path) -> None:
    """Other T and seeds than the preset's own."""
    given = swept(T=[4, 9, math.inf], m=[2], seed=range(3))
    results = results_of(preset, given)
    assert given.run(T=4, seed=0, m=2).provenance["backend"] == backend.name
    for scale in ("small", "paper"):
        tables = preset.tables(results, scale)
        assert tables[0].name == preset.name
        assert tables[0].rows and all(table.text() for table in tables)
        assert preset.see(results, scale).startswith(f"In {preset.name}.png: ")
        drawn(preset, given, scale)


@presets
def test_cells_that_are_missing_are_left_out(
    preset: Preset, store: Path, result: SweepResult, tmp_path: Path
) -> None:
    shutil.copytree(store, tmp_path / "holed")
    for at in ({"T": 8, "seed": 0}, {"T": 8, "seed": 1}, {"T": 40, "seed": 1}):
        (tmp_path / "holed" / "runs" / f"{result.run(m=2, **at).config.key()}.npz").unlink()
    holed = toysup.open_sweep(tmp_path / "holed")
    results = results_of(preset, holed)
    assert all(table.text() for table in preset.tables(results, "small"))
    assert preset.see(results, "small").startswith(f"In {preset.name}.png: ")
    plot.save(drawn(preset, holed), tmp_path / "drawing", dpi=30)


@presets
def test_of_nothing_nothing_is_drawn(preset: Preset, store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "empty", ignore=shutil.ignore_patterns("*.npz"))
    results = results_of(preset, toysup.open_sweep(tmp_path / "empty"))
    assert not list(preset.drawings(results, "small"))
    for table in preset.tables(results, "small"):
        assert not any(row.get("test_loss") for row in table.records())
    assert preset.see(results, "small").endswith(("nothing to see.", "at these T."))


# ---- figure 1


def pentagon(run: Any, features: list[int]) -> Any:
    """The run with these features as a regular pentagon of length 1, in this order, and no other.

    The first one points to the right.
    """
    angle = 2 * np.pi * np.arange(5) / 5
    run.W[:], run.b[:] = 0, 0
    run.W[:, features] = np.array([np.cos(angle), np.sin(angle)])
    return run


def test_the_represented_features_stand_by_their_angle() -> None:
    given = swept(T=[5, math.inf], seed=[0])
    run = pentagon(given.run(T=math.inf), [40, 2, 31, 7, 11])
    assert given.run(T=math.inf) is run
    (table,) = figure1.FIGURE1.tables({"figure3": given}, "small")
    rows = table.records()
    assert [row["feature"] for row in rows] == [40, 2, 31, 7, 11]
    assert {row["T"] for row in rows} == {"inf"}
    for k, row in enumerate(rows):
        assert row["angle"] == pytest.approx(72 * k, abs=1e-4)
        assert row["gap"] == pytest.approx(72, abs=1e-4)
        assert row["norm"] == pytest.approx(1) and row["dimensionality"] == pytest.approx(0.4)
    text = figure1.FIGURE1.see({"figure3": given}, "small")
    assert "5 features are represented" in text and "gaps from 72° to 72°" in text


def test_dead_biases_come_back_to_the_mean_of_a_feature() -> None:
    run = pentagon(swept(T=[math.inf], seed=[0]).run(T=math.inf), [40, 2, 31, 7, 11])
    X = toysup.data.sample(60, 10_000, 0.9, 0)
    mean = float(X.values.sum()) / 10_000 / 60
    run.b[:] = mean
    run.b[[2, 40]] = -0.01  # of represented features
    run.b[[0, 1, 3]] = -0.01, 0.4 * mean, 0.6 * mean
    found = figure1.revived(run)
    assert np.array_equal(found.W, run.W)
    assert found.b[[0, 1]] == pytest.approx([mean, mean])
    assert np.array_equal(np.delete(found.b, [0, 1]), np.delete(run.b, [0, 1]))


def test_figure1_goes_on_from_revived_biases() -> None:
    given = swept(T=[5, math.inf], seed=[0, 1])
    (name, fields), *none = figure1.FIGURE1.then({"figure3": given}, "small").items()
    old = [given.run(T=math.inf, seed=seed) for seed in (0, 1)]
    config = old[0].config
    assert not none and fields["init"] == [figure1.revived(run) for run in old]
    assert fields["steps"] == config.steps // 10
    assert fields["learning_rate"] == config.learning_rate / 10
    again = toysup.sweep(progress=False, **fields)
    assert all(run.config.seed not in (0, 1) and run.config.T == math.inf for run in again.runs())
    for run, features in zip(again.runs(), ([40, 2, 31, 7, 11], [1, 2, 3, 4, 5]), strict=True):
        pentagon(run, features)
    results = {"figure3": given, name: again}
    (table,) = figure1.FIGURE1.tables(results, "small")
    where = {(row["seed"], row["feature"]) for row in table.records()}
    assert where == {(0, j) for j in (40, 2, 31, 7, 11)} | {(1, j) for j in (1, 2, 3, 4, 5)}
    assert "Dead biases are then revived, and 6 steps follow" in table.heading
    assert "5 features" in figure1.FIGURE1.see(results, "small")


def test_figure1_of_finite_T_has_nothing_to_revive() -> None:
    assert figure1.FIGURE1.then({"figure3": swept(T=[5], seed=[0])}, "small") == {}


def test_figure1_shows_fresh_examples_and_the_arms_of_the_star() -> None:
    run = pentagon(toysup.train(progress=False, **TINY, T=math.inf), [40, 2, 31, 7, 11])
    left, right = draw_figure1(run, examples=500)
    assert np.allclose(tips(left, "features"), run.W.T)
    X = toysup.data.sample(60, 500, 0.9, 0, role="test")
    assert np.allclose(tips(right, "examples"), run.hidden(X))
    assert [text.get_text() for text in left.texts] == ["$D$ = 0.40"] * 5
    arms = np.array([line.get_xydata()[1] for line in by_label(right, "_direction")])
    expected = run.W[:, [2, 7, 11, 31, 40]].T
    assert np.allclose(arms / np.linalg.norm(arms, axis=1)[:, None], expected)
    with pytest.raises(ValueError, match=r"examples must be between 1 .* got 0"):
        draw_figure1(run, examples=0)


def test_figure1_draws_the_largest_T_or_the_one_that_is_asked_for(result: SweepResult) -> None:
    assert draw_figure1(result)[0].get_title() == "features, T = ∞"
    left, _ = draw_figure1(result, T=8, seed=1, examples=10)
    assert left.get_title() == "features, T = 8"
    assert np.allclose(tips(left, "features"), result.run(T=8, m=2, seed=1).W.T)


# ---- figure 2


def test_figure2_table_describes_every_run(result: SweepResult) -> None:
    (table,) = figure2.FIGURE2.tables({"figure3": result}, "small")
    rows = table.records()
    assert [(row["T"], row["seed"]) for row in rows] == [
        (3, 0), (3, 1), (8, 0), (8, 1), (40, 0), (40, 1), ("inf", 0), ("inf", 1),
    ]  # fmt: skip
    for row in rows[:6]:
        run = result.run(T=row["T"], m=2, seed=row["seed"])
        D = run.example_dimensionality()
        length = np.linalg.norm(run.hidden(), axis=1)
        assert row["2/T"] == 2 / row["T"] and row["train_loss"] == run.train_loss
        assert row["dimensionality"] == pytest.approx(D.mean())
        assert row["spread"] == pytest.approx(D.std())
        assert row["at_origin"] == np.sum(length < 0.1 * length.max())
    for a, b in zip(rows[::2], rows[1::2], strict=True):
        best = a if a["train_loss"] <= b["train_loss"] else b
        assert [row["drawn"] for row in (a, b)] == ["yes" if row is best else "" for row in (a, b)]


def as_polygon(run: Any, radii: list[float]) -> None:
    """Give a run the W of least norm that puts its examples on a polygon with these radii."""
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii)
    H = np.array(radii) * np.array([np.cos(angle), np.sin(angle)])
    run.W[:] = H @ np.linalg.pinv(run.training_set().toarray()).T
    np.testing.assert_allclose(run.hidden(), H.T, atol=1e-5)


def test_figure2_tells_a_regular_polygon_from_what_is_none() -> None:
    given = swept(T=[5, 6], seed=[0])
    as_polygon(given.run(T=5), [1.2] * 5)
    as_polygon(given.run(T=6), [2, 2, 0, 2, 2, 0])
    rows = figure2.FIGURE2.tables({"figure3": given}, "small")[0].records()
    assert rows[0]["dimensionality"] == pytest.approx(0.4, abs=1e-5)
    assert rows[0]["spread"] == pytest.approx(0, abs=1e-5)
    assert [row["at_origin"] for row in rows] == [0, 2]
    text = figure2.FIGURE2.see({"figure3": given}, "small")
    assert "form a regular polygon at T = 5; at T = 6 (" in text and "2 at the origin" in text
    panels = drawn(figure2.FIGURE2, given)
    below = [text.get_text() for text in panels[1, 0].texts]
    assert below == ["$D$ 0.40 ± 0.00", "$2/T$ = 0.40"]


def test_figure2_has_a_column_for_each_T_that_is_asked_for(result: SweepResult) -> None:
    panels = draw_figure2(result, T=[40, 3], seed=1)
    assert [ax.get_title() for ax in panels[0]] == ["T = 40", "T = 3"]
    assert np.allclose(tips(panels[1, 1], "examples"), result.run(T=3, m=2, seed=1).hidden())


# ---- figure 3


def test_figure3_shows_the_papers_readings_at_its_scale_only(result: SweepResult) -> None:
    loss = drawn(figure3.FIGURE3, result, "paper")[0]
    (known,), (above,) = by_label(loss, "paper"), by_label(loss, "paper, at least")
    assert len(known.get_xdata()) == 19
    assert above.get_xydata().tolist() == [[3, 1.025], [10, 1.025]]
    assert not [a for a in drawn(figure3.FIGURE3, result)[0].lines if "paper" in a.get_label()]


def test_an_arrow_of_the_reference_has_room(result: SweepResult) -> None:
    ax = plot.test_loss(result, m=2, reference={8: 1.0}, reference_above={3: 7.5, 100: 7.0})
    (arrows,) = by_label(ax, "paper, at least")
    assert arrows.get_xydata().tolist() == [[3, 7.5], [100, 7.0]]
    low, high = ax.get_ylim()
    assert high - 7.5 > 0.15 * (high - low)
    assert [t.get_text() for t in ax.get_legend().get_texts()][1:] == ["paper", "paper, at least"]


def test_readings_are_values_or_lower_bounds() -> None:
    values, bounds = reference.test_losses(), reference.test_loss_bounds()
    assert bounds == {3: 1.025, 10: 1.025}
    assert values.keys() | bounds.keys() == reference.FIGURE3_TEST_LOSS.keys()
    assert not values.keys() & bounds.keys()


# ---- figure 4


def test_figure4_table_holds_the_norms(result: SweepResult) -> None:
    (table,) = figure4.FIGURE4.tables({"figure3": result}, "small")
    data = result.dataset.isel(m=0)
    for k, row in enumerate(table.records()):
        for name in ("W", "b"):
            norms = data[f"{name}_norm"].isel(T=k)
            assert row[f"{name}_norm"] == pytest.approx(float(norms.mean()), rel=1e-5)
            spread = float(norms.std(ddof=1))
            assert row[f"{name}_spread"] == pytest.approx(spread, rel=1e-3, abs=1e-6)
        best = int(np.argmin(data["train_loss"].isel(T=k).to_numpy()))
        run = result.run(T=T[k], m=2, seed=best)
        assert row["longest_feature"] == pytest.approx(np.linalg.norm(run.W, axis=0).max())
        assert row["longest_example"] == pytest.approx(np.linalg.norm(run.hidden(), axis=1).max())


def test_figure4_has_one_scale_a_row_and_the_norms_below(result: SweepResult) -> None:
    *panels, norms = draw_figure4(result, seed=1, features=5)
    rows = np.array(panels, dtype=object).reshape(2, 4)
    assert [ax.get_title() for ax in rows[0]] == ["T = 3", "T = 8", "T = 40", "T = ∞"]
    for row in rows:
        assert len({ax.get_xlim() for ax in row}) == 1
        (unit,) = by_label(row[0], "_unit")
        assert np.ptp(unit.get_xdata()) == pytest.approx(1.0)
    assert np.allclose(tips(rows[0, 2], "features"), result.run(T=40, m=2, seed=1).W.T)
    W = by_label(norms, r"$\|W\|_F$")[0].get_ydata()
    means = result.dataset["W_norm"].isel(m=0).mean("seed").to_numpy()
    assert np.allclose(W[[0, 1, 2, 4]], means)
    assert len(by_label(norms, r"_$\|W\|_F$ seeds")[0].get_ydata()) == 8
    assert by_label(norms, "_line")[0].get_ydata()[0] == pytest.approx(5**0.5)
    assert not [a for a in plot.norms(result, m=2).lines if a.get_label() == "_line"]


# ---- figure 5


@pytest.fixture
def bent(monkeypatch: pytest.MonkeyPatch) -> SweepResult:
    """A sweep with losses of our own: S = 0.9, so that a ridge has T of 5 or more."""
    given = swept(T=[50, 4, 10, 20], m=[3, 2, 4, 5], seed=[0], steps=0)
    data = given.dataset.transpose("m", "T", "seed")
    losses = np.array(
        [
            [0.9, 1.3, 1.2, 1.2],  # m = 3; T = 50, 4, 10, 20
            [0.8, 1.3, 1.1, 0.9],  # m = 2
            [0.9, 1.3, 0.8, math.nan],  # m = 4: never above 1 on the ridge's side
            [1.4, 1.3, 1.1, math.nan],  # m = 5: still rising
        ]
    )
    data = data.assign(test_loss=(data["test_loss"].dims, losses[:, :, None]))
    data["status"] = data["status"].where(np.isfinite(data["test_loss"]), "missing")
    monkeypatch.setattr(SweepResult, "dataset", property(lambda self: data))
    return given


def test_the_ridge_is_the_largest_loss_of_data_that_is_not_small(bent: SweepResult) -> None:
    assert figure5.ridge(bent) == {
        2: figure5.Ridge(10, 1.1, 20),
        3: figure5.Ridge(10, 1.2, 50),
        5: figure5.Ridge(50, 1.4, None),
    }
    table, ridge = figure5.tables({"heatmap": bent}, "small")
    assert list(table.columns) == ["m", "T=4", "T=10", "T=20", "T=50"]
    assert table.records()[0] == {"m": 2, "T=4": 1.3, "T=10": 1.1, "T=20": 0.9, "T=50": 0.8}
    assert ridge.name == "ridge"
    assert [row["m"] for row in ridge.records()] == [2, 3, 4, 5]
    assert ridge.records()[2] == {"m": 4, "T": None, "height": None, "below_1_at": None}


def strokes(ax: Any) -> list[Any]:
    """The pieces of the ridge's line: outlines of five points and links of two."""
    points = by_label(ax, "ridge")[0].get_xydata()
    pieces = np.split(points, np.flatnonzero(np.isnan(points[:, 0])))
    return [piece for piece in (p[~np.isnan(p[:, 0])] for p in pieces) if len(piece)]


def outlined(ax: Any) -> list[Any]:
    """The middles of the ridge's cells."""
    return [piece[:4].mean(axis=0).tolist() for piece in strokes(ax) if len(piece) == 5]


def test_figure5_marks_the_ridge_and_hatches_what_is_missing(bent: SweepResult) -> None:
    ax = drawn(figure5.FIGURE5, bent, "paper")
    mesh = next(a for a in ax.collections if isinstance(a, QuadMesh))
    assert mesh.get_clim() == reference.FIGURE5_RANGE and mesh.get_cmap().name == "plasma"
    assert {patch.get_xy() for patch in by_label(ax, "_missing")} == {(1.5, 1.5), (1.5, 2.5)}
    assert outlined(ax) == [[1, 0], [1, 1], [3, 3]]  # T = 10, 10 and 50 of m = 2, 3 and 5


def test_a_ridge_outlines_its_cells_and_joins_neighbours(bent: SweepResult) -> None:
    ax = plot.heatmap(bent, ridge={2: 4, 3: 50, 5: 10, 7: 10})
    assert outlined(ax) == [[0, 0], [3, 1], [1, 3]]  # T = 4, 50 and 10 of m = 2, 3 and 5
    links = [piece.tolist() for piece in strokes(ax) if len(piece) == 2]
    assert links == [[[0.5, 0.5], [2.5, 0.5]]]
    assert not [a for a in plot.heatmap(bent).lines if a.get_label() == "ridge"]


# ---- tables without runs


def test_a_recorded_table_is_drawn_as_the_sweep_is(result: SweepResult) -> None:
    recorded = xr.Dataset.from_dict(result.dataset.to_dict())
    for draw in (plot.test_loss, plot.norms):
        there, here = draw(result), draw(recorded)
        for a, b in zip(there.lines, here.lines, strict=True):
            assert a.get_label() == b.get_label()
            assert np.array_equal(a.get_xydata(), b.get_xydata(), equal_nan=True)
    there, here = (plot.heatmap(source, "W_norm", seed=1) for source in (result, recorded))
    values = [ax.collections[0].get_array() for ax in (there, here)]
    assert np.array_equal(*values)


def test_a_table_need_not_have_more_than_is_drawn() -> None:
    losses = np.array([[1.1, math.nan], [1.2, 0.9]])
    data = xr.Dataset({"test_loss": (("m", "T"), losses)}, {"m": [2, 3], "T": [5, 50]})
    ax = plot.heatmap(data)
    assert np.array_equal(np.ma.getmaskarray(ax.collections[0].get_array()), np.isnan(losses))
    flat = data.sel(m=3)  # m is the same for all cells
    (curve,) = by_label(plot.test_loss(flat), "one seed")
    assert curve.get_xydata().tolist() == [[5, 1.2], [50, 0.9]]


def test_a_table_that_is_not_like_a_sweeps_is_refused(result: SweepResult) -> None:
    data = result.dataset
    for figure in (plot.vectors, plot.dimensionality, plot.figure3):
        with pytest.raises(ValueError, match="needs the runs themselves"):
            figure(data)
    with pytest.raises(ValueError, match="the axis 'T' of the data set has no coordinates"):
        plot.test_loss(data.drop_vars("T"))
    with pytest.raises(ValueError, match="m is neither an axis nor the same in all cells"):
        plot.test_loss(data.isel(m=0, drop=True))
    with pytest.raises(ValueError, match="a data set must have axes"):
        plot.test_loss(data.isel(m=0, T=0, seed=0))
    diverged = data.assign(status=(data["status"].dims, np.full(data["status"].shape, "diverged")))
    with pytest.raises(ValueError, match=r"no finished run to draw \(8 diverged\)"):
        plot.norms(diverged)
