"""Letters: capitals, spelled words, chemical formulas, chords of keys, Roman numerals."""

from __future__ import annotations

import re
from importlib import resources

from model.abbreviations import (
    ACRONYMS,
    ELEMENTS,
    EXTENSIONS,
    FIRST_PERSON,
    FUNCTION_WORDS,
    INITIALISMS,
    KEYS,
    MODIFIERS,
    NUMBERED,
    RULED,
    RULERS,
    SYMBOLS,
)
from model.normalize.common import MARKS, Context, letters
from model.normalize.numbers import amount, digits, roman, say, year

SHORT_WORDS = frozenset(resources.files("model.normalize").joinpath("short_words.txt").read_text("ascii").split())
"""English words of two to five letters that are spoken as words: in the CMU Pronouncing Dictionary with phonemes that
are not the names of their letters, and common (one in 500,000 words or more)."""

_VOWELS = frozenset("aeiouy")
_CAPITALS = re.compile(r"([A-Z]{2,})(['’]?s|['’]d)?")
_LETTER_AND = re.compile(r"([A-Z]+)&([A-Z]+)('s)?")
_SPELLED = re.compile(r"(?:[A-Za-z]-){2,}[A-Za-z]|(?:[A-Z]-){1,}[A-Z]")
_FORMULA = re.compile(r"(?:\(?[A-Z][a-z]?\d*(?:\)\d*)?)+(?:\^\{?(\d?[+-]|[+-]\d)\}?|([+-]))?")
_HYDRATE = re.compile(r"([^·\d][^·]*)·(\d*)([^·]+)")
_FORMULA_PART = re.compile(r"[A-Z][a-z]?|\d+")
_NO_FORMULA = frozenset(("CoOp", "HoHo", "YoY", "PoP", "PoC", "InN", "NoSQL", "CoOP", "HeLa"))
_KEY = re.compile(r"[A-Za-z]+|[fF]\d{1,2}|[^\w\s]|\d")


def is_word(text: str) -> bool:
    """Whether short letters such as "net" or "txt" are said as a word rather than spelled."""
    low = text.lower()
    if text.isupper() and text in INITIALISMS:
        return False
    if low in SHORT_WORDS or text.upper() in ACRONYMS or text in SYMBOLS.values():
        return True
    if text.upper() in INITIALISMS or not _VOWELS & set(low):
        return False
    return len(low) > (4 if text.isupper() else 2 if text[0].isupper() else 3)


def name_part(text: str) -> str:
    """Letters of an address or a file name: a word, or spelled."""
    if said := EXTENSIONS.get(text.lower()):
        return said
    if not is_word(text):
        return letters(text)
    return text.capitalize() if text.isupper() else text


# -- capitals ---------------------------------------------------------------------------------------------------------
def say_capitals(core: str, context: Context) -> str | None:
    """FBI, DVDs, NASA's, WARNING, AT&T.

    Known acronyms are said as words and known initialisms spelled. Of the rest, English words are shouted words; up to
    four letters, and more without a vowel, are spelled.
    """
    if match := _LETTER_AND.fullmatch(core):
        return f"{letters(match[1])} and {letters(match[2])}{match[3] or ''}"
    match = _CAPITALS.fullmatch(core)
    if match is None:
        return None
    capitals, ending = match[1], (match[2] or "").replace("’", "'")
    shouted = context.before.isupper() and len(context.before) > 1 and is_word(context.before)
    if capitals.lower() in SHORT_WORDS and (capitals not in INITIALISMS or shouted):
        return capitals.capitalize() + ending
    return (capitals.capitalize() if is_word(capitals) else letters(capitals)) + ending


def say_spelled(core: str, context: Context) -> str | None:
    """C-A-T."""
    return letters(core) if _SPELLED.fullmatch(core) else None


