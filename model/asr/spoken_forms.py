"""What written words may have sounded like: Whisper writes "911" and "QLF" where the CTC hypothesis has the words.

A transcript and a hypothesis can only be compared in one form. `spoken_form` replaces numbers and spelled letters by
the reading that is most like the hypothesis: 1985 as "nineteen eighty five", "one nine eight five" or as a cardinal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from itertools import pairwise

from num2words import num2words

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The words of the digits."""
_LETTERS = {
    "A": "ay", "B": "bee", "C": "see", "D": "dee", "E": "ee", "F": "eff", "G": "gee", "H": "aitch", "I": "eye",
    "J": "jay", "K": "kay", "L": "el", "M": "em", "N": "en", "O": "oh", "P": "pee", "Q": "cue", "R": "ar", "S": "ess",
    "T": "tee", "U": "you", "V": "vee", "W": "doubleyou", "X": "ex", "Y": "why", "Z": "zee",
}  # fmt: skip
_SIGNS = {"%": "percent", "$": "dollars", "£": "pounds", "€": "euros", "+": "plus", "&": "and", "=": "equals"}
_TOKEN = re.compile(r"(?P<money>[$£€])?(?P<number>\d[\d,]*)(?P<ordinal>st|nd|rd|th)?\b|(?P<letters>\b[A-Z]{1,6}\b)")
_LONGEST_CARDINAL = 12
"""Digits of the longest number that is read as a cardinal."""
_SAME_DIGIT = 0.65
"""Share of letters from which a word of a hypothesis is taken for that of a digit: "Nin", "Sree", "zerof"."""


def letters(text: str) -> str:
    """The letters and digits alone, small."""
    return "".join(filter(str.isalnum, text.lower()))


def likeness(one: str, other: str) -> float:
    """Share of letters in common, in order: 0 to 1."""
    return SequenceMatcher(None, letters(one), letters(other), autojunk=False).ratio()


def spoken_form(text: str, hypothesis: str) -> str:
    """`text` with its numbers and spelled letters in words, each in the reading that is most like `hypothesis`."""
    wanted, said, end = letters(hypothesis), "", 0
    for match in _TOKEN.finditer(text):
        said += _signs(text[end : match.start()])
        end = match.end()
        before = letters(said)

        def fits(reading: str, before: str = before) -> float:
            now = before + letters(reading)
            return SequenceMatcher(None, now, wanted[: len(now)], autojunk=False).ratio()

        said += f" {max(_readings(match), key=fits)} "
    return said + _signs(text[end:])


def digits_of(hypothesis: str) -> str | None:
    """The digits that a hypothesis says one by one ("Nin one ones." → "911"); None where it says anything else."""
    found = [digit_of(word) for word in re.findall(r"[a-z']+", hypothesis.lower())]
    return None if not found or None in found else "".join(filter(None, found))


@cache
def digit_of(word: str) -> str | None:
    """The digit that a word of a hypothesis means, also one letter off; None where it means none."""
    if word == "oh":
        return "0"
    if word.endswith(("teen", "ty")):
        return None
    nearest = max(DIGITS, key=lambda name: SequenceMatcher(None, word, name, autojunk=False).ratio())
    like = SequenceMatcher(None, word, nearest, autojunk=False).ratio()
    return str(DIGITS.index(nearest)) if like >= _SAME_DIGIT else None


def _signs(text: str) -> str:
    return "".join(f" {_SIGNS[sign]} " if sign in _SIGNS else sign for sign in text)


def _readings(match: re.Match[str]) -> list[str]:
    if spelled := match["letters"]:
        return [spelled, " ".join(_LETTERS[letter] for letter in spelled)]
    digits = match["number"].replace(",", "")
    found = list(_number_readings(digits))
    if match["ordinal"]:
        found.insert(0, num2words(int(digits), to="ordinal"))
    return [f"{reading} {_SIGNS[match['money']]}" for reading in found] if match["money"] else found


def _number_readings(digits: str) -> Iterator[str]:
    """A number as a cardinal, digit by digit, and cut in pairs as years and times are said."""
    singly = " ".join(DIGITS[int(digit)] for digit in digits)
    if len(digits) <= _LONGEST_CARDINAL and not (digits[0] == "0" and len(digits) > 1):
        yield num2words(int(digits)).replace(",", "")
    yield singly
    if len(digits) > 1:
        yield singly.replace("zero", "oh")
    if 3 <= len(digits) <= 8:
        begin = len(digits) % 2 or 2
        cuts = [0, *range(begin, len(digits) + 1, 2)]
        yield " ".join(_pair(digits[a:b]) for a, b in pairwise(cuts))


def _pair(digits: str) -> str:
    if digits == "00":
        return "hundred"
    if digits[0] == "0" and len(digits) > 1:
        return f"oh {DIGITS[int(digits[1])]}"
    return str(num2words(int(digits)))
