"""An answer that speech has stopped, kept until it is known whether anything was said: it goes on, or is given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from model.request import AudioChunk, Done, Event, OmniError
from server.answering import Generation, Question
from server.events import ANSWER_SAMPLE_RATE
from server.memory import Answer

_BACK_MS = 400
"""An answer goes on so much before the cut at most."""
_PLAYED_KEPT_MS = 2000
"""Of the sound that is taken to be played: a client may report later that it was not."""
_FRAME = ANSWER_SAMPLE_RATE // 100
_FADE = ANSWER_SAMPLE_RATE // 200


class SentSound:
    """The sound of one answer as it was sent, from what was not played yet on."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, AudioChunk]] = []
        """(position of its first sample, piece), one after the other."""
        self._end = 0

    def __len__(self) -> int:
        return sum(len(chunk.samples) for _, chunk in self._pieces)

    def add(self, chunk: AudioChunk, played_ms: float) -> None:
        """Another piece; what was played long before is forgotten."""
        self._pieces.append((self._end, chunk))
        self._end += len(chunk.samples)
        oldest = _samples(played_ms - _PLAYED_KEPT_MS)
        while len(self._pieces) > 1 and self._pieces[1][0] <= oldest:
            del self._pieces[0]

    def good_start(self, played_ms: float) -> int:
        """Where to go on for somebody who has heard so much, in samples: in the quietest 10 ms of the last 400 before
        the cut, which is mostly between two words, and where the wave crosses zero."""
        held_from = self._pieces[0][0] if self._pieces else self._end
        cut = min(max(_samples(played_ms), held_from), self._end)
        begin = max(cut - _samples(_BACK_MS), held_from)
        sound = self._joined(begin, cut)
        if len(sound) < 2 * _FRAME:
            return begin
        frames = sound[: len(sound) // _FRAME * _FRAME].reshape(-1, _FRAME)
        power = np.square(frames).sum(1)
        quietest = int(np.flatnonzero(power == power.min())[-1]) * _FRAME
        crossings = np.flatnonzero(np.diff(np.signbit(sound[quietest : quietest + _FRAME])))
        return begin + quietest + (int(crossings[0]) + 1 if len(crossings) else 0)

    def since(self, position: int) -> Iterator[AudioChunk]:
        """The pieces from a position on; the first fades in within 5 ms."""
        first = True
        for begin, chunk in self._pieces:
            samples = chunk.samples[max(0, position - begin) :]
            if not len(samples):
                continue
            if first:
                samples = samples.copy()
                count = min(_FADE, len(samples))
                samples[:count] *= np.linspace(0, 1, count, endpoint=False, dtype=np.float32)
                first = False
            yield replace(chunk, samples=samples)

    def rewind(self, position: int) -> None:
        """What comes after will be sent, and added, again."""
        self._pieces = [
            (begin, replace(chunk, samples=chunk.samples[: position - begin]))
            for begin, chunk in self._pieces
            if begin < position
        ]
        self._end = position

    def _joined(self, begin: int, end: int) -> np.ndarray:
        parts = [chunk.samples[max(0, begin - at) : max(0, end - at)] for at, chunk in self._pieces]
        return np.concatenate([np.zeros(0, np.float32), *parts])


def _samples(ms: float) -> int:
    return max(0, round(ms * ANSWER_SAMPLE_RATE / 1000))


@dataclass
class HeldAnswer:
    """It is silent, and goes on being made."""

    question: Question
    answer: Answer
    generation: Generation | None
    """None when all of it was made."""
    sound: SentSound
    events: list[Event] = field(default_factory=list)
    """What was made since."""
    failure: OmniError | None = None
    nothing_said: str | None = None
    """What was heard, once it is known to be no reason to stop: empty, or a backchannel."""
    quiet_since: int | None = None
    """The microphone's sample at which whoever interrupted fell silent."""

    @property
    def generation_id(self) -> int | None:
        """None when all of it was made."""
        return self.generation.generation_id if self.generation else None

    @property
    def made(self) -> bool:
        """All of it is made."""
        return self.generation is None or any(isinstance(event, Done) for event in self.events)

    @property
    def left_ms(self) -> float:
        """Sound that is made but was not played."""
        made = sum(len(event.samples) for event in self.events if isinstance(event, AudioChunk))
        unplayed = self.answer.sent_ms - (self.answer.played_ms(self.answer.interrupted_at or 0.0))
        return unplayed + made * 1000 / ANSWER_SAMPLE_RATE
