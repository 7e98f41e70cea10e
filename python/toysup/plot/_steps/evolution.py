"""How both dimensionalities came about: losses, norms and every vector's share over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from toysup.config.checks import as_int
from toysup.errors import short, unknown
from toysup.plot._parts.curves import line_at
from toysup.plot._parts.source import Floats, Source
from toysup.plot._parts.style import KINDS, MARKERS, VARIABLES, canvas, label_T, paint
from toysup.plot._parts.thin import outer_and_spread
from toysup.plot._steps.course import Course, open_course
from toysup.plot._steps.history import loss_axis, step_axis

__all__ = ["draw_losses", "evolution"]

# Lines of a panel, and how many of them stand out.
MAX_LINES = 400
_LARGEST = 8
# More marked vectors than this have no label of their own.
_MAX_LABELS = 8

# A label at the right edge: height, text and colour.
End: TypeAlias = tuple[float, str, str]


def evolution(
    source: Source,
    *,
    mark: Mapping[str, int | Sequence[int]] | None = None,
    axes: npt.ArrayLike | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw the losses, the norms and both dimensionalities of a run over the steps.

    The dimensionalities are those at the run's snapshots: of the features, the columns of W
    (blue), and of the hidden vectors of the training set (red), copies of repeated examples not
    counted. Eight of a kind are drawn strongly, those of largest dimensionality at the end or at
    any time, so that near misses (learnt, then dropped) are seen too; of the others at most 400,
    faintly. Dotted lines are at m / T, the share of each of T examples that divide the m
    dimensions evenly, and at 2/5, that of each of five features in a plane. The step axis is
    linear from 0 to 1 and logarithmic beyond. A diverged run is drawn as far as it is finite.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run that was trained with ``snapshots``, a sweep of such runs, or the path of either. Of
        several seeds the run of lowest train loss is drawn.
    mark : mapping, optional
        Numbers of the features and examples to point out, such as ``{"examples": [0, 7]}``. By
        default the examples that the training set repeats, the eight most frequent ones.
    axes : array of four Axes, optional
        Where to draw, from top to bottom; by default a new figure.
    **select
        One value of any axis of the sweep, such as ``T=1000``.

    Returns
    -------
    ndarray of Axes
        Shape (4,): losses, norms, features, examples. In the last two the vectors are
        LineCollections labelled "features" or "examples" (strong) and "_features" or "_examples"
        (faint); the marked ones are lines labelled as in the figure.

    Raises
    ------
    TypeError
        If the source, ``mark`` or the axes are something else.
    ValueError
        If the run has no snapshots, or ``mark`` names what the run does not have.
    """
    course = open_course(source, select)
    marked = _marked(mark, course)
    with canvas((6.4, 7.4), axes, rows=4) as panels:
        losses, norms, *shares = panels.ravel()
        draw_losses(losses, course)
        _norms(norms, course)
        for ax, name in zip(shares, KINDS, strict=True):
            _shares(ax, course, name, marked[name])
        for ax in panels.ravel()[:-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        config = course.run.config
        title = f"{label_T(config.T)}, m = {config.m}, n = {config.n:,}, seed = {config.seed}"
        losses.set_title(title, loc="left")
    drawn: npt.NDArray[np.object_] = panels.ravel()
    return drawn


def _marked(mark: object, course: Course) -> dict[str, dict[int, str]]:
    """The label of each feature and example that is to be pointed out."""
    marked: dict[str, dict[int, str]] = {name: {} for name in KINDS}
    if mark is None:
        repeats = sorted(course.run.config.repeats, key=lambda pair: -pair[1])[:_MAX_LABELS]
        marked["examples"] = {t: f"example {t}, {R} times" for t, R in repeats if R > 1}
        return marked
    if not isinstance(mark, Mapping):
        kind = type(mark).__name__
        raise TypeError(
            f'mark must be a mapping like {{"examples": [0]}}, got {short(mark)} ({kind})'
        )
    for name, places in mark.items():
        if name not in marked:
            raise ValueError(unknown("kind of vector", name, marked))
        for place in np.atleast_1d(np.asarray(places)).tolist():
            number = as_int(f"mark[{name!r}]", place, 0, course.count(name) - 1)
            marked[name][number] = f"{name[:-1]} {number}"
    return marked


def draw_losses(ax: Axes, course: Course, *, alpha: float = 1.0) -> list[Line2D]:
    """Train loss and test loss over the steps, as far as there is one."""
    lines = _curves(ax, course, {"train_loss": "train", "test_loss": "test"}, alpha)
    line_at(ax, 1.0)
    loss_axis(ax)
    ax.set_ylabel("loss")
    step_axis(ax, course.last)
    _label_ends(ax, _ends(lines))
    return lines


def _curves(
    ax: Axes, course: Course, variables: Mapping[str, str], alpha: float = 1.0
) -> list[Line2D]:
    """The first of two scalars of the history as a line, the second dashed."""
    lines = []
    for (variable, label), dash in zip(variables.items(), ("-", "--"), strict=True):
        x, y = course.recorded(variable)
        if y.size:
            style: Any = {
                "linestyle": dash,
                "linewidth": 1.3,
                "color": paint("ink"),
                "alpha": alpha,
            }
            lines += ax.plot(x, y, label=label, **style)
    return lines


def _ends(lines: Sequence[Line2D]) -> list[End]:
    """Where lines end, with their labels."""
    return [
        (float(np.asarray(line.get_ydata())[-1]), str(line.get_label()), paint("ink"))
        for line in lines
    ]


def _norms(ax: Axes, course: Course) -> None:
    """Norms of W and b, in front of the shade of the learning rate."""
    x, rate = course.recorded("learning_rate")
    highest = float(np.max(rate))
    shade = rate / highest if highest > 0 else rate
    ax.fill_between(
        x, 0, shade, transform=ax.get_xaxis_transform(), color=paint("wash"), linewidth=0
    )
    text = f"grey: learning rate, up to {highest:.2g}"
    ax.text(
        0.01, 0.95, text, transform=ax.transAxes, va="top", color=paint("muted"), size="x-small"
    )
    lines = _curves(ax, course, {name: VARIABLES[name] for name in ("W_norm", "b_norm")})
    ax.set_ylim(0, 1.12 * max(float(np.max(line.get_ydata())) for line in lines) or 1.0)
    ax.set_ylabel("norms")
    step_axis(ax, course.last)
    _label_ends(ax, _ends(lines))


def _shares(ax: Axes, course: Course, name: str, marked: Mapping[int, str]) -> None:
    """The dimensionality of each vector of one kind over the snapshots."""
    every = range(len(course))
    # Twice through the snapshots, rather than all vectors at all steps in memory.
    highest = reduce(np.maximum, (course.dimensionality(name, k) for k in every))
    prominence = _prominence(highest, course.dimensionality(name, len(course) - 1))
    kept = np.union1d(outer_and_spread(prominence, MAX_LINES), np.array([*marked], dtype=np.intp))
    D = np.array([course.dimensionality(name, k)[kept] for k in every])
    strong = np.isin(kept, np.argsort(-prominence, kind="stable")[:_LARGEST])
    pointed = np.isin(kept, [*marked])
    faint = max(0.08, min(0.5, 7.0 / kept.size**0.6))
    for which, alpha, width, label in (
        (~strong & ~pointed, faint, 0.6, "_" + name),
        (strong & ~pointed, 0.85, 1.1, name),
    ):
        lines = [np.column_stack((course.steps, y)) for y in D[:, which].T]
        style: Any = {"colors": paint(name), "alpha": alpha, "linewidths": width, "label": label}
        ax.add_collection(LineCollection(lines, rasterized=len(lines) > 50, **style), autolim=False)
    ends: list[End] = []
    for i, (place, label) in enumerate(marked.items()):
        y = D[:, np.searchsorted(kept, place)]
        _point_out(ax, course.steps, y, paint(name), MARKERS[i % len(MARKERS)], label)
        ends.append((float(y[-1]), label, paint(name)))
    ends = ends if len(ends) <= _MAX_LABELS else []
    top = float(D.max(initial=0.0)) or 1.0
    for height, label in course.guides(name):
        if 0.02 * top < height < 1.5 * top:
            top = max(top, height)
            line_at(ax, height)
            ends.append((height, label, paint("muted")))
    ax.set_ylim(-0.03 * top, 1.06 * top)
    ax.set_ylabel(f"dimensionality\nof {name}", color=paint(name))
    step_axis(ax, course.last)
    _label_ends(ax, ends)


def _prominence(highest: Floats, last: Floats) -> Floats:
    """The larger, the better a vector's place by the largest or by the last dimensionality."""
    places = [np.argsort(np.argsort(-size, kind="stable")) for size in (highest, last)]
    return -np.minimum(*places).astype(np.float64)


def _point_out(
    ax: Axes, x: npt.NDArray[np.int64], y: Floats, color: str, marker: str, label: str
) -> None:
    """A line with a white edge that is seen in front of all others."""
    ax.plot(x, y, color=paint("paper"), linewidth=3.2, zorder=4, label=f"_edge of {label}")
    ax.plot(
        x,
        y,
        color=color,
        linewidth=1.7,
        marker=marker,
        markersize=5.0,
        markeredgecolor=paint("ink"),
        markeredgewidth=0.7,
        markevery=max(1, len(x) // 12),
        zorder=5,
        clip_on=False,
        label=label,
    )


def _label_ends(ax: Axes, ends: list[End]) -> None:
    """Labels at the right edge, at these heights or as near as they have room."""
    if not ends:
        return
    ends = sorted(ends)
    ax.get_ylim()  # settles the limits
    to_axes = ax.transScale + ax.transLimits
    heights = to_axes.transform([(1.0, y) for y, *_ in ends])[:, 1]
    for at, (_, text, color) in zip(spread(heights, 0.11), ends, strict=True):
        ax.text(1.02, at, text, transform=ax.transAxes, va="center", color=color, size="small")


def spread(heights: Floats, gap: float) -> Floats:
    """Rising heights, moved as little as need be to be ``gap`` apart."""
    # Pools of neighbours that touch stand evenly around their mean, as in isotonic regression.
    pools: list[tuple[float, int]] = []
    for shifted in heights - gap * np.arange(heights.size):
        total, count = float(shifted), 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            last = pools.pop()
            total, count = total + last[0], count + last[1]
        pools.append((total, count))
    level = np.repeat([total / count for total, count in pools], [count for _, count in pools])
    return np.asarray(level + gap * np.arange(heights.size))
