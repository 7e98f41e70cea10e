"""How the features of one model share its dimensions: W^T W, and how near it is to the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from toysup.plot._parts.source import Floats, Trained, open_model
from toysup.plot._parts.style import canvas, paint
from toysup.regime._model import unit_rows

__all__ = ["interference", "welch_bound"]

# Of more features than this several share a pixel of the image.
MAX_PIXELS = 200


def interference(source: Trained, *, axes: npt.ArrayLike | None = None, **select: Any) -> Any:
    r"""Draw W^T W of the represented features, and the largest interference of each.

    On the left is the product of every two represented features, by number. Of more than 200
    several share a pixel, which has the product of largest size, so that no feature disappears. On
    the right is the largest \|cos\| of each feature with another one, in falling order, beside the
    Welch bound: among k vectors in m dimensions, two have a \|cos\| of at least
    sqrt((k - m) / (m (k - 1))) (L. Welch, "Lower bounds on the maximum cross correlation of
    signals", IEEE Transactions on Information Theory 20, 1974).

    Parameters
    ----------
    source : Run, Model, (W, b), SweepResult, str or PathLike
        A run, weights, a sweep, or the path of a store or of a run's file.
    axes : array of Axes, optional
        Two Axes. By default those of a new figure.
    **select
        One value of every axis of the sweep, such as ``T=100``. Of several seeds the run of lowest
        train loss is drawn.

    Returns
    -------
    ndarray of Axes
        Shape (2,): the image, and a line labelled "features" with a dotted one labelled
        "Welch bound".

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If no run is finished, fewer than two features are represented, or the selection leaves
        several runs that are no seeds.
    """
    model, known = open_model(source, select)
    places = np.flatnonzero(known)
    if places.size < 2:
        raise ValueError(f"source must represent two features or more, got {places.size}")
    V = np.ascontiguousarray(model.W.T[places], dtype=np.float64)
    image, largest = _products(V)
    with canvas((6.4, 2.9), axes, rows=1, columns=2) as panels:
        _draw_image(panels[0, 0], image, places.size)
        _draw_largest(panels[0, 1], largest, model.m)
    return panels[0]


def welch_bound(k: int, m: int) -> float:
    """The smallest that the largest |cos| of two of k vectors in m dimensions can be."""
    return ((k - m) / (m * (k - 1))) ** 0.5 if k > m else 0.0


def _products(V: Floats) -> tuple[Floats, Floats]:
    """The image of V V^T, at most 200 wide, and the largest |cos| of each row with another."""
    unit = unit_rows(V)
    starts = np.linspace(0, len(V), min(len(V), MAX_PIXELS) + 1).astype(int)[:-1]
    image, largest = np.zeros((starts.size, starts.size)), np.zeros(len(V))
    for row, (low, high) in enumerate(zip(starts, [*starts[1:], len(V)], strict=True)):
        part = V[low:high] @ V.T
        most = np.maximum.reduceat(part.max(axis=0), starts)
        least = np.minimum.reduceat(part.min(axis=0), starts)
        image[row] = np.where(most >= -least, most, least)
        cosines = np.abs(unit[low:high] @ unit.T)
        cosines[np.arange(high - low), np.arange(low, high)] = 0.0
        largest[low:high] = cosines.max(axis=1)
    return image, largest


def _draw_image(ax: Axes, image: Floats, count: int) -> None:
    end = float(np.abs(image).max())
    shown = ax.imshow(
        image,
        cmap="RdBu",
        vmin=-end,
        vmax=end,
        interpolation="nearest",
        extent=(0, count, count, 0),
    )
    bar = ax.figure.colorbar(shown, ax=ax, label=r"$W^\top W$", pad=0.02)
    bar.outline.set_visible(False)
    ax.set(xlabel="represented feature", ylabel="represented feature")


def _draw_largest(ax: Axes, largest: Floats, m: int) -> None:
    count = largest.size
    ax.plot(
        np.arange(1, count + 1),
        -np.sort(-largest),
        marker="o",
        markersize=2.6,
        markeredgewidth=0,
        color=paint("features"),
        label="features",
    )
    ax.axhline(
        welch_bound(count, m), linestyle=":", color=paint("ink"), label="Welch bound", zorder=1
    )
    ax.set(
        ylim=(-0.03, 1.03), xlabel="feature, by interference", ylabel="largest |cos| with another"
    )
    ax.legend(loc="best")
