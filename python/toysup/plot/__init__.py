"""Figures: each function takes a run, a sweep or the path of one, and returns its Axes.

A function that draws one panel takes ``ax=`` and returns the Axes; one that draws several returns
an array of Axes and takes ``axes=``, or ``fig=`` where panels differ in size. Without them a new
figure is made, as with ``plt.subplots``: a notebook shows it, and so does ``plt.show()``. No global
setting is changed, and :func:`save` writes what any of them returned.
"""

from __future__ import annotations

from toysup.plot._explore.page import explore
from toysup.plot._figures.figure1 import figure1
from toysup.plot._figures.figure2 import figure2
from toysup.plot._figures.figure3 import figure3
from toysup.plot._figures.figure4 import figure4
from toysup.plot._figures.toy_dimensions import toy_dimensions
from toysup.plot._figures.toy_features import toy_features, toy_vectors
from toysup.plot._figures.toy_phase import toy_phase
from toysup.plot._parts.save import save
from toysup.plot._parts.vectors import vectors
from toysup.plot._steps.animate import animate
from toysup.plot._steps.evolution import evolution
from toysup.plot._steps.history import history
from toysup.plot._sweeps.against import against
from toysup.plot._sweeps.dimensionality import dimensionality
from toysup.plot._sweeps.heatmap import heatmap
from toysup.plot._sweeps.interference import interference
from toysup.plot._sweeps.norms import norms
from toysup.plot._sweeps.regime import regime
from toysup.plot._sweeps.test_loss import test_loss

__all__ = [
    "against",
    "animate",
    "dimensionality",
    "evolution",
    "explore",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "heatmap",
    "history",
    "interference",
    "norms",
    "regime",
    "save",
    "test_loss",
    "toy_dimensions",
    "toy_features",
    "toy_phase",
    "toy_vectors",
    "vectors",
]
