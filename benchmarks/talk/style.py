"""Rules of a spoken answer. Each is one function of an answer's text, as the server sends it."""

from __future__ import annotations

import re
from collections import Counter

from benchmarks.talk.normal_form import normalize

MOST_SENTENCES = 3
_END = re.compile(r"(?:[.!?…]+[\"'”’)]*)(?=\s|$)|\n+")
_NO_END = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|jr|sr|[a-z])|^\d+)\.$", re.IGNORECASE)
"""What a full stop belongs to: abbreviations, initials, the number before an item."""

_LIST = re.compile(r"(?m)^\s*(?:[-*•–]\s+\S|\d+[.)]\s+\S)|(?:^|\s)1[.)]\s.+\s2[.)]\s", re.DOTALL)
_MARKUP = re.compile(
    r"\*\*|__|(?<!\w)\*\w|\w\*(?!\w)|(?m:^\s*#+\s)|\[[^\]]*\]\([^)]*\)|</?[a-z][^>\n]*>|(?m:^\s*>\s)|\|.*\||\\[a-z(\[]",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"`|\b(?:def|function|class)\s+\w+\s*[({:]|\bprint\(|\w\(\)|[{}]|(?<!\w)\$[a-z_]\w*|;\s*(?:\n|$)|==|=>|&&"
)
_URL = re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|org|net|edu|gov|io|dev|ai|uk|de|eu)\b", re.IGNORECASE)
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d]")
_EMOTICON = re.compile(r"(?<!\w)[:;]-?[)(DP](?!\w)")
_ROLE = re.compile(
    r"(?:^|\n|[.!?]\s+)[\"'(]?(?:A|Q|AI|Bot|Human|User|Assistant|System|Omni|Speaker|Answer|Question)\s?:"
    r"|<\|?/?(?:im_start|im_end|system|user|assistant)|\[/?INST\]",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its mark; a line break ends one, abbreviations and initials do not."""
    found, begin = [], 0
    for end in _END.finditer(text):
        so_far = text[begin : end.end()]
        if end.end() < len(text) and _NO_END.search(so_far.strip()) and "\n" not in end[0]:
            continue
        found.append(so_far.strip())
        begin = end.end()
    found.append(text[begin:].strip())
    return [one for one in found if re.search(r"\w", one)]


def is_short(text: str) -> bool:
    """At most three sentences."""
    return len(sentences(text)) <= MOST_SENTENCES


def has_list(text: str) -> bool:
    """Bullets or numbers at the beginning of lines, or "1. … 2. …" in a line."""
    return _LIST.search(text) is not None


def has_markup(text: str) -> bool:
    """Emphasis, headings, links, tables, quotes, tags, TeX."""
    return _MARKUP.search(text) is not None


def has_code(text: str) -> bool:
    """Backticks, or what looks like a line of a program."""
    return _CODE.search(text) is not None


def has_url(text: str) -> bool:
    return _URL.search(text) is not None


def has_emoji(text: str) -> bool:
    return _EMOJI.search(text) is not None or _EMOTICON.search(text) is not None


def has_role(text: str) -> bool:
    """ "A:", a role's name with a colon, or the marks of a chat template."""
    return _ROLE.search(text) is not None


UNSPOKEN = {
    "too long": lambda text: not is_short(text),
    "list": has_list,
    "markup": has_markup,
    "code": has_code,
    "URL": has_url,
    "emoji": has_emoji,
    "role name": has_role,
}
"""What keeps an answer from being one that is spoken."""


def unspoken(text: str) -> list[str]:
    """The names of the rules of a spoken answer that a text breaks."""
    return [name for name, breaks in UNSPOKEN.items() if breaks(text)]


def repeats_itself(text: str) -> bool:
    """The same sentence of two words or more is said twice."""
    said = Counter(normalize(sentence) for sentence in sentences(text))
    return any(count > 1 and " " in sentence for sentence, count in said.items())


def is_empty(text: str) -> bool:
    return not re.search(r"\w", text)


def is_cut(text: str, reason: str) -> bool:
    """A limit ended it (`reason` of `response_done` is "length") within a sentence, or behind the number of an item."""
    said = text.strip()
    whole = re.search(r"[.!?…][\"'”’)]*$", said) and not re.search(r"(?:^|\n)\s*\d+\.$", said)
    return reason == "length" and not whole
