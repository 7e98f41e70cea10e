"""Two circles: how often training misses the regular polygon, and what it finds instead.

Asked: figure 2 of the paper shows six examples of T = 8 on a large circle and two on a small one,
which a comment (C. Olah, T. Henighan) calls a failure of the optimization. How often does that
happen, at which T, and is its train loss higher than that of the regular polygon?

Trained: m = 2 and T = 5 to 15, several data sets with several initializations each, so that the two
can be told apart: what only some initializations of a data set miss is no property of the data.

Measured: the outcome of a run, from the hidden vectors of its examples
(:func:`toysup.regime.polygon`): one circle, a regular polygon; two circles, k examples on the large
one and l on the small one; some examples at the origin, which the model has given up; or irregular,
with k examples on the outermost circle and l inside.

Expected: a regular polygon in nearly all runs of T = 5, and other outcomes more often as T grows.
For a train loss of 0 it is enough that each hidden vector is a corner of their convex hull, so that
a line separates it from the others; two circles can have that as well as one. So two circles should
be another solution, and the failure what leaves examples at the origin: with one such run among
four, a mean test loss as large as the paper's at T = 8, 1.0177, would be explained. At the small
scale examples share ten times as many features, so that polygons are less regular and train loss is
higher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._run.run import Run
from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs
from toysup.paper._preset import Preset, Results
from toysup.regime import polygon

__all__ = ["CIRCLES"]

# One tenth of the paper's scale, as in figure 3.
SMALL = {
    "n": 1_000,
    "sparsity": 0.99,
    "eps": 1e-6,
    "m": 2,
    "T": (5, 6, 7, 8, 9, 10, 11, 12, 15),
    "seed": range(8),
    "init_seed": range(8),
    "steps": 12_500,
    "learning_rate": 4e-3,
    "test_size": 20_000,
    "record": 2,
}
PAPER = {
    "m": 2,
    "T": (5, 6, 7, 8, 9, 10, 12, 15),
    "seed": range(8),
    "init_seed": range(4),
}

ONE, TWO, ORIGIN, IRREGULAR = "one circle", "two circles", "some at the origin", "irregular"
KINDS = (ONE, TWO, ORIGIN, IRREGULAR)
# The T of the paper's two circles, whose embeddings are drawn.
DRAWN = 8
# Up to this share of the longest hidden vector, one is at the origin.
NEAR = 0.15


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes
    ----------
    T, seed : int
        Number of examples, and the data set's seed.
    kind : str
        One of :data:`KINDS`.
    name : str
        The kind with its numbers, such as "two circles: 6 + 2".
    train_loss, test_loss : float
        Of the run.
    hidden : array of shape (T, 2)
        The examples' hidden vectors.
    radii : tuple of float
        Of the circles.
    """

    T: int
    seed: int
    kind: str
    name: str
    train_loss: float
    test_loss: float
    hidden: npt.NDArray[np.float64]
    radii: tuple[float, ...]


Measured = tuple[SweepResult, list[Outcome]]


def measure(results: Results) -> Measured:
    """The outcome of every finished run, beside the sweep."""
    return results["circles"], [outcome_of(run) for run in _runs.finished(results["circles"])]


def outcome_of(run: Run) -> Outcome:
    """What became of a run."""
    hidden = run.hidden().astype(np.float64)
    found = polygon(hidden, origin=NEAR)
    sizes = [circle.vectors for circle in found.circles]
    if found.at_origin:
        kind, numbers = ORIGIN, f": {found.at_origin}"
    elif found.regular:
        kind, numbers = ONE, ""
    else:
        is_two = len(sizes) == 2 and min(sizes) > 1 and all(c.round for c in found.circles)
        kind = TWO if is_two else IRREGULAR
        numbers = f": {sizes[0]} + {sum(sizes[1:])}" if len(sizes) > 1 else ""
    return Outcome(
        T=int(run.config.T),
        seed=run.config.seed,
        kind=kind,
        name=kind + numbers,
        train_loss=run.train_loss,
        test_loss=run.test_loss,
        hidden=hidden,
        radii=tuple(circle.radius for circle in found.circles),
    )


