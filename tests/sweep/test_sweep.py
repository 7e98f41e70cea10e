"""What a sweep gives: its axes, its data set, its runs, and the same bits however it is run."""

from __future__ import annotations

import concurrent.futures as futures
import json
import math
import multiprocessing
import signal
import threading
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings

import toysup
from helpers import Tensor, bits, run_bits
from toysup import RunFailedError, SweepResult, TrainConfig, sweep, train
from toysup._backends.protocol import Failed
from toysup.config.grid import Axis, Grid
from toysup.data import power_law
from toysup.plot._parts.source import open_cells

pytestmark = pytest.mark.any_backend

SMALL = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=20, learning_rate=0.01, test_size=30)
VARIABLES = {
    "train_loss", "test_loss", "test_loss_error", "W_norm", "b_norm",
    "max_feature_dimensionality", "n_represented",
    "seconds", "steps_done", "status",
}  # fmt: skip


def assert_same_sweep(a: SweepResult, b: SweepResult) -> None:
    """Same grid and bit for bit the same runs; only the seconds may differ."""
    assert a.dims == b.dims and a.coords == b.coords and a.configs == b.configs
    assert [run_bits(run) for run in a.runs()] == [run_bits(run) for run in b.runs()]
    drop = ["seconds"]
    assert a.dataset.drop_vars(drop).identical(b.dataset.drop_vars(drop))


def doomed(monkeypatch: pytest.MonkeyPatch, backend: Any, seed: int) -> list[int]:
    """Let runs of that seed fail; returns the list of the seeds that are trained."""
    real, trained = backend.train_many, []

    def train_many(configs, n_jobs, on_result, poll, *rest):
        trained.extend(config.seed for config in configs)

        def on(i, raw):
            bad = configs[i].seed == seed
            on_result(i, Failed("ValueError: doomed") if bad else raw)

        real(configs, n_jobs, on, poll, *rest)

    monkeypatch.setattr(backend, "train_many", train_many)
    return trained


# ------------------------------------------------------------------------------------------- axes

AXES: dict[str, list[Any]] = {
    "n": [10, 12],
    "m": [2, 3],
    "T": [4, 6],
    "repeats": [(), ((0, 3), (1, 2))],
    "activation": ["relu", "linear"],
    "sparsity": [0.5, 0.7],
    "normalize": [True, False],
    "importance": [0.9, 1.0],
    "seed": [0, 1],
    "init_seed": [0, 1],
    "steps": [10, 20],
    "learning_rate": [0.01, 0.02],
    "final_learning_rate": [0.0, 0.005],
    "warmup": [0.0, 0.5],
    "schedule": ["quarter_cosine", "constant"],
    "optimizer": ["adamw", "sgd"],
    "betas": [(0.9, 0.99), (0.5, 0.99)],
    "momentum": [0.0, 0.5],
    "eps": [1e-8, 1e-3],
    "weight_decay": [0.0, 0.1],
    "decay_bias": [True, False],
    "learn_bias": [True, False],
    "loss_reduction": ["mean", "sum"],
    "init": ["xavier_uniform", "xavier_normal"],
    "bias_init": [0.0, -0.1],
    "batch_size": [3, 4],
    "dtype": ["float32", "float64"],
    "test_size": [0, 30],
    "record": [1, 8],
    "snapshots": [0, 2],
}


def test_the_table_has_every_field():
    assert tuple(AXES) == tuple(name for name in toysup.config.FIELDS if name != "data")


@pytest.mark.parametrize("name", AXES)
def test_any_field_is_an_axis_if_given_as_a_sequence(backend, name):
    needs = {"optimizer": "sgd"} if name == "momentum" else {}
    config = SMALL.replace(**needs)
    res = sweep(config, **{name: AXES[name]})
    assert res.dims == (name,) and res.coords == {name: AXES[name]} and len(res) == 2
    assert res.configs == [config.replace(**{name: value}) for value in AXES[name]]
    for value in AXES[name]:
        assert run_bits(res.run(**{name: value})) == run_bits(train(config, **{name: value}))
    data = res.dataset
    assert dict(data.sizes) == {name: 2} and set(data) == VARIABLES
    assert [run.train_loss for run in res.runs()] == data.train_loss.values.tolist()


