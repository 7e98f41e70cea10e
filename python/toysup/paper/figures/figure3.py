"""Figure 3, the main one: test loss, dimensionalities and vectors against T, for m = 2.

Asked: when does a model store examples, when features, and what does test loss do in between?

Trained: models of two hidden dimensions on the first T examples of a stream, several data sets for
each T. Figures 1, 2 and 4 use the same runs.

Measured: test loss, the dimensionality of every feature and every training example, and both as
vectors in the plane.

Expected: with few examples they are stored, as the corners of a polygon; with many, five features
are, as a pentagon; in between test loss has its bump, which at the paper's scale is at T = 2,000.
(T. Henighan et al. 2023, figure 3.) Four data sets, as in the paper, leave the height of the bump
open: there single ones differ from 1.001 to 1.055. Sixteen (``seeds=16``) give the paper's 1.015.

With infinite T, a batch must be large: noise carries biases below 0, where ReLU stops their
gradients. At the paper's learning rate that still costs test loss with 30,000 examples a step.

The small scale is the stand-in of one tenth: n and 1 / (1 - S) are a tenth of the paper's, so an
example has ten non-zeros as in the paper, and the bump comes at a tenth of T. The mean over fewer
features makes gradients larger, and eps = 1e-6 keeps the paper's ratio of the two. A quarter of the
steps at four times the learning rate let weights grow as far as the paper's: rates sum to 25.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from toysup import regime
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs, reference
from toysup.paper._preset import Preset, Results

__all__ = ["FIGURE3"]

_COMPARED = {
    "small": """\
The paper has n = 10,000 and S = 0.999. Up to T = 50 its value is that at the same T, because the
model stores examples and their number counts; beyond, that at 10 T, where features are seen as
often. A stand-in of one tenth resembles the paper and does not equal it: at large T its loss lies
about ten times as far below 1, because one feature is 1/n of the loss.""",
    "paper": "The paper's values are read off its figure 3, to within 0.0002.",
}


def tables(results: Results, scale: str) -> list[Table]:
    """Test loss of each T, mean and standard deviation over seeds, beside the paper's."""
    result = results[_recipe.PART]
    data = result.finished.dataset.transpose("T", ...)
    rows: list[tuple[Value, ...]] = []
    for i, T in enumerate(result.coords["T"]):
        test, train = (data[name][i].to_numpy() for name in ("test_loss", "train_loss"))
        there = _recipe.paper_T(T, scale)
        value = reference.FIGURE3_TEST_LOSS.get(there)
        known = (there, str(value)) if value is not None else (None, None)
        means = (_runs.mean(test), _runs.spread(test), _runs.mean(train))
        rows.append((T, *means, _runs.finite(train).size, *known))
    heading = (
        f"Test loss of figure 3 at the {scale} scale: {_recipe.recipe(result)}, m = 2.\n"
        f"Losses are means over the seeds, the spread is their standard deviation.\n"
        f"{_COMPARED[scale]}"
    )
    columns = ["T", "test_loss", "spread", "train_loss", "seeds", "paper_T", "paper_test_loss"]
    formats = {"T": ".12g", "paper_T": ".12g"}
    return [Table("figure3", columns, rows, heading=heading, formats=formats)]


def drawings(results: Results, scale: str) -> Iterator[tuple[str, Any]]:
    """The three panes, at the paper's scale with the paper's losses."""
    from toysup import plot

    result = results[_recipe.PART]
    if not curve(result):
        return
    known: dict[str, Any] = {}
    if scale == "paper":
        known = {
            "reference": reference.test_losses(),
            "reference_above": reference.test_loss_bounds(),
        }
    yield "figure3", plot.figure3(result, **known)


def curve(result: SweepResult) -> list[tuple[float, float]]:
    """Pairs of T and mean test loss, by rising T, where any seed has finished."""
    loss = result.finished.dataset["test_loss"].transpose("T", ...)
    means = loss.mean(loss.dims[1:]).to_numpy()
    pairs = zip(result.coords["T"], map(float, means), strict=True)
    return sorted((T, y) for T, y in pairs if math.isfinite(y))


def see(results: Results, scale: str) -> str:
    """What to look for: the polygon, the bump if there is one, and where test loss ends."""
    result = results[_recipe.PART]
    losses = curve(result)
    if not losses:
        return _runs.NOTHING
    parts = [
        f"at T = 5 the examples are {regime.polygon(run.hidden())}"
        for T, run in _runs.best(_runs.finished(result)).items()
        if T == 5
    ]
    beyond = 0.5 / result.configs[0].density
    inner = zip(losses, losses[1:], losses[2:], strict=False)
    bumps = [(y, T) for (_, a), (T, y), (_, b) in inner if T > beyond and y > max(a, b)]
    if bumps:
        height, T = max(bumps)
        parts.append(
            f"test loss has a bump, {height:.4f}, at T = {T}, where features replace examples"
        )
    parts.append(f"test loss ends at {losses[-1][1]:.4f} for T = {losses[-1][0]}")
    return f"In figure3.png: {'; '.join(parts)}."


FIGURE3 = Preset(
    name="figure3",
    title="test loss, dimensionalities and vectors against T, for m = 2",
    scales={"small": {_recipe.PART: _recipe.SMALL}, "paper": {_recipe.PART: _recipe.PAPER}},
    make_tables=tables,
    draw=drawings,
    tell=see,
)
