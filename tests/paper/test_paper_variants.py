"""Weight decay, epochs, mean against sum, and the scale of generalization, as presets."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import toysup
from helpers import of_their_T
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import _recipe, _runs, reference
from toysup.paper._preset import Preset, carry_out
from toysup.paper.curves import epochs, generalization, reduction, weight_decay
from toysup.paper.curves.generalization_drawing import collapse
from toysup.paper.figures import figure3
from toysup.paper.reference import Reading
from toysup.plot._parts.limits import LINEAR, squeeze, stretch
from toysup.plot._sweeps.against import against

TINY = {"n": 60, "sparsity": 0.9, "steps": 60, "learning_rate": 0.02, "test_size": 80, "record": 4}
ALL = (
    weight_decay.WEIGHT_DECAY,
    epochs.EPOCHS,
    reduction.REDUCTION,
    generalization.GENERALIZATION,
)
presets = pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.name)

Results = dict[str, SweepResult]


def tiny(fields: Any) -> dict[str, Any]:
    """Fields of a preset's sweep, for a moment's training: few T, and n and steps far smaller."""
    few = {**fields, "test_size": 80, "record": 4, "learning_rate": 0.02, "seed": range(2)}
    few["n"] = fields["n"] // 10
    few["T"] = list(fields["T"])[:4]
    several = not isinstance(fields.get("steps", 0), int)
    few["steps"] = (20, 40) if several else 40
    return of_their_T(few)


@pytest.fixture(scope="module")
def trained() -> dict[str, Results]:
    """The results of every preset, small in every respect."""
    return {
        preset.name: {
            part: toysup.sweep(progress=False, **tiny(fields))
            for part, fields in preset.scales["small"].items()
        }
        for preset in ALL
    }


@pytest.fixture(scope="module")
def diverged() -> dict[str, Results]:
    """The same, where no run ended well."""
    wild = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
    return {
        preset.name: {
            part: toysup.sweep(progress=False, **{**tiny(fields), **wild, "seed": [0]})
            for part, fields in preset.scales["small"].items()
        }
        for preset in ALL
    }


def curve_of(ax: Any, label: str) -> tuple[Any, Any]:
    """x and y of a line."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


# ---- what all of them do


@presets
def test_paper_scale_is_the_papers_recipe(preset: Preset) -> None:
    """What is not varied is the default, and there are four seeds."""
    varied = {"T", "m", "seed", "weight_decay", "steps", "loss_reduction", "batch_size"}
    if preset is generalization.GENERALIZATION:
        varied |= {"n", "sparsity", "eps"}
    for fields in preset.fields("paper").values():
        assert set(fields) <= varied
        assert list(fields["seed"]) == [0, 1, 2, 3]


@presets
def test_small_scale_is_the_stand_in(preset: Preset) -> None:
    first = next(iter(preset.fields("small").values()))
    for name in ("n", "sparsity", "eps", "learning_rate"):
        assert first[name] == _recipe.SMALL[name]
    small, paper = preset.grids("small"), preset.grids("paper")
    for one, other in zip(small.values(), paper.values(), strict=True):
        assert one.dims == other.dims


@presets
def test_tables_drawings_and_text_without_any_run(
    preset: Preset, diverged: dict[str, Results]
) -> None:
    results = diverged[preset.name]
    assert {s for result in results.values() for s in result.statuses} == {"diverged"}
    assert preset.see(results, "small") == _runs.NOTHING
    assert not list(preset.drawings(results, "small"))
    for table in preset.tables(results, "small"):
        assert table.text()
        assert len(table.rows) > 0


@presets
def test_headings_fit_a_terminal(preset: Preset, trained: dict[str, Results]) -> None:
    for at in ("small", "paper"):
        for table in preset.tables(trained[preset.name], at):
            assert max(map(len, table.heading.splitlines())) <= 100


