"""How often a test repeats itself: seldom by default, as often as it can bear under ``--soak``."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

full = False  # whether --soak was given; the conftest sets it before any test is imported


def soak(small: T, everything: T) -> T:
    """What a test uses by default, or what it uses under ``--soak``."""
    return everything if full else small
