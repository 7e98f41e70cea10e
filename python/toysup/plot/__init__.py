"""Figures: each function takes a run, a sweep or the path of one, and returns its Axes.

A function that draws one panel takes ``ax=`` and returns the Axes; one that draws several takes
``axes=`` and returns an array of Axes; :func:`figure3` takes ``fig=`` and returns the figure.
Without them a new figure is made, as with ``plt.subplots``. Nothing is shown, no global setting is
changed, and :func:`save` writes what any of them returned.
"""

from __future__ import annotations

from toysup.plot._dimensionality import dimensionality
from toysup.plot._figure3 import figure3
from toysup.plot._heatmap import heatmap
from toysup.plot._history import history
from toysup.plot._norms import norms
from toysup.plot._save import save
from toysup.plot._test_loss import test_loss
from toysup.plot._vectors import vectors

__all__ = [
    "dimensionality",
    "figure3",
    "heatmap",
    "history",
    "norms",
    "save",
    "test_loss",
    "vectors",
]
