"""Where test loss begins to rise, against all that may set the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from toysup.plot._parts.curves import line_at
from toysup.plot._parts.limits import mark_curves
from toysup.plot._parts.style import MARKERS, canvas, hue_colors, paint

if TYPE_CHECKING:
    from toysup.paper.questions.capacity import Curve, Law

__all__ = ["capacity"]

_LABELS = {
    "m": "hidden dimensions m",
    "n": "features n, with n (1 − S) held",
    "1/(1-S)": "1 / (1 − S), with n held",
    "steps*rate": "steps × learning rate",
}


def capacity(
    laws: Sequence[Law], decays: Sequence[Curve], level: float, *, axes: object = None
) -> npt.NDArray[np.object_]:
    """Draw test loss against T for each m, the law of each quantity, and the weight decays.

    Parameters
    ----------
    laws : sequence of Law
        Those that have no panel here are not drawn.
    decays : sequence of Curve
        Curves that differ in weight decay alone.
    level : float
        The test loss that is passed.
    axes : Axes, optional
        Where to draw, six; by default a new figure.

    Returns
    -------
    array of Axes, shape (2, 3)
    """
    named = {law.name: law for law in laws}
    with canvas((8.6, 5.0), axes, rows=2, columns=3) as panels:
        _losses(panels[0, 0], named["m"].curves if "m" in named else decays, level)
        places = [panels[0, 1], panels[0, 2], *panels[1, :2]]
        for ax, (name, label) in zip(places, _LABELS.items(), strict=True):
            ax.set_xlabel(label)
            if name in named:
                _law(ax, named[name])
        _decays(panels[1, 2], decays)
        for ax in [*places, panels[1, 2]]:
            ax.set_yscale("log")
            ax.margins(y=0.15)
            _ticks(ax.yaxis, *ax.get_ylim())
        for ax in (panels[0, 1], panels[1, 0]):
            ax.set_ylabel("T where test loss rises")
    return panels


def _ticks(axis: Axis, low: float, high: float) -> None:
    """Three to seven round numbers on a logarithmic axis."""
    for steps in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8)):
        values = [step * 10.0**k for k in range(8) for step in steps]
        ticks = [value for value in values if low <= value <= high]
        if len(ticks) >= 3:
            break
    axis.set_ticks(ticks, [f"{tick:,g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _losses(ax: Axes, curves: Sequence[Curve], level: float) -> None:
    """Mean test loss against T of each m, and each seed as a faint dot."""
    means = []
    for i, (c, color) in enumerate(zip(curves, hue_colors(len(curves)), strict=True)):
        T = sorted({T for of_T in c.losses.values() for T in of_T})
        every = np.array([[of_T.get(t, np.nan) for t in T] for of_T in c.losses.values()])
        style: dict[str, Any] = {"color": color, "marker": MARKERS[i % len(MARKERS)]}
        for row in every:
            ax.plot(T, row, linestyle="none", markersize=2.0, alpha=0.35, **style)
        mean = np.nanmean(every, axis=0)
        ax.plot(T, mean, markersize=3.5, label=f"{c.config.m}", **style)
        means.append((T, mean, color))
    line_at(ax, level)
    ax.set_xscale("log")
    _ticks(ax.xaxis, *ax.get_xlim())
    ax.set_xlabel("training examples T")
    ax.set_ylim(top=min(ax.get_ylim()[1], 1.0 + 8 * (level - 1.0)))
    mark_curves(ax, means)
    ax.set_ylabel("test loss")
    ax.legend(title="m", loc="upper left")


def _law(ax: Axes, law: Law) -> None:
    """The place of each curve, and the power law."""
    many = len(set(law.x)) < len(law.x)
    steps = sorted({c.config.steps for c in law.curves})
    for x, c in zip(law.x, law.curves, strict=True):
        if many:
            marker = MARKERS[steps.index(c.config.steps)]
            _place(ax, x, c, marker, f"{c.config.steps:,} steps")
        else:
            _place(ax, x, c)
    ends = np.array([law.x[0], law.x[-1]])
    line = law.factor * ends**law.exponent
    ax.plot(ends, line, color=paint("features"), linewidth=1.0, zorder=0)
    ax.set_xscale("log")
    ticks = sorted({float(f"{x:.3g}") for x in law.x})
    ax.set_xticks(ticks, [f"{x:,g}" for x in ticks])
    ax.set_xticks([], minor=True)
    text = f"exponent {law.exponent:.2f}\n({law.interval})".replace("-", "−")
    rising = law.exponent > 0
    ax.text(
        *(0.04 if rising else 0.96, 0.96),
        text,
        transform=ax.transAxes,
        ha="left" if rising else "right",
        va="top",
        color=paint("features"),
        size="small",
    )
    if many:
        names = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        ax.legend(names.values(), names.keys(), loc="lower left", handletextpad=0.2, borderpad=0)


def _place(ax: Axes, x: float, c: Curve, marker: str = MARKERS[0], label: str = "_place") -> None:
    """The place of a curve, and that of each of its seeds as a faint dot."""
    at = list(c.passing.values())
    look: dict[str, Any] = {"linestyle": "none", "color": paint("ink"), "marker": marker}
    ax.plot([x] * len(at), at, markersize=3.0, alpha=0.3, **look)
    ax.plot([x], [c.place], markersize=5.0, label=label, **look)


def _decays(ax: Axes, curves: Sequence[Curve]) -> None:
    """The place for each weight decay, which are no scale: one of them is 0."""
    for x, c in enumerate(curves):
        _place(ax, x, c)
    ax.set_xticks(range(len(curves)), [f"{c.config.weight_decay:g}" for c in curves])
    ax.set(xlim=(-0.5, len(curves) - 0.5), xlabel="weight decay")
