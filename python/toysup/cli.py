"""The command line: ``toysup reproduce | sweep | plot | status | info``.

Results go to stdout, everything else to stderr. Exit codes: 0; 1 if the work failed; 2 for bad
usage or input; 130 after Ctrl-C; 141 if the reader of stdout went away.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import os
import sys
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from toysup._version import __version__
from toysup.errors import ToysupError, nearest, unknown

# NumPy, xarray and matplotlib are imported by what needs them: help and usage errors are quick.
if TYPE_CHECKING:
    from toysup import SweepResult
    from toysup.paper import Reproduction

__all__ = ["main", "parse_field"]

FIGURES = ("figure3", "test-loss", "dimensionality", "vectors", "norms", "heatmap", "history")
STATUSES = ("ok", "diverged", "failed", "missing")
SUFFIXES = (".png", ".svg", ".pdf")
_MAX_RANGE = 100_000

_ABOUT = """\
Trains the tiny model of "Superposition, Memorization, and Double Descent" over sweeps, and draws
the paper's figures. Start with: toysup reproduce"""
_VALUES = """\
Each field of a run is an option. Several values, separated by commas, make it an axis of the sweep;
of integers, 0:4 stands for 0,1,2,3. T may be inf; flags are true or false; init-seed and batch-size
may be none. A pair is one value of --betas, and semicolons separate pairs: '0.9,0.999;0.8,0.99'.
"""


class UsageError(Exception):
    """Bad arguments of the command line."""


class _Interrupted(Exception):
    """Ctrl-C ended a sweep, which kept what was finished."""


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of printing its usage and leaving."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise the message."""
        raise UsageError(f"{message} (see {self.prog} --help)")


# --- values of fields ---


def parse_field(name: str, text: str) -> Any:
    """The value of a field of a run, or the list of its values, from the text of an option.

    Raises
    ------
    ValueError
        Naming the field and the part of the text that is wrong.
    """
    from toysup.config import TrainConfig

    kind = str(TrainConfig.__dataclass_fields__[name].type)
    if kind.startswith("tuple"):
        pairs = [
            tuple(_item(name, kind, part) for part in _parts(name, pair, ","))
            for pair in _parts(name, text, ";")
        ]
        return pairs if ";" in text else pairs[0]
    values: list[Any] = []
    for part in _parts(name, text, ","):
        values += _range(name, kind, part) if ":" in part else [_item(name, kind, part)]
    return values if "," in text or ":" in text else values[0]


def _parts(name: str, text: str, separator: str) -> list[str]:
    parts = [part.strip() for part in text.split(separator)]
    if "" in parts:
        raise ValueError(f"{name} has an empty value in {text!r}")
    return parts


def _item(name: str, kind: str, text: str) -> Any:
    """One value; ``kind`` is the annotation of the field. What it may be, the config decides."""
    lowered = text.lower()
    if lowered == "none" and "None" in kind:
        return None
    if kind == "str":
        return text
    if kind == "bool":
        if lowered not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return lowered == "true"
    try:
        return _number(text) if "int" in kind else float(text)
    except ValueError:
        what = "an integer" if "int" in kind and "float" not in kind else "a number"
        raise ValueError(f"{name} must be {what}, got {text!r}") from None


def _number(text: str) -> int | float:
    """An int where the text is one, 1e5 included; else a float."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        return int(value) if value.is_integer() else value


def _range(name: str, kind: str, text: str) -> range:
    """``a:b`` or ``a:b:step``, as in Python without its end."""
    if "int" not in kind:
        raise ValueError(f"{name} has no ranges, got {text!r}: separate values by commas")
    try:
        values = range(*(int(part) for part in text.split(":")))
    except (ValueError, TypeError):
        raise ValueError(f"{name} must be a range such as 0:4 or 0:100:10, got {text!r}") from None
    if not 0 < len(values) <= _MAX_RANGE:
        size = "no value" if len(values) == 0 else f"more than {_MAX_RANGE:,} values"
        raise ValueError(f"{name} has {size} in the range {text!r}")
    return values


def _given_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a run that were given as options."""
    from toysup.config import FIELDS

    texts = {name: getattr(args, name, None) for name in FIELDS}
    return {name: parse_field(name, text) for name, text in texts.items() if text is not None}


