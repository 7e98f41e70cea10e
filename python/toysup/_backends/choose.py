"""The only place where a backend is chosen."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import cast

from toysup._backends.protocol import Backend
from toysup._version import __version__
from toysup.errors import BackendError, unknown

__all__ = ["backend", "backend_name", "load"]

_VARIABLE = "TOYSUP_BACKEND"
_NATIVE = "toysup._native"


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
    return load(os.environ.get(_VARIABLE) or "auto")


def backend_name() -> str:
    """``"native"`` or ``"numpy"``: the backend that is in use."""
    return backend().name


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
