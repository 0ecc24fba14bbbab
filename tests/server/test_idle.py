"""Somebody who says nothing for long after an answer is asked once whether they are still there."""

from __future__ import annotations

from model.request import TextDelta
from server.events import IdlePrompted, StartGeneration
from server.idle import INSTRUCTION
from server.turns import SpeechBegan
from tests.server.test_session import Talk, at, chunk, done, names


def answered(talk: Talk, text: str = "hello", audio_ms: int = 1000) -> None:
    """A typed question, answered and played."""
    generation_id, _ = talk.text_turn(text)
    talk.generator_says(generation_id, TextDelta("Paris."), chunk(audio_ms, 6), done())
    talk.clock.now += audio_ms / 1000


def test_long_silence_after_an_answer_is_asked_about_once() -> None:
    talk = Talk(idle_prompt_ms=5000)
    answered(talk)
    assert talk.hear_until(4.98) == []
    prompted, ask = talk.hear_until(5.0)
    assert prompted == IdlePrompted(2, 0, 5000)
    assert isinstance(ask, StartGeneration)
    assert ask.request.text == INSTRUCTION
    outputs = talk.generator_says(ask.generation_id, TextDelta("Are you still there?"), chunk(800, 20), done())
    assert names(outputs) == ["ResponseStarted", "AnswerText", "AnswerAudio", "AnswerTextDone", "ResponseDone"]
    talk.clock.now += 0.8
    assert talk.hear_until(60.0) == [], "never twice in a row"
    said = talk.session.memory.turns(talk.clock.now)[-1]
    assert (said.user, said.assistant) == ("", "Are you still there?"), "it is remembered, the instruction is not"


def test_after_the_next_answer_it_may_be_asked_again() -> None:
    talk = Talk(idle_prompt_ms=5000)
    answered(talk)
    (_, ask) = talk.hear_until(5.0)
    assert isinstance(ask, StartGeneration)
    talk.generator_says(ask.generation_id, TextDelta("Hello?"), chunk(100, 6), done())
    talk.clock.now += 0.1
    answered(talk, "yes")
    assert names(talk.hear_until(9.9)) == []
    assert names(talk.hear_until(10.1)) == ["IdlePrompted", "StartGeneration"]


def test_silence_counts_from_the_end_of_the_answers_sound() -> None:
    talk = Talk(idle_prompt_ms=5000)
    generation_id, _ = talk.text_turn()
    talk.generator_says(generation_id, TextDelta("Paris."), chunk(60_000, 6), done())
    assert talk.hear_until(30.0) == [], "it is still being played"
    talk.clock.now += 60
    assert talk.hear_until(34.9) == []
    assert names(talk.hear_until(35.1)) == ["IdlePrompted", "StartGeneration"]


def test_who_speaks_in_time_is_not_asked() -> None:
    talk = Talk([(4.0, SpeechBegan(at(3.8)))], idle_prompt_ms=5000)
    answered(talk)
    assert names(talk.hear_until(30.0)) == ["SpeechStarted"]


def test_nobody_is_asked_before_an_answer_or_without_the_setting() -> None:
    talk = Talk(idle_prompt_ms=5000)
    assert talk.hear_until(30.0) == []
    silent = Talk()
    answered(silent)
    assert silent.hear_until(60.0) == []


def test_who_speaks_while_being_asked_interrupts() -> None:
    talk = Talk([(5.5, SpeechBegan(at(5.3)))], idle_prompt_ms=5000)
    answered(talk)
    talk.hear_until(5.0)
    assert names(talk.hear_until(5.6)) == ["CancelGeneration", "Interrupted", "SpeechStarted"]