@pytest.mark.parametrize(
    "values",
    [
        (4, 6),
        range(4, 7, 2),
        np.array([4, 6]),
        np.array([4.0, 6.0]),
        [np.int64(4), 6.0],
        [Tensor(4), Tensor(6.0, requires_grad=True)],
        Tensor([4, 6]),
        Tensor([4.0, 6.0], requires_grad=True, device="cuda:0"),
        pd.Series([4, 6], index=[7, 7]),
        pd.Index([4, 6]),
        xr.DataArray([4, 6], dims="T"),
        xr.Dataset(coords={"T": [4.0, 6.0]})["T"],
        (T for T in (4, 6)),
        map(int, "46"),
        {4: "a", 6: "b"}.keys(),
        {"a": 4, "b": 6}.values(),
    ],
    ids=lambda v: type(v).__name__,
)
def test_any_sequence_is_an_axis(values):
    res = sweep(SMALL, T=values)
    assert res.coords == {"T": [4, 6]} and all(type(T) is int for T in res.coords["T"])


def test_T_m_and_seed_come_first_and_then_the_order_of_the_call(backend):
    res = sweep(SMALL, weight_decay=[0, 0.1], seed=[0], optimizer=["sgd"], m=[1, 2], T=[4])
    assert res.dims == ("T", "m", "seed", "weight_decay", "optimizer")
    assert res.dataset.train_loss.dims == res.dims
    assert res.dataset.train_loss.shape == (1, 2, 1, 2, 1)
    expected = [(m, decay) for m in (1, 2) for decay in (0.0, 0.1)]  # the last axis fastest
    assert [(c.m, c.weight_decay) for c in res.configs] == expected
    assert [run.config for run in res.runs()] == res.configs


def test_the_data_set_says_what_was_swept(backend):
    res = sweep(SMALL, T=[4, math.inf], weight_decay=[0, 0.1], seed=5)
    data = res.dataset
    assert data["T"].values.tolist() == [4.0, math.inf] and data["T"].dtype == float
    assert data.weight_decay.values.tolist() == [0.0, 0.1]
    assert data.m.shape == data.seed.shape == () and data.m == 2 and data.seed == 5
    assert set(data.coords) == {"T", "weight_decay", "m", "seed"}
    assert (data.status == "ok").all() and (data.seconds >= 0).all()
    assert all(data[name].dtype == np.float64 for name in VARIABLES - {"status"})
    for name in VARIABLES - {"status"}:  # xarray breaks labels of axes after 30 letters
        assert 0 < len(data[name].attrs["long_name"]) <= 30 and data[name].attrs["description"]
    attrs = data.attrs
    config = json.loads(attrs["config"])
    assert config["axes"] == {"T": [4, "inf"], "weight_decay": [0.0, 0.1]}
    assert config["fixed"].items() >= {"n": 12, "m": 2, "seed": 5, "batch_size": None}.items()
    assert attrs["schema_version"] == 3
    assert attrs["made_with_toysup"] == toysup.__version__
    assert attrs["made_with_backend"] == backend.name and attrs["made_with_isa"] == backend.isa()
    json.dumps(attrs)  # plain values, so that the set can be written to any format


def test_finite_T_alone_is_a_whole_number_and_the_default_is_a_scalar(backend):
    assert sweep(SMALL, T=[4, 6]).dataset["T"].dtype.kind == "i"
    scalars = sweep(SMALL, T=math.inf, batch_size=3, sparsity=[0.5]).dataset
    assert scalars["T"].shape == () and scalars["T"] == math.inf


def test_no_axis_is_one_run(backend):
    res = sweep(SMALL)
    assert res.dims == () and len(res) == 1 and res.dataset.train_loss.shape == ()
    assert run_bits(res.run()) == run_bits(train(SMALL))
    assert float(res.dataset.train_loss) == res.run().train_loss


def test_different_m_in_one_sweep(backend):
    res = sweep(SMALL, m=[1, 2, 5, 12], seed=range(2))
    assert [res.run(m=m, seed=1).W.shape for m in (1, 2, 5, 12)] == [(m, 12) for m in (1, 2, 5, 12)]


def test_different_n_with_different_m(backend):
    res = sweep(SMALL, n=[5, 12], m=[2, 5])
    assert {run.W.shape for run in res.runs()} == {(2, 5), (5, 5), (2, 12), (5, 12)}
    with pytest.raises(ValueError, match="m must not be larger than n = 5, got 6"):
        sweep(SMALL, n=[12, 5], m=[2, 6])


def test_values_of_the_data_set_are_those_of_the_runs(backend):
    res = sweep(SMALL, T=[4, 6], seed=range(3))
    for config, run in zip(res.configs, res.runs(), strict=True):
        point = res.dataset.sel(T=config.T, seed=config.seed)
        assert run.config == config and point.train_loss == run.train_loss
        assert point.test_loss == run.test_loss and point.seconds == run.seconds
        assert point.W_norm == run.history.W_norm[-1] and point.b_norm == run.history.b_norm[-1]
        dimensionality = run.feature_dimensionality()
        assert point.max_feature_dimensionality == pytest.approx(dimensionality.max())
        assert point.n_represented == np.sum(run.represented())


