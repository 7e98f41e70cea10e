"""The optimizers and the schedule, against their published definitions."""

from __future__ import annotations

import math
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

import toysup
from helpers import initial, on, plain_gradient, plain_rates, plain_train

OPTIMIZERS = ("adamw", "adam", "sgd")


@st.composite
def configs(draw, max_steps=5, **fixed):
    """Short runs with any optimizer, in doubles."""
    n = draw(st.integers(1, 40))
    drawn = {
        "n": n,
        "m": draw(st.integers(1, min(n, 6))),
        "T": draw(st.integers(1, 30)),
        "sparsity": draw(st.sampled_from([0.0, 0.5, 0.9])),
        "seed": draw(st.integers(0, 2**32)),
        "steps": draw(st.integers(1, max_steps)),
        "learning_rate": draw(st.sampled_from([1e-3, 0.01, 0.3])),
        "warmup": draw(st.sampled_from([0.0, 0.05, 0.4])),
        "schedule": draw(st.sampled_from(["cosine", "quarter_cosine", "constant"])),
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "betas": draw(st.sampled_from([(0.9, 0.999), (0.0, 0.0), (0.5, 0.9), (0.0, 0.99)])),
        "momentum": draw(st.sampled_from([0.0, 0.9])),
        # Smaller ones would turn the last bit of a gradient into a visible step.
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
        "weight_decay": draw(st.sampled_from([0.0, 0.01, 0.5])),
        "decay_bias": draw(st.booleans()),
        "learn_bias": draw(st.sampled_from([True, True, False])),
        "bias_init": draw(st.sampled_from([0.0, -0.1, np.linspace(-0.2, 0.3, n)])),
        "loss_reduction": draw(st.sampled_from(["mean", "sum"])),
        "importance": draw(st.sampled_from([1.0, 0.9])),
        "normalize": draw(st.booleans()),
    }
    share = draw(st.sampled_from([0.0, 0.0, 0.1, 1.0]))
    drawn["final_learning_rate"] = share * drawn["learning_rate"]
    always = {"dtype": "float64", "test_size": 0, "record": 1}
    return toysup.TrainConfig(**{**drawn, **always, **fixed})


def assert_close(run, W, b, tolerance):
    scale = max(np.max(np.abs(W)), np.max(np.abs(b)), 1e-300)
    assert np.max(np.abs(run.W - W)) <= tolerance * scale
    assert np.max(np.abs(run.b - b)) <= tolerance * scale


# ------------------------------------------------------------------------------------- one step


@given(config=configs(max_steps=1))
def test_one_step_is_the_definitions(backend, config):
    """Adam turns a gradient's error of 1e-16 into 1e-16 / eps of a step, here 1e-11 of it."""
    assert_close(toysup.train(config), *plain_train(config, initial(config)), 1e-11)


@given(config=configs(max_steps=1))
def test_one_step_of_both_backends(native, reference, config):
    ours, theirs = (on(backend, toysup.train, config) for backend in (native, reference))
    scale = max(np.max(np.abs(theirs.W)), 1e-300)
    assert np.max(np.abs(ours.W - theirs.W)) <= 1e-11 * scale
    assert np.max(np.abs(ours.b - theirs.b)) <= 1e-11 * max(scale, np.max(np.abs(theirs.b)))


@given(seed=st.integers(0, 1000), n=st.integers(3, 60))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_step_of_both_backends_to_twelve_digits(native, reference, optimizer, seed, n):
    """Where eps does not amplify: the gradient sees no cancellation worth naming."""
    config = toysup.TrainConfig(
        n=n, m=2, T=9, sparsity=0.7, seed=seed, steps=1, warmup=0.0, optimizer=optimizer,
        eps=1.0, loss_reduction="sum", dtype="float64", test_size=0,
    )  # fmt: skip
    ours, theirs = (on(backend, toysup.train, config) for backend in (native, reference))
    assert np.allclose(ours.W, theirs.W, rtol=1e-12, atol=1e-15)
    assert np.allclose(ours.b, theirs.b, rtol=1e-12, atol=1e-15)


def test_adams_first_step_is_the_learning_rate(backend):
    """m_hat / sqrt(v_hat) is the sign of the gradient, whatever its size."""
    for importance in (1.0, 1e-6 ** (1 / 20)):
        config = toysup.TrainConfig(
            n=20, m=2, T=10, sparsity=0.5, steps=1, warmup=0.0, learning_rate=0.01, eps=1e-30,
            weight_decay=0.0, importance=importance, dtype="float64", test_size=0,
        )  # fmt: skip
        moved = np.abs(toysup.train(config).W - initial(config))
        assert np.allclose(moved[moved > 0], 0.01, rtol=1e-9)


