"""Addresses that a listener can write down: telephone numbers, identifiers, e-mail, the web, files, handles."""

from __future__ import annotations

import re

from model.abbreviations import SYMBOLS
from model.normalize.common import Context, letters
from model.normalize.letters import name_part
from model.normalize.numbers import amount, digits

_GROUP = re.compile(r"\d+|[A-Z]{3,}|\+")
TELEPHONE = re.compile(
    r"(?:\+?1[-. ])?\(?\d{3}\)?[-. ]?\d{3}[-. ]\d{4}|\d{3}[-.]\d{4}|\(\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,4}"
    r"|0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}|0\d{3,4} \d{5,6}|0\d(?: \d\d){4}"
    r"|1-\d{3}-(?:\d{3}-?\d{4}|[A-Z]{4,8}|[A-Z]{3}-[A-Z]{4})"
)
_INTERNATIONAL = re.compile(r"\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){1,6}")
CARD = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}|\d{4}([ -])\d{6}\2\d{5}|\d{3}([ -])\d{2}\3\d{4}")
_CHAIN = re.compile(r"\d+(?:-\d+){2,}(?:-?[Xx])?")
SPACED = re.compile(r"\d+(?: \d+)+")
_LONG = re.compile(r"\d{10,}")
_CODES = frozenset(("code", "zip", "pin", "id", "account", "serial", "passcode", "password"))
_LONG_DIGITS = 10
_EMAIL = re.compile(r"(?:mailto:)?([\w.+%'-]+)@([\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,})")
_URL = re.compile(
    r"(?:(?:https?|ftp|wss?)://)(\S+)|(www\.\S+)"
    r"|((?:[\w-]+\.)+(?:com|org|net|edu|gov|mil|int|info|biz|io|dev|app|ai|co|me|tv|uk|de|eu|fr|it|es|nl|ch|at|be|se|no|"
    r"pl|ru|cn|jp|in|au|nz|ca|us|br|za|ie|online|site|tech|store|blog|cloud)(?::\d+)?(?:[/?#]\S*)?)"
    r"|(localhost:\d+\S*|(?:\d{1,3}\.){3}\d{1,3}(?::\d+|/)\S*)",
    re.IGNORECASE,
)
_PATH = re.compile(
    r"(?:[A-Za-z]:[\\/]|~/|\.{1,2}/|/|\\\\)[\w.~+@%-]*(?:[/\\][\w.~+@%-]*)*|[\w.-]+(?:[/\\][\w.-]+)*[/\\][\w-]*\.\w{1,5}"
)
_FILE = re.compile(r"\.?[A-Za-z_][\w+-]*(?:\.[A-Za-z_][\w+-]*|\.\d+(?=\.[A-Za-z]))*\.[A-Za-z]\w{0,9}|\.[a-z][\w-]{2,}")
_HANDLE = re.compile(r"@([A-Za-z_][\w.-]*)")
_HASHTAG = re.compile(r"#([A-Za-z_]\w*|\d+[A-Za-z_]\w*)")
_NAME_PARTS = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]|\d+|[^\w\s]|_")
_IN_ADDRESSES = {
    ".": "dot", "-": "dash", ":": "colon", "?": "question mark", "!": "exclamation mark", ",": "comma",
    ";": "semicolon", "'": "apostrophe", "(": "open parenthesis", ")": "close parenthesis", "#": "hash",
}  # fmt: skip


def spell_address(text: str) -> str:
    """Every character of an address in words: signs by name, digits one by one, letters as words where they are."""
    said = []
    for part in _NAME_PARTS.findall(text):
        if part.isdecimal():
            said.append(digits(part))
        elif part.isalpha():
            said.append(name_part(part))
        else:
            said.append(_IN_ADDRESSES.get(part) or SYMBOLS.get(part, ""))
    return " ".join(one for one in said if one)


# -- telephone numbers and identifiers --------------------------------------------------------------------------------
def is_telephone(core: str) -> bool:
    """Whether a token is a telephone number, a card, or another identifier made of groups of digits."""
    if core.isalpha():
        return False
    count = sum(map(str.isdecimal, core))
    international = count >= 8 and _INTERNATIONAL.fullmatch(core)
    return bool(international or any(one.fullmatch(core) for one in (TELEPHONE, CARD, _CHAIN, SPACED)))


def say_telephone(core: str, context: Context) -> str | None:
    """Groups of digits one by one, with a pause between groups; "800" after a "1" as eight hundred."""
    if context.before.lower() in _CODES and core.isdecimal() and len(core) > 3:
        return digits(core)
    if _LONG.fullmatch(core) and not (core.endswith("000000") and core[0] != "0"):
        groups = [core[:3], core[3:6], core[6:]] if len(core) == _LONG_DIGITS else [core]
        return ", ".join(digits(group) for group in groups)
    if not is_telephone(core):
        return None
    said: list[str] = []
    for group in _GROUP.findall(core.upper()):
        toll_free = said[-1:] in (["one"], ["plus one"]) and re.fullmatch(r"[89]00", group)
        if group == "+":
            said.append("plus")
        elif group.isalpha():
            said.append(name_part(group).lower())
        else:
            said.append(amount(group) if toll_free else digits(group))
        if said[0] == "plus" and len(said) == 2:
            said = [f"plus {said[1]}"]
    check = f" {letters('x')}" if re.search(r"\d-?[xX]$", core) else ""
    return ", ".join(said) + check


# -- the web and files ------------------------------------------------------------------------------------------------
def say_email(core: str, context: Context) -> str | None:
    """john_doe@example.com → "john underscore doe at example dot com"."""
    match = _EMAIL.fullmatch(core)
    return f"{spell_address(match[1])} at {spell_address(match[2])}" if match else None


def say_url(core: str, context: Context) -> str | None:
    """A web address without its scheme; what follows the host is said as well."""
    match = _URL.fullmatch(core)
    if match is None:
        return None
    return spell_address(next(part for part in match.groups() if part).rstrip("/"))


def say_path(core: str, context: Context) -> str | None:
    """/usr/bin, C:\\Users, src/main.py, main.py, .gitignore, Node.js."""
    if _PATH.fullmatch(core) and any(map(str.isalpha, core)) and len(core) > 2:
        return spell_address(core)
    if _FILE.fullmatch(core) and not re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", core):
        return spell_address(core)
    return None


def say_handle(core: str, context: Context) -> str | None:
    """@john_doe and #CamelCase."""
    if match := _HANDLE.fullmatch(core):
        return f"at {spell_address(match[1])}"
    if match := _HASHTAG.fullmatch(core):
        return "hashtag " + " ".join(
            amount(part) if part.isdecimal() else "underscore" if part == "_" else name_part(part)
            for part in _NAME_PARTS.findall(match[1])
        )
    return None
