"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from toysup.errors import StoreError

__all__ = ["replace_file"]


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside ``path``, flush it to the disk, and rename it into place.

    Raises
    ------
    StoreError
        If that cannot be done; what was at ``path`` is then still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise StoreError(f"cannot write {str(path)!r}: {reason}") from error
        raise