# ----------------------------------------------------------------------------------- more steps


@given(config=configs())
def test_several_steps_are_the_definitions(backend, config):
    assert_close(toysup.train(config), *plain_train(config, initial(config)), 1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_the_first_five_steps(backend, optimizer, steps):
    config = toysup.TrainConfig(
        n=30, m=3, T=12, sparsity=0.8, steps=steps, optimizer=optimizer, learning_rate=0.02,
        warmup=0.4, eps=1e-6, weight_decay=0.1, dtype="float64", test_size=0,
    )  # fmt: skip
    assert_close(toysup.train(config), *plain_train(config, initial(config)), 1e-10)


def torch_train(torch, config):
    """The run in PyTorch, written as its users write it."""
    x = toysup.data.sample(config.n, int(config.T), config.sparsity, config.seed).toarray()
    x = torch.from_numpy(x)
    W = torch.from_numpy(initial(config)).requires_grad_()
    b = torch.from_numpy(np.full(config.n, config.bias_init))
    b.requires_grad_(config.learn_bias)
    decay, none = config.weight_decay, {} if config.decay_bias else {"weight_decay": 0.0}
    groups = [{"params": [W]}, {"params": [b], **none}]
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=decay)
    else:
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(groups, betas=config.betas, eps=config.eps, weight_decay=decay)
    for rate in plain_rates(config):
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        error = (x - torch.relu(x @ W.T @ W + b)) ** 2
        loss = error.mean() if config.loss_reduction == "mean" else error.sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return W.detach().numpy(), b.detach().numpy()


