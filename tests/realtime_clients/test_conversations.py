"""Unchanged clients of the Realtime API hold conversations with the embedded model: what their users are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model.ears import Ears
from tests.realtime_clients.harness import CLIENTS, Scenario, Turn
from tests.server.harness import client

LONG_QUESTION = "Why is the sky blue?"
"""As in drivers/scenarios."""

Conversations = Callable[[str], dict[str, Scenario | str]]
pytestmark = pytest.mark.parametrize("driver", CLIENTS)


def scenario(conversations: Conversations, driver: str, name: str) -> Scenario:
    held = conversations(driver)[name]
    assert isinstance(held, Scenario), held
    assert held.errors == []
    return held


def assert_answered_aloud(turn: Turn, ears: Ears) -> None:
    assert "Paris" in turn.said
    assert "paris" in ears.hear(turn.sound).text.lower()
    assert not turn.cut


def test_a_spoken_turn_found_by_the_server(conversations: Conversations, ears: Ears, driver: str) -> None:
    (turn,) = scenario(conversations, driver, "spoken").turns
    assert turn.heard is not None
    assert "capital of france" in turn.heard.lower()
    assert_answered_aloud(turn, ears)


def test_a_typed_turn(conversations: Conversations, ears: Ears, driver: str) -> None:
    (turn,) = scenario(conversations, driver, "typed").turns
    assert turn.heard is None
    assert_answered_aloud(turn, ears)


def test_push_to_talk(conversations: Conversations, ears: Ears, driver: str) -> None:
    (turn,) = scenario(conversations, driver, "pushed").turns
    assert turn.heard is not None
    assert "capital of france" in turn.heard.lower()
    assert_answered_aloud(turn, ears)


def test_three_turns_with_memory(conversations: Conversations, driver: str) -> None:
    turns = scenario(conversations, driver, "remembering").turns
    assert len(turns) == 3
    assert "Paris" in turns[1].said
    assert "Max" in turns[2].said, "the dog of the first turn"


async def test_an_answer_is_interrupted_by_speech(
    conversations: Conversations, url: str, ears: Ears, driver: str
) -> None:
    held = scenario(conversations, driver, "interrupted")
    cut, answer = held.turns
    whole = await whole_answer(url)
    assert cut.cut or len(cut.said) < len(whole), "its user was told to stop playing, or nothing more came"
    assert whole.startswith(held.remembered)
    assert 0 < len(held.remembered) < len(whole) / 2, "the words that were played, and no others"
    assert_answered_aloud(answer, ears)


async def whole_answer(url: str) -> str:
    """What the long question is answered when nobody interrupts."""
    async with client(f"{url.replace('http', 'ws')}/ws") as talk:
        await talk.start()
        await talk.send("text", text=LONG_QUESTION)
        while True:
            message = await talk.receive(timeout_s=120)
            if isinstance(message, dict) and message["type"] == "text_done":
                return str(message["text"])
