"""The errors toysup raises on its own account, and the words they use.

Bad arguments are plain ``ValueError`` and ``TypeError`` that name the parameter and the value;
the classes here are for what can go wrong although the arguments were right.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BackendError",
    "DataError",
    "RunFailedError",
    "SlowBackendWarning",
    "StoreError",
    "SurroundingsError",
    "SweepInterrupted",
    "ToysupError",
]


class ToysupError(Exception):
    """Base class of toysup's own errors."""


class BackendError(ToysupError, ImportError):
    """The backend that was asked for cannot be used."""


class DataError(ToysupError, LookupError):
    """The rows of a data set are needed, and are not at hand."""


class StoreError(ToysupError, OSError):
    """A store or a run file cannot be read or written.

    Attributes
    ----------
    runs : tuple of Run
        Runs of a sweep that had finished and could not be written, so that they are not lost.
    """

    runs: tuple[Any, ...] = ()


class RunFailedError(ToysupError, RuntimeError):
    """A run of a sweep raised an error of its own.

    Attributes
    ----------
    result : SweepResult or None
        What there is of the sweep; None for a single training.
    """

    result: Any = None


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a sweep, and all that was finished is safe.

    As other interrupts it is no ``Exception``, and so no :class:`ToysupError`: what goes on after
    errors stops here nevertheless.

    Attributes
    ----------
    result : SweepResult
        What there is of the sweep. If it has a store, :func:`toysup.open_sweep` gives it too.
    """

    def __init__(self, message: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class SurroundingsError(ToysupError, RuntimeError):
    """Where this process runs, nothing can be trained, or not to the same bits."""


class SlowBackendWarning(UserWarning):
    """NumPy trains here, for want of the Rust extension; said once in a process."""


# How NumPy writes its numbers: np.float64(nan), np.True_.
_NUMPY = re.compile(r"\bnp\.(?:(?:u?int|float|complex|longdouble)\d*\(([^()]*)\)|(True|False)_)")


def short(value: object, limit: int = 80) -> str:
    """``repr`` of a value, on one line, and cut to a length that fits an error message.

    NumPy's numbers are written as Python's.
    """
    text = re.sub(r"\s*\n\s*", " ", repr(value))
    if not isinstance(value, str):
        text = _NUMPY.sub(lambda found: found[1] or found[2], text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


# What other programs call it, and what is to be minded there.
_ELSEWHERE = {
    **dict.fromkeys(("n_features", "num_features", "n_feat", "d_in", "input_dim"), ("n", "")),
    **dict.fromkeys(("n_hidden", "num_hidden", "d_hidden", "hidden_dim", "d_model"), ("m", "")),
    **dict.fromkeys(("n_samples", "num_samples", "n_examples", "num_examples"), ("T", "")),
    **dict.fromkeys(
        ("feature_probability", "feature_prob", "feat_prob", "probability", "density", "p"),
        ("sparsity", ", which is 1 minus that probability"),
    ),
    **dict.fromkeys(("lr", "rate", "step_size"), ("learning_rate", "")),
    **dict.fromkeys(
        ("eta_min", "min_lr", "lr_min", "final_lr", "end_lr"), ("final_learning_rate", "")
    ),
    **dict.fromkeys(("bias", "use_bias", "train_bias"), ("learn_bias", "")),
    **dict.fromkeys(("b_init", "initial_bias", "init_bias"), ("bias_init", "")),
    **dict.fromkeys(("wd", "decay", "l2"), ("weight_decay", "")),
    **dict.fromkeys(("epochs", "n_steps", "num_steps", "iterations", "max_steps"), ("steps", "")),
    **dict.fromkeys(("bs", "batch"), ("batch_size", "")),
    **dict.fromkeys(("beta1", "beta2", "beta"), ("betas", ", which is a pair")),
    "warmup_steps": ("warmup", ", which is a share of the steps"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler"), ("schedule", "")),
    **dict.fromkeys(("opt", "optim"), ("optimizer", "")),
    **dict.fromkeys(("loss", "reduction"), ("loss_reduction", "")),
    **dict.fromkeys(("act", "nonlinearity", "activation_fn"), ("activation", "")),
    **dict.fromkeys(("random_state", "random_seed", "data_seed", "dataset_seed"), ("seed", "")),
    **dict.fromkeys(("model_seed", "weight_seed"), ("init_seed", "")),
    "precision": ("dtype", ""),
    **dict.fromkeys(("n_test", "test_examples", "test_samples"), ("test_size", "")),
    **dict.fromkeys(("n_workers", "num_workers", "threads", "n_threads"), ("n_jobs", "")),
    **dict.fromkeys(("out_dir", "output", "save_dir", "folder"), ("store", "")),
}


def closest(name: str, known: Iterable[str]) -> tuple[str, str]:
    """The known name that is meant, and what is to be minded; two empty strings if none is."""
    known = list(known)
    lowered = {k.lower(): k for k in known}
    word = name.lower().replace("-", "_")
    if word in lowered:
        return lowered[word], ""
    meant, note = _ELSEWHERE.get(word, ("", ""))
    if meant in known:
        return meant, note
    close = [k for k in known if len(word) > 2 and k.startswith(word)]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return (close[0], "") if close else ("", "")


def printable(text: object, keep: str = "") -> str:
    """``str`` of a value without anything that a terminal obeys.

    Control characters, ends of lines, changes of the direction of writing and what is no Unicode
    become escapes as Python writes them; those in ``keep`` stay.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in keep or unicodedata.category(c) == "Zs"
        else c.encode("unicode_escape").decode()
        for c in text
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A phrase such as ``"; did you mean 'seed'?"``, or the empty string."""
    meant, note = closest(name, known)
    return f"; did you mean {meant!r}{note}?" if meant else ""


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not one of ``known``."""
    known = list(known)
    hint = nearest(name, known) if isinstance(name, str) else ""
    choices = ", ".join(repr(k) for k in known)
    return f"{what} must be one of {choices}, got {short(name)}{hint}"
