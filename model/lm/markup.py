"""Takes written markup out of an answer while it is generated, so that what is left can be spoken.

Language models write Markdown: emphasis, headings, lists, links, code, tables, sometimes LaTeX and emoji. A voice has
none of these. The filter gives words: signs are dropped, items of a list and lines become pauses, a link becomes its
text. Addresses and hashtags stay as they are written: `model.text` has words for them.
"""

from __future__ import annotations

import re

_UNIT = re.compile(r"\s*(\S+)(?=\s)")
_BRACKETED = re.compile(r"\s*(\S*?!?\[[^\]\n]{0,200}\]\S*)(?=\s)")
_UNIT_AT_END = re.compile(r"\s*(\S+)")
_BRACKETED_AT_END = re.compile(r"\s*(\S*?!?\[[^\]\n]{0,200}\]\S*)")
_LONGEST_LINK_TEXT = 200

_RULE = re.compile(r"[-*_=]{3,}|\|?(?::?-{2,}:?\|?)+")
_FENCE = re.compile(r"(```+|~~~+)(\S*)")
_BULLETS = frozenset("-*+•–·▪◦")
_NUMBERED = re.compile(r"\*{0,2}\(?(\d{1,2})[.)]\*{0,2}")
_ASSISTANT = re.compile(r"\W*(?:a|ai|answer|assistant|bot|omni|mini-omni)(?::\W*|\W*:)", re.IGNORECASE)
_PERSON = re.compile(r"\W*(?:q|question|user|human)(?::\W*|\W*:)", re.IGNORECASE)
_PLAIN_TEXT = ("", "text", "txt", "plaintext", "plain", "markdown", "md")

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_REFERENCE = re.compile(r"\[\^?\d{1,3}\]")
_AUTOLINK = re.compile(r"<((?:https?://|www\.)[^>]+)>")
_TAG = re.compile(r"</?[A-Za-z][^>]*>")
_LATEX = (
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|boxed)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\sqrt\{([^{}]*)\}"), r"square root of \1"),
    (re.compile(r"\\leq?(?![A-Za-z])"), "≤"),
    (re.compile(r"\\geq?(?![A-Za-z])"), "≥"),
    (re.compile(r"\\neq?(?![A-Za-z])"), "≠"),
    (re.compile(r"\\pm(?![A-Za-z])"), "±"),
    (re.compile(r"\\approx(?![A-Za-z])"), "≈"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), " times "),
    (re.compile(r"\\div(?![A-Za-z])"), " divided by "),
    (re.compile(r"\\([A-Za-z]+)"), r" \1 "),
    (re.compile(r"\\(.?)"), r"\1"),
)
_MATH_BRACKET = re.compile(r"\\[()\[\]]|\$\$|\$(?!\d)")
_CODE_MARK = re.compile(r"`+|~~")
_EMPHASIS = re.compile(r"\*{2,}|(?<!\w)\*|\*(?!\w)|(?<!\w)_+|_+(?!\w)")
_HASH = re.compile(r"#+(?![\w#])|##+(?=[A-Za-z])")
_EMOTICON = re.compile(r"[:;]'?-?[)(DPpO/|]+|<3|\^\^")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U00002600-\U000027bf\U00002b00-\U00002bff\U00002300-\U000023ff"
    "\U0000fe00-\U0000fe0f\U0000200d\U000020e3\U000e0020-\U000e007f]"
)
_MARKS = ".,;:?!"


