"""Real speech and the real voice detector, made once."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hibari import Hibari

from model.voice_activity import VoiceActivity, VoiceState
from server.voices import VoiceStream


@pytest.fixture(scope="session")
def silero() -> VoiceActivity:
    return VoiceActivity()


def probabilities(silero: VoiceActivity, sound: np.ndarray) -> list[float]:
    """(n,) at 16 kHz, heard by one microphone → how likely each window holds a voice."""
    state = VoiceState()
    windows = VoiceStream().windows(sound.astype(np.float32))
    return [float(silero.judge([state], window[None])[0]) for window in windows]


@pytest.fixture(scope="session")
def voice() -> Hibari:
    return Hibari(threads=1)


@pytest.fixture(scope="session")
def question(voice: Hibari) -> np.ndarray:
    """(n,) float32, 16 kHz: "What is the capital of France?", about 1.5 s, without silence around it."""
    spoken = say(voice, "What is the capital of France?")
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    return spoken[loud[0] : loud[-1] + 1]


def say(voice: Hibari, text: str) -> np.ndarray:
    """(n,) float32, 16 kHz."""
    spoken: np.ndarray = soxr.resample(np.asarray(voice(text, seed=1), np.float32), 24_000, 16_000)
    return spoken
