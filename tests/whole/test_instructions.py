"""The benchmark that counts instructions: what it refuses, and that its counts are those of CI."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from helpers import loaded

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benches" / "instructions.py"

# The sdist has the tests, but no benchmarks.
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the sources have no benchmarks")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return loaded(SCRIPT)


def test_ten_per_cent_more_is_too_many(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {"dense": 1000}
    assert bench.check("dense", 1100, stored, "avx2")
    assert bench.check("dense", 500, stored, "avx2")
    assert "-50.00%: fewer" in capsys.readouterr().out
    assert not bench.check("dense", 1101, stored, "avx2")
    assert "+10.10%: too many" in capsys.readouterr().out
    assert not bench.check("new", 1, stored, "avx2")
    assert "no stored count" in capsys.readouterr().out


def test_every_shape_has_a_count_of_the_compiler_in_the_workflow(bench: ModuleType) -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    job = workflow.partition("\n  instructions:\n")[2].partition("\n\n")[0]
    found = re.search(r'toolchain: "(.+?)"', job)
    assert found is not None
    shapes = (ROOT / "rust" / "core" / "benches" / "steps.rs").read_text(encoding="utf-8")
    names = re.findall(r'^ +name: "(.+)",$', shapes, re.MULTILINE)
    assert len(names) == 7
    (version, counts), *others = json.loads(bench.STORED.read_text(encoding="utf-8")).items()
    assert (version, others) == (f"rustc {found[1]}", [])
    assert list(counts) == bench.ISAS.split(",")
    assert all(sorted(of_isa) == sorted(names) for of_isa in counts.values())
