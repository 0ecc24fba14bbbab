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
"""An answer with less sound than this ahead speaks what it has written before it writes on."""
MOST_SILENT = 4
"""Answers that come to their first sound at the same time; more would all wait for each other."""
WORDS_AHEAD = 6
"""Words written but not yet planned, beyond which an answer speaks before it writes on, until its lead is long …"""
WORDS_FAR_AHEAD = 60
"""… and beyond which it rests from writing anyway."""
NEWCOMER_LEAD_SECONDS = 0.25
"""Who has said nothing yet waits while another answer has less sound than this ahead (a slice of a prompt takes up to
0.1 s) …"""
PATIENCE = 6
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


def working(answers: Sequence[Answers], newcomers: bool = True) -> list[Answers]:
    """Those who work in this step: who runs short, and the first few who wait for a first sound, where `newcomers` may
    work; all, when there are neither."""
    short = [answer for answer in answers if answer.speaking and answer.lead_seconds < SHORT_LEAD_SECONDS]
    silent = [answer for answer in answers if answer.silent]
    if not newcomers and short:
        return short
    if silent:
        return [*short, *silent[:MOST_SILENT]]
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


class Newcomers:
    """Whether those who have said nothing yet may work in this step, on their prompts too."""

    def __init__(self) -> None:
        self._waited = 0

    def may_work(self, answers: Sequence[Heard]) -> bool:
        """Not while a listener would run out of sound meanwhile; but at the latest after `PATIENCE` steps."""
        short = any(answer.speaking and answer.lead_seconds < NEWCOMER_LEAD_SECONDS for answer in answers)
        self._waited = self._waited + 1 if short and self._waited < PATIENCE else 0
        return self._waited == 0
