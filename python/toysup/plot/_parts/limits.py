"""Where an axis ends, what is said of what lies beyond, and a scale on which nothing does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import paint

__all__ = [
    *("LINEAR", "MAX_BEYOND", "loss_limits", "mark_beyond", "mark_curves", "scale_loss"),
    *("seed_lines", "squeeze", "stretch"),
]

# Up to this distance from 1 the loss axis is linear, beyond it logarithmic: the paper's figure
# ends at 1.025.
LINEAR = 0.03
# Decades that the linear part is as high as, on either side of 1.
_HEIGHT = 1.6
# More values beyond an axis than this cannot all be written at its edge.
MAX_BEYOND = 6
# From this share of the width on, a value stands to the left of its triangle.
_NEAR_END = 0.9


def loss_limits(losses: Floats) -> tuple[float, float]:
    """Ends of a loss axis that shows the line at 1 and most losses well.

    A loss counts as far above when it lies more than 3.5 times as far from 1 as three quarters of
    all losses do.
    """
    known = losses[np.isfinite(losses)]
    away = np.abs(known - 1.0)
    low = min(1.0, float(known.min()))
    high = max(1.0, float(known.max()))
    typical = 1.0 + 3.5 * float(np.quantile(away, 0.75))
    if high > 1.3 * (typical - 1.0) + 1.0:
        high = max(typical, 1.0 + 1e-12)
    margin = 0.06 * (high - low) or 1e-3
    return low - margin, high + margin


def mark_beyond(
    ax: Axes,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    color: Any,
    *,
    numbers: str | None = ",.4g",
    **style: Any,
) -> None:
    """Put a triangle at the edge for each value that the axis leaves out, with the value beside it.

    Of more than six values beyond an edge only the farthest is written. ``numbers`` is the format,
    or None to write none.
    """
    places, values = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    ax.get_xlim()  # settled by the values themselves
    low, high = ax.get_ylim()
    look: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0, "linestyle": "none", **style}
    look |= {"color": color, "clip_on": False, "zorder": 6, "transform": ax.get_xaxis_transform()}
    look |= {"scalex": False, "scaley": False}
    for name, sign, edge in (("_above", 1, 0.965), ("_below", -1, 0.035)):
        out = np.flatnonzero(values > high if sign > 0 else values < low)
        if not out.size:
            continue
        out = out[np.argsort(places[out], kind="stable")]
        marker = "^" if sign > 0 else "v"
        ax.plot(places[out], np.full(out.size, edge), marker=marker, label=name, **look)
        if numbers is None:
            continue
        if out.size > MAX_BEYOND:
            out = out[[int(np.argmax(sign * values[out]))]]
        taken = Counter(getattr(text, "xy", None) for text in ax.texts)
        across = (ax.transData - ax.transAxes).transform([(x, low) for x in places[out]])[:, 0]
        for k, i in enumerate(out):
            row = k % 2 + 2 * taken[places[i], edge]  # neighbours and other curves do not meet
            side = "right" if across[k] > _NEAR_END else "left"
            text = ax.annotate(
                format(values[i], numbers),
                (places[i], edge),
                xycoords=ax.get_xaxis_transform(),
                xytext=(4 if side == "left" else -4, -sign * 9 * row),
                textcoords="offset points",
                ha=side,
                va="center",
                size="x-small",
                color=color,
                zorder=5,
            )
            text.set_path_effects([withStroke(linewidth=2.0, foreground=paint("paper"))])


def seed_lines(ax: Axes) -> list[Line2D]:
    """The dots of single seeds that :func:`toysup.plot._parts.curves.curve` drew beside means."""
    names = [(line, str(line.get_label())) for line in ax.lines]
    return [line for line, name in names if name.startswith("_") and name.endswith(" seeds")]


def mark_curves(ax: Axes, means: Iterable[tuple[npt.ArrayLike, npt.ArrayLike, Any]]) -> None:
    """Mark what the axis leaves out of curves, given as (x, y, color), and of their seeds."""
    for line in seed_lines(ax):
        faint: Any = {"numbers": None, "markersize": 3, "alpha": line.get_alpha()}
        mark_beyond(ax, line.get_xdata(), line.get_ydata(), line.get_color(), **faint)
    for x, y, color in means:
        mark_beyond(ax, x, y, color)


def scale_loss(ax: Axes, losses: Sequence[float] | Floats) -> None:
    """A loss axis that holds all losses: linear near 1, logarithmic in the distance from 1 beyond.

    The linear part is shaded.
    """
    known = np.append(np.asarray(losses, dtype=np.float64), 1.0)
    known = known[np.isfinite(known)]
    low = float(known.min()) - 0.1 * LINEAR
    high = 1.0 + 1.5 * max(float(known.max()) - 1.0, LINEAR)
    ax.set_yscale("function", functions=(squeeze, stretch))
    ax.set_ylim(low, high)
    near = [0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03]
    far = [0.0, 0.5, 0.9, 1.1, 2.0, *(10.0**k for k in range(1, 16))]
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in near + far if low <= tick <= high]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ends = max(low, 1.0 - LINEAR), 1.0 + LINEAR
    ax.axhspan(*ends, color=paint("ink"), alpha=0.04, linewidth=0, label="_linear")
    ax.set_ylabel("test loss (shaded: linear)")


def squeeze(loss: Floats) -> Floats:
    """Losses to heights: decades of the distance from 1, and a linear part."""
    away = (np.asarray(loss, dtype=np.float64) - 1.0) / LINEAR
    size = np.abs(away)
    beyond = _HEIGHT + np.log10(np.maximum(size, 1.0))
    height: Floats = np.where(size <= 1.0, _HEIGHT * away, np.sign(away) * beyond)
    return height


def stretch(height: Floats) -> Floats:
    """The inverse of :func:`squeeze`."""
    height = np.asarray(height, dtype=np.float64)
    size = np.abs(height)
    beyond = np.sign(height) * 10.0 ** (np.maximum(size, _HEIGHT) - _HEIGHT)
    loss: Floats = 1.0 + LINEAR * np.where(size <= _HEIGHT, height / _HEIGHT, beyond)
    return loss
