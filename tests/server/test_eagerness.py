"""Turns that end by what was said: the endpointer's waits, and how a session gets them judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.eagerness import WAITS, Eagerness
from model.request import Done, EndOfTurn, EngineFull, Heard, TextDelta
from model.voice_activity import WINDOW_SAMPLES
from server.events import CancelGeneration, SpeechStopped, StartGeneration
from server.options import SessionOptions
from server.session import Session
from server.turns import Endpointer, SpeechBegan, SpeechEnded, SpeechPaused, SpeechResumed, TurnRules, TurnSignal
from tests.server.harness import FakeClock
from tests.server.test_session import names

SPEECH, SILENCE = 0.9, 0.0
RULES = TurnRules(eagerness="auto")


def push(detector: Endpointer, *runs: tuple[int, float]) -> list[TurnSignal]:
    heard = [probability for count, probability in runs for _ in range(count)]
    return detector.push(np.zeros(len(heard) * WINDOW_SAMPLES, np.float32), heard)


def windows(ms: float) -> int:
    """That it takes until so much silence is complete."""
    return int(-(-ms * 16 // WINDOW_SAMPLES))


def paused(rules: TurnRules = RULES) -> Endpointer:
    """A detector at a pause of 128 ms after 20 windows of speech."""
    detector = Endpointer(rules)
    assert [type(s) for s in push(detector, (20, SPEECH), (4, SILENCE))] == [SpeechBegan, SpeechPaused]
    return detector


def ended(probability: float | None) -> list[TurnSignal]:
    return [SpeechEnded(20 * WINDOW_SAMPLES, "silence", probability)]


@given(st.sampled_from(["low", "auto", "high"]), st.floats(0, 1), st.floats(0, 1))
def test_the_likelier_the_end_the_shorter_the_wait(eagerness: Eagerness, one: float, other: float) -> None:
    waits = WAITS[eagerness]
    less, more = sorted((one, other))
    assert waits.longest_ms >= waits.silence_ms(less) >= waits.silence_ms(more) >= waits.shortest_ms
    assert (waits.silence_ms(0), waits.silence_ms(1)) == (waits.longest_ms, waits.shortest_ms)


def test_more_eagerness_waits_less() -> None:
    for probability in (0, 0.25, 0.5, 0.75, 1):
        waits = [WAITS[name].silence_ms(probability) for name in ("low", "auto", "high")]
        assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_the_judgement_says_how_much_silence_ends_the_turn(probability: float) -> None:
    detector = paused()
    assert detector.expect(probability) == []
    rest = windows(WAITS["auto"].silence_ms(probability)) - 4
    assert push(detector, (rest - 1, SILENCE)) == []
    assert push(detector, (1, SILENCE)) == ended(probability)


def test_a_judgement_that_comes_late_decides_when_it_comes() -> None:
    detector = paused()
    longer = windows(WAITS["auto"].silence_ms(1)) + 3
    assert push(detector, (longer, SILENCE)) == [], "nobody has judged it yet"
    assert detector.expect(1.0) == ended(1.0)


def test_without_a_judgement_the_longest_wait_ends_the_turn() -> None:
    detector = paused()
    rest = windows(WAITS["auto"].longest_ms) - 4
    assert push(detector, (rest - 1, SILENCE)) == []
    assert push(detector, (1, SILENCE)) == ended(None)


def test_words_that_nobody_can_judge_end_by_silence() -> None:
    detector = paused()
    assert push(detector, (windows(RULES.end_silence_ms) - 5, SILENCE)) == []
    assert detector.expect(None) == []
    assert push(detector, (1, SILENCE)) == ended(None)


def test_speech_that_goes_on_is_judged_anew() -> None:
    detector = paused()
    assert detector.expect(1.0) == []
    assert isinstance(push(detector, (2, SPEECH))[0], SpeechResumed)
    assert detector.expect(1.0) == [], "a judgement of a pause that is over"
    assert [type(s) for s in push(detector, (30, SILENCE))] == [SpeechPaused], "the earlier one is forgotten"


def test_silence_alone_decides_without_eagerness() -> None:
    detector = paused(TurnRules())
    assert detector.expect(1.0) == []
    assert push(detector, (windows(500) - 5, SILENCE)) == []
    assert push(detector, (1, SILENCE)) == ended(None)


def told(pause_ms: int, sentences: int, probability: float = 0.95) -> list[bool]:
    """Which pauses between sentences, each of them complete by itself, end the turn."""
    detector, found = Endpointer(RULES), []
    for _ in range(sentences):
        push(detector, (20, SPEECH))
        if found and found[-1]:
            detector.learn(too_soon=True)
        push(detector, (4, SILENCE))
        signals = detector.expect(probability) + push(detector, (windows(pause_ms) - 4, SILENCE))
        found.append(any(isinstance(signal, SpeechEnded) for signal in signals))
    return found


def test_somebody_who_goes_on_after_each_sentence_is_waited_for() -> None:
    assert told(500, 5) == [True, *[False] * 4], "the first pause tells that more is to be expected"


def test_what_was_learnt_is_forgotten_again() -> None:
    detector, waits = Endpointer(RULES), []
    for number in range(8):
        push(detector, (20, SPEECH))
        detector.learn(too_soon=number == 1)
        push(detector, (4, SILENCE))
        detector.expect(0.95)
        waits.append(next(n for n in range(1, 60) if push(detector, (1, SILENCE))))
        push(detector, (windows(4000), SILENCE))
    assert waits[1] > 2 * waits[0]
    assert waits[1:] == sorted(waits[1:], reverse=True)
    assert waits[-1] <= waits[0] + 2


class Talk:
    """A session with a real endpointer that hears runs of windows."""

    def __init__(self, rules: TurnRules = RULES, **options: object) -> None:
        self.session = Session(Endpointer(rules), SessionOptions(rules=rules, **options), FakeClock())  # type: ignore[arg-type]

    def hear(self, count: int, probability: float) -> list[object]:
        sound = np.full(count * WINDOW_SAMPLES, 0.1, np.float32)
        return list(self.session.receive_audio(sound, [probability] * count))

    def pause(self) -> int:
        """Somebody speaks and pauses → the guess that was started."""
        (guess,) = [o for o in self.hear(20, SPEECH) + self.hear(4, SILENCE) if isinstance(o, StartGeneration)]
        return guess.generation_id


def test_a_session_ends_the_turn_when_the_words_are_over() -> None:
    talk = Talk()
    guess = talk.pause()
    assert talk.session.receive_event(guess, Heard("What is the capital of France?")) == []
    assert talk.hear(6, SILENCE) == []
    outputs = talk.session.receive_event(guess, EndOfTurn(0.97))
    assert names(outputs) == ["SpeechStopped", "GenerationAdopted", "QuestionHeard"]
    assert names(talk.session.receive_event(guess, TextDelta("Paris."))) == ["ResponseStarted", "AnswerText"]


def test_a_session_waits_when_they_are_not() -> None:
    talk = Talk()
    guess = talk.pause()
    for event in (Heard("I want to book a"), EndOfTurn(0.03), TextDelta("What")):
        assert talk.session.receive_event(guess, event) == []
    assert talk.hear(windows(1000), SILENCE) == []
    assert talk.hear(2, SPEECH) == [CancelGeneration(guess, speculative=True)]


@pytest.mark.parametrize("event", [TextDelta("Paris."), Done("no_speech", "", 0.0, 0, 0), EngineFull("full")])
def test_a_model_that_does_not_judge_leaves_it_to_silence(event: TextDelta | Done | EngineFull) -> None:
    talk = Talk()
    guess = talk.pause()
    if isinstance(event, EngineFull):
        talk.session.generation_failed(guess, event)
    else:
        talk.session.receive_event(guess, event)
    assert names(talk.hear(windows(500) - 5, SILENCE)) == []
    assert names(talk.hear(1, SILENCE))[0] == "SpeechStopped"


def test_without_guesses_silence_decides() -> None:
    talk = Talk(speculate=False)
    assert names(talk.hear(20, SPEECH) + talk.hear(windows(500) - 1, SILENCE)) == ["SpeechStarted"]
    stopped, _ = talk.hear(1, SILENCE)
    assert isinstance(stopped, SpeechStopped)
