"""Files that are not what was written: always noticed, never believed, never costly."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import hashlib
import io
import json
import os
import random
import shutil
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import kept_state, run_bits, traced
from toysup import Run, StoreError, TrainConfig, cli, load_run, open_sweep, sweep, train
from toysup._files.whole import SCHEMA_VERSION, Damaged, read_document, write_document
from toysup._run.archive import read, read_checkpoint, read_meta, verify, write
from toysup._store.store import Store
from toysup.config.grid import Grid

pytestmark = pytest.mark.any_backend
CONFIG = TrainConfig(
    n=12, m=2, T=4, sparsity=0.7, steps=20, learning_rate=0.01, test_size=30, record=4, snapshots=1
)
FAILED = CONFIG.replace(T=8)
STATE = {"first": np.arange(20.0).reshape(4, 5), "count": np.arange(3, dtype=np.uint64)}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a file of every kind."""
    store = Store(tmp_path_factory.mktemp("original") / "store")
    store.extend(Grid.make(CONFIG, {"T": [4, 6, 8]}))
    for T in (4, 6):
        store.save(train(CONFIG, T=T))
    store.save_failure(FAILED, "made to fail", step=7)
    store.save_checkpoint(FAILED, {"step": 7, "seconds": 0.5, "maker": "test"}, STATE)
    return store.path


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Store:
    shutil.copytree(original, tmp_path / "store")
    return Store(tmp_path / "store")


KINDS: dict[str, Callable[[Store], Path]] = {
    "run": lambda store: store.run_file(CONFIG),
    "failure": lambda store: store.failure_file(FAILED),
    "checkpoint": lambda store: store.checkpoint_file(FAILED, "test"),
    "manifest": lambda store: store.path / "sweep.json",
}


def readings(kind: str, store: Store) -> list[Callable[[], Any]]:
    """Everything that reads a file of that kind in full."""
    path = KINDS[kind](store)
    return {
        "run": [lambda: verify(path), lambda: load_run(path), lambda: store.load(CONFIG)],
        "failure": [lambda: read_document(path), lambda: store._summary(FAILED)],
        "checkpoint": [lambda: verify(path), lambda: read_checkpoint(path, FAILED)],
        "manifest": [lambda: read_document(path), lambda: store._read_grid()],
    }[kind]


def assert_refused(kind: str, store: Store) -> None:
    """Every reading names the file and its defect; a quick look is never wrong."""
    path = KINDS[kind](store)
    for use in readings(kind, store):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(path) in str(caught.value) and len(str(caught.value)) < len(str(path)) + 400
    if kind in ("run", "failure"):
        config = CONFIG if kind == "run" else FAILED
        found = store.summary(config)
        assert found is not None and (
            found["status"] == "damaged" or (kind == "run" and found == load_summary(store))
        )


def load_summary(store: Store) -> dict[str, Any]:
    """The summary of the run as it was."""
    return load_run(store.path.parent / "whole.npz").summary()


@pytest.fixture
def whole(store: Store) -> Path:
    """The undamaged run beside the store."""
    path = store.path.parent / "whole.npz"
    shutil.copy(KINDS["run"](store), path)
    return path


# ------------------------------------------------------------------- bits and lengths


@pytest.mark.parametrize("kind", ["run", "checkpoint"])
def test_every_bit_counts(store: Store, kind: str) -> None:
    path = KINDS[kind](store)
    data = path.read_bytes()
    deep = readings(kind, store)[1]
    flips = 0
    with open(path, "r+b", buffering=0) as file:
        for i, byte in enumerate(data):
            for bit in range(8):
                file.seek(i)
                file.write(bytes([byte ^ (1 << bit)]))
                with pytest.raises(Damaged, match=path.name):
                    verify(path)
                if bit == i % 8:
                    with pytest.raises(Damaged, match=path.name):
                        deep()
                flips += 1
            file.seek(i)
            file.write(bytes([byte]))
    assert path.read_bytes() == data and flips == 8 * len(data) > 10_000
    deep()


