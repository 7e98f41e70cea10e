"""What a run stores: every example by its class, and the shares of the classes against T."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from toysup import regime as measures
from toysup._means import nan_mean
from toysup._run.model import Model
from toysup._stream.batch import SparseBatch
from toysup.plot._parts.limits import mark_beyond
from toysup.plot._parts.source import (
    Floats,
    Source,
    Trained,
    only_run,
    open_weights,
    require_examples,
)
from toysup.plot._parts.style import canvas, label_T, paint, thousands
from toysup.regime import CLASSES, Regime

__all__ = ["regime", "regimes"]

# Reds are examples, blue is a feature. Paint, marker, and hatch of what has an area.
_STYLE = {
    "single": ("examples", "o", ""),
    "partial": ("coral", "v", "\\\\\\"),
    "cluster": ("salmon", "s", "///"),
    "feature": ("features", "^", "..."),
    "none": ("rule", "x", ""),
}
# More dots than this are drawn as pixels also in a vector graphic.
_RASTER_FROM = 300
# Clusters of more examples than this are counted by powers of two.
_MAX_SIZES = 40


def regime(
    source: Trained, *, X: object = None, axes: npt.ArrayLike | None = None, **select: Any
) -> Any:
    """Draw what one run or model stores, as :func:`toysup.regime.classify` says.

    Four panels: the hidden vectors of the examples by class; the loss of every example in rising
    order, beside that of fresh ones, which weights do not have; how much of each feature's loss the
    hidden vectors remove, against the number of examples that have the feature; and how many
    examples are stored alone, and clusters of each size.

    Parameters
    ----------
    source : Run, Model, (W, b), SweepResult, str or PathLike
        A run, weights, a sweep, or the path of a store or of a run's file.
    X : array of shape (T, n), sparse array or SparseBatch, optional
        Examples of a run or weights, by default a run's own; weights need them.
    axes : array of Axes, optional
        Four Axes. By default those of a new figure.
    **select
        One value of every axis of the sweep, such as ``T=100``. Of several seeds the run of lowest
        train loss is drawn.

    Returns
    -------
    ndarray of Axes
        Shape (2, 2). For m > 2 the first panel has the plane in which the hidden vectors are
        longest.

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If no run is finished, weights have no examples, or the selection leaves several T or values
        of another axis.
    """
    given = open_weights(source, X, select)
    if given is None:
        run = only_run(cast(Source, source), select)
        model, batch, T = run.model, run.training_set(), run.config.T
        found = measures.classify(run)
    else:
        model, batch = given[0], require_examples(given[1])
        found, T = measures.classify(cast(Any, source), batch), len(batch)
    with canvas((7.0, 6.0), axes, rows=2, columns=2) as panels:
        _hidden(panels[0, 0], model.hidden(batch), found, label_T(T))
        _losses(panels[0, 1], found)
        _features(panels[1, 0], model, batch, found)
        _sizes(panels[1, 1], found)
    return panels


def _hidden(ax: Axes, hidden: Floats, found: Regime, number: str) -> None:
    """Tips of the hidden vectors, those of stored examples above the others."""
    V = _in_plane(hidden)
    for name in reversed(CLASSES):
        of_class = V[found.label == name]
        _dots(ax, of_class[:, 0], of_class[:, 1], name, f"{len(of_class):,} {name}")
    scale = 1.12 * float(np.max(np.abs(V), initial=0.0)) or 1.0
    ax.set(xlim=(-scale, scale), ylim=(-scale, scale), xticks=[], yticks=[])
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set(visible=True, color=paint("rule"), linewidth=0.6)
    plane = "" if hidden.shape[1] <= 2 else ", longest two dimensions"
    ax.set_title(f"hidden vectors of {number} examples{plane}")
    shown = [k for k in ax.collections if len(np.asarray(k.get_offsets()))]
    ax.legend(
        handles=shown[::-1],
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(CLASSES),
        columnspacing=0.9,
        handletextpad=0.1,
    )


def _in_plane(H: Floats) -> Floats:
    """Hidden vectors, shape (T, m), as points in the plane in which they are longest."""
    if H.shape[1] > 2:
        return np.asarray(H @ np.linalg.svd(H, full_matrices=False)[2][:2].T)
    return np.pad(H, ((0, 0), (0, 2 - H.shape[1])))


def _dots(ax: Axes, x: Floats, y: Floats, name: str, label: str) -> None:
    """Examples of a class."""
    kind, marker, _ = _STYLE[name]
    unfilled = marker == "x"
    ax.scatter(
        x,
        y,
        s=float(np.clip(120 / max(len(x), 1) ** 0.4, 7, 26)) * (0.6 if unfilled else 1.0),
        marker=marker,
        color=paint(kind),
        edgecolors=None if unfilled else paint("ink"),
        linewidths=0.7 if unfilled else 0.3,
        label=label,
        rasterized=len(x) > _RASTER_FROM,
        zorder=2 if name == "none" else 3,
    )


def _losses(ax: Axes, found: Regime) -> None:
    """The loss of every training example in rising order, and that of fresh examples."""
    order = np.argsort(found.loss, kind="stable")
    at = (0.5 + np.arange(len(order))) / len(order)
    for name in reversed(CLASSES):
        here = found.label[order] == name
        _dots(ax, at[here], found.loss[order][here], name, name)
    top = max(1.15, 1.1 * float(found.loss.max()))
    fresh = np.sort(found.fresh_loss)
    if len(fresh):  # not where a data set has no examples left
        top = max(top, 1.1 * float(np.quantile(fresh, 0.9)))
        _fresh(ax, fresh, top)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.03 * top, top))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="examples, in order of their loss", ylabel="loss of an example")
    ax.set_title(f"{found.retrieved:.0%} of the examples are retrieved")


def _fresh(ax: Axes, fresh: npt.NDArray[np.float64], top: float) -> None:
    """The losses of fresh examples in rising order, in an axes that ends at ``top``."""
    at = (0.5 + np.arange(len(fresh))) / len(fresh)
    ax.plot(at, fresh, color=paint("ink"), linewidth=1.1, label="fresh")
    height = float(np.median(fresh))
    text = "fresh examples" + (f", up to {fresh[-1]:,.3g}" if fresh[-1] > top else "")
    ax.annotate(text, (0.02, height), (0, 3), textcoords="offset points", color=paint("ink"))


def _features(ax: Axes, model: Model, batch: SparseBatch, found: Regime) -> None:
    """What hidden vectors remove of the loss of each feature that occurs."""
    count = np.bincount(batch.indices, minlength=batch.n)
    gain = measures.feature_gain(model, batch)
    # Counts are whole numbers: a sideways scatter, which is the same each time, parts the dots.
    scatter = np.modf(0.618 * np.arange(batch.n))[0] - 0.5
    x = count + 0.7 * scatter
    for known, marker, face, size in (
        (False, "o", "none", 7.0),
        (True, "^", paint("features"), 26.0),
    ):
        here = (found.represented == known) & (count > 0)
        ax.scatter(
            x[here],
            gain[here],
            s=size,
            marker=marker,
            facecolors=face,
            edgecolors=paint("ink") if known else paint("features"),
            linewidths=0.4,
            alpha=1.0 if known else 0.8,
            label=f"{np.count_nonzero(here):,} {'represented' if known else 'other features'}",
            rasterized=bool(here.sum() > _RASTER_FROM),
        )
    ax.axhline(0.0, color=paint("muted"), linewidth=0.7, zorder=1)
    ax.set_ylim(min(-0.1, max(-0.5, 1.1 * float(gain.min()))), 1.06)
    mark_beyond(ax, x[count > 0], gain[count > 0], paint("features"), numbers=".0%")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="training examples with the feature", ylabel="loss of the feature removed")
    ax.legend(loc="best", handletextpad=0.1)


def _sizes(ax: Axes, found: Regime) -> None:
    """How many are stored alone, and clusters of each size, or sizes up to each power of two."""
    ax.set(xlabel="examples that are stored alike", ylabel="groups of so many")
    if not len(found.size):
        ax.set(xticks=[], yticks=[])
        ax.text(
            0.5,
            0.5,
            "no example is stored",
            ha="center",
            transform=ax.transAxes,
            color=paint("muted"),
        )
        return
    largest = int(found.size[0])
    last = np.arange(1, max(largest, 5) + 1)
    if largest > _MAX_SIZES:  # bars would be thinner than a pixel
        last = 2 ** np.arange(int(largest - 1).bit_length() + 1)
    first = np.append(1, last[:-1] + 1)
    at = np.arange(1, len(last) + 1)
    below = np.zeros(len(last))
    for name in ("single", "partial", "cluster"):
        height = np.zeros(len(last))
        if name == "cluster":
            height += np.bincount(
                np.searchsorted(last, found.size[found.size > 1]), None, len(last)
            )
        else:
            height[0] = found.counts[name]
        kind, _, hatch = _STYLE[name]
        ax.bar(
            at,
            height,
            0.8,
            bottom=below,
            color=paint(kind),
            edgecolor=paint("ink"),
            linewidth=0.5,
            hatch=hatch,
            label=name,
        )
        below += height
    ax.set_xlim(0.4, len(last) + 0.6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    if largest > _MAX_SIZES:
        names = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in zip(first, last, strict=True)]
        ax.set_xticks(at, names, rotation=40, ha="right", size="x-small")
    if largest > 1:
        text = f"{found.sharing:.0%} of pairs share a feature ({found.chance:.0%} by chance)"
        ax.set_title(text, size="small")


def regimes(found: Mapping[float, Sequence[Regime]]) -> Figure:
    """Draw the shares of the classes against T, and below them how far that is memory.

    Parameters
    ----------
    found : mapping of T to sequence of Regime
        Those of the runs of each T.

    Returns
    -------
    Figure
        Its first Axes has the bars, the second the lines, means over the runs of a T.
    """
    T = sorted(found)
    with canvas((7.0, 5.0), rows=2) as panels:
        above, below = panels[:, 0]
        _shares(above, [found[t] for t in T])
        _lines(below, [found[t] for t in T])
        for ax in (above, below):
            ax.set_xlim(-0.55, len(T) - 0.45)
            ax.set_xticks(range(len(T)), [thousands(t) for t in T])
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        above.tick_params(axis="x", length=0)
        below.set_xlabel("training examples T")
    figure = above.figure
    assert isinstance(figure, Figure)
    return figure


def _shares(ax: Axes, runs: Sequence[Sequence[Regime]]) -> None:
    """A bar for each T with the mean share of each class."""
    below = np.zeros(len(runs))
    for name in CLASSES:
        share = np.array([np.mean([np.mean(r.label == name) for r in of_T]) for of_T in runs])
        kind, _, hatch = _STYLE[name]
        ax.bar(
            range(len(runs)),
            share,
            0.82,
            bottom=below,
            color=paint(kind),
            edgecolor=paint("paper"),
            hatch=hatch,
            linewidth=0.5,
            label={"none": "not stored"}.get(name, name),
        )
        below += share
    ax.set(ylim=(0, 1), ylabel="training examples")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)


def _lines(ax: Axes, runs: Sequence[Sequence[Regime]]) -> None:
    """Three shares and what chance would give, mean over runs, with a faint dot for each."""
    kinds = (
        ("sharing", "pairs in a cluster\nthat share a feature", paint("examples"), "s", "-"),
        ("chance", "all pairs of these\n(chance)", paint("muted"), "", ":"),
        ("retrieved", "examples retrieved", paint("green"), "o", "-"),
        (
            "fresh_stored",
            "fresh examples that\nwould count as stored",
            paint("features"),
            "^",
            "--",
        ),
    )
    for name, label, color, marker, style in kinds:
        values = [np.array([getattr(r, name) for r in of_T], dtype=np.float64) for of_T in runs]
        if marker:
            at = np.repeat(np.arange(len(runs)), [len(v) for v in values])
            dots = np.concatenate(values)
            ax.plot(at, dots, "o", markersize=2.4, color=color, alpha=0.4, label=f"_{name} seeds")
        mean = np.array([float(nan_mean(v)) for v in values])
        if name == "chance":  # of nothing, where there are no clusters
            mean[[not any(np.isfinite(r.sharing) for r in of_T) for of_T in runs]] = np.nan
        ax.plot(
            range(len(runs)),
            mean,
            color=color,
            marker=marker,
            markersize=4.2,
            linestyle=style,
            label=label,
        )
    ax.set_ylim(-0.04, 1.04)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.8)
