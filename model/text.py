"""What is written to what is said: the spoken form of an answer's text, token by token.

The voice is trained on letters and a few marks only, so everything else is normalised first, as a person would read it:
numbers, dates, times, money, units, titles, initials. A token is a word, or a group of words that are read as one
(`written_words`). It is read by what stands before it, and some by what follows (`waits`), so that an answer can be
spoken while it is still being written. The same function prepares training text and runs in front of the TTS adapter.
"""

from __future__ import annotations

import re
import unicodedata

from model.abbreviations import (
    ABBREVIATIONS,
    ADDRESS_PARTS,
    DAYS,
    DOTTED,
    DOTTED_UNITS,
    FUNCTION_WORDS,
    LAST_WORDS,
    LETTERS,
    MODIFIERS,
    MONTH_NAMES,
    MONTHS,
    NUMBERED,
    NUMBERED_ABBREVIATIONS,
    OPERATORS,
    RULERS,
    TITLES,
)
from model.normalize.addresses import is_telephone
from model.normalize.common import MARKS, Context, letters
from model.normalize.dates import say_month
from model.normalize.numbers import roman, say
from model.normalize.quantities import dotted_unit, say_unit
from model.normalize.tokens import plain, written_words
from model.normalize.verbalise import verbalise

_PARTS = re.compile(r"([(\[{\"']*)(.*?)([.,;:?!)\]}\"']*)", re.DOTALL)
_DOTTED_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_GROUP_WITH_STOP = re.compile(
    r"\d.* (?:sq|cu|fl|ft|in|mi|yd|oz|[ap]\.m|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)$"
    r"|-(?:Mon|Tues?|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)$"
)
_AROUND = f"{MARKS}()[]{{}}\"'"


def _take_apart(word: str) -> tuple[str, str, str]:
    """Marks before a token, the token, marks after it. Brackets that are closed within the token belong to it."""
    match = _PARTS.fullmatch(word)
    assert match is not None
    opened, core, closed = match.groups()
    if opened.endswith("(") and core.count(")") > core.count("("):
        opened, core = opened[:-1], f"({core}"
    if closed.startswith(")") and core.count("(") > core.count(")"):
        core, closed = f"{core})", closed[1:]
    return opened, re.sub(r"^\.{2,}(?![./\\])", "", core), closed


# -- written short ----------------------------------------------------------------------------------------------------
def _abbreviated(core: str, more: bool, context: Context) -> tuple[str, bool] | None:
    """What stands before a full stop (and `more` marks), if it is written short.

    → what is said, and whether the stop may end a sentence.
    """
    name, before, after = core.lower(), context.before, context.after
    bare = after.strip(MARKS)
    follows_name = not more and after[:1].isupper() and bare not in FUNCTION_WORDS and bare not in ADDRESS_PARTS
    if name == "st":
        return ("Saint", False) if follows_name else ("Street", bare not in ADDRESS_PARTS)
    if name == "dr" and core[0].isupper() and not follows_name and _is_name(before):
        return "Drive", True
    if name in MONTHS and after[:1].isdecimal():
        return MONTHS[name], False
    if said := _day(core, after) or say_month(core, context):
        return said, True
    unit = dotted_unit(core, context)
    numbered = after[:1].isdecimal() or (roman(bare) and len(name) > 2)
    if name in NUMBERED_ABBREVIATIONS and numbered and unit is None:
        return NUMBERED_ABBREVIATIONS[name], False
    if unit:
        return unit, True
    if _GROUP_WITH_STOP.search(core):
        return verbalise(core, context), True
    if name in TITLES:
        return (TITLES[name], False) if after[:1].isupper() or after == "and" else None
    if name in ABBREVIATIONS:
        return ABBREVIATIONS[name], False
    if name in LAST_WORDS:
        return LAST_WORDS[name], True
    if name in DOTTED:
        return DOTTED[name], name not in ("e.g", "i.e", "a.k.a")
    if _DOTTED_LETTERS.fullmatch(core):
        if core.islower() and name not in ("a.m", "p.m"):
            return letters(core), False
        initials = follows_name and core.isupper() and name not in ("a.m", "p.m")
        return letters(core), not initials
    if len(core) == 1 and core.isupper() and core != "I" and follows_name:
        return letters(core), False
    return None


def _is_name(before: str) -> bool:
    return before[:1].isupper() and before.isalpha() and before not in FUNCTION_WORDS


def _day(core: str, after: str) -> str | None:
    """A weekday that is written short; "Sat" and "Sun" before a date only."""
    if core.lower() not in DAYS or not core[0].isupper():
        return None
    dated = after[:1].isdecimal() or after.strip(MARKS).lower() in MONTHS or after.strip(MARKS) in MONTH_NAMES
    dated = dated or after.strip(MARKS) in ("morning", "afternoon", "evening", "night")
    return DAYS[core.lower()] if dated or core not in ("Sat", "Sun", "Wed") else None


