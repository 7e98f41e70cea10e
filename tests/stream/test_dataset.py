"""Data sets of one's own: what they take, what they hold, and in which order their rows come."""

from __future__ import annotations

import copy
import gc
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import toysup
from helpers import Tensor, traced
from strategies import SEEDS
from toysup import DataError, TrainConfig
from toysup._stream.batch import take
from toysup._stream.dataset import find
from toysup._stream.rows import draws, order
from toysup._system import memory
from toysup.config.grid import Grid
from toysup.data import Dataset, SparseBatch, sample

X = np.array([[0.0, 3.0, 4.0], [1.0, 0.0, 0.0], [0.0, -2.0, 0.0]])


@st.composite
def dense(draw, max_rows=8, max_n=6):
    """A small array without empty rows."""
    shape = draw(st.integers(1, max_rows)), draw(st.integers(1, max_n))
    size = shape[0] * shape[1]
    array = np.array(draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size))) / 8
    array = array.reshape(shape)
    array[:, 0] += (array == 0).all(axis=1)
    return array


# ------------------------------------------------------------------------------- what is taken


def duplicated(array):
    """As a SciPy array that holds each value in two halves, unsorted, and zeros."""
    i, j = np.indices(array.shape).reshape(2, -1)[:, ::-1]
    half = array[i, j] / 2
    return sp.coo_array((np.tile(half, 2), (np.tile(i, 2), np.tile(j, 2))), shape=array.shape)


FORMS = {
    "list": lambda a: a.tolist(),
    "array": lambda a: a,
    "fortran": np.asfortranarray,
    "matrix": lambda a: a.view(np.matrix),
    "unmasked": np.ma.masked_array,
    "big-endian": lambda a: a.astype(">f8"),
    "tensor": lambda a: Tensor(a, requires_grad=True),
    "csr": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc": sp.csc_array,
    "lil": sp.lil_array,
    "duplicates": duplicated,
    "batch": lambda a: Dataset(a, normalize=False).X,
}


@pytest.mark.parametrize("form", FORMS)
@given(array=dense(), normalize=st.booleans())
def test_every_form_is_the_same_data_set(form, array, normalize):
    whole = Dataset(array, normalize=normalize)
    other = Dataset(FORMS[form](array), test=FORMS[form](array), normalize=normalize)
    assert Dataset(FORMS[form](array), normalize=normalize) == whole
    for batch in (other.X, other.test):
        assert [a.tobytes() for a in batch.csr()] == [a.tobytes() for a in whole.X.csr()]
    wanted = array / np.linalg.norm(array, axis=1, keepdims=True) if normalize else array
    np.testing.assert_allclose(whole.X.toarray(), wanted, rtol=1e-14, atol=0)
    assert np.all(whole.X.values != 0) and np.all(np.diff(whole.X.indptr) == (array != 0).sum(1))


def test_what_was_given_stays_as_it_is_and_can_be_changed_without_harm():
    batch = SparseBatch(np.array([0, 2]), np.array([0, 1], np.int32), np.array([3.0, 4.0]), 2)
    csr = sp.csr_array(np.array([[3.0, 4.0]]))
    for given_, values in ((batch, batch.values), (csr, csr.data)):
        data = Dataset(given_)
        assert values.tolist() == [3.0, 4.0]
        values[:] = 7.0
        assert data.X.values.tolist() == [0.6, 0.8]
        with pytest.raises(ValueError, match="read-only"):
            data.X.values[0] = 1.0
        values[:] = 3.0, 4.0


def test_a_torch_tensor():
    torch = pytest.importorskip("torch")
    assert Dataset(torch.tensor(X)) == Dataset(X)


@pytest.mark.parametrize("scale", [1.0, 2.0**900, 2.0**-900])
def test_rows_are_scaled_to_the_bits_of_the_stream(backend, scale):
    raw, scaled = (sample(200, 3000, 0.95, 7, normalize=flag) for flag in (False, True))
    kept = np.flatnonzero(np.diff(raw.indptr))
    data = Dataset(raw.to_scipy()[kept] * scale)
    assert data.X.values.tobytes() == scaled.values.tobytes()


def test_rows_of_very_different_lengths_are_scaled():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(40, 3000)) * (rng.random((40, 3000)) < rng.random((40, 1)) ** 6)
    array[:, 0] = 1.0
    norms = np.linalg.norm(Dataset(array).X.toarray(), axis=1)
    assert np.abs(norms - 1).max() < 1e-14
    tiny = Dataset([[1e-300, 1e300], [5e-324, 0.0]]).X.toarray()
    assert tiny.tolist() == [[0.0, 1.0], [1.0, 0.0]]


