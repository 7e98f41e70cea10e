"""What one run stores: single examples, whole or in part, clusters of them, features, or nothing.

A loss over all examples cannot tell a model that remembers a few of them from one that knows a
little of each. These measures look at every example on its own. The yardstick is what the biases
alone would say, x' = f(b) for h = 0: an example is stored as far as its hidden vector does better.
"""

from __future__ import annotations

from toysup.regime._classify import CLASSES, Regime, classify
from toysup.regime._clusters import Clusters, clusters
from toysup.regime._losses import example_gain, example_loss, feature_gain, feature_loss
from toysup.regime._polygons import Circle, Polygon, polygon
from toysup.regime._retrieval import nearest_example

__all__ = [
    "CLASSES",
    "Circle",
    "Clusters",
    "Polygon",
    "Regime",
    "classify",
    "clusters",
    "example_gain",
    "example_loss",
    "feature_gain",
    "feature_loss",
    "nearest_example",
    "polygon",
]
