"""The normal form in which answers and accepted phrases are compared: lower case, numbers in digits, no punctuation.

"It's fifty-six." and "It is 56" become the same words. Numbers are read within a phrase only: punctuation ends them, so
"one, two, three" stays three numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_CARDINALS = {word: number for number, word in enumerate((*_UNITS, *_TEENS))} | _TENS
_IRREGULAR = {
    "first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12,
}  # fmt: skip
_ORDINALS = {
    f"{word.removesuffix('y')}{'ie' if word in _TENS else ''}th": n for word, n in _CARDINALS.items()
} | _IRREGULAR
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_YEARS = range(13, 21)
"""What "nineteen sixty-nine" and "twenty twenty-six" begin with."""

_CHARACTERS = str.maketrans({"’": "'", "‘": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": ",", "…": ".", "×": "*"})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?(?![a-z0-9])|[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[.,;:!?()\n]|[%°$€£+=/*]")
_SIGNS = {"%": "percent", "°": "degrees", "$": "dollars", "€": "euros", "£": "pounds", "+": "plus", "=": "equals"}
_BREAKS = frozenset(".,;:!?()\n")
_SHORT = {
    "can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us",
    "o'clock": "oclock", "gonna": "going to", "i'm": "i am", "ok": "okay",
}  # fmt: skip
_ENDINGS = {"n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would"}
_IS = (
    "it", "that", "there", "here", "what", "who", "where", "when", "how", "he", "she", "this", "everything", "name",
    "today", "tomorrow", "capital", "answer",
)  # fmt: skip
"""Words whose 's means "is"; elsewhere it is a possessive and is dropped."""


@lru_cache(maxsize=8192)
def normalize(text: str) -> str:
    """Lower-case words without punctuation, contractions written out and numbers in digits; ordinals end in "th"."""
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).lower()
    tokens = _TOKEN.findall(_THOUSANDS.sub("", text))
    written_out = [word for token in tokens for word in _written_out(token)]
    return " ".join(word for word in _numbers(written_out) if word not in _BREAKS)


def _written_out(token: str) -> list[str]:
    """A contraction or a sign in words."""
    if token in _SHORT:
        return _SHORT[token].split()
    if token in _SIGNS:
        return [_SIGNS[token]]
    if token in "/*":
        return []
    for ending, words in _ENDINGS.items():
        if token.endswith(ending):
            return (token.removesuffix(ending) + words).split()
    if token.endswith("'s"):
        stem = token.removesuffix("'s")
        return [stem, "is"] if stem in _IS else [stem]
    return [token.replace("'", "")]


def _numbers(words: Sequence[str]) -> Iterator[str]:
    """The same words, numbers in digits."""
    at = 0
    while at < len(words):
        taken, said = _number(words, at)
        if taken == 0:
            match = re.fullmatch(r"(\d+)(?:st|nd|rd|th)", words[at])
            yield f"{match[1]}th" if match else words[at]
            taken = 1
        else:
            yield said
        at += taken


def _number(words: Sequence[str], at: int) -> tuple[int, str]:
    """How many words from `at` on are one number, and its digits; 0 where none begins there."""
    taken, value = _below_hundred(words, at)
    if words[at].isdecimal() and words[at + 1 : at + 2] and words[at + 1] in _LARGE:  # "300 thousand"
        taken, value = 1, int(words[at])
    elif taken and value in _YEARS:
        more, rest = _below_hundred(words, at + taken)
        if more and rest >= 10:
            return taken + more, str(100 * value + rest)
    if taken == 0 and at < len(words) and words[at] in _LARGE:  # "a hundred"
        value = 1
    elif taken == 0:
        return _ordinal(words, at, 0, 0)
    total, end = 0, at + taken
    while end < len(words) and words[end] in _LARGE:
        value, end = value * _LARGE[words[end]], end + 1
        if end < len(words) and words[end] in ("thousand", "million", "billion"):
            continue
        after = end + 1 if words[end : end + 1] == ["and"] else end
        more, rest = _below_hundred(words, after)
        if not more:
            return _ordinal(words, end, total + value, end - at)
        if words[after + more : after + more + 1] == ["hundred"] and value >= 1000:
            total, value, end = total + value, rest, after + more
        else:
            value, end = value + rest, after + more
    return _ordinal(words, end, total + value, end - at)


def _ordinal(words: Sequence[str], at: int, before: int, taken: int) -> tuple[int, str]:
    """A number that may end in an ordinal ("twenty first"), or in a point and digits ("three point one four")."""
    word = words[at] if at < len(words) else ""
    if word in _ORDINALS and (taken == 0 or _fits(before, _ORDINALS[word])):
        return taken + 1, f"{before + _ORDINALS[word]}th"
    if taken and word == "point":
        digits = []
        for following in words[at + 1 :]:
            if following not in _UNITS:
                break
            digits.append(str(_CARDINALS[following]))
        if digits:
            return taken + 1 + len(digits), f"{before}.{''.join(digits)}"
    return taken, str(before)


def _fits(before: int, ordinal: int) -> bool:
    return before % 100 == 0 or (before % 10 == 0 and before % 100 >= 20 and ordinal < 10)


def _below_hundred(words: Sequence[str], at: int) -> tuple[int, int]:
    """(words taken, value) of a number below a hundred in words; (0, 0) where there is none."""
    first = _CARDINALS.get(words[at]) if at < len(words) else None
    if first is None:
        return 0, 0
    second = _CARDINALS.get(words[at + 1]) if at + 1 < len(words) else None
    if words[at] in _TENS and second is not None and 0 < second < 10:
        return 2, first + second
    return 1, first


def contains(normal: str, phrase: str) -> bool:
    """Whether a phrase stands in a text in normal form, as whole words; a last `*` lets its last word go on."""
    return re.search(_pattern(phrase), normal) is not None


@lru_cache(maxsize=8192)
def _pattern(phrase: str) -> str:
    stem = phrase.endswith("*")
    words = re.escape(normalize(phrase.rstrip("*")))
    if not words:
        raise ValueError(f"the phrase {phrase!r} has no words")
    return rf"(?<![\w.]){words}" + ("" if stem else r"(?![\w.])")  # a point stands within numbers only
