"""Wherever a sweep is called from: threads, forks, notebooks, event loops, ends of processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import faulthandler
import functools
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import digest, interrupted_when, run_bits, training
from soak import soak
from toysup import RunFailedError, SweepInterrupted, TrainConfig, open_sweep, sweep, train
from toysup._backends import choose
from toysup._store.folder import locked

pytestmark = [pytest.mark.timeout(180), pytest.mark.any_backend]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
signals = pytest.mark.skipif(os.name != "posix", reason="signals are sent to another process")

CONFIG = TrainConfig(n=40, m=2, T=12, sparsity=0.85, steps=200, test_size=40, record=5)
AXES: dict[str, Any] = {"T": [12, 30], "seed": [0, 1, 2]}
# It would take hours.
ENDLESS = TrainConfig(n=500, m=2, T=100, sparsity=0.9, steps=2**40, test_size=10, record=1)


def result_digest(result: Any) -> str:
    """Everything that the runs of a sweep compute."""
    return digest(b"".join(run_bits(run) for run in result.runs()))


def swept(**options: Any) -> str:
    """The digest of a small sweep."""
    return result_digest(sweep(CONFIG, **AXES, **options))


@functools.cache
def serially(backend: str) -> str:
    return swept(n_jobs=1)


@pytest.fixture
def serial(backend: Any) -> str:
    """What one thread makes of it."""
    return serially(backend.name)


def is_whole(store: Path, expected: str) -> bool:
    """Whether all runs are there and right, and nothing is left that sweeps need on the way."""
    left = [p.name for p in store.rglob("*") if p.suffix == ".tmp" or p.parent.name == "running"]
    return not left and result_digest(open_sweep(store)) == expected


# ------------------------------------------------------------------------------- other processes


def start(function: Callable[..., None], *arguments: str) -> subprocess.Popen[str]:
    """A process, in a group of its own, that does a function of this module."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    code = f"import sys, {__name__} as here; here.{function.__name__}(*sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def say(**words: Any) -> None:
    """One line for :func:`heard`, whole, whoever else writes there."""
    os.write(1, f"{json.dumps(words)}\n".encode())


def heard(process: subprocess.Popen[str], returncode: int = 0) -> dict[str, Any]:
    """All that a process said until its end, which must come soon."""
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the process hangs; it said {out!r} and {err!r}")
    assert process.returncode == returncode, err
    if returncode == 0:
        assert err == ""
    said: dict[str, Any] = {}
    for line in out.splitlines():
        said.update(json.loads(line))
    return said


def when_training(then: Callable[[], None]) -> None:
    """Do something, in another thread, as soon as a training is under way."""
    begun = training(pytest.MonkeyPatch(), choose.backend())

    def wait() -> None:
        begun.wait()
        then()

    threading.Thread(target=wait, daemon=True).start()


def interrupted(process: subprocess.Popen[str], *, times: int = 1) -> None:
    """Send SIGINT to a process that is in the middle of a sweep."""
    assert process.stdout is not None and json.loads(process.stdout.readline()) == {"ready": True}
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)


def endless(*, passed_on: bool = False, **options: Any) -> None:
    """Sweep until SIGINT, and say so."""
    when_training(lambda: say(ready=True))
    try:
        sweep(ENDLESS, seed=[0, 1], **options)
    except SweepInterrupted as stop:
        say(interrupted=stop.result.interrupted)
        if passed_on:
            raise


# --------------------------------------------------------------------------------------- threads


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """What threads that begin at the same time return."""
    barrier = threading.Barrier(count)

    def begin(i: int) -> Any:
        barrier.wait()
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.mark.parametrize("stores", ["none", "own", "shared"])
def test_sweeps_in_several_threads(backend, serial, tmp_path, stores):
    paths = {"none": [None] * 4, "own": [tmp_path / str(i) for i in range(4)]}
    chosen = paths.get(stores, [tmp_path / "all"] * 4)
    found = at_once(lambda i: swept(store=chosen[i], n_jobs=2, checkpoint_every=0.0), 4)
    assert found == [serial] * 4
    assert all(is_whole(store, serial) for store in chosen if store is not None)


