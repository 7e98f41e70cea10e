"""D* of a network on digits: changed labels, what is measured, and what the preset writes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toysup
from toysup import metrics
from toysup.paper import _preset
from toysup.paper.questions import digits
from toysup.paper.questions.digits import DIGITS, PART, Network
from toysup.plot._parts.save import figure_of


def network(hidden: int = 15, seed: int = 0, T: int = 200) -> Network:
    """A network whose D* tells changed labels by half, and whose loss tells them all."""
    rng = np.random.default_rng(seed)
    changed = np.arange(T) < T // 10
    leverage = {
        "trained": rng.uniform(0.01, 0.1, T) + 0.05 * changed,
        "untrained": rng.uniform(0.01, 0.1, T),
        "pixels": rng.uniform(0.01, 0.1, T),
    }
    rank = dict.fromkeys(leverage, hidden)
    return Network(hidden, seed, changed, leverage, rank, 1.0 * changed, 0.9, 0.5)


def test_a_share_of_the_labels_is_changed_to_another() -> None:
    y = np.arange(5_000) % 10
    given, changed = digits.noisy(y, 3)
    assert changed.sum() == 500
    assert (given != y).sum() == 500 and (given[changed] != y[changed]).all()
    assert set(given) == set(range(10))
    moves = np.bincount((given - y)[changed] % 10, minlength=10)
    assert moves[0] == 0 and moves[1:].min() > 30
    assert (digits.noisy(y, 3)[0] == given).all() and (digits.noisy(y, 4)[0] != given).any()


def test_the_aucs_tables_drawing_and_words() -> None:
    found = [network(hidden, seed) for hidden in (15, 64) for seed in range(3)]
    assert found[0].auc("loss") == 1.0
    assert 0.6 < found[0].auc("trained") < 1.0
    main, curves = DIGITS.make_tables(found, "small")
    assert [(row["hidden"], row["networks"]) for row in main.records()] == [(15, 3), (64, 3)]
    rows = curves.records()
    assert [row["source"] for row in rows[:4]] == ["trained", "untrained", "pixels", "loss"]
    assert rows[0]["rank/T"] == pytest.approx(15 / 200) and rows[0]["correlation"] == 1.0
    highest = [one.maximal["pixels"].max() / (64 / 200) for one in found[3:]]
    assert rows[6]["highest"] == pytest.approx(np.mean(highest))
    assert rows[3]["highest"] is None and rows[3]["auc"] == 1.0 and rows[3]["auc_sd"] == 0.0
    ((name, figure),) = DIGITS.draw(found, "small")
    assert name == PART
    figure_of(figure).canvas.draw()
    assert "with 15 hidden units, which keep 50% of the changed labels" in DIGITS.tell(
        found, "small"
    )
    assert DIGITS.tell([], "small").startswith("No run has finished")
    assert list(DIGITS.draw([], "small")) == []


def test_without_scikit_learn_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    message = r"the preset digits needs sklearn: .*pip install 'toysup\[digits\]'"
    with pytest.raises(ImportError, match=message):
        toysup.paper.reproduce("digits", out=tmp_path / "out", seeds=1, progress=False)
    assert not (tmp_path / "out").exists()  # before any training


# --- with scikit-learn ---


def small_run(**fields: Any) -> toysup.Run:
    return toysup.train(**{**digits.STARTS, "m": 12, "seed": 1, **fields}, progress=False)


def test_a_network_starts_with_the_weights_of_the_run() -> None:
    pytest.importorskip("sklearn")
    X, y = digits.examples()
    X, y = X[:300], y[:300]
    run = small_run()
    short = digits.trained(run, X, y, epochs=1)
    start = np.maximum(X @ run.W.T, 0.0)
    np.testing.assert_allclose(short.maximal["untrained"], metrics.maximal_dimensionality(start))
    np.testing.assert_allclose(short.maximal["pixels"], metrics.maximal_dimensionality(X))
    # Two updates move it little.
    moved = np.abs(short.maximal["trained"] - short.maximal["untrained"])
    assert 0 < moved.mean() < 0.2 * short.maximal["untrained"].mean()
    for name, D in short.maximal.items():
        assert D.sum() == pytest.approx(short.rank[name])


def test_a_network_learns_and_its_loss_tells_changed_labels() -> None:
    pytest.importorskip("sklearn")
    X, y = digits.examples()
    one = digits.trained(small_run(), X[:400], y[:400], epochs=60)
    assert one.given > 0.8 and one.auc("loss") > 0.9
    assert (one.changed == digits.noisy(y[:400], 1)[1]).all()
    again = digits.trained(small_run(), X[:400], y[:400], epochs=60)
    np.testing.assert_array_equal(again.maximal["trained"], one.maximal["trained"])


def test_what_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(digits, "EPOCHS", 2)
    scales = {"small": {PART: {**digits.STARTS, "m": (4, 8), "seed": range(2)}}}
    preset = dataclasses.replace(DIGITS, scales=scales)
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    assert [row["T"] for row in made.tables[0].records()] == [1_797, 1_797]
    assert {"digits.csv", "digits-maximal.csv", "digits.png"} <= {p.name for p in made.files}
    assert made.text.startswith("In digits.png: the AUC of D* for changed labels is with 4 hidden")
