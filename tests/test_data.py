"""Data sets from files, and those of simple structure."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import toysup
from helpers import on
from toysup.data import (
    Dataset,
    anticorrelated_pairs,
    correlated_pairs,
    hierarchical,
    load,
    one_at_a_time,
    sample,
)

MAKE = {
    "correlated": lambda rows, seed=3: correlated_pairs(20, rows, 0.9, seed),
    "anticorrelated": lambda rows, seed=3: anticorrelated_pairs(20, rows, 0.9, seed),
    "hierarchical": lambda rows, seed=3: hierarchical(30, rows, 0.8, seed, children=2, share=0.25),
    "one": lambda rows, seed=3: one_at_a_time(20, rows, seed),
}
ROWS = 20_000


def near(found, wanted, spread=1.0, count=ROWS):
    """Within five standard deviations of the mean of so many draws."""
    return np.all(np.abs(np.asarray(found) - wanted) < 5 * spread / math.sqrt(count))


# ---------------------------------------------------------------------------------------- files


def test_files_of_scipy_and_numpy(tmp_path):
    X = sample(30, 50, 0.8, 1).toarray()
    X = X[X.any(axis=1)]
    sp.save_npz(tmp_path / "words.npz", sp.csc_array(X))
    np.save(tmp_path / "words.npy", X)
    for name in ("words.npz", "words.npy"):
        data = load(tmp_path / name, normalize=False)
        assert data == Dataset(X, normalize=False) and data.name == "words"
        both = load(str(tmp_path / name), test=tmp_path / "words.npy", name="both")
        assert both == Dataset(X, test=X) and both.name == "both"


def test_files_that_are_none(tmp_path):
    for name in ("a.npz", "a.npy"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            load(tmp_path / name)
        (tmp_path / name).write_bytes(b"nothing of that kind")
        with pytest.raises(ValueError, match=r"holds no array of (SciPy|NumPy)"):
            load(tmp_path / name)
    np.savez(tmp_path / "other.npz", a=[1.0])
    with pytest.raises(ValueError, match="holds no array of SciPy"):
        load(tmp_path / "other.npz")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="holds no array of NumPy"):
        load(tmp_path / "objects.npy")
    (tmp_path / "evil.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="holds no array of NumPy"):
        load(tmp_path / "evil.npy")
    for name in ("a.csv", "a"):
        with pytest.raises(ValueError, match=r"must end in .npz or .npy"):
            load(tmp_path / name)
    with pytest.raises(TypeError, match="path must be a path"):
        load(3)


# ------------------------------------------------------------------------------------ generators


@pytest.mark.parametrize("kind", MAKE)
def test_both_backends_draw_the_same_data(native, reference, kind):
    assert on(native, MAKE[kind], 500) == on(reference, MAKE[kind], 500)


@pytest.mark.parametrize("kind", MAKE)
def test_the_data_never_change(backend, kind):
    assert MAKE[kind](50).digest[:12] == DIGESTS[kind]


DIGESTS = {
    "correlated": "242dad0d7389",
    "anticorrelated": "c00275d7cbf2",
    "hierarchical": "5eb1124547d7",
    "one": "5ccc29d92d67",
}


def test_numbers_of_numpy_make_the_same_data():
    for make in (correlated_pairs, anticorrelated_pairs, hierarchical):
        data = make(np.int64(20), np.int64(50), np.float64(0.9), np.int64(3))
        assert data == make(20, 50, 0.9, 3)
        assert toysup.TrainConfig(data=data, T=10).to_json()
    data = one_at_a_time(np.int64(20), np.int64(50), np.int64(3))
    assert data == one_at_a_time(20, 50, 3)


@pytest.mark.parametrize("kind", MAKE)
def test_a_row_does_not_depend_on_how_many_there_are(kind):
    few, many = MAKE[kind](40).X.toarray(), MAKE[kind](90).X.toarray()
    assert few.tobytes() == many[:40].tobytes()
    assert not np.array_equal(few, MAKE[kind](40, seed=4).X.toarray())


@pytest.mark.parametrize("kind", MAKE)
def test_values_are_uniform(kind):
    values = MAKE[kind](ROWS).X.values
    assert np.all((values > 0) & (values <= 1))
    counts = np.histogram(values, 10, (0, 1))[0] / len(values)
    assert near(counts, 0.1, 0.3, len(values))


def test_correlated_pairs():
    x = MAKE["correlated"](ROWS).X.toarray()
    a, b = x[:, ::2], x[:, 1::2]
    assert np.array_equal(a > 0, b > 0)
    assert near((a > 0).mean(axis=0), 0.1, 0.3)
    both = a > 0
    assert abs(np.corrcoef(a[both], b[both])[0, 1]) < 5 / math.sqrt(both.sum())
    assert near((both[:, 0] & both[:, 1]).mean(), 0.01, 0.1)


def test_anticorrelated_pairs():
    x = MAKE["anticorrelated"](ROWS).X.toarray()
    a, b = x[:, ::2] > 0, x[:, 1::2] > 0
    assert not np.any(a & b)
    assert near(a.mean(axis=0), 0.1, 0.3) and near(b.mean(axis=0), 0.1, 0.3)
    assert near((a[:, 0] & b[:, 1]).mean(), 0.01, 0.1)


def test_hierarchical():
    x = MAKE["hierarchical"](ROWS).X.toarray().reshape(ROWS, 10, 3) > 0
    parent, first, second = np.moveaxis(x, 2, 0)
    assert not np.any(first & ~parent) and not np.any(second & ~parent)
    assert near(parent.mean(axis=0), 0.2, 0.4)
    for child in (first, second):
        assert near(child[parent].mean(), 0.25, 0.45, parent.sum())
    assert near((first & second)[parent].mean(), 0.0625, 0.25, parent.sum())


def test_one_at_a_time():
    data = MAKE["one"](ROWS)
    assert np.array_equal(np.diff(data.X.indptr), np.ones(ROWS))
    assert near(np.bincount(data.X.indices, minlength=20) / ROWS, 0.05, 0.22)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: correlated_pairs(3, 5, 0.5), "n must be a multiple of 2, got 3"),
        (lambda: hierarchical(4, 5, 0.5, children=2), "n must be a multiple of 3, got 4"),
        (lambda: hierarchical(4, 5, 0.5, children=0), "children must be between"),
        (lambda: hierarchical(4, 5, 0.5, share=0.0), "share must be in"),
        (lambda: anticorrelated_pairs(4, 5, 0.4), r"sparsity must be in \[0.5, 1\), got 0.4"),
        (lambda: correlated_pairs(4, 5, 1.0), r"sparsity must be in \[0, 1\), got 1"),
        (lambda: one_at_a_time(4, 0), "rows must be between"),
        (lambda: one_at_a_time(4, 5, -1), "seed must be between"),
        (lambda: correlated_pairs(2, 1, 1 - 1e-9), "X must hold a value that is not zero"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_model_learns_pairs(backend):
    # Pairs that never meet can lie opposite to each other: one hidden dimension holds two features.
    data = anticorrelated_pairs(2, 400, 0.5)
    run = toysup.train(data=data, m=1, steps=1500, learning_rate=0.02, loss_reduction="sum")
    assert run.train_loss < 0.02 * float(np.mean(np.square(data.X.toarray()).sum(axis=1)))
    assert run.W[0, 0] * run.W[0, 1] < -0.8
