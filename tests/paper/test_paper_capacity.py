"""Where test loss begins to rise: the place, its laws, and what the preset says of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toysup import TrainConfig
from toysup.paper import _preset
from toysup.paper.questions import capacity
from toysup.paper.questions.capacity import CAPACITY, PART, Curve, first_passing
from toysup.plot._parts.save import figure_of

USUAL = TrainConfig(**capacity.SMALL, m=4)
T = [100, 200, 400, 800, 1_600]


def curve(place: Callable[[int], float], seeds: int = 4, **changes: float) -> Curve:
    """A curve that passes the level at ``place(seed)`` in log T."""
    losses = {
        seed: {t: 1.01 + 0.02 * math.log(t / place(seed)) for t in T} for seed in range(seeds)
    }
    return Curve(USUAL.replace(**changes), losses)


@pytest.mark.parametrize(
    ("losses", "place"),
    [
        ([1.0, 1.0, 1.02, 1.0, 1.5], 200 * 2**0.5),  # the first of two
        ([1.0, 1.01, 1.01, 1.03, 1.0], 400.0),  # not at the level itself
        ([1.0, math.nan, 1.02, 1.1, 1.1], 200.0),  # halfway over what is known
        ([1.02, 1.0, 1.02, 1.0, 1.0], math.nan),
        ([1.0] * 5, math.nan),
        ([math.nan] * 5, math.nan),
    ],
)
def test_where_a_loss_first_passes(losses: list[float], place: float) -> None:
    assert first_passing(T, losses) == pytest.approx(place, nan_ok=True)
    order = [3, 0, 4, 1, 2]
    mixed = first_passing([T[i] for i in order], [losses[i] for i in order])
    assert mixed == pytest.approx(place, nan_ok=True)


def test_the_place_is_the_mean_over_the_seeds_that_pass() -> None:
    found = curve(lambda seed: 150.0 * 2**seed, seeds=4)
    assert found.passing == pytest.approx({0: 150, 1: 300, 2: 600, 3: 1_200})
    assert found.place == pytest.approx(150 * 2**1.5)
    beyond = curve(lambda seed: 300.0 if seed else 5_000.0, seeds=2)
    assert list(beyond.passing) == [1] and beyond.place == pytest.approx(300.0)
    assert math.isnan(curve(lambda seed: 5_000.0).place)


def test_one_seed_gives_an_exponent_and_no_interval() -> None:
    found = [curve(lambda _, m=m: 50.0 * m, seeds=1, m=m) for m in (4, 6, 8)]  # type: ignore[misc]
    (law,) = capacity.laws(found)
    assert law.exponent == pytest.approx(1.0)
    assert math.isnan(law.low) and math.isnan(law.high)
    assert "m^1.00 (one seed)" in CAPACITY.tell((found, [law]), "small")


def test_the_laws_have_the_exponents_that_were_put_in() -> None:
    def at(factor: float) -> Callable[[int], float]:
        return lambda seed: 300 * factor * (1 + 0.1 * seed)

    n, S = USUAL.n, USUAL.sparsity
    found = [
        curve(at(1.0)),
        *(curve(at((m / 4) ** 1.2), m=m) for m in (3, 6)),
        *(curve(at(f), n=round(n * f), sparsity=1 - (1 - S) / f) for f in (0.5, 2.0)),
        *(curve(at(f**0.5), sparsity=1 - (1 - S) / f) for f in (0.5, 2.0)),
        curve(at(2**-0.25), learning_rate=2 * USUAL.learning_rate),
        curve(at(1.0), learning_rate=2 * USUAL.learning_rate, steps=USUAL.steps // 2),
        curve(at(2**0.25), steps=USUAL.steps // 2),
        curve(at(1.5), weight_decay=0.1),
    ]
    laws = {law.name: law for law in capacity.laws(found)}
    exponents = {"m": 1.2, "n": 1.0, "1/(1-S)": 0.5, "steps*rate": -0.25, "steps": 0.0}
    assert {name: len(law.x) for name, law in laws.items()} == dict(
        zip(exponents, (3, 3, 3, 4, 2), strict=True)
    )
    for name, law in laws.items():
        # Seeds differ by the same factor everywhere, so that drawing them changes nothing.
        for value in (law.exponent, law.low, law.high):
            assert value == pytest.approx(exponents[name], abs=1e-6)
        assert law.residual < 1e-9
        np.testing.assert_allclose(law.factor * law.x**law.exponent, law.T)


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    noise = {m: np.exp(0.2 * rng.standard_normal(8)) for m in (2, 4, 8)}
    found = [
        curve(lambda seed, m=m: 200 * (m / 2) * noise[m][seed], seeds=8, m=m)  # type: ignore[misc]
        for m in (4, 2, 8)
    ]
    (law,) = capacity.laws(found)
    assert law.low < law.exponent < law.high
    assert 0.1 < law.high - law.low < 0.6
    assert law.low < 1.0 < law.high
    (again,) = capacity.laws(found)
    assert (law.low, law.high) == (again.low, again.high)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_both_scales_have_all_laws(scale: str) -> None:
    parts = CAPACITY.fields(scale)
    steps, rates = parts[PART]["steps"], parts[PART]["learning_rate"]
    assert steps[1] == 2 * steps[0] and rates[1] == 2 * rates[0]
    usual = TrainConfig(**capacity.SMALL) if scale == "small" else TrainConfig()
    assert (steps[1], rates[0]) == (usual.steps, usual.learning_rate)
    for fields in parts.values():
        assert len(fields["seed"]) >= 4 and list(fields["T"]) == sorted(set(fields["T"]))
    for part in (f"{PART}-n{2 * usual.n}", f"{PART}-n{usual.n // 2}"):
        config = TrainConfig(**{**parts[part], "T": 5, "seed": 0})
        assert config.n * (1 - config.sparsity) == pytest.approx(usual.n * (1 - usual.sparsity))
        assert config.eps * config.n**2 == pytest.approx(usual.eps * usual.n**2)
    assert parts[f"{PART}-decay"]["weight_decay"] == (0.0, 0.1)


def test_what_is_written(tmp_path: Path) -> None:
    """The whole preset, with runs of a moment that pass a level of their own."""
    tiny = {"n": 60, "sparsity": 0.9, "test_size": 80, "steps": 60, "T": [5, 20, 60]}
    scales = {
        "small": {
            PART: {**capacity.SMALL, **tiny, "m": 2, "steps": [30, 60], "seed": range(2)},
            f"{PART}-m3": {**capacity.SMALL, **tiny, "m": 3, "seed": range(2)},
            f"{PART}-decay": {
                **{**capacity.SMALL, **tiny, "m": 2, "seed": range(2)},
                "weight_decay": [0.0, 0.5],
            },
        }
    }
    preset = dataclasses.replace(CAPACITY, scales=scales)
    made = _preset.carry_out(preset, "small", tmp_path, preset.fields("small"), progress=False)
    table, laws = made.tables
    rows = table.records()
    assert [row["m"] for row in rows] == [2, 2, 3, 2, 2]
    assert {row["S"] for row in rows} == {0.9}
    assert rows[0]["steps"] == 60 and rows[1]["steps"] == 30
    assert rows[0]["steps*rate"] == pytest.approx(1.2)
    found = capacity.curves(made.results)
    assert found[0].losses[1][20] == made.results[PART].run(steps=60, T=20, seed=1).test_loss
    assert {len(of_T) for c in found for of_T in c.losses.values()} == {3}
    assert laws.columns[:2] == ["law", "curves"]


def test_the_drawing_and_the_words() -> None:
    found = [
        curve(lambda seed: 300.0 + seed),
        curve(lambda seed: 600.0 + 9 * seed, m=8),
        curve(lambda seed: 250.0, learning_rate=2 * USUAL.learning_rate),
        curve(lambda seed: 300.0, learning_rate=2 * USUAL.learning_rate, steps=USUAL.steps // 2),
        curve(lambda seed: 350.0, weight_decay=0.5),
    ]
    measured = found, capacity.laws(found)
    ((name, axes),) = CAPACITY.draw(measured, "small")
    assert name == PART
    figure_of(axes).canvas.draw()
    lines = axes[0, 1].get_lines()
    places = [line.get_ydata()[0] for line in lines if line.get_label() == "_place"]
    np.testing.assert_allclose(places, [c.place for c in found[:2]])
    assert [t.get_text() for t in axes[1, 2].get_xticklabels()] == ["0.01", "0.5"]
    text = CAPACITY.tell(measured, "small")
    assert "m^1.0" in text and "steps (steps * rate held)^" in text
    none = [curve(lambda seed: 5_000.0)]
    assert capacity.laws(none) == []
    assert "too few settings" in CAPACITY.tell((none, []), "small")
    assert list(CAPACITY.draw((none, []), "small")) == []
    assert [len(table.rows) for table in CAPACITY.make_tables((none, []), "small")] == [1, 0]
