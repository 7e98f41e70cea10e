"""The examples: those of the sample stream, and data sets of one's own or of simple structure."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._backends.choose import backend
from toysup._files.paths import as_path
from toysup._stream.batch import SparseBatch
from toysup._stream.dataset import Dataset
from toysup._stream.frequencies import power_law_densities
from toysup._stream.rows import draws
from toysup._stream.stream import ROLES, uniform
from toysup._system.extras import need
from toysup._system.memory import refuse_memory
from toysup.config.checks import as_flag, as_float, as_int, as_share
from toysup.config.data import MAX_ROWS
from toysup.config.per_feature import Sparsities
from toysup.config.train_config import MAX_EXAMPLES, MAX_FEATURES, MAX_SEED, as_sparsity
from toysup.config.values import as_value
from toysup.errors import unknown

__all__ = [
    "Dataset",
    "SparseBatch",
    "anticorrelated_pairs",
    "correlated_pairs",
    "hierarchical",
    "load",
    "one_at_a_time",
    "power_law",
    "sample",
]

_MAX_CHILDREN = 1000


def sample(
    n: int,
    T: int,
    sparsity: float | npt.ArrayLike,
    seed: int,
    start: int = 0,
    normalize: bool = True,
    role: str = "train",
) -> SparseBatch:
    """Examples ``start`` to ``start + T`` of a stream.

    Every feature of an example is non-zero with probability 1 - S, or 1 - S_i if features differ,
    independently of all others, and then uniform on (0, 1]; with ``normalize`` the example is
    scaled to unit Euclidean norm. Example t depends on (seed, role, t) alone, and both backends
    give the same bits. Time is O(non-zeros).

    Parameters
    ----------
    n : int
        Number of features.
    T : int
        Number of examples.
    sparsity : float or array of shape (n,)
        S, in [0, 1), or S_i of every feature, in [0, 1]. With S_i, features whose 1 - S_i lies
        between the same two powers of 1/2 are drawn together: their number of candidates from a
        binomial distribution in double precision, and then each candidate is accepted by a
        comparison of integers, with a probability that is right to 2^-64. An array of equal numbers
        does not give the same examples as that one number.
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
    S = as_sparsity(as_value("sparsity", sparsity), n)
    density = S.density if isinstance(S, Sparsities) else 1 - S
    seed = as_int("seed", seed, 0, MAX_SEED)
    start = as_int("start", start, 0, MAX_EXAMPLES)
    normalize = as_flag("normalize", normalize)
    if role not in ("train", "test"):
        raise ValueError(unknown("role", role, ("train", "test")))
    refuse_memory(int(24 * T * (n * density + 1)), f"{T} examples of {n} features")
    csr = backend().sample(n, start, start + T, S, seed, ROLES[role], normalize)
    return SparseBatch(*csr, n)


def power_law(n: int, active: float, exponent: float) -> npt.NDArray[np.float64]:
    r"""Sparsities of features whose frequencies fall as a power of their number, as words' do.

    .. math:: S_i = 1 - \min(1, c\, i^{-a}), \quad i = 1, \dots, n, \qquad \sum_i (1 - S_i) = k

    with a = ``exponent``, k = ``active`` and c as follows from k; a = 1 is Zipf's law. The bits are
    the same on every platform. S_i is 1, and the feature never occurs, where 1 - S_i is less than
    half of 2^-53.

    Parameters
    ----------
    n : int
        Number of features.
    active : float
        k, the expected number of non-zeros of an example, in (0, n].
    exponent : float
        a, not negative; with 0 all features are alike.

    Returns
    -------
    array of shape (n,)
        For ``sparsity``, in :class:`toysup.TrainConfig` and :func:`sample`.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value.

    Examples
    --------
    >>> power_law(4, active=1.5, exponent=1.0).round(3)
    array([0.28, 0.64, 0.76, 0.82])
    """
    n = as_int("n", n, 1, MAX_FEATURES)
    active, exponent = as_float("active", active), as_float("exponent", exponent)
    if not 0 < active <= n:
        raise ValueError(f"active must be in (0, n] for n = {n}, got {active}")
    if exponent < 0:
        raise ValueError(f"exponent must not be negative, got {exponent}")
    sparsity = 1.0 - power_law_densities(n, active, exponent)
    if np.all(sparsity == 1.0):
        raise ValueError(f"active is too small for any of n = {n} features to occur, got {active}")
    return sparsity