@given(
    T=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    m=st.lists(st.integers(1, 4), min_size=1, max_size=2, unique=True),
    seed=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=2, unique=True),
    n_jobs=st.sampled_from([1, 2, 3, -1, None]),
)
@settings(max_examples=8)
def test_every_run_of_a_sweep_is_that_of_train(backend, T, m, seed, n_jobs):
    res = sweep(SMALL, T=T, m=m, seed=seed, n_jobs=n_jobs)
    assert len(res) == len(T) * len(m) * len(seed)
    for run in res.runs():
        assert run_bits(run) == run_bits(train(run.config))


# ------------------------------------------------------------------------ axes that need some care


def test_a_pair_is_one_value_of_betas(backend):
    for pair in ((0.5, 0.75), [0.5, 0.75], np.array([0.5, 0.75])):
        res = sweep(SMALL, betas=pair)
        assert res.dims == () and res.run().config.betas == (0.5, 0.75)
    res = sweep(SMALL, betas=[[0.9, 0.999], (0.5, 0.75)])
    assert res.coords["betas"] == [(0.9, 0.999), (0.5, 0.75)]
    assert res.dataset.betas.values.tolist() == ["0.9, 0.999", "0.5, 0.75"]
    assert res.run(betas=(0.5, 0.75)).config.betas == (0.5, 0.75)
    assert res.run(betas=np.array([0.5, 0.75])).config.betas == (0.5, 0.75)


def test_pairs_that_differ_have_labels_that_differ(backend):
    close = [(0.9, 0.9999999), (0.9, 0.99999999)]
    labels = sweep(SMALL, betas=close).dataset.betas.values.tolist()
    assert len(set(labels)) == 2


def test_bases_of_importance_are_an_axis_and_so_are_lists_of_arrays(backend):
    assert sweep(SMALL, importance=[0.9, 1.0]).coords == {"importance": [0.9, 1.0]}
    arrays = [np.linspace(0, 1, 12), np.ones(12)]
    res = sweep(SMALL, importance=[*arrays, 0.5])
    assert res.dataset.importance.values.tolist() == [0, 1, 2]
    assert [c.importances().tolist() for c in res.configs[:2]] == [a.tolist() for a in arrays]
    assert res.run(importance=arrays[1]).config.importance == (1.0,) * 12
    assert res.run(importance=0.5).config.importance == 0.5
    stacked = sweep(SMALL, importance=np.stack(arrays))
    assert stacked.configs == res.configs[:2]


def test_the_best_of_several_arrays_is_told_by_its_number(backend):
    arrays = [np.ones(12), np.linspace(0, 1, 12)]  # the second loss is the smaller one
    res = sweep(SMALL, importance=arrays)
    kept = res.best("importance").dataset["importance"]
    assert kept == res.dataset.importance.values[1]


def test_one_array_of_importances_is_shared_by_all_runs(backend):
    array = np.linspace(0, 1, 12)
    res = sweep(SMALL.replace(importance=array), seed=range(2))
    assert res.dims == ("seed",)
    assert all(c.importance == tuple(array.tolist()) for c in res.configs)


@pytest.mark.parametrize("T", [[5, math.inf], [math.inf, 5]])
def test_a_batch_size_counts_where_T_is_infinite(backend, T):
    ways = [
        sweep(SMALL, T=T, batch_size=3),
        sweep(SMALL.replace(T=math.inf, batch_size=3), T=T),
    ]
    for res in ways:
        assert {c.T: c.batch_size for c in res.configs} == {5: None, math.inf: 3}
    fresh = train(SMALL, T=math.inf, batch_size=3)
    assert all(run_bits(res.run(T=math.inf)) == run_bits(fresh) for res in ways)


@pytest.mark.parametrize("config", [SMALL, SMALL.replace(T=math.inf, batch_size=3)])
def test_where_no_T_is_infinite_a_batch_size_is_that_of_batches(backend, config):
    res = sweep(config, T=[5, 6], batch_size=3)
    assert [(c.T, c.batch_size, c.in_batches) for c in res.configs] == [(5, 3, True), (6, 3, True)]
    assert run_bits(res.run(T=5)) == run_bits(train(config, T=5, batch_size=3))


def test_stores_with_batch_sizes_as_an_axis_beside_finite_T_are_still_read():
    fixed = {k: v for k, v in SMALL.plain().items() if k not in ("T", "batch_size")}
    grid = Grid.from_json({"axes": {"T": [5, "inf"], "batch_size": [3, 4]}, "fixed": fixed})
    assert [(c.T, c.batch_size) for c in grid.configs().values()] == [
        (5, None), (5, None), (math.inf, 3), (math.inf, 4),
    ]  # fmt: skip


