"""What happened during training: the losses and one more scalar over the steps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from toysup.config import TrainConfig
from toysup.errors import unknown
from toysup.plot._parts.curves import line_at, thinned
from toysup.plot._parts.source import Cells, Source, open_cells
from toysup.plot._parts.style import canvas, hue_colors, label_T, name_variable, paint, thousands

__all__ = ["history", "loss_axis", "step_axis"]

# Fields that a title always names, and those that do not change what is learnt.
_NAMED = ("n", "m", "T", "sparsity", "seed")
_SILENT = ("record", "snapshots", "test_size")
_MAX_LEGEND = 24


def history(
    source: Source,
    variable: str = "max_feature_dimensionality",
    *,
    axes: npt.ArrayLike | None = None,
    **select: Any,
) -> npt.NDArray[np.object_]:
    """Draw train loss, test loss and one more scalar of the history over the steps.

    Of a sweep every run gets a line, coloured by its T. The test loss of a history is that on a
    small fixed part of the test set; its effects are so small that it has a panel of its own. The
    step axis is linear from 0 to 1 and logarithmic beyond, so that the initial weights have a
    place. A diverged run is drawn as far as it is finite.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run, a sweep, or the path of a store or of a run's file.
    variable : str, default "max_feature_dimensionality"
        The scalar of the third panel, such as "W_norm", "b_norm" or "learning_rate".
    axes : array of three Axes, optional
        Where to draw; by default a new figure.
    **select
        Values of any axis of the sweep, such as ``m=2`` or ``T=[200, 500]``.

    Returns
    -------
    ndarray of Axes
        Shape (3,). Each run has one line in each, labelled with its T ("_T = …" for all but the
        first run of a T).

    Raises
    ------
    TypeError
        If the source or the axes are something else.
    ValueError
        If there is no run to draw, or the history has no such variable.
    """
    cells = open_cells(source, select).sort("T")
    runs = list(_runs(cells))
    if not runs:
        cells.require_finished()
    names = [str(name) for name in runs[0][1]]
    if variable not in names:
        raise ValueError(unknown("variable", variable, names))
    with canvas((7.2, 2.5), axes, columns=3) as panels:
        for ax, name in zip(panels[0], ("train_loss", "test_loss", variable), strict=True):
            for _, recorded, color, label in runs:
                _line(ax, recorded, name, color=color, label=label)
            step_axis(ax, max(int(recorded["step"][-1]) for _, recorded, _, _ in runs))
            ax.set_ylabel(name_variable(name))
        loss_axis(panels[0, 0])
        line_at(panels[0, 1], 1.0)
        if len(cells.coords["T"]) > 1:
            _legend(panels[0, 2])
        panels[0, 0].set_title(_title([config for config, *_ in runs]), loc="left", size="small")
    drawn: npt.NDArray[np.object_] = panels[0]
    return drawn


def _runs(cells: Cells) -> Iterator[tuple[TrainConfig, xr.Dataset, Any, str]]:
    """Config, history, colour and label of every run; only the first of a T is in the legend."""
    T = cells.coords["T"]
    colors = hue_colors(len(T)) if len(T) > 1 else [paint("ink")]
    status = cells.data["status"].transpose(*cells.coords).to_numpy().astype(str)
    labelled = set()
    for spot in np.argwhere((status == "ok") | (status == "diverged")):
        index = dict(zip(cells.coords, (int(i) for i in spot), strict=True))
        place = index["T"]
        label = "_" + label_T(T[place]) if place in labelled else label_T(T[place])
        labelled.add(place)
        run = cells.run_at(index)
        yield run.config, run.history, colors[place], label


def _line(ax: Axes, recorded: xr.Dataset, variable: str, **style: Any) -> None:
    y = recorded[variable].to_numpy().astype(np.float64)
    y = np.where(np.isfinite(y), y, np.nan)
    ax.plot(recorded["step"].to_numpy(), y, linewidth=1.1, **style)


def step_axis(ax: Axes, last: int) -> None:
    """0 to 1 linear, then logarithmic; a label at 0 and at each power of ten."""
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    ax.set_xlim(0, max(last, 1) * 1.1)
    powers = [10.0**k for k in range(math.floor(math.log10(max(last, 1))) + 1)]
    ax.xaxis.set_major_locator(FixedLocator([0.0, *powers]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: thousands(step)))
    ax.xaxis.set_minor_locator(FixedLocator([k * p for p in powers for k in range(2, 10)]))
    ax.set_xlabel("step")


def loss_axis(ax: Axes) -> None:
    """Logarithmic where the losses span more than a factor of 30, as a memorized set's do."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and 0 < drawn.min() < drawn.max() / 30:
        ax.set_yscale("log")


def _legend(ax: Axes) -> None:
    """The T of each colour, to the right of the panel; of very many, every k-th."""
    lines, labels, title = thinned(ax, "", _MAX_LEGEND)
    ax.legend(
        lines,
        labels,
        title=title.strip() or None,
        title_fontsize="x-small",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
        fontsize="x-small",
        labelspacing=0.25,
        handlelength=1.2,
    )


def _title(configs: list[TrainConfig]) -> str:
    """What all the runs have in common: n, m, T, S, seed and whatever is not the default."""
    plain = TrainConfig()
    parts = []
    for name in (*_NAMED, *(f for f in plain.to_dict() if f not in _NAMED + _SILENT)):
        value = getattr(configs[0], name)
        if any(getattr(config, name) != value for config in configs):
            continue
        if name in _NAMED or value != getattr(plain, name):
            text = f"{value:,}" if isinstance(value, int) else str(value)
            text = "∞" if value == math.inf else text if len(text) < 20 else "…"
            parts.append(f"{'S' if name == 'sparsity' else name} = {text}".replace("_", " "))
    return textwrap.fill(", ".join(parts), 110)
