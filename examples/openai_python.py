"""Talk with the server through the `openai` package: a spoken or a typed question, and the spoken answer.

python examples/openai_python.py question.wav | "What is the capital of France?"  [answer.wav]
"""

import asyncio
import base64
import os
import sys
import wave

from openai import AsyncOpenAI

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
API_KEY = os.environ.get("OPENAI_API_KEY", "none")


async def main(question: str, answer: str = "answer.wav") -> None:
    client = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY)
    async with client.realtime.connect(model="smol-omni") as connection:
        transcription = {"model": "whisper-1"}  # tells what was heard
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": transcription}}}
        )
        if question.endswith(".wav"):
            for piece in read(question):
                await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        else:
            content = [{"type": "input_text", "text": question}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connection.response.create()
        sound = bytearray()
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                print("heard:", event.transcript)
            elif event.type == "response.output_audio.delta":
                sound += base64.b64decode(event.delta)  # PCM16, 24 kHz: play it as it comes
            elif event.type == "response.output_audio_transcript.done":
                print("said: ", event.transcript)
            elif event.type == "error":
                sys.exit(event.error.message)
            elif event.type == "response.done":
                break
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
