"""A transcript's numbers and letters are compared with the CTC hypothesis as they sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.asr.spoken_forms import DIGITS, digits_of, letters, likeness, spoken_form


@pytest.mark.parametrize(
    ("text", "hypothesis"),
    [
        ("911", "Nine one one."),
        ("2459571.", "Two four five nine five seven one."),
        ("1985", "Nineteen eighty five."),
        ("2004", "Two thousand and four"),
        ("805", "eight oh five"),
        ("1900", "Nineteen hundred"),
        ("1,500", "One thousand five hundred"),
        ("3rd", "third"),
        ("$26", "Twenty six dollars"),
        ("50%", "Fifty percent"),
        ("007", "zero zero seven"),
        ("QLF", "cue el eff"),
        ("5 + 3", "Five plus three"),
        ("8-3", "eight three"),
    ],
)
def test_numbers_and_letters_sound_as_they_were_said(text: str, hypothesis: str) -> None:
    assert likeness(text, hypothesis) < 0.8
    assert likeness(spoken_form(text, hypothesis), hypothesis) >= 0.85


@pytest.mark.parametrize("text", ["The capital of Spain is Madrid.", "I am at NASA.", ""])
def test_words_stay_as_they_are(text: str) -> None:
    assert letters(spoken_form(text, text)) == letters(text)


@given(st.text("0123456789", min_size=1, max_size=12))
def test_digits_said_one_by_one_are_counted(digits: str) -> None:
    said = " ".join(DIGITS[int(digit)] for digit in digits)
    assert digits_of(said) == digits
    assert letters(spoken_form(digits, said)) == letters(said)


@given(st.integers(0, 9), st.integers(2, 5))
def test_a_digit_written_twice_is_unlike_the_digit_said_once(digit: int, times: int) -> None:
    said = DIGITS[digit]
    assert likeness(spoken_form(" ".join([str(digit)] * times), said), said) < 0.8
    assert spoken_form(str(digit), said).strip() == said


@pytest.mark.parametrize(("hypothesis", "digits"), [("Nin one ones.", "911"), ("Sree", "3"), ("seven oh two", "702")])
def test_misspelled_digits_are_recognised(hypothesis: str, digits: str) -> None:
    assert digits_of(hypothesis) == digits


@pytest.mark.parametrize("hypothesis", ["", "Yes.", "nineteen", "I have five", "Hello one"])
def test_other_words_are_no_digits(hypothesis: str) -> None:
    assert digits_of(hypothesis) is None
