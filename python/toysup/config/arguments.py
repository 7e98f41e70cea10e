"""The fields of a config as functions take them: a config, and keywords that change it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from toysup.config.train_config import FIELDS, OF_DATA, TrainConfig, of_data
from toysup.errors import nearest, short

__all__ = ["as_config", "check_names", "refuse_beside_data"]


def as_config(config: object, changes: Mapping[str, Any]) -> TrainConfig:
    """``config`` (the defaults if None) with some fields changed."""
    refuse_beside_data(config, changes)
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


def refuse_beside_data(config: object, changes: Mapping[str, Any]) -> None:
    """Refuse fields that were given, and follow from the data set."""
    if changes.get("data", getattr(config, "data", None)) is not None:
        for name in OF_DATA:
            if name in changes:
                raise ValueError(of_data(name, changes[name]))
