"""What may be chosen for a conversation, and the requests that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from model.request import MAX_SECONDS, MAX_SENTENCES, MAX_TOKENS, Request, Turn
from model.sampling import SamplingParams
from model.vocabulary import Task
from server.memory import Memory, utc_now
from server.turns import TurnRules


@dataclass(frozen=True)
class SessionOptions:
    """What a client or the operator may choose for a conversation."""

    rules: TurnRules = field(default_factory=TurnRules)
    speculate: bool = True
    idle_prompt_ms: int | None = None
    """Silence after an answer at which somebody is asked, once, whether they are still there; None: never."""
    system_prompt: str | None = None
    """Instructions in addition to the model's own."""
    time_zone: ZoneInfo | None = None
    """The person's, for questions about date and time; None: this machine's."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int = MAX_TOKENS
    max_seconds: float = MAX_SECONDS
    max_sentences: int | None = MAX_SENTENCES
    speed: float = 1.0
    """How fast answers are spoken, `SLOWEST` to `FASTEST`."""
    speak: bool = True
    """Answers are spoken; otherwise they are text alone."""
    find_turns: bool = True
    """The server finds turns in the microphone; otherwise the client commits what it sent (push-to-talk)."""
    answer_turns: bool = True
    """A turn that was found is answered; otherwise the client asks for every answer."""
    interruptible: bool = True
    """Speech stops an answer."""
    resume: bool = False
    """An answer that was stopped by a cough or a "mm-hm" goes on."""


def make_request(
    options: SessionOptions,
    history: tuple[Turn, ...] = (),
    notes: Sequence[str] = (),
    audio: np.ndarray | None = None,
    text: str | None = None,
    asked_at: datetime | None = None,
) -> Request:
    """A question as these options want it answered. `notes` are further instructions; `asked_at`: None for now."""
    prompt = options.system_prompt
    if notes:
        prompt = "\n".join([*([prompt] if prompt else []), *notes])
    task = None if options.speak else (Task.T1T2 if audio is None else Task.A1T2)
    return Request(
        audio=audio,
        text=text,
        speed=options.speed,
        task=task,
        system_prompt=prompt,
        history=history,
        asked_at=(asked_at or utc_now()).astimezone(options.time_zone),
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        max_seconds=options.max_seconds,
        max_sentences=options.max_sentences,
    )


def request_of(memory: Memory, options: SessionOptions, now: float) -> Request:
    """What these messages ask for: an answer to the last question, or that the assistant speaks first."""
    question = memory.unanswered()
    history, notes = memory.turns(now, question), memory.notes()
    if question is None:
        return make_request(options, history, notes, text="", asked_at=memory.wall_clock())
    return make_request(options, history, notes, question.audio, question.text, question.asked_at)
