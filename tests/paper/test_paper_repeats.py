"""Repeated examples and two circles: what the presets measure, and what they write."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import toysup
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import _runs
from toysup.paper.questions import circles, circles_drawing, repeats, repeats_drawing
from toysup.plot._parts.save import figure_of

TINY: dict[str, Any] = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}


def repeats_sweep(**fields: Any) -> SweepResult:
    given = {"T": [40, 80], "repeats": repeats.repeated(1, 3, 40), "seed": range(2)}
    return toysup.sweep(progress=False, **{"m": 2, "snapshots": 12, **TINY, **given, **fields})


def circles_sweep(**fields: Any) -> SweepResult:
    given = {"T": [3, 8], "seed": range(2), "init_seed": range(2)}
    return toysup.sweep(progress=False, m=2, **{**TINY, **given, **fields})


def drawn(preset: Any, result: SweepResult) -> dict[str, Any]:
    """All drawings by name; their figures are closed."""
    made = dict(preset.drawings({preset.name: result}, "small"))
    for drawing in made.values():
        figure_of(drawing).canvas.draw()
        plt.close(figure_of(drawing))
    return made


# --- repeated examples ---


def test_a_reading_is_that_of_the_distinct_examples(backend: Backend) -> None:
    """By the definitions, from dense arrays."""
    run = toysup.train(m=2, T=40, repeats={3: 5, 7: 2}, snapshots=12, progress=False, **TINY)
    found = list(repeats.read(run, run.config.repeats))
    assert [(reading.t, reading.R) for reading in found] == [(3, 5), (7, 2)]
    X = run.training_set().toarray()[:40]
    W, b = run.W.astype(np.float64), run.b.astype(np.float64)
    loss = np.sum((X - np.maximum(X @ W.T @ W + b, 0)) ** 2, axis=1)
    share = toysup.metrics.dimensionality(X @ W.T)
    for reading in found:
        assert reading.loss == pytest.approx(loss[reading.t], rel=1e-5)
        assert reading.dimensionality == pytest.approx(share[reading.t], rel=1e-5)
        assert reading.others == pytest.approx(np.delete(loss, [3, 7]).mean(), rel=1e-5)
        assert reading.course[-1] == reading.dimensionality
        assert reading.steps[-1] == run.config.steps
        assert reading.test_loss == run.test_loss


@pytest.mark.usefixtures("native")
def test_an_often_repeated_example_is_memorized() -> None:
    """At T = n one example that occurs once is not stored, and one that occurs often is."""
    fields = {"n": 200, "sparsity": 0.95, "eps": 1e-5, "steps": 3_000, "learning_rate": 1.6e-2}
    fields |= {"T": 200, "test_size": 0, "snapshots": 5, "m": 2}
    result = toysup.sweep(repeats=repeats.repeated(1, 40), progress=False, **fields)
    once, often = repeats.readings(result)
    assert (once.R, once.memorized, often.R, often.memorized) == (1, False, 40, True)
    assert often.dimensionality > 10 * once.dimensionality
    assert repeats.drawn_pair([once, often]) == [once, often]


def test_without_repetition_the_example_of_the_other_runs_is_read() -> None:
    result = repeats_sweep(T=40, seed=0, repeats=[(), ((5, 9),)])
    assert [(r.t, r.R) for r in repeats.readings(result)] == [(5, 1), (5, 9)]


def reading(T: int, R: int, memorized: bool, **changes: Any) -> repeats.Reading:
    """A reading by hand."""
    config = toysup.TrainConfig(n=100, T=T, test_size=0)
    steps, course = np.array([1, 10, 100]), np.array([0.1, 0.4, 0.3 if memorized else 0.01])
    made = repeats.Reading(
        config=config,
        t=0,
        R=R,
        dimensionality=float(course[-1]),
        loss=0.1 if memorized else 0.9,
        others=0.95,
        test_loss=1.0,
        features=np.array([0.4, 0.1 if memorized else 0.4]),
        forgotten=0,
        steps=steps,
        course=course,
        memorized=memorized,
        near_miss=False,
    )
    return replace(made, **changes)


def law(c: float, p: float, T: tuple[int, ...] = (100, 200, 400, 800)) -> list[repeats.Reading]:
    """Readings whose boundary lies halfway, on a logarithmic scale, between R and 4 R."""
    found = []
    for t in T:
        middle = c * (t / 100) ** p
        found += [reading(t, round(middle / 2), False), reading(t, round(middle * 2), True)]
    return found


def test_the_fit_finds_a_power_law() -> None:
    c, p = repeats.fit(repeats.boundaries(law(8.0, 1.0)))
    assert (c, p) == (pytest.approx(8.0), pytest.approx(1.0))
    c, p = repeats.fit(repeats.boundaries(law(10.0, 0.5, (100, 400, 1600))))
    assert (c, p) == (pytest.approx(10.0), pytest.approx(0.5))


def test_a_boundary_needs_both_sides() -> None:
    low, high = reading(100, 2, False), reading(100, 8, True)
    (boundary,) = repeats.boundaries([low, high])
    assert (boundary.low, boundary.high, boundary.R) == (2, 8, pytest.approx(4.0))
    for one_side in ([low], [high]):
        (boundary,) = repeats.boundaries(one_side)
        assert math.isnan(boundary.R)
    assert all(map(math.isnan, repeats.fit(repeats.boundaries([low, high]))))


def test_the_boundary_is_the_smallest_that_is_memorized() -> None:
    """Also where a larger R is not."""
    outcomes = {2: False, 3: True, 4: False, 5: True}
    (boundary,) = repeats.boundaries([reading(100, R, kept) for R, kept in outcomes.items()])
    assert (boundary.low, boundary.high) == (2, 3)


def test_see_and_tables_say_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (*law(8.0, 1.0), reading(100, 5, False, near_miss=True))
    monkeypatch.setattr(repeats, "readings", lambda result: found)
    result = repeats_sweep(T=40, seed=0, steps=1)
    text = repeats.REPEATS.see({"repeats": result}, "small")
    assert "from R = 16 on at T = 100" in text
    assert "At T = 400 a feature's dimensionality falls by 0.30 from R = 16 to R = 64" in text
    assert "Near misses: 1 of 9 examples" in text
    runs, limits = repeats.REPEATS.tables({"repeats": result}, "small")
    assert [row["outcome"] for row in runs.records()[:3]] == ["", "near miss", "memorized"]
    row = limits.records()[-1]
    assert (row["T"], row["not_at_R"], row["from_R"]) == (800, 32, 128)
    assert row["comment"] == pytest.approx(3.2)


@pytest.fixture
def run() -> toysup.Run:
    """Three repeated examples."""
    return repeats_sweep(T=40, seed=0, repeats=[((0, 2), (1, 2), (2, 2))]).run()


def test_memorized_and_near_misses(run: toysup.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small loss without a large dimensionality, a large one without the other, and both."""
    steps, count = run.snapshots["step"].to_numpy(), run.snapshots.sizes["step"]
    shares = np.full((count, 3), 0.01)
    monkeypatch.setattr(repeats, "example_loss", lambda run: np.r_[0.1, 0.9, 0.1, np.ones(37)])
    learnt = np.zeros((count, 60), dtype=bool)
    monkeypatch.setattr(repeats, "over_snapshots", lambda run, chosen: (shares, learnt))
    shares[2:4, 0] = shares[3:, 1] = shares[5:, 2] = 0.6  # from 10 m / T = 0.5 on
    found = list(repeats.read(run, run.config.repeats))
    assert [r.near_miss for r in found] == [True, False, False]
    assert [r.memorized for r in found] == [False, False, True]
    assert [r.others for r in found] == [1.0] * 3
    np.testing.assert_array_equal(found[0].steps, steps)


