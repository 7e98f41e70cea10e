"""The command line: ``toysup COMMAND``.

Results go to stdout, everything else to stderr. Exit codes: 0; 1 if the work failed; 2 for bad
usage or input; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP; 141 if the reader of stdout
went away.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

# NumPy, xarray and matplotlib are imported by what needs them: help and usage errors are quick.
from toysup._files.whole import reason
from toysup._text.notes import UNSAID
from toysup._version import __version__
from toysup.cli import _arguments, _show, _stores, _train
from toysup.cli._output import Interrupted, ReaderGone, UsageError, begin, complain, end, show
from toysup.errors import ToysupError, closest, unknown

__all__ = ["main", "parser", "program"]

_ABOUT = """\
Trains the tiny model of "Superposition, Memorization, and Double Descent" over sweeps, and draws
the paper's figures. Start with: toysup reproduce"""


# Such as "-1e-3", "-0.1,2" and "-inf", and an option without a value.
_NEGATIVE = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
_BARE = re.compile(r"--[^=]+")


class _Once(argparse.Action):
    """Keeps the value of an option, which may be given once: the last of two is not meant alone."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        given = namespace.__dict__.setdefault("given", set())
        if option is not None and self.dest in given:
            raise UsageError(
                f"{option} is given twice, as {getattr(namespace, self.dest)} and as {values}: "
                f"give it once, with its values separated by commas"
            )
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of printing its usage and leaving."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        """Raise the message."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help and version as all else; argparse would not say that it cannot."""
        if file is sys.stdout:
            show(message.rstrip("\n"))
        else:
            super()._print_message(message, file)


_Command = tuple[
    str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]
]
COMMANDS: dict[str, _Command] = {
    "reproduce": ("train and draw a figure of the paper", _arguments.reproduce, _train.reproduce),
    "train": ("train one model", _arguments.train, _train.train),
    "sweep": ("train a grid of models", _arguments.sweep, _train.sweep),
    "plot": ("draw a figure of a sweep", _arguments.plot, _show.plot),
    "explore": ("write a page with sliders for a sweep", _arguments.explore, _show.explore),
    "status": ("say how far a sweep is", _arguments.status, _stores.status),
    "merge": ("copy the runs of several stores into one", _arguments.merge, _stores.merge),
    "export": ("the table of a sweep as a file", _arguments.export, _stores.export),
    "list": ("list what toysup reproduce knows", _arguments.list_presets, _show.list_presets),
    "check": ("train recorded runs again, and compare", _arguments.check, _train.check),
    "info": ("versions, backend and machine", _arguments.info, _show.info),
}
# What takes long to import and is needed anyway.
_USES: dict[str, tuple[str, ...]] = {
    "reproduce": ("toysup.paper", "xarray", "matplotlib.figure"),
    "train": ("toysup._run.train", "toysup.regime"),
    "sweep": ("toysup._sweep.sweep",),
    "plot": ("toysup._sweep.sweep", "xarray", "matplotlib.figure"),
    "explore": ("toysup._sweep.sweep", "xarray", "matplotlib.figure"),
    "status": ("toysup._sweep.sweep", "xarray"),
    "merge": ("toysup._sweep.sweep",),
    "export": ("toysup._sweep.sweep", "xarray"),
    "list": ("toysup.paper",),
    "check": ("toysup.paper", "xarray"),
    "info": ("toysup._backends.choose",),
}


# How a shell completes the path of a file: what shtab writes into its script.
_PATHS = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


def parser() -> argparse.ArgumentParser:
    """The whole parser, with what a program that writes shell completions wants to know."""
    from toysup import paper

    whole, commands = _parser(COMMANDS)
    choices = {"figures": paper.names(), "figure": _show.FIGURES}
    for command in commands.values():
        for action in command._actions:
            action.choices = choices.get(action.dest, action.choices)
            if action.metavar in ("DIR", "FILE", "OUT"):
                action.complete = _PATHS  # type: ignore[attr-defined]
    return whole


