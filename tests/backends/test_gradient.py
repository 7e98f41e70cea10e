"""The loss and its gradient: against central differences, a plain formula, and one another."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, example, given

import toysup
from helpers import (
    assert_same_gradient,
    bits,
    digests,
    gradient_tolerance,
    in_new_process,
    on,
    plain_gradient,
)
from soak import soak
from strategies import Problem, problems
from toysup.data import SparseBatch

REDUCTIONS = ("mean", "sum")


def answer(problem, reduction="sum"):
    """What toysup says, on the backend in use."""
    W, b = problem.parameters()
    X, importance = problem.examples(), problem.given_importance()
    return toysup.loss_and_grad(W, b, X, importance=importance, reduction=reduction)


def plain(problem, reduction="sum"):
    """What a plain formula says, and how far from it rounding may lead."""
    given = (*problem.parameters(), problem.examples().toarray(), problem.importances())
    features = problem.n if reduction == "mean" else 1
    return plain_gradient(*given, features), gradient_tolerance(*given, features)


def assert_right(problem, reduction="sum"):
    got = answer(problem, reduction)
    assert got[1].dtype == got[2].dtype == problem.dtype and isinstance(got[0], float)
    assert_same_gradient(got, *plain(problem, reduction))


# --------------------------------------------------------------------------- central differences


def stencil(loss, size):
    """Derivative at 0 by five points: exact, but for rounding, for polynomials of degree 4."""
    return (8 * (loss(size) - loss(-size)) - (loss(2 * size) - loss(-2 * size))) / (12 * size)


def largest_step(problem, dW, db):
    """The largest step along (dW, db) with its stencil on one side of every kink, or None."""
    W, b = problem.parameters()
    x = problem.examples().toarray()

    def active(step):
        w = W + step * dW
        return x @ w.T @ w + b + step * db > 0

    for step in (1e-2, 1e-3, 1e-4):
        if all(np.array_equal(active(0.0), active(k * step)) for k in (-2, -1, 1, 2)):
            return step
    return None


@given(problem=problems(max_n=12, max_m=5, max_T=8), reduction=st.sampled_from(REDUCTIONS))
def test_gradient_is_the_slope_of_the_loss(backend, problem, reduction):
    """Between kinks the loss is a polynomial of degree 4 along any line."""
    W, b = problem.parameters()
    X, importance = problem.examples(), problem.given_importance()
    options = {"importance": importance, "reduction": reduction}
    value, dW, db = toysup.loss_and_grad(W, b, X, **options)
    rng = np.random.default_rng(problem.seed + 1)
    checked = 0
    for _ in range(4):
        vW, vb = rng.standard_normal(W.shape), rng.standard_normal(b.shape)
        step = largest_step(problem, vW, vb)
        if step is None:
            continue
        slope = stencil(
            lambda s: toysup.loss_and_grad(W + s * vW, b + s * vb, X, **options)[0],  # noqa: B023
            step,
        )
        # Four losses, each right to some eps, over the step.
        error = 100 * 2.0**-52 * (value + 1e-3) / step
        expected = np.sum(dW * vW) + np.sum(db * vb)
        scale = np.sum(np.abs(dW * vW)) + np.sum(np.abs(db * vb))
        assert abs(slope - expected) <= error + 1e-11 * scale
        checked += 1
    assume(checked)


@given(problem=problems(max_n=6, max_m=3, max_T=3))
def test_every_entry_of_the_gradient_is_a_partial_derivative(backend, problem):
    W, b = problem.parameters()
    X, importance = problem.examples(), problem.given_importance()
    parameters = np.concatenate([W.ravel(), b])
    value, dW, db = toysup.loss_and_grad(W, b, X, importance=importance)
    gradient = np.concatenate([dW.ravel(), db])
    for i, partial in enumerate(gradient):
        direction = np.eye(len(parameters))[i]
        dW, db = direction[: W.size].reshape(W.shape), direction[W.size :]
        step = largest_step(problem, dW, db)
        if step is None:
            continue
        slope = stencil(
            lambda s: toysup.loss_and_grad(W + s * dW, b + s * db, X, importance=importance)[0],  # noqa: B023
            step,
        )
        assert slope == pytest.approx(partial, rel=1e-9, abs=100 * 2.0**-52 * (value + 1e-3) / step)


# -------------------------------------------------------------------------------- plain formulas


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(problem=problems(), reduction=st.sampled_from(REDUCTIONS))
@example(problem=Problem(n=1, m=1, T=1, sparsity=0.0), reduction="mean")
@example(problem=Problem(n=300, m=40, T=1100, importance="array"), reduction="sum")
def test_gradient_is_that_of_the_plain_formula(backend, dtype, problem, reduction):
    assert_right(replace(problem, dtype=dtype), reduction)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("importance", ["one", "array"])
@pytest.mark.parametrize(
    "n, m, T",
    [
        (2100, 1, 7),  # several blocks of features, small m
        (2100, 2, 513),  # and of examples
        (1030, 3, 65),
        (600, 4, 33),  # the same for larger m, with sub-blocks of examples
        (300, 33, 520),
        (17_000, 2, 9),  # the hidden gradient in two parts
        (17_000, 5, 3),
    ],
)
def test_gradient_is_right_across_blocks(backend, dtype, importance, n, m, T):
    sparsity = 1 - 10 / n
    assert_right(Problem(n=n, m=m, T=T, sparsity=sparsity, importance=importance, dtype=dtype))


@pytest.mark.parametrize("m", [*range(1, 10), 16, 17, 31])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_is_right_for_every_remainder(backend, dtype, m):
    """Numbers of examples that leave every remainder of the kernels' tiles."""
    for T in (*range(1, 18), 31, 32, 33):
        assert_right(Problem(n=65, m=m, T=T, sparsity=0.8, importance="array", dtype=dtype))


