"""Memorization scores: their histograms, and how well the measures of one run tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toysup.paper._runs import mean_and_spread
from toysup.plot._parts.curves import line_at
from toysup.plot._parts.style import MARKERS, label_T, paint, whole_figure

if TYPE_CHECKING:
    from toysup.paper.questions.memorization import Scores

__all__ = ["memorization"]

_COLORS = ("examples", "salmon", "orange", "features", "violet", "green")
_MAX_PANELS = 6


def memorization(
    found: Sequence[Scores], names: Mapping[str, str], controls: Sequence[str]
) -> Figure:
    """Histograms of the scores of each T, above rank correlations and the shape of the histograms.

    Parameters
    ----------
    found : sequence of Scores
        By rising T; at most six have a histogram.
    names : mapping of str to str
        What each measure is called in the legend.
    controls : sequence of str
        Measures that need no training.

    Returns
    -------
    Figure
        Its first Axes have a histogram each, the last three the rest.
    """
    shown = list(found[:_MAX_PANELS])
    with whole_figure((8.6, 5.6), None) as figure:
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.0, 1.7))
        for ax, one in zip(above.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _histogram(ax, one)
        above.supxlabel("memorization score", size="medium")
        panels = below.subplots(1, 3)
        _agreement(panels[0], found, names, controls)
        _means(panels[1], found, names, controls)
        _shape(panels[2], found)
        for ax in panels:
            ax.set_xscale("log")
            T = [one.T for one in found]
            ax.set_xticks(T, [f"{t:,}" for t in T])
            ax.set_xticks([], minor=True)
            ax.set_xlabel("T, examples of a half")
        handles, texts = panels[0].get_legend_handles_labels()
        below.legend(handles, texts, loc="outside lower center", ncols=4)
    assert isinstance(figure, Figure)
    return figure


def _histogram(ax: Axes, one: Scores) -> None:
    """Scores in 25 bins, at least from 0 to 1."""
    known = one.known
    edges = np.linspace(min(-0.1, known.min()), max(1.0, known.max()), 26)
    ax.hist(known, edges.tolist(), color=paint("examples"), alpha=0.75, linewidth=0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_title(f"{label_T(one.T)}\n{known.size:,} examples", size="small")


def _looks(
    names: Mapping[str, str], controls: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label, colour and marker of each measure: those of a trained model have a colour."""
    trained = 0
    for i, (name, label) in enumerate(names.items()):
        look = {"label": label, "marker": MARKERS[i % len(MARKERS)], "markersize": 3.5}
        if name in controls:
            look |= {"color": paint("muted"), "linestyle": ":", "linewidth": 0.8}
        else:
            look |= {"color": paint(_COLORS[trained % len(_COLORS)]), "linewidth": 1.1}
            trained += 1
        yield name, look


def _agreement(
    ax: Axes, found: Sequence[Scores], names: Mapping[str, str], controls: Sequence[str]
) -> None:
    """The mean over runs of each measure's rank correlation, with its standard deviation."""
    T = np.array([one.T for one in found], dtype=np.float64)
    shift = np.linspace(-0.08, 0.08, len(names))
    for i, (name, look) in enumerate(_looks(names, controls)):
        mean, spread = zip(*(mean_and_spread(one.measures[name][0]) for one in found), strict=True)
        ax.errorbar(T * np.exp(shift[i]), mean, spread, elinewidth=0.6, **look)
    _ceiling(ax, found)
    ax.set_ylabel("rank correlation with the score")
    ax.set_title("measures of one run", loc="left")


def _means(
    ax: Axes, found: Sequence[Scores], names: Mapping[str, str], controls: Sequence[str]
) -> None:
    """The rank correlation of each measure's mean over runs."""
    for name, look in _looks(names, controls):
        ax.plot([one.T for one in found], [one.means[name] for one in found], **look)
    _ceiling(ax, found)
    ax.set_title("their means over runs", loc="left")


def _ceiling(ax: Axes, found: Sequence[Scores]) -> None:
    """The rank correlation of the scores with themselves, by other runs."""
    T, reliability = [one.T for one in found], [one.reliability for one in found]
    look: dict[str, Any] = {"color": paint("ink"), "linewidth": 0.8, "linestyle": "--"}
    ax.plot(T, reliability, label="scores by even and odd runs", **look)
    line_at(ax, 0.0)
    ax.set_ylim(-1.0, 1.0)


def _shape(ax: Axes, found: Sequence[Scores]) -> None:
    """Sarle's coefficient with its interval, and the p of one hump."""
    T = [one.T for one in found]
    value, low, high = np.array([one.shape for one in found]).T
    bars = [np.maximum(value - low, 0.0), np.maximum(high - value, 0.0)]
    look: dict[str, Any] = {"marker": "o", "markersize": 3.5, "color": paint("ink")}
    ax.errorbar(T, value, bars, elinewidth=0.8, label="Sarle's coefficient", **look)
    look |= {"marker": "s", "color": paint("orange"), "linewidth": 0.9}
    ax.plot(T, [one.humps[0] for one in found], label="p of one hump", **look)
    line_at(ax, 5 / 9)
    ax.set_ylim(0.0, 1.35)
    ax.set_yticks([0.0, 0.5, 1.0])
    ax.set_title("two humps?", loc="left")
    ax.legend(loc="upper right")
