"""Paths that a user gave, and whether a file can be written there before it is made."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from toysup._files.whole import reason, temporary
from toysup.errors import StoreError, short

__all__ = ["as_path", "check_file", "check_writable", "with_npz"]

# A drive of Windows has one letter; a Path has lost one of the two slashes.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def as_path(name: str, value: object) -> Path:
    """A path that a user gave for the parameter ``name``; "~" stands for the home folder.

    Variables such as $HOME are the shell's: a path that still begins with one is refused, rather
    than taken for a folder of that name, and so are URLs and homes of unknown users.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path, got {short(value)} ({type(value).__name__})")
    if not text or "\0" in text:
        what = "have a null character" if text else "be empty"
        raise ValueError(f"{name} must not {what}, got {short(text)}")
    if _URL.match(text):
        raise ValueError(f"{name} must be a path on this machine, got the URL {short(text)}")
    if text.startswith("$"):
        raise ValueError(
            f"{name} begins with a variable that was not replaced, got {short(text)}: shells do so "
            f"outside single quotes, Python by os.path.expandvars"
        )
    path = Path(os.path.expanduser(text))
    if text.startswith("~") and str(path).startswith("~"):
        raise ValueError(
            f"{name} begins with the home of an unknown user, got {short(text)}: write "
            f"{short('./' + text)} for what is called so"
        )
    # As a Path, "./~/x" is "~/x", which must not be taken for another path the next time.
    return path.absolute() if str(path)[0] in "~$" else path


def with_npz(path: Path) -> Path:
    """The path with the suffix ``.npz``, which is added if it is missing."""
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def check_file(path: Path, *, make: bool = False) -> None:
    """Refuse a path to which no file could be written, before the work that is to go there.

    Parameters
    ----------
    path : Path
        The file, which may be there.
    make : bool
        Whether missing folders will be made.

    Raises
    ------
    StoreError
        Naming the path, and why not.
    """
    try:
        if path.is_dir():
            raise StoreError(f"cannot write {str(path)!r}: it is a folder")
        folder = path.parent
        while make and not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            what = "is not a folder" if os.path.lexists(folder) else "does not exist"
            raise StoreError(f"cannot write {str(path)!r}: {str(folder)!r} {what}")
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name may be too long
        _try(folder / path.name)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {reason(error)}") from error


def check_writable(folder: Path) -> None:
    """Refuse a folder of a store in which no run could be written."""
    try:
        _try(folder / f"{20 * '0'}.npz")
    except OSError as error:
        raise StoreError(f"cannot write in {str(folder)!r}: {reason(error)}") from error


def _try(path: Path) -> None:
    """Write and remove what would become this file."""
    trial = temporary(path)
    try:
        with open(trial, "xb") as file:
            file.write(bytes(4096))
    finally:
        trial.unlink(missing_ok=True)
