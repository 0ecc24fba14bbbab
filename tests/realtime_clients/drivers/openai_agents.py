"""`openai-agents`: a RealtimeAgent, run by the package's RealtimeRunner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from agents.realtime.model_inputs import RealtimeModelSendRawMessage

from tests.realtime_clients.drivers.scenarios import ENOUGH_BYTES, Turn, main, pieces


class AgentTalk:
    """The package keeps the history, and interrupts by the time since an answer's first sound."""

    def __init__(self, session: RealtimeSession) -> None:
        self.errors: list[str] = []
        self._session = session
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._history: list[Any] = []
        self._changed = asyncio.Event()
        self._turn = self._sounding = Turn()
        """Being made, and the one whose sound came last: it is played when it has long been made."""
        self._sounds = asyncio.Event()

    async def type(self, text: str) -> None:
        await self._session.send_message(text)

    async def speak(self, sound: bytes) -> None:
        for piece in pieces(sound):
            await self._session.send_audio(piece)

    async def push(self, sound: bytes) -> None:
        await self._session.send_audio(sound, commit=True)
        create = RealtimeModelSendRawMessage(message={"type": "response.create"})
        await self._session.model.send_event(create)

    async def playing(self, seconds: float) -> None:
        await self._sounds.wait()
        await asyncio.sleep(seconds)

    async def answer(self) -> Turn:
        turn = await self._turns.get()
        place = next(number for number, item in enumerate(self._history) if item.item_id == turn.item_id)
        asked, answered = self._history[place - 1 : place + 1]
        turn.said = answered.content[0].transcript
        if asked.content[0].type == "input_audio":
            turn.heard = asked.content[0].transcript
        return turn

    async def remembered(self, turn: Turn) -> str:
        """The package asks for the item itself, once it was truncated: its history holds what is kept."""
        while True:
            self._changed.clear()
            kept = next(item for item in self._history if item.item_id == turn.item_id).content[0].transcript
            if len(kept) < len(turn.said):
                return kept
            await self._changed.wait()

    async def read(self) -> None:
        """What a program does with the events."""
        async for event in self._session:
            if event.type == "audio":
                self._sounding = self._turn
                self._turn.item_id = event.item_id
                self._turn.sound += event.audio.data
                if len(self._turn.sound) >= ENOUGH_BYTES:
                    self._sounds.set()
            elif event.type == "audio_interrupted":
                self._sounding.cut = True
            elif event.type == "agent_end":
                self._turns.put_nowait(self._turn)
                self._turn = Turn()
            elif event.type == "history_updated":
                self._history = event.history
                self._changed.set()
            elif event.type == "history_added":
                self._history = [*self._history, event.item]
            elif event.type == "error":
                self.errors.append(str(event.error))


@asynccontextmanager
async def talk(url: str, push: bool) -> AsyncIterator[AgentTalk]:
    """Connect."""
    microphone: Any = {"turn_detection": None if push else {"type": "server_vad", "interrupt_response": True}}
    runner = RealtimeRunner(RealtimeAgent(name="Assistant"))
    session = await runner.run(
        model_config={
            "url": f"{url.replace('http', 'ws')}/v1/realtime",
            "api_key": "none",
            "initial_model_settings": {"audio": {"input": microphone}},
        }
    )
    async with session:
        opened = AgentTalk(session)
        reader = asyncio.create_task(opened.read())
        try:
            yield opened
        finally:
            reader.cancel()


if __name__ == "__main__":
    main(talk)
