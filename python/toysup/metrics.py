"""Vectors in superposition: dimensionality as the papers define it, and which are represented."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup.config.checks import as_float
from toysup.config.values import as_array, check_finite
from toysup.errors import short, unknown

__all__ = [
    "dimensionality",
    "maximal_dimensionality",
    "n_represented",
    "own_gain",
    "represented",
]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# Numbers of a dense array that exists at one time; several of them fit into a cache.
_BUDGET = 2**14
# So many vectors tell of most features that they are not represented.
_LONGEST = 64
# A share of all squared lengths below which interference cannot be read off the moment matrix,
# where it is a difference of larger numbers.
_HARDLY_ANY = 1e-4
# Vectors are factored together only if their lengths differ by less than two to this power.
_OCTAVES = 16
# Gains that lie below the threshold by no more than this are on it: rounding moves them by less.
_ON_THRESHOLD = 1e-9


def _real(name: str, value: npt.ArrayLike, ndim: int) -> Floats:
    """An array of so many dimensions, as finite doubles."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be a real array, got dtype {array.dtype}")
    if array.ndim != ndim:
        wanted = "(vectors, dimensions)" if ndim == 2 else "(vectors,)"
        raise ValueError(f"{name} must have shape {wanted}, got shape {array.shape}")
    array = array.astype(np.float64)
    check_finite(name, array)
    return array


def _vectors(V: npt.ArrayLike) -> Floats:
    """``V`` as finite doubles whose largest entry is 1, which leaves every ratio as it was."""
    array = _real("V", V, 2)
    largest = np.max(np.abs(array), initial=0.0)
    return array / largest if largest > 0 else array


