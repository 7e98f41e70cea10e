"""Coverage-guided fuzzing of what reads files and arguments, for longer than the suite takes.

    pip install atheris
    python tests/whole/fuzz_files.py TARGET [-max_total_time=600] [-rss_limit_mb=1024] [CORPUS]

TARGET is run, checkpoint, manifest, failure, life (a sign of life, or a claim), printing, config,
arguments or data.
Whatever is read, the answer is
what was written or an error that the caller can name: anything else stops the fuzzer, as does
memory beyond the limit. Good files of every kind are put in the corpus at the start.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["toysup"]):
    import toysup
    from toysup import StoreError, TrainConfig, cli
    from toysup._run.archive import read_checkpoint, read_meta, verify
    from toysup._run.checkpoint import unpack
    from toysup._store.claims import Claims
    from toysup._store.data import check_data, read_data, write_data
    from toysup._store.pulse import Pulse, running
    from toysup._store.store import Store
    from toysup._sweep.frame import to_csv
    from toysup.cli._fields import given_fields
    from toysup.cli._output import UsageError, complain
    from toysup.cli._stores import _running_text
    from toysup.config.grid import Grid
    from toysup.data import Dataset
    from toysup.errors import printable

CONFIG = TrainConfig(n=6, m=2, T=3, sparsity=0.5, steps=3, test_size=4, record=2, snapshots=1)
DATA = Dataset([[0.0, 3.0, 4.0], [1.0, 0.0, 0.0]], test=[[1.0, 1.0, 0.0]], name="data")
FOLDER = Path(tempfile.mkdtemp(prefix="toysup-fuzz-"))
PATH = FOLDER / "file.npz"


def run(data: bytes) -> None:
    """A run's file."""
    PATH.write_bytes(data)
    for read in (read_meta, verify, toysup.load_run):
        try:
            read(PATH)
        except StoreError:
            continue


def checkpoint(data: bytes) -> None:
    """The state of a run; one that is accepted must not crash the backend."""
    PATH.write_bytes(data)
    try:
        unpack(CONFIG, *read_checkpoint(PATH, CONFIG))
    except (StoreError, ValueError):
        return


def _in_store(name: str, data: bytes) -> None:
    store = Store(FOLDER / "store")
    (store.path / "runs").mkdir(parents=True, exist_ok=True)
    (store.path / name).write_bytes(data)
    with contextlib.suppress(StoreError):
        store.grid()
    store.summary(CONFIG)


def manifest(data: bytes) -> None:
    """The manifest of a store, and an extension of it."""
    _in_store("sweep.json", data)
    _in_store("sweep.1.json", data)
    (FOLDER / "store" / "sweep.1.json").unlink()


def failure(data: bytes) -> None:
    """The record of a failed run."""
    try:
        _in_store(f"runs/{CONFIG.key()}.failed.json", data)
    except FileNotFoundError:  # there is no manifest
        return


def life(data: bytes) -> None:
    """A sign of life, or a claim; what the former says is shown by ``toysup status``."""
    folder = FOLDER / "running"
    for owner in (data, b"0.json"):
        folder.mkdir(exist_ok=True)
        (folder / "0.json").write_bytes(data)
        claim = folder / f"{CONFIG.key()}.claim"
        claim.write_bytes(owner)
        # What is of a dead sweep is removed, and then the folder.
        with Pulse(folder, [CONFIG]) as pulse, Claims(folder, pulse) as claims:
            assert claims.take(CONFIG.key()) or claims.is_taken(CONFIG.key())
            claim.unlink()
    folder.mkdir(exist_ok=True)
    (folder / "0.json").write_bytes(data)
    for document in running(folder):
        json.dumps(document, allow_nan=False)
        _is_plain(_running_text(document).replace("\n", ""))  # which status prints


def printing(data: bytes) -> None:
    """Any text that goes to a terminal, a log, a page or a table."""
    text = data.decode(errors="surrogateescape")
    _is_plain(printable(text))
    _is_plain(printable(text, keep="\n").replace("\n", ""))
    assert printable(printable(text)) == printable(text)
    store = Store(FOLDER / "printed")
    store.extend(Grid.make(CONFIG, {}))
    store.save_failure(CONFIG, text)
    result = toysup.open_sweep(store.path)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        cli.main(["status", str(store.path)])
        complain("note", text)
    assert out.getvalue().count("\n") == 6 and err.getvalue().count("\n") == 1
    for shown in (result.failed[0][1], result._repr_html_(), out.getvalue(), err.getvalue()):
        _is_plain(shown.replace("\n", ""))
    for row in csv.reader(io.StringIO(to_csv(result.to_frame()))):
        assert len(row) > 1 and not any(cell.startswith(("=", "+", "@", "\t")) for cell in row)


def _is_plain(text: str) -> None:
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text), text


def config(data: bytes) -> None:
    """The JSON of a config."""
    try:
        found = TrainConfig.from_json(data.decode(errors="surrogateescape"))
    except ValueError:
        return
    assert TrainConfig.from_json(found.to_json()) == found


def arguments(data: bytes) -> None:
    """The arguments of the command line, up to where something would be trained."""
    words = data.decode(errors="replace").split("\n")
    try:
        args = cli._parse(words)
        fields = given_fields(args) if args.command in ("sweep", "plot") else {}
        TrainConfig.from_fields({k: v for k, v in fields.items() if not isinstance(v, list)})
    except (UsageError, ValueError, TypeError, SystemExit, FileNotFoundError):
        return


def data(content: bytes) -> None:
    """The data set of a store."""
    PATH.write_bytes(content)
    for read in (check_data, read_data):
        with contextlib.suppress(StoreError):
            read(PATH, DATA.ref)


TARGETS: dict[str, Callable[[bytes], None]] = {
    f.__name__: f
    for f in (run, checkpoint, manifest, failure, life, printing, config, arguments, data)
}


def seeds(target: str, corpus: Path) -> None:
    """Good files to begin with."""
    good = FOLDER / "good"
    toysup.sweep(CONFIG, seed=[0], store=good)
    Store(good).save_failure(CONFIG.replace(seed=9), "ValueError: x", step=2)
    files = {
        "run": next((good / "runs").glob("*.npz")),
        "manifest": good / "sweep.json",
        "failure": next((good / "runs").glob("*.json")),
    }
    if target in files:
        (corpus / "good").write_bytes(files[target].read_bytes())
    if target == "checkpoint":
        (corpus / "good").write_bytes(files["run"].read_bytes())
    if target == "data":
        write_data(PATH, DATA)
        (corpus / "good").write_bytes(PATH.read_bytes())
    if target == "life":
        with contextlib.suppress(OSError), Pulse(FOLDER / "life", [CONFIG]) as pulse:
            pulse.beat(1.0, {"done": 1, "failed": 0, "diverged": 0}, [(0, 2)])
            (corpus / "good").write_bytes(next((FOLDER / "life").iterdir()).read_bytes())
    if target == "printing":
        (corpus / "good").write_bytes("=\x1b[31mé\r\n\u202e<b>'\"".encode())
    if target == "config":
        (corpus / "good").write_text(CONFIG.to_json())
    if target == "arguments":
        (corpus / "good").write_text("sweep\n--T\n3,5:9,inf\n--m\n2\n--betas\n0.9,0.99\n--json")


def main() -> None:
    """Fuzz until told to stop."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"TARGET must be one of {', '.join(TARGETS)}")
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    seeds(name, corpus)
    atheris.Setup([*sys.argv, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
