"""The paper's figures and questions as presets.

:func:`reproduce` trains one, draws it and writes its tables. A preset is a file here that holds
a :class:`Preset`, and a name in the registry below; the docstring of the file says what is
asked. :func:`recorded` gives the results of the paper's scale that come with the package, and
:func:`train_again` trains some of them anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from toysup.errors import unknown
from toysup.paper._again import train_again
from toysup.paper._plan import PresetPlan, make_plan
from toysup.paper._preset import SCALES, Preset, Reproduction, carry_out
from toysup.paper._recorded import recorded, recorded_names
from toysup.paper.controls.preset import CONTROLS
from toysup.paper.curves.epochs import EPOCHS
from toysup.paper.curves.generalization import GENERALIZATION
from toysup.paper.curves.reduction import REDUCTION
from toysup.paper.curves.weight_decay import WEIGHT_DECAY
from toysup.paper.figures.figure1 import FIGURE1
from toysup.paper.figures.figure2 import FIGURE2
from toysup.paper.figures.figure3 import FIGURE3
from toysup.paper.figures.figure4 import FIGURE4
from toysup.paper.figures.figure5 import FIGURE5
from toysup.paper.questions import branches as branches
from toysup.paper.questions.branches import BRANCHES
from toysup.paper.questions.capacity import CAPACITY
from toysup.paper.questions.circles import CIRCLES
from toysup.paper.questions.digits import DIGITS
from toysup.paper.questions.memorization import MEMORIZATION
from toysup.paper.questions.middle import MIDDLE
from toysup.paper.questions.repeats import REPEATS
from toysup.paper.questions.verses import VERSES
from toysup.paper.questions.verses_memorization import VERSES_MEMORIZATION
from toysup.paper.toy.k_gons import K_GONS
from toysup.paper.toy.toy_dimensions import TOY_DIMENSIONS
from toysup.paper.toy.toy_features import TOY_FEATURES
from toysup.paper.toy.toy_phase import TOY_PHASE

__all__ = [
    "DEFAULT",
    "SCALES",
    "Preset",
    "PresetPlan",
    "Reproduction",
    "get",
    "names",
    "plan",
    "recorded",
    "recorded_names",
    "reproduce",
    "train_again",
]

_PRESETS = (
    *(FIGURE1, FIGURE2, FIGURE3, FIGURE4, FIGURE5),
    *(WEIGHT_DECAY, EPOCHS, REDUCTION, GENERALIZATION, REPEATS, CIRCLES, BRANCHES),
    *(CONTROLS, MIDDLE, CAPACITY, MEMORIZATION, DIGITS, VERSES, VERSES_MEMORIZATION),
    *(TOY_FEATURES, TOY_DIMENSIONS, TOY_PHASE, K_GONS),
)
_REGISTRY = {preset.name: preset for preset in _PRESETS}
_ALIASES = {"heatmap": "figure5"}

# What is reproduced if no figure is named. At the paper's scale the heat map takes weeks.
DEFAULT: dict[str, tuple[str, ...]] = {"small": ("figure3", "figure5"), "paper": ("figure3",)}


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
    name = _ALIASES.get(name, name)
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
    on_interrupt: str = "raise",
) -> Reproduction:
    """Carry out a preset: train its sweeps, draw it, and write its tables.

    Every run is kept in ``out/store`` as soon as it ends; doing the same again continues. Presets
    that use the same runs share them there.

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
    n_jobs, progress, on_interrupt
        As in :func:`toysup.sweep`.

    Returns
    -------
    Reproduction
        The runs, the tables and the paths of what was written. After Ctrl-C, if it is returned, it
        has neither tables nor files, and ``interrupted`` is set.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, and if the store in ``out`` holds a sweep of other fields.
    StoreError
        If ``out`` cannot be written.
    RunFailedError
        If all runs of a sweep failed.
    SweepInterrupted
        After Ctrl-C; its ``result`` is that of the sweep that was under way.
    """
    preset, out, sweeps = _asked(name, scale, out, seeds=seeds, T=T, steps=steps)
    return carry_out(
        preset, scale, out, sweeps, n_jobs=n_jobs, progress=progress, on_interrupt=on_interrupt
    )


def plan(
    name: str = "figure3",
    scale: str = "small",
    out: str | os.PathLike[str] | None = None,
    *,
    seeds: int | None = None,
    T: Sequence[float] | None = None,
    steps: int | None = None,
    n_jobs: int | None = None,
) -> PresetPlan:
    """What :func:`reproduce` would train and what that would take; nothing is trained or written.

    Some presets have further sweeps that start from the first ones. They are counted if the
    arguments say what they are, or if the runs that they start from are stored; else ``complete``
    is False.

    Parameters
    ----------
    name, scale, out, seeds, T, steps, n_jobs
        As for :func:`reproduce`. What ``out`` holds need not be done again.

    Returns
    -------
    PresetPlan
        A :class:`toysup.Plan` for each sweep, and their sums. Times come from a few seconds of
        trial runs for each sweep.

    Raises
    ------
    TypeError, ValueError, StoreError
        As :func:`reproduce`.
    """
    preset, out, sweeps = _asked(name, scale, out, seeds=seeds, T=T, steps=steps)
    return make_plan(preset, scale, out, sweeps, n_jobs)


def _asked(
    name: str, scale: str, out: str | os.PathLike[str] | None, **changes: Any
) -> tuple[Preset, str | os.PathLike[str], dict[str, dict[str, Any]]]:
    """The preset, the folder, and the first sweeps."""
    preset = get(name)
    sweeps = preset.fields(scale, **changes)
    return preset, f"toysup-{preset.name}-{scale}" if out is None else out, sweeps