# --- what is printed ---


def _say(args: argparse.Namespace, text: str = "") -> None:
    """A line for a reader, unless there is to be none."""
    if not args.quiet and not args.json:
        print(text, flush=True)


def _document(data: object) -> None:
    """The JSON document, which is all that goes to stdout."""
    from toysup.paper._table import plain

    print(json.dumps(plain(data), indent=1, allow_nan=False))


def _complain(kind: str, text: object) -> None:
    print(f"toysup: {kind}: {' '.join(str(text).split())}", file=sys.stderr, flush=True)


def _counts(result: SweepResult) -> dict[str, int]:
    """Number of runs of each status."""
    counts = Counter(result.dataset["status"].to_numpy().astype(str).ravel().tolist())
    return {status: counts[status] for status in STATUSES}


def _in_words(counts: dict[str, int]) -> str:
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{sum(counts.values())} runs: {found}"


def _failures(result: SweepResult) -> list[dict[str, Any]]:
    """Where runs failed or diverged, and why."""
    axes = result.dims or ("T", "m", "seed")
    return [
        {**{axis: getattr(config, axis) for axis in axes}, "reason": reason}
        for config, reason in result.failed
    ]


def _report_failures(result: SweepResult) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    counts, failures = _counts(result), _failures(result)
    if not failures:
        return 0
    *where, (_, reason) = failures[0].items()
    point = ", ".join(f"{axis}={value}" for axis, value in where)
    bad = {status: counts[status] for status in ("failed", "diverged")}
    text = f"of {_in_words(counts)}; the first of these, at {point}: {reason}"
    _complain("error" if bad["failed"] else "note", text)
    return 1 if bad["failed"] else 0


def _check_interrupt(result: SweepResult, store: str | os.PathLike[str] | None) -> None:
    if result.interrupted:
        done = len(result) - _counts(result)["missing"]
        kept = f"and kept in {str(store)!r}; the same command continues" if store else "and lost"
        raise _Interrupted(f"{done} of {len(result)} runs are finished {kept}")


# --- commands ---


def _reproduce(args: argparse.Namespace) -> int:
    """Carry out presets one after the other; results are printed as they come."""
    from toysup import backend_name, paper

    began = time.perf_counter()
    if args.scale not in paper.SCALES:
        raise ValueError(unknown("scale", args.scale, paper.SCALES))
    figures = list(dict.fromkeys(args.figures)) or list(paper.DEFAULT[args.scale])
    changes: dict[str, Any] = {"seeds": args.seeds, "steps": args.steps, "T": None}
    if args.T is not None:
        T = parse_field("T", args.T)
        changes["T"] = T if isinstance(T, list) else [T]
    for name in figures:  # all of them are checked before any is trained
        paper.get(name).fields(args.scale, **changes)
    out = Path(args.out or f"toysup-{figures[0]}-{args.scale}")
    args.resume = "the same command continues"
    _say(
        args,
        f"toysup {__version__} ({backend_name()}): {' and '.join(figures)} at the {args.scale} "
        f"scale, into {out}",
    )
    takes = {"small": "one or two minutes on two processors", "paper": "hours"}[args.scale]
    _say(args, f"This takes {takes}. Ctrl-C is safe: the same command continues.")
    done: list[Reproduction] = []
    try:
        for name in figures:
            done.append(_reproduce_one(args, name, out, changes))
            _check_interrupt(done[-1].result, done[-1].store)
    finally:
        if args.json and done:
            _document(_reproduced(args, out, done, time.perf_counter() - began))
    _say(args)
    for made in done:
        _say(args, textwrap.fill(made.preset.see(made.result, args.scale), 100))
    names = ", ".join(path.name for made in done for path in made.files)
    _say(args, f"\nWrote to {out}: {names}; every run is in {out / 'store'}.")
    _say(args, f"Wall time {time.perf_counter() - began:.0f} s.")
    return max(_report_failures(made.result) for made in done)


