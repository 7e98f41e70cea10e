"""Mean against sum: test loss and norms against T for two ways to reduce the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from toysup.plot._parts.limits import scale_loss
from toysup.plot._parts.source import Source, open_cells
from toysup.plot._parts.style import canvas
from toysup.plot._sweeps.against import against
from toysup.plot._sweeps.test_loss import test_loss

__all__ = ["reduction"]


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
    T = [*cells.coords["T"], *read]
    with canvas((6.2, 6.6), axes, rows=3) as panels:
        loss, W, b = panels[:, 0]
        test_loss(
            source,
            hue="loss_reduction",
            reference=reference,
            reference_above=reference_above,
            ylim=(np.nanmin(heights) - 0.01, np.nanmax(heights) + 0.01),
            ax=loss,
        )
        scale_loss(loss, heights)
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
