"""A pipecat bot whose ears, mind and voice are the server: python pipecat_bot.py question.wav [answer.wav]"""

import asyncio
import os
import sys
import wave

from pipecat.frames import frames
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1").replace("http", "ws", 1) + "/realtime"
API_KEY = os.environ.get("OPENAI_API_KEY", "none")


class Recorder(FrameProcessor):  # instead of a transport: Daily, WebRTC, a telephone …
    said, sound = "", b""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, frames.TTSTextFrame):
            self.said += frame.text
        elif isinstance(frame, frames.TTSAudioRawFrame):
            self.sound += frame.audio  # PCM16, 24 kHz
        elif isinstance(frame, frames.LLMFullResponseEndFrame):
            await self.push_frame(frames.EndWorkerFrame(), FrameDirection.UPSTREAM)


async def main(question: str, answer: str = "answer.wav") -> None:
    listening = events.AudioInput(transcription=events.InputAudioTranscription(), turn_detection=events.TurnDetection())
    session = events.SessionProperties(audio=events.AudioConfiguration(input=listening))
    settings = OpenAIRealtimeLLMService.Settings(session_properties=session)
    service = OpenAIRealtimeLLMService(base_url=BASE_URL, api_key=API_KEY, settings=settings)
    user, _ = LLMContextAggregatorPair(LLMContext())
    user.add_event_handler("on_user_turn_message_added", lambda _, message: print("heard:", message.content))
    recorder = Recorder()
    worker = PipelineWorker(Pipeline([user, service, recorder]))
    runner = WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    with wave.open(question) as file:  # then a second of silence, in which the turn ends
        rate, sound = file.getframerate(), file.readframes(file.getnframes()) + bytes(2 * file.getframerate())
    for start in range(0, len(sound), rate // 5):
        await asyncio.sleep(0.1)
        await worker.queue_frame(frames.InputAudioRawFrame(sound[start : start + rate // 5], rate, num_channels=1))
    await running
    print("said: ", recorder.said)
    with wave.open(answer, "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(recorder.sound)


asyncio.run(main(*sys.argv[1:]))
