"""The page: drawings by Bokeh, sliders of the browser's own, and what is shown, as JSON."""

from __future__ import annotations

import html
import itertools
import json
import math
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from toysup._files.paths import as_path, check_file
from toysup._files.whole import Damaged, replace_file
from toysup._system.extras import need
from toysup._version import __version__
from toysup.plot._explore.drawings import drawings
from toysup.plot._explore.explored import Explored, Index, open_explored
from toysup.plot._explore.states import CLASSIFIED, run_of_page
from toysup.plot._parts.source import Source
from toysup.regime import CLASSES

__all__ = ["explore"]

# What the page says of variables that have no name of their own there.
_SCALARS = {
    "train_loss": "train loss",
    "test_loss": "test loss",
    "W_norm": "‖W‖",
    "b_norm": "‖b‖",
    "max_feature_dimensionality": "largest dimensionality of a feature",
    "n_represented": "features represented",
    "n_large_dimensionality": "features of dimensionality ≥ 0.1",
    "steps_done": "steps",
}
# Bytes of the states of all runs together, of a state without vectors, and of one feature's vector
# with those of two examples.
_BUDGET, _STATE, _VECTORS = 2_800_000, 1200, 30
# Features that are drawn of a state; where there is no room for the fewest, runs are left out.
_FEWEST, _MOST = 10, 200
_MAX_CELLS = 20_000


def explore(
    source: Source,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    classes: bool = True,
    **select: Any,
) -> Path:
    """Write a page to explore a sweep with: one file of HTML, which needs no network.

    It has a slider for every axis, such as T, m and seed, and one for the steps of runs that have
    snapshots. It shows the vectors of features and of examples, both dimensionalities, the train
    and test losses with a marker, and what the run stores of its examples
    (:func:`toysup.regime.classify`). It can be used by the keyboard, and on a phone.

    Where there are many runs, or runs are large, some of the vectors are drawn: features that are
    represented, the longest others, and every k-th of the rest. For m > 2 they are seen in the
    plane in which the features are longest. The file stays below 5 MB.

    Parameters
    ----------
    source : Run, SweepResult, xarray.Dataset, str or PathLike
        A run, a sweep, or the path of a store or of a run's file. Of a table, such as
        :func:`toysup.paper.recorded` gives, the losses are shown and what else it holds.
    path : str or PathLike
        The file, which is replaced; missing folders are made.
    title : str, optional
        What stands at its head; by default the name of the store.
    classes : bool, default True
        Whether examples are classified, which takes seconds a run where T or n is large. Runs
        with more than 10⁸ pairs of an example and a feature are not.
    **select
        Values of any axis of the sweep, such as ``m=2`` or ``seed=[0, 1]``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        If Bokeh is not installed; with what to install.
    TypeError, ValueError
        If the source or a value is something else, no run is finished, or the sweep has more than
        20,000 runs.
    FileNotFoundError, StoreError
        If nothing is at the source's path, or the page cannot be written.
    """
    need("the page to explore", "bokeh")
    path = as_path("path", path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"path must end in .html, got {str(path)!r}")
    check_file(path, make=True)
    found = open_explored(source, select)
    data = page_data(found, title, classes=classes)
    text = _html(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(text.encode()), durable=False)
    return path


def page_data(found: Explored, title: str | None = None, *, classes: bool = True) -> dict[str, Any]:
    """What the page knows, ready for JSON; the last axis is fastest among the cells."""
    shape = tuple(map(len, found.axes.values()))
    if math.prod(shape) > _MAX_CELLS:
        raise ValueError(
            f"a page shows at most {_MAX_CELLS:,} runs, and this sweep has {math.prod(shape):,}: "
            f"choose a part of it, as in seed=0"
        )
    limit = _limit(found)
    cells = [
        _cell(found, index, limit, classes=classes)
        for index in itertools.product(*map(range, shape))
    ]
    main = _main(found)
    fixed = [[name, _text(value)] for name, value in found.fixed.items()]
    return {
        "title": title or found.name or "toysup",
        "version": __version__,
        "axes": [{"name": name, "values": found.labels[name]} for name in found.axes],
        "main": None if main is None else list(found.axes).index(main),
        "x": _positions(found.axes[main]) if main else [0.0],
        "fixed": fixed,
        "classes": list(CLASSES),
        "cells": cells,
        "note": _note(found, limit, cells, classes=classes),
    }


