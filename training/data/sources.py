"""Where rows come from: data as others keep it, read a stretch at a time.

A source's rows are numbered, so that caching can be cut in pieces, shared between processes and gone on with.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from model.audio import resample, to_mono


class DataFormatError(Exception):
    """Data is not as its kind is published; the message names file and field, and what was wanted."""


@dataclass(frozen=True)
class Sample:
    """A question and its answer as they are kept: sound, or codes of sound. What is unknown is None."""

    answer: str
    question: str | None = None
    question_sound: np.ndarray | None = None
    """(samples,) float32 at 16 kHz."""
    answer_sound: np.ndarray | None = None
    """(samples,) float32 at 24 kHz."""
    codes: np.ndarray | None = None
    """(frames, 7) int16, of the mouth that the source says."""
    held_out: bool | None = None
    """Never to be trained on; None: decided by the row's number."""


class Source(Protocol):
    """Rows by number."""

    codes: int | None
    """How many codes a book has where samples bring codes; None where they bring sound."""

    def __len__(self) -> int: ...

    def read(self, first: int, count: int) -> list[Sample]:
        """At most `count` rows from number `first` on."""
        ...


def read_sound(data: Path | bytes, rate: int) -> np.ndarray:
    """A file of libsndfile's kinds (WAV, FLAC, MP3 …) → (samples,) float32, mono, at `rate`.

    `DataFormatError` when it is none.
    """
    try:
        sound, found = soundfile.read(io.BytesIO(data) if isinstance(data, bytes) else data, dtype="float32")
    except soundfile.LibsndfileError as error:
        name = data if isinstance(data, Path) else "sound in a table"
        raise DataFormatError(f"{name}: no sound that libsndfile reads ({error})") from error
    return resample(to_mono(sound), found, rate)