@given(config=configs(importance=1.0, normalize=True))
def test_several_steps_are_pytorchs(backend, config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
    assert_close(toysup.train(config), *torch_train(torch, config), 1e-9)


# ---------------------------------------------------------------------------------- the schedule

# With importance 0 every gradient is exactly 0, so AdamW does nothing but decay: W after the run
# is W before it times the product of 1 - rate * decay, which shows the rates of either backend.


def decayed(config):
    """By what all of W was multiplied."""
    config = config.replace(importance=(0.0,) * config.n)
    ratio = toysup.train(config).W / initial(config)
    assert np.ptp(ratio) <= 1e-13 * np.max(np.abs(ratio))
    return ratio[0, 0]


@given(
    steps=st.integers(0, 300),
    warmup=st.floats(0.0, 0.999),
    schedule=st.sampled_from(["cosine", "quarter_cosine", "constant"]),
    rate=st.sampled_from([1e-3, 0.1, 1.0]),
    decay=st.floats(0.01, 0.9),
)
@example(steps=1, warmup=0.999, schedule="cosine", rate=1.0, decay=0.5)
@example(steps=2, warmup=0.25, schedule="cosine", rate=1.0, decay=0.5)  # half a step of warm-up
@example(steps=300, warmup=0.05, schedule="quarter_cosine", rate=0.1, decay=0.5)
def test_the_rates_are_a_warmup_and_the_schedule(backend, steps, warmup, schedule, rate, decay):
    config = toysup.TrainConfig(
        n=4, m=1, T=1, sparsity=0.5, steps=steps, warmup=warmup, schedule=schedule,
        learning_rate=rate, weight_decay=decay, dtype="float64", test_size=0, record=1,
    )  # fmt: skip
    expected = np.prod(1 - plain_rates(config) * decay)
    assert decayed(config) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("schedule", ["cosine", "quarter_cosine", "constant"])
def test_every_single_rate(backend, schedule):
    """Ratios of neighbouring snapshots, in the run where nothing but decay moves W."""
    config = toysup.TrainConfig(
        n=3, m=1, T=1, sparsity=0.5, steps=12, warmup=0.25, schedule=schedule, learning_rate=0.5,
        weight_decay=0.3, importance=(0.0,) * 3, dtype="float64", test_size=0, snapshots=12,
    )  # fmt: skip
    run = toysup.train(config)
    steps = np.concatenate([[0], run.snapshots.step.values])
    W = np.concatenate([initial(config)[None], run.snapshots.W.values])
    for low, high, before, after in zip(steps, steps[1:], W, W[1:], strict=False):
        expected = np.prod(1 - 0.3 * plain_rates(config)[low:high])
        assert np.allclose(after, before * expected, rtol=1e-13)
    at = run.history.step.values
    rates = run.history.learning_rate.values[at < 12]
    assert np.allclose(rates, plain_rates(config)[at[at < 12]], rtol=1e-13)


def test_the_papers_rates_add_up_to_25(backend):
    """2,500 steps rise to 1e-3 and 47,500 fall by half a cosine: 1e-3 (2,501 + 47,501) / 2."""
    rates = plain_rates(toysup.TrainConfig())
    assert rates.sum() == pytest.approx(25.0, rel=1e-6 + 4.1e-5)
    assert rates.sum() == pytest.approx(1e-3 * (2501 + 47_501) / 2, rel=1e-12)
    assert rates[0] == pytest.approx(1e-3 / 2500) and rates[2499] == rates.max() == 1e-3
    steps = {"native": 50_000, "numpy": 5_000}[backend.name]
    config = toysup.TrainConfig(
        n=1, m=1, T=1, sparsity=0.5, weight_decay=0.01, dtype="float64", test_size=0, record=1,
        steps=steps,
    )  # fmt: skip
    rates = plain_rates(config)
    # log of the product of 1 - 0.01 rate.
    total = -math.log(decayed(config)) / 0.01
    assert total == pytest.approx(rates.sum() + 0.005 * np.sum(rates**2), rel=1e-6)


# ------------------------------------------------------------------------------ hyper-parameters


def small(**fields):
    settings = {
        "n": 20, "m": 2, "T": 10, "sparsity": 0.7, "steps": 20, "learning_rate": 0.02,
        "dtype": "float64", "test_size": 0, "eps": 1e-6,
    }  # fmt: skip
    return toysup.TrainConfig(**{**settings, **fields})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_decay_bias_decides_about_b_alone(backend, optimizer):
    """One step from b = 0 has nothing to decay; the second one has."""
    options = {"optimizer": optimizer, "weight_decay": 0.5, "warmup": 0.0, "schedule": "constant"}
    for steps, same in ((1, True), (2, False)):
        yes, no = (
            toysup.train(small(**options, steps=steps, decay_bias=flag)) for flag in (True, False)
        )
        assert np.array_equal(yes.W, no.W)  # also after two: W's gradient saw the same b
        assert np.array_equal(yes.b, no.b) is same


def test_adamw_and_adam_differ_by_the_decay_alone(backend):
    one, other = (toysup.train(small(optimizer=o, weight_decay=0.0)) for o in ("adamw", "adam"))
    assert np.array_equal(one.W, other.W) and np.array_equal(one.b, other.b)
    one, other = (toysup.train(small(optimizer=o, weight_decay=0.1)) for o in ("adamw", "adam"))
    assert not np.allclose(one.W, other.W)


def test_sgd_without_momentum_walks_down_the_gradient(backend):
    config = small(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, steps=1, warmup=0.0, learning_rate=0.1
    )
    x = toysup.data.sample(20, 10, 0.7, 0).toarray()
    W = initial(config)
    _, dW, db = plain_gradient(W, np.zeros(20), x, np.ones(20), 20)
    run = toysup.train(config)
    assert np.allclose(run.W, W - 0.1 * dW, rtol=1e-12)
    assert np.allclose(run.b, -0.1 * db, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(
    "optimizer, field, values",
    [
        ("sgd", "momentum", (0.0, 0.9)),
        ("adamw", "betas", ((0.9, 0.999), (0.8, 0.999))),
        ("adamw", "betas", ((0.9, 0.999), (0.9, 0.99))),
        ("adamw", "eps", (1e-6, 1e-3)),
        ("adamw", "weight_decay", (0.0, 0.1)),
        ("adamw", "learning_rate", (0.02, 0.01)),
        ("adamw", "warmup", (0.05, 0.5)),
        ("adamw", "schedule", ("cosine", "constant")),
        ("adamw", "schedule", ("cosine", "quarter_cosine")),
        ("adamw", "loss_reduction", ("mean", "sum")),
    ],
)
def test_what_the_optimizer_listens_to(backend, optimizer, field, values):
    one, other = (toysup.train(small(optimizer=optimizer, **{field: v})) for v in values)
    assert not np.allclose(one.W, other.W, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer, field, values",
    [
        ("sgd", "eps", (1e-6, 1e-3)),
        ("sgd", "betas", ((0.9, 0.999), (0.5, 0.5))),
        ("adamw", "momentum", (0.0, 0.9)),
        ("adam", "momentum", (0.0, 0.9)),
    ],
)
def test_what_the_optimizer_does_not_listen_to(backend, optimizer, field, values):
    one, other = (toysup.train(small(optimizer=optimizer, **{field: v})) for v in values)
    assert np.array_equal(one.W, other.W) and np.array_equal(one.b, other.b)


# ------------------------------------------------------------------------------------ denormals

# A feature without data gets one or two gradients, is dead from then on, and is moved by what is
# left of its moments. With betas of 1/2 and 1/4, first² / second stays where it was until second
# is flushed at 1e-38. From then on the step is first / eps, both of about 1e-19, and not a part of
# that: b shows the very step at which a moment became zero.
VANISHING = toysup.TrainConfig(
    n=8, m=1, T=1, sparsity=0.6, steps=120, optimizer="adam", betas=(0.5, 0.25),
    weight_decay=0.0, eps=1e-19, learning_rate=0.5, warmup=0.0, schedule="cosine",
    loss_reduction="sum", dtype="float32", test_size=0, record=1,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_denormal_moments_become_zero_at_the_same_step(backend, seed):
    config = VANISHING.replace(seed=seed)
    unseen = toysup.data.sample(8, 1, 0.6, seed).toarray()[0] == 0
    run = toysup.train(config)
    (W, b), (_, kept) = (plain_train(config, initial(config), flush) for flush in (True, False))
    assert np.all(np.abs(b - kept)[unseen] > 0.01)  # else this would show nothing
    # 120 roundings of numbers of about 10.
    assert np.allclose(run.W[:, unseen], W[:, unseen], rtol=0, atol=120 * 2.0**-20)
    assert np.allclose(run.b[unseen], b[unseen], rtol=0, atol=120 * 2.0**-20)


# ------------------------------------------------------------------------------ whole trainings


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_biases_that_are_not_learned_stay_as_they_were(backend, optimizer, dtype):
    """Also while lists of pairs are in use."""
    biases = np.linspace(-0.2, 0.1, 200)
    config = toysup.TrainConfig(
        n=200, m=2, T=60, sparsity=0.97, optimizer=optimizer, learning_rate=0.01, dtype=dtype,
        steps=300 if backend.name == "native" else 30, weight_decay=0.1, test_size=10,
        bias_init=biases, learn_bias=False, snapshots=4,
    )  # fmt: skip
    run = toysup.train(config)
    expected = biases.astype(dtype)
    assert run.b.dtype == dtype and np.array_equal(run.b, expected)
    assert all(np.array_equal(b, expected) for b in run.snapshots.b.values)
    assert np.max(np.abs(run.W - initial(config))) > 0.01
    learned = toysup.train(config, learn_bias=True)
    assert np.max(np.abs(learned.b - expected)) > 1e-3


def test_a_run_ends_at_its_final_rate(backend):
    config = toysup.TrainConfig(
        n=20, T=5, sparsity=0.8, steps=40, learning_rate=0.01, final_learning_rate=0.002,
        test_size=0, record=41, warmup=0.25,
    )  # fmt: skip
    rates = toysup.train(config).history.learning_rate
    assert rates[-1] == pytest.approx(0.002, rel=1e-12)
    assert np.allclose(rates.sel(step=rates.step < 40), plain_rates(config)[rates.step[:-1]])
    level = toysup.train(config, final_learning_rate=0.01)
    constant = toysup.train(config, schedule="constant")
    assert np.array_equal(level.W, constant.W) and np.array_equal(level.b, constant.b)


def curves(native, reference, **fields):
    config = toysup.TrainConfig(
        n=60, m=2, T=15, sparsity=0.9, learning_rate=0.005, test_size=200, **fields
    )
    ours, theirs = (on(b, toysup.train, config).history for b in (native, reference))
    assert np.array_equal(ours.step, theirs.step)
    return ours, theirs


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("seed", range(3))
def test_loss_curves_agree_in_doubles(native, reference, optimizer, seed):
    """Adam and the kinks amplify the last bits, but not within 100 steps."""
    ours, theirs = curves(
        native, reference, steps=100, dtype="float64", seed=seed, optimizer=optimizer, eps=1e-7
    )
    for name in ours:
        assert np.allclose(ours[name], theirs[name], rtol=1e-8), name


@pytest.mark.parametrize("m", [2, 5])
@pytest.mark.parametrize("fields", [{}, {"T": math.inf, "batch_size": 15}, {"batch_size": 4}])
def test_loss_curves_agree_loosely_in_singles(native, reference, m, fields):
    config = {"steps": 400, "dtype": "float32", "eps": 1e-6, "n": 60, "sparsity": 0.9}
    config |= {"m": m, "T": 15, "learning_rate": 0.005, "test_size": 200, **fields}
    ours, theirs = (on(b, toysup.train, **config).history for b in (native, reference))
    for name in ("train_loss", "test_loss", "W_norm", "b_norm"):
        assert np.allclose(ours[name], theirs[name], rtol=0.02, atol=0.005), name
