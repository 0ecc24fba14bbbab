"""What a client may do wrong: a typed error each, and the conversation goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from model.request import AudioChunk, Done, TextDelta
from tests.server.harness import client, kinds, pcm, running
from tests.server.scripted import ScriptedGenerator

MIB = 1 << 20
START = '{"type": "start"}'

BAD: list[tuple[str, list[str | bytes], str, str | None]] = [
    ("binary before start", [b"\0\0"], "not_started", None),
    ("text before start", ['{"type": "text", "text": "hi"}'], "not_started", None),
    ("stop before start", ['{"type": "stop"}'], "not_started", None),
    ("no JSON", [START, "hello"], "invalid_json", None),
    ("half a JSON", [START, '{"type": "text", "text": "hi'], "invalid_json", None),
    ("nothing", [START, ""], "invalid_json", None),
    ("NaN", [START, '{"type": "playback", "played_ms": NaN}'], "invalid_json", None),
    ("no object", [START, '["text"]'], "invalid_json", None),
    ("a number", [START, "17"], "invalid_json", None),
    ("very deep", [START, "[" * 100_000], "invalid_json", None),
    ("no type", [START, '{"text": "hi"}'], "unknown_type", "type"),
    ("unknown type", [START, '{"type": "dance"}'], "unknown_type", "type"),
    ("type is no string", [START, '{"type": ["text"]}'], "unknown_type", "type"),
    ("text is missing", [START, '{"type": "text"}'], "invalid_message", "text"),
    ("text is null", [START, '{"type": "text", "text": null}'], "invalid_message", "text"),
    ("text is a number", [START, '{"type": "text", "text": 7}'], "invalid_message", "text"),
    ("text is blank", [START, '{"type": "text", "text": " \\n"}'], "invalid_message", "text"),
    ("text is too long", [START, json.dumps({"type": "text", "text": "x" * 2001})], "text_too_long", "text"),
    ("rate too low", ['{"type": "start", "sample_rate": 7999}'], "invalid_message", "sample_rate"),
    ("rate too high", [START, '{"type": "start", "sample_rate": 192000}'], "invalid_message", "sample_rate"),
    ("rate is a word", ['{"type": "start", "sample_rate": "high"}'], "invalid_message", "sample_rate"),
    ("no patience", ['{"type": "start", "end_silence_ms": 10}'], "invalid_message", "end_silence_ms"),
    ("unknown time zone", [json.dumps({"type": "start", "time_zone": "Mars/Base"})], "invalid_message", "time_zone"),
    ("long prompt", [json.dumps({"type": "start", "system_prompt": "x" * 2001})], "invalid_message", "system_prompt"),
    ("too hot", ['{"type": "start", "temperature": 9}'], "invalid_message", "temperature"),
    ("too fast", ['{"type": "start", "speed": 1.5}'], "invalid_message", "speed"),
    ("language", ['{"type": "start", "language": "de"}'], "unsupported_language", "language"),
    ("long history", [json.dumps({"type": "start", "history": [{"user": "x"}] * 65})], "invalid_message", "history"),
    ("odd history", ['{"type": "start", "history": [{"assistant": "x"}]}'], "invalid_message", "history.0.user"),
    ("position is missing", [START, '{"type": "playback"}'], "invalid_message", "played_ms"),
    ("position below 0", [START, '{"type": "playback", "played_ms": -1}'], "invalid_message", "played_ms"),
    ("big binary", [START, bytes(MIB + 1)], "frame_too_large", None),
    ("big text", [START, json.dumps({"type": "text", "text": "x" * MIB})], "frame_too_large", None),
]


@pytest.mark.parametrize(("frames", "code", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_bad_input_is_a_typed_error_and_the_conversation_goes_on(
    frames: list[str | bytes], code: str, field: str | None
) -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        for frame in frames:
            await c.socket.send(frame)
        if frames[0] == START:
            await c.next("ready")
        error = await c.next("error")
        assert (error["code"], error["fatal"], error.get("field")) == (code, False, field)
        assert len(error["message"]) > 20
        await c.start()
        await c.send("text", text="hello")
        assert kinds(await c.until("response_done"))[-1] == "response_done"


async def test_sound_faster_than_real_time_is_taken_up_to_a_lead() -> None:
    async with running(ScriptedGenerator(), max_audio_lead_s=5.0) as server, client(server.url) as c:
        await c.start()
        second = pcm(np.zeros(16_000, np.float32))
        for _ in range(8):
            await c.socket.send(second)
        assert (await c.next("error"))["code"] == "audio_too_fast"
        await c.send("text", text="hello")
        assert kinds(await c.until("response_done"))[-1] == "response_done"


async def test_too_many_messages_are_dropped() -> None:
    async with running(ScriptedGenerator(), max_messages_per_s=2) as server, client(server.url) as c:
        await c.start()
        for _ in range(5):
            await c.send("interrupt")
        assert (await c.next("error"))["code"] == "too_many_messages"


async def test_a_frame_beyond_all_bounds_closes() -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        await c.start()
        with contextlib.suppress(ConnectionClosed):  # it may close while the frame is still being sent
            await c.socket.send(bytes(4 * MIB + 1))
        await c.socket.wait_closed()
        assert c.socket.close_code == 1009


async def test_a_slow_reader_slows_its_answer_and_memory_does_not_grow() -> None:
    sound = AudioChunk(np.zeros(24_000, np.float32), None)
    script = [TextDelta("long"), *[sound] * 3000, Done("stop", "long", 3000.0, 1, 1)]  # 144 MB on the wire
    generator = ScriptedGenerator()
    async with running(generator, max_audio_lead_s=5.0) as server, client(server.url, max_queue=1) as c:
        await c.start()
        c.socket.transport.pause_reading()
        generator.script = script
        generator.produced = 0
        generator.ended.clear()
        await c.send("text", text="go on and on")
        conversation = next(iter(server.service._conversations))
        with pytest.raises(TimeoutError):  # all of it would be made in a fraction of that
            async with asyncio.timeout(1):
                await generator.ended.wait()
        waiting = conversation.outbox.bytes
        assert generator.produced < 1500, "the answer waits for its reader"
        assert waiting <= server.service.settings.outgoing_bytes + sound.samples.nbytes
        c.socket.transport.resume_reading()
        await c.send("interrupt")
        end = [m for m in await c.until("response_done") if isinstance(m, dict)][-2:]
        assert [m["type"] for m in end] == ["interrupted", "response_done"]
        assert generator.cancelled == 1


async def test_a_reader_that_never_reads_is_dropped() -> None:
    generator = ScriptedGenerator()
    async with running(generator, send_timeout_s=0.2) as server, client(server.url, max_queue=1) as c:
        await c.start()
        c.socket.transport.pause_reading()
        generator.script = [AudioChunk(np.zeros(24_000, np.float32), None)] * 3000
        await c.send("text", text="go on and on")
        async with asyncio.timeout(30):
            await server.service._empty.wait()
        assert generator.cancelled == 1
        c.socket.transport.abort()
