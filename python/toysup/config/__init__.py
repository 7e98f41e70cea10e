"""What one training run is: :class:`TrainConfig`, checked once and for all at construction."""

from __future__ import annotations

from toysup.config.train_config import FIELDS, TrainConfig

__all__ = ["FIELDS", "TrainConfig"]
