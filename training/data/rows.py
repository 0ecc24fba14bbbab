"""One row format for all data: a question and its answer, each as text, as sound, or as both.

Rows are kept in shards of a few hundred, ready for training: questions as encoder states, answers as codes. A shard is
an `.npz`: `texts` (JSON, UTF-8), `states` and `codes` of all rows joined, and their lengths, -1 where there are none.
Files whose name begins with `heldout` are never trained on. `training.data.cache` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.shards import save_arrays, shard_paths


@dataclass(frozen=True)
class Row:
    """One question and answer; what is unknown is None."""

    question: str | None
    states: np.ndarray | None  # (T, width) float16 Whisper encoder states of the spoken question, 50 Hz
    answer: str
    codes: np.ndarray | None  # (frames, 7) int16 SNAC codes of the spoken answer


def read_rows(folder: Path, held_out: bool = False) -> Iterator[Row]:
    """Rows of the cached shards in `folder`, streamed, always in the same order."""
    for path in shard_paths(folder, held_out):
        yield from read_row_shard(path)


def write_row_shard(path: Path, rows: Sequence[Row]) -> None:
    """Write a shard, whole or not at all. All states must have one width."""
    texts = json.dumps([[row.question, row.answer] for row in rows], ensure_ascii=False).encode()
    states, state_lengths = _joined([row.states for row in rows], np.dtype(np.float16))
    codes, code_lengths = _joined([row.codes for row in rows], np.dtype(np.int16))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(
        path,
        texts=np.frombuffer(texts, np.uint8),
        states=states,
        state_lengths=state_lengths,
        codes=codes,
        code_lengths=code_lengths,
    )


def _joined(parts: Sequence[np.ndarray | None], kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([-1 if part is None else len(part) for part in parts], np.int32)
    known = [part.astype(kind, copy=False) for part in parts if part is not None]
    return np.concatenate(known) if known else np.zeros((0, 0), kind), lengths


def read_row_shard(path: Path) -> Iterator[Row]:
    """The rows of a shard, in order."""
    with np.load(path) as shard:
        texts = json.loads(shard["texts"].tobytes())
        states, codes = (_cut(shard[f"{name}s"], shard[f"{name}_lengths"]) for name in ("state", "code"))
    for (question, answer), heard, spoken in zip(texts, states, codes, strict=True):
        yield Row(question, heard, answer, spoken)


def _cut(joined: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray | None]:
    begin = 0
    for length in lengths.tolist():
        yield None if length < 0 else joined[begin : begin + length]
        begin += max(0, length)