def _reproduce_one(
    args: argparse.Namespace, name: str, out: Path, changes: dict[str, Any]
) -> Reproduction:
    from toysup import paper

    preset = paper.get(name)
    kept = len(list((out / "store" / name / "runs").glob("*.npz")))
    known = f", {kept} runs are in the store already" if kept else ""
    _say(args, f"\n{name}: {preset.title}: {preset.size(args.scale, **changes)} runs{known}")
    made = paper.reproduce(
        name,
        args.scale,
        out,
        **changes,
        n_jobs=args.n_jobs,
        progress=False if args.quiet else None,
    )
    for table in made.tables:
        _say(args, f"\n{table.text()}")
    if not made.interrupted:
        _say(args, f"\n{name} took {made.seconds:.1f} s")
    return made


def _reproduced(
    args: argparse.Namespace, out: Path, done: list[Reproduction], seconds: float
) -> dict[str, Any]:
    """What ``reproduce --json`` prints."""
    from toysup import backend_name

    return {
        "toysup": __version__,
        "backend": backend_name(),
        "scale": args.scale,
        "out": str(out),
        "interrupted": any(made.interrupted for made in done),
        "seconds": seconds,
        "figures": [
            {
                "name": made.preset.name,
                "runs": _counts(made.result),
                "store": str(made.store),
                "seconds": made.seconds,
                "tables": {table.name: table.records() for table in made.tables},
                "files": [str(path) for path in made.files],
            }
            for made in done
        ],
    }


def _sweep(args: argparse.Namespace) -> int:
    """Train a grid and print a line for each run."""
    from toysup import sweep
    from toysup.paper._preset import runs_table

    fields = _given_fields(args)
    if args.store:
        args.resume = "the same command continues"
    result = sweep(
        store=args.store,
        n_jobs=args.n_jobs,
        progress=False if args.quiet else None,
        on_error="record",
        **fields,
    )
    table, counts = runs_table(result), _counts(result)
    if args.json:
        document = {
            "toysup": __version__,
            "store": args.store,
            "interrupted": result.interrupted,
            "fields": fields,
            "axes": result.coords,
            "counts": counts,
            "runs": table.records(),
            "failures": _failures(result),
        }
        _document(document)
    kept = f"; kept in {args.store}" if args.store else "; not kept, for want of --store"
    _say(args, f"{table.text()}\n\n{_in_words(counts)}{kept}")
    _check_interrupt(result, args.store)
    return _report_failures(result)


def _stores(folder: Path) -> list[Path]:
    """The folder if it is a store, or else the stores just below it, or in its folder "store"."""
    if (folder / "sweep.json").exists() or not folder.is_dir():
        return [folder]
    found = [*folder.glob("*/sweep.json"), *folder.glob("store/*/sweep.json")]
    return sorted(path.parent for path in found) or [folder]


def _status(args: argparse.Namespace) -> int:
    """How far the sweeps in a folder are."""
    from toysup import open_sweep

    documents = []
    for store in _stores(Path(args.directory)):
        result = open_sweep(store)
        counts, cells = _counts(result), _by_T_and_m(result)
        documents.append(
            {
                "store": str(store),
                "axes": result.coords,
                "counts": counts,
                "seconds": float(result.dataset["seconds"].sum()),
                "cells": [
                    {"T": T, "m": m, **{status: count[status] for status in STATUSES}}
                    for (T, m), count in cells.items()
                ],
                "failures": _failures(result),
            }
        )
        _say(args, ("\n" if len(documents) > 1 else "") + _status_text(documents[-1], cells))
    if args.json:
        _document({"toysup": __version__, "stores": documents})
    return 0


