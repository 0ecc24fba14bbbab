"""The conversation's rules, without I/O and to the sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.request import AudioChunk, Done, EngineFull, Event, GenerationFailed, Heard, Request, TextDelta, Turn
from model.voice_activity import VoiceActivity
from server.events import (
    AnswerAudio,
    AnswerText,
    AnswerTextDone,
    CancelGeneration,
    GenerationAdopted,
    Interrupted,
    Output,
    Problem,
    QuestionHeard,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
    Usage,
)
from server.options import SessionOptions
from server.session import Session, State
from server.turns import (
    Endpointer,
    SpeechBegan,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    TurnRules,
    TurnSignal,
    ms_to_samples,
)
from server.voices import VoiceStream
from tests.server.harness import FakeClock, ScriptedDetector


def at(seconds: float) -> int:
    return round(seconds * 16_000)


Script = list[tuple[float, TurnSignal]]
ONE_TURN: Script = [
    (1.2, SpeechBegan(at(1.0))),
    (2.2, SpeechPaused(at(2.0))),
    (2.5, SpeechEnded(at(2.0), "silence")),
]


class Talk:
    """A session whose microphone counts: sample number n is n / 1e6."""

    def __init__(self, script: Script | None = None, **options: object) -> None:
        self.clock = FakeClock()
        self.detector = ScriptedDetector([(at(second), signal) for second, signal in script or []])
        self.session = Session(self.detector, SessionOptions(**options), self.clock)  # type: ignore[arg-type]
        self._sent = 0

    def hear_until(self, second: float, piece: int = 320) -> list[Output]:
        outputs: list[Output] = []
        while self._sent < at(second):
            count = min(piece, at(second) - self._sent)
            outputs += self.session.receive_audio(np.arange(self._sent, self._sent + count, dtype=np.float32) / 1e6)
            self._sent += count
        return outputs

    def generator_says(self, generation_id: int, *events: Event) -> list[Output]:
        return [output for event in events for output in self.session.receive_event(generation_id, event)]

    def text_turn(self, text: str = "hello") -> tuple[int, list[Output]]:
        outputs = self.session.receive_text(text)
        return started(outputs).generation_id, outputs


def started(outputs: list[Output]) -> StartGeneration:
    (command,) = [o for o in outputs if isinstance(o, StartGeneration)]
    return command


def chunk(ms: int, spoken: int | None = None) -> AudioChunk:
    return AudioChunk(np.zeros(24 * ms, np.float32), spoken)


def done(reason: str = "stop", text: str = "Paris.") -> Done:
    return Done(reason, text, 1.0, 2, 12)  # type: ignore[arg-type]


def names(outputs: list[Output]) -> list[str]:
    return [type(output).__name__ for output in outputs]


def position(sample: float) -> int:
    return round(float(sample) * 1e6)


# turns and speculation


def test_a_spoken_turn_from_the_first_sound_to_the_last() -> None:
    talk = Talk(ONE_TURN)
    assert talk.hear_until(1.19) == []
    assert talk.session.state is State.LISTENING
    assert talk.hear_until(1.2) == [SpeechStarted(1, 1000)]
    assert talk.session.state is State.HEARING
    speculation = started(talk.hear_until(2.2))
    assert speculation.speculative
    assert talk.generator_says(1, Heard("capital of France?"), TextDelta("Paris."), chunk(400, 6)) == [], "held back"
    assert talk.session.state is State.HEARING
    talk.clock.now += 0.3
    confirmed = talk.hear_until(2.5)
    assert confirmed[0] == SpeechStopped(1, 2000, "silence")
    assert confirmed[1] == GenerationAdopted(1)
    assert confirmed[2] == QuestionHeard(1, "capital of France?")
    assert confirmed[3] == ResponseStarted(1, 1)
    assert confirmed[4] == AnswerText(1, "Paris.")
    assert isinstance(confirmed[5], AnswerAudio)
    assert talk.session.state is State.SPEAKING
    talk.clock.now += 0.1
    text_done, response_done = talk.generator_says(1, done())
    assert text_done == AnswerTextDone(1, "Paris.")
    assert response_done == ResponseDone(
        1, 1, "stop", "Paris.", 400, "capital of France?", 0, 0, 1.0, None, Usage(0, 0, 2, 84)
    )
    assert talk.session.state is State.SPEAKING, "it is still being played"
    talk.clock.now += 0.31
    assert talk.session.state is State.LISTENING


@pytest.mark.parametrize("piece", [1, 7, 160, 320, 512, 4000, 100_000])
def test_the_question_has_its_pre_roll_and_its_last_sound_in_any_pieces(piece: int) -> None:
    talk = Talk(ONE_TURN)
    audio = started(talk.hear_until(2.5, piece)).request.audio
    assert audio is not None
    rules = TurnRules()
    end = at(2.0) + ms_to_samples(rules.pause_ms)
    assert position(audio[0]) == at(1.0) - ms_to_samples(rules.pre_roll_ms)
    assert position(audio[-1]) == end - 1
    assert len(audio) == end - at(1.0) + ms_to_samples(rules.pre_roll_ms)


def test_without_speculation_work_starts_when_the_turn_is_over() -> None:
    talk = Talk(ONE_TURN, speculate=False)
    assert names(talk.hear_until(2.4)) == ["SpeechStarted"]
    assert names(talk.hear_until(2.5)) == ["SpeechStopped", "StartGeneration"]
    assert talk.session.state is State.THINKING


def test_a_guess_is_thrown_away_when_speech_goes_on() -> None:
    talk = Talk(
        [
            *ONE_TURN[:2],
            (2.3, SpeechResumed(at(2.25))),
            (3.2, SpeechPaused(at(3.0))),
            (3.5, SpeechEnded(at(3.0), "silence")),
        ]
    )
    talk.hear_until(2.2)
    assert talk.generator_says(1, Heard("what is"), TextDelta("It"), chunk(85)) == []
    assert talk.hear_until(2.3) == [CancelGeneration(1, speculative=True)]
    assert talk.generator_says(1, TextDelta("late")) == [], "nothing of it comes through"
    second = started(talk.hear_until(3.2))
    assert second.generation_id == 2
    assert second.request.audio is not None
    rules = TurnRules()
    whole = at(2.0) + ms_to_samples(rules.pause_ms + rules.pre_roll_ms)
    assert len(second.request.audio) == whole, "the whole turn, from its beginning"
    outputs = talk.hear_until(3.5) + talk.generator_says(2, Heard("what is the capital"), TextDelta("Paris."))
    assert names(outputs) == ["SpeechStopped", "GenerationAdopted", "QuestionHeard", "ResponseStarted", "AnswerText"]


def test_a_guess_that_failed_is_asked_again() -> None:
    talk = Talk(ONE_TURN)
    talk.hear_until(2.2)
    assert talk.session.generation_failed(1, EngineFull("full")) == []
    assert names(talk.hear_until(2.5)) == ["SpeechStopped", "StartGeneration"]


def test_no_speech_ends_silently() -> None:
    talk = Talk(ONE_TURN)
    talk.hear_until(2.2)
    talk.generator_says(1, done("no_speech", ""))
    outputs = talk.hear_until(2.5)
    assert outputs[-1] == QuestionHeard(1, "", no_speech=True)
    assert "ResponseStarted" not in names(outputs)
    assert talk.session.state is State.LISTENING
    assert talk.session.memory.turns(0) == ()


def test_speech_while_thinking_goes_on_with_the_same_turn() -> None:
    talk = Talk([*ONE_TURN, (3.2, SpeechBegan(at(3.0))), (4.5, SpeechEnded(at(4.0), "silence"))])
    talk.hear_until(2.5)
    assert talk.generator_says(1, Heard("and so my fellow americans")) == [
        QuestionHeard(1, "and so my fellow americans")
    ]
    assert talk.hear_until(3.2) == [CancelGeneration(1, False), SpeechStarted(1, 3000, resumed=True)]
    stopped, again = talk.hear_until(4.5)
    assert stopped == SpeechStopped(1, 4000, "silence")
    assert isinstance(again, StartGeneration)
    assert again.request.audio is not None
    assert position(again.request.audio[0]) == at(1.0) - ms_to_samples(320), "what was said before is still there"
    assert again.request.history == ()


def test_a_turn_that_would_outgrow_its_limit_begins_anew() -> None:
    rules = TurnRules(max_turn_ms=20_000)
    script: Script = [
        (1.2, SpeechBegan(at(1.0))),
        (20.5, SpeechEnded(at(20.0), "silence")),
        (21.2, SpeechBegan(at(21.0))),
    ]
    talk = Talk(script, rules=rules)
    talk.hear_until(20.5)
    assert names(talk.hear_until(21.2)) == ["CancelGeneration", "Interrupted", "SpeechStarted"]


def test_commit_ends_the_turn() -> None:
    talk = Talk(ONE_TURN[:1])
    talk.detector.on_flush = [SpeechEnded(at(1.5), "commit")]
    talk.hear_until(1.5)
    assert names(talk.session.commit()) == ["SpeechStopped", "StartGeneration"]
    assert talk.session.commit() == [], "a second one while thinking changes nothing"


def test_commit_without_speech_says_so() -> None:
    talk = Talk()
    talk.hear_until(3)
    assert talk.session.commit() == [QuestionHeard(1, "", no_speech=True)]


def test_silence_for_an_hour_keeps_next_to_nothing() -> None:
    talk = Talk()
    for second in range(0, 3600, 30):
        talk.hear_until(second, piece=at(0.5))
    assert talk.session.held_samples <= at(2.1)


def test_an_answer_keeps_no_question_in_memory() -> None:
    talk = Talk(ONE_TURN)
    talk.hear_until(2.5)
    talk.generator_says(1, Heard("q"), TextDelta("a"))
    talk.hear_until(4.5)
    assert talk.session.held_samples <= at(2.1)


# interruptions


def speaking(script: Script | None = None) -> Talk:
    """Somebody asked in writing, and hears 1000 ms of an answer: "The capital of France is Paris."."""
    talk = Talk(script)
    generation_id, _ = talk.text_turn("capital of France?")
    talk.generator_says(
        generation_id, TextDelta("The capital"), chunk(500, 11), TextDelta(" of France is Paris."), chunk(500, 31)
    )
    return talk


BARGE_IN: Script = [(1.2, SpeechBegan(at(1.0))), (2.5, SpeechEnded(at(2.0), "silence"))]


def test_speech_stops_the_answer_and_only_what_was_played_is_kept() -> None:
    talk = speaking(BARGE_IN)
    talk.session.playback(500, response_id=1)
    outputs = talk.hear_until(1.2)
    assert names(outputs) == ["CancelGeneration", "Interrupted", "ResponseDone", "SpeechStarted"]
    assert outputs[1] == Interrupted(1, 1, "speech", "The capital", 500)
    assert isinstance(outputs[2], ResponseDone)
    assert (outputs[2].reason, outputs[2].text) == ("interrupted", "The capital of France is Paris.")
    assert outputs[2].real_time_factor is None
    assert outputs[3] == SpeechStarted(2, 1000)
    assert talk.generator_says(1, TextDelta("late"), chunk(85), done()) == []
    request = started(talk.hear_until(2.5)).request
    assert request.history == (Turn("capital of France?", "The capital"),)


def test_speech_after_the_answer_was_sent_but_not_played_interrupts_too() -> None:
    talk = speaking(BARGE_IN)
    talk.generator_says(1, done())
    talk.session.playback(260)
    outputs = talk.hear_until(1.2)
    assert outputs == [Interrupted(1, 1, "speech", "The", 260), SpeechStarted(2, 1000)]


def test_a_position_reported_after_the_interruption_counts() -> None:
    talk = speaking(BARGE_IN)
    talk.session.playback(260)
    talk.hear_until(1.2)
    talk.session.playback(500, response_id=1)
    assert started(talk.hear_until(2.5)).request.history == (Turn("capital of France?", "The capital"),)


def test_clients_that_report_nothing_are_taken_to_play_at_once() -> None:
    talk = speaking(BARGE_IN)
    talk.clock.now += 0.5
    assert talk.hear_until(1.2)[1] == Interrupted(1, 1, "speech", "The capital", 500)


def test_speech_after_it_was_played_is_no_interruption() -> None:
    talk = speaking(BARGE_IN)
    talk.generator_says(1, done())
    talk.session.playback(1000)
    assert talk.session.state is State.LISTENING
    assert talk.hear_until(1.2) == [SpeechStarted(2, 1000)]
    assert started(talk.hear_until(2.5)).request.history == (
        Turn("capital of France?", "The capital of France is Paris."),
    )


def test_interrupt_stops_speaking_with_the_position_it_brings() -> None:
    talk = speaking()
    outputs = talk.session.interrupt(played_ms=500)
    assert names(outputs) == ["CancelGeneration", "Interrupted", "ResponseDone"]
    assert outputs[1] == Interrupted(1, 1, "interrupt", "The capital", 500)
    assert talk.session.state is State.LISTENING
    assert talk.session.interrupt() == []


def test_interrupt_stops_thinking_and_the_question_is_remembered() -> None:
    talk = Talk()
    talk.text_turn("my name is Ada")
    assert talk.session.interrupt() == [CancelGeneration(1, False), Interrupted(None, 1, "interrupt", "", 0)]
    _, outputs = talk.text_turn("what is my name")
    assert started(outputs).request.history == (Turn("my name is Ada", ""),)


def test_typed_text_interrupts() -> None:
    talk = speaking()
    talk.session.playback(500)
    _, outputs = talk.text_turn("and of Spain?")
    assert names(outputs) == ["CancelGeneration", "Interrupted", "ResponseDone", "StartGeneration"]
    assert started(outputs).request.history == (Turn("capital of France?", "The capital"),)
    assert started(outputs).request.text == "and of Spain?"


def test_a_program_that_reports_nothing_may_ask_on_at_once() -> None:
    talk = speaking()
    talk.generator_says(1, done())
    _, outputs = talk.text_turn("and of Spain?")
    assert names(outputs) == ["StartGeneration"]
    assert started(outputs).request.history == (Turn("capital of France?", "The capital of France is Paris."),)


def test_typed_text_drops_the_open_spoken_turn() -> None:
    talk = Talk(ONE_TURN[:2])
    talk.hear_until(2.2)
    _, outputs = talk.text_turn()
    assert names(outputs) == ["CancelGeneration", "StartGeneration"]
    assert talk.detector.resets == 1


def test_stop_cuts_off_what_is_being_made() -> None:
    talk = speaking()
    assert names(talk.session.stop()) == ["CancelGeneration", "Interrupted", "ResponseDone"]
    talk = speaking()
    talk.generator_says(1, done())
    assert talk.session.stop() == []


# memory, options, failures, drain


def test_the_conversation_is_remembered() -> None:
    talk = Talk()
    for number in range(3):
        generation_id, _ = talk.text_turn(f"question {number}")
        talk.generator_says(generation_id, TextDelta(f"answer {number}"), chunk(10), done())
    _, outputs = talk.text_turn("last")
    assert started(outputs).request.history == tuple(Turn(f"question {n}", f"answer {n}") for n in range(3))


def test_options_and_history_reach_the_request() -> None:
    talk = Talk()
    options = replace(talk.session.options, system_prompt="Be brief.", max_tokens=7, max_seconds=3.0, max_sentences=2)
    talk.session.configure(options, (Turn("hi", "hello"),))
    request = started(talk.text_turn("more")[1]).request
    assert request == Request(
        text="more",
        system_prompt="Be brief.",
        history=(Turn("hi", "hello"),),
        max_tokens=7,
        max_seconds=3.0,
        max_sentences=2,
    )
    assert talk.detector.rules == options.rules


def test_a_failure_before_the_answer_is_told_and_the_next_question_works() -> None:
    talk = Talk()
    generation_id, _ = talk.text_turn()
    (problem,) = talk.session.generation_failed(generation_id, EngineFull("9 of 8"))
    assert isinstance(problem, Problem)
    assert (problem.code, problem.fatal, problem.turn_id, problem.response_id) == ("busy", False, 1, None)
    assert talk.session.state is State.LISTENING
    assert "StartGeneration" in names(talk.text_turn()[1])


def test_a_failure_in_the_answer_ends_it() -> None:
    talk = speaking()
    problem, response_done = talk.session.generation_failed(1, GenerationFailed("the mouth broke; ask again"))
    assert isinstance(problem, Problem)
    assert (problem.code, problem.response_id) == ("generation_failed", 1)
    assert isinstance(response_done, ResponseDone)
    assert response_done.reason == "error"
    assert not talk.session.answering


def test_draining_finishes_the_answer_and_takes_no_other() -> None:
    talk = speaking(ONE_TURN)
    talk.session.drain()
    assert talk.session.answering
    assert names(talk.generator_says(1, chunk(85), done())) == ["AnswerAudio", "AnswerTextDone", "ResponseDone"]
    assert not talk.session.answering
    (refused,) = talk.session.receive_text("more")
    assert isinstance(refused, Problem)
    assert refused.code == "shutting_down"
    talk.clock.now += 5
    assert [o.code for o in talk.hear_until(2.5) if isinstance(o, Problem)] == ["shutting_down"]


def test_an_empty_answer_begins_and_ends() -> None:
    talk = Talk()
    generation_id, _ = talk.text_turn()
    assert names(talk.generator_says(generation_id, done(text=""))) == [
        "ResponseStarted",
        "AnswerTextDone",
        "ResponseDone",
    ]


# with real ears for turns


def test_real_speech_through_the_real_detector(silero: VoiceActivity, question: np.ndarray) -> None:
    session = Session(Endpointer(SessionOptions().rules), SessionOptions(), FakeClock())
    stream = VoiceStream()
    quiet = np.zeros(at(1.0), np.float32)
    sound = np.concatenate([quiet, question, quiet])
    outputs: list[Output] = []
    for start in range(0, len(sound), 441):
        piece = sound[start : start + 441]
        heard = [float(silero.judge([stream.state], window[None])[0]) for window in stream.windows(piece)]
        outputs += session.receive_audio(piece, heard)
    asked = [o for o in outputs if isinstance(o, StartGeneration)]
    assert names(outputs)[0] == "SpeechStarted"
    assert names(outputs)[-2:] == ["SpeechStopped", "GenerationAdopted"]
    audio = asked[-1].request.audio
    assert audio is not None
    correlation = np.correlate(audio, question, "full")
    assert correlation.max() == pytest.approx(float((question**2).sum()), rel=1e-3), "the whole question is in it"


# what the client chooses in the middle of a turn


def test_an_answer_that_was_begun_is_given_up_when_turns_are_not_answered_any_more() -> None:
    talk = Talk(ONE_TURN)
    speculation = started(talk.hear_until(2.2))
    talk.session.configure(replace(talk.session.options, answer_turns=False))
    outputs = talk.hear_until(2.5)
    assert names(outputs)[:3] == ["SpeechStopped", "CancelGeneration", "TurnTaken"]
    assert outputs[1] == CancelGeneration(speculation.generation_id, True)


def test_push_to_talk_takes_over_an_open_turn_to_the_sample() -> None:
    talk = Talk(ONE_TURN)
    speculation = started(talk.hear_until(2.2))
    outputs = talk.session.configure(replace(talk.session.options, find_turns=False, answer_turns=False))
    assert outputs == [CancelGeneration(speculation.generation_id, True), SpeechStopped(1, 2200, "commit")]
    assert talk.session.state is State.LISTENING
    assert talk.hear_until(5.0) == []
    taken, hearing = talk.session.commit()
    assert names([taken, hearing]) == ["TurnTaken", "StartGeneration"]
    assert taken.turn_id == 1  # type: ignore[union-attr]
    audio = hearing.request.audio  # type: ignore[union-attr]
    assert audio is not None
    assert (position(audio[0]), position(audio[-1])) == (at(1.0) - ms_to_samples(320), at(5.0) - 1)
    assert names(talk.session.commit()) == ["Problem"]
