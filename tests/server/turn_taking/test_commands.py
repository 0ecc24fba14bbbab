"""A command over an answer ends it; anything that asks for more is answered."""

from __future__ import annotations

import pytest

from server.turn_taking.commands import is_stop_command


@pytest.mark.parametrize(
    "text",
    ["Stop.", "stop", "Stop, please.", "Okay, stop.", "Stop it!", "Wait.", "Wait a second.", "Hold on.", "No.",
     "No, no, no.", "That’s enough, thank you.", "Be quiet, Omni.", "Shut up!", "Never mind.", "One moment, please.",
     "Hang on a minute."],
)  # fmt: skip
def test_commands_want_silence(text: str) -> None:
    assert is_stop_command(text)


@pytest.mark.parametrize(
    "text",
    ["", "Yeah.", "Wait, what about London?", "No, I said Thursday.", "Stop the music at nine.", "Don't stop.",
     "Thank you.", "Tell me more.", "Where is the bus stop?", "Please.", "No stop signs, no stop signs here please"],
)  # fmt: skip
def test_other_words_are_answered(text: str) -> None:
    assert not is_stop_command(text)
