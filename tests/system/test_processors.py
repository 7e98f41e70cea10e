"""How many threads there are: by affinity, quotas, what is of use, and what the system allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from toysup import TrainConfig
from toysup._system import groups
from toysup._system.processors import as_jobs, processors

pytestmark = pytest.mark.any_backend
LINUX = sys.platform.startswith("linux")
CONFIG = TrainConfig(n=40, m=2, T=12, sparsity=0.85, steps=200, test_size=40, record=5)

# ---------------------------------------------------------------------------------- how many

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
CASES: dict[str, tuple[str, str, dict[str, str], int]] = {
    "no limit": (V2, "0::/a", {"a/cpu.max": "max 100000"}, 8),
    "a part of one": (V2, "0::/a", {"a/cpu.max": "20000 100000"}, 1),
    "one and a half": (V2, "0::/a", {"a/cpu.max": "150000 100000"}, 2),
    "more than there are": (V2, "0::/a", {"a/cpu.max": "9900000 100000"}, 8),
    "the group around it": (
        V2, "0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3
    ),
    "version 1": (
        V1, "3:cpu,cpuacct:/job/7\n0::/",
        {"job/cpu.cfs_quota_us": "25000", "job/cpu.cfs_period_us": "5000",
         "job/7/cpu.cfs_quota_us": "-1", "job/7/cpu.cfs_period_us": "100000"}, 5
    ),
    "nonsense": (V2, "0::/a", {"a/cpu.max": "9 0"}, 8),
}  # fmt: skip


@pytest.fixture
def eight(monkeypatch, tmp_path):
    """A machine with eight processors and no control groups."""
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda pid: {1, 2, 3, 5, 7, 8, 9, 11}, raising=False
    )
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_quotas_of_control_groups_count_like_affinity(eight, name):
    mount, group, files, expected = CASES[name]
    top = Path(mount.split()[4].lstrip("/"))
    files = {str(top / path): text for path, text in files.items()}
    for path, text in {
        "proc/self/cgroup": group, "proc/self/mountinfo": mount, **files
    }.items():  # fmt: skip
        (eight / path).parent.mkdir(parents=True, exist_ok=True)
        (eight / path).write_text(f"{text}\n")
    assert processors() == as_jobs(None) == as_jobs(-1) == expected
    assert as_jobs(-2) == max(1, expected - 1)
    assert as_jobs(12) == 12  # who asks shall have them


def test_without_affinity_all_processors_count(eight, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert processors() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1


# ------------------------------------------------------------------------------ what is of use


def ended_threads() -> None:
    """Wait for the threads of runs whose results are there."""
    for thread in threading.enumerate():
        if thread.name.startswith("toysup-"):
            thread.join()


@pytest.mark.skipif(not LINUX, reason="threads are counted in /proc")
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_no_more_threads_than_are_of_use(backend, runs):
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    most, ended = 0, []

    def poll(work: float) -> bool:
        nonlocal most
        most = max(most, threads())
        return False

    configs = [CONFIG.replace(seed=seed) for seed in range(runs)]
    backend.train_many(configs, 1, lambda i, _: ended.append(i), poll)  # those of BLAS are there
    ended_threads()
    before, most = threads(), 0
    backend.train_many(configs, 4000, lambda i, _: ended.append(i), poll)
    assert sorted(ended) == sorted(2 * list(range(runs)))
    assert most - before <= runs + 1  # one thread looks after the native ones
    ended_threads()
    until = time.monotonic() + 10
    while threads() > before and time.monotonic() < until:
        time.sleep(0.01)  # the system may count those that have ended
    assert threads() <= before


# -------------------------------------------------------------------- what the system allows

# Threads have stacks of 1 GiB, so that few of them have room.
LIMITED = """
import json, resource, sys, threading, warnings
import toysup
fields = dict(n=40, T=12, sparsity=0.85, steps=200, test_size=40, record=5, seed=range(6))
toysup.train(n=40, T=12, sparsity=0.85, steps=1)
threading.stack_size(1 << 30)
sizes = open("/proc/self/statm").read().split()
used = int(sizes[0]) * resource.getpagesize()
room = float(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (used + int(room * 2**30),) * 2)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        statuses = toysup.sweep(**fields, n_jobs=6).dataset.status.values.tolist()
    except RuntimeError as error:
        statuses = [repr(error)]
print(json.dumps([statuses, [f"{w.category.__name__}: {w.message}" for w in caught]]))
"""


def limited(room: float) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(room)],
        env={**os.environ, "RUST_MIN_STACK": str(1 << 30)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not LINUX, reason="no such limit here")
@pytest.mark.parametrize("threads", [1, 3])
def test_fewer_threads_than_asked_for_are_met_with_a_warning(backend, threads):
    # One thread more looks after the native ones.
    statuses, [warning] = limited(threads + 0.9 + (backend.name == "native"))
    assert statuses == 6 * ["ok"]
    assert "threads could not be started" in warning
    assert warning.startswith("RuntimeWarning: ")


@pytest.mark.skipif(not LINUX, reason="no such limit here")
def test_not_one_thread_is_an_error(backend):
    [error], _ = limited(0.9)
    assert error.startswith("SurroundingsError(") and "cannot start a thread" in error
