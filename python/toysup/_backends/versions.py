"""What a report of a problem should say about the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from typing import IO

from toysup._version import __version__

__all__ = ["as_text", "show_versions", "versions"]

_PACKAGES = ("numpy", "xarray", "matplotlib", "tqdm", "scipy", "pandas", "hypothesis", "pytest")


def versions() -> dict[str, str]:
    """Versions of toysup and of what it uses, the backend, and the machine."""
    from toysup._backends.choose import backend

    found = {"toysup": __version__}
    try:
        chosen = backend()
        found.update(backend=chosen.name, isa=chosen.isa())
    except (ImportError, ValueError) as error:
        found["backend"] = f"unusable: {error}"
    found["python"] = platform.python_version()
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["platform"] = platform.platform()
    found["processors"] = str(os.cpu_count())
    return found


def show_versions(file: IO[str] | None = None) -> None:
    """Print versions, backend and machine, for a report of a problem.

    Parameters
    ----------
    file : text file, optional
        Where to print; standard output if not given.
    """
    print(as_text(versions()), file=file or sys.stdout)


def as_text(versions: Mapping[str, str]) -> str:
    """A line for each."""
    return "\n".join(f"{name:12} {version}" for name, version in versions.items())
