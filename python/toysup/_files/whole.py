"""Files that are whole: written so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from toysup._version import __version__
from toysup.errors import StoreError, printable

__all__ = [
    "Damaged",
    "check_version",
    "opened",
    "parse_json",
    "read_document",
    "reason",
    "replace_file",
    "temporary",
    "too_large",
    "unused",
    "write_document",
]

# The layout of run files, checkpoints and the documents of a store. A reader refuses other ones.
SCHEMA_VERSION = 3
# More than any document takes, and than its values take in memory; refused before they are there.
_MAX_DOCUMENT = 1 << 28
_MAX_VALUES = 1 << 29
# Bytes of a name that can be longer still: file systems allow 143 at least, and mostly 255.
_LONG = 100
# What says that a folder cannot be flushed, rather than that flushing it went wrong.
_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
# What opening says of a path that is no file, whoever asks.
_NO_FILE = {errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV}


class Damaged(StoreError):
    """A file whose content cannot be trusted; whether one can be read at all is another matter.

    Attributes
    ----------
    path : Path
        The file.
    defect : str
        What is wrong with it.
    """

    def __init__(self, path: Path, defect: str) -> None:
        super().__init__(f"{path}: {defect}")
        self.path, self.defect = path, defect

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.defect), self.__dict__


def replace_file(
    path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True, new: bool = False
) -> None:
    """Write a file beside ``path`` and rename it into place.

    Parameters
    ----------
    path : Path
        The file.
    write : callable
        Is given the open file.
    durable : bool
        Whether file and folder are flushed to the disk, to outlast a power failure.
    new : bool
        Whether a file that is there already is left as it is.

    Raises
    ------
    FileExistsError
        If it was to be new, and is not.
    StoreError
        If that cannot be done; there is then the old file, or the new one, and no part of it.
    """
    aside = temporary(path)
    try:
        with open(aside, "xb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        (_rename_to_new if new else os.replace)(aside, path)
        if durable:
            _flush_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError) and not (new and isinstance(error, FileExistsError)):
            raise StoreError(f"cannot write {str(path)!r}: {reason(error)}") from error
        raise


def _rename_to_new(aside: Path, path: Path) -> None:
    """Rename a file, unless the name is taken: of several processes that try, one succeeds."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without links; Windows refuses to rename to what is
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(aside, path)
    else:
        with contextlib.suppress(OSError):
            os.unlink(aside)


def temporary(path: Path) -> Path:
    """Where to write what is to be renamed to ``path``; a name that fits wherever that one does."""
    name = path.name if len(os.fsencode(path.name)) <= _LONG else "toysup"
    return path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")


def unused(path: Path) -> Path:
    """The path, or the first of "path.1", "path.2" ... at which nothing lies."""
    names = itertools.chain([path.name], (f"{path.name}.{i}" for i in itertools.count(1)))
    return next(found for name in names if not os.path.lexists(found := path.with_name(name)))


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power failure, where the system can."""
    if os.name == "nt":  # folders cannot be opened
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED:
            raise


def reason(error: Exception) -> str:
    """What the system says, without the file's name."""
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def opened(path: Path, most: int) -> Iterator[tuple[int, int]]:
    """A descriptor of a regular file, and the file's size; ``most`` is what it can be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Damaged
        If it is something else than a file, which opening it neither waits for nor changes; or if
        it is larger, whatever of it is on the disk.
    StoreError
        If it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no name has a null character
        raise FileNotFoundError(f"there is no file {str(path)!r}") from None
    except OSError as error:
        if error.errno in _NO_FILE or os.path.isdir(path):  # Windows denies access to a folder
            raise Damaged(path, f"is not a regular file ({reason(error)})") from error
        raise StoreError(f"cannot read {str(path)!r}: {reason(error)}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(path, "is not a regular file")
        if status.st_size > most:
            raise too_large(path, status.st_size)
        yield handle, status.st_size
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {reason(error)}") from error
    finally:
        os.close(handle)


def too_large(path: Path, size: int) -> Damaged:
    """What a file is that is larger than it can be."""
    return Damaged(path, f"is larger than any such file ({size:,} bytes)")


def check_version(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse a file of another schema than the one that is read here."""
    version = data.get("schema_version")
    if type(version) is not int or version < 1:
        raise Damaged(path, "has no valid schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written with schema {version}, but toysup {__version__} reads schema "
            f"{SCHEMA_VERSION}: use the version that wrote it, toysup "
            f"{printable(data.get('toysup', '(unknown)'))[:80]}"
        )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _values(data: bytes) -> int:
    """Bytes that the values of a JSON text take in memory, to judge from its punctuation."""
    containers = data.count(b"[") + data.count(b"{")
    return len(data) + 40 * data.count(b",") + 100 * containers + 150 * data.count(b":")


def parse_json(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object that a file holds."""
    if _values(data) > _MAX_VALUES:
        raise Damaged(path, "holds more values than any such file")
    try:
        found = _decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(path, f"holds no valid JSON ({str(error)[:200]})") from error
    if not isinstance(found, dict):
        raise Damaged(path, "holds no JSON object")
    return found


def _seal(data: Mapping[str, Any]) -> str:
    """The checksum of a document: SHA-256 of its canonical form without the checksum itself."""
    rest = {name: value for name, value in data.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_document(path: Path, data: Mapping[str, Any], *, new: bool = False) -> None:
    """Write a JSON document with its schema, who wrote it, and its checksum.

    As :func:`replace_file`.
    """
    whole = {"schema_version": SCHEMA_VERSION, "toysup": __version__, **data}
    text = json.dumps({**whole, "sha256": _seal(whole)}, indent=1, allow_nan=False).encode()
    if len(text) > _MAX_DOCUMENT or _values(text) > _MAX_VALUES:
        raise StoreError(
            f"cannot write {str(path)!r}: its {len(text):,} bytes are too many to read"
        )
    replace_file(path, lambda file: file.write(text), new=new)


def read_document(path: Path, most: int = _MAX_DOCUMENT) -> dict[str, Any]:
    """Read a document of so many bytes at most.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Damaged
        If it is not what was written.
    StoreError
        If it cannot be read, or was written by a later version.
    """
    with (
        opened(path, min(most, _MAX_DOCUMENT)) as (handle, size),
        open(handle, "rb", closefd=False) as file,
    ):
        data = parse_json(path, file.read(size))
    check_version(path, data)
    if "sha256" not in data:
        raise Damaged(path, "its checksum is missing")
    try:
        intact = data["sha256"] == _seal(data)
    except (ValueError, RecursionError) as error:  # lone surrogates, depth
        raise Damaged(path, "holds what cannot be written again") from error
    if not intact:
        raise Damaged(path, "its checksum does not match: the file is damaged")
    return data
