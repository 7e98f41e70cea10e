"""Which backend is used, and what is said when it cannot be."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import io
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import toysup
from helpers import run_bits
from toysup import BackendError, ToysupError, TrainConfig, backend_name, cli, train
from toysup._backends import choose as _backend
from toysup._backends.protocol import Backend

SMALL = TrainConfig(n=12, m=2, T=6, sparsity=0.7, steps=20, learning_rate=0.01, test_size=30)
NATIVE = "toysup._native"


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | None], None]]:
    """Set or unset ``TOYSUP_BACKEND``; the choice is made anew."""

    def set_to(value: str | None) -> None:
        _backend.load.cache_clear()
        if value is None:
            monkeypatch.delenv("TOYSUP_BACKEND", raising=False)
        else:
            monkeypatch.setenv("TOYSUP_BACKEND", value)

    yield set_to
    _backend.load.cache_clear()


def test_nothing_of_numpy_is_left_to_be_looked_up_in_a_run(native: Backend) -> None:
    """That takes Python code, which Ctrl-C can interrupt where there is no way back."""
    code = "import toysup._native, numpy; print(dir(numpy._core.multiarray))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "_RUST_NUMPY_BORROW_CHECKING_API" in run.stdout


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Rust extension was not built, and the process has said so."""
    monkeypatch.setitem(sys.modules, NATIVE, None)
    monkeypatch.setattr(_backend, "_is_said", True)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[ImportError], None]:
    """The Rust extension is there, and importing it fails."""

    class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        error: ImportError

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return importlib.machinery.ModuleSpec(name, self) if name == NATIVE else None

        def exec_module(self, module: types.ModuleType) -> None:
            raise self.error

    def fails_with(error: ImportError) -> None:
        finder = Broken()
        finder.error = error
        monkeypatch.delitem(sys.modules, NATIVE, raising=False)
        monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])

    return fails_with


# ------------------------------------------------------------------------------------ the variable


def test_each_backend_may_be_asked_for(backend):
    assert backend_name() == backend.name == os.environ["TOYSUP_BACKEND"]
    assert train(SMALL).provenance["backend"] == backend.name
    assert backend.isa()


@pytest.mark.parametrize("value", [None, "", "auto"])
def test_without_a_wish_the_rust_extension_is_used_if_it_is_there(native, choose, value):
    choose(value)
    assert backend_name() == "native"


@pytest.mark.parametrize(
    "value, hint",
    [
        ("rust", ""),
        ("nativ", "; did you mean 'native'?"),
        ("NumPy", "; did you mean 'numpy'?"),
        ("NATIVE", "; did you mean 'native'?"),
        (" native", "; did you mean 'native'?"),
    ],
)
def test_another_value_is_refused(choose, value, hint):
    choose(value)
    for use in (backend_name, lambda: train(SMALL), lambda: toysup.sweep(SMALL)):
        with pytest.raises(ValueError) as caught:
            use()
        expected = f"TOYSUP_BACKEND must be one of 'auto', 'native', 'numpy', got {value!r}{hint}"
        assert str(caught.value) == expected


def test_the_variable_is_read_at_every_call(native, monkeypatch):
    names = []
    for value in ("numpy", "native", "numpy"):
        monkeypatch.setenv("TOYSUP_BACKEND", value)  # without clearing anything
        names.append(train(SMALL).provenance["backend"])
    assert names == ["numpy", "native", "numpy"]


def test_a_wrong_variable_writes_nothing(choose, tmp_path):
    choose("rust")
    with pytest.raises(ValueError, match="TOYSUP_BACKEND"):
        toysup.sweep(SMALL, store=tmp_path / "store")
    assert not list(tmp_path.iterdir())


# ---------------------------------------- it is missing


@pytest.mark.parametrize("value", [None, "", "auto"])
def test_without_the_extension_numpy_is_used(missing, choose, value):
    choose(value)
    assert backend_name() == "numpy"
    assert train(SMALL).status == "ok"


def test_without_the_extension_native_is_refused_with_a_way_out(missing, choose):
    choose("native")
    for use in (backend_name, lambda: train(SMALL), lambda: toysup.data.sample(3, 3, 0.5, 0)):
        with pytest.raises(BackendError, match=r"TOYSUP_BACKEND=native.*toysup\._native.*not inst"):
            use()
    assert issubclass(BackendError, ToysupError) and issubclass(BackendError, ImportError)