def test_an_array_of_n_importances_is_one_value(backend):
    values = np.linspace(1, 0.1, 12)
    for way in (values, pd.Series(values), Tensor(values), xr.DataArray(values)):
        res = sweep(SMALL, importance=way)
        assert res.dims == () and run_bits(res.run()) == run_bits(train(SMALL, importance=way))
        assert res.run().config.importance == tuple(values.tolist())
    assert sweep(SMALL, n=[12], importance=values).dims == ("n",)
    res = sweep(SMALL, importance=[values])
    assert res.dims == ("importance",) and res.configs[0].importance == tuple(values.tolist())


def test_initial_biases_are_one_value_or_an_axis_as_importances_are(backend):
    array = np.linspace(-0.2, 0.1, 12)
    one = sweep(SMALL, bias_init=array)
    assert one.dims == () and one.run().config.bias_init == tuple(array.tolist())
    assert run_bits(one.run()) == run_bits(train(SMALL, bias_init=array))
    assert sweep(SMALL, bias_init=one.run().config.bias_init).configs == one.configs
    res = sweep(SMALL, bias_init=[array, -0.1])
    assert res.dataset.bias_init.values.tolist() == [0, 1]
    assert res.run(bias_init=array).config.bias_init == tuple(array.tolist())
    assert run_bits(res.run(bias_init=-0.1)) == run_bits(train(SMALL, bias_init=-0.1))
    assert sweep(SMALL, bias_init=[0.0, -0.1]).coords == {"bias_init": [0.0, -0.1]}
    with pytest.raises(ValueError, match=r"^bias_init is a list of 12 .*np\.full\(12, b\)"):
        sweep(SMALL, bias_init=array.tolist())
    with pytest.raises(ValueError, match=r"^bias_init is an array of 11 .* no value for n = 12"):
        sweep(SMALL, bias_init=array[1:])


def test_an_array_of_n_sparsities_is_one_value_and_a_list_is_an_axis(backend):
    array = power_law(12, 4.0, 1.0)
    one = sweep(SMALL, sparsity=array)
    assert one.dims == () and one.run().config.sparsity == tuple(array.tolist())
    assert run_bits(one.run()) == run_bits(train(SMALL, sparsity=array))
    assert sweep(SMALL, sparsity=one.run().config.sparsity).configs == one.configs
    res = sweep(SMALL, sparsity=[array, 0.5], seed=[0, 1])
    assert res.dataset.sparsity.values.tolist() == [0, 1]
    assert run_bits(res.run(sparsity=array, seed=1)) == run_bits(
        train(SMALL, sparsity=array, seed=1)
    )
    assert res.sel(sparsity=0.5).configs == sweep(SMALL, sparsity=0.5, seed=[0, 1]).configs
    # As it was before sparsities could be arrays.
    values = [k / 13 for k in range(12)]
    assert sweep(SMALL, sparsity=values).coords == {"sparsity": values}
    assert sweep(SMALL, sparsity=np.array(values[1:])).coords == {"sparsity": values[1:]}


def test_a_list_of_bases_is_an_axis_whatever_else_is():
    bases = [0.25, 0.5, 1.0]
    for way in (bases, tuple(bases), [Tensor(base) for base in bases], (r for r in bases)):
        assert sweep(SMALL, importance=way).coords == {"importance": bases}
    res = sweep(SMALL, importance=bases, n=[10, 12])
    assert res.coords == {"importance": bases, "n": [10, 12]}
    # What a sweep says of itself makes it again, though there are three features.
    three = sweep(SMALL, n=3, sparsity=0.5, importance=Axis(bases))
    assert sweep(SMALL, n=3, sparsity=0.5, **three.coords).configs == three.configs


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": ["sgd", "adam"], "betas": [(0.5, 0.5), (0, 0)]}, "1 of 4 .*betas.*'sgd'"),
        ({"weight_decay": [0, 0.1], "decay_bias": [True, False]}, "1 of 4 .*decay_bias.* is 0"),
        ({"learn_bias": [True, False], "decay_bias": [True, False]}, "1 of 4 .*decay_bias.*False"),
        (
            {"schedule": ["cosine", "constant"], "final_learning_rate": [0, 1e-4]},
            "1 of 4 .*final_learning_rate.* 'constant'",
        ),
        ({"steps": [0, 5], "learning_rate": [0.1, 0.2, 0.3]}, "2 of 6 .*learning_rate.* is 0"),
        ({"warmup": [0.3, 0.31, 0.5], "steps": 10}, "1 of 3 .*warmup counts in whole steps"),
    ],
)
def test_runs_that_repeat_others_are_warned_of_and_equal(backend, fields, message):
    with pytest.warns(UserWarning, match=f"^{message}") as caught:
        res = sweep(SMALL, **fields)
    assert len(caught) == 1 and caught[0].filename == __file__
    different = {bits(run.W, run.b, run.test_loss) for run in res.runs()}
    assert len(res) - len(different) == int(message[0])


