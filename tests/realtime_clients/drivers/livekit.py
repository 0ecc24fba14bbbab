"""LiveKit's plugin for OpenAI: an AgentSession around its RealtimeModel, with a microphone and a loudspeaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins.openai.realtime import RealtimeModel
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

from tests.realtime_clients.drivers.scenarios import ENOUGH_BYTES, SAMPLE_RATE, Turn, main, pieces


class Microphone(AudioInput):
    """Gives what is put into it."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    def hear(self, piece: bytes) -> None:
        self._frames.put_nowait(rtc.AudioFrame(piece, SAMPLE_RATE, 1, len(piece) // 2))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()


class Loudspeaker(AudioOutput):
    """Plays in real time, into a variable."""

    def __init__(self, in_real_time: bool) -> None:
        super().__init__(
            label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=SAMPLE_RATE
        )
        self._in_real_time = in_real_time
        self._ends: asyncio.Task[None] | None = None
        self._began = 0.0
        self.sound = bytearray()
        self.plays = asyncio.Event()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self.sound:
            self._began = asyncio.get_running_loop().time()
        self.sound += frame.data.tobytes()
        if len(self.sound) >= ENOUGH_BYTES:
            self.plays.set()

    def flush(self) -> None:
        super().flush()
        if self.sound:
            self._ends = asyncio.create_task(self._play_to_the_end())

    def clear_buffer(self) -> None:
        if self._ends:
            self._ends.cancel()
        if self.sound:
            self._finish(min(asyncio.get_running_loop().time() - self._began, self._seconds), interrupted=True)

    @property
    def _seconds(self) -> float:
        return len(self.sound) / 2 / SAMPLE_RATE

    async def _play_to_the_end(self) -> None:
        played = asyncio.get_running_loop().time() - self._began
        await asyncio.sleep(self._seconds - played if self._in_real_time else 0)
        self._finish(self._seconds, interrupted=False)

    def _finish(self, seconds: float, interrupted: bool) -> None:
        self.last, self.sound = self.sound, bytearray()
        self._ends = None
        self.on_playback_finished(playback_position=seconds, interrupted=interrupted)


class LiveKitTalk:
    """What the session's conversation tells is what was said, and heard."""

    def __init__(self, session: AgentSession[None], microphone: Microphone, loudspeaker: Loudspeaker) -> None:
        self.errors: list[str] = []
        self._session, self._microphone, self._loudspeaker = session, microphone, loudspeaker
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._retrieved: asyncio.Queue[str] = asyncio.Queue()
        self._heard: str | None = None
        session.on("user_input_transcribed", self._on_heard)
        session.on("conversation_item_added", self._on_item)
        session.on("error", lambda event: self.errors.append(str(event.error)))

    async def type(self, text: str) -> None:
        self._session.generate_reply(user_input=text)

    async def speak(self, sound: bytes) -> None:
        for piece in pieces(sound):
            self._microphone.hear(piece)
            await asyncio.sleep(0)

    async def push(self, sound: bytes) -> None:
        self._session.interrupt()
        self._session.clear_user_turn()
        await self.speak(sound)
        await asyncio.sleep(0.2)
        self._session.commit_user_turn()

    async def playing(self, seconds: float) -> None:
        await self._loudspeaker.plays.wait()
        await asyncio.sleep(seconds)

    async def answer(self) -> Turn:
        return await self._turns.get()

    async def remembered(self, turn: Turn) -> str:
        realtime: Any = self._session.current_agent.realtime_llm_session
        realtime.on("openai_server_event_received", self._on_server_event)
        realtime.send_event({"type": "conversation.item.retrieve", "item_id": turn.item_id})
        return await self._retrieved.get()

    def _on_heard(self, event: Any) -> None:
        if event.is_final:
            self._heard = event.transcript

    def _on_item(self, event: Any) -> None:
        if event.item.type == "message" and event.item.role == "assistant":
            sound = self._loudspeaker.last
            turn = Turn(event.item.text_content or "", self._heard, sound, event.item.interrupted, event.item.id)
            self._heard = None
            self._turns.put_nowait(turn)

    def _on_server_event(self, event: Any) -> None:
        if event["type"] == "conversation.item.retrieved":
            self._retrieved.put_nowait(event["item"]["content"][0]["transcript"])


@asynccontextmanager
async def talk(url: str, push: bool) -> AsyncIterator[LiveKitTalk]:
    """Start a session without a room."""
    turn_detection = None if push else ServerVad(type="server_vad", create_response=True, interrupt_response=True)
    model = RealtimeModel(base_url=f"{url}/v1", api_key="none", turn_detection=turn_detection)
    session: AgentSession[None] = AgentSession(
        llm=model, turn_handling={"turn_detection": "manual" if push else "realtime_llm"}
    )
    microphone, loudspeaker = Microphone(), Loudspeaker(in_real_time=not push)
    session.input.audio, session.output.audio = microphone, loudspeaker
    opened = LiveKitTalk(session, microphone, loudspeaker)
    await session.start(Agent(instructions=""))
    try:
        yield opened
    finally:
        await session.aclose()
        await model.aclose()


if __name__ == "__main__":
    main(talk)
