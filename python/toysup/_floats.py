"""Floating-point numbers as IEEE 754 has them, whatever mode the caller's thread is in.

A thread has modes that change results: denormal numbers flushed to zero, in results or where they
are read, and other roundings than to nearest. Some libraries set them for speed, some by being
loaded, and threads inherit them. Bits shall not depend on that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from toysup.errors import SurroundingsError

__all__ = ["exact_floats", "refuse_inexact", "refuse_inexact_blas"]

# Read from their bytes: a mode can change what a literal becomes.
_DENORMAL, _NORMAL, _UNIT = struct.unpack(
    "<ddd", bytes.fromhex("0100000000000000 0000000000001000 000000000000903c")
)  # 2^-1074, 2^-1022 and 2^-54
# More than any C library's fenv_t.
_SIZE = 512
# Where the default environment is the address -1, as in glibc and musl.
_MACHINES = {"x86_64", "aarch64", "riscv64", "s390x", "loongarch64"}


@contextlib.contextmanager
def exact_floats() -> Iterator[None]:
    """While entered, this thread is in the default mode, and threads that it starts.

    Afterwards its mode is what it was. This is a decorator, too.

    Raises
    ------
    SurroundingsError
        If the mode is another one and cannot be set.
    """
    if _are_exact():
        yield
        return
    restore = _set_default()
    try:
        refuse_inexact(_are_exact(), "this thread")
        yield
    finally:
        restore()


def refuse_inexact(exact: bool, where: str) -> None:
    """Raise ``SurroundingsError`` if numbers are not exact somewhere."""
    if not exact:
        raise SurroundingsError(
            f"in {where} denormal numbers are flushed to zero, or results are not rounded to "
            "nearest, which changes bits; undo what sets that, such as "
            "torch.set_flush_denormal(True) or a library built with -ffast-math, or import NumPy "
            "before it"
        )


@functools.cache
def refuse_inexact_blas(_pid: int) -> None:
    """Refuse threads of BLAS that are in another mode than this one; once a process.

    They are made when NumPy is imported, and nobody can set the mode of another thread. Each has a
    part in a product that is large enough. One of them is this thread; so a BLAS that flushes all
    entries does it whatever the mode, and bits do not depend on it.
    """
    size, depth = 256, 64 + 4 * (os.cpu_count() or 1)
    A, B = np.zeros((size, depth)), np.zeros((depth, size))
    B[0] = 0.5
    B[1] = 1.0
    for a in ((np.finfo(np.float64).tiny, 0.0), (2.0, 2.0**-54), (2.0, 3 * 2.0**-54)):
        A[:, :2] = a
        product = A @ B
        refuse_inexact(bool(np.all(product == product[0, 0])), "threads of NumPy's BLAS")


def _are_exact(
    denormal: float = _DENORMAL,
    normal: float = _NORMAL,
    half: float = 0.5,
    one: float = 1.0,
    less: float = _UNIT,
    more: float = 3 * _UNIT,
) -> bool:
    """Whether this thread keeps denormals and rounds to nearest, by what it computes.

    All numbers are arguments, so that nothing is computed beforehand.
    """
    kept = denormal + denormal != 0 and normal * half != 0
    return kept and one + less == one and one + more != one


def _set_default() -> Callable[[], object]:
    """Set the default mode, if that can be done here; returns what undoes it."""
    found = _functions()
    if found is None:
        return lambda: None
    import ctypes

    get, put, default = found
    saved = (ctypes.c_double * (_SIZE // 8))()
    if get(saved) != 0:
        return lambda: None
    put(default)
    return lambda: put(saved)


@functools.cache
def _functions() -> tuple[Any, Any, Any] | None:
    """C's ``fegetenv``, ``fesetenv`` and ``FE_DFL_ENV``; None where they are not known."""
    try:
        import ctypes

        library = _library(ctypes.CDLL)
        get, put = library.fegetenv, library.fesetenv
        if sys.platform == "darwin":
            return get, put, ctypes.byref(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))
        if sys.platform.startswith("linux") and platform.machine() in _MACHINES:
            return get, put, ctypes.c_void_p(-1)
    except (ImportError, OSError, AttributeError, ValueError):
        pass
    return None


def _library(load: Callable[[str | None], Any]) -> Any:
    """The C library with these functions: loaded with Python as a rule."""
    library = load(None)
    return library if hasattr(library, "fesetenv") else load("libm.so.6")
