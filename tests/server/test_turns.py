"""Turn detection: the endpointer to the sample on scripted voices, and Silero on real sound."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hibari import Hibari
from hypothesis import given
from hypothesis import strategies as st

from model.voice_activity import WINDOW_SAMPLES, VoiceActivity
from server.turns import (
    SAMPLE_RATE,
    Endpointer,
    SpeechBegan,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    TurnRules,
    TurnSignal,
    ms_to_samples,
)
from tests.server.conftest import probabilities, say

RULES = TurnRules()


def windows(*runs: tuple[int, float]) -> list[float]:
    """(windows, probability) runs → the probability of each window."""
    return [p for count, p in runs for _ in range(count)]


def push(detector: Endpointer, probabilities: Sequence[float]) -> list[TurnSignal]:
    return detector.push(np.zeros(len(probabilities) * WINDOW_SAMPLES, np.float32), probabilities)


def signals(probabilities: Sequence[float], rules: TurnRules = RULES) -> list[TurnSignal]:
    return push(Endpointer(rules), probabilities)


def w(count: int) -> int:
    return count * WINDOW_SAMPLES


def test_a_turn_begins_where_speech_began_and_ends_where_it_ended() -> None:
    found = signals(windows((10, 0.0), (20, 0.9), (20, 0.0)))
    assert found == [SpeechBegan(w(10)), SpeechPaused(w(30)), SpeechEnded(w(30), "silence")]


def test_signals_come_in_the_window_that_completes_them() -> None:
    detector = Endpointer(RULES)
    positions = {}
    for index, probability in enumerate(windows((20, 0.9), (20, 0.0))):
        for signal in push(detector, [probability]):
            positions[type(signal)] = w(index + 1)
    assert positions[SpeechBegan] == w(5)  # 160 ms of voice
    assert positions[SpeechPaused] == w(24)  # 128 ms of silence
    assert positions[SpeechEnded] == w(36)  # 512 ms of silence


def test_a_cough_is_no_turn() -> None:
    assert signals(windows((10, 0.0), (4, 0.95), (30, 0.0))) == []


def test_short_noises_far_apart_do_not_add_up() -> None:
    assert signals(windows(*[(3, 0.9), (8, 0.0)] * 10)) == []


def test_speech_after_a_short_pause_goes_on() -> None:
    found = signals(windows((10, 0.9), (8, 0.0), (10, 0.9), (20, 0.0)))
    assert [type(s) for s in found] == [SpeechBegan, SpeechPaused, SpeechResumed, SpeechPaused, SpeechEnded]


def test_faint_ends_of_words_belong_to_the_turn() -> None:
    assert signals(windows((10, 0.9), (5, 0.4), (20, 0.0)))[-1] == SpeechEnded(w(15), "silence")


def test_faint_noise_does_not_resume_a_pause() -> None:
    found = signals(windows((10, 0.9), (8, 0.0), (10, 0.4)))
    assert [type(s) for s in found] == [SpeechBegan, SpeechPaused, SpeechEnded]


@pytest.mark.parametrize("end_silence_ms", [200, 320, 1000, 3000])
def test_end_silence_is_a_setting(end_silence_ms: int) -> None:
    rules = TurnRules(end_silence_ms=end_silence_ms)
    silent = -(-ms_to_samples(end_silence_ms) // WINDOW_SAMPLES)
    assert not any(isinstance(s, SpeechEnded) for s in signals(windows((10, 0.9), (silent - 1, 0.0)), rules))
    assert isinstance(signals(windows((10, 0.9), (silent, 0.0)), rules)[-1], SpeechEnded)


def test_a_long_turn_is_cut_and_the_rest_until_the_next_pause_is_not_heard() -> None:
    rules = TurnRules(max_turn_ms=2000)
    detector = Endpointer(rules)
    found = push(detector, windows((100, 0.9)))
    assert found[0] == SpeechBegan(0)
    assert isinstance(found[1], SpeechEnded)
    assert found[1].reason == "max_turn"
    assert found[1].at_sample + ms_to_samples(rules.pre_roll_ms) <= ms_to_samples(rules.max_turn_ms)
    assert len(found) == 2
    assert push(detector, windows((10, 0.0), (10, 0.9))) == [SpeechBegan(w(110))]


def test_flush_ends_an_open_turn_and_takes_a_beginning_for_one() -> None:
    detector = Endpointer(RULES)
    assert detector.flush() == []
    push(detector, windows((3, 0.9)))
    assert detector.flush() == [SpeechBegan(0), SpeechEnded(w(3), "commit")]
    push(detector, windows((10, 0.9), (2, 0.0)))
    assert detector.flush() == [SpeechEnded(w(13), "commit")]
    assert detector.flush() == []


def test_reset_drops_the_turn_but_not_the_position() -> None:
    detector = Endpointer(RULES)
    push(detector, windows((10, 0.9)))
    detector.reset()
    assert push(detector, windows((20, 0.0))) == []
    assert push(detector, windows((7, 0.9))) == [SpeechBegan(w(30))]


@given(st.lists(st.tuples(st.integers(1, 25), st.sampled_from([0.0, 0.4, 0.9])), max_size=12), st.data())
def test_signals_do_not_depend_on_the_pieces(runs: list[tuple[int, float]], data: st.DataObject) -> None:
    heard = windows(*runs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(heard)), max_size=20)))
    detector = Endpointer(RULES)
    pieces = [heard[first:last] for first, last in itertools.pairwise([0, *cuts, len(heard)])]
    assert [signal for piece in pieces for signal in push(detector, piece)] == signals(heard)


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.4, 0.9])), max_size=20))
def test_signals_come_in_order(runs: list[tuple[int, float]]) -> None:
    allowed = {
        None: {SpeechBegan},
        SpeechBegan: {SpeechPaused, SpeechEnded},
        SpeechPaused: {SpeechResumed, SpeechEnded},
        SpeechResumed: {SpeechPaused, SpeechEnded},
        SpeechEnded: {SpeechBegan},
    }
    previous: type | None = None
    for signal in signals(windows(*runs)):
        assert type(signal) in allowed[previous]
        previous = type(signal)


def silero_signals(silero: VoiceActivity, sound: np.ndarray) -> list[TurnSignal]:
    return signals(probabilities(silero, sound))


def silence(ms: int) -> np.ndarray:
    return np.zeros(ms_to_samples(ms), np.float32)


def test_silero_finds_a_spoken_question(silero: VoiceActivity, question: np.ndarray) -> None:
    found = silero_signals(silero, np.concatenate([silence(1000), question, silence(1000)]))
    assert isinstance(found[0], SpeechBegan)
    assert isinstance(found[-1], SpeechEnded)
    began, ended = found[0].at_sample, found[-1].at_sample
    assert abs(began - SAMPLE_RATE) < ms_to_samples(RULES.pre_roll_ms), "the pre-roll must reach the first sound"
    assert abs(ended - SAMPLE_RATE - len(question)) < ms_to_samples(200)


def test_silero_finds_it_in_noise(silero: VoiceActivity, question: np.ndarray) -> None:
    sound = np.concatenate([silence(1000), question, silence(1000)])
    noise = np.random.default_rng(0).standard_normal(len(sound)) * question.std() * 10 ** (-10 / 20)
    found = silero_signals(silero, sound + noise)
    assert [type(s) for s in found][:1] == [SpeechBegan]
    assert isinstance(found[-1], SpeechEnded)


@pytest.mark.parametrize("utterance", ["Yes.", "No, thank you."])
def test_silero_lets_short_answers_pass(silero: VoiceActivity, voice: Hibari, utterance: str) -> None:
    found = silero_signals(silero, np.concatenate([silence(500), say(voice, utterance), silence(1000)]))
    assert [type(s) for s in found if not isinstance(s, (SpeechPaused, SpeechResumed))] == [SpeechBegan, SpeechEnded]


def _noises() -> Sequence[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    breath = rng.standard_normal(SAMPLE_RATE) * np.hanning(SAMPLE_RATE) * 0.02
    clicks = np.zeros(4 * SAMPLE_RATE)
    for at in range(2000, len(clicks) - 400, 3100):
        clicks[at : at + 300] = rng.standard_normal(300) * np.exp(-np.arange(300) / 40) * 0.4
    cough = rng.standard_normal(2400) * np.exp(-np.arange(2400) / 700) * 0.5
    hum = 0.05 * np.sin(np.arange(4 * SAMPLE_RATE) * 2 * np.pi * 50 / SAMPLE_RATE)
    return (
        ("silence", silence(20_000)),
        ("noise", rng.standard_normal(10 * SAMPLE_RATE) * 0.02),
        ("breath", np.concatenate([silence(500), breath, silence(500), breath])),
        ("keyboard", clicks),
        ("cough", np.concatenate([silence(500), cough, silence(1000)])),
        ("hum", hum),
    )


@pytest.mark.parametrize(("name", "sound"), _noises(), ids=[name for name, _ in _noises()])
def test_silero_takes_no_noise_for_a_turn(silero: VoiceActivity, name: str, sound: np.ndarray) -> None:
    assert silero_signals(silero, sound) == []