@given(problem=problems(), reduction=st.sampled_from(REDUCTIONS))
@example(  # h is 1/700 of the sum of its terms' absolute values
    problem=Problem(n=283, m=1, T=1, sparsity=0.0, normalize=False), reduction="mean"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_backends_agree(native, reference, dtype, problem, reduction):
    problem = replace(problem, dtype=dtype)
    ours, theirs = (on(backend, answer, problem, reduction) for backend in (native, reference))
    # Each may be off by the tolerance against exact numbers.
    bounds = [2 * t for t in plain(problem, reduction)[1]]
    assert_same_gradient(ours, theirs, bounds)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 9, 32])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_both_backends_agree_to_twelve_digits_on_the_papers_data(native, reference, m, reduction):
    """Few non-zeros and unit norms: h does not cancel, as drawn problems may (and lose digits)."""
    for seed in range(3):
        problem = Problem(n=300, m=m, T=600, sparsity=0.97, seed=seed)
        ours, theirs = (on(b, answer, problem, reduction) for b in (native, reference))
        for one, other in zip(ours, theirs, strict=True):
            assert np.max(np.abs(one - other)) <= 1e-12 * np.max(np.abs(other))


# Two examples, and 72 without a feature, whose terms are equal.
MOSTLY_EMPTY = Problem(n=5, m=1, T=74, sparsity=0.99, seed=943233, bias=2.0, spread=True)


@given(problem=problems(max_n=60, max_m=8, max_T=100), scale=st.sampled_from([1e-30, 1e-8, 1e4]))
@example(problem=MOSTLY_EMPTY, scale=1e4)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_is_right_for_tiny_and_large_weights(backend, dtype, problem, scale):
    assert_right(replace(problem, weights=scale, dtype=dtype))


# ------------------------------------------------------------------------------------ the ReLU


@given(problem=problems(max_n=50, max_m=6, max_T=50))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_derivative_at_the_kink_is_zero(backend, dtype, problem):
    """W = 0 and b = 0 make every z exactly 0: nothing moves, and the loss is that of no output."""
    W, b = np.zeros((problem.m, problem.n), dtype), np.zeros(problem.n, dtype)
    x, importance = problem.examples(), problem.given_importance()
    loss, dW, db = toysup.loss_and_grad(W, b, x, importance=importance, reduction="sum")
    assert not dW.any() and not db.any()
    expected = np.sum(x.toarray() ** 2 @ problem.importances()) / len(x)
    assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_z_of_exactly_zero_is_off_also_where_x_is_not_zero(backend, dtype, m):
    """Half the features have w = 0 and b = 0, and half b = 1, whose z is 1."""
    b = np.tile([0.0, 1.0], 10).astype(dtype)
    x = toysup.data.sample(20, 9, 0.5, 0)
    _, dW, db = toysup.loss_and_grad(np.zeros((m, 20), dtype), b, x, reduction="sum")
    assert not dW.any() and not db[::2].any()
    assert np.allclose(db[1::2], 2 - 2 * x.toarray()[:, 1::2].mean(axis=0), rtol=1e-6)