def load(
    path: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    normalize: bool = True,
    feature_names: Iterable[str] | None = None,
    name: str | None = None,
) -> Dataset:
    """A data set from files: ``.npz`` of ``scipy.sparse.save_npz``, or ``.npy`` of ``numpy.save``.

    Parameters
    ----------
    path : path-like
        The file with the rows. A NumPy file is memory-mapped, and not loaded as a whole.
    test : path-like, optional
        A file with test rows.
    normalize, feature_names
        As for :class:`Dataset`.
    name : str, optional
        What the data set is called; the name of the file without its suffix if not given.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If the file holds something else, or as for :class:`Dataset`.
    ImportError
        For ``.npz`` without SciPy.
    """
    file = as_path("path", path)
    tests = None if test is None else _read(as_path("test", test))
    name = file.stem if name is None else name
    return Dataset(_read(file), tests, normalize, feature_names, name)


def _read(path: Path) -> Any:
    """The array of a file."""
    if path.suffix not in (".npz", ".npy"):
        raise ValueError(f"the file of a data set must end in .npz or .npy, got {str(path)!r}")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if path.suffix == ".npz":
        need("the .npz file of a sparse array", "scipy")
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        from scipy.sparse import load_npz

        return load_npz(path)
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        kind = "SciPy" if path.suffix == ".npz" else "NumPy"
        raise ValueError(f"{str(path)!r} holds no array of {kind} ({str(error)[:200]})") from error


# ------------------------------------------------------------------------- data of simple structure


def _one_sparsity(value: object, low: float = 0.0) -> float:
    """One number for all features."""
    sparsity = as_float("sparsity", value)
    if not low <= sparsity < 1:
        raise ValueError(f"sparsity must be in [{low:g}, 1), got {sparsity}")
    return sparsity


def correlated_pairs(n: int, rows: int, sparsity: float, seed: int = 0) -> Dataset:
    """Features in pairs (0, 1), (2, 3), ...: those of a pair are zero together or not at all.

    As in "Toy Models of Superposition" (Elhage et al. 2022): each pair of a row is there with
    probability 1 - S, independently of the others, and its two values are then independent and
    uniform on (0, 1]. Rows are not scaled, and may be empty.

    Parameters
    ----------
    n : int
        Number of features, which is even.
    rows : int
        Number of rows. Row t does not depend on it.
    sparsity : float
        S, in [0, 1): the probability that a feature of a row is zero.
    seed : int
        What the rows are drawn from; other data of the same seed are independent of them.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value, or if all rows are empty.

    Examples
    --------
    >>> pairs = correlated_pairs(20, 1000, 0.9)
    >>> present = pairs.X.toarray() > 0
    >>> bool((present[:, ::2] == present[:, 1::2]).all())
    True
    """
    drawn = _Drawn(n, rows, _one_sparsity(sparsity), seed, 2, "correlated")
    second = drawn.more(drawn.counts)
    features = np.stack([2 * drawn.groups, 2 * drawn.groups + 1], axis=1)
    values = np.stack([drawn.values, second], axis=1)
    return _dataset(2 * drawn.counts, features.ravel(), values.ravel(), n, "correlated pairs")


def anticorrelated_pairs(n: int, rows: int, sparsity: float, seed: int = 0) -> Dataset:
    """Features in pairs (0, 1), (2, 3), ...: at most one of a pair is not zero.

    As in "Toy Models of Superposition" (Elhage et al. 2022): each pair of a row is there with
    probability 2 (1 - S), independently of the others, and then one of the two, which a fair coin
    chooses, is uniform on (0, 1]. Rows are not scaled, and may be empty.

    Parameters
    ----------
    n : int
        Number of features, which is even.
    rows : int
        Number of rows. Row t does not depend on it.
    sparsity : float
        S, in [0.5, 1): the probability that a feature of a row is zero.
    seed : int
        What the rows are drawn from; other data of the same seed are independent of them.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value, or if all rows are empty.

    Examples
    --------
    >>> pairs = anticorrelated_pairs(20, 1000, 0.9)
    >>> present = pairs.X.toarray() > 0
    >>> bool((present[:, ::2] & present[:, 1::2]).any())
    False
    """
    sparsity = _one_sparsity(sparsity, 0.5)
    drawn = _Drawn(n, rows, 2.0 * sparsity - 1.0, seed, 2, "anticorrelated")
    coins = drawn.more(drawn.counts)
    features = 2 * drawn.groups + (coins > 0.5)
    return _dataset(drawn.counts, features, drawn.values, n, "anticorrelated pairs")


