"""Dimensionality of vectors in superposition, as the papers define it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup.errors import short

__all__ = ["dimensionality", "maximal_dimensionality", "n_represented"]


def _vectors(V: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``V`` as finite doubles whose largest entry is 1, which leaves every ratio as it was."""
    array: npt.NDArray[Any] = np.asarray(V)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"V must be a real array, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"V must have shape (vectors, dimensions), got shape {array.shape}")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"V must be finite, got {short(array[~np.isfinite(array)][0])}")
    largest = np.max(np.abs(array), initial=0.0)
    return array / largest if largest > 0 else array


@exact_floats()
def dimensionality(V: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""The share of a hidden dimension that each vector has for itself.

    .. math:: D_i = \frac{\|v_i\|^2}{\sum_j (\hat v_i \cdot v_j)^2}

    over all j, i itself included ("Toy Models of Superposition", 2022; "Superposition,
    Memorization, and Double Descent", 2023). With the moment matrix G = V^T V the denominator is
    v̂_i^T G v̂_i, so time is O(N m^2) and no N x N array exists.

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
    interference = np.einsum("ik,kl,il->i", unit, V.T @ V, unit, optimize=True)
    own = (norm * largest)[:, 0] ** 2
    ratio = np.divide(own, interference, out=np.zeros(len(V)), where=interference > 0)
    result: npt.NDArray[np.float64] = np.clip(ratio, 0.0, 1.0)
    return result


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
def n_represented(V: npt.ArrayLike, threshold: float = 0.1) -> int:
    """How many vectors have a dimensionality of at least ``threshold``.

    Features that a model stores in superposition have D of about m / (their number); features
    that it merely touches share what is left and fall far below 0.1.

    Parameters
    ----------
    V : array of shape (N, m)
        Vectors as rows.
    threshold : float
        In (0, 1].

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As :func:`dimensionality`, and if the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {short(threshold)}")
    return int(np.count_nonzero(dimensionality(V) >= threshold))
