"""What one training run is: :class:`TrainConfig`, checked once and for all at construction."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup.config import cost
from toysup.config.checks import as_flag, as_float, as_int, in_range
from toysup.config.data import DataRef, as_data
from toysup.config.per_feature import PER_FEATURE, Biases, Importances, PerFeature, Sparsities
from toysup.config.values import as_value
from toysup.config.weights import Weights, as_weights
from toysup.errors import nearest, short, unknown

__all__ = ["FIELDS", "TrainConfig", "as_sparsity"]

# Examples per step when T is infinite and ``batch_size`` is None.
DEFAULT_BATCH = 1000
# Seeds and example numbers fit in a signed 64-bit integer, so that they survive JSON and xarray.
MAX_SEED = 2**63 - 1
MAX_EXAMPLES = 2**48
MAX_FEATURES = 2**31 - 1
# Copies of one example.
MAX_REPEATS = 1_000_000

_CHOICES = {
    "schedule": ("cosine", "quarter_cosine", "constant"),
    "optimizer": ("adamw", "adam", "sgd"),
    "loss_reduction": ("mean", "sum"),
    "init": ("xavier_uniform", "xavier_normal", "polygon"),
    "activation": ("relu", "linear"),
    "dtype": ("float32", "float64"),
}

# The least eps, as a denormal one would be lost, and the largest number.
_TINY = {dtype: float(np.finfo(dtype).tiny) for dtype in ("float32", "float64")}
_LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in ("float32", "float64")}


def _as_choice(name: str, value: object) -> str:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a string, got {short(value)} ({kind})")
    if value not in _CHOICES[name]:
        raise ValueError(unknown(name, value, _CHOICES[name]))
    return str(value)  # of NumPy's kind of text, too


def _as_examples(value: object) -> int | float:
    """T: a positive integer, an integral float such as 1e5, or infinity."""
    if isinstance(value, numbers.Real) and not isinstance(value, (numbers.Integral, np.bool_)):
        number = float(value)
        if number == math.inf:
            return math.inf
        if not number.is_integer():  # NaN and -inf included
            raise ValueError(f"T must be a positive integer or infinity, got {number}")
        value = int(number)
    return as_int("T", value, 1, MAX_EXAMPLES)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _as_importance(value: object, n: int) -> float | tuple[float, ...]:
    """A base r > 0, or n importances >= 0 as a tuple (hashable)."""
    if isinstance(value, numbers.Real):
        return in_range("importance", value, 0.0, open_low=True)
    return Importances.of(value, n)


def as_sparsity(value: object, n: int) -> float | Sparsities:
    """One number in [0, 1) for all features, or n numbers in [0, 1]."""
    if isinstance(value, numbers.Real):
        return in_range("sparsity", value, 0, 1)
    return Sparsities.of(value, n)


def _as_bias(value: object, n: int) -> float | tuple[float, ...]:
    """One number for all, or n numbers as a tuple."""
    if isinstance(value, numbers.Real):
        return as_float("bias_init", value)
    return Biases.of(value, n)


def _as_betas(value: object) -> tuple[float, float]:
    pair = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence):
        kind = type(value).__name__
        raise TypeError(f"betas must be a pair of numbers, got {short(value)} ({kind})")
    if len(pair) != 2:
        raise ValueError(f"betas must be a pair of numbers, got {short(value)}")
    pair = [as_value("betas", part) for part in pair]
    return in_range("betas[0]", pair[0], 0, 1), in_range("betas[1]", pair[1], 0, 1)


def _as_init(value: object) -> str | Weights:
    """A name, or weights as a :class:`Weights`."""
    weights = as_weights(value)
    if weights is not None:
        return weights
    if not isinstance(value, str):
        kind = type(value).__name__
        raise TypeError(
            f"init must be a name, a Run or a pair (W, b) of arrays, got {short(value)} ({kind})"
        )
    return _as_choice("init", value)


def _as_repeats(value: object, T: int | float) -> tuple[tuple[int, int], ...]:
    """Pairs (t, R) with R > 1, sorted by t."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    is_list = isinstance(pairs, (Sequence, np.ndarray)) and not isinstance(pairs, (str, bytes))
    if not is_list:
        kind = type(value).__name__
        raise TypeError(f"repeats must be pairs (t, R), got {short(value)} ({kind})")
    counts: dict[int, int] = {}
    for pair in (as_value("repeats", pair) for pair in pairs):  # type: ignore[attr-defined]
        if not isinstance(pair, (Sequence, np.ndarray)) or len(pair) != 2:
            raise TypeError(f"repeats must be pairs (t, R), got {short(pair)} in {short(value)}")
        if T == math.inf:
            raise ValueError(f"repeats must be empty when T is infinite, got {short(value)}")
        t, R = (as_value("repeats", part) for part in pair)
        t = as_int("t in repeats", t, 0, int(T) - 1)
        if t in counts:
            raise ValueError(f"repeats has the example {t} twice: {short(value)}")
        counts[t] = as_int("R in repeats", R, 1, MAX_REPEATS)
    return tuple((t, R) for t, R in sorted(counts.items()) if R > 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides the result of one run; frozen, hashable and picklable.

    The defaults are the paper's recipe: n = 10,000 features, S = 0.999, unit-norm examples and
    50,000 full-batch AdamW updates, with a warm-up to 1e-3 and a cosine decay to 0.

    Parameters
    ----------
    n : int
        Number of features, at least 1.
    m : int
        Number of hidden dimensions, 1 <= m <= n.
    T : int or math.inf
        Number of training examples: the first T of the stream. With ``math.inf`` every step takes
        the next ``batch_size`` examples of the stream, and none is ever seen twice. A finite
        training set is seen whole in every step, or in batches; see ``batch_size``. With ``data``
        see there.
    repeats : pairs of (int, int), or dict
        ``{t: R}`` or ``((t, R), ...)``: example t of the stream occurs R times in the training set
        in all. The further copies follow the first T examples. A finite T only.
    activation : {"relu", "linear"}
        What follows W^T W x + b. Without the ReLU nothing is stored in superposition: a control.
    data : toysup.data.Dataset or None
        Examples of one's own in place of the stream's. n, S and ``normalize`` are then those of
        the data set, and T is the number of its rows if not given. The training set is the first T
        rows in an order that is drawn from ``seed``; with an infinite T every step draws
        ``batch_size`` rows, with replacement. The test loss is that of the data set's test rows,
        or of the rows that follow the first T in that order, at most ``test_size`` of them; NaN if
        there are none. A config holds the digest of a data set and its sizes
        (``config.data.digest``, ``.rows``, ``.n``), not its rows.
    sparsity : float or array of shape (n,)
        S in [0, 1): the probability that a feature of an example is zero. Or S_i in [0, 1] for each
        feature: :func:`toysup.data.power_law` gives some.
    normalize : bool
        Whether each example is scaled to unit Euclidean norm (an all-zero example stays zero).
    importance : float or array of shape (n,)
        A base r, for I_i = r**i, or the importances I_i >= 0 themselves.
    seed : int
        The dataset seed.
    init_seed : int or None
        The seed of the initial W; None means the same number as ``seed``.
    steps : int
        Number of updates; 0 keeps the initial weights.
    learning_rate : float
        The largest learning rate.
    final_learning_rate : float
        Where the cosine ends, in [0, ``learning_rate``], as PyTorch's ``eta_min``. After the
        warm-up the rate of update k of K is r + (``learning_rate`` - r) (1 + cos(pi k / K)) / 2
        with r = ``final_learning_rate`` (Loshchilov and Hutter 2017, SGDR), and with a quarter
        of a cosine r + (``learning_rate`` - r) cos(pi k / 2K). A constant schedule does not use
        it.
    warmup : float
        Share of the steps, in [0, 1), over which the learning rate rises linearly.
    schedule : {"cosine", "quarter_cosine", "constant"}
        What the learning rate does after the warm-up: half a cosine down to
        ``final_learning_rate``, a quarter of one, as in the notebook of "Toy Models of
        Superposition", or nothing.
    optimizer : {"adamw", "adam", "sgd"}
        As in PyTorch: AdamW decouples the weight decay from the gradient, Adam and SGD add it to
        the gradient.
    betas : (float, float)
        Decay of AdamW's and Adam's first and second moment, each in [0, 1).
    momentum : float
        SGD's momentum, in [0, 1). The other optimizers do not use it.
    eps : float
        AdamW's and Adam's eps, > 0. It is what makes the two loss reductions differ.
    weight_decay : float
        Weight decay, >= 0.
    decay_bias : bool
        Whether b is decayed too.
    learn_bias : bool
        Whether b is trained. If not, it stays what it is at first: no gradient moves it, and no
        weight decay.
    loss_reduction : {"mean", "sum"}
        Whether the squared error of an example is averaged over its n features, or summed, in the
        loss that is minimised. Reported losses are always sums over features and means over
        examples, as in the paper.
    init : {"xavier_uniform", "xavier_normal", "polygon"}, Run, or pair of arrays
        Initial W (Glorot and Bengio 2010), with b = ``bias_init``. "polygon" (m = 2 only) is the
        analytic solution that stores the examples: hidden vectors are the corners of a regular
        T-gon, and train loss is 0 if no two examples share a feature. From a :class:`Run`, or a
        pair (W, b) of shapes (m, n) and (n,), a run starts with those weights, and the moments of
        its optimizer with 0. A mapping with the keys W and b, such as a PyTorch module's
        ``state_dict``, does for a pair.
    bias_init : float or array of shape (n,)
        Initial b, one number for all features or one for each. It must be 0.0 where ``init`` has a
        b of its own: "polygon", a Run, or a pair.
    batch_size : int or None
        Examples per step. None means all of a finite training set, or 1,000 when T is infinite.
        A finite training set (further copies included) that is larger is trained in epochs: each
        takes all examples once, in an order of its own, which ``seed`` and the number of the epoch
        decide. The last batch of an epoch has what is left. The loss of a step is the mean over the
        examples of its batch, however many; reported train losses are over the whole training set.
    dtype : {"float32", "float64"}
        Type of W, b and the optimizer's state, which must be able to hold ``importance``, ``init``,
        ``bias_init`` and ``eps``. Losses are evaluated in double precision.
    test_size : int
        Number of fresh examples for ``test_loss``; 0 for none.
    record : int
        Number of points of the history, at log-spaced steps; the final state is always one.
    snapshots : int
        Number of snapshots of W and b, at log-spaced steps; the last one is the final state.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the value.
    """

    n: int = 10_000
    m: int = 2
    T: int | float = 1000
    repeats: tuple[tuple[int, int], ...] = ()
    activation: str = "relu"
    data: DataRef | None = None
    sparsity: float | tuple[float, ...] = 0.999
    normalize: bool = True
    importance: float | tuple[float, ...] = 1.0
    seed: int = 0
    init_seed: int | None = None
    steps: int = 50_000
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    warmup: float = 0.05
    schedule: str = "cosine"
    optimizer: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    eps: float = 1e-8
    weight_decay: float = 1e-2
    decay_bias: bool = True
    learn_bias: bool = True
    loss_reduction: str = "mean"
    init: str | Weights = "xavier_uniform"
    bias_init: float | tuple[float, ...] = 0.0
    batch_size: int | None = None
    dtype: str = "float32"
    test_size: int = 100_000
    record: int = 64
    snapshots: int = 0
    _key: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in FIELDS:
            value = getattr(self, name)
            plain = as_value(name, value)
            if plain is not value:
                object.__setattr__(self, name, plain)
        n = as_int("n", self.n, 1, MAX_FEATURES)
        values: dict[str, object] = {
            "n": n,
            "m": as_int("m", self.m, 1, MAX_FEATURES),
            "T": _as_examples(self.T),
            "data": as_data(self.data),
            "sparsity": as_sparsity(self.sparsity, n),
            "importance": _as_importance(self.importance, n),
            "seed": as_int("seed", self.seed, 0, MAX_SEED),
            "steps": as_int("steps", self.steps, 0, 2**40),
            "learning_rate": in_range("learning_rate", self.learning_rate, 0, open_low=True),
            "final_learning_rate": in_range("final_learning_rate", self.final_learning_rate, 0),
            "bias_init": _as_bias(self.bias_init, n),
            "warmup": in_range("warmup", self.warmup, 0, 1),
            "betas": _as_betas(self.betas),
            "momentum": in_range("momentum", self.momentum, 0, 1),
            "eps": in_range("eps", self.eps, 0, open_low=True),
            "weight_decay": in_range("weight_decay", self.weight_decay, 0),
            "test_size": as_int("test_size", self.test_size, 0, MAX_EXAMPLES),
            "record": as_int("record", self.record, 1, 1_000_000),
            "snapshots": as_int("snapshots", self.snapshots, 0, 1_000_000),
        }
        if values["m"] > n:  # type: ignore[operator]
            raise ValueError(f"m must not be larger than n = {n}, got {self.m}")
        if self.init_seed is not None:
            values["init_seed"] = as_int("init_seed", self.init_seed, 0, MAX_SEED)
        if self.batch_size is not None:
            values["batch_size"] = as_int("batch_size", self.batch_size, 1, MAX_EXAMPLES)
        for name in ("normalize", "decay_bias", "learn_bias"):
            values[name] = as_flag(name, getattr(self, name))
        values["repeats"] = _as_repeats(self.repeats, values["T"])  # type: ignore[arg-type]
        values["init"] = _as_init(self.init)
        for name in _CHOICES.keys() - {"init"}:
            choice = getattr(self, name)
            if name == "dtype" and choice in (np.float32, np.float64):
                choice = np.dtype(choice).name
            values[name] = _as_choice(name, choice)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check_data()
        self._check_rates()
        self._check_init()
        self._check_dtype()

    def _check_data(self) -> None:
        """Refuse what is not as the data set has it."""
        data = self.data
        if data is None:
            return
        if self.n != data.n:
            raise ValueError(f"n must be {data.n}, the number of features of data, got {self.n}")
        if self.T != math.inf and self.T > data.rows:
            raise ValueError(
                f"T must be at most {data.rows}, the number of rows of data, got {self.T}"
            )
        for name in OF_DATA:
            if getattr(self, name) != getattr(data, name):
                raise ValueError(of_data(name, getattr(self, name)))
        if data.largest > _LARGEST[self.dtype]:
            raise ValueError(
                f"data must hold values of at most {_LARGEST[self.dtype]:g} for {self.dtype}, "
                f"got {data.largest:g}"
            )

    def _check_rates(self) -> None:
        """Refuse a schedule that would rise."""
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate must not be larger than learning_rate = "
                f"{self.learning_rate}, got {self.final_learning_rate}"
            )

    def _check_dtype(self) -> None:
        """Refuse what the dtype cannot hold."""
        dtype, importance, init = self.dtype, self.importance, self.init
        tiny, largest = _TINY[dtype], _LARGEST[dtype]
        if not tiny <= self.eps <= largest:
            raise ValueError(
                f"eps must be between {tiny:g} and {largest:g} for {dtype}, got {self.eps}"
            )
        if isinstance(importance, float):
            if (self.n - 1) * math.log(importance) > math.log(largest):
                raise ValueError(
                    f"importance: r**i overflows {dtype} for r = {importance} and n = {self.n} "
                    "features"
                )
        elif importance.largest > largest:  # type: ignore[attr-defined]  # see _as_importance
            raise ValueError(
                f"importance must be at most {largest:g} for {dtype}, got {importance.largest}"  # type: ignore[attr-defined]
            )
        if isinstance(init, Weights) and init.largest > largest:
            raise ValueError(
                f"init must hold numbers of at most {largest:g} for {dtype}, got {init.largest:g}"
            )
        if _size(self.bias_init) > largest:
            raise ValueError(
                f"bias_init must be at most {largest:g} in size for {dtype}, "
                f"got {_size(self.bias_init):g}"
            )

    def _check_init(self) -> None:
        """Refuse a start that does not fit the model."""
        if isinstance(self.init, Weights) and self.init.W.shape != (self.m, self.n):
            raise ValueError(
                f"init must hold W of shape (m, n) = ({self.m}, {self.n}), "
                f"got shape {self.init.W.shape}"
            )
        if self.init == "polygon" and self.m != 2:
            raise ValueError(f"init = 'polygon' is for m = 2, got m = {self.m}")
        if self.init == "polygon" and self.T == math.inf:
            raise ValueError("init = 'polygon' is for a finite T, got inf")
        if self.bias_init != 0.0 and _has_bias(self.init):
            raise ValueError(
                f"bias_init must be 0.0 where init has a b of its own (init = {self.init!r}), "
                f"got {short(self.bias_init)}"
            )

    @classmethod
    def from_checked(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A config of all fields, each as a config holds it; whether they fit is checked quickly.

        A grid may have 1,000,000 cells, and knows the values of every axis to be right.

        Raises
        ------
        TypeError, ValueError
            If they do not fit together.
        """
        for name, kind in PER_FEATURE.items():
            value = values[name]
            if isinstance(value, tuple) and not isinstance(value, kind):
                values = {**values, name: kind(value)}
        if not _fit(values):
            return cls(**values)  # which says what is wrong
        config = object.__new__(cls)
        for name in FIELDS:
            object.__setattr__(config, name, values[name])
        object.__setattr__(config, "_key", "")
        return config

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A config from a mapping of field names; a wrong name is met with the nearest right one.

        Raises
        ------
        TypeError
            For a name that is not a field.
        """
        return cls(**values)

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some fields changed.

        >>> TrainConfig(m=2).replace(m=4).m
        4
        """
        return self.from_fields({**kept_fields(self.to_dict(), changes), **changes})

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict, in the order of the class."""
        return {name: getattr(self, name) for name in FIELDS}

    def to_json(self) -> str:
        """The config as canonical JSON: the fields, sorted, an infinite T as ``"inf"``.

        Fields that came later, such as ``repeats``, are left out at their defaults, so that a run
        that was stored before is still the same run.

        >>> TrainConfig.from_json(TrainConfig(T=math.inf).to_json()).T
        inf
        """
        text = _json(self._plain())
        for name, value in self._per_feature().items():  # there may be 100,000
            text = text.replace(f'"{name}":null', f'"{name}":{value.text}')
        return text

    def plain(self) -> dict[str, Any]:
        """The JSON values of :meth:`to_json`."""
        values = self._plain()
        values.update((name, list(value)) for name, value in self._per_feature().items())
        return values

    def _per_feature(self) -> dict[str, PerFeature]:
        """The fields that are given feature by feature."""
        values = {name: getattr(self, name) for name in PER_FEATURE}
        return {name: value for name, value in values.items() if isinstance(value, PerFeature)}

    def _plain(self) -> dict[str, Any]:
        """The same without what is given feature by feature."""
        values = {**self.to_dict(), **dict.fromkeys(self._per_feature())}
        for name, default in _LATER.items():
            if values[name] == default:
                del values[name]
        for name, value in values.items():
            if isinstance(value, tuple):
                values[name] = [list(v) if isinstance(v, tuple) else v for v in value]
        if self.T == math.inf:
            values["T"] = "inf"
        if isinstance(self.init, Weights):
            values["init"] = self.init.to_json()
        if self.data is not None:
            values["data"] = self.data.to_json()
        return values

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        ValueError
            If the text is not JSON, not an object, or holds an unknown field.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"config is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"config must be a JSON object, got {short(values)}")
        if values.get("T") == "inf":
            values["T"] = math.inf
        try:
            return cls.from_fields(values)
        except TypeError as error:
            raise ValueError(f"config: {error}") from error

    def key(self) -> str:
        """The name of the run's file in a store: 20 hexadecimal digits of the config's SHA-256."""
        if not self._key:
            digest = hashlib.sha256(self.to_json().encode()).hexdigest()
            object.__setattr__(self, "_key", digest[:20])
        return self._key

    @property
    def examples(self) -> int:
        """Examples of the training set: T and further copies; those of a step if T is infinite."""
        if self.T == math.inf:
            return DEFAULT_BATCH if self.batch_size is None else self.batch_size
        return int(self.T) + sum(R - 1 for _, R in self.repeats)

    @property
    def batch(self) -> int:
        """Examples per step; the last step of an epoch may have fewer."""
        return self.examples if self.batch_size is None else min(self.batch_size, self.examples)

    @property
    def in_batches(self) -> bool:
        """Whether each step takes a part of a finite training set."""
        return self.T != math.inf and self.batch < self.examples

    @property
    def is_varied(self) -> bool:
        """Whether steps differ in their examples: T is infinite, or the run is in batches."""
        return self.T == math.inf or self.in_batches

    @property
    def tested(self) -> int:
        """Examples of the test loss: ``test_size``, or as many as there are beside ``data``."""
        if self.data is None:
            return self.test_size
        left = 0 if self.T == math.inf else self.data.rows - int(self.T)
        return min(self.test_size, self.data.test or left)

    def copies(self) -> npt.NDArray[np.int64]:
        """The examples that follow the first T of a training set once more, by number."""
        t, R = np.array(self.repeats, dtype=np.int64).reshape(-1, 2).T
        return np.repeat(t, R - 1)

    @property
    def weight_seed(self) -> int:
        """The seed of the initial W: ``init_seed``, or ``seed`` when that is None."""
        return self.seed if self.init_seed is None else self.init_seed

    def idle(self) -> dict[str, str]:
        """Fields that change nothing in this run, each with the setting that leaves it so."""
        found: dict[str, str] = {}
        if self.steps == 0:
            found |= dict.fromkeys(OF_UPDATES, "steps is 0")
        if self.optimizer != "sgd":
            found["momentum"] = f"optimizer is {self.optimizer!r}"
        else:
            found |= dict.fromkeys(("betas", "eps"), "optimizer is 'sgd'")
        if self.T != math.inf and self.batch_size is not None:
            if self.steps == 0:
                found["batch_size"] = "steps is 0"
            elif not self.in_batches:
                found["batch_size"] = f"it is at least the {self.examples} training examples"
        if self.schedule == "constant":
            found["final_learning_rate"] = "schedule is 'constant'"
        if self.weight_decay == 0:
            found["decay_bias"] = "weight_decay is 0"
        elif not self.learn_bias:
            found["decay_bias"] = "learn_bias is False"
        if _has_bias(self.init):
            found["init_seed"] = f"init is {self.init!r}"
        return found

    @property
    def warmup_steps(self) -> int:
        """Number of updates over which the learning rate rises."""
        return round(self.warmup * self.steps)

    @exact_floats()
    def importances(self) -> npt.NDArray[np.float64]:
        """I_i of every feature, shape (n,); by repeated products, the same on every platform."""
        if isinstance(self.importance, tuple):
            return np.array(self.importance, dtype=np.float64)
        if self.importance == 1.0:
            return np.ones(self.n)
        factors = np.full(self.n, self.importance)
        factors[0] = 1.0
        with np.errstate(over="ignore", under="ignore"):
            return np.multiply.accumulate(factors)

    @property
    def density(self) -> float:
        """1 - S, the probability that a feature of an example is not zero; the mean of all."""
        S = self.sparsity
        return S.density if isinstance(S, Sparsities) else 1 - S  # type: ignore[operator]

    @property
    def empty(self) -> float:
        """The probability that all features of an example are zero."""
        S = self.sparsity
        return S**self.n if isinstance(S, float) else math.prod(S)

    def biases(self) -> npt.NDArray[np.float64]:
        """The initial b, shape (n,), where ``init`` has none of its own."""
        return np.full(self.n, self.bias_init, dtype=np.float64)

    def record_steps(self) -> npt.NDArray[np.int64]:
        """Steps of the history: about ``record`` of them, from 0 (the initial weights) to the last.

        The spacing grows like that of a logarithm; small runs have fewer points, never twice the
        same. With more points than steps, every step has one.
        """
        if self.record == 1 or self.steps == 0:
            return np.array([self.steps], dtype=np.int64)
        return np.concatenate(([0], log_steps(self.steps, self.record - 1)))

    def snapshot_steps(self) -> npt.NDArray[np.int64]:
        """Steps of the snapshots, log-spaced; the last is ``steps``. As many as steps are all."""
        if self.snapshots == 0:
            return np.zeros(0, dtype=np.int64)
        return log_steps(self.steps, self.snapshots)

    def step_cost(self) -> float:
        """Multiply-adds of one update, roughly: what progress and scheduling count with."""
        return cost.step_cost(self)

    def memory(self) -> int:
        """Bytes that a run needs at most: O(n m + non-zeros + T m + snapshots), and lists.

        Both backends stay below. The native one needs about half of it, the other one less.
        """
        return cost.memory(self)

    def disk(self) -> int:
        """Bytes of the run's file, to a few percent."""
        return cost.arrays(self) + len(self.to_json()) + 4096  # the headers of 13 arrays

    def arrays(self) -> int:
        """Bytes of the arrays of the run that it becomes."""
        return cost.arrays(self)


@exact_floats()
def log_steps(steps: int, count: int) -> npt.NDArray[np.int64]:
    """At most ``count`` different steps in 1 ... ``steps``, log-spaced, the last one included."""
    if steps == 0 or count == 1:
        return np.array([steps], dtype=np.int64)
    if count >= steps:
        return np.arange(1, steps + 1, dtype=np.int64)
    grid = np.rint(np.geomspace(1, steps, count)).astype(np.int64)
    grid[-1] = steps
    return np.unique(grid)


def _has_bias(init: str | Weights) -> bool:
    """Whether a start gives b, too."""
    return init == "polygon" or isinstance(init, Weights)


def _size(bias: float | tuple[float, ...]) -> float:
    """The largest absolute value of initial biases."""
    return bias.largest if isinstance(bias, Biases) else abs(bias)  # type: ignore[arg-type]


def _fit(values: Mapping[str, Any]) -> bool:
    """Whether values that are right one by one are certain to be a config."""
    n, m, T, importance = (values[name] for name in ("n", "m", "T", "importance"))
    repeats, init, data, bias = (values[name] for name in ("repeats", "init", "data", "bias_init"))
    dtype, largest = values["dtype"], _LARGEST[values["dtype"]]
    if isinstance(init, Weights):
        fits = init.W.shape == (m, n) and init.largest <= largest
    else:
        fits = init != "polygon"
    return (
        fits
        and m <= n
        and values["final_learning_rate"] <= values["learning_rate"]
        and (bias == 0.0 or (not _has_bias(init) and _size(bias) <= largest))
        and (isinstance(bias, float) or len(bias) == n)
        and (isinstance(values["sparsity"], float) or len(values["sparsity"]) == n)
        and (
            importance == 1.0
            or (
                isinstance(importance, Importances)
                and len(importance) == n
                and importance.largest <= largest
            )
        )
        and (
            data is None
            or (n == data.n and (T == math.inf or T <= data.rows) and data.largest <= largest)
        )
        and (not repeats or (T != math.inf and repeats[-1][0] < T))
        and _TINY[dtype] <= values["eps"] <= largest
    )


def _named(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that meets an unknown name with the nearest right one."""

    @functools.wraps(init)
    def checked(self: TrainConfig, **values: Any) -> None:
        for name in values:
            if name not in FIELDS:
                raise TypeError(f"unknown parameter {name!r}{nearest(name, FIELDS)}")
        data = as_data(values.get("data"))
        if data is not None:
            own = {name: getattr(data, name) for name in ("n", *OF_DATA)}
            values = {"T": data.rows, **own, **values, "data": data}
        init(self, **values)

    return checked


def kept_fields(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that follow from the data set, if that changes."""
    before = fields.get("data")
    data = as_data(changes.get("data", before))
    if data == before:
        return dict(fields)
    left_out = OF_DATA if data is None else ("n", *OF_DATA)
    return {k: v for k, v in fields.items() if k not in left_out}


def of_data(name: str, value: object) -> str:
    """The message for a field that is given beside data, and follows from them."""
    where = ": give it to toysup.data.Dataset" if name == "normalize" else ""
    return f"{name} must not be given beside data, which have their own{where}, got {short(value)}"


# Fields that only updates make use of.
OF_UPDATES = (
    *("learning_rate", "final_learning_rate", "warmup", "schedule", "optimizer", "betas"),
    *("momentum", "eps", "weight_decay", "decay_bias", "learn_bias", "loss_reduction"),
)

# Fields that are those of the data set, if there is one.
OF_DATA = ("sparsity", "normalize")

# Fields that configs did not have at first.
_LATER = {
    **{"repeats": (), "activation": "relu", "data": None},
    **{"final_learning_rate": 0.0, "learn_bias": True, "bias_init": 0.0},
}

FIELDS: tuple[str, ...] = tuple(f.name for f in fields(TrainConfig) if f.init)
TrainConfig.__init__ = _named(TrainConfig.__init__)  # type: ignore[method-assign]
