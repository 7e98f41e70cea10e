"""Features and examples as vectors of the hidden space, for figures 1 to 4 in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from toysup._run.model import Model
from toysup._stream.batch import SparseBatch
from toysup.plot._parts.source import (
    Cells,
    Floats,
    Source,
    Trained,
    open_cells,
    open_weights,
)
from toysup.plot._parts.style import KINDS, canvas, is_space, label_T, paint
from toysup.plot._parts.thin import outer_and_spread

__all__ = ["vectors"]

# More examples than this are thinned out before they are drawn.
MAX_EXAMPLES = 2000
# More vectors than this are drawn as pixels also in a vector graphic.
_RASTER_FROM = 300
MAX_COLUMNS = 10
# The m for which vectors are drawn: in the plane, and in space.
_SIZES = (2, 3)


def vectors(
    source: Trained,
    *,
    X: object = None,
    T: float | Sequence[float] | None = None,
    common_scale: bool = False,
    axes: npt.ArrayLike | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw the columns of W (blue) and the hidden vectors of the training set (red).

    For m = 2 they lie in the plane, for m = 3 in Axes of three dimensions, with dotted lines along
    the axes of the hidden space.

    A run gives two panels side by side (figure 1 of the paper); a sweep gives one column a T,
    features above and examples below (figures 2 and 4). Where a sweep holds several seeds of a T,
    the run of lowest train loss is drawn, unless ``seed=`` chooses one.

    Of more than 2,000 examples only 2,000 are drawn, the same ones each time: the 500 longest
    vectors and every k-th of the others. All features are drawn.

    Parameters
    ----------
    source : Run, Model, (W, b), SweepResult, str or PathLike
        A run, weights, a sweep, or the path of a store or of a run's file.
    X : array of shape (T, n), sparse array or SparseBatch, optional
        Examples of a run or weights, by default a run's own. Weights without any have the panel of
        features alone.
    T : float or sequence of float, optional
        The columns of a sweep, in this order. By default all T that have a finished run, or ten
        spread over them if there are more.
    common_scale : bool, default False
        Whether the panels of a row share one scale (figure 4). By default each has its own; the
        length of the longest vector is written under the panel.
    axes : array of Axes, optional
        Two Axes for a run (one for weights without X), 2 x columns for a sweep, for m = 3 made
        with ``projection="3d"``. By default those of a new figure.
    **select
        One value of any other axis of the sweep, such as ``seed=0`` or ``m=2``.

    Returns
    -------
    ndarray of Axes
        Shape (2,) for a run, (1,) for weights without X, and (2, columns) for a sweep; index 0 is
        the features. In each panel the lines from the origin are a LineCollection and the tips a
        PathCollection, both labelled "features" or "examples".

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If m is neither 2 nor 3, no run is finished, or the selection does not fit the sweep.
    """
    wanted = select if T is None else {**select, "T": T}
    given = open_weights(source, X, wanted)
    if given is not None:
        return _draw_model(*given, axes)
    cells = open_cells(cast(Source, source), wanted)
    m = _require_drawn(cells)
    columns = (
        list(range(len(cells.coords["T"]))) if T is not None else spread_places(cells, MAX_COLUMNS)
    )
    single = cells.is_run
    shape = (1, 2) if single else (2, len(columns))
    size = (4.4, 2.5) if single else (0.3 + 1.2 * len(columns), 2.68 if common_scale else 2.85)
    with canvas(size, axes, rows=shape[0], columns=shape[1], space=m == 3) as panels:
        pairs = panels.reshape(2, -1)
        draw_columns(pairs, cells, columns, common_scale=common_scale)
    return pairs[:, 0] if single else pairs


def require_plane(cells: Cells) -> None:
    """Refuse what cannot be drawn as vectors in a plane."""
    _require_drawn(cells, (2,))


def _require_drawn(cells: Cells, sizes: Sequence[int] = _SIZES) -> int:
    """Refuse what cannot be drawn as vectors of one of these m; returns m."""
    cells.require_fixed("T", "seed", "init_seed")
    m = int(cells.coords["m"][0])
    _require_m(m, sizes)
    cells.require_finished()
    return m


def _require_m(m: int, sizes: Sequence[int]) -> None:
    if m not in sizes:
        known = " and ".join(f"m = {size}" for size in sizes)
        raise ValueError(f"vectors can be drawn for {known} only, got m = {m}")


