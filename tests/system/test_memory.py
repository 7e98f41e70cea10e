"""What memory is left, and what a run takes of it and of the disk."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import toysup
from toysup import TrainConfig
from toysup._backends import reference
from toysup._system import groups as _groups
from toysup._system import memory
from toysup._system.memory import available, budget, refuse_memory

pytestmark = pytest.mark.any_backend

GIB = 1 << 30
LINUX = sys.platform.startswith("linux")

# --------------------------------------------------------------------------------- what is left

MOUNT_V2 = "30 23 0:26 {top} /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
MOUNT_V1 = "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
OTHER = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"


@pytest.fixture
def system(monkeypatch, tmp_path):
    """``system(files)``: /proc and /sys with these files, on a machine with 16 GiB to give."""
    monkeypatch.setattr(_groups, "ROOT", tmp_path)
    monkeypatch.setattr(memory, "_limits", lambda: iter(()))

    def make(files: dict[str, str]) -> None:
        meminfo = f"MemTotal: 99 kB\nMemFree: 7 kB\nMemAvailable: {16 * GIB // 1024} kB\n"
        for name, text in {"proc/meminfo": meminfo, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return make


def v2(group: str, limit: object, used: int, inactive: int = 0, high: object = "max") -> Any:
    folder = Path("sys/fs/cgroup") / group.lstrip("/")
    stat = f"anon 1\nfile 2\ninactive_anon 3\ninactive_file {inactive}\nactive_file 5"
    files = {"max": limit, "high": high, "current": used, "stat": stat}
    return {f"{folder}/memory.{name}": str(text) for name, text in files.items()}


def v1(group: str, limit: int, used: int, inactive: int = 0) -> dict[str, str]:
    folder = Path("sys/fs/cgroup/memory") / group.lstrip("/")
    stat = f"inactive_file 1\ntotal_inactive_anon 2\ntotal_inactive_file {inactive}"
    files = {"limit_in_bytes": limit, "usage_in_bytes": used, "stat": stat}
    return {f"{folder}/memory.{name}": str(text) for name, text in files.items()}


def proc(groups: str, *mounts: str) -> dict[str, str]:
    return {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join(mounts)}


V1 = "4:memory:/job/7\n3:cpu,cpuacct:/other\n0::/"
CASES = {
    "no groups": ({}, 16 * GIB),
    "the system has less": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", 40 * GIB, GIB)},
        16 * GIB,
    ),
    "a group of version 2": (
        {**proc("0::/a", OTHER, MOUNT_V2.format(top="/")), **v2("a", 4 * GIB, GIB)},
        3 * GIB,
    ),
    "unused pages of files do not count": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", 4 * GIB, 3 * GIB, 2 * GIB)},
        3 * GIB,
    ),
    "no limit": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", "max", GIB)},
        16 * GIB,
    ),
    "a limit that slows down": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", "max", GIB, high=2 * GIB)},
        GIB,
    ),
    "the group around it": (
        {
            **proc("0::/a/b/c", MOUNT_V2.format(top="/")),
            **v2("a/b/c", "max", GIB),
            **v2("a/b", "max", GIB),
            **v2("a", 6 * GIB, 4 * GIB),
        },
        2 * GIB,
    ),
    "a container that is its own top": (
        {**proc("0::/", MOUNT_V2.format(top="/")), **v2("", 2 * GIB, GIB)},
        GIB,
    ),
    "a container that sees where it is": (
        {**proc("0::/docker/x/y", MOUNT_V2.format(top="/docker/x")), **v2("y", 2 * GIB, GIB)},
        GIB,
    ),
    "more is used than may be": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", GIB, 2 * GIB)},
        0,
    ),
    "nothing is left": (
        {**proc("0::/a", MOUNT_V2.format(top="/")), **v2("a", GIB, GIB)},
        0,
    ),
    "a group of version 1": (
        {
            **proc(V1, OTHER, MOUNT_V1.format(top="/")),
            **v1("job/7", 2**63 - 4096, 3 * GIB),
            **v1("job", 8 * GIB, 4 * GIB, GIB),
        },
        5 * GIB,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_left(system, name):
    files, left = CASES[name]
    system(files)
    assert available() == left
    assert budget(3, 0) == (3, int(0.9 * left))


def test_without_proc_all_that_the_machine_has_counts(system, monkeypatch, tmp_path):
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
    assert available() == 4096_000
    monkeypatch.delattr(os, "sysconf")
    assert available() is None
    assert budget(3, 0) == (3, sys.maxsize)
    refuse_memory(2**80, "this")  # who does not know does not refuse


@pytest.mark.skipif(not LINUX, reason="only Linux says what is left")
def test_what_is_left_here():
    meminfo = Path("/proc/meminfo").read_text()
    total = next(int(line.split()[1]) for line in meminfo.splitlines() if "MemTotal" in line)
    left = available()
    assert left is not None and 0 < left <= 1024 * total


LIMITED = """
import resource, json, sys
from toysup._system.memory import available
import numpy
resource.setrlimit(getattr(resource, sys.argv[1]), (1 << 30, 1 << 30))
before = available()
held = numpy.ones(1 << 24)
print(json.dumps([before, available()]))
"""


@pytest.mark.skipif(not LINUX, reason="no such limit here")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_address_space_or_of_the_data(limit):
    done = subprocess.run([sys.executable, "-c", LIMITED, limit], capture_output=True, check=True)
    before, after = json.loads(done.stdout)
    assert 0 < before < GIB
    assert before - after == pytest.approx(8 << 24, rel=0.1)


# What a sweep that is just accepted, and one that just is not, come to.
ADMITTED = """
import json, resource, sys
import toysup, tqdm
from toysup._system import memory as _memory
fields = dict(n=10_000, m=4, T=50, steps=60, snapshots=60, dtype="float64", record=2, test_size=10)
config = toysup.TrainConfig(**fields)
toysup.sweep(n=50, T=5, sparsity=0.9, steps=1, test_size=5, seed=[0, 1], progress=False)
name, line, arena = sys.argv[1:]
limit, found = getattr(resource, name), []
for less in (0, 1 << 23):
    needed = config.memory() + config.arrays()  # one of the two results
    room = needed + 2 * (_memory._STACK + int(arena)) + (1 << 22) - less
    soft = _memory._used(line) + room
    resource.setrlimit(limit, (soft, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_STACK, (_memory._STACK, resource.RLIM_INFINITY))
    try:
        result = toysup.sweep(config, seed=[0, 1], n_jobs=4, progress=False)
        found.append([run.status for run in result.runs()])
    except MemoryError as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.skipif(not LINUX, reason="no such limit here")
@pytest.mark.parametrize(
    "limit", [("RLIMIT_AS", "VmSize:", str(64 << 20)), ("RLIMIT_DATA", "VmData:", "0")]
)
def test_stacks_and_arenas_of_threads_count(backend, limit):
    done = subprocess.run(
        [sys.executable, "-c", ADMITTED, *limit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    admitted, refused = json.loads(done.stdout)
    assert admitted == ["ok", "ok"]
    assert refused.startswith("the largest run of this sweep") and "needs about" in refused


# What was admitted, and cannot be had all the same.
SHORT = """
import resource
from toysup import train
from toysup._run import train as training
training.refuse_memory = lambda *_: None
train(n=20, T=3, sparsity=0.8, steps=2, test_size=2)
run = dict(n=1500, m=700, sparsity=0.99, T=20, steps=2, test_size=0, record=1)
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for more in (12, 20, 32, 1000):
    used = resource.getpagesize() * int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), hard))
    try:
        train(**run, n_jobs=1)
        text = "ok"
    except MemoryError as error:
        text = str(error)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    print(text)
"""


@pytest.mark.skipif(not LINUX, reason="no such limit here")
def test_memory_that_cannot_be_had_ends_the_run_with_figures_and_not_the_process(native):
    # No address space is held ready that arrays could lie in.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    env = {**os.environ, **malloc, "TOYSUP_BACKEND": "native"}
    done = subprocess.run(
        [sys.executable, "-c", SHORT], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    *short, last = done.stdout.splitlines()
    assert last == "ok" and any(text != "ok" for text in short)
    for text in short:
        assert text == "ok" or re.search(r"\d (bytes|KiB|MiB)\b", text), text


def test_a_refusal_has_both_figures(system):
    system({})
    refuse_memory(16 * GIB, "this run")
    with pytest.raises(MemoryError, match=r"this run needs about 22 GB, .* has 17 GB"):
        refuse_memory(int(20.5 * GIB), "this run")


# ---------------------------------------------------------------------------- what a run takes

# The peak that getrusage knows is that of this process, if that was larger.
PEAK = """
import json, sys
import toysup
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
toysup.train(n=50, T=5, sparsity=0.9, steps=1, test_size=5, progress=False)
fields = json.loads(sys.argv[1])
rows = fields.pop("rows", 0)
if rows:
    X = toysup.data.sample(fields.pop("n"), rows, fields.pop("sparsity"), 0)
    fields["data"] = toysup.data.Dataset(X, normalize=False)
    open("/proc/self/clear_refs", "w").write("5")  # what making it took does not count
before = peak()
fields |= {k: v * fields["n"] for k, v in fields.items() if isinstance(v, list)}
config = toysup.TrainConfig(**{**fields, "T": float(fields["T"])})
toysup.train(config, progress=False, n_jobs=1)
print(json.dumps([peak() - before, config.memory()]))
"""
# Lists are tried after 32 steps, and are largest then.
RUNS = {
    "lists of pairs": dict(T=4000, m=8, n=4000, steps=34, sparsity=0.998),
    "lists of groups": dict(T=30_000, m=2, n=2000, steps=34, sparsity=0.99),
    "parameters": dict(T=50, m=64, n=10_000, steps=34, sparsity=0.999),
    "snapshots": dict(T=50, m=4, n=10_000, steps=60, snapshots=60, dtype="float64"),
    "non-zeros": dict(T=4000, m=2, n=500, steps=3, sparsity=0.0),
    "fresh examples": dict(T="inf", batch_size=5000, m=2, n=500, steps=3, sparsity=0.2),
    "batches": dict(T=100_000, batch_size=2000, m=2, n=200, steps=3, sparsity=0.8),
    "batches of few": dict(T=1_000_000, batch_size=10, m=1, n=20, steps=3, sparsity=0.95),
    "importances": dict(T=1, m=1, n=200_000, steps=2, sparsity=0.99999, importance=[0.5]),
    "sparsities": dict(T=100, m=1, n=200_000, steps=2, sparsity=[0.9999]),
    "sparsities of many": dict(T=4000, m=2, n=500, steps=3, sparsity=[0.1]),
    "rows": dict(rows=30_000, T=15_000, m=2, n=2000, steps=3, sparsity=0.98, test_size=10_000),
    "drawn rows": dict(rows=30_000, T="inf", batch_size=5000, m=2, n=2000, steps=3, sparsity=0.98),
    "rows in batches": dict(
        rows=30_000, T=20_000, batch_size=500, m=2, n=2000, steps=3, sparsity=0.98
    ),
    "test examples": dict(T=5, m=2, n=2000, steps=3, sparsity=0.0, test_size=4096),
}


@pytest.mark.skipif(not LINUX, reason="the peak is not known there")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_takes_no_more_than_it_says(backend, name):
    fields = {"record": 2, "test_size": 100, **RUNS[name]}
    if backend.name == "numpy":
        fields["steps"] = 60 if name == "snapshots" else 1  # it has no lists
    done = subprocess.run(
        [sys.executable, "-c", PEAK, json.dumps(fields)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    peak, said = json.loads(done.stdout)
    assert peak < said
    if backend.name == "native":
        assert said < 4 * peak + (1 << 25), "needlessly careful"


@pytest.mark.parametrize(
    "fields",
    [
        dict(m=2, T=10, steps=20),
        dict(m=5, T=10, steps=20, dtype="float64"),
        dict(m=2, T=10, steps=50, snapshots=9),
        dict(m=1, n=100, T=3, steps=3000, record=3000, sparsity=0.9),
        dict(m=2, n=3000, T=10, steps=3, importance=[1 / 3] * 3000),
        dict(m=2, T=math.inf, batch_size=7, steps=3),
    ],
)
def test_the_size_of_a_file(backend, fields, tmp_path):
    config = TrainConfig(**{"test_size": 10, **fields})
    size = os.path.getsize(toysup.train(config).save(tmp_path / "run"))
    assert size > 50_000
    assert config.disk() == pytest.approx(size, rel=0.1)
    assert abs(config.disk() - size) < 2048 + 0.01 * size


def test_the_size_of_a_small_file(tmp_path):
    config = TrainConfig(n=20, T=3, sparsity=0.8, steps=10, test_size=10)
    size = os.path.getsize(toysup.train(config).save(tmp_path / "run"))
    assert config.disk() == pytest.approx(size, rel=0.3)


# ------------------------------------------------------------------------ when arrays are made


def test_arrays_of_a_run_are_made_when_it_begins(backend, monkeypatch):
    made: list[int] = []
    most: list[int] = []
    importances = TrainConfig.importances

    def counted(config: TrainConfig) -> Any:
        made.append(config.seed)
        return importances(config)

    monkeypatch.setattr(TrainConfig, "importances", counted)
    configs = [
        TrainConfig(n=40, T=5, sparsity=0.8, steps=3, test_size=9, seed=seed) for seed in range(20)
    ]
    ended: list[int] = []

    def on_result(i: int, raw: Any) -> None:
        most.append(len(made) - len(ended))
        ended.append(i)

    backend.train_many(configs, 1, on_result, lambda work: False)
    assert sorted(ended) == sorted(made) == list(range(20))
    assert max(most) <= 3  # one under way, and one that is being kept


def test_a_long_polygon_can_be_stopped(backend, monkeypatch):
    module: Any = backend
    polled, draws = threading.Event(), []
    sample = module.sample

    def slow(*args: Any) -> Any:
        draws.append(args)
        assert polled.wait(30)
        return sample(*args)

    def poll(work: float) -> bool:
        if draws:
            polled.set()
        return bool(draws)

    for place in (module, reference.run):
        monkeypatch.setattr(place, "sample", slow)
    config = TrainConfig(n=1000, T=1_000_000, sparsity=0.999, init="polygon", steps=1, test_size=0)
    ended: list[Any] = []
    backend.train_many([config], 1, lambda i, raw: ended.append(raw), poll)
    assert ended == []
    assert len(draws) < 200  # of 239


def test_importances_that_are_given_count_and_are_shared():
    many = [1.0 + i / 7 for i in range(5000)]
    config = TrainConfig(n=5000, importance=many)
    assert config.memory() > TrainConfig(n=5000, importance=0.9).memory()
    assert TrainConfig(n=5000, importance=0.9).memory() > TrainConfig(n=5000).memory()
    other = config.replace(seed=3)
    assert other.importance is config.importance
    assert json.loads(other.to_json()) == {**json.loads(config.to_json()), "seed": 3}
    assert json.loads(config.to_json())["importance"] == many
    assert pickle.loads(pickle.dumps(config)) == config
