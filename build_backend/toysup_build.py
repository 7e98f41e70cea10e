"""Build backend of toysup: maturin, or hatchling for the wheel without the compiled extension.

``TOYSUP_PURE=1`` builds ``toysup-<version>-py3-none-any.whl``, which needs no Rust and computes
with NumPy alone. Unset, empty or ``0`` builds the extension. Sources are packed by hatchling either
way, so that there is one sdist, and it can be made without Rust.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

MATURIN = "maturin>=1.16,<2"
HATCHLING = "hatchling>=1.27,<2"
# What maturin fetches a Rust toolchain with when there is none.
PUCCINIALIN = "puccinialin>=0.1.5,<1"

Settings = Mapping[str, Any] | None


def _is_pure() -> bool:
    value = os.environ.get("TOYSUP_PURE", "")
    if value not in ("", "0", "1"):
        # SystemExit: front ends show its text alone, where an exception would bring a traceback.
        raise SystemExit(
            f"TOYSUP_PURE must be unset, '0' (with the compiled extension) or '1' (without), "
            f"got {value!r}"
        )
    return value == "1"


PURE = _is_pure()


# The builders are imported late: front ends ask for the requirements before they install them.
def _hatchling() -> ModuleType:
    import hatchling.build

    return hatchling.build


def _builder() -> ModuleType:
    if PURE:
        return _hatchling()
    if shutil.which("cargo") is None:
        # Front ends show it if what follows fails.
        print("Rust is not installed; TOYSUP_PURE=1 builds toysup without it", file=sys.stderr)
    import maturin

    return maturin


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    if PURE:
        return [HATCHLING]
    if shutil.which("cargo") or os.environ.get("MATURIN_NO_INSTALL_RUST"):
        return [MATURIN]
    return [MATURIN, PUCCINIALIN]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return get_requires_for_build_wheel(config_settings)


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [HATCHLING]


def build_wheel(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    return _builder().build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    return _builder().build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    return _hatchling().build_sdist(sdist_directory, config_settings)


# Hatchling has these hooks only outside pip; without them, front ends read the built wheel.
if not PURE:

    def prepare_metadata_for_build_wheel(
        metadata_directory: str, config_settings: Settings = None
    ) -> str:
        return _builder().prepare_metadata_for_build_wheel(metadata_directory, config_settings)

    def prepare_metadata_for_build_editable(
        metadata_directory: str, config_settings: Settings = None
    ) -> str:
        return _builder().prepare_metadata_for_build_editable(metadata_directory, config_settings)