def _draw_model(
    model: Model, batch: SparseBatch | None, axes: npt.ArrayLike | None
) -> npt.NDArray[np.object_]:
    """One model: its features, and its examples if there are any."""
    _require_m(model.m, _SIZES)
    sides = [np.asarray(model.W.T, dtype=np.float64)]
    titles = ["features"]
    if batch is not None:
        sides.append(model.hidden(batch))
        titles.append(f"examples, {label_T(len(batch))}")
    size = (2.2 * len(sides), 2.5)
    with canvas(size, axes, columns=len(sides), space=model.m == 3) as panels:
        for ax, V, name, title in zip(panels[0], sides, KINDS, titles, strict=False):
            draw_panel(ax, V, name, _longest(V))
            _write_longest(ax, _longest(V))
            ax.set_title(title, color=paint(name))
    return panels.reshape(-1)


def finished_places(cells: Cells) -> list[int]:
    """Positions along T, by rising T, at which some run is finished."""
    T = cells.coords["T"]
    finished = cells.finished.transpose("T", ...).to_numpy()
    done = np.flatnonzero(finished.reshape(len(T), -1).any(axis=1))
    return sorted(done.tolist(), key=lambda place: float(T[place]))


def spread_places(cells: Cells, count: int) -> list[int]:
    """At most ``count`` positions along T with a finished run, evenly over log T with both ends."""
    places = finished_places(cells)
    if len(places) <= count:
        return places
    T = np.array([cells.coords["T"][place] for place in places], dtype=np.float64)
    finite = T[np.isfinite(T)]
    goals = np.geomspace(finite[0], finite[-1], count - (T.size - finite.size))
    return nearest_places(cells, [*goals, *T[finite.size :]])


def nearest_places(cells: Cells, goals: Sequence[float]) -> list[int]:
    """Positions of the T nearest to rising goals in log T, none twice and ∞ only for ∞."""
    places = finished_places(cells)
    T = np.array([cells.coords["T"][place] for place in places], dtype=np.float64)
    finite = np.log(T[np.isfinite(T)])
    wanted = np.log([goal for goal in goals if np.isfinite(goal)])[: finite.size]
    chosen: list[int] = []
    for k, goal in enumerate(wanted):
        # Right of the last one, leaving one for each goal that follows.
        first = chosen[-1] + 1 if chosen else 0
        free = finite[first : finite.size - (wanted.size - k) + 1]
        chosen.append(first + int(np.argmin(np.abs(free - goal))))
    chosen += range(finite.size, T.size if np.inf in goals else finite.size)
    return [places[k] for k in chosen]


def draw_columns(
    pairs: npt.NDArray[np.object_], cells: Cells, columns: Sequence[int], *, common_scale: bool
) -> None:
    """Draw the runs at these positions along T, features into row 0 and examples into row 1."""
    sides: list[list[Floats | None]] = [[], []]
    for place in columns:
        run = cells.pick(T=place)
        sides[0].append(None if run is None else np.asarray(run.W, dtype=np.float64).T)
        sides[1].append(None if run is None else np.asarray(run.hidden(), dtype=np.float64))
    for row, name in enumerate(KINDS):
        lengths = [0.0 if V is None else _longest(V) for V in sides[row]]
        for ax, V, own in zip(pairs[row], sides[row], lengths, strict=True):
            draw_panel(ax, V, name, max(lengths) if common_scale else own)
            if V is not None and not common_scale:
                _write_longest(ax, own)
    if cells.is_run:
        pairs[0, 0].set_title("features", color=paint("features"))
        pairs[1, 0].set_title(f"examples, {label_T(cells.coords['T'][0])}", color=paint("examples"))
        return
    for ax, name in zip(pairs[:, 0], KINDS, strict=True):
        _write_beside(ax, name, color=paint(name))
    for ax, place in zip(pairs[0], columns, strict=True):
        ax.set_title(label_T(cells.coords["T"][place]))


def _write_longest(ax: Axes, length: float) -> None:
    text, color = f"longest {length:.2g}", paint("muted")
    if is_space(ax):
        look: dict[str, Any] = {"ha": "center", "va": "top", "size": "x-small", "color": color}
        ax.annotate(text, (0.5, -0.03), xycoords="axes fraction", **look)
    else:
        ax.set_xlabel(text, color=color, size="x-small", labelpad=1.5)