REFUSED = [
    (dict(X=[[1.0, 2.0], [1.0, np.nan]]), "X must be finite, got nan in row 1, column 1"),
    (dict(X=sp.csr_array([[0.0, np.inf]])), "X must be finite, got inf in row 0, column 1"),
    (dict(X=np.array([[1.0, 1e4000]], np.longdouble)), "X must be finite"),
    (dict(X=sp.coo_array(([1e308] * 2, ([0, 0], [0, 0])), shape=(1, 1))), "X must be finite"),
    (dict(X=[1.0, 2.0]), r"X must have shape \(T, n\), got shape \(2,\); one example is"),
    (dict(X=[[1.0], [1.0, 2.0]]), "X must have shape"),
    (dict(X=np.zeros((0, 3))), "X must hold at least one row"),
    (dict(X=np.zeros((3, 0))), "X must hold at least one row"),
    (dict(X=[["a"]]), "X must be a SparseBatch.* got list of dtype <U1"),
    (dict(X=[[1j]]), "X must be a SparseBatch.* got list of dtype complex128"),
    (dict(X=np.ones((2, 2), object)), "X must be a SparseBatch.* got ndarray of dtype object"),
    (dict(X=None), "X must be a SparseBatch.* got NoneType"),
    (dict(X=np.ma.masked_array(X, X > 3)), "X must have no masked values"),
    (dict(X=[[1.0], [0.0], [0.0]]), "X must have no empty row .* row 1, and 1 more, has"),
    (dict(X=[[0.0]], normalize=False), "X must hold a value that is not zero"),
    (dict(X=X, test=[[1.0, 2.0]]), "test must have n = 3 columns"),
    (dict(X=X, test=[[0.0, 0.0, 0.0]]), "test must have no empty row"),
    (dict(X=X, test=[[1.0, np.nan, 0.0]]), "test must be finite"),
    (dict(X=X, normalize=1), "normalize must be True or False, got 1"),
    (dict(X=X, feature_names=["a", "b"]), "feature_names must be n = 3 strings, got 2"),
    (dict(X=X, feature_names="abc"), "feature_names must be n = 3 strings, got 'abc'"),
    (dict(X=X, feature_names=[1, 2, 3]), "feature_names must be a string, got 1"),
    (dict(X=X, name=3), "name must be a string, got 3"),
    (dict(X=X, name="a" * 257), "name must have at most 256"),
    (dict(X=SparseBatch(*map(np.array, ([0, 2], [1, 0], [1.0, 1.0])), 2)), "must ascend"),
    (
        dict(X=SparseBatch(*map(np.array, ([0, 1], [2], [1.0])), 2)),
        r"X.indices must be in \[0, 2\)",
    ),
    (dict(X=SparseBatch(*map(np.array, ([0, 1], [0], [1.0])), 2.5)), "X.n must be an integer"),
]


