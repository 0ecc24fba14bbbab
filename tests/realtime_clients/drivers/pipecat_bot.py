"""pipecat's OpenAIRealtimeLLMService in a whole pipeline: microphone, turns, service, loudspeaker, context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    LLMMessagesAppendFrame,
    OutputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
    TurnDetection,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from tests.realtime_clients.drivers.scenarios import ENOUGH_BYTES, SAMPLE_RATE, Turn, main, pieces


class Loudspeaker(BaseOutputTransport):
    """Plays in real time, into a variable."""

    def __init__(self, in_real_time: bool) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_sample_rate=SAMPLE_RATE))
        self._in_real_time = in_real_time
        self.played = bytearray()
        self.plays = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played += frame.audio
        if len(self.played) >= ENOUGH_BYTES:
            self.plays.set()
        if self._in_real_time:
            await asyncio.sleep(len(frame.audio) / 2 / SAMPLE_RATE)
        return True


class PipecatTalk:
    """What the context's aggregators tell is what was said, and heard."""

    def __init__(self, url: str, push: bool) -> None:
        self.errors: list[str] = []
        self.ready = asyncio.Event()
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._heard: str | None = None
        self._item_id = ""
        self._asked = False
        microphone = AudioInput(
            transcription=InputAudioTranscription(), turn_detection=False if push else TurnDetection()
        )
        properties = SessionProperties(audio=AudioConfiguration(input=microphone))
        self.service = OpenAIRealtimeLLMService(
            api_key="none",
            base_url=f"{url.replace('http', 'ws')}/v1/realtime",
            settings=OpenAIRealtimeLLMService.Settings(session_properties=properties),
        )
        self._loudspeaker = Loudspeaker(in_real_time=not push)
        strategies = ExternalUserTurnStrategies() if push else None
        aggregators = LLMContextAggregatorPair(
            LLMContext(), user_params=LLMUserAggregatorParams(user_turn_strategies=strategies)
        )
        self.worker = PipelineWorker(
            Pipeline([aggregators.user(), self.service, self._loudspeaker, aggregators.assistant()])
        )
        aggregators.user().add_event_handler("on_user_turn_message_added", self._on_question)
        aggregators.assistant().add_event_handler("on_assistant_turn_stopped", self._on_answer)
        self.service.add_event_handler("on_conversation_item_created", self._on_item)
        self.worker.add_event_handler("on_pipeline_started", self._on_started)
        self.worker.add_event_handler("on_pipeline_error", self._on_error)

    async def type(self, text: str) -> None:
        frame = LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True)
        if self._asked:  # the aggregator makes a response of its first context only
            await self.service.queue_frame(frame)
        else:
            await self.worker.queue_frame(frame)
        self._asked = True

    async def speak(self, sound: bytes) -> None:
        for piece in pieces(sound):
            await asyncio.sleep(0.1)
            await self.worker.queue_frame(InputAudioRawFrame(piece, SAMPLE_RATE, 1))

    async def push(self, sound: bytes) -> None:
        await self.worker.queue_frame(ProposedUserStartedSpeakingFrame())
        await self.speak(sound)
        await self.worker.queue_frame(ProposedUserStoppedSpeakingFrame())

    async def playing(self, seconds: float) -> None:
        await self._loudspeaker.plays.wait()
        await asyncio.sleep(seconds)

    async def answer(self) -> Turn:
        return await self._turns.get()

    async def remembered(self, turn: Turn) -> str:
        item = await self.service.retrieve_conversation_item(turn.item_id)
        return str(item.content[0].transcript)

    async def _on_started(self, worker: Any, frame: Frame) -> None:
        self.ready.set()

    async def _on_question(self, aggregator: Any, message: Any) -> None:
        self._heard = message.content

    async def _on_item(self, service: Any, item_id: str, item: Any) -> None:
        if item.role == "assistant":
            self._item_id = item_id

    async def _on_answer(self, aggregator: Any, message: Any) -> None:
        played, self._loudspeaker.played = self._loudspeaker.played, bytearray()
        heard, self._heard = self._heard, None
        self._turns.put_nowait(Turn(message.content, heard, played, message.interrupted, self._item_id))

    async def _on_error(self, worker: Any, frame: ErrorFrame) -> None:
        self.errors.append(frame.error)


@asynccontextmanager
async def talk(url: str, push: bool) -> AsyncIterator[PipecatTalk]:
    """Start the pipeline."""
    opened = PipecatTalk(url, push)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(opened.worker)
    running = asyncio.create_task(runner.run())
    await opened.ready.wait()
    try:
        yield opened
    finally:
        await runner.cancel()
        await running


if __name__ == "__main__":
    main(talk)