@presets
def test_missing_cells_do_not_stop_a_preset(
    preset: Preset, trained: dict[str, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the first T, and without one seed of the second, there is still all to be seen."""
    whole = SweepResult.dataset

    def holed(result: SweepResult) -> Any:
        data = whole.fget(result)  # type: ignore[attr-defined]
        there = (data["T"] > data["T"][0]) & ((data["T"] > data["T"][1]) | (data["seed"] > 0))
        kept = data.drop_vars("status").where(there)
        return kept.assign(status=data["status"].where(there, "missing"))

    monkeypatch.setattr(SweepResult, "dataset", property(holed))
    results = trained[preset.name]
    assert preset.see(results, "small") != _runs.NOTHING
    for table in preset.tables(results, "small"):
        assert table.text()
    for _, drawing in preset.drawings(results, "small"):
        np.ravel(drawing)[0].figure.canvas.draw()


@pytest.mark.any_backend
def test_a_preset_is_carried_out_and_continued(backend: Backend, tmp_path: Path) -> None:
    """Files are written; the runs of figure 3 are shared, and nothing is trained twice."""
    parts = {
        part: {**tiny(fields), "T": [3, 30], "seed": [0]}
        for part, fields in reduction.REDUCTION.scales["small"].items()
    }
    preset = dataclasses.replace(reduction.REDUCTION, scales={"small": parts})
    done = carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    assert (tmp_path / "reduction.png").stat().st_size > 10_000
    assert (tmp_path / "reduction.csv").read_text().startswith("T,mean_test_loss,sum_test_loss")
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == ["figure3", "figure3-sum"]
    again = carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    for part, result in done.results.items():
        assert result.dataset["seconds"].equals(again.results[part].dataset["seconds"])


# ---- figures A1 and A2


@pytest.mark.parametrize(
    ("preset", "axis"), [(weight_decay.WEIGHT_DECAY, "weight_decay"), (epochs.EPOCHS, "steps")]
)
def test_bump_table_and_curves_are_the_means(
    preset: Preset, axis: str, trained: dict[str, Results]
) -> None:
    result = trained[preset.name][preset.name]
    (table,) = preset.tables(trained[preset.name], "small")
    ((_, ax),) = preset.drawings(trained[preset.name], "small")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == len(table.rows) == len(result.coords[axis])
    for row, label in zip(table.records(), labels, strict=True):
        means = result.dataset["test_loss"].sel({axis: row[axis]}).mean("seed")
        at = [row[f"T={T}"] for T in result.coords["T"]]
        assert at == pytest.approx(means.to_numpy())
        assert row["highest"] == max(at)
        assert row[f"T={row['at_T']}"] == row["highest"]
        x, y = curve_of(ax, label)
        assert np.array_equal(x, result.coords["T"]) and y == pytest.approx(at)


def test_the_bump_is_told_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    result = toysup.sweep(**TINY, T=[500, 1000], m=4, seed=[0], weight_decay=[0.0, 1.0])
    data = result.dataset
    heights = np.array([[1.1, 0.9], [1.2, 0.8]]).reshape(2, 1, 2)
    bent = data.assign(test_loss=(("T", "seed", "weight_decay"), heights))
    monkeypatch.setattr(SweepResult, "dataset", property(lambda self: bent))
    said = weight_decay.WEIGHT_DECAY.see({"weight-decay": result}, "small")
    assert "1.2000 at T = 1,000 for a weight decay of 0, " in said
    assert "0.9000 at T = 500 for a weight decay of 1." in said


def test_epochs_vary_nothing_but_steps() -> None:
    for at in ("small", "paper"):
        (fields,) = epochs.EPOCHS.fields(at).values()
        steps = np.array(fields["steps"])
        assert np.array_equal(steps[1:], 2 * steps[:-1])
        usual = toysup.TrainConfig().steps if at == "paper" else _recipe.SMALL["steps"]
        assert usual in steps


# ---- mean against sum


def test_mean_runs_are_those_of_figure3_and_the_sum_differs_by_reduction_and_eps() -> None:
    for at in ("small", "paper"):
        parts = reduction.REDUCTION.grids(at)
        whole = set(figure3.FIGURE3.grids(at)["figure3"].configs().values())
        mean = list(parts["figure3"].configs().values())
        total = list(parts["figure3-sum"].configs().values())
        assert set(mean) < whole
        assert max(config.T for config in mean) == (2_000 if at == "small" else 20_000)
        for one, other in zip(mean, total, strict=True):
            assert one == other.replace(loss_reduction="mean", eps=one.eps)
            # A tenth of the paper's n, with ten times the gradients of the sum.
            assert other.eps == pytest.approx(1e-8 if at == "paper" else 1e-7)


def test_the_sum_with_eps_n_times_as_large_is_the_mean(backend: Backend) -> None:
    """What the preset's docstring says of eps, in double precision."""
    given = {**TINY, "T": 40, "m": 2, "seed": 0, "steps": 20, "dtype": "float64"}
    mean = toysup.train(**given, eps=1e-4)
    total = toysup.train(**given, eps=60e-4, loss_reduction="sum")
    assert np.allclose(mean.W, total.W, rtol=1e-8, atol=1e-10)
    assert not np.allclose(
        mean.W, toysup.train(**given, eps=1e-4, loss_reduction="sum").W, atol=1e-3
    )


def test_reduction_table_has_both_and_the_papers_value(trained: dict[str, Results]) -> None:
    results = trained["reduction"]
    (table,) = reduction.tables(results, "paper")
    for row in table.records():
        T = row["T"]
        for kind, part in (("mean", "figure3"), ("sum", "figure3-sum")):
            data = results[part].dataset.sel(T=T)
            for name in ("test_loss", "W_norm", "b_norm"):
                assert row[f"{kind}_{name}"] == pytest.approx(float(data[name].mean("seed")))
            spread = data["test_loss"].to_numpy().std(ddof=1)
            assert row[f"{kind}_spread"] == pytest.approx(spread)
        assert row["paper_T"] == T
        assert row["paper_test_loss"] == str(reference.FIGURE3_TEST_LOSS[T])
        assert row["agrees"] in ("mean", "sum", "both", "neither")
        assert row["nearer"] in ("mean", "sum", "both")
    (small,) = reduction.tables(results, "small")
    assert {row["agrees"] for row in small.records()} == {None}


def test_reduction_says_where_the_sum_is_farthest(
    trained: dict[str, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SweepResult.dataset
    heights = {"mean": [1.03, 1.0, 1.0, 1.0177], "sum": [1.03, 1.0, 30.0, 1.0500]}

    def bent(result: SweepResult) -> Any:
        data = whole.fget(result)  # type: ignore[attr-defined]
        kind = result.configs[0].loss_reduction
        return data.assign(test_loss=(("T", "seed"), np.c_[heights[kind], heights[kind]]))

    monkeypatch.setattr(SweepResult, "dataset", property(bent))
    said = reduction.see(trained["reduction"], "paper")
    assert "test loss reaches 30.00 at T = 6, where it is 1.0000 with the mean and 1.0000" in said
    assert "nearer to the paper at 2 of 4 T, the sum at 0; within" in said
    assert said.endswith("uncertainty are 4 and 2.")
    assert reduction.see(trained["reduction"], "small").endswith("2 of 4 T, the sum at 0.")


@pytest.mark.parametrize(
    ("losses", "agrees", "nearer"),
    [
        ((1.0151, 1.0149), "both", "both"),
        ((1.0151, 30.0), "mean", "mean"),
        ((0.9000, 1.0151), "sum", "sum"),
        ((1.0160, 1.0140), "neither", "both"),  # equally far
        ((1.0160, 1.0200), "neither", "mean"),
    ],
)
def test_which_agrees_and_which_is_nearer(
    losses: tuple[float, float], agrees: str, nearer: str
) -> None:
    read = Reading(1.0150)
    assert reduction.agreeing(read, losses) == agrees
    assert reduction.nearer(read, losses, (0.0, 0.0)) == nearer
    assert reduction.nearer(read, losses, (30.0, 40.0)) == "both"


def test_a_lower_bound_is_met_from_above() -> None:
    read = Reading(1.025, is_bound=True)
    assert reduction.agreeing(read, (1.03, 50.0)) == "both"
    assert reduction.nearer(read, (1.03, 50.0), (0.0, 0.0)) == "both"
    assert reduction.nearer(read, (1.0, 50.0), (0.0, 0.0)) == "sum"


def test_reduction_figure_shows_losses_norms_and_the_paper(trained: dict[str, Results]) -> None:
    results = trained["reduction"]
    ((_, axes),) = reduction.drawings(results, "small")
    for ax, name in zip(axes, ("test_loss", "W_norm", "b_norm"), strict=True):
        for kind, part in (("mean", "figure3"), ("sum", "figure3-sum")):
            x, y = curve_of(ax, kind)
            means = results[part].dataset[name].mean("seed")
            assert np.array_equal(x, results[part].coords["T"]) and y == pytest.approx(means)
    assert axes[0].get_xlim() == axes[1].get_xlim() == axes[2].get_xlim()
    x, y = curve_of(axes[0], "paper")
    assert dict(zip(x, y, strict=True)) == {5: 1.0, 6: 1.0, 8: 1.0177}
    assert curve_of(axes[0], "paper, at least")[0].tolist() == [3.0]
    low, high = axes[0].get_ylim()
    assert low < y.min() and high > max(curve_of(axes[0], "sum")[1].max(), 1.025)


def test_paper_readings_stand_at_the_small_scales_T() -> None:
    """Beyond T = 50 a reading belongs to a tenth of its T."""
    parts = {
        part: toysup.sweep(progress=False, **{**tiny({**fields, "T": [50, 200]}), "seed": [0]})
        for part, fields in reduction.REDUCTION.scales["small"].items()
    }
    ((_, axes),) = reduction.drawings(parts, "small")
    x, y = curve_of(axes[0], "paper")
    assert dict(zip(x, y, strict=True)) == {50: 1.0047, 200: 1.0150}


def test_the_loss_scale_is_linear_near_1_and_can_be_inverted() -> None:
    losses = np.array([-5.0, 0.9, 0.98, 1.0, 1.01, 1.02, 1.03, 1.5, 30.0, 4_000.0])
    heights = squeeze(losses)
    assert np.all(np.diff(heights) > 0)
    assert stretch(heights) == pytest.approx(losses)
    assert np.diff(heights[3:6]) == pytest.approx(heights[4])
    # A decade of the distance from 1 is one unit of height.
    assert squeeze(np.array([1 + 100 * LINEAR])) - squeeze(np.array([1 + LINEAR])) == (
        pytest.approx(2.0)
    )


# ---- the scale of generalization


def test_half_way_is_found_in_log_T() -> None:
    T = [1_000, 10, 100, 10_000]
    assert generalization.crossing(T, [0.4, 0.0, 0.0, 0.4]) == pytest.approx(10**2.5)
    assert generalization.crossing(T, [0.3, 0.0, 0.1, 0.4]) == pytest.approx(10**2.5)
    # The last rise counts, and points without a value do not.
    assert generalization.crossing([1, 2, 4, 8], [0.0, 1.0, 0.0, 1.0]) == pytest.approx(32**0.5)
    assert generalization.crossing([1, 2, 4, 8], [0.0, math.nan, 0.0, 1.0]) == pytest.approx(
        32**0.5
    )
    assert generalization.crossing([1, 2, math.inf], [0.0, 1.0, 9.0]) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("T", "y"),
    [([1, 2], [1.0, 0.0]), ([1, 2], [0.5, 0.5]), ([1], [0.3]), ([], []), ([1, 2], [math.nan] * 2)],
)
def test_a_curve_that_does_not_rise_has_no_half_way(T: list[int], y: list[float]) -> None:
    assert math.isnan(generalization.crossing(T, y))


@pytest.mark.parametrize("at", ["small", "paper"])
def test_sparsities_are_compared_at_equal_T_times_1_minus_S(at: str) -> None:
    """All see a feature in equally many examples; eps follows the gradients, as 1 / n^2."""
    grids = generalization.GENERALIZATION.grids(at)
    usual = next(iter(grids[generalization.PART].configs().values()))
    kept = {"n": 0, "n(1-S)": 0}
    for name, grid in grids.items():
        config = next(iter(grid.configs().values()))
        gap = 1 - config.sparsity
        assert np.allclose(np.array(grid.axes["T"]) * gap, generalization.SEEN)
        assert config.eps * config.n**2 == pytest.approx(usual.eps * usual.n**2)
        if name != generalization.PART:
            assert config.weight_decay == 1e-2
        kept["n"] += config.n == usual.n
        kept["n(1-S)"] += math.isclose(config.n * gap, usual.n * (1 - usual.sparsity))
    assert kept == {"n": 4, "n(1-S)": 4}


def test_jumps_are_where_the_mean_curves_pass_half_way(trained: dict[str, Results]) -> None:
    results = trained["generalization"]
    found = generalization.jumps(results)
    assert [jump.held for jump in found] == ["S"] * 5 + ["n(1-S)"] * 4 + ["n"] * 4
    assert [jump.config.weight_decay for jump in found[:5]] == list(weight_decay.DECAYS)
    assert [jump.config.sparsity for jump in found[5:]] == [0.96, 0.98, 0.99, 0.995] * 2
    assert [jump.config.n for jump in found[5:]] == [25, 50, 100, 200, *[100] * 4]
    by_config = {r.configs[0].replace(T=1, seed=0): r.dataset for r in results.values()}
    for jump in found[5:]:
        usual = math.isclose(jump.config.sparsity, 0.99)
        data = results[generalization.PART].dataset.sel(weight_decay=0.01) if usual else None
        data = by_config[jump.config.replace(T=1, seed=0)] if data is None else data
        mean = data[generalization.VARIABLE].mean("seed").to_numpy()
        assert (jump.low, jump.high) == pytest.approx((mean.min(), mean.max()))
        assert jump.T == pytest.approx(generalization.crossing(data["T"], mean), nan_ok=True)
        assert jump.seen == pytest.approx(jump.T * (1 - jump.config.sparsity), nan_ok=True)


def made_jumps(held: str, T: dict[float, float]) -> list[generalization.Jump]:
    config = toysup.TrainConfig()
    return [
        generalization.Jump(held, config.replace(sparsity=S), at, [], 0, 1) for S, at in T.items()
    ]


def test_how_far_jumps_lie_apart() -> None:
    """T in proportion to 1 / (1 - S) has the exponent 1, and a T that is the same has 0."""
    gone = {0.5: math.nan}
    found = made_jumps("n(1-S)", {0.96: 50, 0.98: 100, 0.99: 200, **gone})
    found += made_jumps("n", {0.96: 300, 0.98: 300, 0.99: 300})
    spread = generalization.spreads(found)
    assert spread["n(1-S)"] == pytest.approx((3, 4.0, 1.0, 1.0))
    assert spread["n"] == pytest.approx((3, 1.0, 4.0, 0.0), abs=1e-9)
    assert spread["S"][0] == 0 and all(map(math.isnan, spread["S"][1:]))


def test_generalization_says_where_the_jumps_are(
    trained: dict[str, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made_jumps("n(1-S)", {0.96: 50, 0.98: 110}) + made_jumps("n", {0.96: 300, 0.98: 300})
    found += made_jumps("S", {0.99: 444})
    monkeypatch.setattr(generalization, "jumps", lambda results: found)
    said = generalization.GENERALIZATION.see(trained["generalization"], "small")
    assert "by weight decay, is at T = 444 for 0.01." in said
    assert "with n (1 - S) held, T at the jump differs by a factor of 2.2 and T (1 - S), " in said
    assert "2.0 to 2.2, by 1.1" in said and "^0.00." in said
    table, apart = generalization.GENERALIZATION.tables(trained["generalization"], "small")
    assert [row["T"] for row in table.records()] == [50, 110, 300, 300, 444]
    assert [row["curves"] for row in apart.records()] == [1, 2, 2]


def test_collapse_draws_every_sparsity_twice(trained: dict[str, Results]) -> None:
    results = trained["generalization"]
    drawn = dict(generalization.GENERALIZATION.drawings(results, "small"))
    assert list(drawn) == ["generalization-decay", "generalization-sparsity"]
    panels = drawn["generalization-sparsity"]
    assert [ax.get_title(loc="left") for ax in panels[:, 0]] == ["n (1 \u2212 S) = 1", "n = 100"]
    for (T, seen), held in zip(panels, generalization.HELD, strict=True):
        together = generalization.together(results, held)
        for S in (0.96, 0.98, 0.99, 0.995):
            known = together[generalization.VARIABLE].sel(sparsity=S).mean("seed").dropna("T")
            for ax, factor in ((T, 1.0), (seen, 1.0 - S)):
                x, y = curve_of(ax, f"{S:g}")
                assert x == pytest.approx(known["T"].to_numpy() * factor)
                assert y == pytest.approx(known.to_numpy())


def test_the_range_of_jumps_is_shaded(trained: dict[str, Results]) -> None:
    data = generalization.together(trained["generalization"], "n")
    at = [(100.0, 4.0), (math.nan, math.nan), (250.0, 4.4)]
    ((left, right),) = collapse({"some": data}, generalization.VARIABLE, {"some": at})
    for ax, ends, text in ((left, (100, 250), "× 2.5"), (right, (4, 4.4), "× 1.1")):
        (band,) = [patch for patch in ax.patches if patch.get_label() == "_jumps"]
        x = band.get_path().get_extents(band.get_patch_transform()).intervalx
        assert x == pytest.approx(ends)
        assert [note.get_text() for note in ax.texts] == [text]
    ((plain, _),) = collapse({"some": data}, generalization.VARIABLE, {"some": at[:2]})
    assert not plain.patches and not plain.texts


# ---- curves against T or T (1 - S)


def test_against_leaves_out_a_T_without_runs() -> None:
    rates = {"optimizer": "sgd", "warmup": 0.0, "learning_rate": [1e-3, 1e30]}
    result = toysup.sweep(**{**TINY, **rates}, T=[5, 20], seed=[0])
    data = result.dataset
    x, _ = curve_of(against(data, hue="learning_rate"), "0.001")
    assert x.tolist() == [5, 20]
    data["status"][dict(T=0, learning_rate=0)] = "missing"
    ax = against(data, hue="learning_rate")
    assert [line.get_label() for line in ax.lines if line.get_label()[0] != "_"] == ["0.001"]
    assert curve_of(ax, "0.001")[0].tolist() == [20]


def test_against_T_times_1_minus_S() -> None:
    result = toysup.sweep(**{**TINY, "sparsity": [0.9, 0.8]}, T=[5, 20, math.inf], batch_size=9)
    ax = against(result, "W_norm", hue="sparsity", x="T(1-S)")
    assert ax.get_xlabel().startswith("examples with a feature")
    x, y = curve_of(ax, "0.8")
    assert x[:2] == pytest.approx([1.0, 4.0]) and np.isnan(y[2]) and x[3] > 4
    assert y[[0, 1, 3]] == pytest.approx(result.dataset["W_norm"].sel(sparsity=0.8).to_numpy())
    assert curve_of(ax, "0.9")[0][:2] == pytest.approx([0.5, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "T(1-s)"}, r"x must be an axis of .*'T\(1-s\)'; did you mean 'T\(1-S\)'"),
        ({"x": "T(1-S)"}, "needs an axis sparsity, got T, weight_decay, m"),
        ({"hue": "decay"}, "hue must be an axis .*; did you mean 'weight_decay'"),
        ({"variable": "test_los"}, "'test_los'; did you mean 'test_loss'"),
        ({}, "weight_decay has 2 values"),
    ],
)
def test_against_refuses_what_it_cannot_draw(arguments: dict[str, Any], message: str) -> None:
    result = toysup.sweep(**TINY, T=[5], weight_decay=[0.0, 0.1])
    given = {"hue": "weight_decay", **arguments} if arguments else {}
    with pytest.raises(ValueError, match=message):
        against(result, **given)
    assert not plt.get_fignums()
