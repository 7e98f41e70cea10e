"""What became of a sweep, as tables, data sets, files and pages: whole, partial or damaged."""

from __future__ import annotations

import copy
import csv
import html.parser
import math
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import xarray

import toysup
from toysup import StoreError, SweepResult, TrainConfig, open_sweep, sweep
from toysup._store.store import Store
from toysup._sweep.result import Cell, Summary
from toysup._system.extras import need
from toysup.config import FIELDS
from toysup.config.grid import Grid

pytestmark = pytest.mark.any_backend
SMALL = TrainConfig(n=16, m=2, T=4, sparsity=0.8, steps=20, test_size=20, record=3)
GRIDS: dict[str, dict[str, Any]] = {
    "strings, flags, infinity": {
        **{"T": [3, math.inf], "optimizer": ["adam", "sgd"]},
        "normalize": [True, False],
    },
    "pairs, large seeds": {"betas": [(0.9, 0.99), (0.8, 0.99)], "seed": [0, 2**62 + 1]},
    "no axes": {},
    "importances": {"importance": [1.0, 0.9], "m": [1, 2]},
    "arrays": {"importance": [[1.0] * 16, [0.5] * 16]},
    "sparsities": {"sparsity": [[0.5] * 15 + [1.0], 0.7], "bias_init": [0.0, -0.1]},
    "small batches": {"batch_size": [2, 3], "learn_bias": [True, False]},
    "batches": {"T": math.inf, "batch_size": [2, 3]},
}


@pytest.fixture
def partial(backend: Any, tmp_path: Path) -> Path:
    """A store of 3 x 2 runs: one failed, one damaged, one missing, one diverged."""
    store = Store(tmp_path / "partial")
    sweep(SMALL, T=[3, 4, 5], seed=range(2), store=store.path)
    configs = {(c.T, c.seed): c for c in store.grid().configs().values()}
    store.run_file(configs[3, 1]).unlink()
    store.run_file(configs[4, 0]).unlink()
    store.save_failure(configs[4, 0], 'ValueError: <b>"no", really</b>', step=7)
    store.run_file(configs[4, 1]).write_bytes(b"nothing like a run")
    bad = toysup.train(configs[5, 1])
    object.__setattr__(bad, "status", "diverged")
    object.__setattr__(bad, "train_loss", math.nan)
    store.save(bad)
    return store.path


# ---------------------------------------------------------------------------------- what is seen


def test_a_partial_store_opens_with_nan_and_status(partial):
    data = open_sweep(partial).dataset
    assert data.status.values.tolist() == [
        ["ok", "missing"],
        ["failed", "damaged"],
        ["ok", "diverged"],
    ]
    assert np.isfinite(data.test_loss.values).tolist() == [
        [True, False],
        [False, False],
        [True, True],
    ]
    assert data.steps_done.values[1, 0] == 7 and np.isnan(data.steps_done.values[0, 1])


def test_failed_is_a_list_of_pairs_that_say_more(partial):
    result = open_sweep(partial)
    found = {(config.T, config.seed): reason for config, reason in result.failed}
    assert found[4, 0] == 'ValueError: <b>"no", really</b>'
    assert found[5, 1] == "a loss or a norm was not finite at step 20"
    assert "damaged" in found[4, 1] or "not" in found[4, 1]
    assert {(f.status, f.step) for f in result.failed} == {
        ("failed", 7),
        ("diverged", 20),
        ("damaged", 0),
    }
    assert "(T: 3, seed: 2): 6 runs, 1 damaged, 1 diverged, 1 failed, 1 missing, 2 ok" in repr(
        result
    )


def test_what_is_not_there_cannot_be_loaded(partial):
    result = open_sweep(partial)
    for T, seed, status in ((3, 1, "missing"), (4, 0, "failed"), (4, 1, "damaged")):
        with pytest.raises(ValueError, match=f"the run at T={T}, seed={seed} is {status}"):
            result.run(T=T, seed=seed)
    assert len(list(result.runs())) == 3
    assert result.best("seed").dataset.seed.values.tolist() == [0, 0, 0]


