"""The preset of the middle regime: its tables, its drawings, and what it says."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import toysup
from helpers import of_their_T
from toysup import regime
from toysup._backends.protocol import Backend
from toysup._sweep.result import SweepResult
from toysup.paper import _recipe, _runs
from toysup.paper._preset import carry_out
from toysup.paper.questions import middle
from toysup.paper.questions.middle import MIDDLE
from toysup.plot._parts.save import figure_of

TINY: dict[str, Any] = {"n": 60, "sparsity": 0.9, "steps": 60, "test_size": 80, "record": 4}


def small_sweep(**fields: Any) -> SweepResult:
    given = {"T": [40, 5, math.inf], "m": 2, "seed": range(2), "batch_size": 30, **TINY}
    return toysup.sweep(progress=False, **of_their_T({**given, **fields}))


def results(result: SweepResult) -> dict[str, SweepResult]:
    return {_recipe.PART: result}


def drawn(result: SweepResult) -> list[str]:
    """Names of the drawings, which must be fit to be drawn."""
    names = []
    for name, drawing in MIDDLE.drawings(results(result), "small"):
        figure_of(drawing).canvas.draw()
        plt.close(figure_of(drawing))
        names.append(name)
    return names


def test_runs_are_shared_with_figure_3() -> None:
    for scale, fields in (("small", _recipe.SMALL), ("paper", _recipe.PAPER)):
        own = MIDDLE.fields(scale)[_recipe.PART]
        assert {**own, "T": fields["T"]} == {k: fields[k] for k in fields if k != "batch_size"}
        assert math.inf not in own["T"]
        assert set(own["T"]) <= set(fields["T"])
    assert MIDDLE.size("paper") == 7 * 4


@pytest.mark.any_backend
def test_the_table_has_the_means_of_each_T(backend: Backend) -> None:
    result = small_sweep()
    (table,) = MIDDLE.tables(results(result), "small")
    rows = table.records()
    assert [row["T"] for row in rows] == [5, 40, "inf"]
    for row, T in zip(rows, (5, 40, math.inf), strict=True):
        runs = [result.run(T=T, seed=seed) for seed in range(2)]
        found = [regime.classify(run) for run in runs]
        assert row["seeds"] == 2
        for name in regime.CLASSES:
            assert row[name] == np.mean([one.counts[name] for one in found])
        assert sum(row[name] for name in regime.CLASSES) == (30 if T == math.inf else T)
        assert row["max_loss"] == pytest.approx(np.mean([one.loss.max() for one in found]))
        assert row["retrieved"] == pytest.approx(np.mean([one.retrieved for one in found]))
        best = min(range(2), key=lambda seed: runs[seed].train_loss)
        assert row["polygon"] == str(found[best].polygon)
    text = table.text()
    assert "What is stored of T examples at the small scale: n = 60, S = 0.9, 60 steps" in text
    assert max(map(len, table.heading.splitlines())) <= 100


def test_means_leave_out_what_is_not_a_number() -> None:
    one = regime.classify(toysup.train(m=2, T=5, progress=False, **TINY))
    runs = [dataclasses.replace(one, sharing=value) for value in (0.25, math.nan, 0.75)]
    assert middle.mean(runs, "sharing") == 0.5
    assert math.isnan(middle.mean(runs[1:2], "sharing"))


def test_the_T_with_most_clusters_is_drawn() -> None:
    one = regime.classify(toysup.train(m=2, T=5, progress=False, **TINY))

    def of_sizes(*sizes: int) -> regime.Regime:
        return dataclasses.replace(one, size=np.array(sizes))

    few, some, many = of_sizes(9, 1, 1), of_sizes(2, 2), of_sizes(3, 3, 2)
    assert middle.middle_T({5: [few, few], 50: [some, many], 500: [some, few]}) == 50


def test_what_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    result = small_sweep(T=[5, 40])
    found = middle.regimes(result)
    labels = np.array(["single", "single", "cluster", "none"])
    known = np.arange(60) < 5
    look = {"label": labels, "size": np.array([4, 3]), "sharing": 0.5, "chance": 0.125}
    one = dataclasses.replace(found[5][0], **look, represented=known)
    none = dataclasses.replace(one, size=np.array([1, 1]))
    monkeypatch.setattr(middle, "regimes", lambda _: {5: [none], 40: [one, one], 90: [none]})
    assert MIDDLE.see(results(result), "small") == (
        "In middle.png: at T = 5, 50% of the examples are stored singly; at T = 40 "
        "(middle-run.png), 50% are and 25% lie in clusters, where 50% of the pairs share a feature "
        "(12% by chance); at T = 90, 25% are not stored, and 5.0 features are represented."
    )


@pytest.mark.any_backend
@pytest.mark.parametrize("T", [[5], [40, 5, math.inf], [math.inf]], ids=str)
def test_any_T_will_do(T: list[float], backend: Backend) -> None:
    result = small_sweep(T=T, seed=[3])
    assert drawn(result) == ["middle", "middle-run"]
    assert MIDDLE.see(results(result), "paper").startswith("In middle.png: at T = ")


def test_runs_that_are_missing_or_diverged_are_left_out(tmp_path: Path) -> None:
    result = small_sweep(T=[5, 40], store=tmp_path)
    for seed in range(2):
        (tmp_path / "runs" / f"{result.run(T=5, seed=seed).config.key()}.npz").unlink()
    (tmp_path / "runs" / f"{result.run(T=40, seed=0).config.key()}.npz").unlink()
    holed = toysup.open_sweep(tmp_path)
    (row,) = MIDDLE.tables(results(holed), "small")[0].records()
    assert (row["T"], row["seeds"]) == (40, 1)
    assert drawn(holed) == ["middle", "middle-run"]
    broken = small_sweep(T=[5], seed=[0], learning_rate=1e30)
    assert broken.statuses == ["diverged"]
    assert MIDDLE.tables(results(broken), "small")[0].rows == []
    assert drawn(broken) == []
    assert MIDDLE.see(results(broken), "small") == _runs.NOTHING


def test_it_is_carried_out(tmp_path: Path) -> None:
    changed = {**MIDDLE.fields("small", seeds=1, T=[3, 20])[_recipe.PART], **TINY}
    done = carry_out(MIDDLE, "small", tmp_path, {_recipe.PART: changed}, progress=False)
    names = {path.name for path in done.files}
    assert {"middle.csv", "middle.png", "middle.svg", "middle-run.png"} <= names
    with (tmp_path / "middle.csv").open(newline="") as file:
        assert [row["T"] for row in csv.DictReader(file)] == ["3", "20"]
