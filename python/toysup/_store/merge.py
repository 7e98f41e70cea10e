"""Several stores brought together in one."""

from __future__ import annotations

import filecmp
import functools
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toysup._files.whole import Damaged, read_document, replace_file
from toysup._run.archive import checkpoint_at, largest, read_config, read_meta, verify
from toysup._run.run import Run, load_run
from toysup._store.data import check_data
from toysup._store.folder import DATA, FAILURE, RUN, STATE, make
from toysup._text.notes import log, warn
from toysup.config import TrainConfig
from toysup.config.data import as_data
from toysup.errors import StoreError

if TYPE_CHECKING:
    from toysup._store.store import Store

__all__ = ["merge_stores"]


def merge_stores(target: Store, sources: Sequence[Store]) -> dict[str, int]:
    """:meth:`toysup._store.store.Store.merge`."""
    counts = {"copied": 0, "known": 0, "damaged": 0, "failed": 0}
    target.check_target()
    grids = [source.grid() for source in sources]
    others = [source for source in sources if not _is_same(source.path, target.path)]
    copies = _new_runs(target, others, counts)
    target.extend(functools.reduce(lambda a, b: a.merged(b), grids))
    for source in others:
        _copy_data(target, source, counts)
    for path, config in copies.values():
        _copy(path, target.run_file(config))
        target.tidy(config)
        counts["copied"] += 1
    for source in others:
        _copy_failures(target, source, counts)
        _copy_checkpoints(target, source, counts)
    return counts


def _is_same(a: Path, b: Path) -> bool:
    return b.exists() and os.path.samefile(a, b)


def _new_runs(
    target: Store, sources: Sequence[Store], counts: dict[str, int]
) -> dict[str, tuple[Path, TrainConfig]]:
    """The files of runs that are to be copied, by key; those that are twice must agree."""
    found: dict[str, tuple[Path, TrainConfig]] = {}
    for source in sources:
        for path, config, _ in _intact(source.folder("runs"), RUN, counts):
            key = config.key()
            if key in found:
                known = found[key][0]
            elif _is_done(target, config):
                known = target.run_file(config)
            else:
                found[key] = path, config
                continue
            _refuse_difference(known, path)
            counts["known"] += 1
    return found


def _is_done(store: Store, config: TrainConfig) -> bool:
    summary = store.verified(config)
    return summary is not None and summary["status"] != "failed"


def _intact(
    folder: Path, name: re.Pattern[str], counts: dict[str, int]
) -> Iterator[tuple[Path, TrainConfig, Mapping[str, Any]]]:
    """Every file of that name with its config and meta-data; damaged ones are only named."""
    for path in sorted(folder.glob("*")):
        named = name.fullmatch(path.name)
        if named is None:
            continue
        try:
            meta = read_document(path) if name is FAILURE else read_meta(path)
            config = read_config(path, meta)
            if name is not FAILURE:
                verify(path, config.memory() if name is STATE else largest(config))
            if config.key() != named[1]:
                raise Damaged(path, "is named as that of another config")
            if name is STATE:
                checkpoint_at(path, config)
        except Damaged as error:
            _leave_out(str(error), counts)
        else:
            yield path, config, meta


def _leave_out(damage: str, counts: dict[str, int]) -> None:
    """Count a damaged file, and say what is wrong with it."""
    counts["damaged"] += 1
    log.warning("%s; it is left out", damage)
    warn(f"{damage}; it is left out", stacklevel=3)


def _refuse_difference(a: Path, b: Path) -> None:
    """Refuse two files of a run with different results; when and by whom it was made may differ."""
    if filecmp.cmp(a, b, shallow=False):
        return
    first, second = load_run(a), load_run(b)
    if not _agree(first, second):
        raise StoreError(
            f"{a} and {b} hold different results of the same run: the first was made by "
            f"{_maker(first)}, the second by {_maker(second)}"
        )


def _agree(a: Run, b: Run) -> bool:
    numbers = (a.status, a.steps_done) == (b.status, b.steps_done) and np.array_equal(
        [a.train_loss, a.test_loss], [b.train_loss, b.test_loss], equal_nan=True
    )
    mine, theirs = ({"W": run.W, "b": run.b, **run._arrays} for run in (a, b))
    return numbers and all(
        np.array_equal(mine[name], theirs[name], equal_nan=True) for name in mine
    )


def _maker(run: Run) -> str:
    made = run.provenance
    return ", ".join(f"{name} {made[name]}" for name in made) or "an unknown program"


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as data:
        replace_file(target, lambda file: shutil.copyfileobj(data, file))


def _copy_data(target: Store, source: Store, counts: dict[str, int]) -> None:
    """Copy the data sets that the target does not have; damaged ones are only named."""
    for path in sorted(source.folder("data").glob("*")):
        if not DATA.fullmatch(path.name) or (target.folder("data") / path.name).exists():
            continue
        try:
            ref = as_data(read_meta(path).get("data"))
            if ref is None or path != source.data_file(ref):
                raise Damaged(path, "is not named as its data set")
            check_data(path, ref)
        except (Damaged, ValueError, TypeError) as error:
            _leave_out(str(error) if isinstance(error, Damaged) else f"{path}: {error}", counts)
        else:
            _copy(path, make(target.folder("data")) / path.name)


def _copy_failures(target: Store, source: Store, counts: dict[str, int]) -> None:
    """Copy the records of failures of what the target knows nothing of."""
    for path, config, _ in _intact(source.folder("runs"), FAILURE, counts):
        if target.summary(config) is None:
            _copy(path, target.failure_file(config))
            counts["failed"] += 1


def _copy_checkpoints(target: Store, source: Store, counts: dict[str, int]) -> None:
    """Copy the states of runs that have got further than the target's by the same maker."""
    for path, config, _ in _intact(source.folder("checkpoints"), STATE, counts):
        if _is_done(target, config):
            continue
        new = checkpoint_at(path, config)
        known = target.checkpoints([config], repair=True)
        if not any(old.maker == new.maker and old.step >= new.step for old in known):
            make(target.folder("checkpoints"))
            _copy(path, target.checkpoint_file(config, new.maker))
