"""What a conversation remembers: of an answer that was cut off, only the words that were played."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.request import AudioChunk, Turn
from server.events import ANSWER_SAMPLE_RATE

_CHARACTERS_PER_MS = 0.015
"""English speech, where the model does not say how far a chunk takes the text."""


@dataclass
class Answer:
    """An answer as it is made, sent and played. Times are seconds of the session's clock."""

    response_id: int
    text: str = ""
    sent_ms: float = 0.0
    complete: bool = False
    first_sent_at: float | None = None
    interrupted_at: float | None = None
    reported_ms: float | None = None
    _marks: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    """(ms, characters spoken by then), rising."""

    def add_audio(self, chunk: AudioChunk, now: float) -> None:
        """Count a chunk that is being sent."""
        if self.first_sent_at is None:
            self.first_sent_at = now
        self.sent_ms += len(chunk.samples) * 1000 / ANSWER_SAMPLE_RATE
        if chunk.spoken_characters is not None:
            self._marks.append((self.sent_ms, max(self._marks[-1][1], chunk.spoken_characters)))

    def report(self, played_ms: float) -> None:
        """The client says how much has been played; it can be no more than was sent."""
        self.reported_ms = min(max(played_ms, self.reported_ms or 0.0), self.sent_ms)

    def played_ms(self, now: float) -> float:
        """Milliseconds that were played: as reported, else the time since the first chunk was sent."""
        if self.reported_ms is not None:
            return self.reported_ms
        if self.first_sent_at is None:
            return 0.0
        until = now if self.interrupted_at is None else self.interrupted_at
        return min(self.sent_ms, (until - self.first_sent_at) * 1000)

    def is_playing(self, now: float, tolerance_ms: float = 60.0) -> bool:
        """Whether the client still has sound of it to play."""
        return self.interrupted_at is None and self.played_ms(now) < self.sent_ms - tolerance_ms

    def kept_text(self, now: float) -> str:
        """The text that counts as said: all of it, or the whole words that were played before the interruption."""
        if self.interrupted_at is None:
            return self.text.strip()
        played = self.played_ms(now)
        if self.complete and played >= self.sent_ms - 1:
            return self.text.strip()
        return whole_words(self.text, self._characters(played))

    def _characters(self, played_ms: float) -> int:
        if len(self._marks) == 1:
            return int(played_ms * _CHARACTERS_PER_MS)
        for (before_ms, before), (after_ms, after) in zip(self._marks, self._marks[1:], strict=False):
            if played_ms < after_ms:
                return before + int((after - before) * (played_ms - before_ms) / (after_ms - before_ms))
        return self._marks[-1][1]


def whole_words(text: str, characters: int) -> str:
    """The words of `text` that end within its first `characters`."""
    if characters < len(text) and not text[characters].isspace():
        head, space, _ = text[:characters].rpartition(" ")
        return head.strip() if space else ""
    return text[:characters].strip()


@dataclass(frozen=True)
class Exchange:
    """A question that was understood, and its answer if one began."""

    user: str
    answer: Answer | None


class Memory:
    """The conversation so far. Rendered when a request is made, so a late playback report still counts."""

    def __init__(self, max_turns: int = 64) -> None:
        self._max_turns = max_turns
        self._given: tuple[Turn, ...] = ()
        self._exchanges: list[Exchange] = []

    def replace(self, turns: tuple[Turn, ...]) -> None:
        """Begin from what the client remembers."""
        self._given = turns[-self._max_turns :]
        self._exchanges.clear()

    def add(self, user: str, answer: Answer | None) -> None:
        """Remember a question; the answer may still be growing."""
        self._exchanges.append(Exchange(user, answer))
        if len(self._exchanges) > self._max_turns:
            del self._exchanges[0]

    def turns(self, now: float) -> tuple[Turn, ...]:
        """Oldest first."""
        spoken = tuple(Turn(e.user, e.answer.kept_text(now) if e.answer else "") for e in self._exchanges)
        return (self._given + spoken)[-self._max_turns :]

    def answer(self, response_id: int | None) -> Answer | None:
        """The answer of this id, or the latest; None when there is none."""
        for exchange in reversed(self._exchanges):
            if exchange.answer and response_id in (None, exchange.answer.response_id):
                return exchange.answer
        return None