def _parser(names: Collection[str]) -> tuple[Parser, dict[str, Parser]]:
    """The parser, and that of every command; those with these names have their options.

    The options of all would cost the import of NumPy.
    """
    whole = Parser(prog="toysup", description=_ABOUT, epilog="More: toysup COMMAND --help")
    whole.add_argument("--version", action="version", version=f"toysup {__version__}")
    group = whole.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands = {}
    for name, (summary, add_arguments, _) in COMMANDS.items():
        commands[name] = group.add_parser(name, help=summary)
        if name in names:
            add_arguments(commands[name])
    return whole, commands


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; an unknown name is met with the nearest right one."""
    words = _joined([_dashes(word) for word in argv])
    first = next((word for word in words if not word.startswith("-")), "")
    whole, commands = _parser([first])
    if first and first not in COMMANDS:
        whole.error(unknown("COMMAND", first, COMMANDS))
    known = {"--help", "--version"}
    for action in commands[first]._actions if first else ():
        known.update(action.option_strings)
    args, extra = whole.parse_known_args(words)
    if first == "train":  # what stands behind an option, argparse leaves
        args.fields += [word for word in extra if not word.startswith("-")]
        extra = [word for word in extra if word.startswith("-")]
    if extra:
        _refuse(extra[0].split("=")[0], first or None, known)
    if args.command is None:
        whole.print_help(sys.stderr)
        raise SystemExit(2)
    return args


def _refuse(option: str, command: str | None, known: set[str]) -> NoReturn:
    """The error of an argument that is not known."""
    see = f" (see toysup {command} --help)" if command else " (see toysup --help)"
    if option in known:
        raise UsageError(f"{option} must come after {command!r}{see}")
    if not option.startswith("-"):
        raise UsageError(f"unknown argument {option!r}{see}")
    names = {_name(text): text for text in sorted(known) if text.startswith("--")}
    meant, note = closest(_name(option), names)
    hint = f"; did you mean {names[meant]!r}{note}?" if meant else ""
    raise UsageError(f"unknown option {option!r}{hint}{see}")


def _name(option: str) -> str:
    """``learning_rate`` of ``--learning-rate``."""
    return option.lstrip("-").replace("-", "_")


def _dashes(word: str) -> str:
    """``--learning_rate=1`` as ``--learning-rate=1``."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _joined(words: Sequence[str]) -> list[str]:
    """``--vmin -1e-3`` as ``--vmin=-1e-3``: what begins like a negative number is a value."""
    joined: list[str] = []
    for word in words:
        if _NEGATIVE.match(word) and joined and _BARE.fullmatch(joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = argparse.Namespace(command="")
    if argv is None:
        # This is the whole process, whose figures go to files: it needs no backend of the
        # environment's, which a notebook may have left there, and which may not be installed.
        os.environ["MPLBACKEND"] = "Agg"
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.closed:
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal does not know
    try:
        try:
            args = _parse(sys.argv[1:] if argv is None else argv)
        except SystemExit as leaving:  # after --help or --version
            return end(leaving.code if isinstance(leaving.code, int) else 0)
        begin(args)
        if argv is None:
            _import(_USES[args.command])
        with warnings.catch_warnings(), _terminable(args):
            # It is said in our own words, with what to do.
            warnings.filterwarnings("ignore", "the sweep was interrupted", RuntimeWarning)
            warnings.filterwarnings("ignore", r"\d+ of \d+ runs failed", RuntimeWarning)
            _show_warnings()
            if getattr(args, "verbose", False):
                _show_log()
            return end(COMMANDS[args.command][2](args))
    except ReaderGone:
        return 141
    except (KeyboardInterrupt, Interrupted) as error:
        complain("interrupted", str(error) or getattr(args, "resume", "nothing was kept"))
        return 128 + getattr(args, "signal", signal.SIGINT)
    except Exception as error:  # noqa: BLE001  the boundary of the program
        return _fail(error)


def _import(modules: Iterable[str]) -> None:
    """Import modules. Ctrl-C ends the process at once meanwhile, as there is nothing to keep yet.

    What is being imported may swallow a KeyboardInterrupt, or take it for an error of its own.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def program() -> NoReturn:
    """The command line as a process of its own."""
    _hold_places()
    code = main()
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except UNSAID:
            setattr(sys, name, None)  # Python would try once more at exit, and complain
    if code == 128 + signal.SIGINT:
        # As Python ends by itself after Ctrl-C: of SIGINT. Shells report that as 130, and only then
        # end the script that called us, too. But at once: it would tear down all modules before.
        atexit._run_exitfuncs()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    sys.exit(code)


def _hold_places() -> None:
    """Keep files out of the places of stdin, stdout and stderr, where these are closed.

    What native code prints would go into them.
    """
    while (place := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(place)


@contextlib.contextmanager
def _terminable(args: argparse.Namespace) -> Iterator[None]:
    """SIGTERM and SIGHUP, by which batch systems and terminals end a job, are taken for Ctrl-C.

    Not by way of SIGINT: that is ignored in what a shell script does in the background. What is
    ignored on purpose, as SIGHUP is under nohup, stays so.
    """

    def end(signum: int, frame: FrameType | None) -> None:
        args.signal = signum
        raise KeyboardInterrupt

    ours = []
    if threading.current_thread() is threading.main_thread():
        signals = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        ours = [s for s in signals if s is not None and signal.getsignal(s) is signal.SIG_DFL]
    try:
        for signum in ours:
            signal.signal(signum, end)
        yield
    finally:
        for signum in ours:
            signal.signal(signum, signal.SIG_DFL)


def _show_warnings() -> None:
    """Let warnings look like all else that goes to stderr, until the present context ends."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, (RuntimeWarning, UserWarning)):
            complain("warning", message)
        else:
            with contextlib.suppress(*UNSAID):
                usual(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]


def _show_log() -> None:
    """Send the log to stderr."""
    import logging

    handler = logging.StreamHandler()
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("toysup")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def _fail(error: Exception) -> int:
    """Say in one line what went wrong; returns the exit code. Raises what is a mistake of ours."""
    if isinstance(error, UsageError):
        complain("error", error)
        return 2
    if isinstance(error, (ToysupError, MemoryError)):
        complain("error", error)
        return 1
    if isinstance(error, OSError) and (error.strerror or type(error) is OSError):
        where = "" if error.filename is None else f"{error.filename!r}: "
        complain("error", f"{where}{reason(error)}")
        return 1
    if isinstance(error, (ValueError, TypeError, FileNotFoundError)):
        complain("error", error)
        return 2
    if isinstance(error, ImportError) and not (error.name or "").startswith("toysup"):
        complain("error", error)
        return 1
    raise error
