"""Losses that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

import toysup
from soak import soak

N, S = 10_000, 0.999
T = soak(10_000, 50_000)


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


def test_constant_outputs_have_the_losses_of_the_data(backend: object) -> None:
    """Nothing: 1 - S^n, up to 5 standard errors; the best bias alone: 0.99920 of the paper."""
    X = toysup.data.sample(N, T, S, seed=0, role="test")
    W, b = np.zeros((2, N)), np.zeros(N)
    nothing = toysup.loss_and_grad(W, b, X, reduction="sum")[0]
    assert nothing == pytest.approx(1 - S**N, abs=5 * math.sqrt(S**N / T))
    b[:] = 2.721e-4
    bias = toysup.loss_and_grad(W, b, X, reduction="sum")[0]
    assert bias == pytest.approx(0.99920, abs=1e-4)
