"""Vectors in the plane as the corners of polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup.config.checks import as_share
from toysup.config.values import check_finite
from toysup.regime._model import Floats

__all__ = ["Circle", "Polygon", "polygon"]


@dataclass(frozen=True)
class Circle:
    """Vectors of about the same length.

    Attributes
    ----------
    vectors : int
        How many.
    directions : int
        How many directions they have; vectors closer than 2 degrees, or than half the even
        spacing if that is less, have the same one.
    radius : float
        Mean length.
    spread : float
        1 - shortest / longest.
    deviation : float
        The largest difference between an angle from one direction to the next and 360 degrees /
        directions, as a share of the latter.
    regular : bool
        Whether three or more directions form a regular polygon, within the tolerance.
    round : bool
        Whether the spread is within the tolerance.
    """

    vectors: int
    directions: int
    radius: float
    spread: float
    deviation: float
    regular: bool
    round: bool


@dataclass(frozen=True, repr=False)
class Polygon:
    """How vectors lie in the plane.

    Attributes
    ----------
    vectors : int
        Number of vectors.
    at_origin : int
        Those of negligible length.
    circles : tuple of Circle
        The others, from the longest to the shortest.
    """

    vectors: int
    at_origin: int
    circles: tuple[Circle, ...]

    @property
    def regular(self) -> bool:
        """Whether all vectors that are not at the origin form one regular polygon."""
        return len(self.circles) == 1 and self.circles[0].regular

    def __repr__(self) -> str:
        """Such as "5 on one circle, regular" or "two circles: 6 and 2; 3 at the origin".

        A single vector of its own length is no circle: it is "elsewhere".
        """
        circles = [circle for circle in self.circles if circle.vectors > 1 or self.vectors == 1]
        elsewhere = self.vectors - self.at_origin - sum(circle.vectors for circle in circles)
        parts = [(elsewhere, "elsewhere"), (self.at_origin, "at the origin")]
        if len(circles) > 3 or not all(circle.round for circle in circles):
            parts[0] = (self.vectors - self.at_origin, "spread out")
            circles = []
        texts = [f"{count:,} {where}" for count, where in parts if count]
        if circles:
            texts.insert(0, _on_circles(circles))
        return "; ".join(texts) or "no vectors"


def _on_circles(circles: list[Circle]) -> str:
    if len(circles) > 1:
        *first, last = (f"{circle.vectors:,}" for circle in circles)
        count = {2: "two", 3: "three"}[len(circles)]
        return f"{count} circles: {', '.join(first)} and {last}"
    circle = circles[0]
    merged = circle.directions < circle.vectors
    inside = f" in {circle.directions:,} directions" if merged else ""
    kind = "regular" if circle.regular else "irregular"
    return f"{circle.vectors:,} on one circle{inside}, {kind}"


def polygon(
    V: npt.ArrayLike, *, origin: float = 0.1, gap: float = 0.85, tolerance: float = 0.2
) -> Polygon:
    """Describe vectors in the plane as the corners of polygons.

    Parameters
    ----------
    V : array of shape (N, 2)
        Vectors as rows: hidden vectors h, or the columns of W (``W.T``).
    origin : float
        Vectors shorter than this share of the longest are at the origin.
    gap : float
        A new circle begins where, from the longest vector to the shortest, one has less than this
        share of the length of the one before.
    tolerance : float
        By how much, as a share, angles and lengths of a regular polygon may differ.

    Returns
    -------
    Polygon
        ``str()`` of it is a description.

    Raises
    ------
    TypeError, ValueError
        If V is not a real, finite array of that shape, or a share is not in (0, 1].

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> print(polygon(np.c_[np.cos(angle), np.sin(angle)]))
    5 on one circle, regular
    """
    origin, gap = as_share("origin", origin), as_share("gap", gap)
    tolerance = as_share("tolerance", tolerance)
    V = _in_plane(V)
    length = np.hypot(V[:, 0], V[:, 1])
    order = np.argsort(-length, kind="stable")
    outer = order[(length[order] > 0) & (length[order] >= origin * length.max(initial=0.0))]
    cuts = 1 + np.flatnonzero(length[outer[1:]] < gap * length[outer[:-1]])
    parts = np.split(outer, cuts) if len(outer) else []
    circles = tuple(_circle(V[part], length[part], tolerance) for part in parts)
    return Polygon(len(V), len(V) - len(outer), circles)


def _in_plane(V: npt.ArrayLike) -> Floats:
    array: npt.NDArray[Any] = np.asarray(V)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"V must be a real array, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"V must have shape (N, 2), got shape {array.shape}")
    check_finite("V", array)
    return array.astype(np.float64)


def _circle(V: Floats, length: Floats, tolerance: float) -> Circle:
    """Vectors of about the same length, as a circle."""
    gaps = _gaps(_directions(np.sort(np.arctan2(V[:, 1], V[:, 0]))))
    deviation = float(np.max(np.abs(gaps * len(gaps) / (2 * np.pi) - 1)))
    spread = float(1 - length.min() / length.max())
    regular = len(gaps) >= 3 and max(deviation, spread) <= tolerance
    radius = float(length.mean())
    return Circle(len(V), len(gaps), radius, spread, deviation, regular, spread <= tolerance)


def _gaps(angles: Floats) -> Floats:
    """From each of the rising angles to the next, around the circle."""
    return np.diff(np.append(angles, angles[0] + 2 * np.pi))


def _directions(angles: Floats) -> Floats:
    """Rising angles with those that are hardly apart replaced by their mean."""
    gaps = _gaps(angles)
    wide = np.flatnonzero(gaps > min(np.radians(2.0), np.pi / len(angles)))
    if len(wide) == 0:
        return angles[:1]
    # Begin after a wide gap, so that no group lies across the end of the list.
    first = (wide[0] + 1) % len(angles)
    angles = np.unwrap(np.roll(angles, -first))
    ends = (wide - first) % len(angles)
    groups = np.split(angles, np.sort(ends)[:-1] + 1)
    return np.array([group.mean() for group in groups])
