"""The answer's own sound in the microphone is no interruption, and hides none: real speech in a simulated room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import soxr
from hibari import Hibari
from hypothesis import given, settings
from hypothesis import strategies as st

from model.voice_activity import WINDOW_SAMPLES, VoiceActivity, VoiceState
from server.echo.adaptive_filter import PARTITIONS, AdaptiveFilter
from server.echo.blocks import BINS, BLOCK, TRANSFORM
from server.echo.canceller import EchoCanceller
from server.echo.delay import DelaySearch
from server.echo.reference import Reference
from server.echo.residue import Residue
from server.turns import Endpointer, SpeechBegan, TurnRules

RATE = 16_000
SPEECH_RMS = 0.05
ANSWER = (
    "The capital of France is Paris. It lies on the river Seine, and more than two million people live there. "
    "Many of them came from the countryside, or from other countries, to find work and to see the lights."
)
BEGINS = RATE // 2
"""When the answer is sent."""


def active_rms(sound: np.ndarray) -> float:
    frames = np.square(sound[: len(sound) // 320 * 320].reshape(-1, 320)).mean(1)
    return float(np.sqrt(frames[frames > 1e-3 * frames.max()].mean()))


@pytest.fixture(scope="module")
def answer(voice: Hibari) -> np.ndarray:
    """(n,) float32, 24 kHz, about 10 s."""
    return np.asarray(voice(ANSWER, seed=1), np.float32)


@pytest.fixture(scope="module")
def words(question: np.ndarray) -> np.ndarray:
    """(n,) float32, 16 kHz: somebody with a lower voice than the answer's, at the level of normal speech."""
    lower = soxr.resample(question, 100, 118)
    lower = lower[np.flatnonzero(np.abs(lower) > 0.1 * np.abs(lower).max())[0] :]
    return (lower * (SPEECH_RMS / active_rms(lower))).astype(np.float32)


