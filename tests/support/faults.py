"""Faults put into a copy of the sources one after another, each of which tests must find.

    python tests/support/faults.py [NAME …]

Each is one short text that is there once, another in its place, and the tests that must fail then.
It needs what ``.ci/run`` installs, cargo where a fault lies in Rust, and minutes; the suite only
looks whether each text is still there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CORE, PYTHON = "rust/core/src", "python/toysup"
REFERENCE = f"{PYTHON}/_backends/reference"
MODEL = f"{REFERENCE}/model.py"
OPTIMIZER = f"{CORE}/kernels/optimizer.rs"
STREAM = f"{CORE}/stream.rs"


class Fault(NamedTuple):
    """A text of a file, what stands in its place, and the tests that find it."""

    path: str
    old: str
    new: str
    tests: str


FAULTS = {
    "the gradient has the wrong sign": Fault(
        MODEL, "r = factor * (z - x)", "r = factor * (x - z)", "backends/test_gradient.py"
    ),
    "the second moment has the correction of the first": Fault(
        MODEL, "math.sqrt(1.0 - self.powers[1])", "math.sqrt(1.0 - self.powers[0])",
        "backends/test_optimizer.py",
    ),
    "the first moment is not corrected": Fault(
        MODEL, "p -= rate / (1.0 - self.powers[0]) * move", "p -= rate * move",
        "backends/test_optimizer.py",
    ),
    "the warm-up starts at 0": Fault(
        MODEL, "config.learning_rate * (step + 1) / warmup",
        "config.learning_rate * step / warmup", "backends/test_optimizer.py",
    ),
    "the mean is over nothing": Fault(
        f"{REFERENCE}/__init__.py", "per_feature = W.shape[1] if reduction",
        "per_feature = 1 if reduction",
        "backends/test_gradient.py run/test_train.py::test_the_mean_is_the_sum_over_n",
    ),
    "a batch is that of the next step": Fault(
        f"{REFERENCE}/run.py", "self._sample(step * c.batch, (step + 1)",
        "self._sample((step + 1) * c.batch, (step + 2)", "run/test_training_bits.py",
    ),
    "a batch is divided by batch_size": Fault(
        f"{REFERENCE}/run.py", "scale = 1.0 / ((len(X[0]) - 1) * features)",
        "scale = 1.0 / (c.batch * features)", "run/test_batches.py",
    ),
    "features of a class are alike": Fault(
        f"{PYTHON}/_stream/stream.py", "accepted = drawn < chances[places]",
        "accepted = drawn < chances.max()", "stream/test_frequencies.py",
    ),
    "a state drops the first moment": Fault(
        f"{REFERENCE}/run.py",
        'self.optimizer.first = [state["first_W"].copy(), state["first_b"].copy()]', "pass",
        "run/test_checkpoint.py",
    ),
    "a fixed b is trained": Fault(
        MODEL, "if p.ndim == 1 and not c.learn_bias:", "if p.ndim == 3:",
        "backends/test_optimizer.py",
    ),
    "the seed of the weights is that of the data": Fault(
        f"{PYTHON}/config/train_config.py",
        "return self.seed if self.init_seed is None else self.init_seed", "return self.seed",
        "run/test_train.py stream/test_start.py",
    ),
    "T and m are swapped": Fault(
        f"{PYTHON}/config/grid.py", '_FIRST = ("T", "m", "seed")', '_FIRST = ("m", "T", "seed")',
        "sweep/test_sweep.py",
    ),
    "of equal examples the first is nearest": Fault(
        f"{PYTHON}/regime/_retrieval.py", "(own >= best[part])", "(own > best[part])",
        "regime/test_regime.py",
    ),
    "a file is not flushed": Fault(
        f"{PYTHON}/_files/whole.py", "os.fsync(file.fileno())", "pass", "store/test_faults.py"
    ),
    "a checksum is not looked at": Fault(
        f"{PYTHON}/_run/archive.py", "if _seal(digest) != sealed:", "if not sealed:",
        "store/test_damage.py::test_every_bit_counts",
    ),
    "two may write one claim": Fault(
        f"{PYTHON}/_store/claims.py", "os.O_CREAT | os.O_EXCL | os.O_WRONLY",
        "os.O_CREAT | os.O_WRONLY", "store/test_claims.py",
    ),
    "no claim counts": Fault(
        f"{PYTHON}/_store/claims.py", "return self._lives(owner) if owner else abs(age) < _GRACE",
        "return False", "store/test_claims.py",
    ),
    "a run that cannot be stored is lost": Fault(
        f"{PYTHON}/_sweep/work.py", "self._unwritable.runs = tuple(left)",
        "self._unwritable.runs = tuple(left[1:])", "store/test_faults.py sweep/test_long_sweeps.py",
    ),
    "a sweep swallows Ctrl-C at its end": Fault(
        f"{PYTHON}/_sweep/work.py", "return interrupt.is_set() or dropped", "return dropped",
        "system/test_interrupt.py::test_a_ctrl_c_at_the_end_of_a_sweep_is_not_swallowed",
    ),
    "the core climbs": Fault(
        OPTIMIZER, ".fnma(step, parameter)", ".fma(step, parameter)", "backends/test_optimizer.py"
    ),
    "the core does not correct the first moment": Fault(
        OPTIMIZER, "T::from_f64(rate / (1.0 - self.powers.0))", "T::from_f64(rate)",
        "backends/test_optimizer.py",
    ),
    "the core warms up from 0": Fault(
        OPTIMIZER, "(step + 1) as f64 / warmup as f64", "step as f64 / warmup as f64",
        "backends/test_optimizer.py",
    ),
    "the core decays to nothing": Fault(
        OPTIMIZER, "self.final_rate + fall * 0.5", "fall * 0.5", "backends/test_optimizer.py"
    ),
    "the core accepts every candidate": Fault(
        STREAM, "if ((product >> 64) as u64) < class.chances[i as usize] {",
        "if ((product >> 64) as u64) < class.largest {", "stream/test_frequencies.py",
    ),
    "a state of the core drops the first moment": Fault(
        OPTIMIZER, "self.first = laid_out(&memory.first);", "let _ = laid_out(&memory.first);",
        "run/test_checkpoint.py",
    ),
    "the core drops the end of an epoch": Fault(
        f"{CORE}/training/run.rs", "spec.examples.div_ceil(spec.batch)",
        "(spec.examples / spec.batch)", "run/test_batches.py",
    ),
    "the stream starts one example later": Fault(
        STREAM, "for t in start..stop {", "for t in start + 1..stop + 1 {", "stream/test_stream.py"
    ),
    "seed and role are swapped": Fault(
        STREAM, "key: [seed, role],", "key: [role, seed],", "stream/test_stream.py"
    ),
    "the skin is too thin": Fault(
        f"{CORE}/lists/skin.rs", "reach: up(reach * (1.0 + rho)),", "reach: up(rho * reach),",
        "backends/test_lists.py",
    ),
    "a lane behind the last feature takes part": Fault(
        f"{CORE}/lists/group_references.rs", "for lane in 0..lanes.min(self.n - g * lanes) {",
        "for lane in 0..lanes {", "backends/test_lists.py",
    ),
    "test rows are trained on": Fault(
        f"{PYTHON}/_stream/rows.py", "[first:][:count]", "[first - 1 :][:count]",
        "run/test_data_runs.py",
    ),
    "the digest leaves the test rows out": Fault(
        f"{PYTHON}/_stream/dataset.py", "for batch in (X, test):", "for batch in (X, None):",
        "stream/test_dataset.py",
    ),
    "rows are drawn from another stream": Fault(
        STREAM, "let key = [seed, role::DRAWS];", "let key = [seed, role::TRAIN];",
        "run/test_data_runs.py",
    ),
    "a file of other data is believed": Fault(
        f"{PYTHON}/_store/data.py", "if data.ref != ref:", "if data.n != ref.n:",
        "store/test_data_store.py",
    ),
    "a worker forgets the data that it was sent": Fault(
        f"{PYTHON}/_sweep/executors.py", "_held[flag] = kept if data in kept else [*kept, data]",
        "_held[flag] = kept", "store/test_data_store.py",
    ),
    "a memorization score has the wrong sign": Fault(
        f"{PYTHON}/paper/questions/memorization.py", "return means[0] - means[1],",
        "return means[1] - means[0],", "paper/test_paper_memorization.py",
    ),
    "a test loss passes at the T after": Fault(
        f"{PYTHON}/paper/_statistics.py", "share = (level - y[i]) / (y[i + 1] - y[i])",
        "share = 1.0", "paper/test_paper_capacity.py",
    ),
    "half of what a feature says of itself counts": Fault(
        f"{PYTHON}/paper/toy/k_gons.py", "2 * own * said_x", "own * said_x",
        "paper/test_paper_k_gons.py",
    ),
}  # fmt: skip


def build(copy: Path) -> str:
    """Build the extension of a copy into it; what went wrong."""
    environment = {
        **{"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"},
        **{"CARGO_TARGET_DIR": str(copy / "target")},
        **os.environ,
    }
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "-p",
        "toysup-python",
        "--features",
        "doors",
    ]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        target = Path(environment["CARGO_TARGET_DIR"])
        [library] = [
            *target.glob("release/lib_native.so"),
            *target.glob("release/lib_native.dylib"),
        ]
        shutil.copy(library, copy / PYTHON / "_native.abi3.so")
    return done.stderr if done.returncode else ""


def find(copy: Path, fault: Fault) -> str:
    """Put a fault into a copy, run its tests, take it out; what came of it."""
    path = copy / fault.path
    text = path.read_text() if path.exists() else ""
    if text.count(fault.old) != 1:
        return "its text is no longer there, or not once"
    path.write_text(text.replace(fault.old, fault.new))
    try:
        if path.suffix == ".rs" and (error := build(copy)):
            return f"it cannot be compiled: {error}"
        tests = [f"tests/{name}" for name in fault.tests.split()]
        options = [
            "-x",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "--require-native",
            "--require-doors",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=copy, env={**os.environ, "PYTHONPATH": str(copy / "python")},
            capture_output=True, text=True,
        )  # fmt: skip
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
        if done.returncode == 1 and failed:
            return f"found by {failed[0].split()[1]}"
        return f"NOT FOUND ({done.returncode}): {done.stdout[-300:]}"
    finally:
        path.write_text(text)


def main(names: list[str]) -> int:
    """Try these faults, or all; how many were not found."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "toysup"
        ignored = shutil.ignore_patterns(".*", "target", "_native*.so", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        if error := build(copy):
            sys.exit(f"the sources without a fault cannot be compiled: {error}")
        rust_last = sorted(names or FAULTS, key=lambda name: FAULTS[name].path.endswith(".rs"))
        for name in rust_last:
            began = time.monotonic()
            outcome = find(copy, FAULTS[name])
            missed += not outcome.startswith("found")
            print(f"{name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{missed} of {len(names or FAULTS)} faults were not found")
    return missed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
