"""`POST /v1/audio/speech`: says a text, as OpenAI's API has it. See `docs/http.md`."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, field_validator

from model.request import FASTEST, SLOWEST, AudioChunk, Done, OmniError
from model.request import Request as Question
from server.events import ANSWER_SAMPLE_RATE
from server.protocols.http_answers import EVENT_STREAM, AnswerResponse, Begun, begin, sse
from server.protocols.http_requests import json_body, json_documentation, need_key, need_model
from server.protocols.openai_errors import ApiError, ApiRoute, error_responses, of_model
from server.service import Service
from server.sound_encoders import MEDIA_TYPES, SOUND_FORMATS, SoundFormat, sound_encoder

_BODY_BYTES_PER_CHARACTER = 12
"""Of JSON: a character outside the first plane is two escapes of six bytes."""
_BODY_BYTES = 65_536
"""Besides the text."""
_SECONDS_PER_CHARACTER = 2.0
"""More than any character takes ("%", "W", the digits of a long number), so that no text is cut."""


_Voice = Annotated[str, Field(max_length=256)] | Annotated[dict[str, Any], Field(max_length=16)]


class SpeechRequest(BaseModel):
    """A text to be said."""

    model: str = Field(
        min_length=1, max_length=256, description="one of `/v1/models`; any other name: the server's first"
    )
    input: str = Field(min_length=1, description="what is said, word for word; English, at most 4096 characters")
    voice: _Voice = Field(description="any name: there is one voice")
    response_format: SoundFormat = Field(default="mp3", description="all of them are streamed")
    speed: float = Field(default=1.0, ge=SLOWEST, le=FASTEST, description="1 is natural; 0.5 takes twice the time")
    instructions: str | None = Field(
        default=None, max_length=20_000, description="taken, and without effect: the voice has one manner"
    )
    stream_format: Literal["audio", "sse"] = Field(default="audio", description="sse: as events, in base64")

    @field_validator("response_format", mode="before")
    @classmethod
    def _known(cls, given: object) -> object:
        if given not in SOUND_FORMATS:
            raise ValueError(f"{given!r} cannot be made; use one of {', '.join(SOUND_FORMATS)}")
        return given


def speech_router(service: Service) -> APIRouter:
    """The route of `/v1/audio/speech`."""
    router = APIRouter(tags=["Audio"], route_class=ApiRoute)
    longest = service.settings.max_speech_characters

    @router.post(
        "/v1/audio/speech",
        summary="Say a text",
        response_class=Response,
        responses={
            200: {
                "description": "the sound, 24 kHz mono, streamed while it is made",
                "content": {
                    **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
                    EVENT_STREAM: {"schema": {"type": "string"}},
                },
            },
            **error_responses(
                e400="a field is wrong, or this model cannot say given texts",
                e401="no good key was sent",
                e413="the body is too large",
                e503="every place is taken, or the model is not ready; `Retry-After` says when to try again",
            ),
        },
        openapi_extra=json_documentation(SpeechRequest),
        dependencies=[Depends(need_key), Depends(need_model)],
    )
    async def speech(request: Request) -> Response:
        """Exactly this text, sentence after sentence; the first sound does not wait for the last."""
        asked = await json_body(request, SpeechRequest, _BODY_BYTES + _BODY_BYTES_PER_CHARACTER * longest)
        if len(asked.input) > longest:
            message = f"{len(asked.input)} characters; send at most {longest}"
            raise ApiError(400, "text_too_long", message, "input")
        seconds = 1 + _SECONDS_PER_CHARACTER * len(asked.input) / asked.speed
        question = Question(say=asked.input, speed=asked.speed, max_seconds=seconds)
        answer = await begin(service.models.get_or_default(asked.model), question, request)
        if asked.stream_format == "sse":
            return AnswerResponse(service, _events(service, answer, asked.response_format), EVENT_STREAM)
        return AnswerResponse(
            service, _file(service, answer, asked.response_format), MEDIA_TYPES[asked.response_format]
        )

    return router


async def _pieces(service: Service, answer: Begun, kind: SoundFormat) -> AsyncGenerator[bytes | Done, None]:
    """The file in pieces, then the end."""
    encoder = sound_encoder(kind)
    async with aclosing(answer.events()) as events:
        async for event in events:
            if isinstance(event, AudioChunk):
                service.metrics.answer_audio.inc(len(event.samples) / ANSWER_SAMPLE_RATE)
                if piece := encoder.encode(event.samples):
                    yield piece
            elif isinstance(event, Done):
                if piece := encoder.finish():
                    yield piece
                yield event


async def _file(service: Service, answer: Begun, kind: SoundFormat) -> AsyncGenerator[bytes, None]:
    async with aclosing(_pieces(service, answer, kind)) as pieces:
        async for piece in pieces:
            if isinstance(piece, bytes):
                yield piece


async def _events(service: Service, answer: Begun, kind: SoundFormat) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(_pieces(service, answer, kind)) as pieces:
            async for piece in pieces:
                if isinstance(piece, bytes):
                    yield sse({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
                else:
                    yield sse({"type": "speech.audio.done", "usage": _usage(piece)})
    except OmniError as error:
        yield sse({"type": "error", **of_model(error).body})


def _usage(done: Done) -> dict[str, int]:
    """Tokens: of the text as the model counts them, and seven for each 85 ms of sound."""
    total = done.prompt_tokens + done.audio_tokens
    return {"input_tokens": done.prompt_tokens, "output_tokens": done.audio_tokens, "total_tokens": total}
