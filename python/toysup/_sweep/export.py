"""The table and the data set of a sweep as files that other programs read."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from toysup._files.paths import check_file
from toysup._files.whole import reason, replace_file, temporary
from toysup._sweep.frame import to_csv
from toysup._system.extras import need
from toysup.errors import StoreError

if TYPE_CHECKING:
    from toysup._sweep.result import SweepResult

__all__ = ["check_export", "export"]

# Seconds in which a folder can be removed.
_PATIENCE = 2.0
# What writes a kind of file: any one of these packages, besides pandas and xarray.
_WRITERS: dict[str, tuple[str, ...]] = {
    ".csv": (),
    ".parquet": ("pyarrow",),
    ".nc": ("netCDF4", "h5netcdf"),
    ".zarr": ("zarr",),
}


def check_export(path: Path) -> str:
    """Refuse a path to which nothing can be exported; see ``SweepResult.export``. The suffix."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ValueError(f"path must end in one of {', '.join(_WRITERS)}, got {str(path)!r}")
    if suffix == ".zarr" and os.path.lexists(path):
        raise StoreError(f"cannot write {str(path)!r}: it is there already")
    check_file(path)
    if _WRITERS[suffix]:
        need(f"a {suffix} file", *_WRITERS[suffix])
    return suffix


def export(result: SweepResult, path: Path) -> Path:
    """Write a result in the format that the suffix names; see ``SweepResult.export``."""
    suffix = check_export(path)
    if suffix == ".csv":
        text = to_csv(result.to_frame())
        replace_file(path, lambda file: file.write(text.encode()))
    elif suffix == ".parquet":
        buffer = io.BytesIO()
        result.to_frame().to_parquet(buffer, engine="pyarrow", index=False)
        replace_file(path, lambda file: file.write(buffer.getvalue()))
    elif suffix == ".nc":
        _netcdf(result, path)
    else:
        _zarr(result, path)
    return path


def _netcdf(result: SweepResult, path: Path) -> None:
    engine = need("a .nc file", *_WRITERS[".nc"])
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder, "data.nc")
        try:
            result.dataset.to_netcdf(aside, engine=engine.lower())  # type: ignore[call-overload]
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of netCDF4
            words = f"cannot write {str(path)!r}, at first in {folder!r}: {error}"
            raise StoreError(words) from error
        replace_file(path, lambda file: file.write(aside.read_bytes()))


def _zarr(result: SweepResult, path: Path) -> None:
    aside = temporary(path)
    try:
        aside.mkdir()  # zarr would make the folders above, too
        result.dataset.to_zarr(aside, zarr_format=2)  # strings have no form in version 3 yet
        os.replace(aside, path)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {reason(error)}") from error
    finally:
        _remove(aside)


def _remove(folder: Path) -> None:
    """Remove a folder, even if Ctrl-C comes meanwhile, or zarr's threads still write into it."""
    stopped: KeyboardInterrupt | None = None
    until = time.monotonic() + _PATIENCE
    while os.path.lexists(folder) and time.monotonic() < until:
        try:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.01)
        except KeyboardInterrupt as error:
            stopped = error
    if stopped is not None:
        raise stopped
