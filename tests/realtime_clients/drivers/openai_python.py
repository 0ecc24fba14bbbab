"""The `openai` package's asynchronous client."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.realtime_clients.drivers.scenarios import ENOUGH_BYTES, Turn, main, pieces


class OpenAITalk:
    """Plays answers by the clock, and truncates them when the server hears speech, as OpenAI's guide says."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.errors: list[str] = []
        self._connection = connection
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._retrieved: asyncio.Queue[str] = asyncio.Queue()
        self._heard: str | None = None
        self._turn = Turn()
        self._sounds = asyncio.Event()
        self._began = 0.0
        self._in_progress = False

    async def type(self, text: str) -> None:
        content: Any = [{"type": "input_text", "text": text}]
        await self._connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await self._connection.response.create()

    async def speak(self, sound: bytes) -> None:
        for piece in pieces(sound):
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

    async def push(self, sound: bytes) -> None:
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(sound).decode())
        await self._connection.input_audio_buffer.commit()
        await self._connection.response.create()

    async def playing(self, seconds: float) -> None:
        await self._sounds.wait()
        await asyncio.sleep(seconds)

    async def answer(self) -> Turn:
        return await self._turns.get()

    async def remembered(self, turn: Turn) -> str:
        await self._connection.conversation.item.retrieve(item_id=turn.item_id)
        return await self._retrieved.get()

    async def read(self) -> None:
        """What a program does with the events."""
        async for event in self._connection:
            if event.type == "response.created":
                self._turn, self._in_progress = Turn(), True
            elif event.type == "response.output_audio.delta":
                if not self._turn.sound:
                    self._began = time.monotonic()
                self._turn.item_id = event.item_id
                self._turn.sound += base64.b64decode(event.delta)
                if len(self._turn.sound) >= ENOUGH_BYTES:
                    self._sounds.set()
            elif event.type == "response.output_audio_transcript.delta":
                self._turn.said += event.delta
            elif event.type == "conversation.item.input_audio_transcription.completed":
                self._heard = event.transcript
            elif event.type == "input_audio_buffer.speech_started":
                await self._stop_playing()
            elif event.type == "response.done":
                self._in_progress = False
                self._turn.heard, self._heard = self._heard, None
                self._turns.put_nowait(self._turn)
            elif event.type == "conversation.item.retrieved":
                content: Any = event.item
                self._retrieved.put_nowait(content.content[0].transcript)
            elif event.type == "error":
                self.errors.append(event.error.message)

    async def _stop_playing(self) -> None:
        sound_ms = len(self._turn.sound) // 48
        played_ms = min(int((time.monotonic() - self._began) * 1000), sound_ms)
        if sound_ms and (self._in_progress or played_ms < sound_ms):
            self._turn.cut = True
            await self._connection.conversation.item.truncate(
                item_id=self._turn.item_id, content_index=0, audio_end_ms=played_ms
            )


@asynccontextmanager
async def talk(url: str, push: bool) -> AsyncIterator[OpenAITalk]:
    """Connect."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    async with client.realtime.connect(model="smol-omni") as connection:
        turn_detection: Any = None if push else {"type": "server_vad"}
        microphone: Any = {"transcription": {"model": "whisper-1"}, "turn_detection": turn_detection}
        await connection.session.update(session={"type": "realtime", "audio": {"input": microphone}})
        opened = OpenAITalk(connection)
        reader = asyncio.create_task(opened.read())
        try:
            yield opened
        finally:
            reader.cancel()


if __name__ == "__main__":
    main(talk)