@dataclass(frozen=True)
class Room:
    """Echo relative to normal speech, and when it comes; `drift_ppm`: how much slower the microphone's clock goes;
    `drive`: how far the loudspeaker bends peaks."""

    echo_db: float = -12.0
    delay_ms: int = 150
    reverberation_s: float = 0.3
    drift_ppm: float = 0.0
    seed: int = 7
    drive: float = 2.0

    def microphone(self, answer: np.ndarray) -> np.ndarray:
        """What a microphone hears of an answer: late, bent, with the room's sound and some noise."""
        rng = np.random.default_rng(self.seed)
        sound = soxr.resample(answer, 24_000, RATE)
        drive = self.drive / np.abs(sound).max()
        time = np.arange(round(self.reverberation_s * RATE)) / RATE
        walls = rng.standard_normal(len(time)) * 10 ** (-3 * time / self.reverberation_s)
        walls[:32] = 0
        walls *= 0.7 / np.sqrt(np.square(walls).sum())
        walls[0] += 1
        heard = np.convolve(np.tanh(drive * sound), walls)
        heard *= SPEECH_RMS * 10 ** (self.echo_db / 20) / active_rms(heard)
        silence = np.zeros(BEGINS + self.delay_ms * 16)
        sound = np.concatenate([silence, heard, np.zeros(RATE // 2)])
        return noisy(soxr.resample(sound, 1e6 + self.drift_ppm, 1e6) if self.drift_ppm else sound)


def noisy(sound: np.ndarray) -> np.ndarray:
    return (sound + 3e-4 * np.random.default_rng(8).standard_normal(len(sound))).astype(np.float32)


Heard = Callable[[np.ndarray, np.ndarray], list[float]]


@pytest.fixture
def interruptions(silero: VoiceActivity) -> Heard:
    """(microphone, answer) → seconds at which speech was noticed."""

    def listen(microphone: np.ndarray, answer: np.ndarray, guarded: bool = True) -> list[float]:
        canceller, state, endpointer = EchoCanceller(), VoiceState(), Endpointer(TurnRules())
        noticed, waiting, sent = [], np.zeros(0, np.float32), not guarded
        for begin in range(0, len(microphone), 640):
            if begin >= BEGINS and not sent:
                sent = True
                for piece in np.array_split(answer, 12):
                    canceller.played(piece)
            cleaned = canceller.clean(microphone[begin : begin + 640])
            waiting = np.concatenate([waiting, cleaned.samples])
            for own in cleaned.own:
                probability = float(silero.judge([state], waiting[None, :WINDOW_SAMPLES])[0])
                waiting = waiting[WINDOW_SAMPLES:]
                signals = endpointer.push(waiting, [0.0 if own else probability])
                noticed += [(begin + 640) / RATE for signal in signals if isinstance(signal, SpeechBegan)]
        return noticed

    return listen


@pytest.mark.parametrize("delay_ms", [50, 150, 300])
@pytest.mark.parametrize("echo_db", [-20, -12, -6])
def test_its_own_voice_is_no_interruption(
    echo_db: float, delay_ms: int, answer: np.ndarray, interruptions: Heard
) -> None:
    assert interruptions(Room(echo_db, delay_ms).microphone(answer), answer) == []


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_the_first_words_of_all_are_no_interruption(seed: int, answer: np.ndarray, interruptions: Heard) -> None:
    """Nothing is known of the room yet, and the loudspeaker bends what is loud."""
    begin = answer[seed * 16_000 :][: 3 * 24_000]
    assert interruptions(Room(-6, 50 + 40 * seed, seed=seed, drive=4).microphone(begin), begin) == []


def test_without_the_guard_it_would_be(answer: np.ndarray, interruptions: Heard) -> None:
    assert len(interruptions(Room(-20, 150).microphone(answer), answer, guarded=False)) >= 1  # type: ignore[call-arg]


def test_a_reverberant_room_is_no_interruption(answer: np.ndarray, interruptions: Heard) -> None:
    assert interruptions(Room(-6, 150, reverberation_s=0.6).microphone(answer), answer) == []


@pytest.mark.parametrize("drift_ppm", [-100, 30, 100])
def test_a_clock_that_drifts_is_followed(drift_ppm: float, answer: np.ndarray, interruptions: Heard) -> None:
    """A microphone on a cable of its own: in a minute the echo moves by 6 ms, to before where it was found."""
    answers = np.tile(answer, 6)
    assert interruptions(Room(-12, 150, drift_ppm=drift_ppm).microphone(answers), answers) == []


@pytest.mark.parametrize("level_db", [0, 6])
@pytest.mark.parametrize("second", [2.0, 4.5, 7.0])
def test_words_over_the_echo_are_noticed_in_300_ms(
    level_db: float, second: float, answer: np.ndarray, words: np.ndarray, interruptions: Heard
) -> None:
    microphone = Room(-12, 150).microphone(answer)
    begin = round(second * RATE)
    microphone[begin : begin + len(words)] += words * 10 ** (level_db / 20)
    noticed = interruptions(microphone, answer)
    assert noticed, "words were missed"
    assert second <= noticed[0] <= second + 0.3


def test_with_headphones_words_are_noticed_as_ever(answer: np.ndarray, words: np.ndarray, interruptions: Heard) -> None:
    microphone = noisy(np.zeros(4 * RATE))
    microphone[2 * RATE : 2 * RATE + len(words)] += words
    guarded = interruptions(microphone, answer)
    assert guarded == interruptions(microphone, answer, guarded=False)  # type: ignore[call-arg]
    assert 2 <= guarded[0] <= 2.3


def test_a_delay_that_jumps_is_found_again(answer: np.ndarray, interruptions: Heard) -> None:
    """A jitter buffer that ran dry: what comes half a second later is no interruption any more."""
    microphone = Room(-12, 150).microphone(answer)
    at = 4 * RATE
    microphone = np.concatenate([microphone[:at], noisy(np.zeros(RATE // 10)), microphone[at:]])
    assert [second for second in interruptions(microphone, answer) if second > 4.6] == []


def test_nothing_changes_where_no_echo_is(answer: np.ndarray) -> None:
    canceller, microphone = EchoCanceller(), noisy(np.zeros(3 * RATE))
    canceller.played(answer)
    cleaned = canceller.clean(microphone).samples
    np.testing.assert_array_equal(cleaned, microphone[: len(cleaned)])
    assert len(microphone) - len(cleaned) < BLOCK


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20))
def test_pieces_of_any_size_give_the_same(sizes: list[int], answer: np.ndarray) -> None:
    microphone = Room().microphone(answer)[: 2 * RATE]

    def cleaned(pieces: list[np.ndarray]) -> tuple[np.ndarray, list[bool]]:
        canceller = EchoCanceller()
        canceller.played(answer)
        found = [canceller.clean(piece) for piece in pieces]
        return np.concatenate([one.samples for one in found]), [own for one in found for own in one.own]

    cuts = np.minimum(np.cumsum(sizes), len(microphone))
    whole, in_pieces = cleaned([microphone]), cleaned(np.split(microphone, cuts))
    np.testing.assert_array_equal(whole[0], in_pieces[0])
    assert whole[1] == in_pieces[1]
    assert len(whole[1]) == len(whole[0]) // BLOCK


def test_long_after_an_answer_samples_pass_at_once(answer: np.ndarray) -> None:
    canceller = EchoCanceller()
    canceller.played(answer)
    canceller.clean(noisy(np.zeros(len(answer) * 2 // 3 + 2 * RATE)))
    assert not canceller.audible
    assert len(canceller.clean(np.zeros(100, np.float32)).samples) >= 100
    assert len(canceller.clean(np.zeros(7, np.float32)).samples) == 7


def test_the_echo_is_softer_by_far_and_the_words_are_not(answer: np.ndarray, words: np.ndarray) -> None:
    microphone = Room(-12, 150).microphone(answer)
    begin = 6 * RATE
    with_words = microphone.copy()
    with_words[begin : begin + len(words)] += words

    def cleaned(sound: np.ndarray) -> np.ndarray:
        canceller = EchoCanceller()
        canceller.clean(sound[:BEGINS])
        canceller.played(answer)
        return canceller.clean(sound[BEGINS:]).samples

    alone = slice(2 * RATE, 5 * RATE)
    assert np.square(cleaned(microphone)[alone]).mean() < 0.01 * np.square(microphone[BEGINS:][alone]).mean()
    kept = cleaned(with_words)[begin - BEGINS :][: len(words)]
    assert np.corrcoef(kept, words)[0, 1] > 0.9


# the parts


@settings(max_examples=20, deadline=None)
@given(delay=st.integers(0, 12_700), seed=st.integers(0, 99))
def test_any_delay_is_found_to_the_sample(delay: int, seed: int) -> None:
    sent = np.random.default_rng(seed).standard_normal(24 * BLOCK + 12_800).astype(np.float32) * 0.1
    sent = np.concatenate([np.zeros(12_800, np.float32), sent])
    search, found = DelaySearch(), None
    for position in range(12_800, len(sent) - BLOCK, BLOCK):
        heard = sent[position - delay : position - delay + BLOCK]
        search.push(sent[position - BLOCK : position + BLOCK], heard + 0.01)
        found = search.find() or found
    assert found == (delay or None)


def test_a_voice_is_no_echo_of_another(answer: np.ndarray, words: np.ndarray) -> None:
    sent = soxr.resample(answer, 24_000, RATE)
    heard = np.tile(words, 8)
    search = DelaySearch()
    for position in range(BLOCK, min(len(sent), len(heard)) - BLOCK, BLOCK):
        search.push(sent[position - BLOCK : position + BLOCK], heard[position : position + BLOCK])
        assert search.find() is None


def test_the_reference_is_played_back_to_back_and_then_anew() -> None:
    reference = Reference()
    reference.append(np.ones(24_000, np.float32), position=1000)
    reference.append(np.ones(24_000, np.float32), position=1100)
    assert reference.end == pytest.approx(1000 + 2 * RATE, abs=200)
    reference.cut(9000)
    assert reference.end == 9000
    np.testing.assert_allclose(reference.window(5000, 5100), 1, atol=0.01)
    np.testing.assert_array_equal(reference.window(9000, 9100), 0)
    reference.append(np.ones(24_000, np.float32), position=20_000)
    np.testing.assert_array_equal(reference.window(9000, 20_000), 0)
    np.testing.assert_allclose(reference.window(8000, 9000), 1, atol=0.01)  # still heard, late as echoes are
    reference.append(np.ones(24_000, np.float32), position=200_000)
    assert reference.begin == 200_000, "nothing is kept of what was long ago"


def test_what_was_learned_moves_with_the_delay() -> None:
    rng = np.random.default_rng(3)
    way = np.pad(rng.standard_normal(600), (100, PARTITIONS * BLOCK - 700)).astype(np.float32)
    learned = AdaptiveFilter()
    learned._path = np.fft.rfft(way.reshape(PARTITIONS, BLOCK), TRANSFORM).astype(np.complex64)
    sound = np.pad(rng.standard_normal(12 * BLOCK), (TRANSFORM, 0)).astype(np.float32)

    def echo(of: AdaptiveFilter, delay: int) -> np.ndarray:
        path, spectra, heard = of._path, [np.zeros(BINS, np.complex64)] * PARTITIONS, []
        for begin in range(TRANSFORM, len(sound) - BLOCK, BLOCK):
            window = sound[begin - BLOCK - delay : begin + BLOCK - delay]
            spectra = [np.fft.rfft(window).astype(np.complex64), *spectra[:-1]]
            heard.append(np.fft.irfft((np.stack(spectra) * path).sum(0), TRANSFORM)[BLOCK:])
        return np.concatenate(heard)

    for samples in (-64, 0, 48):
        np.testing.assert_allclose(echo(learned.moved(samples), 64 - samples), echo(learned, 64), atol=1e-3)


def test_the_residue_lets_pass_what_no_echo_explains(words: np.ndarray) -> None:
    residue = Residue()
    for begin in range(0, len(words) - BLOCK, BLOCK):
        block = words[begin : begin + BLOCK]
        cleaned, unexplained = residue.suppress(block, np.zeros(BLOCK, np.float32))
        np.testing.assert_allclose(cleaned, block, atol=1e-5)
        assert unexplained > 0.99 or np.square(block).sum() < 1e-6
