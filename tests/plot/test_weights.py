"""Vectors and dimensionalities of weights of one's own, and of a run with other examples."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


import toysup
from toysup import plot

RNG = np.random.default_rng(4)
W, b, X = RNG.normal(size=(2, 7)), np.zeros(7), RNG.random((5, 7))


@pytest.fixture(scope="module")
def run():
    return toysup.train(n=7, T=4, sparsity=0.5, steps=20, learning_rate=0.01, test_size=0)


def tips(ax):
    return ax.collections[1].get_offsets()


def heights(ax, name):
    return next(line.get_ydata() for line in ax.lines if line.get_label() == name)


@pytest.mark.parametrize("source", [(W, b), toysup.Model(W, b)], ids=["pair", "model"])
def test_weights_are_drawn_with_and_without_examples(source):
    (features,) = plot.vectors(source)
    np.testing.assert_array_equal(tips(features), W.T)
    features, examples = plot.vectors(source, X=X)
    np.testing.assert_allclose(tips(examples), X @ W.T)
    assert examples.get_title() == "examples, T = 5"
    ax = plot.dimensionality(source, X=X)
    model = toysup.Model(W, b)
    np.testing.assert_allclose(heights(ax, "features"), -np.sort(-model.feature_dimensionality()))
    np.testing.assert_allclose(heights(ax, "examples"), -np.sort(-model.example_dimensionality(X)))


def test_a_run_is_drawn_with_other_examples(run):
    _, examples = plot.vectors(run, X=X)
    np.testing.assert_allclose(tips(examples), X @ run.W.T.astype(float))
    expected = -np.sort(-run.model.example_dimensionality(X))
    np.testing.assert_allclose(heights(plot.dimensionality(run, X=X), "examples"), expected)


@pytest.mark.parametrize("source", [(W, b), toysup.Model(W, b)], ids=["pair", "model"])
def test_what_weights_store_is_drawn(source):
    panels = plot.regime(source, X=X)
    hidden, losses, features, _ = panels.ravel()
    assert hidden.get_title() == "hidden vectors of T = 5 examples"
    drawn = np.concatenate([k.get_offsets() for k in hidden.collections])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(X @ W.T, axis=0))
    assert "fresh" not in [line.get_label() for line in losses.lines]
    count = int(toysup.Model(W, b).represented().sum())
    assert features.collections[1].get_label() == f"{count:,} represented"


def test_what_a_run_stores_of_other_examples_is_drawn(run):
    hidden, losses, *_ = plot.regime(run, X=X).ravel()
    assert hidden.get_title() == "hidden vectors of T = 5 examples"
    found = toysup.regime.classify(run, X)
    drawn = np.concatenate([k.get_offsets()[:, 1] for k in losses.collections])
    np.testing.assert_allclose(np.sort(drawn), np.sort(found.loss))
    assert losses.get_title() == f"{found.retrieved:.0%} of the examples are retrieved"


def test_what_does_not_fit_is_refused(tmp_path):
    for draw in (plot.dimensionality, plot.regime):
        with pytest.raises(ValueError, match="X must be given, with one example or more"):
            draw((W, b))
    with pytest.raises(ValueError, match="m = 2 and m = 3 only, got m = 4"):
        plot.vectors((np.ones((4, 7)), b))
    with pytest.raises(ValueError, match="T must not be given for one model"):
        plot.vectors((W, b), T=3)
    with pytest.raises(ValueError, match="X must be given with a Run"):
        plot.vectors(tmp_path, X=X)
    for draw in (plot.vectors, plot.dimensionality, plot.regime):
        with pytest.raises(TypeError, match=r"a Model, a pair \(W, b\).*got 3"):
            draw(3)
