"""The only place where a backend is chosen."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import cast

from toysup._backends.protocol import Backend
from toysup._text.notes import warn
from toysup._version import __version__
from toysup.errors import BackendError, SlowBackendWarning, unknown

__all__ = ["backend", "backend_name", "load", "warn_if_slow"]

_VARIABLE = "TOYSUP_BACKEND"
_NATIVE = "toysup._native"
# Whether this process has said that it trains on NumPy.
_is_said = False


def backend() -> Backend:
    """The backend that the environment variable ``TOYSUP_BACKEND`` asks for.

    ``auto`` (the default) takes the Rust extension if it was built, else NumPy; ``native`` and
    ``numpy`` take just that one.

    Raises
    ------
    ValueError
        If the variable holds another value.
    BackendError
        If the extension is missing where ``native`` was asked for, or is of another version.
    """
    return load(_choice())


def _choice() -> str:
    return os.environ.get(_VARIABLE) or "auto"


def backend_name() -> str:
    """``"native"`` or ``"numpy"``: the backend that is in use."""
    return backend().name


def warn_if_slow() -> None:
    """Warn, once in a process, that training runs on NumPy only for want of the extension.

    The warning points at the caller of the function that calls this one.
    """
    global _is_said
    if _is_said or _choice() != "auto" or backend_name() != "numpy":
        return
    _is_said = True
    warn(
        "toysup trains on NumPy, which is many times slower than its Rust extension, and that is "
        "not installed: install toysup again where Rust is (https://rustup.rs), without "
        f"TOYSUP_PURE, or choose NumPy on purpose by {_VARIABLE}=numpy",
        SlowBackendWarning,
        stacklevel=3,
    )


@cache
def load(choice: str) -> Backend:
    """The backend of that name."""
    if choice not in ("auto", "native", "numpy"):
        raise ValueError(unknown(_VARIABLE, choice, ("auto", "native", "numpy")))
    if choice == "numpy":
        return _numpy()
    try:
        native = importlib.import_module(_NATIVE)
    except ModuleNotFoundError as error:
        if error.name != _NATIVE:
            raise  # the extension is there, and what it needs is not
        if choice == "auto":
            return _numpy()
        raise BackendError(
            f"{_VARIABLE}=native, but the Rust extension {_NATIVE} is not installed: "
            f"install toysup where Rust is available, or use {_VARIABLE}=auto"
        ) from error
    if native.__version__ != __version__:
        raise BackendError(
            f"the Rust extension {_NATIVE} is of version {native.__version__}, "
            f"but toysup's Python files are of version {__version__}: install toysup again"
        )
    return cast(Backend, importlib.import_module("toysup._backends.native"))


def _numpy() -> Backend:
    return cast(Backend, importlib.import_module("toysup._backends.reference"))
