"""What is said of what the model writes: whole sentences, nothing twice, the same in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.lm.answer_text import SENTENCE_TOKENS, AnswerText, ends_sentence

PLENTY = 1000
CLAUSES = ("I like the red leaves", "it is cold", "Yes", "the sky is blue today", "Five, ten, fifteen")
TEXTS = st.lists(st.tuples(st.sampled_from(CLAUSES), st.sampled_from([". ", ", ", "! ", "\n", " and "])), max_size=8)


def said(*pieces: str, sentences: int | None = None, left: int = PLENTY, cut: bool = False) -> str:
    text = AnswerText(sentences)
    return "".join([*(text.push(piece, left) for piece in pieces), text.finish(cut)]).rstrip()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("The sky is blue. It is nice. The sky is blue. And more.", "The sky is blue. It is nice."),
        ("I love the red leaves, I love the red leaves, and", "I love the red leaves."),
        ("I love the red leaves, and I am glad, I love the red leaves, too.", "I love the red leaves, and I am glad."),
        ("We all sing along, and we all sing along.", "We all sing along, and we all sing along."),
        ("It goes on and on; it goes on and on; it", "It goes on and on."),
        ("Five, ten, fifteen, twenty.", "Five, ten, fifteen, twenty."),
        ("M, I, S, S, I, S, S, I, P, P, I.", "M, I, S, S, I, S, S, I, P, P, I."),
        ("Yes. Yes.", "Yes."),
        ("A: It is warm.\nUser: And tomorrow?", "It is warm."),
        ("No, no, no!", "No, no, no!"),
        ("**Yes**, it is,", "Yes, it is,"),
    ],
)  # fmt: skip
def test_nothing_is_said_twice(written: str, expected: str) -> None:
    assert said(written) == said(*written) == expected


def test_sentences_are_counted_as_people_count_them() -> None:
    written = "Dr. Smith met J. R. R. Tolkien at 5 p.m. today. It rained. Spell it C, A, T. And more."
    assert said(written, sentences=3) == "Dr. Smith met J. R. R. Tolkien at 5 p.m. today. It rained. Spell it C, A, T."
    assert [ends_sentence(*pair) for pair in (("W.", "George"), ("T.", "A,"), ('end."', "the"), ("e.g.", ""))] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_sentence_that_was_said_may_go_on_after_a_comma() -> None:
    assert said("It is cold. It is cold,") == "It is cold."
    assert said(*"It is cold. It is cold,") == "It is cold."
    assert said("I like red leaves. It is cold. It is cold, I like red leaves.") == "I like red leaves. It is cold."
    assert said("It is cold. It is cold, and it rains.") == "It is cold. It is cold, and it rains."


def test_the_limit_is_told_only_where_something_was_left_out() -> None:
    whole, cut = AnswerText(2), AnswerText(2)
    assert whole.push("One. Two.", PLENTY) + whole.finish() == "One. Two."
    assert cut.push("One. Two. Three", PLENTY) + cut.finish() == "One. Two."
    assert (whole.limited, cut.limited) == (False, True)


def test_at_the_token_limit_it_ends_with_a_whole_sentence() -> None:
    written = "It is cold today. Take your coat with you, becau"
    assert said(written, left=SENTENCE_TOKENS - 1, cut=True) == "It is cold today."
    assert said(*written, left=SENTENCE_TOKENS - 1, cut=True) == "It is cold today."
    assert said("It is cold and we were goi", cut=True) == "It is cold and we were"
    assert said("Hippopot", cut=True) == "Hippopot"
    assert said("One is done. Two is, too.", left=5, cut=True) == "One is done. Two is, too."


def test_a_word_is_said_as_soon_as_it_is_followed() -> None:
    text = AnswerText(3)
    assert [text.push(piece, PLENTY) for piece in ("The", " sky", " is", " blue", ".")] == [
        "",
        "The ",
        "sky ",
        "is ",
        "",
    ]
    assert text.finish() == "blue."


@given(TEXTS, st.integers(1, 4), st.booleans(), st.sampled_from([PLENTY, SENTENCE_TOKENS - 1]), st.integers(1, 9))
def test_any_split_says_the_same_and_no_sentence_twice(
    parts: list[tuple[str, str]], sentences: int, cut: bool, left: int, size: int
) -> None:
    written = "".join(clause + mark for clause, mark in parts)
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    whole = said(written, sentences=sentences, left=left, cut=cut)
    assert said(*pieces, sentences=sentences, left=left, cut=cut) == whole
    ended = [one.strip(" .!").lower() for one in whole.replace("!", ".").split(".") if one.strip()]
    assert len(ended) == len(set(ended)) <= sentences + (not whole.endswith((".", "!")))
