"""Figure 3: test loss, dimensionalities and vectors, one above the other over T."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from toysup.plot._parts.curves import hues
from toysup.plot._parts.source import Cells, Source, open_cells
from toysup.plot._parts.style import paint, whole_figure
from toysup.plot._parts.t_axis import TAxis
from toysup.plot._parts.vectors import draw_columns, nearest_places, require_plane
from toysup.plot._sweeps.dimensionality import add_legend, draw_strips
from toysup.plot._sweeps.test_loss import draw_losses

__all__ = ["figure3"]

# The T whose vectors the paper shows; 2,000 is where its test loss has the bump.
_COLUMNS = (5.0, 30.0, 200.0, 2000.0, 50_000.0, np.inf)
_BANDS = (("small data", "examples"), ("middle", "muted"), ("large data", "features"))


def figure3(
    source: Source,
    *,
    T: Sequence[float] | None = None,
    reference: Mapping[float, float] | None = None,
    reference_above: Mapping[float, float] | None = None,
    bands: tuple[float, float] | Literal["auto"] | None = "auto",
    ylim: tuple[float, float] | None = None,
    seed: int | None = None,
    fig: Figure | SubFigure | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw figure 3 of the paper: test loss, dimensionalities and vectors, for m = 2.

    The upper two panes share the T axis. The losses are means over seeds; the dimensionalities
    and the vectors are those of the run of lowest train loss of each T, or of one seed. See
    :func:`test_loss`, :func:`dimensionality` and :func:`vectors` for what each pane shows.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file.
    T : sequence of float, optional
        The T whose vectors are drawn; by default those nearest to the paper's 5, 30, 200, 2k, 50k
        and ∞, moved together for smaller 1 / (1 - S) as the bands are.
    reference : mapping of T to loss, optional
        Losses to compare with, drawn as hollow diamonds labelled "paper".
    reference_above : mapping of T to loss, optional
        Lower bounds to compare with, drawn as arrows upwards labelled "paper, at least".
    bands : (float, float), "auto" or None
        Largest T of the small-data regime and smallest T of the large-data regime. "auto" takes
        0.5 / (1 - S) and 5 / (1 - S), which is 500 and 5,000 for the paper's S = 0.999: what
        counts is how often a feature is seen. None draws no bands.
    ylim : (float, float), optional
        Ends of the loss axis.
    seed : int, optional
        The seed of the lower two panes.
    fig : Figure or SubFigure, optional
        Where to draw; by default a new figure, 7 inches wide.
    **select
        One value of any other axis of the sweep, such as ``m=2``.

    Returns
    -------
    ndarray of Axes
        Test loss, dimensionality, the features and then the examples of each T.

    Raises
    ------
    TypeError
        If the source or ``fig`` is something else.
    ValueError
        If m is not 2, no run is finished, or the selection does not fit the sweep.
    """
    cells = open_cells(source, select).sort("T")
    require_plane(cells)
    cells.require_finished("test_loss")
    parts = list(hues(cells, None))
    chosen = cells if seed is None else cells.select({"seed": seed})
    chosen.require_finished()
    if T is None:
        shown, columns = chosen, nearest_places(chosen, _goals(chosen))
    else:
        shown = chosen.select({"T": T})
        columns = list(range(len(shown.coords["T"])))
    known = {"paper": dict(reference or {}), "paper, at least": dict(reference_above or {})}
    axis = TAxis([*cells.coords["T"], *(t for losses in known.values() for t in losses)])
    limits = _limits(cells) if bands == "auto" else bands
    with whole_figure((7.0, 6.6), fig) as figure:
        loss, strips, pairs = _panes(figure, len(columns))
        draw_losses(loss, axis, parts, known, ylim)
        draw_strips(strips, chosen, axis)
        for ax in (loss, strips):
            axis.apply(ax, label=ax is strips)
            if limits is not None:
                _shade(ax, limits, names=ax is loss)
        loss.tick_params(labelbottom=False)
        if any(known.values()):
            loss.legend(loc="best")
        add_legend(strips)
        draw_columns(pairs, shown, columns, common_scale=False)
    return np.array([loss, strips, *pairs.ravel()], dtype=object)


def _panes(figure: Figure | SubFigure, columns: int) -> tuple[Axes, Axes, Any]:
    layout = figure.add_gridspec(4, columns, height_ratios=(1.9, 1.9, 1.15, 1.15))
    loss = figure.add_subplot(layout[0, :])
    strips = figure.add_subplot(layout[1, :], sharex=loss)
    pairs = np.empty((2, columns), dtype=object)
    for row, column in np.ndindex(pairs.shape):
        pairs[row, column] = figure.add_subplot(layout[2 + row, column])
    return loss, strips, pairs


def _limits(cells: Cells) -> tuple[float, float]:
    """The paper's bands in terms of T (1 - S), the number of times that a feature is seen."""
    return 500.0 * _unit(cells), 5000.0 * _unit(cells)


def _goals(cells: Cells) -> list[float]:
    """The paper's columns; between 5 and the bump they move in proportion, in log T."""
    low, bump = _COLUMNS[0], _COLUMNS[3]
    shrink = max(0.1, np.log(bump * _unit(cells) / low) / np.log(bump / low))
    return [low * (T / low) ** shrink if np.isfinite(T) else T for T in _COLUMNS]


def _unit(cells: Cells) -> float:
    """1 / (1 - S) as a share of the paper's 1,000."""
    run = next(run for place in range(len(cells.coords["T"])) if (run := cells.pick(T=place)))
    return float(0.001 / run.config.density)


def _shade(ax: Axes, limits: tuple[float, float], *, names: bool) -> None:
    """The three regimes as pale bands, named above the pane."""
    low, high = ax.get_xlim()
    edges = np.clip([low, *limits, high], low, high)
    for (name, kind), left, right in zip(_BANDS, edges[:-1], edges[1:], strict=True):
        if right <= left:
            continue
        color = paint(kind)
        ax.axvspan(left, right, facecolor=color, alpha=0.07, linewidth=0, zorder=0, label="_band")
        if names:
            ax.text(
                (left * right) ** 0.5,
                1.02,
                name,
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="bottom",
                size="small",
                color=color,
            )
