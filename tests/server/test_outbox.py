"""What waits for a client is counted as it will be sent, and bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from server.events import AnswerAudio, AnswerText, Problem, QuestionHeard, Reply
from server.outbox import Outbox, size
from tests.server.harness import running
from tests.server.realtime import api
from tests.server.scripted import ScriptedGenerator


def test_an_event_counts_as_many_bytes_as_it_has() -> None:
    reply = {"type": "session.updated", "session": {"instructions": "ä" * 1000, "tracing": ["x" * 5000]}}
    assert size(Reply(reply)) >= len(json.dumps(reply, ensure_ascii=False).encode())
    assert size(Problem("code", "x" * 300, field="y" * 3000)) >= 3300
    assert size(QuestionHeard(1, "ä" * 1000)) >= 2000
    assert size(AnswerAudio(1, np.zeros(2048, np.float32))) >= 8192


async def test_answers_leave_half_of_the_room_to_everything_else() -> None:
    outbox = Outbox(1 << 14)
    outbox.put(AnswerText(1, "x" * 9000))
    async with asyncio.timeout(1):
        await outbox.wait_for_room(answer=False, count=5000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await outbox.wait_for_room(answer=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await outbox.wait_for_room(answer=False, count=10_000)
    await outbox.get()
    async with asyncio.timeout(1):
        await outbox.wait_for_room(answer=False, count=1 << 20)  # alone it is let through, however large
    assert outbox.bytes == 0


LARGE: dict[str, dict[str, Any]] = {
    "instructions": {"instructions": "é" * 20_000},
    "tracing": {"tracing": {"workflow_name": "x" * 4000}},
    "truncation": {"truncation": {"type": "x" * 4000}},
    "prompt": {"audio": {"input": {"transcription": {"prompt": "x" * 20_000}}}},
    "model": {"model": "x" * 256},
}


@pytest.mark.parametrize("session", LARGE.values(), ids=LARGE)
async def test_a_client_that_reads_nothing_costs_no_more_than_the_limit(session: dict[str, Any]) -> None:
    async with running(ScriptedGenerator(), max_messages_per_s=1e6) as server, api(server, False, max_queue=1) as talk:
        await talk.greeted()
        await talk.update(**session)
        talk.socket.transport.pause_reading()
        conversation, most = next(iter(server.service._conversations)), 0
        sending = asyncio.create_task(send_updates(talk.socket, 4000))
        for _ in range(100):
            await asyncio.sleep(0.01)
            most = max(most, conversation.outbox.bytes)
        sending.cancel()
        talk.socket.transport.abort()
        waiting = [event.message for event, _ in conversation.outbox._events if isinstance(event, Reply)]
        sent = sum(len(json.dumps(message, ensure_ascii=False).encode()) for message in waiting)
        assert 0 < sent <= most <= server.service.settings.outgoing_bytes


async def send_updates(socket: Any, count: int) -> None:
    for _ in range(count):
        await socket.send('{"type": "session.update", "session": {}}')


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"tracing": [0] * 1500}, "session.tracing"),
        ({"tracing": {"metadata": {"x": "y" * 5000}}}, "session.tracing"),
        ({"truncation": ["x" * 5000]}, "session.truncation"),
        ({"model": "x" * 257}, "session.model"),
        ({"instructions": "x" * 20_001}, "session.instructions"),
        ({"audio": {"input": {"transcription": {"prompt": "x" * 20_001}}}}, "session.audio.input.transcription.prompt"),
        ({"audio": {"input": {"transcription": {"model": "x" * 257}}}}, "session.audio.input.transcription.model"),
        ({"audio": {"output": {"voice": "x" * 65}}}, "session.audio.output.voice"),
    ],
)
async def test_what_is_shown_again_is_bounded(session: dict[str, Any], param: str) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.send("session.update", session=session)
        error = (await talk.next("error"))["error"]
        assert (error["code"], error["param"]) == ("invalid_value", param)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("response.create", {"response": {"metadata": {"k" * 65: "v"}}}),
        ("response.create", {"response": {"metadata": {"k": "v" * 513}}}),
        ("response.create", {"response": {"conversation": "x" * 100_000}}),
        ("response.cancel", {"response_id": "x" * 100_000}),
        ("conversation.item.delete", {"item_id": "x" * 100_000}),
        ("conversation.item.create", {"item": {"type": "x" * 100_000}}),
        ("conversation.item.create", {"item": {"type": "message", "id": "x" * 100_000}}),
        ("x" * 100_000, {}),
        ("session.update", {"session": {"x" * 100_000: 1}}),
        ("session.update", {"event_id": "x" * 100_000, "session": {"tools": [1]}}),
    ],
)
async def test_an_error_is_short_whatever_it_is_about(event: str, fields: dict[str, Any]) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.send(event, **fields)
        assert len(json.dumps(await talk.next("error"))) < 1500
