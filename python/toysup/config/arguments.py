"""The fields of a config as functions take them: a config, and keywords that change it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from toysup.config.train_config import FIELDS, TrainConfig
from toysup.errors import nearest, short

__all__ = ["as_config", "check_names"]


def as_config(config: object, changes: Mapping[str, Any]) -> TrainConfig:
    """``config`` (the defaults if None) with some fields changed."""
    if config is None:
        return TrainConfig.from_fields(changes)
    if not isinstance(config, TrainConfig):
        kind = type(config).__name__
        raise TypeError(f"config must be a TrainConfig, got {short(config)} ({kind})")
    return config.replace(**changes)


def check_names(fields: Mapping[str, Any], function: Callable[..., object]) -> None:
    """Refuse what is neither a field nor a keyword of ``function``, with the nearest of both."""
    known = [*FIELDS, *(p for p in inspect.signature(function).parameters if p != "fields")]
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"unknown parameter {name!r}{nearest(name, known)}")
