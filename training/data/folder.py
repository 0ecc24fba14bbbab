"""Reads a folder of recordings with their texts: own questions and answers, or an own voice.

| file | what |
|---|---|
| `NAME.question.wav`, `NAME.question.txt` | the question: either, or both |
| `NAME.answer.wav`, `NAME.answer.txt` | the answer; its text is needed |
| `NAME.wav`, `NAME.txt` | the same as `NAME.answer.…`, for recordings of a voice alone |

FLAC does as well as WAV, and any sample rate.
"""

from __future__ import annotations

from pathlib import Path

from model.audio import SAMPLE_RATE
from model.mouth import SAMPLE_RATE as VOICE_RATE
from training.data.sources import DataFormatError, Sample, read_sound

SOUNDS = (".wav", ".flac")


class Folder:
    """`Source` of a folder, in the order of its names."""

    codes: int | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = {path.name for path in folder.iterdir()}
        answers = {name.removesuffix(".txt") for name in files if name.endswith(".txt")}
        self.answers = sorted(stem for stem in answers if not stem.endswith(".question"))
        if not self.answers:
            raise DataFormatError(
                f"{folder} has no texts of answers; put NAME.answer.txt beside NAME.answer.wav, or NAME.txt beside "
                "NAME.wav"
            )

    def __len__(self) -> int:
        return len(self.answers)

    def read(self, first: int, count: int) -> list[Sample]:
        """At most `count` rows from number `first` on."""
        return [self._sample(stem) for stem in self.answers[first : first + count]]

    def _sample(self, answer: str) -> Sample:
        question = f"{answer.removesuffix('.answer')}.question"
        asked, said = self._sound(question), self._sound(answer)
        return Sample(
            self._text(answer) or "",
            self._text(question),
            None if asked is None else read_sound(asked, SAMPLE_RATE),
            None if said is None else read_sound(said, VOICE_RATE),
        )

    def _text(self, stem: str) -> str | None:
        path = self.folder / f"{stem}.txt"
        return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None

    def _sound(self, stem: str) -> Path | None:
        return next((path for end in SOUNDS if (path := self.folder / f"{stem}{end}").is_file()), None)
