"""What a TrainConfig promises: it is checked once, and is the same whatever it passes through."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given

from helpers import Tensor
from toysup import TrainConfig
from toysup.config import FIELDS
from toysup.config.per_feature import PER_FEATURE
from toysup.config.weights import Weights
from toysup.data import sample
from toysup.errors import short

POSITIVE = st.floats(1e-30, 1e30)
SEEDS = st.integers(0, 2**63 - 1)


BOOLEANS = st.booleans()


@st.composite
def references(draw: Callable[[Any], Any], n: int) -> dict[str, Any]:
    """What a config in JSON holds of a data set of n features."""
    rows, longest = draw(st.integers(1, 2**32 - 1)), draw(st.integers(1, n))
    test = draw(st.integers(0, 2**32 - 1))
    return {
        "digest": draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        "n": n,
        "rows": rows,
        "nonzeros": draw(st.integers(1, rows * longest)),
        "longest": longest,
        "test": test,
        "test_nonzeros": draw(st.integers(0, test * longest)),
        "largest": draw(st.floats(1e-300, 1e38)),
        "normalize": draw(BOOLEANS),
    }


@st.composite
def configs(draw: Callable[[Any], Any]) -> TrainConfig:
    """Any config; every field is drawn."""
    n = draw(st.integers(1, 30))
    T = draw(st.integers(1, 2**48) | st.just(math.inf))
    data = draw(st.none() | references(n))
    # The first is below 1, so that one feature can occur.
    sparsities = st.lists(st.floats(0, 1), min_size=n - 1, max_size=n - 1).map(lambda S: [0.5, *S])
    if data is None:
        sparsity = draw(st.floats(0, 1, exclude_max=True) | sparsities)
        own = {"sparsity": sparsity, "normalize": draw(BOOLEANS)}
    else:
        own, T = {"data": data}, T if T == math.inf else min(T, data["rows"])
    arrays = st.lists(st.floats(0, 1e6), min_size=n, max_size=n)
    m = draw(st.integers(1, n))
    inits = ["xavier_uniform", "xavier_normal"]
    bias = draw(st.just(0.0) | st.floats(-1e6, 1e6) | arrays)
    learning_rate = draw(POSITIVE)
    repeats = {}
    if T != math.inf:
        examples = st.integers(0, int(T) - 1)
        repeats = draw(st.dictionaries(examples, st.integers(1, 1_000_000), max_size=3))
        inits += ["polygon"] * (m == 2 and bias == 0.0)
    return TrainConfig(
        n=n,
        m=m,
        T=T,
        repeats=repeats,
        activation=draw(st.sampled_from(["relu", "linear"])),
        **own,
        importance=draw(st.floats(1e-6, 10) | arrays),  # 10^29, which float32 holds
        seed=draw(SEEDS),
        init_seed=draw(st.none() | SEEDS),
        steps=draw(st.integers(0, 2**40)),
        learning_rate=learning_rate,
        final_learning_rate=draw(st.just(0.0) | st.floats(0, learning_rate)),
        warmup=draw(st.floats(0, 1, exclude_max=True)),
        schedule=draw(st.sampled_from(["cosine", "quarter_cosine", "constant"])),
        optimizer=draw(st.sampled_from(["adamw", "adam", "sgd"])),
        betas=draw(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2)),
        momentum=draw(st.floats(0, 1, exclude_max=True)),
        eps=draw(POSITIVE),
        weight_decay=draw(st.floats(0, 1e30)),
        decay_bias=draw(st.booleans()),
        learn_bias=draw(st.booleans()),
        loss_reduction=draw(st.sampled_from(["mean", "sum"])),
        init=draw(st.sampled_from(inits)),
        bias_init=bias,
        batch_size=draw(st.none() | st.integers(1, 2**48)),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        test_size=draw(st.integers(0, 2**48)),
        record=draw(st.integers(1, 1_000_000)),
        snapshots=draw(st.integers(0, 1_000_000)),
    )


def test_the_strategy_draws_every_field():
    assert len(FIELDS) == 31, "a new field belongs into configs() and into the tables below"


# ------------------------------------------------------------------------------ what stays the same


@given(configs())
def test_json_round_trip(config):
    back = TrainConfig.from_json(config.to_json())
    assert back == config
    assert back.to_json() == config.to_json()
    assert [type(v) for v in back.to_dict().values()] == [
        type(v) for v in config.to_dict().values()
    ]


@given(configs())
def test_json_is_strict_and_canonical(config):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data = json.loads(config.to_json(), parse_constant=refuse)
    # Fields that came later are not there at their defaults.
    later = {"repeats": (), "activation": "relu", "data": None}
    later |= {"final_learning_rate": 0.0, "learn_bias": True, "bias_init": 0.0}
    left_out = {name for name, default in later.items() if getattr(config, name) == default}
    assert list(data) == sorted(set(FIELDS) - left_out)


@given(configs())
def test_pickle_and_copy_round_trip(config):
    copies = [copy.copy(config), copy.deepcopy(config)]
    copies += [pickle.loads(pickle.dumps(config, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]
    for back in copies:
        assert back == config and hash(back) == hash(config) and back.key() == config.key()


@given(configs())
def test_repr_is_the_expression_that_makes_it(config):
    assume(config.data is None)  # whose rows no text has
    assert eval(repr(config), {"TrainConfig": TrainConfig, "inf": math.inf}) == config


def test_a_repr_is_short_whatever_n():
    many = TrainConfig(n=5000, importance=np.linspace(0.5, 1.0, 5000))
    assert "importance=<5,000 numbers from 0.5 to 1>" in repr(many) and len(repr(many)) < 800


@given(configs(), configs())
def test_the_key_tells_configs_apart_just_as_equality_does(a, b):
    assert (a == b) == (a.key() == b.key())
    assert a.key() == a.replace().key()
    assert len(a.key()) == 20 and int(a.key(), 16) >= 0


@given(configs(), st.sampled_from(FIELDS), st.data())
def test_replace_changes_one_field_and_nothing_else(config, name, data):
    other = data.draw(configs())
    value = getattr(other, name)
    try:
        changed = config.replace(**{name: value})
    except ValueError as error:  # not with these other fields
        assert name in str(error) or name in ("n", "m", "T", "data")
        return
    assert getattr(changed, name) == value
    own = {}
    if name == "data" and value != config.data:  # other data bring these along
        source = TrainConfig(n=config.n, m=1) if value is None else value
        own = {name: getattr(source, name) for name in ("n", "sparsity", "normalize")}
    assert changed.to_dict() == {**config.to_dict(), **own, name: value}
    before = getattr(config, name)
    assert (changed == config) == (value == before)
    assert config.to_dict()[name] == before


def test_the_name_of_a_run_file_never_changes():
    # A store finds its runs by these: another value here orphans every store that exists.
    full = TrainConfig(
        n=5, m=3, T=math.inf, sparsity=0.25, normalize=False, importance=[1, 0.5, 0.25, 0, 2],
        seed=2**63 - 1, init_seed=7, steps=123, learning_rate=1e-5, warmup=0, schedule="constant",
        optimizer="sgd", betas=(0.5, 0.25), momentum=0, eps=1e-30, weight_decay=0,
        decay_bias=False, loss_reduction="sum", init="xavier_normal", batch_size=3,
        dtype="float64", test_size=0, record=1, snapshots=4,
    )  # fmt: skip
    assert (TrainConfig().key(), full.key()) == (KEY_DEFAULT, KEY_FULL)


KEY_DEFAULT = "55d00b16e935d0fa35b9"
KEY_FULL = "90c02231895895b40427"


@pytest.mark.parametrize(
    "one, other",
    [
        ({"T": 5}, {"T": 5.0}),
        ({"T": 5}, {"T": np.int32(5)}),
        ({"T": 100_000}, {"T": np.float64(1e5)}),
        ({"T": math.inf}, {"T": np.inf}),
        ({"T": math.inf}, {"T": np.float32("inf")}),
        ({"m": 3}, {"m": np.uint8(3)}),
        ({"seed": 3}, {"seed": np.int64(3)}),
        ({"learning_rate": 1.0}, {"learning_rate": 1}),
        ({"learning_rate": 0.25}, {"learning_rate": np.float32(0.25)}),
        ({"betas": (0.5, 0.75)}, {"betas": [0.5, 0.75]}),
        ({"betas": (0.5, 0.0)}, {"betas": np.array([0.5, 0.0])}),
        ({"n": 2, "importance": (1.0, 0.5)}, {"n": 2, "importance": [1, 0.5]}),
        ({"n": 2, "importance": (1.0, 0.5)}, {"n": 2, "importance": np.array([1, 0.5], "f4")}),
        ({"normalize": True}, {"normalize": np.bool_(True)}),
        ({"dtype": "float64"}, {"dtype": np.float64}),
        ({"dtype": "float32"}, {"dtype": np.dtype("f4")}),
        ({"weight_decay": 0.0}, {"weight_decay": -0.0}),
        ({"bias_init": 0.0}, {"bias_init": -0.0}),
        ({"bias_init": 0.0}, {}),
        ({"bias_init": -1.0}, {"bias_init": np.int8(-1)}),
        ({"n": 2, "bias_init": (0.0, -0.5)}, {"n": 2, "bias_init": np.array([-0.0, -0.5], "f4")}),
        ({"n": 2, "bias_init": (0.0, -0.5)}, {"n": 2, "bias_init": Tensor([0.0, -0.5])}),
        ({"learn_bias": False}, {"learn_bias": np.bool_(False)}),
        ({"final_learning_rate": 0.0}, {"final_learning_rate": -0.0}),
        ({"final_learning_rate": 0.0}, {}),
        ({"sparsity": 0.0}, {"sparsity": -0.0}),
        ({"n": 2, "sparsity": (0.0, 1.0)}, {"n": 2, "sparsity": np.array([-0.0, 1])}),
        ({"n": 2, "sparsity": (0.5, 0.25)}, {"n": 2, "sparsity": pd.Series([0.5, 0.25])}),
        ({"n": 2, "sparsity": (0.5, 1.0)}, {"n": 2, "sparsity": Tensor([0.5, 1.0])}),
        ({"betas": (0.0, 0.5)}, {"betas": (-0.0, 0.5)}),
        ({"n": 2, "importance": (0.0, 1.0)}, {"n": 2, "importance": (-0.0, 1.0)}),
        ({"T": 5}, {"T": np.array(5)}),
        ({"T": 5}, {"T": xr.DataArray(5.0)}),
        ({"m": 3}, {"m": Tensor(3)}),
        ({"normalize": False}, {"normalize": np.array(False)}),
        ({"optimizer": "sgd"}, {"optimizer": np.array(["sgd"])[0]}),
        ({"learning_rate": 0.25}, {"learning_rate": Tensor(0.25, requires_grad=True)}),
        ({"betas": (0.5, 0.75)}, {"betas": Tensor([0.5, 0.75])}),
        ({"betas": (0.5, 0.75)}, {"betas": (Tensor(0.5), np.array(0.75))}),
        ({"n": 2, "importance": (1.0, 0.5)}, {"n": 2, "importance": pd.Series([1.0, 0.5])}),
        ({"n": 2, "importance": (1.0, 0.5)}, {"n": 2, "importance": (0.5**i for i in range(2))}),
        ({"repeats": ((1, 3),)}, {"repeats": pd.DataFrame({"t": [1], "R": [3]})}),
        ({"repeats": ((1, 3),)}, {"repeats": Tensor([[1, 3]])}),
    ],
)
def test_the_same_values_written_differently_are_the_same_config(one, other):
    a, b = TrainConfig(**one), TrainConfig(**other)
    assert a == b and hash(a) == hash(b)
    assert a.to_json() == b.to_json()
    assert a.key() == b.key()
    for name in one:
        assert type(getattr(a, name)) is type(getattr(b, name))


def test_it_is_frozen_and_keyword_only():
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.m = 3
    with pytest.raises(TypeError):
        TrainConfig(10)


def test_the_defaults_are_the_papers_recipe():
    c = TrainConfig()
    assert (c.n, c.sparsity, c.normalize, c.importance) == (10_000, 0.999, True, 1.0)
    assert (c.steps, c.learning_rate, c.warmup, c.schedule) == (50_000, 1e-3, 0.05, "cosine")
    assert (c.optimizer, c.betas, c.eps) == ("adamw", (0.9, 0.999), 1e-8)
    assert (c.weight_decay, c.loss_reduction, c.init) == (1e-2, "mean", "xavier_uniform")


# ------------------------------------------------------------------------------- what is refused

INTEGERS = {
    "n": (1, 2**31 - 1),
    "m": (1, 2**31 - 1),
    "T": (1, 2**48),
    "seed": (0, 2**63 - 1),
    "init_seed": (0, 2**63 - 1),
    "steps": (0, 2**40),
    "batch_size": (1, 2**48),
    "test_size": (0, 2**48),
    "record": (1, 1_000_000),
    "snapshots": (0, 1_000_000),
}
# (smallest, whether it is allowed, first that is not allowed)
NUMBERS = {
    "sparsity": (0.0, True, 1.0),
    "importance": (0.0, False, math.inf),
    "learning_rate": (0.0, False, math.inf),
    "final_learning_rate": (0.0, True, math.inf),
    "warmup": (0.0, True, 1.0),
    "momentum": (0.0, True, 1.0),
    "eps": (0.0, False, math.inf),
    "weight_decay": (0.0, True, math.inf),
}
CHOICES = ("schedule", "optimizer", "loss_reduction", "init", "activation", "dtype")
FLAGS = ("normalize", "decay_bias", "learn_bias")


def others(name: str) -> dict[str, Any]:
    """What a field needs so that only its own value can be wrong."""
    if name == "final_learning_rate":
        return {"learning_rate": 1e300}
    return {"T": math.inf} if name == "batch_size" else {}


def refused(error: type[Exception], name: str, value: object, shown: str | None = None) -> None:
    """That value of that field is refused, and the message names both."""
    with pytest.raises(error) as caught:
        TrainConfig(**{**others(name), name: value})
    text = str(caught.value)
    assert name in text
    assert (short(value) if shown is None else shown) in text, text


@pytest.mark.parametrize("name", INTEGERS)
@given(data=st.data())
def test_integers_out_of_range(name, data):
    low, high = INTEGERS[name]
    refused(ValueError, name, data.draw(st.integers(max_value=low - 1) | st.integers(high + 1)))


@pytest.mark.parametrize("name", [name for name in INTEGERS if name != "T"])
@pytest.mark.parametrize("value", [True, False, np.True_, 2.0, 2.5, math.nan, "2", [2], (2,), 2j])
def test_integers_of_wrong_type(name, value):
    refused(TypeError, name, value)


@pytest.mark.parametrize("value", [0, -1, 0.0, -5.0, 2.5, math.nan, -math.inf, 1e300])
def test_T_is_a_positive_integer_or_infinity(value):
    with pytest.raises(ValueError, match=r"^T must be") as caught:
        TrainConfig(T=value)
    shown = str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    assert f"got {shown}" in str(caught.value)


@pytest.mark.parametrize("value", [True, False, np.False_, "5", "inf", [5], None, 5j, object()])
def test_T_of_wrong_type(value):
    refused(TypeError, "T", value)


@pytest.mark.parametrize("name", NUMBERS)
@given(data=st.data())
def test_numbers_out_of_range(name, data):
    low, low_allowed, high = NUMBERS[name]
    below = st.floats(max_value=low, exclude_max=low_allowed, allow_infinity=False)
    bad = below if math.isinf(high) else below | st.floats(high, allow_infinity=False)
    value = data.draw(bad.filter(lambda v: v < 0 or not low_allowed or v >= high))
    refused(ValueError, name, value, shown=repr(float(value)))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_numbers_that_are_not_finite(name, value):
    refused(ValueError, name, value, shown=str(float(value)))


@pytest.mark.parametrize("name", NUMBERS)
def test_integers_too_large_for_a_float(name):
    with pytest.raises(ValueError, match=name):
        TrainConfig(**{name: 10**400})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, np.False_, "0.5", b"0.5", None, 0.5j, object()])
def test_numbers_of_wrong_type(name, value):
    refused(TypeError, name, value)


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in PER_FEATURE])
@pytest.mark.parametrize("value", [[0.5], (0.5,)])
def test_a_sequence_is_not_a_number(name, value):
    refused(TypeError, name, value)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["", "nonsense", "ADAMW"])
def test_choices_out_of_range(name, value):
    refused(ValueError, name, value)


@pytest.mark.parametrize(
    "name, value, right",
    [
        ("optimizer", "adamW", "adamw"),
        ("schedule", "cosin", "cosine"),
        ("init", "xavier_unif", "xavier_uniform"),
        ("dtype", "float46", "float64"),
        ("loss_reduction", "means", "mean"),
    ],
)
def test_the_nearest_choice_is_suggested(name, value, right):
    refused(ValueError, name, value, shown=f"did you mean {right!r}?")


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", [None, 3, True, 0.5, ["adamw"], b"adamw", np.int32])
def test_choices_of_wrong_type(name, value):
    refused(TypeError, name, value)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [None, 0, 1, 1.0, math.nan, "True", [True], np.int64(1)])
def test_flags_of_wrong_type(name, value):
    refused(TypeError, name, value)


@pytest.mark.parametrize("value", [(), (0.9,), [0.9, 0.99, 0.999], np.zeros(3)])
def test_betas_are_two(value):
    refused(ValueError, "betas", value)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan, math.inf, -math.inf, 2])
def test_each_beta_out_of_range(at, value):
    pair = [0.5, 0.5]
    pair[at] = value
    refused(ValueError, "betas", tuple(pair), shown=str(float(value)))


@pytest.mark.parametrize(
    "value", [0.9, None, True, "ab", b"ab", {0.9, 0.99}, ("0.9", 0.99), (0.9, True), np.array(0.9)]
)
def test_betas_of_wrong_type(value):
    with pytest.raises(TypeError, match="betas"):
        TrainConfig(betas=value)


@pytest.mark.parametrize(
    "error, value, shown",
    [
        (ValueError, [1.0, 2.0], "(3,)"),
        (ValueError, [], "(3,)"),
        (ValueError, np.ones((3, 1)), "(3, 1)"),
        (ValueError, [1.0, math.nan, 1.0], "nan"),
        (ValueError, np.array([1.0, math.inf, 1.0]), "inf"),
        (ValueError, [1.0, -0.5, 1.0], "-0.5"),
        (TypeError, [1.0, "x", 1.0], "'x'"),
        (TypeError, ["1", "2", "3"], "'1'"),
        (TypeError, [1.0, 1j, 1.0], "1j"),
        (TypeError, np.array([1.0, 1j, 1.0]), "complex"),
        (TypeError, [True, False, True], "True"),
        (TypeError, "abc", "'abc'"),
        (TypeError, {1.0, 2.0, 3.0}, "{1.0"),
        (TypeError, {0: 1.0}, "{0: 1.0}"),
    ],
)
def test_arrays_of_importances_that_are_refused(error, value, shown):
    with pytest.raises(error, match="importance") as caught:
        TrainConfig(n=3, importance=value)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    "error, value, shown",
    [
        (ValueError, [1.0, 2.0], "(3,)"),
        (ValueError, np.ones((3, 1)), "(3, 1)"),
        (ValueError, [1.0, math.nan, 1.0], "nan"),
        (ValueError, [1.0, -math.inf, 1.0], "-inf"),
        (ValueError, math.inf, "inf"),
        (TypeError, [1.0, "x", 1.0], "'x'"),
        (TypeError, np.array([1.0, 1j, 1.0]), "complex"),
        (TypeError, [True, False, True], "True"),
        (TypeError, True, "True"),
        (TypeError, None, "None"),
        (TypeError, "zeros", "'zeros'"),
        (TypeError, {0: 1.0}, "{0: 1.0}"),
    ],
)
def test_initial_biases_that_are_refused(error, value, shown):
    with pytest.raises(error, match="bias_init") as caught:
        TrainConfig(n=3, bias_init=value)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    "error, value, shown",
    [
        (ValueError, [0.5, 0.5], "(2,)"),
        (ValueError, np.full((3, 1), 0.5), "(3, 1)"),
        (ValueError, [0.5, math.nan, 0.5], "nan"),
        (ValueError, [0.5, 0.5, 1.5], "1.5"),
        (ValueError, [-0.5, 0.5, 0.5], "-0.5"),
        (ValueError, [1.0, 1.0, 1.0], "[1.0, 1.0, 1.0]"),
        (TypeError, [0.5, "x", 0.5], "'x'"),
        (TypeError, [True, False, True], "True"),
        (TypeError, {0: 0.5}, "{0: 0.5}"),
    ],
)
def test_arrays_of_sparsities_that_are_refused(error, value, shown):
    for use in (lambda S: TrainConfig(n=3, sparsity=S), lambda S: sample(3, 2, S, 0)):
        with pytest.raises(error, match="sparsity") as caught:
            use(value)
        assert shown in str(caught.value)


def test_the_density_is_the_mean_of_all():
    assert TrainConfig(sparsity=0.75).density == 0.25
    assert TrainConfig(n=4, sparsity=[0.0, 1.0, 0.5, 0.5]).density == 0.5
    # Those of another field are checked again.
    importances = TrainConfig(n=2, m=1, importance=[0.5, 3.0]).importance
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\], got 3\.0"):
        TrainConfig(n=2, m=1, sparsity=importances)


@pytest.mark.parametrize("init", ["polygon", (np.zeros((2, 3)), np.zeros(3))])
@pytest.mark.parametrize("bias", [-0.5, [0.0, 0.0, 1.0]])
def test_initial_biases_beside_a_start_that_has_some_are_refused(init, bias):
    fields = {"n": 3, "T": 2, "init": init, "bias_init": bias}
    with pytest.raises(ValueError, match=r"bias_init must be 0\.0 .*init = .*got \(?-?0"):
        TrainConfig(**fields)
    right = TrainConfig(**{**fields, "bias_init": 0.0})
    wrong = TrainConfig(n=3, bias_init=bias).bias_init
    with pytest.raises(ValueError, match="bias_init must be"):
        TrainConfig.from_checked({**right.to_dict(), "bias_init": wrong})


def test_initial_biases_that_fit_are_taken_unchecked():
    config = TrainConfig(n=3, bias_init=[0.0, -1.0, 2.0])
    for values in (config.to_dict(), {**config.to_dict(), "bias_init": (0.0, -1.0, 2.0)}):
        again = TrainConfig.from_checked(values)
        assert again == config and again.key() == config.key()
    with pytest.raises(ValueError, match=r"bias_init must have shape \(4,\)"):
        TrainConfig.from_checked({**config.to_dict(), "n": 4})
    assert config.biases().tolist() == [0.0, -1.0, 2.0]
    assert config.replace(bias_init=-0.5).biases().tolist() == [-0.5] * 3


@given(rate=st.floats(1e-6, 1), share=st.floats(1.001, 10))
def test_a_schedule_does_not_rise(rate, share):
    assert TrainConfig(learning_rate=rate, final_learning_rate=rate).final_learning_rate == rate
    text = f"final_learning_rate must not be larger than learning_rate = {rate}, got {rate * share}"
    with pytest.raises(ValueError, match=re.escape(text)):
        TrainConfig(learning_rate=rate, final_learning_rate=rate * share)
    with pytest.raises(ValueError, match=re.escape(text)):
        TrainConfig.from_checked(
            {**TrainConfig().to_dict(), "learning_rate": rate, "final_learning_rate": rate * share}
        )


def test_importances_that_overflow():
    with pytest.raises(ValueError, match=r"importance.*2\.0.*n = 2000"):
        TrainConfig(n=2000, importance=2.0)
    wide = TrainConfig(n=1000, importance=2.0, dtype="float64")
    assert wide.importances()[-1] == 2.0**999
    with pytest.raises(ValueError, match=r"importance.* float32 for r = 2\.0 and n = 1000"):
        TrainConfig(n=1000, importance=2.0)
    assert TrainConfig(n=2000, importance=0.5).importances()[-1] == 0.0


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("importance", [1.0, 1e39, 0.0], "1e+39"),
        ("init", (np.full((2, 3), 1e300), np.zeros(3)), "1e+300"),
        ("init", (np.zeros((2, 3)), np.array([0, -3.5e38, 0])), "3.5e+38"),
        ("eps", 1e39, "1e+39"),
        ("bias_init", -1e39, "1e+39"),
        ("bias_init", [0.0, -1e39, 2.0], "1e+39"),
    ],
)
def test_numbers_that_the_dtype_cannot_hold(name, value, shown):
    text = rf"{name} must.* 3\.40282e\+38.* for float32, got {re.escape(shown)}$"
    fields = {"n": 3, "m": 2, name: value}
    with pytest.raises(ValueError, match=text):
        TrainConfig(**fields)
    wide = TrainConfig(**fields, dtype="float64")
    with pytest.raises(ValueError, match=text):
        TrainConfig.from_checked({**wide.to_dict(), "dtype": "float32"})


@given(n=st.integers(1, 100), more=st.integers(1, 100))
def test_m_is_not_larger_than_n(n, more):
    assert TrainConfig(n=n, m=n).m == n
    with pytest.raises(ValueError, match=rf"m must not be larger than n = {n}, got {n + more}"):
        TrainConfig(n=n, m=n + more)


@given(T=st.integers(1, 2**48), batch=st.integers(1, 2**48))
def test_a_batch_is_a_part_of_a_finite_training_set(T, batch):
    fresh = TrainConfig(T=math.inf, batch_size=batch)
    assert fresh.batch == fresh.examples == batch and not fresh.in_batches
    part = TrainConfig(T=T, batch_size=batch)
    assert (part.batch, part.examples, part.in_batches) == (min(T, batch), T, batch < T)
    assert TrainConfig(T=T).batch == T and not TrainConfig(T=T).in_batches
    assert part.step_cost() <= TrainConfig(T=T).step_cost()


@pytest.mark.parametrize(
    "wrong, right",
    [("seeds", "seed"), ("sparcity", "sparsity"), ("t", "T"), ("M", "m"), ("N", "n"),
     ("weightdecay", "weight_decay"), ("Learning_Rate", "learning_rate"), ("init_sed", "init_seed"),
     ("batchsize", "batch_size"), ("snapshot", "snapshots")],
)  # fmt: skip
def test_an_unknown_field_is_met_with_the_nearest_one(wrong, right):
    for make in (TrainConfig().replace, lambda **kw: TrainConfig.from_fields(kw)):
        with pytest.raises(TypeError, match=f"{wrong!r}; did you mean {right!r}"):
            make(**{wrong: 1})


def test_an_unknown_field_like_no_other():
    with pytest.raises(TypeError, match=r"unknown parameter 'zzz'$"):
        TrainConfig().replace(zzz=1)
    with pytest.raises(TypeError, match="zzz"):
        TrainConfig(zzz=1)


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("nan", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ("3", "object"),
        ('"T"', "object"),
        ('{"zzz": 1}', "zzz"),
        ('{"sed": 1}', "did you mean 'seed'"),
        ('{"m": "2"}', "m must be an integer"),
        ('{"m": true}', "m must be an integer"),
        ('{"m": 0}', "m must be between"),
        ('{"T": NaN}', "T must be"),
        ('{"T": "infinity"}', "T must be"),
        ('{"T": null}', "T must be"),
        ('{"sparsity": 1}', "sparsity"),
        ('{"sparsity": Infinity}', "sparsity"),
        ('{"betas": [0.9]}', "betas"),
        ('{"eps": 1' + 400 * "0" + "}", "eps"),
    ],
)
def test_json_that_is_refused(text, word):
    with pytest.raises(ValueError, match=word):
        TrainConfig.from_json(text)


# --------------------------------------------------------------------------- what follows from it


@given(configs())
def test_what_follows_from_the_fields(config):
    copies = sum(R - 1 for _, R in config.repeats)
    expected = config.batch_size or 1000 if config.T == math.inf else int(config.T) + copies
    assert config.examples == expected and type(config.examples) is int
    assert config.batch == min(config.batch_size or expected, expected)
    assert type(config.batch) is int
    assert config.weight_seed == (config.seed if config.init_seed is None else config.init_seed)
    assert 0 <= config.warmup_steps <= config.steps
    assert abs(config.warmup_steps - config.warmup * config.steps) <= 0.5 + 1e-9 * config.steps
    assert config.memory() > 0 and config.step_cost() > 0


@given(n=st.integers(1, 60), base=st.floats(0.5, 1.5))
def test_a_base_gives_a_geometric_series(n, base):
    got = TrainConfig(n=n, m=1, importance=base).importances()
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, base ** np.arange(n), rtol=1e-13)


@given(values=st.lists(st.floats(0, 1e300), min_size=1, max_size=9))
def test_an_array_gives_itself(values):
    config = TrainConfig(n=len(values), m=1, importance=np.array(values), dtype="float64")
    assert config.importances().tolist() == values


@pytest.mark.parametrize("steps", [1, 2, 7, 1_500])
@pytest.mark.parametrize("more", [0, 1, 1_000])
def test_as_many_points_as_steps_are_every_step(steps, more):
    config = TrainConfig(steps=steps, record=steps + 1 + more, snapshots=steps + more)
    assert config.record_steps().tolist() == list(range(steps + 1))
    assert config.snapshot_steps().tolist() == list(range(1, steps + 1))


@given(steps=st.integers(0, 10**9), record=st.integers(1, 300), snapshots=st.integers(0, 300))
def test_steps_of_history_and_snapshots(steps, record, snapshots):
    config = TrainConfig(steps=steps, record=record, snapshots=snapshots)
    history, shots = config.record_steps(), config.snapshot_steps()
    for found, most in ((history, record), (shots, snapshots)):
        assert found.dtype == np.int64 and len(found) <= max(most, 1)
        assert np.all(np.diff(found) > 0)
        assert len(found) == 0 or (found[0] >= 0 and found[-1] == steps)
    assert len(history) >= 1 and (snapshots == 0) == (len(shots) == 0)
    if record > 1 and steps > 0:
        assert history[0] == 0 and history[1] == (1 if record > 2 else steps)


@given(configs())
def test_memory_grows_with_what_is_held(config):
    assume(config.data is None)  # which have their own n, and no more rows
    config = config.replace(importance=1.0, bias_init=0.0, sparsity=0.5)
    most = {"batch_size": 2**48} if config.T == math.inf else {"T": 2**48}
    for other in (config.replace(n=config.n + 1000), config.replace(**most)):
        assert other.memory() >= config.memory()


FIT = TrainConfig(n=6, T=5, sparsity=0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"m": 7},
        {"T": math.inf, "batch_size": 3},
        {"batch_size": 3},
        {"repeats": ((4, 2),)},
        {"repeats": ((5, 2),)},
        {"repeats": ((0, 2),), "T": math.inf},
        {"importance": (1.0,) * 6},
        {"importance": (1.0,) * 5},
        {"importance": 0.5},
        {"importance": 1e300},
        {"importance": (1e39,) * 6},
        {"importance": (1e39,) * 6, "dtype": "float64"},
        {"init": "polygon"},
        {"init": "polygon", "m": 3},
        {"init": Weights(np.zeros((2, 6)), np.zeros(6))},
        {"init": Weights(np.zeros((2, 5)), np.zeros(5))},
        {"init": Weights(np.full((2, 6), 1e39), np.zeros(6))},
        {"sparsity": 0.5},
        {"sparsity": (0.5,) * 6},
        {"sparsity": (0.5,) * 5},
        {"bias_init": -0.5},
        {"bias_init": (0.5,) * 5},
        {"bias_init": (-1e39,) * 6},
        {"bias_init": (-1e39,) * 6, "dtype": "float64"},
        {"bias_init": -0.5, "init": "polygon"},
        {"final_learning_rate": 0.1},
        {"final_learning_rate": 0.1, "learning_rate": 0.1},
        {"eps": 1e-40},
        {"eps": 1e-40, "dtype": "float64"},
    ],
)
def test_fields_that_are_known_to_be_right_are_quickly_a_config(changes):
    values = {**FIT.to_dict(), **changes}
    try:
        expected = TrainConfig(**values)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            TrainConfig.from_checked(values)
    else:
        found = TrainConfig.from_checked(values)
        assert found == expected and found.key() == expected.key() and hash(found) == hash(expected)
