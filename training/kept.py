"""What an evaluation has judged so far, in a folder: recordings to listen to, and where a run that was cut off goes on.

`answers.jsonl` has a line for each answer, with the names of its recordings; `words.jsonl` one for each unseen word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from model.mouth import SAMPLE_RATE
from training.flaws import Flaws


@dataclass(frozen=True)
class Spoken:
    """An answer, what was heard of it, and the same text read by the cascade's voice."""

    question: str
    text: str
    samples: np.ndarray
    flaws: Flaws
    heard: str
    read: np.ndarray
    read_flaws: Flaws


class KeptError(Exception):
    """The folder holds what was judged of another checkpoint."""


def fingerprint(checkpoint: Path) -> str:
    """Of all that decides how a checkpoint speaks: its settings and weights."""
    digest = hashlib.sha256()
    for path in sorted((*checkpoint.glob("*.json"), *checkpoint.glob("*.safetensors"))):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """Answers and words that were judged, of one checkpoint."""

    def __init__(self, folder: Path, checkpoint: str) -> None:
        """`KeptError` where the folder belongs to another checkpoint."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        owner = folder / "checkpoint.txt"
        if owner.exists() and owner.read_text().strip() != checkpoint:
            raise KeptError(f"{folder} holds answers of another checkpoint; give another folder, or remove it")
        owner.write_text(f"{checkpoint}\n")
        self.words = {row["word"]: (row["ours"], row["cascade"]) for row in self._rows("words")}
        self.answers = {row["question"]: self._answer(row) for row in self._rows("answers")}

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole, _, cut_off = text.rpartition("\n")
        if cut_off:
            path.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
        yield from map(json.loads, whole.splitlines())

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _answer(self, row: dict[str, Any]) -> Spoken:
        sounds = [soundfile.read(self.folder / row[name], dtype="float32")[0] for name in ("file", "reading")]
        flaws = [Flaws(**row[name]) for name in ("flaws", "read_flaws")]
        return Spoken(row["question"], row["text"], sounds[0], flaws[0], row["heard"], sounds[1], flaws[1])

    def add_answer(self, spoken: Spoken) -> None:
        number = len(self.answers)
        names = {"file": f"{number:03d}.wav", "reading": f"{number:03d}.hibari.wav"}
        for name, samples in zip(names.values(), (spoken.samples, spoken.read), strict=True):
            soundfile.write(self.folder / name, samples, SAMPLE_RATE)
        said = {"question": spoken.question, "text": spoken.text, "heard": spoken.heard}
        self._append(
            "answers", {**names, **said, "flaws": asdict(spoken.flaws), "read_flaws": asdict(spoken.read_flaws)}
        )
        self.answers[spoken.question] = spoken

    def add_word(self, word: str, ours: bool, cascade: bool) -> None:
        self._append("words", {"word": word, "ours": ours, "cascade": cascade})
        self.words[word] = ours, cascade
