"""Who works in an engine step: nobody who listens may run out of sound, nobody waits long for a first sound.

Time decides only who works when. What an answer says does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

SHORT_LEAD_SECONDS = 0.6
"""An answer with less sound than this ahead of its listener is in a hurry: it speaks several frames a step."""
HURRIED_FRAMES = 4
LONG_LEAD_SECONDS = 1.5
"""An answer with more sound than this ahead rests while somebody waits for a first sound."""
WORDS_AHEAD = 6
"""Words written but not yet planned, beyond which an answer speaks before it writes on, until its lead is long …"""
WORDS_FAR_AHEAD = 60
"""… and beyond which it rests from writing anyway."""
PREFILL_LEAD_SECONDS = 0.25
"""A slice of somebody's prompt waits while another answer has less sound than this ahead (it takes up to 0.1 s) …"""
PREFILL_PATIENCE = 6
"""… but not for more than so many steps: on a machine that cannot keep up, everybody is late rather than one deaf."""


class Heard(Protocol):
    """What pacing knows of an answer."""

    @property
    def silent(self) -> bool:
        """It will be heard, and nothing has been yet."""
        ...

    @property
    def speaking(self) -> bool:
        """Somebody is listening to it."""
        ...

    @property
    def lead_seconds(self) -> float:
        """Sound given out but not yet played."""
        ...


Answers = TypeVar("Answers", bound=Heard)


def working(answers: Sequence[Answers]) -> list[Answers]:
    """Those who work in this step: all, but when somebody waits for a first sound only those without a long lead."""
    if any(answer.silent for answer in answers):
        return [answer for answer in answers if answer.silent or answer.lead_seconds < LONG_LEAD_SECONDS]
    return list(answers)


def hurried(answers: Sequence[Answers], extra: int) -> list[Answers]:
    """Those who speak once more in this step, after `extra` frames: who is silent still, and who runs short."""
    return [
        answer
        for answer in answers
        if answer.silent
        or (answer.speaking and extra < HURRIED_FRAMES - 1 and answer.lead_seconds < SHORT_LEAD_SECONDS)
    ]


def speaks_before_writing(answer: Heard, backlog: int) -> bool:
    """With `backlog` words written and not yet planned, a step of the body is better spent on frames."""
    if not answer.speaking:
        return False
    return backlog > (WORDS_AHEAD if answer.lead_seconds < LONG_LEAD_SECONDS else WORDS_FAR_AHEAD)


class PromptQueue:
    """Whether a slice of somebody's prompt may be read in this step."""

    def __init__(self) -> None:
        self._waited = 0

    def may_read(self, answers: Sequence[Heard]) -> bool:
        """Not while a listener would run out of sound meanwhile; but at the latest after `PREFILL_PATIENCE` steps."""
        short = any(answer.speaking and answer.lead_seconds < PREFILL_LEAD_SECONDS for answer in answers)
        self._waited = self._waited + 1 if short and self._waited < PREFILL_PATIENCE else 0
        return self._waited == 0
