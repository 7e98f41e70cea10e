"""Mean against sum: test loss and norms against T for two ways to reduce the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from toysup.plot._against import against
from toysup.plot._source import Floats, Source, open_cells
from toysup.plot._style import canvas, paint
from toysup.plot._test_loss import test_loss

__all__ = ["reduction"]

# Up to this distance from 1 the loss axis is linear, beyond it logarithmic: the paper's figure
# ends at 1.025.
LINEAR = 0.03
# Decades that the linear part is as high as, on either side of 1.
HEIGHT = 1.6


def reduction(
    source: Source,
    *,
    reference: Mapping[float, float] | None = None,
    reference_above: Mapping[float, float] | None = None,
    axes: object = None,
) -> npt.NDArray[np.object_]:
    """Draw test loss and the norms of W and b against T, a curve for each loss reduction.

    Test loss is shown on a scale that is linear up to 0.03 from 1 and logarithmic beyond.

    Parameters
    ----------
    source : SweepResult, Dataset, str or PathLike
        A sweep with the axis "loss_reduction", its data set or its store.
    reference, reference_above : mapping of T to loss, optional
        Test losses to compare with; see :func:`toysup.plot.test_loss`.
    axes : three Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    array of three Axes
        Test loss, the Frobenius norm of W, the Euclidean norm of b.

    Raises
    ------
    TypeError, ValueError
        As :func:`toysup.plot.test_loss`.
    """
    cells = open_cells(source)
    cells.require_finished("test_loss")
    losses = cells.data["test_loss"].to_numpy()
    read = {**(reference or {}), **(reference_above or {})}
    heights = [*losses.ravel(), *read.values(), 1.0]
    low, high = np.nanmin(heights), np.nanmax(heights)
    T = [*cells.coords["T"], *read]
    with canvas((6.2, 6.6), axes, rows=3) as panels:
        loss, W, b = panels[:, 0]
        test_loss(
            source,
            hue="loss_reduction",
            reference=reference,
            reference_above=reference_above,
            ylim=(low - 0.1 * LINEAR, 1.0 + 1.5 * max(high - 1.0, LINEAR)),
            ax=loss,
        )
        _scale_loss(loss)
        loss.set_ylabel("test loss (shaded: linear)")
        loss.legend(title="loss reduction", loc="upper left", ncols=2)
        for ax, variable in ((W, "W_norm"), (b, "b_norm")):
            against(source, variable, hue="loss_reduction", legend=False, room_for=T, ax=ax)
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
        for ax in (loss, W):
            ax.set_xlabel("")
    return panels[:, 0]


def _scale_loss(ax: Axes) -> None:
    """A loss axis that is linear near 1 and logarithmic in the distance from 1 beyond."""
    low, high = ax.get_ylim()
    ax.set_yscale("function", functions=(_squeeze, _stretch))
    ax.set_ylim(low, high)
    near = [0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03]
    far = [1.1, 2.0, *(10.0**k for k in range(1, 16))]
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in near + far if low <= tick <= high]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.axhspan(low, 1.0 + LINEAR, color=paint("ink"), alpha=0.04, linewidth=0, label="_linear")


def _squeeze(loss: Floats) -> Floats:
    """Losses to heights: decades of the distance from 1, and a linear part of HEIGHT."""
    away = (np.asarray(loss, dtype=np.float64) - 1.0) / LINEAR
    size = np.abs(away)
    beyond = HEIGHT + np.log10(np.maximum(size, 1.0))
    height: Floats = np.where(size <= 1.0, HEIGHT * away, np.sign(away) * beyond)
    return height


def _stretch(height: Floats) -> Floats:
    """The inverse of :func:`_squeeze`."""
    height = np.asarray(height, dtype=np.float64)
    size = np.abs(height)
    beyond = np.sign(height) * 10.0 ** (np.maximum(size, HEIGHT) - HEIGHT)
    loss: Floats = 1.0 + LINEAR * np.where(size <= HEIGHT, height / HEIGHT, beyond)
    return loss