def _by_T_and_m(result: SweepResult) -> dict[tuple[float, int], Counter[str]]:
    """Counts of each status for every T and m."""
    cells: dict[tuple[float, int], Counter[str]] = {}
    status = result.dataset["status"].to_numpy().astype(str).ravel().tolist()
    for config, kind in zip(result.configs, status, strict=True):
        cells.setdefault((config.T, config.m), Counter())[kind] += 1
    return dict(sorted(cells.items()))


def _status_text(document: dict[str, Any], cells: dict[tuple[float, int], Counter[str]]) -> str:
    from toysup.paper._table import align

    def show(count: Counter[str] | None) -> str:
        if count is None:
            return ""
        bad = [f"{count[kind]} {kind}" for kind in ("diverged", "failed") if count[kind]]
        return " ".join([f"{count['ok']}/{count.total()}", *bad])

    sizes = list(dict.fromkeys(m for _, m in cells))
    lines = [["T", *(f"m={m}" for m in sorted(sizes))]]
    for T in dict.fromkeys(T for T, _ in cells):
        lines.append([str(T), *(show(cells.get((T, m))) for m in sorted(sizes))])
    head = (
        f"{document['store']}: {_in_words(document['counts'])}; {document['seconds']:.0f} s of work"
    )
    reasons = [
        ", ".join(f"{key}={value}" for key, value in failure.items() if key != "reason")
        + f": {failure['reason']}"
        for failure in document["failures"]
    ]
    return "\n".join([head, "finished / all, over the other axes:", "", align(lines), *reasons])


def _plot(args: argparse.Namespace) -> int:
    """Draw one figure into one file."""
    figure = args.figure.replace("_", "-")
    if figure not in FIGURES:
        raise ValueError(unknown("FIGURE", args.figure, FIGURES))
    out = Path(args.out or f"{figure}.png")
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out must end in one of {', '.join(SUFFIXES)}, got {str(out)!r}")
    fields = _given_fields(args)
    from toysup import plot

    draw: Callable[..., Any] = getattr(plot, figure.replace("-", "_"))
    options = dict(_plot_options(args))
    for name in options:
        if name not in inspect.signature(draw).parameters:
            raise ValueError(f"{figure} has no option --{name.replace('_', '-')}")
    source = _source(figure, Path(args.directory))
    drawing = draw(source, **options, **fields)
    _write_drawing(drawing, out, args.dpi)
    _say(args, f"{out}: {figure} of {source}")
    return 0


def _source(figure: str, folder: Path) -> Path:
    """The store to draw: of several, the one that is called so, or else that of figure 3."""
    stores = _stores(folder)
    for name in (figure, "figure3"):
        named = [store for store in stores if store.name == name] if len(stores) > 1 else stores
        if len(named) == 1:
            return named[0]
    known = ", ".join(map(str, stores))
    raise ValueError(f"{str(folder)!r} holds several sweeps, give one of them: {known}")


def _plot_options(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The options of the drawing functions that were given."""
    for name in ("hue", "variable", "vmin", "vmax", "common_scale", "annotate"):
        value = getattr(args, name)
        if value is not None and value is not False:
            yield name, value
    if args.ylim is not None:
        ends = [_item("--ylim", "float", part) for part in _parts("--ylim", args.ylim, ",")]
        if len(ends) != 2:
            raise ValueError(f"--ylim must be two numbers such as 0.99,1.02, got {args.ylim!r}")
        yield "ylim", (ends[0], ends[1])
    if args.reference:
        from toysup.paper.reference import FIGURE3_TEST_LOSS

        yield "reference", {T: v.value for T, v in FIGURE3_TEST_LOSS.items() if not v.is_bound}


def _write_drawing(drawing: Any, path: Path, dpi: float) -> None:
    """Save without dates, so that the same sweep gives the same file."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from toysup.paper._preset import figure_of

    figure = figure_of(drawing)
    path.parent.mkdir(parents=True, exist_ok=True)
    undated = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}[path.suffix.lower()]
    with mpl.rc_context({"svg.hashsalt": "toysup"}):
        figure.savefig(path, dpi=dpi, metadata={undated: None})
    plt.close(figure)


