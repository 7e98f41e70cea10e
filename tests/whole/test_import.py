"""What importing toysup costs, and that every name is where it should be."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import toysup

HEAVY = {"numpy", "scipy", "matplotlib", "pandas", "xarray", "tqdm", "torch", "loky", "dask"}
NAMES = sorted(toysup.__all__)


def in_new_process(code: str) -> Any:
    """What a process prints as JSON; a warning is an error."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import json, sys\n" + code],
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def loaded_by(*parts: str) -> Any:
    """The top-level packages that are loaded after some code, or after each of its parts."""
    look = "loaded.append(sorted({m.split('.')[0] for m in sys.modules}))"
    lines = ["loaded = []", *(f"{part}\n{look}" for part in parts), "print(json.dumps(loaded))"]
    loaded = [set(packages) for packages in in_new_process("\n".join(lines))]
    return loaded if len(parts) > 1 else loaded[0]


def test_importing_toysup_loads_nothing():
    loaded = in_new_process("import toysup\nprint(json.dumps(sorted(sys.modules)))")
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert [name for name in loaded if name.startswith("toysup")] == ["toysup", "toysup._version"]


def test_asking_for_the_version_and_the_names_loads_nothing():
    code = "import toysup; toysup.__version__, dir(toysup), toysup.__all__, toysup.__doc__"
    assert not loaded_by(code) & HEAVY


def test_computing_needs_no_plots_and_no_tables():
    names = ["train", "TrainConfig", "sweep", "data", "metrics", "Run"]
    loaded = loaded_by(f"import toysup; {', '.join(f'toysup.{name}' for name in names)}")
    assert loaded & HEAVY == {"numpy"}


def test_training_loads_neither_plots_nor_tables():
    code = "import toysup\ntoysup.train(n=12, m=2, T=6, sparsity=0.7, steps=20, test_size=30)"
    assert loaded_by(code) & {"matplotlib", "pandas", "xarray", "scipy"} == set()


def test_a_sweep_loads_tables_only_for_its_data_set():
    code = (
        "import toysup\nres = toysup.sweep(n=12, m=[1, 2], T=6, sparsity=0.7, steps=2, test_size=3)"
    )
    before, after = loaded_by(code, "res.dataset")
    assert before & {"matplotlib", "pandas", "xarray"} == set()
    assert "xarray" in after and "matplotlib" not in after


def test_errors_can_be_caught_without_loading_anything():
    assert not loaded_by("import toysup; toysup.StoreError, toysup.BackendError") & HEAVY


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there(name):
    assert getattr(toysup, name) is getattr(toysup, name)
    assert name in dir(toysup)


def test_dir_is_the_public_names():
    assert dir(toysup) == NAMES == sorted(set(toysup.__all__))


def test_star_import():
    names: dict[str, Any] = {}
    exec("from toysup import *", names)
    assert {name for name in names if name != "__builtins__"} == set(NAMES)


ORDERS = """
import importlib
import toysup
order = {order}
for name in order:
    if name.startswith("import "):
        importlib.import_module(name.removeprefix("import "))
    else:
        getattr(toysup, name)
print(json.dumps({{name: [type(getattr(toysup, name)).__name__,
    getattr(getattr(toysup, name), "__module__", None)] for name in toysup.__all__}}))
"""


def test_names_are_the_same_whichever_is_asked_for_first():
    # A submodule of the name of a function would take its place once it is imported.
    package = Path(toysup.__file__).parent
    paths = [path.relative_to(package).with_suffix("") for path in sorted(package.rglob("*.py"))]
    submodules = [
        f"import toysup.{'.'.join(path.parts)}"
        for path in paths
        if path.name not in ("__init__", "__main__", "native")
    ]
    one, other = (in_new_process(ORDERS.format(order=order)) for order in (NAMES, submodules))
    assert one == other
    assert one["sweep"][0] == one["train"][0] == "function"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'toysup' has no attribute 'tran'"):
        _ = toysup.tran
    with pytest.raises(ImportError, match="tran"):
        exec("from toysup import tran")


def test_the_errors_are_one_family():
    family = {
        toysup.BackendError: ImportError,
        toysup.StoreError: OSError,
        toysup.SurroundingsError: RuntimeError,
        toysup.RunFailedError: RuntimeError,
    }
    for error, builtin in family.items():
        assert issubclass(error, toysup.ToysupError) and issubclass(error, builtin)


def test_types_are_told_to_type_checkers():
    assert (Path(toysup.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["TrainConfig", "Run", "SweepResult", "sweep", "train"])
def test_public_objects_can_be_pickled_by_name(name):
    thing = getattr(toysup, name)
    home = importlib.import_module(thing.__module__)
    assert getattr(home, thing.__qualname__) is thing
