"""The container of run files and checkpoints: a NumPy ``.npz`` with meta-data and a checksum.

The first member is ``meta.npy``, JSON as bytes, so that it can be read without the rest. The zip
file's comment is ``sha256:`` and the SHA-256 of all bytes before it. ``numpy.load`` reads the file
like any other. Nothing here believes what a file says of sizes before it has seen the bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toysup._files.whole import (
    SCHEMA_VERSION,
    Damaged,
    check_version,
    opened,
    parse_json,
    replace_file,
    too_large,
)
from toysup._version import __version__
from toysup.config import TrainConfig

__all__ = [
    "Checkpoint",
    "checkpoint_at",
    "is_of",
    "largest",
    "read",
    "read_checkpoint",
    "read_config",
    "read_meta",
    "tag",
    "verify",
    "write",
    "write_checkpoint",
]

Arrays = dict[str, npt.NDArray[Any]]

# Bytes of what goes into meta-data besides the config: a summary, or where a state stands.
_META_BYTES = 1 << 16
# A file that another program wrote in another order is read as a whole, if it is not larger.
_MAX_OTHER = 1 << 28
# What is read of a file to get at its meta-data, if that is not longer.
_HEAD = 4096
_CHUNK = 1 << 20
# Many more than any file has; refused before they are listed.
_MAX_MEMBERS = 1000

_LABEL = b"sha256:"
_SEAL = len(_LABEL) + 64

_MISMATCH = "its checksum does not match: the file is damaged"
_UNFINISHED = "its checksum is missing: the file ends too early or is damaged"

_META = "meta.npy"
# A zip file's local header: flags, method, CRC, sizes, and lengths of the name and what follows.
_LOCAL = struct.Struct("<4s2xHH4xIIIHH")
_SIZES = struct.Struct("<HHQQ")
_ENCRYPTED_OR_STREAMED = 0x1 | 0x8

# The header of an .npy file as NumPy writes it for arrays of numbers and truth values.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00.."
    rb"\{'descr': '([<>|][biuf][1-8])', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n",
    re.DOTALL,
)
_MAX_HEADER = 1024


def write(
    path: Path,
    meta: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    durable: bool = True,
) -> None:
    """Write a file, whole or not at all; its schema and who wrote it go into its meta-data."""
    whole = {"schema_version": SCHEMA_VERSION, "toysup": __version__, **meta}
    text = json.dumps(whole, allow_nan=False).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        members = {"meta": np.frombuffer(text, np.uint8), **arrays}
        for name, array in members.items():
            # With the date that zip files begin with: equal runs are equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        archive.comment = bytes(_SEAL)  # its place
    with buffer.getbuffer() as data:
        data[-_SEAL:] = _seal(hashlib.sha256(data[:-_SEAL]))
        replace_file(path, lambda file: file.write(data), durable=durable)


def _seal(digest: hashlib._Hash) -> bytes:
    """The comment of a file whose other bytes have that digest."""
    return _LABEL + digest.hexdigest().encode()


def largest(config: TrainConfig) -> int:
    """Bytes that no file of a config's run exceeds."""
    return 2 * config.disk() + _META_BYTES


def _largest_meta(config: TrainConfig | None, rest: int) -> int:
    """Bytes that no meta-data exceed; of a run that is not known, in a file with so many others.

    Importances and weights are in both, and repeats in the former alone.
    """
    return 8 * rest + (1 << 24) if config is None else 2 * len(config.to_json()) + _META_BYTES


