"""The figures show the numbers of the runs. The tests read the artists, as their users could."""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given
from hypothesis import strategies as st

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Path3DCollection

import soak
import toysup
from toysup import plot
from toysup.data import power_law
from toysup.errors import StoreError
from toysup.paper.toy.toy_phase import expected_phase
from toysup.plot._parts.style import paint
from toysup.plot._parts.vectors import MAX_EXAMPLES
from toysup.plot._sweeps.dimensionality import MAX_POINTS

T = [40, 3, 8, math.inf]
SMALL = {"n": 40, "sparsity": 0.9, "steps": 30, "learning_rate": 0.03, "test_size": 200}
SINGLE = (plot.dimensionality, plot.test_loss, plot.norms, plot.heatmap)
EVERY = (*SINGLE, plot.vectors, plot.figure3, plot.history)


def named(functions):
    return pytest.mark.parametrize("draw", functions, ids=lambda f: f.__name__)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots") / "sweep"
    toysup.sweep(**SMALL, T=T, seed=[0, 1], store=folder)
    return folder


@pytest.fixture(scope="session")
def result(store):
    return toysup.open_sweep(store)


@pytest.fixture(scope="session")
def grid():
    return toysup.sweep(**SMALL, T=[20, 5], m=[4, 2, 3], seed=[0, 1])


@pytest.fixture(scope="session")
def decays():
    return toysup.sweep(**SMALL, T=[5, 20], seed=[0, 1], weight_decay=[0.0, 0.5])


@pytest.fixture(scope="session")
def diverging():
    """Both runs of the larger learning rate diverge."""
    fields = {**SMALL, "learning_rate": [0.03, 1e30]}
    return toysup.sweep(**fields, T=[3, 8])


@pytest.fixture
def holed(store, result, tmp_path):
    """The sweep without any run of T = 8 and without seed 1 of T = 40."""
    folder = tmp_path / "holed"
    shutil.copytree(store, folder)
    for cell in ({"T": 8, "seed": 0}, {"T": 8, "seed": 1}, {"T": 40, "seed": 1}):
        key = result.run(**cell).config.key()
        (folder / "runs" / f"{key}.npz").unlink()
    return toysup.open_sweep(folder)


@pytest.fixture(autouse=True)
def clean_slate():
    """No test changes matplotlib's settings."""
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def by_label(ax, label):
    found = [artist for artist in ax.get_children() if artist.get_label() == label]
    assert found, f"{label!r} is not among {[a.get_label() for a in ax.get_children()]}"
    return found


def xy(ax, label):
    line = by_label(ax, label)[0]
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def axes_of(drawn):
    return list(np.array(drawn, dtype=object).ravel())


# ---- what all of them do


@named(EVERY)
def test_a_run_a_sweep_and_their_paths_are_drawn(draw, result, store, tmp_path):
    run = result.run(T=8, seed=0)
    run.save(tmp_path / "run.npz")
    for source in (run, str(tmp_path / "run.npz"), result, store, str(store)):
        drawn = draw(source)
        for ax in axes_of(drawn):
            assert isinstance(ax, Axes)
            if source is run or source is result or soak.full:
                ax.figure.canvas.draw()
        plt.close("all")


@named(EVERY)
@pytest.mark.parametrize("source", [None, 3, {"T": [3]}, np.zeros(3)], ids=repr)
def test_another_source_is_refused_by_name(draw, source):
    with pytest.raises(TypeError, match=type(source).__name__):
        draw(source)
    assert not plt.get_fignums()


