"""Numbers: cardinals, ordinals, decimals, powers, fractions, ratios and versions."""

from __future__ import annotations

import functools
import re

from num2words import num2words

from model.abbreviations import OPERATORS, UNITS
from model.normalize.common import Context, letters

WHOLE = r"(?:\d{1,3}(?:,\d{2,3})*,\d{3}|\d+)"
NUMBER = rf"(?:{WHOLE}(?:\.\d+)?|\.\d+)"
"""Digits with thousands separators and a decimal fraction, without a sign."""

_PLAIN = re.compile(rf"({WHOLE})?(?:\.(\d+))?")
_ORDINAL = re.compile(rf"({WHOLE})(?:st|nd|rd|th)", re.IGNORECASE)
_COUNTED = re.compile(rf"({NUMBER})(%|‰|x)?")
_NUMBERED = re.compile(rf"([Nn]o\. |#|№ ?)({NUMBER})")
_EUROPEAN = re.compile(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+")
_COMMA_DECIMAL = re.compile(r"\d+,\d{1,2}")
_SCIENTIFIC = re.compile(rf"({NUMBER})(?: ?([x×*·⋅]) ?10\^?\(?([+-]?\d+)\)?|[eE]([+-]?\d+))")
_POWER = re.compile(rf"({NUMBER})\^[({{]?([+-]?\d+)[)}}]?(?:st|nd|rd|th)?")
_FRACTION = re.compile(rf"(?:(\d+)[ -])?({WHOLE})/({WHOLE})(?:ths?|rds?|nds?|sts?)?")
_SCORE = re.compile(rf"({NUMBER})/({NUMBER})")
_RATIO = re.compile(rf"({NUMBER}):({NUMBER})(?::({NUMBER}))?")
_VERSION = re.compile(r"(v|V|ver\.|rev\.)?(\d+(?:\.\d+)+)([a-z]{1,2}\d*)?")
_LONG = 15
"""More digits than these are read one by one."""


@functools.lru_cache(maxsize=4096)
def say(number: int, kind: str = "cardinal") -> str:
    """An integer in words, without hyphens and commas; `kind` is one of num2words' ("ordinal", "year")."""
    return str(num2words(number, to=kind)).replace("-", " ").replace(",", "")


def digits(text: str) -> str:
    """The digits of a text one by one: "4B7" → "four seven"."""
    return " ".join(say(int(digit)) for digit in text if digit.isdecimal())


def year(text: str) -> str | None:
    """Four digits that are likely a year, 1100 to 2099, as years are read; else None."""
    return say(int(text), "year") if len(text) == 4 and text.isdecimal() and 1100 <= int(text) < 2100 else None


def amount(text: str) -> str:
    """A number as it is counted: "1,250" → "one thousand two hundred and fifty", ".5" → "zero point five"."""
    match = _PLAIN.fullmatch(text)
    assert match is not None, text
    whole, fraction = (match[1] or "0").replace(",", ""), match[2]
    round_number = whole.endswith("000000") and len(whole) <= 36
    by_digits = (len(whole) > _LONG and not round_number) or (len(whole) > 1 and whole[0] == "0")
    plain = digits(whole) if by_digits else say(int(whole))
    return f"{plain} point {digits(fraction)}" if fraction else plain


def counted(text: str) -> str:
    """A number that stands alone: four digits are a year, all others an amount."""
    return year(text) or amount(text)


def signed(text: str) -> str:
    """An integer that may have a sign: "-9" → "minus nine"."""
    return f"{'minus ' if text[0] == '-' else ''}{say(int(text.lstrip('+-')))}"


def power(exponent: str) -> str:
    """What follows a base: "squared", "to the power of minus six"."""
    return {"2": "squared", "3": "cubed"}.get(exponent) or f"to the power of {signed(exponent)}"


def say_number(core: str, context: Context) -> str | None:
    """1,250; 3.5; 21st; 20 %; 3x; thousands with points."""
    if core.endswith("'s") and core[:-2].isdecimal():
        return f"{amount(core[:-2])}'s"
    if core[-1] == "x" and (context.after in OPERATORS or context.before in OPERATORS) and core[:-1].isdecimal():
        return f"{amount(core[:-1])} x"
    if match := _COUNTED.fullmatch(core):
        plain = amount(match[1]) if match[2] else counted(match[1])
        return plain + {"%": " percent", "‰": " per mille", "x": " times"}.get(match[2], "")
    if _COMMA_DECIMAL.fullmatch(core) and context.after.strip(".,;:?!") in UNITS:
        return amount(core.replace(",", "."))
    if match := _ORDINAL.fullmatch(core):
        return say(int(match[1].replace(",", "")), "ordinal")
    if _EUROPEAN.fullmatch(core) and not _is_ip(core):
        return amount(core.replace(".", "").replace(",", "."))
    return None


def say_numbered(core: str, context: Context) -> str | None:
    """No. 5, #5, № 5."""
    match = _NUMBERED.fullmatch(core)
    return f"{match[1][:1].replace('#', 'n').replace('№', 'n')}umber {amount(match[2])}" if match else None


def say_scientific(core: str, context: Context) -> str | None:
    """6.02e23, 6.02 × 10^23, 10^6."""
    if match := _SCIENTIFIC.fullmatch(core):
        base, exponent = match[1], match[3] or match[4]
        return f"{amount(base)} times ten {power(exponent)}"
    if match := _POWER.fullmatch(core):
        return f"{amount(match[1])} {power(match[2])}"
    return None


def fraction(above: str, below: str) -> str:
    """A fraction: "one half", "three quarters"; one that is no part of a whole is read as "over"."""
    over, under = int(above.replace(",", "")), int(below.replace(",", ""))
    if not 0 < over < under or "0" in (above[0], below[0]):
        return f"{amount(above)} over {amount(below)}"
    name = {2: "half", 4: "quarter"}.get(under) or say(under, "ordinal").removeprefix("one ")
    return f"{amount(above)} {name if over == 1 else 'halves' if under == 2 else f'{name}s'}"


def mixed(whole: str, above: str, below: str) -> str:
    """A mixed number: "one and a half"."""
    part = fraction(above, below)
    return f"{amount(whole)} and {'a' + part[3:] if part == 'one half' else part}"


def say_fraction(core: str, context: Context) -> str | None:
    """3/4, mixed numbers, 50/50, and marks such as 9.5/10."""
    if match := _FRACTION.fullmatch(core):
        whole, above, below = match.groups()
        if whole:
            return mixed(whole, above, below)
        if above == below:
            return f"{amount(above)} {amount(below)}"
        return fraction(above, below)
    if match := _SCORE.fullmatch(core):
        return f"{amount(match[1])} out of {amount(match[2])}"
    return None


def say_ratio(core: str, context: Context) -> str | None:
    """2:1, 1:2:3."""
    match = _RATIO.fullmatch(core)
    return " to ".join(amount(part) for part in match.groups() if part) if match else None


def _is_ip(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdecimal() and len(part) < 4 and int(part) < 256 for part in parts)


def _ending(text: str | None) -> str:
    return f" {letters(text)} {digits(text)}".rstrip() if text else ""


def say_version(core: str, context: Context) -> str | None:
    """2.0.1, v3.11, 192.168.1.1: more than one point, or a letter before the number."""
    match = _VERSION.fullmatch(core)
    if match is None:
        return None
    name, numbers, ending = match.groups()
    parts = numbers.split(".")
    if len(parts) == 2 and not name:
        return None
    if not name and _is_ip(numbers):
        return " dot ".join(digits(part) for part in parts)
    said = " point ".join(amount(part) if len(part) < 3 else digits(part) for part in parts)
    return f"{'version ' if name else ''}{said}{_ending(ending)}"


# -- Roman numerals ---------------------------------------------------------------------------------------------------
_ROMAN = re.compile(r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(text: str) -> int | None:
    """The value of a well-formed Roman numeral up to 3999; None for anything else."""
    if not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0], strict=True))
