"""An answer that speech has stopped goes on when nothing was said, and is given up when something was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.request import AudioChunk, Done, Event, GenerationFailed, Heard, Request, TextDelta, Turn
from server.backchannels import is_backchannel
from server.events import (
    AnswerAudio,
    AnswerText,
    CancelGeneration,
    Interrupted,
    Output,
    Problem,
    QuestionHeard,
    ResponseDone,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
)
from server.held_answer import SentSound
from server.options import SessionOptions
from server.session import Session, State
from server.turns import SpeechBegan, SpeechEnded, SpeechPaused, SpeechResumed, TurnSignal
from tests.server.harness import FakeClock, ScriptedDetector

RATE = 16_000
TEXT = "The capital of France is Paris."
COUGH: list[tuple[float, TurnSignal]] = [(1.2, SpeechBegan(RATE)), (1.5, SpeechPaused(round(1.35 * RATE)))]
WORDS: list[tuple[float, TurnSignal]] = [*COUGH, (1.9, SpeechEnded(round(1.35 * RATE), "silence"))]


def wave(ms: int, begin_ms: int = 0) -> np.ndarray:
    """No two places of it are alike, and it is silent for 20 ms of every 200."""
    time = np.arange(24 * begin_ms, 24 * (begin_ms + ms))
    sound = 0.3 * np.sin(time * (0.05 + time * 1e-8))
    return np.where(time % 4800 < 480, 0, sound).astype(np.float32)


class Talk:
    """Somebody asked in writing and hears 2 s of an answer of which all of the text is known."""

    def __init__(self, script: Sequence[tuple[float, TurnSignal]], resume: bool = True, speculate: bool = True) -> None:
        self.clock = FakeClock()
        detector = ScriptedDetector([(round(second * RATE), signal) for second, signal in script])
        self.session = Session(detector, SessionOptions(resume=resume, speculate=speculate), self.clock)
        self._heard = 0
        self.session.receive_text("capital of France?")
        self.says(1, TextDelta(TEXT))
        self.sent = self.says(1, *(AudioChunk(wave(500, ms), 8 * (ms // 500 + 1)) for ms in range(0, 2000, 500)))

    def hear_until(self, second: float) -> list[Output]:
        count = round(second * RATE) - self._heard
        self._heard += count
        outputs: list[Output] = []
        for piece in np.array_split(np.zeros(count, np.float32), max(1, count // 320)):
            outputs += self.session.receive_audio(piece)
        return outputs

    def says(self, generation_id: int, *events: Event) -> list[Output]:
        return [output for event in events for output in self.session.receive_event(generation_id, event)]


def names(outputs: list[Output]) -> list[str]:
    return [type(output).__name__ for output in outputs]


def sound(outputs: list[Output]) -> np.ndarray:
    pieces = [output.samples for output in outputs if isinstance(output, AnswerAudio)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def done(text: str = TEXT, reason: str = "stop") -> Done:
    return Done(reason, text, 1.0, 2, 12)  # type: ignore[arg-type]


def resumed(outputs: list[Output]) -> Resumed:
    (event,) = [output for output in outputs if isinstance(output, Resumed)]
    return event


def interrupted_at(played_ms: int, script: Sequence[tuple[float, TurnSignal]] = COUGH, **options: bool) -> Talk:
    talk = Talk(script, **options)
    talk.session.playback(played_ms)
    outputs = talk.hear_until(1.2)
    assert names(outputs) == ["Interrupted", "SpeechStarted"], "nothing is thrown away yet"
    return talk


def test_a_cough_stops_the_answer_and_it_goes_on() -> None:
    talk = interrupted_at(900)
    assert names(talk.hear_until(1.5)) == ["StartGeneration"]
    assert talk.says(2, done("", "no_speech")) == [CancelGeneration(2, speculative=True)]
    assert talk.hear_until(1.66) == [], "a second cough may follow"
    outputs = talk.hear_until(1.7)
    assert outputs[:2] == [SpeechStopped(2, 1350, "silence"), QuestionHeard(2, "", no_speech=True)]
    event = resumed(outputs)
    assert (event.response_id, event.turn_id) == (1, 1)
    assert 500 <= event.played_ms <= 900
    assert talk.session.state is State.SPEAKING
    ending = talk.says(1, AudioChunk(wave(500, 2000), 31), done())
    assert names(ending) == ["AnswerAudio", "AnswerTextDone", "ResponseDone"]
    assert isinstance(ending[-1], ResponseDone)
    assert (ending[-1].reason, ending[-1].audio_ms) == ("stop", 2500), "its length, however often parts were sent"


@settings(max_examples=30, deadline=None)
@given(played_ms=st.integers(0, 2000), more=st.integers(0, 3))
def test_no_sample_is_lost_and_no_gap_is_heard(played_ms: int, more: int) -> None:
    talk = interrupted_at(played_ms)
    talk.hear_until(1.5)
    talk.says(2, done("", "no_speech"))
    made_meanwhile = [AudioChunk(wave(100, 2000 + 100 * number), 31) for number in range(more)]
    assert talk.says(1, *made_meanwhile) == [], "silent while nobody knows"
    outputs = talk.hear_until(1.8)
    event = resumed(outputs)
    assert event.played_ms <= played_ms <= event.played_ms + 410
    whole, again = wave(2000 + 100 * more), sound(outputs)
    assert len(whole) - len(again) == pytest.approx(event.played_ms * 24, abs=24)
    expected = whole[len(whole) - len(again) :]
    np.testing.assert_array_equal(again[120:], expected[120:])
    assert np.all(np.abs(again[:120]) <= np.abs(expected[:120])), "fades in"


def test_it_goes_on_between_two_words() -> None:
    talk = interrupted_at(1150)
    talk.hear_until(1.5)
    talk.says(2, done("", "no_speech"))
    assert 1000 <= resumed(talk.hear_until(1.8)).played_ms <= 1020, "where the wave is silent"


@pytest.mark.parametrize("speculate", [True, False])
def test_words_end_the_answer_and_are_answered(speculate: bool) -> None:
    talk = interrupted_at(500, WORDS, speculate=speculate)
    talk.session.playback(1000)
    talk.hear_until(1.5 if speculate else 2.0)
    outputs = talk.says(2, Heard("no, of Spain"))
    assert outputs[0] == CancelGeneration(1, speculative=False)
    assert isinstance(outputs[1], ResponseDone)
    assert (outputs[1].response_id, outputs[1].reason) == (1, "interrupted")
    outputs += talk.hear_until(2.0) + talk.says(2, TextDelta("Madrid."))
    assert names(outputs)[-3:] == ["QuestionHeard", "ResponseStarted", "AnswerText"]
    assert talk.says(1, TextDelta("late"), done()) == []
    assert talk.session.memory.turns(talk.clock.now)[0] == Turn("capital of France?", "The capital of")


def test_a_mm_hm_is_no_interruption() -> None:
    talk = interrupted_at(500, WORDS)
    talk.hear_until(1.5)
    assert talk.says(2, Heard("Mm-hmm.")) == [CancelGeneration(2, speculative=True)]
    assert talk.says(2, TextDelta("Is there")) == []
    outputs = talk.hear_until(2.0)
    assert QuestionHeard(2, "Mm-hmm.") in outputs
    assert resumed(outputs).response_id == 1
    assert talk.session.memory.turns(talk.clock.now) == (Turn("capital of France?", TEXT),), "it is not remembered"


def test_a_yes_at_the_end_answers_the_answer() -> None:
    talk = Talk(WORDS)
    talk.says(1, done())
    talk.session.playback(1500)
    talk.hear_until(1.5)
    assert talk.says(2, Heard("Yes.")) == []
    outputs = talk.hear_until(2.0) + talk.says(2, TextDelta("Good."))
    assert AnswerText(2, "Good.") in outputs
    assert "Resumed" not in names(outputs)


def test_a_mm_hm_while_nothing_is_spoken_is_a_turn() -> None:
    talk = Talk(WORDS)
    talk.says(1, done())
    talk.session.playback(2000)
    talk.hear_until(1.5)
    talk.says(2, Heard("Mm-hmm."))
    assert QuestionHeard(2, "Mm-hmm.") in talk.hear_until(2.0)


def test_whoever_goes_on_after_a_mm_hm_is_heard() -> None:
    script = [*COUGH, (1.6, SpeechResumed(round(1.55 * RATE))), (2.2, SpeechPaused(2 * RATE))]
    talk = interrupted_at(500, script)
    talk.hear_until(1.5)
    talk.says(2, Heard("Mm-hmm."))
    assert "Resumed" not in names(talk.hear_until(2.2))
    assert names(talk.says(3, Heard("Mm-hmm, but why?"))) == ["CancelGeneration", "ResponseDone"]


def test_the_answer_that_was_made_completely_goes_on_too() -> None:
    talk = Talk(COUGH)
    talk.says(1, done())
    talk.session.playback(900)
    assert names(talk.hear_until(1.2)) == ["Interrupted", "SpeechStarted"]
    talk.hear_until(1.5)
    talk.says(2, done("", "no_speech"))
    outputs = talk.hear_until(1.8)
    assert names(outputs)[:3] == ["SpeechStopped", "QuestionHeard", "Resumed"]
    assert set(names(outputs)[3:]) == {"AnswerAudio"}, "its end was told already"
    assert talk.session.state is State.SPEAKING
    talk.session.playback(2000)
    assert talk.session.state is State.LISTENING


def test_what_was_made_meanwhile_follows_in_order() -> None:
    talk = interrupted_at(900)
    talk.hear_until(1.5)
    talk.says(1, TextDelta(" Or"), AudioChunk(wave(100, 2000), 33), done(TEXT + " Or"))
    talk.says(2, done("", "no_speech"))
    outputs = talk.hear_until(1.8)
    assert names(outputs)[-4:] == ["AnswerText", "AnswerAudio", "AnswerTextDone", "ResponseDone"]
    assert isinstance(outputs[-1], ResponseDone)
    assert outputs[-1].reason == "stop"


def test_a_failure_meanwhile_is_told_when_it_goes_on() -> None:
    talk = interrupted_at(900)
    talk.hear_until(1.5)
    assert talk.session.generation_failed(1, GenerationFailed("broke")) == []
    talk.says(2, done("", "no_speech"))
    outputs = talk.hear_until(1.8)
    assert isinstance(outputs[-2], Problem)
    assert isinstance(outputs[-1], ResponseDone)
    assert outputs[-1].reason == "error"


def test_memory_holds_what_was_played_after_it_went_on() -> None:
    script = [*COUGH, (4.2, SpeechBegan(4 * RATE))]
    talk = interrupted_at(900, script)
    talk.hear_until(1.5)
    talk.says(2, done("", "no_speech"))
    played_ms = resumed(talk.hear_until(1.8)).played_ms
    assert talk.session.memory.turns(talk.clock.now)[0].assistant == TEXT
    talk.session.playback(1500)
    (interrupted, started) = talk.hear_until(4.2)
    assert interrupted == Interrupted(1, 1, "speech", "The capital of France is", 1500)
    assert isinstance(started, SpeechStarted)
    assert played_ms < 1500


def test_without_reports_the_clock_counts_from_where_it_goes_on() -> None:
    talk = Talk(COUGH)
    talk.clock.now += 0.9
    talk.hear_until(1.2)
    talk.clock.now += 5
    talk.hear_until(1.5)
    talk.says(2, done("", "no_speech"))
    played_ms = resumed(talk.hear_until(1.8)).played_ms
    talk.clock.now += 0.5
    (event,) = [o for o in talk.session.interrupt() if isinstance(o, Interrupted)]
    assert event.played_ms == pytest.approx(played_ms + 500, abs=1)


@pytest.mark.parametrize("how", ["text", "interrupt", "stop"])
def test_a_client_that_wants_something_else_ends_it_once(how: str) -> None:
    talk = interrupted_at(500)
    outputs = {
        "text": lambda: talk.session.receive_text("Stop."),
        "interrupt": talk.session.interrupt,
        "stop": talk.session.stop,
    }[how]()
    assert names(outputs)[:2] == ["CancelGeneration", "ResponseDone"]
    assert "Interrupted" not in names(outputs), "it was told before"
    assert talk.says(1, TextDelta("late"), done()) == []


def test_a_client_that_cannot_go_on_is_not_asked_to() -> None:
    talk = Talk(COUGH, resume=False)
    talk.session.playback(900)
    assert names(talk.hear_until(1.2)) == ["CancelGeneration", "Interrupted", "ResponseDone", "SpeechStarted"]


def test_a_shutdown_gives_it_up() -> None:
    talk = interrupted_at(500, WORDS)
    talk.session.drain()
    assert names(talk.hear_until(2.0)) == ["SpeechStopped", "CancelGeneration", "ResponseDone", "Problem"]


def test_a_second_question_starts_from_the_words_that_were_played() -> None:
    talk = interrupted_at(500, WORDS)
    (start,) = [o for o in talk.hear_until(1.5) if isinstance(o, StartGeneration)]
    assert start.request.history == (Turn("capital of France?", "The"),)


def test_what_was_played_is_not_kept_for_long() -> None:
    kept = SentSound()
    for second in range(100):
        kept.add(AudioChunk(np.zeros(24_000, np.float32)), 1000.0 * second)
    assert len(kept) <= 4 * 24_000


@pytest.mark.parametrize(
    "text", ["Mm-hm.", "Mm-hmm", "Uh-huh.", "Uhuh.", "Mama.", "Yeah.", "Okay, okay.", "Right, I see.", "Oh, okay!"]
)
def test_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "No.", "Stop.", "Okay, stop.", "Yeah, but why?", "I see a dog", "What?", "Wait."])
def test_words_that_are_none(text: str) -> None:
    assert not is_backchannel(text)


@pytest.mark.parametrize("said", ["Stop.", "Wait a second.", "No."])
def test_a_command_ends_the_answer_at_once_and_gets_an_empty_one(said: str) -> None:
    talk = interrupted_at(900)
    assert names(talk.hear_until(1.5)) == ["StartGeneration"]
    outputs = talk.says(2, Heard(said))
    assert names(outputs) == [
        "CancelGeneration",
        "ResponseDone",
        "CancelGeneration",
        "SpeechStopped",
        "QuestionHeard",
        "ResponseStarted",
        "AnswerTextDone",
        "ResponseDone",
    ]
    assert outputs[3:5] == [SpeechStopped(2, 1350, "silence", 1.0), QuestionHeard(2, said)]
    (interrupted, obeyed) = [output for output in outputs if isinstance(output, ResponseDone)]
    assert (interrupted.response_id, interrupted.reason) == (1, "interrupted")
    assert (obeyed.turn_id, obeyed.reason, obeyed.text, obeyed.audio_ms) == (2, "stop", "", 0)
    assert talk.session.state is State.LISTENING
    assert talk.says(2, TextDelta("Okay, I will stop talking now.")) == []
    assert talk.hear_until(2.5) == []


def test_a_command_that_goes_on_is_answered() -> None:
    talk = interrupted_at(900, WORDS)
    talk.hear_until(1.5)
    talk.says(2, Heard("Wait, what about London?"))
    outputs = talk.hear_until(2.0)
    assert "ResponseStarted" not in names(outputs)
    assert isinstance(talk.says(2, TextDelta("London is in England."))[-1], AnswerText)


def requested(talk: Talk, second: float) -> Request:
    (start,) = [output for output in talk.hear_until(second) if isinstance(output, StartGeneration)]
    return start.request


def rest_requested(gap_s: float, played_ms: int) -> tuple[Talk, Request]:
    """A spoken question whose answer has begun, speech that goes on so long after its end, and what is asked then."""
    again = 2.0 + gap_s
    script: list[tuple[float, TurnSignal]] = [
        (1.0, SpeechBegan(round(0.8 * RATE))),
        (2.1, SpeechPaused(2 * RATE)),
        (2.3, SpeechEnded(2 * RATE, "silence")),
        (again, SpeechBegan(round(again * RATE))),
        (again + 0.5, SpeechPaused(round((again + 0.4) * RATE))),
        (again + 0.9, SpeechEnded(round((again + 0.4) * RATE), "silence")),
    ]
    talk = Talk(script)
    talk.says(1, done())
    talk.session.playback(2000)
    talk.clock.now += 10
    talk.hear_until(2.3)
    talk.says(2, Heard("My phone number is 555."), TextDelta("A phone number is"), AudioChunk(wave(2000), 8))
    talk.session.playback(played_ms)
    return talk, requested(talk, again + 0.5)


def test_a_turn_that_was_ended_too_soon_is_answered_with_its_rest() -> None:
    talk, request = rest_requested(1.2, 400)
    assert request.before == "My phone number is 555."
    assert [turn.user for turn in request.history] == ["capital of France?"]
    outputs = talk.says(3, Heard("My phone number is 555. 1234567."))
    assert "CancelGeneration" in names(outputs)
    talk.hear_until(4.5)
    assert [turn.user for turn in talk.session.memory.turns(0.0)] == ["capital of France?"]
    talk.says(3, TextDelta("Thank you."))
    assert [turn.user for turn in talk.session.memory.turns(0.0)][1:] == ["My phone number is 555. 1234567."]


def test_a_cough_after_a_turn_is_not_its_rest() -> None:
    talk, _ = rest_requested(1.2, 400)
    talk.says(3, Heard("My phone number is 555."))
    outputs = talk.hear_until(4.5)
    assert resumed(outputs).turn_id == 2
    assert [turn.user for turn in talk.session.memory.turns(0.0)][1:] == ["My phone number is 555."]


@pytest.mark.parametrize(("gap_s", "played_ms"), [(2.5, 400), (1.2, 1500)])
def test_what_comes_later_is_a_turn_of_its_own(gap_s: float, played_ms: int) -> None:
    _, request = rest_requested(gap_s, played_ms)
    assert request.before == ""
    assert [turn.user for turn in request.history] == ["capital of France?", "My phone number is 555."]
