"""The paper's figures as experiments: :func:`reproduce` trains one, draws it and writes its tables.

A figure is a file here that holds a :class:`Preset`, and a line of the registry below.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from toysup.errors import unknown
from toysup.paper._preset import SCALES, Preset, Reproduction, carry_out
from toysup.paper.figure3 import FIGURE3
from toysup.paper.heatmap import HEATMAP

__all__ = ["DEFAULT", "SCALES", "Preset", "Reproduction", "get", "names", "reproduce"]

_REGISTRY = {preset.name: preset for preset in (FIGURE3, HEATMAP)}

# What is reproduced if no figure is named. At the paper's scale the heat map takes weeks.
DEFAULT: dict[str, tuple[str, ...]] = {"small": ("figure3", "heatmap"), "paper": ("figure3",)}


def names() -> list[str]:
    """Names of the figures that can be reproduced."""
    return list(_REGISTRY)


def get(name: str) -> Preset:
    """The preset of a figure.

    Raises
    ------
    ValueError
        If there is no figure of that name.
    """
    if name not in _REGISTRY:
        raise ValueError(unknown("figure", name, _REGISTRY))
    return _REGISTRY[name]


def reproduce(
    name: str = "figure3",
    scale: str = "small",
    out: str | os.PathLike[str] | None = None,
    *,
    seeds: int | None = None,
    T: Sequence[float] | None = None,
    steps: int | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Reproduction:
    """Train a figure's sweep, draw it, and write its tables.

    Every run is kept in ``out/store/name`` as soon as it ends; doing the same again continues.

    Parameters
    ----------
    name : str, default "figure3"
        One of :func:`names`.
    scale : {"small", "paper"}
        A stand-in of one tenth, which takes a minute or two, or the paper's own scale, hours.
    out : path-like, optional
        The folder for all that is written; "toysup-NAME-SCALE" if not given.
    seeds : int, optional
        Number of dataset seeds; the preset's if not given.
    T : sequence of float, optional
        Values of T in place of the preset's.
    steps : int, optional
        Number of updates in place of the preset's.
    n_jobs, progress
        As in :func:`toysup.sweep`.

    Returns
    -------
    Reproduction
        The runs, the tables and the paths of what was written. After Ctrl-C it has neither tables
        nor files, and ``interrupted`` is set.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, and if the store in ``out`` holds a sweep of other fields.
    StoreError
        If ``out`` cannot be written.
    RunFailedError
        If a run failed.
    """
    preset = get(name)
    fields = preset.fields(scale, seeds=seeds, T=T, steps=steps)
    out = f"toysup-{name}-{scale}" if out is None else out
    return carry_out(preset, scale, out, fields, n_jobs=n_jobs, progress=progress)