def test_a_missing_extension_writes_nothing(missing, choose, tmp_path):
    choose("native")
    with pytest.raises(BackendError):
        toysup.sweep(SMALL, store=tmp_path / "store")
    assert not list(tmp_path.iterdir())


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "toysup._native":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import toysup
run = toysup.train(n=12, m=2, T=6, sparsity=0.7, steps=20, test_size=30)
print(toysup.backend_name(), run.status, [m for m in sys.modules if m.endswith("native")])
"""


def test_a_process_without_the_extension_trains():
    environment = {k: v for k, v in os.environ.items() if k != "TOYSUP_BACKEND"}
    out = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:toysup trains on NumPy", "-c", WITHOUT],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert out.stdout.split(maxsplit=2) == ["numpy", "ok", "[]\n"]


# ---------------------------------------- it is broken


@pytest.mark.parametrize("value", [None, "auto", "native"])
@pytest.mark.parametrize(
    "error",
    [
        ImportError("undefined symbol: PyFoo", name=NATIVE),
        ImportError("DLL load failed"),
        ModuleNotFoundError("No module named 'libfoo'", name="libfoo"),
    ],
)
def test_a_broken_extension_is_never_hidden(broken, choose, value, error):
    choose(value)
    broken(error)
    with pytest.raises(ImportError) as caught:
        backend_name()
    assert caught.value is error


def test_a_broken_extension_does_not_stop_numpy(broken, choose):
    choose("numpy")
    broken(ImportError("undefined symbol"))
    assert train(SMALL).provenance["backend"] == "numpy"


@pytest.mark.parametrize("value", ["auto", "native"])
@pytest.mark.parametrize("version", ["0.0.0", "999.0.0", ""])
def test_an_extension_of_another_version_is_refused(monkeypatch, choose, value, version):
    other = types.ModuleType(NATIVE)
    other.__version__ = version
    monkeypatch.setitem(sys.modules, NATIVE, other)
    choose(value)
    with pytest.raises(BackendError) as caught:
        backend_name()
    text = str(caught.value)
    assert f"is of version {version}" in text and toysup.__version__ in text and "again" in text


def test_versions_agree(native):
    from toysup import _native

    assert _native.__version__ == toysup.__version__


# ------------------------------------------------------------------------------------------- panics


def test_a_panic_is_a_runtime_error_and_leaves_everything_working(doors, monkeypatch, capfd):
    monkeypatch.setenv("TOYSUP_BACKEND", "native")
    before = run_bits(train(SMALL))
    for _ in range(3):
        with pytest.raises(RuntimeError, match="on purpose"):
            doors.panic_for_test()
    assert run_bits(train(SMALL)) == before
    capfd.readouterr()  # Rust writes each panic to the standard error


def test_an_error_of_a_callback_comes_through(native):
    class Mine(Exception):
        pass

    def fail(*args: object) -> bool:
        raise Mine

    for callbacks in ((fail, lambda work: False), (lambda i, raw: None, fail)):
        with pytest.raises(Mine):
            native.train_many([SMALL] * 3, 2, *callbacks)


# ---------------------------------------------------------------------------------------- the door


def test_a_backend_is_all_of_what_the_package_asks(backend):
    for name, declared in vars(Backend).items():
        if name.startswith("_") or not callable(declared):
            continue
        assert callable(getattr(backend, name))
    assert backend.name in ("native", "numpy")
    wanted = list(inspect.signature(Backend.train_many).parameters)[1:]
    assert list(inspect.signature(backend.train_many).parameters) == wanted


def test_both_backends_return_the_same_things(native, reference):
    found = []
    for backend in (native, reference):
        raws: list[Any] = []
        config = SMALL.replace(snapshots=3)
        backend.train_many([config], 1, lambda i, raw, into=raws: into.append(raw), lambda w: False)
        [raw] = raws
        shape = {
            k: (v.shape, v.dtype) if isinstance(v, np.ndarray) else type(v) for k, v in raw.items()
        }
        history = {k: (v.shape, v.dtype) for k, v in raw["history"].items()}
        found.append((shape, history, raw["history_step"].tolist(), raw["snapshot_step"].tolist()))
    assert found[0] == found[1]


def test_poll_sees_the_work_grow(backend):
    seen: list[float] = []

    def poll(work: float) -> bool:
        seen.append(work)
        return len(set(seen)) > 2

    backend.train_many([SMALL.replace(steps=2**40, record=1)], 1, lambda i, raw: None, poll)
    assert 0 <= seen[0] and seen == sorted(seen)


def test_poll_sees_no_more_than_all_the_work(backend):
    config = SMALL.replace(steps={"native": 300_000, "numpy": 6_000}[backend.name])
    seen: list[float] = []
    backend.train_many([config], 1, lambda i, raw: None, lambda work: seen.append(work))
    assert max(seen, default=0.0) <= config.step_cost() * config.steps * (1 + 1e-9)


def test_poll_that_says_stop_drops_the_unfinished(backend):
    done: list[int] = []
    endless = SMALL.replace(steps=2**40, record=1)
    backend.train_many([endless] * 3, 2, lambda i, raw: done.append(i), lambda work: True)
    assert done == []


def test_every_run_is_told_once_and_under_its_number(backend):
    configs = [SMALL.replace(seed=seed, T=T) for seed in range(4) for T in (3, 9)]
    raws: dict[int, Any] = {}

    def keep(i: int, raw: Any) -> None:
        assert i not in raws
        raws[i] = raw

    backend.train_many(configs, 3, keep, lambda work: False)
    for i, config in enumerate(configs):
        assert np.array_equal(raws[i]["W"], train(config).W)


# --------------------------------------------------------------------------------- what it tells


def test_versions_are_shown(backend, capsys):
    toysup.show_versions()
    out = capsys.readouterr().out
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert shown["toysup"] == toysup.__version__ and shown["backend"] == backend.name
    assert shown["isa"] == backend.isa() and shown["numpy"] == np.__version__
    assert {"python", "xarray", "matplotlib", "tqdm", "platform", "processors"} <= shown.keys()
    file = io.StringIO()
    toysup.show_versions(file)
    assert file.getvalue() == out and not capsys.readouterr().out


def test_versions_are_shown_when_the_backend_is_not_usable(missing, broken, choose, capsys):
    # It is then that somebody asks for them.
    choose("native")
    toysup.show_versions()
    assert "unusable: TOYSUP_BACKEND=native" in capsys.readouterr().out
    choose("rust")
    toysup.show_versions()
    assert "unusable: TOYSUP_BACKEND must be one of" in capsys.readouterr().out
    choose("auto")
    broken(ImportError("undefined symbol: PyFoo"))
    toysup.show_versions()
    assert "undefined symbol: PyFoo" in capsys.readouterr().out


ISA = "import toysup; toysup.train(n=12, m=2, T=6, steps=2, test_size=3, sparsity=0.5)"


def test_an_unknown_instruction_set_is_refused(native):
    out = subprocess.run(
        [sys.executable, "-c", ISA],
        env={**os.environ, "TOYSUP_BACKEND": "native", "TOYSUP_ISA": "avx1024"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert out.returncode == 1
    last = out.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError") and "TOYSUP_ISA" in last and "avx1024" in last, last


# ------------------------------------------------------------------------------- what is said of it


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been trained in this process."""
    monkeypatch.setattr(_backend, "_is_said", False)


