"""What is remembered of an answer that was cut off."""

from __future__ import annotations

import numpy as np
import pytest

from model.request import AudioChunk, Turn
from server.memory import Answer, Memory, Message, whole_words

TEXT = "The capital of France is Paris."


def answer(marks: bool = True) -> Answer:
    """1000 ms, in two chunks: 11 characters by 500 ms, all 31 by 1000 ms."""
    made = Answer(1, TEXT)
    for characters in (11, 31):
        made.add_audio(AudioChunk(np.zeros(12_000, np.float32), characters if marks else None), now=10.0)
    return made


def test_an_answer_that_was_not_interrupted_is_kept_whole() -> None:
    assert answer().kept_text(10.1) == TEXT


@pytest.mark.parametrize(
    ("played_ms", "kept"),
    [(0, ""), (100, ""), (250, "The"), (500, "The capital"), (780, "The capital of France"), (1000, TEXT)],
)
def test_only_played_words_are_kept(played_ms: float, kept: str) -> None:
    made = answer()
    made.report(played_ms)
    made.interrupted_at = 12.0
    assert made.kept_text(12.0) == kept


def test_without_reports_the_time_since_the_first_chunk_counts() -> None:
    made = answer()
    made.interrupted_at = 10.5
    assert made.played_ms(99.0) == pytest.approx(500)
    assert made.kept_text(99.0) == "The capital"


def test_without_marks_the_usual_speed_of_speech_counts() -> None:
    made = answer(marks=False)
    made.report(800)  # 12 characters
    made.interrupted_at = 12.0
    assert made.kept_text(12.0) == "The capital"


def test_a_report_is_believed_only_as_far_as_sound_was_sent_and_never_goes_back() -> None:
    made = answer()
    made.report(90_000)
    assert made.played_ms(0) == 1000
    made.report(10)
    assert made.played_ms(0) == 1000


def test_a_late_report_corrects_the_memory() -> None:
    memory = Memory()
    made = answer()
    memory.append(Message("question", "user", "what is the capital of France"))
    memory.append(Message("answer", "assistant", answer=made))
    made.report(250)
    made.interrupted_at = 11.0
    assert memory.turns(11.0) == (Turn("what is the capital of France", "The"),)
    made.report(500)
    assert memory.turns(11.0) == (Turn("what is the capital of France", "The capital"),)


def test_playing_lasts_until_it_is_played() -> None:
    made = answer()
    assert made.is_playing(10.5)
    assert not made.is_playing(11.0)
    made.report(100)
    assert made.is_playing(99.0)
    made.report(1000)
    assert not made.is_playing(10.1)


def test_the_oldest_turns_are_dropped_and_given_ones_replace_all() -> None:
    memory = Memory(max_turns=3)
    for number in range(5):
        memory.append(Message(str(number), "user", str(number)))
    assert [turn.user for turn in memory.turns(0.0)] == ["2", "3", "4"]
    memory.replace((Turn("a", "b"), Turn("c", "d")))
    memory.append(Message("5", "user", "5"))
    memory.append(Message("6", "user", "6"))
    assert [turn.user for turn in memory.turns(0.0)] == ["c", "5", "6"]


@pytest.mark.parametrize("answered", [True, False])
def test_old_turns_are_dropped_several_at_a_time(answered: bool) -> None:
    """Else each prompt of a long conversation would begin otherwise than the one before, and be prefilled anew."""
    memory, first = Memory(max_turns=16), []
    for number in range(100):
        memory.append(Message(f"q{number}", "user", f"q{number}"))
        if answered:
            memory.append(Message(f"a{number}", "assistant", f"a{number}"))
        turns = memory.turns(0.0)
        assert 12 <= len(turns) <= 16 or number < 16
        assert turns[-1].user == f"q{number}"
        first.append(turns[0].user)
    assert len(set(first)) <= 1 + (100 - 16 + 3) // 4


def test_messages_of_all_roles_are_told_as_turns_and_notes() -> None:
    memory = Memory()
    for key, role, text in [
        ("a", "assistant", "Hello."),
        ("b", "user", "One?"),
        ("c", "system", "Be brief."),
        ("d", "user", "And two?"),
        ("e", "assistant", "Yes."),
        ("f", "user", None),
        ("g", "user", "Three?"),
    ]:
        memory.append(Message(key, role, text))  # type: ignore[arg-type]
    said = (Turn("", "Hello."), Turn("One?", ""), Turn("And two?", "Yes."))
    question = memory.unanswered()
    assert question is not None
    assert question.key == "g"
    assert memory.turns(0.0, until=question) == said
    assert memory.turns(0.0) == (*said, Turn("Three?", ""))
    assert memory.notes() == ["Be brief."]


def test_messages_are_put_anywhere_and_taken_away() -> None:
    memory = Memory()
    first, second, third = (Message(key, "user", key) for key in "abc")
    memory.append(first)
    memory.append(third)
    memory.insert(second, after=first)
    assert [message.key for message in memory] == ["a", "b", "c"]
    assert memory.before(second) is first
    assert memory.before(None) is third
    memory.remove(first)
    memory.insert(first, after=None)
    assert [message.key for message in memory] == ["a", "b", "c"]
    assert memory.find("b") is second
    assert memory.find("x") is None


@pytest.mark.parametrize(
    ("characters", "kept"), [(0, ""), (2, ""), (3, "The"), (4, "The"), (5, "The"), (11, "The capital"), (99, TEXT)]
)
def test_whole_words(characters: int, kept: str) -> None:
    assert whole_words(TEXT, characters) == kept


def test_a_note_behind_an_answer_is_asked_where_a_question_would_stand() -> None:
    memory = Memory()
    memory.append(Message("persona", "system", "Be kind."))
    memory.append(Message("hello", "user", "Hello."))
    memory.append(Message("answer", "assistant", "Hi!"))
    note = Message("note", "system", "Ask about their day.")
    memory.append(note)
    assert memory.unanswered() is note
    assert memory.notes() == ["Be kind."]
    memory.append(Message("question", "assistant", "How was your day?"))
    assert memory.unanswered() is None
    assert memory.notes() == ["Be kind."]
    assert memory.turns(0.0) == (Turn("Hello.", "Hi!"), Turn("Ask about their day.", "How was your day?"))
    memory.append(Message("aside", "system", "It is late."))
    memory.append(Message("reply", "user", "Long."))
    assert memory.notes() == ["Be kind.", "It is late."], "the question is answered, not the note before it"