def _write_beside(ax: Axes, text: str, color: str) -> None:
    """A text to the left of a panel, upwards."""
    if is_space(ax):
        look: dict[str, Any] = {"ha": "right", "va": "center", "rotation": 90, "color": color}
        ax.annotate(text, (0.0, 0.5), xycoords="axes fraction", **look)
    else:
        ax.set_ylabel(text, color=color)


def _lengths(V: Floats) -> Floats:
    """Lengths of vectors, shape (k,)."""
    length: Floats = np.hypot.reduce(V, axis=1)
    return length


def _longest(V: Floats) -> float:
    """The length of the longest vector; 0 if there is none."""
    return float(np.max(_lengths(V), initial=0.0))


def draw_panel(
    ax: Axes, V: Floats | None, name: str, scale: float, *, limit: int = MAX_EXAMPLES
) -> None:
    """A panel of vectors, shape (k, 2) or (k, 3), or of the words "no run".

    Its half-width is a little more than ``scale``, the length of the longest vector of all panels
    that share it.
    """
    _frame(ax, scale if scale > 0 else 1.0)
    if V is None:
        look: dict[str, Any] = {"ha": "center", "va": "center", "size": "small"}
        ax.annotate("no run", (0.5, 0.5), xycoords="axes fraction", color=paint("muted"), **look)
        return
    share = _longest(V) / scale if scale > 0 else 1.0
    _draw(ax, V, name, paint(name), share, limit)


def _draw(
    ax: Axes, V: Floats, name: str, color: str, share: float, limit: int = MAX_EXAMPLES
) -> None:
    """Vectors as thin lines from the origin with a dot at the tip.

    ``share`` is the longest length as a share of the panel's half-width: dots shrink with it.
    """
    length = _lengths(V)
    if name == "examples":
        kept = outer_and_spread(length, limit)
        V, length = V[kept], length[kept]
    strokes, widths, dots, areas = inks(length)
    raster = len(V) > _RASTER_FROM
    scatter: Any = ax.scatter  # which has one coordinate more in space
    look: dict[str, Any] = {"depthshade": False} if is_space(ax) else {}
    lines = (Line3DCollection if is_space(ax) else LineCollection)(
        list(np.stack((np.zeros_like(V), V), axis=1)),
        colors=shades(color, strokes),
        linewidths=widths,
        label=name,
        rasterized=raster,
    )
    ax.add_collection(lines, autolim=False)
    scatter(
        *V.T,
        s=areas * max(share, 0.1),
        linewidths=0,
        facecolors=shades(color, dots),
        label=name,
        rasterized=raster,
        **look,
    )


def inks(length: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Opacity and width of each vector's line, opacity and area of its tip.

    Five long vectors among thousands of short ones have to be seen as well as five alone: ink
    depends on how many vectors are about as long or longer.
    """
    longer = np.searchsorted(np.sort(-length), -0.5 * length, side="right").clip(1)
    return (
        np.clip(7.0 / longer**0.6, 0.05, 0.8),
        np.clip(2.0 / longer**0.25, 0.4, 1.0),
        np.clip(12.0 / longer**0.5, 0.25, 1.0),
        np.clip(60.0 / longer**0.5, 2.0, 18.0),
    )


def shades(color: str, alpha: Floats) -> Floats:
    """One colour at several opacities, shape (k, 4)."""
    return np.column_stack((np.tile(to_rgb(color), (alpha.size, 1)), alpha))


def _frame(ax: Axes, scale: float) -> None:
    """A panel of this half-width, with the origin in the middle and no ticks."""
    ends = (-1.12 * scale, 1.12 * scale)
    ax.set(xlim=ends, ylim=ends, xticks=[], yticks=[])
    if is_space(ax):
        _frame_space(ax, scale)
        return
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set(visible=True, color=paint("rule"), linewidth=0.6)


def _frame_space(ax: Any, scale: float) -> None:
    """A cube with faint edges, and the axes of the space through its middle."""
    ax.set(zlim=ax.get_xlim(), zticks=[])
    ax.set_box_aspect((1, 1, 1), zoom=1.12)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set(facecolor=paint("paper"), edgecolor=paint("rule"), linewidth=0.6)
        axis.line.set(color=paint("rule"), linewidth=0.6)
    look: dict[str, Any] = {"linestyle": ":", "linewidth": 0.6, "color": paint("muted")}
    for direction in np.eye(3):
        ax.plot(*np.outer(direction, (-scale, scale)), label="_axis", **look)