@given(problem=problems(max_n=80, max_m=8, max_T=80))
def test_dead_features_have_no_gradient(backend, problem):
    W, _ = problem.parameters()
    x, b = problem.examples(), np.full(problem.n, -1e6)
    loss, dW, db = toysup.loss_and_grad(W, b, x, importance=problem.given_importance())
    assert not dW.any() and not db.any()
    squares = np.sum(x.toarray() ** 2 @ problem.importances())
    assert loss == pytest.approx(squares / len(x) / problem.n, rel=1e-12)


@given(problem=problems(max_n=80, max_m=8, max_T=80))
def test_a_linear_model_has_the_gradient_of_least_squares(backend, problem):
    """With every z > 0, b's gradient is 2 mean(z - x), and W's that of a quadratic form."""
    W, _ = problem.parameters()
    X = problem.examples()
    x, bias = X.toarray(), 50.0 + np.abs(problem.parameters()[1])
    bias += problem.n * np.max(np.abs(W)) ** 2 * problem.m
    _, dW, db = toysup.loss_and_grad(W, bias, X, reduction="sum")
    error = x @ W.T @ W + bias - x
    assert np.allclose(db, 2 * error.mean(axis=0), rtol=1e-11)
    expected = 2 / len(x) * (W @ (x.T @ error + error.T @ x))
    assert np.allclose(dW, expected, rtol=1e-11, atol=1e-11 * np.max(np.abs(expected)))


@given(problem=problems(max_n=40, max_m=5, max_T=30), seed=st.integers(0, 1000))
def test_examples_of_zeros_count_and_move_only_the_bias(backend, problem, seed):
    """An all-zero example gives x' = relu(b); it adds relu(b)² to the loss and to T."""
    W, b = problem.parameters()
    x = problem.examples().toarray()
    rows = np.random.default_rng(seed).integers(0, len(x) + 1, 3)
    padded = np.insert(x, rows, 0.0, axis=0)
    options = {"importance": problem.given_importance(), "reduction": "sum"}
    loss, dW, db = toysup.loss_and_grad(W, b, x, **options)
    more, dW_more, db_more = toysup.loss_and_grad(W, b, padded, **options)
    y, T, weight = np.maximum(b, 0), len(x), problem.importances()
    assert more * (T + 3) == pytest.approx(loss * T + 3 * weight @ y**2, rel=1e-12)
    assert np.allclose(dW_more * (T + 3), dW * T, rtol=1e-10, atol=1e-11 * (1 + T))
    assert np.allclose(db_more * (T + 3), db * T + 6 * weight * y, rtol=1e-10, atol=1e-11 * (1 + T))


# --------------------------------------------------------------- features of one sign for all

