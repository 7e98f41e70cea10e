"""The order of the floors: every file imports only its own floor and those below."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, CORE = ROOT / "python" / "toysup", ROOT / "rust" / "core" / "src"

# From the ground up. A name stands for all that is in it, unless a longer one is listed.
PYTHON_FLOORS = [
    ["errors", "_means", "_version", "_typing", "_native"],
    ["_floats"],
    ["_files"],
    ["_text"],
    ["config"],
    ["metrics"],
    ["_system"],
    ["_stream"],
    ["_backends"],
    ["data"],
    ["_run"],
    ["regime"],
    ["_store"],
    ["_sweep"],
    ["plot._parts"],
    ["plot._sweeps"],
    ["plot._steps"],
    ["plot._figures"],
    ["plot._explore"],
    ["plot"],
    ["paper._statistics"],
    ["paper._preset", "paper._recorded", "paper.reference", "paper._recipe", "paper._runs"],
    ["paper._plan"],
    ["paper.figures"],
    ["paper.curves"],
    ["paper.questions"],
    ["paper.controls"],
    ["paper.toy"],
    ["paper"],
    [""],  # the front door
    ["cli"],
    ["__main__"],
]
CORE_FLOORS = [
    ["error", "math", "memory"],
    ["stream"],
    ["simd"],
    ["model"],
    ["kernels"],
    ["lists"],
    ["gradient"],
    ["training"],
    ["inspect"],
    ["lib"],
]
# A preset is pickled as its name, by which the front of its floor finds it.
PYTHON_UP = {("paper._preset", "paper")}


def modules(folder: Path, suffix: str, own: str) -> dict[str, Path]:
    """The dotted name of every file; ``own`` is the name of a folder's own file."""
    found = {}
    for path in sorted(folder.rglob(f"*{suffix}")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == own else parts)] = path
    return found


def python_imports() -> Iterator[tuple[str, str, bool]]:
    """From, to, and whether it is at the top of the file: not in a function, nor for types."""
    known = modules(PACKAGE, ".py", "__init__") | {"_native": PACKAGE / "_native.pyi"}

    def inside(name: str) -> str:
        return name.removeprefix("toysup").removeprefix(".")

    for module, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("toysup")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toysup"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if inside(name) in known else str(node.module) for name in names]
            else:
                continue
            yield from ((module, inside(name), id(node) in top) for name in names)


def core_imports() -> Iterator[tuple[str, str, bool]]:
    """From and to, of paths outside comments and tests."""
    known = modules(CORE, ".rs", "mod")
    for module, path in known.items():
        code = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        code = code.split("#[cfg(test)]\nmod tests")[0]
        for found in re.finditer(r"crate::((?:\w+::)*\w+)", code):
            parts = found[1].split("::")
            names = (".".join(parts[:i]) for i in range(len(parts), 0, -1))
            yield from ((module, name, True) for name in names if name in known)


def floor(name: str, floors: list[list[str]]) -> int:
    """The floor of a module, by the longest name that it lies in."""
    found = [
        (len(known), i)
        for i, names in enumerate(floors)
        for known in names
        if name == known or (known and name.startswith(f"{known}."))
    ]
    assert found, f"{name} is on no floor"
    return max(found)[1]


@pytest.mark.parametrize("part", ["package", "core"])
def test_imports_run_down(part: str) -> None:
    imports = python_imports() if part == "package" else core_imports()
    floors = PYTHON_FLOORS if part == "package" else CORE_FLOORS
    rising = {
        (one, other) for one, other, _ in imports if floor(other, floors) > floor(one, floors)
    }
    assert rising == (PYTHON_UP if part == "package" else set())


@pytest.mark.parametrize("part", ["package", "core"])
def test_imports_at_the_top_of_files_run_in_no_circle(part: str) -> None:
    imports = python_imports() if part == "package" else core_imports()
    after: dict[str, set[str]] = {}
    for one, other, top in imports:
        folder = other == one or one.startswith(f"{other}.")
        if top and not folder:
            after.setdefault(one, set()).add(other)
    assert list(TopologicalSorter(after).static_order())  # raises CycleError otherwise
