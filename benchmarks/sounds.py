"""What comes into a microphone while an answer is played: words, and sounds that are no words. Always the same.

Words are of the hibari package and, where it is installed, of espeak-ng's other voices; everything else is synthetic.
All are (n,) float32 at 16 kHz at the level of normal speech: an RMS of -26 dB of full scale while there is sound.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import numpy as np
import soxr

from benchmarks.questions import MICROPHONE_RATE

SPEECH_RMS = 0.05
INTERRUPTIONS = (
    "Stop, tell me about Paris instead.",
    "Wait, what about the weather tomorrow?",
    "No, I meant something else.",
    "Can you say that again, please?",
)
BACKCHANNELS = ("Mm-hm.", "Uh-huh.", "Yeah.", "Okay.", "Right.")
ESPEAK_VOICES = ("en-us+m3", "en-gb+f2", "en-us+f4")
_WAVE_HEADER = 44
"""Bytes."""


def active_rms(sound: np.ndarray) -> float:
    """Of (n,) samples at 16 kHz, without what lies 30 dB below the loudest 20 ms."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = np.square(frames.astype(np.float64)).mean(1)
    return float(np.sqrt(power[power > 1e-3 * power.max()].mean()))


def onset(sound: np.ndarray) -> int:
    """The first sample of the first 10 ms that are within 20 dB of the sound's level."""
    frames = np.square(sound[: len(sound) // 160 * 160].reshape(-1, 160)).mean(1)
    return int(np.flatnonzero(frames > 0.01 * active_rms(sound) ** 2)[0]) * 160


@cache
def words(text: str, voice: str) -> np.ndarray:
    """`text` by "hibari" or one of espeak-ng's voices."""
    spoken: np.ndarray
    spoken, rate = _hibari(text) if voice == "hibari" else espeak(text, voice)
    sound = soxr.resample(spoken, rate, MICROPHONE_RATE)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    return _at_speech_level(sound[loud[0] : loud[-1] + 1])


def _hibari(text: str) -> tuple[np.ndarray, int]:
    from hibari import Hibari

    return np.asarray(Hibari(threads=1)(text, seed=0), np.float32).reshape(-1), 24_000


def espeak(text: str, voice: str) -> tuple[np.ndarray, int]:
    """The text in one of espeak-ng's voices: (n,) float32 and their rate."""
    command = ["espeak-ng", "-v", voice, "--stdout", text]
    wave = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(wave[_WAVE_HEADER:], "<i2").astype(np.float32) / 32768, 22_050


def voices() -> tuple[str, ...]:
    """Those that can speak here."""
    return ("hibari", *ESPEAK_VOICES) if shutil.which("espeak-ng") else ("hibari",)


def interruptions() -> list[np.ndarray]:
    """Every sentence by two voices."""
    return _by_two_voices(INTERRUPTIONS)


def backchannels() -> list[np.ndarray]:
    """Every one by two voices."""
    return _by_two_voices(BACKCHANNELS)


def _by_two_voices(texts: Sequence[str]) -> list[np.ndarray]:
    here = voices()
    return [words(text, here[(number + other) % len(here)]) for other in (0, 1) for number, text in enumerate(texts)]


def coughs(count: int = 8) -> list[np.ndarray]:
    """Each a burst of breath, a rest that rings in the throat, and a second, weaker burst."""
    return [_cough(np.random.default_rng(seed)) for seed in range(count)]


def _cough(rng: np.random.Generator) -> np.ndarray:
    def burst(seconds: float, decay: float, strength: float) -> np.ndarray:
        time = np.arange(round(seconds * MICROPHONE_RATE)) / MICROPHONE_RATE
        breath = rng.standard_normal(len(time))
        throat = _ringing(breath, rng.uniform(450, 650), 90) + 0.6 * _ringing(breath, rng.uniform(1300, 1700), 160)
        rise = np.minimum(1, time / 0.008)
        return strength * rise * np.exp(-time / decay) * (0.5 * breath + throat)

    rest = np.zeros(round(rng.uniform(0.08, 0.2) * MICROPHONE_RATE))
    return _at_speech_level(np.concatenate([burst(0.25, 0.07, 1.0), rest, burst(0.22, 0.06, 0.6)]))


def _ringing(sound: np.ndarray, hertz: float, width: float) -> np.ndarray:
    """A resonance, by its impulse response."""
    time = np.arange(800) / MICROPHONE_RATE
    response = np.exp(-np.pi * width * time) * np.sin(2 * np.pi * hertz * time)
    return np.convolve(sound, response)[: len(sound)] / 8


def typing(count: int = 8) -> list[np.ndarray]:
    """Each two seconds of a keyboard beside the microphone: 8 keys a second, down and up."""
    return [_typing(np.random.default_rng(100 + seed)) for seed in range(count)]


def _typing(rng: np.random.Generator) -> np.ndarray:
    sound = np.zeros(2 * MICROPHONE_RATE)
    moments = np.cumsum(rng.uniform(0.06, 0.19, 16))
    for moment in moments[moments < 1.85]:
        for later, strength in ((0.0, 1.0), (rng.uniform(0.06, 0.1), 0.5)):
            at = round((moment + later) * MICROPHONE_RATE)
            click = rng.standard_normal(240) * np.exp(-np.arange(240) / 40)
            sound[at : at + 240] += strength * rng.uniform(0.5, 1) * _ringing(click, rng.uniform(1800, 3500), 600)
    return _at_speech_level(sound)


def music(count: int = 6) -> list[np.ndarray]:
    """Each four seconds of plucked chords over a bass and a drum, 12 dB softer than speech."""
    return [0.25 * _music(np.random.default_rng(200 + seed)) for seed in range(count)]


def _music(rng: np.random.Generator) -> np.ndarray:
    sound = np.zeros(4 * MICROPHONE_RATE)
    beat = MICROPHONE_RATE // 2
    root = rng.uniform(100, 200)
    for number in range(8):
        time = np.arange(len(sound) - number * beat) / MICROPHONE_RATE
        chord = root * 2 ** (rng.choice([0, 5, 7, 9]) / 12)
        for ratio in (0.5, 1, 1.26, 1.5, 2):
            for partial in range(1, 6):
                tone = np.sin(2 * np.pi * chord * ratio * partial * time + rng.uniform(0, 6))
                sound[number * beat :] += tone * np.exp(-time * (2 + partial)) / partial
        sound[number * beat :] += 0.8 * rng.standard_normal(len(time)) * np.exp(-time * 40)
    return _at_speech_level(sound)


def _at_speech_level(sound: np.ndarray) -> np.ndarray:
    level: np.ndarray = (sound * (SPEECH_RMS / active_rms(sound))).astype(np.float32)
    return level