@named(EVERY)
def test_a_missing_path_is_refused_by_name(draw, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        draw(tmp_path / "nowhere")


@named(SINGLE)
def test_the_axes_given_are_used_and_no_figure_is_made(draw, result):
    figure = Figure()
    ax = figure.add_subplot()
    assert draw(result, ax=ax) is ax
    assert not plt.get_fignums()
    assert ax.has_data()
    figure.canvas.draw()


def test_the_panels_given_are_used_and_no_figure_is_made(result):
    run = result.run(T=8, seed=0)
    for drawn, shape in (
        (lambda axes: plot.vectors(run, axes=axes), (1, 2)),
        (lambda axes: plot.vectors(result, axes=axes), (2, 4)),
        (lambda axes: plot.history(run, axes=axes), (1, 3)),
    ):
        axes = Figure().subplots(*shape)
        assert set(drawn(axes).ravel()) == set(np.ravel(axes))
    assert not plt.get_fignums()


def test_the_figure_given_is_used(result):
    whole = Figure(figsize=(9, 9))
    left, right = whole.subfigures(1, 2)
    assert list(plot.figure3(result, fig=left)) == left.axes
    assert left.axes and not right.axes
    assert not plt.get_fignums()
    with pytest.raises(TypeError, match="Axes"):
        plot.figure3(result, fig=whole.add_subplot())


def test_axes_of_another_kind_or_number_are_refused(result):
    with pytest.raises(TypeError, match="str"):
        plot.test_loss(result, ax="left")
    with pytest.raises(ValueError, match="2 x 4 Axes, got 3"):
        plot.vectors(result, axes=Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="one Axes, got 2"):
        plot.norms(result, ax=Figure().subplots(1, 2))


@named(EVERY)
def test_one_figure_is_made_and_a_failed_one_is_closed(draw, result, monkeypatch):
    draw(result)
    assert len(plt.get_fignums()) == 1
    plt.close("all")

    def fail(*args, **kwargs):
        raise RuntimeError("no more ink")

    monkeypatch.setattr(Axes, "set_xlabel", fail)
    with pytest.raises(RuntimeError, match="no more ink"):
        draw(result)
    assert not plt.get_fignums()


@named(EVERY)
def test_a_wrong_axis_or_value_is_named(draw, result):
    with pytest.raises(ValueError, match=r"'sead'.*did you mean 'seed'"):
        draw(result, sead=1)
    with pytest.raises(ValueError, match=r"seed = 7 is not in the sweep, which has 0, 1"):
        draw(result, seed=7)


@named(EVERY)
def test_axes_that_have_no_order_are_chosen_from(draw):
    starts = [(np.full((2, 40), k), np.zeros(40)) for k in (0.1, 0.2)]
    result = toysup.sweep(**SMALL, T=[3, 4], init=[*starts, "xavier_normal"])
    draw(result, init=result.dataset["init"].values[1])
    with pytest.raises(ValueError, match=r"as in (init='Weights\(m=2, n=40|--init)"):
        plot.vectors(result)


@named([f for f in EVERY if f is not plot.history])
def test_an_axis_without_a_place_must_be_chosen(draw, decays):
    with pytest.raises(ValueError, match=r"weight_decay has 2 values .* weight_decay=0.0"):
        draw(decays)
    draw(decays, weight_decay=0.5)


def test_importing_toysup_or_its_plots_imports_no_pyplot():
    code = (
        "import sys, toysup; assert 'matplotlib' not in sys.modules;"
        "import toysup.plot; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_shown(result, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    for draw in EVERY:
        draw(result)


# ---- missing and diverged runs


@named(EVERY)
def test_missing_runs_leave_gaps(draw, holed):
    for ax in axes_of(draw(holed)):
        ax.figure.canvas.draw()


def test_the_mean_is_that_of_the_finished_seeds(holed, result):
    x, y = xy(plot.test_loss(holed), "mean of 1 to 2 seeds")
    assert np.array_equal(x[[0, 1, 2]], [3, 8, 40])
    assert np.isnan(y[1])
    assert y[2] == pytest.approx(result.run(T=40, seed=0).test_loss)


def test_columns_without_a_run_are_left_out_or_say_so(holed):
    assert [ax.get_title() for ax in plot.vectors(holed)[0]] == ["T = 3", "T = 40", "T = ∞"]
    asked = plot.vectors(holed, T=[8, 3])
    assert [text.get_text() for text in asked[0, 0].texts] == ["no run"]
    assert not asked[0, 1].texts


@named([f for f in EVERY if f is not plot.history])
def test_without_any_finished_run_the_reason_is_given(draw, diverging, holed):
    with pytest.raises(ValueError, match=r"no finished run to draw \(2 diverged\)"):
        draw(diverging, learning_rate=1e30)
    # To figure 3, T only chooses the columns.
    if draw is not plot.figure3:
        with pytest.raises(ValueError, match=r"no finished run to draw \(2 missing\)"):
            draw(holed, T=[8])
    with pytest.raises(ValueError, match=r"no finished run to draw \(1 diverged\)"):
        draw(diverging.run(T=3, learning_rate=1e30))
    assert not plt.get_fignums()


def test_the_history_of_a_diverged_run_is_drawn(diverging, holed):
    for ax in plot.history(diverging):
        ax.figure.canvas.draw()
    plot.history(diverging.run(T=3, learning_rate=1e30))
    with pytest.raises(ValueError, match=r"no finished run to draw \(2 missing\)"):
        plot.history(holed, T=8)


# ---- sweeps of other shapes


@named(EVERY)
def test_axes_of_any_kind_and_a_T_that_does_not_vary(draw):
    odd = toysup.sweep(**SMALL, T=6, betas=[(0.9, 0.99), (0.8, 0.9)], init_seed=[0, 3])
    for ax in axes_of(draw(odd, betas=(0.8, 0.9), init_seed=0)):
        ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="T = 7 is not in the sweep, which has 6"):
        draw(odd, betas=(0.8, 0.9), init_seed=0, T=7)


@named([plot.test_loss, plot.norms, plot.heatmap])
def test_initialization_seeds_are_not_averaged_unasked(draw):
    twice = toysup.sweep(**SMALL, T=[3, 6], init_seed=[0, 1])
    with pytest.raises(ValueError, match=r'init_seed has 2 values .*sweep.best\("init_seed"\)'):
        draw(twice)
    plot.vectors(twice)
    plot.dimensionality(twice)


def test_without_test_examples_there_is_no_test_loss_to_draw():
    untested = toysup.sweep(**{**SMALL, "test_size": 0}, T=[3, 6])
    for draw in (plot.test_loss, plot.heatmap, plot.figure3):
        with pytest.raises(ValueError, match="test_loss is NaN in every finished run"):
            draw(untested)
    assert not plt.get_fignums()
    plot.history(untested)
    plot.vectors(untested)


@pytest.mark.filterwarnings("ignore:with n = 40 features and sparsity = 0.9999")
def test_vectors_of_length_zero_are_drawn():
    dead = toysup.train(**{**SMALL, "sparsity": 0.9999}, T=3)
    dead.W[:] = 0
    for ax in plot.vectors(dead):
        assert ax.get_xlim() == (-1.12, 1.12)
        ax.figure.canvas.draw()
    plot.dimensionality(dead)


# ---- vectors


def tips(ax, name):
    dots = next(a for a in by_label(ax, name) if isinstance(a, PathCollection))
    return np.asarray(dots.get_offsets())


def test_vectors_of_a_run_are_W_and_the_hidden_vectors(result):
    run = result.run(T=8, seed=1)
    features, examples = plot.vectors(run)
    assert np.allclose(tips(features, "features"), run.W.T)
    assert np.allclose(tips(examples, "examples"), run.hidden())
    lines = next(a for a in by_label(features, "features") if isinstance(a, LineCollection))
    assert np.allclose([s[1] for s in lines.get_segments()], run.W.T)
    assert np.allclose([s[0] for s in lines.get_segments()], 0)


def test_features_are_blue_and_examples_red(result):
    features, examples = plot.vectors(result.run(T=8, seed=1))
    for ax, name, color in (
        (features, "features", paint("features")),
        (examples, "examples", paint("examples")),
    ):
        for artist in by_label(ax, name):
            dots = isinstance(artist, PathCollection)
            colors = artist.get_facecolor() if dots else artist.get_color()
            assert np.allclose(colors[:, :3], to_rgba(color)[:3])


def test_a_sweep_has_a_column_for_each_T_in_rising_or_the_given_order(result):
    titles = [ax.get_title() for ax in plot.vectors(result)[0]]
    assert titles == ["T = 3", "T = 8", "T = 40", "T = ∞"]
    panels = plot.vectors(result, T=[math.inf, 8], seed=1)
    assert panels.shape == (2, 2)
    assert [ax.get_title() for ax in panels[0]] == ["T = ∞", "T = 8"]
    assert np.allclose(tips(panels[0, 1], "features"), result.run(T=8, seed=1).W.T)
    assert np.allclose(tips(panels[1, 0], "examples"), result.run(T=math.inf, seed=1).hidden())


def test_the_run_of_lowest_train_loss_is_drawn(result):
    panels = plot.vectors(result, T=8)
    best = min((result.run(T=8, seed=s) for s in (0, 1)), key=lambda run: run.train_loss)
    assert panels.shape == (2, 1)
    assert np.allclose(tips(panels[0, 0], "features"), best.W.T)


def test_panels_are_square_around_the_origin_with_their_own_or_a_common_scale(result):
    own, common = plot.vectors(result, seed=0), plot.vectors(result, seed=0, common_scale=True)
    for panels in (own, common):
        for ax in panels.ravel():
            low, high = ax.get_xlim()
            assert (low, high) == ax.get_ylim() and low == -high
            assert ax.get_aspect() == 1 and not len(ax.get_xticks()) and not len(ax.get_yticks())
    for row, name in enumerate(("features", "examples")):
        longest = [np.hypot(*tips(ax, name).T).max() for ax in own[row]]
        assert np.allclose([ax.get_xlim()[1] for ax in own[row]], 1.12 * np.array(longest))
        assert np.allclose([ax.get_xlim()[1] for ax in common[row]], 1.12 * max(longest))


def test_of_many_examples_some_are_drawn_the_longest_among_them():
    run = toysup.train(**{**SMALL, "steps": 1}, T=MAX_EXAMPLES + 500)
    _, panel = plot.vectors(run)
    drawn = tips(panel, "examples")
    hidden = run.hidden()
    assert len(drawn) == MAX_EXAMPLES
    assert np.hypot(*drawn.T).max() == pytest.approx(np.hypot(*hidden.T).max())
    assert np.array_equal(drawn, tips(plot.vectors(run)[1], "examples"))
    assert all(artist.get_rasterized() for artist in by_label(panel, "examples"))


def tips_in_space(ax, name):
    dots = next(a for a in by_label(ax, name) if isinstance(a, Path3DCollection))
    return np.transpose(dots._offsets3d)


def test_vectors_of_m_3_are_drawn_in_space(grid):
    run = grid.run(T=5, m=3, seed=0)
    features, examples = plot.vectors(run)
    assert np.allclose(tips_in_space(features, "features"), run.W.T)
    assert np.allclose(tips_in_space(examples, "examples"), run.hidden())
    lines = next(a for a in by_label(examples, "examples") if isinstance(a, Line3DCollection))
    assert np.allclose([s[1] for s in lines._segments3d], run.hidden())
    half = 1.12 * np.linalg.norm(run.hidden(), axis=1).max()
    for ends in (examples.get_xlim(), examples.get_ylim(), examples.get_zlim()):
        assert np.allclose(ends, (-half, half))
    panels = plot.vectors(grid, m=3, common_scale=True)
    assert [ax.get_title() for ax in panels[0]] == ["T = 5", "T = 20"]
    assert panels[1, 0].get_zlim() == panels[1, 1].get_zlim()
    assert "examples" in [text.get_text() for text in panels[1, 0].texts]


def test_axes_have_as_many_dimensions_as_the_vectors(grid):
    run = grid.run(T=5, m=3, seed=0)
    with pytest.raises(ValueError, match="must be made with projection='3d'"):
        plot.vectors(run, axes=Figure().subplots(1, 2))
    space = Figure().subplots(1, 2, subplot_kw={"projection": "3d"})
    assert plot.vectors(run, axes=space)[1] is space[1]
    with pytest.raises(ValueError, match="must not be made with projection='3d'"):
        plot.vectors(grid.run(T=5, m=2, seed=0), axes=space)


def test_more_than_a_plane_is_refused(grid):
    with pytest.raises(ValueError, match="m = 2 and m = 3 only, got m = 4"):
        plot.vectors(grid, m=4)
    with pytest.raises(ValueError, match="m = 2 only, got m = 3"):
        plot.figure2(grid, m=3)
    with pytest.raises(ValueError, match="m = 2 only, got m = 4"):
        plot.figure3(grid.run(T=5, m=4, seed=0))
    with pytest.raises(ValueError, match="m has 3 values"):
        plot.vectors(grid)


def test_at_most_ten_columns_are_chosen():
    many = toysup.sweep(**{**SMALL, "steps": 1}, T=[*range(3, 15), 400, math.inf])
    panels = plot.vectors(many)
    titles = [ax.get_title() for ax in panels[0]]
    assert panels.shape == (2, 10) and len(set(titles)) == 10
    assert titles[0] == "T = 3" and titles[-2:] == ["T = 400", "T = ∞"]


# ---- dimensionality


def strips(ax, name):
    drawn = [line for line in ax.lines if line.get_label() in (name, "_" + name)]
    return [(np.asarray(s.get_xdata()), np.asarray(s.get_ydata())) for s in drawn]


def test_strips_hold_the_dimensionalities_beside_their_T(result):
    ax = plot.dimensionality(result, seed=0)
    for name, side in (("features", -1), ("examples", +1)):
        found = strips(ax, name)
        assert len(found) == 4
        for place, (x, y) in zip((3, 8, 40), found, strict=False):
            assert np.all(side * (x - place) > 0)
            run = result.run(T=place, seed=0)
            values = run.feature_dimensionality() if side < 0 else run.example_dimensionality()
            assert np.allclose(np.sort(y), np.sort(values))
    x, y = xy(ax, "m / T")
    assert np.allclose(x * y, 2) and x[0] == 3 and x[-1] == pytest.approx(40)


def test_strips_of_many_points_keep_the_largest():
    run = toysup.train(**{**SMALL, "steps": 1}, T=3 * MAX_POINTS)
    _, y = strips(plot.dimensionality(run), "examples")[0]
    values = run.example_dimensionality()
    assert len(y) == MAX_POINTS
    assert np.allclose(y[: MAX_POINTS // 2], np.sort(values)[::-1][: MAX_POINTS // 2])


def test_strips_serve_every_m(grid):
    ax = plot.dimensionality(grid, m=4)
    x, y = xy(ax, "m / T")
    assert np.allclose(x * y, 4)


# ---- losses and norms


def test_test_loss_is_the_mean_of_the_seeds_each_of_which_is_a_dot(result):
    ax = plot.test_loss(result)
    x, y = xy(ax, "mean of 2 seeds")
    losses = result.dataset["test_loss"].sel(T=[3, 8, 40, math.inf]).transpose("T", "seed")
    assert np.array_equal(x[:3], [3, 8, 40]) and np.isnan(x[3]) and x[4] > 40
    assert np.allclose(y[[0, 1, 2, 4]], losses.mean("seed"))
    dots = xy(ax, "_mean of 2 seeds seeds")
    assert np.allclose(dots[1], losses.to_numpy().ravel()) and np.array_equal(dots[0][:2], [3, 3])
    assert by_label(ax, "_line")[0].get_ydata()[0] == 1.0
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["3", "8", "40", "∞"]


def test_one_curve_for_each_m_or_hue(grid, decays):
    ax = plot.test_loss(grid)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["4", "2", "3"]
    expected = grid.dataset["test_loss"].sel(m=3, T=[5, 20]).mean("seed")
    assert np.allclose(xy(ax, "3")[1], expected)
    ax = plot.test_loss(decays, hue="weight_decay")
    assert ax.get_legend().get_title().get_text() == "weight decay"
    expected = decays.dataset["test_loss"].sel(weight_decay=0.5).mean("seed")
    assert np.allclose(xy(ax, "0.5")[1], expected)


def test_a_wrong_hue_is_refused(decays):
    with pytest.raises(ValueError, match=r"hue must be an axis .*weight_decay.*, got 'wd'"):
        plot.test_loss(decays, hue="wd")
    with pytest.raises(ValueError, match="got 'seed'"):
        plot.test_loss(decays, hue="seed")


def test_the_reference_is_drawn_with_T_of_its_own(result):
    ax = plot.test_loss(result, reference={math.inf: 0.99, 3: 1.01, 1000: 1.02, 8: math.nan})
    x, y = xy(ax, "paper")
    assert np.array_equal(x[:2], [3, 1000]) and x[2] > 1000
    assert np.allclose(y, [1.01, 1.02, 0.99])
    low, high = ax.get_xlim()
    assert low < 3 and high > x[2]


def test_losses_beyond_the_axis_are_triangles_at_its_edge(result):
    means = dict(zip(*xy(plot.test_loss(result, ylim=(0, 100)), "mean of 2 seeds"), strict=True))
    order = sorted((v, k) for k, v in means.items() if not math.isnan(v))
    cut = (order[-1][0] + order[-2][0]) / 2
    ax = plot.test_loss(result, ylim=(0.0, cut))
    assert ax.get_ylim() == (0.0, cut)
    x, _ = xy(ax, "_above")
    assert np.allclose(x, [order[-1][1]])
    assert [text.get_text() for text in ax.texts] == [f"{order[-1][0]:.4g}"]
    assert ax.texts[0].xy[0] == x[0]


def table_of(losses, **dims):
    return xr.Dataset({"test_loss": (tuple(dims), losses)}, coords={**dims, "m": 2})


def test_a_peak_has_its_value_at_the_edge():
    T = [3, 5, 8, 10, 20, 30, 50, 100, 200, 500, 800, 900, 1000]
    losses = [34.5, 1.0, 1.02, 1.01, 1.02, 1.0, 1.01, 1.0, 7.25, 0.99, 1.0, 1.0, 1.01]
    data = table_of(losses, T=T)
    for ax in (plot.test_loss(data), plot.test_loss(data, reference={4: 9.5})):
        assert ax.get_yscale() == "linear" and ax.get_ylim()[1] < 5
        written = {text.get_text() for text in ax.texts}
        assert {"34.5", "7.25"} <= written
        ax.figure.canvas.draw()
        edge = ax.get_window_extent().y1
        assert all(abs(text.get_window_extent().y1 - edge) < 60 for text in ax.texts)
    assert "9.5" in written


def test_many_peaks_make_the_axis_logarithmic():
    T = [3, 5, 8, 10, 20, 30, 50, 100, 200, 500] * 3
    T = [t + 1000 * k for k in range(3) for t in T[:10]]
    losses = np.where(np.arange(30) % 4 == 0, 10.0 ** np.arange(30).clip(max=9), 1.001)
    for data in (
        table_of(losses, T=T),
        table_of(
            np.stack([[50.0, *[1.0] * 9], [60.0, *[1.01] * 9]]), weight_decay=[0.1, 1.0], T=T[:10]
        ),
    ):
        ax = plot.test_loss(data, hue="weight_decay" if "weight_decay" in data.dims else None)
        assert ax.get_yscale() == "function" and not ax.texts
        low, high = ax.get_ylim()
        assert low < float(data.test_loss.min()) and high > float(data.test_loss.max())
        fixed = plot.test_loss(
            data, hue="weight_decay" if "weight_decay" in data.dims else None, ylim=(0.9, 2.0)
        )
        assert fixed.get_ylim() == (0.9, 2.0) and fixed.texts


def test_seeds_and_losses_below_the_axis_are_marked():
    data = table_of([[1.0, 1.5], [1.0, 1.02], [0.2, 0.2]], T=[3, 5, 8], seed=[0, 1])
    ax = plot.test_loss(data, ylim=(0.9, 1.4))
    small, *_ = (line for line in ax.lines if line.get_label() == "_above")
    assert small.get_xdata().tolist() == [3] and small.get_markersize() == 3
    assert [text.get_text() for text in ax.texts] == ["0.2"]
    assert any(line.get_label() == "_below" and line.get_markersize() == 5 for line in ax.lines)


def marks(ax, label):
    return [line.get_xdata().tolist() for line in ax.lines if line.get_label() == label]


def test_what_leaves_an_axis_of_against_is_marked():
    data = table_of([[1.0, 1.5], [1.0, 1.02], [0.2, 0.2]], T=[3, 5, 8], seed=[0, 1])
    ax = plot.against(data, ylim=(0.9, 1.2))
    assert ax.get_ylim() == (0.9, 1.2)
    assert marks(ax, "_above") == [[3], [3]]  # a seed, and the mean
    assert marks(ax, "_below") == [[8, 8], [8]]
    assert [text.get_text() for text in ax.texts] == ["1.25", "0.2"]
    assert not plot.against(data).texts


def test_what_a_logarithmic_axis_has_no_place_for_is_marked():
    logarithmic = Figure().subplots()
    logarithmic.set_yscale("log")
    data = xr.Dataset({"test_loss": ("m", [10.0, 0.0, 30.0])}, coords={"m": [2, 3, 4], "T": 5})
    ax = plot.against(data, x="m", ax=logarithmic)
    assert marks(ax, "_below") == [[3]] and [text.get_text() for text in ax.texts] == ["0"]


def test_norms_beyond_a_given_axis_are_marked(result):
    given = Figure().subplots()
    given.set_ylim(0.0, 1e-3)
    ax = plot.norms(result, seed=1, ax=given)
    assert ax.get_ylim() == (0.0, 1e-3)
    assert len(marks(ax, "_above")) == 2
    assert f"{np.linalg.norm(result.run(T=3, seed=1).W):,.4g}" in [t.get_text() for t in ax.texts]


def test_dimensions_per_feature_beyond_1_are_marked(result):
    run = result.run(T=8, seed=1)
    small = dataclasses.replace(run, W=0.5 * run.W / np.linalg.norm(run.W))
    upper, _ = plot.toy_dimensions(small)
    assert len(marks(upper, "_above")) == 1
    assert "8" in [text.get_text() for text in upper.texts]  # 2 / 0.25


def test_a_legend_of_many_hues_has_every_kth():
    decay = np.geomspace(1e-4, 1, 40)
    ax = plot.test_loss(
        table_of(np.ones((40, 3)), weight_decay=decay, T=[3, 5, 8]), hue="weight_decay"
    )
    legend = ax.get_legend()
    assert len(legend.get_texts()) == 10
    assert legend.get_title().get_text() == "weight decay (one of 4)"
    assert legend.get_texts()[1].get_text() == f"{decay[4]:g}"


def test_norms_are_those_of_the_runs(result):
    ax = plot.norms(result, seed=1)
    for label, name in ((r"$\|W\|_F$", "W"), (r"$\|b\|_2$", "b")):
        x, y = xy(ax, label)
        expected = [np.linalg.norm(getattr(result.run(T=t, seed=1), name)) for t in (3, 8, 40)]
        assert np.array_equal(x[:3], [3, 8, 40])
        assert np.allclose(y[:3], expected, rtol=1e-5)


# ---- heat map


def test_the_map_has_m_upwards_and_T_to_the_right(grid):
    ax = plot.heatmap(grid, "W_norm")
    mesh = next(a for a in ax.collections if isinstance(a, QuadMesh))
    expected = grid.dataset["W_norm"].mean("seed").sel(T=[5, 20], m=[2, 3, 4]).transpose("m", "T")
    assert mesh.get_array().shape == (3, 2)
    assert np.allclose(mesh.get_array(), expected)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["5", "20"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "3", "4"]
    assert mesh.get_cmap().name == "plasma"


def test_cells_without_a_run_are_masked_and_hatched(holed):
    ax = plot.heatmap(holed)
    mesh = next(a for a in ax.collections if isinstance(a, QuadMesh))
    assert np.array_equal(np.ma.getmaskarray(mesh.get_array()), [[False, True, False, False]])
    (patch,) = by_label(ax, "_missing")
    assert isinstance(patch, Rectangle) and patch.get_hatch()
    assert patch.get_xy() == (0.5, -0.5)


def test_values_are_written_where_there_are_any(holed):
    ax = plot.heatmap(holed, annotate=".2f", colorbar=False, vmin=1.0, vmax=1.5)
    mesh = next(a for a in ax.collections if isinstance(a, QuadMesh))
    assert mesh.get_clim() == (1.0, 1.5)
    shown = np.ma.compressed(mesh.get_array())
    assert [t.get_text() for t in ax.texts] == [f"{v:.2f}" for v in shown]
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1.0042, 0.9987], ["1.004", "0.999"]),
        ([429.24, 1.0], ["429", "1"]),
        ([0.0, 1.0], ["0", "1"]),
    ],
)
def test_values_near_one_are_written_with_three_decimals(holed, values, texts):
    data = holed.dataset.sel(T=[3, 40], seed=0)
    heights = 0.0 * data["test_loss"] + np.array(values)
    ax = plot.heatmap(data.assign(test_loss=heights), annotate=True)
    assert [t.get_text() for t in ax.texts] == texts