def _info(args: argparse.Namespace) -> int:
    """Versions, backend and machine."""
    from toysup._versions import show_versions, versions

    if args.json:
        _document(versions())
    else:
        show_versions()
    return 0


# --- arguments ---


def _field_help() -> dict[str, str]:
    """The first sentence on every field in the docstring of TrainConfig, and its default."""
    from toysup.config import TrainConfig

    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(TrainConfig) or "").splitlines():
        if " : " in line and not line.startswith(" "):
            name = line.split(" : ")[0]
        elif name and line.startswith("    "):
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        else:
            name = ""
    help_texts = {}
    for field in TrainConfig.__dataclass_fields__.values():
        sentence = found.get(field.name, "").split(". ")[0].split("; ")[0].rstrip(".")
        help_texts[field.name] = f"{sentence} (default {field.default})".replace("%", "%%")
    return help_texts


def _add_fields(parser: argparse.ArgumentParser, title: str) -> None:
    from toysup.config import FIELDS

    group, texts = parser.add_argument_group(title), _field_help()
    for name in FIELDS:
        option = "--" + name.replace("_", "-")
        group.add_argument(option, dest=name, metavar="VALUE", help=texts[name])


def _add_output(parser: argparse.ArgumentParser, *, quiet: bool, json: bool) -> None:
    parser.set_defaults(quiet=False, json=False)
    if quiet:
        parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        "--n-jobs",
        dest="n_jobs",
        type=int,
        metavar="N",
        help="runs at a time, each on one thread (default: all processors)",
    )


