"""D* on a real network: whether the dimensionality of its examples tells what it has memorized.

Asked: C. Olah (a comment in the paper) sorts D*, the largest dimensionality that any direction
gives to an example, for a network with one hidden layer that was trained on digits: flat in the
middle, with two tails, the highest almost 100 times typical. M. Hobbhahn finds misclassified
examples spread evenly over it, and about the same curve before training. Are the tails what the
network has memorized?

Trained: scikit-learn's own MLPClassifier on its 1,797 digits of 8 x 8 pixels, after a tenth of the
labels was changed at random. The sweep holds runs without updates, one for each network: its W is
where the hidden layer starts, so that the untrained network is exactly the one that is trained.
Networks of 15 hidden units have the ratio of Olah's 512 to 60,000, and those of 64 memorize all
labels.

Measured: D* of the examples by the activations of the hidden layer, after training, before it, and
by the pixels themselves; it is a leverage score, whose mean is rank / T. And whether it finds the
examples with changed labels: the AUC of each, over several networks. What it could be is shown by
the AUC of the loss of the given label, which uses the label.

Expected: if D* shows memorization, then it finds changed labels where the network has memorized
them, better than before training and than by pixels. That it has tails is no sign of it: leverage
scores have them.

Part "digits" holds the starts. It needs scikit-learn: pip install 'toysup[digits]'.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toysup import metrics
from toysup._run.run import Run
from toysup._run.train import train
from toysup._sweep.table import Table, Value
from toysup._system.extras import need
from toysup.paper import _runs
from toysup.paper._preset import Preset, Results
from toysup.paper._statistics import auc, rank_correlation

__all__ = ["DIGITS", "Network", "noisy", "trained"]

PART = "digits"
# Updates are made by scikit-learn.
STARTS: dict[str, Any] = {
    "n": 64,
    "T": 1,
    "sparsity": 0.0,
    "normalize": False,
    "steps": 0,
    "warmup": 0.0,
    "dtype": "float64",
    "test_size": 0,
    "record": 1,
}
SMALL = {**STARTS, "m": (15, 64), "seed": range(5)}
PAPER = {**STARTS, "m": (8, 15, 32, 64), "seed": range(50)}

# Passes over the examples, in batches of 200.
EPOCHS = 600
RATE = 5e-3
# Share of the labels that are changed.
NOISE = 0.1
# Where D* is taken, and what it is compared with.
SOURCES = {
    "trained": "trained network",
    "untrained": "the same, untrained",
    "pixels": "pixels",
}
LOSS = "loss"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Network:
    """What was measured on one network.

    Attributes
    ----------
    hidden, seed : int
        Its hidden units, and the seed of its start, its batches, and its changed labels.
    changed : bool array of shape (T,)
        Which labels were changed.
    maximal : dict of str to array of shape (T,)
        D* of each example, by where it was taken.
    rank : dict of str to int
        The rank of what it was taken of.
    loss : array of shape (T,)
        Cross entropy of the given label.
    given, kept : float
        Share of the examples whose given label the network predicts; and of those with a changed
        label.
    """

    hidden: int
    seed: int
    changed: npt.NDArray[np.bool_]
    maximal: dict[str, Floats]
    rank: dict[str, int]
    loss: Floats
    given: float
    kept: float

    def auc(self, source: str) -> float:
        """How well D* from there, or the loss, tells the changed labels."""
        return auc(self.loss if source == LOSS else self.maximal[source], self.changed)


def examples() -> tuple[Floats, Ints]:
    """Pixels, from 0 to 1, and labels of scikit-learn's digits."""
    need("the preset digits", "sklearn")
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return np.asarray(X, dtype=np.float64) / 16.0, np.asarray(y, dtype=np.int64)