def test_the_colour_bar_is_named_and_shows_what_it_leaves_out(result):
    losses = result.dataset["test_loss"].mean("seed").to_numpy()
    ax = plot.heatmap(result, vmax=float(np.median(losses)))
    bar = next(a for a in ax.figure.axes if a is not ax)
    assert bar.get_ylabel() == "test loss"
    assert ax.collections[0].colorbar.extend == "max"


def test_a_map_lies_over_any_two_axes(decays, grid):
    ax = plot.heatmap(decays, "W_norm", x="weight_decay", y="T")
    drawn = next(a for a in ax.collections if isinstance(a, QuadMesh)).get_array()
    expected = decays.dataset["W_norm"].mean("seed").transpose("T", "weight_decay")
    np.testing.assert_allclose(drawn, expected)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.5"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weight decay", "training examples T")
    ax = plot.heatmap(grid, "W_norm", x="seed", y="m", T=5)
    drawn = next(a for a in ax.collections if isinstance(a, QuadMesh)).get_array()
    expected = grid.dataset["W_norm"].sel(T=5).sortby("m").transpose("m", "seed")
    np.testing.assert_allclose(drawn, expected)


def test_a_map_says_which_axes_it_can_lie_over(decays):
    with pytest.raises(ValueError, match=r"y must be an axis of the sweep \(.*weight_decay.*'eps'"):
        plot.heatmap(decays, y="eps")
    for draw in (plot.heatmap, plot.against):
        with pytest.raises(ValueError, match=r"x must be an axis of the sweep .*\['T'\]"):
            draw(decays, x=["T"])
    with pytest.raises(ValueError, match=r"hue must be an axis of the sweep .*\['m'\]"):
        plot.against(decays, hue=["m"])
    with pytest.raises(ValueError, match="x and y must be two axes, got 'T' for both"):
        plot.heatmap(decays, y="T")
    with pytest.raises(
        ValueError, match=r"weight_decay has 2 values .*weight_decay=0\.0, or lay it"
    ):
        plot.heatmap(decays)


