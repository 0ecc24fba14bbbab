"""What comes before a question goes to the model before the question does."""

from __future__ import annotations

import numpy as np

from tests.server.harness import client, running
from tests.server.scripted import ANSWER, ScriptedGenerator
from tests.server.test_protocol import ask_by_voice


async def test_instructions_and_history_are_expected_from_the_start() -> None:
    generator = ScriptedGenerator()
    history = [{"user": "Hello.", "assistant": "Good morning!"}]
    async with running(generator) as server, client(server.url) as c:
        await c.start(system_prompt="Be kind.", time_zone="Asia/Tokyo", history=history)
    (expected,) = generator.expected
    assert (expected.text, expected.audio, expected.system_prompt) == ("", None, "Be kind.")
    assert [(turn.user, turn.assistant) for turn in expected.history] == [("Hello.", "Good morning!")]
    assert str(expected.asked_at.tzinfo if expected.asked_at else None) == "Asia/Tokyo"


async def test_somebody_who_begins_to_speak_will_ask(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="Hello.")
        (*_, done) = await c.until("response_done")
        assert isinstance(done, dict)
        await c.send("playback", played_ms=done["audio_ms"], response_id=done["response_id"])
        before = len(generator.expected)
        await ask_by_voice(c, question)
        await c.until("response_done")
    assert len(generator.expected) == before + 1
    assert [(turn.user, turn.assistant) for turn in generator.expected[-1].history] == [("Hello.", ANSWER)]