# -------------------------------------------------------------------------------- choosing a run


def test_axes_of_length_1_may_be_left_out(backend):
    res = sweep(SMALL, T=[5, 6], m=[2], seed=[7])
    run = res.run(T=5)
    assert run.config == SMALL.replace(T=5, seed=7)
    assert res.run(T=5, m=2, seed=7) is run


@pytest.mark.parametrize("T", [5, 5.0, np.int64(5), np.float64(5), np.array(5.0)])
def test_a_value_may_be_written_in_any_way(backend, T):
    assert sweep(SMALL, T=[5, math.inf], batch_size=2).run(T=T).config.T == 5


def test_runs_that_cannot_be_chosen(backend):
    res = sweep(SMALL, T=[5, 6], seed=[7])
    with pytest.raises(ValueError, match=r"give a value for the axis T: one of \[5, 6\]"):
        res.run()
    with pytest.raises(ValueError, match="T = 7 is not in the sweep, which has 5, 6"):
        res.run(T=7)
    with pytest.raises(ValueError, match="T = nan is not in the sweep, which has 5, 6"):
        res.run(T=math.nan)
    with pytest.raises(ValueError, match=r"T = \[5\] is not in the sweep, which has 5, 6"):
        res.run(T=[5])
    with pytest.raises(ValueError, match="seed = '7' is not in the sweep, which has 7"):
        res.run(T=5, seed="7")
    with pytest.raises(TypeError, match="'m' is not an axis of this sweep"):
        res.run(T=5, m=2)
    with pytest.raises(TypeError, match=r"'sed'.*did you mean 'seed'"):
        res.run(T=5, sed=7)


MANY: dict[str, list[Any]] = {
    "importance": [np.linspace(1, 0.1, 12), np.ones(12), 0.5],
    "betas": [(0.9, 0.99), (0.5, 0.99)],
    "init": [(np.ones((2, 12)), np.zeros(12)), "xavier_normal"],
    "repeats": [(), {0: 3, 2: 2}],
    "normalize": [True, False],
    "T": [4, math.inf],
    "learning_rate": [0.01, np.float32(0.1)],
    "optimizer": ["sgd", "adam"],
}


@pytest.mark.parametrize("name", MANY)
def test_values_and_labels_of_the_data_set_select(name):
    res = sweep(SMALL, seed=range(2), **{name: MANY[name]})
    data = res.dataset
    for k, (value, label) in enumerate(zip(MANY[name], data[name].values, strict=True)):
        run = res.run_at(tuple(1 if dim == "seed" else k for dim in res.dims))
        for way in (value, label, label.item(), data[name][k]):
            where = {name: way, "seed": 1}
            assert res.run(**where) is res.sel(**where).run() is run
            assert open_cells(res, where).pick() is run
            assert res.sel(**{name: way}).run(seed=1) is run
            assert res.sel(**{name: [way]}).dataset.equals(data.isel({name: [k]}))
    for way in (MANY[name], data[name], data[name].values):
        assert res.sel(**{name: way}).dataset.identical(data)
        assert open_cells(res, {name: way}).labels == open_cells(res).labels


def test_labels_stay_what_they_are():
    res = sweep(SMALL, importance=[np.ones(12), np.linspace(1, 0.1, 12), 0.5], seed=range(2))
    part = res.sel(importance=[2, 1])
    assert part.dataset.importance.values.tolist() == [2, 1]
    assert part.run(importance=1, seed=0) is res.run(importance=1, seed=0)
    assert part.best("seed").dataset.importance.values.tolist() == [2, 1]
    best = part.best("importance").dataset["importance"]
    assert set(best.values.tolist()) <= {1, 2}
    assert res.best("seed").sel(importance=1).dataset["seed"] == res.best("seed").dataset["seed"][1]


def test_a_value_that_is_the_label_of_another_one():
    res = sweep(SMALL, importance=[np.ones(12), np.linspace(1, 0.1, 12), 1.0])
    with pytest.raises(ValueError, match=r"importance = 1 is a value with the label 2, and the la"):
        res.run(importance=1)
    assert res.run(importance=2).config.importance == 1.0
    # Drawing asks for no label.
    cells, at = open_cells(res), {"T": 0, "m": 0}
    assert [cells.run_at({**at, "importance": i}).config for i in range(3)] == res.configs


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ({"m": 2}, TypeError, "'m' is not an axis of this sweep"),
        ({"T": 7}, ValueError, "T = 7 is not in the sweep, which has 4, 6"),
        ({"T": [4, 7]}, ValueError, "T = 7 is not in the sweep"),
        ({"T": []}, ValueError, "T must name at least one value"),
        ({"T": [4, 4.0]}, ValueError, r"T has a value twice in \[4, 4.0\]"),
        ({"betas": (0.1, 0.2)}, ValueError, r"not in the sweep, which has 0.9, 0.99; 0.5, 0.99$"),
    ],
)
def test_cells_that_cannot_be_chosen(where, error, message):
    with pytest.raises(error, match=message):
        sweep(SMALL, T=[4, 6], betas=MANY["betas"]).sel(**where)


