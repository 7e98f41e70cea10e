"""Losses that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

import toysup

N, S = 10_000, 0.999


@pytest.mark.parametrize("T", [3, 4, 5, 6, 8, 12])
def test_a_regular_polygon_of_orthonormal_examples_has_no_loss(backend: object, T: int) -> None:
    """At radius 1 / sqrt(1 - cos(2 pi / T)) every output is right, and D = 2 / T."""
    angle = 2 * np.pi / T
    square = 1 / (1 - math.cos(angle))
    angles = angle * np.arange(T)
    corners = math.sqrt(square) * np.array([np.cos(angles), np.sin(angles)])
        [np.cos(angle * np.arange(T)), np.sin(angle * np.arange(T))]
    )
    b = np.full(T, -square * math.cos(angle))
    loss, dW, db = toysup.loss_and_grad(corners, b, np.eye(T), reduction="sum")
    assert loss == pytest.approx(0, abs=1e-25)
    np.testing.assert_allclose(toysup.metrics.dimensionality(corners.T), 2 / T, rtol=1e-12)


def test_constant_outputs_have_the_losses_of_the_data(backend: object) -> None:
    """Nothing: 1 - S^n, up to 5 standard errors; the best bias alone: 0.99920 of the paper."""
    X = toysup.data.sample(N, 50_000, S, seed=0, role="test")
    W, b = np.zeros((2, N)), np.zeros(N)
    nothing = toysup.loss_and_grad(W, b, X, reduction="sum")[0]
    assert nothing == pytest.approx(1 - S**N, abs=5 * math.sqrt(S**N / 50_000))
    b[:] = 2.721e-4
    bias = toysup.loss_and_grad(W, b, X, reduction="sum")[0]
    assert bias == pytest.approx(0.99920, abs=1e-4)