@pytest.mark.parametrize("arguments, words", REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_refused(arguments, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Dataset(**arguments)


def test_several_data_sets_are_no_axis():
    data = Dataset(X)
    with pytest.raises(TypeError, match=r"data must be one toysup.data.Dataset for all runs"):
        toysup.sweep(data=[data, data], T=2)
    with pytest.raises(TypeError, match=r"of an array X of examples as rows, give .*Dataset\(X\)"):
        toysup.train(data=X, T=2)


def test_a_scipy_array_whose_indices_lead_elsewhere():
    for kind in (sp.csr_array, sp.csc_array):
        bad = kind(np.eye(3))
        bad.indices[0] = 1_000_000
        with pytest.raises(ValueError, match="X is no valid SciPy array"):
            Dataset(bad)


# -------------------------------------------------------------------------------- what it is


def test_a_data_set_says_what_it_is():
    data = Dataset(X, test=X[:1], feature_names=["a", "b", "c"], name="words")
    assert (data.n, len(data), data.feature_names, data.name) == (3, 3, ("a", "b", "c"), "words")
    assert repr(data).startswith("Dataset('words', 3 x 3, 1.33 non-zeros a row, 1 test rows, unit")
    for name in ("X", "digest", "other"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(data, name, 1)
    with pytest.raises(AttributeError, match="frozen"):
        del data.name


def test_the_digest_never_changes():
    # A store finds its data set by it: another value here orphans the data of every store.
    assert Dataset(X).digest[:16] == DIGEST
    assert Dataset(X, test=X, normalize=False).digest[:16] == DIGEST_TEST


DIGEST, DIGEST_TEST = "fa5ddc216f27d7bf", "c936888c13f3227d"


def test_the_digest_is_of_the_content():
    other = X.copy()
    other[0, 1] = np.nextafter(3.0, 4.0)
    wider = np.hstack([X, np.zeros((3, 1))])
    different = [
        *(Dataset(a, normalize=False) for a in (X, X[:2], X[::-1], other, wider)),
        *(Dataset(X, test=t, normalize=False) for t in (X, X[:1], other)),
        *(Dataset(X), Dataset(Dataset(X).X, normalize=False)),
    ]
    assert len({data.digest for data in different}) == len(set(different)) == len(different)
    named = Dataset(X, feature_names=["a", "b", "c"], name="words")
    assert named == Dataset(X) and hash(named) == hash(Dataset(X)) and named != "words"


def test_a_pickle_has_the_rows_and_the_names():
    data = Dataset(X, test=X[:2], feature_names=["a", "b", "c"], name="words")
    for back in (pickle.loads(pickle.dumps(data)), copy.copy(data), copy.deepcopy(data)):
        assert back == data and (back.name, back.feature_names) == ("words", ("a", "b", "c"))
        assert back.test.toarray().tobytes() == data.test.toarray().tobytes()


def test_memory_is_that_of_the_rows():
    rows, each = 100_000, 20
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, 50_000, (rows, each)), axis=1) + np.arange(each)
    parts = (np.ones(rows * each), indices.ravel().astype(np.int32), each * np.arange(rows + 1))
    given_ = sp.csr_array(parts, shape=(rows, 60_000))
    with traced() as took:
        data = Dataset(given_)
    assert took.held < 1.05 * (12 * rows * each + 8 * rows)
    assert took.peak < 2.2 * took.held
    assert len(data) == rows


def test_memory_of_a_dense_array_is_that_of_its_values():
    array = np.tile([0.0, 1.0, 2.0, 0.0], (2_000, 1_000))
    with traced() as took:
        data = Dataset(array)
    assert took.held < 1.05 * 12 * array.size / 2 and took.peak < 2.4 * took.held
    expected = array[[0, 1_999]] / np.sqrt(5_000)
    np.testing.assert_allclose(take(data.X, np.array([0, 1_999])).toarray(), expected)


def test_what_does_not_fit_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda threads=2: 1_000)
    with pytest.raises(MemoryError, match=r"X, with 10,000 values .* needs about 120 kB, .*1.0 kB"):
        Dataset(np.ones((100, 100)))


# ----------------------------------------------------------------------------- what configs hold


def test_a_config_finds_the_rows_while_anybody_holds_them():
    rows = np.array([[0.0, 3.0, 4.5], [1.0, 0.0, 0.0], [0.0, -2.0, 0.0]])  # nobody else's
    data = Dataset(rows)
    config = TrainConfig(data=data, m=1)
    assert config.data.digest == data.digest and find(config.data) is data
    assert (config.n, config.T, config.normalize) == (3, 3, True)
    assert config.sparsity == 1 - 4 / 9
    sent = pickle.loads(pickle.dumps(config))
    read = TrainConfig.from_json(config.to_json())
    assert sent == config == read and sent.key() == config.key() == read.key()
    assert len(pickle.dumps(config)) < 3000
    assert find(sent.data) is data and copy.deepcopy(config) == config
    again = TrainConfig.from_json(config.to_json())
    del data, config, sent, read
    gc.collect()
    with pytest.raises(DataError, match=r"3 rows of 3 features\) are not at hand"):
        find(again.data)
    first, made = Dataset(rows), Dataset(rows)
    del first
    gc.collect()
    assert find(again.data) is made