def read_meta(
    path: Path,
    config: TrainConfig | None = None,
    limit: Callable[[TrainConfig], int] = largest,
) -> dict[str, Any]:
    """The meta-data of a whole file, quickly; its arrays may be damaged nevertheless.

    They may be those of another config than the one given, if there is one: it says, by ``limit``
    too, how much there can be to read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Damaged
        If it is not what was written.
    StoreError
        If it cannot be read, or was written by a later version.
    """
    with opened(path, sys.maxsize) as (handle, size):
        # Every run has files of so many bytes, and the limit takes longer than they do.
        if config is not None and size > _META_BYTES and size > limit(config):
            raise too_large(path, size)
        head = os.read(handle, _HEAD)
        found = _first_member(head, size)
        if found is not None and found[1] > len(head):
            if found[1] - _HEAD > _largest_meta(config, size - found[1]):
                raise Damaged(path, f"claims {found[1]:,} bytes of meta-data")
            head += _read(handle, found[1] - len(head))
            found = _first_member(head, size)
        text = None if found is None else _meta_text(head[found[0] : found[1]], found[2])
        os.lseek(handle, max(0, size - _SEAL), os.SEEK_SET)
        sealed = os.read(handle, len(_LABEL)) == _LABEL
    if text is None:  # written by something else, or not at all
        return read(path)[0]
    meta = parse_json(path, text)
    check_version(path, meta)
    if not sealed:
        raise Damaged(path, _UNFINISHED)
    return meta


def _first_member(head: bytes, size: int) -> tuple[int, int, int] | None:
    """Begin, end and CRC of the meta-data, if the file begins with them."""
    if len(head) < _LOCAL.size:
        return None
    magic, flags, method, crc, packed, length, name, extra = _LOCAL.unpack_from(head)
    begin = _LOCAL.size + name + extra
    if magic != b"PK\3\4" or method != zipfile.ZIP_STORED or flags & _ENCRYPTED_OR_STREAMED:
        return None
    if head[_LOCAL.size : _LOCAL.size + name] != _META.encode():
        return None
    if packed == length == 0xFFFFFFFF and extra >= _SIZES.size and len(head) >= begin:
        kind, _, length, packed = _SIZES.unpack_from(head, _LOCAL.size + name)
        if kind != 1:
            return None
    if packed != length or begin + length > size:
        return None
    return begin, begin + length, crc


def _meta_text(member: bytes, crc: int) -> bytes | None:
    """The JSON of the meta-data, if it is there."""
    header = _NPY.match(member, 0, _MAX_HEADER)
    if header is None or header[1] != b"|u1" or zlib.crc32(member) != crc:
        return None
    text = member[header.end() :]
    return text if header[3].rstrip(b",") == str(len(text)).encode() else None


def _read(handle: int, size: int, offset: int | None = None) -> bytes:
    """That many bytes, or as many as there are."""
    with open(handle, "rb", closefd=False) as file:
        if offset is not None:
            file.seek(offset)
        return file.read(size)


def verify(path: Path, most: int = sys.maxsize) -> None:
    """Compare a file of so many bytes at most with its checksum, in little memory.

    Raises
    ------
    FileNotFoundError, StoreError
        As :func:`read_meta`.
    """
    with (
        opened(path, most) as (handle, size),
        open(handle, "rb", closefd=False, buffering=0) as file,
    ):
        file.seek(max(0, size - _SEAL))
        sealed = file.read(_SEAL)
        if sealed.startswith(_LABEL):
            file.seek(0)
            digest, left = hashlib.sha256(), size - _SEAL
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
            if _seal(digest) != sealed:
                raise Damaged(path, _MISMATCH)
            return
    read(path, most)  # which says what it is instead


def read(path: Path, most: int = _MAX_OTHER) -> tuple[dict[str, Any], Arrays]:
    """Meta-data and arrays of a file of so many bytes at most, verified as a whole.

    Raises
    ------
    FileNotFoundError, StoreError
        As :func:`read_meta`.
    MemoryError
        If there is not enough for it.
    """
    try:
        return _read_whole(path, most)
    except MemoryError:
        size = os.stat(path).st_size
        raise MemoryError(f"{path}: its {size:,} bytes do not fit in memory twice") from None


