"""The Python client against the real server, with scripted answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hibari import Hibari

from client import OmniClient, OmniClientError
from client.microphone import Playback, talk
from client.omni_client import (
    Audio,
    Error,
    Event,
    Heard,
    Interrupted,
    Ready,
    ResponseDone,
    SpeechStarted,
    TextDelta,
    TextDone,
)
from model.request import EngineFull
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

WORDS = "The sea is blue and wide."


@pytest.fixture(scope="module")
def voice() -> Hibari:
    return Hibari(threads=1)


@pytest.fixture(scope="module")
def question(voice: Hibari) -> np.ndarray:
    """(samples,) int16, 24 kHz, with a pause of 0.7 s inside, as people make them."""
    parts = [voice("Tell me about the sea.", seed=0), np.zeros(16_800, np.float32), voice("Is it blue?", seed=0)]
    return (np.concatenate(parts) * 32767).astype("<i2")


@pytest.fixture
def generator() -> ScriptedGenerator:
    tone = 0.2 * np.sin(2 * np.pi * 300 * np.arange(20 * 2048) / 24_000)
    return ScriptedGenerator(WORDS, tone.astype(np.float32), heard="Tell me about the sea. Is it blue?")


@pytest.fixture
def server(generator: ScriptedGenerator) -> Iterator[LiveServer]:
    with LiveServer(generator) as running:
        yield running


async def test_ready_names_the_models(generator: ScriptedGenerator, server: LiveServer) -> None:
    async with OmniClient(server.ws_url, model="smol-omni") as client:
        await client._send(type="start", model="smol-omni")
        ready = await anext(client.events())
    assert isinstance(ready, Ready)
    assert (ready.model, ready.models) == ("smol-omni", ["smol-omni"])


@pytest.mark.parametrize(
    ("options", "code"), [({"model": "gpt-4o"}, "unknown_model"), ({"speed": 9}, "invalid_message")]
)
async def test_a_start_that_is_refused_is_told(server: LiveServer, options: dict[str, object], code: str) -> None:
    with pytest.raises(OmniClientError, match=code):
        async with OmniClient(server.ws_url, **options):
            raise AssertionError("it was let in")


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


async def test_a_spoken_question_is_one_turn_with_text_and_sound(
    server: LiveServer, generator: ScriptedGenerator, question: np.ndarray
) -> None:
    async with OmniClient(server.ws_url, system_prompt="You are a sailor.") as client:
        events = [event async for event in client.ask(question.tobytes(), sample_rate=24_000)]
    assert [event.text for event in events if isinstance(event, Heard)] == [generator.heard]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == WORDS
    sound = b"".join(event.pcm for event in events if isinstance(event, Audio))
    np.testing.assert_allclose(np.frombuffer(sound, "<i2") / 32768, generator.sound, atol=1e-4)
    done = events[-1]
    assert isinstance(done, ResponseDone)
    assert (done.reason, done.text, done.audio_ms) == ("stop", WORDS, round(len(generator.sound) / 24))
    asked = generator.requests[-1]
    assert asked.system_prompt == "You are a sailor."
    assert asked.audio is not None
    assert len(asked.audio) / 16_000 == pytest.approx(len(question) / 24_000, abs=0.5), "the pause did not end it"


async def test_typed_questions_are_remembered_whole(server: LiveServer, generator: ScriptedGenerator) -> None:
    async with OmniClient(server.ws_url) as client:
        for text in ("One?", "Two?"):
            events = [event async for event in client.say(text)]
            assert [event.text for event in events if isinstance(event, TextDone)] == [WORDS]
    assert [(turn.user, turn.assistant) for turn in generator.requests[-1].history] == [("One?", WORDS)]


async def test_silence_is_no_question(server: LiveServer) -> None:
    async with OmniClient(server.ws_url) as client:
        events = [event async for event in client.ask(bytes(32_000))]
    assert [(event.text, event.no_speech) for event in events if isinstance(event, Heard)] == [("", True)]
    assert isinstance(events[-1], Heard)


async def test_an_answer_can_be_interrupted_and_the_talk_goes_on(
    server: LiveServer, generator: ScriptedGenerator
) -> None:
    generator.chunk_s = 0.02
    async with OmniClient(server.ws_url) as client:
        events: list[Event] = []
        async for event in client.say("One?"):
            if isinstance(event, Audio) and not of(Audio, events):
                await client.interrupt(played_ms=40)
            events.append(event)
        assert len(of(Interrupted, events)) == 1
        assert len(of(Audio, events)) < 20
        done = events[-1]
        assert isinstance(done, ResponseDone)
        assert done.reason == "interrupted"
        after = [event async for event in client.say("Two?")]
        assert isinstance(after[-1], ResponseDone)
        assert after[-1].reason == "stop"


async def test_leaving_an_answer_does_not_spoil_the_next(server: LiveServer, generator: ScriptedGenerator) -> None:
    generator.chunk_s = 0.02
    async with OmniClient(server.ws_url) as client:
        async for event in client.say("One?"):
            if isinstance(event, Audio):
                break
        events = [event async for event in client.say("Two?")]
        assert len(of(ResponseDone, events)) == 1
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == WORDS


async def test_a_question_that_fails_says_why(server: LiveServer, generator: ScriptedGenerator) -> None:
    async with OmniClient(server.ws_url) as client:
        generator.failure = EngineFull("full")
        (event,) = [event async for event in client.say("One?")]
        assert isinstance(event, Error)
        assert event.code == "busy"
        generator.failure = None
        assert isinstance([event async for event in client.say("Two?")][-1], ResponseDone)


async def test_a_full_server_refuses_with_a_sentence(generator: ScriptedGenerator) -> None:
    with LiveServer(generator, max_sessions=1) as server:
        async with OmniClient(server.ws_url):
            with pytest.raises(OmniClientError, match=r"^busy: "):
                await OmniClient(server.ws_url).__aenter__()


async def test_a_lost_connection_is_told(server: LiveServer) -> None:
    async with OmniClient(server.ws_url) as client:
        await asyncio.to_thread(server.stop)
        with pytest.raises(OmniClientError):
            async for _ in client.events():
                pass


class FileDevices:
    """A microphone that plays a recording and then silence, and a loudspeaker that keeps what it was given."""

    def __init__(self, samples: np.ndarray) -> None:
        self._pcm = samples.tobytes()
        self.played = bytearray()

    @contextmanager
    def open(self, on_input: Callable[[bytes], object], fill_output: Callable[[int], bytes]) -> Iterator[None]:
        task = asyncio.get_running_loop().create_task(self._run(on_input, fill_output))
        yield
        task.cancel()

    async def _run(self, on_input: Callable[[bytes], object], fill_output: Callable[[int], bytes]) -> None:
        for at in range(0, len(self._pcm) + 64_000, 640):
            on_input(self._pcm[at : at + 640].ljust(640, b"\0"))
            self.played += fill_output(960)
            await asyncio.sleep(0.005)  # four times real time
        while True:
            self.played += fill_output(960)
            await asyncio.sleep(0.005)


async def test_the_microphone_talks_and_the_loudspeaker_plays(
    server: LiveServer, generator: ScriptedGenerator, voice: Hibari
) -> None:
    spoken = voice("Tell me about the sea.", seed=0)
    devices = FileDevices((spoken[::3] * 32767).astype("<i2"))  # 8 kHz
    async with OmniClient(server.ws_url, sample_rate=8_000, end_silence_ms=400) as client:
        events: list[Event] = []
        async for event in talk(client, devices):
            events.append(event)
            if isinstance(event, ResponseDone):
                break
    assert of(SpeechStarted, events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == WORDS
    assert generator.requests[-1].audio is not None


def test_playback_counts_what_was_played_and_forgets_on_flush() -> None:
    playback = Playback()
    playback.begin(7)
    playback.add(b"\1\0" * 2400)
    assert playback.take(960) == b"\1\0" * 480
    assert playback.position == (7, 20.0)
    playback.flush()
    assert playback.take(960) == bytes(960)
    assert playback.position == (7, 20.0), "silence is not the answer"


def test_the_class_stays_small_enough_to_copy() -> None:
    assert len(inspect.getsource(OmniClient).splitlines()) < 150
