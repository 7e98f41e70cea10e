"""What runs store: the measures against plain formulas, and against models made by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import csr_array

import toysup
from helpers import traced
from toysup import regime
from toysup._backends.protocol import Backend
from toysup._run import model
from toysup._run.run import Run
from toysup._stream.batch import take
from toysup.data import SparseBatch
from toysup.plot._sweeps import regime as _regime

Array = npt.NDArray[Any]

TINY: dict[str, Any] = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}
# So sparse that examples rarely have a feature in common.
SPARSE: dict[str, Any] = {"n": 2_000, "sparsity": 0.995, "steps": 0, "warmup": 0.0, "test_size": 0}


def tiny(**fields: Any) -> Run:
    return toysup.train(progress=False, **{"m": 2, "T": 20, **TINY, **fields})


def reconstructed(run: Run, X: Array) -> Array:
    """x' of dense examples, as the paper has it."""
    z = X @ run.W.T.astype(float) @ run.W.astype(float) + run.b
    return z if run.config.activation == "linear" else np.maximum(z, 0)


def storing(groups: list[list[int]], T: int, **fields: Any) -> Run:
    """A run that stores each group of its T orthogonal examples as their mean, on a polygon.

    The analytic solution: radius r with r^2 (1 - cos(2 pi / corners)) = 1, and a bias that leaves
    1 / K of an example in its own direction and nothing in the others.
    """
    run = toysup.train(m=2, T=T, progress=False, **{**SPARSE, **fields})
    X = run.training_set().toarray()
    assert np.allclose(X @ X.T, np.eye(T)), "examples share features: choose another seed"
    corners = max(len(groups), 5)  # so that no bias is positive
    square = 1 / (1 - math.cos(2 * math.pi / corners))
    W, b = np.zeros(run.W.shape), np.zeros(run.b.shape)
    for corner, group in enumerate(groups):
        angle = 2 * math.pi * corner / corners
        for t in group:
            W += math.sqrt(square) * np.outer([math.cos(angle), math.sin(angle)], X[t])
            b -= (square - 1 / len(group)) * X[t]
    return replace(run, W=W, b=b)


def disjoint(T: int) -> int:
    """A seed whose first T examples have no feature in common and are not zero."""
    for seed in itertools.count():
        X = toysup.data.sample(SPARSE["n"], T, SPARSE["sparsity"], seed).toarray()
        if np.allclose(X @ X.T, np.eye(T)):
            return seed
    raise AssertionError


def components(near: Array) -> Array:
    """Of an adjacency matrix, a label for each row."""
    label = np.arange(len(near))
    for _ in near:
        label = np.array([label[row].min() for row in near | np.eye(len(near), dtype=bool)])
    return label


def same_partition(a: Array, b: Array) -> bool:
    return bool(np.all((a[:, None] == a) == (b[:, None] == b)))


# --- losses and gains ---


