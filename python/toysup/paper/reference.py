"""The paper's numbers, as data.

Read off the figures of T. Henighan et al., "Superposition, Memorization, and Double Descent",
Transformer Circuits Thread, 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = [
    "FIGURE2_T",
    "FIGURE3_T",
    "FIGURE3_TEST_LOSS",
    "FIGURE4_FEATURES",
    "FIGURE5_M",
    "FIGURE5_RANGE",
    "FIGURE5_T",
    "UNCERTAINTY",
    "Reading",
    "test_loss_bounds",
    "test_losses",
]

# Figure 2: the training sets that are drawn as polygons.
FIGURE2_T = (3, 5, 6, 8, 10, 15, 30)

# How well a test loss can be read off figure 3.
UNCERTAINTY = 2e-4


@dataclass(frozen=True)
class Reading:
    """A value read off a figure; with ``is_bound`` the curve leaves the figure there, upwards."""

    value: float
    is_bound: bool = False

    def __str__(self) -> str:
        return f"> {self.value:g}" if self.is_bound else f"{self.value:.4f}"

    def agrees(self, loss: float, tolerance: float = UNCERTAINTY) -> bool:
        """Whether a loss is what was read, or above it where that is a lower bound."""
        return loss > self.value if self.is_bound else abs(loss - self.value) <= tolerance


# Figure 3, upper pane: m = 2, mean of 4 dataset seeds.
FIGURE3_TEST_LOSS: dict[float, Reading] = {
    3: Reading(1.025, is_bound=True),
    5: Reading(1.0000),
    6: Reading(1.0000),
    8: Reading(1.0177),
    10: Reading(1.025, is_bound=True),
    15: Reading(1.0222),
    30: Reading(1.0075),
    50: Reading(1.0047),
    100: Reading(1.0032),
    200: Reading(1.0015),
    500: Reading(1.0004),
    1_000: Reading(1.0007),
    2_000: Reading(1.0150),
    5_000: Reading(0.9995),
    10_000: Reading(0.9989),
    20_000: Reading(0.9988),
    50_000: Reading(0.9988),
    100_000: Reading(0.9988),
    200_000: Reading(0.9988),
    500_000: Reading(0.9987),
    math.inf: Reading(0.9987),
}
FIGURE3_T: tuple[float, ...] = tuple(FIGURE3_TEST_LOSS)


def test_losses() -> dict[float, float]:
    """The test losses of figure 3 that can be read off, by T."""
    return {T: read.value for T, read in FIGURE3_TEST_LOSS.items() if not read.is_bound}


def test_loss_bounds() -> dict[float, float]:
    """The lower bounds of test loss where the curve of figure 3 leaves the pane, by T."""
    return {T: read.value for T, read in FIGURE3_TEST_LOSS.items() if read.is_bound}


# Figure 4: for large T the norm of W is about that of five features of length 1.
FIGURE4_FEATURES = 5

# Figure 5, the heat map: its axes and the ends of its colour scale.
FIGURE5_T = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
FIGURE5_M = (2, 3, 4, 5, 6, 7, 8, 9, 10, 16)
FIGURE5_RANGE = (1.0, 1.57)
