"""Times and sizes as a reader takes them in at once."""

from __future__ import annotations

__all__ = ["duration", "size"]


def duration(seconds: float | None) -> str:
    """Such as "20 ms", "0.3 s", "12 s", "5 min", "2 h 10 min" and "3 d 4 h"."""
    if seconds is None:
        return "?"
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours} h"


def size(count: float) -> str:
    """Such as "730 kB" and "1.3 GB"."""
    unit = "kB"
    count /= 1000
    for larger in ("MB", "GB", "TB", "PB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:,.1f} {unit}" if count < 9.95 else f"{count:,.0f} {unit}"
