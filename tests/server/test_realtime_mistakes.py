"""What a client of the Realtime API does wrong, and how exactly it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from model.request import AudioChunk, Done, TextDelta
from tests.server.harness import running
from tests.server.realtime import api, kinds
from tests.server.scripted import ScriptedGenerator

SECOND = AudioChunk(np.zeros(24_000, np.float32), None)


@pytest.mark.parametrize(
    ("event", "fields", "param"),
    [
        ("response.create", {"response": {"max_output_tokens": "many"}}, "response.max_output_tokens"),
        ("response.create", {"response": {"max_output_tokens": 0}}, "response.max_output_tokens"),
        ("session.update", {"session": {"max_output_tokens": 5000}}, "session.max_output_tokens"),
        ("session.update", {"session": {"max_output_tokens": [1]}}, "session.max_output_tokens"),
        (
            "session.update",
            {"session": {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        (
            "session.update",
            {"session": {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "x": 2}}}}},
            "session.audio.input.turn_detection.x",
        ),
        (
            "session.update",
            {"session": {"audio": {"input": {"turn_detection": {"type": "x"}}}}},
            "session.audio.input.turn_detection",
        ),
        ("session.update", {"session": {"audio": {"input": 3}}}, "session.audio.input"),
        ("session.update", {"session": {"output_modalities": ["x"]}}, "session.output_modalities.0"),
        ("response.create", {"response": {"metadata": {"k": 1}}}, "response.metadata.k"),
        ("response.create", {"response": {"output_modalities": "audio"}}, "response.output_modalities"),
        ("conversation.item.create", {"item": {"type": "message", "content": [{"text": "x"}]}}, "item.content.0.type"),
        (
            "conversation.item.create",
            {"item": {"type": "message", "content": [{"type": "input_audio", "audio": 1}]}},
            "item.content.0.audio",
        ),
        ("input_audio_buffer.append", {"audio": ["AAAA"]}, "audio"),
        ("input_audio_buffer.append", {}, "audio"),
        ("conversation.item.delete", {}, "item_id"),
    ],
)
async def test_errors_name_the_apis_field_and_nothing_of_pydantics(
    event: str, fields: dict[str, Any], param: str
) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.send(event, **fields)
        assert (await talk.next("error"))["error"]["param"] == param


async def test_an_unknown_response_is_named_while_another_is_made() -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.cancel", response_id="resp_unknown")
        error = (await talk.next("error"))["error"]
        assert "no response is in progress" in error["message"]
        await talk.send("response.create")
        await talk.next("response.created")
        await talk.next("rate_limits.updated")
        await talk.send("response.cancel", response_id="resp_unknown")
        error = (await talk.next("error"))["error"]
        assert (error["code"], error["param"]) == ("response_cancel_not_active", "response_id")
        assert "'resp_unknown'" in error["message"]
        assert "another one is" in error["message"]
        await talk.send("response.cancel")
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "cancelled"


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
@pytest.mark.parametrize("direction", ["input", "output"])
async def test_the_rate_of_telephone_sound_may_be_named(law: str, direction: str) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        session = await talk.update(audio={direction: {"format": {"type": law, "rate": 8000}}})
        assert session["audio"][direction]["format"] == {"type": law}
        await talk.send("session.update", session={"audio": {direction: {"format": {"type": law, "rate": 24_000}}}})
        error = (await talk.next("error"))["error"]
        assert error["param"] == f"session.audio.{direction}.format.rate"
        assert f"{law} comes at 8000 Hz, not 24000" in error["message"]
        await talk.send(
            "session.update", session={"audio": {direction: {"format": {"type": "audio/pcm", "rate": 8000}}}}
        )
        assert "audio/pcm comes at 24000 Hz, not 8000" in (await talk.next("error"))["error"]["message"]
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.done")


async def test_nothing_is_told_of_an_item_after_it_was_deleted() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        generator.script = [TextDelta("One. "), SECOND, TextDelta("Two."), SECOND, Done("stop", "One. Two.", 2.0, 1, 1)]
        generator.step_s = 0.2
        await talk.send("response.create")
        spoken = (await talk.until("response.output_item.added"))[-1]["item"]["id"]
        await talk.send("conversation.item.delete", item_id=spoken)
        await talk.until("conversation.item.deleted")
        events = await talk.until("response.done")
        assert "response.output_item.done" not in kinds(events)
        assert "conversation.item.done" not in kinds(events)
        assert events[-1]["response"]["status"] == "completed"
        assert events[-1]["response"]["output"] == []
        await talk.send("conversation.item.retrieve", item_id=spoken)
        assert (await talk.next("error"))["error"]["code"] == "item_retrieve_invalid_item_id"
