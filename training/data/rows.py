"""One row format for all data: a question and its answer, each as text, as sound, or as both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Row:
    """One question and answer; what is unknown is None."""

    question: str | None
    states: np.ndarray | None  # (T, width) float16 Whisper encoder states of the spoken question, 50 Hz
    answer: str
    codes: np.ndarray | None  # (frames, 7) int16 SNAC codes of the spoken answer


def read_rows(folder: Path, held_out: bool = False) -> Iterator[Row]:
    """Rows of the cached shards in `folder`, streamed, always in the same order."""
    raise NotImplementedError
