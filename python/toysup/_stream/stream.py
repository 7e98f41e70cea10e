"""The sample stream in NumPy: the definition of the data, which the Rust core repeats bit for bit.

One infinite stream of examples belongs to each (seed, role). Example t is a function of
(seed, role, t) alone. Its words are the raw output of Philox4x64-10 (Salmon et al. 2011) with

* key = (seed, role), counter = (block, t, substream, 0), four words a block;
* substream 0: word 0 gives the number K of non-zeros, the words after it candidate positions;
* substream 1: word i gives the value of the i-th non-zero in ascending order of position.

Where features differ in their sparsity, those of which 1 - S is in [2^-k, 2^(1-k)) are a class. Its
substream 2 + 2k gives candidates as substream 0 does, as if all had the largest probability of the
class, and word i of 3 + 2k accepts the i-th of them by the ratio of its own and the largest.

Only integer arithmetic and IEEE + - * / sqrt are used, in a fixed order, so the bits are the same
on every platform. Time and memory are O(non-zeros), in chunks of a fixed budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toysup._floats import exact_floats
from toysup._typing import CSR

__all__ = ["ROLES", "cospi", "initial_weights", "multiply", "norms", "philox", "sample", "uniform"]

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[Any]  # of float64
I64 = npt.NDArray[np.int64]

ROLES = {"train": 1, "test": 2, "init": 3, "order": 4, "draws": 5}
ROLES |= {"correlated": 6, "anticorrelated": 7, "hierarchical": 8, "one": 9, "epoch": 10}

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_MASK = 2**64 - 1
# Entries of the (examples x n) work arrays that exist at one time.
_BUDGET = 1 << 22
_MAX_ROWS = 1 << 14


def multiply(a: int, b: U64) -> tuple[U64, U64]:
    """High and low 64 bits of the products a * b."""
    low32, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    a_hi, a_lo = np.uint64(a >> 32), np.uint64(a & 0xFFFFFFFF)
    b_hi, b_lo = b >> shift, b & low32
    cross = a_hi * b_lo + (a_lo * b_lo >> shift)
    middle = a_lo * b_hi + (cross & low32)
    return a_hi * b_hi + (cross >> shift) + (middle >> shift), np.uint64(a) * b


def philox(key: tuple[int, int], block: U64, example: U64, substream: int) -> U64:
    """Blocks at the counters (block, example, substream, 0), shape (len(block), 4)."""
    c0, c1 = np.broadcast_arrays(block, example)
    c2, c3 = np.full_like(c0, substream), np.zeros_like(c0)
    k0, k1 = key
    for _ in range(10):
        hi0, lo0 = multiply(_MULTIPLIERS[0], c0)
        hi1, lo1 = multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = hi1 ^ c1 ^ np.uint64(k0), lo1, hi0 ^ c3 ^ np.uint64(k1), lo0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return np.stack([c0, c1, c2, c3], axis=-1)


def binomial_table(n: int, sparsity: float) -> tuple[int, F64]:
    """(k0, c): the distribution function of Binomial(n, 1 - S); c[i] = P(K <= k0 + i).

    Probabilities follow p(k+1) / p(k) = (n - k) / (k + 1) * (1 - S) / S outward from the mode,
    until they are below 1e-25 of the mode's.
    """
    p = 1.0 - sparsity
    if sparsity == 0.0:
        return n, np.ones(1)
    odds = p / sparsity
    mode = min(n, int((n + 1) * p))
    up, weight = [1.0], 1.0
    for k in range(mode, n):
        weight = weight * ((n - k) * odds) / (k + 1)
        if weight < 1e-25:
            break
        up.append(weight)
    down, weight = [], 1.0
    for k in range(mode, 0, -1):
        weight = weight * k / ((n - k + 1) * odds)
        if weight < 1e-25:
            break
        down.append(weight)
    cumulative = np.cumsum(np.array(down[::-1] + up))
    return mode - len(down), cumulative / cumulative[-1]


def _counts(key: tuple[int, int], t: U64, table: tuple[int, F64], substream: int = 0) -> I64:
    """Number of non-zeros of each example, by inversion of the binomial distribution."""
    k0, cumulative = table
    u = (philox(key, np.zeros_like(t), t, substream)[:, 0] >> np.uint64(11)) * 2.0**-53
    found = np.searchsorted(cumulative, u, side="right")
    return k0 + np.minimum(found, len(cumulative) - 1).astype(np.int64)


def _positions(
    key: tuple[int, int], t: U64, counts: I64, n: int, substream: int = 0
) -> npt.NDArray[np.bool_]:
    """Which features are non-zero, shape (len(t), n): candidates are drawn until K are distinct.

    A candidate is the high half of word * n; one whose low half is below 2**64 mod n is dropped,
    which makes positions exactly uniform. Above n / 2 the zeros are drawn instead.
    """
    taken = np.zeros((len(t), n), dtype=np.bool_)
    swap = counts > n // 2
    left = np.where(swap, n - counts, counts)
    threshold = np.uint64((2**64 - n) % n)
    rows = np.flatnonzero(left > 0)
    word, words = 1, np.zeros((0, 4), dtype=np.uint64)
    while len(rows):
        if word % 4 == 0 or word == 1:
            words = philox(key, np.full(len(rows), word // 4, np.uint64), t[rows], substream)
        column, low = multiply(n, words[:, word % 4])
        fresh = (low >= threshold) & ~taken[rows, column.astype(np.int64)]
        taken[rows[fresh], column[fresh].astype(np.int64)] = True
        left[rows[fresh]] -= 1
        going = left[rows] > 0
        rows, words = rows[going], words[going]
        word += 1
    taken[swap] = ~taken[swap]
    return taken


def _words(key: tuple[int, int], t: U64, counts: I64, substream: int) -> U64:
    """The first ``counts[i]`` words of a substream of example ``t[i]``, examples in turn."""
    blocks = (counts + 3) // 4
    first = np.repeat(np.cumsum(blocks) - blocks, blocks)
    block = np.arange(len(first)) - first
    words = philox(key, block.astype(np.uint64), np.repeat(t, blocks), substream)
    used = (4 * block)[:, None] + np.arange(4) < np.repeat(counts, blocks)[:, None]
    return words[used]


def uniform(key: tuple[int, int], t: U64, counts: I64, substream: int = 1) -> F64:
    """Uniform values in (0, 1] of all non-zeros, examples in turn."""
    return ((_words(key, t, counts, substream) >> np.uint64(11)) + np.uint64(1)) * 2.0**-53


class _Class(NamedTuple):
    """Features whose probabilities of being non-zero differ by less than a factor of 2."""

    members: I64
    chances: U64  # 2^53 times the probability of each
    largest: int
    table: tuple[int, F64]
    substream: int


def _classes(sparsity: tuple[float, ...]) -> list[_Class]:
    """The classes of features, the most frequent first; probabilities are multiples of 2^-53."""
    S = np.array(sparsity)
    chances = ((1.0 - S) * 2.0**53).astype(np.uint64)
    halvings = 1 - np.frexp(1.0 - S)[1]
    classes = []
    for k in range(54):
        members = np.flatnonzero((halvings == k) & (chances > 0))
        if len(members):
            table = binomial_table(len(members), float(S[members].min()))
            largest = int(chances[members].max())
            classes.append(_Class(members, chances[members], largest, table, 2 + 2 * k))
    return classes


def _apart(
    key: tuple[int, int], t: U64, classes: list[_Class], n: int
) -> tuple[I64, npt.NDArray[np.bool_]]:
    """The number of non-zeros of each example, and which features they are."""
    taken = np.zeros((len(t), n), dtype=np.bool_)
    for members, chances, largest, table, substream in classes:
        counts = _counts(key, t, table, substream)
        candidates = _positions(key, t, counts, len(members), substream)
        rows, places = np.nonzero(candidates)
        drawn, _ = multiply(largest, _words(key, t, counts, substream + 1))
        accepted = drawn < chances[places]
        taken[rows[accepted], members[places[accepted]]] = True
    return np.count_nonzero(taken, axis=1), taken


def norms(values: F64, counts: I64) -> F64:
    """Euclidean norm of each example; squares are added in order, as a scalar loop would."""
    padded = np.zeros((len(counts), int(counts.max(initial=0)) + 1))
    padded[:, 1:][np.arange(padded.shape[1] - 1) < counts[:, None]] = values * values
    return np.sqrt(np.cumsum(padded, axis=1)[:, -1])


def _chunks(start: int, stop: int, n: int) -> Iterator[U64]:
    rows = max(1, min(_MAX_ROWS, _BUDGET // n))
    for low in range(start, stop, rows):
        yield np.arange(low, min(stop, low + rows), dtype=np.uint64)


@exact_floats()
def sample(
    n: int,
    start: int,
    stop: int,
    sparsity: float | tuple[float, ...],
    seed: int,
    role: int,
    normalize: bool,
) -> CSR:
    """Examples ``start`` to ``stop`` of the stream as (indptr, indices, values)."""
    key = (seed, role)
    is_apart = isinstance(sparsity, tuple)
    classes = _classes(sparsity) if is_apart else []  # type: ignore[arg-type]
    table = (0, np.ones(1)) if is_apart else binomial_table(n, sparsity)  # type: ignore[arg-type]
    all_counts, all_indices, all_values = [np.zeros(1, np.int64)], [], []
    for t in _chunks(start, stop, n):
        if is_apart:
            counts, taken = _apart(key, t, classes, n)
        else:
            counts = _counts(key, t, table)
            taken = _positions(key, t, counts, n)
        values = uniform(key, t, counts)
        if normalize:
            values = values / np.repeat(norms(values, counts), counts)
        all_counts.append(counts)
        all_indices.append(np.nonzero(taken)[1].astype(np.int32))
        all_values.append(values)
    indices = np.concatenate(all_indices) if all_indices else np.zeros(0, np.int32)
    values = np.concatenate(all_values) if all_values else np.zeros(0)
    return np.cumsum(np.concatenate(all_counts)), indices, values


def initial_weights(
    n: int, m: int, init: str, seed: int, check: Callable[[], None] = lambda: None
) -> F64:
    """The initial W, shape (m, n), in double precision.

    Glorot and Bengio (2010) with fan-in n and fan-out m: uniform on +-sqrt(6 / (n + m)), or normal
    with standard deviation sqrt(2 / (n + m)). Element (k, j) comes from word k n + j of the
    stream's role "init".
    """
    words = np.empty(-(-n * m // 4) * 4, dtype=np.uint64)
    for low in range(0, len(words) // 4, _BUDGET // 64):
        check()  # may raise
        block = np.arange(low, min(len(words) // 4, low + _BUDGET // 64), dtype=np.uint64)
        drawn = philox((seed, ROLES["init"]), block, np.zeros_like(block), 0)
        words[4 * low : 4 * low + drawn.size] = drawn.ravel()
    u = ((words[: n * m] >> np.uint64(12)) + 0.5) * 2.0**-52
    if init == "xavier_uniform":
        flat = (2.0 * u - 1.0) * math.sqrt(6.0 / (n + m))
    else:
        flat = normal_quantile(u) * math.sqrt(2.0 / (n + m))
    return flat.reshape(m, n)


# Coefficients of PPND16 (Wichura 1988, Algorithm AS 241), highest power first.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip
_LN2 = 0.6931471805599453
# The same in two parts, the first of 32 bits.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10


def horner(coefficients: tuple[float, ...], x: Any) -> Any:
    """A polynomial, highest power first, by multiplications and additions in this order."""
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def log(x: F64) -> F64:
    """Natural logarithm by the series of artanh; libraries' own differ in the last bit."""
    fraction, exponent = np.frexp(x)
    small = fraction < 0.7071067811865476
    fraction, exponent = np.where(small, 2.0 * fraction, fraction), exponent - small
    s = (fraction - 1.0) / (fraction + 1.0)
    series = horner(tuple(1.0 / k for k in range(21, 0, -2)), s * s)
    result: F64 = exponent * _LN2 + 2.0 * s * series
    return result


