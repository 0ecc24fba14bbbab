"""The draft table: what is asked for it, and what it counts."""

from __future__ import annotations

from benchmarks.questions import TEXTS
from model.lm.speculative import context_key
from training.data.question_texts import plain
from training.draft_answers import questions
from training.draft_table import DISCOUNTS, count
from training.measures import lines


def test_questions_are_always_the_same_and_none_is_measured_with() -> None:
    asked = questions(300)
    assert asked == questions(300)
    assert len({plain(text) for text in asked}) == 300
    measured = {plain(text) for text in (*TEXTS, *lines("questions.txt"))}
    assert measured.isdisjoint(plain(text) for text in questions(3000))


def share(times: float, of: int) -> float:
    return round(255 * times / of) / 255


def test_the_most_frequent_token_is_counted() -> None:
    table = count([([], [7, 8, 9]), ([], [7, 8, 9]), ([], [7, 5, 9])])
    assert table.after([7, 8], 2) == (9, share(2 - DISCOUNTS[2], 2))
    assert table.after([7], 2) == (8, share(2 - DISCOUNTS[2], 3)), "the beginning of an answer is a token of its own"
    assert table.after([], 2) == (7, share(3 - DISCOUNTS[2], 3))
    assert list(table.keys) == sorted(table.keys)


def test_a_context_that_adds_nothing_is_left_out() -> None:
    often = [([], [7, 8, 9])] * 20
    table = count([*often, ([], [1, 7, 8, 2])])
    assert table.after([7, 8], 2) == (9, share(20 - DISCOUNTS[2], 21))
    assert table.after([7, 8], 3) is None, "the two tokens alone say the same"
    assert table.after([1, 7, 8], 3) == (2, share(1 - DISCOUNTS[3], 1))
    assert context_key([1, 7, 8], 3) in table.keys