def _reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a figure's models, prints its table beside the paper's numbers, and writes the\n"
        "figure as PNG and SVG, and tables as CSV. With no figure named: the main figure, and at\n"
        "the small scale a small heat map. Ctrl-C is safe: the same command continues."
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="figure3 or heatmap")
    parser.add_argument(
        "--scale",
        default="small",
        help="small (one tenth of the paper's n and T; a minute or two) or paper (hours)",
    )
    parser.add_argument("--out", metavar="DIR", help="default: ./toysup-FIGURE-SCALE")
    parser.add_argument("--seeds", type=int, metavar="K", help="number of dataset seeds")
    parser.add_argument(
        "--T", metavar="LIST", help="values of T in place of the figure's: 3,100,inf"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="updates in place of the figure's")
    _add_jobs(parser)
    _add_output(parser, quiet=True, json=True)


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Trains a grid of models and prints a line for each.\n\n{_VALUES}"
    parser.add_argument(
        "--store", metavar="DIR", help="keeps every run; a second call trains what is missing"
    )
    _add_jobs(parser)
    _add_output(parser, quiet=True, json=True)
    _add_fields(parser, "fields of a run")


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draws a figure of a store, of the folder of toysup reproduce, or of a run's file.\n"
        "An axis of the sweep can be restricted, as in --seed 0 or --T 3,5,100."
    )
    parser.add_argument("figure", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--out", metavar="FILE", help="a .png, .svg or .pdf (default: FIGURE.png)")
    parser.add_argument("--dpi", type=float, default=200.0, help="dots per inch of pixels")
    parser.add_argument("--hue", metavar="FIELD", help="test-loss: an axis with a curve a value")
    parser.add_argument("--variable", metavar="NAME", help="heatmap, history: what to draw")
    parser.add_argument("--ylim", metavar="LOW,HIGH", help="figure3, test-loss: the loss axis")
    parser.add_argument("--vmin", type=float, metavar="X", help="heatmap: end of the colours")
    parser.add_argument("--vmax", type=float, metavar="X", help="heatmap: end of the colours")
    parser.add_argument("--annotate", action="store_true", help="heatmap: write the values")
    parser.add_argument("--common-scale", action="store_true", help="vectors: one scale a row")
    parser.add_argument(
        "--reference", action="store_true", help="figure3, test-loss: the paper's values as well"
    )
    _add_output(parser, quiet=True, json=False)
    _add_fields(parser, "values to choose")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Says how many runs of a store are finished, missing, failed or diverged."
    parser.add_argument("directory", metavar="DIR", help="a store, or a folder that holds stores")
    _add_output(parser, quiet=False, json=True)


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Prints versions, backend and machine, for a report of a problem."
    _add_output(parser, quiet=False, json=True)


_Command = tuple[
    str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]
]
COMMANDS: dict[str, _Command] = {
    "reproduce": ("train and draw a figure of the paper", _reproduce_arguments, _reproduce),
    "sweep": ("train a grid of models", _sweep_arguments, _sweep),
    "plot": ("draw a figure of a sweep", _plot_arguments, _plot),
    "status": ("how far a sweep is", _status_arguments, _status),
    "info": ("versions, backend and machine", _info_arguments, _info),
}


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; an unknown name is met with the nearest right one."""
    words = [_dashes(word) for word in argv]
    parser = _Parser(prog="toysup", description=_ABOUT)
    parser.add_argument("--version", action="version", version=f"toysup {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in COMMANDS:
        parser.error(unknown("COMMAND", first, COMMANDS))
    known = {"--help", "--version"}
    for name, (summary, add_arguments, _) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == first:  # the options of the others would cost the import of NumPy
            add_arguments(command)
            known = {text for action in command._actions for text in action.option_strings}
    args, extra = parser.parse_known_args(words)
    if extra:
        _refuse(extra[0].split("=")[0], first, known)
    if args.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return args


def _refuse(option: str, command: str | None, known: set[str]) -> NoReturn:
    """The error of an argument that is not known."""
    see = f" (see toysup {command} --help)" if command else " (see toysup --help)"
    if option in known:
        raise UsageError(f"{option} must come after {command!r}{see}")
    if not option.startswith("-"):
        raise UsageError(f"unknown argument {option!r}{see}")
    same = [text for text in known if text.lower() == option.lower()]  # --t for --T
    hint = nearest(option, same or sorted(known))
    raise UsageError(f"unknown option {option!r}{hint}{see}")


def _dashes(word: str) -> str:
    """``--learning_rate=1`` as ``--learning-rate=1``."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = argparse.Namespace(command="")
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files; a user's choice stands
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal does not know
    try:
        args = _parse(sys.argv[1:] if argv is None else argv)
        with warnings.catch_warnings():
            # It is said in our own words, with what to do.
            warnings.filterwarnings("ignore", "the sweep was interrupted", RuntimeWarning)
            code = COMMANDS[args.command][2](args)
        sys.stdout.flush()
        return code
    except SystemExit as error:  # of --help and --version
        return error.code if isinstance(error.code, int) else 0
    except BrokenPipeError:
        # Python flushes stdout once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, _Interrupted) as error:
        _complain("interrupted", str(error) or getattr(args, "resume", "nothing was kept"))
        return 130
    except Exception as error:  # noqa: BLE001  the boundary of the program
        return _fail(error)


def _fail(error: Exception) -> int:
    """Say in one line what went wrong; returns the exit code. Raises what is a mistake of ours."""
    if isinstance(error, UsageError):
        _complain("error", error)
        return 2
    if isinstance(error, (ToysupError, MemoryError)):
        _complain("error", error)
        return 1
    if isinstance(error, OSError) and error.strerror:
        _complain("error", f"{error.filename!r}: {error.strerror}")
        return 1
    if isinstance(error, (ValueError, TypeError, FileNotFoundError)):
        _complain("error", error)
        return 2
    raise error
