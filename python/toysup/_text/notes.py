"""What is said besides results: warnings and the log. None of it may cost a result.

A process may have no stderr (pythonw, ``2>&-``), a closed one, or one of another kind than a file;
whoever listens may have gone away, and the disk of a log be full.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import Any

from toysup.errors import printable

__all__ = ["UNSAID", "is_open", "is_terminal", "log", "warn"]

# What goes wrong with a stream: that it is None, or lacks a method; that it is closed; the system.
UNSAID = (AttributeError, ValueError, OSError)


class _Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose handlers' errors stay its own."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log one printable line, if that can be done."""
        if self.isEnabledFor(level):
            text = printable(str(msg) % args if args else msg)
            with contextlib.suppress(*UNSAID):
                super().log(level, "%s", text, stacklevel=2, **kwargs)


log = _Log(logging.getLogger("toysup"), {})
log.logger.addHandler(logging.NullHandler())  # what is heard of it is for the program to say


def warn(message: str, category: type[Warning] = RuntimeWarning, *, stacklevel: int = 1) -> None:
    """Warn the caller, if there is where to; levels as in ``warnings``.

    Where warnings are errors, this is one.
    """
    with contextlib.suppress(*UNSAID):
        warnings.warn(printable(message), category, stacklevel=stacklevel + 1)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is there, and leads to a terminal."""
    with contextlib.suppress(*UNSAID):
        return bool(stream.isatty())
    return False


def is_open(stream: Any) -> bool:
    """Whether a stream is there and can be written to, as far as is known."""
    return stream is not None and not getattr(stream, "closed", False)
