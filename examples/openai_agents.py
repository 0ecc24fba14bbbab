"""A voice agent of the OpenAI Agents SDK (`openai-agents`): a spoken or a typed question, and the spoken answer.

python examples/openai_agents.py question.wav | "What is the capital of France?"  [answer.wav]
"""

import asyncio
import os
import sys
import wave

from agents.realtime import RealtimeAgent, RealtimeRunner

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
API_KEY = os.environ.get("OPENAI_API_KEY", "none")


async def main(question: str, answer: str = "answer.wav") -> None:
    runner = RealtimeRunner(RealtimeAgent(name="Assistant"))
    url = BASE_URL.replace("http", "ws", 1) + "/realtime"
    sound = bytearray()
    async with await runner.run(model_config={"url": url, "api_key": API_KEY}) as session:
        if question.endswith(".wav"):
            for piece in read(question):
                await session.send_audio(piece)
        else:
            await session.send_message(question)
        async for event in session:
            if event.type == "audio":
                sound += event.audio.data  # PCM16, 24 kHz: play it as it comes
            elif event.type == "audio_interrupted":
                sound.clear()  # somebody speaks: stop playing
            elif event.type == "error":
                sys.exit(str(event.error))
            elif event.type == "history_updated":
                history = event.history
            elif event.type == "agent_end":
                break
    for item in history:
        part = item.content[0]
        print("heard:" if item.role == "user" else "said: ", getattr(part, "transcript", None) or part.text)
    with wave.open(answer, "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(sound)


def read(path: str) -> list[bytes]:
    """A WAV file of PCM16, mono, 24 kHz in pieces of 100 ms, then a second of silence, in which the turn ends."""
    with wave.open(path) as file:
        assert file.getparams()[:3] == (1, 2, 24_000), "use PCM16, mono, 24 kHz"
        sound = file.readframes(file.getnframes()) + bytes(48_000)
    return [sound[start : start + 4800] for start in range(0, len(sound), 4800)]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
