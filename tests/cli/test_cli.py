"""The command line: what it prints, what it writes, its exit codes, and Ctrl-C."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given

import toysup
from helpers import interrupted_when, run_bits, training
from soak import soak
from toysup import cli, paper
from toysup._backends.protocol import Backend
from toysup._backends.reference import pool
from toysup._run.run import Run
from toysup.cli._arguments import field_help
from toysup.cli._fields import given_fields, one_value_fields, parse_field
from toysup.cli._output import as_json
from toysup.cli._show import FIGURES
from toysup.config import FIELDS, TrainConfig
from toysup.config.train_config import _CHOICES
from toysup.paper import _recorded

TINY = ("--n", "30", "--sparsity", "0.8", "--steps", "40", "--test-size", "50", "--record", "4")
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def toysup_cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take a moment."""
    small = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}
    for name in paper.names():
        preset = paper.get(name)
        scales = {
            scale: {part: {**fields, **small} for part, fields in parts.items()}
            for scale, parts in preset.scales.items()
        }
        monkeypatch.setitem(paper._REGISTRY, name, dataclasses.replace(preset, scales=scales))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of T x m x seed, of which two cells are missing."""
    path = tmp_path_factory.mktemp("cli") / "store"
    fields = {"n": 30, "sparsity": 0.8, "steps": 40, "test_size": 50, "record": 4, "m": 2}
    toysup.sweep(store=path, T=[3, 5, 30], seed=[0], progress=False, **fields)
    toysup.sweep(store=path, T=[3], seed=[0, 1], progress=False, **fields)
    return path


def start(*words: object, **kwargs: Any) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "toysup", *map(str, words)],
        stdout=kwargs.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def process(*words: object, **kwargs: Any) -> tuple[int, str, str]:
    """The command line in a process of its own, to its end: (exit code, stdout, stderr)."""
    with start(*words, **kwargs) as running:
        out, err = running.communicate(timeout=120)
    return running.returncode, out, err


def one_error_line(err: str) -> str:
    """The text of the only line on stderr."""
    (line,) = err.splitlines()
    assert line.startswith("toysup: error: ")
    return line.removeprefix("toysup: error: ")


# --- values of fields ---

# For each field, some of its values; what is written into the command line is their str.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 10**6),
    "m": st.integers(1, 100),
    "T": st.integers(1, 10**9) | st.just(math.inf),
    "repeats": st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=3
    ).map(tuple),
    "activation": st.sampled_from(["relu", "linear"]),
    "sparsity": st.floats(0, 1, exclude_max=True),
    "normalize": st.booleans(),
    "importance": st.floats(1e-3, 1.0, exclude_min=True),
    "seed": st.integers(0, 2**63 - 1),
    "init_seed": st.integers(0, 2**63 - 1) | st.none(),
    "steps": st.integers(0, 10**6),
    "learning_rate": st.floats(1e-9, 10),
    "final_learning_rate": st.floats(0, 1),
    "warmup": st.floats(0, 1, exclude_max=True),
    "schedule": st.sampled_from(["cosine", "quarter_cosine", "constant"]),
    "optimizer": st.sampled_from(["adamw", "adam", "sgd"]),
    "betas": st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
    "momentum": st.floats(0, 1, exclude_max=True),
    "eps": st.floats(1e-300, 1),
    "weight_decay": st.floats(0, 10),
    "decay_bias": st.booleans(),
    "learn_bias": st.booleans(),
    "loss_reduction": st.sampled_from(["mean", "sum"]),
    "init": st.sampled_from(["xavier_uniform", "xavier_normal", "polygon"]),
    "bias_init": st.floats(-10, 10),
    "batch_size": st.integers(1, 10**6) | st.none(),
    "dtype": st.sampled_from(["float32", "float64"]),
    "test_size": st.integers(0, 10**6),
    "record": st.integers(1, 1000),
    "snapshots": st.integers(0, 1000),
}


def written(value: Any) -> str:
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        return ",".join(f"{t}:{R}" for t, R in value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_every_field_is_tried() -> None:
    assert set(VALUES) == set(FIELDS) - {"data"}  # which is a file, and no axis


@given(st.fixed_dictionaries({}, optional=VALUES), st.booleans())
def test_options_are_read_back_as_they_were_written(
    fields: dict[str, Any], underscores: bool
) -> None:
    words = ["sweep"]
    for name, value in fields.items():
        words.append(f"--{name if underscores else name.replace('_', '-')}={written(value)}")
    args = cli._parse(words)
    assert given_fields(args) == fields


@given(st.data())
def test_several_values_make_a_list(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(VALUES)))
    values = data.draw(st.lists(VALUES[name], min_size=2, max_size=4))
    separator = ";" if name in ("betas", "repeats") else ","
    assert parse_field(name, separator.join(map(written, values))) == values


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 9))
def test_ranges_are_those_of_python(low: int, count: int, step: int) -> None:
    assert parse_field("seed", f"{low}:{low + count}") == list(range(low, low + count))
    assert parse_field("T", f"{low}:{low + count}:{step},inf") == [
        *range(low, low + count, step),
        math.inf,
    ]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("T", "1e5", 100_000),
        ("T", " 3 , 5 ,inf", [3, 5, math.inf]),
        ("steps", "50_000", 50_000),
        ("steps", "5e4", 50_000),
        ("normalize", "True,FALSE", [True, False]),
        ("init_seed", "None", None),
        ("seed", "0:1", [0]),
        ("betas", "0.9,0.99", (0.9, 0.99)),
    ],
)
def test_ways_to_write_a_value(name: str, text: str, value: object) -> None:
    assert parse_field(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("T", "", "T has an empty value in ''"),
        ("T", "3,,5", "T has an empty value in '3,,5'"),
        ("T", "three", "T must be a number, got 'three'"),
        ("m", "2.5", None),
        ("m", "x", "m must be an integer, got 'x'"),
        ("seed", "0:", "seed must be a range such as 0:4 or 0:100:10, got '0:'"),
        ("seed", "4:0", "seed has no value in the range '4:0'"),
        ("seed", "0:1:0", "seed must be a range .* got '0:1:0'"),
        ("T", f"3:{10**40}", "T has more than 100,000 values in the range"),
        ("seed", "0:10000000000", "seed has more than 100,000 values in the range"),
        ("sparsity", "0:1", "sparsity has no ranges, got '0:1'"),
        ("init", r"C:\x.npz", r"no run file at 'C:.*x\.npz'"),
        ("normalize", "1", "normalize must be true or false, got '1'"),
        ("betas", "0.9", None),
        ("betas", "0.9,high", "betas must be a number, got 'high'"),
    ],
)
def test_bad_values_are_named(name: str, text: str, message: str | None) -> None:
    """Either here, or by the config."""
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message or name):
        TrainConfig.from_fields({name: parse_field(name, text)})


# --- one run ---

FIELDS_OF_ONE = {"n": 40, "m": 2, "T": 5, "sparsity": 0.9, "steps": 300, "test_size": 50}
ONE = [f"{name}={value}" for name, value in FIELDS_OF_ONE.items()]


def test_train_prints_the_losses_and_what_is_stored(
    backend: Backend, toysup_cli: Cli, tmp_path: Path
) -> None:
    run = toysup.train(**FIELDS_OF_ONE)
    code, out, err = toysup_cli("train", *ONE, "--out", tmp_path / "run")
    head, losses, stored, kept = out.splitlines()
    assert (code, err) == (0, "") and head.startswith("T=5, m=2, n=40, seed=0: ok, 300 steps in ")
    assert losses == f"train loss {run.train_loss:.6g}, test loss {run.test_loss:.6g}"
    assert stored == repr(toysup.regime.classify(run)) and kept.endswith("run.npz")
    assert run_bits(toysup.load_run(tmp_path / "run.npz")) == run_bits(run)


def test_train_as_json_and_quietly(toysup_cli: Cli, tmp_path: Path) -> None:
    found = strict_json(toysup_cli("train", *ONE, "--json")[1])
    run = toysup.train(**FIELDS_OF_ONE)
    assert TrainConfig.from_json(json.dumps(found["config"])) == run.config
    assert (found["status"], found["train_loss"], found["out"]) == ("ok", run.train_loss, None)
    assert found["stored"] == strict_json(as_json(toysup.regime.classify(run).summary()))
    assert toysup_cli("train", *ONE, "--quiet", "--out", tmp_path / "q.npz") == (0, "", "")
    assert run_bits(toysup.load_run(tmp_path / "q.npz")) == run_bits(run)
    code, out, _ = toysup_cli("train", *ONE, "--no-classes")
    assert code == 0 and "examples:" not in out


def test_fields_of_one_run_are_words_or_options_in_any_order(toysup_cli: Cli) -> None:
    words = ["n=40", "--T", "5", "sparsity=0.9", "--quiet", "learning-rate=1e-2", "steps=20"]
    fields = cli._parse(["train", *words])
    assert one_value_fields(fields) == {
        "n": 40, "T": 5, "sparsity": 0.9, "learning_rate": 0.01, "steps": 20,
    }  # fmt: skip
    assert toysup_cli("train", *words) == (0, "", "")


@pytest.mark.filterwarnings("default:the run diverged")
def test_train_says_of_a_run_that_diverged(toysup_cli: Cli, tmp_path: Path) -> None:
    words = (*ONE, "learning_rate=1e30", "optimizer=sgd", "--out", tmp_path / "run.npz")
    code, out, err = toysup_cli("train", *words)
    assert code == 0 and "diverged" in out and "examples:" not in out
    assert err.startswith("toysup: warning: the run diverged: ") and err.count("\n") == 1
    assert toysup.load_run(tmp_path / "run.npz").status == "diverged"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["T"], "a field of a run is written such as T=100, got 'T'"),
        (["t=5"], "'t' is not a field of a run; did you mean 'T'"),
        (["T=5", "--T", "6"], "T is given twice"),
        (["T=5,6"], "T has 2 values, and toysup train trains one run"),
        (["m=x"], "m must be an integer, got 'x'"),
        (["n=10", "m=11"], "m must not be larger than n = 10, got 11"),
        (["--store", "x"], "unknown option '--store'"),
        (["--out", "/nowhere/at/all/run.npz"], "cannot write '/nowhere/at/all/run.npz'"),
    ],
)
def test_train_refuses_before_it_trains(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr(toysup, "train", lambda *_, **__: pytest.fail("trained"))
    code, out, err = toysup_cli("train", *words)
    assert (code, out) == (1 if "--out" in words else 2, "") and message in one_error_line(err)


# --- completions of shells ---


def test_the_parser_for_completions_knows_all() -> None:
    (commands,) = cli.parser()._subparsers._group_actions  # type: ignore[union-attr]
    assert list(commands.choices) == list(cli.COMMANDS)  # type: ignore[arg-type]
    for name, command in commands.choices.items():  # type: ignore[union-attr]
        known = {action.dest: action for action in command._actions}
        assert len(known) > 1, name
        for dest in ("out", "store", "directory"):
            assert dest not in known or hasattr(known[dest], "complete"), (name, dest)
    assert "figure3" in {a.dest: a for a in commands.choices["plot"]._actions}["figure"].choices  # type: ignore[union-attr]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shtab_writes_completions(shell: str, tmp_path: Path) -> None:
    shtab = pytest.importorskip("shtab")
    script = shtab.complete(cli.parser(), shell)
    assert "weight-decay" in script and "figure3" in script and "repeats" in script
    path = tmp_path / "toysup"
    path.write_text(script)
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(path)], check=True, timeout=60)


# --- bad usage ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reprodce"], "COMMAND must be one of .*'reprodce'; did you mean 'reproduce'"),
        (["sweep", "--lerning-rate", "1"], "'--lerning-rate'; did you mean '--learning-rate'"),
        (["sweep", "--t", "3"], "unknown option '--t'; did you mean '--T'"),
        (["sweep", "--lr", "1"], "unknown option '--lr'; did you mean '--learning-rate'"),
        (["sweep", "--zz", "1"], "unknown option '--zz' .see"),
        (["sweep", "--p=0.1"], "'--p'; did you mean '--sparsity', which is 1 minus"),
        (["sweep", "--T", "3,5", "--T", "8"], "--T is given twice, as 3,5 and as 8: give it once"),
        (["sweep", "--jobs", "2", "--n-jobs", "2"], "--n-jobs is given twice, as 2 and as 2"),
        (["sweep", "--seed", "-1,0"], "seed must be between 0 .* got -1"),
        (["sweep", "--learning-rate", "-1e-3"], "learning_rate must be in .* got -0.001"),
        (["sweep", "--T", "-inf"], "T must be a positive integer or infinity, got -inf"),
        (["sweep", "extra"], "unknown argument 'extra'"),
        (["--quiet", "sweep"], "--quiet must come after 'sweep'"),
        (["--bogus"], "unknown option '--bogus'"),
        (["sweep", "--T"], "argument --T: expected one argument .see toysup sweep --help"),
        (["plot", "vectors"], "the following arguments are required: DIR"),
        (["sweep", "--m", "0"], "m must be between 1 and 2147483647, got 0"),
        (["sweep", "--schedule", "cosin"], "'cosin'; did you mean 'cosine'"),
        (["sweep", "--T", "3,3"], "T has the value 3 twice"),
        (["sweep", "--jobs", "0", *TINY], "n_jobs must not be 0"),
        (["reproduce", "figure33"], "'figure33'; did you mean 'figure3'"),
        (["reproduce", "figure3", "bogus"], "figure must be one of .* got 'bogus'"),
        (["reproduce", "--scale", "smal"], "'smal'; did you mean 'small'"),
        (["reproduce", "--seeds", "0"], "seeds must be between 1 .* got 0"),
        (["reproduce", "--T", "x"], "T must be a number, got 'x'"),
        (["status", "nowhere"], "no sweep is stored in 'nowhere'"),
        (["plot", "vector", "nowhere"], "FIGURE .* got 'vector'; did you mean 'vectors'"),
        (["plot", "vectors", "nowhere"], "no store and no run file at 'nowhere'"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    toysup_cli: Cli,
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = toysup_cli(*words)
    assert (code, out) == (2, "")
    assert re.search(message, one_error_line(err))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_option_of_a_real_process() -> None:
    code, out, err = process("sweep", "--sparsity", "1.5")
    assert (code, out) == (2, "")
    assert one_error_line(err) == "sparsity must be in [0, 1), got 1.5"


def test_no_command_prints_the_commands(toysup_cli: Cli) -> None:
    code, out, err = toysup_cli()
    assert (code, out) == (2, "")
    assert "reproduce" in err


def test_help_and_version(toysup_cli: Cli) -> None:
    assert toysup_cli("--version") == (0, f"toysup {toysup.__version__}\n", "")
    for command in cli.COMMANDS:
        code, out, err = toysup_cli(command, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: toysup {command}")
    code, out, _ = toysup_cli("sweep", "--help")
    for name in FIELDS:
        what = "FILE" if name == "data" else "VALUE"
        assert f"--{name.replace('_', '-')} {what}" in out


def test_help_says_what_the_fields_are() -> None:
    texts = field_help()
    assert list(texts) == list(FIELDS)
    assert texts["m"] == "number of hidden dimensions, at most n (default 2)"
    for name, choices in _CHOICES.items():
        assert all(choice in texts[name] for choice in choices)
    defaults = {name: re.search(r" \(default (.*)\)$", text) for name, text in texts.items()}
    given = {name: parse_field(name, found[1]) for name, found in defaults.items() if found}
    assert TrainConfig(**given) == TrainConfig() and list(given) == list(FIELDS)


def test_help_is_the_same_without_docstrings() -> None:
    words = ("-m", "toysup", "sweep", "--help")
    said = [
        subprocess.run([sys.executable, *o, *words], capture_output=True, text=True, check=True)
        for o in ((), ("-OO",))
    ]
    assert said[0].stdout == said[1].stdout and "number of hidden dimensions" in said[0].stdout


def test_usage_needs_neither_numpy_nor_matplotlib() -> None:
    code = (
        "import sys; from toysup.cli import main; main(['--version']); main(['bogus']); "
        "print(sorted({'numpy', 'xarray', 'matplotlib', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- sweep ---


def test_sweep_prints_a_line_for_each_run(toysup_cli: Cli, backend: Backend) -> None:
    code, out, err = toysup_cli(
        "sweep", "--T", "3,5,inf", "--m", "2,3", "--seed", "0:2", "--batch_size", "20", *TINY
    )
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split()[:4] == ["T", "m", "seed", "status"]
    cells = [line.split()[:4] for line in lines[:12]]
    assert cells == [
        [T, m, seed, "ok"] for T in ("3", "5", "inf") for m in ("2", "3") for seed in ("0", "1")
    ]
    assert lines[12:] == ["", "12 runs: 12 ok; not saved: --store DIR saves them"]


def test_sweep_as_json_is_what_the_library_computes(toysup_cli: Cli, backend: Backend) -> None:
    code, out, err = toysup_cli("sweep", "--T", "3,inf", "--batch-size", "20", "--json", *TINY)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["counts"] == {"ok": 2, "diverged": 0, "failed": 0, "damaged": 0, "missing": 0}
    assert document["axes"] == {"T": [3, "inf"]}
    for row, T in zip(document["runs"], (3, math.inf), strict=True):
        batch = 20 if T == math.inf else None
        run = toysup.train(
            n=30, sparsity=0.8, steps=40, test_size=50, record=4, T=T, batch_size=batch
        )
        assert row["test_loss"] == run.test_loss


def test_every_way_of_training_is_an_option(toysup_cli: Cli, backend: Backend) -> None:
    options = ["--T", "20", "--batch-size", "6", "--learn-bias", "false", "--bias-init", "-0.1"]
    code, out, err = toysup_cli(
        "sweep", *options, "--final-learning-rate", "0,5e-4", "--json", *TINY
    )
    assert (code, err) == (0, "")
    for row, rate in zip(json.loads(out)["runs"], (0.0, 5e-4), strict=True):
        fields = {"T": 20, "batch_size": 6, "learn_bias": False, "bias_init": -0.1}
        run = toysup.train(
            n=30, sparsity=0.8, steps=40, test_size=50, record=4, final_learning_rate=rate, **fields
        )
        assert row["test_loss"] == run.test_loss


def strict_json(text: str) -> Any:
    """A document that every reader of JSON takes."""

    def refuse(name: str) -> float:
        raise ValueError(name)

    document = json.loads(text, parse_constant=refuse)
    json.dumps(document, ensure_ascii=False).encode()  # no half characters
    return document


def test_every_document_is_strict_json(toysup_cli: Cli, tmp_path: Path) -> None:
    start = toysup.train(n=30, m=2, T=5, sparsity=0.8, steps=3, test_size=5)
    store = os.fsdecode(os.fsencode(tmp_path) + b"/s\xff") if os.name == "posix" else tmp_path / "s"
    words = (
        "sweep",
        "--T",
        "3,inf",
        "--init",
        f"{start.save(tmp_path / 'r')},xavier_normal",
        *TINY,
    )
    words += ("--betas", "0.9,0.99;0.8,0.9", "--optimizer", "adamw,adam", "--learning-rate", "1e30")
    strict_json(toysup_cli(*words, "--dry-run", "--json")[1])
    assert None in [
        row["train_loss"] for row in strict_json(toysup_cli(*words, "--json")[1])["runs"]
    ]
    kept = strict_json(toysup_cli(*words, "--store", store, "--json")[1])
    assert kept["axes"]["T"] == [3, "inf"] and kept["axes"]["init"][0].startswith("Weights(m=2")
    assert (
        strict_json(toysup_cli("status", store, "--json")[1])["stores"][0]["axes"] == kept["axes"]
    )
    assert strict_json(toysup_cli("merge", tmp_path / "t", store, "--json")[1])
    assert strict_json(toysup_cli("info", "--json")[1])


def test_what_is_printed_is_tried_before_anything_is_trained(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ImportError("no xarray here", name="xarray")

    monkeypatch.setattr("toysup._sweep.table.runs_table", broken)
    monkeypatch.setattr(toysup, "sweep", lambda **_: pytest.fail("it is trained"))
    code, out, err = toysup_cli("sweep", "--T", "3", *TINY)
    assert (code, out, one_error_line(err)) == (1, "", "no xarray here")


def test_sweep_continues_a_store(toysup_cli: Cli, tmp_path: Path) -> None:
    words = ("sweep", "--store", tmp_path / "s", "--T", "3,5", *TINY)
    assert toysup_cli(*words)[0] == 0
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").iterdir()}
    assert toysup_cli(*words, "--seed", "0:2")[0] == 0
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").iterdir()}
    assert len(after) == 4
    assert before.items() <= after.items()


def test_quiet_prints_nothing(toysup_cli: Cli, tmp_path: Path) -> None:
    assert toysup_cli("sweep", "--quiet", "--store", tmp_path / "s", *TINY) == (0, "", "")
    drawn = toysup_cli("plot", "vectors", tmp_path / "s", "--out", tmp_path / "v.png", "--quiet")
    assert drawn == (0, "", "")


def test_a_diverged_run_is_a_result_and_a_note(toysup_cli: Cli) -> None:
    words = ("--optimizer", "sgd", "--learning-rate", "1e30", "--warmup", "0")
    code, out, err = toysup_cli("sweep", "--T", "3,5", *words, *TINY)
    assert code == 0
    assert "2 runs: 2 diverged" in out
    assert re.fullmatch(r"toysup: note: of 2 runs: 2 diverged; .* T=3: a loss or .*\n", err)


def test_a_failed_run_is_code_1(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOYSUP_BACKEND", "numpy")
    whole = pool.train_one

    def half(config: TrainConfig, *rest: Any) -> Any:
        if config.T == 5:
            raise ArithmeticError("no luck")
        return whole(config, *rest)

    monkeypatch.setattr(pool, "train_one", half)
    words = ("sweep", "--T", "3,5", "--store", tmp_path / "s", *TINY)
    code, out, err = toysup_cli(*words)
    assert code == 1
    assert "2 runs: 1 ok, 1 failed" in out
    assert "at T=5: ArithmeticError: no luck" in one_error_line(err)
    code, out, _ = toysup_cli("status", tmp_path / "s")
    assert code == 0
    assert "0/1 1 failed" in out and "T=5: ArithmeticError: no luck" in out
    document = json.loads(toysup_cli(*words, "--json")[1])
    assert document["failures"] == [{"T": 5, "reason": "ArithmeticError: no luck"}]
    code, out, err = toysup_cli("sweep", "--T", "5", *TINY)  # all of them
    assert code == 1 and "1 runs: 1 failed" in out
    assert "no luck" in one_error_line(err)


@pytest.mark.usefixtures("tiny")
def test_reproduce_goes_on_after_a_failed_run_and_is_code_1(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOYSUP_BACKEND", "numpy")
    whole = pool.train_one

    def some(config: TrainConfig, *rest: Any) -> Any:
        if (config.T, config.seed) == (5, 1):
            raise ArithmeticError("no luck")
        return whole(config, *rest)

    monkeypatch.setattr(pool, "train_one", some)
    words = ("reproduce", "figure3", "--T", "3,5", "--seeds", "2", "--out", tmp_path)
    code, _, err = toysup_cli(*words)
    assert code == 1 and (tmp_path / "figure3.png").is_file()
    assert "of 4 runs: 3 ok, 1 failed; the first of these" in one_error_line(err)


def test_a_store_that_cannot_be_written_is_code_1(toysup_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    code, out, err = toysup_cli("sweep", "--store", path, *TINY)
    assert (code, out) == (1, "")
    assert "is a file, and a store is a folder" in one_error_line(err)


def test_a_damaged_store_is_code_1(toysup_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{")
    code, out, err = toysup_cli("status", tmp_path)
    assert (code, out) == (1, "")
    assert "sweep.json: holds no valid JSON" in one_error_line(err)


def test_too_much_memory_is_code_1(toysup_cli: Cli) -> None:
    code, _, err = toysup_cli("sweep", "--T", 10**12)
    assert code == 1
    assert " GB " in one_error_line(err)


def test_a_mistake_of_ours_keeps_its_traceback(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise AssertionError("ours")

    monkeypatch.setattr("toysup._backends.versions.versions", broken)
    with pytest.raises(AssertionError, match="ours"):
        toysup_cli("info", "--json")


# --- status, info ---


def test_weights_are_their_label_in_every_document(toysup_cli: Cli, tmp_path: Path) -> None:
    path, store = tmp_path / "r.npz", tmp_path / "s"
    run = toysup.train(n=30, T=5, sparsity=0.8, steps=5, test_size=0)
    run.save(path)
    label = repr(TrainConfig(n=30, init=(run.W, run.b)).init)
    words = ("sweep", "--T", "5", *TINY, "--init", f"{path},xavier_uniform", "--store", store)
    dry = json.loads(toysup_cli(*words, "--json", "--dry-run")[1])
    swept = json.loads(toysup_cli(*words, "--json")[1])
    assert dry["fields"]["init"] == swept["fields"]["init"] == [label, "xavier_uniform"]
    assert (
        [row["init"] for row in swept["runs"]] == swept["axes"]["init"] == [label, "xavier_uniform"]
    )
    (status,) = json.loads(toysup_cli("status", store, "--json")[1])["stores"]
    merged = json.loads(toysup_cli("merge", "--json", tmp_path / "all", store)[1])
    assert status["axes"] == merged["axes"] == swept["axes"]
    result = toysup.open_sweep(store)
    assert json.loads(result.dataset.attrs["config"])["axes"] == swept["axes"]
    assert result.run(init=label).config.init == TrainConfig(n=30, init=run).init


def test_status_counts_the_runs(toysup_cli: Cli, store: Path) -> None:
    code, out, err = toysup_cli("status", store)
    assert (code, err) == (0, "")
    assert f"{store}: 6 runs: 4 ok, 2 missing" in out
    rows = [line.split() for line in out.splitlines()[3:]]
    assert rows == [["T", "m=2"], ["3", "2/2"], ["5", "1/2"], ["30", "1/2"]]


def test_status_as_json(toysup_cli: Cli, store: Path) -> None:
    (document,) = json.loads(toysup_cli("status", store, "--json")[1])["stores"]
    assert document["counts"] == {"ok": 4, "diverged": 0, "failed": 0, "damaged": 0, "missing": 2}
    assert document["axes"] == {"T": [3, 5, 30], "seed": [0, 1]}
    assert document["cells"][1] == {
        "T": 5, "m": 2, "ok": 1, "diverged": 0, "failed": 0, "damaged": 0, "missing": 1,
    }  # fmt: skip


def test_info(toysup_cli: Cli) -> None:
    code, out, err = toysup_cli("info")
    assert (code, err) == (0, "")
    assert re.search(rf"^toysup +{re.escape(toysup.__version__)}$", out, flags=re.MULTILINE)
    found = json.loads(toysup_cli("info", "--json")[1])
    assert found["backend"] == toysup.backend_name()


def test_info_of_a_real_process() -> None:
    code, out, err = process("info", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["toysup"] == toysup.__version__


def test_list_has_a_line_for_each_preset(toysup_cli: Cli) -> None:
    code, out, err = toysup_cli("list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == toysup.paper.names()
    found = {preset["name"]: preset for preset in json.loads(toysup_cli("list", "--json")[1])}
    assert found["figure3"]["title"] == toysup.paper.get("figure3").title
    assert found["figure3"]["runs"]["small"] == toysup.paper.get("figure3").size("small")


# --- reproduce --dry-run ---


def test_a_dry_run_of_presets_trains_nothing(
    toysup_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("reproduce", "figure2", "branches", "--seeds", "1", "--steps", "20", "--jobs", "1")
    code, out, err = toysup_cli(*words, "--dry-run")
    assert (code, err) == (0, "") and not list(tmp_path.iterdir())
    assert "figure2 at the small scale" in out and "core-hours" in out
    assert out.count("Further sweeps start from the runs of these") == 1  # those of branches
    found = strict_json(toysup_cli(*words, "--dry-run", "--json")[1])
    assert [figure["name"] for figure in found["figures"]] == ["figure2", "branches"]
    assert [figure["complete"] for figure in found["figures"]] == [True, False]
    assert found["figures"][0]["todo"] == toysup.paper.get("figure2").size("small", seeds=1)
    assert toysup_cli(*words, "--dry-run", "--quiet") == (0, "", "")


# --- plot ---

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


# These draw one run, and two of them its snapshots.
OF_ONE_RUN = ("evolution", "regime", "animate", "interference")
# These draw a sweep like those of "Toy Models of Superposition".
TOYS = ("toy-features", "toy-vectors", "toy-dimensions", "toy-phase")


@pytest.mark.parametrize("figure", [x for x in FIGURES if x not in (*OF_ONE_RUN, *TOYS)])
@pytest.mark.parametrize("suffix", soak([".svg"], list(MAGIC)))
def test_plot_writes_the_same_file_twice(
    toysup_cli: Cli, store: Path, tmp_path: Path, figure: str, suffix: str
) -> None:
    words = ("plot", figure, store, "--dpi", "40", "--out")
    files = [tmp_path / "new" / f"{i}{suffix}" for i in range(2)]
    for file in files:
        assert toysup_cli(*words, file) == (0, f"{file}: {figure} of {store}\n", "")
    assert files[0].read_bytes().startswith(MAGIC[suffix])
    assert not plt.get_fignums()
    # Names of clip paths depend on the last bits of the layout, which its solver leaves open.
    first, second = (re.sub(rb"\bp[0-9a-f]{10}\b", b"", file.read_bytes()) for file in files)
    assert first == second


@pytest.mark.parametrize(
    ("figure", "suffix", "magic"),
    [
        ("evolution", ".png", b"\x89PNG"),
        ("regime", ".svg", b"<?xml"),
        ("animate", ".gif", b"GIF89a"),
        ("animate", ".html", b""),
    ],
)
def test_plot_draws_one_run(
    toysup_cli: Cli, tmp_path: Path, figure: str, suffix: str, magic: bytes
) -> None:
    fields = {"n": 30, "sparsity": 0.8, "steps": 40, "test_size": 50, "m": 2, "snapshots": 4}
    store = tmp_path / "store"
    toysup.sweep(store=store, T=[3, 8], progress=False, **fields)
    file = tmp_path / f"one{suffix}"
    words = ("plot", figure, store, "--T", "8", "--out", file)
    assert toysup_cli(*words) == (0, f"{file}: {figure} of {store}\n", "")
    assert file.read_bytes().startswith(magic) and file.stat().st_size > 1000


def test_plot_draws_the_interference_of_one_run(toysup_cli: Cli, tmp_path: Path) -> None:
    store, file = tmp_path / "store", tmp_path / "one.svg"
    fields = {"n": 6, "m": 2, "sparsity": 0.7, "steps": 1500, "learning_rate": 0.02}
    toysup.sweep(store=store, T=[5, 2000], progress=False, test_size=0, **fields)
    words = ("plot", "interference", store, "--out", file)
    code, _, err = toysup_cli(*words)
    assert code == 2 and "T has 2 values" in one_error_line(err)
    said = f"{file}: interference of {store}\n"
    assert toysup_cli(*words, "--T", "2000") == (0, said, "")
    assert file.read_bytes().startswith(MAGIC[".svg"])


@pytest.mark.parametrize("figure", TOYS)
def test_plot_draws_figures_of_the_toy_models(toysup_cli: Cli, tmp_path: Path, figure: str) -> None:
    fields: dict[str, Any] = {"n": 5, "m": 2, "T": math.inf, "batch_size": 20, "importance": 0.9}
    if figure == "toy-phase":
        fields |= {"n": 2, "m": 1, "importance": [(1.0, 0.1), (1.0, 10.0)]}
    store, file = tmp_path / "store", tmp_path / "toy.svg"
    toysup.sweep(store=store, sparsity=[0.0, 0.9], steps=5, progress=False, **fields)
    said = f"{file}: {figure} of {store}\n"
    assert toysup_cli("plot", figure, store, "--out", file) == (0, said, "")
    assert file.read_bytes().startswith(MAGIC[".svg"])


def test_plot_lays_any_axis_along_a_side(toysup_cli: Cli, tmp_path: Path) -> None:
    store, file = tmp_path / "store", tmp_path / "x.svg"
    fields = {"n": 20, "sparsity": 0.8, "steps": 5, "test_size": 20, "T": 5}
    toysup.sweep(store=store, m=[2, 3], weight_decay=[0.0, 0.1], progress=False, **fields)
    map_ = ("plot", "heatmap", store, "--x", "m", "--y", "weight-decay", "--out", file)
    assert toysup_cli(*map_)[0] == 0 and file.exists()
    lines = ("plot", "against", store, "--x", "weight_decay", "--variable", "W_norm")
    assert toysup_cli(*lines, "--ylim", "0,0.1", "--out", file)[0] == 0
    code, _, err = toysup_cli("plot", "norms", store, "--x", "m", "--out", file)
    assert code == 2 and "norms has no option --x" in one_error_line(err)


def test_a_film_is_no_picture(toysup_cli: Cli, store: Path, tmp_path: Path) -> None:
    code, _, err = toysup_cli("plot", "animate", store, "--out", tmp_path / "film.png")
    assert code == 2 and "--out must end in one of .gif, .html, .mp4" in one_error_line(err)
    code, _, err = toysup_cli("plot", "animate", store, "--T", "3", "--out", tmp_path / "f.gif")
    assert code == 2 and "snapshots" in one_error_line(err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "repeats must be such as 0:5 or 0:5,7:2, got '5'"),
        ("0:x", "repeats must be an integer, got 'x'"),
        ("0:2:3", "repeats must be such as"),
        ("0:2,", "repeats has an empty value"),
    ],
)
def test_bad_repeats_are_refused(toysup_cli: Cli, text: str, message: str) -> None:
    code, _, err = toysup_cli("sweep", "--T", "5", "--repeats", text)
    assert code == 2 and message in one_error_line(err)


def test_a_sweep_starts_from_the_file_of_a_run(toysup_cli: Cli, tmp_path: Path) -> None:
    small = {"n": 30, "m": 2, "T": 5, "sparsity": 0.8, "steps": 30, "test_size": 20}
    path = toysup.train(**small, progress=False).save(tmp_path / "first")
    words = [f"--{k.replace('_', '-')}={v}" for k, v in small.items()]
    out = tmp_path / "store"
    axis = ("--repeats", "none;0:3", "--init", str(path), "--store", out)
    assert toysup_cli("sweep", *words, *axis, "--quiet") == (0, "", "")
    result = toysup.open_sweep(out)
    assert [config.repeats for config in result.configs] == [(), ((0, 3),)]
    assert all(config.init == result.configs[0].init for config in result.configs)
    assert not isinstance(result.configs[0].init, str)
    code, _, err = toysup_cli("sweep", *words, "--init", tmp_path / "none.npz")
    assert code == 2 and "none.npz" in one_error_line(err)


def test_plot_needs_no_backend_of_the_environment(store: Path, tmp_path: Path) -> None:
    """Nor one that matplotlib would refuse, before pyplot is even imported."""
    words = ("plot", "norms", store, "--dpi", "40", "--out", tmp_path / "x.pdf")
    done = process(*words, "--quiet", env={**os.environ, "MPLBACKEND": "nonsense"})
    assert done == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pdf"]


def test_the_environment_of_a_caller_stays_as_it_is(
    toysup_cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that calls the command line goes on with its own backend."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr(plt, "figure", lambda **_: pytest.fail("pyplot was asked for a figure"))
    for figure in ("norms", "figure3"):
        assert toysup_cli("plot", figure, store, "--out", tmp_path / "x.png")[0] == 0
    assert os.environ["MPLBACKEND"] == "module://matplotlib_inline.backend_inline"


def test_plot_has_a_default_file(
    toysup_cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert toysup_cli("plot", "test_loss", store)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["test-loss.png"]


@pytest.mark.parametrize(
    "words",
    [
        ("vectors", "--T", "3,30", "--seed", "0", "--common-scale"),
        ("figure3", "--T", "5", "--seed", "0", "--ylim", "0.5,1.1"),
        ("test-loss", "--reference", "--T", "3,5"),
        ("heatmap", "--variable", "W_norm", "--vmin", "-1e-3", "--annotate"),
        ("test-loss", "--ylim", "-0.1,2"),
        ("history", "--variable", "learning_rate", "--T", "3"),
        ("dimensionality", "--m", "2"),
    ],
)
def test_plot_takes_selectors(
    toysup_cli: Cli, store: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, _, err = toysup_cli("plot", *words, store, "--out", tmp_path / "x.svg", "--dpi", "40")
    assert (code, err) == (0, "")


def test_plot_says_what_the_command_line_has(toysup_cli: Cli, tmp_path: Path) -> None:
    fields = {"n": 30, "sparsity": 0.8, "steps": 4, "test_size": 5, "m": 2}
    store, out = tmp_path / "s", tmp_path / "x.png"
    toysup.sweep(store=store, T=[3, 8], init_seed=[0, 1], betas=[(0.9, 0.99), (0.8, 0.9)], **fields)
    words = ("plot", "figure3", store, "--out", out)
    code, _, err = toysup_cli(*words, "--init-seed", "0")
    advice = one_error_line(err)
    assert code == 2 and "as in --betas 0.9,0.99, or the run of lowest train loss by" in advice
    code, _, err = toysup_cli(*words, "--betas", "0.9,0.99")
    assert code == 2 and "as in --init-seed 0, or" in one_error_line(err)
    for choice in (("--init-seed", "0"), ("--best", "init-seed")):
        assert toysup_cli(*words, "--betas", "0.9,0.99", *choice)[0] == 0
    code, _, err = toysup_cli("plot", "norms", "recorded:figure3", "--best", "seed", "--out", out)
    assert code == 2 and "--best needs the runs of a store" in one_error_line(err)


def test_plot_takes_the_advice_on_weights(toysup_cli: Cli, tmp_path: Path) -> None:
    starts = [(np.full((2, 6), k), np.zeros(6)) for k in (0.1, 0.2)]
    small = dict(n=6, m=2, T=3, sparsity=0.5, steps=2, test_size=0)
    toysup.sweep(**small, init=[*starts, "xavier_normal"], store=tmp_path / "s")
    words = ("plot", "norms", tmp_path / "s", "--out", tmp_path / "x.png")
    advice = one_error_line(toysup_cli(*words)[2]).partition("as in ")[2].partition(", or the")[0]
    option, value = shlex.split(advice)
    assert option == "--init" and value.startswith("Weights(m=2, n=6, ")
    assert toysup_cli(*words, option, value)[0] == 0
    code, _, err = toysup_cli(*words, option, f"{value},xavier_normal")
    assert code == 2 and "init has 2 values" in one_error_line(err)


def test_plot_draws_a_run(toysup_cli: Cli, store: Path, tmp_path: Path) -> None:
    run: Run = toysup.open_sweep(store).run(T=3, seed=0)
    path = run.save(tmp_path / "run.npz")
    assert toysup_cli("plot", "vectors", path, "--out", tmp_path / "x.png")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("norms", "--hue", "m"), "norms has no option --hue"),
        (("vectors", "--m", "7"), "m = 7 is not in the sweep"),
        (("vectors", "--weight-decay", "0"), "axis of the sweep .*'weight_decay'"),
        (("heatmap", "--variable", "test_los"), "did you mean 'test_loss'"),
        (("test-loss", "--ylim", "1"), "--ylim must be two numbers"),
        (("norms", "--out", "x.mp4"), r"--out must end in one of .*\.png, .*got 'x.mp4'"),
        (("norms", "--out", "x"), r"--out must end in one of .*\.png, .*got 'x'"),
    ],
)
def test_plot_refuses_what_it_cannot_draw(
    toysup_cli: Cli,
    store: Path,
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = toysup_cli("plot", *words, store)
    assert (code, out) == (2, "")
    assert re.search(message, one_error_line(err))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "what"),
    [(("test-loss", "--reference"), "figure3"), (("norms",), "figure3"), (("heatmap",), "heatmap")],
)
def test_plot_draws_results_that_come_with_the_package(
    toysup_cli: Cli, tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    file, given = tmp_path / "x.png", f"recorded:{what}"
    said = f"{file}: {words[0]} of {given}\n"
    assert toysup_cli("plot", *words, given, "--dpi", "40", "--out", file) == (0, said, "")
    assert file.read_bytes().startswith(MAGIC[".png"])


@pytest.mark.parametrize(
    ("figure", "given", "message"),
    [
        ("norms", "recorded:figur3", "name must be one of .*got 'figur3'; did you mean 'figure3'"),
        ("norms", "recorded:", "name must be one of .*got ''"),
        ("vectors", "recorded:figure3", "this figure needs the runs themselves"),
    ],
)
def test_plot_says_what_recorded_results_there_are(
    toysup_cli: Cli, tmp_path: Path, figure: str, given: str, message: str
) -> None:
    code, out, err = toysup_cli("plot", figure, given, "--out", tmp_path / "x.png")
    assert (code, out) == (2, "") and re.search(message, one_error_line(err))
    assert list(tmp_path.iterdir()) == []


def test_plot_prefers_a_store_of_that_name(
    toysup_cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recorded:mine").symlink_to(store)
    code, out, _ = toysup_cli("plot", "norms", "recorded:mine", "--dpi", "40", "--out", "x.png")
    assert (code, out) == (0, "x.png: norms of recorded:mine\n")


def test_plot_into_a_file_that_is_no_folder(toysup_cli: Cli, store: Path) -> None:
    out = store / "sweep.json" / "x.png"
    code, _, err = toysup_cli("plot", "norms", store, "--out", out)
    assert code == 1
    assert "sweep.json" in one_error_line(err)


# --- reproduce ---


@pytest.mark.usefixtures("tiny")
def test_reproduce_does_the_main_figure_and_a_map(
    toysup_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = toysup_cli("reproduce", "--T", "3,5,200,inf")
    assert (code, err) == (0, "")
    folder = tmp_path / "toysup-figure3-small"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    written = {path.name for path in folder.iterdir()}
    assert written == {
        "store", "figure3.csv", "figure3-runs.csv", "figure3.png", "figure3.svg",
        "figure5.csv", "figure5-runs.csv", "figure5.png", "figure5.svg", "ridge.csv",
    }  # fmt: skip
    lines = [line.split() for line in out.splitlines()]
    rows = {line[0]: line for line in lines if len(line) > 5 and line[0] in ("3", "200", "inf")}
    assert rows["3"][-3:] == ["3", ">", "1.025"]
    assert rows["200"][-2:] == ["2000", "1.0150"]
    assert rows["inf"][-2:] == ["inf", "0.9987"]
    assert "into toysup-figure3-small" in out.splitlines()[0]
    assert re.search(r"Wrote to toysup-figure3-small: .*figure5.svg", out)
    assert re.search(r"Wall time \d+ s\.$", out.rstrip())
    assert "In figure3.png:" in out and "In figure5.png:" in out

    # The folder can be looked into and drawn from as a whole.
    assert len(json.loads(toysup_cli("status", folder, "--json")[1])["stores"]) == 2
    code, out, _ = toysup_cli("plot", "heatmap", folder, "--out", tmp_path / "h.png")
    assert out.endswith(f"of {folder / 'store' / 'heatmap'}\n")
    code, out, _ = toysup_cli("plot", "norms", folder, "--out", tmp_path / "n.png")
    assert out.endswith(f"of {folder / 'store' / 'figure3'}\n")


@pytest.mark.usefixtures("tiny")
def test_reproduce_as_json(toysup_cli: Cli, tmp_path: Path) -> None:
    words = ("reproduce", "--T", "3,inf", "--seeds", "2", "--out", tmp_path, "--json")
    code, out, err = toysup_cli(*words)
    assert (code, err) == (0, "")
    document = json.loads(out)
    main, ridge = document["figures"]
    assert (main["name"], ridge["name"]) == ("figure3", "figure5")
    assert main["runs"] == {"ok": 4, "diverged": 0, "failed": 0, "damaged": 0, "missing": 0}
    assert [row["T"] for row in main["tables"]["figure3"]] == [3, "inf"]
    assert all(Path(path).is_file() for path in main["files"] + ridge["files"])
    assert document["interrupted"] is False


@pytest.mark.usefixtures("tiny")
def test_reproduce_quietly_and_again(toysup_cli: Cli, tmp_path: Path) -> None:
    words = ("reproduce", "figure3", "--T", "3,30", "--seeds", "1", "--out", tmp_path)
    assert toysup_cli(*words, "--quiet") == (0, "", "")
    code, out, _ = toysup_cli(*words)
    assert code == 0
    assert "2 runs, 2 runs are in the store already" in out
    code, out, err = toysup_cli(*words, "--steps", "61")
    assert code == 2
    assert one_error_line(err) == "steps is 60 in the sweep that is stored there, not 61"


@pytest.mark.usefixtures("tiny")
def test_reproduce_at_the_papers_scale_warns_of_the_time(toysup_cli: Cli, tmp_path: Path) -> None:
    words = ("--scale", "paper", "--T", "3,2000", "--seeds", "1", "--out", tmp_path)
    code, out, _ = toysup_cli("reproduce", *words)
    assert code == 0
    assert "This takes hours" in out
    assert not (tmp_path / "figure5.png").exists()


@pytest.mark.any_backend
def test_reproduce_in_a_real_process(backend: Backend, tmp_path: Path) -> None:
    words = ("figure3", "--T", "5,10", "--seeds", "1", "--steps", "20", "--out", "out")
    elsewhere = {**os.environ, "MPLBACKEND": "module://of_another_environment"}
    code, out, err = process("reproduce", *words, cwd=tmp_path, env=elsewhere)
    assert (code, err) == (0, "")
    assert f"({backend.name}" in out.splitlines()[0]
    assert "\x1b" not in out
    assert (tmp_path / "out" / "figure3.png").is_file()


# --- Ctrl-C and a reader that goes away ---

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")


def wait_for(condition: Callable[[], object], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.any_backend
@POSIX
def test_ctrl_c_keeps_what_is_finished_and_the_next_call_continues(
    backend: Backend, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    steps = 100_000 if backend.name == "native" else 1_000
    words = (
        "sweep", "--n", 30, "--sparsity", 0.8, "--T", 5, "--seed", "0:16", "--steps", steps,
        "--test-size", 50, "--jobs", 1, "--store", store,
    )  # fmt: skip
    with start(*words) as running:
        wait_for(lambda: list(store.glob("runs/*.npz")), running)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT, err  # to a shell 130
    assert "Traceback" not in err
    assert re.fullmatch(
        rf"toysup: interrupted: \d+ of 16 runs are finished and kept in '{re.escape(str(store))}'"
        r"(, with the states of 1 more)?; the same command continues\n",
        err,
    )
    assert "missing" in out
    kept = {p.name: p.stat().st_mtime_ns for p in store.glob("runs/*.npz")}
    assert 0 < len(kept) < 16
    assert list(store.glob("runs/.*")) == []

    code, out, err = process(*words)
    assert (code, err) == (0, "")
    assert "16 runs: 16 ok" in out
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in store.glob("runs/*.npz")}.items()


@pytest.mark.any_backend
def test_ctrl_c_in_train_and_the_next_call_continues(
    backend: Backend, toysup_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, out = tmp_path / "state.npz", tmp_path / "run.npz"
    steps = 1_000_000 if backend.name == "native" else 10_000
    begun = training(monkeypatch, backend)
    fields = {"n": 30, "sparsity": 0.8, "T": 5, "steps": steps, "test_size": 50}
    words = ["train", *(f"{name}={value}" for name, value in fields.items()), "--out", out]
    with interrupted_when(begun.is_set):
        assert toysup_cli(*words) == (130, "", "toysup: interrupted: nothing was kept\n")
    begun.clear()
    assert list(tmp_path.iterdir()) == []
    words += ["--checkpoint", state]
    with interrupted_when(begun.is_set):
        said = "toysup: interrupted: the same command continues\n"
        assert toysup_cli(*words) == (130, "", said)
    assert list(tmp_path.iterdir()) == [state]
    code, printed, err = toysup_cli(*words)
    assert (code, err) == (0, "") and f"saved in {out}" in printed
    assert run_bits(toysup.load_run(out)) == run_bits(toysup.train(**fields))
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.any_backend
@POSIX
def test_ctrl_c_in_reproduce(backend: Backend, tmp_path: Path) -> None:
    store = tmp_path / "out" / "store" / "heatmap"
    words = ("heatmap", "--T", "1900,2000", "--out", "out", "--jobs", "1")
    with start("reproduce", *words, cwd=tmp_path) as running:
        wait_for(lambda: list(store.glob("running/*.json")), running)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT, err  # to a shell 130
    assert "Traceback" not in err
    assert err.startswith("toysup: interrupted: ") and "the same command continues" in err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"store"}


def test_ctrl_c_outside_a_sweep(toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(**fields: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("toysup._backends.versions.versions", impatient)
    assert toysup_cli("info", "--json") == (130, "", "toysup: interrupted: nothing was kept\n")


def test_interrupted_json_is_still_a_document(
    toysup_cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = toysup.sweep

    def interrupted(*args: Any, **fields: Any) -> toysup.SweepResult:
        result = whole(*args, **{**fields, "T": [3]})
        result.interrupted = True
        return result

    monkeypatch.setattr(toysup, "sweep", interrupted)
    code, out, err = toysup_cli("sweep", "--T", "3,5", "--json", *TINY)
    assert code == 130
    assert json.loads(out)["interrupted"] is True
    assert "1 of 1 runs are finished and lost" in err


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Gone(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: dict[str, Callable[[], Any]] = {
    "none": lambda: None, "closed": closed, "full": Full, "gone": Gone,
}  # fmt: skip
# What is only printed, and what is kept as well.
PRINTED = [("status", "old"), ("sweep", "--T", "3", *TINY), ("info", "--json"), ("--version",)]
KEPT = [
    ("sweep", "--T", "3", "--store", "new", *TINY),
    ("merge", "new", "old"),
    ("export", "old", "--out", "new.csv"),
]


@pytest.mark.parametrize("stdout", STREAMS)
@pytest.mark.parametrize("stderr", ["fine", "none", "full"])
def test_where_nothing_can_be_printed_nothing_is_lost(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stdout: str, stderr: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        said = io.StringIO()
        monkeypatch.setattr(sys, "stdout", STREAMS[stdout]())
        monkeypatch.setattr(sys, "stderr", said if stderr == "fine" else STREAMS[stderr]())
        return cli.main([str(store) if word == "old" else word for word in words]), said.getvalue()

    lost = {"none": 0, "closed": 0, "full": 1, "gone": 141}[stdout]
    for words in PRINTED:
        code, said = call(*words)
        assert code == (lost if words == ("--version",) else lost or 1)
        if stderr == "fine" and stdout == "full":
            assert said.endswith("toysup: error: cannot write to stdout: No space left on device\n")
            assert len(said.splitlines()) > 1  # it is there instead
    for words in KEPT:
        (new,) = (Path(word) for word in words if word.startswith("new"))
        assert call(*words)[0] == lost and new.exists()
        shutil.rmtree(new) if new.is_dir() else new.unlink()


@POSIX
@pytest.mark.parametrize("place", [1, 2])
def test_a_process_without_stdout_or_stderr(tmp_path: Path, place: int) -> None:
    words = ("sweep", "--T", "3", "--store", tmp_path / "s", *TINY)
    code, out, err = process(*words, preexec_fn=lambda: os.close(place))
    assert (code, out if place == 1 else err) == (0, "")
    assert toysup.open_sweep(tmp_path / "s").statuses == ["ok"]
    code, out, err = process("--version", preexec_fn=lambda: os.close(place))
    assert code == 0


def test_no_file_is_opened_in_the_place_of_a_closed_stderr() -> None:
    code = "import os, toysup.cli as c; c._hold_places(); os._exit(os.open(os.devnull, 0))"
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=lambda: os.close(2), check=False)
    assert done.returncode > 2


@POSIX
def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        code, _, err = process("info", stdout=write)
    finally:
        os.close(write)
    assert (code, err) == (141, "")


def test_a_sweep_over_a_file_of_data(toysup_cli: Cli, tmp_path: Path) -> None:
    X = toysup.data.sample(30, 40, 0.8, 0).to_scipy()
    X = X[np.flatnonzero(np.diff(X.indptr))] * 2.0
    scipy.sparse.save_npz(tmp_path / "words.npz", X)
    np.save(tmp_path / "words.npy", X.toarray())
    words = ["--T", "5,8", "--steps", "4", "--test-size", "9", "--json"]
    found = []
    for name in ("words.npz", "words.npy"):
        code, out, _ = toysup_cli("sweep", "--data", tmp_path / name, *words)
        found.append([row["train_loss"] for row in strict_json(out)["runs"]])
        assert code == 0 and strict_json(out)["fields"]["data"].startswith("Dataset('words', ")
    data = toysup.data.Dataset(X)
    res = toysup.sweep(data=data, T=[5, 8], steps=4, test_size=9)
    assert found[0] == found[1] == res.dataset.train_loss.values.tolist()
    store = tmp_path / "store"
    raw = ["sweep", "--data", tmp_path / "words.npy", "--normalize", "false", "--store", store]
    assert toysup_cli(*raw, *words, "--dry-run")[0] == 0 and not store.exists()
    assert toysup_cli(*raw, *words)[0] == 0
    raw_data = toysup.data.Dataset(X, normalize=False)
    assert toysup.open_sweep(store).configs[0].data.digest == raw_data.digest
    known = f"data set {raw_data.digest[:12]}: {len(X.toarray())} x 30"
    assert f"\n{known}\n" in toysup_cli("status", store)[1]
    shutil.rmtree(store / "data")
    assert f"\n{known}, which is not in the store\n" in toysup_cli("status", store)[1]
    assert not strict_json(toysup_cli("status", store, "--json")[1])["stores"][0]["data"]["kept"]
    code, _, err = toysup_cli("sweep", "--data", tmp_path / "words.npy", *words, "--sparsity", 0.5)
    assert code == 2 and "sparsity must not be given beside data" in err
    code, _, err = toysup_cli("sweep", "--data", tmp_path / "none.npz", *words)
    assert code != 0 and "there is no file" in err


def test_check_fails_if_a_loss_is_not_what_is_recorded(
    toysup_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recorded, "_folder", lambda: iter(tmp_path.iterdir()))
    tiny = {"n": 30, "sparsity": 0.8, "steps": 40, "test_size": 50}
    result = toysup.sweep(**tiny, T=[3, 7], seed=[0, 1], progress=False)
    path = _recorded.record(result, tmp_path / "mine.csv", "a machine", "2026-01-31")
    code, out, err = toysup_cli("check", "mine", "--runs", "2", "--jobs", "1", "--quiet")
    assert (code, out, err) == (0, "", "")
    code, out, _ = toysup_cli("check", "mine", "--draw", "5")
    assert code == 0 and "differ by at most" in out and out.count("train_loss") == 3
    loss = float(result.dataset["train_loss"].sel(T=3, seed=0))
    path.write_text(path.read_text().replace(f"{loss:.7g}", f"{loss + 0.01:.7g}"))
    code, out, _ = toysup_cli("check", "mine", "--runs", "9", "--json")
    found = json.loads(out)
    assert code == 1 and found["largest_difference_of_losses"] == pytest.approx(0.01, rel=1e-3)
    assert len(found["tables"]["mine"]) == 4 * 5
    code, out, err = toysup_cli("check", "mine", "figure3")
    assert (code, out) == (2, "") and "name must be one of 'mine', got 'figure3'" in err
