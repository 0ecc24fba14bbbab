"""Voices in the background neither hold a turn open nor begin one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hibari import Hibari

from model.voice_activity import VoiceActivity
from server.turn_taking.foreground import Foreground, LevelMeter
from server.turns import SAMPLE_RATE, Endpointer, SpeechBegan, SpeechEnded, TurnRules, TurnSignal, ms_to_samples
from tests.server.conftest import probabilities, say

QUESTIONS = ("What is the capital of France?", "How far away is the moon?")
BACKGROUND = "Yesterday I went to the market, and it was a sunny day, so I bought some apples, and then I met a friend."
Hear = Callable[[np.ndarray, bool], list[TurnSignal]]


def level(sound: np.ndarray) -> float:
    """Of what is loud in it."""
    frames = np.square(sound[: len(sound) // 320 * 320].reshape(-1, 320)).mean(1)
    return float(np.sqrt(frames[frames > 1e-3 * frames.max()].mean()))


@pytest.fixture
def hear(silero: VoiceActivity) -> Hear:
    """All signals of a microphone's sound."""

    def signals(sound: np.ndarray, foreground: bool) -> list[TurnSignal]:
        noisy = sound + np.random.default_rng(0).normal(0, 20 / 32768, len(sound))
        detector = Endpointer(TurnRules(foreground=foreground))
        return detector.push(noisy.astype(np.float32), probabilities(silero, noisy))

    return signals


@pytest.fixture(scope="module")
def questions(voice: Hibari) -> list[np.ndarray]:
    return [say(voice, text) for text in QUESTIONS]


def background(voice: Hibari, count: int, foreground: np.ndarray, db: float) -> np.ndarray:
    """Somebody else, who goes on speaking: another pitch of the voice."""
    spoken = say(voice, BACKGROUND)
    lower = np.interp(np.arange(0, len(spoken), 0.85), np.arange(len(spoken)), spoken)
    return np.resize(lower, count) * level(foreground) / level(lower) * 10 ** (db / 20)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.mark.parametrize("db", [-12, -15, -18, -24])
def test_a_turn_ends_and_none_begins_while_somebody_speaks_behind(
    hear: Hear, voice: Hibari, questions: list[np.ndarray], db: float
) -> None:
    first, second = questions
    alone = np.concatenate([silence(1), first, silence(2)])
    both = np.concatenate([silence(1), second, silence(5)])
    sound = np.concatenate([alone, both + background(voice, len(both), second, db)])
    found = hear(sound, True)
    ends = [signal.at_sample for signal in found if isinstance(signal, SpeechEnded)]
    usual = [s.at_sample for s in hear(np.concatenate([alone, both]), True) if isinstance(s, SpeechEnded)]
    assert len(ends) == len(usual) == 2, "two turns, and none of the voice behind"
    assert abs(ends[1] - usual[1]) <= ms_to_samples(400)


def test_without_it_the_voice_behind_holds_the_turn(hear: Hear, voice: Hibari, questions: list[np.ndarray]) -> None:
    first, second = questions
    both = np.concatenate([silence(1), second, silence(3)])
    sound = np.concatenate([silence(1), first, silence(2), both + background(voice, len(both), second, -15)])
    assert sum(isinstance(signal, SpeechEnded) for signal in hear(sound, False)) < 2


@pytest.mark.parametrize("db", [-5, 0, 5])
def test_two_people_at_one_microphone_are_both_heard(hear: Hear, questions: list[np.ndarray], db: float) -> None:
    first, second = questions
    other = second * level(first) / level(second) * 10 ** (db / 20)
    turns = [silence(1), first, silence(2), other, silence(2), first, silence(2), other, silence(2)]
    found = hear(np.concatenate(turns), True)
    assert sum(isinstance(signal, SpeechBegan) for signal in found) == 4


def test_somebody_who_moves_away_is_heard_again_after_a_while() -> None:
    foreground = Foreground()
    for _ in range(30):
        assert foreground.counts(-20, True, True)
    foreground.turn_ended()
    assert foreground.level_db == -20
    waited = next(n for n in range(5000) if foreground.counts(-30, True, False))
    assert 15 <= waited * 0.032 <= 25


@pytest.mark.parametrize("step", [1, 160, 511, 512, 513, 4000])
def test_levels_do_not_depend_on_the_pieces(step: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 4096).astype(np.float32)
    whole = LevelMeter().levels(sound, 8)
    pieces: list[float] = []
    meter, complete = LevelMeter(), 0
    for begin in range(0, len(sound), step):
        count = min(begin + step, len(sound)) // 512 - complete
        complete += count
        pieces += meter.levels(sound[begin : begin + step], count)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)
