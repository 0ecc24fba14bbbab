"""Words after which nobody has finished, whatever the melody: hesitations, and groups of digits.

The end-of-turn classifier weighs words and melody. A voice that falls after "um" fools it, and three digits look like a
whole answer to it. These rules come first: a turn that ends so waits as long as any.
"""

from __future__ import annotations

import re

from model.asr.spoken_forms import digit_of

_HESITATION = re.compile(r"(?:u+h*m+|u+h+|e+r+m*|e+h+m+|h+m+)")
"""A whole word: "um", "uhm", "uh", "er", "erm", "hmm"."""
_OPEN = frozenset(["a", "an", "and", "because", "but", "my", "or", "our", "the", "their", "your"])
"""Words that no sentence ends with."""
_BEFORE_SO = re.compile(r"afraid|and|believe|do|even|guess|hope|how|if|imagine|is|not|or|quite|say|suppose|think|why")
"""Words after which "so" may end a sentence: "I think so"."""
_COUNTED = re.compile(r"\b(?:number|code|pin|card|account|digits|zip|postcode|phone|telephone|password|extension)\b")
"""What is said in groups of digits."""
_WHOLE = frozenset({4, 5, 7, 10, 11, 16})
"""Digits that a number said digit by digit may have: a PIN, a ZIP code, telephone numbers, a card."""
_FEWEST = 3
"""Digits that are a group."""
_QUESTION = re.compile(r"(?:what|who|when|where|why|how|which|is|are|do|does|did|can|could|would|will|tell|say)\b")


def is_unfinished(text: str, hypothesis: str) -> bool:
    """Whether what was heard must go on.

    `text` is the transcript, which leaves hesitations out; `hypothesis` has the words as they sounded.
    """
    words, sounded = _words(text), _words(hypothesis)
    return any(map(_hesitates, (words, sounded))) or _counts_on(text, words, sounded)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))


def _hesitates(words: list[str]) -> bool:
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if _HESITATION.fullmatch(last):
        return len(words) > 1 or last not in ("hm", "hmm")
    if last == "so":
        return len(words) > 1 and not _BEFORE_SO.fullmatch(before)
    return last in _OPEN and len(words) > 1 and (before, last) != ("oh", "my")


def _counts_on(text: str, words: list[str], sounded: list[str]) -> bool:
    """Whether a number said digit by digit has only begun."""
    count = _last_digits(sounded or words)
    if count == len(sounded):  # the words before it may have been heard earlier
        count = max(count, _last_digits(words))
    if not count or _QUESTION.match(" ".join(words)):
        return False
    if _COUNTED.search(text.lower()):
        return count not in _WHOLE or (count in (4, 5) and "phone" in text.lower())
    return count >= _FEWEST and count not in _WHOLE


def _last_digits(words: list[str]) -> int:
    """Digits at the end, said one by one: "five five five" are three, "three fifty" has none."""
    count = 0
    for word in reversed(words):
        if word.isdigit():
            count += len(word)
        elif digit_of(word) is not None:
            count += 1
        else:
            break
    return count
