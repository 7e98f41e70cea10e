"""The package as it is built and installed: one version number, one set of files, two builders."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import toysup
from helpers import loaded

ROOT = Path(__file__).resolve().parents[2]
BACKEND = ROOT / "build_backend" / "toysup_build.py"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def first_match(pattern: str, path: str) -> str:
    """Return the first group of a pattern's first match in a file of the tree."""
    match = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert match is not None, f"{path} has no line like {pattern}"
    return match[1]


def load_backend(monkeypatch: pytest.MonkeyPatch, pure: str | None) -> ModuleType:
    """Import the build backend afresh, as a front end does, under a value of TOYSUP_PURE."""
    if pure is None:
        monkeypatch.delenv("TOYSUP_PURE", raising=False)
    else:
        monkeypatch.setenv("TOYSUP_PURE", pure)
    return loaded(BACKEND)


def requirements() -> dict[str, Requirement]:
    """Return what the package and its test and dev extras ask for, by name."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["test"], *extras["dev"]]
    parsed = map(Requirement, lines)
    return {canonicalize_name(r.name): r for r in parsed if r.name != PROJECT["name"]}


def pins() -> dict[str, str]:
    """Return the pinned versions, by name; each has the hashes of its files."""
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    pinned = r"([\w.-]+)==([\w.]+)(?: ; .*)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
    assert re.fullmatch(f"({pinned})+", text), "there is something else than pins and hashes"
    return {name: version for name, version, _ in re.findall(pinned, text)}


# --- one version number ---


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("python/toysup/_version.py", r'^__version__ = "(.+)"$'),
        ("CITATION.cff", r"^version: (\S+)$"),
        ("CHANGELOG.md", r"^## \[(.+?)\]"),
        # The expression by which hatchling reads Cargo.toml.
        (PYPROJECT["tool"]["hatch"]["version"]["path"], r'^version = "([^"]+)"'),
    ],
)
def test_files_state_the_version(path: str, pattern: str) -> None:
    assert first_match(pattern, path) == VERSION


def test_hatchling_and_this_file_read_the_version_alike() -> None:
    pattern = PYPROJECT["tool"]["hatch"]["version"]["pattern"]
    assert first_match(pattern, "Cargo.toml") == VERSION


def test_cargo_lock_is_of_this_version() -> None:
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    own = {p["name"]: p["version"] for p in packages if p["name"].startswith("toysup-")}
    assert own == {"toysup-core": VERSION, "toysup-python": VERSION}


def test_installed_package_is_of_this_version() -> None:
    assert toysup.__version__ == VERSION
    assert metadata.version("toysup") == VERSION


def test_native_module_is_of_this_version(pytestconfig: pytest.Config) -> None:
    if importlib.util.find_spec("toysup._native") is None:
        if pytestconfig.getoption("--require-native", default=False):
            pytest.fail("the compiled extension is not installed")
        pytest.skip("the compiled extension is not installed")
    native = importlib.import_module("toysup._native")
    assert native.__version__ == VERSION


# --- what is installed ---


@pytest.mark.parametrize("name", ["py.typed", "_native.pyi"])
def test_type_information_is_installed(name: str) -> None:
    assert resources.files("toysup").joinpath(name).is_file()


def test_command_is_installed() -> None:
    scripts = metadata.entry_points(group="console_scripts", name="toysup")
    assert [s.value for s in scripts] == ["toysup.cli:program"]
    assert callable(next(iter(scripts)).load())


def test_metadata_states_the_licence_and_the_extras() -> None:
    meta = metadata.metadata("toysup")
    assert meta["License-Expression"] == "MIT"
    assert meta["Requires-Python"] == PROJECT["requires-python"]
    assert set(meta.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


# --- the build backend ---


@pytest.mark.parametrize("pure", [None, "", "0"])
def test_backend_asks_for_maturin(monkeypatch: pytest.MonkeyPatch, pure: str | None) -> None:
    backend = load_backend(monkeypatch, pure)
    monkeypatch.setenv("MATURIN_NO_INSTALL_RUST", "1")
    assert backend.get_requires_for_build_wheel() == [backend.MATURIN]
    assert backend.get_requires_for_build_editable() == [backend.MATURIN]
    assert hasattr(backend, "prepare_metadata_for_build_wheel")
    assert hasattr(backend, "prepare_metadata_for_build_editable")


def test_backend_without_cargo_lets_maturin_fetch_rust(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load_backend(monkeypatch, None)
    monkeypatch.delenv("MATURIN_NO_INSTALL_RUST", raising=False)
    monkeypatch.setenv("PATH", "")
    assert backend.get_requires_for_build_wheel() == [backend.MATURIN, backend.PUCCINIALIN]


def test_pure_backend_asks_for_hatchling_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load_backend(monkeypatch, "1")
    assert backend.get_requires_for_build_wheel() == [backend.HATCHLING]
    assert backend.get_requires_for_build_editable() == [backend.HATCHLING]
    # Hatchling itself lacks them under pip.
    assert not hasattr(backend, "prepare_metadata_for_build_wheel")


@pytest.mark.parametrize("pure", [None, "1"])
def test_sources_are_packed_by_hatchling(monkeypatch: pytest.MonkeyPatch, pure: str | None) -> None:
    backend = load_backend(monkeypatch, pure)
    assert backend.get_requires_for_build_sdist() == [backend.HATCHLING]


@pytest.mark.parametrize("value", ["yes", "true", "2", " 1"])
def test_backend_refuses_other_values(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(SystemExit, match=f"TOYSUP_PURE must be .* got {value!r}"):
        load_backend(monkeypatch, value)


def test_backend_and_dev_extra_want_the_same_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load_backend(monkeypatch, None)
    wanted = requirements()
    for line in (backend.MATURIN, backend.HATCHLING):
        assert wanted[canonicalize_name(Requirement(line).name)] == Requirement(line)


# --- files that must not drift apart ---


def test_pins_cover_and_satisfy_the_requirements() -> None:
    pinned = pins()
    for name, requirement in requirements().items():
        assert pinned.get(name, "no version") in requirement.specifier, requirement


def test_actions_are_pinned_to_commits() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    if not workflows:
        pytest.skip("the sdist has no workflows")
    for path in workflows:
        used = re.findall(r"\buses: *(.*)", path.read_text(encoding="utf-8"))
        assert used
        for action in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), (
                f"{path.name}: {action}"
            )


def test_oldest_python_is_the_same_everywhere() -> None:
    minor = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert minor is not None
    cargo = tomllib.loads((ROOT / "rust/python/Cargo.toml").read_text(encoding="utf-8"))
    assert cargo["features"]["abi3"] == [f"pyo3/abi3-py3{minor[1]}"]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{minor[1]}"
    assert f"Programming Language :: Python :: 3.{minor[1]}" in PROJECT["classifiers"]


def test_sdist_names_only_what_exists() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [p for p in included if not (ROOT / p.lstrip("/")).exists()] == []


def test_no_build_is_tied_to_one_processor() -> None:
    # Wheels are portable: instruction sets are chosen at run time.
    assert not (ROOT / ".cargo").exists()
