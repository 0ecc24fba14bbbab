"""`/ws` on a real socket: a test for every message of docs/protocol.md."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from pydantic import TypeAdapter

from model.request import Done, GenerationFailed, Heard, TextDelta
from server.protocols import native_messages
from tests.server.harness import Client, client, kinds, pcm, running
from tests.server.scripted import ANSWER, FRAME_SAMPLES, HEARD, ScriptedGenerator

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
QUIET = np.zeros(16_000, np.float32)
ANSWER_BYTES = len(ANSWER.split()) * 4 * FRAME_SAMPLES * 2


async def ask_by_voice(c: Client, question: np.ndarray, piece: int = 3200) -> None:
    sound = pcm(np.concatenate([QUIET, question, QUIET]))
    for start in range(0, len(sound), piece):
        await c.socket.send(sound[start : start + piece])


async def test_start_is_answered_by_ready() -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        ready = await c.start(sample_rate=48_000, end_silence_ms=700, language="en-GB", colour="ignored", seed=None)
        assert re.fullmatch(r"[0-9a-f]{16}", ready.pop("session_id"))
        assert ready == {
            "type": "ready",
            "sample_rate": 48_000,
            "output_sample_rate": 24_000,
            "end_silence_ms": 700,
            "eagerness": "off",
            "model": "smol-omni",
            "models": ["smol-omni"],
            "limits": {"frame_bytes": 1 << 20, "text_characters": 2000, "turn_ms": 120_000, "audio_lead_ms": 30_000},
        }


@pytest.mark.parametrize(
    ("fields", "in_force"),
    [
        ({}, (500, "auto")),
        ({"end_silence_ms": 700}, (700, "off")),
        ({"eagerness": "high"}, (500, "high")),
        ({"end_silence_ms": 700, "eagerness": "low"}, (700, "low")),
        ({"eagerness": "off"}, (500, "off")),
    ],
)
async def test_a_named_silence_means_silence_alone(fields: dict[str, Any], in_force: tuple[int, str]) -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as talk:
        ready = await talk.start(**fields)
        assert (ready["end_silence_ms"], ready["eagerness"]) == in_force


async def test_ready_waits_for_the_model() -> None:
    class Slow(ScriptedGenerator):
        loaded = asyncio.Event()

        async def start(self) -> None:
            await self.loaded.wait()

    generator = Slow()
    async with running(generator, until_ready=False) as server, client(server.url) as c:
        await c.send("start")
        await c.send("text", text="hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await c.socket.recv()
        generator.loaded.set()
        assert kinds(await c.until("response_done"))[:2] == ["ready", "response_started"]


async def test_a_model_that_does_not_become_ready_is_told() -> None:
    class Stuck(ScriptedGenerator):
        async def start(self) -> None:
            await asyncio.Event().wait()

    async with running(Stuck(), until_ready=False, ready_timeout_s=0.05) as server, client(server.url) as c:
        await c.send("start")
        error = await c.next("error")
        assert (error["code"], error["fatal"]) == ("not_ready", True)
        await c.socket.wait_closed()
        assert c.socket.close_code == 1013


async def test_text_is_answered_in_text_and_sound() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start(system_prompt="Be kind.", time_zone="Asia/Tokyo", temperature=0.7, top_p=0.9, seed=3, speed=0.8)
        await c.send("text", text="  What is the capital of France? ")
        messages = await c.until("response_done")
        texts = [m for m in messages if isinstance(m, dict)]
        assert kinds(messages)[:3] == ["response_started", "text_delta", "audio"]
        assert kinds(messages)[-2:] == ["text_done", "response_done"]
        assert texts[0] == {"type": "response_started", "response_id": 1, "turn_id": 1, "sample_rate": 24_000}
        assert texts[1] == {"type": "text_delta", "response_id": 1, "text": "The"}
        assert "".join(m["text"] for m in texts if m["type"] == "text_delta") == ANSWER
        assert texts[-2] == {"type": "text_done", "response_id": 1, "text": ANSWER}
        end = texts[-1]
        for figure in ("first_text_ms", "first_audio_ms"):
            assert 0 <= end.pop(figure) < 20_000
        assert end.pop("real_time_factor") > 0
        assert end.pop("stages_ms") == {"waiting": 0.0, "reading": 20.4, "writing": 200.0, "decoding": 5.0}
        assert end.pop("usage") == {"prompt": 0, "cached": 0, "text": 11, "audio": 7 * 44}
        assert end == {
            "type": "response_done",
            "response_id": 1,
            "turn_id": 1,
            "reason": "stop",
            "text": ANSWER,
            "audio_ms": round(ANSWER_BYTES / 48),
            "heard": "What is the capital of France?",
        }
        assert sum(len(m) for m in messages if isinstance(m, bytes)) == ANSWER_BYTES
        assert all(len(m) % 2 == 0 for m in messages if isinstance(m, bytes))
    request = generator.requests[-1]
    assert (request.text, request.system_prompt) == ("What is the capital of France?", "Be kind.")
    assert request.speed == 0.8
    assert request.asked_at is not None
    assert str(request.asked_at.tzinfo) == "Asia/Tokyo"
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0.7, 0.9, 3)


@pytest.mark.parametrize(("rate", "piece"), [(16_000, 641), (48_000, 1920), (8000, 333), (44_100, 100_000)])
async def test_a_spoken_question_at_any_rate_in_any_pieces(question: np.ndarray, rate: int, piece: int) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start(sample_rate=rate)
        sound = pcm(soxr.resample(np.concatenate([QUIET, question, QUIET]), 16_000, rate))
        for start in range(0, len(sound), piece):
            await c.socket.send(sound[start : start + piece])
        messages = await c.until("response_done")
        assert kinds(messages)[:5] == ["speech_started", "speech_stopped", "heard", "response_started", "text_delta"]
        began, stopped, heard = (m for m in messages[:3] if isinstance(m, dict))
        assert began.pop("at_ms") == pytest.approx(1000, abs=320)
        assert began == {"type": "speech_started", "turn_id": 1, "resumed": False}
        assert stopped.pop("at_ms") == pytest.approx(1000 + len(question) / 16, abs=250)
        assert stopped == {"type": "speech_stopped", "turn_id": 1, "reason": "silence", "end_of_turn": None}
        assert heard == {"type": "heard", "turn_id": 1, "text": HEARD, "no_speech": False}
        assert isinstance(messages[-1], dict)
        assert messages[-1]["heard"] == HEARD
    audio = generator.requests[-1].audio
    assert audio is not None
    assert audio.dtype == np.float32
    assert np.correlate(audio, question, "full").max() > 0.9 * float((question**2).sum())


async def test_commit_ends_the_turn_at_once(question: np.ndarray) -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        await c.start(end_silence_ms=3000)
        await c.socket.send(pcm(question))
        assert kinds([await c.receive()]) == ["speech_started"]
        await c.send("commit")
        messages = await c.until("response_done")
        assert isinstance(messages[0], dict)
        assert (messages[0]["type"], messages[0]["reason"]) == ("speech_stopped", "commit")


async def test_commit_without_speech_is_heard_as_nothing() -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        await c.start()
        await c.socket.send(pcm(QUIET))
        await c.send("commit")
        assert await c.next("heard") == {"type": "heard", "turn_id": 1, "text": "", "no_speech": True}


async def test_a_microphone_that_stops_sending_ends_the_turn(question: np.ndarray) -> None:
    async with running(ScriptedGenerator(), gap_commit_ms=150) as server, client(server.url) as c:
        await c.start()
        await c.socket.send(pcm(question))
        messages = await c.until("response_done")
        assert kinds(messages)[:3] == ["speech_started", "speech_stopped", "heard"]


async def test_no_speech_is_told_and_the_next_turn_works(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        generator.script = [Heard(""), Done("no_speech", "", 0.0, 0, 0)]
        await ask_by_voice(c, question)
        messages = await c.until("heard")
        assert kinds(messages) == ["speech_started", "speech_stopped", "heard"]
        assert messages[-1] == {"type": "heard", "turn_id": 1, "text": "", "no_speech": True}
        generator.script = None
        await ask_by_voice(c, question)
        assert kinds(await c.until("response_done"))[-1] == "response_done"


async def test_speech_interrupts_and_only_played_words_are_remembered(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="What is the capital of France?")
        await c.until("response_done")
        played_ms = 4 * 4 * FRAME_SAMPLES / 24  # four words
        await c.send("playback", played_ms=played_ms, response_id=1)
        await ask_by_voice(c, question)
        interrupted = await c.next("interrupted")
        assert interrupted == {
            "type": "interrupted",
            "response_id": 1,
            "turn_id": 1,
            "reason": "speech",
            "text": "The capital of France",
            "played_ms": round(played_ms),
        }
        await c.until("response_done")
    assert generator.requests[-1].history[0].assistant == "The capital of France"


async def test_interrupt_while_it_is_made_ends_it() -> None:
    generator = ScriptedGenerator(step_s=0.02)
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="hello")
        await c.until("text_delta")
        await c.send("interrupt", played_ms=0)
        messages = await c.until("response_done")
        tail = [m for m in messages if isinstance(m, dict)][-2:]
        assert [m["type"] for m in tail] == ["interrupted", "response_done"]
        assert (tail[0]["reason"], tail[0]["text"], tail[1]["reason"]) == ("interrupt", "", "interrupted")
        assert tail[1]["audio_ms"] == round(sum(len(m) for m in messages if isinstance(m, bytes)) / 48)
        await c.send("text", text="again")
        assert kinds(await c.until("response_done"))[0] == "response_started", "nothing of the first comes after it"
    assert generator.cancelled == 1


async def test_interrupt_when_nothing_goes_on_is_ignored() -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        await c.start()
        await c.send("interrupt")
        await c.send("text", text="hello")
        assert (await c.next("response_started"))["response_id"] == 1


async def test_start_again_changes_settings_and_keeps_the_memory() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start(history=[{"user": "my name is Ada", "assistant": "Hello Ada."}])
        await c.send("text", text="one")
        await c.until("response_done")
        assert (await c.start(end_silence_ms=900))["end_silence_ms"] == 900
        await c.send("text", text="two")
        await c.until("response_done")
        assert [turn.user for turn in generator.requests[-1].history] == ["my name is Ada", "one"]
        await c.start(history=[])
        await c.send("text", text="three")
        await c.until("response_done")
        assert generator.requests[-1].history == ()


async def test_stop_ends_the_conversation() -> None:
    generator = ScriptedGenerator(step_s=0.02)
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="hello")
        await c.until("text_delta")
        await c.send("stop")
        assert kinds(await c.until("response_done"))[-2:] == ["interrupted", "response_done"]
        await c.socket.wait_closed()
        assert c.socket.close_code == 1000
    assert generator.cancelled == 1


async def test_a_client_that_vanishes_stops_its_answer() -> None:
    generator = ScriptedGenerator(step_s=0.02)
    async with running(generator) as server:
        async with client(server.url) as c:
            await c.start()
            await c.send("text", text="hello")
            await c.until("text_delta")
            c.socket.transport.abort()
        async with asyncio.timeout(10):
            await server.service._empty.wait()
    assert generator.cancelled == 1


async def test_a_failing_answer_is_an_error_and_the_conversation_goes_on() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        generator.script = [TextDelta("Well"), GenerationFailed("the mouth broke; ask again")]
        await c.send("text", text="hello")
        messages = await c.until("response_done")
        assert kinds(messages) == ["response_started", "text_delta", "error", "response_done"]
        assert messages[-2] == {
            "type": "error",
            "code": "generation_failed",
            "message": "the mouth broke; ask again",
            "fatal": False,
            "turn_id": 1,
            "response_id": 1,
        }
        generator.script = [RuntimeError("a fault that nobody foresaw")]
        await c.send("text", text="hello")
        error = await c.next("error")
        assert error["code"] == "generation_failed"
        assert "nobody foresaw" not in error["message"], "no insides over the wire"
        generator.script = [TextDelta("It")]  # and then nothing
        await c.send("text", text="hello")
        assert kinds(await c.until("response_done"))[-2:] == ["error", "response_done"]
        generator.script = None
        await c.send("text", text="hello")
        assert kinds(await c.until("response_done"))[-1] == "response_done"


async def test_two_conversations_keep_apart() -> None:
    generator = ScriptedGenerator(step_s=0.001)
    async with running(generator) as server, client(server.url) as a, client(server.url) as b:
        await a.start()
        await b.start()
        await a.send("text", text="from a")
        await b.send("text", text="from b")
        ends = [(await c.until("response_done"))[-1] for c in (a, b)]
        assert [end["heard"] for end in ends if isinstance(end, dict)] == ["from a", "from b"]
        await a.send("text", text="again")
        await a.until("response_done")
    assert [turn.user for turn in generator.requests[-1].history] == ["from a"]


def test_the_document_names_every_message_and_field() -> None:
    document = PROTOCOL.read_text()
    names = re.findall(r"`([a-z_]+)`", document)
    for kind, message in native_messages._MESSAGES.items():
        assert f"### `{kind}`" in document
        for name in message.model_fields:
            assert name == "type" or name in names or f'"{name}"' in document, f"{kind}.{name}"
    for event, kind in native_messages._NAMES.items():
        assert f"### `{kind}`" in document
        for name in event.__dataclass_fields__:
            assert name in names, f"{kind}.{name}"


def samples(kinds: Iterable[str]) -> list[str]:
    """The messages of these types that the document shows."""
    return re.findall(r'\{"type": ?"(?:' + "|".join(kinds) + r')"[^`\n]*\}', PROTOCOL.read_text())


def test_every_example_of_a_client_is_understood() -> None:
    examples = samples(native_messages._MESSAGES)
    assert len(examples) >= 6
    for example in examples:
        message, fields = native_messages.parse(example), json.loads(example)
        assert message.type == fields["type"]
        assert set(fields) <= set(type(message).model_fields), example


def test_every_example_of_the_server_has_the_fields_that_it_sends() -> None:
    events = {kind: event for event, kind in native_messages._NAMES.items()}
    examples = [json.loads(example) for example in samples(events)]
    assert {"ready", "heard", "interrupted", "response_done"} <= {example["type"] for example in examples}
    for example in examples:
        kind = example.pop("type")
        event = TypeAdapter(events[kind]).validate_python(example)
        assert native_messages.render(event) == json.dumps({"type": kind, **example}, ensure_ascii=False), kind
