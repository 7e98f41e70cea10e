"""A run goes on from its states to the bits that it would have had without an interruption."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import assert_resumable, raw_bits, state_of, until
from soak import soak
from toysup import TrainConfig
from toysup._backends.protocol import Backend, Options, State
from toysup.data import power_law

# Runs long enough for several states on the native backend even while lists are in use (every 2,048
# steps), with every kind of them: blocks of examples or, if 5 T < n, groups of features (m <= 6),
# pairs (m > 6), none for infinite T.
BASE = TrainConfig(n=200, T=60, sparsity=0.97, steps=30_000, test_size=300, record=12, snapshots=3)
KINDS = {
    "m=2": {"m": 2},
    "m=2, few examples": {"m": 2, "T": 30},
    "m=5, weighed, sgd": {
        "m": 5,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "importance": 0.99,
        "steps": 10_000,
    },
    "m=9, adam, sum": {"m": 9, "optimizer": "adam", "loss_reduction": "sum", "steps": 6_000},
    "m=16": {"m": 16, "n": 400, "sparsity": 0.98, "steps": 5_000},
    "m=3, T infinite": {"m": 3, "T": math.inf, "batch_size": 30, "steps": 10_000},
    "m=3, in batches": {"m": 3, "batch_size": 7, "repeats": {2: 4}},
    "m=2, double": {"m": 2, "dtype": "float64"},
    "m=2, linear": {"m": 2, "activation": "linear", "steps": 10_000},
    "m=2, sparsities": {"m": 2, "sparsity": power_law(200, 6.0, 1.0), "steps": 20_000},
    "m=3, T infinite, sparsities": {
        **{"m": 3, "T": math.inf, "batch_size": 30, "steps": 10_000},
        **{"sparsity": power_law(200, 6.0, 1.0)},
    },
    "m=3, repeats": {"m": 3, "repeats": {0: 5, 50: 2}, "steps": 20_000},
    "m=2, polygon": {"m": 2, "init": "polygon", "steps": 20_000},
    "m=2, b fixed": {
        **{"m": 2, "learn_bias": False, "bias_init": -0.05, "final_learning_rate": 5e-4},
        **{"steps": 20_000},
    },
    "m=1, tiny": {"m": 1, "n": 7, "T": 3, "sparsity": 0.6, "steps": 300_000},
}


def case(backend: Backend, kind: str) -> TrainConfig:
    config = BASE.replace(**KINDS[kind])
    if backend.name == "native":
        return config
    # As long, about.
    if config.n < 100:
        return config.replace(steps=5_000)
    return config.replace(steps=60 if config.T == math.inf else 500)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(backend, kind):
    assert_resumable(backend, case(backend, kind), soak(1, 3))


def test_every_state_of_a_run_leads_to_the_same_bits(backend):
    config = case(backend, "m=2").replace(steps=60_000 if backend.name == "native" else 1500)
    whole, _ = until(backend, config, None, math.inf)
    state, seen = None, []
    while True:
        raw, states = until(backend, config, state, 0, interval=0.0)
        if raw is not None:
            break
        if states:
            state = states[-1]
            seen.append(state["step"])
        if len(seen) > 3 or not states:
            raw, _ = until(backend, config, state, math.inf)
            break
    assert raw_bits(raw) == raw_bits(whole)


@pytest.mark.parametrize("T", [20, math.inf])
def test_states_come_one_after_another_while_a_run_lasts(backend, T):
    config = BASE.replace(m=2, T=T, steps=2**40, record=1, snapshots=0)
    states: list[State] = []
    more = Options(on_state=lambda i, state: states.append(state), interval=0.0)
    backend.train_many([config], 1, lambda *_: None, lambda _: len(states) > 3, more)
    steps = [state["step"] for state in states]
    assert 0 < steps[0] and steps == sorted(steps) and len(set(steps[:4])) == 4
    for state in states:
        backend.check_state(config, state)


@pytest.mark.parametrize(
    ("kind", "size"),
    soak(
        [("m=16", 5000), ("m=3, T infinite", 5000)],
        [("m=2", 20_000), ("m=16", 10_000), ("m=3, T infinite", 10_000)],
    ),
)
def test_a_run_that_is_stopped_before_its_first_state_progresses(backend, kind, size):
    """Steps of some ms; each start is stopped as soon as it is seen to have done one."""
    size = size if backend.name == "native" else 400
    config = BASE.replace(**KINDS[kind]).replace(n=soak(400, 1000), steps=31, snapshots=3)
    config = config.replace(**({"batch_size": size} if config.T == math.inf else {"T": size}))
    whole, _ = until(backend, config, None, math.inf)
    raw, states, at = None, [], [0]
    while raw is None:
        state = states[-1] if states else None
        raw, states = until(backend, config, state, at[-1] + 1, interval=math.inf)
        assert raw is not None or states[-1]["step"] > at[-1]
        at += [state["step"] for state in states[-1:]]
    assert raw_bits(raw) == raw_bits(whole)
    assert len(at) > 1


@pytest.mark.parametrize("threads", [1, 2])
def test_states_do_not_depend_on_threads(native, threads):
    config = BASE.replace(m=4, T=1000, n=400, steps=2500)
    config, state = state_of(native, config, threads)
    one, _ = until(native, config, None, math.inf)
    again, _ = until(native, config, state, math.inf)
    assert raw_bits(again) == raw_bits(one)


@given(
    m=st.integers(1, 4),
    T=st.sampled_from([3, 20, math.inf]),
    batch_size=st.sampled_from([None, 7]),
    optimizer=st.sampled_from(["adamw", "adam", "sgd"]),
    steps=st.integers(0, 60),
    counts=st.tuples(st.integers(1, 20), st.integers(0, 9)),
    seed=st.integers(0, 2**63 - 1),
    at=st.floats(0, 1),
)
def test_any_run_of_the_reference_can_be_resumed_anywhere(
    reference, m, T, batch_size, optimizer, steps, counts, seed, at
):
    config = TrainConfig(
        **{
            "n": 30,
            "m": m,
            "T": T,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "steps": steps,
            "seed": seed,
        },
        **{"sparsity": 0.8, "record": counts[0], "snapshots": counts[1], "test_size": 20},
    )
    whole, _ = until(reference, config, None, math.inf)
    raw, states = until(reference, config, None, at * config.steps)
    if raw is None and states:
        reference.check_state(config, states[-1])
        raw, _ = until(reference, config, states[-1], math.inf)
        assert raw_bits(raw) == raw_bits(whole)


# ------------------------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def good() -> dict[str, tuple[TrainConfig, State]]:
    """A state of each backend."""
    from conftest import HAS_NATIVE
    from toysup._backends import choose

    found = {}
    for name in ("native", "numpy") if HAS_NATIVE else ("numpy",):
        backend = choose.load(name)
        config = case(backend, "m=2")
        found[name] = state_of(backend, config)
    return found


def test_a_good_state_is_accepted(backend, good):
    backend.check_state(*good[backend.name])


WRONG = {
    "step": [0, 17.5, -2048, 2**62, "2048", None],
    "seconds": [-1.0, math.nan, math.inf, None],
    "maker": ["", "toysup 0.0.0 native auto", None],
}


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in WRONG.items() for v in vs])
def test_wrong_numbers_are_refused(backend, good, name, value):
    config, state = good[backend.name]
    with pytest.raises(ValueError, match=r"\S"):
        backend.check_state(config, {**state, name: value})


def test_every_array_is_checked(backend, good):
    config, state = good[backend.name]
    arrays = [name for name, value in state.items() if isinstance(value, np.ndarray)]
    assert len(arrays) >= 10
    for name in arrays:
        array = state[name]
        longer = np.concatenate([array.ravel(), np.ones(1, array.dtype)])
        bad: list[Any] = [array.astype(complex), longer, None, "text"]
        # Examples in their own order need not be listed.
        bad += [array[:0]] if array.size and name != "order" else []
        for value in bad:
            with pytest.raises(ValueError, match=r"\S"):
                backend.check_state(config, {**state, name: value})
        with pytest.raises(ValueError, match=r"\S"):
            backend.check_state(config, {k: v for k, v in state.items() if k != name})


def test_orders_that_are_none_are_refused(native, good):
    config, state = good["native"]
    for name in ("rank", "order"):
        for at, value in ((0, state[name][1]), (3, len(state[name])), (5, 2**32 - 1)):
            bad = state[name].copy()
            bad[at] = value
            with pytest.raises(ValueError, match=name):
                native.check_state(config, {**state, name: bad})


def test_a_state_of_another_run_is_refused(backend, good):
    config, state = good[backend.name]
    shorter = {"steps": state["step"] - 1}
    for change in ({"n": 201}, {"m": 3}, shorter, {"dtype": "float64"}, {"record": 3}):
        with pytest.raises(ValueError, match=r"\S"):
            backend.check_state(config.replace(**change), state)
