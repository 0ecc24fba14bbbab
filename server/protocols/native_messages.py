"""The messages of `/ws`, as JSON and as typed data. `docs/protocol.md` specifies them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from model.eagerness import Eagerness
from model.request import FASTEST, SLOWEST
from server.events import (
    AnswerText,
    AnswerTextDone,
    IdlePrompted,
    Interrupted,
    Problem,
    QuestionHeard,
    Ready,
    ResponseDone,
    ResponseStarted,
    Resumed,
    SessionEvent,
    SpeechStarted,
    SpeechStopped,
)
from server.protocols.messages import BadField, BadMessage, read_fields, read_object
from server.time_zones import TimeZone


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class HistoryItem(_Message):
    """One earlier exchange."""

    user: str = Field(max_length=4000)
    assistant: str = Field("", max_length=4000)


class Start(_Message):
    """Begin, or change the settings."""

    type: Literal["start"]
    model: str | None = Field(None, max_length=256)
    sample_rate: int = Field(16_000, ge=8000, le=48_000)
    system_prompt: str | None = Field(None, max_length=2000)
    end_silence_ms: int | None = Field(None, ge=200, le=3000)
    eagerness: Eagerness | Literal["off"] | None = None
    idle_prompt_ms: int | None = Field(None, ge=0, le=3_600_000)
    language: str = Field("en", max_length=35)
    time_zone: TimeZone | None = None
    speed: float = Field(1.0, ge=SLOWEST, le=FASTEST)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    repetition_penalty: float | None = Field(None, ge=1, le=2)
    resume: bool | None = None
    history: list[HistoryItem] | None = Field(None, max_length=64, fail_fast=True)


class Text(_Message):
    """A typed question."""

    type: Literal["text"]
    text: str = Field(max_length=100_000)


class Commit(_Message):
    """The turn ends now."""

    type: Literal["commit"]


class Interrupt(_Message):
    """Stop speaking."""

    type: Literal["interrupt"]
    played_ms: float | None = Field(None, ge=0, le=3_600_000)


class Playback(_Message):
    """How much was played."""

    type: Literal["playback"]
    played_ms: float = Field(ge=0, le=3_600_000)
    response_id: int | None = Field(None, ge=0, lt=1 << 63)


class Stop(_Message):
    """The conversation is over."""

    type: Literal["stop"]


ClientMessage = Start | Text | Commit | Interrupt | Playback | Stop
_MESSAGES: dict[str, type[Start | Text | Commit | Interrupt | Playback | Stop]] = {
    "start": Start,
    "text": Text,
    "commit": Commit,
    "interrupt": Interrupt,
    "playback": Playback,
    "stop": Stop,
}


def parse(text: str | bytes, limit: int = 1 << 20) -> ClientMessage:
    """A text frame of at most `limit` bytes → its message. Raises `BadMessage`."""
    data = read_object(text.encode() if isinstance(text, str) else text, '{"type": "start"}', limit)
    kind = data.get("type")
    message = _MESSAGES.get(kind) if isinstance(kind, str) else None
    if message is None:
        known = ", ".join(_MESSAGES)
        shown = f"{kind[:40]!r}" if isinstance(kind, str) else "missing or no string"
        raise BadMessage("unknown_type", f"the type is {shown}; it must be one of {known}", "type")
    try:
        return read_fields(message, {key: value for key, value in data.items() if value is not None})
    except BadField as bad:
        raise BadMessage("invalid_message", f"{bad.path} of {kind!r}: {bad.problem}", bad.path) from None


_NAMES: dict[type, str] = {
    Ready: "ready",
    SpeechStarted: "speech_started",
    SpeechStopped: "speech_stopped",
    QuestionHeard: "heard",
    IdlePrompted: "idle_prompted",
    ResponseStarted: "response_started",
    AnswerText: "text_delta",
    AnswerTextDone: "text_done",
    Interrupted: "interrupted",
    Resumed: "resumed",
    ResponseDone: "response_done",
    Problem: "error",
}
"""The events' own field names are the message's."""


def render(event: SessionEvent) -> str:
    """An event that is not sound → its text frame. An error names only what applies to it."""
    fields = vars(event)
    if isinstance(event, Problem):
        fields = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"type": _NAMES[type(event)], **fields}, ensure_ascii=False, default=asdict)
