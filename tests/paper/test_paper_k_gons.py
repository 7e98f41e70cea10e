"""One feature at a time: the closed form, the critical points, and what the preset says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import toysup
from toysup._backends.protocol import Backend
from toysup.paper.toy import k_gons
from toysup.paper.toy.k_gons import K_GONS, STARTS, Descent
from toysup.plot._parts.save import figure_of

# Chen et al. (2023): k, length, bias and loss.
PUBLISHED = [
    (5, 1.17046, -0.28230, 0.015826),
    (6, 1.32053, -0.61814, 0.048192),
    (7, 1.44839, -0.96691, 0.083271),
    (8, 1.55045, -1.29119, 0.115546),
]


def descents(**fields: Any) -> list[Descent]:
    given = {**STARTS, "n": [5, 6], "seed": range(6), **fields}
    first = {k_gons.NAME: toysup.sweep(progress=False, **given)}
    more = k_gons.then(first, "small")
    return K_GONS.measure(
        {**first, **{k: toysup.sweep(progress=False, **v) for k, v in more.items()}}
    )


@pytest.mark.parametrize("c", [1, 2, 5, 8])
def test_the_closed_form_is_the_backends_loss_on_a_grid(backend: Backend, c: int) -> None:
    rng = np.random.default_rng(c)
    W, b = rng.normal(size=(4, 2, c)), rng.normal(scale=0.5, size=(4, c))
    W[1, :, 0] = 0.0  # a product of exactly 0, with either sign of the bias
    b[1, 0] = 0.3
    W[2, :, 0] = 0.0
    b[2, 0] = -0.3
    loss, dW, db = k_gons.expected_loss_and_grad(W, b)
    assert loss.shape == (4,)
    for i in range(4):
        found = toysup.loss_and_grad(W[i], b[i], k_gons.grid(c).X, reduction="sum")
        np.testing.assert_allclose(loss[i], found[0], rtol=1e-4, atol=1e-4)
        for ours, theirs in zip((dW[i], db[i]), found[1:], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-2)  # it jumps at the kink


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(2, 6)), rng.normal(scale=0.5, size=6)
    _, dW, db = k_gons.expected_loss_and_grad(W, b)
    for array, gradient in ((W, dW), (b, db)):
        for place in np.ndindex(array.shape):
            was, losses = array[place], []
            for step in (1e-5, -1e-5):
                array[place] = was + step
                losses.append(float(k_gons.expected_loss_and_grad(W, b)[0]))
            array[place] = was
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[place], abs=1e-8)


@pytest.mark.parametrize(("k", "length", "bias", "loss"), PUBLISHED)
def test_the_published_polygons(k: int, length: float, bias: float, loss: float) -> None:
    found = k_gons.polygon(k)
    np.testing.assert_allclose(found, (length, bias, loss), atol=6e-6)
    angle = 2 * np.pi * np.arange(k) / k
    W = found[0] * np.array([np.cos(angle), np.sin(angle)])
    _, dW, db = k_gons.expected_loss_and_grad(W, np.full(k, found[1]))
    assert max(np.abs(dW).max(), np.abs(db).max()) < 1e-12


def test_the_published_levels() -> None:
    levels = [(5, 0, 6, 0.06874), (5, 1, 6, 0.06180), (4, 0, 5, 0.06667), (4, 1, 5, 0.05667)]
    for k, plus, c, loss in levels:
        assert k_gons.level(k, plus, c) == pytest.approx(loss, abs=6e-6)
    assert np.isnan(k_gons.level(12, 0, 12))
    W, b = np.zeros((2, 6)), np.full(6, -0.1)
    W[0, 0] = W[1, 1] = 1.0
    b[:2], b[2] = 0.0, 1 / 12
    assert k_gons.level(2, 1, 6) == pytest.approx(k_gons.expected_loss_and_grad(W, b)[0])


def test_descents_end_at_critical_points(backend: Backend) -> None:
    # Of the slower backend fewer, among which none ends at a hexagon.
    seeds, k = (6, 6) if backend.name == "native" else (2, 5)
    found = descents(seed=range(seeds))
    assert [(one.c, one.seed) for one in found] == [(c, s) for c in (5, 6) for s in range(seeds)]
    names = {one.name for one in found}
    assert {"5", "5+", str(k)} <= names and k_gons.IRREGULAR not in names
    for one in found:
        assert one.loss == pytest.approx(one.formula, abs=1e-6)
        assert one.train_loss == pytest.approx(one.loss, abs=1e-5)
        assert one.slope < 1e-3
        assert one.steps[[0, -1]].tolist() == [0, k_gons.STEPS]
        assert one.losses[0] > one.losses[-1] == pytest.approx(one.train_loss)
    best = next(one for one in found if (one.c, one.name) == (k, str(k)))
    length, bias, _ = k_gons.polygon(k)
    np.testing.assert_allclose(np.hypot(*best.W), length, atol=1e-3)
    np.testing.assert_allclose(best.b, bias, atol=1e-3)


def test_a_loss_of_no_critical_point_is_irregular() -> None:
    ended = k_gons.descent(toysup.train(**{**STARTS, "n": 6}, progress=False))
    assert ended.name == k_gons.IRREGULAR and np.isnan(ended.formula)
    assert list(k_gons.by_name([ended, dataclasses.replace(ended, name="6")])) == ["6", "irregular"]


def test_tables_drawing_and_words() -> None:
    found = descents(n=[5, 7], seed=range(4))
    formula, ends = K_GONS.make_tables(found, "small")
    assert [row["k"] for row in formula.records()] == [4, 5, 6, 7, 8]
    assert formula.records()[0] == {"k": 4, "length": 1.0, "bias": 0.0, "loss": 0.0}
    rows = ends.records()
    assert sum(row["runs"] for row in rows) == 8
    assert all(row["share"] == row["runs"] / 4 for row in rows)
    for row in rows:
        some = [one for one in found if (one.c, one.name) == (row["c"], row["end"])]
        assert len(some) == row["runs"]
        assert row["least_loss"] == min(one.loss for one in some)
    ((name, figure),) = K_GONS.draw(found, "small")
    assert name == "k-gons"
    figure_of(figure).canvas.draw()
    text = K_GONS.tell(found, "small")
    assert "of 4 runs of 5 features" in text and "Losses agree with the formula to" in text
    assert K_GONS.tell([], "small") == "No run has finished, so there is nothing to see."


def test_a_number_of_updates_is_that_of_all_runs() -> None:
    (one,) = descents(n=[5], seed=range(1), steps=7)
    assert one.steps[-1] == 7
