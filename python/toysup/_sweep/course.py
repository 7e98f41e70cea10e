"""How much there is to do in the steps of a run, from its first step on."""

from __future__ import annotations

import math

import numpy as np

from toysup._backends.choose import backend
from toysup._typing import Array
from toysup.config import TrainConfig
from toysup.config.cost import GROUPED, has_blocks

__all__ = ["work"]

# Fitted by hand to 17 whole runs of 50,000 steps (n = 10,000, S = 0.999, T = 200 ... 2,000 and
# m = 2, 4, 8, 16): their processor time in windows, and in all beside that of their own steps 20 to
# 80. From T = 5,000 on, to the times of whole runs of T = 5,000 at each m of the map, of 10,000 at
# m = 2 and 8, and of 20,000 at m = 16. Before there were blocks of examples, in 26 whole runs of
# T = 10 ... 20,000, m = 2 ... 256, the geometric mean of three estimates was 0.68 (T = 5,000, m = 3
# and 6) to 1.4 times the truth (T = 10, m = 4), 1.2 times as a root mean square. One estimate
# differs from the next by 1.1 to 1.6 on a virtual machine that is not quiet. Seven whole runs with
# blocks, of T = 2,000 ... 20,000, took 0.73 to 1.27 times as much as the rule has for them, beside
# their mean.
#
# Before there are lists all pairs are gone through. Then it is a share of them that grows with m
# until vectors have gone so far, and from when they have gone farther one that falls with m, by
# m ** (2 / 3) each. Here are both at m = 1, the late one for T far below n.
_LISTED = 100
_EARLY, _UNTIL = 0.22, 0.4
_LATE, _FROM = 0.33, 6.0
# Multiply-adds of a parameter; where lists are by feature they are more.
_PARAMETER, _LONG_PARAMETER = 50.0, 140.0
# All this is for vectors of 64 bytes. Where they are shorter (AVX2), steps through all pairs take
# longer, and beside them parameters and lists are cheaper, but blocks of examples are the dearer
# the more dimensions there are. Fitted to 19 whole runs on one core of an AMD EPYC (Zen 3) whose
# other core was busy: T = 100 ... 20,000, m = 2 ... 16. What three more took, of (500, 10),
# (2,000, 4) and (5,000, 6), it then said to a tenth. With wide vectors, where lists are by feature,
# late steps take less than that: on an AMD EPYC (Zen 5) seven runs of T = 1,000 ... 20,000, m = 8
# and 16 took 0.65 to 0.87 of what the rule had for them, and on the Xeon their times beside that of
# their first steps were 0.64 to 0.87 of it. Where blocks are listed, they take the more the more
# dimensions there are: runs of T = 5,000 on Zen 5 took 1.3, 1.2, 1.3 and 1.5 times as long as the
# rule had it for m = 3 ... 6, and 0.9 times for m = 2.
_WIDE = "avx512"
_WIDE_LATE, _WIDE_BLOCK = 0.7, 0.15
_SHORT_PARAMETER, _SHORT_PAIR, _SHORT_GROUP, _SHORT_BLOCK = 0.6, 0.75, 0.9, 0.3
# The rate of Adam that SGD is taken for, and points of an integral.
_RATE = 1e-3
_POINTS = 513


def work(config: TrainConfig, steps: float) -> float:
    """What the first steps of a run take, in units of about a multiply-add."""
    if backend().name != "native":
        return config.step_cost() * steps
    parameter = _PARAMETER if config.m <= GROUPED else _LONG_PARAMETER
    parameter *= 1.0 if _is_wide() else _SHORT_PARAMETER
    parameters = config.n * (config.m + 1.0) * parameter
    pairs = float(config.n) * config.batch * _pair(config.m)
    return parameters * steps + pairs * _gone_through(config, steps)


def _pair(m: int) -> float:
    """Multiply-adds of a pair of an example and a feature: as the native backend counts them."""
    return 1.8 * m + 1.2 if m <= 3 else 2.5 * m + 4.0


def _gone_through(config: TrainConfig, steps: float) -> float:
    """Steps through all pairs that have as many pairs as these steps.

    Lists are made only of examples that are the same in every step, and skip pairs for a ReLU.
    """
    if config.is_varied or config.activation == "linear" or steps <= _LISTED:
        return steps
    at = _LISTED + (steps - _LISTED) * np.linspace(0.0, 1.0, _POINTS) ** 2
    return _LISTED + float(np.trapezoid(_share(config, _path(config, at)), at))


def _share(config: TrainConfig, path: Array) -> Array:
    """The share of pairs that are not skipped where vectors have gone so far.

    Skipped is what is zero, or linear, for now. While vectors are short that is the rarer the more
    dimensions there are, as fewer go together; when they are long it is the more common, as what is
    stored has more room. Then it is the rarer the more examples share it with the features, up to
    as many as there are features, unless blocks of examples are listed, which become more compact
    with their number. Between the two the share falls like a power of the path.
    """
    room = math.pow(config.m, 2 / 3)
    early = min(1.0, _EARLY * room)
    shared = 0.0 if has_blocks(config) else min(1.0, config.batch / config.n)
    late = min(early, _late(config) * _LATE / room * (1.0 + shared))
    power = math.log(early / late) / math.log(_FROM / _UNTIL)
    falling = early * (np.clip(path, _UNTIL, _FROM) / _UNTIL) ** -power
    share: Array = np.minimum(1.0, _listed(config) * falling)
    return share


def _is_wide() -> bool:
    """Whether the native backend computes with vectors of 64 bytes."""
    return backend().isa() == _WIDE


def _late(config: TrainConfig) -> float:
    """What late steps take in wide vectors, as a multiple of what they take by the general rule."""
    if not _is_wide():
        return 1.0
    if config.m > GROUPED:
        return _WIDE_LATE
    return 1.0 + _WIDE_BLOCK * max(0, config.m - 2) if has_blocks(config) else 1.0


def _listed(config: TrainConfig) -> float:
    """What a pair of lists takes, beside a pair of all, as a multiple of that in wide vectors."""
    if _is_wide():
        return 1.0
    if has_blocks(config):
        return _SHORT_BLOCK * config.m
    return _SHORT_GROUP if config.m <= GROUPED else _SHORT_PAIR


def _path(config: TrainConfig, steps: Array) -> Array:
    """The sum of the learning rates of the first steps: how far Adam takes a coordinate."""
    highest, lowest = config.learning_rate, config.final_learning_rate
    if config.optimizer == "sgd":
        highest, lowest = _RATE, 0.0
    warmup = config.warmup_steps
    before, after = np.minimum(steps, warmup), np.maximum(steps - warmup, 0.0)
    path: Array = highest * before**2 / (2 * max(1, warmup))
    length = config.steps - warmup
    if config.schedule == "constant" or length <= 0:
        return path + highest * after
    if config.schedule == "quarter_cosine":
        whole = 2 * length / math.pi
        return path + lowest * after + (highest - lowest) * whole * np.sin(after / whole)
    half = length / math.pi
    wave = half * np.sin(after / half)
    return path + (highest + lowest) / 2 * after + (highest - lowest) / 2 * wave