def test_with_infinite_T_example_losses_are_of_the_last_update() -> None:
    fields = {**TINY, "T": float("inf"), "batch_size": 20}
    run = toysup.train(**fields, m=2, seed=3, progress=False)
    rows = run.training_set()
    assert float(regime.example_loss(run).mean()) == run.model.loss(rows)
    # The loss of the history is of the examples that one more update would have.
    fields = {**fields, "steps": run.config.steps + 1}
    after = toysup.train(**fields, m=2, seed=3, progress=False).training_set()
    assert run.model.loss(after) == pytest.approx(run.train_loss, rel=1e-6)
    assert run.model.loss(rows) != pytest.approx(run.train_loss, rel=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"activation": "linear"},
        {"importance": 0.9},
        {"repeats": {2: 5}},
        {"normalize": False, "m": 3},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_losses_add_up_to_the_train_loss(fields: dict[str, Any], backend: Backend) -> None:
    run = tiny(**fields)
    by_example, by_feature = regime.example_loss(run), regime.feature_loss(run)
    assert by_example.shape == (20 + 4 * ("repeats" in fields),)
    assert by_example.mean() == pytest.approx(run.train_loss, rel=1e-6)
    assert by_feature.sum() == pytest.approx(by_example.mean(), rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_losses_and_gains_are_those_of_the_formula(activation: str) -> None:
    run = tiny(activation=activation, importance=0.95, steps=200, learning_rate=0.01)
    X = toysup.data.sample(60, 30, 0.9, seed=5, role="test")
    x = X.toarray()
    weight = run.config.importances()
    silent = weight * (x - reconstructed(run, 0 * x)) ** 2
    error = weight * (x - reconstructed(run, x)) ** 2
    for given in (X, x, csr_array(x)):
        np.testing.assert_allclose(regime.example_loss(run, given), error.sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(regime.feature_loss(run, given), error.mean(axis=0), rtol=1e-6)
    gain = 1 - error.sum(axis=1) / silent.sum(axis=1)
    np.testing.assert_allclose(regime.example_gain(run, X), gain, rtol=1e-6)
    before = silent.sum(axis=0)
    removed = before - error.sum(axis=0)
    gain = np.divide(removed, before, out=np.zeros(60), where=before > 0)
    np.testing.assert_allclose(regime.feature_gain(run, X), gain, rtol=1e-5, atol=1e-9)


def test_one_of_K_that_are_stored_as_their_mean_gains_one_Kth() -> None:
    run = storing([[0], [1, 2], [3, 4, 5]], T=7, seed=disjoint(7))
    expected = [1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 0]
    np.testing.assert_allclose(regime.example_gain(run), expected, atol=1e-12)
    np.testing.assert_allclose(regime.example_loss(run), 1 - np.array(expected), atol=1e-12)


def test_gains_can_be_negative_and_are_0_without_a_loss() -> None:
    run = tiny()
    x = np.zeros((2, 60))
    x[1, 0] = 1.0
    W, b = np.zeros((2, 60)), np.zeros(60)
    W[0, :2] = 1.0, 2.0  # feature 0 is read as itself, and twice that of feature 1
    gain = regime.example_gain(replace(run, W=W, b=b), x)
    np.testing.assert_allclose(gain, [0, 1 - 4])


def test_chunks_change_nothing_and_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny(n=1_000, sparsity=0.99, T=300, steps=20)
    X = run.training_set()

    def everything() -> list[Array]:
        few = regime.clusters(run, X, rows=np.arange(0, 300, 3))
        index, similarity = regime.nearest_example(run, X, rows=np.arange(30))
        return [
            regime.example_loss(run, X), regime.feature_loss(run, X),
            regime.example_gain(run, X), regime.feature_gain(run, X),
            index, similarity, few.label, few.size, np.array([few.sharing, few.chance]),
        ]  # fmt: skip

    whole = everything()
    monkeypatch.setattr(model, "_BUDGET", 2**13)
    with traced() as memory:
        parts = everything()
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert memory.peak < 1.2e6 < 8 * 300 * 1_000


# --- retrieval ---


def test_the_nearest_example_is_that_of_the_largest_cosine(backend: Backend) -> None:
    run = tiny(T=40, steps=300, learning_rate=0.01)
    x = run.training_set().toarray()
    y = reconstructed(run, x)
    length = np.linalg.norm(y, axis=1, keepdims=True) * np.linalg.norm(x, axis=1)
    cosine = np.divide(y @ x.T, length, out=np.zeros((40, 40)), where=length > 0)
    index, similarity = regime.nearest_example(run)
    np.testing.assert_allclose(similarity, cosine.max(axis=1), rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(index, np.where(similarity > 0, cosine.argmax(axis=1), -1))
    rows = [30, 3, 3]
    some = regime.nearest_example(run, rows=rows)
    np.testing.assert_array_equal(some[0], index[rows])
    np.testing.assert_allclose(some[1], similarity[rows])


def test_single_examples_are_retrieved_and_those_in_clusters_stay_in_them() -> None:
    run = storing([[0], [1], [2, 3]], T=5, seed=disjoint(5))
    index, similarity = regime.nearest_example(run)
    assert index[:2].tolist() == [0, 1]
    assert set(index[2:4].tolist()) <= {2, 3}
    assert index[4] == -1
    np.testing.assert_allclose(similarity, [1, 1, 0.5**0.5, 0.5**0.5, 0], atol=1e-12)


def test_a_copy_is_retrieved_as_itself() -> None:
    run = storing([[0], [1], [2]], T=3, seed=disjoint(3))
    X = run.training_set().toarray()[[0, 1, 2, 1]]
    assert regime.nearest_example(run, X)[0].tolist() == [0, 1, 2, 3]


def test_zero_examples_resemble_nothing() -> None:
    run = storing([[0], [1], [2]], T=3, seed=disjoint(3))
    X = np.vstack((np.zeros((1, 2_000)), run.training_set().toarray(), np.zeros((2, 2_000))))
    assert regime.nearest_example(run, X)[0].tolist() == [-1, 1, 2, 3, -1, -1]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([20], ValueError, r"rows must be in \[0, 20\), got 20"),
        ([-1], ValueError, r"rows must be in \[0, 20\), got -1"),
        ([0.5], TypeError, r"rows must be .* got \[0.5\]"),
        ([[1]], TypeError, r"rows must be .* got \[\[1\]\]"),
        (np.array([True]), TypeError, r"rows must be .* got array\(\[ True\]\)"),
    ],
)
def test_bad_rows_are_named(rows: object, error: type[Exception], message: str) -> None:
    run = tiny(steps=1)
    for measure in (regime.nearest_example, regime.clusters):
        with pytest.raises(error, match=message):
            measure(run, rows=rows)  # type: ignore[operator]


# --- clusters ---


def test_clusters_are_the_groups_that_the_model_stores() -> None:
    run = storing([[0], [1, 4], [2, 3, 5], [6]], T=7, seed=disjoint(7))
    found = regime.clusters(run)
    assert same_partition(found.label, np.array([0, 1, 2, 2, 1, 2, 3]))
    assert found.size.tolist() == [3, 2, 1, 1]
    assert np.bincount(found.label).tolist() == [3, 2, 1, 1]
    assert (found.sharing, found.chance) == (0, 0)
    some = regime.clusters(run, rows=[3, 1, 2])
    assert some.label.tolist() == [-1, 1, 0, 0, -1, -1, -1]


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("similarity", [0.6, 0.9])
def test_clusters_are_what_links_connect(m: int, similarity: float) -> None:
    run = tiny(T=60, m=m, steps=300, learning_rate=0.01)
    x = run.training_set().toarray()
    y = reconstructed(run, x)
    y /= np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-300)
    found = regime.clusters(run, similarity=similarity)
    assert same_partition(found.label, components(y @ y.T >= similarity))
    assert len(found.size) < 60
    share = (x > 0).astype(float) @ (x > 0).T > 0
    pairs = np.triu(np.ones((60, 60), dtype=bool), 1)
    assert found.chance == pytest.approx(share[pairs].mean())
    within = pairs & (found.label[:, None] == found.label)
    assert found.sharing == pytest.approx(share[within].mean())