@pytest.mark.parametrize("kind", ["failure", "manifest"])
def test_no_bit_of_a_document_changes_what_it_says(store: Store, kind: str) -> None:
    path = KINDS[kind](store)
    data, (_, use) = path.read_bytes(), readings(kind, store)
    before, refused = use(), 0
    for i in range(len(data)):
        for bit in (i % 8, (i + 5) % 8):
            path.write_bytes(data[:i] + bytes([data[i] ^ (1 << bit)]) + data[i + 1 :])
            try:
                assert use() == before
            except StoreError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused > 1.9 * len(data) > 1000  # an escaped letter may be another way to write it


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_anywhere_is_refused(store: Store, whole: Path, kind: str) -> None:
    path = KINDS[kind](store)
    size = path.stat().st_size
    for length in range(size - 1, -1, -1):
        os.truncate(path, length)
        for use in readings(kind, store):
            with pytest.raises(StoreError, match=path.name):
                use()
    assert_refused(kind, store)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_changed_at_random_are_noticed(store: Store, whole: Path, kind: str) -> None:
    draw, path = random.Random(1), KINDS[kind](store)
    data = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(draw.choice([1, 2, 3, 50])):
            damaged[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.3:
            start = draw.randrange(len(data))
            del damaged[start : start + draw.randrange(1, 100)]
        if damaged == data:
            continue
        path.write_bytes(damaged)
        if kind in ("run", "checkpoint"):
            assert_refused(kind, store)
        else:
            for use in readings(kind, store):
                with pytest.raises(StoreError, match=path.name):
                    use()


# ----------------------------------------------------------------- other things in a file's place


def put_fifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(path)


def put_link(path: Path, target: str) -> None:
    try:
        path.symlink_to(target)
    except OSError as error:
        pytest.skip(f"no links here: {error}")


def by_numpy(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


OTHERS: dict[str, Callable[[Path], object]] = {
    "an empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not at all what it was"),
    "noise": lambda path: path.write_bytes(random.Random(3).randbytes(5000)),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04K\x01."),
    "an array": lambda path: path.write_bytes(by_numpy(np.save, np.arange(3))),
    "an archive of NumPy": lambda path: path.write_bytes(by_numpy(np.savez, W=np.zeros(3))),
    "an empty archive": lambda path: zipfile.ZipFile(path, "w").close(),
    "a folder": lambda path: path.mkdir(),
    "a full folder": lambda path: [path.mkdir(), (path / "x").write_text("x")],
    "a pipe": put_fifo,
    "a link to itself": lambda path: put_link(path, path.name),
    "a link to a device": lambda path: put_link(path, "/dev/zero"),
    "a large empty file": lambda path: [path.write_bytes(b""), os.truncate(path, 1 << 40)],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", KINDS)
def test_something_else_in_its_place(store: Store, whole: Path, kind: str, other: str) -> None:
    path = KINDS[kind](store)
    path.unlink()
    OTHERS[other](path)
    with cheaply(5e6):
        assert_refused(kind, store)
    with pytest.warns(RuntimeWarning, match=path.name):
        assert reused(kind, store) is None
    assert not os.path.lexists(path) and os.path.lexists(store.path / "damaged" / path.name)


def reused(kind: str, store: Store) -> Any:
    """What a sweep gets of a file."""
    if kind == "manifest":
        store.extend(store.grid())
        (store.path / "sweep.json").rename(store.path / "new.json")
        return None
    use = {
        "run": lambda: store.verified(CONFIG),
        "failure": lambda: store.verified(FAILED),
        "checkpoint": lambda: kept_state(store, FAILED),
    }
    return use[kind]()


def test_a_dangling_link_is_a_missing_file(store: Store) -> None:
    path = store.run_file(CONFIG)
    path.unlink()
    put_link(path, "nowhere")
    assert store.summary(CONFIG) is None and store.verified(CONFIG) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_what_cannot_be_read_is_not_taken_for_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        for use in (store.verified, store.summary, store.load):
            with pytest.raises(StoreError, match=f"cannot read.*{os.strerror(code)}"):
                use(CONFIG)
    assert not (store.path / "damaged").exists() and store.verified(CONFIG) is not None


# ----------------------------------------------------------------------------- forged files


def sealed(data: bytes) -> bytes:
    """A zip file with the right checksum."""
    whole = data[:-2] + struct.pack("<H", 71)
    return whole + b"sha256:" + hashlib.sha256(whole).hexdigest().encode()


def forge(path: Path, text: bytes, arrays: dict[str, Any], *extra: tuple[str, bytes, int]) -> None:
    """A file with any meta-data, arrays and members, and the right checksum."""
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.frombuffer(text, np.uint8), **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data, method in extra:
            archive.writestr(name, data, method)
    path.write_bytes(sealed(buffer.getvalue()))


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an honest file holds, as anybody's NumPy reads it."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    return json.loads(arrays.pop("meta").tobytes()), arrays


def test_numpy_reads_the_files_and_forging_them_works(store: Store) -> None:
    path = store.run_file(CONFIG)
    run, (meta, arrays) = store.load(CONFIG), parts(path)
    assert meta["schema_version"] == 3 and np.array_equal(arrays["W"], run.W)
    forge(path, json.dumps(meta).encode(), arrays)
    assert run_bits(store.load(CONFIG)) == run_bits(run)
    assert store.verified(CONFIG) == run.summary()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header(descr: str = "'<f4'", shape: str = "(2, 12)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


MEMBERS = {
    "too many values": npy(header(shape="(1000000, 1000000)"), bytes(96)),
    "no memory has as many": npy(header(shape=f"({10**17}, {10**17})"), bytes(96)),
    "too few values": npy(header(shape="(2, 2)"), bytes(96)),
    "a negative shape": npy(header(shape="(-2, -12)"), bytes(96)),
    "a shape of text": npy(header(shape="('a',)"), bytes(96)),
    "many dimensions": npy(header(shape="(" + 90 * "1, " + ")"), bytes(4)),
    "nothing times everything": npy(header(shape=f"(0, {10**17}, {10**17})")),
    "objects": npy(header("'|O'"), bytes(192)),
    "text": npy(header("'<U1'"), bytes(96)),
    "nothing of text": npy(header("'<U0'"), b""),
    "records": npy(header("[('a', '<f4')]"), bytes(96)),
    "complex numbers": npy(header("'<c8'"), bytes(192)),
    "dates": npy(header("'<M8'"), bytes(192)),
    "a code in the header": npy("__import__('os').abort()"),
    "a deep header": npy("(" * 60_000),
    "a header without an end": b"\x93NUMPY\x01\x00\xff\xff" + header().encode(),
    "no header": b"",
    "another version": b"\x93NUMPY\x09\x00" + npy(header(), bytes(96))[8:],
}


@pytest.mark.parametrize("member", MEMBERS)
def test_forged_arrays_cost_nothing(store: Store, member: str) -> None:
    path = store.run_file(CONFIG)
    meta, arrays = parts(path)
    del arrays["W"]
    text = json.dumps(meta).encode()
    forge(path, text, arrays, ("W.npy", MEMBERS[member], zipfile.ZIP_STORED))
    assert_cheaply_refused(path)


def assert_cheaply_refused(path: Path, memory: float = 4e6) -> None:
    with cheaply(memory):
        for use in (load_run, read, lambda path: read_checkpoint(path, FAILED)):
            with pytest.raises(Damaged, match=path.name):
                use(path)


@pytest.fixture
def honest(store: Store) -> tuple[Path, bytes, dict[str, Any]]:
    path = store.run_file(CONFIG)
    meta, arrays = parts(path)
    return path, json.dumps(meta).encode(), arrays


def test_a_member_that_unpacks_to_a_hundred_megabytes_is_refused(honest: Any) -> None:
    path, text, arrays = honest
    del arrays["W"]
    bomb = npy(header(shape="(5000000, 5)"), bytes(100_000_000))
    forge(path, text, arrays, ("W.npy", bomb, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 200_000
    assert_cheaply_refused(path)


@pytest.mark.parametrize("size", [0, 1, 0x7FFFFFFF, 0xFFFFFFF0])
def test_forged_sizes_in_the_directory_are_refused(honest: Any, size: int) -> None:
    path, text, arrays = honest
    forge(path, text, arrays)
    data = bytearray(path.read_bytes()[:-71])
    start = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    struct.pack_into("<II", data, start + 20, size, size)
    data[-2:] = b"\0\0"
    path.write_bytes(sealed(bytes(data)))
    assert_cheaply_refused(path)


@pytest.mark.parametrize("offset", [0x7FFFFFFF, 0xFFFFFFF0, 1])
def test_members_outside_the_file_are_refused(honest: Any, offset: int) -> None:
    path, text, arrays = honest
    forge(path, text, arrays)
    data = bytearray(path.read_bytes()[:-71])
    struct.pack_into("<I", data, data.rindex(b"PK\1\2") + 42, offset)
    data[-2:] = b"\0\0"
    path.write_bytes(sealed(bytes(data)))
    assert_cheaply_refused(path)


def test_members_that_share_their_bytes_are_refused(honest: Any) -> None:
    """A small file could otherwise become any number of copies of itself."""
    path, text, _ = honest
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("meta.npy", npy(header("'|u1'", f"({len(text)},)"), text))
        archive.writestr("a.npy", npy(header("'|u1'", "(100000,)"), bytes(100_000)))
        for i in range(500):
            archive.filelist.append(archive.filelist[-1].__class__(f"b{i}.npy"))
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(archive.filelist[-1], name, getattr(archive.filelist[1], name))
    path.write_bytes(sealed(buffer.getvalue()))
    assert_cheaply_refused(path)


def test_a_file_of_nothing_but_members_is_refused(honest: Any) -> None:
    path, text, arrays = honest
    forge(path, text, arrays, *((f"{i}.npy", b"", zipfile.ZIP_STORED) for i in range(3000)))
    assert_cheaply_refused(path)


def test_a_member_that_is_there_twice_is_refused(honest: Any) -> None:
    path, text, arrays = honest
    with pytest.warns(UserWarning, match="Duplicate name"):
        forge(path, text, arrays, ("W.npy", npy(header(), bytes(96)), zipfile.ZIP_STORED))
    assert_cheaply_refused(path)


TEXTS = {
    "nothing": b"",
    "no UTF-8": b'{"schema_version": 3, "x": "\xff"}',
    "a list": b"[1, 2]",
    "a text": b'"text"',
    "null": b"null",
    "deep": b'{"schema_version": 3, "config": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
    "a huge number": b'{"schema_version": 1' + 5000 * b"0" + b"}",
    "not a number": b'{"schema_version": NaN}',
    "infinity": b'{"schema_version": 3, "config": Infinity}',
    "no version": b'{"config": {}}',
    "version 0": b'{"schema_version": 0}',
    "a version of text": b'{"schema_version": "2"}',
    "version true": b'{"schema_version": true}',
    "version 2.0": b'{"schema_version": 3.0}',
}


@pytest.mark.parametrize("text", TEXTS)
def test_meta_data_that_make_no_sense_are_refused(store: Store, honest: Any, text: str) -> None:
    path, _, arrays = honest
    forge(path, TEXTS[text], arrays)
    assert_cheaply_refused(path, 2e7)
    found = store.summary(CONFIG)
    assert found is not None and found["status"] == "damaged" and path.name in found["error"]
    for kind in ("failure", "manifest"):
        document = KINDS[kind](store)
        document.write_bytes(TEXTS[text])
        with pytest.raises(Damaged, match=document.name):
            readings(kind, store)[1]()


WRONG = [None, [], {}, "x", "inf", -1, 0, 2**70, 1e308, True, [[1]], {"a": 1}, "9" * 5000]


def changes(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data with one value, at any depth, replaced by each wrong one, or gone."""
    for name, value in data.items():
        yield {k: v for k, v in data.items() if k != name}
        for wrong in WRONG:
            yield {**data, name: wrong}
        if isinstance(value, dict):
            for inner in changes(value):
                yield {**data, name: inner}


def test_wrong_types_anywhere_in_a_run_are_refused_or_harmless(store: Store, honest: Any) -> None:
    path, text, arrays = honest
    refused = tried = 0
    for meta in changes(json.loads(text)):
        forge(path, json.dumps(meta).encode(), arrays)
        tried += 1
        found = store.summary(CONFIG) if meta.get("schema_version") != 2**70 else None
        try:
            run = load_run(path)
        except StoreError as error:
            assert path.name in str(error)
            refused += 1
        else:
            assert type(run) is Run and run.status in ("ok", "diverged") and run.config.n == 12
            assert all(type(v) is float for v in (run.train_loss, run.test_loss, run.seconds))
            assert type(run.steps_done) is int and found is not None
            assert all(type(k) is type(v) is str for k, v in run.provenance.items())
            assert run.history.sizes["step"] and run.hidden().shape[1] == 2
    assert tried > 500 and refused > 0.6 * tried


def resealed(path: Path, data: dict[str, Any]) -> None:
    """A document with any content and the right checksum."""
    rest = {k: v for k, v in data.items() if k != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps({**rest, "sha256": digest}))


@pytest.mark.parametrize("kind", ["failure", "manifest"])
def test_wrong_types_anywhere_in_a_document_are_refused_or_harmless(
    store: Store, kind: str
) -> None:
    path = KINDS[kind](store)
    refused = tried = 0
    for data in changes(json.loads(path.read_text())):
        resealed(path, data)
        tried += 1
        try:
            found = readings(kind, store)[1]()
        except StoreError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert found["status"] == "failed" if kind == "failure" else found.configs()
    assert tried > 400 and refused > 0.6 * tried


def test_a_manifest_of_too_many_cells_is_refused_before_they_are_made(store: Store) -> None:
    path = KINDS["manifest"](store)
    data = json.loads(path.read_text())
    for name in ("T", "seed", "steps"):
        data["grid"]["fixed"].pop(name, None)
        data["grid"]["axes"][name] = list(range(1, 1001))
    resealed(path, data)
    with pytest.raises(Damaged, match=r"at most 1,000,000 cells, got 1,000,000,000"):
        store._read_grid()


def test_a_checkpoint_of_another_run_is_refused(store: Store) -> None:
    path = store.checkpoint_file(FAILED, "test")
    write(path, {"config": json.loads(CONFIG.to_json())}, STATE)
    with pytest.raises(Damaged, match="state of another config"):
        read_checkpoint(path, FAILED)
    with pytest.warns(RuntimeWarning, match="its run does not go on from there"):
        assert kept_state(store, FAILED) is None


@pytest.mark.parametrize(
    "name, array",
    [
        ("W", np.zeros((3, 12), "f4")),
        ("W", np.zeros((2, 12))),
        ("W", np.zeros((2, 12), "i4")),
        ("b", np.zeros(3, "f4")),
        ("b", np.zeros((12, 1), "f4")),
        ("history_step", np.zeros(0, "i8")),
        ("history_step", np.zeros(4)),
        ("history_W_norm", np.zeros(3)),
        ("history_W_norm", np.zeros(4, "f4")),
        ("snapshot_step", np.zeros((1, 1), "i8")),
        ("snapshot_W", np.zeros((2, 2, 12), "f4")),
        ("snapshot_b", np.zeros((1, 11), "f4")),
    ],
)
def test_arrays_that_do_not_fit_the_config_are_refused(
    honest: Any, name: str, array: np.ndarray
) -> None:
    path, text, arrays = honest
    assert name in arrays
    for changed in ({**arrays, name: array}, {k: v for k, v in arrays.items() if k != name}):
        forge(path, text, changed)
        with pytest.raises(Damaged, match=rf"{path.name}.*{name.split('_')[0]}"):
            load_run(path)


def test_arrays_of_any_order_and_end_are_read(honest: Any) -> None:
    path, text, arrays = honest
    before = load_run(path)
    changed = {k: np.asfortranarray(v.astype(v.dtype.newbyteorder(">"))) for k, v in arrays.items()}
    forge(path, text, changed)
    after = load_run(path)
    assert np.array_equal(after.W, before.W) and after.W.dtype == "<f4"
    assert after.history.equals(before.history)


# ------------------------------------------------------------------------- what becomes of them


def test_damaged_files_are_set_aside_under_free_names(store: Store) -> None:
    path, damaged = store.run_file(CONFIG), store.path / "damaged"
    for i, name in enumerate([path.name, f"{path.name}.1", f"{path.name}.2"]):
        path.write_bytes(b"damaged %d" % i)
        with pytest.warns(RuntimeWarning) as caught:
            assert store.verified(CONFIG) is None
        [words] = [str(w.message) for w in caught]
        for word in (str(path), "is not a readable file", str(damaged / name), "trained again"):
            assert word in words
        assert (damaged / name).read_bytes() == b"damaged %d" % i
        assert store.summary(CONFIG) is None


def test_a_damaged_file_that_cannot_be_moved_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.run_file(CONFIG)
    path.write_bytes(b"damaged")

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "rename", read_only)
    with pytest.raises(StoreError, match=rf"{path.name}.*cannot be moved.*Read-only file system"):
        store.verified(CONFIG)
    assert path.read_bytes() == b"damaged"


def test_a_quick_look_moves_nothing(store: Store) -> None:
    store.run_file(CONFIG).write_bytes(b"damaged")
    before = sorted(store.path.rglob("*"))
    result = open_sweep(store.path)
    assert result.dataset.status.values.tolist() == ["damaged", "ok", "failed"]
    assert np.isnan(result.dataset.train_loss.values[0])
    assert sorted(store.path.rglob("*")) == before


def test_the_run_of_another_config_is_not_taken_for_this_one(store: Store) -> None:
    other = CONFIG.replace(T=6)
    store.run_file(CONFIG).replace(store.run_file(other))
    found = store.summary(other)
    assert found is not None and found["status"] == "damaged"
    with pytest.raises(Damaged, match="another config"):
        store.load(other)
    with pytest.warns(RuntimeWarning, match="another config.*trained again"):
        assert store.verified(other) is None


def test_later_versions_are_not_taken_for_damaged(store: Store) -> None:
    later = {"schema_version": SCHEMA_VERSION + 1, "toysup": "9.8.7"}
    for kind in ("run", "checkpoint"):
        path = KINDS[kind](store)
        meta, arrays = parts(path)
        forge(path, json.dumps({**meta, **later}).encode(), arrays)
    for kind in ("failure", "manifest"):
        path = KINDS[kind](store)
        resealed(path, {**json.loads(path.read_text()), **later})
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    for use in (
        lambda: store.summary(CONFIG),
        lambda: store.verified(CONFIG),
        lambda: store.verified(FAILED),
        lambda: kept_state(store, FAILED),
        lambda: store.grid(),
        lambda: store.extend(Grid.make(CONFIG, {})),
    ):
        with pytest.raises(StoreError, match=r"schema 4, but.*reads schema 3: use.*toysup 9\.8\.7"):
            use()
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before


# --------------------------------------------------------------------------- damaged manifests


def test_the_grid_is_made_again_from_the_runs(store: Store) -> None:
    store.save(train(CONFIG, T=8, seed=3))
    manifest = store.path / "sweep.json"
    manifest.write_text("damaged")
    with pytest.warns(RuntimeWarning, match=r"sweep\.json.*the grid is that of its runs"):
        grid = store.grid()
    assert grid.axes == {"T": [4, 6, 8], "seed": [0, 3]} and grid.fixed["n"] == 12
    with pytest.warns(RuntimeWarning, match=r"sweep\.json.*moved to.*made again"):
        store.extend(Grid.make(CONFIG, {"T": [2]}))
    assert store.grid().axes == {"T": [2, 4, 6, 8], "seed": [0, 3]}
    assert (store.path / "damaged" / "sweep.json").read_text() == "damaged"


def test_damaged_runs_are_no_part_of_the_grid_that_is_made_again(store: Store) -> None:
    store.run_file(CONFIG).write_bytes(b"damaged")
    (store.path / "sweep.json").unlink()
    (store.path / "sweep.json").mkdir()
    with pytest.warns(RuntimeWarning, match=r"sweep\.json"):
        assert store.grid().fixed["T"] == 6
    store.run_file(CONFIG.replace(T=6)).write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"sweep\.json"):
        store.grid()
    with pytest.warns(RuntimeWarning, match="made again"):
        store.extend(Grid.make(CONFIG, {"T": [4, 5]}))
    assert store.grid().axes == {"T": [4, 5]}


def test_runs_that_make_no_grid_are_named(store: Store) -> None:
    for n, m in ((12, 10), (5, 1)):  # n = 5, m = 10 is no cell
        store.save(train(CONFIG, n=n, m=m))
    (store.path / "sweep.json").write_text("damaged")
    with pytest.raises(StoreError, match=r"sweep\.json: the runs do not make one grid.*m must"):
        store.grid()


MANIFESTS: dict[str, Callable[[Path], object]] = {
    "noise": lambda path: path.write_bytes(b"\0damaged"),
    "huge": lambda path: sparse(path, 1 << 34),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link": lambda path: (path.unlink(), put_link(path, "nowhere")),
}


@pytest.mark.parametrize("damage", MANIFESTS)
@pytest.mark.parametrize("name", ["sweep.json", "sweep.1.json"])
def test_one_damaged_manifest_costs_nothing(store: Store, damage: str, name: str) -> None:
    store.extend(Grid.make(CONFIG, {"T": [5]}))
    MANIFESTS[damage](store.path / name)
    with pytest.warns(RuntimeWarning, match=f"{name}.*its runs and of another manifest"):
        assert store.grid().axes == {"T": [4, 5, 6, 8]}
    with pytest.warns(RuntimeWarning, match=f"{name}.*moved to.*made again"):
        store.extend(Grid.make(CONFIG, {"T": [7]}))
    assert store.grid().axes == {"T": [4, 5, 6, 7, 8]}
    assert os.path.lexists(store.path / "damaged" / name)
    assert sorted(path.name for path in store.path.glob("sweep*")) == ["sweep.2.json", "sweep.json"]


def test_manifests_that_do_not_fit_together_are_named(store: Store) -> None:
    store.extend(Grid.make(CONFIG, {"T": [5]}))
    other = {"grid": Grid.make(CONFIG, {"steps": 7}).to_json()}
    write_document(store.path / "sweep.json", other)
    with pytest.warns(RuntimeWarning, match=r"sweep\.json: not a readable .*steps is 20.*not 7"):
        assert store.grid().axes == {"T": [4, 5, 6, 8]}
    shutil.copy(store.path / "sweep.1.json", store.path / "sweep.json")
    write_document(store.path / "sweep.1.json", other)
    with pytest.raises(StoreError, match=r"the runs do not make one grid \(steps is 7"):
        store.grid()


def test_no_extension_can_be_the_last(store: Store) -> None:
    for number in (7, 999_999_999, 10**10):
        shutil.copy(store.path / "sweep.json", store.path / f"sweep.{number}.json")
    with pytest.raises(StoreError, match=r"sweep\.999999999\.json: is the last that can be"):
        store.extend(Grid.make(CONFIG, {"T": [5]}))
    assert store.grid().axes == {"T": [4, 6, 8]}


# --------------------------------------------------------------------------------- whole sweeps


@pytest.mark.parametrize("seed", range(6))
def test_a_sweep_over_a_damaged_store_ends_the_same(
    backend: Any, tmp_path: Path, seed: int
) -> None:
    axes: dict[str, Any] = {"T": [4, 6], "m": [1, 2], "seed": range(2)}
    before = sweep(CONFIG, **axes, store=tmp_path / "store")
    store, draw = Store(tmp_path / "store"), random.Random(seed)
    store.save_checkpoint(
        before.configs[0], {"step": 3, "maker": backend.maker()}, {"W": np.zeros(3)}
    )
    files = [store.path / "sweep.json", *sorted((store.path / "runs").iterdir())]
    files += sorted((store.path / "checkpoints").iterdir())
    for path in draw.sample(files, 6):
        data = bytearray(path.read_bytes())
        what = draw.choice(["cut", "bit", "gone", "noise"])
        if what == "bit":
            data[draw.randrange(30, len(data))] ^= 1 << draw.randrange(8)
        elif what == "cut":
            del data[draw.randrange(len(data)) :]
        elif what == "noise":
            data = bytearray(draw.randbytes(300))
        path.write_bytes(data) if what != "gone" else path.unlink()
    with pytest.warns(RuntimeWarning, match="it was moved to"):
        after = sweep(CONFIG, **axes, store=tmp_path / "store")
    for result in (after, open_sweep(tmp_path / "store")):
        assert [run_bits(run) for run in result.runs()] == [run_bits(r) for r in before.runs()]
        drop = ["seconds"]
        assert result.dataset.drop_vars(drop).equals(before.dataset.drop_vars(drop))


def test_reading_meta_data_takes_no_more_than_they_need(store: Store, tmp_path: Path) -> None:
    """Long meta-data are read in full, and the arrays behind them are not."""
    path = tmp_path / "long.npz"
    write(path, {"config": {"importance": [0.5] * 5000}}, {"W": np.zeros(1_000_000)})
    with cheaply(1e6):
        meta = read_meta(path)
    assert len(meta["config"]["importance"]) == 5000


# -------------------------------------------------------------------- what strangers may send


def sparse(path: Path, size: int) -> None:
    """Let a file claim so many bytes, of which the disk has none; its end stays its end."""
    end = path.read_bytes()[-71:]
    with open(path, "r+b") as file:
        file.truncate(size)
        file.seek(size - len(end))
        file.write(end)


@contextlib.contextmanager
def cheaply(most: float = 32 << 20) -> Iterator[None]:
    """Python takes little memory meanwhile."""
    with traced() as memory:
        yield
    assert memory.peak < most


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_claims_gigabytes_is_refused_before_it_is_read(store: Store, kind: str) -> None:
    sparse(KINDS[kind](store), 20 << 30)
    with cheaply():
        for use in readings(kind, store)[1:]:
            with pytest.raises(Damaged, match=r"larger than any such file \(21,474,836,480 bytes"):
                use()


def test_a_sweep_goes_on_beside_files_that_claim_gigabytes(
    backend: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("run", "failure", "checkpoint"):
        sparse(KINDS[kind](store), 20 << 30)
    with pytest.warns(RuntimeWarning, match="larger than any such file"):
        result = sweep(CONFIG, T=[4, 6, 8], store=store.path)
    assert result.statuses == ["ok"] * 3 and len(list((store.path / "damaged").iterdir())) == 3


@pytest.mark.parametrize("rest", [0, 1 << 20])
def test_meta_data_that_claim_gigabytes_are_refused(tmp_path: Path, rest: int) -> None:
    """Those of an unknown run too; weights that a run starts from may take as much as its own."""
    path = tmp_path / "run.npz"
    size = 2 << 30
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}".encode()
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"
    name, length = b"meta.npy", size + len(header)
    extra = struct.pack("<HHQQ", 1, 16, length, length)
    head = b"PK\3\4" + struct.pack("<5H3I2H", 45, 0, 0, 0, 33, 0, *[0xFFFFFFFF] * 2, 8, len(extra))
    path.write_bytes(head + name + extra + header)
    sparse(path, len(head + name + extra) + length + rest)
    for use in (lambda: read_meta(path), lambda: read_meta(path, CONFIG), lambda: load_run(path)):
        with cheaply(), pytest.raises(Damaged, match=r"claims 2,147|larger than any"):
            use()


@pytest.mark.parametrize("value", ["[]", "{}", "0", '""', '"a":0'])
def test_values_that_take_many_times_their_text_are_refused(store: Store, value: str) -> None:
    values = ",".join([value] * 14_000_000)
    text = f"{{{values}}}" if ":" in value else f'{{"grid": [{values}]}}'
    KINDS["manifest"](store).write_text(text)
    with cheaply(3 * len(text)), pytest.raises(Damaged, match="more values than any such file"):
        store._read_grid()


def test_a_manifest_that_could_not_be_read_is_not_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toysup._files.whole._MAX_DOCUMENT", 3000)
    before = KINDS["manifest"](store).read_bytes()
    with pytest.raises(StoreError, match=r"sweep\.1\.json': .* bytes are too many to read"):
        store.extend(Grid.make(CONFIG, {"T": [4], "seed": range(1000)}))
    assert KINDS["manifest"](store).read_bytes() == before


@pytest.mark.parametrize("steps", [10**400, -1, 21, 1.5, True])
def test_a_failure_at_no_step_of_the_run_is_damaged(store: Store, steps: object) -> None:
    document = {"config": json.loads(FAILED.to_json()), "error": "x", "steps_done": steps}
    write_document(KINDS["failure"](store), document)
    assert open_sweep(store.path).dataset.status.values.tolist() == ["ok", "ok", "damaged"]


# What a terminal obeys: colours, titles, ends of lines, and the direction of writing.
EVIL = "\x1b[31mred\x1b]0;title\x07\r\nall is well\x9b2J\u202e\u2028\x7f"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_that_a_stranger_wrote_is_obeyed_by_a_terminal(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    place = tmp_path / f"x{EVIL.replace('/', '')}"
    shutil.copytree(store.path, place)
    store = Store(place)
    store.save_failure(FAILED, EVIL, step=1)
    run = store.load(CONFIG)
    made = {f"a{EVIL}": EVIL, "b/c": "d"}
    store.save(dataclasses.replace(run, provenance=made))
    KINDS["checkpoint"](store).write_bytes(b"nothing")
    for words in (["status"], ["status", "--json"], ["export", f"--out={tmp_path / 'a.csv'}"]):
        cli.main([*words, str(place)])
    cli.main(["merge", str(tmp_path / "new"), str(place)])
    path = store.run_file(CONFIG.replace(T=6))
    meta, arrays = read(path)
    write(path, {**meta, "schema_version": SCHEMA_VERSION + 1, "toysup": EVIL}, arrays)
    cli.main(["status", str(place)])
    out, err = capsys.readouterr()
    result = open_sweep(tmp_path / "new")
    shown = [
        out,
        err,
        result._repr_html_(),
        result.run(T=4)._repr_html_(),
        repr(result.failed[0][1]),
    ]
    shown += [str(result.dataset), (tmp_path / "a.csv").read_text(), caplog.text]
    for text in shown:
        assert not any(
            unicodedata.category(c) in ("Cc", "Cf", "Zl") for c in text.replace("\n", "")
        )
    assert "\\x1b[31mred" in out and "\nall is well" not in out + err
    assert "a later" not in err and err.count("\n") <= 4
    assert dict(result.dataset.attrs)["made_with_b_c"] == "d"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_begins_a_formula(store: Store, tmp_path: Path, start: str) -> None:
    store.save_failure(FAILED, f"{start}cmd|' /C calc'!A0", step=1)
    table = open_sweep(store.path).export(tmp_path / "a.csv").read_text()
    cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r", "-c")) for cell in cells)
    assert any("cmd" in cell for cell in cells)