def test_features_that_are_forgotten_are_counted(
    run: toysup.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = run.snapshots["step"].to_numpy()
    learnt = np.zeros((len(steps), 60), dtype=bool)
    learnt[steps < run.config.warmup_steps, 0] = True  # before the warm-up ends: noise
    learnt[-2, 1:3] = True
    learnt[-1, 2:4] = True
    kept = (np.zeros((len(steps), 3)), learnt)
    monkeypatch.setattr(repeats, "over_snapshots", lambda run, chosen: kept)
    assert {r.forgotten for r in repeats.read(run, run.config.repeats)} == {1}


def test_falls_are_measured_from_the_smallest_R() -> None:
    config = toysup.TrainConfig(n=100, T=100, seed=1, test_size=0)
    others = replace(reading(100, 3, True), config=config)
    found = [reading(100, 9, True), reading(100, 2, False), reading(100, 5, True), others]
    falls = repeats.falls(found)
    assert falls[0] == falls[2] == pytest.approx(0.3)
    assert math.isnan(falls[1]) and math.isnan(falls[3])


def test_repeats_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    result = repeats_sweep()
    found = [replace(r, memorized=r.R == 40) for r in repeats.readings(result)]
    found[0] = replace(found[0], near_miss=True)
    monkeypatch.setattr(repeats, "readings", lambda result: found)
    made = drawn(repeats.REPEATS, result)
    assert list(made) == [
        "repeats-map",
        "repeats-histories",
        "repeats-vectors",
        "repeats-evolution",
    ]
    share, loss = made["repeats-map"]
    assert share.collections[0].get_array().shape == (3, 2)
    assert [text.get_text() for text in loss.texts] == ["0/2"] * 4 + ["2/2"] * 2
    few, many = made["repeats-histories"].axes
    assert [ax.get_title() for ax in (few, many)] == ["T = 40", "T = 80"]
    for ax in (few, many):
        lines = [line.get_label() for line in ax.lines if line.get_label()[0] != "_"]
        assert lines == ["R = 1", "R = 3", "R = 40"] * 2
    assert [line.get_label() for line in (*few.lines, *many.lines)].count("_ring") == 1
    assert made["repeats-vectors"].shape == (2, 2)
    (star,) = [x for x in made["repeats-vectors"][1, 1].lines if x.get_label() == "repeated"]
    config = next(r.config for r in found if r.R == 40 and r.config.T == 80)
    (hidden,) = repeats.run_of(result, config).hidden()[:1]
    np.testing.assert_allclose(star.get_xydata()[0], hidden, rtol=1e-6)


def test_a_map_leaves_out_what_is_missing() -> None:
    values = np.array([[np.nan, 0.1], [0.2, 0.3]])
    panels = repeats_drawing.repeated_map(
        [10, 30], [1, 2], values, values, [["", "a"], ["b", "c"]], []
    )
    assert panels[0].collections[0].get_array().mask.tolist() == [[True, False], [False, False]]
    panels[0].figure.canvas.draw()
    plt.close(panels[0].figure)


# --- two circles ---


def on_circles(*circles: tuple[int, float]) -> np.ndarray[Any, Any]:
    """Vectors in convex position: an arc for each (number, radius), together once around."""
    total = sum(count for count, _ in circles)
    angle = 2 * np.pi * np.arange(total) / total
    radius = np.repeat([r for _, r in circles], [count for count, _ in circles])
    return np.column_stack((np.cos(angle), np.sin(angle))) * radius[:, None]


@pytest.mark.parametrize(
    ("hidden", "kind", "name"),
    [
        (on_circles((8, 2.0)), circles.ONE, "one circle"),
        (on_circles((6, 2.0), (2, 1.0)), circles.TWO, "two circles: 6 + 2"),
        (on_circles((6, 2.0), (1, 1.5), (1, 1.0)), circles.IRREGULAR, "irregular: 6 + 2"),
        (on_circles((7, 2.0), (1, 1.0)), circles.IRREGULAR, "irregular: 7 + 1"),
        (on_circles((8, 2.0))[[0, 1, 2, 3, 5]], circles.IRREGULAR, "irregular"),
        (on_circles((6, 2.0), (2, 0.1)), circles.ORIGIN, "some at the origin: 2"),
        (np.zeros((4, 2)), circles.ORIGIN, "some at the origin: 4"),
    ],
)
def test_outcomes(
    hidden: np.ndarray[Any, Any], kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = circles_sweep(T=3, seed=0, init_seed=0, steps=1).run()
    monkeypatch.setattr(toysup.Run, "hidden", lambda run: hidden)
    outcome = circles.outcome_of(run)
    assert (outcome.kind, outcome.name) == (kind, name)
    assert (outcome.T, outcome.train_loss) == (3, run.train_loss)


@pytest.mark.any_backend
def test_circles_table_counts_every_run(backend: Backend) -> None:
    result = circles_sweep()
    (table,) = circles.CIRCLES.tables({"circles": result}, "small")
    rows = table.records()
    losses = result.dataset["train_loss"]
    for T in (3, 8):
        of_T = [row for row in rows if row["T"] == T]
        assert sum(row["count"] for row in of_T) == 4
        assert sum(row["share"] for row in of_T) == pytest.approx(1.0)
        assert sum(row["best_of_data_sets"] for row in of_T) == 2
        (lowest,) = [row for row in of_T if row["train_loss_is"]]
        assert lowest["least_train_loss"] == pytest.approx(float(losses.sel(T=T).min()))
        mean = sum(row["count"] * row["train_loss"] for row in of_T) / 4
        assert mean == pytest.approx(float(losses.sel(T=T).mean()))


def test_the_best_initialization_of_each_data_set() -> None:
    made = circles.measure({"circles": circles_sweep()})[1]
    for T in (3, 8):
        of_T = [outcome for outcome in made if outcome.T == T]
        for best in circles.best_of_data_sets(of_T):
            same = [outcome for outcome in of_T if outcome.seed == best.seed]
            assert best.train_loss == min(outcome.train_loss for outcome in same)


def test_circles_drawing_and_words() -> None:
    result = circles_sweep()
    figure = drawn(circles.CIRCLES, result)["circles"]
    bars, *panels = figure.axes
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["3", "8"]
    heights = [patch.get_height() for patch in bars.patches]
    assert sum(heights) == pytest.approx(2.0)
    names = {outcome.name for outcome in circles.measure({"circles": result})[1] if outcome.T == 8}
    assert {panel.get_title().replace("\n", ": ") for panel in panels} == names
    text = circles.CIRCLES.see({"circles": result}, "small")
    assert "at T = 8 the outcomes of 4 runs" in text and "of 2 data sets" in text


def test_more_embeddings_than_there_is_room_for() -> None:
    counts = {kind: {5: 1} for kind in circles.KINDS}
    one = circles_drawing.Embedding(on_circles((5, 1.0)), (1.0,), "title", "note")
    figure = circles_drawing.circles(counts, [one] * 9, "heading")
    assert len(figure.axes) == 1 + 6
    plt.close(figure)


# --- both ---


@pytest.mark.parametrize("preset", [repeats.REPEATS, circles.CIRCLES])
def test_nothing_finished(preset: Any) -> None:
    """Tables without rows, no drawings, and words that say so."""
    bad = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
    make = repeats_sweep if preset is repeats.REPEATS else circles_sweep
    result = make(**bad, seed=[0])
    assert set(result.statuses) == {"diverged"}
    tables = preset.tables({preset.name: result}, "small")
    assert all(table.rows == [] and table.text() for table in tables)
    assert drawn(preset, result) == {}
    assert preset.see({preset.name: result}, "small") == _runs.NOTHING


@pytest.mark.parametrize("preset", [repeats.REPEATS, circles.CIRCLES])
def test_the_small_scale_is_one_tenth(preset: Any) -> None:
    fields = preset.scales["small"][preset.name]
    usual = toysup.TrainConfig()
    assert fields["n"] * 10 == usual.n
    assert 1 - fields["sparsity"] == pytest.approx(10 * (1 - usual.sparsity))
    assert fields["steps"] * fields["learning_rate"] == usual.steps * usual.learning_rate
    # At the paper's scale everything that is not asked is the paper's recipe.
    asked = {"T", "m", "seed", "init_seed", "repeats", "snapshots"}
    assert set(preset.scales["paper"][preset.name]) <= asked
