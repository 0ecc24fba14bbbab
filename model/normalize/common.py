"""What all verbalisers share: the context of a token, punctuation, the names of letters."""

from __future__ import annotations

from typing import NamedTuple

from model.abbreviations import LETTERS

MARKS = ",.?!;:"
"""Punctuation that the voice phrases by."""


class Context(NamedTuple):
    """The written tokens before and after, without marks; "" at an end."""

    before: str = ""
    after: str = ""
    parted: bool = False
    """A mark stands between the token before and this one."""


def letters(text: str) -> str:
    """The names of a text's letters; other characters are left out."""
    return " ".join(LETTERS[letter] for letter in text.lower() if letter in LETTERS)