def _stop_is_part(word: str) -> bool:
    """A word whose full stop may say that it is written short."""
    core = word.strip("([{\"'<.,;:?!)]}>")
    name = core.lower()
    short = (MONTHS, DAYS, TITLES, ABBREVIATIONS, LAST_WORDS, DOTTED, DOTTED_UNITS, NUMBERED_ABBREVIATIONS)
    return (
        (len(core) == 1 and core.isalpha())
        or name == "st"
        or any(name in one for one in short)
        or bool(_DOTTED_LETTERS.fullmatch(core))
    )


# -- tokens -----------------------------------------------------------------------------------------------------------
def _clean(text: str) -> str:
    """Only letters that the G2P knows, apostrophes, spaces and `MARKS`, each in its place."""
    if not text.isascii():
        text = "".join(one if one <= "ÿ" else unicodedata.normalize("NFKD", one) for one in text)
    text = re.sub(rf"[)\]}}]+(?=[{re.escape(MARKS)}])", "", text)
    text = re.sub(r"[()\[\]{}]", ",", text)
    text = re.sub(r"[\u0300-\u036f]", "", text)
    text = re.sub(rf"[^A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)  # quotation marks, not apostrophes
    text = re.sub(rf"\s+|^[{re.escape(MARKS)} ]*(?=[.?!;:])[.?!;:]+ *(?=\w)", " ", text)
    text = re.sub(rf"\s+([{re.escape(MARKS)}])", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])[{re.escape(MARKS)}]+", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])(?=\w)", r"\1 ", text)
    return text.strip()


def spoken(word: str, before: str = "", after: str = "") -> str:
    """The spoken form of a token between its neighbours, "" at an end: no words, one or several.

    A comma that it begins with belongs to the word before (`join`).
    """
    if word.isascii() and word.isalpha() and word.islower() and len(word) > 3 and not before[-1:].isdecimal():
        return word
    word, before, after = plain(word), plain(before), plain(after)
    begins = not before or (before.rstrip(")\"'")[-1:] in ".?!" and not _stop_is_part(before))
    parted = before[-1:] in MARKS and not _stop_is_part(before)
    context = Context(before.strip(_AROUND), after.lstrip("([{\"'<"), parted)
    opened, core, closed = _take_apart(word)
    if not core:
        return "," if "," in word or "(" in word else ""
    more = any(mark in closed[1:] for mark in MARKS)
    short = _abbreviated(core, more, context) if closed.startswith(".") else None
    if short:
        said, may_end = short
        if more or not (may_end and (not after or after[0].isupper())):
            closed = closed[1:]
    else:
        said = _listed(core, context, closed) or verbalise(core, context)
    said = _clean(f"{opened}{said}{closed}")
    return said[:1].upper() + said[1:] if begins and (core[0].isupper() or core[0].isdecimal()) else said


def _listed(core: str, context: Context, closed: str) -> str | None:
    """A letter of a word that is spelled aloud, "C, A, T.", or a Roman numeral of a list, "I, II, III"."""
    if len(core) != 1 or core.lower() not in LETTERS:
        return None
    before, following = context.before, context.after.strip(MARKS)
    if before[-1:].isdecimal() and say_unit(core, context):
        return None
    if before[-1:] in ("°", "º") and core in "CF":
        return "Celsius" if core == "C" else "Fahrenheit"
    if core in "IVX":
        if (closed.startswith(",") and len(following) > 1 and roman(following)) or (len(before) > 1 and roman(before)):
            return say(roman(core) or 0)
        if before in NUMBERED or before in RULERS:
            return None
    spelled = closed.startswith(",") or (core.isupper() and len(before) == 1 and before.isupper())
    return letters(core) if spelled else None


def waits(word: str, before: str = "") -> bool:
    """Whether a token's spoken form depends on the token after it; `before` is the one before."""
    word = plain(word)
    if word.isascii() and word.isalpha() and word.islower() and len(word) > 3:
        return False
    _, core, closed = _take_apart(word)
    if closed.startswith("."):
        return _stop_is_part(core)
    if any(mark in closed for mark in MARKS):
        return core in ("I", "V", "X") and closed.startswith(",")
    if core == "I":
        name = plain(before).strip(_AROUND)
        return name in NUMBERED or name in RULERS
    numeric = any(map(str.isdecimal, core)) and not is_telephone(core)
    names = core.lower() in TITLES or core.lower() in MONTHS or core in DAYS or core in ("Sat", "Sun")
    return numeric or names or roman(core) is not None or core in OPERATORS or core.lower() in MODIFIERS


def join(words: list[str], said: str) -> list[str]:
    """Take what is said next apart into words; a comma that it begins with goes to the last of the words so far."""
    if said.startswith(","):
        said = said[1:]
        if words and words[-1][-1] not in MARKS:
            words[-1] += ","
    return said.split()


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
