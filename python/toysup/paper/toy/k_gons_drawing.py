"""Where gradient descent ends if one feature is on at a time, and its losses on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toysup.plot._parts.style import hue_colors, paint, whole_figure
from toysup.plot._parts.vectors import draw_panel

if TYPE_CHECKING:
    from toysup.paper.toy.k_gons import Descent

__all__ = ["k_gons"]

Groups = Mapping[str, Sequence["Descent"]]
_MAX_PANELS = 6
# Of each end, so many runs have a curve.
_MAX_CURVES = 8


def k_gons(groups: Mapping[int, Groups], drawn: int, levels: Mapping[str, float]) -> Figure:
    """Losses of all ends against c; for one c, losses during training and a model of each end.

    Parameters
    ----------
    groups : mapping
        By the number of features c and the name of the end, the descents.
    drawn : int
        The c whose curves and models are drawn.
    levels : mapping of str to float
        Losses of its critical points, by their names.

    Returns
    -------
    Figure
        Its first Axes has the ends, its second the curves, the others a model each.
    """
    shown = list(groups[drawn].items())[:_MAX_PANELS]
    colors = hue_colors(len(shown))
    with whole_figure((7.4, 5.0), None) as figure:
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.75, 1.0))
        left, right = above.subplots(1, 2, width_ratios=(1.0, 1.15))
        _ends(left, groups)
        _curves(right, shown, colors, levels)
        right.set_title(f"c = {drawn}, with the losses of the formula", loc="left")
        panels = below.subplots(1, _MAX_PANELS, squeeze=False)[0]
        longest = max(float(np.hypot(*some[0].W).max()) for _, some in shown)
        for ax, (name, some) in zip(panels, shown, strict=False):
            draw_panel(ax, some[0].W.T, "features", longest)
            ax.set_title(name, size="small")
            ax.set_xlabel(f"{len(some)} runs", size="x-small", color=paint("ink"))
        for ax in panels[len(shown) :]:
            ax.set_visible(False)
    assert isinstance(figure, Figure)
    return figure


def _ends(ax: Axes, groups: Mapping[int, Groups]) -> None:
    """A dot for every end of each c, its area by the number of runs; a dash for the formula."""
    formulas = [end[0].formula for ends in groups.values() for end in ends.values()]
    gap = (
        0.035 * float(np.nanmax(formulas) - np.nanmin(formulas))
        if np.isfinite(formulas).any()
        else 0.0
    )
    for x, ends in enumerate(groups.values()):
        total = sum(map(len, ends.values()))
        last = -np.inf
        for name, some in ends.items():
            known = np.isfinite(some[0].formula)
            losses = np.array([one.loss for one in (some[:1] if known else some)])
            if known:
                y = some[0].formula
                ax.plot([x - 0.3, x + 0.1], [y, y], color=paint("ink"), linewidth=0.8, zorder=3)
                last = max(y, last + gap)  # a name does not stand on that of the end below
                ax.annotate(name, (x + 0.14, last), size="x-small", va="center", color=paint("ink"))
            size = 8 + 120 * (len(some) if known else 1) / total
            color = paint("features" if known else "orange")
            ax.scatter(np.full(losses.size, x - 0.1), losses, s=size, color=color, alpha=0.6)
    ax.set_xticks(range(len(groups)), [str(c) for c in groups])
    ax.set(xlim=(-0.6, len(groups) - 0.3), xlabel="features c", ylabel="loss at the end")
    marks = [
        Line2D([], [], color=paint("ink"), linewidth=0.8, label="formula"),
        *(
            Line2D([], [], linestyle="none", marker="o", color=paint(color), label=label, alpha=0.6)
            for color, label in (("features", "k-gons"), ("orange", "irregular"))
        ),
    ]
    ax.legend(handles=marks, loc="lower right")


def _curves(
    ax: Axes,
    shown: Sequence[tuple[str, Sequence[Descent]]],
    colors: Sequence[tuple[float, float, float, float]],
    levels: Mapping[str, float],
) -> None:
    """Loss against updates of the first runs of each end, and the losses of the formula."""
    for (name, some), color in zip(shown, colors, strict=True):
        for place, one in enumerate(sorted(some, key=lambda one: one.seed)[:_MAX_CURVES]):
            label = name if place == 0 else f"_{name}"
            ax.plot(one.steps[1:], one.losses[1:], color=color, linewidth=0.9, label=label)
    ax.set_xscale("log")
    for name, value in levels.items():
        ax.axhline(value, color=paint("muted"), linewidth=0.6, linestyle=":", zorder=0)
        at = ("axes fraction", "data")
        style: dict[str, Any] = {"size": "x-small", "va": "center", "color": paint("muted")}
        ax.annotate(name, (1.01, value), xycoords=at, **style)
    if levels:
        ax.set_ylim(0.9 * min(levels.values()), 1.6 * max(levels.values()))
    ax.set(xlabel="updates", ylabel="loss")
