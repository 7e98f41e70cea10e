"""Which example a reconstruction resembles most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toysup._run.model import parts
from toysup._stream.batch import take
from toysup.regime._model import (
    Floats,
    Ints,
    Trained,
    as_rows,
    model_and_examples,
    products,
    unit_rows,
)

__all__ = ["nearest_example"]


def nearest_example(
    run: Trained, X: object = None, rows: npt.ArrayLike | None = None
) -> tuple[Ints, Floats]:
    """The example that each reconstruction x'_t resembles most, by the cosine.

    An example is retrieved if that is itself. Of equal ones, such as copies, the example itself
    counts, then the first.

    Parameters
    ----------
    run : Run, Model or pair (W, b)
        A run that ended well, or weights of any origin.
    X : SparseBatch, SciPy sparse array or array of shape (T, n), optional
        Examples as rows; a run's training set if not given.
    rows : array of int, optional
        Which of the examples to reconstruct, all T if not given. They are compared with all, so
        the time is O(rows x non-zeros).

    Returns
    -------
    index : int array of shape (rows,)
        Number of the nearest example; -1 if the reconstruction is zero.
    similarity : array of shape (rows,)
        Their cosine.

    Raises
    ------
    TypeError, ValueError
        As :func:`example_loss`, and if ``rows`` are not numbers of examples.
    """
    model, batch = model_and_examples(run, X)
    rows = as_rows(rows, len(batch))
    length = np.sqrt(np.add.reduceat(np.append(batch.values**2, 0.0), batch.indptr[:-1]))
    length[np.diff(batch.indptr) == 0] = np.inf  # an all-zero example resembles nothing
    index, best = np.full(len(rows), -1), np.zeros(len(rows))
    for part in parts(len(rows), batch.n):
        asked = rows[part]
        y = unit_rows(model.decode(take(batch, asked).dot(model.W.T)))
        own = np.zeros(len(asked))
        for some, product in products(batch, y.T):
            cosine = product / length[some, None]
            here = (asked >= some.start) & (asked < some.stop)
            own[here] = cosine[asked[here] - some.start, np.flatnonzero(here)]
            nearest = cosine.argmax(axis=0)
            value = cosine[nearest, np.arange(len(asked))]
            better = value > best[part]
            index[part] = np.where(better, nearest + some.start, index[part])
            best[part] = np.where(better, value, best[part])
        index[part] = np.where((own > 0) & (own >= best[part]), asked, index[part])
    return index, best
