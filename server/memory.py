"""What a conversation remembers: of an answer that was cut off, only the words that were played."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from model.request import AudioChunk, Turn
from server.events import ANSWER_SAMPLE_RATE

_CHARACTERS_PER_MS = 0.015
"""English speech, where the model does not say how far a chunk takes the text."""
MAX_CHARACTERS = 1 << 16
"""Of a conversation's text: several times what the models' windows hold (2048 tokens, about 10,000 characters)."""


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


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

    def resume(self, played_ms: float, now: float) -> None:
        """It was interrupted and goes on from here; what comes after is sent, and counted, again."""
        spoken = self._characters(played_ms)
        known = len(self._marks) > 1
        self._marks = [mark for mark in self._marks if mark[0] < played_ms] or [(0.0, 0)]
        if known:
            self._marks.append((played_ms, spoken))
        self.sent_ms, self.interrupted_at = played_ms, None
        self.first_sent_at = now - played_ms / 1000
        if self.reported_ms is not None:
            self.reported_ms = played_ms

    def truncate(self, played_ms: float, now: float) -> None:
        """The client threw away what comes after; unlike a report it is exact."""
        self.reported_ms = min(played_ms, self.sent_ms)
        if self.interrupted_at is None:
            self.interrupted_at = now

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

    def after(self, played_ms: float) -> str:
        """The text that is spoken from there on, to the next whole word."""
        return self.text[len(whole_words(self.text, self._characters(played_ms))) :].strip()

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


Role = Literal["user", "assistant", "system"]


@dataclass(eq=False)
class Message:
    """One message of a conversation."""

    key: str
    """Its name, unique in the conversation."""
    role: Role
    text: str | None = None
    """Typed, given or heard; None: spoken, and not heard yet. Of an answer `said` tells."""
    audio: np.ndarray | None = field(default=None, repr=False)
    """(n,) float32, 16 kHz: what is still to be heard of it."""
    answer: Answer | None = None
    """An answer that the model made here."""
    turn_id: int | None = None
    """The number of a spoken turn."""
    spoken: bool = False
    """It came as sound, whether it has been heard or not."""
    asked_at: datetime | None = None
    """When somebody asked it; None of what the client remembered."""

    def __post_init__(self) -> None:
        self.spoken = self.spoken or self.audio is not None

    def heard(self, text: str) -> None:
        """It is known now; its sound is no longer needed."""
        self.text, self.audio = text, None

    def said(self, now: float) -> str:
        """What counts as said; empty while it is not known."""
        return self.answer.kept_text(now) if self.answer else self.text or ""


class Memory:
    """The conversation so far. Rendered when a request is made, so a late playback report still counts.

    The oldest turns are forgotten a quarter of `max_turns` at a time: a prompt that lost one turn each time would share
    no prefix with the one before, and the model would have to prefill all of it anew.
    """

    def __init__(self, max_turns: int = 64, wall_clock: Callable[[], datetime] = utc_now) -> None:
        self._max_turns = max_turns
        self._block = max(1, max_turns // 4)
        self.wall_clock = wall_clock
        self._prefix = f"item_{secrets.token_hex(4)}"
        self._messages: list[Message] = []

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    # names

    def turn_key(self, turn_id: int) -> str:
        """What a spoken or typed turn is called, before it is remembered and after."""
        return f"{self._prefix}_turn_{turn_id}"

    def answer_key(self, response_id: int) -> str:
        """What an answer is called."""
        return f"{self._prefix}_answer_{response_id}"

    def find(self, key: str) -> Message | None:
        """The message of this name."""
        return next((message for message in self._messages if message.key == key), None)

    def answer(self, response_id: int | None) -> Answer | None:
        """The answer of this id, or the latest; None when there is none."""
        for message in reversed(self._messages):
            if message.answer and response_id in (None, message.answer.response_id):
                return message.answer
        return None

    # changes

    def replace(self, turns: tuple[Turn, ...]) -> None:
        """Begin from what the client remembers."""
        self._messages.clear()
        for number, turn in enumerate(turns[-self._max_turns :]):
            self._add(Message(f"{self._prefix}_given_{number}", "user", turn.user, asked_at=turn.asked_at))
            if turn.assistant:
                self._add(Message(f"{self._prefix}_given_answer_{number}", "assistant", turn.assistant))

    def append(self, message: Message) -> None:
        """The newest, asked now where it does not say when; the oldest is forgotten when there are too many."""
        message.asked_at = message.asked_at or self.wall_clock()
        self._add(message)

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        if len(self._messages) > 2 * self._max_turns:
            del self._messages[: 2 * self._block]
        while len(self._messages) > 1 and self.characters > MAX_CHARACTERS:
            del self._messages[: min(2 * self._block, len(self._messages) - 1)]

    @property
    def characters(self) -> int:
        """Of all texts that clients gave; answers are bounded by their tokens."""
        return sum(len(message.text) for message in self._messages if message.text)

    @property
    def full(self) -> bool:
        """One message more, and older ones would be forgotten."""
        return len(self._messages) >= 2 * self._max_turns or self.characters >= MAX_CHARACTERS

    def insert(self, message: Message, after: Message | None) -> None:
        """Behind another; None: at the beginning. Raises `ValueError` when the other is not here."""
        message.asked_at = message.asked_at or self.wall_clock()
        self._messages.insert(0 if after is None else self._messages.index(after) + 1, message)

    def remove(self, message: Message) -> None:
        """Forget it."""
        self._messages.remove(message)

    # what the model is told

    def before(self, message: Message | None) -> Message | None:
        """The one before; None: the last of all."""
        place = len(self._messages) if message is None else self._messages.index(message)
        return self._messages[place - 1] if place else None

    def unanswered(self) -> Message | None:
        """The newest message, if it is a question: typed, heard or still to be heard, or a note that asks."""
        last = self.before(None)
        if last is None or (last.role != "user" and not self._asks(last)):
            return None
        return last if last.text or last.audio is not None else None

    def _asks(self, message: Message) -> bool:
        """Whether a note stands where a question would: behind an answer, and answered itself or still to be. A small
        model does what it is asked, sooner than what it is told."""
        if message.role != "system":
            return False
        place = self._messages.index(message)
        said_before = next((one.role for one in reversed(self._messages[:place]) if one.role != "system"), None)
        following = self._messages[place + 1].role if place + 1 < len(self._messages) else "assistant"
        return said_before == following == "assistant"

    def turns(self, now: float, until: Message | None = None) -> tuple[Turn, ...]:
        """Questions and answers, oldest first, up to this message."""
        turns: list[Turn] = []
        asked: Message | None = None
        for message in self._messages:
            if message is until:
                break
            if message.text is not None and (message.role == "user" or self._asks(message)):
                if asked is not None:
                    turns.append(Turn(asked.text or "", "", asked.asked_at))
                asked = message
            elif message.role == "assistant":
                asked_at = asked.asked_at if asked is not None else None
                turns.append(Turn((asked.text if asked else None) or "", message.said(now), asked_at))
                asked = None
        if asked is not None:
            turns.append(Turn(asked.text or "", "", asked.asked_at))
        too_many = max(0, len(turns) - self._max_turns)
        return tuple(turns[-(-too_many // self._block) * self._block :])

    def notes(self) -> list[str]:
        """What the client told the model as instructions on the way."""
        notes = (message for message in self._messages if message.role == "system" and not self._asks(message))
        return [note.text for note in notes if note.text]