def _text(value: Any) -> str:
    return "∞" if value == math.inf else f"{value:,}"


def _limit(found: Explored) -> int:
    """Features drawn of a state; 0 if the runs have no room in the page, or there are none."""
    if found.open_run is None or not found.states:
        return 0
    room = (_BUDGET / found.states - _STATE) / _VECTORS
    return min(int(room), _MOST) if room >= _FEWEST else 0


def _note(found: Explored, limit: int, cells: list[Any], *, classes: bool) -> str:
    """What is not to be seen, and why."""
    if found.open_run is None:
        return "This is a table of runs, without their weights: there are no vectors to show."
    if not limit:
        return "These are too many runs for their vectors: choose a part of the sweep for a page."
    if classes and any("run" in cell and "classes" not in cell["run"] for cell in cells):
        return f"Examples are classified where T times n is at most {CLASSIFIED:,}."
    return ""


def _cell(found: Explored, index: Index, limit: int, *, classes: bool) -> dict[str, Any]:
    """One run: its status and scalars, and what else there is room for."""
    row = found.data.isel(dict(zip(found.axes, index, strict=True)))
    status = str(row["status"].item())
    cell: dict[str, Any] = {"status": status}
    if status != "ok":
        return cell
    for name in _SCALARS:
        if name in row and math.isfinite(value := float(row[name])):
            cell.setdefault("scalars", []).append([_SCALARS[name], _short(value)])
            if name in ("train_loss", "test_loss"):
                cell[name] = float(f"{value:.7g}")
    if limit and found.open_run is not None:
        try:
            cell["run"] = run_of_page(found.open_run(index), limit, classes=classes)
        except Damaged:
            return {"status": "damaged"}
    return cell


def _short(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.6g}"


def _main(found: Explored) -> str | None:
    """The axis that the losses are drawn over: T, or else the first one."""
    return "T" if "T" in found.axes else next(iter(found.axes), None)


def _positions(values: list[Any]) -> list[float]:
    """Where the values of an axis stand: by their logarithms, ∞ at the end; else evenly."""
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    finite = [v for v in numbers if math.isfinite(v)]
    if len(numbers) < len(values) or not finite or min(finite) <= 0:
        return [float(place) for place in range(len(values))]
    end = math.log10(max(finite)) + 0.4
    return [round(math.log10(v), 4) if math.isfinite(v) else round(end, 4) for v in numbers]


def _html(data: dict[str, Any]) -> str:
    """The page as text."""
    from bokeh.resources import Resources

    files = resources.files("toysup.plot._explore")
    parts = {
        "title": html.escape(data["title"]),
        "version": __version__,
        "style": files.joinpath("page.css").read_text(encoding="utf-8"),
        "data": _json(data),
        "drawings": _numbered(_json(drawings(data))),
        "bokeh": "\n".join(
            text.replace("</script", "<\\/script")
            for text in Resources(mode="inline", minified=True, components=["bokeh"]).js_raw
        ),
        "script": files.joinpath("page.js").read_text(encoding="utf-8"),
    }
    page = files.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def _json(data: Any) -> str:
    """JSON that no text in it can end: a script element's end is spelt otherwise."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, default=_plain)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist()


def _numbered(text: str) -> str:
    """The same with Bokeh's names of objects counted from 1, so that the same page is written."""
    names: dict[str, str] = {}
    return re.sub(r'"p\d+"', lambda name: names.setdefault(name[0], f'"p{len(names) + 1}"'), text)