def tables(measured: Measured, scale: str) -> list[Table]:
    """A row for every outcome of every T, the most frequent first."""
    result, found = measured
    rows: list[tuple[Value, ...]] = []
    for T in sorted({outcome.T for outcome in found}):
        of_T = [outcome for outcome in found if outcome.T == T]
        best = best_of_data_sets(of_T)
        lowest = min(of_T, key=lambda outcome: outcome.train_loss).name
        for name, runs in by_name(of_T).items():
            rows.append(
                (
                    T,
                    name,
                    len(runs),
                    len(runs) / len(of_T),
                    float(np.mean([run.train_loss for run in runs])),
                    min(run.train_loss for run in runs),
                    float(np.mean([run.test_loss for run in runs])),
                    sum(run.name == name for run in best),
                    "lowest" if name == lowest else "",
                )
            )
    columns = [
        "T",
        "outcome",
        "count",
        "share",
        "train_loss",
        "least_train_loss",
        "test_loss",
        "best_of_data_sets",
        "train_loss_is",
    ]
    heading = (
        f"What becomes of T examples at the {scale} scale: {_recipe.recipe(result)}.\n"
        "k + l: k examples on the large circle, l on the small one. Losses are means over runs.\n"
        "best of data sets: in how many data sets the initialization of lowest train loss has this "
        "outcome."
    )
    formats = {"share": ".3f", "train_loss": ".1e", "least_train_loss": ".1e"}
    return [Table("circles", columns, rows, heading, formats)]


def by_name(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Runs by the name of their outcome, the most frequent first."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in sorted(found, key=lambda outcome: outcome.train_loss):
        groups.setdefault(outcome.name, []).append(outcome)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def best_of_data_sets(found: Sequence[Outcome]) -> list[Outcome]:
    """Of every data set the run of lowest train loss."""
    best: dict[int, Outcome] = {}
    for outcome in sorted(found, key=lambda outcome: outcome.train_loss):
        best.setdefault(outcome.seed, outcome)
    return list(best.values())


def drawings(measured: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """Shares of the outcomes against T, and the embeddings of one T."""
    from toysup.paper.questions.circles_drawing import Embedding, circles

    _, found = measured
    if not found:
        return
    values = sorted({outcome.T for outcome in found})
    counts = {
        kind: {T: sum((o.kind, o.T) == (kind, T) for o in found) for T in values} for kind in KINDS
    }
    T = min(values, key=lambda value: abs(value - DRAWN))
    of_T = [outcome for outcome in found if outcome.T == T]
    embeddings = []
    for name, runs in by_name(of_T).items():
        best = runs[0]
        note = (
            f"{len(runs)} of {len(of_T)} runs\n"
            f"train {best.train_loss:.1e}, test {best.test_loss:.4f}"
        )
        title = name.replace(": ", "\n")
        embeddings.append(Embedding(best.hidden, best.radii, title, note))
    heading = f"T = {T}: of each outcome the run of lowest train loss"
    yield "circles", circles(counts, embeddings, heading)


def see(measured: Measured, scale: str) -> str:
    """Outcomes of T = 8, or of the T nearest to it, and what examples at the origin cost."""
    _, found = measured
    if not found:
        return _runs.NOTHING
    T = min({outcome.T for outcome in found}, key=lambda value: abs(value - DRAWN))
    of_T = [outcome for outcome in found if outcome.T == T]
    parts = []
    for kind in KINDS:
        runs = [outcome for outcome in of_T if outcome.kind == kind]
        if runs:
            train, test = (
                median([getattr(run, f"{k}_loss") for run in runs]) for k in ("train", "test")
            )
            parts.append(f"{len(runs)} {kind} ({train:.1e}, {test:.4f})")
    best = best_of_data_sets(of_T)
    kept = sum(outcome.kind != ORIGIN for outcome in best)
    return (
        f"In circles.png: at T = {T} the outcomes of {len(of_T)} runs, with their median train and "
        f"test loss, are {', '.join(parts)}; in {kept} of {len(best)} data sets the best "
        f"initialization leaves no example at the origin."
    )


CIRCLES = Preset(
    name="circles",
    title="one circle or two: what becomes of 5 to 15 examples, over many seeds",
    scales={"small": {"circles": SMALL}, "paper": {"circles": PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
)