def test_numpy_for_want_of_the_extension_is_said_once(choose, missing, unsaid) -> None:
    choose(None)
    with pytest.warns(toysup.SlowBackendWarning, match=r"on NumPy, .*rustup\.rs") as said:
        train(SMALL)
        toysup.sweep(SMALL, seed=[0, 1])
    assert len(said) == 1 and said[0].filename == __file__
    assert isinstance(said[0].message, UserWarning)


def test_a_sweep_says_it_before_it_trains_and_not_if_it_trains_nothing(
    choose, missing, unsaid, tmp_path
) -> None:
    choose("numpy")
    toysup.sweep(SMALL, seed=[0], store=tmp_path)
    choose("auto")
    toysup.sweep(SMALL, seed=[0], store=tmp_path)
    with pytest.warns(toysup.SlowBackendWarning) as said:
        toysup.sweep(SMALL, seed=[0, 1], store=tmp_path)
    assert [warning.filename for warning in said] == [__file__]


def test_a_chosen_backend_is_not_complained_of(choose, missing, unsaid) -> None:
    choose("numpy")
    train(SMALL)  # warnings are errors


def test_the_native_backend_is_not_complained_of(choose, native, unsaid) -> None:
    choose(None)
    train(SMALL)


@pytest.mark.filterwarnings("default::toysup.SlowBackendWarning")
def test_the_command_line_says_it_in_one_line(choose, missing, unsaid, capsys) -> None:
    choose(None)
    words = ["sweep", "--n", "12", "--T", "3", "--sparsity", "0.7", "--steps", "5", "--quiet"]
    assert cli.main(words) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("toysup: warning: toysup trains on NumPy, ") and ".py" not in line
