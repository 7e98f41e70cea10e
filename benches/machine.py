"""What benchmarks share: machine, versions, memory marks, pinned threads and the command line."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast the kernels are, as /proc/cpuinfo spells them.
_ISA = ("avx2", "fma", "avx512f", "avx512bw", "avx512_fp16", "amx_tile", "asimd", "sve", "sve2")


def cores() -> list[int]:
    """Numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(threads: int) -> None:
    """Keep this process on its last ``threads`` cores (the first ones serve most interrupts)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[-threads:])


def _cpuinfo(*names: str) -> str:
    """The first value in /proc/cpuinfo under one of ``names``, or an empty string."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    return next((value.strip() for key, value in pairs if key.strip() in names), "")


def machine() -> dict[str, str | int]:
    """CPU model, cores, instruction sets, memory (GB, -1 if unknown) and operating system."""
    flags = _cpuinfo("flags", "Features").split()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = -(10**9)
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": len(cores()),
        "isa": " ".join(name for name in _ISA if name in flags) or platform.machine(),
        "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Version of Python and of each package, if possible without importing it; None if missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        found[package] = None
        if importlib.util.find_spec(package):
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:  # on the path, but not installed
                found[package] = getattr(importlib.import_module(package), "__version__", "unknown")
    return found


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of a script, options after its first line."""
    first, _, rest = (doc or "").partition("\n")
    return argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def table_file(text: str) -> Path:
    """Where a table can be written in the end."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    return path


def figure_file(text: str) -> Path:
    """Where a figure can be drawn in the end."""
    if importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("needs matplotlib, which is not installed")
    return table_file(text)


def announce(packages: Iterable[str], threads: int) -> dict[str, Any]:
    """Print machine, versions and threads, which a benchmark begins with; the same as a dict."""
    about: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(packages),
        "threads": threads,
    }
    for key, value in {**about["machine"], **about["versions"], "threads": threads}.items():
        print(f"{key:10} {'not installed' if value is None else value}")
    return about


def compiler() -> str | None:
    """A C++ compiler that torch.compile would find, or None."""
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


def available_memory() -> float:
    """Bytes that can still be had without swapping; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    kib = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(kib[0]) if kib else float("inf")


def peak_memory() -> float:
    """Largest resident set of this process so far, in bytes; NaN where it cannot be had.

    Linux is asked for ``VmHWM`` and not for ``ru_maxrss``: the latter survives ``exec``, so that a
    child would start from its parent's peak.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        pass
    else:
        kib = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if kib:
            return 1024.0 * int(kib[0])
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