def test_a_scalar_is_drawn_against_any_axis_of_numbers(grid, decays):
    ax = plot.against(grid, "W_norm", x="m", hue="T")
    mean = grid.dataset["W_norm"].mean("seed").sortby("m")
    for T in (5, 20):
        x, y = xy(ax, str(T))
        np.testing.assert_array_equal(x, [2, 3, 4])
        np.testing.assert_allclose(y, mean.sel(T=T))
    assert ax.get_xlabel() == "hidden size m"
    assert plot.against(decays, x="weight_decay", T=5).get_xscale() == "linear"
    rates = toysup.sweep(**{**SMALL, "learning_rate": [1e-3, 1e-2, 1e-1]}, T=5)
    assert plot.against(rates, x="learning_rate").get_xscale() == "log"
    with pytest.raises(ValueError, match=r"x must be an axis of the sweep \(.*'eps'"):
        plot.against(grid, x="eps")
    with pytest.raises(ValueError, match="T has 2 values in this sweep: choose one"):
        plot.against(grid, x="m")


def test_repeats_are_an_axis_but_no_numbers():
    sweep = toysup.sweep(**SMALL, T=[5, 8], repeats=[{}, {0: 3}])
    ax = plot.heatmap(sweep, "W_norm", x="repeats", y="T")
    drawn = next(a for a in ax.collections if isinstance(a, QuadMesh)).get_array()
    np.testing.assert_allclose(drawn, sweep.dataset["W_norm"].transpose("T", "repeats"))
    with pytest.raises(ValueError, match="axis of numbers, got 'repeats': draw it with hue"):
        plot.against(sweep, x="repeats", T=5)


