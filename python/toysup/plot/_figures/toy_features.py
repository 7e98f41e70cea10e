"""Figures of "Toy Models of Superposition": what the features of a model are, dense to sparse."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from toysup import metrics
from toysup.plot._parts.source import Cells, Floats, Source, open_cells
from toysup.plot._parts.style import canvas, hue_colors, paint
from toysup.plot._parts.thin import Places

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = [
    "SHARED",
    "density",
    "finished_runs",
    "lengths",
    "open_fresh",
    "runs_by_density",
    "superposition",
    "toy_features",
    "toy_vectors",
]

# A feature that shares its dimensions; one that has them for itself is blue.
SHARED = "#e08214"
_PRODUCTS = "RdBu"
# Of more features than this the represented ones are drawn, or so few of the longest.
_MAX_FEATURES, _FEW = 100, 20


def density(sparsity: float | tuple[float, ...]) -> float:
    """1 - S, or the mean of all features, without the rounding error of the difference."""
    return round(float(np.mean(1.0 - np.array(sparsity))), 12)


def superposition(W: npt.ArrayLike) -> Floats:
    r"""How much the other features lie along each one.

    .. math:: \sum_{j \ne i} (\hat W_i \cdot W_j)^2 = \|W_i\|^2 (1 / D_i - 1)

    ("Toy Models of Superposition", 2022), with the dimensionality D_i.

    Parameters
    ----------
    W : array of shape (m, n)
        Column i is the vector of feature i.

    Returns
    -------
    array of shape (n,)
        0 where the others are orthogonal to a feature, about 1 if one is parallel to it, and 0 for
        a feature that is a zero vector.

    Raises
    ------
    TypeError, ValueError
        As :func:`toysup.metrics.dimensionality`.
    """
    V = np.asarray(W).T
    D = metrics.dimensionality(V)
    square = np.sum(V.astype(np.float64) ** 2, axis=1)
    shared: Floats = square * (np.divide(1.0, D, out=np.ones_like(D), where=D > 0) - 1.0)
    return shared


def toy_features(
    source: Source, *, axes: npt.ArrayLike | None = None, **select: Any
) -> npt.NDArray[np.object_]:
    """Draw W^T W, b and the lengths of the features, a column for each sparsity, dense to sparse.

    Above is W^T W, and to the right of it b. Below is the length of each feature, in a bar of the
    colour of its superposition: blue if it has its dimensions for itself, orange if others lie
    along it. Where a sweep holds several seeds, the run of lowest test loss is drawn.

    Of more than 100 features, which would be thinner than a pixel, the represented ones are drawn
    (:meth:`toysup.Run.represented`): the 100 longest of them, or with the longest of the others 20
    in all. A note below a column says so, and up to 20 bars have the numbers of their features.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep over ``sparsity``, or the path of a store or of a run's file.
    axes : array of Axes, optional
        2 x columns Axes; by default those of a new figure.
    **select
        Values of any axis of the sweep, such as ``sparsity=[0.0, 0.9]``.

    Returns
    -------
    ndarray of Axes
        Shape (2, columns): images, of which the first is W^T W and the second b, and bars.

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If no run is finished, or an axis other than the sparsity and the seeds has several values.
    """
    runs = finished_runs(source, select)
    with canvas((0.9 + 1.3 * len(runs), 3.7), axes, rows=2, columns=len(runs)) as panels:
        for k, run in enumerate(runs):
            shown = _shown(run)
            _draw_products(panels[0, k], run, shown)
            _draw_lengths(panels[1, k], run, shown)
        for ax in panels[1]:
            ax.set_xlim(0.0, max(1.1, *(1.05 * lengths(run).max() for run in runs)))
        panels[0, 0].set_ylabel(r"$W^\top W$ and $b$")
        panels[1, 0].set_ylabel("features by importance")
        products = panels[0, 0].images[0]
        sharing = ScalarMappable(Normalize(0.0, 1.0), _sharing())
        label = "superposition\n" + r"$\sum_{j \neq i}(\hat W_i \cdot W_j)^2$"
        bars = (
            panels[0, 0].figure.colorbar(products, ax=list(panels[0]), pad=0.01, extend="both"),
            panels[0, 0].figure.colorbar(
                sharing, ax=list(panels[1]), pad=0.01, extend="max", label=label
            ),
        )
        for bar in bars:
            bar.outline.set_visible(False)
    return panels


def open_fresh(source: Source, select: Mapping[str, Any] | None = None) -> Cells:
    """As :func:`open_cells`, but ``pick`` takes the run of lowest test loss.

    With T = ∞ the train loss is that of one batch, in which few features occur together; it cannot
    tell which of two arrangements is better. Neither set of examples was seen in training.
    """
    cells = open_cells(source, select)
    loss = cells.data["test_loss"].fillna(cells.data["train_loss"])
    return dataclasses.replace(cells, data=cells.data.assign(train_loss=loss))


def finished_runs(source: Source, select: Mapping[str, Any]) -> list[Run]:
    """As :func:`runs_by_density`.

    Raises
    ------
    ValueError
        If none is finished, or an axis other than the sparsity and the seeds has several values.
    """
    cells = open_fresh(source, select)
    cells.require_fixed("sparsity", "seed", "init_seed")
    cells.require_finished()
    return runs_by_density(cells)


def runs_by_density(cells: Cells) -> list[Run]:
    """The run that ``pick`` takes at each sparsity, dense to sparse, if any is finished."""
    if "sparsity" not in cells.coords:
        picked = [cells.pick()]
    else:
        cells = cells.sort("sparsity")
        picked = [cells.pick(sparsity=k) for k in range(len(cells.coords["sparsity"]))]
    return [run for run in picked if run is not None]


def lengths(run: Run) -> Floats:
    """||W_i|| of every feature, shape (n,)."""
    return np.asarray(np.linalg.norm(run.W.astype(np.float64), axis=0))


def _shown(run: Run) -> Places:
    """The features that are drawn: all if they are few, else those that are represented."""
    n = run.config.n
    if n <= _MAX_FEATURES:
        return np.arange(n)
    known = run.represented()
    count = int(np.clip(np.count_nonzero(known), _FEW, _MAX_FEATURES))
    return np.sort(np.lexsort((-lengths(run), ~known))[:count])


def _draw_products(ax: Axes, run: Run, shown: Places) -> None:
    """W^T W of some features as an image, and b as a column beside it."""
    n = len(shown)
    left, right = 1.07 * n, 1.16 * n
    W = run.W[:, shown].astype(np.float64)
    for values, extent in (
        (W.T @ W, (0.0, n, n, 0.0)),
        (run.b[shown].astype(np.float64)[:, None], (left, right, n, 0.0)),
    ):
        ax.imshow(values, cmap=_PRODUCTS, vmin=-1.0, vmax=1.0, extent=extent, aspect="auto")
        ax.plot(
            [extent[0], extent[1], extent[1], extent[0], extent[0]],
            [0, 0, n, n, 0],
            color=paint("rule"),
            linewidth=0.6,
            clip_on=False,
        )
    ax.set(xlim=(0, right), ylim=(n, 0), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(f"$1 - S = {density(run.config.sparsity):g}$")


def _sharing() -> LinearSegmentedColormap:
    """From a feature that has its dimensions for itself to one that shares them."""
    return LinearSegmentedColormap.from_list("sharing", [paint("features"), SHARED])


def _draw_lengths(ax: Axes, run: Run, shown: Places) -> None:
    """A bar for each of some features, the most important on top."""
    n = len(shown)
    colors = _sharing()(np.clip(superposition(run.W)[shown], 0.0, 1.0))
    height = 0.8 if n <= 40 else 1.0  # gaps would be thinner than a pixel
    at = np.arange(n) + 0.5
    ax.barh(at, lengths(run)[shown], height=height, color=colors)
    ax.axvline(1.0, color=paint("muted"), linestyle=":", linewidth=1.0, zorder=0, label="_line")
    ax.set(ylim=(n, 0), yticks=[], xticks=[0, 1], xlabel=r"$\|W_i\|$")
    if n == run.config.n:
        return
    known = np.count_nonzero(run.represented())
    note = f"{n:,} of {run.config.n:,}\nfeatures; {known:,}\nrepresented"
    ax.set_xlabel(f"{ax.get_xlabel()}\n{note}", size="small")
    if n <= _FEW:
        ax.set_yticks(at, [f"{i:,}" for i in shown], size=5.0)
        ax.tick_params(axis="y", length=0, pad=1.0)


def toy_vectors(
    source: Source, *, axes: npt.ArrayLike | None = None, **select: Any
) -> npt.NDArray[np.object_]:
    """Draw the features in the plane, for m = 2, a panel for each sparsity, dense to sparse.

    Features are numbered by importance, and the most important has the darkest colour. The circle
    has radius 1. Where a sweep holds several seeds, the run of lowest test loss is drawn.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep over ``sparsity``, or the path of a store or of a run's file.
    axes : array of Axes, optional
        One Axes for each sparsity; by default those of a new figure.
    **select
        Values of any axis of the sweep, such as ``sparsity=[0.0, 0.9]``.

    Returns
    -------
    ndarray of Axes
        In each, a line from the origin for each feature, labelled "feature 1" and so on.

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If m is not 2, no run is finished, or an axis other than the sparsity and the seeds has
        several values.
    """
    runs = finished_runs(source, select)
    m = runs[0].config.m
    if m != 2:
        raise ValueError(f"vectors can be drawn for m = 2 only, got m = {m}")
    with canvas((0.2 + 1.9 * len(runs), 2.3), axes, columns=len(runs)) as panels:
        reach = 1.22 * max(1.0, *(lengths(run).max() for run in runs))
        for ax, run in zip(panels[0], runs, strict=True):
            _draw_plane(ax, run)
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(f"$1 - S = {density(run.config.sparsity):g}$")
    drawn: npt.NDArray[np.object_] = panels[0]
    return drawn


def _draw_plane(ax: Axes, run: Run) -> None:
    """Features as lines from the origin, with their numbers outside."""
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    ax.plot(
        np.cos(angle), np.sin(angle), color=paint("rule"), linewidth=0.7, zorder=0, label="_circle"
    )
    V = run.W.astype(np.float64).T
    for k, (vector, color) in enumerate(zip(V, hue_colors(len(V)), strict=True), start=1):
        ax.plot(
            [0.0, vector[0]],
            [0.0, vector[1]],
            color=color,
            marker="o",
            markevery=[1],
            markersize=4.5,
            label=f"feature {k}",
        )
        length = float(np.hypot(*vector))
        if length > 0.5:  # numbers of shorter ones would lie upon each other
            x, y = vector * (1.0 + 0.14 / length)
            ax.text(x, y, str(k), ha="center", va="center", color=paint("ink"), size="x-small")
