"""Whatever is read or typed, the answer is what was meant or an error that says what is wrong.

``fuzz_files.py`` does the same, guided by coverage and for as long as one likes.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import toysup
from soak import soak
from toysup import StoreError, TrainConfig, cli
from toysup._files.whole import write_document
from toysup._run.archive import write
from toysup._store.store import Store
from toysup.cli._fields import given_fields
from toysup.cli._output import UsageError
from toysup.config import FIELDS
from toysup.config.grid import MAX_CELLS

SMALL = TrainConfig(n=6, m=2, T=3, sparsity=0.5, steps=3, test_size=4, record=2)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["inf", "adamw", 2**63, 10**400, -1, 1e308, math.inf, "float32"])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
fields = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), anything, max_size=6)


def text_of(value: Any) -> str:
    return json.dumps(value)


@given(text=fields.map(text_of) | anything.map(text_of) | st.text())
@example("[" * 3000)
@example('{"n": ' + "9" * 5000 + "}")
@settings(max_examples=soak(30, 300))
def test_configs(text: str) -> None:
    with contextlib.suppress(ValueError):
        config = TrainConfig.from_json(text)
        assert TrainConfig.from_json(config.to_json()) == config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run, and a failure."""
    path = tmp_path_factory.mktemp("fuzz") / "store"
    toysup.sweep(SMALL, seed=[0, 1], store=path)
    return path


def opened(path: Path) -> None:
    """Open a store and look at all of it."""
    with contextlib.suppress(StoreError):
        result = toysup.open_sweep(path)
        assert len(result) <= MAX_CELLS
        assert set(result.statuses) <= {"ok", "diverged", "failed", "damaged", "missing"}
        for run in result.runs():
            assert run.W.shape == (run.config.m, run.config.n)


grids = st.fixed_dictionaries(
    {
        "axes": st.dictionaries(st.sampled_from(FIELDS), st.lists(leaves, max_size=3)) | anything,
        "fixed": st.just(SMALL.to_dict()) | fields | anything,
    }
)


@given(grid=grids | anything)
@settings(max_examples=soak(20, 200))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_manifests(folder: Path, grid: Any) -> None:
    good = (folder / "sweep.json").read_bytes()
    try:
        with contextlib.suppress(ValueError):  # JSON has no infinity
            write_document(folder / "sweep.json", {"grid": grid})
        opened(folder)
    finally:
        (folder / "sweep.json").write_bytes(good)


@given(meta=st.fixed_dictionaries({"config": fields | anything, "summary": anything}) | fields)
@settings(max_examples=soak(20, 200))
def test_meta_data_of_runs_that_are_sealed(folder: Path, meta: dict[str, Any]) -> None:
    path = Store(folder).run_file(SMALL.replace(seed=1))
    good = path.read_bytes()
    try:
        with contextlib.suppress(ValueError):
            write(path, meta, {"W": np.zeros((2, 6), np.float32), "b": np.zeros(6, np.float32)})
        opened(folder)
        with contextlib.suppress(StoreError):
            toysup.load_run(path)
    finally:
        path.write_bytes(good)


@given(error=anything, steps=anything, config=st.just(json.loads(SMALL.to_json())) | fields)
@settings(max_examples=soak(10, 100))
def test_records_of_failures(folder: Path, error: Any, steps: Any, config: Any) -> None:
    store, config_ = Store(folder), SMALL.replace(seed=1)
    run = store.run_file(config_)
    good = run.read_bytes()
    run.unlink()
    try:
        with contextlib.suppress(ValueError):
            document = {"config": config, "error": error, "steps_done": steps}
            write_document(store.failure_file(config_), document)
        opened(folder)
    finally:
        store.failure_file(config_).unlink(missing_ok=True)
        run.write_bytes(good)


numbers = st.integers().map(str) | st.floats().map(str) | st.sampled_from(["inf", "1e400", "0:9"])
values = st.lists(numbers | st.text(max_size=6), max_size=3).map(",".join)
options = st.sampled_from(["--" + name.replace("_", "-") for name in FIELDS] + ["--shard", "--t"])
words = st.lists(st.tuples(options, values).map("=".join) | options | values, max_size=6)


@given(words=words, command=st.sampled_from([*cli.COMMANDS, "", "sweeps"]))
@settings(max_examples=soak(30, 300))
def test_arguments(words: list[str], command: str) -> None:
    with contextlib.suppress(UsageError, ValueError, TypeError, SystemExit, FileNotFoundError):
        args = cli._parse([command, *words])
        found = given_fields(args) if args.command in ("sweep", "plot") else {}
        TrainConfig.from_fields({k: v for k, v in found.items() if not isinstance(v, list)})


@given(words=words)
@settings(max_examples=soak(6, 60))
def test_what_the_command_says_of_them(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["status", *words, "/nowhere/at/all"])
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    if code:
        assert err.startswith("toysup: error: ") and err.count("\n") == 1 and out == ""
