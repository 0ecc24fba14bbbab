"""Hesitations and begun numbers are not taken for the end of a turn."""

from __future__ import annotations

import pytest

from model.lm.unfinished import is_unfinished


@pytest.mark.parametrize(
    ("text", "hypothesis"),
    [
        ("I would like to know.", "I would like to know um."),
        ("I would like to know, um.", "I would like to know um"),
        ("So I went to the", "so I went to the"),
        ("I want to book a uh", "I want to book a uh"),
        ("We had soup and", "we had soup and"),
        ("It was late, so.", "it was late so"),
        ("This is my.", "this is my"),
        ("Erm.", "erm"),
        ("My phone number is 555.", "My phone number is five five five."),
        ("My phone number is 555-123.", "my phone number is five five five one two three"),
        ("555", "five five five"),
        ("The code is 12.", "The code is one two."),
        ("My telephone is 5551", "My telephone is five five five one"),
    ],
)
def test_must_go_on(text: str, hypothesis: str) -> None:
    assert is_unfinished(text, hypothesis)


@pytest.mark.parametrize(
    ("text", "hypothesis"),
    [
        ("What is it made of?", "what is it made of"),
        ("I think so.", "i think so"),
        ("What is two plus two?", "what is two plus two"),
        ("What is 5 5 5?", "what is five five five"),
        ("Oh my.", "oh my"),
        ("And?", "and"),
        ("Seven.", "seven"),
        ("It costs 350.", "it costs three fifty"),
        ("555-123-4567", "five five five one two three four five six seven"),
        ("My PIN is 1234.", "my pin is one two three four"),
        ("I like those.", "i like those"),
        ("Tell me about 911.", "tell me about nine one one"),
        ("", ""),
        ("Hm.", "hm"),
    ],
)
def test_may_be_over(text: str, hypothesis: str) -> None:
    assert not is_unfinished(text, hypothesis)
