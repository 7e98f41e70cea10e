"""Days of work: checkpoints, signs of life, memory, and what happens when the disk is full."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toysup
from helpers import interrupted_when, raw_bits, run_bits
from toysup import (
    RunFailedError,
    StoreError,
    SweepInterrupted,
    TrainConfig,
    cli,
    open_sweep,
    sweep,
    train,
)
from toysup._backends import reference
from toysup._backends.protocol import Options
from toysup._store import pulse as pulses
from toysup._store.pulse import Pulse, running
from toysup._store.store import Store
from toysup._system import processes
from toysup.config.grid import Grid

pytestmark = pytest.mark.any_backend

# Several states, whatever the speed of the machine.
LONG = {
    "native": TrainConfig(n=300, m=3, T=80, sparsity=0.97, steps=50_000, test_size=50, record=5),
    "numpy": TrainConfig(n=60, m=2, T=20, sparsity=0.9, steps=6_000, test_size=50, record=5),
}
TINY = TrainConfig(n=16, m=2, T=4, sparsity=0.8, steps=20, test_size=20, record=3)
ENDLESS = TINY.replace(steps=2**40, record=1)


@functools.cache
def uninterrupted(config: TrainConfig) -> bytes:
    """The bits of one of these long runs; each belongs to one backend."""
    return run_bits(train(config))


def spied(monkeypatch: pytest.MonkeyPatch, backend: Any) -> list[dict[int, int]]:
    """The steps from which runs go on, for each call of the backend."""
    real, seen = backend.train_many, []

    def train_many(configs: Any, n_jobs: int, on_result: Any, poll: Any, options: Any) -> None:
        steps: dict[int, int] = {}
        seen.append(steps)

        def on_start(i: int) -> Any:
            state = options.on_start(i)
            steps.update({} if state is None else {i: state["step"]})
            return state

        real(configs, n_jobs, on_result, poll, replace(options, on_start=on_start))

    monkeypatch.setattr(backend, "train_many", train_many)
    return seen


# -------------------------------------------------------------------------------- checkpoints


def interrupted_state(config: Any, path: Path) -> bytes:
    """The file that an interrupted run leaves: not the one that was there before, if there was."""

    def which() -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_ino
        return None

    before = which()
    with (
        interrupted_when(lambda: which() not in (None, before)),
        pytest.raises(KeyboardInterrupt),
    ):
        train(config, checkpoint=path, checkpoint_every=0.01)
    return path.read_bytes()


def test_an_interrupted_training_goes_on_from_its_file(backend, monkeypatch, tmp_path):
    config, path = LONG[backend.name], tmp_path / "state.npz"
    interrupted_state(config, path)
    seen = spied(monkeypatch, backend)
    resumed = train(config, checkpoint=path)
    assert seen[0][0] > 0
    assert run_bits(resumed) == uninterrupted(config)
    assert resumed.seconds > 0 and not path.exists()


def test_ctrl_c_alone_keeps_the_state(backend, monkeypatch, tmp_path):
    config, path = LONG[backend.name], tmp_path / "state.npz"
    real, done = backend.train_many, [0.0]

    def train_many(configs: Any, n_jobs: int, on_result: Any, poll: Any, options: Any) -> None:
        def look(work: float) -> bool:
            done.append(work)
            return bool(poll(work))

        real(configs, n_jobs, on_result, look, options)

    early = config.steps / 8 * config.step_cost()
    with monkeypatch.context() as patch:
        patch.setattr(backend, "train_many", train_many)
        with interrupted_when(lambda: done[-1] > early), pytest.raises(KeyboardInterrupt):
            train(config, checkpoint=path)  # every minute, if it is not interrupted
    seen = spied(monkeypatch, backend)
    assert run_bits(train(config, checkpoint=path)) == uninterrupted(config)
    assert seen[0][0] > 0


def put_other_state(path: Path) -> None:
    interrupted_state(LONG[toysup.backend_name()].replace(seed=5), path)


IN_THE_WAY: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda path: path.write_text("mine"), "is not a readable file of a run"),
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "run": (lambda path: train(TINY).save(path), "is a finished run"),
    "state": (put_other_state, r"is the state of another run \(its seed is 5, not 0\)"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_no_checkpoint_of_this_run_stays(backend, monkeypatch, tmp_path, what):
    path, (put, words) = tmp_path / "state.npz", IN_THE_WAY[what]
    put(path)
    before, seen = path.is_file() and path.read_bytes(), spied(monkeypatch, backend)
    config = LONG[backend.name] if what == "state" else TINY
    with pytest.raises(StoreError, match=rf"state\.npz.*{words}"):
        train(config, checkpoint=path)
    assert not seen and (path.is_file() and path.read_bytes()) == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere/state", "'nowhere' does not exist"),
        ("notes.txt/state", "'notes.txt' is not a folder"),
        (300 * "a", "File name too long"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_noticed_at_once(
    backend, monkeypatch, tmp_path, path, words
):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    seen = spied(monkeypatch, backend)
    with pytest.raises(StoreError, match=f"cannot write .*{words}"):
        train(TINY, checkpoint=path)
    assert not seen and os.listdir() == ["notes.txt"]


def test_a_run_goes_on_when_its_state_can_no_longer_be_written(backend, monkeypatch, tmp_path):
    config, path = LONG[backend.name], tmp_path / "new" / "state.npz"
    path.parent.mkdir()
    real = backend.train_many

    def train_many(*args: Any) -> None:
        path.parent.rmdir()
        real(*args)

    whole = uninterrupted(config)
    monkeypatch.setattr(backend, "train_many", train_many)
    with pytest.warns(RuntimeWarning, match=r"state of the run is not kept: .*state\.npz") as said:
        run = train(config, checkpoint=path, checkpoint_every=0.0)
    assert run_bits(run) == whole and len(said) == 1


def test_a_damaged_state_is_kept(backend, tmp_path):
    config, path = LONG[backend.name], tmp_path / "state.npz"
    data = bytearray(interrupted_state(config, path))
    data[-1000] ^= 1
    path.write_bytes(data)
    words = r"checksum does not match.*it is kept as '.*state\.npz\.1'"
    with pytest.warns(RuntimeWarning, match=words):
        assert run_bits(train(config, checkpoint=path)) == uninterrupted(config)
    assert os.listdir(tmp_path) == ["state.npz.1"]
    assert (tmp_path / "state.npz.1").read_bytes() == bytes(data)


def made_by(patch: Any, backend: Any, maker: str) -> None:
    """Let the states of runs be made by somebody else."""
    for module in (backend, reference.run):
        patch.setattr(module, "maker", lambda: maker)


@pytest.mark.parametrize("far", [False, True], ids=["without a state", "with one"])
def test_a_state_of_another_version_waits_for_it(backend, monkeypatch, tmp_path, far):
    config, path = LONG[backend.name], tmp_path / "state.npz"
    data = interrupted_state(config, path)
    with monkeypatch.context() as patch:
        made_by(patch, backend, "toysup 0.0.1")
        said = r"it was made by 'toysup .*', this is 'toysup 0.0.1'; it is kept as '.*state\.npz\."
        with pytest.warns(RuntimeWarning, match=said):
            interrupted_state(config, path)
    [beside] = tmp_path.glob("state.npz.*")
    assert beside.read_bytes() == data
    if not far:
        path.unlink()
    path.with_name("state.npz.0123abcd").write_text("mine")  # what is no state is left alone
    seen = spied(monkeypatch, backend)
    said = "it was made by 'toysup 0.0.1'"
    with pytest.warns(RuntimeWarning, match=said) if far else contextlib.nullcontext():
        assert run_bits(train(config, checkpoint=path)) == uninterrupted(config)
    assert seen[0][0] > 0
    assert os.listdir(tmp_path) == ["state.npz.0123abcd"]


@pytest.mark.parametrize("use", [train, sweep])
def test_bad_intervals_are_refused(use: Any) -> None:
    with pytest.raises(ValueError, match="checkpoint_every must not be negative, got -1"):
        use(TINY, checkpoint_every=-1)
    with pytest.raises(TypeError, match="checkpoint_every must be a real number, got 'often'"):
        use(TINY, checkpoint_every="often")


def test_an_interrupted_sweep_goes_on_inside_its_runs(backend, monkeypatch, tmp_path):
    config = LONG[backend.name]
    states = tmp_path / "checkpoints"
    with (
        interrupted_when(lambda: len(list(states.glob("[!.]*.npz"))) == 2),
        pytest.raises(SweepInterrupted, match="0 of 3 runs are finished") as caught,
    ):
        sweep(config, seed=range(3), store=tmp_path, n_jobs=2, checkpoint_every=0.01)
    result = caught.value.result
    assert result.interrupted and result.statuses == ["missing"] * 3
    seen = spied(monkeypatch, backend)
    result = sweep(config, seed=range(3), store=tmp_path, n_jobs=1)
    assert len(seen[0]) == 2 and min(seen[0].values()) > 0
    assert not list(states.iterdir())
    for seed in range(3):
        assert run_bits(result.run(seed=seed)) == uninterrupted(config.replace(seed=seed))


def stopped(config: TrainConfig, store: Path, **options: Any) -> None:
    """A sweep that is stopped as soon as there is a state that was not there before."""
    before = set(store.glob("checkpoints/[!.]*.npz"))
    with (
        interrupted_when(lambda: set(store.glob("checkpoints/[!.]*.npz")) - before),
        pytest.raises(SweepInterrupted, match=r"kept in '.*', with the states of 1 more; the same"),
    ):
        sweep(config, store=store, checkpoint_every=0.01, **options)


def test_the_states_of_another_maker_are_kept_for_it(backend, caplog, monkeypatch, tmp_path):
    config, store = LONG[backend.name], Store(tmp_path)
    stopped(config, tmp_path)
    [mine] = store.checkpoints([config])
    with monkeypatch.context() as patch:
        made_by(patch, backend, "somebody else")
        said = (
            rf"states made by '{mine.maker}' are kept but not used, as this is 'somebody else': T"
        )
        with pytest.warns(RuntimeWarning, match=said):
            stopped(config, tmp_path)
        assert re.search(said, caplog.text)
    assert {kept.maker for kept in store.checkpoints([config])} == {mine.maker, "somebody else"}
    seen = spied(monkeypatch, backend)
    result = sweep(config, store=tmp_path)
    assert seen[0][0] >= mine.step > 0
    assert run_bits(result.run()) == uninterrupted(config)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_each_backend_keeps_its_own_states(native, monkeypatch, tmp_path):
    config, store = LONG["numpy"].replace(steps=2**40), Store(tmp_path)
    stopped(config, tmp_path)
    monkeypatch.setenv("TOYSUP_BACKEND", "numpy")
    with pytest.warns(RuntimeWarning, match=r"states made by 'toysup \S+ native auto 2' are kept"):
        stopped(config, tmp_path)
    stopped_at = {kept.maker.split()[2]: kept.step for kept in store.checkpoints([config])}
    assert stopped_at.keys() == {"native", "numpy"}
    monkeypatch.setenv("TOYSUP_BACKEND", "native")
    seen = spied(monkeypatch, native)
    with (
        interrupted_when(lambda: seen),
        pytest.raises(SweepInterrupted, match="with the states of 1 more"),
    ):
        sweep(config, store=tmp_path)
    assert seen[0][0] == stopped_at["native"]


def test_a_state_that_does_not_fit_costs_only_time(backend, caplog, tmp_path):
    store = Store(tmp_path)
    meta = {"step": 3, "seconds": 0.5, "maker": backend.maker()}
    store.extend(Grid.make(TINY, {}))
    store.save_checkpoint(TINY, meta, {"W": np.zeros(3)})
    with caplog.at_level(logging.WARNING, "toysup"):
        result = sweep(TINY, store=tmp_path)
    assert re.search(r"T=4, m=2, seed=0 does not go on from .*\.npz: ", caplog.text)
    assert run_bits(result.run()) == run_bits(train(TINY))


# ------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(("factor", "most"), [(0.0, 1), (1.5, 1), (2.5, 2), (99.0, 3)])
def test_as_many_runs_at_a_time_as_fit_in_memory(backend, factor, most):
    configs = [TINY.replace(seed=seed, record=1) for seed in range(5)]
    full, seen = threading.Event(), []
    bits: dict[int, bytes] = {}

    def on_start(_: int) -> None:
        assert full.wait(60)  # until as many are under way as there may be

    def on_running(now: Sequence[tuple[int, int]]) -> None:
        seen.append(len(now))
        if len(now) >= most:
            full.set()

    options = Options(
        memory=int(factor * configs[0].memory()), on_start=on_start, on_running=on_running
    )
    backend.train_many(
        configs, 3, lambda i, raw: bits.update({i: raw_bits(raw)}), lambda _: False, options
    )
    assert len(bits) == 5 and max(seen) == most


def test_small_runs_pass_a_large_one_that_has_to_wait(backend):
    large = TINY.replace(T=3000, steps=300, record=1)
    small = [TINY.replace(seed=seed, T=9, steps=100, record=1) for seed in range(6)]
    assert large.memory() < 2 * small[0].memory()
    order: list[int] = []
    memory = small[0].memory() + large.memory() - 1
    backend.train_many(
        [large, *small], 2, lambda i, _: order.append(i), lambda _: False, Options(memory=memory)
    )
    assert sorted(order) == list(range(7))


def test_what_cannot_fit_is_refused_with_the_figures(backend, monkeypatch, tmp_path):
    monkeypatch.setattr("toysup._system.memory.available", lambda: 1 << 30)
    large = {"n": 10_000, "T": [100, 100_000_000], "steps": 10}
    with pytest.raises(MemoryError, match=r"the largest run of this sweep needs about .* GB.* 1.1"):
        sweep(**large, store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


# ------------------------------------------------------------------------------- a slow disk


class SlowDisk:
    """``os`` whose first flush takes so long that much more than a few runs could be trained.

    Ctrl-C comes then. A machine that is too busy to train so much meanwhile makes the test easier,
    and never fails it.
    """

    def __init__(self) -> None:
        self.flushed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        self.flushed += 1
        if self.flushed == 1:
            time.sleep(0.3)
            signal.raise_signal(signal.SIGINT)
        os.fsync(handle)


@pytest.mark.parametrize("jobs", [1, 2])
def test_few_runs_wait_for_a_slow_disk(backend, monkeypatch, tmp_path, jobs):
    Store(tmp_path).extend(Grid.make(TINY, {"seed": range(60)}))
    monkeypatch.setattr("toysup._files.whole.os", SlowDisk())
    with pytest.raises(SweepInterrupted) as caught:
        sweep(TINY, seed=range(60), store=tmp_path, n_jobs=jobs)
    assert 1 <= caught.value.result.statuses.count("ok") <= jobs + 1


def test_a_run_holds_its_memory_until_it_is_kept(backend):
    configs = [TINY.replace(seed=seed) for seed in range(20)]
    ended: list[int] = []

    def keep(i: int, raw: Any) -> None:
        if not ended:
            time.sleep(0.3)  # the others could all be trained meanwhile
        ended.append(i)

    memory = Options(memory=2 * configs[0].memory() + 1)
    backend.train_many(configs, 3, keep, lambda _: bool(ended), memory)
    assert 1 <= len(ended) <= 2


# ------------------------------------------------------------------------------ signs of life


def test_a_sweep_says_how_far_it_is_while_it_runs(backend, tmp_path):
    seen: list[dict[str, Any]] = []

    def look() -> bool:
        seen.extend(running(tmp_path / "running"))
        return any(sweep["running"] for sweep in seen)

    with interrupted_when(look), pytest.raises(SweepInterrupted):
        sweep(ENDLESS, seed=range(3), store=tmp_path, n_jobs=2)
    said = seen[-1]
    assert (said["pid"], said["runs"], said["done"], said["failed"]) == (os.getpid(), 3, 0, 0)
    assert 1 <= len(said["running"]) <= 2
    assert said["running"][0].items() >= {"T": "4", "m": 2, "steps": 2**40}.items()
    assert 0 <= said["share"] < 1
    assert not (tmp_path / "running").exists()  # it is over


def life(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    document = {
        **{"host": socket.gethostname(), "pid": os.getpid(), "began": time.time() - 600},
        **{"system": processes.system(), "started": processes.started(os.getpid())},
        **{"updated": time.time(), "runs": 8, "done": 3, "failed": 1, "diverged": 0},
        **{"share": 0.25, "seconds_left": 1800.0},
        "running": [{"T": "inf", "m": 2, "seed": 5, "step": 1000, "steps": 50_000}],
        **changes,
    }
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(document))
    return path


NOWHERE = {"host": "elsewhere", "system": "another boot", "started": "1"}
LONG_AGO, AHEAD = time.time() - 10**7, time.time() + 10**9
DEAD: dict[str, dict[str, Any]] = {
    "gone": {"pid": 2**22 + 12345},  # nobody's
    "silent elsewhere": {**NOWHERE, "updated": time.time() - 1000},
    "ahead elsewhere": {**NOWHERE, "updated": AHEAD},
    "silent in another container": {"system": "another boot", "updated": LONG_AGO},
    "silent and of an older version": {"system": None, "started": None, "updated": LONG_AGO},
}
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux alone")


@pytest.mark.parametrize("who", DEAD)
def test_who_is_dead_is_not_believed(tmp_path, who):
    path = life(tmp_path / "r", **DEAD[who])
    assert running(tmp_path / "r") == []
    with Pulse(tmp_path / "r", [TINY]):  # removes what the dead have left
        assert not path.exists()


ALIVE: dict[str, dict[str, Any]] = {
    "here": {},
    "elsewhere": NOWHERE,
    "in another container, of one name and number": {"system": "another boot", "pid": 1},
    "of an older version": {"system": None, "started": None},
    "ahead a little elsewhere": {**NOWHERE, "ahead": 60},
}


@pytest.mark.parametrize("who", ALIVE)
def test_who_is_alive_is_believed(tmp_path, who):
    about = dict(ALIVE[who])
    path = life(tmp_path / "r", updated=time.time() + about.pop("ahead", 0), **about)
    assert len(running(tmp_path / "r")) == 1
    with Pulse(tmp_path / "r", [TINY]):
        assert path.exists()


@LINUX
def test_the_number_of_a_dead_process_may_be_given_again(tmp_path):
    life(tmp_path / "r", started="1")
    assert running(tmp_path / "r") == []


@LINUX
def test_a_process_that_nobody_waits_for_is_dead(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        started = processes.started(process.pid)
        life(tmp_path / "r", pid=process.pid, started=started)
        assert len(running(tmp_path / "r")) == 1
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ends and stays in the table
        assert running(tmp_path / "r") == []


@LINUX
def test_one_that_is_there_and_late_is_said_to_be_late(tmp_path, capsys):
    sweep(TINY, store=tmp_path)
    life(tmp_path / "running", updated=time.time() - 3600)  # it may have been stopped
    life(tmp_path / "running", began=AHEAD, updated=AHEAD)  # the clock was set back
    assert cli.main(["status", str(tmp_path)]) == 0
    late, other = re.findall("^at work: .*", capsys.readouterr().out, re.MULTILINE)
    assert late.endswith("about 30 min left; not heard of for 1 h 0 min")
    assert "for 0 ms: 3 of 8" in other and other.endswith("30 min left")


def test_what_makes_no_sense_is_not_believed(tmp_path):
    good = life(tmp_path / "r")
    huge = json.loads("1e999")
    for name in ("pid", "runs", "done", "began", "updated", "share", "seconds_left"):
        for value in (huge, math.nan, 10**399, "x", [], True, {}):
            life(tmp_path / "r", **{name: value})
    for pid in (0, -1, 10**30, 1.5, None):
        life(tmp_path / "r", pid=pid)
    for value in (
        "much",
        {},
        {"T": 1},
        [1],
        [{"T": "x\n", "m": 2, "seed": 5, "step": 1, "steps": 1}],
    ):
        life(tmp_path / "r", running=value)
    life(tmp_path / "r", host=3)
    for i, text in enumerate(("", "[]", "{", "[" * 100_000, "1" * 5000)):
        (tmp_path / "r" / f"bad-{i}.json").write_text(text)
    (tmp_path / "r" / "large.json").write_text(" " * (1 << 21))
    (tmp_path / "r" / "folder.json").mkdir()
    assert len(running(tmp_path / "r")) == 1
    before = set((tmp_path / "r").iterdir())
    with Pulse(tmp_path / "r", [TINY]):  # removes nothing of it
        assert set((tmp_path / "r").iterdir()) == before
    good.unlink()
    assert running(tmp_path / "r") == [] == running(tmp_path / "nowhere")
    life(tmp_path / "r", host="a\x1b[2J\n")
    assert running(tmp_path / "r")[0]["host"] == "a\\x1b[2J\\n"


def test_status_shows_what_is_at_work(tmp_path, capsys):
    sweep(TINY, seed=range(2), store=tmp_path)
    life(tmp_path / "running")
    assert cli.main(["status", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2 runs: 2 ok" in out
    host = socket.gethostname()
    said = f"at work: {host}, process {os.getpid()}, for 10 min: 3 of 8 runs, 1 failed, 25 %, about"
    assert f"{said} 30 min left" in out
    assert "  T=inf m=2 seed=5: step 1,000 of 50,000" in out
    assert cli.main(["status", "--json", str(tmp_path)]) == 0
    [store] = json.loads(capsys.readouterr().out)["stores"]
    assert store["running"][0]["runs"] == 8


def test_status_shows_what_is_half_done_and_kept(backend, tmp_path, capsys):
    stopped(LONG[backend.name], tmp_path, seed=range(3), n_jobs=1)
    assert cli.main(["status", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    found = re.search(r"\nunder way, with their state kept:\n  seed=(\d): step ([\d,]+) of", out)
    assert found is not None and "3 runs: 3 missing" in out and "at work" not in out
    assert cli.main(["status", "--json", str(tmp_path)]) == 0
    [store] = json.loads(capsys.readouterr().out)["stores"]
    step, steps = int(found[2].replace(",", "")), LONG[backend.name].steps
    assert store["kept"] == [
        {"seed": int(found[1]), "step": step, "steps": steps, "made_by": backend.maker()}
    ]
    assert 0 < step < steps
    path = next((tmp_path / "checkpoints").iterdir())
    path.write_bytes(b"damaged")  # which is for a sweep to say
    assert cli.main(["status", str(tmp_path)]) == 0
    assert "under way" not in capsys.readouterr().out and path.exists()


@pytest.mark.parametrize(("axes", "place"), [({}, ""), ({"seed": [7]}, "seed=7: ")])
def test_status_says_how_far_runs_of_several_lengths_are(backend, axes, place, tmp_path, capsys):
    most = LONG[backend.name].steps
    stopped(LONG[backend.name], tmp_path, **axes, steps=[most, 3], n_jobs=1)
    assert cli.main(["status", str(tmp_path)]) == 0
    assert re.search(rf"\n  {place}step [\d,]+ of {most:,}$", capsys.readouterr().out, re.M)


def test_a_sweep_that_cannot_say_how_far_it_is_goes_on(backend, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "running").write_text("in the way")
    with Pulse(tmp_path / "running", [TINY]) as pulse:
        pulse.beat(0.0, {"done": 0, "failed": 0, "diverged": 0}, [])


def test_a_folder_that_others_remove_is_made_again(tmp_path, monkeypatch):
    """The last sweep that leaves removes it, while another begins."""
    folder = tmp_path / "running"
    write, make, calls = pulses.replace_file, Path.mkdir, []

    def replace_file(*args: Any, **kwargs: Any) -> None:
        calls.append("write")
        if calls.count("write") < 3:
            folder.rmdir()
        write(*args, **kwargs)

    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        calls.append("make")
        if calls.count("make") == 2:  # it was there, and is not when one looks what it is
            raise FileExistsError(str(path))
        make(path, *args, **kwargs)

    monkeypatch.setattr(pulses, "replace_file", replace_file)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with Pulse(folder, [TINY]) as pulse:
        pulse.begin()
        assert len(running(folder)) == 1
    assert calls == ["make", "write", "make", "make", "write", "make", "write"]
    assert not folder.exists()


def test_a_folder_that_goes_while_it_is_looked_at_holds_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "running"
    folder.mkdir()

    def going(real: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any = ".") -> Any:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return real(path)

        return look

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, going(getattr(os, name)))
    assert running(folder) == [] and not folder.exists()
    folder.mkdir()
    with Pulse(folder, [TINY]) as pulse:
        assert not folder.exists()
        pulse.begin()


def test_a_crowd_that_comes_and_goes_is_heard_of(tmp_path):
    folder = tmp_path / "running"

    def come_and_go(_: int) -> bool:
        heard = True
        for _ in range(100):
            with Pulse(folder, [TINY]) as pulse:
                pulse.begin()
                heard &= any(folder.glob(pulse.name))
                heard &= len(running(folder)) >= 1
        return heard

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(come_and_go, range(4)))
    assert not folder.exists()


def test_the_time_left_is_that_of_the_pace_since_the_beginning() -> None:
    pulse = Pulse(None, [TINY])
    total = TINY.step_cost() * TINY.steps
    pulse.beat(0.5 * total, {}, [])  # half was done before
    pulse._began -= 10
    left = pulse._left(0.75 * total)
    assert left is not None and math.isclose(left, 10, rel_tol=0.1)
    assert pulse._left(0.5 * total) is None


def test_what_begins_ends_and_fails_is_logged(backend, caplog, monkeypatch, tmp_path):
    with caplog.at_level(logging.INFO, "toysup"):
        sweep(TINY, seed=range(2), store=tmp_path)
    assert "2 runs to train, 0 are done" in caplog.text
    assert "T=4, m=2, seed=1: ok, train loss" in caplog.text


def test_the_log_is_silent_unless_it_is_asked_for(tmp_path, capfd):
    words = ["sweep", "--n", "16", "--T", "4", "--sparsity", "0.8", "--steps", "20"]
    words += ["--test-size", "20", "--store", str(tmp_path), "--quiet"]
    log = logging.getLogger("toysup")
    before = (list(log.handlers), log.level)
    try:
        assert cli.main(words) == 0
        assert capfd.readouterr() == ("", "")
        assert cli.main([*words, "--seed", "0,7", "--verbose"]) == 0
        out, err = capfd.readouterr()
        assert out == "" and "1 runs to train" in err and "seed=7: ok" in err
    finally:
        log.handlers, log.level = before


# A script has no job control: what it does in the background ignores SIGINT.
BACKGROUND = '"$@" & echo $!; wait $!; echo $?'
signals = pytest.mark.skipif(os.name != "posix", reason="signals are sent to another process")


def in_a_script(backend: Any, folder: Path, script: str) -> tuple[subprocess.Popen[str], int]:
    """A sweep that a shell script does in the background, once it has kept a state; and its pid."""
    config = LONG[backend.name]
    names = ("n", "m", "T", "sparsity", "steps", "test_size", "record")
    words = [f"--{name}={getattr(config, name)}" for name in names]
    words += ["--seed=0:9", f"--store={folder}", "--jobs=1", "--checkpoint-every=0.05", "--quiet"]
    command = [sys.executable, "-m", "toysup", "sweep", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *command], stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    until = time.monotonic() + 60
    while not list(folder.glob("checkpoints/[!.]*.npz")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    return process, pid


@signals
@pytest.mark.parametrize(
    ("name", "times"), [("SIGTERM", 1), ("SIGTERM", 2), ("SIGHUP", 1)], ids=str
)
def test_a_batch_system_that_ends_the_job_costs_no_work(backend, tmp_path, name, times):
    process, pid = in_a_script(backend, tmp_path, BACKGROUND)
    for _ in range(times):  # timeout(1) sends it to the process and then to its group
        os.kill(pid, getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert out == f"{128 + getattr(signal, name)}\n"
    assert "runs are finished and kept in" in err and "the same command continues" in err
    assert len(list(tmp_path.glob("checkpoints/[!.]*.npz"))) == 1


@signals
def test_what_is_ignored_on_purpose_stays_ignored(backend, tmp_path):
    """SIGHUP under nohup, and SIGINT in the background of a script."""
    process, pid = in_a_script(backend, tmp_path, f"trap '' HUP; {BACKGROUND}")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("checkpoints/[!.]*.npz")}
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGINT)
    until = time.monotonic() + 60
    while {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoints/[!.]*.npz")} == kept:
        assert process.poll() is None and time.monotonic() < until  # it goes on
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == f"{128 + signal.SIGTERM}\n"


@signals
def test_in_python_sigterm_is_ctrl_c_if_it_has_the_same_handler(backend, tmp_path):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            interrupted_when(lambda: list(tmp_path.glob("checkpoints/*.npz")), signal.SIGTERM),
            pytest.raises(SweepInterrupted, match="0 of 1 runs are finished"),
        ):
            sweep(LONG[backend.name], store=tmp_path, checkpoint_every=0.01)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------- a full disk


def test_runs_that_cannot_be_written_are_not_lost(backend, monkeypatch, tmp_path):
    real, full = Store.save, [True]

    def save(self: Store, run: Any) -> None:
        if full[0] and run.config.seed >= 2:
            raise StoreError("cannot write '...': No space left on device")
        real(self, run)

    monkeypatch.setattr(Store, "save", save)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        sweep(TINY, seed=range(8), store=tmp_path, n_jobs=2)
    assert caught.value.runs
    for run in caught.value.runs:
        assert run.config.seed >= 2 and run_bits(run) == run_bits(train(run.config))
    assert set(open_sweep(tmp_path).statuses) <= {"ok", "missing"}
    full[0] = False
    result = sweep(TINY, seed=range(8), store=tmp_path)
    assert [run_bits(r) for r in result.runs()] == [
        run_bits(r) for r in sweep(TINY, seed=range(8)).runs()
    ]


def test_a_disk_that_is_full_for_a_moment_costs_nothing(backend, monkeypatch, tmp_path):
    real, failures = Store.save, iter([True])

    def save(self: Store, run: Any) -> None:
        if next(failures, False):
            raise StoreError("cannot write '...': No space left on device")
        real(self, run)

    monkeypatch.setattr(Store, "save", save)
    with pytest.raises(StoreError, match="No space left") as caught:
        sweep(TINY, seed=range(2), store=tmp_path, n_jobs=1)
    assert caught.value.runs == ()  # it was written in the end
    assert "ok" in open_sweep(tmp_path).statuses


def test_a_checkpoint_that_cannot_be_written_does_not_stop_a_sweep(
    backend, monkeypatch, caplog, tmp_path
):
    def save_checkpoint(*args: Any) -> None:
        raise StoreError("cannot write '...': No space left on device")

    monkeypatch.setattr(Store, "save_checkpoint", save_checkpoint)
    config = LONG[backend.name]
    result = sweep(config, store=tmp_path, checkpoint_every=0.01)
    assert "no checkpoint of T=" in caplog.text and "No space left" in caplog.text
    assert run_bits(result.run()) == uninterrupted(config)


def test_a_failure_that_cannot_be_recorded_is_said(backend, monkeypatch, tmp_path):
    from toysup._backends.protocol import Failed

    def train_many(configs: Any, jobs: int, on_result: Any, *rest: Any) -> None:
        on_result(0, Failed("made to fail", 7))

    def save_failure(*args: Any, **kwargs: Any) -> None:
        raise StoreError("cannot write '...': No space left on device")

    monkeypatch.setattr(backend, "train_many", train_many)
    with pytest.raises(RunFailedError, match="made to fail"):
        sweep(TINY, store=tmp_path / "a")
    assert open_sweep(tmp_path / "a").failed[0].step == 7
    monkeypatch.setattr(Store, "save_failure", save_failure)
    with pytest.raises(StoreError, match="No space left"):
        sweep(TINY, store=tmp_path / "b")
