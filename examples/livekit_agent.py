"""A LiveKit agent whose model is the server, without a room: python livekit_agent.py question.wav [answer.wav]"""

import asyncio
import os
import sys
import wave

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins.openai.realtime import RealtimeModel

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
API_KEY = os.environ.get("OPENAI_API_KEY", "none")


class Microphone(AudioInput):  # a room has a microphone and a loudspeaker of its own
    def __init__(self, path: str) -> None:
        super().__init__(label="microphone")
        self.file = wave.open(path)  # noqa: SIM115

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(0.1)
        rate = self.file.getframerate()
        piece = self.file.readframes(rate // 10).ljust(rate // 5, b"\0")  # silence behind its end
        return rtc.AudioFrame(piece, rate, 1, rate // 10)


class Loudspeaker(AudioOutput):
    sound = b""

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.sound += frame.data.tobytes()

    def flush(self) -> None:
        super().flush()
        self.on_playback_finished(playback_position=len(self.sound) / 48_000, interrupted=False)

    def clear_buffer(self) -> None: ...


async def main(question: str, answer: str = "answer.wav") -> None:
    model = RealtimeModel(base_url=BASE_URL, api_key=API_KEY)
    session = AgentSession(llm=model)
    speaker = Loudspeaker(label="speaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=24_000)
    session.input.audio, session.output.audio = Microphone(question), speaker
    said = asyncio.get_running_loop().create_future()
    session.on("user_input_transcribed", lambda event: event.is_final and print("heard:", event.transcript))
    session.on("speech_created", lambda event: event.speech_handle.add_done_callback(said.set_result))
    await session.start(Agent(instructions="You are a helpful assistant."))
    print("said: ", (await said).chat_items[-1].text_content)
    await session.aclose()
    await model.aclose()
    with wave.open(answer, "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(speaker.sound)


asyncio.run(main(*sys.argv[1:]))