def test_a_sweep_makes_a_partial_store_whole(partial, backend):
    with pytest.warns(RuntimeWarning, match=r"it was moved to .*damaged"):
        result = sweep(SMALL, T=[3, 4, 5], seed=range(2), store=partial, retry="all")
    whole = sweep(SMALL, T=[3, 4, 5], seed=range(2))
    assert (result.dataset.status == "ok").all() and result.failed == []
    for name in ("train_loss", "test_loss", "W_norm", "b_norm"):
        assert np.array_equal(result.dataset[name], whole.dataset[name])
    assert len(list((partial / "damaged").iterdir())) == 1


@pytest.mark.parametrize(
    ("retry", "trained"), [("failed", 3), ("all", 4), ("none", 2)], ids=lambda x: str(x)
)
@pytest.mark.filterwarnings("ignore:.*it was moved to:RuntimeWarning")
def test_what_is_retried(partial, backend, monkeypatch, retry, trained):
    real, configs = backend.train_many, []

    def train_many(todo: Any, *rest: Any) -> None:
        configs.extend(todo)
        real(todo, *rest)

    monkeypatch.setattr(backend, "train_many", train_many)
    result = sweep(SMALL, T=[3, 4, 5], seed=range(2), store=partial, retry=retry)
    assert len(configs) == trained
    assert ("failed" in result.statuses) == (retry == "none")
    assert ("diverged" in result.statuses) == (retry != "all")


def test_values_added_to_an_axis_cost_only_what_is_new(backend, monkeypatch, tmp_path):
    sweep(SMALL, T=[3, 5], seed=range(2), store=tmp_path)
    real, configs = backend.train_many, []

    def train_many(todo: Any, *rest: Any) -> None:
        configs.extend(todo)
        real(todo, *rest)

    monkeypatch.setattr(backend, "train_many", train_many)
    sweep(SMALL, T=[4, 5], seed=range(3), store=tmp_path)
    assert {(c.T, c.seed) for c in configs} == {(4, 0), (4, 1), (4, 2), (5, 2)}
    data = open_sweep(tmp_path).dataset
    assert data["T"].values.tolist() == [3, 4, 5]
    assert data.status.values.tolist() == [["ok", "ok", "missing"], ["ok"] * 3, ["ok"] * 3]


def made(*summaries: dict[str, Any] | None) -> SweepResult:
    """A result over seeds, of these summaries."""
    grid = Grid.make(SMALL, {"seed": range(len(summaries))})
    cells = zip(grid.configs().items(), summaries, strict=True)
    return SweepResult(grid, {index: Cell(c, Summary.of(summary)) for (index, c), summary in cells})


FAILED = {"status": "failed", "error": "x", "steps_done": 7}
DIVERGED = {"status": "diverged", "train_loss": 0.1, "steps_done": 9}


def test_failures_can_be_copied_and_sent_to_other_processes():
    [failure] = made(FAILED).failed
    for other in (pickle.loads(pickle.dumps(failure)), copy.deepcopy(failure)):
        assert other == failure == (SMALL, "x") and (other.status, other.step) == ("failed", 7)


@pytest.mark.parametrize(
    ("summaries", "status"),
    [
        ([DIVERGED, {"status": "ok", "train_loss": 0.5}], "ok"),
        ([None, FAILED, DIVERGED], "diverged"),
        ([None, {"status": "damaged", "error": "x"}, FAILED], "failed"),
        ([None, None], "missing"),
    ],
)
def test_the_best_is_the_one_that_got_furthest(summaries, status):
    best = made(*summaries).best("seed")
    assert best.dataset.status == status
    assert best.dataset.seed == [(s or {"status": "missing"})["status"] for s in summaries].index(
        status
    )


def test_a_finite_loss_is_better_than_one_that_is_not():
    losses = [math.nan, math.inf, 2.0, 1.0, math.nan]
    result = made(*({"status": "ok", "train_loss": loss} for loss in losses))
    assert result.best("seed").dataset.seed == 3


