"""W^T W of the represented features, from a run or from weights, beside the Welch bound."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


import toysup
from toysup import plot
from toysup.plot._sweeps import interference as drawing


def polygon(count):
    angles = 2 * np.pi * np.arange(count) / count
    return np.array([np.cos(angles), np.sin(angles)])


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def test_the_products_of_represented_features_are_drawn():
    W = np.insert(polygon(5), 2, 0.0, axis=1)  # a feature that is not represented
    b = np.full(6, -0.3)
    for source in (toysup.Model(W, b), (W, b)):
        image, largest = plot.interference(source)
        np.testing.assert_allclose(image.images[0].get_array(), polygon(5).T @ polygon(5))
        drawn = lines(largest)
        np.testing.assert_allclose(drawn["features"], abs(np.cos(4 * np.pi / 5)))
        np.testing.assert_allclose(drawn["Welch bound"], np.sqrt(3 / 8))


def test_the_bound_is_met_by_a_simplex_and_is_zero_with_room_for_all():
    assert drawing.welch_bound(3, 2) == pytest.approx(0.5)  # three vectors at 120 degrees
    assert drawing.welch_bound(2, 2) == drawing.welch_bound(2, 5) == 0.0
    V = np.random.default_rng(0).normal(size=(30, 4))
    assert drawing._products(V)[1].max() >= drawing.welch_bound(30, 4)


def test_no_feature_disappears_where_several_share_a_pixel(monkeypatch):
    monkeypatch.setattr(drawing, "MAX_PIXELS", 3)
    V = np.eye(7) * 0.1
    V[4, 6], V[1, 6] = -9.0, 2.0
    image, _ = drawing._products(V)
    assert image.shape == (3, 3) and image.max() == pytest.approx(81.01)
    assert image[0, 2] == image[2, 0] == pytest.approx(-18.0)  # of features 1 and 4
    assert (np.diag(image) > 0).all()


def test_a_run_is_drawn_with_its_own_features_and_other_things_are_refused():
    fields = {"n": 6, "sparsity": 0.7, "steps": 1500, "learning_rate": 0.02, "test_size": 0}
    run = toysup.train(**fields, T=2000, batch_size=200)
    V = run.W[:, run.represented()].astype(float)
    image, _ = plot.interference(run)
    np.testing.assert_allclose(image.images[0].get_array(), V.T @ V)
    with pytest.raises(TypeError, match=r"a Model, a pair \(W, b\).*got 3"):
        plot.interference(3)
    with pytest.raises(ValueError, match="T must not be given for one model"):
        plot.interference(run.model, T=3)
    with pytest.raises(ValueError, match="two features or more, got 0"):
        plot.interference((np.zeros((2, 4)), np.zeros(4)))