def hierarchical(
    n: int, rows: int, sparsity: float, seed: int = 0, *, children: int = 1, share: float = 0.5
) -> Dataset:
    """Features in families: a child is not zero only where its parent is not.

    The first of each ``1 + children`` features is a parent, and the others are its children. Each
    parent of a row is there with probability 1 - S, and then each of its children with probability
    ``share``, all independently. What is there is uniform on (0, 1]. Rows are not scaled, and may
    be empty.

    Parameters
    ----------
    n : int
        Number of features, a multiple of ``1 + children``.
    rows : int
        Number of rows. Row t does not depend on it.
    sparsity : float
        S, in [0, 1): the probability that a parent of a row is zero.
    seed : int
        What the rows are drawn from; other data of the same seed are independent of them.
    children : int
        Children of each parent.
    share : float
        The probability, in (0, 1], that a child is there if its parent is.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value, or if all rows are empty.

    Examples
    --------
    >>> families = hierarchical(20, 1000, 0.9)
    >>> present = families.X.toarray() > 0
    >>> bool((present[:, 1::2] & ~present[:, ::2]).any())
    False
    """
    children = as_int("children", children, 1, _MAX_CHILDREN)
    share = as_share("share", share)
    drawn = _Drawn(n, rows, _one_sparsity(sparsity), seed, 1 + children, "hierarchical")
    more = drawn.more(2 * children * drawn.counts)
    there, theirs = more.reshape(-1, 2, children).swapaxes(0, 1)
    values = np.concatenate([drawn.values[:, None], np.where(there <= share, theirs, 0.0)], axis=1)
    family = np.arange(1 + children, dtype=np.int64)
    features = (1 + children) * drawn.groups[:, None] + family
    counts = (1 + children) * drawn.counts  # zeros are left out by the data set
    return _dataset(counts, features.ravel(), values.ravel(), n, "hierarchical")


def one_at_a_time(n: int, rows: int, seed: int = 0) -> Dataset:
    """Rows with one feature each, every one equally likely, whose value is uniform on (0, 1].

    The limit of sparse data, in which features never meet. Rows are not scaled.

    Parameters
    ----------
    n : int
        Number of features.
    rows : int
        Number of rows. Row t does not depend on it.
    seed : int
        What the rows are drawn from; other data of the same seed are independent of them.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value.

    Examples
    --------
    >>> one_at_a_time(20, 1000)
    Dataset('one at a time', 1,000 x 20, 1 non-zeros a row, ...)
    """
    n = as_int("n", n, 1, MAX_FEATURES)
    rows, seed = as_int("rows", rows, 1, MAX_ROWS), as_int("seed", seed, 0, MAX_SEED)
    refuse_memory(100 * rows, f"{rows} rows")
    features = draws(seed, n, 0, rows, role="one")
    counts = np.ones(rows, dtype=np.int64)
    values = uniform((seed, ROLES["one"]), np.arange(rows, dtype=np.uint64), counts)
    return _dataset(counts, features, values, n, "one at a time")


class _Drawn:
    """Which groups of ``size`` features each row has, and a value of each, by the sample stream.

    Checks n, rows and the seed.
    """

    def __init__(self, n: int, rows: int, sparsity: float, seed: int, size: int, role: str) -> None:
        n = as_int("n", n, size, MAX_FEATURES)
        if n % size:
            raise ValueError(f"n must be a multiple of {size}, got {n}")
        rows, seed = as_int("rows", rows, 1, MAX_ROWS), as_int("seed", seed, 0, MAX_SEED)
        refuse_memory(int(100 * rows * (n * (1 - sparsity) + 1)), f"{rows} rows of {n} features")
        self._key, self._rows = (seed, ROLES[role]), rows
        indptr, indices, self.values = backend().sample(
            n // size, 0, rows, sparsity, *self._key, False
        )
        self.counts, self.groups = np.diff(indptr), indices.astype(np.int64)

    def more(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Further numbers, uniform on (0, 1]: ``counts[t]`` of them for row t, rows in turn."""
        return uniform(self._key, np.arange(self._rows, dtype=np.uint64), counts, substream=2)


def _dataset(
    counts: npt.NDArray[np.int64],
    features: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    n: int,
    name: str,
) -> Dataset:
    """The data set of rows, of which row t has the next ``counts[t]`` features and values."""
    indptr = np.concatenate(([0], np.cumsum(counts)))
    batch = SparseBatch(indptr, features.astype(np.int32), values, n)
    return Dataset(batch, normalize=False, name=name)
