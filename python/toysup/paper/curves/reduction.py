"""Mean against sum over features: which reduction of the loss the paper used.

Asked: the paper's loss is printed without a division by the number of features. Replications that
sum over features find weights several times too large and test losses of tens and more. Is the
paper's the mean over features?

Trained: the models of figure 3 up to T = 20,000, once with the mean over features and once with the
sum. AdamW does not notice a factor of the loss, but for eps: the mean is exactly the sum with an
eps n times as large. With eps = 1e-8 and n = 10,000 the gradients of the mean are about as small as
eps as soon as a feature is rare, and those of the sum are far above.

Measured: test loss, which is reported as a sum over features in both cases, and the norms of W and
b.

Expected: the mean follows the curve read off the paper's figure 3. The sum follows it where the
training set is small or features are clearly learnt, and leaves it in between, where its weights
grow until the end of training and its losses reach tens to thousands. (T. Henighan et al. 2023,
figure 3; A. Jermyn's replication in the comments.)

Part "figure3" holds the runs with the mean, which are those of figure 3, and "figure3-sum" those
with the sum. The small scale is the stand-in of figure 3. A tenth of n keeps a feature ten times as
often in an example, so the gradients of the sum are ten times the paper's: eps is 1e-7 there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from toysup._sweep.result import SweepResult
from toysup._sweep.table import Table, Value
from toysup.paper import _recipe, _runs, reference
from toysup.paper._preset import Preset, Results
from toysup.paper.reference import Reading

if TYPE_CHECKING:
    import xarray

__all__ = ["REDUCTION", "SUM"]

SUM = "figure3-sum"
LARGEST = {"small": 2_000, "paper": 20_000}
KINDS = ("mean", "sum")


def _parts(fields: dict[str, Any], largest: float, **of_sum: Any) -> dict[str, dict[str, Any]]:
    """The runs of figure 3 up to a T, with the mean and with the sum."""
    some = {**fields, "T": tuple(T for T in fields["T"] if T <= largest)}
    return {_recipe.PART: some, SUM: {**some, "loss_reduction": "sum", **of_sum}}


def together(results: Results) -> xarray.Dataset:
    """The data sets of both reductions, over a new axis."""
    import xarray

    parts = [results[name].dataset for name in (_recipe.PART, SUM)]
    return xarray.concat(parts, "loss_reduction", join="outer", combine_attrs="drop").assign_coords(
        loss_reduction=list(KINDS)
    )


def _means(result: SweepResult) -> dict[str, dict[float, float]]:
    """Test loss, its spread and standard error, and both norms by T, over the finished seeds."""
    data = result.finished.dataset.transpose("T", "seed", ...)
    found = {name: data[name].mean("seed") for name in ("test_loss", "W_norm", "b_norm")}
    found["spread"] = data["test_loss"].std("seed", ddof=1)
    found["error"] = found["spread"] / data["test_loss"].count("seed") ** 0.5
    T = result.coords["T"]
    return {name: dict(zip(T, map(float, y), strict=True)) for name, y in found.items()}


def _distance(read: Reading, loss: float) -> float:
    """How far a loss is from what was read."""
    return max(0.0, read.value - loss) if read.is_bound else abs(loss - read.value)


def agreeing(read: Reading, losses: Sequence[float]) -> str:
    """Which of mean and sum lie within the uncertainty of a reading."""
    good = [kind for kind, loss in zip(KINDS, losses, strict=True) if read.agrees(loss)]
    return {0: "neither", 1: "".join(good), 2: "both"}[len(good)]


def nearer(read: Reading, losses: Sequence[float], errors: Sequence[float]) -> str:
    """Which of mean and sum is nearer to a reading; "both" where the runs cannot tell.

    They cannot if the distances differ by less than the uncertainty of the reading and the standard
    error of the difference.
    """
    mean, total = (_distance(read, loss) for loss in losses)
    if abs(mean - total) <= reference.UNCERTAINTY + math.hypot(*errors):
        return "both"
    return "mean" if mean < total else "sum"


def rows(results: Results, scale: str) -> list[dict[str, Any]]:
    """What is known of each T, as records of the table."""
    of = [_means(results[part]) for part in (_recipe.PART, SUM)]
    found = []
    for T in sorted({T for means in of for T in means["test_loss"]}):
        row: dict[str, Any] = {"T": T}
        for name in ("test_loss", "spread", "W_norm", "b_norm"):
            row |= {
                f"{kind}_{name}": one[name].get(T, math.nan)
                for kind, one in zip(KINDS, of, strict=True)
            }
        found.append(row | _compared(_recipe.paper_T(T, scale), T, of, scale))
    return found


def _compared(
    there: float, T: float, of: Sequence[dict[str, dict[float, float]]], scale: str
) -> dict[str, Value]:
    """The paper's value at its T, and which of mean and sum is like it."""
    read = reference.FIGURE3_TEST_LOSS.get(there)
    losses = [means["test_loss"].get(T, math.nan) for means in of]
    row: dict[str, Value] = dict.fromkeys(("paper_T", "paper_test_loss", "nearer", "agrees"))
    if read is not None:
        row |= {"paper_T": there, "paper_test_loss": str(read)}
    if read is not None and all(map(math.isfinite, losses)):
        errors = [0.0 if math.isnan(means["error"][T]) else means["error"][T] for means in of]
        row["nearer"] = nearer(read, losses, errors)
        # A stand-in cannot equal the paper to four digits.
        row["agrees"] = agreeing(read, losses) if scale == "paper" else None
    return row


