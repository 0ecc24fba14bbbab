"""The microphone of the Realtime API as one stream: half samples, and turns that the client takes over."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import soxr

from model.vocabulary import Task
from tests.server.harness import client, pcm, running
from tests.server.realtime import Api, api, kinds
from tests.server.scripted import ScriptedGenerator

QUIET = np.zeros(16_000, np.float32)
PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}
SERVER_VAD = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}


async def append(talk: Api, data: bytes) -> None:
    await talk.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())


async def commit(talk: Api) -> list[dict[str, Any]]:
    await talk.send("input_audio_buffer.commit")
    return await talk.until("conversation.item.input_audio_transcription.completed")


def heard(generator: ScriptedGenerator) -> np.ndarray:
    """What the last request was asked to hear."""
    audio = next(one.audio for one in reversed(generator.requests) if one.audio is not None)
    assert audio is not None
    return audio


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two sounds, at the shift where it is largest."""
    n = len(one) + len(other)
    products = np.fft.irfft(np.fft.rfft(one, n) * np.conj(np.fft.rfft(other, n)), n)
    return float(products.max() / (np.linalg.norm(one) * np.linalg.norm(other)))


def at_24k(sound: np.ndarray) -> bytes:
    return pcm(soxr.resample(sound, 16_000, 24_000))


# half a sample


@pytest.mark.parametrize("odd", [1, 3, 4799])
async def test_half_a_sample_does_not_outlive_a_clear(question: np.ndarray, odd: int) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**PUSH_TO_TALK)
        await append(talk, bytes(odd))
        await talk.send("input_audio_buffer.clear")
        await talk.next("input_audio_buffer.cleared")
        await append(talk, at_24k(question))
        await commit(talk)
    assert likeness(heard(generator), question) > 0.98


@pytest.mark.parametrize("wait", [False, True])
async def test_half_a_sample_does_not_outlive_a_commit(question: np.ndarray, wait: bool) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**PUSH_TO_TALK)
        for _ in range(3):
            await append(talk, at_24k(question)[:-1])
            await commit(talk)
            assert likeness(heard(generator), question) > 0.98
        await append(talk, b"\0")
        await talk.send("input_audio_buffer.commit")  # of nothing: refused, and the half sample is dropped as well
        if wait:
            assert (await talk.next("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
        await append(talk, at_24k(question))
        await commit(talk)
    assert likeness(heard(generator), question) > 0.98


async def test_a_commit_takes_all_that_came_however_short() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**PUSH_TO_TALK)
        await append(talk, bytes(4800))  # 100 ms, of which the resampler holds back a part
        await commit(talk)
    assert len(heard(generator)) == 1600


async def test_half_a_sample_does_not_outlive_a_turn_that_the_client_ends(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await append(talk, at_24k(question)[:-1])
        await talk.send("input_audio_buffer.commit")
        await talk.until("response.done")
        await talk.send("input_audio_buffer.clear")
        await talk.until("input_audio_buffer.cleared")
        await append(talk, b"\0")
        await talk.send("input_audio_buffer.clear")
        await talk.until("input_audio_buffer.cleared")
        await append(talk, at_24k(question))
        await talk.send("input_audio_buffer.commit")
        await talk.until("response.done")
    assert likeness(heard(generator), question) > 0.75  # what came before is heard as well


@pytest.mark.parametrize("rate", [16_000, 48_000])
async def test_half_a_sample_does_not_outlive_a_commit_of_ws(question: np.ndarray, rate: int) -> None:
    generator = ScriptedGenerator()
    data = pcm(soxr.resample(question, 16_000, rate))
    async with running(generator) as server, client(server.url) as c:
        await c.start(sample_rate=rate)
        for _ in range(2):
            await c.socket.send(data + b"\0")
            await c.send("commit")
            await c.until("response_done")
            assert likeness(heard(generator), question) > 0.75  # what came before is heard as well


@pytest.mark.parametrize("dropped", [32_000 * 5, 32_000 * 5 + 1, (1 << 20) + 1, (1 << 20) + 2])
@pytest.mark.parametrize("before", [0, 1])
async def test_sound_that_is_dropped_does_not_shift_what_follows(
    question: np.ndarray, dropped: int, before: int
) -> None:
    generator = ScriptedGenerator()
    data = pcm(np.concatenate([np.zeros(1600, np.float32), question]))
    async with running(generator, max_audio_lead_s=4.0) as server, client(server.url) as c:
        await c.start()
        await c.socket.send(bytes(before))
        await c.socket.send(bytes(dropped))
        assert (await c.next("error"))["code"] in ("audio_too_fast", "frame_too_large")
        await c.socket.send(data[(before + dropped) % 2 :])
        await c.send("commit")
        await c.until("response_done")
    assert likeness(heard(generator), question) > 0.9


# a turn that the client takes over


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8, 1.3])
async def test_push_to_talk_may_begin_in_the_middle_of_speech(question: np.ndarray, seconds: float) -> None:
    generator = ScriptedGenerator()
    sound = np.concatenate([np.zeros(8000, np.float32), question])
    cut = 8000 + round(seconds * 16_000)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.say(sound[:cut])
        await talk.send("session.update", session={"type": "realtime", **PUSH_TO_TALK})
        events = await talk.until("session.updated")
        await talk.say(sound[cut:])
        events += await commit(talk)
        await talk.send("response.create")
        events += await talk.until("response.done")
    assert "error" not in kinds(events)
    assert likeness(heard(generator), question) > 0.9, "nothing of it is lost"
    names = kinds(events)
    assert names.count("input_audio_buffer.speech_started") == names.count("input_audio_buffer.speech_stopped")
    [committed] = [event for event in events if event["type"] == "input_audio_buffer.committed"]
    begun = [event["item_id"] for event in events if event["type"].startswith("input_audio_buffer.speech_")]
    assert set(begun) <= {committed["item_id"]}, "the item that was announced is the one that comes"
    assert begun or seconds < 0.3
    assert [one.task for one in generator.requests if one.audio is not None][-1] in (Task.A1T1, None)


