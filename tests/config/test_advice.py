"""Settings that cannot mean what was meant are warned of, once, where they were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import toysup
from toysup import TrainConfig, cli

EMPTY: dict[str, Any] = {"n": 100, "m": 2, "T": 5, "steps": 2, "test_size": 0}
WORDS = (
    r"^with n = 100 features and sparsity = 0.999, an example has 0.1 non-zeros on average, and "
    r"90 % of the examples are empty; choose a sparsity of at most 1 - 1/n = 0.99, or more features"
)


@pytest.mark.parametrize("use", [toysup.train, toysup.sweep, toysup.plan])
@pytest.mark.parametrize("axes", [{}, {"seed": range(3)}])
def test_nearly_empty_examples_are_warned_of_once(use: Any, axes: dict[str, Any]) -> None:
    if use is toysup.train:
        axes = dict.fromkeys(axes, 1)
    with pytest.warns(UserWarning, match=WORDS) as caught:
        use(TrainConfig(**EMPTY), **axes)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("axes", "where"),
    [({"n": [100, 2000]}, " in 1 of 2 runs"), ({"n": [50, 100]}, ""), ({"seed": [0]}, "")],
)
def test_the_runs_are_counted(axes: dict[str, Any], where: str) -> None:
    n = min(axes.get("n", [100]))
    with pytest.warns(UserWarning, match=f"^with n = {n} features and sparsity = 0.999{where}, an"):
        toysup.sweep(**{**EMPTY, **axes})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "fields",
    [
        {"n": 10, "sparsity": 0.9},  # n (1 - S) is rounded to less than 1
        {"n": 1000},
        {"n": 1, "m": 1, "sparsity": 0},
        {"sparsity": [0.9, 0.999]},  # it was chosen
    ],
)
def test_what_is_meant_is_trained_in_silence(fields: dict[str, Any]) -> None:
    toysup.sweep(**{**EMPTY, **fields})


@pytest.mark.filterwarnings("error")
def test_what_is_made_already_is_read_in_silence(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=WORDS):
        toysup.sweep(**EMPTY, store=tmp_path / "s")
    run = toysup.open_sweep(tmp_path / "s").run()
    toysup.load_run(run.save(tmp_path / "r"))


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_the_command_line_says_it_in_a_line(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in EMPTY.items()]
    assert cli.main(["sweep", *words, "--seed", "0:2", *more]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("toysup: warning: with n = 100 features and sparsity = 0.999, an")
