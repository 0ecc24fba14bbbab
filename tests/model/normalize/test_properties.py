"""What must hold for every text: nothing is lost, and pieces of any size give the same words."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.normalize.common import MARKS
from model.normalize.tokens import GROUP_WORDS, written_words
from model.speech_planner import SpeechPlanner
from model.text import speakable
from tests.model.normalize.classes import CASES

WRITTEN = [written for cases in CASES.values() for written, _ in cases]
_FORMS = st.one_of(
    st.sampled_from([word for written in WRITTEN for word in written.split()]),
    st.from_regex(
        r"[-+~<>≤≥±]?[$€£]?[1-9][0-9]{0,4}([.,:/-][0-9]{1,4}){0,3}(%|°C| km|kg|[KMBG]|x|\^[0-9])?", fullmatch=True
    ),
    st.from_regex(r"\(?[0-9]{2,4}\)?([ .-][0-9]{2,4}){1,4}", fullmatch=True),
    st.from_regex(r"[a-z]{1,5}[._+-]?[0-9]{0,3}@[a-z]{2,6}\.(com|io|de)", fullmatch=True),
    st.from_regex(r"[A-Za-z][0-9]{1,3}[A-Za-z]{0,2}[0-9]?", fullmatch=True),
)
_SENTENCES = st.lists(_FORMS, min_size=1, max_size=7).map(" ".join)
_NOISE = st.text(alphabet="0123456789 .,:;/-+$%€x^*<>=~°'\"()#@_|aAIVkm\n", max_size=30)
_SPOKEN = re.compile(rf"[A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]*")
_UNREADABLE = re.compile(r"[ÆØÐÞßæøðþ]")


def in_pieces(pieces: list[str]) -> str:
    """The words that the planner takes from a text that comes in pieces."""
    planner = SpeechPlanner(SimpleNamespace(config=SimpleNamespace(width=1)))  # type: ignore[arg-type]
    for piece in pieces:
        planner.feed(piece)
    planner.finish()
    return " ".join(word.spoken for word in planner._words)


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, begin = [], 0
    while begin < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[begin : begin + size])
        begin += size
    return pieces


@pytest.mark.parametrize("written", WRITTEN)
def test_letter_by_letter_as_at_once(written: str) -> None:
    assert in_pieces(list(written)) == speakable(written)


@given(_SENTENCES | _NOISE, st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_pieces_of_any_size_give_the_same_words(text: str, sizes: list[int]) -> None:
    assert in_pieces(cut(text, sizes)) == speakable(text)


@given(_SENTENCES | _NOISE | st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_only_what_the_g2p_reads_is_left(text: str) -> None:
    said = speakable(text)
    assert _SPOKEN.fullmatch(said)
    assert not _UNREADABLE.search(said)


@given(_SENTENCES | _NOISE)
@settings(max_examples=300, deadline=None)
@example("Call 1-800-555-0199.")
def test_every_digit_is_heard(text: str) -> None:
    said = speakable(text)
    for match in re.finditer(r"[0-9]", text):
        other = str((int(match[0]) + 1) % 10)
        assert speakable(text[: match.start()] + other + text[match.end() :]) != said, match


@given(_SENTENCES)
@settings(max_examples=300, deadline=None)
def test_every_sign_beside_a_digit_is_heard(text: str) -> None:
    said = speakable(text)
    for match in re.finditer(r"(?:(?<= )|^)[-+~<>≤≥±](?=[$€£]?\d)|[%°^](?=\d|$)", text):
        assert speakable(text[: match.start()] + text[match.end() :]) != said, match
    for sign in "$€£":  # of a span, where one of two is said
        assert sign not in text or speakable(text.replace(sign, "")) != said


@given(_SENTENCES)
@settings(max_examples=100, deadline=None)
def test_words_are_taken_after_a_bounded_look_ahead(text: str) -> None:
    more = text + " and" * (GROUP_WORDS + 1)
    whole = [word.text for word in written_words(more)]
    certain = [word.text for word in written_words(more) if word.complete]
    assert len(whole) - len(certain) <= 1, "all but the last word are certain"
