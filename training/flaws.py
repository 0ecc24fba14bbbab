"""What is wrong in a spoken answer, by what a listener wrote down: words, and whether it broke, stuttered or ran on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

MANY = 3
"""Words in a row that are missing or too many: fewer are misheard."""


@dataclass(frozen=True)
class Flaws:
    """One answer against what was heard of it."""

    words: int
    wrong: int
    breaks_off: bool
    """Words in a row were not heard, at the end or in the midst."""
    stutters: bool
    """Words were heard again that had just been said once."""
    runs_on: bool
    """Words follow the end."""

    @property
    def flawed(self) -> bool:
        return self.breaks_off or self.stutters or self.runs_on


def find_flaws(said: str, heard: str) -> Flaws:
    """Both already normalised, words parted by spaces."""
    reference, hypothesis = said.split(), heard.split()
    if not reference:
        return Flaws(0, len(hypothesis), False, False, len(hypothesis) >= MANY)
    if not hypothesis:
        return Flaws(len(reference), len(reference), True, False, False)
    found = jiwer.process_words(said, heard)
    breaks = stutters = runs = False
    for chunk in found.alignments[0]:
        if chunk.type == "delete":
            breaks |= chunk.ref_end_idx - chunk.ref_start_idx >= MANY
        elif chunk.type == "insert":
            begin, end = chunk.hyp_start_idx, chunk.hyp_end_idx
            stutters |= _said_again(hypothesis, begin, end)
            runs |= end == len(hypothesis) and end - begin >= MANY
    return Flaws(len(reference), found.substitutions + found.deletions + found.insertions, breaks, stutters, runs)


def _said_again(words: Sequence[str], begin: int, end: int) -> bool:
    """The words begin … end are what stands right before or right after them."""
    some, count = words[begin:end], end - begin
    return some == words[max(0, begin - count) : begin] or some == words[end : end + count]


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that holds it with 95 % probability."""

    value: float
    low: float
    high: float
    count: int

    def percent(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} – {100 * self.high:.1f})"

    def plain(self, unit: str = "", digits: int = 2) -> str:
        return f"{self.value:.{digits}f}{unit} ({self.low:.{digits}f} – {self.high:.{digits}f})"


def bootstrap(
    rows: Sequence[Sequence[float]], statistic: Callable[[np.ndarray], np.ndarray], draws: int = 2000
) -> Estimate:
    """`statistic` of rows (…, n, columns) → (…,), and its 95 % interval over rows drawn anew."""
    table = np.asarray(rows, float)
    picked = np.random.default_rng(0).integers(len(table), size=(draws, len(table)))
    drawn = statistic(table[picked])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(statistic(table)), float(low), float(high), len(table))


def ratio(rows: np.ndarray) -> np.ndarray:
    """Sum of the first column over the sum of the second: word errors over words."""
    sums: np.ndarray = rows.sum(-2)
    return np.asarray(sums[..., 0] / sums[..., 1].clip(1e-9))


def mean(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows[..., 0].mean(-1))


def median(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(rows[..., 0], -1))
