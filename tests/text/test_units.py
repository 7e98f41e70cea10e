"""Times and sizes in words."""

from __future__ import annotations

import pytest

from toysup._text.units import duration, size


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (3_569, "59 min"),
        (3_571, "1 h 0 min"),
        (172_000, "47 h 47 min"),
        (180_000, "2 d 2 h"),
        (1e9, "11,574 d 2 h"),
    ],
)
def test_times_in_words(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0.0 kB"),
        (9_940, "9.9 kB"),
        (9_960, "10 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (1_320_000_000, "1.3 GB"),
        (5e18, "5,000 PB"),
    ],
)
def test_sizes_in_words(count, text):
    assert size(count) == text
