"""What an independent normaliser says: wetext, NVIDIA's grammars for English compiled for WeTextProcessing."""

from __future__ import annotations

import re
from collections.abc import Callable

from wetext import Normalizer

from model.abbreviations import LETTERS, MONTH_NAMES
from model.normalize.numbers import say

_NAMES = {said: letter for letter, said in LETTERS.items()}
_MONTHS = "|".join(month.lower() for month in MONTH_NAMES)


class Oracle:
    """The oracle for English."""

    def __init__(self) -> None:
        self._normalizer = Normalizer(lang="en", operator="tn")

    def said(self, written: str) -> str:
        """A text in words, as the oracle has it; "" where it fails."""
        try:
            return str(self._normalizer.normalize(written))
        except AssertionError:  # it cannot parse its own result
            return ""


def alike(said: str, expected: str) -> bool:
    """Whether two spoken forms are the same but for notation and what `ARGUED` lists."""
    ours, theirs = _bare(said), _bare(expected)
    return ours == theirs or ours == _argued(theirs)


def judged(expected: str) -> bool:
    """Whether the oracle has read everything: it leaves what it does not know as it is written."""
    return bool(expected) and not re.search(r"\d|[a-z][A-Z]|[A-Z][a-z]+\.", expected)


def _bare(said: str) -> str:
    """Lower case, without marks; letters by themselves; dates month first; "oh" as zero; without "and", "the", "of"."""
    text = said.lower().replace("'", "")
    for name, letter in sorted(_NAMES.items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"\b{name}\b", letter, text) if len(name) > 1 else text
    text = " ".join(re.sub(r"[^\w ]", " ", text).split())
    text = re.sub(r"\bo\b", "zero", text)
    text = re.sub(r"(?<=\b\w) (?=\w\b)", "", text)
    text = re.sub(r"\b(?:and|of|the|a)\b", " ", text)
    text = re.sub(r"\bnegative\b", "minus", text)
    text = " ".join(text.split())
    return re.sub(rf"\b((?:\w+ty )?\w+(?:st|nd|rd|th)) ({_MONTHS})\b", r"\2 \1", text)


_DIGITS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
_TWO = {say(number): number for number in range(10, 100)}
_TWO_WORDS = "|".join(sorted(_TWO, key=len, reverse=True))


def _coins(match: re.Match[str]) -> str:
    one, two, currency = match.groups()
    cents = 10 * _DIGITS.index(one) + _DIGITS.index(two or "zero")
    name = {"pound": "penny" if cents == 1 else "pence"}.get(currency, "cent" if cents == 1 else "cents")
    return f" {currency}s {say(cents)} {name}"


def _two_digits(match: re.Match[str]) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in str(_TWO[match[0]]))


ARGUED: tuple[tuple[str, str | Callable[[re.Match[str]], str], str], ...] = (
    (r"^thousand|(?<=paid )thousand", "one thousand", "the oracle drops the one of 1,000 to 1,999"),
    (
        rf" point ({'|'.join(_DIGITS)})(?: ({'|'.join(_DIGITS)}))? (dollar|euro|pound)s",
        _coins,
        "cents are said as cents",
    ),
    (r"^one (dollar|pound|euro)s", r"one \1", "one dollar and ten cents"),
    (r"\b(hour|minute|second)\b(?= |$)", r"\1s", "the oracle says twenty one minute"),
    (r"\bmisses\b", "missus", "Mrs. is Missus; Misses is the plural of Miss"),
    (rf"\b(?:{_TWO_WORDS})\b(?=.* dot )", _two_digits, "digits of an address can be written down one by one"),
    (r"^https colon slash slash ", "", "nobody says or types the scheme"),
    (r"^one thousand nine hundred(?= to )", "nineteen hundred", "a span of years is read as years"),
    (rf"^one thousand nine hundred(?= (?:{'|'.join(_DIGITS)}) to )", "nineteen zero", "the same"),
    (r"^one thousand nine hundred(?= .* to )|(?<= to )one thousand nine hundred(?= )", "nineteen", "the same"),
)
"""Differences in which the oracle is not followed: pattern, what takes its place, why."""


def _argued(theirs: str) -> str:
    for pattern, replacement, _ in ARGUED:
        theirs = re.sub(pattern, replacement, theirs)
    return theirs
