"""The draft table: what is asked for it, and what it counts."""

from __future__ import annotations

from benchmarks.questions import TEXTS
from model.lm.speculative import context_key
from training.data.question_texts import plain
from training.draft_answers import questions
from training.draft_table import count
from training.measures import lines


def test_questions_are_always_the_same_and_none_is_measured_with() -> None:
    asked = questions(300)
    assert asked == questions(300)
    assert len({plain(text) for text in asked}) == 300
    measured = {plain(text) for text in (*TEXTS, *lines("questions.txt"))}
    assert measured.isdisjoint(plain(text) for text in questions(3000))


def test_the_most_frequent_token_is_counted() -> None:
    table = count([([], [7, 8, 9]), ([], [7, 8, 9]), ([], [7, 5, 9])])
    assert table.after([7], 1) == (8, 128 / 255)  # two of three, and one more that was never seen
    assert table.after([], 1) == (7, 191 / 255)
    assert table.after([7, 8], 1) == (9, 170 / 255)
    assert list(table.keys) == sorted(table.keys)


def test_a_context_that_adds_nothing_is_left_out() -> None:
    table = count([([], [7, 8, 9]), ([], [7, 8, 9]), ([], [1, 8, 2])])
    assert table.after([7, 8], 2) is None, "8 alone is followed by 9 most often, too"
    assert table.after([1, 8], 2) == (2, 128 / 255)
    assert context_key([1, 8], 2) in table.keys
