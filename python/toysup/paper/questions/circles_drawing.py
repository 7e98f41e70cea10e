"""What becomes of a few examples: shares of outcomes against T, and an embedding of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import paint, whole_figure
from toysup.plot._parts.vectors import draw_panel

__all__ = ["Embedding", "circles"]

# Neither blue nor red, which stand for features and examples; hatches for print in black.
_FILLS = (("#1b7837", ""), ("#af8dc3", "//"), ("#e7d4e8", ".."), ("#d9d9d9", "xx"))
_MAX_PANELS = 6


@dataclass(frozen=True)
class Embedding:
    """The hidden vectors of a run's examples, shape (T, 2), and what to say about them."""

    hidden: Floats
    radii: Sequence[float]
    title: str
    note: str


def circles(
    counts: Mapping[str, Mapping[int, int]], embeddings: Sequence[Embedding], heading: str
) -> Figure:
    """Stacked bars of outcomes against T, above examples of embeddings.

    Parameters
    ----------
    counts : mapping of str to mapping of int to int
        Number of runs of each outcome, from below to above, at each T.
    embeddings : sequence of Embedding
        At most six are drawn.
    heading : str
        What stands above the embeddings.

    Returns
    -------
    Figure
        Its first Axes has the bars, the others an embedding each.
    """
    shown = list(embeddings[:_MAX_PANELS])
    with whole_figure((7.4, 4.6), None) as figure:
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.35, 1.0))
        _bars(above.subplots(), counts)
        panels = below.subplots(1, max(len(shown), 1), squeeze=False)[0]
        below.suptitle(heading, x=0.01, ha="left", size="medium")
        for ax, embedding in zip(panels, shown, strict=False):
            _embedding(ax, embedding)
    assert isinstance(figure, Figure)
    return figure


def _bars(ax: Axes, counts: Mapping[str, Mapping[int, int]]) -> None:
    """A bar for each T, from 0 to 1, with the share in each part that has room for it."""
    T = sorted({t for of_T in counts.values() for t in of_T})
    totals = np.array([sum(of_T.get(t, 0) for of_T in counts.values()) for t in T])
    below = np.zeros(len(T))
    handles = []
    for (outcome, of_T), (color, hatch) in zip(counts.items(), _FILLS, strict=True):
        share = np.array([of_T.get(t, 0) for t in T]) / np.maximum(totals, 1)
        look: dict[str, Any] = {"facecolor": color, "edgecolor": paint("paper"), "hatch": hatch}
        ax.bar(np.arange(len(T)), share, 0.8, bottom=below, label=outcome, **look)
        for place, (part, start) in enumerate(zip(share, below, strict=True)):
            if part >= 0.07:
                _share(ax, place, start + part / 2, part)
        handles.append(Patch(label=outcome, **look))
        below += share
    ax.set_xticks(np.arange(len(T)), [f"{t}" for t in T])
    ax.tick_params(axis="x", length=0)
    ax.set(xlabel="training examples T", ylabel="share of runs", ylim=(0, 1))
    ax.set_xlim(-0.5, len(T) - 0.5)
    ax.legend(handles=handles[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _share(ax: Axes, x: float, y: float, share: float) -> None:
    """A percentage on a light ground, so that hatches do not disturb it."""
    ground = {"boxstyle": "round,pad=0.12", "facecolor": paint("paper"), "linewidth": 0}
    text = f"{100 * share:.0f} %"
    ax.text(x, y, text, ha="center", va="center", size="x-small", color=paint("ink"), bbox=ground)


def _embedding(ax: Axes, embedding: Embedding) -> None:
    """The vectors in red, and a thin circle through those of each radius."""
    length = np.hypot(*embedding.hidden.T)
    draw_panel(ax, embedding.hidden, "examples", float(length.max(initial=0.0)))
    for radius in embedding.radii:
        circle = Circle(
            (0, 0), radius, fill=False, edgecolor=paint("muted"), linewidth=0.7, linestyle=":"
        )
        ax.add_patch(circle)
    ax.set_title(embedding.title, size="small")
    ax.set_xlabel(embedding.note, size="x-small", color=paint("ink"))
