"""The HTTP endpoints with the embedded model: OpenAI's client and the public demos against the real thing."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from openai import AsyncOpenAI

from model.async_engine import AsyncEngine
from tests.server.harness import Running, running
from tests.server.test_http import openai
from tests.server.test_http_audio import as_the_gradio_demo

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "The next train to London leaves at nine. Please bring a warm coat."
LONG = (
    "We walked along the river until the sun went down behind the hills.",
    "My brother works in a large hospital near the station.",
    "She opened the window because the room was very warm.",
    "The children played in the garden for the whole afternoon.",
    "After dinner we sat by the fire and told old stories.",
    "Tomorrow morning I will buy some bread, cheese and apples.",
    "The museum is closed on Monday, but open on all other days.",
    "He wrote a long letter to his mother about the journey.",
    "Winter came early that year, and snow covered the fields.",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    async with running(AsyncEngine()) as started:
        yield started


def wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower().replace("9", "nine"))


async def said(client: AsyncOpenAI, text: str, kind: str = "wav") -> bytes:
    spoken = await client.audio.speech.create(
        model="smol-omni", voice="omni", input=text, response_format=kind  # type: ignore[arg-type]
    )  # fmt: skip
    return spoken.content


async def heard(client: AsyncOpenAI, file: bytes) -> str:
    written = await client.audio.transcriptions.create(model="smol-omni", file=("sound.wav", file))
    return written.text


async def test_what_is_said_is_heard_and_streamed_equals_whole(server: Running) -> None:
    async with openai(server) as client:
        whole = await said(client, TEXT)
        assert words(await heard(client, whole)) == words(TEXT)
        asking = client.audio.speech.with_streaming_response.create(
            model="smol-omni", voice="omni", input=TEXT, response_format="pcm"
        )
        async with asking as response:
            pieces = [piece async for piece in response.iter_bytes()]
        assert words(await heard(client, await said(client, TEXT, "mp3"))) == words(TEXT)
    assert len(pieces) > 3
    assert b"".join(pieces) == whole[44:]


async def test_a_long_recording_is_heard_in_pieces(server: Running) -> None:
    async with openai(server) as client:
        recording = await said(client, " ".join(LONG))
        verbose = await client.audio.transcriptions.create(
            model="smol-omni", file=("long.wav", recording), response_format="verbose_json"
        )
    assert verbose.duration > 30
    assert verbose.segments is not None
    assert len(verbose.segments) > 1
    assert all(segment.start < segment.end <= verbose.duration for segment in verbose.segments)
    wanted = words(" ".join(LONG))
    assert words(verbose.text) == wanted


async def test_a_spoken_question_is_answered_to_the_public_demo(server: Running, question: np.ndarray) -> None:
    recording = wav(np.stack([question, question], 1), 16_000)
    pieces = await asyncio.to_thread(as_the_gradio_demo, f"{server.base}/chat", recording)
    answer = np.concatenate(pieces).astype(np.float32) / 32768
    async with openai(server) as client:
        text = await heard(client, wav(answer, 24_000))
    assert "paris" in words(text)


async def test_everything_at_once(server: Running, question: np.ndarray) -> None:
    async with openai(server) as client:
        spoken, pieces, text = await asyncio.gather(
            said(client, TEXT),
            asyncio.to_thread(as_the_gradio_demo, f"{server.base}/chat", wav(question, 16_000)),
            heard(client, wav(question, 16_000)),
        )
    assert len(spoken) > 48_000
    assert sum(map(len, pieces)) > 24_000
    assert "capital" in text.lower()