class MarkupFilter:
    """Text in, in pieces; words without markup out. The words are the same however the text is cut into pieces.

    A word comes as soon as it is known what follows it: the beginning of another word on the same line, or, at the end
    of a line, the next line's first word.
    """

    def __init__(self) -> None:
        self._raw = ""
        self._last: str | None = None  # a word that a mark may still be added to
        self._line_start = True
        self._first_line = True
        self._number: str | None = None  # "3.", which begins an item if a word follows it on the line
        self._break = False  # a line ended since the last word
        self._item = False  # what comes begins an item of a list
        self._code: str | None = None  # the fence that will close
        self._said = False
        self.ended = False
        """The rest is not the assistant's: it plays the other person."""
        self.follows = ""
        """The first letter or digit of a word that is certain to follow the last one that was given; "" for none."""

    def push(self, text: str) -> list[str]:
        """More text → the words that are complete."""
        self._raw += text
        return self._take(at_end=False)

    def finish(self) -> list[str]:
        """The words that were held back."""
        words = self._take(at_end=True)
        if self._number is not None:
            words += self._visible(self._number.strip("*"))
            self._number = None
        if self._last is not None:
            words.append(self._last)
            self._last = None
        self.follows = ""
        return words

    # -- units of text ------------------------------------------------------------------------------------------------
    def _take(self, at_end: bool) -> list[str]:
        words: list[str] = []
        begin = 0
        while not self.ended and (unit := self._unit(begin, at_end)) is not None:
            words += self._on_unit(self._raw[begin : unit.start(1)], unit[1])
            begin = unit.end()
        self._raw = self._raw[begin:]
        if self.ended:
            self._raw = ""
        words += self._peek()
        return words

    def _unit(self, begin: int, at_end: bool) -> re.Match[str] | None:
        """The next complete word, or the text of a link with its target."""
        plain = (_UNIT_AT_END if at_end else _UNIT).match(self._raw, begin)
        head = plain[1] if plain else self._raw[begin:]
        if self._code is not None or "[" not in head:
            return plain
        linked = (_BRACKETED_AT_END if at_end else _BRACKETED).match(self._raw, begin)
        if linked is not None:
            return linked
        opened = self._raw.index("[", begin)
        rest = self._raw[opened + 1 : opened + 2 + _LONGEST_LINK_TEXT]
        may_close = len(rest) <= _LONGEST_LINK_TEXT and "\n" not in rest.partition("]")[0]
        return None if may_close and not at_end else plain

    def _on_unit(self, space: str, unit: str) -> list[str]:
        words: list[str] = []
        if "\n" in space:
            self._break, self._line_start = True, True
            self._first_line = self._first_line and not self._said and self._number is None
            if self._number is not None:  # it was all of its line
                words += self._visible(self._number.strip("*"))
                self._number = None
        if self._fenced(unit):
            return words
        if self._line_start and self._begins_line(unit):
            return words
        if self._number is not None:
            self._number, self._item = None, True
        self._line_start = False
        for word in self._cleaned(unit).split():
            words += self._visible(word)
        return words

    def _fenced(self, unit: str) -> bool:
        """The unit is a fence, or code that is not spoken."""
        fence = _FENCE.fullmatch(unit)
        if self._code is not None:
            if fence and not fence[2]:
                self._code, self._line_start = None, True
            return True
        if fence is None or not self._line_start:
            return False
        # code alone would leave nothing to say, so that it is read as text
        if fence[2].lower() not in _PLAIN_TEXT and self._said:
            self._code = fence[1]
        return True

    def _begins_line(self, unit: str) -> bool:
        """The unit marks what the line is, and isn't spoken. More such may follow it."""
        if _RULE.fullmatch(unit) or set(unit) <= {"#"} or set(unit) <= {">"}:
            return True
        if unit in _BULLETS:
            self._item = True
            return True
        numbered = _NUMBERED.fullmatch(unit)
        if numbered and self._number is None and (not self._first_line or numbered[1] == "1"):
            self._number = unit
            return True
        if self._said and _PERSON.fullmatch(unit):
            self.ended = True
            return True
        return bool(_ASSISTANT.fullmatch(unit) or (not self._said and _PERSON.fullmatch(unit)))

    # -- words --------------------------------------------------------------------------------------------------------
    def _visible(self, word: str) -> list[str]:
        """A word that is spoken → the one before it, with the mark of the pause between them."""
        words = []
        if self._last is not None:
            pause = "" if self._last[-1] in _MARKS or not self._break else "," if self._item else "."
            words.append(self._last + pause)
        self._last, self._said = word, True
        self._break = self._item = False
        return words

    def _peek(self) -> list[str]:
        """The last word, where another is certain to follow it on the same line."""
        self.follows = ""
        if self._last is None or self._break or self._code is not None or self._number is not None:
            return []
        following = re.match(r"[^\S\n]+([A-Za-z0-9])", self._raw)
        if following is None:
            return []
        word, self._last, self.follows = self._last, None, following[1].lower()
        return [word]

    def _cleaned(self, unit: str) -> str:
        """Without markup; nothing, one word or several."""
        text = _EMOJI.sub("", unit)
        text = _LINK.sub(r"\1", _REFERENCE.sub("", text))
        text = _TAG.sub("", _AUTOLINK.sub(r"\1", text))
        if _EMOTICON.fullmatch(text):
            return ""
        text = _MATH_BRACKET.sub("", text)
        if "\\" in text:
            for pattern, said in _LATEX:
                text = pattern.sub(said, text)
        text = _CODE_MARK.sub("", text)
        if text == "*":
            return "times" if self._last is not None and self._last[-1:].isdecimal() else ""
        text = _HASH.sub("", _EMPHASIS.sub("", text))
        return text.replace("|", " ")
