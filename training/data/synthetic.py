"""Questions and answers that the body wrote, spoken: by hibari while they are cached, or from speech shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hibari import Hibari

from model.audio import resample
from model.mouth import SAMPLE_RATE as VOICE_RATE
from model.text import speakable
from training.data.codes import trim
from training.data.shards import Recording, read_shard, shard_paths
from training.data.sources import DataFormatError, Sample
from training.data.speech import HELD_OUT_EVERY

SPEEDS = (1.0, 1.1, 0.9, 1.2)
"""How fast questions are asked, in turn."""


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Questions and answers of a file of `training.data.texts`."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append((str(row["question"]), str(row["answer"])))
        except (ValueError, KeyError, TypeError) as error:
            raise DataFormatError(f'{path}, line {number}: wanted {{"question": …, "answer": …}}') from error
    return rows


class Texts:
    """`Source` of a file of texts: question and answer are spoken by hibari when they are read."""

    codes: int | None = None

    def __init__(self, path: Path) -> None:
        self.rows = read_texts(path)
        self.voice = Hibari(threads=1)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, first: int, count: int) -> list[Sample]:
        """At most `count` rows from number `first` on."""
        found = []
        for number, (question, answer) in enumerate(self.rows[first : first + count], first):
            said = np.asarray(self.voice(answer, seed=0), np.float32) if speakable(answer) else None
            asked = ask(self.voice, question, number)
            found.append(Sample(answer, question, asked, said, held_out=number % HELD_OUT_EVERY == 0))
        return found


def ask(voice: Hibari, question: str, number: int) -> np.ndarray | None:
    """A question spoken, at 16 kHz; None where it has nothing to say."""
    if not speakable(question):
        return None
    return resample(np.asarray(voice(question, seed=0, speed=SPEEDS[number % len(SPEEDS)]), np.float32), VOICE_RATE)


class SpeechShards:
    """`Source` of the speech shards of `training.data.speech`: those recordings that are an answer as it was written.

    Its question is found in the file of texts that they were made from, and asked by hibari.
    """

    codes: int | None = None

    def __init__(self, folder: Path, texts: Path) -> None:
        self.asked = {
            speakable(answer): (question, answer, number) for number, (question, answer) in enumerate(read_texts(texts))
        }
        self.places: list[tuple[Path, int]] = []
        for path in [*shard_paths(folder), *shard_paths(folder, held_out=True)]:
            with np.load(path) as shard:
                spoken = shard["texts"].tolist()
            self.places += [(path, row) for row, text in enumerate(spoken) if text in self.asked]
        self.voice = Hibari(threads=1)
        self._open: tuple[Path | None, list[Recording]] = (None, [])

    def __len__(self) -> int:
        return len(self.places)

    def read(self, first: int, count: int) -> list[Sample]:
        """At most `count` rows from number `first` on; one shard is in memory at a time."""
        found = []
        for path, row in self.places[first : first + count]:
            if self._open[0] != path:
                self._open = (path, read_shard(path))
            recording = trim(self._open[1][row])
            question, answer, number = self.asked[recording.text]
            found.append(
                Sample(
                    answer,
                    question,
                    ask(self.voice, question, number),
                    recording.audio / np.float32(32768),
                    held_out=number % HELD_OUT_EVERY == 0,
                )
            )
        return found
