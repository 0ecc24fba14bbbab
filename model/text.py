"""What is written to what is said: the spoken form of an answer's text, word by word.

The voice is trained on letters and a few marks only, so everything else is written out first, as a person would read
it: numbers, dates, times, money, units, titles, initials. A word is read by what stands before it, and a few by what
follows (`waits`), so that an answer can be spoken while it is still being written. The same function prepares training
text and runs in front of the TTS adapter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from num2words import num2words

from model.abbreviations import (
    ABBREVIATIONS,
    ACRONYMS,
    DOTTED,
    FUNCTION_WORDS,
    INITIALISMS,
    LAST_WORDS,
    LETTERS,
    MAGNITUDES,
    MONTH_NAMES,
    MONTHS,
    NUMBERED,
    OPERATORS,
    PLURALS,
    SILENT,
    SYMBOLS,
    TITLES,
    UNITS,
    WHOLE,
)

MARKS = ",.?!;:"
"""Punctuation that the voice phrases by."""

_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "", "“": '"', "”": '"', "…": ".", "—": ",", "–": "-", "−": "-"})
_EMPHASIS = re.compile(r"(?<=[^\s*])\*+(?!\d)|(?<!\d)\*+(?=[^\s*])|(?<!\w)_+|_+(?!\w)|^#+$")
_PARTS = re.compile(r"([(\[{\"'<]*)(.*?)([.,;:?!)\]}\"'>]*)", re.DOTALL)
_URL = re.compile(
    r"(?:https?://)?(?:www\.)?([\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|dev|ai|uk|de|eu))(?:[/?#]\S*)?"
)
_EMAIL = re.compile(r"([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)")
_DOTTED_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_SPELLED = re.compile(r"(?:[A-Za-z]-){2,}[A-Za-z]")
_CAPITALS = re.compile(r"([A-Z]{2,})('?s)?")
_ROMAN = re.compile(r"(?:X{0,3}(?:IX|IV|V?I{0,3}))")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_AMOUNT = r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?"
_NUMBER = re.compile(rf"{_AMOUNT}(st|nd|rd|th)?(%?)", re.IGNORECASE)
_MONEY = re.compile(rf"([$£€]){_AMOUNT}([kKmMbB](?![A-Za-z]))?")
_WITH_UNIT = re.compile(rf"{_AMOUNT}\s*(°[CF]|[A-Za-z]+(?:/[A-Za-z]+)?)")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(am|pm)?", re.IGNORECASE)
_ISO_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_TELEPHONE = re.compile(r"(?:\d{3}-)?\d{3}-\d{4}")
_RANGE = re.compile(r"([$£€]?)(\d[\d,]*(?:\.\d+)?)-[$£€]?(\d[\d,]*(?:\.\d+)?)(\D.*)?")
_FRACTION = re.compile(r"(\d{1,2})/(\d{1,2})")
_DECADE = re.compile(r"'?(\d{2}|\d{4})'?s")
_CURRENCY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_MONTHS = frozenset((*MONTHS, *(name.lower() for name in MONTH_NAMES)))
_LARGE = {"k": "thousand", "m": "million", "b": "billion"}


# -- numbers ----------------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=4096)
def _say(number: int, kind: str = "cardinal") -> str:
    return str(num2words(number, to=kind)).replace("-", " ").replace(",", "")


def _digits(text: str) -> str:
    return " ".join(_say(int(digit)) for digit in text if digit.isdecimal())


def _amount(whole: str, fraction: str | None = None) -> str:
    """A number as it is counted: "1,250", ".5"."""
    digits = whole.replace(",", "")
    plain = _digits(digits) if len(digits) > 15 or (len(digits) > 1 and digits[0] == "0") else _say(int(digits))
    return f"{plain} point {_digits(fraction)}" if fraction else plain


def _year(digits: str) -> str | None:
    """Four digits that are likely a year."""
    return _say(int(digits), "year") if len(digits) == 4 and 1100 <= int(digits) < 2100 else None


def _say_number(match: re.Match[str]) -> str:
    whole, fraction, ordinal, percent = match.groups()
    if ordinal and not fraction:
        said = _say(int(whole.replace(",", "")), "ordinal")
    else:
        said = (None if fraction else _year(whole)) or _amount(whole, fraction)
    return f" {said}{' percent' if percent else ''} "


def _say_money(match: re.Match[str], after: str) -> str:
    sign, whole, fraction, large = match.groups()
    one, many, cent, cents = _CURRENCY[sign]
    if large or after.strip(MARKS).lower() in MAGNITUDES:
        said = _amount(whole, fraction)
        return f" {said} {_LARGE[large.lower()]} {many} " if large else f" {said} "
    if fraction and len(fraction) == 3:
        part = int(fraction[1:])
        coins = f"{_say(part)} {cent if part == 1 else cents}"
        if whole == "0":
            return f" {coins} "
        return f" {_amount(whole)} {one if whole == '1' else many}" + (f" and {coins} " if part else " ")
    return f" {_amount(whole, fraction)} {one if whole == '1' and not fraction else many} "


def _unit(name: str, single: bool) -> str | None:
    """What a unit is called, "km", "km/h"; None where it is none."""
    first, _, second = name.partition("/")
    said = UNITS.get(first.lower())
    if said is None or (second and second.lower() not in UNITS):
        return None
    if not single:
        head, _, rest = said.partition(" ")
        said = f"{PLURALS.get(head, f'{head}s')} {rest}".strip() if head not in ("kilowatt",) else f"{said}s"
    return f"{said} per {UNITS[second.lower()]}" if second else said


def _say_with_unit(match: re.Match[str]) -> str:
    whole, fraction, name = match.groups()
    said = _amount(whole, fraction)
    if name in ("°C", "°F"):
        return f" {said} degrees {'Celsius' if name == '°C' else 'Fahrenheit'} "
    if name.lower() in ("am", "pm"):
        return f" {said} {_letters(name)} "
    if name.lower() in ("st", "nd", "rd", "th"):
        return match[0]
    unit = _unit(name, whole == "1" and not fraction)
    return f" {said} {unit} " if unit else match[0]


def _say_time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    half = f" {_letters(match[3])}" if match[3] else ""
    if minute == 0:
        return f"{_say(hour)}{half}" if half else f"{_say(hour)} o'clock"
    return f"{_say(hour)} {'oh ' if minute < 10 else ''}{_say(minute)}{half} "


def _say_date(year: str, month: int, day: int) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{MONTH_NAMES[month - 1]} {_say(day, 'ordinal')}, {_year(year) or _amount(year)}"


def _say_range(match: re.Match[str]) -> str:
    sign, low, high, rest = match.groups()
    parts = [_year(part) or _amount(*part.partition(".")[::2]) for part in (low, high)]
    money = f" {_CURRENCY[sign][1]}" if sign else ""
    return f" {parts[0]} to {parts[1]}{money}{rest or ''} "


def _say_fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if not 0 < above < below:
        return f" {_say(above)} over {_say(below)} "
    name = {2: "half", 4: "quarter"}.get(below) or _say(below, "ordinal")
    return f" {_say(above)} {name if above == 1 else 'halves' if below == 2 else f'{name}s'} "


def _say_decade(digits: str) -> str:
    if len(digits) == 4 and digits[2:] == "00":
        return f"{_say(int(digits[:2]))} hundreds" if digits[1] != "0" else f"{_say(int(digits))}s"
    tens = _say(int(digits[-2:]))
    plural = f"{tens[:-1]}ies" if tens.endswith("y") else f"{tens}s"
    return f"{_say(int(digits[:2]))} {plural}" if len(digits) == 4 else plural


def _roman(text: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0], strict=True))


# -- words ------------------------------------------------------------------------------------------------------------
def _letters(text: str) -> str:
    return " ".join(LETTERS[letter] for letter in text.lower() if letter in LETTERS)


def _capitals(word: str) -> str | None:
    """FBI, DVDs, NASA's, WARNING; None where the word is not in capitals."""
    match = _CAPITALS.fullmatch(word)
    if match is None:
        return None
    capitals, ending = match[1], match[2] or ""
    if capitals in ACRONYMS:
        return capitals.capitalize() + ending
    if capitals in INITIALISMS or (len(capitals) < 6 and not set(capitals) & set("AEIOUY")):
        return _letters(capitals) + ending
    return capitals.capitalize() + ending


