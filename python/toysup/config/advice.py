"""Settings that cannot mean what was meant, said before hours are spent on them."""

from __future__ import annotations

from collections.abc import Collection

from toysup._text import notes
from toysup.config.train_config import TrainConfig

__all__ = ["warn_of"]


def warn_of(configs: Collection[TrainConfig], repeats: str | None = None) -> None:
    """Warn, from the caller of the function that calls, of what is doubtful in these runs."""
    for text in (_empty_examples(configs), repeats):
        if text is not None:
            notes.warn(text, UserWarning, stacklevel=3)


def _empty_examples(configs: Collection[TrainConfig]) -> str | None:
    """Of examples with less than one non-zero on average, unless S varies, and so is chosen."""
    found = [c for c in configs if c.data is None and c.n * c.density < 1 - 1e-9]
    if not found or (len(found) < len(configs) and len({c.sparsity for c in configs}) > 1):
        return None
    worst = min(found, key=lambda c: c.n * c.density)
    n, S = worst.n, worst.sparsity
    where = "" if len(found) == len(configs) else f" in {len(found)} of {len(configs)} runs"
    given = "an array for sparsity" if isinstance(S, tuple) else f"sparsity = {S:.12g}"
    return (
        f"with n = {n} features and {given}{where}, an example has "
        f"{n * worst.density:.2g} non-zeros on average, and {100 * worst.empty:.0f} % of the "
        f"examples are empty; choose a sparsity of at most 1 - 1/n = {1 - 1 / n:.6g}, or more "
        f"features"
    )
