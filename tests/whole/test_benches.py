"""Benchmarks that look inside trainings still run, and their checks still hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benches"

# The sdist has the tests, but no benchmarks.
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the sources have no benchmarks")


@pytest.mark.parametrize(
    "words",
    [
        # Long enough to be timed, by a progress that is asked for every 25 ms.
        "frameworks.py --cells 100:7 --n 500 --sparsity 0.98 --steps 9000 --check 3",
        "map.py --T 50 --m 2 --seconds 0.1",
    ],
    ids=lambda words: words.partition(".")[0],
)
def test_a_benchmark_runs_and_its_checks_hold(doors: ModuleType, words: str) -> None:
    script, *rest = words.split()
    done = subprocess.run(
        [sys.executable, FOLDER / script, *rest],
        **{"capture_output": True, "text": True, "check": False, "timeout": 250},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout and not done.stderr


@pytest.mark.parametrize("script", ["frameworks", "interrupt", "map", "scaling", "step", "verses"])
def test_where_a_table_goes_is_looked_at_before_hours_are_spent(
    script: str, tmp_path: Path
) -> None:
    words = [sys.executable, FOLDER / f"{script}.py", "--json", tmp_path / "none" / "table.json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and not done.stdout
    assert "argument --json: must be a file in a folder that exists, got" in done.stderr