def test_a_config_that_lies_about_its_data_is_refused():
    data = Dataset(X)
    values = data.ref.to_json()
    false = TrainConfig(m=1, data={**values, "rows": 7})
    with pytest.raises(DataError, match="is not as"):
        find(false.data)
    for wrong in (
        *({**values, name: -1} for name in values),
        *({name: values[name] for name in values if name != left} for left in values),
        {**values, "more": 1},
        {**values, "digest": "0" * 63 + "G"},
        {**values, "nonzeros": 100},
        {**values, "largest": float("nan")},
    ):
        with pytest.raises((TypeError, ValueError), match="data"):
            TrainConfig(m=1, data=wrong)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"n": 4}, "n must be 3, the number of features of data, got 4"),
        ({"T": 4}, "T must be at most 3, the number of rows of data, got 4"),
        ({"sparsity": 0.5}, "sparsity must not be given beside data"),
        ({"sparsity": np.array([0.5, 0.9, 1.0])}, "sparsity must not be given beside data"),
        ({"normalize": False}, "normalize must not be given beside data"),
        ({"data": X}, "data must be a toysup.data.Dataset, got array"),
        ({"data": [Dataset(X)]}, "data must be one toysup.data.Dataset for all runs, got a list"),
        ({"data": "words"}, "data must be a toysup.data.Dataset"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(fields, words):
    for use in (TrainConfig, toysup.train, toysup.sweep, toysup.plan):
        with pytest.raises((TypeError, ValueError), match=words):
            use(**{"data": Dataset(X), "m": 1, **fields})


def test_values_that_the_dtype_cannot_hold_are_refused():
    data = Dataset([[1e300, 1.0]], normalize=False)
    with pytest.raises(ValueError, match="data must hold values of at most"):
        TrainConfig(data=data, m=1)
    assert TrainConfig(data=data, m=1, dtype="float64").data.largest == 1e300


def test_what_follows_from_the_data_is_not_given_beside_them():
    data = Dataset(X)
    config = TrainConfig(data=data, m=1)
    for use in (toysup.train, toysup.sweep):
        with pytest.raises(ValueError, match="normalize must not be given beside data"):
            use(data=data, m=1, normalize=True)
        with pytest.raises(ValueError, match="sparsity must not be given beside data"):
            use(config, sparsity=config.sparsity)
    assert config.replace(steps=3).data == config.data


def test_other_data_bring_their_own_fields():
    config = TrainConfig(data=Dataset(X), m=1, T=2)
    other = config.replace(data=Dataset(np.eye(5), normalize=False))
    assert (other.n, other.T, other.normalize, other.sparsity) == (5, 2, False, 0.8)
    none = config.replace(data=None)
    assert (none.n, none.T, none.sparsity, none.normalize) == (3, 2, 0.999, True)
    assert TrainConfig(n=7, T=3).replace(data=Dataset(X)).n == 3
    for changes in ({"data": Dataset(np.eye(5), normalize=False)}, {"data": None}):
        grid = Grid.make(config, changes)
        assert list(grid.configs().values()) == [config.replace(**changes)]


def test_how_many_test_examples_there_are():
    data, tested = Dataset(X), Dataset(X, test=X[:2])
    for config, count in (
        (TrainConfig(data=data, m=1), 0),
        (TrainConfig(data=data, m=1, T=1), 2),
        (TrainConfig(data=data, m=1, T=1, test_size=1), 1),
        (TrainConfig(data=data, m=1, T=float("inf")), 0),
        (TrainConfig(data=tested, m=1), 2),
        (TrainConfig(data=tested, m=1, T=1, test_size=1), 1),
        (TrainConfig(data=tested, m=1, T=float("inf")), 2),
        (TrainConfig(test_size=9), 9),
    ):
        assert config.tested == count


# ------------------------------------------------------------------------------ the order of rows


def test_the_order_and_the_draws_never_change():
    # The Rust core has the same draws in its own tests.
    assert order(0, 8).tolist() == ORDERS[0]
    assert order(1, 8).tolist() == ORDERS[1]
    assert order(2**63 - 1, 5).tolist() == ORDERS[2]
    assert draws(3, 10, 0, 6).tolist() == DRAWS[0]
    assert draws(7, 2**32 - 1, 2**40, 3).tolist() == DRAWS[1]
    assert draws(7, 3 * 2**61, 0, 8).tolist() == DRAWS[2]  # a quarter of the words is dropped


ORDERS = [[3, 2, 4, 7, 6, 1, 5, 0], [0, 7, 3, 6, 5, 1, 4, 2], [1, 4, 3, 2, 0]]
DRAWS = [
    [2, 9, 5, 3, 0, 3],
    [1011677226, 930437958, 3098815128],
    [
        4172337263246099266,
        91692768963722628,
        3632738012530261050,
        4193313096755404610,
        337159192627196170,
        5609578295437656447,
        2375720809781276744,
        1872813356198600374,
    ],
]


@given(SEEDS, st.integers(1, 3000))
def test_an_order_has_every_row_once(seed, rows):
    assert np.array_equal(np.sort(order(seed, rows)), np.arange(rows))


@given(SEEDS, st.integers(1, 2**62), st.integers(0, 2**48), st.integers(0, 40))
def test_any_range_of_draws_is_a_part_of_the_whole(seed, rows, start, count):
    whole = draws(seed, rows, start, 60)
    assert np.all((0 <= whole) & (whole < rows))
    assert np.array_equal(draws(seed, rows, start + 60 - count, count), whole[60 - count :])


def test_orders_and_draws_are_even():
    # Each row is first, and is drawn, equally often: within five standard deviations.
    rows, seeds = 7, 7000
    first = np.bincount([order(seed, rows)[0] for seed in range(seeds)], minlength=rows)
    drawn = np.bincount(draws(0, rows, 0, seeds), minlength=rows)
    for counts in (first, drawn):
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
