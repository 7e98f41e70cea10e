"""Which process a number stands for, and whether it is still there."""

from __future__ import annotations

import functools
import os
import socket

from toysup.errors import printable

__all__ = ["host", "is_there", "me", "started", "system"]


def is_there(where: str, what: str | None, pid: int, since: str | None) -> bool | None:
    """Whether a process is there that said these of itself; None if it cannot be seen from here.

    Parameters
    ----------
    where, what, since
        :func:`host`, :func:`system` and :func:`started`, as the process found them.
    pid : int
        Its number.
    """
    if (where, what) != (host(), system()) or os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    now = started(pid)
    if now is None or since is None:
        return None
    return now == since  # or else its number was given again


def me() -> tuple[str, str | None, int, str | None]:
    """What this process says of itself: the arguments of :func:`is_there`."""
    return host(), system(), os.getpid(), started(os.getpid())


def host() -> str:
    """The name of this machine."""
    return printable(socket.gethostname()[:255])


@functools.cache
def system() -> str | None:
    """What tells apart where process numbers mean something else: boots, and containers."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    except (OSError, ValueError):
        return None  # not Linux


def started(pid: int) -> str | None:
    """When a process was started, in ticks of the system, "dead" if it is; None if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()  # behind the program's name
        return "dead" if words[0] in b"ZXx" else words[19].decode()
    except (OSError, LookupError, ValueError):
        return None