# --------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_data_set_comes_back_the_same(tmp_path, name, suffix):
    pytest.importorskip({".nc": "netCDF4", ".zarr": "zarr"}[suffix])
    result = sweep(SMALL, **GRIDS[name])
    path = result.export(tmp_path / f"a{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]
    with xarray.open_dataset(path, engine={".nc": "netcdf4", ".zarr": "zarr"}[suffix]) as back:
        assert back.load().identical(result.dataset)


def test_a_partial_data_set_comes_back_too(partial, tmp_path):
    pytest.importorskip("netCDF4")
    result = open_sweep(partial)
    with xarray.open_dataset(result.export(tmp_path / "a.nc"), engine="netcdf4") as back:
        assert back.load().identical(result.dataset)


@pytest.mark.parametrize("name", GRIDS)
def test_tables_come_back_the_same(tmp_path, name):
    result = sweep(SMALL, **GRIDS[name])
    frame = result.to_frame()
    assert len(frame) == len(result) and set(result.dims) <= set(frame.columns)
    assert frame.status.tolist() == result.statuses
    back = pandas.read_csv(result.export(tmp_path / "a.csv"))
    assert list(back.columns) == list(frame.columns)
    for column in ("train_loss", "test_loss", "W_norm", "seed", "T", "m", "n", "sparsity", "steps"):
        assert np.array_equal(back[column], frame[column].astype(back[column].dtype))
    for column in ("n", "m", "seed", "steps", "record", "steps_done"):
        assert back[column].dtype == "int64", column
    pytest.importorskip("pyarrow")
    assert pandas.read_parquet(result.export(tmp_path / "a.parquet")).equals(frame)


def test_a_partial_table_quotes_and_leaves_empty(partial, tmp_path):
    result = open_sweep(partial)
    back = pandas.read_csv(result.export(tmp_path / "a.csv"), keep_default_na=False)
    failed = back[back.status == "failed"].iloc[0]
    assert failed.error == 'ValueError: <b>"no", really</b>'
    assert failed.train_loss == "" and failed.steps_done == "7"
    assert back[back.status == "missing"].iloc[0].steps_done == ""


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", 'a "b", c', "=1", "é\t", "x\udc80"])
def test_any_reason_is_one_field_of_a_table(tmp_path, text):
    result = made({"status": "failed", "error": text}, None)
    clean = text.encode("unicode_escape").decode() if "\xe9" not in text else "\xe9\\t"
    with open(result.export(tmp_path / "a.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3 and len({len(row) for row in rows}) == 1
    quoted = f"'{clean}" if clean.startswith("=") else clean  # or it would be a formula
    assert rows[1][rows[0].index("error")] == quoted
    pytest.importorskip("pyarrow")
    assert pandas.read_parquet(result.export(tmp_path / "a.parquet")).error[0] == clean


def test_columns_have_the_same_type_whatever_became_of_the_runs():
    ok = dict.fromkeys(("train_loss", "n_represented"), 1.0) | {"status": "ok", "steps_done": 20}
    whole, partial = made(ok, ok).to_frame(), made(ok, None).to_frame()
    assert (whole.dtypes == partial.dtypes).all() and whole.steps_done.dtype == "Int64"
    assert partial.steps_done.isna().tolist() == [False, True]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_different_sweeps_can_be_put_together(tmp_path, suffix):
    """Whatever their axes: the columns are the same, and say what each run was."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    falling = np.linspace(1, 0.5, 16)
    sweeps = [
        sweep(SMALL, T=[3, 4]),
        sweep(SMALL, T=[3, math.inf], batch_size=7, sparsity=0.7),
        sweep(SMALL, importance=[falling, falling[::-1]], init_seed=[5, 6]),
        sweep(SMALL, init=toysup.train(SMALL), seed=[0, 2**63 - 1], repeats={1: 2}),
        sweep(SMALL, seed=[0, 1]).best("seed"),
    ]
    read = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}[suffix]
    tables = [read(result.export(tmp_path / f"{k}{suffix}")) for k, result in enumerate(sweeps)]
    whole = pandas.concat(tables, ignore_index=True)
    assert len(whole) == sum(map(len, sweeps)) and set(tables[0].columns) == set(whole.columns)
    fields = list(FIELDS)
    assert set(fields) < set(whole.columns)
    configs = [config for result in sweeps for config in result.configs]
    for name in (
        "T",
        "m",
        "n",
        "seed",
        "sparsity",
        "steps",
        "learning_rate",
        "normalize",
        "init_seed",
    ):
        for found, config in zip(whole[name], configs, strict=True):
            wanted = getattr(config, name)
            assert pandas.isna(found) if wanted is None else found == wanted, name
    assert whole.batch_size.dropna().tolist() == [7]
    labels = whole.importance.unique().tolist()
    assert len({str(label) for label in labels}) == 3 and max(map(len, map(str, labels))) < 60
    assert any(str(label).startswith("1.0, 0.9") for label in labels)
    assert all(table["T"].dtype == "int64" for table in (tables[0], *tables[2:]))
    if suffix == ".csv":
        lines = (tmp_path / "1.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["T", "3", "inf"]


def test_the_type_of_a_column_does_not_depend_on_the_axes():
    """Which fields are whole numbers does not depend on the values of a sweep."""
    one, other = (sweep(SMALL, **fields).to_frame() for fields in ({}, {"init_seed": [1, 2]}))
    assert one.dtypes.equals(other.dtypes)


@pytest.mark.parametrize(("package", "engine"), [("netCDF4", "netcdf4"), ("h5netcdf", "h5netcdf")])
def test_either_package_writes_netcdf(tmp_path, monkeypatch, package, engine):
    pytest.importorskip(package)
    if package == "h5netcdf":
        pytest.importorskip("h5py")  # it writes with it, and no longer brings it
    (other,) = {"netCDF4", "h5netcdf"} - {package}
    monkeypatch.setitem(sys.modules, other, None)
    result = sweep(SMALL, T=[3, math.inf], optimizer=["adam", "sgd"])
    with xarray.open_dataset(result.export(tmp_path / "a.nc"), engine=engine) as back:
        assert back.load().identical(result.dataset)


def test_a_data_set_that_cannot_be_written_leaves_the_older_file(tmp_path, monkeypatch):
    pytest.importorskip("netCDF4")
    path = sweep(SMALL).export(tmp_path / "a.nc")
    before = path.read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(xarray.Dataset, "to_netcdf", fail)
    with pytest.raises(StoreError, match=r"cannot write .*a\.nc.*HDF error"):
        sweep(SMALL).export(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".nc", ".zarr"])
def test_there_must_be_a_folder(tmp_path, suffix):
    pytest.importorskip(
        {".parquet": "pyarrow", ".nc": "netCDF4", ".zarr": "zarr"}.get(suffix, "csv")
    )
    (tmp_path / "file").touch()
    for parent in ("nowhere", "file"):
        with pytest.raises(StoreError, match=rf"cannot write .*{parent}"):
            sweep(SMALL).export(tmp_path / parent / f"a{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    result = sweep(SMALL)
    with pytest.raises(
        ValueError, match=r"must end in one of .csv, .parquet, .nc, .zarr, got '.*x'"
    ):
        result.export(tmp_path / "x")


WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pyarrow", "netCDF4", "h5netcdf", "zarr", "scipy", "PIL"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import toysup, toysup.data, toysup.cli
result = toysup.sweep(n=9, m=2, T=3, sparsity=0.5, steps=2, test_size=3, store="s")
uses = {name: lambda name=name: result.export(name) for name in ("a.parquet", "a.nc", "a.zarr")}
uses["scipy"] = lambda: toysup.data.sample(5, 2, 0.5, 0).to_scipy()
for use in uses.values():
    try:
        use()
    except ImportError as error:
        print(error)
for name in ("a.parquet", "a.nc", "a.zarr"):
    assert toysup.cli.main(["export", "nowhere", "--out", name]) == 1  # known before anything else
"""


def test_what_is_to_be_installed_is_said_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    extra = "it is not installed; pip install 'toysup[export]'"
    said = [
        f"a {suffix} file needs {package}: {extra}"
        for suffix, package in ((".parquet", "pyarrow"), (".nc", "netCDF4"), (".zarr", "zarr"))
    ]
    scipy = "to_scipy needs scipy: it is not installed; pip install scipy"
    assert done.stdout.splitlines() == [*said, scipy]
    assert done.stderr.splitlines() == [f"toysup: error: {text}" for text in said]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_package_that_is_broken_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"x needs zarr: it .*; pip install 'toysup\[export\]'$"):
        need("x", "zarr")
    with pytest.raises(ImportError, match=r"x needs nowhere_at_all: it is not installed"):
        need("x", "nowhere_at_all")
    assert need("x", "nowhere_at_all", "json") == "json"


def test_a_zarr_folder_is_not_overwritten(tmp_path):
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(StoreError, match="it is there already"):
        sweep(SMALL).export(tmp_path / "a.zarr")


# --------------------------------------------------------------------------------------- pages


class Checker(html.parser.HTMLParser):
    """Every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"|{data}"


def checked(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker.text


def test_pages_show_counts_and_reasons_and_escape_them(partial):
    result = open_sweep(partial)
    text = checked(result._repr_html_())
    assert "|4|0 / 2, 1 failed, 1 damaged" in text and "|3|1 / 2" in text
    assert "failed: ValueError: <b>" in text and "<b>" not in result._repr_html_()
    run = result.run(T=3, seed=0)
    assert "|train loss|" in checked(run._repr_html_())


def test_many_failures_are_not_all_written_out():
    grid = Grid.make(SMALL, {"seed": range(9)})
    bad = Summary("failed", "x")
    cells = {index: Cell(config, bad) for index, config in grid.configs().items()}
    text = checked(SweepResult(grid, cells)._repr_html_())
    assert text.count("failed: x") == 5 and "and 4 more" in text


def test_large_tables_are_cut_in_the_middle():
    grid = Grid.make(SMALL, {"T": range(1, 101), "m": range(1, 17)})
    cells = {index: Cell(config) for index, config in grid.configs().items()}
    text = checked(SweepResult(grid, cells)._repr_html_())
    assert "|T|m = 1|" in text and text.count("|m = ") == 16
    assert "|20|0 / 1" in text and "|…|" in text and "|81|0 / 1" in text
    assert "|21|" not in text and "|80|" not in text


# -------------------------------------------------------------------------------------- in bulk


def test_ten_thousand_cells_are_shown_quickly():
    grid = Grid.make(SMALL, {"T": range(1, 101), "seed": range(100)})
    summary = Summary("ok", "", {"train_loss": 1.0, "steps_done": 20}, {"toysup": "0"})
    cells = {index: Cell(config, summary) for index, config in grid.configs().items()}
    result = SweepResult(grid, cells)
    began = time.perf_counter()
    assert float(result.dataset.train_loss.sum()) == 10_000
    print(f"{time.perf_counter() - began:.3f} s for a data set of 10,000 runs")
    assert len(result.to_frame()) == 10_000


def test_on_the_command_line(partial, tmp_path):
    def toysup_cli(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "toysup", *map(str, words)], capture_output=True, text=True
        )

    done = toysup_cli("export", partial, "--out", tmp_path / "t.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "t.csv: 6 runs: 2 ok, 1 diverged, 1 failed, 1 damaged, 1 missing" in done.stdout
    assert len(pandas.read_csv(tmp_path / "t.csv")) == 6
    bad = toysup_cli("export", partial, "--out", tmp_path / "t.xls")
    assert bad.returncode == 2 and "must end in one of" in bad.stderr


def test_a_second_ctrl_c_leaves_nothing_of_a_folder(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    real, calls = shutil.rmtree, []

    def rmtree(folder, **options):
        calls.append(folder)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(folder, **options)

    def to_zarr(self, folder, **options):
        (folder / "half").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    monkeypatch.setattr(xarray.Dataset, "to_zarr", to_zarr)
    with pytest.raises(KeyboardInterrupt):
        made(None).export(tmp_path / "a.zarr")
    assert len(calls) == 2 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_any_name_in_the_provenance_of_a_run_is_exported(tmp_path, suffix):
    pytest.importorskip({".nc": "netCDF4", ".zarr": "zarr"}[suffix])
    made_with = {"a/b": "1", "a.b": "2", "": "3", "é": "4"}
    result = made({"status": "ok", "provenance": made_with})
    result.export(tmp_path / f"a{suffix}")
    engine = {".nc": "netcdf4", ".zarr": "zarr"}[suffix]
    with xarray.open_dataset(tmp_path / f"a{suffix}", engine=engine) as back:
        found = {name: text for name, text in back.attrs.items() if name.startswith("made_with")}
    assert found == {"made_with_a_b": "1, 2", "made_with_": "3", "made_with__": "4"}