def test_threads_that_extend_one_store_lose_nothing(backend, serial, tmp_path):
    store = tmp_path / "s"
    parts = [{"T": [T], "seed": [seed]} for T in AXES["T"] for seed in AXES["seed"]]
    at_once(lambda i: sweep(CONFIG, **parts[i], store=store, n_jobs=1), len(parts))
    coords = open_sweep(store).coords
    assert {name: sorted(values) for name, values in coords.items()} == AXES
    assert swept(store=store) == serial  # in the order of AXES, with nothing left to train
    assert len(list((store / "runs").iterdir())) == len(parts)


def test_ctrl_c_stops_only_the_main_threads_sweep(backend, serial, tmp_path, monkeypatch):
    begun = training(monkeypatch, backend, threading.main_thread())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        aside = pool.submit(lambda: [swept(store=tmp_path / str(i)) for i in range(3)])
        with interrupted_when(begun.is_set), pytest.raises(SweepInterrupted):
            sweep(ENDLESS, seed=[0, 1])
        assert aside.result() == [serial] * 3


def test_threads_as_executor_of_a_sweep_in_a_thread(backend, serial, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        found = at_once(lambda i: swept(executor=executor, store=tmp_path / str(i)), 2)
    assert found == [serial] * 2
    assert all(is_whole(tmp_path / str(i), serial) for i in range(2))


def test_an_executor_that_is_shut_in_the_middle_keeps_what_ended(backend, tmp_path):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    config = CONFIG.replace(steps={"native": 300_000, "numpy": 3000}[backend.name])

    def shut() -> None:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("runs/[!.]*.npz")) and time.monotonic() < until:
            time.sleep(0.001)
        executor.shutdown(wait=False, cancel_futures=True)

    thread = threading.Thread(target=shut)
    thread.start()
    with pytest.raises(RunFailedError, match=r"broke \(CancelledError\); .* kept") as caught:
        sweep(config, **AXES, executor=executor, store=tmp_path)
    thread.join()
    status = caught.value.result.dataset.status
    assert (status == "ok").any() and set(status.values.ravel().tolist()) == {"ok", "missing"}
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        sweep(config, **AXES, executor=executor, store=tmp_path)


# ----------------------------------------------------------------------------------------- forks


def forked(work: Callable[[], str], expected: str) -> int:
    """A child that does some work; its process number."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            faulthandler.dump_traceback_later(100, exit=True)  # rather than wait for ever
            status = 0 if work() == expected else 2
        except BaseException:  # noqa: BLE001  the child must end here
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    """How a child ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ignore_fork_warning() -> None:
    """From Python 3.12 on a fork of a process with threads is warned of."""
    warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)


def fork_after_a_sweep(folder: str) -> None:
    ignore_fork_warning()
    expected = swept(n_jobs=2, store=f"{folder}/parent")
    child = forked(lambda: swept(n_jobs=2, store=f"{folder}/child"), expected)
    say(child=ended(child), parent=swept(n_jobs=2) == expected, expected=expected)


@posix
def test_a_fork_after_a_sweep(backend, serial, tmp_path):
    said = heard(start(fork_after_a_sweep, str(tmp_path)))
    assert said == {"child": 0, "parent": True, "expected": serial}
    assert is_whole(tmp_path / "child", serial)


def fork_during_a_sweep(folder: str) -> None:
    """Fork again and again while another thread sweeps and writes to its store all the time."""
    ignore_fork_warning()
    expected = swept()
    options = dict(store=f"{folder}/parent", n_jobs=2, checkpoint_every=0.0, seed=[0, 1])
    threading.Thread(target=sweep, args=(ENDLESS,), kwargs=options, daemon=True).start()
    while not os.path.isdir(f"{folder}/parent/checkpoints"):
        time.sleep(0.01)
    codes = []
    for i in range(4):
        time.sleep(0.01 * i)
        codes.append(ended(forked(lambda i=i: swept(store=f"{folder}/{i}", n_jobs=2), expected)))
    say(codes=codes)
    os._exit(0)


