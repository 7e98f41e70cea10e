"""Processes really killed, at random, in the middle of sweeps: nothing is lost or wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import run_bits
from soak import soak
from toysup import TrainConfig, open_sweep, sweep

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]
KILLS = soak(4, 50)

# A process that has imported everything forks children that sweep, and kills each after a random
# time, until they have been killed often enough; `crowd` children at a time share a store. They
# live longer each time that no run has ended, so that there is an end on a machine of any speed.
MURDERER = """
import json, os, random, signal, sys, time, warnings
import numpy, xarray, toysup
from toysup import open_sweep, sweep

folder, kills, crowd, seed, fields = json.loads(sys.argv[1])
draw, killed, stores = random.Random(seed), 0, 0


def child(store):
    status = 1
    try:
        warnings.simplefilter("error")  # a damaged file would be said
        sweep(**fields, store=store, n_jobs=2, progress=False, checkpoint_every=0.0)
        status = 0
    finally:
        os._exit(status)


def listed(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


while killed < kills:
    store = f"{folder}/store-{stores}"
    stores += 1
    done, life, ended = False, 0.04, 0
    while not done:
        children = []
        for _ in range(crowd):
            pid = os.fork()
            if pid == 0:
                child(store)
            children.append(pid)
        for pid in children:
            time.sleep(draw.expovariate(1 / life))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                killed += 1
            elif os.WEXITSTATUS(status) == 0:
                done = True
            else:
                sys.exit(f"a child failed after {killed} kills")
        before, ended = ended, len([n for n in listed(f"{store}/runs") if n[0] != "."])
        life = 0.04 if ended > before else 1.25 * life
        if killed % 10 == 0 and os.path.exists(f"{store}/sweep.json"):
            status = set(open_sweep(store).dataset.status.values.ravel().tolist())
            assert status <= {"ok", "missing"}, status
print(json.dumps({"killed": killed, "stores": stores}))
"""


def murder(folder: Path, fields: dict[str, Any], *, kills: int, crowd: int) -> dict[str, int]:
    """Sweep under fire; what happened."""
    arguments = [str(folder), kills, crowd, 1, fields]
    process = subprocess.run(
        [sys.executable, "-c", MURDERER, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=soak(180, 900),
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, int] = json.loads(process.stdout)
    print(f"{found['killed']} processes killed, {found['stores']} sweeps ended")
    return found


@pytest.mark.parametrize("crowd", [1, 2])
@pytest.mark.timeout(soak(200, 1000))
def test_whoever_is_killed_whenever_the_sweep_ends_the_same(backend, tmp_path, crowd):
    config = TrainConfig(n=60, m=2, T=20, sparsity=0.9, test_size=50, record=4, snapshots=2)
    # Some runs are over at once, others live through several states.
    steps = [50, 400, 20_000] if backend.name == "native" else [5, 40, 400]
    axes = {"steps": steps, "seed": [0, 1], "m": [2, 7]}
    fields = {**config.to_dict(), **axes}
    found = murder(tmp_path, fields, kills=KILLS, crowd=crowd)
    assert found["killed"] >= KILLS

    whole = [run_bits(run) for run in sweep(config, **axes).runs()]
    for i in range(found["stores"]):
        store = tmp_path / f"store-{i}"
        result = open_sweep(store)
        assert (result.dataset.status == "ok").all()
        sweep(config, **axes, store=store)  # tidies up
        assert [run_bits(run) for run in result.runs()] == whole
        assert not (store / "damaged").exists()
        assert not list((store / "checkpoints").glob("*.npz"))  # of runs that are done
