"""``toysup plot``, ``explore``, ``list`` and ``info``."""

from __future__ import annotations

import argparse
import inspect
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toysup._files.paths import as_path, check_file
from toysup.cli._fields import given_fields, item, option_value, parts
from toysup.cli._output import document, say
from toysup.cli._stores import stores_in
from toysup.errors import unknown

if TYPE_CHECKING:
    from toysup.plot._parts.source import UnchosenAxis

__all__ = ["FIGURES", "explore", "info", "list_presets", "plot"]

FIGURES = (
    *("figure1", "figure2", "figure3", "figure4", "test-loss", "dimensionality", "vectors"),
    *("norms", "against", "heatmap", "history", "evolution", "regime", "interference", "animate"),
    *("toy-features", "toy-vectors", "toy-dimensions", "toy-phase"),
)
RECORDED = "recorded:"


def plot(args: argparse.Namespace) -> int:
    """Draw one figure into one file."""
    figure = args.figure.replace("_", "-")
    if figure not in FIGURES:
        raise ValueError(unknown("FIGURE", args.figure, FIGURES))
    from toysup import open_sweep, plot
    from toysup.plot._parts.save import FORMATS
    from toysup.plot._parts.source import UnchosenAxis
    from toysup.plot._parts.style import for_files
    from toysup.plot._steps.animate import SUFFIXES

    suffixes = SUFFIXES if figure == "animate" else FORMATS
    default = f"{figure}{'.gif' if figure == 'animate' else '.png'}"
    out = as_path("--out", args.out or default)
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out must end in one of {', '.join(suffixes)}, got {str(out)!r}")
    fields = given_fields(args)
    draw: Callable[..., Any] = getattr(plot, figure.replace("-", "_"))
    options = dict(_plot_options(args))
    for name in options:
        if name not in inspect.signature(draw).parameters:
            raise ValueError(f"{figure} has no option --{name.replace('_', '-')}")
    check_file(out, make=True)
    source = drawn = _source(figure, args.directory)
    if args.best is not None:
        if not isinstance(source, Path):
            raise ValueError(f"--best needs the runs of a store, got {args.directory!r}")
        drawn = open_sweep(source).best(args.best.replace("-", "_"))
    with for_files():
        try:
            drawing = draw(drawn, **options, **fields)
        except UnchosenAxis as error:
            raise ValueError(_advice(error)) from error
        if figure == "animate":
            drawing.save(out)
        else:
            plot.save(drawing, out, dpi=args.dpi)
    given = source if isinstance(source, Path) else args.directory
    say(args, f"{out}: {figure} of {given}")
    return 0


def explore(args: argparse.Namespace) -> int:
    """Write the page of one sweep."""
    from toysup import plot

    source = _source("figure3", args.directory)
    title = args.title or (None if isinstance(source, Path) else args.directory)
    fields = given_fields(args)
    page = plot.explore(source, args.out, title=title, classes=args.classes, **fields)
    say(args, f"{page}: {page.stat().st_size / 1e6:.1f} MB, opens in any browser")
    return 0


def _advice(error: UnchosenAxis) -> str:
    """What to do about an axis too many, in the words of the command line."""
    option = error.name.replace("_", "-")
    value = shlex.quote(option_value(error.values[0]))
    return (
        f"{error.name} has {len(error.values)} values in this sweep: choose one, as in "
        f"--{option} {value}, or the run of lowest train loss by "
        f"--best {option}"
    )


def _source(figure: str, given: str) -> Any:
    """What to draw: the store that is called so, or else that of figure 3; or a recorded table."""
    if given.startswith(RECORDED) and not Path(given).exists():
        from toysup.paper import recorded

        return recorded(given.removeprefix(RECORDED))
    folder = as_path("DIR", given)
    stores = stores_in(folder)
    for name in (figure, "figure3"):
        named = [store for store in stores if store.name == name] if len(stores) > 1 else stores
        if len(named) == 1:
            return named[0]
    known = ", ".join(map(str, stores))
    raise ValueError(f"{str(folder)!r} holds several sweeps, give one of them: {known}")


def _plot_options(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The options of the drawing functions that were given."""
    for name in ("hue", "variable", "x", "y", "vmin", "vmax", "common_scale", "annotate"):
        value = getattr(args, name)
        if name in ("hue", "x", "y") and value is not None and "(" not in value:
            value = value.replace("-", "_")  # an axis by the name of its option
        if value is not None and value is not False:
            yield name, value
    if args.ylim is not None:
        ends = [item("--ylim", "float", part) for part in parts("--ylim", args.ylim, ",")]
        if len(ends) != 2:
            raise ValueError(f"--ylim must be two numbers such as 0.99,1.02, got {args.ylim!r}")
        yield "ylim", (ends[0], ends[1])
    if args.reference:
        from toysup.paper.reference import test_loss_bounds, test_losses

        yield "reference", test_losses()
        yield "reference_above", test_loss_bounds()


def list_presets(args: argparse.Namespace) -> int:
    """A line for each preset; as JSON with the number of its first runs at each scale, too."""
    from toysup import paper

    presets = [paper.get(name) for name in paper.names()]
    if args.json:
        document(
            [
                {"name": p.name, "title": p.title, "runs": {k: p.size(k) for k in paper.SCALES}}
                for p in presets
            ]
        )
    width = max(len(preset.name) for preset in presets)
    for preset in presets:
        say(args, f"{preset.name:{width}}  {preset.title}")
    return 0


def info(args: argparse.Namespace) -> int:
    """Versions, backend and machine."""
    from toysup._backends.versions import as_text, versions

    found = versions()
    if args.json:
        document(found)
    say(args, as_text(found))
    return 0
