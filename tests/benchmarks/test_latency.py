"""Questions of the latency benchmark, and what is computed of a conversation's first and last turn."""

from __future__ import annotations

import pytest

from benchmarks.conversation import Turn
from benchmarks.latency import last_against_first, texts
from benchmarks.questions import TEXTS


def turn(wait_s: float) -> Turn:
    return Turn(speech_ended=10.0, turn_confirmed=10.0, sound=[(10.0 + wait_s, 2400)])


def test_a_full_conversation_ends_with_its_first_question() -> None:
    first, second, third = texts(23)
    assert first == [*TEXTS[:9], TEXTS[0]]
    assert second == [*TEXTS[9:18], TEXTS[9]]
    assert third == [TEXTS[18], TEXTS[19], TEXTS[0]]
    assert texts(1) == [[TEXTS[0]]]


def test_the_last_turn_is_compared_with_the_first_of_full_conversations_only() -> None:
    full = [turn(0.5), *[turn(3.0)] * 8, turn(0.6)]
    assert last_against_first([full, [turn(0.5), turn(5.0)]]) == pytest.approx(1.2)
    assert last_against_first([[turn(0.5), turn(5.0)]]) is None