def test_clusters_of_nothing() -> None:
    found = regime.clusters(tiny(steps=1), rows=np.zeros(20, dtype=bool))
    assert np.all(found.label == -1)
    assert found.size.size == 0
    assert math.isnan(found.sharing) and math.isnan(found.chance)


def test_clusters_of_correlated_examples_are_told_from_others() -> None:
    """A model that groups by feature, and one that groups without regard to features."""
    T, n = 12, 60
    x = np.zeros((T, n))
    for t in range(T):
        x[t, [t % 4, 10 + t]] = 0.5**0.5  # t, t + 4 and t + 8 have a feature in common
    run = tiny()
    angle = 2 * np.pi * np.arange(4) / 4
    corners = np.stack((np.cos(angle), np.sin(angle)))
    for group, sharing in ((np.arange(T) % 4, 1.0), (np.arange(T) // 3, 0.0)):
        W, b = np.zeros((2, n)), np.full(n, -0.1)
        W[:, 10 : 10 + T] = corners[:, group]
        found = regime.clusters(replace(run, W=W, b=b), x)
        assert same_partition(found.label, group)
        assert found.sharing == sharing
        assert found.chance == pytest.approx(12 / 66)


# --- polygons ---


def corners(count: int, radius: float = 1.0, turn: float = 0.3) -> Array:
    angle = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.c_[np.cos(angle), np.sin(angle)]


@pytest.mark.parametrize("count", [3, 4, 5, 8, 15, 30, 200])
@pytest.mark.parametrize("turn", [0.0, 1.0, math.pi])
def test_regular_polygons(count: int, turn: float) -> None:
    found = regime.polygon(corners(count, radius=1e-3, turn=turn)[::-1])
    assert str(found) == f"{count} on one circle, regular"
    assert found.regular
    (circle,) = found.circles
    assert (circle.vectors, circle.directions) == (count, count)
    assert circle.radius == pytest.approx(1e-3)
    assert circle.deviation < 1e-9 and circle.spread < 1e-12


def test_noise_up_to_the_tolerance_is_regular() -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (6, 2))
    assert regime.polygon(corners(6) + 0.03 * noise).regular
    for radius, regular in ((0.82, True), (0.78, False)):
        longer = corners(6) * [[1], [1], [0.9], [1], [radius], [1]]
        found = regime.polygon(longer)
        assert found.circles[0].spread == pytest.approx(1 - radius)
        assert found.regular == regular
        assert regime.polygon(longer, tolerance=0.5).regular
    # One corner out of place by a quarter of the way to the next.
    turned = corners(6)
    turned[0] = corners(24)[1]
    found = regime.polygon(turned)
    assert found.circles[0].deviation == pytest.approx(0.25)
    assert str(found) == "6 on one circle, irregular"


@pytest.mark.parametrize(
    ("V", "text"),
    [
        (np.vstack((corners(6, 2.4), corners(2, 1.7))), "two circles: 6 and 2"),
        (np.vstack((corners(2, 0.5), corners(5), corners(4, 3.0))), "three circles: 4, 5 and 2"),
        (np.vstack((corners(5), 0 * corners(3))), "5 on one circle, regular; 3 at the origin"),
        (np.vstack((corners(5), corners(4, 0.05))), "5 on one circle, regular; 4 at the origin"),
        (np.vstack((corners(5), corners(1, 0.5))), "5 on one circle, regular; 1 elsewhere"),
        (np.vstack((corners(5), corners(5, 0.95))), "10 on one circle in 5 directions, regular"),
        (np.vstack([corners(2, 0.7**k) for k in range(5)]), "10 spread out"),
        (np.outer(np.linspace(0.2, 1, 30), [1, 2]), "30 spread out"),
        (corners(2), "2 on one circle, irregular"),
        (corners(1), "1 on one circle, irregular"),
        (np.zeros((8, 2)), "8 at the origin"),
        (np.zeros((0, 2)), "no vectors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_descriptions(V: Array, text: str) -> None:
    found = regime.polygon(V)
    assert str(found) == text
    assert found.vectors == len(V)
    assert found.at_origin + sum(circle.vectors for circle in found.circles) == len(V)
    shuffled = np.random.default_rng(1).permutation(V)
    assert str(regime.polygon(shuffled)) == text


def test_directions_across_the_end_of_the_circle_are_one() -> None:
    """Vectors a little above and a little below the angle pi."""
    V = np.vstack((corners(5, turn=math.pi - 0.01), corners(5, turn=math.pi + 0.01)))
    (circle,) = regime.polygon(V).circles
    assert (circle.vectors, circle.directions) == (10, 5)
    assert circle.deviation < 1e-9


@pytest.mark.parametrize(
    ("V", "options", "error", "message"),
    [
        (np.zeros((3, 3)), {}, ValueError, r"V must have shape \(N, 2\), got shape \(3, 3\)"),
        (np.zeros(4), {}, ValueError, r"V must have shape \(N, 2\), got shape \(4,\)"),
        ([[1.0, np.nan]], {}, ValueError, "V must be finite, got .*nan"),
        ([["a", "b"]], {}, TypeError, "V must be a real array"),
        (corners(3), {"gap": 0.0}, ValueError, r"gap must be in \(0, 1\], got 0.0"),
        (corners(3), {"origin": 2}, ValueError, r"origin must be in \(0, 1\], got 2"),
        (corners(3), {"tolerance": "x"}, TypeError, "tolerance must be a real number, got 'x'"),
    ],
)
def test_bad_vectors_are_named(
    V: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        regime.polygon(V, **options)


# --- classes ---


def test_classes_of_a_model_made_by_hand() -> None:
    run = storing([[0], [1], [2, 3], [4, 5, 6]], T=8, seed=disjoint(8))
    found = regime.classify(run)
    assert found.label.tolist() == ["single"] * 2 + ["cluster"] * 5 + ["none"]
    assert found.counts == {"single": 2, "partial": 0, "cluster": 5, "feature": 0, "none": 1}
    assert found.size.tolist() == [3, 2, 1, 1]
    assert found.cluster[7] == -1
    # Members of a cluster have equal reconstructions, so that one or another is the nearest.
    assert found.retrieved <= 5 / 8 and found.kept_together == 1
    assert str(found.polygon) == "7 on one circle in 4 directions, irregular"
    summary = found.summary()
    assert (summary["T"], summary["clusters"], summary["largest_cluster"]) == (8, 2, 3)
    assert summary["max_loss"] == pytest.approx(1)
    assert summary["median_loss"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    text = "8 examples: 2 single, 0 partial, 5 cluster, 0 feature, 1 none. Features represented: 0."
    assert str(found).startswith(text)


def test_an_example_that_is_alone_is_no_cluster() -> None:
    """Alone in its direction, but a fifth of it only is read."""
    run = storing([[0], [1], [2]], T=4, seed=disjoint(4))
    run = replace(run, b=run.b - 0.8 * run.training_set().toarray()[2])
    found = regime.classify(run)
    assert found.label.tolist() == ["single", "single", "partial", "none"]
    assert found.gain[2] == pytest.approx(1 - 0.8**2)
    assert found.size.tolist() == [1, 1, 1]
    assert found.summary()["clusters"] == 0 and math.isnan(found.kept_together)
    *_, sizes = _regime.regime(run).ravel()
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in sizes.containers}
    assert {name: sum(count) for name, count in heights.items()} == {
        "single": 2, "partial": 1, "cluster": 0,
    }  # fmt: skip


def test_clusters_have_two_members_or_more(backend: Backend) -> None:
    """In a trained run in which some are alone but gain less than half."""
    run = tiny(n=500, sparsity=0.98, T=40, steps=1_500, learning_rate=2e-2, eps=2e-6)
    found = regime.classify(run)
    size = np.append(found.size, 0)[found.cluster]
    assert np.array_equal(size >= 2, found.label == "cluster")
    assert np.array_equal(size == 1, np.isin(found.label, ["single", "partial"]))
    partial = found.gain[found.label == "partial"]
    assert len(partial) and partial.max() < 0.5


def test_bars_of_large_clusters_stand_for_ranges_of_sizes() -> None:
    found = regime.classify(tiny(T=8))
    sizes = np.array([3_000, 33, 32, 5, 4, 3, 2, 1, 1, 1])
    label = np.array(["single"] * 2 + ["partial"])
    ax = plt.subplots()[1]
    _regime._sizes(ax, replace(found, size=sizes, label=label))
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert names[:6] == ["1", "2", "3–4", "5–8", "9–16", "17–32"] and names[-1] == "2,049–4,096"
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    assert heights["single"][0] == 2 and heights["partial"][0] == 1
    assert heights["cluster"] == [0, 1, 2, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1]


def test_what_a_represented_feature_explains_is_no_memory(backend: Backend) -> None:
    """Five features as a pentagon, as a model has them after infinite data."""
    run = tiny(T=300, steps=1, test_size=0)
    W, b = np.zeros((2, 60)), np.zeros(60)
    square = 1 / (1 - math.cos(2 * math.pi / 5))
    W[:, :5] = math.sqrt(square) * corners(5).T
    b[:5] = 1 - square
    found = regime.classify(replace(run, W=W, b=b), fresh=3_000)
    assert np.flatnonzero(found.represented).tolist() == [0, 1, 2, 3, 4]
    assert found.counts["single"] == 0
    assert found.counts["feature"] > 5 * found.counts["cluster"]
    # Fresh examples gain as often as those of the training set do.
    stored = 1 - found.counts["none"] / 300
    assert found.fresh_stored == pytest.approx(stored, abs=0.08)
    # Were no feature represented, the same gains would count as memory.
    none = regime.classify(replace(run, W=W, b=b), represented=1.0)
    assert none.counts["feature"] == 0
    assert none.counts["none"] == found.counts["none"]


def test_few_examples_are_stored_singly(backend: Backend) -> None:
    fields = {"n": 500, "sparsity": 0.98, "steps": 2_500, "learning_rate": 2e-2, "eps": 2e-6}
    found = regime.classify(tiny(T=5, **fields))
    assert found.counts["single"] == 5
    assert found.retrieved == 1
    assert found.fresh_stored < 0.03
    assert found.polygon is not None and len(found.polygon.circles) == 1


@pytest.mark.parametrize(
    "fields", [{"T": math.inf, "batch_size": 25}, {"m": 3}, {"m": 1}, {"repeats": {0: 4}}], ids=str
)
def test_any_run_can_be_classified(fields: dict[str, Any], backend: Backend) -> None:
    run = tiny(**fields)
    found = regime.classify(run, fresh=10, retrieve=5)
    assert len(found.label) == len(run.training_set()) == sum(found.counts.values())
    assert len(found.fresh_loss) == 10
    assert (found.polygon is None) == (run.config.m != 2)
    stored = np.isin(found.label, ["single", "partial", "cluster"])
    np.testing.assert_array_equal(found.cluster >= 0, stored)
    assert found.size.sum() == stored.sum()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gain": 0.0}, ValueError, r"gain must be in \(0, 1\], got 0.0"),
        ({"share": 1.5}, ValueError, r"share must be in \(0, 1\], got 1.5"),
        ({"similarity": -1}, ValueError, r"similarity must be in \(0, 1\], got -1"),
        ({"represented": math.nan}, ValueError, "represented must be finite, got nan"),
        ({"fresh": 0}, ValueError, "fresh must be between 1 .* got 0"),
        ({"retrieve": 1.5}, TypeError, "retrieve must be an integer, got 1.5"),
    ],
)
def test_bad_options_are_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        regime.classify(tiny(steps=1), **options)


def test_what_is_no_run_or_did_not_end_well_is_refused() -> None:
    run = tiny(steps=1)
    broken = replace(run, status="diverged", b=np.full(60, np.nan, dtype=np.float32))
    for measure in (regime.example_loss, regime.nearest_example, regime.clusters, regime.classify):
        with pytest.raises(TypeError, match=r"run must be a Run.*, got 'x' \(str\)"):
            measure("x")  # type: ignore[operator]
        with pytest.raises(ValueError, match=r"run must have finite weights, got .* diverged"):
            measure(broken)  # type: ignore[operator]
    with pytest.raises(ValueError, match="X must have n = 60 columns"):
        regime.example_loss(run, np.zeros((2, 5)))


def test_examples_are_taken_in_any_order() -> None:
    X = toysup.data.sample(60, 30, 0.9, seed=1)
    rows = np.array([4, 4, 29, 0])
    few = take(X, rows)
    assert isinstance(few, SparseBatch)
    np.testing.assert_array_equal(few.toarray(), X.toarray()[rows])
    assert len(take(X, rows[:0])) == 0


# --- drawings ---


def offsets(ax: Any, label: str) -> Array:
    (found,) = [dots for dots in ax.collections if dots.get_label() == label]
    return np.asarray(found.get_offsets())


def test_the_page_of_a_run_shows_every_example() -> None:
    run = storing([[0], [1], [2, 3], [4, 5, 6]], T=8, seed=disjoint(8))
    axes = _regime.regime(run)
    hidden, losses, features, sizes = axes.ravel()
    found = regime.classify(run)
    for name, count in found.counts.items():
        here = found.label == name
        np.testing.assert_allclose(offsets(hidden, f"{count} {name}"), run.hidden()[here])
        losses_there = offsets(losses, name)[:, 1]
        np.testing.assert_allclose(losses_there, np.sort(found.loss[here]), atol=1e-12)
    fresh = next(line for line in losses.lines if line.get_label() == "fresh")
    assert np.all(np.diff(fresh.get_ydata()) >= 0)
    dots = sum(len(np.asarray(dots.get_offsets())) for dots in features.collections)
    assert dots == len(np.unique(run.training_set().indices))
    bars = {(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in sizes.patches}
    assert {(round(x), height) for x, height in bars if height} == {
        (size, np.count_nonzero(found.size == size)) for size in found.size
    }
    axes[0, 0].figure.canvas.draw()


@pytest.mark.parametrize(
    "fields",
    [{"m": 1}, {"m": 4}, {"T": math.inf, "steps": 0, "warmup": 0.0}],
    ids=str,
)
def test_any_run_can_be_drawn(fields: dict[str, Any]) -> None:
    run = tiny(**fields)
    axes = _regime.regime(run)
    assert axes.shape == (2, 2)
    axes[0, 0].figure.canvas.draw()
    given = plt.subplots(2, 2)[1]
    assert np.all(_regime.regime(run, axes=given) == given)
    with pytest.raises(ValueError, match="needs 2 x 2 Axes, got 1"):
        _regime.regime(run, axes=given[0, 0])


def test_of_a_sweep_one_T_is_drawn() -> None:
    result = toysup.sweep(m=2, T=[5, 8], seed=range(2), progress=False, **TINY)
    with pytest.raises(ValueError, match="T has 2 values"):
        _regime.regime(result)
    title = _regime.regime(result, T=8)[0, 0].get_title()
    assert title == "hidden vectors of T = 8 examples"


def test_shares_against_T_add_up() -> None:
    runs = {T: [tiny(T=T, seed=seed) for seed in range(2)] for T in (8, 3, math.inf)}
    found = {T: [regime.classify(run, fresh=50) for run in of_T] for T, of_T in runs.items()}
    shares, lines = _regime.regimes(found).axes
    heights: dict[int, list[float]] = {}
    for bar in shares.patches:
        heights.setdefault(round(bar.get_x() + 0.41), []).append(bar.get_height())
    for place, T in enumerate((3, 8, math.inf)):
        expected = [
            np.mean([run.counts[name] / len(run.label) for run in found[T]])
            for name in regime.CLASSES
        ]
        assert heights[place] == pytest.approx(expected)
    assert [label.get_text() for label in lines.get_xticklabels()] == ["3", "8", "∞"]
    retrieved = next(line for line in lines.lines if line.get_label() == "examples retrieved")
    expected = [np.mean([run.retrieved for run in found[T]]) for T in (3, 8, math.inf)]
    np.testing.assert_allclose(retrieved.get_ydata(), expected)


# ------------------------------------------------------------------------- weights of one's own


def test_measures_take_weights_of_any_origin(backend: Backend) -> None:
    run = tiny()
    X = run.training_set()
    measures = (
        regime.example_loss,
        regime.feature_loss,
        regime.example_gain,
        regime.feature_gain,
        lambda *given: regime.nearest_example(*given)[0],
        lambda *given: regime.clusters(*given).label,
    )
    for measure in measures:
        want = measure(run)
        for given in (run.model, (run.W, run.b)):
            np.testing.assert_array_equal(measure(given, X), want)
            with pytest.raises(ValueError, match="X must be given: a model has no training set"):
                measure(given)
    known = regime.classify(run, X)
    for given in (run.model, (run.W, run.b)):  # which have no config to draw fresh examples by
        found = regime.classify(given, X)
        assert found.label.tolist() == known.label.tolist()
        assert found.polygon == known.polygon and found.retrieved == known.retrieved
        assert len(found.fresh_loss) == 0 and math.isnan(found.fresh_stored)
        np.testing.assert_array_equal(found.represented, run.model.represented())
        with pytest.raises(ValueError, match="X must be given: a model has no training set"):
            regime.classify(given)
        with pytest.raises(ValueError, match="X must hold at least one example, got"):
            regime.classify(given, X.toarray()[:0])
    with pytest.raises(TypeError, match=r"run must be a Run, a Model or a pair \(W, b\), got 3"):
        regime.classify(3)  # type: ignore[arg-type]
    linear = tiny(activation="linear")
    np.testing.assert_array_equal(
        regime.example_loss(linear.model, X), regime.example_loss(linear, X)
    )