def test_chosen_cells_are_a_sweep(tmp_path):
    sweep(SMALL, T=[4, 6], m=[1, 2], seed=range(2), store=tmp_path / "s")
    res = toysup.open_sweep(tmp_path / "s")
    part = res.sel(T=6, seed=[1])
    assert part.dims == ("m", "seed") and len(part) == 2
    assert part.configs == [SMALL.replace(T=6, m=m, seed=1) for m in (1, 2)]
    assert part.dataset["T"] == 6 and part.dataset.train_loss.equals(
        res.dataset.train_loss.sel(T=6, seed=[1])
    )
    assert run_bits(part.run(m=2)) == run_bits(res.run(T=6, m=2, seed=1))


def test_best_keeps_the_run_of_lowest_train_loss(backend):
    res = sweep(SMALL, T=[4, 6], seed=range(4))
    best = res.best("seed")
    losses = res.dataset.train_loss.values
    assert best.dims == ("T",) and len(best) == 2
    assert best.dataset.train_loss.values.tolist() == losses.min(axis=1).tolist()
    assert best.dataset["seed"].values.tolist() == losses.argmin(axis=1).tolist()
    assert best.dataset["seed"].dims == ("T",) and "seed" not in best.dataset.coords
    for T in (4, 6):
        kept = int(best.dataset["seed"].sel(T=T))
        assert best.run(T=T) is res.run(T=T, seed=kept)
    assert res.dims == ("T", "seed")  # the sweep itself stays as it was


def test_best_of_best(backend):
    res = sweep(SMALL, T=[4, 6], seed=range(2), init_seed=range(3))
    losses = res.dataset.train_loss
    best = res.best("init_seed").best("seed")
    assert best.dims == ("T",)
    for T in (4, 6):
        point, lowest = best.dataset.sel(T=T), losses.sel(T=T)
        assert point.train_loss == lowest.min()
        chosen = {"seed": int(point["seed"]), "init_seed": int(point["init_seed"])}
        assert lowest.sel(chosen) == lowest.min()
        assert best.run(T=T) is res.run(T=T, **chosen)
    everything = res.best("seed").best("T").best("init_seed")
    assert everything.dims == () and everything.run().train_loss == losses.min()
    assert {"seed", "T", "init_seed"} <= set(everything.dataset)


def test_best_of_texts(backend):
    res = sweep(SMALL, optimizer=["adam", "adamw"], betas=[(0.9, 0.99), (0.5, 0.9)])
    data = res.best("optimizer").best("betas").dataset
    assert data["optimizer"] in ("adam", "adamw") and data["betas"] in ("0.9, 0.99", "0.5, 0.9")


def test_best_along_no_axis(backend):
    with pytest.raises(ValueError, match="axis must be one of 'T', 'seed', got 'init_seed'"):
        sweep(SMALL, T=[4], seed=[0]).best("init_seed")
    with pytest.raises(ValueError, match="did you mean 'seed'"):
        sweep(SMALL, T=[4], seed=[0]).best("seeds")


def test_a_diverged_run_is_never_the_best(backend):
    res = sweep(SMALL, optimizer="sgd", learning_rate=[1e30, 0.01])
    assert res.best("learning_rate").run().status == "ok"
    assert res.best("learning_rate").dataset["learning_rate"] == 0.01


def test_it_prints_what_it_holds(backend):
    res = sweep(SMALL, T=[4, 6], learning_rate=[1e30, 0.01], optimizer="sgd")
    assert repr(res) == "<toysup.SweepResult (T: 2, learning_rate: 2): 4 runs, 2 diverged, 2 ok>"


# ------------------------------------------------------------------------------ failed or diverged


@pytest.mark.parametrize("on_error", ["raise", "record"])
def test_a_run_that_diverges_is_recorded_and_not_fatal(backend, on_error):
    res = sweep(SMALL, optimizer="sgd", learning_rate=[0.01, 1e30], on_error=on_error)
    data = res.dataset
    assert data.status.values.tolist() == ["ok", "diverged"]
    for name in ("train_loss", "test_loss", "n_represented"):
        finite = np.isfinite(data[name].values)
        assert finite.tolist() == [True, False], name
    assert np.isnan(data.test_loss.values[1])
    [(config, reason)] = res.failed
    assert config == res.configs[1] and "not finite" in reason
    run = res.run(learning_rate=1e30)
    assert run.status == "diverged" and len(list(res.runs())) == 2