_AGREES = {
    "small": """\
A stand-in does not equal the paper, so that only "nearer" says something: which of the two is
nearer to what was read off the paper's figure 3, at the same T up to 50 and at 10 T beyond; "both"
where the seeds cannot tell.""",
    "paper": f"""\
"nearer" is which of the two is nearer to what was read off the paper's figure 3, "both" where the
seeds cannot tell, and "agrees" which lies within {reference.UNCERTAINTY:g} of it, as well as that
can be read. The paper has other data sets: where spreads are larger, the right recipe may not.""",
}


def tables(results: Results, scale: str) -> list[Table]:
    """Test loss and norms of each T for both reductions, and which the paper's value is like."""
    found = rows(results, scale)
    heading = (
        f"Mean against sum at the {scale} scale: {_recipe.recipe(results[_recipe.PART])}, m = 2.\n"
        "Values are means over the seeds; spreads are standard deviations of the test loss.\n"
        f"{_AGREES[scale]}"
    )
    cells: list[tuple[Value, ...]] = [tuple(row.values()) for row in found]
    formats = {"T": ".12g", "paper_T": ".12g"}
    formats |= {f"{kind}_{name}": ".2f" for kind in KINDS for name in ("W_norm", "b_norm")}
    return [Table("reduction", list(found[0]), cells, heading=heading, formats=formats)]


def drawings(results: Results, scale: str) -> Iterator[tuple[str, Any]]:
    """Test loss and norms against T for both, with the paper's test losses."""
    from toysup.paper.curves.reduction_drawing import reduction

    if not any("ok" in result.statuses for result in results.values()):
        return
    known = {
        _recipe.paper_T(T, scale): T for result in results.values() for T in result.coords["T"]
    }
    exact, bounds = reference.test_losses(), reference.test_loss_bounds()
    yield (
        "reduction",
        reduction(
            together(results),
            reference={T: exact[there] for there, T in known.items() if there in exact},
            reference_above={T: bounds[there] for there, T in known.items() if there in bounds},
        ),
    )


def see(results: Results, scale: str) -> str:
    """Where the sum is farthest from the paper, and how often either is like it."""
    found = [
        row for row in rows(results, scale)
        if math.isfinite(row["sum_test_loss"]) and math.isfinite(row["mean_test_loss"])
    ]  # fmt: skip
    if not found:
        return _runs.NOTHING
    worst = max(found, key=lambda row: row["sum_test_loss"])
    return (
        f"In reduction.png: with the sum test loss reaches {worst['sum_test_loss']:,.2f} at "
        f"T = {worst['T']:,}, where it is {worst['mean_test_loss']:.4f} with the mean and "
        f"{worst['paper_test_loss'] or 'unknown'} in the paper, and the norm of W is "
        f"{worst['sum_W_norm']:.1f} instead of {worst['mean_W_norm']:.1f}. {_counted(found)}"
    )


def _counted(found: list[dict[str, Any]]) -> str:
    """At how many T each is nearer to the paper, and where it can be told, agrees with it."""
    judged = [row for row in found if row["nearer"] is not None]
    near = {kind: sum(row["nearer"] == kind for row in judged) for kind in KINDS}
    text = (
        f"The mean is nearer to the paper at {near['mean']} of {len(judged)} T, the sum at "
        f"{near['sum']}"
    )
    strict = [row["agrees"] for row in judged if row["agrees"] is not None]
    good = {kind: sum(said in (kind, "both") for said in strict) for kind in KINDS}
    if strict:
        text += f"; within the reading's uncertainty are {good['mean']} and {good['sum']}"
    return f"{text}."


REDUCTION = Preset(
    name="reduction",
    title="the mean over features against the sum, for m = 2",
    scales={
        "small": _parts(_recipe.SMALL, LARGEST["small"], eps=1e-7),
        "paper": _parts(_recipe.PAPER, LARGEST["paper"]),
    },
    make_tables=tables,
    draw=drawings,
    tell=see,
)