def _digit_ends(word: str) -> bool:
    return word[-1:].isdecimal()


def _abbreviated(core: str, more: bool, before: str, after: str) -> tuple[str, bool] | None:
    """What stands before a full stop (and `more` marks), if it is written short.

    → what is said, and whether the stop may end a sentence.
    """
    name = core.lower()
    follows_name = not more and after[:1].isupper() and after.strip(MARKS) not in FUNCTION_WORDS
    if name == "st":
        return ("Saint", False) if follows_name else ("Street", True)
    if name in MONTHS and after[:1].isdecimal():
        return MONTHS[name], False
    if name == "no":
        return ("number", False) if after[:1].isdecimal() else None
    if _digit_ends(before) and (unit := _unit(core, before == "1")):
        return unit, True
    if name in TITLES:
        return (TITLES[name], False) if after[:1].isupper() or after == "and" else None
    if name in ABBREVIATIONS:
        return ABBREVIATIONS[name], False
    if name in LAST_WORDS:
        return LAST_WORDS[name], True
    if name in DOTTED:
        return DOTTED[name], name not in ("e.g", "i.e")
    if _DOTTED_LETTERS.fullmatch(core):
        return _letters(core), True
    if len(core) == 1 and core.isupper() and core != "I" and follows_name:
        return _letters(core), False
    return None


