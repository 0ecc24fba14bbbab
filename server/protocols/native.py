"""`/ws`: PCM16 and JSON over a WebSocket, translated to and from a conversation. `docs/protocol.md` specifies it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from model.request import Turn
from model.sampling import SamplingParams
from server.audio import MicrophoneDecoder, to_pcm16
from server.auth import origin_allowed
from server.conversation import Conversation
from server.events import ANSWER_SAMPLE_RATE, AnswerAudio, Limits, Problem, Ready
from server.limits import TokenBucket
from server.protocols.native_messages import (
    BadMessage,
    ClientMessage,
    Commit,
    Interrupt,
    Playback,
    Start,
    Stop,
    Text,
    parse,
    render,
)
from server.service import Refused, Service

_CLOSE_CODES = {"busy": 1013, "not_ready": 1013, "shutting_down": 1012, "internal_error": 1011}
_SLOW_READER = 1008
_LANGUAGES = ("en", "auto")


class _SlowReader(Exception):
    """Nothing could be sent for too long."""


def native_router(service: Service) -> APIRouter:
    """The route of `/ws`."""
    router = APIRouter()

    @router.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        headers = websocket.headers
        if not origin_allowed(headers.get("origin"), headers.get("host"), service.settings.origins):
            service.metrics.sessions_refused.labels("origin").inc()
            await websocket.close()  # before accept: HTTP 403
            return
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            try:
                session_id, conversation = service.admit()
            except Refused as refused:
                await _refuse(websocket, refused.problem)
                return
            try:
                await _Connection(websocket, service, session_id, conversation).run()
            finally:
                await service.leave(session_id, conversation)

    @router.websocket("/{path:path}")
    async def elsewhere(websocket: WebSocket) -> None:
        await websocket.close()  # before accept: HTTP 403

    return router


async def _refuse(websocket: WebSocket, problem: Problem) -> None:
    await websocket.send_text(render(problem))
    await websocket.close(_CLOSE_CODES[problem.code], problem.code)


class _Connection:
    """One accepted WebSocket: a reader and a writer around a conversation."""

    def __init__(self, websocket: WebSocket, service: Service, session_id: str, conversation: Conversation) -> None:
        settings = service.settings
        self._websocket = websocket
        self._service = service
        self._session_id = session_id
        self._conversation = conversation
        self._microphone: MicrophoneDecoder | None = None
        self._lead = TokenBucket(1.0, settings.max_audio_lead_s)
        self._messages = TokenBucket(settings.max_messages_per_s, 2 * settings.max_messages_per_s)
        self._close_code = 1000

    async def run(self) -> None:
        """Until the client or the server ends it."""
        reader = asyncio.create_task(self._read(), name="read")
        writer = asyncio.create_task(self._write(), name="write")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and reader.exception() is None:
                await asyncio.wait((writer,))  # after `stop`: what is left goes out
        finally:
            for task in (reader, writer):
                task.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
        await self._end([result for result in results if isinstance(result, Exception)])

    async def _end(self, failures: list[Exception]) -> None:
        if any(isinstance(failure, WebSocketDisconnect) for failure in failures):
            return
        if any(isinstance(failure, _SlowReader) for failure in failures):
            self._service.metrics.errors.labels("slow_reader").inc()
            self._close_code = _SLOW_READER
        elif failures:
            self._service.metrics.errors.labels("internal_error").inc()
            self._service.log.error("connection_broke", session_id=self._session_id, exc_info=failures[0])
            self._close_code = _CLOSE_CODES["internal_error"]
            problem = Problem("internal_error", "a fault in the server; connect again", fatal=True)
            await self._send(self._websocket.send_text(render(problem)))
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._websocket.close(self._close_code)

    # server → client

    async def _write(self) -> None:
        while (event := await self._conversation.outbox.get()) is not None:
            if isinstance(event, AnswerAudio):
                await self._send(self._websocket.send_bytes(to_pcm16(event.samples)))
                continue
            if isinstance(event, Problem) and event.fatal:
                self._close_code = _CLOSE_CODES[event.code]
            await self._send(self._websocket.send_text(render(event)))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._service.settings.send_timeout_s):
                await sending
        except TimeoutError:
            raise _SlowReader from None

    # client → server

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                await self._conversation.close()
                raise WebSocketDisconnect(message.get("code", 1005))
            try:
                if (data := message.get("bytes")) is not None:
                    await self._receive_audio(data)
                elif not await self._receive_text(message["text"]):
                    return
            except BadMessage as bad:
                await self._conversation.tell(bad.problem)

    def _check_size(self, count: int) -> None:
        limit = self._service.settings.max_frame_bytes
        if count > limit:
            raise BadMessage("frame_too_large", f"a frame of {count} bytes; send at most {limit} bytes in one")

    async def _receive_audio(self, data: bytes) -> None:
        self._check_size(len(data))
        if self._microphone is None:
            raise BadMessage("not_started", 'audio came before {"type": "start"}; send that first')
        if not self._lead.take(self._microphone.seconds(data)):
            lead = self._service.settings.max_audio_lead_s
            raise BadMessage(
                "audio_too_fast", f"audio came more than {lead:g} s ahead of real time and was dropped; send it slower"
            )
        await self._conversation.receive_audio(self._microphone.decode(data))

    async def _receive_text(self, text: str) -> bool:
        """Handle one message; False when it was the last."""
        self._check_size(len(text.encode()))
        if not self._messages.take(1):
            rate = self._service.settings.max_messages_per_s
            raise BadMessage("too_many_messages", f"send at most {rate:g} control messages a second")
        message = parse(text)
        if isinstance(message, Start):
            await self._start(message)
        elif self._microphone is None:
            raise BadMessage("not_started", f'{message.type!r} came before {{"type": "start"}}; send that first')
        elif isinstance(message, Stop):
            await self._conversation.stop()
            return False
        else:
            await self._handle(message)
        return True

    async def _handle(self, message: ClientMessage) -> None:
        if isinstance(message, Text):
            limit = self._service.settings.max_text_characters
            if len(message.text) > limit:
                raise BadMessage("text_too_long", f"{len(message.text)} characters; send at most {limit}", "text")
            if not message.text.strip():
                raise BadMessage("invalid_message", "the text is blank; send a question", "text")
            await self._conversation.receive_text(message.text.strip())
        elif isinstance(message, Commit):
            await self._conversation.commit()
        elif isinstance(message, Interrupt):
            await self._conversation.interrupt(message.played_ms)
        elif isinstance(message, Playback):
            self._conversation.playback(message.played_ms, message.response_id)

    async def _start(self, start: Start) -> None:
        if start.language.lower().partition("-")[0] not in _LANGUAGES:
            raise BadMessage(
                "unsupported_language", f'the model speaks English, not {start.language!r}; send "en"', "language"
            )
        settings = self._service.settings
        if not await self._service.wait_ready(settings.ready_timeout_s):
            message = "the model is not ready yet; connect again in a minute"
            await self._conversation.dismiss(Problem("not_ready", message, fatal=True))
            return
        options = self._service.options()
        rules = options.rules
        if start.end_silence_ms is not None:
            rules = replace(rules, end_silence_ms=start.end_silence_ms)
        options = replace(
            options,
            rules=rules,
            system_prompt=start.system_prompt or options.system_prompt,
            sampling=SamplingParams(
                temperature=start.temperature,
                top_p=start.top_p,
                seed=start.seed,
                repetition_penalty=start.repetition_penalty or options.sampling.repetition_penalty,
            ),
        )
        history = None if start.history is None else tuple(Turn(i.user, i.assistant) for i in start.history)
        self._conversation.configure(options, history)
        if self._microphone is None or self._microphone.sample_rate != start.sample_rate:
            self._microphone = MicrophoneDecoder(start.sample_rate)
        ready = Ready(
            self._session_id,
            start.sample_rate,
            ANSWER_SAMPLE_RATE,
            rules.end_silence_ms,
            self._service.model_name,
            Limits(
                settings.max_frame_bytes,
                settings.max_text_characters,
                rules.max_turn_ms,
                round(settings.max_audio_lead_s * 1000),
            ),
        )
        await self._conversation.tell(ready)
