"""Sweeps on one store share its runs: each is trained by one of them, whoever of them dies."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import digest, interrupted_sweep, interrupted_when, run_bits
from toysup import SweepInterrupted, SweepResult, TrainConfig, cli, sweep, train
from toysup._store.claims import Claims
from toysup._store.pulse import Pulse, running
from toysup._store.store import Store
from toysup._sweep.work import Work

pytestmark = pytest.mark.any_backend
TINY = TrainConfig(n=16, m=2, T=4, sparsity=0.8, steps=20, test_size=20, record=3)
# Long enough for a state on most machines.
STEPS = {"native": 100_000, "numpy": 3000}
RUNS = [TINY.replace(seed=seed) for seed in range(3)]
KEY = RUNS[0].key()
HOW: dict[str, Callable[[], Any]] = {
    "here": lambda: None,
    "executor": lambda: ThreadPoolExecutor(2),
}

# Children that sweep on one store at the same time, some of which are killed and replaced.
CROWD = """
import json, os, random, signal, sys, time
import numpy, xarray, toysup
from toysup._sweep.work import Work

store, children, kills, fields = json.loads(sys.argv[1])
log = os.open(f"{store}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
shut, gate = os.pipe()
keep = Work._keep


def write(self, config, ended):
    keep(self, config, ended)  # a run that was killed before has not been trained
    os.write(log, f"{config.seed}\\n".encode())


def child():
    status = 1
    try:
        os.close(gate)
        os.read(shut, 1)  # until all are there
        Work._keep = write
        result = toysup.sweep(**fields, store=store, n_jobs=1, progress=False, checkpoint_every=0.0)
        status = 0 if set(result.statuses) == {"ok"} else 2
    finally:
        os._exit(status)


def begin():
    return os.fork() or child()


pids, draw = [begin() for _ in range(children)], random.Random(1)
os.close(gate)
for _ in range(kills):
    time.sleep(draw.expovariate(1 / 0.03))
    pid = pids.pop(draw.randrange(len(pids)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    gate = os.open(os.devnull, os.O_RDONLY)
    pids.append(begin())
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
"""


def crowd(store: Path, children: int, kills: int, fields: dict[str, Any]) -> Counter[str]:
    """How often each run was trained by so many sweeps at the same time; all of them end."""
    arguments = json.dumps([str(store), children, kills, fields])
    command = [sys.executable, "-c", CROWD, arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert result.returncode == 0 and result.stdout.strip() == str([0] * children), result.stderr
    return Counter(store.with_name(f"{store.name}.log").read_text().split())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("kills", [0, 6])
def test_of_all_sweeps_one_trains_a_run(backend, tmp_path, kills):
    config = TINY.replace(steps=3000 if backend.name == "native" else 100)
    trained = crowd(tmp_path / "s", 3, kills, {**config.to_dict(), "seed": list(range(12))})
    assert kills or (len(trained) == 12 and set(trained.values()) == {1})
    # One may be killed between its run's end and its word, or its word and the end of its claim.
    assert 12 - kills <= len(trained) <= trained.total() <= 12 + kills
    # A killed one may leave a claim that names nobody yet, or half a file.
    assert running(tmp_path / "s" / "running") == []
    assert kills or not (tmp_path / "s" / "running").exists()
    for seed in (0, 11):
        run = Store(tmp_path / "s").load(config.replace(seed=seed))
        assert digest(run_bits(run)) == digest(run_bits(train(config, seed=seed)))


# ----------------------------------------------------------------------------- one other sweep


class Other:
    """Another sweep on a store, which has claimed a run of seed 0."""

    def __init__(self, store: Path, config: TrainConfig = RUNS[0]) -> None:
        self.store, self.config = Store(store), config
        self.folder = store / "running"
        self.folder.mkdir(parents=True)
        self.pulse = Pulse(self.folder, [config])
        self.claims = Claims(self.folder, self.pulse)
        self.claim = self.folder / f"{config.key()}.claim"

    def __enter__(self) -> Other:
        self.pulse.__enter__()
        assert self.claims.__enter__().take(self.config.key())
        return self

    def __exit__(self, *error: Any) -> None:
        self.claims.__exit__(*error)
        self.pulse.__exit__(*error)

    @property
    def life(self) -> Path:
        return self.folder / self.pulse.name

    def lies_elsewhere(self, heard: float) -> None:
        """The sweep is one of another machine, of which so many seconds nothing was heard."""
        document = json.loads(self.life.read_text())
        document |= {"host": "elsewhere", "system": "x", "updated": time.time() - heard}
        aside = self.life.with_name("aside")
        aside.write_text(json.dumps(document))
        os.replace(aside, self.life)

    def finishes(self) -> None:
        self.store.save(train(self.config))
        self.claims.release(self.config.key())

    def gives_up(self) -> None:
        self.claims.release(self.config.key())

    def fails(self) -> None:
        self.store.save_failure(self.config, "MemoryError: too much")
        self.claims.release(self.config.key())

    def dies(self) -> None:
        self.lies_elsewhere(121)


def is_waiting(folder: Path) -> bool:
    """Whether a sweep has nothing left but one run that another one trains."""
    said = [sweep for sweep in running(folder) if sweep["pid"] == os.getpid()]
    return any(s["elsewhere"] == 1 and s["done"] == s["runs"] - 1 for s in said)


@contextlib.contextmanager
def when_waiting(other: Other, then: Callable[[], Any]) -> Iterator[None]:
    """Do something as soon as a sweep is waiting."""

    def act() -> None:
        while not is_waiting(other.folder) and not over.wait(0.005):
            pass
        then()

    over, thread = threading.Event(), threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the runs that sweeps have trained."""
    seeds: list[int] = []
    real = Work._keep

    def keep(self: Work, config: TrainConfig, ended: Any) -> None:
        seeds.append(config.seed)
        real(self, config, ended)

    monkeypatch.setattr(Work, "_keep", keep)
    monkeypatch.setattr("toysup._store.pulse._EVERY", 0.0)  # it is seen at once that one is waiting
    return seeds


def swept(store: Path, how: str = "here", **options: Any) -> SweepResult:
    executor = HOW[how]()
    with executor or contextlib.nullcontext():
        return sweep(TINY, seed=range(3), store=store, executor=executor, **options)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", ["finishes", "gives_up", "dies"])
def test_a_sweep_waits_for_what_others_are_training(backend, tmp_path, trained, what, how):
    with Other(tmp_path) as other, when_waiting(other, getattr(other, what)):
        result = swept(tmp_path, how)
    assert sorted(trained) == ([1, 2] if what == "finishes" else [0, 1, 2])
    assert [run_bits(run) for run in result.runs()] == [run_bits(train(run)) for run in RUNS]
    assert not (tmp_path / "running").exists()


def test_a_claim_from_elsewhere_counts_until_its_sweep_is_late(tmp_path):
    with Other(tmp_path) as other:
        for heard, counts in ((0, True), (115, True), (125, False), (-125, False)):
            other.lies_elsewhere(heard)
            with Pulse(tmp_path / "more", [TINY]) as pulse:
                claims = Claims(other.folder, pulse)
                assert claims.is_taken(KEY) is counts, heard
        with Pulse(other.folder, [TINY]) as pulse, Claims(other.folder, pulse) as claims:
            assert claims.take(KEY) and not other.life.exists()  # it was removed on entry
            assert other.claim.read_text() == pulse.name
            other.claims.release(KEY)  # it wakes up, and leaves alone what is another's
            assert other.claim.exists() and not other.claims.take(KEY)


def test_a_run_goes_on_from_the_state_that_the_dead_have_left(backend, tmp_path, trained, caplog):
    before, long = interrupted_sweep(tmp_path, TINY.replace(n=60, T=20, steps=STEPS[backend.name]))

    def die() -> None:  # it has got so far since the sweep began
        (before / "checkpoints").rename(tmp_path / "s" / "checkpoints")
        other.dies()

    with Other(tmp_path / "s", long) as other, when_waiting(other, die), caplog.at_level("INFO"):
        result = sweep(long, seed=range(2), steps=[long.steps], store=tmp_path / "s")
    assert sorted(trained[-2:]) == [0, 1] and "seed=0 goes on from step" in caplog.text
    assert run_bits(next(iter(result.runs()))) == run_bits(train(long))


def test_a_state_is_read_when_its_run_starts(backend, tmp_path, monkeypatch):
    long = TINY.replace(n=60, T=20, steps=STEPS[backend.name], record=1000)
    store, long = interrupted_sweep(tmp_path, long, states=3, seed=range(3), n_jobs=3)
    events: list[int] = []
    load, keep = Store.load_checkpoint, Work._keep
    monkeypatch.setattr(Store, "load_checkpoint", lambda *a: (events.append(1), load(*a))[1])
    monkeypatch.setattr(Work, "_keep", lambda *a: (events.append(-1), keep(*a))[1])
    sweep(long, seed=range(3), store=store, n_jobs=1)
    assert events.count(1) == events.count(-1) == 3
    assert max(itertools.accumulate(events)) <= 2  # one may wait for its place on the disk


@pytest.mark.parametrize(
    ("retry", "what", "again"),
    [("failed", "fails", [0]), ("none", "fails", [])],
)
def test_a_record_of_another_sweep_counts_as_one_of_before(
    backend, tmp_path, trained, retry, what, again
):
    with Other(tmp_path) as other, when_waiting(other, getattr(other, what)):
        result = swept(tmp_path, retry=retry)
    assert sorted(trained) == [*again, 1, 2]
    assert result.statuses.count("failed") == (retry == "none")


def test_what_diverges_is_tried_again_by_one_sweep(backend, tmp_path, trained):
    config = TINY.replace(learning_rate=1e30)
    with pytest.warns(RuntimeWarning, match="diverged"):
        run = train(config)
    (tmp_path / "runs").mkdir(parents=True)
    Store(tmp_path).save(run)

    def end() -> None:
        other.store.save(replace(run, seconds=run.seconds + 1))
        other.gives_up()

    with Other(tmp_path, config) as other, when_waiting(other, end):
        result = sweep(config, seed=range(2), store=tmp_path, retry="all")
    assert trained == [1] and result.statuses == ["diverged"] * 2


def test_ctrl_c_ends_the_waiting(backend, tmp_path, trained):
    with (
        Other(tmp_path) as other,
        interrupted_when(lambda: is_waiting(other.folder)),
        pytest.raises(SweepInterrupted) as caught,
    ):
        swept(tmp_path)
    assert caught.value.result.statuses == ["missing", "ok", "ok"]


def test_status_says_what_is_done_elsewhere(tmp_path, capsys, trained):
    def look() -> None:
        assert cli.main(["status", str(tmp_path)]) == 0
        other.finishes()

    with Other(tmp_path) as other, when_waiting(other, look):
        swept(tmp_path)
    assert ": 2 of 3 runs, 1 elsewhere, 67 %" in capsys.readouterr().out


# -------------------------------------------------------------------------- what can go wrong


def put(path: Path, what: bytes | str) -> None:
    if isinstance(what, bytes):
        path.write_bytes(what)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(what)


HOSTILE: dict[str, bytes | str] = {
    "empty": b"",
    "of nobody": b"nobody-1-00000000.json",
    "outside": b"../sweep.json",
    "not a name": b"\0\xff\n.json",
    "itself": f"{KEY}.claim".encode(),
    "large": b"x" * (1 << 20),
    "a folder": "folder",
    "a pipe": "pipe",
    "a link to nothing": "nothing",
    "a link to itself": f"{KEY}.claim",
    "a link to a device": "/dev/zero",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="not on Windows")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_claim_that_makes_no_sense_does_not_count(backend, tmp_path, trained, kind):
    (tmp_path / "running").mkdir()
    claim = tmp_path / "running" / f"{KEY}.claim"
    put(claim, HOSTILE[kind])
    if claim.is_file():
        os.utime(claim, (0, 0))
    assert swept(tmp_path).statuses == ["ok"] * 3
    assert sorted(trained) == [0, 1, 2] and not os.path.lexists(claim)


def test_one_that_is_being_written_counts(tmp_path):
    claim = tmp_path / f"{KEY}.claim"
    claim.touch()
    with Pulse(tmp_path, [TINY]) as pulse, Claims(tmp_path, pulse) as claims:
        assert not claims.take(KEY) and claims.is_taken(KEY)
        os.utime(claim, (time.time() + 60, time.time() + 60))
        assert claims.take(KEY)


def test_what_a_sweep_of_this_process_has_left_does_not_count(tmp_path):
    with Other(tmp_path) as other:
        life, claim = other.life.read_bytes(), other.claim.read_bytes()
    other.folder.mkdir()
    other.life.write_bytes(life)  # a second Ctrl-C came before they were removed
    other.claim.write_bytes(claim)
    assert other.life in other.folder.iterdir() and running(other.folder)
    assert swept(tmp_path).statuses == ["ok"] * 3


def test_a_claim_that_was_renewed_meanwhile_is_put_back(tmp_path):
    with Other(tmp_path) as other, Pulse(other.folder, [TINY]) as pulse:
        claims = Claims(other.folder, pulse)
        claims._remove(other.claim)  # as one does that saw the one before it
        assert other.claim.read_text() == other.pulse.name and not claims.take(KEY)


def refuse(*_: Any, **__: Any) -> Any:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "what", ["toysup._store.claims.Claims._write", "toysup._store.pulse.replace_file"]
)
def test_without_claims_every_run_is_trained(
    backend, tmp_path, monkeypatch, trained, caplog, what, how
):
    with Other(tmp_path), caplog.at_level(logging.WARNING, "toysup"):
        monkeypatch.setattr(what, refuse)
        assert swept(tmp_path, how).statuses == ["ok"] * 3
    assert sorted(trained) == [0, 1, 2]
    [said] = [record.message for record in caplog.records]
    folder = tmp_path / "running"
    assert said.startswith(f"runs cannot be claimed in {folder} (Permission denied)")


@pytest.mark.parametrize("how", HOW)
def test_an_error_in_a_claim_costs_no_run(backend, tmp_path, monkeypatch, trained, caplog, how):
    monkeypatch.setattr(Claims, "take", lambda self, key: 1 / 0)
    assert swept(tmp_path, how).statuses == ["ok"] * 3
    assert sorted(trained) == [0, 1, 2] and "seed=0: its claim: division by zero" in caplog.text