def _whole(core: str, before: str, after: str) -> str | None:
    """What the word is read as, where that is not put together from its parts."""
    name = core.lower()
    if said := WHOLE.get(name) or DOTTED.get(name):
        return said
    if name in TITLES and after[:1].isupper() and (core[:1].isupper() and len(core) > 1):
        return TITLES[name]
    if core in OPERATORS:
        between = all(re.search(r"[\d)]$|^[\d(]|^\w$", one.strip(MARKS)) for one in (before, after))
        if between or core in SILENT:
            return OPERATORS[core] if between else "," if core == "-" else ""
    if _digit_ends(before):
        if name in ("am", "pm"):
            return _letters(core)
        if unit := _unit(core, before == "1"):
            return unit
    if core.isdecimal() and len(core) < 3 and 0 < int(core) < 32 and before.lower() in _MONTHS:
        return _say(int(core), "ordinal")
    if before[:1] in _CURRENCY and name in MAGNITUDES and _digit_ends(before):
        return f"{core} {_CURRENCY[before[0]][1]}"
    if len(core) > 1 and _ROMAN.fullmatch(core):
        if before in NUMBERED:
            return _say(_roman(core))
        if after.strip(MARKS).lower() == "century":
            return _say(_roman(core), "ordinal")
        if before[:1].isupper() and before.isalpha() and before not in FUNCTION_WORDS:
            return f"the {_say(_roman(core), 'ordinal')}"
    if date := _ISO_DATE.fullmatch(core):
        return _say_date(date[1], int(date[2]), int(date[3]))
    if date := _US_DATE.fullmatch(core):
        return _say_date(date[3], int(date[1]), int(date[2]))
    if _TELEPHONE.fullmatch(core):
        return ", ".join(_digits(part) for part in core.split("-"))
    if decade := _DECADE.fullmatch(core):
        return _say_decade(decade[1])
    if mail := _EMAIL.fullmatch(core):
        return " at ".join(part.replace(".", " dot ") for part in mail.groups())
    if address := _URL.fullmatch(core):
        return address[1].replace(".", " dot ")
    if _DOTTED_LETTERS.fullmatch(core) or _SPELLED.fullmatch(core):
        return _letters(core)
    return _capitals(core)


def _parts(core: str, after: str) -> str:
    """A word put together from numbers, signs and letters."""
    core = re.sub(r"^#(?=\d)", "number ", core)
    core = _MONEY.sub(lambda match: _say_money(match, after), _RANGE.sub(_say_range, core))
    core = re.sub(r"^-(?=[\d.])", "minus ", core)
    core = re.sub(r"(?<!\d)\.(?=\d)", "0.", core)
    core = _TIME.sub(_say_time, core)
    core = _FRACTION.sub(_say_fraction, core)
    core = _NUMBER.sub(_say_number, _WITH_UNIT.sub(_say_with_unit, core))
    for symbol, said in SYMBOLS.items():
        core = core.replace(symbol, said)
    pieces = (_capitals(piece) or piece for piece in re.split(r"[-\s]+", core))
    return " ".join(pieces)


