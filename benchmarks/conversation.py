"""A person at a microphone, over `/ws`: speaks in real time, listens, and notes when everything happened."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.questions import MICROPHONE_RATE

ANSWER_RATE = 24_000
CHUNK_MS = 40
PAGE_LEAD_MS = 80.0
"""Sound that the page's player gathers before it starts (`static/audio/jitter-buffer.js`)."""
TURN_LIMIT_S = 120.0
_NOISE_RMS = 50
"""Of an open microphone where nobody speaks: -56 dB."""
_NOISE_FRAMES = 50
_NOISE_PARTS = 8
"""Moments within a frame's length at which a part of the microphones sends."""


class TurnFailed(RuntimeError):
    """The server answered with an error, or with no sound."""


@dataclass
class Turn:
    """One question and its answer. Moments are seconds of `time.monotonic`, as the client saw them."""

    speech_ended: float = 0.0
    """The last sample of the question was sent."""
    turn_confirmed: float = 0.0
    """`speech_stopped` arrived."""
    heard: str = ""
    text: str = ""
    sound: list[tuple[float, int]] = field(default_factory=list)
    """When each piece of the answer arrived, and its samples at 24 kHz."""
    done: dict[str, Any] = field(default_factory=dict)
    """The fields of `response_done`."""

    @property
    def first_audio_ms(self) -> float:
        """From the confirmed end of the turn to the first byte of sound."""
        return 1000 * (self.sound[0][0] - self.turn_confirmed)

    @property
    def silence_ms(self) -> float:
        """From the end of speech to the first byte of sound: what a person waits, but for playback."""
        return 1000 * (self.sound[0][0] - self.speech_ended)

    @property
    def confirming_ms(self) -> float:
        """From the end of speech to the confirmed end of the turn."""
        return 1000 * (self.turn_confirmed - self.speech_ended)

    def played_ms(self, lead_ms: float) -> float:
        """From the end of speech to the first sound of a player that starts with `lead_ms` of it, or with all."""
        buffered = itertools.accumulate(1000 * samples / ANSWER_RATE for _, samples in self.sound)
        enough = (moment for (moment, _), ms in zip(self.sound, buffered, strict=True) if ms >= lead_ms)
        return 1000 * (next(enough, self.sound[-1][0]) - self.speech_ended)

    @property
    def seconds(self) -> float:
        """Length of the answer's sound."""
        return sum(samples for _, samples in self.sound) / ANSWER_RATE

    def late_ms(self, lead_ms: float = 0.0) -> float:
        """How late the latest piece came for a player that starts with `lead_ms` of sound: above 0 it stuttered."""
        buffered, began, worst = 0.0, None, -float("inf")
        for moment, samples in self.sound:
            if began is not None:
                worst = max(worst, moment - began - buffered)
            buffered += samples / ANSWER_RATE
            if began is None and 1000 * buffered >= lead_ms:
                began = moment
        return 1000 * max(worst, -buffered)


