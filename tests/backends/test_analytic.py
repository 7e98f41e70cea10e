"""Losses that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

import toysup


@pytest.mark.parametrize("T", [3, 4, 5, 6, 8, 12])
def test_a_regular_polygon_of_orthonormal_examples_has_no_loss(backend: object, T: int) -> None:
    """At radius 1 / sqrt(1 - cos(2 pi / T)) every output is right, and D = 2 / T."""
    square = 1 / (1 - math.cos(2 * np.pi / T))
    angles = 2 * np.pi * np.arange(T) / T
    W = math.sqrt(square) * np.array([np.cos(angles), np.sin(angles)])
    b = np.full(T, 1 - square)
    loss = toysup.loss_and_grad(W, b, np.eye(T), reduction="sum")[0]
    assert loss == pytest.approx(0, abs=1e-25)
    np.testing.assert_allclose(toysup.metrics.dimensionality(W.T), 2 / T, rtol=1e-12)
