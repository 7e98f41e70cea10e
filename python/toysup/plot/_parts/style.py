"""Colours, sizes and the making of figures, shared by all plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure, SubFigure

__all__ = [
    "KINDS",
    "RC",
    "canvas",
    "for_files",
    "hue_colors",
    "is_space",
    "label_S",
    "label_T",
    "name_axis",
    "name_variable",
    "on_dark",
    "paint",
    "thousands",
]

RGB: TypeAlias = tuple[float, float, float]

# Blue and red of ColorBrewer's RdBu, which the colour-blind can tell apart; as in the paper, blue
# is a feature and red is an example. The others are neither.
_PAINTS = {
    "features": "#2166ac",
    "examples": "#b2182b",
    "green": "#1b7837",
    "violet": "#762a83",
    "orange": "#d95f02",
    "coral": "#d6604d",
    "salmon": "#f4a582",
}
# What lies between the colours of text and ground, by the share of the text's on a light and on a
# dark ground, where the eye parts shades less.
_MIXES = {
    "ink": (0.867, 0.867),
    "muted": (0.459, 0.55),
    "rule": (0.2, 0.3),
    "wash": (0.051, 0.12),
    "paper": (0.0, 0.0),
}
# More is not asked of a paint on another ground than white, nor of a mix; and no less of text.
_CONTRAST, _MUTED, _LEGIBLE = 4.5, 1.6, 3.0
KINDS = ("features", "examples")
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
AXES = {"T": "training examples T", "m": "hidden size m", "n": "features n"}

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
    size: tuple[float, float],
    given: object = None,
    *,
    rows: int = 1,
    columns: int = 1,
    space: bool = False,
) -> Iterator[npt.NDArray[np.object_]]:
    """The Axes to draw on, shape (rows, columns): those given, or those of a new figure.

    They are of three dimensions with ``space``. The new figure is closed again if the drawing
    fails.

    Raises
    ------
    TypeError, ValueError
        If what was given is not Axes, or not as many as are needed.
    """
    if given is not None:
        panels = _as_axes(given, rows, columns, space)
        with mpl.rc_context(_ground_of(panels[0, 0])):
            yield panels
        return
    with whole_figure(size) as figure:
        options: Any = {"projection": "3d"} if space else {}
        yield figure.subplots(rows, columns, squeeze=False, subplot_kw=options)


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


def is_space(ax: Axes) -> bool:
    """Whether an Axes has three dimensions."""
    return ax.name == "3d"


def _as_axes(given: object, rows: int, columns: int, space: bool) -> npt.NDArray[np.object_]:
    panels = np.array(given, dtype=object).ravel()
    for panel in panels:
        if not isinstance(panel, Axes):
            raise TypeError(f"ax must be a matplotlib Axes, got {type(panel).__name__}")
    if panels.size != rows * columns:
        wanted = f"{rows} x {columns} Axes" if rows * columns > 1 else "one Axes"
        raise ValueError(f"this figure needs {wanted}, got {panels.size}")
    if any(is_space(panel) != space for panel in panels):
        wanted = "must" if space else "must not"
        raise ValueError(f"the Axes of this figure {wanted} be made with projection='3d'")
    return panels.reshape(rows, columns)


def paint(name: str) -> str:
    """A colour that fits the style in force, as "#rrggbb".

    "ink" is for what matters, "muted" for what goes with it, "rule" for frames and "wash" for
    areas; "paper" is the ground. All are as they are in black and white, or as much nearer to the
    text as they need to stand out from the ground as well as there.
    """
    ink, paper = _ink_and_paper()
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if name in _MIXES:
        share, most = _MIXES[name][on_dark()], _MUTED
        plain = (white, black) if on_dark() else (black, white)
        color, usual = _mix(ink, paper, share), _contrast(_mix(*plain, share), plain[1])
    else:
        color, most = to_rgb(_PAINTS[name]), _CONTRAST
        usual = _contrast(color, white)
    mixes = (_mix(ink, color, share) for share in np.linspace(0.0, 1.0, 21))
    return to_hex(next((mix for mix in mixes if _contrast(mix, paper) >= min(usual, most)), ink))


def on_dark() -> bool:
    """Whether the style in force has light text on a dark ground."""
    ink, paper = _ink_and_paper()
    return _luminance(ink) > _luminance(paper)


def _ink_and_paper() -> tuple[RGB, RGB]:
    """The colours of text and of the ground of Axes."""
    # What shines through is the figure, and last the page, of which nothing is known but that the
    # text is to be read there.
    dark_text = _luminance(to_rgb(mpl.rcParams["text.color"])) < 0.5
    paper: RGB = (1.0, 1.0, 1.0) if dark_text else (0.0, 0.0, 0.0)
    for name in ("figure.facecolor", "axes.facecolor"):
        paper = _over(to_rgba(mpl.rcParams[name]), paper)
    return _legible(paper), paper


def _legible(paper: RGB) -> RGB:
    """The style's colour of text, or black or white where that cannot be read on this ground."""
    choice = (to_rgb(mpl.rcParams["text.color"]), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return next(ink for ink in choice if _contrast(ink, paper) >= _LEGIBLE)


def _over(color: Any, paper: RGB) -> RGB:
    """What is seen of a colour, maybe a transparent one, on a ground."""
    red, green, blue, alpha = to_rgba(color)
    return _mix((red, green, blue), paper, alpha)


def _mix(one: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (share * a + (1.0 - share) * b for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(color: RGB) -> float:
    """Relative luminance of an sRGB colour, as the Web Content Accessibility Guidelines have it."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _contrast(one: RGB, other: RGB) -> float:
    """From 1 to 21, by the same guidelines."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _ground_of(ax: Axes) -> Any:
    """Settings by which colours fit these Axes, whose style may be another than that in force."""
    _, paper = _ink_and_paper()
    patches, figure = [ax.patch], ax.figure
    while isinstance(figure, SubFigure):
        patches.append(figure.patch)
        figure = figure.figure
    for patch in (figure.patch, *reversed(patches)):
        paper = _over(patch.get_facecolor(), paper)
    return {"axes.facecolor": paper, "text.color": _legible(paper)}


def name_axis(name: str) -> str:
    """What to write beside an axis of a sweep."""
    return AXES.get(name, name.replace("_", " "))


def name_variable(name: str) -> str:
    """What to write beside a variable of a sweep or of a history."""
    return VARIABLES.get(name, name.replace("_", " "))


def thousands(value: float) -> str:
    """A number of examples as the paper's axes have it: 500, 2k, 1M, ∞."""
    if math.isinf(value):
        return "∞"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def label_S(sparsity: float | tuple[float, ...]) -> str:
    """A sparsity for a text, or the range of those of features."""
    if isinstance(sparsity, tuple):
        return f"{min(sparsity):.3g} to {max(sparsity):.3g}"
    return f"{sparsity:g}"


def label_T(value: float) -> str:
    """``T = 1,000``, or ``T = ∞``."""
    return "T = ∞" if math.isinf(value) else f"T = {int(value):,}"


def hue_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Colours for ``count`` values of one quantity, dark to light, none too near to the ground."""
    low, high = (0.25, 1.0) if on_dark() else (0.0, 0.82)
    where = np.linspace(low, high, count) if count > 1 else np.array([low])
    return [tuple(row) for row in mpl.colormaps["viridis"](where)]
