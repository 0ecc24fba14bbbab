"""Utterances that are over and utterances that go on, spoken: what the judge of turns is fitted to.

A third are whole sentences. A third are sentences cut at a word's end (their sound is the sentence's, as far as it
went: hibari's graph tells how long each phoneme lasts). A third are beginnings spoken as such, most of them with a
comma, a filled pause or dots after them. Texts are those of `training.data.question_texts`, voices and microphones
those of `training.data.question_voices`. Shards are `.npz` files: `said` and `whole` texts, `kinds` (whole, cut,
hesitating), the sound of all (int16, 16 kHz, joined) and its `lengths`.

    python -m training.data.turns training/texts.jsonl work/turns --minutes 30
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model.audio import SAMPLE_RATE, resample
from model.timeline import DURATION_UNIT_SAMPLES
from training.data.question_texts import Questions
from training.data.question_voices import Samples, Voices, microphone
from training.data.shards import save_arrays
from training.data.speech import Speaker

Kind = Literal["whole", "cut", "hesitating"]
_LONGEST_SECONDS = 14
_VOICE_RATE = 24_000
_FILLED = ("um", "uh", "er", "hmm", "you know", "like", "well", "so", "and", "I mean")
_ARTICLES = "a an the this that these those my your his her its our their some any no every each both"
_JOINING = "of and or but to for with from in on at by about into than as if because which who whose when where while"
_HELPING = "is are was were be been am do does did can could would should will shall may might must have has had"
_BEGINNING = (
    "what how why i you we they he she it i'm you're we're they're it's that's what's let's don't can't there's"
)
_BETWEEN = "between through during without within under over near like very so really"
_OPEN = frozenset(word for words in (_ARTICLES, _JOINING, _HELPING, _BEGINNING, _BETWEEN) for word in words.split())
"""After these words something follows."""


@dataclass(frozen=True)
class Utterance:
    """What was said, of which sentence, and how it sounds."""

    said: str
    whole: str
    kind: Kind
    sound: np.ndarray  # (samples,) int16 at 16 kHz


class Turns:
    """Utterances without end."""

    def __init__(self, texts: Path, seed: int) -> None:
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.questions = Questions(texts, self.random)
        self.voices, self.speaker = Voices(self.rng), Speaker()

    def __iter__(self) -> Iterator[Utterance]:
        while True:
            whole = self._sentence()
            kind: Kind = self.random.choices(("whole", "cut", "hesitating"), (0.38, 0.32, 0.30))[0]
            words = whole.split()
            count = len(words) if kind == "whole" else self._cut(words)
            said = " ".join(words[:count])
            sound = self._spoken(kind, said, whole, count) if count else None
            if sound is not None and SAMPLE_RATE // 5 <= len(sound) <= _LONGEST_SECONDS * SAMPLE_RATE:
                yield Utterance(said, whole, kind, (self._heard(sound) * 32767).astype(np.int16))

    def _sentence(self) -> str:
        questions = self.questions
        while True:
            if self.random.random() < 0.5:
                text = re.sub(r"\{(\w+)\}", questions._fill, self.random.choice(questions.patterns))
            else:
                text = self.random.choice(questions.sentences)
            if len(text.split()) <= 18:
                return text[:1].upper() + text[1:]

    def _cut(self, words: list[str]) -> int:
        """How many words are said before the speaker hesitates; 0 where there is no place for it."""
        places = [count for count in range(1, len(words)) if words[count - 1][-1:].isalpha()]
        sure = [count for count in places if words[count - 1].lower() in _OPEN]
        if sure and self.random.random() < 0.65:
            return self.random.choice(sure)
        return self.random.choice(places) if places else 0

    def _spoken(self, kind: Kind, said: str, whole: str, count: int) -> Samples | None:
        if kind == "cut":
            return self._beginning(whole, count)
        return self.voices(said if kind == "whole" else said.rstrip(",;:") + self._hesitation())

    def _hesitation(self) -> str:
        kind = self.random.random()
        if kind < 0.35:
            return "," if kind < 0.25 else "..."
        return f", {self.random.choice(_FILLED)}{self.random.choice(('', '...', ','))}" if kind < 0.85 else ""

    def _beginning(self, whole: str, count: int) -> Samples | None:
        """The sound of the first words of a sentence; None where its phonemes do not tell where they end."""
        sentences = self.speaker.hibari.phonemize(whole)
        recording = self.speaker(whole) if len(sentences) == 1 else None
        if recording is None:
            return None
        spaces = [place for place, sign in enumerate(sentences[0]) if sign == " "]
        if len(spaces) != len(whole.split()) - 1:
            return None
        edge = (len(recording.phonemes) - len(sentences[0])) // 2
        end = int(recording.durations[: spaces[count - 1] + edge].sum()) * DURATION_UNIT_SAMPLES
        sound = recording.audio[:end].astype(np.float32) / 32768
        sound[-120:] *= np.linspace(1, 0, len(sound[-120:]), dtype=np.float32)
        sound = resample(sound, _VOICE_RATE)
        if self.rng.random() < 0.6:  # a larger or a smaller speaker
            sound = resample(sound, SAMPLE_RATE, int(SAMPLE_RATE * self.rng.uniform(0.88, 1.12)))
        return (sound / max(1e-6, float(np.abs(sound).max()))).astype(np.float32)

    def _heard(self, sound: Samples) -> Samples:
        if self.rng.random() < 0.5:
            return microphone(sound, self.rng)
        return np.pad(sound * np.float32(0.5), (1600, int(SAMPLE_RATE * self.rng.uniform(0.1, 0.22))))


def write_turns(path: Path, turns: list[Utterance]) -> None:
    save_arrays(
        path,
        said=np.array([one.said for one in turns]),
        whole=np.array([one.whole for one in turns]),
        kinds=np.array([one.kind for one in turns]),
        sound=np.concatenate([one.sound for one in turns]),
        lengths=np.array([len(one.sound) for one in turns]),
    )


def read_turns(path: Path) -> list[Utterance]:
    with np.load(path) as shard:
        sounds = np.split(shard["sound"], np.cumsum(shard["lengths"])[:-1])
        columns = (shard["said"].tolist(), shard["whole"].tolist(), shard["kinds"].tolist(), sounds)
        return [Utterance(*row) for row in zip(*columns, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rows", type=int, default=100, help="utterances a shard")
    parser.add_argument("--worker", type=int, default=0, help="number of this process, where several run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    number = len(list(options.out.glob(f"turns-{options.worker}-[0-9]*.npz")))
    started, rows = time.time(), []
    for utterance in Turns(options.texts, 1000 * options.worker + number):
        rows.append(utterance)
        if len(rows) == options.rows:
            write_turns(options.out / f"turns-{options.worker}-{number:05d}.npz", rows)
            number, rows = number + 1, []
            print(f"{number} shards, {time.time() - started:.0f} s", flush=True)
            if time.time() - started > options.minutes * 60:
                return


if __name__ == "__main__":
    main()