# With R = max |h_t| a feature with |w_j| R < |b_j| is dead or linear for every example, and may be
# treated as a whole; in these problems some are and some are not.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("importance", soak(["one", "array"], ["one", "base", "array"]))
@pytest.mark.parametrize("bias", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize("m", soak([1, 2, 3, 9], [1, 2, 3, 4, 9]))
def test_dead_linear_and_mixed_features_together(backend, dtype, importance, bias, m):
    for n, T in ((130, 15), (130, 16), (130, 17), (64, 530), (1100, 40)):
        p = Problem(
            n=n,
            m=m,
            T=T,
            importance=importance,
            weights=4.0,
            bias=bias,
            dtype=dtype,
            seed=m + T,
            spread=True,
        )
        W, b = p.parameters()
        reach = np.max(np.linalg.norm(p.examples().dot(W.T.astype(float)), axis=1))
        whole = np.linalg.norm(W, axis=0) * reach < np.abs(b)
        assert 0 < np.count_nonzero(whole) < n  # else this shows nothing new
        assert_right(p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("off", [0.0, 1e-9, 1e-7, 1e-6, 3e-6, 1e-5, 1e-3])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_a_bias_that_barely_outweighs_the_weights(backend, dtype, sign, off, m):
    """b_j = ± |w_j| R (1 ± off), with the farthest example along ∓ w_j: z there is nearly 0."""
    rng = np.random.default_rng(m)
    n, T = 96, 32
    u = rng.standard_normal(m)
    u /= np.linalg.norm(u)
    lengths = rng.uniform(0.5, 1.5, n)
    W = (np.outer(u, lengths) * rng.choice([-1.0, 1.0], n)).astype(dtype)
    x = np.eye(n)[:T] * rng.uniform(0.5, 1.0, T)[:, None]
    reach = np.max(np.linalg.norm(x @ W.T.astype(float), axis=1))
    near = 1 + off * np.resize([-1.0, 1.0], n)
    b = (sign * np.linalg.norm(W, axis=0) * reach * near).astype(dtype)
    importance = np.ones(n)
    assert_same_gradient(
        toysup.loss_and_grad(W, b, x, reduction="sum"),
        plain_gradient(W, b, x, importance),
        gradient_tolerance(W, b, x, importance),
    )


# ----------------------------------------------------------------------------- forms of examples


@given(problem=problems(max_n=60, max_m=6, max_T=60), reduction=st.sampled_from(REDUCTIONS))
def test_the_form_of_the_examples_does_not_matter(backend, problem, reduction):
    X = problem.examples()
    W, b = problem.parameters()
    options = {"importance": problem.given_importance(), "reduction": reduction}
    expected = bits(*toysup.loss_and_grad(W, b, X, **options))
    forms = (X.toarray(), X.to_scipy(), X.to_scipy().tocoo(), scipy.sparse.csc_matrix(X.to_scipy()))
    for form in forms:
        assert bits(*toysup.loss_and_grad(W, b, form, **options)) == expected


def test_explicit_zeros_and_empty_rows_do_not_matter(backend):
    p = Problem(n=9, m=2, T=4)
    indptr, indices = np.array([0, 2, 2, 4, 4]), np.array([1, 5, 0, 8], np.int32)
    X = SparseBatch(indptr, indices, np.array([0.6, 0.8, 1.0, 0.0]), 9)
    with_zero = toysup.loss_and_grad(*p.parameters(), X)
    assert_same_gradient(
        with_zero,
        toysup.loss_and_grad(*p.parameters(), X.toarray()),
        gradient_tolerance(*p.parameters(), X.toarray(), p.importances(), 9),
    )


def test_the_memory_layout_of_w_does_not_matter(backend):
    p = Problem(n=30, m=4, T=20)
    W, b = p.parameters()
    strided, spread = np.zeros((4, 60))[:, ::2], np.zeros(90)[::3]
    strided[:], spread[:] = W, b
    expected = toysup.loss_and_grad(W, b, p.examples())
    tolerance = gradient_tolerance(W, b, p.examples().toarray(), p.importances(), p.n)
    for same in ((np.asfortranarray(W), b), (strided, spread)):
        assert_same_gradient(toysup.loss_and_grad(*same, p.examples()), expected, tolerance)


def test_the_arguments_are_left_as_they_were(backend):
    p = Problem(n=30, m=4, T=20)
    X = p.examples().to_scipy()
    given = (*p.parameters(), X.data, X.indices, X.indptr)
    before = bits(*given)
    toysup.loss_and_grad(*given[:2], X)
    assert bits(*given) == before


# ------------------------------------------------------------------------- instruction sets


def test_every_instruction_set_gives_the_same_bits(native):
    """In other processes, and whatever the number of threads of BLAS."""
    from toysup import _native

    isas = _native.available_isas()
    other = {"TOYSUP_BACKEND": "native", "OPENBLAS_NUM_THREADS": "2"}
    found = {isa: in_new_process("digests", TOYSUP_ISA=isa, **other) for isa in isas}
    here = on(native, digests)
    for isa, theirs in found.items():
        differing = [name for name in here if theirs[name] != here[name]]
        assert not differing, f"{isa} and {_native.isa()} differ"
