"""The examples in the documentation are true, and the documentation is complete."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import toysup
from toysup import TrainConfig

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
PAPER = DOCS / "paper"


def modules() -> list[str]:
    """Those with examples."""
    package = Path(toysup.__file__).parent
    paths = [path for path in package.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")]
    names = (".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in names)


def examples(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def test_there_are_examples():
    count = sum(len(examples(importlib.import_module(name))) for name in modules())
    assert count >= 6


@pytest.mark.any_backend
@pytest.mark.parametrize("name", modules())
def test_the_examples_of_docstrings(backend, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    for test in examples(module):
        test.globs["np"] = np
        report: list[str] = []
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
        assert not failed.failed, "".join(report)
    assert not list(tmp_path.iterdir())


def python_examples(page: Path = README) -> list[str]:
    """The fenced Python blocks of a page."""
    if not page.exists():
        return []
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.skipif(not python_examples(), reason="there is no README, or no Python in it")
def test_the_examples_of_the_readme(native, monkeypatch, tmp_path):
    # As they stand, with every training cut short.
    make = TrainConfig.from_fields.__func__

    def short(cls: type[TrainConfig], values: dict[str, object]) -> TrainConfig:
        config = make(cls, values)
        few = {"steps": min(config.steps, 20), "test_size": min(config.test_size, 100)}
        return make(cls, {**config.to_dict(), **few})

    monkeypatch.setenv("TOYSUP_BACKEND", "native")
    monkeypatch.setattr(TrainConfig, "from_fields", classmethod(short))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in python_examples():
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, "README", str(README), 0)
            block = "".join(example.source for example in test.examples)
        exec(compile(block, str(README), "exec"), names)


@pytest.mark.skipif(not PAPER.exists(), reason="the documents are not here")
def test_the_examples_of_the_paper(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pages = {page: python_examples(page) for page in sorted(PAPER.glob("*.md"))}
    assert sum(map(len, pages.values())) >= 2
    for page, blocks in pages.items():
        names: dict[str, object] = {}
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)
    assert (tmp_path / "branches.png").stat().st_size > 1000


# --------------------------------------------------------------------------------- completeness

PUBLIC = [
    *(getattr(toysup, name) for name in toysup.__all__),
    *(getattr(toysup.data, name) for name in toysup.data.__all__),
    *(getattr(toysup.metrics, name) for name in toysup.metrics.__all__),
]
CALLABLES = {thing for thing in PUBLIC if inspect.isfunction(thing) or inspect.isclass(thing)}


@pytest.mark.parametrize("thing", sorted(CALLABLES, key=lambda t: t.__qualname__))
def test_everything_public_says_what_it_is(thing):
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{thing.__qualname__}.{name}"


@pytest.mark.skipif(not DOCS.exists(), reason="the documents are not here")
@pytest.mark.parametrize("module", ["", "data", "metrics", "paper", "plot", "regime"])
def test_the_reference_has_every_public_name(module):
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")]
    listed = re.findall(r"^(?:   |\.\. py:data:: )([\w.]+)$", "\n".join(pages), re.M)
    there = {name.removeprefix("toysup.") for name in listed}
    home = importlib.import_module(f"toysup.{module}".rstrip("."))
    names = {name for name in home.__all__ if not inspect.ismodule(getattr(home, name))}
    assert names <= there


@pytest.mark.skipif(not DOCS.exists(), reason="the documents are not here")
@pytest.mark.parametrize(
    "page, names", [("plots", toysup.plot.__all__), ("presets", toysup.paper.names())]
)
def test_the_gallery_shows_everything(page, names):
    text = (DOCS / "gallery" / f"{page}.md").read_text(encoding="utf-8")
    assert set(names) == set(re.findall(r"^##+ `([\w-]+)`$", text, re.M))


FUNCTIONS = sorted((t for t in CALLABLES if inspect.isfunction(t)), key=lambda t: t.__qualname__)


@pytest.mark.parametrize("thing", [*FUNCTIONS, TrainConfig])
def test_every_parameter_is_explained(thing):
    text = inspect.getdoc(thing) or ""
    parameters = list(inspect.signature(thing).parameters)
    if len(parameters) == 1 and "Parameters" not in text:
        return  # a sentence is enough
    for name in parameters:
        assert re.search(rf"^(\*\*|.*, )?{name}(, .*)? ?(:|$)", text, re.M), name
