"""Both backends behind one fixture, and the settings that all tests share.

Tests that repeat themselves (kills, faults, every bit of a file, drawn examples) do so seldom by
default, and as often as before a release under ``--soak``, which ``.ci/run`` gives: see
``support/soak.py``. Tests of what surrounds a training (processes, signals, stores, sweeps,
presets) are marked ``any_backend``: by default they run on one backend, under ``--soak`` on both.

The tests run in parallel processes, by pytest-xdist; ``-n 0`` runs them in this one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import hypothesis
import pytest

import soak
from toysup._backends import choose
from toysup._backends.protocol import Backend

os.environ.setdefault("MPLBACKEND", "Agg")

HAS_NATIVE = importlib.util.find_spec("toysup._native") is not None
if not HAS_NATIVE:
    # By choice, so that no process that a test starts says how slow it is.
    os.environ.setdefault("TOYSUP_BACKEND", "numpy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-native",
        action="store_true",
        help="fail, instead of skipping, where the Rust extension is missing",
    )
    parser.addoption(
        "--require-doors",
        action="store_true",
        help="fail, instead of skipping, where the extension has no doors for tests",
    )
    parser.addoption(
        "--soak",
        action="store_true",
        help="repeat kills, faults and drawn examples as often as before a release",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "any_backend: one backend is enough, except under --soak")
    soak.full = config.getoption("--soak")
    # Examples vary in cost by orders of magnitude with the drawn sizes, so no deadline for one of
    # them; the fixture only chooses a backend, so it may stay the same over a test's examples.
    hypothesis.settings.register_profile(
        "toysup",
        deadline=None,
        max_examples=soak.soak(10, 25),
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[
            hypothesis.HealthCheck.function_scoped_fixture,
            hypothesis.HealthCheck.too_slow,
        ],
    )
    hypothesis.settings.load_profile("toysup")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as there are processors, of which few are enough."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that trains or computes runs once on each backend."""
    if "backend" in metafunc.fixturenames:
        names = ["native", "numpy"]
        if metafunc.definition.get_closest_marker("any_backend") and not soak.full:
            names = ["native" if HAS_NATIVE else "numpy"]
        metafunc.parametrize("backend", names, indirect=True)


def need_native(config: pytest.Config) -> None:
    """Skip without the Rust extension, or fail if it is required."""
    if not HAS_NATIVE:
        if config.getoption("--require-native"):
            pytest.fail("the Rust extension is missing, and --require-native was given")
        pytest.skip("the Rust extension is not installed")


@pytest.fixture(autouse=True)
def variables() -> Iterator[None]:
    """No test leaves another backend or kernel to the next one."""
    before = _variables()
    yield
    assert _variables() == before


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TOYSUP_")}


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """What a test draws is gone after it, so that others can count figures."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The backend in use."""
    if request.param == "native":
        need_native(request.config)
    monkeypatch.setenv("TOYSUP_BACKEND", request.param)
    return choose.backend()


@pytest.fixture
def native(request: pytest.FixtureRequest) -> Backend:
    """The Rust backend, for tests that compare it with the reference."""
    need_native(request.config)
    return choose.load("native")


@pytest.fixture
def doors(request: pytest.FixtureRequest, native: Backend) -> ModuleType:
    """The extension with the functions that only builds with the cargo feature ``doors`` have."""
    from toysup import _native

    if not hasattr(_native, "trace"):
        if request.config.getoption("--require-doors"):
            pytest.fail("the extension has no doors for tests, and --require-doors was given")
        pytest.skip("the extension was built without the cargo feature doors")
    return _native


@pytest.fixture
def reference() -> Backend:
    """The NumPy reference."""
    return choose.load("numpy")