def test_an_unknown_variable_is_named(result):
    with pytest.raises(ValueError, match="'test_los'; did you mean 'test_loss'"):
        plot.heatmap(result, "test_los")
    with pytest.raises(ValueError, match="'W_nrm'; did you mean 'W_norm'"):
        plot.history(result, "W_nrm")


# ---- figure 3


def test_figure3_has_the_panes_of_its_parts(result):
    drawn = plot.figure3(result, T=[3, math.inf], reference={3: 1.0}, seed=1)
    loss, dimensions, *panels = drawn
    assert list(drawn) == loss.figure.axes
    assert len(panels) == 4
    assert loss.get_xlim() == dimensions.get_xlim()
    assert np.allclose(xy(loss, "mean of 2 seeds")[0][:3], [3, 8, 40])
    assert len(xy(loss, "paper")[0]) == 1
    assert len(strips(dimensions, "features")) == 4
    assert [ax.get_title() for ax in panels[:2]] == ["T = 3", "T = ∞"]
    assert np.allclose(tips(panels[0], "features"), result.run(T=3, seed=1).W.T)
    assert np.allclose(tips(panels[2], "examples"), result.run(T=3, seed=1).hidden())


@pytest.mark.filterwarnings("ignore:with n = 40 features and sparsity = 0.99,")
def test_figure3_chooses_at_most_the_six_columns_of_the_paper(result):
    assert len(plot.figure3(result)) == 2 + 2 * 4
    fields = {**SMALL, "steps": 1, "sparsity": 0.99}
    some = toysup.sweep(**fields, T=[3, 5, 10, 15, 50, 100, 200, 500, 2000])
    titles = [ax.get_title() for ax in plot.figure3(some)[2:7]]
    assert titles == ["T = 5", "T = 15", "T = 50", "T = 200", "T = 2,000"]


