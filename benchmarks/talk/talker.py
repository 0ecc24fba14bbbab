"""Holds a scripted conversation with a server over `/ws`, typed or spoken.

The server counts turns in samples, so a question is sent at once, faster than it could be said. The silence behind it
comes in real time, since what was heard is judged meanwhile. An answer counts as played when all of it has arrived.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.conversation import CHUNK_MS, TURN_LIMIT_S, TurnFailed
from benchmarks.questions import MICROPHONE_RATE
from benchmarks.talk.scenarios import Conversation
from benchmarks.talk.voices import speak, voice_of

Way = Literal["typed", "spoken"]
WAYS: tuple[Way, Way] = ("typed", "spoken")
SERVER_FLAGS = ("--max-audio-lead-s", "600", "--no-echo-guard")
"""Questions come faster than real time, and no answer of ours comes back by a microphone."""
_BEFORE_MS = 200
_NOISE_RMS = 20
"""Of the room: -64 dB."""
FAILED, NOT_HEARD = "failed", "not heard"
"""Why there is no answer, beside the reasons of `response_done`."""


@dataclass(frozen=True)
class Said:
    """What came of one turn."""

    heard: str
    text: str
    reason: str
    """Of `response_done`; or `FAILED` or `NOT_HEARD`."""
    samples: np.ndarray
    """The answer's sound, (n,) int16 at 24 kHz."""
    began: datetime
    ended: datetime
    """In the time zone of the conversation."""


async def hold(url: str, conversation: Conversation, way: Way) -> list[Said]:
    """Take all turns in one connection. A turn that fails has no answer; after a lost connection all have none."""
    sounds: list[np.ndarray] = []
    if way == "spoken":
        voice = voice_of(conversation)
        sounds = [await asyncio.to_thread(speak, turn.say, voice) for turn in conversation.turns]
    said: list[Said] = []
    try:
        async with connect(url, max_size=None, compression=None) as socket:
            talker = _Talker(socket, conversation)
            await talker.start()
            for number, turn in enumerate(conversation.turns):
                said.append(await (talker.hear(sounds[number]) if way == "spoken" else talker.type(turn.say)))
    except (WebSocketException, OSError, TurnFailed, TimeoutError):
        pass  # counted by what is missing
    moment = datetime.now(conversation.zone)
    nothing = Said("", "", FAILED, np.zeros(0, np.int16), moment, moment)
    return said + [nothing] * (len(conversation.turns) - len(said))


class _Talker:
    """One connection."""

    def __init__(self, socket: ClientConnection, conversation: Conversation) -> None:
        self._socket, self._zone = socket, conversation.zone
        self._noise = np.random.default_rng(conversation.digest[2])

    async def start(self) -> None:
        """Raises `TurnFailed` where the server does not become ready."""
        start: dict[str, Any] = {"type": "start", "sample_rate": MICROPHONE_RATE}
        if self._zone is not None:
            start["time_zone"] = self._zone.key
        await self._send(start)
        message = await self._socket.recv()
        if isinstance(message, bytes) or json.loads(message)["type"] != "ready":
            raise TurnFailed(f"wanted ready, got {message!r}")

    async def type(self, text: str) -> Said:
        began = datetime.now(self._zone)
        await self._send({"type": "text", "text": text})
        return await self._take(began)

    async def hear(self, sound: np.ndarray) -> Said:
        """(samples,) int16 at 16 kHz are said."""
        began = datetime.now(self._zone)
        await self._microphone(np.concatenate([_silence(_BEFORE_MS), sound]))
        listening = asyncio.create_task(self._listen())
        try:
            return await self._take(began)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Silence in real time until cancelled."""
        due = time.monotonic()
        while True:
            await self._microphone(_silence(CHUNK_MS))
            due = max(due + CHUNK_MS / 1000, time.monotonic() - 1)  # after a stall silence does not come in one piece
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _microphone(self, sound: np.ndarray) -> None:
        noisy = sound + self._noise.normal(0, _NOISE_RMS, len(sound))
        await self._socket.send(np.clip(noisy, -32768, 32767).astype("<i2").tobytes())

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(message))

    async def _take(self, began: datetime) -> Said:
        """The answer to the turn: the first that is not interrupted by more of the same turn."""
        heard, pieces = "", [b""]
        async with asyncio.timeout(TURN_LIMIT_S):
            while True:
                message = await self._socket.recv()
                if isinstance(message, bytes):
                    pieces.append(message)
                    continue
                event = json.loads(message)
                match event["type"]:
                    case "response_started":
                        pieces = [b""]
                    case "heard":
                        heard = event["text"]
                        if event["no_speech"]:
                            return self._said("", "", NOT_HEARD, [b""], began)
                    case "error":
                        return self._said(heard, "", FAILED, [b""], began)
                    case "response_done" if event["reason"] != "interrupted":
                        await self._played(event)
                        return self._said(event["heard"] or heard, event["text"], event["reason"], pieces, began)

    async def _played(self, done: dict[str, Any]) -> None:
        played = {"type": "playback", "played_ms": done["audio_ms"], "response_id": done["response_id"]}
        await self._send(played)

    def _said(self, heard: str, text: str, reason: str, pieces: Sequence[bytes], began: datetime) -> Said:
        samples = np.frombuffer(b"".join(pieces), "<i2")
        return Said(heard, text, reason, samples, began, datetime.now(self._zone))


def _silence(ms: int) -> np.ndarray:
    return np.zeros(MICROPHONE_RATE * ms // 1000, np.int16)