async def test_sound_that_the_client_takes_over_can_be_cleared(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator, gap_commit_ms=100) as server, api(server) as talk:
        await talk.greeted()
        await talk.say(question)
        await talk.send("session.update", session={"type": "realtime", **PUSH_TO_TALK})
        begun = await talk.until("session.updated")
        await talk.send("input_audio_buffer.clear")
        await talk.next("input_audio_buffer.cleared")
        await talk.say(0.5 * question)
        events = await commit(talk)
    assert kinds(begun)[-2:] == ["input_audio_buffer.speech_stopped", "session.updated"]
    assert events[0]["item_id"] != begun[0]["item_id"]
    assert likeness(heard(generator), question) > 0.98


async def test_turns_are_found_where_they_are_after_push_to_talk(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**PUSH_TO_TALK)
        await talk.say(np.concatenate([question, QUIET, QUIET]))
        await commit(talk)
        await talk.update(**SERVER_VAD)
        await talk.say(np.concatenate([QUIET, question, QUIET]))
        events = await talk.until("response.done")
    started = next(event for event in events if event["type"] == "input_audio_buffer.speech_started")
    begin_ms = 1000 * (len(question) + 3 * 16_000) / 16_000
    assert abs(started["audio_start_ms"] - begin_ms) < 200
    assert likeness(heard(generator), question) > 0.9


async def test_a_turn_that_is_partly_transcribed_ends_where_push_to_talk_begins(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    speech = np.concatenate([question] * 21)[: 16_000 * 29]
    async with running(generator, max_audio_lead_s=100) as server, api(server) as talk:
        await talk.greeted()
        await talk.say(speech)
        await talk.send("session.update", session={"type": "realtime", **PUSH_TO_TALK})
        events = await talk.until("response.done")
    assert "error" not in kinds(events)
    assert "input_audio_buffer.speech_stopped" in kinds(events)
