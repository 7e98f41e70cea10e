"""Sorted D* of a network on digits, beside its controls, and how well each finds changed labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toysup.plot._parts.curves import line_at
from toysup.plot._parts.style import MARKERS, paint, whole_figure

if TYPE_CHECKING:
    from toysup.paper.questions.digits import Network

__all__ = ["digits"]

_COLORS = ("examples", "muted", "features")
_MAX_PANELS = 6


def digits(groups: Mapping[int, Sequence[Network]], sources: Mapping[str, str]) -> Figure:
    """Sorted D* of the first network of each size, above the AUCs of all networks.

    Parameters
    ----------
    groups : mapping of int to sequence of Network
        By the number of hidden units.
    sources : mapping of str to str
        By where D* was taken, what it is called.

    Returns
    -------
    Figure
        Its first Axes have the curves of one size each, the last one the AUCs.
    """
    shown = list(groups.items())[:_MAX_PANELS]
    with whole_figure((7.4, 5.4), None) as figure:
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.2, 1.0))
        panels = above.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for ax, (hidden, some) in zip(panels, shown, strict=True):
            _curves(ax, some[0], sources)
            ax.set_title(f"{hidden} hidden units\n{some[0].kept:.0%} of the changed labels kept")
        panels[0].set_ylabel("D* / (rank / T)")
        panels[0].legend(loc="upper left")
        above.supxlabel("examples, sorted by each D*, as a share", size="medium")
        _aucs(below.subplots(), groups, sources)
    assert isinstance(figure, Figure)
    return figure


def _curves(ax: Axes, one: Network, sources: Mapping[str, str]) -> None:
    """Sorted D*; a tick at the foot for each changed label, by D* of the trained network."""
    T = len(one.changed)
    place = (np.arange(T) + 0.5) / T
    for (source, label), color in zip(sources.items(), _COLORS, strict=True):
        D = np.sort(one.maximal[source]) / (one.rank[source] / T)
        ax.plot(place, D, color=paint(color), label=label, linewidth=1.2)
    order = np.argsort(one.maximal["trained"], kind="stable")
    ticks = place[one.changed[order]]
    look: dict[str, Any] = {"marker": "|", "markersize": 5, "markeredgewidth": 0.5}
    look |= {"linestyle": "none", "color": paint("ink"), "transform": ax.get_xaxis_transform()}
    ax.plot(ticks, np.full(ticks.size, 0.03), label="changed labels", **look)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.05)
    line_at(ax, 1.0)


def _aucs(ax: Axes, groups: Mapping[int, Sequence[Network]], sources: Mapping[str, str]) -> None:
    """The AUC of each network as a faint mark, and their mean."""
    names = {**sources, "loss": "loss of the given label"}
    shift = np.linspace(-0.24, 0.24, len(names))
    for i, (source, label) in enumerate(names.items()):
        color = paint((*_COLORS, "green")[i])
        marker = MARKERS[i]
        for x, some in enumerate(groups.values()):
            aucs = np.array([one.auc(source) for one in some])
            at = np.full(aucs.size, x + shift[i])
            ax.plot(at, aucs, color=color, marker=marker, linestyle="none", markersize=3, alpha=0.4)
            name = label if x == 0 else f"_{label}"
            mean = [np.nanmean(aucs)]
            ax.plot(at[:1], mean, color=color, marker=marker, linestyle="none", label=name)
    ax.set_xticks(range(len(groups)), [f"{hidden}" for hidden in groups])
    ax.set(xlabel="hidden units", ylabel="AUC for changed labels", xlim=(-0.5, len(groups) - 0.5))
    line_at(ax, 0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
