"""The controls: their measures by definition, the linear optimum, and what the preset writes."""

from __future__ import annotations

import functools
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import toysup
from toysup import data, metrics
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.config import FIELDS
from toysup.data import SparseBatch
from toysup.paper import _recipe, _runs
from toysup.paper.controls import measures, models, page, panels, preset, tables, verdicts

TINY: dict[str, Any] = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}
DIVERGING: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
MODEL: dict[str, Any] = {"n": 60, "m": 2, "sparsity": 0.9, "test_size": 200, "progress": False}


@functools.cache
def tiny_results(*diverging: str) -> dict[str, SweepResult]:
    """The sweeps of the preset, for a few T of a small model; some of them diverge."""
    results = {}
    for name, fields in preset.SMALL.items():
        changed = {**fields, **TINY, "T": [3, 8, 30, 60], "batch_size": None}
        changed |= {axis: range(2) for axis in ("seed", "init_seed") if fields.get(axis)}
        changed |= DIVERGING if name in diverging else {}
        results[name] = toysup.sweep(progress=False, n_jobs=1, **changed)
    return results


@functools.cache
def tiny_measured(*diverging: str) -> measures.Measured:
    """What the preset finds in them."""
    return preset.CONTROLS.measure(tiny_results(*diverging))


# --- ranks ---


def test_spearman_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.permutation(9), rng.permutation(9)
    expected = 1 - 6 * float(np.sum((x - y) ** 2)) / (9 * (81 - 1))
    assert measures.spearman(x, y) == pytest.approx(expected)
    assert measures.spearman(x, np.exp(x)) == pytest.approx(1)
    assert measures.spearman(x, -x) == pytest.approx(-1)
    assert math.isnan(measures.spearman(x, np.ones(9)))


def test_equal_values_share_a_rank() -> None:
    np.testing.assert_array_equal(measures.ranks([3.0, 1.0, 3.0, 2.0]), [3.5, 1, 3.5, 2])
    # Pearson's correlation of (1.5, 1.5, 3, 4) and (1, 2, 3, 4).
    assert measures.spearman([5, 5, 6, 7], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(22.5))


def test_membership_counts_pairs() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.integers(0, 6, 30).astype(float), rng.integers(0, 5, 40).astype(float)
    above = inside[:, None] > outside
    equal = inside[:, None] == outside
    expected = np.mean(above + 0.5 * equal)
    assert measures.membership(inside, outside) == pytest.approx(expected)
    assert measures.membership(np.ones(3), np.zeros(4)) == 1


# --- examples one by one ---


def test_a_fresh_vector_joins_the_others() -> None:
    rng = np.random.default_rng(2)
    H, F = rng.normal(size=(12, 2)), rng.normal(size=(5, 2))
    F[3] = 0
    for vector, found in zip(F, measures.joining(H, F), strict=True):
        together = metrics.dimensionality(np.vstack((H, vector)))
        assert found == pytest.approx(together[-1])


def test_shuffled_examples_keep_their_values() -> None:
    X = data.sample(60, 50, 0.9, 0)
    moved = models.shuffled(X, 3)
    before, after = X.toarray(), moved.toarray()
    np.testing.assert_array_equal(np.sort(before, axis=1), np.sort(after, axis=1))
    assert all(np.all(np.diff(row) > 0) for row in np.split(moved.indices, moved.indptr[1:-1]))
    # Of k non-zeros k^2 / n meet an old one by chance, about 1 of 6.
    kept = np.sum((before > 0) & (after > 0)) / np.sum(before > 0)
    assert kept < 0.25
    np.testing.assert_array_equal(after, models.shuffled(X, 3).toarray())
    assert not np.array_equal(after, models.shuffled(X, 4).toarray())
    # Each example has a permutation of its own.
    same = SparseBatch(np.array([0, 3, 6]), np.tile(X.indices[:3], 2), np.tile(X.values[:3], 2), 60)
    assert not np.array_equal(*models.shuffled(same, 0).toarray())


