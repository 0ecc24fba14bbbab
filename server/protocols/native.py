"""`/ws`: PCM16 and JSON over a WebSocket, translated to and from a conversation. `docs/protocol.md` specifies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, WebSocket

from model.request import Turn
from model.sampling import SamplingParams
from omni_command import find_time_zone
from server.audio import MicrophoneDecoder, to_pcm16
from server.conversation import Conversation
from server.events import ANSWER_SAMPLE_RATE, AnswerAudio, Limits, Ready, SessionEvent
from server.models import UnknownModel
from server.protocols.admission import admit
from server.protocols.connection import Connection, serve_connection
from server.protocols.messages import BadMessage
from server.protocols.native_messages import (
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
from server.service import Service

SUBPROTOCOL = "omni"
"""Offered by pages that send a key as a second subprotocol: a handshake must choose one."""
_LANGUAGES = ("en", "auto")
_MESSAGE_BYTES = 65_536
"""Of every message but `start`, whose history is longer, besides the typed text."""
_BYTES_PER_CHARACTER = 12
"""Of JSON: a character outside the first plane is two escapes of six bytes."""


def native_router(service: Service) -> APIRouter:
    """The route of `/ws`."""
    router = APIRouter()

    @router.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        if await admit(websocket, service) is None:
            return
        offered = websocket.scope["subprotocols"]
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await serve_connection(websocket, service, partial(NativeConnection, websocket, service), render)

    return router


class NativeConnection(Connection):
    """`/ws`: JSON in text frames, sound in binary ones."""

    def __init__(self, websocket: WebSocket, service: Service, session_id: str, conversation: Conversation) -> None:
        super().__init__(websocket, service, session_id, conversation)
        self._microphone: MicrophoneDecoder | None = None

    def render(self, event: SessionEvent) -> Sequence[str | bytes]:
        """One frame an event."""
        return [to_pcm16(event.samples) if isinstance(event, AnswerAudio) else render(event)]

    async def receive_bytes(self, data: bytes) -> None:
        """More of the microphone."""
        limit = self.service.settings.max_frame_bytes
        if self._microphone is None:
            self.check_size(len(data), limit)
            raise BadMessage("not_started", 'audio came before {"type": "start"}; send that first')
        if len(data) > limit:
            self._microphone.skip(data)
        self.check_size(len(data), limit)
        await self.hear(self._microphone, data)

    async def receive_text(self, text: str) -> bool:
        """Handle one message; False when it was the last."""
        data = text.encode()
        settings = self.service.settings
        self.check_size(len(data), settings.max_frame_bytes)
        self.check_rate()
        message = parse(data, settings.max_frame_bytes)
        if not isinstance(message, Start):
            self.check_size(len(data), _MESSAGE_BYTES + _BYTES_PER_CHARACTER * settings.max_text_characters)
        if isinstance(message, Start):
            await self._start(message)
        elif self._microphone is None:
            raise BadMessage("not_started", f'{message.type!r} came before {{"type": "start"}}; send that first')
        elif isinstance(message, Stop):
            await self.conversation.stop()
            return False
        else:
            await self._handle(message)
        return True

    async def _handle(self, message: ClientMessage) -> None:
        if isinstance(message, Text):
            limit = self.service.settings.max_text_characters
            if len(message.text) > limit:
                raise BadMessage("text_too_long", f"{len(message.text)} characters; send at most {limit}", "text")
            if not message.text.strip():
                raise BadMessage("invalid_message", "the text is blank; send a question", "text")
            await self.conversation.receive_text(message.text.strip())
        elif isinstance(message, Commit):
            assert self._microphone is not None, "`start` comes first"
            await self.end_stream(self._microphone)
            await self.conversation.commit()
        elif isinstance(message, Interrupt):
            await self.conversation.interrupt(message.played_ms)
        elif isinstance(message, Playback):
            self.conversation.playback(message.played_ms, message.response_id)

    async def _start(self, start: Start) -> None:
        if start.language.lower().partition("-")[0] not in _LANGUAGES:
            raise BadMessage(
                "unsupported_language", f'the model speaks English, not {start.language!r}; send "en"', "language"
            )
        settings = self.service.settings
        if not await self.wait_ready():
            return
        try:
            model = self.service.models.get(start.model)
        except UnknownModel as unknown:
            raise BadMessage("unknown_model", str(unknown), "model") from None
        options = self.service.options()
        rules = options.rules
        if start.end_silence_ms is not None:  # who names a silence means it, unless words are to be judged as well
            rules = replace(rules, end_silence_ms=start.end_silence_ms, eagerness=None)
        if start.eagerness is not None:
            rules = replace(rules, eagerness=None if start.eagerness == "off" else start.eagerness)
        options = replace(
            options,
            rules=rules,
            resume=options.resume if start.resume is None else start.resume,
            idle_prompt_ms=options.idle_prompt_ms if start.idle_prompt_ms is None else start.idle_prompt_ms,
            system_prompt=start.system_prompt or options.system_prompt,
            time_zone=find_time_zone(start.time_zone) if start.time_zone else options.time_zone,
            speed=start.speed,
            sampling=SamplingParams(
                temperature=start.temperature,
                top_p=start.top_p,
                seed=start.seed,
                repetition_penalty=start.repetition_penalty or options.sampling.repetition_penalty,
            ),
        )
        history = None if start.history is None else tuple(Turn(i.user, i.assistant) for i in start.history)
        self.conversation.choose_model(model)
        self.conversation.configure(options, history)
        if self._microphone is not None and self._microphone.sample_rate != start.sample_rate:
            await self.end_stream(self._microphone)
            self._microphone = None
        if self._microphone is None:
            self._microphone = MicrophoneDecoder(start.sample_rate)
        ready = Ready(
            self.session_id,
            start.sample_rate,
            ANSWER_SAMPLE_RATE,
            rules.end_silence_ms,
            rules.eagerness or "off",
            model.name,
            self.service.models.names,
            Limits(
                settings.max_frame_bytes,
                settings.max_text_characters,
                rules.max_turn_ms,
                round(settings.max_audio_lead_s * 1000),
            ),
        )
        await self.conversation.tell(ready)