def test_the_runs_that_ended_well_can_be_had_alone(backend):
    res = sweep(SMALL, optimizer="sgd", learning_rate=[0.01, 1e30])
    assert res.finished.statuses == ["ok", "missing"] and res.finished.coords == res.coords
    assert np.isfinite(res.finished.dataset["W_norm"]).values.tolist() == [True, False]
    for status in ("ok", "diverged"):
        assert [run.status for run in res.runs(status=status)] == [status]
    assert not list(res.runs(status="missing"))
    with pytest.raises(ValueError, match=r"status must be one of .*did you mean 'diverged'"):
        res.runs(status="diverge")


DOOMED = r"1 of 3 runs failed; the first, at T=6, m=2, seed=1: ValueError: doomed; \.failed of"


def test_a_run_that_fails_ends_the_sweep_if_it_shall(backend, monkeypatch):
    doomed(monkeypatch, backend, seed=1)
    with pytest.raises(RunFailedError, match=r"T=6, m=2, seed=1 failed: ValueError: doomed") as e:
        sweep(SMALL, seed=range(3), n_jobs=1, on_error="raise")
    assert e.value.result.failed == [(SMALL.replace(seed=1), "ValueError: doomed")]
    assert not e.value.result.interrupted


def test_if_all_runs_fail_that_is_an_error(backend, monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "train_many", lambda configs, n_jobs, on_result, *rest: [
        on_result(i, Failed("doomed")) for i, config in enumerate(configs)
    ])  # fmt: skip
    with pytest.raises(
        RunFailedError, match=r"all 2 runs failed; the first, at T=6.*: doomed"
    ) as e:
        sweep(SMALL, seed=range(2), store=tmp_path)
    assert e.value.result.statuses == toysup.open_sweep(tmp_path).statuses == ["failed"] * 2
    with pytest.raises(RunFailedError, match="the run at T=6, m=2, seed=0 failed: doomed"):
        sweep(SMALL)
    # None was trained, and so none failed.
    assert sweep(SMALL, seed=range(2), store=tmp_path, retry="none").statuses == ["failed"] * 2


def test_or_is_recorded_with_its_reason_and_a_warning(backend, monkeypatch, tmp_path):
    doomed(monkeypatch, backend, seed=1)
    with pytest.warns(RuntimeWarning, match=f"{DOOMED}.*, and the same call tries them again$"):
        sweep(SMALL, seed=range(3), store=tmp_path)
    with pytest.warns(RuntimeWarning, match=DOOMED) as caught:
        res = sweep(SMALL, seed=range(3))
    assert [warning.filename for warning in caught] == [__file__]
    assert res.dataset.status.values.tolist() == ["ok", "failed", "ok"]
    assert np.isnan(res.dataset.train_loss.values).tolist() == [False, True, False]
    assert res.failed == [(SMALL.replace(seed=1), "ValueError: doomed")]
    assert [run.config.seed for run in res.runs()] == [0, 2] and not res.interrupted
    with pytest.raises(ValueError, match="the run at seed=1 is failed"):
        res.run(seed=1)
    assert res.best("seed").run().config.seed in (0, 2)


def test_an_error_inside_one_run_of_the_reference_leaves_the_others(monkeypatch):
    from toysup._backends.reference import pool

    real = pool.train_one

    def train_one(config, *rest):
        if config.seed == 1:
            raise FloatingPointError("here")
        return real(config, *rest)

    monkeypatch.setenv("TOYSUP_BACKEND", "numpy")
    monkeypatch.setattr(pool, "train_one", train_one)
    with pytest.warns(RuntimeWarning, match="1 of 3 runs failed; .*: FloatingPointError: here"):
        res = sweep(SMALL, seed=range(3))
    assert res.failed == [(SMALL.replace(seed=1), "FloatingPointError: here")]
    with pytest.raises(RunFailedError, match="seed=1 failed: FloatingPointError: here"):
        sweep(SMALL, seed=range(3), on_error="raise")


def test_a_failure_leaves_the_runs_that_had_ended_in_the_store(backend, monkeypatch, tmp_path):
    seeds = doomed(monkeypatch, backend, seed=2)
    with pytest.raises(RunFailedError):
        sweep(SMALL, seed=range(3), steps=[20], store=tmp_path / "s", n_jobs=1, on_error="raise")
    stored = toysup.open_sweep(tmp_path / "s").dataset.status.values.ravel().tolist()
    assert stored == ["ok", "ok", "failed"]
    monkeypatch.undo()
    monkeypatch.setenv("TOYSUP_BACKEND", backend.name)
    seeds = doomed(monkeypatch, backend, seed=-1)
    res = sweep(SMALL, seed=range(3), steps=[20], store=tmp_path / "s")
    assert seeds == [2] and not res.failed and (res.dataset.status == "ok").all()
    assert not toysup.open_sweep(tmp_path / "s").failed