@posix
def test_a_fork_while_another_thread_sweeps(backend, serial, tmp_path):
    assert heard(start(fork_during_a_sweep, str(tmp_path))) == {"codes": [0] * 4}
    assert all(is_whole(tmp_path / str(i), serial) for i in range(4))


def fork_while_locked(folder: str) -> None:
    """Fork in the moment in which another thread changes the store."""
    ignore_fork_warning()
    store = Path(folder) / "s"
    expected = swept(store=store)
    entered, leave = threading.Event(), threading.Event()

    def change() -> None:
        with locked(store):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=change)
    thread.start()
    entered.wait()
    children = [forked(lambda: swept(store=store), expected)]  # waits for the parent
    children.append(forked(lambda: swept(store=f"{folder}/other"), expected))
    say(other=ended(children[1]))  # waits for nobody
    leave.set()
    thread.join()
    say(same=ended(children[0]), parent=swept(store=store) == expected)


@posix
def test_a_lock_that_is_held_during_a_fork_does_not_stay_so(backend, tmp_path):
    assert heard(start(fork_while_locked, str(tmp_path))) == {"other": 0, "same": 0, "parent": True}


def fork_while_drawing() -> None:
    """Fork in the moment in which another thread draws a progress bar."""
    from tqdm.auto import tqdm

    ignore_fork_warning()
    expected = swept(progress=False)
    entered, leave = threading.Event(), threading.Event()

    def draw() -> None:
        with tqdm.get_lock():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=draw)
    thread.start()
    entered.wait()
    child = forked(swept, expected)
    time.sleep(0.2)
    leave.set()
    thread.join()
    say(child=ended(child))


@posix
def test_a_progress_bar_that_is_drawn_during_a_fork(backend):
    """The child draws none, and so needs not the lock of those that do."""
    assert heard(start(fork_while_drawing)) == {"child": 0}


def sweep_on_processes(method: str, folder: str) -> None:
    ignore_fork_warning()
    before = swept(n_jobs=2)
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        say(after=swept(executor=executor, store=folder), before=before)


@posix
@pytest.mark.parametrize("method", soak(["fork"], ["fork", "forkserver"]))
def test_processes_as_executor(backend, serial, tmp_path, method):
    said = heard(start(sweep_on_processes, method, str(tmp_path)))
    assert said == {"before": serial, "after": serial}
    assert is_whole(tmp_path, serial)


def told(function: Callable[..., Any], *args: Any) -> Any:
    """Say, in a worker, that it trains."""
    when_training(lambda: say(worker=True))
    return function(*args)


class Telling(concurrent.futures.ProcessPoolExecutor):
    """Its workers say when they train."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(told, function, *args, **kwargs)


def endless_on_workers_that_tell(method: str) -> None:
    ignore_fork_warning()
    context = multiprocessing.get_context(method)
    with Telling(2, mp_context=context) as executor:
        try:
            sweep(ENDLESS, seed=[0, 1], executor=executor)
        except SweepInterrupted as stop:
            say(interrupted=stop.result.interrupted)


def both_have_begun(process: subprocess.Popen[str]) -> None:
    """Wait until both workers train."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(2)]
    if said != 2 * ['{"worker": true}\n']:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it said {said}, and {process.communicate()}")


@posix
@pytest.mark.parametrize("method", soak(["fork"], ["fork", "forkserver"]))
def test_ctrl_c_in_a_terminal_stops_workers_too(backend, method):
    """It sends SIGINT to all processes of the group."""
    process = start(endless_on_workers_that_tell, method)
    both_have_begun(process)
    os.killpg(process.pid, signal.SIGINT)
    assert heard(process)["interrupted"]


@posix
@pytest.mark.parametrize("method", soak(["spawn"], ["fork", "forkserver", "spawn"]))
def test_ctrl_c_that_the_sweep_alone_hears_stops_its_workers(backend, method):
    process = start(endless_on_workers_that_tell, method)
    both_have_begun(process)
    process.send_signal(signal.SIGINT)
    assert heard(process)["interrupted"]  # the pool's end waits for what its workers do


