"""Lists of pairs: whatever the parameters do, the gradient is that of all pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings

import toysup
from helpers import (
    assert_same_gradient,
    bits,
    digest,
    gradient_tolerance,
    in_new_process,
    on,
    plain_gradient,
)
from soak import soak
from strategies import SEEDS

Array = npt.NDArray[Any]

DTYPES = ("float32", "float64")
KERNELS = ("dense", "lists", "auto")
# Blocks of examples or, if 5 T < n, groups of features (m up to 6); rows of one vector, of several,
# and with remainders.
HIDDEN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33)


# ------------------------------------------------------------------------------- examples


def rows_of(n: int, rows: list[dict[int, float]]) -> tuple[Array, Array, Array]:
    """CSR arrays of rows given as {feature: value}."""
    return (
        np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
        np.array([j for row in rows for j in sorted(row)], np.int32),
        np.array([row[j] for row in rows for j in sorted(row)], np.float64),
    )


def examples_of(kind: str, n: int, T: int, sparsity: float, seed: int) -> tuple[Array, ...]:
    """CSR arrays of T examples."""
    if kind == "whole numbers":  # so that z is exact, and can be made 0
        rng = np.random.default_rng(seed)
        return rows_of(n, [{int(rng.integers(n)): float(rng.integers(1, 4))} for _ in range(T)])
    x = toysup.data.sample(n, T, sparsity, seed)
    rows = [
        dict(zip(x.indices[a:b].tolist(), x.values[a:b].tolist(), strict=True))
        for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True)
    ]
    if kind == "repeated":
        rows = [rows[t % max(1, T // 5)] for t in range(T)]
    elif kind == "empty":
        rows = [row if t % 3 == 0 else {} for t, row in enumerate(rows)]
    elif kind == "none":
        rows = [{} for _ in rows]
    elif kind == "uneven":  # norms over six orders of magnitude
        sizes = 10.0 ** np.random.default_rng(seed).uniform(-3, 3, T)
        rows = [
            {j: v * size for j, v in row.items()} for row, size in zip(rows, sizes, strict=True)
        ]
    return rows_of(n, rows)


# ---------------------------------------------------------------------------------- paths


def walk(rng: np.random.Generator, shape: tuple[int, ...], steps: int, size: float) -> Array:
    """A random walk from 0."""
    moves = size * rng.standard_normal((steps, *shape))
    moves[0] = 0.0
    return np.cumsum(moves, axis=0)


@dataclass(frozen=True)
class Path:
    """Parameters that follow one another, and examples."""

    n: int
    m: int
    T: int
    kind: str = "drift"
    steps: int = 40
    seed: int = 0
    dtype: str = "float64"
    move: float = 1e-3  # of a coordinate in a step
    pace: float = 1e-3  # what the lists are told of it
    weights: float = 1.0
    bias: float = 0.0
    sparsity: float = 0.9
    rows: str = "drawn"
    importance: str = "one"
    repeated: bool = False  # features in groups of equals

    def parameters(self) -> tuple[Array, Array]:
        """W (steps, m, n) and b (steps, n)."""
        rng = np.random.default_rng(self.seed)
        n, m, steps = self.n, self.m, self.steps
        time = np.arange(steps)[:, None]
        W = self.weights * rng.standard_normal((m, n)) / np.sqrt(m)
        b = 0.3 * (self.bias + rng.standard_normal(n))
        dW, db = walk(rng, (m, n), steps, self.move), walk(rng, (n,), steps, self.move)
        if self.kind == "drift":
            dW = self.move * time[:, :, None] * rng.uniform(-1, 1, (m, n))
            db = self.move * time * rng.uniform(-1, 1, n)
        elif self.kind == "still":
            dW, db = 0 * dW, 0 * db
        elif self.kind == "jumps":  # there for some steps, and back
            away = (time // 5 % 2 == 1) & (rng.uniform(size=n) < 0.5)
            dW = dW + away[:, None, :] * rng.standard_normal((m, n))
            db = db + away * rng.standard_normal(n)
        elif self.kind == "revive":  # one after another, far below 0 and up again
            phase = 2 * np.pi * (time / 20 + rng.uniform(size=n))
            db = db + 4 * np.sin(phase)
        elif self.kind == "shrink":  # all examples at 0 for some steps
            dW = dW - W * (time // 7 % 2 == 1)[:, :, None]
        elif self.kind == "scales":  # every feature has its own size, and it changes
            W = W * 10.0 ** rng.uniform(-6, 3, n)
            b = b * 10.0 ** rng.uniform(-6, 3, n)
            dW, db = dW * np.abs(W), db * np.abs(b)
        elif self.kind == "zeros":  # z = 0 exactly, for at least one example of each feature
            return self.zeros(rng)
        W, b = W + dW, b + db
        if self.repeated:
            same = np.arange(n) // 3 * 3
            W, b = W[:, :, same], b[:, same]
        return W.astype(self.dtype), b.astype(self.dtype)

    def zeros(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Whole numbers, with b = -w . h for an example of each feature, or just beside."""
        W = np.empty((self.steps, self.m, self.n))
        b = np.empty((self.steps, self.n))
        x = self.dense()
        pairs = rng.integers(self.T, size=self.n)
        now = rng.integers(-3, 4, (self.m, self.n)).astype(float)
        for step in range(self.steps):
            moved = rng.uniform(size=now.shape) < 0.02
            now = now + moved * rng.integers(-1, 2, now.shape)
            W[step] = now
            b[step] = -np.einsum("kj,jk->j", now, (x @ now.T)[pairs])
            W[step][:, :: max(2, self.n // 3)] = 0.0
            b[step][:: max(2, self.n // 3)] = 0.0
        beside = rng.integers(-1, 2, self.n) * (np.arange(self.n) % 2)
        b = b.astype(self.dtype)
        b[:, beside > 0] = np.nextafter(b[:, beside > 0], np.array(np.inf, self.dtype))
        b[:, beside < 0] = np.nextafter(b[:, beside < 0], np.array(-np.inf, self.dtype))
        return W.astype(self.dtype), b

    def examples(self) -> tuple[Array, ...]:
        kind = "whole numbers" if self.kind == "zeros" else self.rows
        return examples_of(kind, self.n, self.T, self.sparsity, self.seed)

    def dense(self) -> Array:
        indptr, indices, values = self.examples()
        x = np.zeros((self.T, self.n))
        x[np.repeat(np.arange(self.T), np.diff(indptr)), indices] = values
        return x

    def importances(self) -> Array:
        rng = np.random.default_rng(self.seed + 1)
        mixed = rng.choice([0.0, 1e-12, 0.5, 1.0, 30.0], self.n)
        kinds = {"one": 1.0, "zero": 0.0, "tiny": 1e-20, "mixed": mixed}
        return np.ones(self.n) * kinds[self.importance]


def gradients(path: Path, W: Array, b: Array, kernel: str, threads: int = 1) -> tuple[Array, Array]:
    """What the extension says of parameters one after another."""
    from toysup import _native

    given = (path.examples(), path.importances(), 1.0, path.pace)
    W, b = np.ascontiguousarray(W), np.ascontiguousarray(b)
    return _native.gradients(W, b, *given, kernel, threads)


def assert_right(reference, path: Path, kernels=("lists", "auto"), every: int = soak(2, 1)) -> None:
    """At these steps, no further from the reference than rounding and the dense kernel allow."""
    W, b = path.parameters()
    X, x, importance = path.examples(), path.dense(), path.importances()
    found = {kernel: gradients(path, W, b, kernel) for kernel in ("dense", *kernels)}
    tiny = 2 * float(np.finfo(path.dtype).tiny)
    for step in sorted({*range(0, path.steps, every), path.steps - 1}):
        given = (W[step], b[step], x, importance)
        doubles = (W[step].astype(float), b[step].astype(float))
        if not all(np.all(np.isfinite(g[step])) for g in found["dense"]):
            continue
        want = reference.loss_and_grad(*doubles, X, importance, "sum")
        tolerance = gradient_tolerance(*given)
        largest = max(np.max(np.abs(part)) for part in want[1:])
        share = max(np.max(part) for part in tolerance[1:]) / 2
        if path.dtype == "float64":
            share = max(share, 1e-11 * largest)
        off = {
            kernel: max(
                np.max(np.abs(part[step] - exact))
                for part, exact in zip(found[kernel], want[1:], strict=True)
            )
            for kernel in found
        }
        for kernel in kernels:
            dW, db = found[kernel]
            assert_same_gradient((want[0], dW[step], db[step]), want, tolerance)
            assert off[kernel] <= 5 * off["dense"] + share + tiny, (
                f"{kernel}, step {step}: off by {off[kernel]:.3e}, dense by {off['dense']:.3e}, "
                f"largest {largest:.3e}"
            )


@st.composite
def paths(draw, **fixed: Any) -> Path:
    """Paths over every structure of lists."""
    n = draw(st.integers(1, 200))
    drawn = {
        "m": min(n, draw(st.sampled_from(HIDDEN))),
        "T": draw(st.integers(1, 120) | st.integers(1, max(1, (n - 1) // 5))),
        "kind": draw(
            st.sampled_from(
                ["drift", "walk", "jumps", "revive", "shrink", "scales", "zeros", "still"]
            )
        ),
        "steps": draw(st.integers(2, 40)),
        "seed": draw(SEEDS),
        "dtype": draw(st.sampled_from(DTYPES)),
        "move": draw(st.sampled_from([1e-6, 1e-3, 1e-2, 0.5])),
        "pace": draw(st.sampled_from([0.0, 1e-12, 1e-4, 1e-3, 1e-2, 1e3])),
        "weights": draw(st.sampled_from([1.0, 0.1, 5.0])),
        "bias": draw(st.sampled_from([0.0, -2.0, 2.0, 8.0])),
        "sparsity": draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])),
        "rows": draw(st.sampled_from(["drawn", "drawn", "repeated", "empty", "none"])),
        "importance": draw(st.sampled_from(["one", "one", "zero", "tiny", "mixed"])),
        "repeated": draw(st.booleans()),
    }
    return Path(n=n, **{**drawn, **fixed})


# ------------------------------------------------------------------------ any shape and path


@settings(max_examples=soak(20, 60))
@given(path=paths())
@example(path=Path(n=1, m=1, T=1))
@example(path=Path(n=1, m=1, T=120, kind="walk", sparsity=0.0))
@example(path=Path(n=63, m=6, T=100))  # the last group has a lane without a feature
def test_lists_give_the_gradient_of_all_pairs(doors, reference, path):
    assert_right(reference, path)


@settings(max_examples=soak(10, 25))
@given(path=paths(steps=12), few=st.integers(1, 9), sign=st.sampled_from([-1.0, 1.0]))
def test_few_features_with_many_examples(doors, reference, path, few, sign):
    few = min(few + 2, 9)
    path = replace(path, n=few, m=min(few, path.m), T=2 * few + 1 + path.T, bias=sign * path.bias)
    assert_right(reference, path)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_of_features_with_every_remainder(doors, reference, dtype, m):
    """The lanes behind the last feature take no part."""
    for n in (*range(max(m, 7), 18), *range(57, 66), 127, 191):
        for T in (20, (n - 1) // 5):
            for kind in ("drift", "revive"):
                path = Path(n=n, m=m, T=T, kind=kind, steps=4, dtype=dtype, importance="mixed")
                assert_right(reference, path, ("lists",))


@pytest.mark.parametrize("m", HIDDEN)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_examples_with_every_remainder(doors, reference, dtype, m):
    for T in soak((1, 2, 7, 8, 9, 15, 16, 17, 47), (*range(1, 18), 31, 32, 33, 47, 70)):
        for n in (max(m, 8), 40, 5 * T + 33):
            path = Path(n=n, m=m, T=T, kind="walk", steps=3, move=0.01, dtype=dtype, bias=0.5)
            assert_right(reference, path, ("lists",))


@pytest.mark.parametrize("m", [2, 7])
def test_more_examples_than_a_block_of_columns(doors, reference, m):
    """Non-zeros are collected 65,536 examples at a time; there are many tiles, too."""
    path = Path(n=8, m=m, T=2**16 + 70, kind="walk", steps=3, move=1e-3, sparsity=0.5)
    assert_right(reference, path)


def test_more_examples_than_64_of_the_longest_lists(doors):
    """Lists of up to 65,535 examples are few until T is 4 million; here all pairs are in them.

    Example t is a multiple x_t of feature t mod n alone, so that sums over pairs are closed forms.
    """
    n, T = 7, 4_193_000
    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((1, n, n)), rng.random(T)
    X = np.arange(T + 1), (np.arange(T) % n).astype(np.int32), x
    args = (np.ones(n), float(n), 1e6, "lists", 1)
    dW, db = doors.gradients(W.astype(np.float32), np.zeros((1, n), np.float32), X, *args)
    W = W[0]
    sums, squares = (np.array([np.sum(x[i::n] ** p) for i in range(n)]) for p in (1, 2))
    r = np.where((z := W.T @ W) > 0, z - np.eye(n), 0)  # by feature and kind of example, over x_t
    want = (W * squares) @ r.T + W @ r * squares
    assert np.allclose(dW[0], 2 * want / (T * n), rtol=0, atol=1e-4)
    assert np.allclose(db[0], 2 * (r @ sums) / (T * n), rtol=0, atol=1e-4)


@pytest.mark.parametrize("pace", [0.0, 1e-12, 1e-3, 1e3])
@pytest.mark.parametrize(
    "m, n, T", [(2, 70, 60), (2, 70, 300), (2, 310, 60), (5, 1510, 300), (7, 70, 60), (17, 70, 60)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_that_break_any_skin(doors, reference, dtype, m, n, T, pace):
    """The lists are told too little or too much of what the parameters do."""
    for kind in ("walk", "jumps", "revive", "shrink"):
        for move in (1e-4, 0.3):
            path = Path(
                n=n, m=m, T=T, kind=kind, steps=soak(12, 30), move=move, pace=pace, dtype=dtype
            )
            assert_right(reference, path, ("lists",))


# ------------------------------------------------------------------- zeros, sizes, exceptions


@given(path=paths(kind="zeros", pace=1e-3), weights=st.sampled_from([0.0, 1.0]))
def test_pairs_at_exactly_zero(doors, reference, path, weights):
    assert_right(reference, replace(path, weights=weights))


@pytest.mark.parametrize("m, T", [(2, 9), (6, 9), (2, 40), (2, 200), (6, 40), (8, 40), (33, 40)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_zeros(doors, dtype, m, T):
    """W = 0 and b = 0: no pair has an output, and nothing moves; with b = 1 all have the same."""
    path = Path(n=50, m=m, T=T, kind="still", dtype=dtype)
    W, b = np.zeros((6, m, 50), dtype), np.zeros((6, 50), dtype)
    b[3:, ::2] = 1.0
    dW, db = gradients(path, W, b, "lists")
    assert not dW.any() and not db[:3].any() and not db[:, 1::2].any()
    expected = 2 - 2 * path.dense()[:, ::2].mean(axis=0)
    assert np.allclose(db[3:, ::2], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-320, 1e-40, 1e-25, 1e-15, 1e-8, 1e4, 1e8, 1e15])
@pytest.mark.parametrize(
    "m, n, T",
    [(1, 60, 30), (2, 60, 150), (2, 160, 30), (5, 60, 30), (5, 160, 30), (7, 60, 30), (16, 60, 30)],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiny_and_huge_parameters(doors, reference, dtype, m, n, T, size):
    for pace in (1e-3, size):
        path = Path(n=n, m=m, T=T, kind="walk", steps=8, dtype=dtype, pace=pace)
        W, b = (Path.parameters(replace(path, dtype="float64"))[i] * size for i in (0, 1))
        scaled = Scaled(path, W.astype(dtype), b.astype(dtype))
        assert_right(reference, scaled, ("lists",))
        scaled = Scaled(path, W.astype(dtype), (b * size).astype(dtype))
        assert_right(reference, scaled, ("lists",))


class Scaled(Path):
    """A path of given parameters."""

    def __init__(self, path: Path, W: Array, b: Array) -> None:
        super().__init__(**path.__dict__)
        object.__setattr__(self, "given", (W, b))

    def parameters(self) -> tuple[Array, Array]:
        return self.given  # type: ignore[attr-defined]


@settings(max_examples=soak(12, 40))
@given(path=paths(rows="uneven", kind="drift"))
def test_examples_of_very_different_sizes(doors, reference, path):
    assert_right(reference, replace(path, pace=path.move))


@pytest.mark.parametrize(
    "m, n, T",
    [
        *[(1, 96, 100), (2, 96, 100), (2, 96, 400), (5, 96, 100), (6, 96, 500), (7, 96, 100)],
        *[(1, 520, 100), (2, 520, 100), (6, 520, 100)],
    ],
)
@pytest.mark.parametrize("importance", ["one", "mixed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_that_are_linear_with_exceptions(doors, reference, dtype, importance, m, n, T):
    """They are taken from moments, and the exceptions with the sign turned."""
    rng = np.random.default_rng(m)
    path = Path(n=n, m=m, T=T, kind="walk", steps=70, dtype=dtype, importance=importance)
    W, b = path.parameters()
    b = (np.abs(b) + 1.5 * np.linalg.norm(W[0], axis=0) * rng.uniform(0.2, 1, n)).astype(dtype)
    assert_right(reference, Scaled(path, W, b), every=5)
    z = path.dense() @ W[0].T.astype(float) @ W[0] + b[0]
    share = np.mean(z > 0, axis=0)
    assert np.any((share > 0.8) & (share < 1))  # else this shows nothing
    # All of them turn to the other kind of list, and back.
    turned = b * np.where(np.arange(70) // 10 % 2, -1, 1)[:, None].astype(dtype)
    assert_right(reference, Scaled(path, W, turned), every=3)


@pytest.mark.parametrize("m, T", [(1, 12), (2, 12), (1, 60), (2, 60), (2, 200), (7, 60), (7, 200)])
@pytest.mark.parametrize("size", [10.0, 1000.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_exceptions_do_not_drown_the_rest(doors, dtype, size, m, T):
    """Dead pairs add nothing, not even their rounding, however far below 0 they are.

    Three examples of four have z = b, nearly, and the fourth z = b - size.
    """
    n = 64
    rng = np.random.default_rng(0)
    path = GivenRows(n=n, m=m, T=T, dtype=dtype, pace=1e-7, steps=3)
    W, b = np.zeros((3, m, n), dtype), np.full((3, n), 0.01, dtype)
    W[:, 0] = -rng.uniform(0.5, 1, n)
    W[:, 0, :2] = 1e-3, size
    _, dW, db = plain_gradient(W[0], b[0], path.dense(), np.ones(n))
    for kernel in ("dense", "lists"):
        found = gradients(path, W, b, kernel)
        # For features that no example has, every term is positive, but for those of h.
        for got, want in zip(found, (dW, db), strict=True):
            off = np.abs(got[-1] - want)[..., 2:]
            allowed = 100 * float(np.finfo(dtype).eps) * np.abs(want[..., 2:])
            assert np.all(off <= allowed), f"{kernel}: {np.max(off / (allowed + 1e-300)):.3g} times"


@pytest.mark.parametrize("m, n, T", [(1, 4, 5), (1, 4, 60), (2, 40, 20), (2, 110, 20), (7, 10, 20)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_that_have_just_died_have_no_gradient(doors, dtype, m, n, T):
    """From z > 0 for all examples to z < 0 for all of them, but less than a skin below."""
    path = Path(n=n, m=m, T=T, dtype=dtype, pace=1e-2, rows="none")
    rng = np.random.default_rng(0)
    W = np.zeros((6, m, n), dtype)
    b = np.repeat([[2.0], [-0.05]], 3, axis=0).astype(dtype) * rng.uniform(0.5, 1, n).astype(dtype)
    for kernel in ("dense", "lists"):
        dW, db = gradients(path, W, b, kernel)
        assert np.all(db[:3] > 0) and not dW.any(), kernel
        assert not db[3:].any(), kernel


class GivenRows(Path):
    """A path on examples of one feature each, the second in one of four."""

    def examples(self) -> tuple[Array, ...]:
        return rows_of(self.n, [{int(t % 4 == 0): 1.0} for t in range(self.T)])


# ------------------------------------------------------------------------------- long and large


@pytest.mark.parametrize(
    "m, n, T",
    [
        *[(1, 64, 40), (2, 64, 90), (2, 64, 300), (5, 64, 250), (8, 64, 60), (17, 64, 60)],
        *[(2, 460, 90), (5, 310, 60)],
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_that_live_long(doors, reference, dtype, m, n, T):
    """Over reviews of the lists, new sorts of the examples, and looks for age."""
    for move, pace in ((1e-5, 1e-5), (1e-4, 1e-3)):
        for kind in ("walk", "drift"):
            path = Path(
                n=n, m=m, T=T, kind=kind, steps=soak(140, 270), move=move, pace=pace, dtype=dtype
            )
            assert_right(reference, path, every=9)


@pytest.mark.parametrize("m, n, T", [(2, 210, 40), (2, 40, 40), (2, 40, 300), (9, 40, 60)])
def test_lists_older_than_any_review(doors, reference, m, n, T):
    path = Path(n=n, m=m, T=T, kind="walk", steps=2200, move=3e-5, pace=3e-5)
    assert_right(reference, path, every=50)


@pytest.mark.parametrize(
    "m, n, T", [(16, 24, 2500), (33, 40, 1400), (6, 7, 3000), (3, 9, 2900), (6, 1300, 250)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_more_than_one_tile(doors, reference, dtype, m, n, T):
    for kind in soak(("revive",), ("walk", "revive")):
        path = Path(n=n, m=m, T=T, kind=kind, steps=12, dtype=dtype, importance="mixed")
        assert_right(reference, path, ("lists",), every=3)


def test_more_shares_than_one(doors, reference):
    """T beyond 4,096 examples to a share; the lists of all tiles are added up."""
    for m, n in ((2, 6), (7, 12)):
        path = Path(n=n, m=m, T=9000, kind="walk", steps=3, dtype="float64", sparsity=0.7)
        assert_right(reference, path)


# ---------------------------------------------------------------------------- not a number


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("m, T", [(2, 9), (6, 9), (2, 40), (2, 200), (6, 40), (7, 40), (17, 40)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_ends_nothing(doors, dtype, m, T, bad):
    """Where all pairs give numbers, the lists do, too: also afterwards."""
    path = Path(n=50, m=m, T=T, kind="walk", steps=12, dtype=dtype)
    for of_w, of_b in (((slice(4, 6), 0, 3), None), (None, (slice(4, 6), 7)), ((4, 0), (5,))):
        W, b = path.parameters()
        if of_w is not None:
            W[of_w] = bad
        if of_b is not None:
            b[of_b] = bad
        want, got = (gradients(path, W, b, kernel) for kernel in ("dense", "lists"))
        for step in range(path.steps):
            if all(np.all(np.isfinite(part[step])) for part in want):
                for ours, theirs in zip(got, want, strict=True):
                    assert np.all(np.isfinite(ours[step])), step
                    close = np.abs(ours[step] - theirs[step])
                    assert np.max(close) <= 1e-4 * np.max(np.abs(theirs[step])), step
        assert all(np.all(np.isfinite(part[-1])) for part in want)


# ------------------------------------------------------------------------------------- bits


@pytest.mark.parametrize(
    "m, n, T", [(2, 2400, 9000), (2, 5000, 4200), (2, 22_000, 4200), (8, 2300, 9000)]
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_number_of_threads_does_not_matter(doors, kernel, m, n, T):
    """Enough pairs for threads to be used, and shares, and the trial of ``auto``."""
    assert n * T >= 20_000_000
    path = Path(n=n, m=m, T=T, steps=3, sparsity=0.999, dtype="float32")
    W, b = path.parameters()
    given = [path.examples(), path.importances(), 1.0, path.pace]
    from toysup import _native

    found = {k: bits(*_native.gradients(W, b, *given, kernel, k)) for k in (1, 2, 3, 8)}
    assert len({digest(data) for data in found.values()}) == 1


@pytest.mark.parametrize("m, T", [(3, 20), (2, 100), (3, 500), (9, 200)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_again_gives_the_same_bits(doors, kernel, m, T):
    path = Path(n=120, m=m, T=T, kind="walk", steps=90, dtype="float32", bias=-1.0)
    W, b = path.parameters()
    first, second = (bits(*gradients(path, W, b, kernel)) for _ in range(2))
    assert first == second


def list_digests() -> dict[str, str]:
    """Digests of gradients from lists, over all structures and remainders."""
    found = {}
    for dtype in DTYPES:
        for m, n, T in (
            (1, 50, 90),
            (1, 256, 50),
            (2, 461, 90),
            (6, 211, 40),
            (2, 61, 77),
            (2, 20, 203),
            (6, 50, 40),
            (7, 40, 33),
            (17, 40, 61),
        ):
            for kind in ("walk", "revive", "scales"):
                path = Path(n=n, m=m, T=T, kind=kind, steps=25, dtype=dtype, bias=1.0)
                W, b = path.parameters()
                found[f"{path}"] = digest(bits(*gradients(path, W, b, "lists")))
    return found


def test_every_instruction_set_gives_the_same_bits_from_lists(doors):
    from toysup import _native

    here = list_digests()
    for isa in _native.available_isas():
        theirs = in_new_process("list_digests", "test_lists", TOYSUP_ISA=isa)
        differing = [name for name in here if theirs[name] != here[name]]
        assert not differing, f"{isa} and {_native.isa()} differ"


# ----------------------------------------------------------------------------- whole trainings


@pytest.mark.parametrize("T, m, steps", [(100, 2, 400), (1000, 2, 300), (200, 8, 300)])
def test_trainings_are_the_same_with_lists(native, monkeypatch, T, m, steps):
    config = toysup.TrainConfig(n=700, m=m, T=T, sparsity=0.99, steps=steps, test_size=0, record=20)
    curves = []
    for kernel in KERNELS:
        monkeypatch.setenv("TOYSUP_KERNEL", kernel)
        run = on(native, toysup.train, config)
        curves.append(run.history.train_loss.values)
    for curve in curves[1:]:
        assert np.allclose(curve, curves[0], rtol=1e-4, atol=0)
    assert not np.array_equal(curves[0], curves[1])  # else the variable was not read


def test_an_unknown_kernel_is_refused(native, monkeypatch):
    monkeypatch.setenv("TOYSUP_KERNEL", "fast")
    message = "TOYSUP_KERNEL must be auto, dense or lists, got 'fast'"
    with pytest.raises(ValueError, match=message):
        on(native, toysup.train, n=12, m=2, T=6, steps=2, test_size=0, sparsity=0.5)
    with pytest.raises(ValueError, match=message):
        on(native, toysup.sweep, n=12, m=2, T=[6, 7], steps=2, test_size=0, sparsity=0.5)
