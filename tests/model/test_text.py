"""What is written to what is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.normalize.common import MARKS
from model.text import speakable, spoken, waits


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It's 3:05 pm.", "It's three oh five pee em."),
        ("At 4:00 sharp, or 9am", "At four o'clock sharp, or nine eh em"),
        ("I left at 5 p.m. He left at 6 a.m. sharp.", "I left at five pee em. He left at six eh em sharp."),
        ("$1 and $1,250.50", "one dollar and one thousand two hundred and fifty dollars and fifty cents"),
        ("£3 million, $10-$20", "three million pounds, ten to twenty dollars"),
        ("in 1984, 20% of 5", "in nineteen eighty four, twenty percent of five"),
        ("the 3rd of the 1990s and '80s", "the third of the nineteen nineties and eighties"),
        ("on Nov. 5, or 2026-11-05", "on November fifth, or November fifth, twenty twenty six"),
        ("5 km, 1 km, 60 km/h, 5ft", "Five kilometers, one kilometer, sixty kilometers per hour, five feet"),
        ("1/2 cup or 3/4", "One half cup or three quarters"),
        ("It is 100°C (212°F).", "It is one hundred degrees Celsius, two hundred and twelve degrees Fahrenheit."),
        ("take 10-15 at -5", "take ten to fifteen at minus five"),
        ("call 555-1234 or 911", "call five five five, one two three four or nine one one"),
        ("x = 3 + 4 * 2 - 1", "x equals three plus four times two minus one"),
        ("Dr. Smith and Mrs. Lee live on Baker St. in St. Louis.",
         "Doctor Smith and Missus Lee live on Baker Street in Saint Louis."),
        ("He likes J. R. R. Tolkien. She doesn't.", "He likes jay ar ar Tolkien. She doesn't."),
        ("cats vs. dogs, e.g. mine, etc. They", "cats versus dogs, for example mine, et cetera. They"),
        ("the FBI, NASA and DVDs", "the eff bee eye, Nasa and dee vee dees"),
        ("It was the U.S. in 1950.", "It was the you ess in nineteen fifty."),
        ("Henry VIII in World War II", "Henry the eighth in World War two"),
        ("It ended. FBI agents came. 5 left.", "It ended. Eff bee eye agents came. Five left."),
        ("No. 5 is on. No. I won't", "Number five is on. No. I won't"),
        ("**Bold** and `code`", "Bold and code"),
        ("# Fruit\n* apples\n* pears", "Fruit. apples. pears"),
        ("see https://example.org/a?b now", "see example dot org slash eh question mark bee now"),
        ("well (yes) … no", "well, yes, no"),
        ("rock & roll — ok", "rock and roll, okay"),
        ("the students' 'own' don't", "the students own don't"),
        ("😀", ""),
        ("note ¹", "note"),
    ],
)  # fmt: skip
def test_examples(written: str, said: str) -> None:
    assert speakable(written) == said
    assert speakable(said) == said


_TOKENS = """
Hi, (no) — - * + 5 5. $5 1.5 million km km. Dr. St. No. a.m. U.S. e.g. II A. I x FBI -3 1/2 3:30 Nov. May 1990s etc.
etc.) "quoted" well… @ #1 °C 100°C 12-15 . and The
"""
_PIECES = st.sampled_from(_TOKENS.split())


@given(st.lists(_PIECES, max_size=12).map(" ".join) | st.text(max_size=60))
def test_only_what_the_voice_reads_is_left(text: str) -> None:
    said = speakable(text)
    assert re.fullmatch(rf"[A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]*", said)
    assert said == " ".join(said.split())


@given(st.lists(_PIECES, max_size=12), st.data())
def test_words_that_do_not_wait_are_read_alike_whatever_follows(pieces: list[str], data: st.DataObject) -> None:
    for index, word in enumerate(pieces):
        if not waits(word):
            before, after = pieces[index - 1] if index else "", data.draw(_PIECES)
            assert spoken(word, before, after) == spoken(word, before)