@posix
@pytest.mark.parametrize("method", soak(["spawn"], ["fork", "forkserver", "spawn"]))
def test_workers_end_with_a_sweep_that_is_killed(backend, method):
    process = start(endless_on_workers_that_tell, method)
    both_have_begun(process)
    process.kill()
    heard(process, returncode=-signal.SIGKILL)  # they have its stdout, which they close by ending


def test_threads_as_executor_stop_with_the_sweep(backend, monkeypatch):
    with (
        interrupted_when(training(monkeypatch, backend).is_set),
        pytest.raises(SweepInterrupted, match="interrupted: 0 of 4 runs"),
        concurrent.futures.ThreadPoolExecutor(2) as executor,
    ):
        sweep(ENDLESS, seed=range(4), executor=executor)


class Struck(concurrent.futures.Executor):
    """Ctrl-C comes, and its workers die of it before they can do anything."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def strike() -> None:
            signal.raise_signal(signal.SIGINT)
            future.set_exception(concurrent.futures.BrokenExecutor("a worker died"))

        threading.Timer(0.02, strike).start()
        return future


def test_workers_that_die_of_ctrl_c_are_no_broken_executor(backend):
    with pytest.raises(SweepInterrupted, match="interrupted: 0 of 1 runs"):
        sweep(CONFIG, executor=Struck())


class Here(concurrent.futures.Executor):
    """Does everything at once, in the thread that asks for it."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(function(*args, **kwargs))
        return future


def test_ctrl_c_stops_a_run_on_an_executor_without_workers(backend, monkeypatch):
    with (
        interrupted_when(training(monkeypatch, backend).is_set),
        pytest.raises(SweepInterrupted, match="interrupted: 0 of 1 runs"),
    ):
        sweep(ENDLESS, executor=Here())


# --------------------------------------------------------------------------- no stdout, no stderr