def test_examples_are_measured_by_their_definitions(backend: Backend) -> None:
    run = toysup.train(T=30, steps=400, learning_rate=0.02, eps=1e-7, **MODEL)
    found = measures.examples_of(run)
    W, b, X = run.W.astype(float), run.b.astype(float), run.training_set().toarray()

    def losses(x: Any) -> Any:
        return np.sum((x - np.maximum(x @ W.T @ W + b, 0)) ** 2, axis=1)

    fresh = data.sample(60, measures.FRESH, 0.9, 0, role="test").toarray()
    np.testing.assert_allclose(found.loss, losses(X), rtol=1e-6)
    np.testing.assert_allclose(found.fresh_loss, losses(fresh), rtol=1e-6)
    np.testing.assert_allclose(found.dimensionality, metrics.dimensionality(X @ W.T), rtol=1e-6)
    limit = np.sort(losses(fresh))[measures.FRESH // 100]
    assert found.remembered == pytest.approx(np.mean(losses(X) < limit), abs=0.04)
    assert found.remembered > 0.5  # memorized, so that what follows is no accident
    assert found.by_loss > 0.8
    assert found.moved == pytest.approx(1, abs=0.3)
    assert found.equal == pytest.approx(np.median(metrics.dimensionality(X @ W.T)) * 15)
    assert run.provenance["backend"] == backend.name


def test_values_alone_are_not_remembered() -> None:
    """For a model that only knows the mean value of an example, shuffled ones are like it."""
    run = toysup.train(T=200, steps=0, warmup=0.0, init=(np.zeros((2, 60)), np.full(60, 0.04)),
                       **MODEL)  # fmt: skip
    found = measures.examples_of(run)
    assert found.shuffled_loss == pytest.approx(float(found.loss.mean()), rel=1e-6)
    assert found.by_loss == pytest.approx(0.5, abs=0.06)
    assert math.isnan(found.spread)


# --- the linear model ---


@pytest.mark.parametrize("T", [2, 5, 40, 300])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_optimum_leaves_the_other_eigenvalues(T: int, m: int) -> None:
    X = data.sample(60, T, 0.9, 1)
    W, b = models.linear_optimum(X, m)
    x = X.toarray()
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    loss, dW, db = toysup.loss_and_grad(W, b, X, reduction="sum", activation="linear")
    assert loss == pytest.approx(eigenvalues[:-m].sum(), abs=1e-9)
    np.testing.assert_allclose(W @ W.T, np.eye(m), atol=1e-9)
    assert max(np.abs(dW).max(), np.abs(db).max()) < 1e-4


def test_the_optimum_of_examples_without_common_features() -> None:
    """All eigenvalues are 1 / T: a block narrower than m would find one of them only."""
    T, m = 20, 3
    X = SparseBatch(np.arange(T + 1), np.arange(T, dtype=np.int32), np.ones(T), 50)
    W, b = models.linear_optimum(X, m)
    loss, _, _ = toysup.loss_and_grad(W, b, X, reduction="sum", activation="linear")
    assert loss == pytest.approx((T - 1 - m) / T, abs=1e-9)


def test_no_other_weights_are_better() -> None:
    X = data.sample(60, 40, 0.9, 2)
    W, b = models.linear_optimum(X, 2)
    best, _, _ = toysup.loss_and_grad(W, b, X, reduction="sum", activation="linear")
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = (W + size * rng.normal(size=W.shape), b + size * rng.normal(size=b.shape))
            loss, _, _ = toysup.loss_and_grad(*other, X, reduction="sum", activation="linear")
            assert loss > best


@pytest.mark.parametrize("T", [5, 40])
def test_training_reaches_the_optimum_and_no_more(backend: Backend, T: int) -> None:
    fields = {**MODEL, "activation": "linear", "learning_rate": 0.02, "record": 32}
    run = toysup.train(T=T, steps=3_000, **fields)
    found = models.optimum(run)
    course = run.history["train_loss"].to_numpy()
    assert np.all(course >= found.train - 1e-6)
    assert course[0] > found.train + 0.1
    assert found.trained == pytest.approx(found.train, abs=1e-3)
    assert found.test > found.train
    assert run.provenance["backend"] == backend.name


# --- training on given examples ---


def test_training_on_its_own_examples_is_training(backend: Backend) -> None:
    config = toysup.TrainConfig(m=2, T=20, eps=1e-6, **TINY)
    run = toysup.train(config, progress=False)
    other = models.train_on(config, run.training_set())
    np.testing.assert_allclose(other.W, run.W, atol=2e-5)
    np.testing.assert_allclose(other.b, run.b, atol=2e-5)
    assert other.train_loss == pytest.approx(run.train_loss, rel=1e-5)
    assert run.provenance["backend"] == backend.name


def test_shuffled_examples_are_memorized_as_well() -> None:
    run = toysup.train(T=8, steps=600, learning_rate=0.02, eps=1e-7, **MODEL)
    found = models.moved(run)
    assert run.train_loss < 0.5 and found.own < 0.5
    assert found.originals > 0.9
    assert found.before == run.train_loss


# --- curves ---


@pytest.mark.parametrize("normalize", [True, False])
def test_the_zero_predictors_loss(normalize: bool) -> None:
    config = toysup.TrainConfig(n=60, sparsity=0.9, normalize=normalize)
    X = data.sample(60, 40_000, 0.9, 0, normalize=normalize)
    assert measures.zero_loss(config) == pytest.approx(np.sum(X.values**2) / len(X), rel=0.01)


def test_the_rise_is_the_largest_one() -> None:
    config = toysup.TrainConfig(n=60, sparsity=0.9)
    zero = measures.zero_loss(config)
    # T = 2 shows a feature 0.2 times and does not count.
    curve = {2: 0.1, 3: 1.1, 5: 1.0, 10: 1.3, 20: math.nan, 30: 1.2, 50: 0.9}
    assert measures.rise(curve, config) == (pytest.approx(0.3 / zero), 10)
    height, T = measures.rise({3: 1.2, 5: 1.0, 10: 0.9}, config)
    assert (height, T) == (pytest.approx(-0.1 / zero), 10)
    assert math.isnan(measures.rise({2: 1.0, 3: 1.1}, config)[0])


def test_curves_leave_out_what_has_not_finished() -> None:
    mixed = toysup.sweep(
        T=[8, 3], m=2, learning_rate=[1e-3, 1e30], optimizer="sgd", warmup=0.0, progress=False,
        **TINY,
    )  # fmt: skip
    curve = measures.by_T(mixed, "test_loss")
    assert list(curve) == [3, 8]
    for T, values in curve.items():
        assert np.isnan(values).tolist() == [False, True]
        assert _runs.mean(values) == mixed.run(T=T, learning_rate=1e-3).test_loss
    none = toysup.sweep(T=[3, 8], m=2, progress=False, **{**TINY, **DIVERGING})
    assert measures.by_T(none, "test_loss") == {}
    assert measures.rises(none).size == 0


# --- the preset ---


def test_runs_of_the_paper_are_those_of_figure_3() -> None:
    """The part that both share has the same fields, so that its store can be the same."""
    for ours, theirs in ((preset.SMALL, _recipe.SMALL), (preset.PAPER, _recipe.PAPER)):
        shared = ours[_recipe.PART]
        assert {k: v for k, v in shared.items() if k != "T"} == {
            k: v for k, v in theirs.items() if k != "T"
        }
        assert set(shared["T"]) < set(theirs["T"])


def test_scales_are_grids_of_figure_3s_recipe() -> None:
    free = {"T", "m", "seed", "init_seed", "batch_size", "activation", "normalize"}
    for fields in preset.CONTROLS.fields("paper").values():
        assert set(fields) <= free
    for fields in preset.CONTROLS.fields("small").values():
        fixed = {k: v for k, v in fields.items() if k not in free}
        assert fixed.items() <= _recipe.SMALL.items()
        assert set(fields) <= set(FIELDS)
    seeds = preset.CONTROLS.fields("small", seeds=2)
    assert seeds[measures.INIT]["seed"] == 0
    assert list(seeds[measures.DATA]["seed"]) == [0, 1]


def test_tables_say_what_the_runs_have() -> None:
    results = tiny_results()
    verdicts, examples, models, seeds = tables.tables(tiny_measured(), "small")
    assert {row["question"] for row in verdicts.records()} == {1, 2, 3, 4}
    assert all(row["verdict"].split(":")[0] in ("yes", "no", "unknown")
               for row in verdicts.records())  # fmt: skip
    relu = results[measures.RELU].dataset
    for row in examples.records():
        loss = relu["train_loss"].sel(T=row["T"]).mean().item()
        assert row["train_loss"] == pytest.approx(loss, rel=1e-5)
    unnormalized = results[measures.RAW].dataset["test_loss"]
    zero = 60 * 0.1 / 3
    for row in models.records():
        expected = unnormalized.sel(T=row["T"]).mean().item() / zero
        assert row["unnormalized_test"] == pytest.approx(expected)
        assert row["optimum_train"] <= row["linear_train"] + 1e-6
    inits = results[measures.INIT].dataset["test_loss"]
    for row in seeds.records():
        expected = float(inits.sel(T=row["T"]).std(ddof=1))
        assert row["spread_of_inits"] == pytest.approx(expected)


def test_verdicts_follow_the_numbers() -> None:
    assert verdicts.said(True, "text", 1.0) == "yes: text"
    assert verdicts.said(False, "text", 1.0) == "no: text"
    assert verdicts.said(True, "text", 1.0, math.nan).startswith("unknown")


def test_the_answers_are_those_of_the_tables() -> None:
    judged, examples, _, _ = tables.tables(tiny_measured(), "small")
    found = {(row["quantity"], row["T"]): row["verdict"] for row in judged.records()}
    remembered = {row["T"]: row["remembered"] for row in examples.records()}
    for T in (30, 60):
        assert found["remembered examples", T].startswith("yes" if remembered[T] >= 0.5 else "no")
    last = max(T for T, share in remembered.items() if share >= 0.9)
    text = preset.see(tiny_measured(), "small")
    assert text.startswith(f"In controls.png:\n{verdicts.QUESTIONS[0]} Yes, up to T = {last}:")
    assert all(question in text for question in verdicts.QUESTIONS)


def test_the_spread_of_one_value_is_not_said() -> None:
    assert verdicts._about(np.array([0.25])) == "0.2500"
    assert verdicts._about(np.array([0.25, 0.75])) == "0.5000 ± 0.3536"


def test_the_page_has_a_row_for_each_question() -> None:
    ((name, figure),) = panels.drawings(tiny_measured(), "small")
    figure.canvas.draw()
    plt.close(figure)
    assert name == "controls"
    assert len(figure.axes) == 12
    assert [part._suptitle.get_text() for part in figure.subfigs] == list(verdicts.QUESTIONS)
    losses = {line.get_label(): line for line in figure.axes[0].lines}
    relu = tiny_results()[measures.RELU].dataset
    np.testing.assert_array_equal(losses["training examples"].get_xdata(), [3, 8, 30, 60])
    np.testing.assert_allclose(
        losses["training examples"].get_ydata(), relu["train_loss"].mean("seed")
    )


def test_runs_that_diverged_leave_gaps() -> None:
    others = (measures.LINEAR, measures.RAW, measures.DATA, measures.INIT)
    measured = tiny_measured(*others)
    verdicts = tables.tables(measured, "small")[0].records()
    found = {row["quantity"]: row["verdict"] for row in verdicts}
    assert found["worth of what is stored"].startswith("unknown")
    assert found["trained linear model - optimum, largest"].startswith("unknown")
    assert found["data sets with a rise above 0.005"].startswith("unknown")
    assert preset.see(measured, "small")
    ((_, figure),) = panels.drawings(measured, "small")
    figure.canvas.draw()
    plt.close(figure)


def test_without_any_run_there_is_nothing_to_see() -> None:
    measured = tiny_measured(*preset.SMALL)
    assert [table.rows for table in tables.tables(measured, "small")] == [[]]
    assert list(panels.drawings(measured, "small")) == []
    assert preset.see(measured, "small") == _runs.NOTHING


def test_full_and_hollow_dots_of_a_scatter() -> None:
    x = np.array([0.1, 1.0, 2.0])
    panel = page.Scatter("t", "x", "y", [(3.0, x, 1 - 0.1 * x, np.array([True, False, True]))])
    figure = page.controls([page.Row("Q?", "A.", [panel])])
    faces = figure.axes[0].collections[0].get_facecolors()
    plt.close(figure)
    np.testing.assert_allclose(faces[:, 3], [0.8, 0.8, 0.8], atol=0.2)
    assert np.ptp(faces[[0, 2], :3], axis=0).max() == 0
    np.testing.assert_array_equal(faces[1, :3], 1)
