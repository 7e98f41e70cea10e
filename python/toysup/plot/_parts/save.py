"""Writing figures so that the same figure gives the same bytes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure, SubFigure

from toysup._files.paths import as_path, check_file
from toysup._files.whole import replace_file
from toysup.errors import StoreError

__all__ = ["FORMATS", "figure_of", "save"]

# The suffixes of all that matplotlib writes.
FORMATS = tuple(f".{name}" for name in FigureCanvasBase.get_supported_filetypes())
# What would differ from one time to the next, by format.
_UNDATED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".svgz": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}


def save(drawing: Any, path: str | os.PathLike[str], *, dpi: float = 200.0) -> tuple[Path, ...]:
    """Write a figure to a file; in PNG, SVG and PDF without dates or random names.

    Parameters
    ----------
    drawing : Figure, Axes or array of Axes
        A figure, or what a function of :mod:`toysup.plot` returned.
    path : str or PathLike
        The file; missing folders are made. A suffix that matplotlib knows, such as ".pdf", is the
        format. Without one, a PNG and an SVG are written, with their suffixes added.
    dpi : float, default 200
        Dots per inch of a file of pixels, and of what is drawn as pixels in the other ones.

    Returns
    -------
    tuple of Path
        The files that were written: one, or the PNG and the SVG.

    Raises
    ------
    TypeError
        If the drawing is something else.
    StoreError
        If the file cannot be written, or what the format needs, such as LaTeX for ".pgf", is
        missing or fails. An older file of that name then stays as it was.
    """
    figure = figure_of(drawing)
    path = as_path("path", path)
    known = path.suffix.lower() in FORMATS
    files = (path,) if known else tuple(path.with_name(path.name + s) for s in (".png", ".svg"))
    for file in files:
        check_file(file, make=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "toysup", "svg.fonttype": "path"}):
        for file in files:
            suffix = file.suffix.lower()
            how: Any = {"format": suffix[1:], "dpi": dpi, "metadata": _UNDATED.get(suffix)}
            try:
                replace_file(file, partial(figure.savefig, **how), durable=False)
            except RuntimeError as error:
                raise StoreError(f"cannot write {str(file)!r}: {error}") from error
    return files


def figure_of(drawing: Any) -> Figure:
    """The figure of what a plot returned: itself, or that of its Axes."""
    artist = np.array(drawing, dtype=object).ravel()[0]
    while isinstance(artist, (Axes, SubFigure)):
        artist = artist.figure
    if not isinstance(artist, Figure):
        kind = type(drawing).__name__
        raise TypeError(f"drawing must be a Figure, an Axes or an array of Axes, got {kind}")
    return artist