class Text:
    """What is written to, and is no file."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


def broken_streams() -> dict[str, Any]:
    """What may stand in the place of stdout and stderr."""
    with open(os.devnull, "w") as closed:
        pass
    read, gone = os.pipe()
    os.close(read)
    streams = {"none": None, "closed": closed, "text": Text()}
    streams["pipe"] = os.fdopen(gone, "w", buffering=1)
    if os.path.exists("/dev/full"):
        streams["full"] = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    return streams


def without_streams(folder: str) -> None:
    """Train, sweep, draw bars, warn and log where there is nowhere to do so."""
    expected, out, log = swept(), sys.stdout, logging.getLogger("toysup")
    log.setLevel(logging.DEBUG)
    warnings.simplefilter("always")
    streams, done = broken_streams(), []
    for kind, stream in streams.items():
        sys.stdout = sys.stderr = stream
        log.handlers = [logging.StreamHandler(stream)]
        for progress in (None, True):
            assert train(CONFIG, progress=progress).status == "ok"
            bad = {"optimizer": "sgd", "learning_rate": 1e30, "warmup": 0.0}
            assert train(CONFIG, **bad, progress=progress).status == "diverged"
            store = Path(folder, f"{kind}-{progress}")
            assert swept(store=store, progress=progress) == expected
            min((store / "runs").iterdir()).write_bytes(b"damaged")
            assert swept(store=store, progress=progress) == expected
        done.append(kind)
    sys.stdout, sys.stderr = out, sys.__stderr__
    text = Text()
    log.handlers = [logging.StreamHandler(text)]
    log.handlers[0].setFormatter(logging.Formatter("%(filename)s"))
    swept()
    say(done=done, logged_by=text.text.split()[0])
    os._exit(0)  # the end of the process would flush what cannot be written


def test_nobody_need_hear_what_is_said(backend, tmp_path):
    said = heard(start(without_streams, str(tmp_path)))
    full = ["full"] if os.path.exists("/dev/full") else []
    assert said == {"done": ["none", "closed", "text", "pipe", *full], "logged_by": "work.py"}


# ----------------------------------------------------------------------------------- event loops


def test_sweeps_in_a_coroutine(backend, serial, tmp_path):
    async def main() -> list[str]:
        return [swept(n_jobs=2), swept(store=tmp_path / "s", progress=False)]

    assert asyncio.run(main()) == [serial] * 2


def test_sweeps_beside_an_event_loop(backend, serial, tmp_path):
    async def main() -> list[str]:
        works = [asyncio.to_thread(swept, store=tmp_path / str(i)) for i in range(3)]
        sweeps = asyncio.gather(*works)
        while not sweeps.done():
            await asyncio.sleep(0.001)
            ticks.append(time.monotonic())
        return await sweeps

    ticks: list[float] = []
    assert asyncio.run(main()) == [serial] * 3
    assert len(ticks) > 1  # the loop went on meanwhile


def endless_in_a_coroutine(passed_on: str) -> None:
    async def main() -> None:
        endless(n_jobs=2, passed_on=bool(passed_on))
        await asyncio.sleep(60)
        say(never=True)

    asyncio.run(main())


@signals
@pytest.mark.parametrize(("times", "passed_on"), [(1, ""), (1, "on"), (2, "")])
def test_ctrl_c_in_a_coroutine_stops_its_sweep_and_then_its_task(backend, times, passed_on):
    process = start(endless_in_a_coroutine, passed_on)
    interrupted(process, times=times)
    said = heard(process, -signal.SIGINT)
    assert "never" not in said
    assert times > 1 or said["interrupted"]


def test_the_second_ctrl_c_in_a_coroutine_insists(backend, monkeypatch):
    def train_many(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        asked.append(True)
        signal.raise_signal(signal.SIGINT)
        asked.append(False)

    async def main() -> None:
        sweep(CONFIG)

    asked: list[bool] = []
    monkeypatch.setattr(backend, "train_many", train_many)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ------------------------------------------------------------------------------ ends of processes


def end_in_a_sweep(folder: str) -> None:
    """Return while a daemon thread sweeps, and most of the time writes a checkpoint."""
    flush = os.fsync

    def slowly(handle: int) -> None:
        time.sleep(0.05)
        flush(handle)

    os.fsync = slowly
    options = dict(seed=[0, 1], n_jobs=2, store=folder, checkpoint_every=0.0)
    threading.Thread(target=sweep, args=(ENDLESS,), kwargs=options, daemon=True).start()
    while not list(Path(folder).glob("checkpoints/[!.]*.npz")):
        time.sleep(0.01)
    say(ends=True)


def test_a_process_ends_while_a_daemon_thread_sweeps(backend, tmp_path):
    assert heard(start(end_in_a_sweep, str(tmp_path))) == {"ends": True}
    assert (open_sweep(tmp_path).dataset.status == "missing").all()  # and it can be continued


# ------------------------------------------------------------------------------------- notebooks


class Kernel:
    """A Jupyter kernel, and what its cells give."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.runner.run(self._start())

    async def _start(self) -> None:
        from jupyter_client.manager import start_new_async_kernel

        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path}
        self.manager, self.client = await start_new_async_kernel(env=environment)

    def cell(self, code: str, *, interrupt: bool = False) -> dict[str, Any]:
        """What a cell prints and shows, by kind, and the number of images.

        It is interrupted once it has printed.
        """
        return self.runner.run(self._cell(code, interrupt))

    async def _cell(self, code: str, interrupt: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"stdout": "", "stderr": "", "images": 0}

        def stop() -> None:
            asyncio.run(self.manager.interrupt_kernel())

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["header"]["msg_type"] == "stream":
                if interrupt and not found["stdout"]:
                    threading.Thread(target=stop).start()
                found[content["name"]] += content["text"]
            found.update(content.get("data", {}))
            found["images"] += "image/png" in content.get("data", {})

        reply = await self.client.execute_interactive(code, timeout=120, output_hook=hear)
        return {**found, "reply": reply["content"]}

    def close(self) -> None:
        self.client.stop_channels()
        self.runner.run(self.manager.shutdown_kernel(now=True))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel that leaves nothing in the user's folders."""
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    folder = tmp_path_factory.mktemp("jupyter")
    selector = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)  # ZeroMQ needs it on Windows
    with pytest.MonkeyPatch.context() as patch, selector as runner:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        patch.delenv("MPLBACKEND", raising=False)  # the kernel sets it to its own
        with contextlib.closing(Kernel(runner)) as kernel:
            yield kernel


