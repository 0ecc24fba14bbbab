"""`POST /chat`: a spoken question in, its spoken answer out, as Mini-Omni's public server has it (`docs/http.md`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from model.audio import WINDOW_SECONDS
from model.request import AudioChunk, Done, InvalidRequest
from omni_command import find_time_zone
from server.audio import to_pcm16
from server.events import ANSWER_SAMPLE_RATE
from server.options import make_request
from server.protocols.http_answers import AnswerResponse, Begun, begin
from server.protocols.http_requests import json_body, json_documentation, loaded_model, need_key, need_model
from server.protocols.messages import JSON_BYTES, Base64, SoundField, base64_pieces
from server.protocols.openai_errors import ApiError, ApiRoute, error_responses
from server.service import Service
from server.sound_files import read_sound_file
from server.time_zones import TimeZone

MEDIA_TYPE = f"audio/pcm;rate={ANSWER_SAMPLE_RATE};channels=1"


class ChatRequest(BaseModel):
    """A spoken question."""

    audio: SoundField = Field(
        description="a sound file in base64: WAV of any rate, also FLAC, MP3, Ogg, WebM, MP4, M4A; at most 30 s"
    )
    model: str | None = Field(
        default=None, max_length=256, description="one of `/v1/models`; left out: the server's first"
    )
    stream_stride: int = Field(
        default=4, ge=1, description="frames decoded at once by the public server; taken, and without effect here"
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="text tokens of the answer at most, within the operator's limit"
    )
    time_zone: TimeZone | None = Field(
        default=None, description="IANA name of the person's time zone, for questions about date and time"
    )


def chat_router(service: Service) -> APIRouter:
    """The route of `/chat`."""
    router = APIRouter(tags=["Chat"], route_class=ApiRoute)

    @router.post(
        "/chat",
        summary="Answer a spoken question aloud",
        response_class=Response,
        responses={
            200: {
                "description": "the answer as raw little-endian 16-bit mono PCM at 24 kHz, streamed while it is made",
                "content": {"audio/pcm": {"schema": {"type": "string", "format": "binary"}}},
            },
            **error_responses(
                e400="no audio, bad base64, no sound file, or longer than 30 s",
                e401="no good key was sent",
                e404="no loaded model has this name",
                e413="the body is too large",
                e422="nobody speaks in it",
                e503="every place is taken, or the model is not ready; `Retry-After` says when to try again",
            ),
        },
        openapi_extra=json_documentation(ChatRequest),
        dependencies=[Depends(need_key), Depends(need_model)],
    )
    async def chat(request: Request) -> Response:
        """A question and its answer, without memory: each request stands alone."""
        began = asyncio.get_running_loop().time()
        asked = await json_body(request, ChatRequest, service.settings.max_upload_bytes, JSON_BYTES)
        model = loaded_model(service, asked.model)
        samples = await _decoded(asked.audio)
        options = service.options()
        options = replace(
            options,
            max_tokens=min(asked.max_tokens or options.max_tokens, options.max_tokens),
            time_zone=find_time_zone(asked.time_zone) if asked.time_zone else options.time_zone,
        )
        question = make_request(options, audio=samples)
        service.metrics.turns.labels("http").inc()
        answer = await begin(model, question, request)
        if answer.silent:
            await answer.rest.aclose()
            raise _silence(answer)
        service.metrics.first_audio.observe(asyncio.get_running_loop().time() - began)
        return AnswerResponse(service, _sound(service, answer), MEDIA_TYPE)

    return router


async def _decoded(audio: Base64) -> np.ndarray:
    try:
        data = await asyncio.to_thread(lambda: b"".join(base64_pieces(audio)))
    except ValueError as error:
        message = f"audio is no base64 ({error}); send a WAV file in base64"
        raise ApiError(400, "invalid_base64", message, "audio") from error
    try:
        return await read_sound_file(data, WINDOW_SECONDS)
    except InvalidRequest as error:
        raise ApiError(400, error.code, str(error), "audio") from error


def _silence(answer: Begun) -> ApiError:
    done = answer.early[-1]
    if isinstance(done, Done) and done.reason == "no_speech":
        return ApiError(422, "no_speech", "nobody speaks in this recording; send a spoken question", "audio")
    return ApiError(500, "generation_failed", "the answer has no sound; ask again")


async def _sound(service: Service, answer: Begun) -> AsyncGenerator[bytes, None]:
    """Whole samples in every piece: the public demos read each piece for itself."""
    async with aclosing(answer.events()) as events:
        async for event in events:
            if isinstance(event, AudioChunk):
                service.metrics.answer_audio.inc(len(event.samples) / ANSWER_SAMPLE_RATE)
                yield to_pcm16(event.samples)
            elif isinstance(event, Done):
                service.metrics.answers.labels(event.reason).inc()
                for stage, seconds in event.stages.items():
                    service.metrics.stages.labels(stage).observe(seconds)