def test_bands_follow_the_sparsity_or_the_caller(result):
    def edges(**options):
        loss = plot.figure3(result, **options)[0]
        bands = [a for a in loss.patches if a.get_label() == "_band"]
        inner = sorted({round(band.get_x(), 9) for band in bands})[1:]
        return inner, [text.get_text() for text in loss.texts]

    assert edges() == ([5, 50], ["small data", "middle", "large data"])  # S = 0.9
    assert edges(bands=(4, 10)) == ([4, 10], ["small data", "middle", "large data"])
    assert edges(bands=(1, 10))[1] == ["middle", "large data"]
    assert edges(bands=None) == ([], [])


# ---- history


def test_history_is_that_of_the_run(result):
    run = result.run(T=8, seed=0)
    panels = plot.history(run, "W_norm")
    for ax, name in zip(panels, ("train_loss", "test_loss", "W_norm"), strict=True):
        x, y = xy(ax, "T = 8")
        assert np.array_equal(x, run.history["step"]) and x[0] == 0
        assert np.allclose(y, run.history[name])
        assert ax.get_xscale() == "symlog" and ax.get_xlim()[0] == 0
    title = panels[0].get_title(loc="left")
    for part in ("n = 40", "T = 8", "S = 0.9", "seed = 0", "steps = 30"):
        assert part in title


