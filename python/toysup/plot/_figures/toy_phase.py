"""Figure of "Toy Models of Superposition": the phase diagram of one feature too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, NullFormatter

from toysup.plot._figures.toy_features import SHARED, density, open_fresh, superposition
from toysup.plot._parts.source import Cells, Floats, Source
from toysup.plot._parts.style import canvas, paint

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["PHASES", "phase_of", "toy_phase"]

PHASES = ("not represented", "own dimension", "superposition")

Theory = Callable[[Floats, Floats], npt.NDArray[np.intp]]


def measure(W: npt.ArrayLike) -> tuple[float, float]:
    """Squared length and superposition of the last feature of W, shape (m, n)."""
    W = np.asarray(W, dtype=np.float64)
    return float(np.sum(W[:, -1] ** 2)), float(superposition(W)[-1])


def phase_of(run: Run) -> int:
    """The phase of the last feature, as an index into :data:`PHASES`.

    If it is represented, it is in superposition if the others' vectors along it are, put together,
    longer than 1/2.
    """
    if not run.represented()[-1]:
        return 0
    return 1 if measure(run.W)[1] <= 0.25 else 2


def toy_phase(
    source: Source,
    *,
    theory: Theory | None = None,
    axes: npt.ArrayLike | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw what becomes of the last feature, over its density and its relative importance.

    White is a feature that is not represented, blue one that has a dimension for itself, orange
    one in superposition; a short vector is pale. Where a sweep holds several seeds, the run of
    lowest test loss is drawn; a cell without a finished run is left out.

    Parameters
    ----------
    source : SweepResult, str or PathLike
        A sweep over ``sparsity`` and over ``importance``, whose values are arrays of n importances
        that differ in the last one; or the path of its store.
    theory : callable, optional
        ``theory(importance, density)`` gives the expected phase, as an index into ("not
        represented", "own dimension", "superposition"), for two arrays of one shape: the
        importance of the last feature relative to the first one's, and 1 - S. It is drawn in a
        panel of its own, and its borders as lines.
    axes : array of Axes, optional
        One Axes, or two with a theory; by default those of a new figure.
    **select
        Values of any axis of the sweep.

    Returns
    -------
    ndarray of Axes
        The trained one first. Each has a QuadMesh of colours, importance upwards and density from
        1 on the left.

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If the sweep is not of that kind, or no run is finished.
    """
    cells, importance = _grid(open_fresh(source, select))
    dense = np.array([density(S) for S in cells.coords["sparsity"]])
    columns = 1 if theory is None else 2
    with canvas((0.6 + 3.1 * columns, 3.2), axes, columns=columns) as panels:
        _draw_mesh(panels[0, 0], dense, importance, _trained_colors(cells))
        panels[0, 0].set_title("trained")
        if theory is not None:
            fine = _finer(dense), _finer(importance)
            # The cells of density 1 reach beyond it.
            phases = theory(*np.meshgrid(fine[1], np.minimum(fine[0], 1.0), indexing="ij"))
            _draw_mesh(panels[0, 1], *fine, _phase_colors()[phases])
            panels[0, 1].set_title("expected loss of the candidates")
            _name_phases(panels[0, 1], *fine, phases)
            for ax in panels[0]:
                _draw_borders(ax, *fine, phases)
        panels[0, 0].set_ylabel("relative importance of the last feature")
    drawn: npt.NDArray[np.object_] = panels[0]
    return drawn


def _grid(cells: Cells) -> tuple[Cells, Floats]:
    """The cells sorted by rising importance and sparsity; and the relative importances."""
    for name in ("importance", "sparsity"):
        if name not in cells.coords:
            raise ValueError(f"the sweep must have the axis {name!r}, got {list(cells.coords)}")
    cells.require_fixed("importance", "sparsity", "seed", "init_seed")
    cells.require_finished()
    values = cells.coords["importance"]
    if not all(isinstance(value, tuple) and value[0] > 0 for value in values):
        raise ValueError(f"importance must hold arrays that begin above 0, got {values[0]}")
    rising = sorted(range(len(values)), key=lambda k: float(values[k][-1] / values[k][0]))
    cells = cells.sort("sparsity").take({"importance": rising})
    ratio = [value[-1] / value[0] for value in cells.coords["importance"]]
    return cells, np.array(ratio, dtype=np.float64)


def _phase_colors() -> Floats:
    """A colour for each phase, shape (3, 3)."""
    return np.array([to_rgb(color) for color in (paint("wash"), paint("features"), SHARED)])


def _trained_colors(cells: Cells) -> Floats:
    """A colour for each cell, shape (importance, sparsity, 3); NaN where no run is finished."""
    shape = len(cells.coords["importance"]), len(cells.coords["sparsity"])
    colors = np.full((*shape, 3), np.nan)
    absent, own, sharing = _phase_colors()
    for i, k in np.ndindex(shape):
        run = cells.pick(importance=i, sparsity=k)
        if run is not None:
            square, shared = measure(run.W)
            length, shared = min(square**0.5, 1.0), min(shared, 1.0)
            ink = (1.0 - shared) * own + shared * sharing
            colors[i, k] = (1.0 - length) * absent + length * ink
    return colors


def _edges(values: Floats) -> Floats:
    """Borders of cells around these values, half-way between neighbours in log."""
    log = np.log(values)
    step = np.diff(log) if log.size > 1 else np.array([1.0])
    inner = 0.5 * (log[1:] + log[:-1])
    first, last = log[0] - step[0] / 2, log[-1] + step[-1] / 2
    return np.asarray(np.exp(np.concatenate([[first], inner, [last]])))


def _finer(values: Floats) -> Floats:
    """300 values from the first border of the cells to the last."""
    edges = _edges(values)
    return np.asarray(np.geomspace(edges[0], edges[-1], 300))


def _draw_mesh(ax: Axes, dense: Floats, importance: Floats, colors: Floats) -> None:
    x, y = _edges(dense), _edges(importance)
    mesh = np.concatenate([np.nan_to_num(colors), ~np.isnan(colors[..., :1])], axis=-1)
    ax.pcolormesh(x, y, mesh, rasterized=True)
    ax.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.set_xlabel("density of features, 1 − S")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _draw_borders(ax: Axes, x: Floats, y: Floats, phases: npt.NDArray[np.intp]) -> None:
    """Lines between the phases."""
    for phase in range(len(PHASES)):
        inside = (phases == phase).astype(np.float64)
        if inside.min() < inside.max():
            ax.contour(x, y, inside, levels=[0.5], colors=paint("ink"), linewidths=0.9)


def _name_phases(ax: Axes, x: Floats, y: Floats, phases: npt.NDArray[np.intp]) -> None:
    """The name of each phase in the middle of its region."""
    for phase, name in enumerate(PHASES):
        rows, columns = np.nonzero(phases == phase)
        if rows.size:
            at = x[int(np.median(columns))], y[int(np.median(rows))]
            color = (paint("ink"), "white", "black")[phase]
            ax.text(
                *at, name.replace(" ", "\n"), ha="center", va="center", color=color, size="small"
            )
