"""What is special to each HTTP endpoint, by OpenAI's own client and as the public demos call it; scripted answers."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import requests
import soundfile
from openai import BadRequestError, InternalServerError

from model.request import AudioChunk, Done, EngineFull, Heard, TextDelta
from model.vocabulary import Task
from server.pauses import cut
from server.sound_encoders import SOUND_FORMATS
from server.turns import SAMPLE_RATE
from tests.server.harness import running
from tests.server.scripted import ANSWER, HEARD, ScriptedGenerator, tone
from tests.server.test_http import http, openai, told, wav


def pcm_of(chunks: list[AudioChunk]) -> bytes:
    return b"".join((chunk.samples * 32767).round().astype("<i2").tobytes() for chunk in chunks)


# -- /chat ------------------------------------------------------------------------------------------------------------
def as_the_gradio_demo(url: str, recording: bytes) -> list[np.ndarray]:
    """What webui/omni_gradio.py sends, and how it reads the answer."""
    body = {"audio": str(base64.b64encode(recording), encoding="utf-8")}
    with requests.post(url, json=body, stream=True, timeout=60) as response:
        return [np.frombuffer(chunk, np.int16) for chunk in response.iter_content(chunk_size=4096) if chunk]


def as_the_streamlit_demo(url: str, recording: bytes) -> bytes:
    """What webui/omni_streamlit.py sends, and how it reads the answer."""
    body = {"audio": str(base64.b64encode(recording), encoding="utf-8")}
    with requests.post(url, json=body, stream=True, timeout=60) as response:
        pieces = [np.frombuffer(chunk, np.int8) for chunk in response.iter_content(chunk_size=5760) if chunk]
    return b"".join(piece.tobytes() for piece in pieces)


async def test_the_public_demos_work_unchanged() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server:
        gradio = await asyncio.to_thread(as_the_gradio_demo, f"{server.base}/chat", wav(1, 48_000, 2))
        streamlit = await asyncio.to_thread(as_the_streamlit_demo, f"{server.base}/chat", wav(1, 24_000))
    wanted = np.tile((tone(4) * 32767).round().astype("<i2"), len(ANSWER.split()))
    np.testing.assert_array_equal(np.concatenate(gradio), wanted)
    assert streamlit == wanted.tobytes()
    for request in generator.requests[-2:]:
        assert request.audio is not None
        assert request.audio.shape == (SAMPLE_RATE,)
        assert request.history == ()
        assert 0.05 < float(np.sqrt(np.mean(request.audio**2))) < 0.08


async def test_max_tokens_is_kept_within_the_operators_limit() -> None:
    generator = ScriptedGenerator()
    audio = base64.b64encode(wav()).decode()
    async with running(generator, max_answer_tokens=50) as server, http(server) as client:
        for wanted in (7, 2048, None):
            body = {"audio": audio, "stream_stride": 8} | ({"max_tokens": wanted} if wanted else {})
            assert (await client.post("/chat", json=body)).status_code == 200
    assert [request.max_tokens for request in generator.requests[-3:]] == [7, 50, 50]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "audio", "missing"),
        ({"audio": "%%%"}, "audio", "base64"),
        ({"audio": "é"}, "audio", "base64"),
        ({"audio": 5}, "audio", "string"),
        ({"audio": base64.b64encode(b"RIFF, but no sound").decode()}, "audio", "not a readable sound file"),
        ({"audio": base64.b64encode(wav(0)).decode()}, "audio", "no samples"),
        ({"audio": base64.b64encode(wav(30.1)).decode()}, "audio", "more than 30 s"),
        ({"audio": "", "max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"audio": "", "stream_stride": "x"}, "stream_stride", "integer"),
    ],
)
async def test_what_is_wrong_with_a_question_is_said(body: dict[str, Any], param: str, words: str) -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        response = await client.post("/chat", json=body)
    assert response.status_code == 400
    assert told(response)["param"] == param
    assert words in told(response)["message"]


async def test_silence_is_told_from_an_answer() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, http(server) as client:
        generator.script = [Heard(""), Done("no_speech", "", 0.0, 0, 0)]
        response = await client.post("/chat", json={"audio": base64.b64encode(wav()).decode()})
    assert response.status_code == 422
    assert told(response)["code"] == "no_speech"


# -- /v1/audio/speech -------------------------------------------------------------------------------------------------
async def test_the_text_is_said_and_nothing_is_asked() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, openai(server) as client:
        spoken = await client.audio.speech.create(
            model="smol-omni", voice="alloy", input="Say just this.", response_format="pcm", speed=0.75
        )
    request = generator.requests[-1]
    assert (request.say, request.speed, request.text) == ("Say just this.", 0.75, None)
    assert spoken.content == np.tile((tone(4) * 32767).round().astype("<i2"), 3).tobytes()


@pytest.mark.parametrize("kind", SOUND_FORMATS)
async def test_every_format_holds_the_whole_sound(kind: Any) -> None:
    async with running(ScriptedGenerator()) as server, openai(server) as client:
        spoken = await client.audio.speech.create(
            model="m", voice="v", input="One two three four.", response_format=kind
        )
    sound = 4 * 4 * 2048
    if kind == "pcm":
        assert len(spoken.content) == 2 * sound
    elif kind == "flac":  # its length is not in the head, as of any FLAC that was streamed
        with soundfile.SoundFile(io.BytesIO(spoken.content)) as file:
            assert (file.samplerate, file.channels) == (24_000, 1)
            assert file.frames > sound
        assert len(spoken.content) > sound / 4
    else:
        samples, rate = soundfile.read(io.BytesIO(spoken.content))
        assert rate == 24_000
        assert sound <= len(samples) < sound + 3000  # an MP3's frames are longer
        assert float(np.sqrt(np.mean(samples**2))) == pytest.approx(0.2 / 2**0.5, rel=0.1)


async def test_speech_comes_while_it_is_made() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, openai(server) as client:
        generator.gate = asyncio.Event()

        async def halting() -> AsyncIterator[Any]:
            yield AudioChunk(tone(1))
            assert generator.gate
            await generator.gate.wait()
            yield AudioChunk(tone(1))
            yield Done("stop", "", 0.1, 0, 2)

        generator.generate = lambda request: halting()  # type: ignore[assignment, method-assign]
        asking = client.audio.speech.with_streaming_response.create(
            model="m", voice="v", input="Hello.", response_format="pcm"
        )
        async with asking as response:
            pieces = response.iter_bytes()
            first = await anext(pieces)  # the second half is not made yet
            generator.gate.set()
            rest = b"".join([piece async for piece in pieces])
    assert first + rest == 2 * pcm_of([AudioChunk(tone(1))])


async def test_speech_as_events() -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        body = {"model": "m", "voice": "v", "input": "One two.", "response_format": "pcm", "stream_format": "sse"}
        response = await client.post("/v1/audio/speech", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *deltas, end = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == 2 * pcm_of([AudioChunk(tone(4))])
    assert end["type"] == "speech.audio.done"
    assert end["usage"]["output_tokens"] == 7 * 8


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"input": ""}, "input", "at least 1"),
        ({"input": "x" * 4097}, "input", "at most 4096"),
        ({"response_format": "aac"}, "response_format", "mp3, opus, flac, wav, pcm"),
        ({"speed": 4}, "speed", "1.25"),
        ({"speed": 0.25}, "speed", "0.5"),
        ({"stream_format": "x"}, "stream_format", "'audio' or 'sse'"),
    ],
)
async def test_what_is_wrong_with_a_text_is_said(changes: dict[str, Any], param: str, words: str) -> None:
    async with running(ScriptedGenerator()) as server, openai(server) as client:
        with pytest.raises(BadRequestError) as refused:
            await client.audio.speech.create(**{"model": "m", "voice": "v", "input": "Hello.", **changes})
    assert refused.value.param == param
    assert words in refused.value.message


# -- /v1/audio/transcriptions -----------------------------------------------------------------------------------------
async def test_what_was_heard_in_every_form() -> None:
    generator = ScriptedGenerator()
    file = ("question.wav", wav(2, 44_100, 2))
    async with running(generator) as server, openai(server) as client:
        create = client.audio.transcriptions.create
        plain = await create(model="smol-omni", file=file)
        text = await create(model="smol-omni", file=file, response_format="text", language="en")
        verbose = await create(
            model="smol-omni", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
        )
        streamed = [event async for event in await create(model="smol-omni", file=file, stream=True)]
    assert plain.text == HEARD
    assert text == f"{HEARD}\n"
    assert (verbose.text, verbose.duration, verbose.language) == (HEARD, 2.0, "english")
    assert verbose.segments is not None
    assert [(s.id, s.start, s.end, s.text) for s in verbose.segments] == [(0, 0.0, 2.0, HEARD)]
    assert [event.type for event in streamed] == ["transcript.text.delta", "transcript.text.done"]
    assert streamed[-1].text == HEARD
    for request in generator.requests[-4:]:
        assert request.task is Task.A1T1
        assert request.audio is not None
        assert request.audio.shape == (2 * SAMPLE_RATE,)


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"language": "de"}, "language", "the ears know English"),
        ({"response_format": "srt"}, "response_format", "verbose_json"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "segment"),
        ({"file": ("x.wav", b"no sound")}, "file", "not a readable sound file"),
        ({"file": ("x.wav", wav(11))}, "file", "more than 10 s"),
    ],
)
async def test_what_is_wrong_with_a_recording_is_said(changes: dict[str, Any], param: str, words: str) -> None:
    async with running(ScriptedGenerator(), max_transcription_s=10) as server, openai(server) as client:
        with pytest.raises(BadRequestError) as refused:
            await client.audio.transcriptions.create(**{"model": "m", "file": ("x.wav", wav()), **changes})
    assert refused.value.param == param
    assert words in refused.value.message


async def test_a_form_without_a_file_is_refused() -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        responses = [
            await client.post("/v1/audio/transcriptions", data={"model": "m"}),
            await client.post("/v1/audio/transcriptions", json={"model": "m"}),
            await client.post("/v1/audio/transcriptions", files={"file": ("x.wav", wav())}),
            await client.post(
                "/v1/audio/transcriptions", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}
            ),
        ]
    assert [response.status_code for response in responses] == [400] * 4
    assert [told(response)["param"] for response in responses[:3]] == ["file", "model", "model"]


async def test_silence_has_no_words() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, openai(server) as client:
        generator.script = [Heard(""), Done("no_speech", "", 0.0, 0, 0)]
        heard = await client.audio.transcriptions.create(model="m", file=("x.wav", wav()))
    assert heard.text == ""


def spoken_with_pauses(*stretches: tuple[float, float]) -> list[float]:
    """(seconds of voice, seconds of pause) → likelihood of each window."""
    found: list[float] = []
    for voice, pause in stretches:
        found += [0.9] * round(voice / 0.032) + [0.01] * round(pause / 0.032)
    return found


def test_long_recordings_are_cut_in_their_pauses() -> None:
    voice = spoken_with_pauses((12, 1), (9, 0.2), (13, 1), (20, 2))
    spans = [(begin / SAMPLE_RATE, end / SAMPLE_RATE) for begin, end in cut(voice)]
    assert [end - begin <= 28.5 for begin, end in spans] == [True] * len(spans)
    assert [round(begin) for begin, _ in spans] == [0, 13, 36]
    assert spans[-1][1] == pytest.approx(56.6, abs=0.2), "silence at the end is left out"


def test_without_a_pause_a_cut_comes_before_the_ears_end() -> None:
    spans = cut([0.9] * round(100 / 0.032))
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert all(10 <= (end - begin) / SAMPLE_RATE <= 28.1 for begin, end in spans[:-1])
    assert cut([0.01] * round(100 / 0.032)) == []


async def test_the_pieces_of_a_long_recording_are_joined_and_wait_for_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first busy engine refuses; who is heard in part already waits."""
    generator = ScriptedGenerator()
    answers: list[Any] = ["one", EngineFull("full"), "two", "three"]

    async def generate(request: Any) -> AsyncIterator[Any]:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        yield TextDelta(said)
        yield Done("stop", said, 0.0, 0, 0)

    async def spans(voices: object, samples: np.ndarray) -> list[tuple[int, int]]:
        return [(0, 16_000), (20_000, 36_000), (40_000, 56_000)]

    monkeypatch.setattr("server.protocols.transcriptions.pieces", spans)
    monkeypatch.setattr("server.protocols.transcriptions._TRY_AGAIN_S", 0)
    async with running(generator) as server, openai(server) as client:
        generator.generate = generate  # type: ignore[assignment, method-assign]
        stream = await client.audio.transcriptions.create(model="m", file=("x.wav", wav(31)), stream=True)
        streamed = [event async for event in stream]
        answers[:] = [EngineFull("full")]
        with pytest.raises(InternalServerError):
            await client.audio.transcriptions.create(model="m", file=("x.wav", wav(31)))
    assert [getattr(event, "delta", None) for event in streamed] == ["one", " two", " three", None]
    assert streamed[-1].text == "one two three"