SET_UP = """
import os, warnings
os.environ["TOYSUP_BACKEND"] = {backend!r}
import toysup
from test_surroundings import AXES, CONFIG, ENDLESS, result_digest, when_training
"""


def test_a_sweep_in_a_notebook(backend, serial, kernel, tmp_path):
    code = SET_UP.format(backend=backend.name)
    code += f"res = toysup.sweep(CONFIG, **AXES, store={str(tmp_path)!r}, progress=True)\n"
    shown = kernel.cell(f"{code}print(toysup.backend_name(), result_digest(res))\nres")
    assert shown["reply"]["status"] == "ok"
    assert shown["stdout"] == f"{backend.name} {serial}\n"
    widget = "application/vnd.jupyter.widget-view+json" in shown  # where ipywidgets is installed
    assert widget or "6 runs: 100%" in shown["stderr"]
    assert shown["text/plain"].startswith("<toysup.SweepResult (T: 2, seed: 3)")
    assert "toysup.SweepResult" in shown["text/html"]
    assert is_whole(tmp_path, serial)


@pytest.mark.parametrize("first", ["pass", "import asyncio; await asyncio.sleep(0)"])
def test_a_notebooks_stop_button(backend, serial, kernel, first):
    code = f"{SET_UP.format(backend=backend.name)}{first}\n"
    code += "when_training(lambda: print('ready', flush=True))\n"
    code += "res = toysup.sweep(ENDLESS, seed=[0, 1], n_jobs=2, progress=False)\n"
    stopped = kernel.cell(f"{code}print('and on')", interrupt=True)
    assert stopped["stdout"] == "ready\n" and stopped["reply"]["ename"] == "SweepInterrupted"
    assert "0 of 2 runs are finished" in stopped["reply"]["evalue"]
    found = kernel.cell("import sys; print(sys.last_value.result.interrupted)")
    assert found["stdout"] == "True\n"
    again = kernel.cell("print(result_digest(toysup.sweep(CONFIG, **AXES)))")
    assert again["stdout"] == f"{serial}\n"


CELLS = [
    ("fields = dict(n=30, m=2, T=5, sparsity=0.8, steps=20, test_size=10, snapshots=3)", 0),
    ("run = toysup.train(**fields)\nassert 'matplotlib' not in sys.modules", 0),
    ("toysup.plot.animate(run, dpi=30)", 0),
    ("toysup.plot.vectors(run)", 1),
    ("toysup.plot.history(run)", 1),
    ("toysup.plot.figure3(run)", 1),
    ("toysup.plot.figure4(run)", 1),
    ("import matplotlib.pyplot as plt; plt.plot([1, 2])", 1),
    ("figure, ax = plt.subplots(); toysup.plot.test_loss(run, ax=ax)", 1),
    ("figure = plt.figure(); toysup.plot.figure3(run, fig=figure)", 1),
    ("toysup.plot.save(toysup.plot.norms(run), {folder!r} + '/norms')", 1),
    ("try: toysup.plot.norms(run, seed=5)\nexcept ValueError: pass", 0),
    ("toysup.plot.vectors(run); toysup.plot.norms(run)", 2),
    ("from toysup.cli import main; path = str(run.save({folder!r} + '/run.npz'))", 0),
    ("main(['plot', 'norms', path, '--out', {folder!r} + '/a.png', '--quiet'])", 0),
    ("plt.plot([2, 1])", 1),
    ("print(plt.get_fignums(), plt.isinteractive(), plt.rcParams['font.size'])", 0),
]


def test_a_notebook_shows_every_figure_once(kernel, tmp_path):
    """Without %matplotlib: the first figure starts the backend, which shows those of a cell."""
    kernel.cell("import sys, toysup")
    for code, images in CELLS:
        shown = kernel.cell(code.replace("{folder!r}", repr(str(tmp_path))))
        assert shown["reply"]["status"] == "ok", (code, shown["reply"])
        assert shown["images"] == images, (code, shown)
    assert shown["stdout"] == "[] True 10.0\n"
