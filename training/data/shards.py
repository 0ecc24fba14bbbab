"""Speech shards: spoken texts with their sound, phonemes and exact durations, a few hundred a file.

A shard is an `.npz` with, for each recording, its text, its samples (int16, 24 kHz, joined), its phoneme ids (joined)
and their durations in units of 25 ms. Files whose name begins with `heldout` are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Recording:
    """A spoken text. `phonemes` begins and ends every sentence with 0; `words` is the index of each one's word."""

    text: str
    audio: np.ndarray  # (samples,) int16
    phonemes: np.ndarray  # (n,) uint8
    durations: np.ndarray  # (n,) int16, units of 25 ms


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """`np.savez`, so that a shard is whole or not there: written beside it, then renamed."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def write_shard(path: Path, recordings: list[Recording]) -> None:
    save_arrays(
        path,
        texts=np.array([r.text for r in recordings]),
        audio=np.concatenate([r.audio for r in recordings]),
        audio_lengths=np.array([len(r.audio) for r in recordings]),
        phonemes=np.concatenate([r.phonemes for r in recordings]),
        durations=np.concatenate([r.durations for r in recordings]),
        phoneme_lengths=np.array([len(r.phonemes) for r in recordings]),
    )


def read_shard(path: Path) -> list[Recording]:
    with np.load(path) as shard:
        audio = np.split(shard["audio"], np.cumsum(shard["audio_lengths"])[:-1])
        cuts = np.cumsum(shard["phoneme_lengths"])[:-1]
        phonemes, durations = np.split(shard["phonemes"], cuts), np.split(shard["durations"], cuts)
        texts = shard["texts"].tolist()
    return [Recording(*row) for row in zip(texts, audio, phonemes, durations, strict=True)]


def shard_paths(folder: Path, held_out: bool = False) -> list[Path]:
    paths = [p for p in sorted(folder.glob("*.npz")) if not p.name.endswith(".tmp.npz")]
    return [p for p in paths if p.name.startswith("heldout") == held_out]


def spoken_seconds(folder: Path) -> float:
    """Seconds of sound in all shards to train on."""
    samples = 0
    for path in shard_paths(folder):
        with np.load(path) as shard:
            samples += int(shard["audio_lengths"].sum())
    return samples / 24_000


def audio_shards(folder: Path, seen: set[Path], held_out: bool = False) -> Iterator[tuple[Path, list[np.ndarray]]]:
    """The sound of every shard that is not in `seen`."""
    for path in shard_paths(folder, held_out):
        if path not in seen:
            yield path, [r.audio for r in read_shard(path)]