def test_every_run_of_a_sweep_has_a_line_in_the_colour_of_its_T(result):
    _, _, ax = plot.history(result)
    assert len(ax.lines) == 8
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["T = 3", "T = 8", "T = 40", "T = ∞"]
    for place in ("T = 3", "T = ∞"):
        (first,), (second,) = by_label(ax, place), by_label(ax, "_" + place)
        assert first.get_color() == second.get_color()
    assert len({line.get_color() for line in ax.lines}) == 4
    assert "T =" not in plot.history(result)[0].get_title(loc="left")


# ---- styles


def luminance(color):
    """By the Web Content Accessibility Guidelines, as is the contrast of 1 to 21."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color[:3]]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


def contrast(color, ground):
    dark, light = sorted(luminance(to_rgba(c)) for c in (color, ground))
    return (light + 0.05) / (dark + 0.05)


def shown_colors(figure):
    """What is written or drawn, and its colours, all of which are to be seen on the ground."""
    for text in figure.findobj(Text):
        on_cells = text.axes is not None and text.axes.findobj(QuadMesh) and text in text.axes.texts
        if text.get_visible() and text.get_text().strip() and not on_cells:
            yield text, [text.get_color()]
    for line in figure.findobj(Line2D):
        if line.get_visible() and not line.get_label().startswith("_"):
            yield line, [line.get_color(), line.get_markeredgecolor()]
    for drawn in [*figure.findobj(PathCollection), *figure.findobj(LineCollection)]:
        colors = [*drawn.get_facecolor(), *drawn.get_edgecolor()]
        if not drawn.get_label().startswith("_") and colors:
            yield drawn, [max(colors, key=lambda c: c[3])]


@pytest.fixture(scope="module")
def drawings(result, grid):
    """Every public plot."""
    run = toysup.train(**SMALL, T=8, snapshots=6)
    toy = {"n": 5, "m": 2, "T": math.inf, "batch_size": 50, "steps": 3, "test_size": 20}
    rare = toysup.sweep(**toy, sparsity=[0.0, 0.5, 0.9], importance=0.7)
    phases = {
        **toy,
        "n": 2,
        "m": 1,
        "importance": [(1.0, 0.1), (1.0, 10.0)],
        "sparsity": [0.0, 0.9],
    }
    phases = toysup.sweep(**phases)
    return {
        "interference": lambda: plot.interference(run),
        "against": lambda: plot.against(grid, hue="m"),
        "dimensionality": lambda: plot.dimensionality(result),
        "evolution": lambda: plot.evolution(run, mark={"examples": [1], "features": [2]}),
        "figure1": lambda: plot.figure1(run),
        "figure2": lambda: plot.figure2(result),
        "figure3": lambda: plot.figure3(result, reference={3: 1.0}, reference_above={8: 1.0}),
        "figure4": lambda: plot.figure4(result),
        "heatmap": lambda: plot.heatmap(grid, annotate=True, ridge={2: 5}),
        "history": lambda: plot.history(result),
        "norms": lambda: plot.norms(result, features=5),
        "regime": lambda: plot.regime(run),
        "test_loss": lambda: plot.test_loss(grid, hue="m"),
        "toy_dimensions": lambda: plot.toy_dimensions(rare),
        "toy_features": lambda: plot.toy_features(rare),
        "toy_phase": lambda: plot.toy_phase(phases, theory=expected_phase),
        "toy_vectors": lambda: plot.toy_vectors(rare),
        "vectors": lambda: plot.vectors(result),
    }


def test_plots_of_features_that_are_not_equally_frequent():
    zipf = power_law(40, 4.0, 1.0)
    fields = {k: v for k, v in SMALL.items() if k != "sparsity"}
    both = toysup.sweep(**fields, sparsity=[zipf, 0.8], T=[3, 8], m=2)
    ax = plot.against(both, "W_norm", hue="sparsity", x="T(1-S)")
    curves = {line.get_label(): line.get_xdata() for line in ax.lines}
    assert curves["0"] == pytest.approx([0.3, 0.8]) and curves["1"] == pytest.approx([0.6, 1.6])
    for draw in (plot.toy_features, plot.toy_vectors):
        titles = [ax.get_title() for ax in axes_of(draw(both, T=8))]
        assert [t for t in titles if t] == ["$1 - S = 0.2$", "$1 - S = 0.1$"]
    plot.toy_dimensions(both, T=8)
    run = toysup.train(**fields, sparsity=zipf, T=8, snapshots=4)
    text = plot.animate(run).figure.get_suptitle()
    assert f"S = {zipf.min():.3g} to {zipf.max():.3g}," in text


WHITE = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
CLEAR = ("figure.facecolor", "axes.facecolor")
# The last one is that of dark notebooks, whose page shows through.
STYLES = {
    "dark": ("dark_background", "black"),
    "clear": (dict.fromkeys(WHITE, "white") | dict.fromkeys(CLEAR, "none"), "black"),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", sorted({*plot.__all__} - {"animate", "explore", "save"}))
def test_every_plot_can_be_read_in_every_style(drawings, name, style):
    settings, ground = STYLES[style]
    with plt.style.context(settings):
        figure = axes_of(drawings[name]())[0].figure
        shown = list(shown_colors(figure))
    assert shown
    for artist, colors in shown:
        least = 3.0 if isinstance(artist, Text) else 1.4 if "none" in artist.get_label() else 2.2
        found = max(contrast(color, ground) for color in colors)
        assert found >= least, (artist, colors, found)


def test_colours_are_those_of_the_axes_given(result):
    """Whatever style they are of: it need not be that in force."""
    with plt.style.context("dark_background"):
        ax = Figure().add_subplot()
    plot.norms(result, ax=ax)
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert lines and all(contrast(line.get_color(), "black") > 4 for line in lines)
    assert {text.get_color() for text in ax.get_legend().get_texts()} == {(1.0, 1.0, 1.0)}


def test_on_white_colours_are_those_of_the_paper():
    found = [paint(name) for name in ("features", "examples", "ink", "muted", "rule", "paper")]
    assert found == ["#2166ac", "#b2182b", "#222222", "#8a8a8a", "#cccccc", "#ffffff"]


@given(st.tuples(*[st.floats(0, 1)] * 3), st.tuples(*[st.floats(0, 1)] * 3))
@example((0.0, 0.75, 0.0), (0.0, 0.0, 1.0))  # light enough alone, but not when mixed
def test_colours_stand_out_from_any_ground(ink, ground):
    with matplotlib.rc_context({"text.color": ink, "axes.facecolor": ground}):
        assert contrast(paint("ink"), ground) > 2.3
        for name in ("features", "examples", "green", "violet", "muted"):
            assert contrast(paint(name), ground) > 1.5


# ---- files


def test_saved_files_are_the_same_each_time(result, tmp_path):
    written = []
    for name in ("a", "b"):
        ax = plot.test_loss(result)
        png, svg = plot.save(ax, tmp_path / name / "fig.3", dpi=50)
        assert (png.name, svg.name) == ("fig.3.png", "fig.3.svg")
        written.append((png.read_bytes(), svg.read_bytes()))
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0][1]


def test_whatever_is_drawn_can_be_saved(result, tmp_path):
    for draw in soak.soak((plot.norms, plot.figure3), EVERY):
        for path in plot.save(draw(result), tmp_path / draw.__name__, dpi=30):
            assert path.stat().st_size > 1000
    inside = Figure().subfigures(1, 2)[0]
    plot.save(plot.figure3(result, fig=inside), tmp_path / "inside", dpi=30)
    with pytest.raises(TypeError, match="Figure, an Axes"):
        plot.save("figure", tmp_path / "no")


def test_a_suffix_that_matplotlib_knows_is_honoured(result, tmp_path):
    ax = plot.norms(result)
    known = {f".{name}" for name in ax.figure.canvas.get_supported_filetypes()}
    for suffix in soak.soak({".PNG", ".pdf", ".svgz"}, {".PNG", *known} - {".pgf"}):  # needs LaTeX
        file = tmp_path / f"a.b{suffix}"
        assert plot.save(ax, file, dpi=30) == (file,)
        assert file.stat().st_size > 500
        file.unlink()
    assert not list(tmp_path.iterdir())
    assert [file.name for file in plot.save(ax, tmp_path / "a.b", dpi=30)] == ["a.b.png", "a.b.svg"]


def test_a_format_whose_program_fails_is_named(result, tmp_path, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "pgf.texsystem", "xelatex")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match=r"a\.pgf.*'xelatex' not found"):
        plot.save(plot.norms(result), tmp_path / "a.pgf")
