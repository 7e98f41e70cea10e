"""The examples: those of the sample stream, and data sets of one's own."""

from __future__ import annotations

import numpy as np

from toysup._backends.choose import backend
from toysup._stream.batch import SparseBatch
from toysup._stream.dataset import Dataset
from toysup._stream.stream import ROLES
from toysup._system.memory import refuse_memory
from toysup.config.checks import as_float, as_int
from toysup.config.train_config import MAX_EXAMPLES, MAX_FEATURES, MAX_SEED
from toysup.errors import short, unknown

__all__ = ["Dataset", "SparseBatch", "sample"]


def sample(
    n: int,
    T: int,
    sparsity: float,
    seed: int,
    start: int = 0,
    normalize: bool = True,
    role: str = "train",
) -> SparseBatch:
    """Examples ``start`` to ``start + T`` of a stream.

    Every feature of an example is non-zero with probability 1 - S, independently, and then uniform
    on (0, 1]; with ``normalize`` the example is scaled to unit Euclidean norm. Example t depends on
    (seed, role, t) alone, and both backends give the same bits.

    Parameters
    ----------
    n : int
        Number of features.
    T : int
        Number of examples.
    sparsity : float
        S, in [0, 1).
    seed : int
        The dataset seed.
    start : int
        The first example.
    normalize : bool
        Whether examples have unit norm (an all-zero one stays zero).
    role : {"train", "test"}
        Which of the seed's streams.

    Returns
    -------
    SparseBatch

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value.
    MemoryError
        If that many non-zeros do not fit in this machine's memory.
    """
    n = as_int("n", n, 1, MAX_FEATURES)
    T = as_int("T", T, 0, MAX_EXAMPLES)
    sparsity = as_float("sparsity", sparsity)
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    seed = as_int("seed", seed, 0, MAX_SEED)
    start = as_int("start", start, 0, MAX_EXAMPLES)
    if not isinstance(normalize, (bool, np.bool_)):
        raise TypeError(f"normalize must be True or False, got {short(normalize)}")
    if role not in ("train", "test"):
        raise ValueError(unknown("role", role, ("train", "test")))
    refuse_memory(int(24 * T * (n * (1 - sparsity) + 1)), f"{T} examples of {n} features")
    csr = backend().sample(n, start, start + T, sparsity, seed, ROLES[role], bool(normalize))
    return SparseBatch(*csr, n)
