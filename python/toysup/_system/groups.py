"""The control groups of this process, by which containers and batch systems limit it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "control_groups", "lines"]

# Below this, /proc and the mount points of control groups are looked for.
ROOT = Path("/")


def control_groups(controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the groups with that controller and of all that they are in, and their version."""
    own = [line.split(":", 2) for line in lines(ROOT / "proc/self/cgroup")]
    for line in lines(ROOT / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, *_, options = system.split(" ")
        if kind == "cgroup2":
            version, name = 2, ""
        elif kind == "cgroup" and controller in options.split(","):
            version, name = 1, controller
        else:
            continue
        top, point = mount.split(" ")[3:5]
        for path in (path for _, of, path in own if name in of.split(",")):
            # A container may see no more than its own group, and that as the top.
            below = Path(path.removeprefix(top).lstrip("/"))
            for group in (below, *below.parents):
                yield ROOT / point.lstrip("/") / group, version


def lines(path: Path) -> list[str]:
    """The lines of a file of the kernel; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
