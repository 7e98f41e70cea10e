"""Checks of single arguments, which name the parameter and the value that they refuse."""

from __future__ import annotations

import math
import numbers
import operator

import numpy as np

from toysup.errors import short

__all__ = ["as_flag", "as_float", "as_int", "as_interval", "as_share", "check_shown", "in_range"]


def as_flag(name: str, value: object) -> bool:
    """``value`` as a bool; numbers are refused."""
    if not isinstance(value, (bool, np.bool_)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be True or False, got {short(value)} ({kind})")
    return bool(value)


def as_int(name: str, value: object, low: int, high: int) -> int:
    """``value`` as an int in [low, high]; bool and float are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        kind = type(value).__name__
        raise TypeError(f"{name} must be an integer, got {short(value)} ({kind})")
    result = operator.index(value)
    if not low <= result <= high:
        raise ValueError(f"{name} must be between {low} and {high}, got {result}")
    return result


def as_float(name: str, value: object) -> float:
    """``value`` as a finite float; bool and strings are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a real number, got {short(value)} ({kind})")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, got {short(value)}")
    return result + 0.0  # -0.0 becomes 0.0: equal configs have equal keys


def in_range(
    name: str, value: object, low: float, high: float = math.inf, *, open_low: bool = False
) -> float:
    """``value`` in [low, high), or in (low, high) with ``open_low``."""
    result = as_float(name, value)
    if not (low < result if open_low else low <= result) or not result < high:
        left = "(" if open_low else "["
        raise ValueError(f"{name} must be in {left}{low:g}, {high:g}), got {float(value)}")  # type: ignore[arg-type]
    return result


def as_share(name: str, value: float) -> float:
    """``value`` as a share in (0, 1]."""
    result = as_float(name, value)
    if not 0 < result <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {short(value)}")
    return result


def as_interval(value: object) -> float:
    """Seconds between two checkpoints."""
    seconds = as_float("checkpoint_every", value)
    if seconds < 0:
        raise ValueError(f"checkpoint_every must not be negative, got {value}")
    return seconds


def check_shown(shown: object) -> None:
    """Refuse what is neither a flag nor None; 0 and 1 are no flags."""
    if shown is not None and not isinstance(shown, bool):
        raise TypeError(f"progress must be True, False or None, got {short(shown)}")