def noisy(y: Ints, seed: int, share: float = NOISE) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Labels 0 to 9 of which a share is changed, each to one of the nine others; and which."""
    rng = np.random.Generator(np.random.Philox(seed))
    changed = np.zeros(len(y), dtype=np.bool_)
    changed[rng.permutation(len(y))[: round(share * len(y))]] = True
    other = (y + rng.integers(1, 10, len(y))) % 10
    return np.where(changed, other, y), changed


def measure(results: Results) -> list[Network]:
    """A network from each start, by the number of its hidden units and the seed."""
    X, y = examples()
    runs = sorted(_runs.finished(results[PART]), key=lambda run: (run.config.m, run.config.seed))
    return [trained(run, X, y) for run in runs]


def trained(run: Run, X: Floats, y: Ints, epochs: int | None = None) -> Network:
    """The network that starts with the first W of a run."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    c = run.config
    start = train(c, steps=0, progress=False).W
    labels, changed = noisy(y, c.seed)
    passes = EPOCHS if epochs is None else epochs
    network = MLPClassifier(
        (c.m,),
        learning_rate_init=1e-12,
        max_iter=1,
        tol=0.0,
        n_iter_no_change=passes + 1,
        warm_start=True,
        random_state=c.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it makes as many passes as are asked
        network.fit(X, labels)  # with updates of nothing: this makes its arrays
        network.coefs_[0] = start.T.copy()
        network.intercepts_[0] = np.zeros(c.m)
        network.set_params(learning_rate_init=RATE, max_iter=passes)
        network.fit(X, labels)
    active = {
        "trained": np.maximum(X @ network.coefs_[0] + network.intercepts_[0], 0.0),
        "untrained": np.maximum(X @ start.T, 0.0),
        "pixels": X,
    }
    share = network.predict_proba(X)
    said = network.classes_[share.argmax(axis=1)]
    column = np.searchsorted(network.classes_, labels)
    smallest = np.finfo(np.float64).tiny
    return Network(
        hidden=c.m,
        seed=c.seed,
        changed=changed,
        maximal={name: metrics.maximal_dimensionality(H) for name, H in active.items()},
        rank={name: int(np.linalg.matrix_rank(H)) for name, H in active.items()},
        loss=-np.log(np.maximum(share[np.arange(len(y)), column], smallest)),
        given=float(np.mean(said == labels)),
        kept=float(np.mean((said == labels)[changed])),
    )


def by_hidden(found: list[Network]) -> dict[int, list[Network]]:
    """Networks by the number of their hidden units."""
    groups: dict[int, list[Network]] = {}
    for one in found:
        groups.setdefault(one.hidden, []).append(one)
    return groups


def tables(found: list[Network], scale: str) -> list[Table]:
    """What the networks know; and of each place the curve of D*, and how it tells the labels."""
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[Value, ...]] = []
    for hidden, some in by_hidden(found).items():
        given, kept = (
            _runs.mean([getattr(one, name) for one in some]) for name in ("given", "kept")
        )
        rows.append((hidden, len(some), len(some[0].changed), given, kept))
        for source in (*SOURCES, LOSS):
            found_by = [one.auc(source) for one in some]
            lines.append(
                (
                    *(hidden, source),
                    *(_curve(some, source) if source != LOSS else [None] * 5),
                    *_runs.mean_and_spread(found_by),
                )
            )
    heading = (
        f"Networks of one hidden layer on scikit-learn's digits at the {scale} scale, after "
        f"{EPOCHS} passes, with\n{NOISE:.0%} of the labels changed. Given: examples whose given "
        "label the network predicts; kept: of those with a changed label."
    )
    about = (
        "D* of the examples, means over the networks. 5%, 50% and highest: of the sorted values, "
        "over rank / T;\ncorrelation: rank correlation with D* of the trained network; AUC: for "
        "changed labels, with its standard\ndeviation over the networks; that of the loss uses the "
        "label."
    )
    columns = ["hidden", "source", "rank/T", "5%", "50%", "highest", "correlation", "auc", "auc_sd"]
    formats = dict.fromkeys(("5%", "50%", "highest"), ".2f")
    formats |= dict.fromkeys(("correlation", "auc", "auc_sd", "given", "kept"), ".3f")
    return [
        Table(PART, ["hidden", "networks", "T", "given", "kept"], rows, heading, formats),
        Table(f"{PART}-maximal", columns, lines, about, formats),
    ]


def _curve(some: list[Network], source: str) -> list[float]:
    """The ratio rank / T, three points of the sorted curve over it, and the rank correlation."""
    points = []
    for one in some:
        D, typical = one.maximal[source], one.rank[source] / len(one.changed)
        curve = np.quantile(D, (0.05, 0.5, 1.0)) / typical
        points.append([typical, *curve, rank_correlation(D, one.maximal["trained"])])
    return [float(value) for value in np.mean(points, axis=0)]


def drawings(found: list[Network], scale: str) -> Iterator[tuple[str, Any]]:
    """The sorted curves of the first network of each size, and all AUCs."""
    from toysup.paper.questions.digits_drawing import digits

    if found:
        yield PART, digits(by_hidden(found), SOURCES)


def see(found: list[Network], scale: str) -> str:
    """How well D* tells changed labels, beside the controls."""
    parts = []
    for hidden, some in by_hidden(found).items():
        aucs = ", ".join(
            f"{_runs.mean([one.auc(source) for one in some]):.2f} ({name})"
            for source, name in {**SOURCES, LOSS: "the loss"}.items()
        )
        kept = _runs.mean([one.kept for one in some])
        parts.append(
            f"with {hidden} hidden units, which keep {kept:.0%} of the changed labels, {aucs}"
        )
    if not parts:
        return _runs.NOTHING
    return f"In {PART}.png: the AUC of D* for changed labels is {'; '.join(parts)}."


DIGITS = Preset(
    name=PART,
    title="D* of a network on scikit-learn's digits: does it find changed labels",
    scales={"small": {PART: SMALL}, "paper": {PART: PAPER}},
    measure=measure,
    make_tables=tables,
    draw=drawings,
    tell=see,
    check=examples,
)