def _clean(text: str) -> str:
    """Only letters, apostrophes, spaces and `MARKS`, each in its place."""
    text = re.sub(rf"[)\]}}]+(?=[{re.escape(MARKS)}])", "", text)
    text = re.sub(r"[()\[\]{}]", ",", text)
    text = re.sub(rf"[^A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)  # quotation marks, not apostrophes
    text = re.sub(r"\s+", " ", text)
    text = re.sub(rf"\s+([{re.escape(MARKS)}])", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])[{re.escape(MARKS)}]+", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])(?=\w)", r"\1 ", text)
    return text.strip()


def spoken(word: str, before: str = "", after: str = "") -> str:
    """The spoken form of a written word between its neighbours, "" at an end: no words, one or several.

    A comma that it begins with belongs to the word before (`join`).
    """
    word, before, after = (_EMPHASIS.sub("", one.translate(_QUOTES)) for one in (word, before, after))
    begins = not before or (before.rstrip(")\"'")[-1:] in ".?!" and not _stop_is_part(before))
    before, after = before.strip(f"{MARKS}()[]\"'"), after.lstrip("([{\"'<")
    match = _PARTS.fullmatch(word)
    assert match is not None
    opened, core, closed = match.groups()
    if not core:
        return "," if "," in word or "(" in word else ""
    more = any(mark in closed[1:] for mark in MARKS)
    if closed.startswith(".") and (short := _abbreviated(core, more, before, after)):
        said, may_end = short
        if more or not (may_end and (not after or after[0].isupper())):
            closed = closed[1:]
    else:
        whole = _letters(core) if _is_spelled(core, before, closed) else _whole(core, before, after)
        said = _parts(core, after) if whole is None else whole
    said = _clean(f"{opened}{said}{closed}")
    return said[:1].upper() + said[1:] if begins and (core[0].isupper() or core[0].isdecimal()) else said


def _is_spelled(core: str, before: str, closed: str) -> bool:
    """The word is a letter of a word that is spelled aloud: "C, A, T."."""
    if len(core) != 1 or core.lower() not in LETTERS:
        return False
    return closed.startswith(",") or (core.isupper() and len(before) == 1 and before.isupper())


def _stop_is_part(word: str) -> bool:
    """A word whose full stop may say that it is written short."""
    core = word.strip("([{\"'<.,;:?!)]}>")
    short = (MONTHS, TITLES, ABBREVIATIONS, LAST_WORDS, DOTTED, UNITS, ("st", "no"))
    return len(core) == 1 or any(core.lower() in one for one in short) or bool(_DOTTED_LETTERS.fullmatch(core))


def waits(word: str) -> bool:
    """Whether a word's spoken form depends on the word after it."""
    word = _EMPHASIS.sub("", word.translate(_QUOTES))
    match = _PARTS.fullmatch(word)
    assert match is not None
    core, closed = match[2], match[3]
    if closed.startswith("."):
        return _stop_is_part(core)
    roman = len(core) > 1 and _ROMAN.fullmatch(core) is not None
    return roman or core in OPERATORS or core.lower() in TITLES or bool(set(core) & set(_CURRENCY))


def join(words: list[str], said: str) -> list[str]:
    """Take what is said next apart into words; a comma that it begins with goes to the last of the words so far."""
    if said.startswith(","):
        said = said[1:]
        if words and words[-1][-1] not in MARKS:
            words[-1] += ","
    return said.split()


@dataclass(frozen=True)
class Word:
    """A written word; a line that ends without a mark gets a full stop."""

    text: str
    end: int
    """Where it ends in the text."""
    complete: bool
    """Something follows it, so that no more letters can."""


def written_words(text: str, start: int = 0) -> Iterator[Word]:
    """The words of a text from `start` on."""
    for match in re.compile(r"\S+").finditer(text, start):
        word, end = match[0], match.end()
        stop = "." if text[end : end + 1] == "\n" and word[-1].isalnum() else ""
        yield Word(word + stop, end, end < len(text))


def speakable(text: str) -> str:
    """Text with only letters, apostrophes, spaces and `MARKS`: what the voice reads."""
    written = ["", *(word.text for word in written_words(text)), ""]
    words: list[str] = []
    for before, word, after in zip(written, written[1:], written[2:], strict=False):
        words += join(words, spoken(word, before, after))
    return " ".join(words).rstrip(",")


def has_words(text: str) -> bool:
    """Whether there is anything to be said in a text."""
    return any(character.isalpha() for word in written_words(text) for character in spoken(word.text))
