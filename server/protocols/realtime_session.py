"""A session of `/v1/realtime`: what clients may set, how updates are merged, and what it means for a conversation.

Field names and defaults are the Realtime API's. What the model cannot do is refused, what changes nothing is taken:
docs/realtime.md has the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from model.eagerness import Eagerness
from model.request import FASTEST, SLOWEST
from omni_command import find_time_zone
from server import g711
from server.audio import Encoding
from server.options import SessionOptions
from server.protocols.messages import BadField, BadMessage, read_fields
from server.time_zones import TimeZone

SAMPLE_RATE = 24_000
"""Hz, of `audio/pcm`."""
_EAGERNESS: dict[str, Eagerness] = {"low": "low", "medium": "auto", "auto": "auto", "high": "high"}
_TURNED_OFF_BY_NULL = ("turn_detection", "transcription", "noise_reduction", "idle_timeout_ms", "instructions")
"""Other fields that are null are as if left out."""
_MAX_TAKEN_CHARACTERS = 4096
_MAX_INPUT_ITEMS = 128
"""As many as a conversation remembers."""
_ENCODINGS: dict[str, Encoding] = {"audio/pcm": "pcm16", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}


def _nothing(what: str, instead: str) -> AfterValidator:
    """For what the model cannot do: only "nothing" is taken."""

    def check(value: Any) -> Any:
        if value:
            raise ValueError(f"{what} is not supported; {instead}")
        return value

    return AfterValidator(check)


def _bounded(value: Any) -> Any:
    """For what is taken, shown again and changes nothing."""
    if len(json.dumps(value)) > _MAX_TAKEN_CHARACTERS:
        raise ValueError(f"longer than {_MAX_TAKEN_CHARACTERS} characters of JSON; send less, it changes nothing here")
    return value


Taken = Annotated[Any, AfterValidator(_bounded)]
Name = Annotated[str, Field(max_length=256)]
Instructions = Annotated[str, Field(max_length=20_000)]
_Model = TypeVar("_Model", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerVad(_Part):
    """A turn ends after silence."""

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=2000)
    silence_duration_ms: int = Field(default=500, ge=200, le=3000)
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = Field(default=None, ge=5000, le=30_000)


_SERVER_VAD = ServerVad(type="server_vad")


class SemanticVad(_Part):
    """A turn ends sooner where the words are complete."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class AudioFormat(_Part):
    """How sound is sent."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = None

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: int | None, info: ValidationInfo) -> int | None:
        kind = info.data.get("type", "audio/pcm")
        own = _rate_of(kind)
        if rate not in (None, own):
            raise ValueError(f"{kind} comes at {own} Hz, not {rate}; resample it, or leave `rate` out")
        return rate if kind == "audio/pcm" else None  # of G.711 the API shows none

    @property
    def encoding(self) -> Encoding:
        """As the server's audio calls it."""
        return _ENCODINGS[self.type]

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return _rate_of(self.type)


class Transcription(BaseModel):
    """Whether what was heard is told. The model's own ears write it, whichever model is named."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: Name | None = None
    language: Annotated[str | None, Field(max_length=35), AfterValidator(lambda value: _english(value))] = None
    prompt: Instructions | None = None


class NoiseReduction(BaseModel):
    """Taken and left to the ears, which were trained on noise."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: Literal["near_field", "far_field"] | None = None


class AudioInput(_Part):
    """The microphone."""

    format: AudioFormat = AudioFormat()
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = _SERVER_VAD


class AudioOutput(_Part):
    """The voice."""

    format: AudioFormat = AudioFormat()
    voice: str = Field(default="omni", min_length=1, max_length=64)
    speed: float = Field(default=1.0, ge=SLOWEST, le=FASTEST)


