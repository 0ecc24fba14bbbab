"""One accepted WebSocket around a conversation: a reader and a writer, whatever the messages look like."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect

from server.audio import MicrophoneDecoder
from server.conversation import Conversation
from server.events import Problem, SessionEvent
from server.limits import TokenBucket
from server.protocols.messages import BadMessage, too_large
from server.service import Refused, Service

CLOSE_CODES = {"busy": 1013, "not_ready": 1013, "shutting_down": 1012, "internal_error": 1011}
"""Of problems that end a connection (RFC 6455, section 7.4, and its registry)."""
_SLOW_READER = 1008


class _SlowReader(Exception):
    """Nothing could be sent for too long."""


class Connection(ABC):
    """Runs until the client or the server ends it. A protocol says how events and messages look."""

    def __init__(self, websocket: WebSocket, service: Service, session_id: str, conversation: Conversation) -> None:
        settings = service.settings
        self.websocket, self.service = websocket, service
        self.session_id, self.conversation = session_id, conversation
        self.messages = TokenBucket(settings.max_messages_per_s, 2 * settings.max_messages_per_s)
        """Control messages that the client may still send."""
        self._lead = TokenBucket(1.0, settings.max_audio_lead_s)
        self._close_code = 1000

    @abstractmethod
    def render(self, event: SessionEvent) -> Sequence[str | bytes]:
        """An event → the frames that tell it: text and binary."""

    @abstractmethod
    async def receive_text(self, text: str) -> bool:
        """Handle a text frame; False when it was the client's last. Raises `BadMessage`."""

    @abstractmethod
    async def receive_bytes(self, data: bytes) -> None:
        """Handle a binary frame. Raises `BadMessage`."""

    async def run(self) -> None:
        """Until the client or the server ends it."""
        reader = asyncio.create_task(self._read(), name="read")
        writer = asyncio.create_task(self._write(), name="write")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and reader.exception() is None:
                await asyncio.wait((writer,))  # after the client's last message: what is left goes out
        finally:
            for task in (reader, writer):
                task.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
        await self._end([result for result in results if isinstance(result, Exception)])

    async def hear(self, microphone: MicrophoneDecoder, data: bytes) -> None:
        """More of the microphone, as far as it is not too far ahead of real time. Raises `BadMessage`."""
        seconds = microphone.seconds(data)
        if not self._lead.take(seconds):
            microphone.skip(data)
            lead = self.service.settings.max_audio_lead_s
            raise BadMessage(
                "audio_too_fast", f"audio came more than {lead:g} s ahead of real time and was dropped; send it slower"
            )
        async for samples in microphone.decode_in_slices(data):
            await self.conversation.receive_audio(samples, seconds)

    async def end_stream(self, microphone: MicrophoneDecoder) -> None:
        """Hear what the resampler still holds. Half a sample that was left over is dropped: what comes next begins
        with a whole one."""
        rest = microphone.restart()
        if len(rest):
            await self.conversation.receive_audio(rest)

    def check_size(self, count: int, limit: int) -> None:
        """Raises `BadMessage` for a frame of more bytes than the limit."""
        if count > limit:
            raise too_large(count, limit)

    def check_rate(self) -> None:
        """Raises `BadMessage` when control messages come too fast."""
        if not self.messages.take(1):
            rate = self.service.settings.max_messages_per_s
            raise BadMessage("too_many_messages", f"send at most {rate:g} control messages a second")

    async def wait_ready(self) -> bool:
        """Until the model answers; False when that took too long, and the conversation is dismissed."""
        if await self.service.wait_ready(self.service.settings.ready_timeout_s):
            return True
        message = "the model is not ready yet; connect again in a minute"
        await self.conversation.dismiss(Problem("not_ready", message, fatal=True))
        return False

    async def _end(self, failures: list[Exception]) -> None:
        if any(isinstance(failure, WebSocketDisconnect) for failure in failures):
            return
        if any(isinstance(failure, _SlowReader) for failure in failures):
            self.service.metrics.errors.labels("slow_reader").inc()
            self._close_code = _SLOW_READER
        elif failures:
            self.service.metrics.errors.labels("internal_error").inc()
            self.service.log.error("connection_broke", session_id=self.session_id, exc_info=failures[0])
            self._close_code = CLOSE_CODES["internal_error"]
            await self._send_event(Problem("internal_error", "a fault in the server; connect again", fatal=True))
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.websocket.close(self._close_code)

    async def _write(self) -> None:
        while (event := await self.conversation.outbox.get()) is not None:
            if isinstance(event, Problem) and event.fatal:
                self._close_code = CLOSE_CODES[event.code]
            await self._send_event(event)

    async def _send_event(self, event: SessionEvent) -> None:
        for frame in self.render(event):
            if isinstance(frame, bytes):
                await self._send(self.websocket.send_bytes(frame))
            else:
                await self._send(self.websocket.send_text(frame))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.service.settings.send_timeout_s):
                await sending
        except TimeoutError:
            raise _SlowReader from None

    async def _read(self) -> None:
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                await self.conversation.close()
                raise WebSocketDisconnect(message.get("code", 1005))
            try:
                if (data := message.get("bytes")) is not None:
                    await self.receive_bytes(data)
                elif not await self.receive_text(message["text"]):
                    return
            except BadMessage as bad:
                await self.conversation.tell(bad.problem)
            await asyncio.sleep(0)  # messages that wait already must not keep the loop from others


async def serve_connection(
    websocket: WebSocket,
    service: Service,
    make: Callable[[str, Conversation], Connection],
    render_refusal: Callable[[Problem], str],
) -> None:
    """Admit an accepted WebSocket, run its connection and take leave of it; where it is refused, say why and close."""
    with suppress(WebSocketDisconnect):
        try:
            session_id, conversation = service.admit()
        except Refused as refused:
            await websocket.send_text(render_refusal(refused.problem))
            await websocket.close(CLOSE_CODES[refused.problem.code], refused.problem.code)
            return
        try:
            await make(session_id, conversation).run()
        finally:
            await service.leave(session_id, conversation)
