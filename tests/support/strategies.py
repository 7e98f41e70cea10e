"""What the numerical tests draw: shapes, seeds and hyper-parameters, never raw arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt

import toysup
from toysup.data import SparseBatch

SEEDS = st.integers(0, 2**63 - 1)
# Half of the draws are far from both ends, the others are where the code has its special cases.
SPARSITIES = st.one_of(
    st.floats(0.0, 0.999), st.sampled_from([0.0, 1e-300, 1e-17, 0.5, 0.999, 1 - 1e-6, 1 - 1e-12])
)


@dataclass(frozen=True)
class Problem:
    """Parameters, examples and importances of one drawn shape and seed."""

    n: int
    m: int
    T: int
    sparsity: float = 0.9
    seed: int = 0
    normalize: bool = True
    importance: str = "one"
    weights: float = 1.0  # standard deviation of W
    bias: float = 0.0  # mean of b, in units of its standard deviation
    spread: bool = False  # weights of features over four orders of magnitude
    dtype: str = "float64"

    def rng(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self.seed))

    def parameters(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rng = self.rng()
        W = self.weights * rng.standard_normal((self.m, self.n)) / np.sqrt(self.m)
        b = 0.3 * (self.bias + rng.standard_normal(self.n))
        if self.spread:  # so some features are dead, some linear, and some need every pair
            W *= 10.0 ** rng.uniform(-4, 0, self.n)
        return W.astype(self.dtype), b.astype(self.dtype)

    def examples(self) -> SparseBatch:
        return toysup.data.sample(
            self.n, self.T, self.sparsity, self.seed, normalize=self.normalize, role="train"
        )

    def given_importance(self) -> float | npt.NDArray[np.float64]:
        """The importance as the user gives it."""
        if self.importance == "array":
            drawn = self.rng().uniform(0.0, 2.0, self.n)
            drawn[:: max(1, self.n // 3)] = 0.0
            return drawn
        return 0.95 if self.importance == "base" else 1.0

    def importances(self) -> npt.NDArray[np.float64]:
        """I_i of every feature."""
        given = self.given_importance()
        return np.array(given) if isinstance(given, np.ndarray) else given ** np.arange(self.n)


@st.composite
def problems(
    draw: Callable[[Any], Any], max_n: int = 300, max_m: int = 40, max_T: int = 1100, **fixed: Any
) -> Problem:
    """Problems of any shape; small m is drawn as often as large m."""
    n = draw(st.integers(1, max_n))
    small, any_m = st.integers(1, min(n, 3, max_m)), st.integers(1, min(n, max_m))
    drawn = {
        "m": draw(small | any_m),
        "T": draw(st.integers(1, max_T)),
        "sparsity": draw(st.sampled_from([0.0, 0.3, 0.9, 0.99])),
        "seed": draw(st.integers(0, 2**32)),
        "normalize": draw(st.booleans()),
        "importance": draw(st.sampled_from(["one", "base", "array"])),
        "bias": draw(st.sampled_from([0.0, -2.0, 2.0])),
        "spread": draw(st.booleans()),
    }
    return Problem(n=n, **{**drawn, **fixed})
