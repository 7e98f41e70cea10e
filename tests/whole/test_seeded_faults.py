"""The faults that ``support/faults.py`` puts into a copy of the sources can still be put there."""

from __future__ import annotations

import pytest

from faults import FAULTS, ROOT


@pytest.mark.parametrize("name", FAULTS)
def test_the_text_of_a_fault_is_there_once(name: str) -> None:
    fault = FAULTS[name]
    path = ROOT / fault.path
    if not path.exists() and not (ROOT / "rust").exists():
        pytest.skip("the sources are not here")
    assert path.read_text().count(fault.old) == 1, f"the text of {name!r} is no longer there"
    for test in fault.tests.split():
        assert (ROOT / "tests" / test.partition("::")[0]).exists()