def _read_whole(path: Path, most: int) -> tuple[dict[str, Any], Arrays]:
    with opened(path, most) as (handle, size):
        if _read(handle, 4, 0) != b"PK\3\4":
            raise Damaged(path, "is not a readable file of a run" if size else "is empty")
        data = _read(handle, size, 0)
    sealed = data[-_SEAL:].startswith(_LABEL)
    if sealed and data[-_SEAL:] != _seal(hashlib.sha256(memoryview(data)[:-_SEAL])):
        raise Damaged(path, _MISMATCH)
    try:
        arrays = {name: _array(name, member) for name, member in _members(data).items()}
        text = arrays.pop("meta").tobytes()
    except (ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise Damaged(path, f"is not a readable file of a run ({str(error)[:200]})") from error
    meta = parse_json(path, text)
    check_version(path, meta)
    if not sealed:
        raise Damaged(path, _UNFINISHED)
    return meta, arrays


def _members(data: bytes) -> dict[str, memoryview]:
    """The bytes of every array, by name, none of them twice."""
    if data.count(b"PK\1\2") > _MAX_MEMBERS:
        raise ValueError("it has too many members")
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (OSError, EOFError, NotImplementedError, struct.error, OverflowError) as error:
        raise ValueError(str(error)) from error
    view, found = memoryview(data), dict[str, memoryview]()
    if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError("its members are larger than the file")
    for entry in entries:
        stored = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
        if not stored or entry.compress_size != entry.file_size:
            raise ValueError(f"{entry.filename!r} is compressed or encrypted")
        start = entry.header_offset
        if start < 0 or start + _LOCAL.size > len(data):
            raise ValueError(f"{entry.filename!r} is not in the file")
        magic, *_, name, extra = _LOCAL.unpack_from(data, start)
        start += _LOCAL.size + name + extra
        member = view[start : start + entry.file_size]
        if magic != b"PK\3\4" or len(member) != entry.file_size:
            raise ValueError(f"{entry.filename!r} is not in the file")
        key = entry.filename.removesuffix(".npy")
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = member
    return found


def _array(name: str, member: memoryview) -> npt.NDArray[Any]:
    """A copy of an array, once all its bytes are known to be there."""
    header = _NPY.match(member, 0, _MAX_HEADER)
    if header is None:
        raise ValueError(f"{name!r} is not an array of numbers")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(size) for size in header[3].split(b",") if size.strip())
    values = member[header.end() :]
    if math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{name!r} has not as many values as its shape {shape} says")
    found = np.ndarray(shape, dtype, values, order="F" if header[2] == b"True" else "C")
    return found.astype(dtype.newbyteorder("="))


def read_config(path: Path, meta: Mapping[str, Any]) -> TrainConfig:
    """The config that the meta-data of a file name."""
    try:
        return TrainConfig.from_json(json.dumps(meta["config"]))
    except (ValueError, LookupError, RecursionError) as error:
        raise Damaged(path, f"has no valid config ({str(error)[:200]})") from error


def is_of(meta: Mapping[str, Any], config: TrainConfig) -> bool:
    """Whether the meta-data of a file name this config; quickly."""
    return bool(meta.get("config") == config.plain())


def write_checkpoint(
    path: Path,
    config: TrainConfig,
    meta: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Write the state of a run under way."""
    write(path, {"config": json.loads(config.to_json()), **meta}, arrays)


def read_checkpoint(path: Path, config: TrainConfig) -> tuple[dict[str, Any], Arrays]:
    """Meta-data and arrays of the state of a run.

    Raises
    ------
    FileNotFoundError, StoreError
        As :func:`read_meta`; a state of another config is damaged.
    """
    meta, arrays = read(path, config.memory())
    if not is_of(meta, config):
        raise Damaged(path, "holds the state of another config")
    return meta, arrays


def tag(maker: str) -> str:
    """What names the maker of a state in the name of its file."""
    return hashlib.sha256(maker.encode()).hexdigest()[:8]


class Checkpoint(NamedTuple):
    """A file with the state of a run, as far as can be seen quickly."""

    path: Path
    config: TrainConfig
    step: int
    maker: str


def checkpoint_at(path: Path, config: TrainConfig) -> Checkpoint:
    """The checkpoint in a file; raises as :func:`read_checkpoint`."""
    meta = read_meta(path, config, TrainConfig.memory)
    if not is_of(meta, config):
        raise Damaged(path, "holds the state of another config")
    step, maker = meta.get("step"), meta.get("maker")
    if type(step) is not int or not 0 <= step <= config.steps or not isinstance(maker, str):
        raise Damaged(path, "is not a readable state")
    return Checkpoint(path, config, step, maker)
