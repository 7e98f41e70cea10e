"""Flushed denormals and other roundings, which libraries set, change no bit."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import operator
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import toysup
from helpers import bits, run_bits
from toysup import SurroundingsError, TrainConfig, _floats, metrics, sweep, train
from toysup._system.processors import processors
from toysup.data import sample

# Where the control register lies in glibc's fenv_t, and what modes are called in it.
_REGISTERS = {
    "x86_64": (28, dict(FTZ=1 << 15, DAZ=1 << 6, up=2 << 13, down=1 << 13, zero=3 << 13)),
    "aarch64": (0, dict(FTZ=1 << 24, up=1 << 22, down=2 << 22, zero=3 << 22)),
}
_OFFSET, _FLAGS = _REGISTERS.get(platform.machine(), (0, {}))
_MASK = functools.reduce(operator.or_, _FLAGS.values(), 0)
MODES = ["FTZ", "DAZ", "FTZ DAZ", "up", "down", "zero"]

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not _FLAGS, reason="the register is not known here"
)


def _bits(name: str) -> int:
    return sum(_FLAGS.get(word, 0) for word in name.split())


def register() -> int:
    """The control register of this thread, without the flags of what has happened."""
    saved = ctypes.create_string_buffer(512)
    ctypes.CDLL("libm.so.6").fegetenv(saved)
    return int(struct.unpack_from("<I", saved, _OFFSET)[0]) & _MASK


@contextlib.contextmanager
def mode(name: str) -> Iterator[None]:
    """While entered, this thread is in that mode, and must be in it at the end."""
    c = ctypes.CDLL("libm.so.6")
    saved, changed = ctypes.create_string_buffer(512), ctypes.create_string_buffer(512)
    c.fegetenv(saved)
    c.fegetenv(changed)
    flags = _bits(name)
    word = struct.unpack_from("<I", changed, _OFFSET)[0]
    struct.pack_into("<I", changed, _OFFSET, word | flags)
    c.fesetenv(changed)
    try:
        yield
        assert register() == flags
    finally:
        c.fesetenv(saved)


BASE = TrainConfig(
    n=1000, m=2, T=20, sparsity=0.98, importance=0.9, steps=20, test_size=20, record=4, snapshots=2
)
# With flushed denormals each has other bits on both backends, if nothing is done.
CONFIGS = {
    "importance": dict(m=7),
    "linear": dict(activation="linear"),
    "adam": dict(optimizer="adam", weight_decay=0.0),
    "sgd": dict(optimizer="sgd"),
    "weight decay": dict(
        n=60,
        T=4,
        importance=[1.0] * 5 + [0.0] * 55,
        weight_decay=990.0,
        schedule="constant",
        warmup=0.0,
    ),
    "double": dict(dtype="float64", importance=0.4, optimizer="sgd"),
}
_expected: dict[tuple[str, str], bytes] = {}


def expected(backend: str, name: str) -> bytes:
    """The bits of a run in the default mode."""
    if (backend, name) not in _expected:
        _expected[backend, name] = run_bits(train(BASE, **CONFIGS[name]))
    return _expected[backend, name]


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_has_the_same_bits_in_every_mode(backend, name, how):
    right = expected(backend.name, name)
    with mode(how):
        run = train(BASE, **CONFIGS[name])
        assert run_bits(run) == right


@pytest.mark.parametrize("how", ["FTZ DAZ", "up"])
def test_sweeps_have_the_same_bits(backend, how):
    axes = {"T": [5, 20], "seed": range(2)}
    right = [run_bits(run) for run in sweep(BASE, **axes).runs()]
    with mode(how), concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert [run_bits(run) for run in sweep(BASE, **axes, n_jobs=2).runs()] == right
        # Its threads are in the mode as well.
        assert set(executor.map(lambda _: register(), range(2))) != {0}
        assert [run_bits(run) for run in sweep(BASE, **axes, executor=executor).runs()] == right


@pytest.mark.parametrize("how", ["FTZ DAZ", "up"])
def test_numbers_outside_of_runs_are_the_same(backend, how):
    W, b = np.full((2, 300), 1e-20, np.float32), np.full(300, 1e-39, np.float32)
    A = np.geomspace(1e-310, 1e-300, 600).reshape(300, 2)

    def numbers() -> bytes:
        X = sample(300, 40, 0.9, 5)
        answers = toysup.loss_and_grad(W, b, X, importance=0.5, activation="linear")
        V = X.dot(A)
        return bits(*X.csr(), *answers, V, metrics.dimensionality(V), BASE.importances())

    right = numbers()
    with mode(how):
        assert numbers() == right


def test_what_cannot_be_mended_is_refused(backend, monkeypatch):
    monkeypatch.setattr(_floats, "_functions", lambda: None)
    train(BASE)
    for how in MODES:
        with mode(how), pytest.raises(SurroundingsError, match=r"set_flush_denormal\(True\)"):
            train(BASE)
    train(BASE)


# The threads of BLAS are as old as NumPy's import.
BLAS = """
import ctypes, struct, sys
c, saved = ctypes.CDLL("libm.so.6"), ctypes.create_string_buffer(512)
c.fegetenv(saved)
usual = bytes(saved)
offset, flags = map(int, sys.argv[1:])
struct.pack_into("<I", saved, offset, struct.unpack_from("<I", saved, offset)[0] | flags)
c.fesetenv(saved)
import numpy
c.fesetenv(usual)
import toysup
toysup.train(n=20, T=3, sparsity=0.8, steps=2, test_size=2)
"""


@pytest.mark.skipif(processors() < 2, reason="BLAS has one thread")
@pytest.mark.parametrize("how", ["FTZ DAZ", "zero"])
def test_threads_of_blas_in_another_mode_are_refused(how):
    if "openblas" not in str(np.show_config(mode="dicts")):
        pytest.skip("only of OpenBLAS is it known")
    done = [
        subprocess.run(
            [sys.executable, "-c", BLAS, str(_OFFSET), str(_bits(how))],
            env={**os.environ, "TOYSUP_BACKEND": "numpy", "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for threads in ("2", "1")
    ]
    assert "SurroundingsError: in threads of NumPy's BLAS" in done[0].stderr
    assert done[1].returncode == 0, done[1].stderr
