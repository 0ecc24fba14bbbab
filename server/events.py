"""What a conversation tells its client, and what it asks of the generator: shared by every protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from model.eagerness import Eagerness
from model.request import Request

ANSWER_SAMPLE_RATE = 24_000

InterruptReason = Literal["speech", "text", "interrupt", "stop"]
StopReason = Literal["silence", "commit", "max_turn"]
ResponseReason = Literal["stop", "length", "interrupted", "error"]


@dataclass(frozen=True)
class Limits:
    """What a client may send."""

    frame_bytes: int
    text_characters: int
    turn_ms: int
    audio_lead_ms: int


@dataclass(frozen=True)
class Ready:
    """The conversation may begin."""

    session_id: str
    sample_rate: int
    """Hz, of the microphone."""
    output_sample_rate: int
    """Hz, of answers."""
    end_silence_ms: int
    eagerness: Eagerness | Literal["off"]
    model: str
    """That answers from now on."""
    models: tuple[str, ...]
    """That may be chosen, the default first."""
    limits: Limits


@dataclass(frozen=True)
class SpeechStarted:
    """Somebody speaks. `resumed`: the same turn goes on after a `SpeechStopped`."""

    turn_id: int
    at_ms: int
    resumed: bool = False


@dataclass(frozen=True)
class SpeechStopped:
    """The turn is over."""

    turn_id: int
    at_ms: int
    reason: StopReason
    end_of_turn: float | None = None
    """How likely the speaker had said all, where that was judged."""


@dataclass(frozen=True)
class TurnTaken:
    """A turn that is answered only when the client asks for it: a message of the conversation from now on."""

    turn_id: int
    audio_ms: int
    committed: bool = False
    """By the client, which found its end: all of it is `audio_ms`."""


@dataclass(frozen=True)
class AnswerPromised:
    """An answer that the client asked for is begun. `label` is the client's."""

    turn_id: int
    label: str
    hears: int | None = None
    """The spoken turn that is heard for it."""


@dataclass(frozen=True)
class Reply:
    """What a protocol answers its client by itself, in order with the rest."""

    message: Mapping[str, Any]


@dataclass(frozen=True)
class QuestionHeard:
    """What was understood. `no_speech`: nothing was said, nothing will be answered."""

    turn_id: int
    text: str
    no_speech: bool = False


@dataclass(frozen=True)
class IdlePrompted:
    """Nobody has said anything for long: the answer that follows asks whether they are still there."""

    turn_id: int
    since_ms: int
    at_ms: int


@dataclass(frozen=True)
class ResponseStarted:
    """An answer begins."""

    response_id: int
    turn_id: int
    sample_rate: int = ANSWER_SAMPLE_RATE


@dataclass(frozen=True)
class AnswerText:
    """More of its text."""

    response_id: int
    text: str


@dataclass(frozen=True)
class AnswerAudio:
    """More of its sound."""

    response_id: int
    samples: np.ndarray = field(repr=False)
    """(n,) float32, 24 kHz."""

    @property
    def duration_ms(self) -> float:
        return len(self.samples) * 1000 / ANSWER_SAMPLE_RATE


@dataclass(frozen=True)
class AnswerTextDone:
    """Its text is complete."""

    response_id: int
    text: str


@dataclass(frozen=True)
class Interrupted:
    """Stop playing. `text` is what counts as said."""

    response_id: int | None
    turn_id: int
    reason: InterruptReason
    text: str
    played_ms: int


@dataclass(frozen=True)
class Resumed:
    """Nobody had said anything, or nothing that stops an answer: it goes on. The sound that follows begins at
    `played_ms` of the answer, a little before the cut."""

    response_id: int
    turn_id: int
    """The turn that it answers."""
    played_ms: int
    left_ms: int | None
    """Sound that follows, where all of it was made before the cut; None: it is still being made, and
    `ResponseDone` comes."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer."""

    prompt: int
    cached: int
    """Of the prompt, those that the model had read before."""
    text: int
    audio: int


@dataclass(frozen=True)
class ResponseDone:
    """An answer's end, with its timing. Times count from the confirmed end of the turn."""

    response_id: int
    turn_id: int
    reason: ResponseReason
    text: str
    audio_ms: int
    heard: str | None
    first_text_ms: int | None
    first_audio_ms: int | None
    real_time_factor: float | None
    stages_ms: dict[str, float] | None
    """Of a complete answer: what the way to its first sound was made of, most of it before the turn was confirmed."""
    usage: Usage | None = None
    """Of a complete answer."""


@dataclass(frozen=True)
class Problem:
    """Something was wrong; `code` is stable, `message` says what to do."""

    code: str
    message: str
    fatal: bool = False
    field: str | None = None
    turn_id: int | None = None
    response_id: int | None = None


SessionEvent = (
    Ready
    | SpeechStarted
    | SpeechStopped
    | TurnTaken
    | AnswerPromised
    | Reply
    | QuestionHeard
    | IdlePrompted
    | ResponseStarted
    | AnswerText
    | AnswerAudio
    | AnswerTextDone
    | Interrupted
    | Resumed
    | ResponseDone
    | Problem
)
"""What goes to the client."""


@dataclass(frozen=True)
class StartGeneration:
    """Ask the generator. `speculative`: the turn may go on, so its failure is nobody's business."""

    generation_id: int
    request: Request
    speculative: bool


@dataclass(frozen=True)
class CancelGeneration:
    """Stop it at once; nothing of it is wanted any more."""

    generation_id: int
    speculative: bool


@dataclass(frozen=True)
class GenerationAdopted:
    """The turn was over indeed: a speculative answer has become the answer."""

    generation_id: int


Command = StartGeneration | CancelGeneration | GenerationAdopted
"""What goes to whoever drives the generator."""

Output = SessionEvent | Command