def test_a_run_that_ends_after_a_failure_is_kept(backend, monkeypatch, tmp_path):
    real = backend.train_many

    def train_many(configs, jobs, on_result, *rest):
        on_result(0, Failed("doomed"))
        real(configs[1:], 1, lambda i, raw: on_result(i + 1, raw), lambda work: False)

    monkeypatch.setattr(backend, "train_many", train_many)
    with pytest.raises(RunFailedError, match="seed=0 failed: doomed"):
        sweep(SMALL, seed=range(2), store=tmp_path, n_jobs=1, on_error="raise")
    assert toysup.open_sweep(tmp_path).statuses == ["failed", "ok"]


# ---------------------------------------------------------------------------- however it is run


def test_any_number_of_jobs_gives_the_same_bits(backend):
    one = sweep(SMALL, T=[4, 6, 8], seed=range(2), n_jobs=1)
    for n_jobs in (2, 5, -1, -2, -100, None, np.int64(2)):
        assert_same_sweep(one, sweep(SMALL, T=[4, 6, 8], seed=range(2), n_jobs=n_jobs))


def test_threads_give_the_same_bits(backend):
    with futures.ThreadPoolExecutor(2) as pool:
        res = sweep(SMALL, T=[4, 6], seed=range(2), executor=pool)
        assert pool.submit(int, "3").result() == 3  # it is the caller's, and stays open
    assert_same_sweep(res, sweep(SMALL, T=[4, 6], seed=range(2)))


def test_processes_give_the_same_bits(backend, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        res = sweep(SMALL, T=[4, math.inf], seed=range(2), executor=pool)
        stored = sweep(SMALL, T=[4, math.inf], seed=range(2), executor=pool, store=tmp_path / "s")
    alone = sweep(SMALL, T=[4, math.inf], seed=range(2))
    assert_same_sweep(res, alone)
    assert_same_sweep(stored, alone)


def test_loky_gives_the_same_bits(backend):
    loky = pytest.importorskip("loky")
    pool = loky.ProcessPoolExecutor(1)
    try:
        res = sweep(SMALL, T=[4, 6], seed=range(2), executor=pool)
    finally:
        pool.shutdown(wait=True, kill_workers=True)
    assert_same_sweep(res, sweep(SMALL, T=[4, 6], seed=range(2)))


def test_failures_come_through_an_executor(backend, monkeypatch):
    doomed(monkeypatch, backend, seed=1)
    with futures.ThreadPoolExecutor(1) as pool:
        with pytest.warns(RuntimeWarning, match=DOOMED):
            res = sweep(SMALL, seed=range(3), executor=pool)
        assert res.failed == [(SMALL.replace(seed=1), "ValueError: doomed")]
        with pytest.raises(RunFailedError, match="seed=1"):
            sweep(SMALL, seed=range(3), executor=pool, on_error="raise")


def test_a_sweep_runs_in_any_thread(backend):
    handler = signal.getsignal(signal.SIGINT)
    with futures.ThreadPoolExecutor(1) as pool:
        res = pool.submit(sweep, SMALL, T=[4, 6]).result()
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same_sweep(res, sweep(SMALL, T=[4, 6]))


def test_two_sweeps_at_once(backend, tmp_path):
    fields: dict[str, Any] = {"T": [4, 6, 8], "seed": range(3), "n_jobs": 2}
    alone = sweep(SMALL, **fields)
    barrier = threading.Barrier(3)

    def work(**more: Any) -> SweepResult:
        barrier.wait()
        return sweep(SMALL, **fields, **more)

    with futures.ThreadPoolExecutor(3) as pool:
        # one in memory, and two that share a folder
        jobs = [pool.submit(work)] + [pool.submit(work, store=tmp_path / "s") for _ in range(2)]
        for job in jobs:
            assert_same_sweep(job.result(), alone)
    assert_same_sweep(toysup.open_sweep(tmp_path / "s"), alone)


def test_progress_counts_the_runs(backend, capsys):
    sweep(SMALL, T=[4, 6], steps=500, n_jobs=1, progress=True)
    shown = capsys.readouterr()
    assert "2 runs: 100%" in shown.err and "2/2 runs" in shown.err and not shown.out
    sweep(SMALL, T=[4, 6], progress=False)
    sweep(SMALL, T=[4, 6])
    assert not capsys.readouterr().err
