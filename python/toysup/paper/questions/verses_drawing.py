"""Test loss on verses beside the controls, and the gain of rare and frequent words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toysup.plot._parts.curves import line_at
from toysup.plot._parts.limits import mark_curves
from toysup.plot._parts.style import MARKERS, paint, whole_figure

if TYPE_CHECKING:
    from toysup.paper.questions.verses import Measured

__all__ = ["verses"]

_COLORS = ("examples", "features", "muted", "green", "ink")
_MAX_PANELS = 4
# Gains below this leave the axis.
_LOWEST = -2.0

# A group of words, its mean gain at each T, and how it is drawn.
Line = tuple[int, list[float], str]


def verses(found: Measured, sources: Mapping[str, str], bands: Sequence[int]) -> Figure:
    """Test loss over T above, and the gain of words by frequency below; a column for each m.

    Parameters
    ----------
    found : Measured
        What was measured on the runs.
    sources : mapping of str to str
        By source, what it is called.
    bands : sequence of int
        The smallest number of occurrences of each group of words.

    Returns
    -------
    Figure
        Its first row of Axes has the test losses, the second one the gains.
    """
    sizes = sorted({one.m for one in found.readings})[:_MAX_PANELS]
    lines = {m: _lines(found, bands, m) for m in sizes}
    bottom = _bottom([means for some in lines.values() for _, means, _ in some])
    with whole_figure((1.6 + 3.0 * len(sizes), 5.6), None) as figure:
        panels = figure.subplots(2, len(sizes), squeeze=False, sharex=True, sharey="row")
        for above, below, m in zip(*panels, sizes, strict=True):
            _losses(above, found, sources, m)
            _gains(below, list(found.of("words", m)), lines[m], bands, bottom)
            above.set_title(f"m = {m}")
            below.set_xlabel("T")
        panels[0, 0].set_ylabel("test loss")
        panels[1, 0].set_ylabel("gain of words in verses")
        for row in panels:
            row[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    assert isinstance(figure, Figure)
    return figure


def _losses(ax: Axes, found: Measured, sources: Mapping[str, str], m: int) -> None:
    """Mean test loss of each source, with every run as a faint mark."""
    for i, (source, label) in enumerate(sources.items()):
        groups = found.of(source, m)
        color, marker = paint(_COLORS[i]), MARKERS[i]
        means = [np.mean([one.test_loss for one in some]) for some in groups.values()]
        ax.plot(list(groups), means, color=color, marker=marker, markersize=4, label=label)
        for T, some in groups.items():
            losses = [one.test_loss for one in some]
            look: dict[str, Any] = {"linestyle": "none", "markersize": 3, "alpha": 0.4}
            ax.plot([T] * len(some), losses, color=color, marker=marker, **look)
    ax.set_xscale("log")
    line_at(ax, 1.0)


def _lines(found: Measured, bands: Sequence[int], m: int) -> list[Line]:
    """Group, mean gain at each T, and line style: in training verses, and dotted in fresh ones."""
    groups = found.of("words", m).values()
    return [
        (i, [float(np.mean([getattr(one, name)[i] for one in some])) for some in groups], style)
        for i in range(len(bands))
        for name, style in (("gain", "-"), ("fresh", ":"))
    ]


def _bottom(lines: Sequence[Sequence[float]]) -> float:
    """Where the axis of gains ends below, so that all but very low ones are on it."""
    low = min((gain for line in lines for gain in line if np.isfinite(gain)), default=0.0)
    return max(_LOWEST, min(0.0, low)) - 0.1


def _gains(
    ax: Axes, T: Sequence[int], lines: Sequence[Line], bands: Sequence[int], bottom: float
) -> None:
    """The gain of each group of words, in training verses (lines) and fresh ones (dotted)."""
    curves = []
    for i, means, style in lines:
        low = bands[i]
        end = "" if i + 1 == len(bands) else f" to {bands[i + 1] - 1}"
        label = f"{low}{end or ' or more'} times" if end != " to 1" else "once"
        color, shown = paint(_COLORS[i]), label if style == "-" else f"_{label}"
        ax.plot(T, means, style, color=color, label=shown, linewidth=1.4)
        curves.append((T, means, color))
    ax.plot([], [], ":", color=paint("ink"), label="in fresh verses")
    ax.set_ylim(bottom, 1.05)
    mark_curves(ax, curves)
    line_at(ax, 0.0)