def exp(x: F64) -> F64:
    """Exponential of numbers that are not positive, by the series of Taylor."""
    x = np.maximum(x, -800.0)  # below, it is 0
    k = np.rint(x / _LN2)
    rest = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = horner(tuple(1.0 / math.factorial(i) for i in range(14, -1, -1)), rest)
    result: F64 = np.ldexp(series, k.astype(np.int64))
    return result


def normal_quantile(u: F64) -> F64:
    """Inverse of the standard normal distribution function, to about 1e-16 (AS 241)."""
    q = u - 0.5
    centre = 0.180625 - q * q
    result: F64 = q * horner(_CENTRE[0], centre) / horner(_CENTRE[1], centre)
    outer = np.abs(q) > 0.425
    r = np.sqrt(-log(np.where(q[outer] < 0, u[outer], 1.0 - u[outer])))
    middle, tail = r - 1.6, r - 5.0
    size = np.where(
        r <= 5.0,
        horner(_MIDDLE[0], middle) / horner(_MIDDLE[1], middle),
        horner(_TAIL[0], tail) / horner(_TAIL[1], tail),
    )
    result[outer] = np.where(q[outer] < 0, -size, size)
    return result


def cospi(x: float) -> float:
    """cos(pi x) for 0 <= x <= 1, by Taylor series, the same bits on every platform."""
    if x > 0.5:
        return -cospi(1.0 - x)
    angle = math.pi * (x if x <= 0.25 else 0.5 - x)
    if x <= 0.25:
        return float(horner(_COSINE, angle * angle))
    return float(angle * horner(_SINE, angle * angle))


def cospis(x: F64) -> F64:
    """:func:`cospi` of each number, to the same bits."""
    y = np.where(x > 0.5, 1.0 - x, x)
    angle = math.pi * np.where(y <= 0.25, y, 0.5 - y)
    square = angle * angle
    value = np.where(y <= 0.25, horner(_COSINE, square), angle * horner(_SINE, square))
    result: F64 = np.where(x > 0.5, -value, value)
    return result


_COSINE = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(9, -1, -1))
_SINE = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(9, -1, -1))
