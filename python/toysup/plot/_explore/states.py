"""What the page shows of one run: its vectors, dimensionalities, classes and losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup.plot._explore.explored import MAX_STATES
from toysup.plot._parts.thin import outer_and_spread
from toysup.regime import CLASSES, classify

if TYPE_CHECKING:
    from toysup._run.run import Run

__all__ = ["CLASSIFIED", "run_of_page"]

Floats = npt.NDArray[np.float64]

# Examples are classified where there are at most so many pairs of an example and a feature.
CLASSIFIED = 10**8
# Numbers of a vector are whole thousandths of the longest one.
_UNIT = 1000
# Points of a curve of dimensionalities in falling order.
_RANKS = 60


def run_of_page(run: Run, limit: int, *, classes: bool) -> dict[str, Any]:
    """A run, ready for JSON.

    Parameters
    ----------
    run : Run
        A run that ended well.
    limit : int
        How many features are drawn of a state; examples may be twice as many.
    classes : bool
        Whether to say of each example what it is, as far as that does not take too long.
    """
    T, m = run.config.T, run.config.m
    batch = run.training_set()
    labels: npt.NDArray[np.str_] | None = None
    if classes and len(batch) * run.config.n <= CLASSIFIED:
        labels = classify(run, fresh=1, retrieve=1).label
    found: dict[str, Any] = {
        "m": m,
        "T": None if T == math.inf else int(T),
        "states": [_state(at, step, batch, labels, limit) for step, at in _steps(run)],
    }
    if labels is not None:
        found["classes"] = [int(np.count_nonzero(labels == name)) for name in CLASSES]
    if len(found["states"]) > 1:
        found["history"] = {
            name: _short(run.history[name].to_numpy())
            for name in ("step", "train_loss", "test_loss")
        }
    return found


def _steps(run: Run) -> Iterator[tuple[int, Run]]:
    """The run as it was at some of its snapshots, and as it is."""
    steps = run.snapshots["step"].to_numpy()
    chosen = np.unique(np.linspace(0, steps.size - 1, min(steps.size, MAX_STATES)).astype(int))
    for place in chosen.tolist() if steps.size else []:
        if steps[place] < run.steps_done:
            shot = run.snapshots.isel(step=place)
            W, b = shot["W"].to_numpy(), shot["b"].to_numpy()
            yield int(steps[place]), dataclasses.replace(run, W=W, b=b)
    yield run.steps_done, run


def _state(
    run: Run, step: int, batch: Any, labels: npt.NDArray[np.str_] | None, limit: int
) -> dict[str, Any]:
    W = np.asarray(run.W, dtype=np.float64).T
    H = np.asarray(run.hidden(batch), dtype=np.float64)
    plane = _plane(W)
    known = run.represented()
    features = np.union1d(
        np.flatnonzero(known)[:limit], outer_and_spread(np.linalg.norm(W, axis=1), limit)
    )
    examples = outer_and_spread(np.linalg.norm(H, axis=1), 2 * limit)
    state: dict[str, Any] = {
        "step": step,
        "represented": int(np.count_nonzero(known)),
        "features": {
            **_points(W @ plane, features),
            "classes": "".join("1" if known[i] else "0" for i in features),
        },
        "examples": _points(H @ plane, examples),
        "dimensionality": {
            "features": _ranked(run.feature_dimensionality()),
            "examples": _ranked(metrics.dimensionality(H[: _count(run)])),
        },
    }
    if labels is not None:
        places = {name: str(i) for i, name in enumerate(CLASSES)}
        state["examples"]["classes"] = "".join(places[labels[i]] for i in examples)
    return state


def _count(run: Run) -> int | None:
    """The examples whose dimensionality counts: not their further copies."""
    return None if run.config.T == math.inf else int(run.config.T)


def _plane(W: Floats) -> Floats:
    """What brings hidden vectors, as rows, to the plane in which features are longest."""
    m = W.shape[1]
    if m <= 2:
        return np.eye(m, 2)
    axes = np.linalg.svd(W, full_matrices=False)[2][:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return np.asarray((axes * np.sign(largest)).T, dtype=np.float64)


def _points(V: Floats, kept: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Some of these points, in thousandths of the longest one."""
    longest = float(np.max(np.hypot(V[:, 0], V[:, 1]), initial=0.0))
    whole = np.rint(V[kept] * (_UNIT / longest if longest > 0 else 0.0)).astype(int)
    return {
        "of": len(V),
        "longest": float(f"{longest:.3g}"),
        "x": whole[:, 0].tolist(),
        "y": whole[:, 1].tolist(),
    }


def _ranked(values: Floats) -> list[list[int]]:
    """Ranks from 1, evenly over their logarithm, and in thousandths the values that have them."""
    falling = -np.sort(-values)
    ranks = np.unique(np.geomspace(1, falling.size, _RANKS).round().astype(int))
    return [ranks.tolist(), np.rint(falling[ranks - 1] * _UNIT).astype(int).tolist()]


def _short(values: Floats) -> list[float | None]:
    """Numbers with as many digits as a reader needs; none where they are not finite."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]