class Audio(_Part):
    """Both directions."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


Modalities = Annotated[
    list[Literal["audio", "text"]],
    Field(max_length=2, fail_fast=True),
    AfterValidator(lambda value: _one_modality(value)),
]
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
Tools = Annotated[list[Any] | None, _nothing("calling tools", "leave `tools` empty")]
ToolChoice = Literal["auto", "none"]


class RealtimeSession(_Part):
    """The whole of it."""

    type: Literal["realtime"] = "realtime"
    model: Name | None = None
    output_modalities: Modalities = ["audio"]
    instructions: Instructions | None = None
    time_zone: TimeZone | None = None
    """Not part of the API: where the person is, for questions about date and time."""
    audio: Audio = Audio()
    max_output_tokens: MaxTokens = "inf"
    temperature: float = Field(default=0.0, ge=0, le=2)
    tools: Tools = []
    tool_choice: ToolChoice | None = "auto"
    parallel_tool_calls: bool | None = None
    tracing: Taken = None
    truncation: Taken = "auto"
    include: Annotated[list[Any] | None, _nothing("log probabilities", "leave `include` empty")] = None
    prompt: Annotated[Any, _nothing("a stored prompt", "send its text as `instructions`")] = None
    reasoning: Annotated[Any, _nothing("reasoning", "leave `reasoning` out")] = None

    def merged(self, update: Mapping[str, Any]) -> RealtimeSession:
        """With what the client wants changed. Raises `BadMessage` naming the field."""
        return parse(RealtimeSession, _merge(self.model_dump(exclude_none=False), update), "session")

    def options(self, defaults: SessionOptions) -> SessionOptions:
        """What it means for a conversation."""
        vad = self.audio.input.turn_detection
        rules = defaults.rules
        if isinstance(vad, ServerVad):
            threshold = min(max(vad.threshold, 0.01), 0.99)
            rules = replace(
                rules,
                eagerness=None,
                end_silence_ms=vad.silence_duration_ms,
                pre_roll_ms=vad.prefix_padding_ms,
                threshold=threshold,
            )
        elif isinstance(vad, SemanticVad):
            rules = replace(rules, eagerness=_EAGERNESS[vad.eagerness])
        idle_ms = vad.idle_timeout_ms if isinstance(vad, ServerVad) else None
        return replace(
            answer_options(self, defaults),
            rules=rules,
            idle_prompt_ms=idle_ms or defaults.idle_prompt_ms,
            find_turns=vad is not None,
            answer_turns=vad is not None and vad.create_response,
            interruptible=vad is None or vad.interrupt_response,
        )

    def render(self, session_id: str, model: str, instructions: str | None) -> dict[str, Any]:
        """As clients read it."""
        left_out = {"reasoning", "parallel_tool_calls"} | (set() if self.time_zone else {"time_zone"})
        shown = self.model_dump(exclude=left_out)
        for direction in ("input", "output"):
            if shown["audio"][direction]["format"]["type"] == "audio/pcm":
                shown["audio"][direction]["format"]["rate"] = SAMPLE_RATE
            else:
                del shown["audio"][direction]["format"]["rate"]
        shown["instructions"] = self.instructions or instructions or ""
        return {**shown, "id": session_id, "object": "realtime.session", "model": model}


class ResponseParameters(_Part):
    """Of one `response.create`."""

    conversation: Name | None = "auto"
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=16
    )
    output_modalities: Modalities | None = None
    instructions: Instructions | None = None
    audio: Any = None
    max_output_tokens: MaxTokens | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    input: list[Any] | None = Field(default=None, max_length=_MAX_INPUT_ITEMS)
    tools: Tools = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    prompt: Annotated[Any, _nothing("a stored prompt", "send its text as `instructions`")] = None
    reasoning: Annotated[Any, _nothing("reasoning", "leave `reasoning` out")] = None

    def session(self, session: RealtimeSession) -> RealtimeSession:
        """The session as it is for this response. Raises `BadMessage`."""
        own = ("output_modalities", "instructions", "max_output_tokens", "temperature")
        update = {name: value for name in own if (value := getattr(self, name)) is not None}
        if isinstance(self.audio, dict):
            update["audio"] = {"output": self.audio.get("output") or {}}
        return session.merged(update)


def answer_options(session: RealtimeSession, options: SessionOptions) -> SessionOptions:
    """How answers are made: the session's wishes within the operator's limits."""
    tokens = session.max_output_tokens
    return replace(
        options,
        system_prompt=session.instructions or options.system_prompt,
        time_zone=find_time_zone(session.time_zone) if session.time_zone else options.time_zone,
        sampling=replace(options.sampling, temperature=session.temperature),
        max_tokens=options.max_tokens if isinstance(tokens, str) else min(tokens, options.max_tokens),
        speed=session.audio.output.speed,
        speak=session.output_modalities == ["audio"],
    )


def parse(kind: type[_Model], data: Mapping[str, Any], where: str) -> _Model:
    """Raises `BadMessage` with the Realtime API's code and the field's path."""
    try:
        return read_fields(kind, data)
    except BadField as bad:
        field = ".".join(part for part in (where, bad.path) if part)
        code = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}.get(
            bad.kind, "invalid_value"
        )
        raise BadMessage(code, f"{field}: {bad.problem}", field) from None


def _merge(old: Any, new: Any) -> Any:
    """Objects are merged field by field; everything else, and an object of another type, is replaced."""
    if not isinstance(new, Mapping) or not isinstance(old, Mapping):
        return new
    if old.get("type") != new.get("type", old.get("type")):
        return new
    given = {name: value for name, value in new.items() if value is not None or name in _TURNED_OFF_BY_NULL}
    return {**old, **{name: _merge(old.get(name), value) for name, value in given.items()}}


def _rate_of(kind: str) -> int:
    """Hz."""
    return SAMPLE_RATE if kind == "audio/pcm" else g711.SAMPLE_RATE


def _english(language: str | None) -> str | None:
    if language and language.lower().partition("-")[0] != "en":
        raise ValueError(f'the model speaks English, not {language!r}; send "en" or leave it out')
    return language


def _one_modality(modalities: list[str]) -> list[str]:
    """The API takes one; its beta took both, which is what `audio` gives: sound with its transcript."""
    if not modalities:
        raise ValueError('name one: "audio" or "text"')
    return ["audio"] if "audio" in modalities else ["text"]