@exact_floats()
def dimensionality(V: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""The share of a hidden dimension that each vector has for itself.

    .. math:: D_i = \frac{\|v_i\|^2}{\sum_j (\hat v_i \cdot v_j)^2}

    over all j, i itself included ("Toy Models of Superposition", 2022; "Superposition,
    Memorization, and Double Descent", 2023). With the moment matrix G = V^T V the denominator is
    v̂_i^T G v̂_i, so time is O(N m^2) and no N x N array exists. Short vectors that are nearly
    orthogonal to long ones are taken from triangular factors of V, which lose none of their digits.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows: the columns of W (pass ``W.T``) or hidden vectors h.

    Returns
    -------
    array of shape (N,)
        0 <= D_i <= 1, and D_i = 0 for a zero vector. The sum is at most m.

    Raises
    ------
    TypeError, ValueError
        If V is not a real, finite, two-dimensional array.

    Examples
    --------
    A regular pentagon in the plane: five vectors share two dimensions.

    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> dimensionality(np.c_[np.cos(angle), np.sin(angle)]).round(3)
    array([0.4, 0.4, 0.4, 0.4, 0.4])
    """
    V = _vectors(V)
    # Each row is brought to length 1 in two steps, so that tiny vectors do not underflow.
    largest = np.max(np.abs(V), axis=1, keepdims=True, initial=0.0)
    unit = np.divide(V, largest, out=np.zeros_like(V), where=largest > 0)
    norm = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = np.divide(unit, norm, out=unit, where=norm > 0)
    moments = V.T @ V
    interference = np.einsum("ik,kl,il->i", unit, moments, unit, optimize=True)
    length = (norm * largest)[:, 0]
    ratio = np.divide(length**2, interference, out=np.zeros(len(V)), where=interference > 0)
    hard = (interference <= _HARDLY_ANY * np.trace(moments)) & (length > 0)
    if hard.any():
        ratio[hard] = _orthogonal_to_long_ones(V, length, unit[hard], length[hard])
    result: npt.NDArray[np.float64] = np.clip(ratio, 0.0, 1.0)
    return result


def _orthogonal_to_long_ones(V: Floats, lengths: Floats, unit: Floats, length: Floats) -> Floats:
    """The dimensionalities of vectors of that direction and length, among all vectors ``V``.

    With V = Q R, interference is ||R u||^2, a sum of squares. R is exact to rounding of the longest
    vector, so that vectors of very different lengths have an R of their own each.
    """
    octave = np.where(lengths > 0, np.frexp(lengths)[1], 0) // _OCTAVES
    total = np.zeros(len(unit))
    with np.errstate(over="ignore", under="ignore"):
        for few in np.unique(octave[lengths > 0]):
            R = np.asarray(np.linalg.qr(V[(octave == few) & (lengths > 0)], mode="r"))
            total += np.square(unit @ R.T / length[:, None]).sum(axis=1)
        return np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)


@exact_floats()
def maximal_dimensionality(V: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""The largest dimensionality that any direction gives to each vector.

    .. math:: D^*_i = \sup_u \frac{(u \cdot v_i)^2}{\sum_j (u \cdot v_j)^2}
              = v_i^T (V^T V)^+ v_i,

    C. Olah's comment in the paper; in closed form it is the leverage score of row i.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows.

    Returns
    -------
    array of shape (N,)
        D_i <= D*_i <= 1; the sum is the rank of V.

    Raises
    ------
    TypeError, ValueError
        If V is not a real, finite, two-dimensional array.
    """
    V = _vectors(V)
    if V.size == 0:
        return np.zeros(len(V))
    left, singular, _ = np.linalg.svd(V, full_matrices=False)
    tolerance = singular[0] * max(V.shape) * np.finfo(np.float64).eps
    kept = left[:, singular > tolerance]
    leverage: npt.NDArray[np.float64] = np.clip(np.einsum("ik,ik->i", kept, kept), 0.0, 1.0)
    return leverage


@exact_floats()
def own_gain(
    V: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    size: float = 1.0,
    activation: str = "relu",
) -> npt.NDArray[np.float64]:
    r"""How well each feature is reconstructed when only one feature at a time is not zero.

    .. math:: G_i = 1 - \frac{\int_0^s \big[(x - r_{ii}(x))^2 + \sum_{j \ne i} r_{ij}(x)^2\big] dx}
                          {\int_0^s x^2 dx},
              \qquad r_{ij}(x) = f(v_i \cdot v_j\, x + b_i) - f(b_i)

    is the share of feature i's loss that the vectors remove, where r_ij(x) is what feature j of
    value x adds to the reconstruction of i. The first term is what is left of the feature itself,
    the sum is interference: these are the terms of the loss of one feature at a time in "Toy Models
    of Superposition" (Elhage et al. 2022), its limit for large sparsity; but what a bias adds to
    all examples alike does not count. The integrals are exact. Time is O(N^2 m).

    It is 1 for a feature that is reconstructed without interference, near 0.9 for each of five as a
    regular pentagon with its biases, 0 for a zero vector, and negative where a vector does more
    harm than good. Without ReLU it is 2 ||v_i||^2 - ||v_i||^4 / D_i, with the dimensionality D_i.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows: the columns of W (pass ``W.T``).
    b : array of shape (N,), optional
        Biases; zeros if not given.
    size : float
        s, the largest value of a feature; values are uniform in [0, s].
    activation : {"relu", "linear"}
        f.

    Returns
    -------
    array of shape (N,)
        At most 1.

    Raises
    ------
    TypeError, ValueError
        If V or b is not real and finite, or does not have that shape; if the size is not a
        positive, finite number; for another activation.
    """
    V, b, size = _features(V, b, size, activation)
    every = np.arange(len(V))
    gain = _alone(V, b, size, activation) - _interference(V, b, size, activation, every, every)
    return np.nan_to_num(gain, nan=-np.inf, neginf=-np.inf)  # where squares overflow


@exact_floats()
def represented(
    V: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    size: float = 1.0,
    activation: str = "relu",
    threshold: float = 0.5,
) -> npt.NDArray[np.bool_]:
    """Which features are represented: those of an :func:`own_gain` of at least ``threshold``.

    A gain less than 1e-9 below the threshold counts as on it, so that features that are alike are
    counted alike, however their gains are rounded.

    Half of a feature's loss is what a vector has to remove. Those of memorized examples do not: all
    features of such an example lie along its hidden vector, where each is read as all of them, and
    their biases let pass little less than the whole example. Dimensionality does not tell them from
    features in superposition: a feature that is large in one of a few examples has 0.1 and more.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows: the columns of W (pass ``W.T``).
    b : array of shape (N,), optional
        Biases; zeros if not given.
    size, activation
        As for :func:`own_gain`.
    threshold : float
        In (0, 1].

    Returns
    -------
    bool array of shape (N,)

    Raises
    ------
    TypeError, ValueError
        As :func:`own_gain`, and if the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {short(threshold)}")
    V, b, size = _features(V, b, size, activation)
    gain, least = _alone(V, b, size, activation), threshold - _ON_THRESHOLD
    chosen = np.flatnonzero(gain >= least)
    # Interference only takes away: few features pass what the longest vectors leave of them.
    longest = np.argsort(-np.einsum("ik,ik->i", V, V), kind="stable")[:_LONGEST]
    for others in (longest, np.arange(len(V))):
        left = gain[chosen] - _interference(V, b, size, activation, chosen, others)
        chosen = chosen[left >= least]
    known = np.zeros(len(V), dtype=np.bool_)
    known[chosen] = True
    return known


def n_represented(
    V: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    size: float = 1.0,
    activation: str = "relu",
    threshold: float = 0.5,
) -> int:
    """How many features are represented: the number of :func:`represented` ones.

    Gains less than 1e-9 below the threshold count, too.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows: the columns of W (pass ``W.T``).
    b : array of shape (N,), optional
        Biases; zeros if not given.
    size, activation, threshold
        As for :func:`represented`.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As :func:`represented`.

    Examples
    --------
    A regular pentagon of features of length 1:

    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> n_represented(np.c_[np.cos(angle), np.sin(angle)])
    5
    """
    return int(
        np.count_nonzero(represented(V, b, size=size, activation=activation, threshold=threshold))
    )


def _features(
    V: npt.ArrayLike, b: npt.ArrayLike | None, size: float, activation: str
) -> tuple[Floats, Floats, float]:
    """Vectors, biases and size as doubles, checked."""
    vectors = _real("V", V, 2)
    biases = np.zeros(len(vectors)) if b is None else _real("b", b, 1)
    if biases.shape != (len(vectors),):
        raise ValueError(f"b must have shape ({len(vectors)},), got shape {biases.shape}")
    size = as_float("size", size)
    if not size > 0:
        raise ValueError(f"size must be greater than 0, got {short(size)}")
    if activation not in ("relu", "linear"):
        raise ValueError(unknown("activation", activation, ("relu", "linear")))
    return vectors, biases, size


def _alone(V: Floats, b: Floats, size: float, activation: str) -> Floats:
    """What the own gains would be without interference."""
    with np.errstate(over="ignore", invalid="ignore"):
        product, square = _response(np.einsum("ik,ik->i", V, V), b, size, activation)
        gain: Floats = 2 * product - square
    return gain


def _interference(
    V: Floats, b: Floats, size: float, activation: str, rows: Places, others: Places
) -> Floats:
    """What other features, of those named, take from the own gains of some; a few at a time."""
    lost = np.empty(len(rows))
    step = max(1, _BUDGET // max(1, len(others)))
    with np.errstate(over="ignore", invalid="ignore"):
        for low in range(0, len(rows), step):
            few = rows[low : low + step]
            square = _response(V[few] @ V[others].T, b[few, None], size, activation)[1]
            square[few[:, None] == others] = 0.0
            lost[low : low + step] = square.sum(axis=1)
    return lost


def _response(a: Floats, b: Floats, size: float, activation: str) -> tuple[Floats, Floats]:
    """For r(x) = f(a x + b) - f(b), the means of x r and r^2 over [0, size], by that of x^2."""
    if activation == "linear":
        return a, a * a
    # In units of the size, x goes from 0 to 1. The ReLU is open between low and high.
    b = np.broadcast_to(b / size, a.shape)
    kink = np.clip(np.divide(-b, a, out=np.where(b > 0, 1.0, 0.0), where=a != 0), 0.0, 1.0)
    low, high = np.where(a > 0, kink, 0.0), np.where(a > 0, 1.0, kink)
    first, second, third = ((high**k - low**k) / k for k in (1, 2, 3))
    # Where it is open r = a x + under, and elsewhere r = -over.
    under, over = np.minimum(b, 0.0), np.maximum(b, 0.0)
    product = a * third + under * second - over * (0.5 - second)
    square = a * a * third + 2 * a * under * second + under**2 * first + over**2 * (1 - first)
    return 3 * product, 3 * square
