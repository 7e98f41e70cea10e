"""Writing figures so that the same figure gives the same bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

__all__ = ["save"]


def save(drawing: Any, path: str | os.PathLike[str], *, dpi: float = 200.0) -> tuple[Path, Path]:
    """Write a figure as PNG and as SVG, without dates or random names in the files.

    Parameters
    ----------
    drawing : Figure, Axes or array of Axes
        A figure, or what a function of :mod:`toysup.plot` returned.
    path : str or PathLike
        The files' path; an ending ".png" or ".svg" is left off, and missing folders are made.
    dpi : float, default 200
        Dots per inch of the PNG, and of what is drawn as pixels in the SVG.

    Returns
    -------
    (Path, Path)
        The PNG and the SVG.

    Raises
    ------
    TypeError
        If the drawing is something else.
    """
    figure = _figure_of(drawing)
    base = Path(path)
    if base.suffix.lower() in (".png", ".svg"):
        base = base.with_suffix("")
    base.parent.mkdir(parents=True, exist_ok=True)
    png, svg = base.with_name(base.name + ".png"), base.with_name(base.name + ".svg")
    with mpl.rc_context({"svg.hashsalt": "toysup", "svg.fonttype": "path"}):
        figure.savefig(png, dpi=dpi, metadata={"Software": None})
        figure.savefig(svg, dpi=dpi, metadata={"Date": None, "Creator": None})
    return png, svg


def _figure_of(drawing: Any) -> Figure:
    artist = np.array(drawing, dtype=object).ravel()[0]
    while isinstance(artist, (Axes, SubFigure)):
        artist = artist.figure
    if not isinstance(artist, Figure):
        kind = type(drawing).__name__
        raise TypeError(f"drawing must be a Figure, an Axes or an array of Axes, got {kind}")
    return artist
