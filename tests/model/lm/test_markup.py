"""Markup is taken out of a text that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.lm.markup import MarkupFilter

PIECES = st.lists(
    st.sampled_from(
        ["**", "*", "`", "```", "```python", "# ", "1. ", "2) ", "- ", "\n", "\n\n", " ", "  ", "[", "](", "](http://a.b)",
         "]", "https://www.bbc.com/news", "😀", "A:", "User:", "Yes", "no", ".", ", ", "|", "3", "_", "\\times", "\\(",
         "$", ">", "---", "words and more"]
    ),
    max_size=24,
)  # fmt: skip


def words(*pieces: str) -> list[str]:
    markup = MarkupFilter()
    return [word for piece in pieces for word in markup.push(piece)] + markup.finish()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Paris** is the *capital*.", "Paris is the capital."),
        ("Use `print` or ~~not~~ __that__, snake_case stays.", "Use print or not that, snake_case stays."),
        ("# Fruits\nApples", "Fruits. Apples"),
        ("Three fruits:\n\n1. **Apples**\n2. Pears\n3. Plums", "Three fruits: Apples, Pears, Plums"),
        ("Sure\n- one thing\n* another", "Sure, one thing, another"),
        ("10. That is it.", "10. That is it."),
        ("The answer is\n42.\nGood.", "The answer is. 42. Good."),
        ("See [the BBC news](https://www.bbc.com/x) now.", "See the BBC news now."),
        (
            "Go to https://www.bbc.com/news. Or www.python.org, too.",
            "Go to https://www.bbc.com/news. Or www.python.org, too.",
        ),
        ("Water is wet [1] and [x y.", "Water is wet and [x y."),
        ("A: Yes 😀!", "Yes !"),
        ("**Assistant:** Hello 👋🏽", "Hello"),
        ("Plan A: go.", "Plan A: go."),
        ("Yes.\nUser: And now?\nAssistant: No.", "Yes."),
        ("Look:\n```python\nprint(1)\n```\nDone.", "Look: Done."),
        ("```\nC, A, T\n```", "C, A, T"),
        ("\\(2 \\times 2 = 4\\), $x$, and \\frac{1}{2} costs $5", "2 times 2 = 4, x, and 1/2 costs $5"),
        ("2 * 3 is six", "2 times 3 is six"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a b. 1 2"),
        ("> quoted<br> text :)", "quoted text"),
        ("---\nHi #5 #fun", "Hi #5 #fun"),
    ],
)
def test_what_is_written_and_what_is_said(written: str, said: str) -> None:
    assert " ".join(words(written)) == said


@given(PIECES, st.randoms(use_true_random=False))
def test_any_split_gives_the_same_words(parts: list[str], random: st.random.Random) -> None:  # type: ignore[name-defined]
    text = "".join(parts)
    cuts = sorted(random.randint(0, len(text)) for _ in range(6))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert words(*pieces) == words(text) == words(*text)


@given(PIECES)
def test_a_word_comes_once_and_as_soon_as_it_is_followed(parts: list[str]) -> None:
    markup = MarkupFilter()
    for piece in parts:
        markup.push(piece)
    assert all(word and not word.isspace() and " " not in word for word in words(*parts))
    assert MarkupFilter().push("Blue sky") == ["Blue"]