# -- formulas and keys ------------------------------------------------------------------------------------------------
def say_formula(core: str, context: Context) -> str | None:
    """H2O, CO2, NaCl, Ca2+, SO4^2-: elements by letter, counts as numbers, the charge last."""
    if "·" in core:
        return _hydrate(core, context)
    match = _FORMULA.fullmatch(core)
    if match is None or core in _NO_FORMULA:
        return None
    charge = match[1] or match[2] or ""
    body = core[: match.start(match.lastindex)] if charge and match.lastindex else core
    parts = _FORMULA_PART.findall(body)
    elements = [part for part in parts if part.isalpha()]
    if not all(part in ELEMENTS for part in elements) or (len(elements) < 2 and not (charge or len(parts) > 1)):
        return None
    if any(part[0] == "0" or len(part) > 2 for part in parts if part.isdecimal()):
        return None
    if not charge and len(parts) == len(elements) and all(len(one) == 1 for one in elements):
        return None  # plain capitals
    if charge == "+" and any(len(part) > 2 for part in parts if part.isdecimal()):
        return None
    if body[-1:].isdecimal() and charge in ("+", "-") and len(elements) == 1 and body[0] in "BF":
        return None
    said = " ".join(letters(part) if part.isalpha() else amount(part) for part in parts)
    sign = {"+": " plus", "-": " minus"}.get(charge.strip("0123456789"), "")
    return f"{said} {digits(charge)}{sign}".replace("  ", " ") if charge else said


def _hydrate(core: str, context: Context) -> str | None:
    """CuSO4·5H2O."""
    match = _HYDRATE.fullmatch(core)
    if match is None:
        return None
    salt, water = say_formula(match[1], context), say_formula(match[3], context)
    return f"{salt} dot {amount(match[2] or '1')} {water}" if salt and water else None


def say_chord(core: str, context: Context) -> str | None:
    """Ctrl+Alt+Del, Cmd-Shift-P, ⌘C: keys that are pressed together."""
    for sign, name in (("⌘", "Cmd"), ("⌥", "Opt"), ("⇧", "Shift"), ("⌃", "Ctrl")):
        core = core.replace(f"{sign}+", sign).replace(sign, f"{name}+")
    core = core.replace("++", "+ +")
    for joint in "+-":
        keys = [key.strip() or joint for key in core.split(joint)] if " " not in core else core.split(joint, 1)
        if len(keys) > 1 and keys[0].lower() in MODIFIERS and all(_KEY.fullmatch(key.strip()) for key in keys if key):
            if joint == "-" and keys[0] == keys[0].lower():
                return None  # "end-to-end", "shift-left"
            return (" plus " if joint == "+" else " ").join(_key(key.strip()) for key in keys)
    return None


def _key(name: str) -> str:
    if said := KEYS.get(name.lower()):
        return said
    if len(name) > 1 and name[1:].isdecimal():
        return f"{letters(name[0])} {amount(name[1:])}"
    marks = {"+": "plus", "-": "minus", "/": "slash", "\\": "backslash", "=": "equals", ".": "period", ",": "comma"}
    return marks.get(name) or (letters(name) if len(name) == 1 and name.isalpha() else digits(name) or name)


# -- Roman numerals ---------------------------------------------------------------------------------------------------
def say_roman(core: str, context: Context) -> str | None:
    """World War II, Henry VIII, XIX century, MCMXCIX, and the numbers of a list."""
    if core.endswith("'s"):
        said = say_roman(core[:-2], context)
        return f"{said}'s" if said else None
    if core.islower() and len(core) > 1 and context.before.lower() in ("page", "pages", "scene", "chapter", "part"):
        small = roman(core.upper())
        return say(small) if small else None
    value = roman(core)
    if value is None:
        return None
    before, after = context.before, context.after.strip(MARKS)
    if core == "I":
        return _single(before, after)
    if core in INITIALISMS and before not in NUMBERED and before not in RULERS:
        return None
    if len(core) == 1 and not (before in NUMBERED and core in "VX") and not (before in RULERS and core == "V"):
        return None
    if after.lower() in ("century", "centuries", "dynasty"):
        return say(value, "ordinal")
    if before in NUMBERED or (before and roman(before) and set(before + core) <= set("IVX")):
        return say(value)
    if set(core) <= set("IVX") and len(core) > 1:
        name = before[:1].isupper() and before.isalpha() and not before.isupper() and before not in FUNCTION_WORDS
        return f"the {say(value, 'ordinal')}" if name else say(value) if core not in ("XX", "XXX") else None
    if before in RULERS:
        return f"the {say(value, 'ordinal')}"
    if len(core) >= 4 and value > 1000:
        return year(str(value)) or say(value)
    return None


def _single(before: str, after: str) -> str | None:
    """The letter I after a name or a noun: a numeral, unless it is who speaks."""
    verb = after.lower()
    if before in NUMBERED and before not in ("Wars", "Peter", "John", "Samuel", "Timothy", "Mark", "Rocky", "Rambo"):
        return say(1) if verb not in FIRST_PERSON or verb in ("was", "were", "also", "just") else None
    if before in RULERS:
        return "the first" if verb not in FIRST_PERSON or verb in RULED else None
    return None
