"""What a preset would train, what that takes, and that nothing is trained for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import toysup
from toysup import paper
from toysup.paper import _plan, _preset

TINY: dict[str, Any] = {"n": 30, "sparsity": 0.8, "steps": 20, "test_size": 20, "m": 2}


def two_sweeps(**more: Any) -> _preset.Preset:
    """A preset whose second sweep has the T of the first, and as many seeds as T."""

    def then(results: _preset.Results, scale: str) -> dict[str, dict[str, Any]]:
        T = sorted({config.T for config in results["first"].configs})
        return {"second": {**TINY, "T": T, "seed": range(len(T))}}

    return _preset.Preset(
        name="two",
        title="",
        scales={"small": {"first": {**TINY, "T": [5, 9], "seed": [0]}}},
        make_tables=lambda results, scale: [],
        draw=lambda results, scale: iter(()),
        tell=lambda results, scale: "",
        then=then,
        **more,
    )


def plan_of(preset: _preset.Preset, out: Path) -> paper.PresetPlan:
    return _plan.make_plan(preset, "small", out, preset.fields("small"), 1)


def test_the_plan_is_of_every_sweep(tmp_path: Path) -> None:
    found = plan_of(two_sweeps(), tmp_path)
    assert list(found.parts) == ["first", "second"] and found.complete
    assert (found.runs, found.done, found.todo) == (6, 0, 6)
    assert found.core_seconds == sum(part.core_seconds or 0 for part in found.parts.values()) > 0
    assert found.disk == sum(part.disk for part in found.parts.values()) > 0
    assert found.memory == max(part.memory for part in found.parts.values())
    assert not list(tmp_path.iterdir())
    text = repr(found)
    assert "runs    6: 0 stored already, 6 to do" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["second", "9", "2", "2"] in [line[:4] for line in lines]
    assert ["second", "all", "4"] in [line[:3] for line in lines]
    data = found.to_dict()
    assert data["parts"]["second"]["todo"] == 4 and data["complete"] is True


def test_what_is_stored_need_not_be_done(tmp_path: Path) -> None:
    preset = two_sweeps()
    toysup.sweep(store=tmp_path / "store" / "first", progress=False, **TINY, T=[5], seed=[0])
    found = plan_of(preset, tmp_path)
    assert [part.done for part in found.parts.values()] == [1, 0]
    _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    before = sorted(path for path in tmp_path.rglob("*"))
    found = plan_of(preset, tmp_path)
    assert (found.done, found.todo, found.core_seconds) == (6, 0, 0)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_sweeps_that_start_from_runs_are_counted_once_these_are_there(tmp_path: Path) -> None:
    preset = two_sweeps(starts_from_runs=True)
    found = plan_of(preset, tmp_path)
    assert list(found.parts) == ["first"] and not found.complete
    assert "Further sweeps start from the runs of these" in repr(found)
    fields = preset.fields("small")["first"]
    toysup.sweep(store=tmp_path / "store" / "first", progress=False, **fields)
    found = plan_of(preset, tmp_path)
    assert list(found.parts) == ["first", "second"] and found.complete
    assert found.todo == 4 and "Further sweeps" not in repr(found)


def test_a_named_preset_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = paper.plan("figure2", T=[5, 9], seeds=2, steps=20, n_jobs=1)
    assert (found.name, found.scale, found.todo) == ("figure2", "small", 4)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="did you mean 'figure2'"):
        paper.plan("figur2")
    with pytest.raises(ValueError, match="scale must be one of"):
        paper.plan("figure2", "large")


@pytest.mark.parametrize("name", [name for name in paper.names() if paper.get(name).then])
def test_which_presets_have_sweeps_that_start_from_runs(name: str) -> None:
    assert paper.get(name).starts_from_runs == (name in ("branches", "figure1"))


def test_a_missing_package_is_said_at_once(tmp_path: Path) -> None:
    def check() -> None:
        raise ImportError("no text")

    with pytest.raises(ImportError, match="no text"):
        plan_of(dataclasses.replace(two_sweeps(), check=check), tmp_path)
