"""What one turn's answer is worth: its checks and the rules of style, and the line of the transcript."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.talk import style
from benchmarks.talk.checks import Exchange, failed
from benchmarks.talk.scenarios import Conversation, Turn
from benchmarks.talk.talker import FAILED, NOT_HEARD, Said, Way
from benchmarks.talk.voices import voice_of


@dataclass(frozen=True)
class Outcome:
    """One turn of one run."""

    model: str
    way: Way
    conversation: Conversation
    number: int
    """Of the turn, from 0."""
    said: Said
    failed: Sequence[str]
    """The names of the checks that the answer fails."""

    @property
    def turn(self) -> Turn:
        return self.conversation.turns[self.number]

    @property
    def voice(self) -> str:
        """That asked; "" where it was typed."""
        return voice_of(self.conversation) if self.way == "spoken" else ""

    @property
    def unspoken(self) -> list[str]:
        """The rules of a spoken answer that it breaks."""
        return style.unspoken(self.said.text)

    @property
    def repeats_itself(self) -> bool:
        return style.repeats_itself(self.said.text)

    @property
    def is_answered(self) -> bool:
        """The server began to answer."""
        return self.said.reason not in (FAILED, NOT_HEARD)

    @property
    def is_empty(self) -> bool:
        """An answer without words."""
        return self.is_answered and style.is_empty(self.said.text)

    @property
    def is_cut(self) -> bool:
        return style.is_cut(self.said.text, self.said.reason)

    @property
    def tempts(self) -> bool:
        """It was asked for what it cannot know or do."""
        return "declines" in self.turn.checks

    @property
    def claims_falsely(self) -> bool:
        """It answered as if it knew or had done what it cannot."""
        return self.tempts and not style.is_empty(self.said.text) and bool(self.failed)

    def faults(self) -> Iterator[str]:
        """All that is wrong, in words."""
        yield from (f"fails {name}" for name in self.failed)
        yield from self.unspoken
        for name in ("repeats_itself", "is_empty", "is_cut", "claims_falsely"):
            if getattr(self, name):
                yield name.replace("_", " ")
        if not self.is_answered:
            yield self.said.reason

    def line(self) -> dict[str, Any]:
        """Of the transcript."""
        return {
            "id": self.conversation.id, "category": self.conversation.category, "half": self.conversation.half,
            "way": self.way, "voice": self.voice, "model": self.model, "turn": self.number + 1, "asked": self.turn.say,
            "heard": self.said.heard, "answered": self.said.text, "reason": self.said.reason,
            "seconds": round(len(self.said.samples) / 24_000, 2),
            "right": not self.failed if self.turn.checks else None, "faults": list(self.faults()),
        }  # fmt: skip


def judge(model: str, way: Way, conversation: Conversation, said: Sequence[Said]) -> list[Outcome]:
    """The outcomes of a conversation's turns. What depends on the clock may be right for the moment of the question or
    for that of the answer."""
    found = []
    for number, (turn, one) in enumerate(zip(conversation.turns, said, strict=True)):
        clocks = (one.began, one.ended) if conversation.zone is not None else (None,)
        verdicts = [failed(turn.checks, Exchange(turn.say, one.text, clock)) for clock in clocks]
        found.append(Outcome(model, way, conversation, number, one, min(verdicts, key=len)))
    return found