class Conversation:
    """One connection. The microphone runs all the time, as a browser's does: silence while nobody speaks."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._speech: asyncio.Queue[np.ndarray] = asyncio.Queue()
        self._spoken_at: float | None = None

    async def start(self) -> None:
        """Open the conversation and wait for `ready`."""
        await self._socket.send(json.dumps({"type": "start", "sample_rate": MICROPHONE_RATE}))
        message = await self._next()
        if not isinstance(message, dict) or message["type"] != "ready":
            raise TurnFailed(f"wanted ready, got {message!r}")

    async def _next(self) -> dict[str, Any] | bytes:
        message = await self._socket.recv()
        return message if isinstance(message, bytes) else json.loads(message)

    async def run_microphone(self) -> None:
        """Send pieces of 40 ms in real time until cancelled."""
        size = MICROPHONE_RATE * CHUNK_MS // 1000
        quiet, due = np.zeros(size, np.int16), time.monotonic()
        speaking: np.ndarray = quiet[:0]
        while True:
            if not len(speaking) and not self._speech.empty():
                speaking = self._speech.get_nowait()
            piece, speaking = (speaking[:size], speaking[size:]) if len(speaking) else (quiet, speaking)
            await self._socket.send(np.concatenate([piece, quiet[len(piece) :]]).tobytes())
            if piece is not quiet and not len(speaking):
                self._spoken_at = time.monotonic()
            due += CHUNK_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def ask(self, speech: np.ndarray) -> Turn:
        """Say (samples,) int16 and take the whole answer. Raises `TurnFailed`."""
        self._spoken_at = None
        self._speech.put_nowait(speech)
        async with asyncio.timeout(TURN_LIMIT_S):
            turn = await self._take_answer()
        turn.speech_ended = self._spoken_at or turn.turn_confirmed
        await self._mark_played(turn)
        return turn

    async def type(self, question: str) -> Turn:
        """Send a typed question and take the whole answer; its speech ended when it was sent. Raises `TurnFailed`."""
        sent = time.monotonic()
        await self._socket.send(json.dumps({"type": "text", "text": question}))
        async with asyncio.timeout(TURN_LIMIT_S):
            turn = await self._take_answer()
        turn.speech_ended = turn.turn_confirmed = sent
        await self._mark_played(turn)
        return turn

    async def _mark_played(self, turn: Turn) -> None:
        """Report the answer as played, so that the next question does not interrupt it."""
        played = {"type": "playback", "played_ms": turn.done["audio_ms"], "response_id": turn.done["response_id"]}
        await self._socket.send(json.dumps(played))

    async def _take_answer(self) -> Turn:
        turn = Turn()
        while True:
            message = await self._next()
            if isinstance(message, bytes):
                turn.sound.append((time.monotonic(), len(message) // 2))
                continue
            match message["type"]:
                case "speech_stopped":
                    turn.turn_confirmed = time.monotonic()
                case "heard":
                    turn.heard = message["text"]
                    if message["no_speech"]:
                        raise TurnFailed("the question was not heard")
                case "error":
                    raise TurnFailed(message["message"])
                case "response_done":
                    turn.done, turn.text = message, message["text"]
                    if message["reason"] in ("interrupted", "error") or not turn.sound:
                        raise TurnFailed(f"the answer ended with {message['reason']} and {turn.seconds:.1f} s of sound")
                    return turn


@asynccontextmanager
async def conversation(url: str) -> AsyncIterator[Conversation]:
    """Connect, start and keep the microphone running until left."""
    async with connect(url, max_size=None, compression=None) as socket:
        talk = Conversation(socket)
        await talk.start()
        microphone = asyncio.create_task(talk.run_microphone())
        try:
            yield talk
        finally:
            microphone.cancel()
            await asyncio.gather(microphone, return_exceptions=True)


@asynccontextmanager
async def open_microphones(url: str, count: int) -> AsyncIterator[None]:
    """Keep `count` conversations open whose microphones send the noise of a quiet room in real time, until left.

    One task serves all of them and sends frames that are made beforehand: so it takes a tenth of a core for 400
    microphones, and what is measured is the server. They start at different moments, spread over a frame's length.
    """
    async with AsyncExitStack() as stack:
        sockets = []
        for _ in range(count):
            socket = await stack.enter_async_context(connect(url, max_size=None, compression=None))
            await Conversation(socket).start()
            sockets.append(socket)
        sending = asyncio.create_task(_send_noise(sockets))
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        for socket in sockets:
            if socket.close_code is not None:
                raise TurnFailed(f"a silent conversation was closed by the server ({socket.close_code})")


async def _send_noise(sockets: Sequence[ClientConnection]) -> None:
    samples = MICROPHONE_RATE * CHUNK_MS // 1000
    noise = np.random.default_rng(0).standard_normal((_NOISE_FRAMES, samples)) * _NOISE_RMS
    frames = [_frame(piece.astype("<i2").tobytes()) for piece in noise]
    due, number = time.monotonic(), 0
    while True:
        for part in range(_NOISE_PARTS):
            for socket in sockets[part::_NOISE_PARTS]:
                socket.transport.write(frames[number % _NOISE_FRAMES])
            number += 1
            due += CHUNK_MS / 1000 / _NOISE_PARTS
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def _frame(payload: bytes) -> bytes:
    """A client's binary WebSocket frame of 126 to 65,535 bytes (RFC 6455, section 5.2), masked with zeros."""
    return bytes([0x82, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload
