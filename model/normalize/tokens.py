"""Written text to tokens: words, and groups of words that are read as one ("1 1/2", "+1 555 123 4567")."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from model.abbreviations import MAGNITUDES, SAYING, SYMBOLS, TRANSLITERATED
from model.normalize import quantities
from model.normalize.addresses import CARD, SPACED, TELEPHONE, is_telephone
from model.normalize.common import Context
from model.normalize.dates import say_day_month

GROUP_WORDS = 7
"""Words at most that a group is looked for in; how far a token may have to look ahead."""

_WORD = re.compile(r"\S+")
_NUMBER = r"[-+~<>≤≥≈±−–]?[$£€¥₹]?[-−–]?\d[\d,.]*"
_BEGINS = re.compile(
    rf"\(?(?:US|NZ|HK|[AC])?{_NUMBER}(?:(?:st|nd|rd|th)|[-–/]\S*|\)|[kKmMB]|bn|mn|[’'])?|\(?\+?\(?\d[\d()./–-]*|[€$£¥₹]|(?:USD|EUR|GBP|JPY|CHF|CAD|AUD)|[Nn]o\."
)
_CURRENCIES = "USD|EUR|GBP|JPY|CHF|CAD|AUD|INR|CNY|SEK|NOK|DKK|PLN|BTC"
_MAGNITUDE = "|".join(MAGNITUDES) + "|bn|mn|tn"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?,?"
_CONTINUES = re.compile(
    rf"\(?[\d½⅓⅔¼¾⅛⅜⅝⅞][\d()/.,⁄⁰¹²³⁴⁵⁶⁷⁸⁹^-]*(?:[kKmMbB]|bn|mn)?['\"′″”]?[.,;:?!)]*|(?:{_MAGNITUDE})[.,;:?!)]*|of|{_MONTH}[;:?!)]*|'\d\d"
    rf"|(?:[€$£¥₹¢]|{_CURRENCIES})(?:/\w+)?[.,;:?!)]*|(?:sq|cu|fl)\.?|(?:ft|in|m|km|mi|yd|cm|mm|oz)\.?,?"
    r"|[×x·]|10\S+|(?:am|pm|a\.m\.|p\.m\.)|[\"″]|\+"
)
_ENDING = re.compile(r"[.,;:?!)]+$")
_ENDS_RUN = re.compile(r"(?<!sq|ft|cu|fl|.m)(?<!Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec|ept)[.;:?!]+$")
_MONEY_CORE = re.compile(rf"[$£€¥₹]|{_CURRENCIES}|¢")
_MIXED = re.compile(r"[-+~<>≤≥≈±]?\d{1,3} (?:\d{1,2}/\d{1,2}|[½⅓⅔¼¾⅛⅜⅝⅞])['\"′″]?")
_AREA = re.compile(rf"{_NUMBER} (?:sq|cu|fl)\.? (?:ft|in|m|km|mi|yd|cm|mm|oz)\.?")
_FEET = re.compile(r"\d+(?: ?ft\.?|′) \d{1,2}(?: in\.?|″)")
_SCIENTIFIC = re.compile(r"[-+~<>≤≥≈±−–]?\d+(?:\.\d+)? ?[×x·] ?10(?:\^[({]?[-+−–]?\d+[)}]?|[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+)")
_THOUSANDS = re.compile(r"[$£€¥]?[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?(?: [$£€¥])?")
_LEAD_IN = re.compile(
    r"\b(?:call|phone|telephone|tel\.?|fax|number|mobile|cell|text|dial|card|isbn|ssn|account|whatsapp|sms|ring|code|iban|id)"
    r"(?: is| was| at| on| me at| us at)?:?$", re.IGNORECASE
)  # fmt: skip
_PLURAL = re.compile(r"(?!\w*(?:ss|us|is|gas|has|was|lens)$)[a-z]{2,}s|people|men|women|children")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ", "0123456789+-=()n")
_RAISED = re.compile(r"(?<=[\w)\]°])[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_STRAY = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾]+")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_FRACTIONS = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "`": "", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "—": ",", "–": "-", "−": "-",
     "‐": "-", "‑": "-", "⁄": "/", "∕": "/", "⋅": "·", "∗": "*", "％": "%", "＄": "$", "\u00ad": None, "\u200b": None,
     "\ufe0f": None, "\u20e3": None}
)  # fmt: skip
_INCHES = re.compile(r"(?<=\d)\"(?=[.,;:?!)x×]*$|x|×)")
_FEET_MARK = re.compile(r"(?<=\d)'(?=\d|[x×]|[.,;:?!)]*$)")
_LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()\s]|\([^()\s]*\))*\)|\]\((?:https?://|www\.|mailto:|/|#|\.)[^)\s]*\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:|www\.)[^>\s]+|[\w.+-]+@[\w.-]+)>")
_TAG = re.compile(
    r"</?(?:b|i|u|s|em|strong|br|p|a|div|span|h[1-6]|ul|ol|li|code|pre|sub|sup|table|tr|td|th|img|hr|blockquote)\s*/?>",
    re.IGNORECASE,
)
_GREEK = re.compile(r"(?<![Ͱ-Ͽ])[Ͱ-Ͽ](?![Ͱ-Ͽ])")
_STARS = re.compile(r"\*+")
_UNDERLINES = re.compile(r"(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|^_+$|~~+|^#+$")


def plain(word: str) -> str:
    """A written token in plain signs: quotes and dashes as in ASCII, exponents as "^2", no emphasis, tags or links."""
    if word.isascii() and word.isalpha():
        return word
    if "&" in word and ";" in word:
        word = html.unescape(word)
    word = re.sub(r"(?<=\d)…(?=\d)|(?<=\d)\.{2,3}(?=\d)", "-", word).replace("…", ".")
    if not word.isascii():
        word = _RAISED.sub(lambda match: "^" + match[0].translate(_SUPERSCRIPT), word)
        word = _STRAY.sub("", word).translate(_SUBSCRIPT).translate(TRANSLITERATED)
        word = "".join(map(_simple, _FRACTIONS.sub(" ", word)))
        word = _GREEK.sub(_greek, word)
    word = _AUTOLINK.sub(r"\1", _LINK.sub(lambda match: match[1] or "", word))
    word = _TAG.sub(" ", word).strip() if "<" in word else word
    word = re.sub(r"(?<=\d)''(?!')", '"', word)
    word = re.sub(r"(\d)[’'] ?(\d{1,2}(?:\.\d+)?)[”\"]", r"\1′ \2″", word)
    word = word if word[:1] == '"' else _INCHES.sub("″", word)
    word = _FEET_MARK.sub("′", word) if word[:1] != "'" else word
    word = word.translate(_QUOTES)
    return _UNDERLINES.sub("", _STARS.sub(_star, word))


def _simple(one: str) -> str:
    """A character in those that are known here: fractions as 1/2, circled digits as digits."""
    if one.isascii() or one in "²³":
        return one
    if (one.isnumeric() and not one.isalpha()) or "\uff01" <= one <= "\uff5e":
        return unicodedata.normalize("NFKC", one).replace("⁄", "/")
    return one


def _greek(match: re.Match[str]) -> str:
    """A Greek letter as a symbol, by its name; µ and Ω stay where they may be units."""
    letter, left, right = match[0], match.string[: match.start()], match.string[match.end() :]
    if letter == "μ" and right[:1].isalpha():
        return "µ"
    if letter == "Ω" and (not left or left[-1] in "kMGm0123456789 "):
        return letter
    name = SYMBOLS.get(letter, letter)
    return f"{' ' if left[-1:].isalnum() else ''}{name}{' ' if right[:1].isalnum() else ''}"


def _star(match: re.Match[str]) -> str:
    """An asterisk is kept where it is alone or stands between operands; elsewhere it is emphasis."""
    text, begin, end = match.string, match.start(), match.end()
    if begin == 0 and end == len(text):
        return match[0] if len(match[0]) == 1 else ""
    left, right = text[:begin], text[end:]
    operands = re.search(r"(?:\d|\)|(?<![^\W_])[A-Za-z])$", left) and re.match(r"\d|\(|-|[A-Za-z](?![^\W_])", right)
    return match[0] if operands and len(match[0]) < 3 else ""


@dataclass(frozen=True)
class Word:
    """A token: a written word, or several that are read as one. A line that ends without a mark gets a full stop."""

    text: str
    end: int
    """Where it ends in the text."""
    complete: bool
    """Enough follows it, so that no more text can become part of it."""


def written_words(text: str, start: int = 0) -> Iterator[Word]:
    """The tokens of a text from `start` on. The first one that is not complete may change when more text comes."""
    position = start
    while (match := _WORD.search(text, position)) is not None:
        end, complete = _group(text, match)
        word = " ".join(text[match.start() : end].split())
        if end > match.end() and _THOUSANDS.fullmatch(_ENDING.sub("", word)) and not _is_led(text, match.start()):
            word = re.sub(r"(?<=\d) (?=\d)", ",", word)
        position = end
        stop = "." if text[end : end + 1] == "\n" and word[-1].isalnum() else ""
        yield Word(_closing_quote(text, match.start(), word) + stop, end, complete and end < len(text))


def _is_led(text: str, begin: int) -> bool:
    """Whether digits from `begin` on are said to be a telephone number, a card and the like."""
    return _LEAD_IN.search(_passage(text, begin)) is not None


def _passage(text: str, begin: int) -> str:
    """What stands before `begin` on the same line, 24 characters at most."""
    return text[max(0, begin - 24) : begin].rpartition("\n")[2].rstrip()


def _closing_quote(text: str, begin: int, word: str) -> str:
    """A straight quote after a digit closes a quotation if one is open; else it means inches or feet."""
    if word[-1:] not in "\"'.,;:?!)" or not re.search(r"\d[\"'][.,;:?!)]*$", word):
        return word
    mark = '"' if '"' in word else "'"
    passage = text[text.rfind("\n", 0, begin) + 1 : begin][-400:]
    if mark == '"':
        opened = (
            len(re.findall(r'(?<![\d½¼¾])"|"(?=\w)', passage)) - len(re.findall(r'(?<=\d)"(?=\s)', passage)) * 0
        ) % 2 == 1
    else:
        opened = len(re.findall(r"(?<!\w)'(?=\w)", passage)) > len(re.findall(r"(?<=\w)'(?!\w)", passage))
    return word.replace(mark, "”" if mark == '"' else "’") if opened and word.count(mark) == 1 else word


def _group(text: str, first: re.Match[str]) -> tuple[int, bool]:
    """Where the group that a word begins ends, and whether that is certain."""
    if not _BEGINS.fullmatch(first[0]):
        return first.end(), True
    words, certain = _run(text, first)
    passage = _passage(text, first.start())
    for count in range(len(words), 1, -1):
        end = words[count - 1].end()
        spaced = any(space in "\u00a0\u2009\u202f" for space in text[first.start() : end])
        if _is_group([plain(word[0]) for word in words[:count]], words, passage, spaced):
            return end, certain
    return first.end(), certain


def _run(text: str, first: re.Match[str]) -> tuple[list[re.Match[str]], bool]:
    """The words from which a group may be formed, and whether more text cannot add to them."""
    words = [first]
    negation = first[0].lower() == "no."
    while len(words) < (3 if negation else GROUP_WORDS):
        end = words[-1].end()
        following = _WORD.search(text, end)
        if "\n" in text[end : following.start() if following else len(text)]:
            return words, True
        if following is None or following.end() == len(text):
            return [*words, *([following] if following else [])], False
        if not negation and not _CONTINUES.fullmatch(following[0]):
            return words, True
        words.append(following)
        if not negation and _ENDS_RUN.search(following[0]):
            return words, True
    return words, True


def _is_group(plains: list[str], words: list[re.Match[str]], passage: str, spaced: bool) -> bool:
    """Whether the words before the marks at the end are read as one token, after a `passage` of text."""
    if plains[0].lower() == "no.":
        said_no = passage.split()[-1:] in [[one] for one in SAYING]
        return len(plains) == 2 and not said_no and _is_number_sign([word[0] for word in words])
    if re.search(r"[.,;:?!]$", plains[-2]) and not re.search(rf"{_MONTH}$|(?:sq|cu|fl|ft|m)\.$", plains[-2]):
        return False
    core = plain(" ".join(word[0] for word in words[: len(plains)]))
    core = core if core.endswith((".m.", "in.", "ft.")) else _ENDING.sub("", core)
    bare, led = core.lstrip("-+~<>≤≥≈±("), _LEAD_IN.search(passage) is not None
    if _MONEY_CORE.search(core) and quantities.say_money(bare, Context()):
        return True
    if quantities.say_large(bare, Context()) or say_day_month(core, Context()):
        return True
    if any(one.fullmatch(core) for one in (_MIXED, _AREA, _FEET, _SCIENTIFIC)):
        return True
    if _THOUSANDS.fullmatch(core) and (core.count(" ") > 1 or spaced or " 000" in core) and not led:
        return True
    if SPACED.fullmatch(core):
        return _is_identifier(core, led)
    balanced = core.replace("(", "", 1) if core.count("(") > core.count(")") else core
    return is_telephone(balanced)


def _is_identifier(core: str, led: bool) -> bool:
    """Whether groups of digits are one number: after "call" or "card", in a usual form, or with a zero in front."""
    groups = core.split()
    if sum(map(len, groups)) < 5:
        return False
    if any(group[0] == "0" and group != "000" for group in groups[1:]) and len(groups[0]) > 2:
        return True
    return led or bool(TELEPHONE.fullmatch(core) or CARD.fullmatch(core)) or (len(groups) > 2 and groups[0][0] == "0")


def _is_number_sign(words: list[str]) -> bool:
    """Whether "no." before a number means "number": not after what is said, not before what is counted."""
    if not re.match(r"\d", words[1]):
        return False
    if words[0] == "No.":
        return True
    return not (len(words) > 2 and _PLURAL.fullmatch(words[2]))
