"""What is asked of the model and what comes back: the data that crosses between `model/` and its callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np

from model.sampling import SamplingParams
from model.stages import Stage
from model.vocabulary import AUDIO_LAYERS, Task


class OmniError(Exception):
    """Base of every error that the model raises on purpose. `code` is stable and may go over the wire."""

    code = "model_error"


class InvalidRequest(OmniError):
    """The request cannot be answered as it is; the message says what to change."""

    code = "invalid_request"


class EngineFull(OmniError):
    """Every slot and every place in the queue is taken; try again later."""

    code = "busy"


class GenerationFailed(OmniError):
    """Something broke while this one answer was made; other answers go on."""

    code = "generation_failed"


SLOWEST, FASTEST = 0.5, 1.25
"""Of `Request.speed`: as far as Whisper still hears every word; at 1.5 it misses one in twelve."""


MAX_TOKENS, MAX_SENTENCES, MAX_SECONDS = 160, 3, 40.0
"""Limits of an answer where a request names none: the same for the command, the server and every protocol."""


@dataclass(frozen=True)
class Turn:
    """One earlier exchange: what the person said (heard or typed), and what was really spoken in answer."""

    user: str
    assistant: str
    asked_at: datetime | None = field(default=None, compare=False)
    """When it was asked, with a time zone; None where nobody knows."""


@dataclass(frozen=True)
class Request:
    """A question, as audio or as text, with everything needed to answer it."""

    audio: np.ndarray | None = None
    """(samples,) float32, mono, 16 kHz, within [-1, 1]; at most 30 s."""
    before: str = ""
    """What was heard of the same question before this audio began, where it is longer than 30 s."""
    text: str | None = None
    """Empty, for a chat model: nobody asks, and the assistant speaks first."""
    say: str | None = None
    """Not a question: the model says exactly this text, of any length. Of the request, nothing else counts but
    `audio_sampling`, `speed` and `max_seconds`."""
    speed: float = 1.0
    """How fast it speaks, `SLOWEST` to `FASTEST`: at 0.5 it takes twice the time. The published model knows only 1."""
    task: Task | None = None
    """A1A2 for audio and T1A2 for text, unless said otherwise."""
    system_prompt: str | None = None
    """Instructions that follow the model's own system prompt and example turns (`model.lm.defaults`): a persona, what
    the conversation is about. The published model has no place for one."""
    asked_at: datetime | None = field(default=None, compare=False)
    """When it is asked, in the person's time zone: a chat model is told date and time. None: it is told neither."""
    history: tuple[Turn, ...] = ()
    """Earlier turns, oldest first; the oldest are dropped when the window is full."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    """For text."""
    audio_sampling: SamplingParams | None = None
    """For audio tokens; None: the model's default."""
    max_tokens: int = MAX_TOKENS
    """Text tokens at most. A chat model's answer ends with the last whole sentence before them, if there is one."""
    max_sentences: int | None = MAX_SENTENCES
    """Sentences at most, for answers that are listened to; None: as many as the model likes."""
    max_seconds: float = MAX_SECONDS
    """Seconds of spoken answer at most."""
    client: str | None = field(default=None, compare=False)
    """Who asks: places are shared fairly between clients. None: nobody else's request belongs to the same."""


@dataclass(frozen=True)
class Heard:
    """What was understood of the spoken question; comes once, first, where the model has a transcript."""

    text: str


@dataclass(frozen=True)
class EndOfTurn:
    """How likely a spoken question is over where its audio ends, by its words; comes once, after `Heard` and before
    the answer, where the model can tell."""

    probability: float


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class AudioChunk:
    """More of the answer's sound: it continues the previous chunk without a seam."""

    samples: np.ndarray
    """(samples,) float32, 24 kHz."""
    spoken_characters: int | None = None
    """How many characters of the answer's text (all deltas joined) are spoken when this chunk has been played;
    None where the model does not know."""


@dataclass(frozen=True)
class Done:
    """The answer is complete; nothing follows."""

    reason: Literal["stop", "length", "no_speech"]
    """stop: it said all; length: a limit was reached; no_speech: the audio held no words, nothing is answered."""
    text: str
    audio_seconds: float
    text_tokens: int
    frames: int
    stages: Mapping[Stage, float] = field(default_factory=dict, compare=False)
    """Seconds of each part of the way to the first sound."""
    prompt_tokens: int = field(default=0, compare=False)
    """Positions of the prompt, whatever the model remembered of it."""
    cached_tokens: int = field(default=0, compare=False)
    """Of the prompt, those that the model had read before."""

    @property
    def audio_tokens(self) -> int:
        """Of the answer's sound: seven a frame."""
        return AUDIO_LAYERS * self.frames


Event = Heard | EndOfTurn | TextDelta | AudioChunk | Done
