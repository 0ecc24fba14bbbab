"""One conversation with a Mini-Omni server. Copy this file where you need it: it wants `websockets` and nothing else.

    async with OmniClient("ws://127.0.0.1:8000/ws") as client:
        async for event in client.ask(pcm16_bytes, sample_rate=16000):
            if isinstance(event, TextDelta): print(event.text, end="")
            if isinstance(event, Audio): speaker.write(event.pcm)  # 24 kHz PCM16 mono

The protocol is written down in docs/protocol.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from typing import Any

import websockets


class OmniClientError(RuntimeError):
    """The server refused the conversation, or ended it; the message says why."""


@dataclass(frozen=True)
class Event:
    """Something the server said. Unknown fields are dropped; what a message leaves out has its default."""

    turn_id: int | None = field(default=None, kw_only=True)
    response_id: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Ready(Event):
    session_id: str = ""
    output_sample_rate: int = 24_000
    model: str = ""
    """The model that answers."""
    models: list[str] = field(default_factory=list)
    """Those that the option `model` may name, the server's default first."""


@dataclass(frozen=True)
class SpeechStarted(Event):
    at_ms: int = 0
    resumed: bool = False


@dataclass(frozen=True)
class SpeechStopped(Event):
    at_ms: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Heard(Event):
    text: str = ""
    no_speech: bool = False


@dataclass(frozen=True)
class ResponseStarted(Event): ...


@dataclass(frozen=True)
class TextDelta(Event):
    text: str = ""


@dataclass(frozen=True)
class TextDone(Event):
    text: str = ""


@dataclass(frozen=True)
class Audio(Event):
    pcm: bytes = b""
    """PCM16, little-endian, mono, 24 kHz; continues the sound before it."""


@dataclass(frozen=True)
class Interrupted(Event):
    text: str = ""
    reason: str = ""
    played_ms: int = 0


@dataclass(frozen=True)
class ResponseDone(Event):
    reason: str = ""
    text: str = ""
    audio_ms: int = 0
    heard: str | None = None
    first_audio_ms: int | None = None
    real_time_factor: float | None = None
    stages_ms: dict[str, float] | None = None


@dataclass(frozen=True)
class Error(Event):
    code: str = ""
    message: str = ""
    fatal: bool = False


_KINDS: dict[str, type[Event]] = {
    "ready": Ready, "speech_started": SpeechStarted, "speech_stopped": SpeechStopped, "heard": Heard,
    "response_started": ResponseStarted, "text_delta": TextDelta, "text_done": TextDone,
    "interrupted": Interrupted, "response_done": ResponseDone, "error": Error,
}  # fmt: skip


class OmniClient:
    """`ask` and `say` for one question at a time; `send` and `events` for a microphone that stays open.

    `key` is for servers that want one.
    `options` are the fields of `start`: model, system_prompt, end_silence_ms, speed, temperature, seed, history, …
    """

    def __init__(self, url: str = "ws://127.0.0.1:8000/ws", key: str | None = None, **options: Any) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        # `ask` says itself where a question ends: a pause within it, up to 3 s, is no end
        self.options: dict[str, Any] = {"end_silence_ms": 3000, **options}
        self._response_id: int | None = None
        self._busy = False

    async def __aenter__(self) -> OmniClient:
        self._socket = await websockets.connect(self.url, additional_headers=self._headers)
        try:
            with contextlib.suppress(OmniClientError):  # refused already: `events` tells why
                await self._send(type="start", **self.options)
            async for event in self.events():
                if isinstance(event, Ready):
                    break
                if isinstance(event, Error):  # of `start`: there will be no `ready`
                    raise OmniClientError(f"{event.code}: {event.message}")
        except BaseException:
            await self._socket.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()

    async def ask(self, pcm: bytes, sample_rate: int = 16_000) -> AsyncIterator[Event]:
        """A spoken question, whole: PCM16 mono, at most 30 s → its events, to the answer's end."""
        await self._settle()
        await self._send(type="start", **{**self.options, "history": None}, sample_rate=sample_rate)
        for at in range(0, len(pcm), 1 << 15):
            await self.send(pcm[at : at + (1 << 15)])
        await self._send(type="commit")
        async for event in self._answer():
            yield event

    async def say(self, text: str) -> AsyncIterator[Event]:
        """A typed question → its events, to the answer's end."""
        await self._settle()
        await self._send(type="text", text=text)
        async for event in self._answer():
            yield event

    async def interrupt(self, played_ms: float | None = None) -> None:
        """Stop the answer; `played_ms`: how much of it was played, for the conversation's memory."""
        await self._send(type="interrupt", played_ms=played_ms)

    async def send(self, pcm: bytes) -> None:
        """More of the microphone, PCM16 mono at the `sample_rate` of the options; send silence too."""
        await self._write(pcm)

    async def played(self, played_ms: float, response_id: int | None = None) -> None:
        """Tell how much of an answer has left the loudspeaker."""
        await self._send(type="playback", played_ms=played_ms, response_id=response_id)

    async def events(self) -> AsyncIterator[Event]:
        """Everything the server says. Raises `OmniClientError` when it refuses to go on or is gone."""
        try:
            async for data in self._socket:
                if isinstance(data, bytes):
                    yield Audio(data, response_id=self._response_id)
                elif kind := _KINDS.get((message := json.loads(data)).get("type")):
                    known = {f.name: message[f.name] for f in fields(kind) if f.name in message}
                    event = kind(**known)
                    if isinstance(event, ResponseStarted):
                        self._response_id = event.response_id
                    yield event
                    if isinstance(event, Error) and event.fatal:
                        raise OmniClientError(f"{event.code}: {event.message}")
        except websockets.ConnectionClosed as closed:
            raise OmniClientError(f"the connection was lost: {closed}") from closed
        raise OmniClientError("the server ended the conversation")

    async def _answer(self) -> AsyncIterator[Event]:
        self._busy = True
        async for event in self.events():
            if isinstance(event, Ready):
                continue  # to the `start` that told the rate
            if isinstance(event, ResponseDone):
                self._busy = False
                if event.reason != "interrupted":  # what came counts as played: the caller has it
                    await self.played(event.audio_ms, event.response_id)
            elif isinstance(event, Error | Interrupted | Heard):
                unanswered = not isinstance(event, Heard) or event.no_speech
                self._busy = self._busy and not (unanswered and event.response_id is None)
            yield event
            if not self._busy:
                return

    async def _settle(self) -> None:
        """End an answer whose events were not read to the end."""
        if self._busy:
            await self.interrupt()
            async for _ in self._answer():
                pass

    async def _send(self, **message: Any) -> None:
        await self._write(json.dumps({key: value for key, value in message.items() if value is not None}))

    async def _write(self, data: str | bytes) -> None:
        try:
            await self._socket.send(data)
        except websockets.ConnectionClosed as closed:
            raise OmniClientError(f"the connection was lost: {closed}") from closed
