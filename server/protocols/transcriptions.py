"""`POST /v1/audio/transcriptions`: what was said, as OpenAI's API has it. See `docs/http.md`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field, field_validator
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from model.audio import WINDOW_SECONDS
from model.request import Done, EngineFull, GenerationFailed, InvalidRequest, OmniError
from model.request import Request as Question
from model.vocabulary import Task
from server.generator import Generator
from server.pauses import pieces
from server.protocols.http_answers import EVENT_STREAM, AnswerResponse, sse, unless_gone
from server.protocols.http_requests import bounded, client_of, need_key, need_model
from server.protocols.messages import BadField, read_fields
from server.protocols.openai_errors import ApiError, ApiRoute, error_responses, of_field, of_model
from server.service import Service
from server.sound_files import READABLE, read_sound_file
from server.turns import SAMPLE_RATE

_TRY_AGAIN_S, _TRIES = 0.5, 60
"""Of a recording that is partly heard already, when every place is taken."""
_DIGITS = 3


class TranscriptionRequest(BaseModel):
    """The fields beside the file."""

    model: str = Field(
        min_length=1,
        max_length=256,
        description="one of `/v1/models`, whose own ears hear; any other name: the server's first",
    )
    language: str | None = Field(default=None, max_length=35, description="en, or en-…: the ears know English")
    prompt: str | None = Field(default=None, max_length=20_000, description="taken, and without effect")
    response_format: Literal["json", "text", "verbose_json"] = "json"
    temperature: float = Field(default=0.0, ge=0, le=1, description="taken, and without effect: the likeliest words")
    stream: bool = Field(default=False, description="as server-sent events, a piece of up to 28 s each")

    @field_validator("language")
    @classmethod
    def _english(cls, given: str | None) -> str | None:
        if given and given.lower().replace("_", "-").partition("-")[0] not in ("en", "english"):
            raise ValueError(f'the ears know English, not {given!r}; send "en" or leave it out')
        return given


class Duration(BaseModel):
    """Seconds that were heard."""

    type: Literal["duration"] = "duration"
    seconds: float


class Segment(BaseModel):
    """A piece of the recording, cut at pauses. Words have no times of their own."""

    id: int
    start: float = Field(description="seconds from the beginning")
    end: float
    text: str


class Transcription(BaseModel):
    """`json`."""

    text: str
    usage: Duration


class VerboseTranscription(Transcription):
    """`verbose_json`: what is known, nothing made up."""

    task: Literal["transcribe"] = "transcribe"
    language: Literal["english"] = "english"
    duration: float
    segments: list[Segment]


@dataclass(frozen=True)
class Recording:
    """What came: (n,) float32 at 16 kHz, and how it is wanted."""

    samples: np.ndarray
    asked: TranscriptionRequest

    @property
    def seconds(self) -> float:
        return round(len(self.samples) / SAMPLE_RATE, _DIGITS)


def transcriptions_router(service: Service) -> APIRouter:
    """The route of `/v1/audio/transcriptions`."""
    router = APIRouter(tags=["Audio"], route_class=ApiRoute)

    @router.post(
        "/v1/audio/transcriptions",
        summary="Write down what is said",
        response_model=Transcription | VerboseTranscription,
        responses={
            200: {
                "description": "the words; `text/plain` or server-sent events where asked for",
                "content": {"text/plain": {"schema": {"type": "string"}}, EVENT_STREAM: {"schema": {"type": "string"}}},
            },
            **error_responses(
                e400="a field is wrong, the file is no sound or too long",
                e401="no good key was sent",
                e413="the body is too large",
                e503="every place is taken, or the model is not ready; `Retry-After` says when to try again",
            ),
        },
        openapi_extra=_documentation(),
        dependencies=[Depends(need_key), Depends(need_model)],
    )
    async def transcribe(request: Request) -> Response:
        """Only the ears work: nothing is answered. More than 30 s are cut at pauses and heard piece by piece."""
        recording = await _received(service, request)
        service.metrics.turns.labels("http").inc()
        model = service.models.get_or_default(recording.asked.model)
        segments = _segments(service, model, recording.samples, client_of(request))
        if recording.asked.stream:
            first = await unless_gone(request, anext(segments, None))  # what cannot be heard has a status of its own
            return AnswerResponse(service, _events(first, segments, recording.seconds), EVENT_STREAM)
        return _written(recording, await unless_gone(request, _all(segments)))

    return router


async def _received(service: Service, request: Request) -> Recording:
    """Raises `ApiError` for what is no recording, or wanted in a way that is not there."""
    settings = service.settings
    try:
        async with bounded(request, settings.max_upload_bytes).form(max_files=1, max_fields=32) as form:
            asked, data = await _fields(form)
    except HTTPException as error:  # of the parser
        raise ApiError(
            400, "invalid_body", f"the body is no form ({error.detail}); send multipart/form-data"
        ) from error
    try:
        samples = await read_sound_file(data, settings.max_transcription_s)
    except InvalidRequest as error:
        raise ApiError(400, error.code, str(error), "file") from error
    return Recording(samples, asked)


async def _fields(form: FormData) -> tuple[TranscriptionRequest, bytes]:
    try:
        asked = read_fields(TranscriptionRequest, {name: value for name, value in form.items() if value != ""})
    except BadField as bad:
        raise of_field(bad) from None
    granularities = form.getlist("timestamp_granularities[]") + form.getlist("timestamp_granularities")
    if "word" in granularities:
        message = 'words have no times of their own here; ask for "segment"'
        raise ApiError(400, "invalid_value", message, "timestamp_granularities")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError(400, "missing_required_parameter", f"file is missing; send {READABLE} as a form's file", "file")
    return asked, await file.read()


async def _segments(
    service: Service, model: Generator, samples: np.ndarray, client: str
) -> AsyncGenerator[Segment, None]:
    """What was heard, piece by piece; pieces without words are left out."""
    whole = len(samples) <= WINDOW_SECONDS * SAMPLE_RATE
    spans = [(0, len(samples))] if whole else await pieces(service.voices, samples)
    number = 0
    for index, (begin, end) in enumerate(spans):
        text = await _heard(model, Question(audio=samples[begin:end], task=Task.A1T1, client=client), patient=index > 0)
        if text:
            start, stop = (round(at / SAMPLE_RATE, _DIGITS) for at in (begin, end))
            yield Segment(id=number, start=start, end=stop, text=text)
            number += 1


async def _heard(model: Generator, piece: Question, patient: bool) -> str:
    """The words of one piece. Who is `patient` waits for a place: the rest of the recording is heard already."""
    for tries_left in reversed(range(_TRIES if patient else 1)):
        try:
            async with aclosing(model.generate(piece)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        return event.text.strip()
            raise GenerationFailed("the recording could not be heard to its end; try again")
        except EngineFull:
            if not tries_left:
                raise
            await asyncio.sleep(_TRY_AGAIN_S)
    raise AssertionError("the last try returns or raises")


async def _all(segments: AsyncGenerator[Segment, None]) -> list[Segment]:
    async with aclosing(segments):
        return [segment async for segment in segments]


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _written(recording: Recording, segments: list[Segment]) -> Response:
    text, usage = _text(segments), Duration(seconds=recording.seconds)
    if recording.asked.response_format == "text":
        return PlainTextResponse(f"{text}\n")
    if recording.asked.response_format == "json":
        return JSONResponse(Transcription(text=text, usage=usage).model_dump())
    verbose = VerboseTranscription(text=text, usage=usage, duration=recording.seconds, segments=segments)
    return JSONResponse(verbose.model_dump())


async def _events(
    first: Segment | None, rest: AsyncGenerator[Segment, None], seconds: float
) -> AsyncGenerator[bytes, None]:
    heard: list[Segment] = []
    try:
        async with aclosing(rest):
            if first is not None:
                heard.append(first)
                yield _delta(first, begins=True)
                async for segment in rest:
                    heard.append(segment)
                    yield _delta(segment, begins=False)
    except OmniError as error:
        yield sse({"type": "error", **of_model(error).body})
        return
    usage = Duration(seconds=seconds).model_dump()
    yield sse({"type": "transcript.text.done", "text": _text(heard), "usage": usage})


def _delta(segment: Segment, begins: bool) -> bytes:
    return sse({"type": "transcript.text.delta", "delta": segment.text if begins else f" {segment.text}"})


def _documentation() -> dict[str, Any]:
    schema = TranscriptionRequest.model_json_schema()
    schema["properties"]["file"] = {"type": "string", "format": "binary", "description": READABLE}
    schema["required"] = ["file", *schema["required"]]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
