"""What is written to what is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text import MARKS, speakable


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It's 3:05 pm.", "It's three oh five pm."),
        ("At 4:00 sharp", "At four o'clock sharp"),
        ("$1 and $1,250.50", "one dollar and one thousand two hundred and fifty point five zero dollars"),
        ("in 1984, 20% of 5", "in nineteen eighty four, twenty percent of five"),
        ("the 3rd", "the third"),
        ("**Bold** and `code`", "Bold and code"),
        ("see https://example.org/a?b now", "see link now"),
        ("well (yes) … no", "well, yes, no"),
        ("rock & roll — ok", "rock and roll, ok"),
        ("the students' 'own' don't", "the students own don't"),
        ("😀", ""),
    ],
)
def test_examples(written: str, said: str) -> None:
    assert speakable(written) == said


@given(st.text(max_size=80))
def test_only_what_the_voice_reads_is_left(text: str) -> None:
    said = speakable(text)
    assert re.fullmatch(rf"[A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]*", said)
    assert "  " not in said
    assert speakable(said) == said
