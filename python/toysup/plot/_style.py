"""Colours, sizes and the making of figures, shared by all plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

__all__ = [
    "COLORS",
    "EXAMPLES",
    "FEATURES",
    "INK",
    "MUTED",
    "RC",
    "canvas",
    "for_files",
    "hue_colors",
    "label_T",
    "thousands",
]

# Blue and red of ColorBrewer's RdBu, which the colour-blind can tell apart; as in the paper, blue
# is a feature and red is an example.
FEATURES = "#2166ac"
EXAMPLES = "#b2182b"
COLORS = {"features": FEATURES, "examples": EXAMPLES}
INK = "#222222"
MUTED = "#8a8a8a"
MARKERS = "osD^vPX*"

# What to write at an axis.
VARIABLES = {
    "test_loss": "test loss",
    "train_loss": "train loss",
    "W_norm": r"$\|W\|_F$",
    "b_norm": r"$\|b\|_2$",
    "max_feature_dimensionality": "largest dimensionality\nof a feature",
    "n_represented": "features represented",
    "seconds": "seconds",
    "learning_rate": "learning rate",
}

# In force only while a figure of our own is made: a caller's Axes keep the caller's style.
RC: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "xtick.minor.size": 1.8,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.6,
    "figure.dpi": 120.0,
}


# Whether new figures are pyplot's, so that a notebook or a window can show them.
_SHOWN: ContextVar[bool] = ContextVar("shown", default=True)


@contextmanager
def for_files() -> Iterator[None]:
    """Until the context ends, new figures are for files only: they need no backend of pyplot's."""
    token = _SHOWN.set(False)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextmanager
def canvas(
    size: tuple[float, float], given: object = None, *, rows: int = 1, columns: int = 1
) -> Iterator[npt.NDArray[np.object_]]:
    """The Axes to draw on, shape (rows, columns): those given, or those of a new figure.

    The new figure is closed again if the drawing fails.

    Raises
    ------
    TypeError, ValueError
        If what was given is not Axes, or not as many as are needed.
    """
    if given is not None:
        yield _as_axes(given, rows, columns)
        return
    with whole_figure(size) as figure:
        yield figure.subplots(rows, columns, squeeze=False)


@contextmanager
def whole_figure(
    size: tuple[float, float], given: Figure | SubFigure | None = None
) -> Iterator[Figure | SubFigure]:
    """The figure to draw on: the one given, or a new one that is closed if the drawing fails."""
    if given is not None:
        if not isinstance(given, (Figure, SubFigure)):
            raise TypeError(f"fig must be a matplotlib Figure, got {type(given).__name__}")
        yield given
        return
    # Not with RC in force: with the first figure pyplot starts its backend, which may change
    # settings for good (a notebook's makes them interactive), and the context would undo that.
    figure, close = _new_figure(size)
    try:
        with mpl.rc_context(RC):
            yield figure
    except BaseException:
        close()
        raise


def _new_figure(size: tuple[float, float]) -> tuple[Figure, Callable[[], None]]:
    """An empty figure, and what makes pyplot forget it."""
    options: Any = {"figsize": size, "dpi": RC["figure.dpi"], "layout": "constrained"}
    if not _SHOWN.get():
        return Figure(**options), lambda: None
    import matplotlib.pyplot as plt

    figure = plt.figure(**options)
    return figure, lambda: plt.close(figure)


def _as_axes(given: object, rows: int, columns: int) -> npt.NDArray[np.object_]:
    panels = np.array(given, dtype=object).ravel()
    for panel in panels:
        if not isinstance(panel, Axes):
            raise TypeError(f"ax must be a matplotlib Axes, got {type(panel).__name__}")
    if panels.size != rows * columns:
        wanted = f"{rows} x {columns} Axes" if rows * columns > 1 else "one Axes"
        raise ValueError(f"this figure needs {wanted}, got {panels.size}")
    return panels.reshape(rows, columns)


def thousands(value: float) -> str:
    """A number of examples as the paper's axes have it: 500, 2k, 1M, ∞."""
    if math.isinf(value):
        return "∞"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def label_T(value: float) -> str:
    """``T = 1,000``, or ``T = ∞``."""
    return "T = ∞" if math.isinf(value) else f"T = {int(value):,}"


def hue_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Colours for ``count`` values of one quantity, dark to light, none too light for paper."""
    where = np.linspace(0.0, 0.82, count) if count > 1 else np.array([0.0])
    return [tuple(row) for row in mpl.colormaps["viridis"](where)]
